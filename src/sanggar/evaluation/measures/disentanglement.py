"""Disentanglement: whether what varies in pictures lies along single dimensions of a latent space.

Functions of latents and of factors, one column each. All scores are 1 where every factor is a dimension of its own,
and 0 where no dimension says more of a factor than any other does.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

Table = Float[np.ndarray, "n d"]
Codes = Int64[np.ndarray, "n"]
BINS = 20
"""Bins of equal counts that a dimension or a number is cut into"""
TREES, DEPTH = 60, 8
"""Trees of a forest, and how deep they are"""


def equal_count_bins(values: Float[np.ndarray, "n"]) -> Codes:
    """Cut numbers into bins of equal counts; into fewer where the same number comes often."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.asarray(np.searchsorted(edges, values, side="left"), np.int64)


def mutual_information_gap(latents: Table, factor: Codes) -> float:
    """Measure by how much the dimension that knows most of a factor knows more than the next.

    In shares of the factor's entropy (Chen et al. 2018, arXiv:1802.04942, equation 6), dimensions cut into bins of
    equal counts. A constant factor has no entropy, and no gap: 0.
    """
    from sklearn.metrics import mutual_info_score

    shares = np.bincount(factor) / len(factor)
    entropy = -float(np.sum(shares[shares > 0] * np.log(shares[shares > 0])))
    if entropy == 0 or latents.shape[1] < 2:
        return 0.0
    known = sorted(mutual_info_score(factor, equal_count_bins(column.astype(np.float64))) for column in latents.T)
    return float((known[-1] - known[-2]) / entropy)


def importances(latents: Table, factors: list[tuple[np.ndarray, bool]], seed: int) -> Float[np.ndarray, "d k"]:
    """Measure how much each dimension matters to a forest that tells each factor; a column sums to 1.

    A factor comes with whether it is a number; the forest is of regression trees then, else of classification trees.
    """
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    columns = []
    for values, is_number in factors:
        kind = ExtraTreesRegressor if is_number else ExtraTreesClassifier
        forest = kind(TREES, max_depth=DEPTH, max_features=None, random_state=seed)
        columns.append(forest.fit(latents, values).feature_importances_)
    return np.asarray(np.stack(columns, axis=1), np.float64)


def dci(importance: Float[np.ndarray, "d k"]) -> tuple[float, float]:
    """Disentanglement and completeness (Eastwood & Williams 2018, https://openreview.net/forum?id=By-7dz-AZ).

    Disentanglement: 1 − the entropy of a dimension's importance over factors, to base k, in the mean weighted by how
    much the dimension matters. Completeness: 1 − the entropy of a factor's importance over dimensions, to base d, in
    the plain mean over factors, 0 for one that no dimension tells. Needs at least two factors and two dimensions.
    """
    size, count = importance.shape
    weight = importance.sum(axis=1) / max(float(importance.sum()), 1e-12)
    apart = 1 - _entropy(importance, axis=1) / np.log(count)
    whole = np.where(importance.sum(axis=0) > 0, 1 - _entropy(importance, axis=0) / np.log(size), 0.0)
    return float(np.sum(weight * apart)), float(whole.mean())


def _entropy(importance: Float[np.ndarray, "d k"], axis: int) -> Float[np.ndarray, "_"]:
    total = importance.sum(axis=axis, keepdims=True)
    shares = np.divide(importance, total, out=np.zeros_like(importance), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-np.sum(shares * logs, axis=axis))
