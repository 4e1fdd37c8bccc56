"""Pictures: uint8 `(N, H, W, C)` with labels, files read with care, and the only conversion to floats and back."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8
from PIL import Image, ImageOps

from sanggar.data.colour import OddProfileError, to_srgb
from sanggar.data.npy import open_arrays
from sanggar.errors import DataError, suggest

if TYPE_CHECKING:
    from torch import Tensor

MAX_PIXELS = 64_000_000
"""A picture file with more pixels than this is refused before it is decoded."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""What may hide behind a picture's name: Pillow knows more, some of which start other programs"""
CHUNK = 512
"""Pictures that go through a network at a time, at most."""
PIXELS = 1 << 19
"""Their pixels, at most: memory for larger tensors is asked of the system anew each time, which takes longer than
computing with it."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Attribute:
    """A column of what is known of pictures beside their class."""

    name: str
    kind: Literal["flag", "category", "number"]
    values: tuple[str, ...] = ()
    """of a category: its names, by code; of a flag: what stands for no, and for yes"""
    mean: float = 0.0
    """of a number, over the source's pictures"""
    deviation: float = 1.0


@dataclass(frozen=True)
class ImageSpec:
    """What a network has to know of the pictures it is built for."""

    height: int
    width: int
    channels: int
    classes: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.height, self.width, self.channels

    @property
    def size(self) -> str:
        """As people write it: 28×28 grey."""
        return f"{self.height}×{self.width} {'grey' if self.channels == 1 else 'RGB'}"


