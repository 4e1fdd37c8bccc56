"""Pictures of any mode, size and orientation become small squares of 8 bits, by the rules that are stated."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.transform import resize

from sanggar.data.decoding import Decoder, Job, main, square
from sanggar.data.images import MAX_PIXELS

Fit = Literal["crop", "squash"]


def file(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without edges, so that ways of scaling agree on it."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    return np.stack([127 + 120 * np.sin(3 * x + y), 255 * x * y, 200 - 150 * y], axis=2).clip(0, 255).astype(np.uint8)


MODES: dict[str, tuple[tuple[int, int, int], Callable[[], Image.Image]]] = {
    "1": ((255, 255, 255), lambda: Image.new("1", (9, 7), 1)),
    "L": ((90, 90, 90), lambda: Image.new("L", (9, 7), 90)),
    "LA": ((172, 172, 172), lambda: Image.new("LA", (9, 7), (90, 128))),
    "P": ((10, 200, 30), lambda: Image.new("RGB", (9, 7), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)),
    "RGB": ((10, 200, 30), lambda: Image.new("RGB", (9, 7), (10, 200, 30))),
    "RGBA": ((255, 128, 128), lambda: Image.new("RGBA", (9, 7), (255, 0, 0, 127))),
    "clear": ((255, 255, 255), lambda: Image.new("RGBA", (9, 7), (0, 0, 0, 0))),
    "16 bits": ((100, 100, 100), lambda: Image.fromarray(np.full((7, 9), 25700, np.uint16))),
}


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_every_mode_becomes_eight_bits(name: str, fit: Fit) -> None:
    expected, draw = MODES[name]
    pixels = square(file(draw()), 5, fit, True)
    assert (pixels.dtype, pixels.shape) == (np.dtype(np.uint8), (5, 5, 3))
    assert np.abs(pixels.astype(int) - expected).max() <= (3 if name == "P" else 1)
    grey = square(file(draw()), 5, fit, False)
    assert grey.shape == (5, 5, 1)
    assert np.abs(grey - np.dot(expected, (0.299, 0.587, 0.114))).max() <= 3


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    deep = np.array([[0, 128, 129, 257, 32768, 65535, 65278, 40000]] * 8, np.uint16)
    found = square(file(Image.fromarray(deep)), 8, "crop", False)[0, :, 0]
    np.testing.assert_array_equal(found, np.rint(deep[0] / 257))


def test_cmyk_and_a_palette_with_a_clear_colour_are_read() -> None:
    cmyk = square(file(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), 8, "crop", True)
    assert np.abs(cmyk.astype(int) - (255, 0, 0)).max() < 12
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 250, 10, 10])
    assert (square(file(palette, transparency=1), 8, "crop", True) == 255).all()
    assert (square(file(palette), 8, "crop", True) == (250, 10, 10)).all()


TURNED = {  # as the EXIF standard defines them: what a viewer does to the stored picture
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}  # fmt: skip


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_pictures_are_turned_as_their_exif_says(orientation: int, kind: str) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    found = square(file(Image.fromarray(stored), kind, exif=exif, **lossless), 6, "crop", True)
    seen = TURNED[orientation](stored)
    height, width = seen.shape[:2]
    top, left = (height - 6) / 2, (width - 6) / 2
    expected = Image.fromarray(np.ascontiguousarray(seen)).resize((6, 6), 3, (left, top, left + 6, top + 6))
    np.testing.assert_array_equal(found, np.asarray(expected))


@given(height=st.integers(40, 160), width=st.integers(40, 160), size=st.integers(4, 40), crop=st.booleans())
def test_scaling_agrees_with_a_second_system(height: int, width: int, size: int, crop: bool) -> None:
    picture = smooth(height, width)
    found = square(file(Image.fromarray(picture)), size, "crop" if crop else "squash", True)
    edge = min(height, width)
    if crop:
        edge -= (max(height, width) - edge) % 2  # only whole pixels are cut off below
        top, left = (height - edge) // 2, (width - edge) // 2
        picture = picture[top : top + edge, left : left + edge]
    scaled: Callable[..., np.ndarray] = resize
    expected = scaled(picture.astype(float), (size, size), order=3, anti_aliasing=True)
    assert np.abs(found - expected).mean() < 4


def test_what_is_too_fine_for_the_square_becomes_even() -> None:
    board = np.indices((512, 512)).sum(0) % 2 * np.uint8(255)
    found = square(file(Image.fromarray(board.astype(np.uint8))), 32, "squash", False)
    assert np.abs(found.astype(int) - 127).max() <= 3


def test_crop_keeps_the_middle_and_squash_keeps_all() -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20], wide[:, 20:40], wide[:, 40:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    cropped = square(file(Image.fromarray(wide)), 10, "crop", True)
    assert (cropped[:, 2:-2] == (0, 255, 0)).all()
    squashed = square(file(Image.fromarray(wide)), 30, "squash", True)
    for column, colour in ((4, 0), (15, 1), (25, 2)):
        assert squashed[:, column, colour].min() > 240


@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_a_large_jpeg_is_read_in_part_and_looks_the_same(fit: Fit) -> None:
    picture = Image.fromarray(smooth(1500, 1000))
    found = square(file(picture, "JPEG", quality=95), 64, fit, True).astype(int)
    assert np.abs(found - square(file(picture), 64, fit, True)).mean() < 2


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size, with little in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


DAMAGED = {
    "text": (b"not a picture at all", "no picture that is known"),
    "empty": (b"", "no picture that is known"),
    "a cut JPEG": (file(Image.fromarray(smooth(64, 64)), "JPEG")[:-200], "truncated"),
    "a cut PNG": (file(Image.fromarray(smooth(64, 64)))[:300], ""),
    "a bomb": (png(100_000, 100_000), "pixels"),
    "many pixels": (png(MAX_PIXELS // 1000 + 1, 1000), "pixels are more than sanggar opens (64,000,000)"),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture that is known"),
    "fractions": (file(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), "fractions"),
    "32 bits": (file(Image.fromarray(np.full((8, 8), 70_000, np.int32)), "TIFF"), "more than 16 bits"),
}


def decoded(place: Path, names: list[str]) -> tuple[np.ndarray, list[str], dict[str, str]]:
    """What a decoder makes of files, at 4×4."""
    (place.parent / "out").write_bytes(bytes(48 * len(names)))
    decoder = Decoder(Job(str(place), 4, "crop", True, str(place.parent / "out"), 0))
    done = decoder.ask(0, names)
    decoder.close()
    pixels = np.frombuffer((place.parent / "out").read_bytes(), np.uint8).reshape(-1, 4, 4, 3)
    return pixels, done.digests, done.broken


@pytest.mark.parametrize("name", DAMAGED)
def test_what_cannot_be_read_is_left_out_with_the_reason(name: str, tmp_path: Path) -> None:
    place = tmp_path / "pictures"
    place.mkdir()
    (place / "good.png").write_bytes(file(Image.new("RGB", (4, 4), (1, 2, 3))))
    (place / "bad.jpg").write_bytes(DAMAGED[name][0])
    pixels, digests, broken = decoded(place, ["bad.jpg", "good.png", "gone.png"])
    assert list(broken) == ["bad.jpg", "gone.png"]
    assert DAMAGED[name][1] in broken["bad.jpg"]
    assert [bool(digest) for digest in digests] == [False, True, False]
    assert (pixels[1] == (1, 2, 3)).all()
    assert not pixels[[0, 2]].any()


@given(cut=st.integers(0, 3000), flip=st.integers(0, 3000), value=st.integers(1, 255))
def test_a_damaged_file_is_a_picture_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, value: int
) -> None:
    place = tmp_path_factory.getbasetemp() / "damaged" / "pictures"
    place.mkdir(parents=True, exist_ok=True)
    whole = file(Image.fromarray(smooth(40, 40)), "JPEG")
    content = bytearray(whole[: len(whole) - cut % len(whole)])
    content[flip % len(content)] ^= value
    (place / "x.jpg").write_bytes(content)
    _, digests, broken = decoded(place, ["x.jpg"])
    assert bool(digests[0]) != bool(broken)


def test_the_process_answers_line_by_line(tmp_path: Path) -> None:
    place = tmp_path / "pictures"
    place.mkdir()
    (place / "a.png").write_bytes(file(Image.new("RGB", (4, 4), (9, 9, 9))))
    (tmp_path / "out").write_bytes(bytes(48))
    job = {"place": str(place), "size": 4, "fit": "crop", "colour": True, "out": str(tmp_path / "out"), "offset": 0}
    asked = [job, {"start": 0, "names": ["a.png"]}, {"start": 0, "names": ["b.png"]}]
    said = io.BytesIO()
    main(io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in asked)), said)
    first, second = map(json.loads, said.getvalue().splitlines())
    assert (first["start"], len(first["digests"][0]), first["broken"]) == (0, 64, {})
    assert list(second["broken"]) == ["b.png"]
