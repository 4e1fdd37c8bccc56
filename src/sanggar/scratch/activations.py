"""Activations, each beside its derivative, which is written with the result where that is shorter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sanggar.errors import NetworkError, suggest
from sanggar.scratch.ops import below_top
from sanggar.scratch.tensor import Array, Tensor, record

ZERO = np.zeros((), np.float32)
"""0 as an array: NumPy takes half as long over it as over Python's."""


def linear(x: Tensor) -> Tensor:
    """x itself."""
    return x


def relu(x: Tensor) -> Tensor:
    """max(x, 0); the derivative at 0 is taken as 0."""
    y = np.maximum(x.data, ZERO)
    return record(y, (x, lambda g: g * np.sign(y)))


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """x where it is positive, else slope · x (Maas et al. 2013)."""
    factor = np.where(x.data > 0, x.dtype.type(1), x.dtype.type(slope))
    return record(x.data * factor, (x, lambda g: g * factor))


def elu(x: Tensor) -> Tensor:
    """x where it is positive, else eˣ − 1 (Clevert et al. 2016, arXiv:1511.07289)."""
    below = np.expm1(np.minimum(x.data, 0))
    return record(np.maximum(x.data, 0) + below, (x, lambda g: g * np.where(x.data > 0, 1, below + 1)))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e⁻ˣ)."""
    y = logistic(x.data)
    return record(y, (x, lambda g: g * y * (1 - y)))


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    y = np.tanh(x.data)
    return record(y, (x, lambda g: g * (1 - y * y)))


def softmax(x: Tensor) -> Tensor:
    """eˣ over the last axis, divided by its sum: positive numbers that sum to 1."""
    y = shares(x.data)
    return record(y, (x, lambda g: y * (g - (g * y).sum(axis=-1, keepdims=True))))


def gelu(x: Tensor) -> Tensor:
    """x · Φ(x) (Hendrycks & Gimpel 2016, arXiv:1606.08415), in the paper's form with tanh: NumPy has no erf."""
    a = np.clip(x.data, -10, 10)  # beyond, Φ is 0 or 1, and what follows would overflow
    inner = np.tanh(np.sqrt(2 / np.pi).astype(a.dtype) * (a + 0.044715 * a**3))

    def by_x(g: Array) -> Array:
        slope = np.sqrt(2 / np.pi).astype(a.dtype) * (1 + 3 * 0.044715 * a**2)
        return g * (0.5 * (1 + inner) + 0.5 * a * (1 - inner * inner) * slope)

    return record(0.5 * np.maximum(x.data, -10) * (1 + inner), (x, by_x))


def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x), also called Swish (Elfwing et al. 2018, arXiv:1702.03118)."""
    y, a = logistic(x.data), np.clip(x.data, -1000, 1000)  # beyond, y is 0 or 1, and 0 · ∞ is 0
    return record(np.maximum(x.data, -1000) * y, (x, lambda g: g * (y + a * y * (1 - y))))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": linear,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
    "gelu": gelu,
    "silu": silu,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The activation of a name. Raises NetworkError, with the nearest known name."""
    if name not in ACTIVATIONS:
        raise NetworkError(f"there is no activation {name!r}. {suggest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


# -- with plain arrays -----------------------------------------------------------------------------------------


def logistic(a: Array) -> Array:
    """1 / (1 + e⁻ᵃ), without overflow, and exact also where it is nearly 0."""
    z = np.exp(-np.abs(a))
    return np.where(a >= 0, a.dtype.type(1), z) / (1 + z)


def shares(a: Array) -> Array:
    """Softmax over the last axis; the largest entry is taken out first, so that nothing overflows.

    Where that is infinite, those equal to it share the whole.
    """
    below, _ = below_top(a, -1)
    y = np.exp(below, out=below)
    y /= y.sum(axis=-1, keepdims=True)
    return y
