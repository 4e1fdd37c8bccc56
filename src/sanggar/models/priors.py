"""Priors: what latents are drawn from. Normally distributed, a mixture of Gaussians, or carried there by a flow.

A learned prior is fitted to draws of the posterior, which it does not change: it is one more phase of the training. So
the weight of a VAE's rate can be small, for sharp reconstructions, and what is drawn lies where pictures do
(two-stage VAEs: Dai & Wipf 2019, arXiv:1903.05789; latent diffusion: Rombach et al. 2022, arXiv:2112.10752).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from sanggar.data.images import ImageSpec
from sanggar.errors import RunError
from sanggar.models.base import Batch, Latents, Phase, Pictures, SamplingOptions, StepContext, Terms
from sanggar.models.conditions import Condition, Conditions
from sanggar.models.flow.matching import (
    EXACT,
    FlowSampling,
    Nats,
    check_sampling,
    even_times,
    follow,
    gradients,
    guided,
    log_density,
    matching_error,
)
from sanggar.models.flow.networks import VectorNetwork
from sanggar.models.optimizers import Adam, OptimizerOptions
from sanggar.options import Options

Count = Annotated[int, Field(ge=1)]
Noise = Float[Tensor, "batch numbers"]
MOMENTUM = 0.01
"""Weight of a batch in the running moments, once there have been a hundred"""
SMALLEST = 1e-3
"""A component's deviation is at least this share of the latents': or a single picture could have all to itself"""


class TemperatureSampling(SamplingOptions):
    """Options of sampling latents."""

    swept: ClassVar[str | None] = "temperature"

    temperature: float = Field(default=1.0, gt=0)
    """factor of the prior's deviation: below 1 more typical pictures and less variety"""


class LearnedOptions(Options):
    """What learned priors have in common."""

    share: float = Field(default=0.3, ge=0, lt=1)
    """share of the training, its end, in which the prior is learned and the rest of the network stands still; 0: both
    are learned all along"""
    draws: Count = 4
    """latents that are drawn of each picture's posterior, each step"""
    optimizer: OptimizerOptions = Adam()
    """the prior's own"""


class Normal(Options):
    """The standard normal distribution."""

    kind: Literal["normal"] = "normal"


class MixtureOptions(LearnedOptions):
    """A mixture of Gaussians with covariances of their own."""

    kind: Literal["mixture"]
    components: Annotated[int, Field(ge=1, le=1000)] = 10
    """Gaussians"""
    optimizer: OptimizerOptions = Adam(learning_rate=0.01)
    """the prior's own"""


class FlowPriorOptions(LearnedOptions):
    """Flow matching between noise and latents, see `models.flow.matching`."""

    kind: Literal["flow"]
    width: Count = 256
    """neurons of each layer of the velocity network"""
    blocks: Annotated[int, Field(ge=1, le=64)] = 3
    """of two layers"""
    condition: tuple[str, ...] = ()
    """what latents are drawn under: `class`, or names of attributes; the decoder may know them or not"""
    condition_dropout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """share of the training pictures without any condition, and share of the others of which each single name is left
    out: latents are drawn unconditionally as well, and can be guided"""


LearnedPrior = Annotated[MixtureOptions | FlowPriorOptions, Field(discriminator="kind")]
PriorOptions = Annotated[Normal | MixtureOptions | FlowPriorOptions, Field(discriminator="kind")]


class Standardized(nn.Module):
    """Latents brought to mean 0 and deviation 1 by running moments, and back."""

    mean: Tensor
    square: Tensor
    """mean of the squares: of parts of a batch, means are what they are of the whole"""
    seen: Tensor
    """batches that the moments come from"""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("square", torch.ones(size))
        self.register_buffer("seen", torch.zeros(()))

    @torch.no_grad()
    def see(self, latents: Latents) -> None:
        """Take a batch into the moments: all of them alike in the first hundred, then the last ones more."""
        self.seen += 1
        weight = torch.clamp(1 / self.seen, min=MOMENTUM)
        self.mean.lerp_(latents.mean(dim=0), weight)
        self.square.lerp_(latents.square().mean(dim=0), weight)

    @torch.no_grad()
    def agree(self) -> None:
        """Bring the moments of all processes to their mean: after a step, when its parts are done."""
        if distributed.is_available() and distributed.is_initialized():
            moments = torch.stack([self.mean, self.square])
            distributed.all_reduce(moments)
            moments /= distributed.get_world_size()
            self.mean.copy_(moments[0])
            self.square.copy_(moments[1])

    @property
    def deviation(self) -> Float[Tensor, "latent"]:
        """Of each number."""
        return (self.square - self.mean.square()).clamp(min=1e-12).sqrt()

    def seen_after(self, latents: Latents, training: bool) -> Latents:
        """Standardized latents, by the moments before them; in training they are taken into these afterwards."""
        points = self.inward(latents)
        if training:
            self.see(latents)
        return points

    def inward(self, latents: Latents) -> Latents:
        """Standardized latents."""
        return (latents - self.mean) / self.deviation

    def outward(self, points: Latents) -> Latents:
        """Latents of standardized ones."""
        return self.mean + points * self.deviation

    @property
    def log_scale(self) -> Float[Tensor, ""]:
        """Sum of the logarithms of the deviations."""
        return self.deviation.log().sum()


