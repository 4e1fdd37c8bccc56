"""How well a score tells odd pictures from normal ones: area under the ROC curve, and average precision."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int64

from sanggar.evaluation.statistics import Interval, bootstrapped, student

Vector = Float[np.ndarray, "n"]

RESAMPLED = 200
"""Draws of the bootstrap behind the interval of an average precision"""


def auroc(normal: Vector, odd: Float[np.ndarray, "m"]) -> tuple[float, Interval | None]:
    """Area under the ROC curve: the chance that an odd picture scores higher than a normal one; its 95 % interval.

    DeLong et al. 1988, by midranks (Sun & Xu 2014). No interval where there is one picture of a kind, or none is in
    doubt.
    """
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([odd, normal]))
    below = (ranks[: len(odd)] - rankdata(odd)) / len(normal)  # of each odd picture: normal ones below it
    above = 1 - (ranks[len(odd) :] - rankdata(normal)) / len(odd)  # of each normal one: odd ones above it
    value = float(below.mean())
    interval = student(value, [below, above])
    return value, interval and (max(0.0, interval[0]), min(1.0, interval[1]))


def average_precision(normal: Vector, odd: Float[np.ndarray, "m"], seed: int = 0) -> tuple[float, Interval | None]:
    """Mean precision over recall, the highest scores taken first (scikit-learn), and its 95 % interval.

    The interval is a bootstrap of pictures drawn by `seed`, as many odd and as many normal ones as there are.
    """
    from sklearn.metrics import average_precision_score

    truth, scores = np.repeat([0, 1], [len(normal), len(odd)]), np.concatenate([normal, odd])
    value = float(average_precision_score(truth, scores))
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # equal scores are taken together
    drawn = _precisions(truth[order], _times(len(normal), len(odd), seed)[:, order], last)
    return value, bootstrapped(value, drawn)


@lru_cache(maxsize=2)  # every score of a trial is of as many pictures
def _times(normal: int, odd: int, seed: int) -> Int64[np.ndarray, "draws n"]:
    """How often each picture comes in each draw: of the normal ones, then of the odd ones."""
    draw = np.random.default_rng(seed)
    return np.concatenate([draw.multinomial(n, np.full(n, 1 / n), RESAMPLED) for n in (normal, odd)], axis=1)


def _precisions(
    truth: Int64[np.ndarray, "n"], times: Int64[np.ndarray, "draws n"], last: Int64[np.ndarray, "m"]
) -> Float[np.ndarray, "draws"]:
    """Average precision of each draw, in which each picture comes some `times`; pictures in descending order of score.

    `last` are the positions of the last of equal scores. scikit-learn's takes ten times as long.
    """
    right, taken = np.cumsum(times * truth, axis=1)[:, last], np.cumsum(times, axis=1)[:, last]
    gained = np.diff(right, axis=1, prepend=0)
    return np.asarray(np.sum(gained * right / np.maximum(taken, 1), axis=1) / right[:, -1])
