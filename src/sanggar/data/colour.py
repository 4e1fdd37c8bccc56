"""What a picture file's numbers mean: its colour profile, and the range of what is deeper than 8 bits."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""Tags of a TIFF"""
WHITE_IS_ZERO, SIGNED = 0, 2
LATTICE = 9
"""Colours a channel on which a profile is compared with sRGB"""
SAME = 2
"""Levels that a profile may differ from sRGB and still be it: conversion rounds"""
CHANNELS = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
"""Pillow's modes, by what a profile says it is of"""


class OddProfileError(ValueError):
    """A colour profile that cannot be used."""


def to_srgb(image: Image.Image) -> Image.Image:
    """A picture of 8 bits in the colours of sRGB, by the profile that is embedded in it, transparency kept.

    One without a profile is taken for sRGB. Raises OddProfileError where the profile is damaged or is not one of such
    pictures.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    grey = image.mode in ("1", "L", "LA", "La")
    convert, mode = _transform(bytes(profile), "CMYK" if image.mode == "CMYK" else "L" if grey else "RGB")
    if convert is None:
        return image
    clear = image.has_transparency_data
    whole = image.convert("RGBA") if clear else image
    plain = whole.convert("L" if mode == "L" else "RGB") if image.mode != mode else whole
    try:
        found = convert.apply(plain)
    except (ImageCms.PyCMSError, ValueError, OSError) as error:
        raise OddProfileError(str(error)) from None
    if clear:
        found.putalpha(whole.getchannel("A"))
    return found


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """From a profile to sRGB, none where it is sRGB, and the mode it takes. Raises OddProfileError."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        takes = CHANNELS.get(opened.profile.xcolor_space.strip(), "")
        if takes != mode and (takes, mode) != ("L", "RGB"):  # a palette or RGB of greys may have a profile of grey
            raise OddProfileError(f"it is of {opened.profile.xcolor_space.strip()}, the picture of {mode}")
        found = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), takes, "RGB")
    except (ImageCms.PyCMSError, ValueError, OSError, TypeError) as error:
        raise OddProfileError(str(error)) from None
    return (None if takes != "CMYK" and _changes_nothing(found, takes) else found), takes


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    steps = np.linspace(0, 255, LATTICE).round().astype(np.uint8)
    if mode == "L":
        colours = np.arange(256, dtype=np.uint8)[None]
        expected = np.repeat(colours[..., None], 3, axis=2)
    else:
        colours = expected = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(LATTICE, -1, 3)
    found = np.asarray(transform.apply(Image.fromarray(colours))).astype(np.int16)
    return bool(np.abs(found - expected).max() <= SAME)


def shallow(image: Image.Image, raw: str) -> Image.Image:
    """A picture with 8 bits a channel: its black is 0 and its white 255, where the file says what these are.

    `raw` is how its file lies, as Pillow calls it, which forgets it when it decodes. Raises ValueError where nothing
    says what is white, or what is black.
    """
    tags = getattr(image, "tag_v2", {})
    bits, signed = max(tags.get(BITS, (16,))), SIGNED in tags.get(SAMPLE_FORMAT, ())
    if image.mode == "F":
        raise ValueError("pixels are fractions: no range is known that would be white")
    if image.mode.startswith("I"):
        if bits > 16:
            raise ValueError("more than 16 bits a pixel: no range is known that would be white")
        clear = image.info.get("transparency")
        deep = np.asarray(image).astype(np.int64)
        eight = _scaled(deep, (1 << (bits - signed)) - 1)
        if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
            eight = 255 - eight
        if isinstance(clear, int):
            eight = np.where(deep == clear, np.uint8(255), eight)
        return _like(image, eight)
    if signed and image.mode == "L":
        return _like(image, _scaled(np.asarray(image).view(np.int8).astype(np.int64), 127))
    _match_transparency(image, raw)
    return image


def _scaled(deep: np.ndarray, white: int) -> UInt8[np.ndarray, "height width"]:
    if deep.min() < 0:
        raise ValueError("pixels are negative: nothing says what is black")
    return np.rint(deep * (255 / white)).astype(np.uint8)


def _like(image: Image.Image, pixels: UInt8[np.ndarray, "height width"]) -> Image.Image:
    """A grey picture with the profile of another."""
    found = Image.fromarray(pixels)
    if "icc_profile" in image.info:
        found.info["icc_profile"] = image.info["icc_profile"]
    return found


def _match_transparency(image: Image.Image, raw: str) -> None:
    """Bring the colour that is transparent to the 8 bits that Pillow makes of 2, 4 and 16."""
    clear = image.info.get("transparency")
    if isinstance(clear, int) and raw in ("L;2", "L;4"):
        image.info["transparency"] = clear * {"L;2": 85, "L;4": 17}[raw]
    elif isinstance(clear, tuple) and "16" in raw:
        image.info["transparency"] = tuple(value >> 8 for value in clear)