class MixturePrior(nn.Module):
    """A mixture of Gaussians in standardized latents, learned by its likelihood.

    A latent is made of one number more than it has: by its place in the normal distribution, the first chooses the
    component.
    """

    def __init__(self, options: MixtureOptions, size: int) -> None:
        super().__init__()
        self.options, self.noise_size = options, size + 1
        self.scale = Standardized(size)
        self.logits = nn.Parameter(torch.zeros(options.components))
        self.means = nn.Parameter(torch.randn(options.components, size))
        self.factors = nn.Parameter(torch.zeros(options.components, size, size))
        """below the diagonal the covariances' Cholesky factors, on it what `softplus` makes positive"""
        with torch.no_grad():
            self.factors.diagonal(dim1=1, dim2=2).fill_(math.log(math.e - 1))  # deviations of 1

    def _triangles(self) -> Float[Tensor, "components latent latent"]:
        below, diagonal = self.factors.tril(-1), self.factors.diagonal(dim1=1, dim2=2)
        return below + torch.diag_embed(F.softplus(diagonal) + SMALLEST)

    def _density(self, points: Latents) -> Nats:
        from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

        components = MultivariateNormal(self.means, scale_tril=self._triangles(), validate_args=False)
        mixture = MixtureSameFamily(Categorical(logits=self.logits), components, validate_args=False)
        found: Nats = mixture.log_prob(points)  # type: ignore[no-untyped-call]
        return found

    def loss(self, latents: Latents, condition: Condition | None, context: StepContext) -> tuple[str, Nats]:
        """Its name, and minus the log density of each standardized latent, in nats a number."""
        points = self.scale.seen_after(latents, self.training)
        return "likelihood", -self._density(points) / latents.shape[1]

    def draw(self, noise: Noise, options: TemperatureSampling | FlowSampling) -> Latents:
        """The latent of each noise."""
        place = torch.special.ndtr(noise[:, 0].double())
        bounds = self.logits.double().softmax(dim=0).cumsum(dim=0)
        component = torch.searchsorted(bounds, place).clamp(max=len(self.logits) - 1)
        around = (self._triangles()[component] @ (options.temperature * noise[:, 1:, None]))[:, :, 0]
        return self.scale.outward(self.means[component] + around)

    def log_density(self, latents: Latents) -> Nats:
        """Logarithm of the density at each latent, in nats."""
        return self._density(self.scale.inward(latents)) - self.scale.log_scale


class FlowPrior(nn.Module):
    """A flow from noise to standardized latents, under a condition where it has one."""

    def __init__(self, options: FlowPriorOptions, size: int, conditions: Conditions) -> None:
        super().__init__()
        self.options, self.noise_size = options, size
        self.own = Conditions(options.condition, conditions.spec, "model.prior.condition")
        self.places = [conditions.place(name) for name in options.condition]
        """where the model's rows hold what this prior is conditioned on"""
        self.scale = Standardized(size)
        self.network = VectorNetwork(size, options.width, options.blocks, self.own)

    def of_model(self, condition: Condition | None) -> Condition | None:
        """What the prior is conditioned on, of the model's rows; None: unconditional."""
        if condition is None or not self.places:
            return None
        return torch.cat([condition[:, place] for place in self.places], dim=1)

    def loss(self, latents: Latents, condition: Condition | None, context: StepContext) -> tuple[str, Nats]:
        """Its name, and the squared error of the velocity for each latent."""
        draws, x1 = self.options.draws, self.scale.seen_after(latents, self.training)
        x0 = context.normal("prior", (draws, x1.shape[1])).flatten(0, 1)
        t = even_times(context, draws).flatten()
        return "velocity", matching_error(lambda x, t: self.network(x, t, condition), x0, x1, t)

    def draw(self, noise: Latents, condition: Condition | None, options: FlowSampling) -> Latents:
        """The latent of each noise. Raises RunError for options that mean nothing."""
        if options.guidance != 1 and not self.places:
            raise RunError("guidance: this prior is conditioned on nothing; see model.prior.condition.")
        check_sampling(options, condition, unconditional=True, shortcuts=False)
        velocity = guided(self.network, condition, options.guidance)
        return self.scale.outward(follow(velocity, options.temperature * noise, options.solver, options.steps))

    def noise_of(self, latents: Latents, condition: Condition | None = None) -> Latents:
        """The noise that each latent comes from: the flow backwards."""
        return follow(guided(self.network, condition, 1.0), self.scale.inward(latents), *EXACT, backwards=True)

    def latent_of(self, noise: Latents, condition: Condition | None = None) -> Latents:
        """The latent that each noise leads to, by as many steps as its way back takes."""
        return self.scale.outward(follow(guided(self.network, condition, 1.0), noise, *EXACT))

    def log_density(self, latents: Latents, probe: Latents, condition: Condition | None = None) -> Nats:
        """Logarithm of the density at each latent, in nats: estimated without bias by a probe of signs."""
        velocity = guided(self.network, condition, 1.0)
        return log_density(velocity, self.scale.inward(latents), *EXACT, probe) - self.scale.log_scale