@dataclass(frozen=True)
class Images:
    """Pictures with what is known of them: pixels uint8 `(N, H, W, C)` in 0…255, labels int64 `(N,)`.

    Attributes are float32 `(N, columns)`, a column for each of the spec' attributes: a flag is 0 or 1, a category its
    code, a number itself. Masks are uint8 `(N, H, W)`: 1 where a picture is odd, 0 where it is normal, 255 where nobody
    says.
    """

    pixels: UInt8[np.ndarray, "n height width channels"]
    labels: Int64[np.ndarray, "n"] | None = None
    attributes: Float32[np.ndarray, "n columns"] | None = None
    masks: UInt8[np.ndarray, "n height width"] | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, index: Int64[np.ndarray, "b"]) -> Images:
        """The pictures at `index`, gathered in one go (no picture is opened one by one)."""
        return self._each(lambda array: np.take(array, index, axis=0))

    def joined(self, other: Images) -> Images:
        """These pictures, and then those of `other`."""
        pixels = np.concatenate([self.pixels, other.pixels])
        return Images(
            pixels, _joined(self.labels, other.labels), _joined(self.attributes, other.attributes),
            _joined(self.masks, other.masks),
        )  # fmt: skip

    def first(self, n: int | None) -> Images:
        """The first `n` pictures, or all of them, without a copy."""
        return self._each(itemgetter(slice(n)))

    def chunks(self, size: int) -> Iterator[Images]:
        """The pictures in order, at most `size` at a time, in chunks that differ by one at most.

        No small rest is left: what goes by a batch, as some norms do, would be at a loss with it.
        """
        for chunk in np.array_split(np.arange(len(self)), -(-len(self) // size)) if len(self) else []:
            yield self._each(itemgetter(slice(chunk[0], chunk[-1] + 1)))

    def _each(self, change: Callable[[np.ndarray], np.ndarray]) -> Images:
        known = (self.labels, self.attributes, self.masks)
        return Images(change(self.pixels), *(None if array is None else change(array) for array in known))


def _joined(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return None if first is None or second is None else np.concatenate([first, second])


def at_once(height: int, width: int) -> int:
    """Number of pictures of this size that go through a network at a time."""
    return max(1, min(CHUNK, PIXELS // (height * width)))


def picture_chunks(count: int, height: int, width: int) -> list[slice]:
    """Positions of `count` pictures of one size in chunks of `at_once`."""
    few = at_once(height, width)
    return [slice(start, start + few) for start in range(0, count, few)]


def mean_squared_errors(
    pixels: UInt8[np.ndarray, "n height width channels"], target: UInt8[np.ndarray, "n height width channels"]
) -> Float[np.ndarray, "n"]:
    """Mean squared error of each picture on the scale [-1, 1]."""

    def errors(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        difference = (one.astype(np.float32) - other.astype(np.float32)) / 127.5
        return np.asarray(np.mean(difference**2, axis=(1, 2, 3), dtype=np.float64))

    parts = picture_chunks(len(pixels), *pixels.shape[1:3])
    return np.concatenate([errors(pixels[part], target[part]) for part in parts])


def to_float(pixels: UInt8[Tensor, "n height width channels"]) -> Float[Tensor, "n channels height width"]:
    """Pixels 0…255 as float32 in [-1, 1]: here, and for NumPy below, is the one place where this happens.

    The result is a view in channels-last memory order, which is how the pixels lie and what convolutions like.
    """
    import torch

    return (pixels.to(torch.float32) * (1 / 127.5) - 1).permute(0, 3, 1, 2)


def to_vectors(pixels: UInt8[np.ndarray, "n height width channels"]) -> Float[np.ndarray, "n pixels"]:
    """The same with NumPy alone: each picture as one row, float32 in [-1, 1]."""
    return pixels.reshape(len(pixels), -1) * np.float32(1 / 127.5) - np.float32(1)


def to_uint8(
    images: Float[Tensor, "n channels height width"],
) -> UInt8[np.ndarray, "n height width channels"]:
    """Floats in [-1, 1] as pixels: clamped, then rounded to the nearest (half to even); never rescaled."""
    import torch

    pixels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def read_images(
    source: str | Path,
    spec: ImageSpec,
    read: Callable[[Path], UInt8[np.ndarray, "height width channels"]] | None = None,
) -> tuple[UInt8[np.ndarray, "n height width channels"], list[str]]:
    """The pictures of a file, a folder or an `.npz` with `images`, and their names; all must fit `spec`.

    `read` opens a file otherwise than `read_image` does. Raises DataError when something is not a picture, or not of
    the size and the mode asked for.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f"There is no file or folder {path}.")
    if path.suffix == ".npz":
        pixels = _read_npz(path, spec)
        return pixels, [f"{path.name}[{i}]" for i in range(len(pixels))]
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not files:
        raise DataError(f"{path} holds no pictures ({', '.join(SUFFIXES)}).")
    pixels = np.stack([read_image(file, spec) if read is None else read(file) for file in files])
    return pixels, [file.name for file in files]


def read_image(path: Path, spec: ImageSpec) -> UInt8[np.ndarray, "height width channels"]:
    """One picture file as uint8 `(H, W, C)`. Raises DataError when it does not fit `spec` exactly.

    Nothing is resized, flattened or cut to 8 bits behind the caller's back: a network has to be shown what it
    was trained on, and how to get there is the caller's choice.
    """
    try:
        with _opened(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{path}: {image.width}×{image.height} pixels is more than sanggar opens ({MAX_PIXELS:,}); "
                    f"this network takes {spec.size}."
                )
            _check_mode(path, image, spec)
            upright = ImageOps.exif_transpose(image)
            if (upright.height, upright.width) != (spec.height, spec.width):
                raise DataError(
                    f"{path}: {upright.height}×{upright.width} pixels, but this network takes {spec.size}. "
                    "Resize the picture first."
                )
            with suppress(OddProfileError):  # damaged, or of other pictures: these are taken for sRGB
                upright = to_srgb(upright)
            # a grey picture saved as RGB stays what it is when brought to one channel
            pixels = np.asarray(upright.convert("RGB" if upright.mode not in ("1", "L") else "L"))
    except Image.DecompressionBombError:
        raise DataError(f"{path}: so many pixels that it was not opened; this network takes {spec.size}.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: not a picture that can be read ({error}).") from None
    return _to_channels(path, pixels, spec)


def _opened(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own bomb warning: the size is checked here, before decoding
        return Image.open(path, formats=FORMATS)


def _check_mode(path: Path, image: Image.Image, spec: ImageSpec) -> None:
    if "A" in image.getbands() or "transparency" in image.info:
        raise DataError(f"{path}: has an alpha channel; this network takes {spec.size}. Flatten it first.")
    deep = any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))  # Pillow cuts 16-bit colour to 8
    if deep or image.mode.startswith(("I", "F")):
        raise DataError(f"{path}: more than 8 bits a pixel; this network takes 8 bits. Convert it first.")


def _to_channels(
    path: Path, pixels: UInt8[np.ndarray, "..."], spec: ImageSpec
) -> UInt8[np.ndarray, "height width channels"]:
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 3 and spec.channels == 1:
        if (pixels != pixels[:, :, :1]).any():
            raise DataError(f"{path}: a colour picture, but this network takes {spec.size}. Make it grey first.")
        pixels = pixels[:, :, :1]
    if pixels.shape[2] == 1 and spec.channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    return pixels


def _read_npz(path: Path, spec: ImageSpec) -> UInt8[np.ndarray, "n height width channels"]:
    try:
        file = open_arrays(path, lambda name: name == "images")
        pixels = file.read("images") if "images" in file.headers else None
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ").rstrip(".")
        raise DataError(f"{path}: not an .npz file that can be read ({reason}).") from None
    if "" in file.headers:
        raise DataError(f"{path}: not an .npz file that can be read (it is an .npy).")
    if pixels is None:
        raise DataError(f"{path}: holds no array `images`. {suggest('images', file.others)}")
    return as_pixels(pixels, spec, str(path))


def as_pixels(array: np.ndarray, spec: ImageSpec, name: str = "images") -> UInt8[np.ndarray, "n height width channels"]:
    """An array `(N, H, W)` or `(N, H, W, C)` as uint8 `(N, H, W, C)`; DataError when it does not fit `spec`."""
    array = np.asarray(array)
    if array.dtype != np.uint8:
        raise DataError(f"{name}: expected uint8 pixels in 0…255, got {array.dtype}.")
    if array.ndim == 3:
        array = array[..., None]
    if len(array) == 0:
        raise DataError(f"{name}: holds no pictures.")
    expected = (spec.height, spec.width, spec.channels)
    if array.ndim != 4 or array.shape[1:] != expected:
        raise DataError(f"{name}: expected an array (N, {', '.join(map(str, expected))}), got {array.shape}.")
    return array


def write_images(
    path: Path,
    pixels: UInt8[np.ndarray, "n height width channels"],
    labels: Int64[np.ndarray, "n"] | None = None,
) -> bytes:
    """The bytes of an `.npz` (`images`, `labels`) or of a `.png` grid, by `path`'s ending. Raises DataError."""
    if path.suffix == ".npz":
        buffer = io.BytesIO()
        plain = pixels[..., 0] if pixels.shape[3] == 1 else pixels
        arrays: dict[str, Any] = {"images": plain} if labels is None else {"images": plain, "labels": labels}
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()
    if path.suffix == ".png":
        return write_png(grid(pixels, min(len(pixels), max(8, round(len(pixels) ** 0.5)))))
    raise DataError(f"{path}: expected a name ending in .png (one grid) or .npz (arrays).")


def write_png(sheet: UInt8[np.ndarray, "..."]) -> bytes:
    """A grey `(H, W)` or colour `(H, W, 3)` picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="PNG")
    return buffer.getvalue()


def grid(
    pixels: UInt8[np.ndarray, "n height width channels"], columns: int, gap: int = 2, scale: int = 1
) -> UInt8[np.ndarray, "..."]:
    """Pictures laid out row by row on mid-grey: `(H, W)` for grey ones, `(H, W, 3)` for colour."""
    n, height, width, channels = pixels.shape
    rows = -(-n // columns)
    sheet = np.full(((height + gap) * rows - gap, (width + gap) * columns - gap, channels), 128, np.uint8)
    for i, picture in enumerate(pixels):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    sheet = sheet.repeat(scale, axis=0).repeat(scale, axis=1)
    return sheet[..., 0] if channels == 1 else sheet


def above_each_other(
    upper: np.ndarray, lower: np.ndarray, columns: int
) -> UInt8[np.ndarray, "n height width channels"]:
    """Two stacks of equally many pictures for a grid of `columns`: a row of one above a row of the other.

    What does not fill a last row is mid-grey, the colour between a grid's pictures.
    """
    short = -len(upper) % columns
    grey = np.full((short, *upper.shape[1:]), 128, np.uint8)
    stacks = (np.concatenate([stack, grey]).reshape(-1, columns, *upper.shape[1:]) for stack in (upper, lower))
    return np.stack(list(stacks), axis=1).reshape(-1, *upper.shape[1:])
