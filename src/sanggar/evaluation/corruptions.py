"""Pictures that are odd on purpose: normal ones with something done to them, and pictures too simple to be normal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sanggar.seeding import address
from sanggar.trained import Pixels

Change = Callable[[Pixels, int], Pixels]
"""Pictures and a seed to as many pictures that are odd"""

NOISE = 0.1
"""Deviation of the added noise, on [0, 1]"""


def blurred(pixels: Pixels, seed: int) -> Pixels:
    """Blur pictures by a Gaussian, its deviation a 14th of the shorter edge and at least one pixel (SciPy)."""
    from scipy.ndimage import gaussian_filter

    sigma = max(1.0, min(pixels.shape[1:3]) / 14)
    return _as_pixels(np.stack([gaussian_filter(picture.astype(np.float32), (sigma, sigma, 0)) for picture in pixels]))


def noisy(pixels: Pixels, seed: int) -> Pixels:
    """Add Gaussian noise to every pixel."""
    noise = np.random.default_rng(seed).standard_normal(pixels.shape, np.float32)
    return _as_pixels(pixels + np.float32(255 * NOISE) * noise)


def occluded(pixels: Pixels, seed: int) -> Pixels:
    """Cover each picture by a square of mid-grey, a third of the shorter edge, anywhere inside."""
    return _patched(pixels, seed, max(1, min(pixels.shape[1:3]) // 3), lambda patch: np.full_like(patch, 128))


def defective(pixels: Pixels, seed: int) -> Pixels:
    """Invert the colours of a square of an eighth of the shorter edge, inside the middle half of each picture."""
    return _patched(pixels, seed, max(1, min(pixels.shape[1:3]) // 8), lambda patch: 255 - patch, middle=True)


def smooth(pixels: Pixels, seed: int) -> Pixels:
    """As many pictures that show nothing: a colour that runs evenly from each corner to the others.

    The corners' colours are drawn from the pixels of the pictures given.
    """
    n, height, width, channels = pixels.shape
    draw = np.random.default_rng(seed)
    everything = pixels.reshape(-1, channels)
    corners = everything[draw.integers(0, len(everything), (n, 2, 2))].astype(np.float32)
    down, right = (np.linspace(0, 1, size, dtype=np.float32) for size in (height, width))
    rows = np.stack([1 - down, down])
    columns = np.stack([1 - right, right])
    return _as_pixels(np.einsum("nabc,ah,bw->nhwc", corners, rows, columns, optimize=True))


def faded(pixels: Pixels, seed: int) -> Pixels:
    """Leave pictures a fifth of their contrast: move them four fifths of the way to their own mean picture."""
    mean = pixels.mean(axis=0, dtype=np.float64).astype(np.float32)
    return _as_pixels(mean + np.float32(0.2) * (pixels - mean))


CORRUPTIONS: dict[str, Change] = {"blur": blurred, "noise": noisy, "occlusion": occluded, "defect": defective}
"""By name: what is done to normal pictures"""
LOCAL = {"occlusion", "defect"}
"""Those that leave most of a picture as it is"""
SIMPLER: dict[str, Change] = {"smooth": smooth, "faded": faded}
"""By name: what makes pictures that are simpler than the normal ones"""
PURPOSES = {"defect": "small defect", "smooth": "smooth pictures", "faded": "faded pictures"}
"""Purposes of random draws where they are not the names. They are addresses: others would draw other pictures."""


def seed_of(name: str, seed: int) -> int:
    """Seed of the pictures of this name."""
    return address(seed, PURPOSES.get(name, name))


def _patched(
    pixels: Pixels, seed: int, edge: int, cover: Callable[[np.ndarray], np.ndarray],
    middle: bool = False,
) -> Pixels:  # fmt: skip
    """Replace a square of each picture, anywhere inside or inside the middle half."""
    draw = np.random.default_rng(seed)
    n, height, width, _ = pixels.shape
    patched = pixels.copy()
    for i in range(n):
        places = []
        for size in (height, width):
            margin = min(size // 4, (size - edge) // 2) if middle else 0
            places.append(int(draw.integers(margin, size - edge - margin + 1)))
        top, left = places
        patch = patched[i, top : top + edge, left : left + edge]
        patch[:] = cover(patch)
    return patched


def _as_pixels(values: np.ndarray) -> Pixels:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)
