"""Pixels to floats and back without loss; picture files accepted as they are or refused with the reason."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from hostile import POSTSCRIPT
from sanggar.data.images import (
    MAX_PIXELS,
    Images,
    ImageSpec,
    as_pixels,
    grid,
    read_image,
    read_images,
    to_float,
    to_uint8,
)
from sanggar.data.images import write_images as npz_or_png
from sanggar.errors import DataError
from typed import there

Temporary = pytest.TempPathFactory
GREY = ImageSpec(6, 5, 1)
COLOUR = ImageSpec(6, 5, 3)
RANDOM = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)


def refusal(path: Path, spec: ImageSpec = GREY) -> str:
    with pytest.raises(DataError) as raised:
        read_images(path, spec)
    return str(raised.value)


def saved(path: Path, pixels: np.ndarray, mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


# -- the only conversion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [range(256)], ids=["0…255"])
def test_every_pixel_value_survives_the_way_to_floats_and_back(value: range) -> None:
    pixels = np.array(value, np.uint8).reshape(1, 16, 16, 1)
    floats = to_float(torch.from_numpy(pixels))
    assert floats.dtype == torch.float32
    assert (floats.min().item(), floats.max().item()) == (-1.0, 1.0)
    np.testing.assert_array_equal(to_uint8(floats), pixels)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, max_side=9)))
def test_pictures_of_any_shape_survive_too(pixels: np.ndarray) -> None:
    floats = to_float(torch.from_numpy(pixels))
    n, height, width, channels = pixels.shape
    assert floats.shape == (n, channels, height, width)
    np.testing.assert_array_equal(to_uint8(floats), pixels)


@given(hnp.arrays(np.float32, (2, 1, 3, 3), elements=st.floats(-9, 9, width=32)))
def test_floats_outside_the_range_are_clamped_and_never_rescaled(values: np.ndarray) -> None:
    exact = (np.clip(values.astype(np.float64), -1, 1) + 1) * 127.5
    got = to_uint8(torch.from_numpy(values)).transpose(0, 3, 1, 2)
    assert np.abs(got - exact).max() <= 0.5001
    assert (got[values >= 1] == 255).all()
    assert (got[values <= -1] == 0).all()


def test_a_flat_picture_stays_flat() -> None:
    assert np.unique(to_uint8(torch.full((1, 1, 4, 4), 0.2))).tolist() == [153]


# -- picture files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_what_was_saved_without_loss_is_read_as_it_was(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"x{suffix}", RANDOM, None, **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(read_image(path, COLOUR), RANDOM)


def test_a_grey_picture_may_be_saved_as_rgb_and_a_colour_network_may_see_grey(tmp_path: Path) -> None:
    grey = RANDOM[..., 0]
    as_rgb, as_grey = saved(tmp_path / "rgb.png", grey, "RGB"), saved(tmp_path / "grey.png", grey)
    np.testing.assert_array_equal(read_image(as_rgb, GREY)[..., 0], grey)
    np.testing.assert_array_equal(read_image(as_grey, GREY)[..., 0], grey)
    np.testing.assert_array_equal(read_image(as_grey, COLOUR), np.stack([grey] * 3, -1))


def test_black_and_white_and_palettes_are_pictures_too(tmp_path: Path) -> None:
    bits = saved(tmp_path / "bits.png", (RANDOM[..., 0] // 128) * 255, "1")
    assert set(np.unique(read_image(bits, GREY))) == {0, 255}
    palette = tmp_path / "palette.png"
    Image.fromarray(RANDOM).quantize(64).save(palette)
    assert read_image(palette, COLOUR).shape == (6, 5, 3)


def test_a_photograph_is_turned_upright_before_it_is_measured(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways: turn clockwise to see it upright
    path = saved(tmp_path / "photo.png", RANDOM, exif=exif)
    np.testing.assert_array_equal(read_image(path, ImageSpec(5, 6, 3)), np.rot90(RANDOM, -1))
    assert "5×6 pixels" in refusal(path, COLOUR)


@pytest.mark.parametrize(("mode", "words"), [
    ("RGBA", "has an alpha channel"),
    ("LA", "has an alpha channel"),
    ("RGB", "a colour picture, but this network takes 6×5 grey"),
])  # fmt: skip
def test_what_would_have_to_be_changed_is_refused(tmp_path: Path, mode: str, words: str) -> None:
    message = refusal(saved(tmp_path / "x.png", RANDOM, mode))
    assert message.startswith(f"{tmp_path / 'x.png'}: ")
    assert words in message


@pytest.mark.parametrize(("name", "kind"), [("x.png", np.uint16), ("x.tif", np.int32), ("x.tif", np.float32)])
def test_more_than_eight_bits_of_grey_are_refused(tmp_path: Path, name: str, kind: type) -> None:
    assert "more than 8 bits a pixel" in refusal(saved(tmp_path / name, RANDOM[..., 0].astype(kind) * 257))


def test_transparency_hidden_in_a_palette_or_a_colour_key_is_refused(tmp_path: Path) -> None:
    Image.fromarray(RANDOM).quantize(8).save(tmp_path / "palette.png", transparency=0)
    saved(tmp_path / "key.png", RANDOM[..., 0], transparency=3)
    for name in ("palette.png", "key.png"):
        assert "alpha" in refusal(tmp_path / name)


def test_a_wrong_size_is_said_both_ways(tmp_path: Path) -> None:
    saved(tmp_path / "x.png", RANDOM)
    assert "6×5 pixels, but this network takes 28×28 RGB. Resize" in refusal(tmp_path / "x.png", ImageSpec(28, 28, 3))


# -- files that lie or are broken ------------------------------------------------------------------------------


def crafted_png(width: int, height: int, bits: int = 8, colour: int = 0, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8001, 9900, 14000, 60_000])
def test_a_decompression_bomb_is_refused_unopened_and_without_other_noise(tmp_path: Path, side: int) -> None:
    assert side**2 > MAX_PIXELS
    (tmp_path / "bomb.png").write_bytes(crafted_png(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = refusal(tmp_path / "bomb.png")
    assert "pixels" in message
    assert "6×5 grey" in message


def test_sixteen_bits_a_colour_are_not_cut_to_eight_unasked(tmp_path: Path) -> None:
    rows = b"".join(b"\x00" + row.tobytes() for row in (RANDOM.astype(">u2") * 256 + 77).reshape(6, -1))
    (tmp_path / "deep.png").write_bytes(crafted_png(5, 6, 16, 2, rows))
    assert "more than 8 bits a pixel" in refusal(tmp_path / "deep.png", COLOUR)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"not a picture", b"<svg/>"])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    assert "not a picture that can be read" in refusal(tmp_path / "x.png")


def test_a_program_that_is_called_a_picture_is_not_started(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(POSTSCRIPT)
    with Image.open(tmp_path / "x.png") as known:
        assert known.format == "EPS"  # Pillow would start Ghostscript for its pixels
    assert "not a picture that can be read" in refusal(tmp_path / "x.png")


@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path_factory: Temporary, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]))
    buffer = io.BytesIO()
    Image.fromarray(RANDOM).save(buffer, suffix)
    content = bytearray(buffer.getvalue())[: data.draw(st.integers(0, len(buffer.getvalue())))]
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3) if content else st.just([])):
        content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert read_image(path, COLOUR).shape == (6, 5, 3)
        except DataError as error:
            assert str(path) in str(error)


# -- folders and arrays ----------------------------------------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for i, name in enumerate(("b.png", "a.PNG", "c.png")):
        saved(tmp_path / name, np.full((6, 5), i, np.uint8), format="PNG")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "._a.png").write_bytes(b"what macOS leaves beside a picture")
    pixels, names = read_images(tmp_path, GREY)
    assert names == ["a.PNG", "b.png", "c.png"]
    assert pixels[:, 0, 0, 0].tolist() == [1, 0, 2]


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    assert "holds no pictures" in refusal(tmp_path)
    assert "There is no file or folder" in refusal(tmp_path / "gone")


@pytest.mark.parametrize("shape", [(3, 6, 5), (3, 6, 5, 1)])
def test_arrays_are_read_with_and_without_a_channel(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.arange(90, dtype=np.uint8).reshape(shape)
    np.savez_compressed(tmp_path / "x.npz", images=images)
    pixels, names = read_images(tmp_path / "x.npz", GREY)
    np.testing.assert_array_equal(pixels, images.reshape(3, 6, 5, 1))
    assert names == ["x.npz[0]", "x.npz[1]", "x.npz[2]"]


@pytest.mark.parametrize(("arrays", "words"), [
    ({"image": np.zeros((1, 6, 5), np.uint8)}, "holds no array `images`. Did you mean 'image'?"),
    ({"images": np.zeros((1, 6, 5), np.float32)}, "expected uint8 pixels in 0…255, got float32"),
    ({"images": np.zeros((1, 5, 6), np.uint8)}, "expected an array (N, 6, 5, 1), got (1, 5, 6, 1)"),
    ({"images": np.zeros((6, 5), np.uint8)}, "got (6, 5)"),
    ({"images": np.array([{"a": 1}], object)}, "not an .npz file that can be read"),
    ({"images": np.zeros((0, 6, 5), np.uint8)}, "no pictures"),
])  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    assert words in refusal(tmp_path / "x.npz")


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [
    b"", b"not a zip", b"PK\x03\x04 half a zip", _npy(np.zeros((1, 6, 5), np.uint8)), _npy(np.array([{}], object)),
], ids=["empty", "text", "half", "npy", "pickle"])  # fmt: skip
def test_a_file_that_only_is_called_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    assert "not an .npz file that can be read" in refusal(tmp_path / "x.npz")


@given(data=st.data())
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(
    tmp_path_factory: Temporary, data: st.DataObject
) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=RANDOM[None])
    content = bytearray(buffer.getvalue())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content)
    try:
        read_images(path, COLOUR)
    except DataError as error:
        assert str(path) in str(error)


# -- the rest --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_written_are_read_back(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (4, 6, 5, channels)).astype(np.uint8)
    path = tmp_path / "x.npz"
    path.write_bytes(npz_or_png(path, pixels, np.arange(4)))
    np.testing.assert_array_equal(read_images(path, ImageSpec(6, 5, channels))[0], pixels)
    with np.load(path) as file:
        assert file["labels"].tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match=r"expected a name ending in \.png"):
        npz_or_png(tmp_path / "x.jpg", pixels)


@given(n=st.integers(1, 9), columns=st.integers(1, 5), scale=st.integers(1, 3), channels=st.sampled_from([1, 3]))
def test_a_grid_holds_every_picture_in_its_place(n: int, columns: int, scale: int, channels: int) -> None:
    pixels = np.random.default_rng(n).integers(0, 256, (n, 4, 3, channels)).astype(np.uint8)
    sheet = grid(pixels, columns, gap=2, scale=scale)
    sheet = sheet[::scale, ::scale].reshape(-(-n // columns) * 6 - 2, columns * 5 - 2, channels)
    for i, picture in enumerate(pixels):
        top, left = i // columns * 6, i % columns * 5
        np.testing.assert_array_equal(sheet[top : top + 4, left : left + 3], picture)


def test_taking_and_chunking_keep_pictures_and_labels_together() -> None:
    images = Images(np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1), np.arange(7))
    taken = images.take(np.array([5, 2]))
    assert taken.pixels.ravel().tolist() == there(taken.labels).tolist() == [5, 2]
    assert [there(chunk.labels).tolist() for chunk in images.chunks(3)] == [[0, 1, 2], [3, 4], [5, 6]]
    assert len(images.first(None)) == 7
    assert as_pixels(images.pixels, ImageSpec(1, 1, 1)) is images.pixels


def test_a_picture_for_a_published_network_is_brought_to_srgb_as_well(tmp_path: Path) -> None:
    from PIL import ImageCms

    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(np.full((4, 4, 3), (10, 20, 30), np.uint8)).save(tmp_path / "a.png", icc_profile=linear)
    Image.fromarray(np.full((4, 4, 3), (10, 20, 30), np.uint8)).save(tmp_path / "b.png", icc_profile=b"damaged")
    for name in ("a.png", "b.png"):
        assert (read_image(tmp_path / name, ImageSpec(4, 4, 3)) == (10, 20, 30)).all()
    content = bytearray(linear)
    red, blue = content.index(b"rXYZ") + 4, content.index(b"bXYZ") + 4
    content[red : red + 8], content[blue : blue + 8] = content[blue : blue + 8], content[red : red + 8]
    Image.fromarray(np.full((4, 4, 3), (60, 90, 180), np.uint8)).save(tmp_path / "c.png", icc_profile=bytes(content))
    found = read_image(tmp_path / "c.png", ImageSpec(4, 4, 3)).astype(int)
    assert np.abs(found - (180, 90, 60)).max() <= 1
