"""Glyphs: capital letters and digits in the fonts that Matplotlib ships, drawn here with factors that are all known."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from PIL import Image, ImageDraw, ImageFont

from sanggar.data.downloads import Download
from sanggar.data.images import Attribute, Images, ImageSpec
from sanggar.data.remote import Place
from sanggar.errors import DataError

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FAMILIES = {
    "mono": ("DejaVuSansMono", "DejaVuSansMono-Oblique", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique"),
    "sans": ("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSans-Bold", "DejaVuSans-BoldOblique"),
    "serif": ("DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic"),
    "stix": ("STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "STIXGeneralBolIta"),
}
"""Font files by family: upright and slanted, then both in bold"""
RANGES = {"size": (10.0, 16.0), "rotation": (-20.0, 20.0), "x": (-2.5, 2.5), "y": (-2.5, 2.5), "ink": (0.5, 1.0)}
"""Of what is drawn evenly: the height of capitals in pixels; degrees, to the left; the middle's distance from the
picture's, in pixels to the right and down; grey of the ink"""
EDGE, FINE = 28, 3
"""Of a picture; and how many times as large it is drawn at first"""
POINTS = 64
"""Size that a font's letters are taken at, before they are scaled and turned"""
TRAIN, TEST = 16_000, 4_000


def _evenly(name: str) -> Attribute:
    low, high = RANGES[name]
    return Attribute(name, "number", mean=(low + high) / 2, deviation=(high - low) / 12**0.5)


SPEC = ImageSpec(
    EDGE, EDGE, 1, tuple(CHARACTERS),
    (
        Attribute("family", "category", tuple(FAMILIES)), Attribute("weight", "flag", ("regular", "bold")),
        Attribute("slant", "flag", ("upright", "slanted")), *map(_evenly, RANGES),
    ),
)  # fmt: skip


@lru_cache(maxsize=1)  # some seconds of drawing, which a training asks for, and what measures it again
def read_glyphs(_: Place) -> tuple[Images, Images]:
    """20,000 pictures of 28×28, white on black: every factor is drawn evenly, and apart from the others.

    Equal bytes where Matplotlib's fonts and Pillow are of equal versions. Raises DataError where the fonts are missing.
    """
    labels, factors = drawn_factors(TRAIN + TEST)
    whole = Images(drawn(labels, factors), labels, factors)
    return whole.take(np.arange(TRAIN)), whole.take(np.arange(TRAIN, TRAIN + TEST))


def drawn_factors(count: int) -> tuple[Int64[np.ndarray, "n"], Float32[np.ndarray, "n factors"]]:
    """Characters by their numbers, and the other factors in the order of the spec's attributes."""
    draw = np.random.default_rng(28)  # part of what this source is: never changed
    labels = draw.integers(0, len(CHARACTERS), count)
    kinds = [draw.integers(0, most, count) for most in (len(FAMILIES), 2, 2)]
    numbers = [draw.uniform(*limits, count) for limits in RANGES.values()]
    return labels, np.stack([*kinds, *numbers], axis=1).astype(np.float32)


def drawn(
    labels: Int64[np.ndarray, "n"], factors: Float32[np.ndarray, "n factors"]
) -> UInt8[np.ndarray, "n height width 1"]:
    """Draw characters by their factors."""
    pixels = np.empty((len(labels), EDGE, EDGE, 1), np.uint8)
    for index, (label, row) in enumerate(zip(labels.tolist(), factors.tolist(), strict=True)):
        family, bold, slanted, size, rotation, x, y, ink = row
        letter, capital = _letter(int(label), int(family), 2 * int(bold) + int(slanted))
        sheet = letter.transform(
            (FINE * EDGE, FINE * EDGE), Image.Transform.AFFINE, _inverse(letter.size, size / capital, rotation, x, y),
            Image.Resampling.BICUBIC,
        )  # fmt: skip
        pixels[index, ..., 0] = np.rint(np.asarray(sheet.reduce(FINE)) * np.float32(ink))
    return pixels


def _inverse(letter: tuple[int, int], scale: float, rotation: float, x: float, y: float) -> tuple[float, ...]:
    """Where a place of the fine sheet lies in the letter: Pillow's affine coefficients."""
    turn, fine = np.deg2rad(rotation), FINE * scale
    a, b = np.cos(turn) / fine, -np.sin(turn) / fine
    centre_x, centre_y = FINE * (EDGE / 2 + x), FINE * (EDGE / 2 + y)
    return (
        a, b, letter[0] / 2 - a * centre_x - b * centre_y,
        -b, a, letter[1] / 2 + b * centre_x - a * centre_y,
    )  # fmt: skip


@cache
def _letter(label: int, family: int, style: int) -> tuple[Image.Image, float]:
    """A character as large as its ink, white on black with a border; and the height of its font's capitals."""
    font = _font(list(FAMILIES.values())[family][style])
    left, top, right, bottom = font.getbbox(CHARACTERS[label])
    border = FINE
    mask = Image.new("L", (int(right - left) + 2 * border, int(bottom - top) + 2 * border))
    ImageDraw.Draw(mask).text((border - left, border - top), CHARACTERS[label], 255, font)
    _, high, _, low = font.getbbox("H")
    return mask, float(low - high)


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    """A font of Matplotlib's. Raises DataError where it is missing."""
    from matplotlib import get_data_path

    path = Path(get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    if not path.is_file():  # Pillow would look for another of this name among the system's
        raise DataError(f"{path} is missing: Matplotlib is installed without its fonts. Install it by pip.")
    return ImageFont.truetype(str(path), POINTS, layout_engine=ImageFont.Layout.BASIC)


GLYPHS = Download(
    about="20,000 capital letters and digits in Matplotlib's fonts with known factors, 28×28 grey, drawn here",
    licence="the fonts' own (DejaVu, STIX), which leave pictures of letters free",
    spec=SPEC,
    read=read_glyphs,
    train_count=TRAIN,
    test_count=TEST,
)
