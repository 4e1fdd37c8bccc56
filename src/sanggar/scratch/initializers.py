"""What weights begin as: functions of a shape (inputs, outputs) and a generator. Biases begin at 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sanggar.errors import NetworkError, suggest
from sanggar.scratch.tensor import Array

Shape = tuple[int, int]
Generator = np.random.Generator
Initializer = Callable[[Shape, Generator], Array]


def zero(shape: Shape, rng: Generator) -> Array:
    """All 0. Neurons of a layer then stay alike for ever: a demonstration, not a choice."""
    return np.zeros(shape)


def uniform(shape: Shape, rng: Generator, low: float = -0.05, high: float = 0.05) -> Array:
    """Uniform in [low, high)."""
    return rng.uniform(low, high, shape)


def normal(shape: Shape, rng: Generator, mean: float = 0.0, variance: float = 0.0025) -> Array:
    """Normal, by mean and variance."""
    return rng.normal(mean, np.sqrt(variance), shape)


def xavier_uniform(shape: Shape, rng: Generator) -> Array:
    """Uniform with variance 2 / (inputs + outputs) (Glorot & Bengio 2010)."""
    bound = np.sqrt(6 / sum(shape))
    return rng.uniform(-bound, bound, shape)


def xavier_normal(shape: Shape, rng: Generator) -> Array:
    """Normal with variance 2 / (inputs + outputs) (Glorot & Bengio 2010)."""
    return rng.normal(0, np.sqrt(2 / sum(shape)), shape)


def he_uniform(shape: Shape, rng: Generator) -> Array:
    """Uniform with variance 2 / inputs (He et al. 2015, arXiv:1502.01852)."""
    bound = np.sqrt(6 / shape[0])
    return rng.uniform(-bound, bound, shape)


def he_normal(shape: Shape, rng: Generator) -> Array:
    """Normal with variance 2 / inputs (He et al. 2015, arXiv:1502.01852)."""
    return rng.normal(0, np.sqrt(2 / shape[0]), shape)


INITIALIZERS: dict[str, Initializer] = {
    "zero": zero,
    "uniform": uniform,
    "normal": normal,
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
}


def initializer(name: str | Initializer) -> Initializer:
    """The initializer of a name, or the function itself. Raises NetworkError, with the nearest known name."""
    if callable(name):
        return name
    if not isinstance(name, str) or name not in INITIALIZERS:
        raise NetworkError(f"there is no initializer {name!r}. {suggest(name, INITIALIZERS)}")
    return INITIALIZERS[name]
