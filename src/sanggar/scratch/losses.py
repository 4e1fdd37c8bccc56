"""Losses: one number for a batch, the mean over its examples, each beside its derivative.

`targets` are plain arrays. For the categorical losses they are class numbers `(n,)`, or a row of probabilities for
each example `(n, classes)`. With `weights (n,)`, numbers from 0, the mean is Σ weight · loss / Σ weight. Raises
DataError for targets and weights that do not fit.

Logits may be infinite, or further apart than their dtype reaches. Then the losses from logits have their limits: what
a target of 0 is multiplied with counts 0, and equal logits are 0 apart, infinite ones included. So a row of −∞ alone
is one of equal logits, and a loss is infinite only where a target asks for what has probability 0.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from sanggar.errors import DataError, NetworkError, suggest
from sanggar.scratch.activations import logistic
from sanggar.scratch.ops import below_top, ones
from sanggar.scratch.tensor import Array, Tensor, record


class Loss(Protocol):
    """A loss of outputs, or logits, and targets."""

    def __call__(self, outputs: Tensor, targets: ArrayLike, /, weights: Array | None = None) -> Tensor:
        """The mean over the examples, weighted where there are weights."""


def mse(outputs: Tensor, targets: ArrayLike, weights: Array | None = None) -> Tensor:
    """Mean of (outputs − targets)², over examples and outputs."""
    difference = outputs.data - _fitting(outputs, targets)
    shared = difference * _share_of_entries(outputs, weights)
    return record(np.vdot(difference, shared), (outputs, lambda g: shared * (2 * g)))


def binary_cross_entropy(outputs: Tensor, targets: ArrayLike, weights: Array | None = None) -> Tensor:
    """Mean of −t log p − (1 − t) log(1 − p), over examples and outputs; outputs are probabilities.

    A probability of exactly 0 or 1 counts as the smallest step away from it, so that loss and gradient stay finite.
    """
    t, p, share = _fitting(outputs, targets), _inside(outputs.data), _share_of_entries(outputs, weights)
    loss = -((t * np.log(p) + (1 - t) * np.log1p(-p)) * share).sum()
    return record(loss, (outputs, lambda g: (p - t) / (p * (1 - p)) * (g * share)))


def binary_cross_entropy_from_logits(logits: Tensor, targets: ArrayLike, weights: Array | None = None) -> Tensor:
    """The same with p = sigmoid(logits), without overflow: |z| · (what is wrong) + log(1 + e^−|z|).

    What is wrong is 1 − t where z is positive, else t.
    """
    z, t, share = logits.data, _fitting(logits, targets), _share_of_entries(logits, weights)
    size, wrong = np.abs(z), np.where(z > 0, 1 - t, t)
    loss = (_product(wrong * share, size) + np.log1p(np.exp(-size)) * share).sum()
    return record(loss, (logits, lambda g: (logistic(z) - t) * (g * share)))


def categorical_cross_entropy(outputs: Tensor, targets: ArrayLike, weights: Array | None = None) -> Tensor:
    """Mean over examples of −Σ t log p; each row of outputs is a distribution.

    A probability of exactly 0 counts as the smallest step away from it, so that loss and gradient stay finite.
    """
    t, p = _rows(outputs, targets), _inside(outputs.data)
    shared = t * (_share_of_entries(outputs, weights) * outputs.shape[1])
    return record(-np.vdot(shared, np.log(p)), (outputs, lambda g: shared / p * -g))


def categorical_cross_entropy_from_logits(logits: Tensor, targets: ArrayLike, weights: Array | None = None) -> Tensor:
    """The same with p = softmax(logits), without overflow: Σ t · (log Σ eᶻ − z)."""
    t, share = _rows(logits, targets).T, _share(logits, weights)
    z = logits.data.T.copy()  # an example is a column: NumPy is quickest along long rows
    with np.errstate(over="ignore", invalid="ignore"):
        z -= np.maximum.reduce(z)
    e = np.exp(z)
    total = ones(len(e), e.dtype).dot(e)
    if weights is None:
        loss = (np.log(total).dot(ones(len(total), e.dtype)) - np.vdot(t, z)) * share  # Σ t is 1
    else:
        loss = np.log(total).dot(share) - np.vdot(t * share, z)
    if not math.isfinite(loss):
        e, total, loss = _far(logits.data.T, t, share)

    def by_logits(g: Array) -> Array:
        found = e / total
        found -= t
        found *= g * share
        return found.T

    return record(loss, (logits, by_logits))


def _far(z: Array, t: Array, share: float | Array) -> tuple[Array, Array, Array]:
    """Powers of e, their sums and the loss of columns of logits, which may be infinite or too far apart for floats."""
    below, _ = below_top(z, 0)
    e = np.exp(below)
    total = e.sum(axis=0)
    apart, _ = below_top(z.astype(np.longdouble), 0)  # the widest floats there are
    lost = _product(t * share, -apart).sum() + (np.log(total) * share).sum()
    with np.errstate(over="ignore"):
        return e, total, lost.astype(z.dtype)


def _product(counts: Array, far: Array) -> Array:
    """counts · far, where 0 · ∞ is 0: what does not count may be infinite."""
    return np.multiply(counts, far, out=np.zeros_like(far), where=counts != 0)


LOSSES: dict[str, Loss] = {
    "mse": mse,
    "binary_cross_entropy": binary_cross_entropy,
    "categorical_cross_entropy": categorical_cross_entropy,
}

FROM_LOGITS: dict[tuple[str, str], Loss] = {
    ("sigmoid", "binary_cross_entropy"): binary_cross_entropy_from_logits,
    ("softmax", "categorical_cross_entropy"): categorical_cross_entropy_from_logits,
}
"""A last activation and a loss that are better computed as one."""


def loss(name: str) -> Loss:
    """The loss of a name. Raises NetworkError, with the nearest known name."""
    if name not in LOSSES:
        raise NetworkError(f"there is no loss {name!r}. {suggest(name, LOSSES)}")
    return LOSSES[name]


def one_hot(labels: ArrayLike, classes: int, dtype: DTypeLike = np.float32) -> Array:
    """Class numbers `(n,)` as rows `(n, classes)` with a 1 where the class is. Raises DataError outside 0…classes−1."""
    labels = check_labels(labels, classes)
    rows = np.zeros((len(labels), classes), dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def check_labels(labels: ArrayLike, classes: int) -> Array:
    """The labels, if they are class numbers `(n,)` in 0…classes−1. Raises DataError."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"labels: expected class numbers (n,), got {labels.dtype} of shape {labels.shape}.")
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        wrong = labels[(labels < 0) | (labels >= classes)][0]
        raise DataError(f"labels: {wrong} is not one of the {classes} classes, 0 to {classes - 1}.")
    return labels


