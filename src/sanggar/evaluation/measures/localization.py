"""How well heat maps say where pictures are odd: area under the ROC curve of pixels, overlap with each odd place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from sanggar.evaluation.statistics import Interval, bootstrapped, mean_interval

Heat = Float[np.ndarray, "n height width"]
Marks = Bool[np.ndarray, "n height width"]

BINS = 4096
"""Degrees of heat that are told apart, equally many pixels in each"""
DRAWS = 200
"""Draws of the bootstrap behind the interval of an AUROC"""
SAMPLED = 10_000_000
"""Pixels that degrees and thresholds are taken from, at most: evenly spread over all"""
RATES = np.linspace(0, 0.3, 301)
"""False positive rates over which overlaps are averaged: to 0.3, as of MVTec AD (Bergmann et al. 2021, section 5.2)"""


@dataclass(frozen=True)
class Located:
    """How well heat maps say where pictures are odd, in one respect."""

    value: float
    interval: Interval | None


def localization(maps: Heat, odd: Marks) -> dict[str, Located]:
    """Both, by the last part of their keys."""
    return {"pixel_auroc": Located(*pixel_auroc(maps, odd)), "region_overlap": Located(*region_overlap(maps, odd))}


def pixel_auroc(maps: Heat, odd: Marks, seed: int = 0) -> tuple[float, Interval | None]:
    """The chance that an odd pixel is hotter than a normal one, to within 0.0002, and its 95 % interval.

    Pixels of one picture say much the same, so that pictures and not pixels are drawn for the interval's bootstrap.
    Needs odd pixels and normal ones.
    """
    cuts = np.unique(np.quantile(_sampled(maps), np.arange(1, BINS) / BINS))
    cold, hot = np.zeros((2, len(maps), len(cuts) + 1))
    for one, other, heat, mark in zip(cold, hot, maps, odd, strict=True):
        degree = np.searchsorted(cuts, heat, side="right")
        one += np.bincount(degree[~mark], minlength=len(one))
        other += np.bincount(degree[mark], minlength=len(one))
    value = float(_area(cold.sum(axis=0), hot.sum(axis=0)))
    draw = np.random.default_rng(seed)
    times = np.zeros((DRAWS, len(maps)))
    for some in (odd.any(axis=(1, 2)), ~odd.any(axis=(1, 2))):  # as many odd and as many normal pictures as there are
        if some.any():
            times[:, some] = draw.multinomial(some.sum(), np.full(some.sum(), 1 / some.sum()), DRAWS)
    drawn = _area(times @ cold, times @ hot)
    return value, bootstrapped(value, drawn[np.isfinite(drawn)])


def _area(cold: np.ndarray, hot: np.ndarray) -> np.ndarray:
    """Area under the ROC curve by counts of normal and odd pixels in each degree of heat, the last axis."""
    below = np.cumsum(cold, axis=-1) - cold / 2
    with np.errstate(invalid="ignore"):  # a draw without normal pixels
        return np.asarray((hot * below).sum(axis=-1) / (hot.sum(axis=-1) * cold.sum(axis=-1)))


def region_overlap(maps: Heat, odd: Marks) -> tuple[float, Interval | None]:
    """Mean overlap with each odd place, small ones counting as much as large, and its 95 % interval over places.

    Of each place, a set of odd pixels that touch, also by their corners: the share of it that is hotter than a
    threshold, averaged over the thresholds at which 0 to 0.3 of normal pixels are hotter (AU-PRO, divided by 0.3).
    Needs odd pixels and normal ones.
    """
    from scipy.integrate import trapezoid
    from scipy.ndimage import find_objects, label

    thresholds = np.quantile(_sampled(maps[~odd]), 1 - RATES, method="higher")
    areas = []
    for heat, mark in zip(maps, odd, strict=True):
        numbered, _ = label(mark, np.ones((3, 3)))
        for number, box in enumerate(find_objects(numbered), 1):
            inside = np.sort(heat[box][numbered[box] == number])
            overlaps = 1 - np.searchsorted(inside, thresholds, side="right") / len(inside)
            areas.append(float(trapezoid(overlaps, RATES)) / float(RATES[-1]))
    interval = mean_interval(np.array(areas))
    return float(np.mean(areas)), interval and (max(0.0, interval[0]), min(1.0, interval[1]))


def _sampled(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(-1)
    return flat[:: -(-flat.size // SAMPLED)]
