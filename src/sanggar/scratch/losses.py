"""Losses: one number for a batch, the mean over its examples, each beside its derivative.

`targets` are plain arrays. For the categorical losses they are class numbers `(n,)`, or a row of probabilities for
each example `(n, classes)`. Raises DataError for targets that do not fit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from sanggar.errors import DataError, NetworkError, suggest
from sanggar.scratch.activations import logistic
from sanggar.scratch.ops import ones
from sanggar.scratch.tensor import Array, Tensor, record

Loss = Callable[[Tensor, ArrayLike], Tensor]
"""Of outputs, or logits, and targets."""


def mse(outputs: Tensor, targets: ArrayLike) -> Tensor:
    """Mean of (outputs − targets)², over examples and outputs."""
    difference = outputs.data - _fitting(outputs, targets)
    n = difference.size
    return record(np.vdot(difference, difference) / n, (outputs, lambda g: difference * (2 * g / n)))


def binary_cross_entropy(outputs: Tensor, targets: ArrayLike) -> Tensor:
    """Mean of −t log p − (1 − t) log(1 − p), over examples and outputs; outputs are probabilities.

    A probability of exactly 0 or 1 counts as the smallest step away from it, so that loss and gradient stay finite.
    """
    t, p = _fitting(outputs, targets), _inside(outputs.data)
    loss = -(t * np.log(p) + (1 - t) * np.log1p(-p)).sum() / p.size
    return record(loss, (outputs, lambda g: (p - t) / (p * (1 - p)) * (g / p.size)))


def binary_cross_entropy_from_logits(logits: Tensor, targets: ArrayLike) -> Tensor:
    """The same with p = sigmoid(logits), without overflow: max(z, 0) − z t + log(1 + e^−|z|)."""
    z, t = logits.data, _fitting(logits, targets)
    loss = (np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))).sum() / z.size
    return record(loss, (logits, lambda g: (logistic(z) - t) * (g / z.size)))


def categorical_cross_entropy(outputs: Tensor, targets: ArrayLike) -> Tensor:
    """Mean over examples of −Σ t log p; each row of outputs is a distribution.

    A probability of exactly 0 counts as the smallest step away from it, so that loss and gradient stay finite.
    """
    t, p = _rows(outputs, targets), _inside(outputs.data)
    n = len(p)
    return record(np.vdot(t, np.log(p)) / -n, (outputs, lambda g: t / p * (-g / n)))


def categorical_cross_entropy_from_logits(logits: Tensor, targets: ArrayLike) -> Tensor:
    """The same with p = softmax(logits), without overflow: Σ t · (log Σ eᶻ − z)."""
    t = _rows(logits, targets).T
    classes, n = t.shape
    z = logits.data.T.copy()  # an example is a column: NumPy is quickest along long rows
    z -= np.maximum.reduce(z)
    e = np.exp(z)
    total = ones(classes, e.dtype).dot(e)
    loss = (np.log(total).dot(ones(n, e.dtype)) - np.vdot(t, z)) / n  # Σ t is 1

    def by_logits(g: Array) -> Array:
        found = e / total
        found -= t
        found *= g / n
        return found.T

    return record(loss, (logits, by_logits))


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


def _fitting(outputs: Tensor, targets: ArrayLike) -> Array:
    """The targets in the outputs' dtype."""
    targets = np.asarray(targets)
    if targets.shape != outputs.shape or targets.size == 0:
        raise DataError(f"targets: expected shape {outputs.shape} with something in it, got {targets.shape}.")
    return targets.astype(outputs.dtype, copy=False)


def _inside(p: Array) -> Array:
    step = np.finfo(p.dtype).eps
    return np.clip(p, step, 1 - step)