def _rows(outputs: Tensor, targets: ArrayLike) -> Array:
    targets = np.asarray(targets)
    if outputs.ndim != 2:
        raise DataError(f"outputs: expected one row for each example, (n, classes), got {outputs.shape}.")
    if targets.ndim == 1 and targets.dtype.kind in "iu":
        targets = one_hot(targets, outputs.shape[1], outputs.dtype)
    return _fitting(outputs, targets)


def _share(outputs: Tensor, weights: Array | None) -> float | Array:
    """What an example counts for in the mean: a number for all, or one for each, `(n,)`."""
    if weights is None:
        return 1 / len(outputs)
    weights = np.asarray(weights)
    if weights.shape != outputs.shape[:1] or not weights.min(initial=0) >= 0:
        raise DataError(f"weights: expected {len(outputs)} numbers from 0, one an example, got shape {weights.shape}.")
    total = weights.sum(dtype=float)
    if not 0 < total < np.inf:
        raise DataError(f"weights: expected a sum above 0 in each batch, got {total:g}.")
    return np.asarray(weights / total, outputs.dtype)


def _share_of_entries(outputs: Tensor, weights: Array | None) -> float | Array:
    """The same of an entry of the outputs; where there are weights, a column beside the outputs."""
    if weights is None:
        return 1 / outputs.size
    column = np.reshape(_share(outputs, weights), (-1,) + (1,) * (outputs.ndim - 1))
    return column / (outputs.size // len(outputs))


def _fitting(outputs: Tensor, targets: ArrayLike) -> Array:
    """The targets in the outputs' dtype."""
    targets = np.asarray(targets)
    if targets.shape != outputs.shape or targets.size == 0:
        raise DataError(f"targets: expected shape {outputs.shape} with something in it, got {targets.shape}.")
    return targets.astype(outputs.dtype, copy=False)


def _inside(p: Array) -> Array:
    step = np.finfo(p.dtype).eps
    return np.clip(p, step, 1 - step)
