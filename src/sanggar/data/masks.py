"""Masks of odd pictures: where each differs from normal ones, brought to the squares that the pictures become."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps

from sanggar.data.decoding import read_file, shown, why
from sanggar.data.images import FORMATS, MAX_PIXELS
from sanggar.data.layout import SHOWN

Fit = Literal["crop", "squash"]
Marked = Bool[np.ndarray, "size size"]

NORMAL, ODD, UNKNOWN = 0, 1, 255
"""What a mask says of a pixel"""
ORIENTATION = 0x0112
"""EXIF's tag; from 5 on, width and height are exchanged"""


def read_masks(
    place: Path, names: Sequence[str], odd: Bool[np.ndarray, "n"], masks: Mapping[str, tuple[str, ...]], size: int,
    fit: Fit,
) -> tuple[UInt8[np.ndarray, "n size size"], list[str]]:  # fmt: skip
    """Where the pictures of these names are odd, and what is to be said of their masks, a line each.

    A picture that is not `odd` is normal everywhere. Of one that is, all its masks together say where: whatever is not
    black. Nobody says of one without masks, or of whose masks one cannot be used.
    """
    found = np.full((len(names), size, size), UNKNOWN, np.uint8)
    found[~odd] = NORMAL
    wrong: list[str] = []
    with nullcontext() if place.is_dir() else zipfile.ZipFile(place) as archive:
        for index in np.flatnonzero(odd).tolist():
            name = names[index]
            try:
                marked = [_read(str(place), archive, mask, name, size, fit) for mask in masks.get(name, ())]
            except Exception as error:  # a damaged file makes Pillow raise anything
                if isinstance(error, MemoryError):
                    raise
                wrong.append(f"a mask of {name} cannot be used: {why(error)}")
                continue
            if marked:
                found[index] = np.where(np.any(marked, axis=0), ODD, NORMAL)
    known = int((found[odd][:, 0, 0] != UNKNOWN).sum())
    said = [f"masks say of {known:,} of {int(odd.sum()):,} odd test pictures where they are odd"]
    more = [f"{len(wrong) - SHOWN:,} more pictures' masks cannot be used"] * (len(wrong) > SHOWN)
    return found, [*said, *wrong[:SHOWN], *more]


def _read(place: str, archive: zipfile.ZipFile | None, mask: str, picture: str, size: int, fit: Fit) -> Marked:
    """One mask, which has to be of its picture's size. Raises ValueError, or whatever Pillow raises."""
    with Image.open(io.BytesIO(read_file(place, archive, picture)), formats=FORMATS) as image:
        expected = _upright(image)
    with Image.open(io.BytesIO(read_file(place, archive, mask)), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}×{image.height} pixels are more than sanggar opens ({MAX_PIXELS:,})")
        if (own := _upright(image)) != expected:
            raise ValueError(f"{mask} has {own[0]}×{own[1]} pixels, and the picture {expected[0]}×{expected[1]}")
        ImageOps.exif_transpose(image, in_place=True)
        return _scaled(_marked(image), size, fit)


def _upright(image: Image.Image) -> tuple[int, int]:
    """Width and height as the picture is looked at."""
    turned = image.getexif().get(ORIENTATION, 1) >= 5
    return (image.height, image.width) if turned else image.size


def _marked(image: Image.Image) -> Image.Image:
    """White where a mask is not black, whatever its kind: 0 and 255, 0 and 1, or a number for each kind of oddness."""
    lossy = image.format == "JPEG"  # its black is not quite black beside white
    plain = image.convert("RGB") if image.mode in ("CMYK", "YCbCr", "LAB", "HSV") else image
    values = np.asarray(plain)
    if values.ndim == 3:
        values = values[..., : len(plain.getbands()) - ("A" in plain.getbands())].max(axis=2)
    return Image.fromarray(np.where(values > (127 if lossy else 0), 255, 0).astype(np.uint8))


def _scaled(mask: Image.Image, size: int, fit: Fit) -> Marked:
    """Where at least half of what a pixel shows is marked; where a mark is smaller, the pixels that show most of it."""
    shares = np.asarray(mask.resize((size, size), Image.Resampling.BOX, shown(mask, fit)))
    return np.asarray(shares >= min(128, max(1, int(shares.max()))))
