"""Layers: operations with parameters of their own.

A layer is called with a batch `(n, inputs)`, and a generator while it trains: dropout draws from it, batch norm
measures its batch. Called without one it does what it does in use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from sanggar.errors import NetworkError
from sanggar.scratch import ops
from sanggar.scratch.activations import activation
from sanggar.scratch.initializers import Generator, Initializer, initializer
from sanggar.scratch.tensor import Array, Tensor, record


class Layer:
    """Base of the layers: named parameters, which training changes, and named buffers, which it only measures."""

    def __init__(self) -> None:
        self.parameters: dict[str, Tensor] = {}
        self.buffers: dict[str, Array] = {}

    def __call__(self, x: Tensor, rng: Generator | None = None) -> Tensor:
        """The layer applied to a batch."""
        raise NotImplementedError

    def arrays(self) -> dict[str, Array]:
        """Parameters and buffers by name: the arrays themselves."""
        return {name: parameter.data for name, parameter in self.parameters.items()} | self.buffers


class Dense(Layer):
    """A layer of neurons: weights and biases in one array `neurons (inputs + 1, outputs)`.

    A column is a neuron: its weights, and its bias in the last row, which begins at 0.
    """

    def __init__(
        self, inputs: int, outputs: int, start: str | Initializer = "he_normal", *, seed: int | Generator = 0,
        dtype: DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        super().__init__()
        shape = _width(inputs), _width(outputs)
        weights = np.asarray(initializer(start)(shape, np.random.default_rng(seed)))
        if weights.shape != shape:
            raise NetworkError(f"the initializer gave weights of shape {weights.shape}; the layer has {shape}.")
        neurons = np.ascontiguousarray(np.vstack([weights, np.zeros((1, outputs))]), dtype)
        self.neurons = self.parameters["neurons"] = Tensor(neurons, requires_grad=True)

    def __call__(self, x: Tensor, rng: Generator | None = None) -> Tensor:
        """`(n, inputs)` to `(n, outputs)`."""
        return ops.affine(x, self.neurons)


class Activation(Layer):
    """An activation by name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self._function = name, activation(name)

    def __call__(self, x: Tensor, rng: Generator | None = None) -> Tensor:
        """Entry by entry, softmax row by row."""
        return self._function(x)


class Dropout(Layer):
    """While training, each entry is 0 with probability `rate`, and the others grow to make up for it.

    Srivastava et al. 2014.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise NetworkError(f"a dropout rate is at least 0 and below 1, got {rate!r}.")
        self.rate = rate

    def __call__(self, x: Tensor, rng: Generator | None = None) -> Tensor:
        """Of the same shape."""
        if rng is None or self.rate == 0:
            return x
        kept = rng.random(x.shape, np.float32) >= self.rate
        factor = kept * x.dtype.type(1 / (1 - self.rate))
        return record(x.data * factor, (x, lambda g: g * factor))


class RMSNorm(Layer):
    """Each example divided by the root of its mean square, times a learned scale (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, epsilon: float = 1e-6, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.parameters["scale"] = Tensor(np.ones(_width(width), dtype), requires_grad=True)

    def __call__(self, x: Tensor, rng: Generator | None = None) -> Tensor:
        """Of the same shape."""
        return ops.normalize(x, self.parameters["scale"], None, axis=1, epsilon=self.epsilon)


class LayerNorm(Layer):
    """Each example with mean 0 and variance 1, then a learned scale and shift (Ba et al. 2016, arXiv:1607.06450)."""

    def __init__(self, width: int, epsilon: float = 1e-5, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.parameters["scale"] = Tensor(np.ones(_width(width), dtype), requires_grad=True)
        self.parameters["shift"] = Tensor(np.zeros(width, dtype), requires_grad=True)

    def __call__(self, x: Tensor, rng: Generator | None = None) -> Tensor:
        """Of the same shape."""
        return ops.normalize(x, self.parameters["scale"], self.parameters["shift"], axis=1, epsilon=self.epsilon)


class BatchNorm(Layer):
    """Each entry with mean 0 and variance 1 over the batch, then a learned scale and shift.

    Ioffe & Szegedy 2015, arXiv:1502.03167. In use, mean and variance are running averages from training: each batch
    counts with `momentum`, its variance without bias.
    """

    def __init__(self, width: int, epsilon: float = 1e-5, momentum: float = 0.1, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        self.epsilon, self.momentum = epsilon, momentum
        self.parameters["scale"] = Tensor(np.ones(_width(width), dtype), requires_grad=True)
        self.parameters["shift"] = Tensor(np.zeros(width, dtype), requires_grad=True)
        self.buffers["mean"] = np.zeros(width, dtype)
        self.buffers["variance"] = np.ones(width, dtype)

    def __call__(self, x: Tensor, rng: Generator | None = None) -> Tensor:
        """Of the same shape."""
        (scale, shift), (mean, variance) = self.parameters.values(), self.buffers.values()
        if rng is None and x.shape[1:] == mean.shape:
            factor = 1 / np.sqrt(variance + self.epsilon)
            return (x - mean) * factor * scale + shift
        if x.ndim == 2 and len(x) < 2:
            raise NetworkError(f"batch norm trains on batches of two or more; this one has {len(x)}.")
        found = ops.normalize(x, scale, shift, axis=0, epsilon=self.epsilon)
        mean += self.momentum * (x.data.mean(axis=0) - mean)
        variance += self.momentum * (x.data.var(axis=0, ddof=1) - variance)
        return found


class Sequential(Layer):
    """Layers one after another. Each is known by its kind and number: dense1, activation1, dense2."""

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        self.layers: dict[str, Layer] = {}
        for layer in layers:
            kind = type(layer).__name__.lower()
            number = 1 + sum(type(other) is type(layer) for other in self.layers.values())
            self.layers[f"{kind}{number}"] = layer
        for name, layer in self.layers.items():
            self.parameters |= {f"{name}.{key}": value for key, value in layer.parameters.items()}
            self.buffers |= {f"{name}.{key}": value for key, value in layer.buffers.items()}

    def __call__(self, x: Tensor, rng: Generator | None = None) -> Tensor:
        """Through every layer in order."""
        for layer in self.layers.values():
            x = layer(x, rng)
        return x


def _width(width: object) -> int:
    if not isinstance(width, int | np.integer) or width < 1:
        raise NetworkError(f"a layer's width is a whole number above 0, got {width!r}.")
    return int(width)
