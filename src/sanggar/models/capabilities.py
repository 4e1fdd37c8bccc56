"""Capabilities: what can be asked of a built model, whatever its family."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sanggar.models.base import Latents, Pictures, Posterior, SamplingOptions, StepContext
from sanggar.models.conditions import Condition
from sanggar.models.noise import NoiseOptions


@runtime_checkable
class Encodes(Protocol):
    """Encode pictures into a latent space."""

    def encode(self, images: Pictures) -> Latents:
        """Latent of each picture (float32 in [-1, 1])."""
        ...


@runtime_checkable
class Decodes(Protocol):
    """Decode latents into pictures. A conditional model takes a condition too."""

    def decode(self, latents: Latents) -> Pictures:
        """Picture of each latent, in [-1, 1] or a little beyond."""
        ...


@runtime_checkable
class Reconstructs(Protocol):
    """Reconstruct pictures, undisturbed."""

    def reconstruct(self, images: Pictures) -> Pictures:
        """Reconstruction of each picture."""
        ...


@runtime_checkable
class Likelihood(Protocol):
    """Facts about p(x | z)."""

    discrete: bool
    """whether its nats make bits per dimension"""
    pixels: str
    """what pixels are taken for; nats compare within one such convention alone"""


@runtime_checkable
class Infers(Protocol):
    """Infer a distribution over latents, and bound the likelihood of a picture."""

    latent_size: int
    likelihood: Likelihood

    def posterior(self, images: Pictures) -> Posterior:
        """Mean and log variance of each dimension."""
        ...

    def log_weight_terms(
        self, images: Pictures, posterior: Posterior, noise: Latents, condition: Condition | None = None
    ) -> Float[Tensor, "batch 3"]:
        """With z = μ + σ · noise, by the pictures' posterior: log p(x | z), log p(z) and log q(z | x), in nats."""
        ...


@runtime_checkable
class Regrets(Protocol):
    """Fit a posterior to a single picture, and say what that gains."""

    def regret(
        self, images: Pictures, posterior: Posterior, known: Float[Tensor, "batch weighed"],
        noise: Float[Tensor, "batch draws latent"], condition: Condition | None = None,
    ) -> Float[Tensor, "batch 2"]:  # fmt: skip
        """Bound in nats with the pictures' posterior, and with one fitted to each picture, never lower.

        `known` are log p(x | z) by the posterior, for each of the first draws of noise.
        """
        ...


@runtime_checkable
class HasPrior(Protocol):
    """Draw latents from a prior that was learned, and know its density."""

    def prior_density(
        self, latents: Latents, probe: Latents, condition: Condition | None = None
    ) -> Float[Tensor, "batch"]:  # fmt: skip
        """Log density at each latent in nats, where it needs one estimated with a probe of signs."""
        ...


@runtime_checkable
class FindsNoise(Protocol):
    """Lead latents back to the noise that a prior draws them from."""

    def noise_of(self, latents: Latents, condition: Condition | None = None) -> Latents:
        """The noise that each latent comes from."""
        ...

    def latent_of(self, noise: Latents, condition: Condition | None = None) -> Latents:
        """The latent that each noise leads to."""
        ...


@runtime_checkable
class HasDensity(Protocol):
    """Know the likelihood of a picture, or a bound on it, without latents."""

    noise_shape: tuple[int, ...]
    likelihood: Likelihood

    def log_density(
        self, images: Pictures, noise: Pictures, condition: Condition | None = None
    ) -> Float[Tensor, "batch"]:  # fmt: skip
        """Lower bound on the log probability of each picture in nats, estimated with uniform noise."""
        ...


@runtime_checkable
class Samples(Protocol):
    """Sample new pictures from standard normal noise."""

    SamplingOptions: ClassVar[type[SamplingOptions]]
    """what can be chosen when sampling"""
    noise_shape: tuple[int, ...]
    """of the noise one picture is made from"""

    def sample(self, noise: Tensor, condition: Condition | None, options: Any) -> Pictures:
        """Picture of each noise, under a condition where one is given; `options` are its own SamplingOptions."""
        ...


@runtime_checkable
class Disturbs(Protocol):
    """Disturb pictures with the noise the model was trained against."""

    noise: NoiseOptions

    def disturb(self, images: Pictures, context: StepContext, level: float | None = None) -> Pictures:
        """Pictures as training shows them, at the trained level of noise or another."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """Tell classes apart."""

    def classify(self, images: Any) -> Any:
        """Probability of each class, `(n, classes)`."""
        ...


@runtime_checkable
class HasNeurons(Protocol):
    """Show layers of neurons one by one."""

    def neurons(self) -> dict[str, np.ndarray]:
        """By layer, `(inputs + 1, outputs)`: a column is a neuron, its weights and, in the last row, its bias."""
        ...

    def neuron_gradients(self, pixels: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Gradients of the mean loss on some pictures by the neurons, in the same shape."""
        ...


CAPABILITIES: dict[str, type] = {
    "encode": Encodes,
    "decode": Decodes,
    "reconstruct": Reconstructs,
    "posterior": Infers,
    "regret": Regrets,
    "prior_density": HasPrior,
    "noise_of": FindsNoise,
    "log_density": HasDensity,
    "sample": Samples,
    "disturb": Disturbs,
    "classify": Classifies,
    "neurons": HasNeurons,
}


def capabilities_of(model: object) -> frozenset[str]:
    """Names of the capabilities of a built model: those its methods promise, but for what the instance lacks."""
    able = frozenset(name for name, contract in CAPABILITIES.items() if isinstance(model, contract))
    lacks: frozenset[str] = getattr(model, "lacks", frozenset())
    return able - lacks
