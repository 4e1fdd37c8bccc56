"""Linear probes: linear models that tell classes and attributes from features, and scores of what they tell."""

from __future__ import annotations

import warnings
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from sanggar.data.images import Images
from sanggar.evaluation.statistics import Interval, bootstrapped, share_interval

Table = Float[np.ndarray, "_ _"]
EDGE = 32
"""Larger pictures are brought down to about this before their pixels serve as features"""
SHRINKAGE = 0.01
"""Weight decay of the ridge regression per picture, in squared deviations of a feature"""
RESAMPLES = 1000
"""Bootstrap draws behind the interval of R²"""


@runtime_checkable
class Probe(Protocol):
    """A pipeline of scikit-learn's: standardization, then a linear model."""

    def fit(self, X: Table, y: np.ndarray) -> Probe:
        """Fit to features and the truth of each row; the probe itself."""
        ...

    def predict(self, X: Table) -> np.ndarray:
        """What it tells of each row."""
        ...

    def __getitem__(self, step: int) -> Any: ...


@runtime_checkable
class Components(Protocol):
    """Principal components, fitted by scikit-learn: all at once or some pictures at a time."""

    n_components_: int

    def transform(self, X: Table) -> Table:
        """Features as their components."""
        ...

    def inverse_transform(self, X: Table) -> Table:
        """The way back."""
        ...


def principal_components(table: Table, size: int, seed: int) -> Components:
    """PCA of `size` components, or as many as there can be, by scikit-learn. Of rows that are all the same as well."""
    from sklearn.decomposition import PCA

    with np.errstate(invalid="ignore", divide="ignore"):  # a variance of 0 has no shares
        return PCA(min(size, *table.shape), random_state=seed).fit(table)  # type: ignore[no-any-return]


def logistic(*, balanced: bool = False) -> Probe:
    """Logistic regression on standardized features; balanced: each value weighs as much, however rare it is."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(max_iter=300, class_weight="balanced" if balanced else None)
    probe: Probe = make_pipeline(StandardScaler(), model)
    return probe


def ridge(pictures: int) -> Probe:
    """Ridge regression on standardized features, for so many pictures."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe: Probe = make_pipeline(StandardScaler(), Ridge(alpha=SHRINKAGE * pictures))
    return probe


def fit(model: Probe, table: Table, truth: np.ndarray) -> Probe:
    """Fit a probe. It has 300 iterations by its protocol, and no warning is given where they do not converge."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(table, truth)


def normal(model: Probe) -> Float[np.ndarray, "d"]:
    """Direction in which a fitted probe's verdict grows, in the scale of the features, of length 1."""
    scaler, linear = model[0], model[-1]
    direction = np.ravel(linear.coef_) / scaler.scale_
    length = float(np.linalg.norm(direction))
    return np.asarray(direction / length if length else direction, np.float32)


def balanced_accuracy(right: Bool[np.ndarray, "n"], truth: Float[np.ndarray, "n"]) -> tuple[float, Interval]:
    """Mean over the values of `truth` of the share told right, so that a rare value counts as a common one.

    With its 95 % interval, from those of the shares (Newcombe 1998; Zou & Donner 2008): it is not a point where all
    were told right.
    """
    told = [right[truth == value] for value in np.unique(truth)]
    shares, intervals = np.array([of.mean() for of in told]), np.array([share_interval(of) for of in told])
    low, high = np.sqrt(np.square(intervals.T - shares).sum(axis=1)) / len(told)
    return float(shares.mean()), (float(shares.mean() - low), float(shares.mean() + high))


def r_squared(
    predicted: Float[np.ndarray, "n"], truth: Float[np.ndarray, "n"], seed: int
) -> tuple[float, Interval | None]:
    """Share of variance explained, R²; 0 is as good as the mean. With its 95 % interval (percentile bootstrap)."""
    drawn = np.random.default_rng(seed).integers(0, len(truth), (RESAMPLES, len(truth)))
    drawn = np.concatenate([np.arange(len(truth))[None], drawn])
    of = truth[drawn].astype(np.float64)
    wrong = np.square(predicted[drawn] - of).mean(axis=1)
    spread = of.var(axis=1)
    shares = 1 - wrong / np.maximum(spread, 1e-12)
    return float(shares[0]), bootstrapped(float(shares[0]), shares[1:])


def pixel_table(images: Images) -> Table:
    """Pixels as features, 0…255; of pictures larger than `EDGE`, the means of square blocks.

    Some pictures at a time, so that a memory map is never copied whole.
    """
    return np.concatenate([_blocks(part.pixels) for part in images.chunks(1000)])


def block_edge(height: int, width: int) -> int:
    """Edge of the blocks whose means serve as features; 1 where pixels stay as they are."""
    return max(1, max(height, width) // EDGE)


def _blocks(pixels: UInt8[np.ndarray, "n height width channels"]) -> Table:
    n, height, width, channels = pixels.shape
    side = block_edge(height, width)
    if side > 1:
        rows, columns = height // side, width // side
        cut = pixels[:, : rows * side, : columns * side].reshape(n, rows, side, columns, side, channels)
        return np.asarray(cut.mean(axis=(2, 4), dtype=np.float32).reshape(n, -1))
    return np.asarray(pixels.reshape(n, -1), np.float32)