Prior = MixturePrior | FlowPrior


def detached(encoder: nn.Module, images: Pictures) -> Float[Tensor, "batch outputs"]:
    """What an encoder in use makes of pictures: nothing is learned or kept of it."""
    training = encoder.training
    encoder.eval()
    with torch.no_grad():
        found: Tensor = encoder(images).float()
    encoder.train(training)
    return found


def build_prior(
    options: PriorOptions | None, size: int, spec: ImageSpec, names: tuple[str, ...] = ()
) -> tuple[Prior | None, Conditions]:  # fmt: skip
    """The prior of latents, where one is learned, and all that a model is conditioned on: `names`, then the prior's."""
    own = options.condition if isinstance(options, FlowPriorOptions) else ()
    Conditions(own, spec, "model.prior.condition")  # refuses names that are not there by the key that has them
    conditions = Conditions(tuple(dict.fromkeys((*names, *own))), spec)
    if options is None or isinstance(options, Normal):
        return None, conditions
    if isinstance(options, MixtureOptions):
        return MixturePrior(options, size), conditions
    return FlowPrior(options, size, conditions), conditions


def lacking(prior: Prior | None) -> frozenset[str]:
    """Capabilities that come with priors and that a model with this one lacks."""
    if prior is None:
        return frozenset({"prior_density", "noise_of"})
    return frozenset() if isinstance(prior, FlowPrior) else frozenset({"noise_of"})


def spans(options: PriorOptions | None) -> tuple[tuple[float, float], tuple[float, float]]:
    """From when to when in the training the network is trained, and its prior."""
    share = options.share if isinstance(options, LearnedOptions) else 0.0
    return (0.0, 1 - share), (1 - share if share else 0.0, 1.0)


def prior_phase(prior: Prior, loss: Callable[[Batch, StepContext], Terms]) -> Phase:
    """The phase in which a prior is learned."""
    options, scale = prior.options, prior.scale
    span = spans(options)[1]
    return Phase("prior", list(prior.parameters()), loss, options.optimizer, after=lambda _: scale.agree(), span=span)


def prior_terms(prior: Prior, latents: Latents, batch: Batch, context: StepContext) -> Terms:
    """The loss of a prior over latents, each picture's one after another, under what it is conditioned on."""
    condition = None
    if isinstance(prior, FlowPrior):
        condition = prior.own.of_batch(batch, context, prior.options.condition_dropout)
    if condition is not None:
        condition = condition.repeat_interleave(len(latents) // len(batch), dim=0)
    name, each = prior.loss(latents, condition, context)
    return {name: each.mean()}


def draw(
    prior: Prior | None, noise: Noise, condition: Condition | None, options: TemperatureSampling | FlowSampling
) -> Latents:
    """The latent of each noise, from a prior; None: the standard normal one."""
    if prior is None:
        return noise * options.temperature
    if isinstance(prior, MixturePrior):
        return prior.draw(noise, options)
    assert isinstance(options, FlowSampling)
    return prior.draw(noise, prior.of_model(condition), options)


@runtime_checkable
class WithPrior(Protocol):
    """A model with a prior: what its methods below are of."""

    prior: Prior | None


def prior_density(self: WithPrior, latents: Latents, probe: Latents, condition: Condition | None = None) -> Nats:
    """Log density of the learned prior at each latent, in nats; a flow's is estimated with a probe of signs."""
    prior = self.prior
    if isinstance(prior, MixturePrior):
        return prior.log_density(latents)
    assert isinstance(prior, FlowPrior)
    with gradients():  # a clone is no longer bound to inference
        rows = prior.of_model(condition)
        return prior.log_density(latents.clone(), probe.clone(), None if rows is None else rows.clone())


def noise_of(self: WithPrior, latents: Latents, condition: Condition | None = None) -> Latents:
    """The noise from which the prior's flow leads to each latent."""
    assert isinstance(self.prior, FlowPrior)
    return self.prior.noise_of(latents, self.prior.of_model(condition))


def latent_of(self: WithPrior, noise: Latents, condition: Condition | None = None) -> Latents:
    """The latent to which the prior's flow leads from each noise."""
    assert isinstance(self.prior, FlowPrior)
    return self.prior.latent_of(noise, self.prior.of_model(condition))
