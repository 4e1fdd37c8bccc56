"""Feed-forward networks that tell classes apart: the from-scratch engine as a family."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator

from sanggar.data.images import ImageSpec, to_vectors
from sanggar.errors import DataError, RecipeError
from sanggar.options import Options
from sanggar.resources import check_memory
from sanggar.runs import Arrays
from sanggar.scratch import FFNN, initializers
from sanggar.scratch.activations import shares
from sanggar.scratch.initializers import Initializer
from sanggar.scratch.losses import one_hot

Activation = Literal["linear", "relu", "leaky_relu", "elu", "sigmoid", "tanh", "softmax", "gelu", "silu"]
OneOrEach = Annotated[
    Annotated[Activation, Tag("one")] | Annotated[tuple[Activation, ...], Tag("each")],
    Discriminator(lambda given: "each" if isinstance(given, list | tuple) else "one"),
]
"""One activation for all hidden layers, or one for each."""


class Named(Options):
    """An initializer that needs no numbers."""

    kind: Literal["zero", "xavier_uniform", "xavier_normal", "he_uniform", "he_normal"] = "he_normal"

    def build(self) -> Initializer:
        """The function."""
        return initializers.initializer(self.kind)


class Uniform(Options):
    """Weights uniform in [low, high)."""

    kind: Literal["uniform"]
    low: float = -0.05
    """lowest weight"""
    high: float = 0.05
    """bound above the weights"""

    @model_validator(mode="after")
    def _check(self) -> Uniform:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        return self

    def build(self) -> Initializer:
        """The function."""
        return partial(initializers.uniform, low=self.low, high=self.high)


class Normal(Options):
    """Normal weights."""

    kind: Literal["normal"]
    mean: float = 0.0
    """mean of the weights"""
    variance: float = Field(default=0.0025, gt=0)
    """variance of the weights"""

    def build(self) -> Initializer:
        """The function."""
        return partial(initializers.normal, mean=self.mean, variance=self.variance)


class FeedForwardOptions(Options):
    """A feed-forward network from scratch, on NumPy."""

    family: Literal["ffnn"] = "ffnn"
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64,)
    """neurons of each hidden layer; none: a linear classifier"""
    activation: OneOrEach = "relu"
    """of the hidden layers, one for all or one for each"""
    loss: Literal["categorical_cross_entropy", "mse", "binary_cross_entropy"] = "categorical_cross_entropy"
    """between the probability of each class and the class; the last activation is softmax, with binary_cross_entropy
    sigmoid"""
    initializer: Annotated[Named | Uniform | Normal, Field(discriminator="kind")] = Named()
    normalization: Literal["rms", "layer", "batch"] | None = None
    """between a hidden layer and its activation"""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """share of each hidden layer's outputs that is left out while training"""
    l1: float = Field(default=0.0, ge=0)
    """adds l1 · Σ|w| to the loss"""
    l2: float = Field(default=0.0, ge=0)
    """adds l2 · Σ w² / 2 to the loss"""

    @model_validator(mode="after")
    def _check(self) -> FeedForwardOptions:
        if not isinstance(self.activation, str) and len(self.activation) != len(self.hidden):
            raise ValueError(
                f"activation has {len(self.activation)} names for {len(self.hidden)} hidden layers; give one for all, "
                "or one for each"
            )
        return self


class FeedForward:
    """A picture's pixels in a row, from 0 to 1, through an `FFNN` to the probability of each class."""

    Options: ClassVar[type[Options]] = FeedForwardOptions
    learner: ClassVar[str] = "numpy"

    def __init__(self, options: FeedForwardOptions, spec: ImageSpec, seed: int) -> None:
        if not spec.classes:
            raise DataError("ffnn tells classes apart, and these pictures have none.")
        widths = [spec.height * spec.width * spec.channels, *options.hidden, len(spec.classes)]
        weights = sum((before + 1) * after for before, after in pairwise(widths))
        check_memory(4 * weights, "model.hidden: the weights of so large a network", RecipeError)
        one = options.activation
        hidden = [one] * len(options.hidden) if isinstance(one, str) else one
        last = "sigmoid" if options.loss == "binary_cross_entropy" else "softmax"
        self.network = FFNN(
            widths,
            [*hidden, last],
            loss=options.loss,
            initializer=options.initializer.build(),
            normalization=options.normalization,
            dropout=options.dropout,
            l1=options.l1,
            l2=options.l2,
            seed=seed,
        )

    @classmethod
    def build(cls, options: Any, spec: ImageSpec, seed: int) -> FeedForward:
        """See Model."""
        return cls(options, spec, seed)

    def load(self, arrays: Arrays) -> None:
        """See Model."""
        self.network.load_arrays(arrays)

    def eval_on(self, device: str | None) -> None:
        """Always: NumPy computes on the processor."""

    def compute(self, capability: str, *arrays: np.ndarray, **how: float) -> np.ndarray:
        """See Model."""
        found: np.ndarray = getattr(self, capability)(*arrays, **how)
        return found

    def inputs(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 pixels as the network takes them: float32 `(n, pixels)` in [0, 1]."""
        vectors = to_vectors(pixels)
        vectors += 1
        vectors *= 0.5
        return vectors

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """Labels as the loss takes them: a row with a 1 where the class is."""
        return one_hot(labels, self.network.widths[-1])

    def classify(self, pixels: np.ndarray) -> np.ndarray:
        """The probability of each class, float32 `(n, classes)`."""
        if self.network.activations[-1] != "sigmoid":
            return self.network.predict(self.inputs(pixels))
        # a probability for each class by itself is shared out; its logarithm does not vanish where it is small
        return shares(-np.logaddexp(0, -self.network.predict_logits(self.inputs(pixels))))

    def neurons(self) -> dict[str, np.ndarray]:
        """See HasNeurons."""
        return self.network.weights

    def neuron_gradients(self, pixels: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """See HasNeurons. Normalization and dropout are as in use."""
        network = self.network
        network.backward(network.loss(self.inputs(pixels), self.targets(labels)))
        return network.gradients
