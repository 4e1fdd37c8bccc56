"""How odd a picture is to what was fitted to normal ones, and how well that tells odd from normal: arrays in and out.

Every score is higher for odder pictures. Nothing in it compares between networks; its share among normal pictures does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, UInt8

from sanggar.data.images import mean_squared_errors
from sanggar.runs import Arrays
from sanggar.trained import Pixels

Vector = Float[np.ndarray, "n"]
Scores = dict[str, Float[np.ndarray, "_"]]
"""By name, a number a picture"""
Heat = Float[np.ndarray, "n height width"]
Table = Float[np.ndarray, "n d"]

SLACK = 0.05
"""Added to the deviation of each pixel's residual, on [-1, 1]: one that never changed is not sure for ever."""
LIMIT = 99
"""Percentage of normal pictures whose hottest place is below what is drawn as the hottest colour."""
CHUNK = 512
"""Pictures of which there are floats at a time."""


# -- what normal pictures are like -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """What scoring has to know of normal pictures."""

    deviations: Float[np.ndarray, "height width channels"]
    """root mean square of each pixel's residual over training pictures, on [-1, 1], and the slack"""
    centre: Float[np.ndarray, "latent"] | None
    """of the training pictures' latents, where there are latents"""
    precision: Float[np.ndarray, "latent latent"] | None
    """the inverse of their covariance"""
    normal: Scores
    """of validation pictures, in ascending order"""
    limit: float
    """squared error at which a heat map is hottest"""

    def arrays(self) -> Arrays:
        """All of it by name, to be kept in a file."""
        kept: Arrays = {"deviations": self.deviations, "limit": np.array([self.limit])}
        if self.centre is not None and self.precision is not None:
            kept |= {"centre": self.centre, "precision": self.precision}
        return kept | {f"normal.{name}": scores for name, scores in self.normal.items()}

    @classmethod
    def of(cls, arrays: Arrays) -> Known:
        """From what `arrays` gave."""
        normal = {name.removeprefix("normal."): array for name, array in arrays.items() if name.startswith("normal.")}
        centre, precision = arrays.get("centre"), arrays.get("precision")
        return cls(arrays["deviations"], centre, precision, normal, float(arrays["limit"][0]))


def residual_deviations(pixels: Pixels, came_back: Pixels) -> Float[np.ndarray, "height width channels"]:
    """Root mean square of each pixel's residual on [-1, 1], and the slack."""
    total = np.zeros(pixels.shape[1:])
    for part in _parts(len(pixels)):
        total += np.square(_residuals(pixels[part], came_back[part])).sum(axis=0, dtype=np.float64)
    return np.asarray(np.sqrt(total / len(pixels)) + SLACK, np.float32)


def gaussian(latents: Table) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d d"]]:
    """Mean and inverse covariance, the covariance shrunk (Ledoit & Wolf 2004; scikit-learn)."""
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf().fit(latents.astype(np.float64))
    return np.asarray(fitted.location_), np.asarray(fitted.precision_)


# -- scores --------------------------------------------------------------------------------------------------------


def scores(known: Known, pixels: Pixels, came_back: Pixels, latents: Table | None) -> Scores:
    """Of pictures, of what came back of them, and of their latents where the network has a latent space.

    `reconstruction`: mean squared error on [-1, 1]. `residual`: the same with each pixel's residual in deviations of
    that pixel. `latent`: squared Mahalanobis distance to the training pictures' latents.
    """
    found: Scores = {"reconstruction": mean_squared_errors(pixels, came_back)}
    found["residual"] = np.concatenate([_weighed(known, pixels[p], came_back[p]) for p in _parts(len(pixels))])
    if latents is not None and known.centre is not None and known.precision is not None:
        found["latent"] = mahalanobis(latents, known.centre, known.precision)
    return found


def _weighed(known: Known, pixels: Pixels, came_back: Pixels) -> Vector:
    squares = np.square(_residuals(pixels, came_back) / known.deviations)
    return np.asarray(squares.mean(axis=(1, 2, 3), dtype=np.float64))


def mahalanobis(latents: Table, centre: Float[np.ndarray, "d"], precision: Float[np.ndarray, "d d"]) -> Vector:
    """Squared distance of each latent from the centre, in the metric of the training pictures' latents."""
    apart = latents.astype(np.float64) - centre
    return np.asarray(np.einsum("nd,de,ne->n", apart, precision, apart, optimize=True))


def together(found: Scores, normal: Scores) -> Vector:
    """Residual and latent distance in one: the sum of their logarithms, each in deviations of normal pictures.

    What is odd about a picture is either painted wrongly, or painted well from a latent that normal pictures do not
    have. Both are squared distances, long-tailed, hence logarithms.
    """
    total = np.zeros(len(found["residual"]))
    for name in ("residual", "latent"):
        usual = np.log(normal[name] + 1e-12)
        total += (np.log(found[name] + 1e-12) - usual.mean()) / max(float(usual.std()), 1e-12)
    return total


def share_below(found: Vector, normal: Float[np.ndarray, "m"]) -> Vector:
    """The share of normal pictures that score lower; `normal` is in ascending order."""
    return np.asarray(np.searchsorted(normal, found, side="left") / len(normal))


# -- where it sits -------------------------------------------------------------------------------------------------


def heat(pixels: Pixels, came_back: Pixels) -> Heat:
    """Squared error of each pixel on [-1, 1], the mean over channels, smoothed by a Gaussian.

    Its deviation is a 28th of the shorter edge, and at least half a pixel.
    """
    from scipy.ndimage import gaussian_filter

    sigma = max(0.5, min(pixels.shape[1:3]) / 28)
    maps = np.empty(pixels.shape[:3], np.float32)
    for part in _parts(len(pixels)):
        errors = np.square(_residuals(pixels[part], came_back[part])).mean(axis=3)
        gaussian_filter(errors, (0, sigma, sigma), output=maps[part])
    return maps


def hottest(maps: Heat) -> float:
    """The heat that the hottest place of LIMIT % of the pictures stays below: where a map's colours end."""
    return max(float(np.percentile(maps.max(axis=(1, 2)), LIMIT)), 1e-6)


def overlaid(
    picture: UInt8[np.ndarray, "height width channels"],
    warm: Float[np.ndarray, "height width"],
    limit: float,
    scale: int = 1,
) -> UInt8[np.ndarray, "tall wide 3"]:
    """A picture enlarged, turned grey, and coloured where the error is: the hotter, the less of it shows through.

    Pixels stay square, the heat between them is interpolated. From `limit` on, the colour is at its end.
    """
    from matplotlib import colormaps
    from scipy.ndimage import zoom

    share = np.clip(warm / limit, 0, 1)
    if scale > 1:
        share = np.clip(zoom(share, scale, order=1, mode="nearest", grid_mode=True), 0, 1)
    grey = picture.mean(axis=2, keepdims=True).repeat(scale, axis=0).repeat(scale, axis=1)
    colour = 255 * colormaps["inferno"](share)[..., :3]
    opaque = np.sqrt(share)[..., None]
    return np.asarray(np.rint((1 - opaque) * grey + opaque * colour), np.uint8)


def _residuals(pixels: Pixels, came_back: Pixels) -> Float[np.ndarray, "n height width channels"]:
    return (came_back.astype(np.float32) - pixels.astype(np.float32)) / np.float32(127.5)


def _parts(count: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, count, CHUNK)]
