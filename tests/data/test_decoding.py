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
from PIL import Image, ImageCms
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


# -- deep pictures, and colours that are not sRGB's -------------------------------------------------------------


def png_of(depth: int, kind: int, row: bytes, width: int, clear: bytes) -> bytes:
    """A PNG of one row, eight times, with a transparent colour."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, 8, depth, kind, 0, 0, 0)
    rows = zlib.compress((b"\0" + row) * 8)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"tRNS", clear) + chunk(b"IDAT", rows)
            + chunk(b"IEND", b""))  # fmt: skip


CLEAR = {  # of each: the file, and its first row laid on white, by hand
    "1 bit": (png_of(1, 0, bytes([0b01010101]), 8, b"\0\0"), [255] * 8),
    "2 bits": (png_of(2, 0, bytes([0b00011011] * 2), 8, b"\0\1"), [0, 255, 170, 255] * 2),
    "4 bits": (png_of(4, 0, bytes([0x5A, 0x0F] * 2), 8, b"\0\5"), [255, 170, 0, 255] * 2),
    "8 bits": (png_of(8, 0, bytes([7, 8, 9, 10] * 2), 8, b"\0\7"), [255, 8, 9, 10] * 2),
    "16 bits": (png_of(16, 0, struct.pack(">8H", *[1000, 1001, 0, 65535] * 2), 8, struct.pack(">H", 1000)),
                [255, 4, 0, 255] * 2),
    "16 bits of colour": (png_of(16, 2, struct.pack(">24H", *[1000] * 12, *[9000] * 12), 8, bytes([3, 232] * 3)),
                          [255] * 4 + [35] * 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CLEAR)
def test_a_transparent_value_is_white_at_any_depth(name: str) -> None:
    content, expected = CLEAR[name]
    np.testing.assert_array_equal(square(content, 8, "squash", False)[0, :, 0], expected)


def tiff(values: np.ndarray, photometric: int = 1, sample_format: int = 1, order: Literal["<", ">"] = "<") -> bytes:
    """A grey TIFF, written by hand: Pillow writes not all of them."""
    height, width = values.shape
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    tags = {256: width, 257: height, 258: values.dtype.itemsize * 8, 259: 1, 262: photometric, 273: 8, 277: 1,
            278: height, 279: len(data), 339: sample_format}  # fmt: skip
    entries = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in sorted(tags.items()))
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


ROW = np.array([0, 1, 255, 256, 4095, 20_000, 32_767, 65_535])
DEEP = {  # of each: the file, and what its first row is on 0…255
    "16 bits": (tiff(np.tile(ROW.astype(np.uint16), (8, 1))), np.rint(ROW / 257)),
    "16 bits, white is zero": (tiff(np.tile(ROW.astype(np.uint16), (8, 1)), 0), np.rint(255 - ROW / 257)),
    "16 bits, big end first": (tiff(np.tile(ROW.astype(np.uint16), (8, 1)), order=">"), np.rint(ROW / 257)),
    "signed 16 bits": (tiff(np.tile(ROW.clip(0, 32767).astype(np.int16), (8, 1)), 1, 2),
                       np.rint(ROW.clip(0, 32767) / 32767 * 255)),
    "signed 16 bits, big end first": (tiff(np.tile(ROW.clip(0, 32767).astype(np.int16), (8, 1)), 1, 2, ">"),
                                      np.rint(ROW.clip(0, 32767) / 32767 * 255)),
    "8 bits, white is zero": (tiff(np.tile(np.arange(0, 240, 30).astype(np.uint8), (8, 1)), 0),
                              255 - np.arange(0, 240, 30)),
    "signed 8 bits": (tiff(np.tile(np.arange(0, 128, 16).astype(np.int8), (8, 1)), 1, 2),
                      np.rint(np.arange(0, 128, 16) / 127 * 255)),
}  # fmt: skip


@pytest.mark.parametrize("name", DEEP)
def test_what_is_white_in_a_file_is_white(name: str) -> None:
    content, expected = DEEP[name]
    np.testing.assert_array_equal(square(content, 8, "squash", False)[0, :, 0], expected)


@pytest.mark.parametrize(("values", "words"), [
    (np.full((8, 8), -5, np.int16), "pixels are negative: nothing says what is black"),
    (np.full((8, 8), -5, np.int8), "pixels are negative"),
    (np.full((8, 8), 5, np.int32), "more than 16 bits"),
])  # fmt: skip
def test_what_has_no_known_range_is_refused(values: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        square(tiff(values, 1, 2), 8, "squash", False)


def swapping() -> bytes:
    """sRGB's profile with its red and its blue exchanged."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", content[128:132])[0]
    places = {bytes(content[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, blue = (slice(places[name] + 4, places[name] + 12) for name in (b"rXYZ", b"bXYZ"))
    content[red], content[blue] = content[blue], content[red]
    return bytes(content)


def adobe() -> bytes:
    """A profile of other primaries and a gamma of 2.2: Adobe RGB's (1998, 4.3.1.1), adapted to D50."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", content[128:132])[0]
    places = {bytes(content[132 + 12 * i : 136 + 12 * i]): struct.unpack(">I", content[136 + 12 * i : 140 + 12 * i])[0]
              for i in range(count)}  # fmt: skip
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), ADOBE.T, strict=True):
        content[places[name] + 8 : places[name] + 20] = struct.pack(
            ">3i", *np.rint(column * 65536).astype(int).tolist()
        )
    return bytes(content)


ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
"""Adobe RGB to XYZ under D50"""
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def test_colours_become_srgbs_by_the_profile() -> None:
    stored = np.random.default_rng(0).integers(60, 190, (8, 8, 3), np.uint8)

    def read(profile: bytes, kind: str = "PNG", **how: Any) -> np.ndarray:
        return square(file(Image.fromarray(stored), kind, icc_profile=profile, **how), 8, "crop", True)

    assert np.abs(read(swapping()).astype(int) - stored[..., ::-1]).max() <= 1
    assert np.abs(read(swapping(), "TIFF").astype(int) - stored[..., ::-1]).max() <= 1
    assert np.abs(read(swapping(), "WEBP", lossless=True).astype(int) - stored[..., ::-1]).max() <= 1
    np.testing.assert_array_equal(read(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), stored)

    def linear(values: np.ndarray) -> np.ndarray:
        return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)

    light = linear(stored / 255) @ ADOBE.T @ np.linalg.inv(SRGB).T
    expected = np.where(light <= 0.0031308, light * 12.92, 1.055 * light.clip(0) ** (1 / 2.4) - 0.055).clip(0, 1) * 255
    inside = ((light > 0) & (light < 1)).all(axis=2)
    assert np.abs(read(adobe()).astype(float) - expected)[inside].max() <= 2
    assert np.abs(expected - stored).max() > 10


def test_transparency_palettes_and_greys_keep_their_profile() -> None:
    colour = np.full((8, 8, 4), (200, 90, 30, 255), np.uint8)
    colour[:4, :, 3] = 0
    found = square(file(Image.fromarray(colour), icc_profile=swapping()), 8, "crop", True)
    assert (found[:4] == 255).all()
    assert np.abs(found[4:].astype(int) - (30, 90, 200)).max() <= 1
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 200, 90, 30])
    found = square(file(palette, icc_profile=swapping()), 8, "crop", True)
    assert np.abs(found.astype(int) - (30, 90, 200)).max() <= 1
    grey = square(file(palette, icc_profile=swapping()), 8, "crop", False)
    assert np.abs(grey.astype(int) - np.dot((30, 90, 200), (0.299, 0.587, 0.114))).max() <= 1


@pytest.mark.parametrize("profile", [
    b"no profile", swapping()[:200], ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
], ids=["nonsense", "cut", "of another space"])  # fmt: skip
def test_a_profile_that_cannot_be_used_is_passed_over_and_said(profile: bytes, tmp_path: Path) -> None:
    place = tmp_path / "pictures"
    place.mkdir()
    (place / "a.png").write_bytes(file(Image.new("RGB", (4, 4), (9, 80, 9)), icc_profile=profile))
    (tmp_path / "out").write_bytes(bytes(48))
    decoder = Decoder(Job(str(place), 4, "crop", True, str(tmp_path / "out"), 0))
    done = decoder.ask(0, ["a.png"])
    decoder.close()
    assert done.broken == {}
    assert done.remarks["a.png"].startswith("its colour profile cannot be used (")
    assert (np.frombuffer((tmp_path / "out").read_bytes(), np.uint8).reshape(-1, 3) == (9, 80, 9)).all()


@given(st.binary(max_size=300), st.integers(0, 600), st.integers(1, 255))
def test_no_profile_stops_a_picture(content: bytes, at: int, flip: int) -> None:
    profile = bytearray(swapping())
    profile[at % len(profile)] ^= flip
    for damaged in (bytes(profile), content or b"x"):
        picture = Image.new("RGB", (4, 4), (9, 80, 9))
        assert square(file(picture, icc_profile=damaged), 4, "crop", True).shape == (4, 4, 3)
