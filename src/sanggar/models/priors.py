"""Priors: what latents are drawn from. Normally distributed, a mixture of Gaussians, or carried there by a flow.

A learned prior is fitted to draws of the posterior, which it does not change: it is one more phase of the training. So
the weight of a VAE's rate can be small, for sharp reconstructions, and what is drawn lies where pictures do
(two-stage VAEs: Dai & Wipf 2019, arXiv:1903.05789; latent diffusion: Rombach et al. 2022, arXiv:2112.10752).
"""

from __future__ import annotations

import math
import warnings
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from sanggar.errors import RunError
from sanggar.models.base import Latents, SamplingOptions, StepContext
from sanggar.models.conditions import Condition, Conditions, Names
from sanggar.models.flow.matching import (
    EXACT,
    FlowSampling,
    Nats,
    check_sampling,
    even_times,
    follow,
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
"""Least weight of a batch in the running moments, where the latents are not yet what they will be"""
SEEN = 128
"""Latents that count as one batch in the moments, of those that a prior begins with"""
ROUNDS = 20
"""of expectation maximization at most"""
UNUSED = -20.0
"""Logarithm of the weight of a component that there are too few latents for"""
ROUNDED = 1e-5
"""Share of a mean's square below which a variance is no more than the rounding of both"""
SMALLEST = 1e-3
"""A component's deviation is at least this share of the latents', or a single picture could have all to itself; and so
much of its own variance is added to each number's, which some that say nothing new would have none of"""


class TemperatureSampling(SamplingOptions):
    """Options of sampling latents."""

    swept: ClassVar[str | None] = "temperature"

    temperature: float = Field(default=1.0, gt=0)
    """factor of the prior's deviation: below 1 more typical pictures and less variety"""


Sampling = TemperatureSampling | FlowSampling


class LearnedOptions(Options):
    """What learned priors have in common."""

    share: float = Field(default=0.3, ge=0, lt=1)
    """share of the training, its end, in which the prior is learned and the rest of the network stands still; 0: both
    are learned all along"""
    draws: Count = 8
    """draws of a batch's latents from their posteriors, with a step of optimization each: encoding pictures is most of
    the work"""
    optimizer: OptimizerOptions = Adam()
    """the prior's own"""
    condition: Names = ()
    """what latents are drawn under: `class`, or names of attributes; the decoder may know them or not"""
    condition_dropout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """share of the training pictures without any condition, and share of the others of which each single name is left
    out: latents are drawn unconditionally as well"""


class Normal(Options):
    """The standard normal distribution."""

    kind: Literal["normal"] = "normal"


class MixtureOptions(LearnedOptions):
    """A mixture of Gaussians with covariances of their own; under a condition, with weights of its own."""

    kind: Literal["mixture"]
    components: Annotated[int, Field(ge=1, le=1000)] = 40
    """Gaussians; fewer have any weight where there are few pictures for the numbers of a latent"""
    share: float = Field(default=0.1, ge=0, lt=1)
    """share of the training, its end, in which the prior is learned and the rest of the network stands still; 0: both
    are learned all along"""
    optimizer: OptimizerOptions = Adam(learning_rate=0.01)
    """the prior's own"""


class FlowPriorOptions(LearnedOptions):
    """Flow matching between noise and latents, see `models.flow.matching`."""

    kind: Literal["flow"]
    width: Count = 256
    """neurons of each layer of the velocity network"""
    blocks: Annotated[int, Field(ge=1, le=64)] = 3
    """of two layers"""
    optimizer: OptimizerOptions = Adam(learning_rate=0.003)
    """the prior's own"""


LearnedPrior = Annotated[MixtureOptions | FlowPriorOptions, Field(discriminator="kind")]
PriorOptions = Annotated[Normal | MixtureOptions | FlowPriorOptions, Field(discriminator="kind")]


class Whitened(nn.Module):
    """Latents brought to mean 0 and covariance 1 by running moments, and back.

    What is learned of them begins from the normal distribution of their moments, whatever these are.
    """

    mean: Tensor
    second: Tensor
    """second moments, around 0: of parts of a batch, their means are what they are of the whole"""
    seen: Tensor
    """batches that the moments come from"""

    def __init__(self, size: int, options: LearnedOptions) -> None:
        super().__init__()
        self.least = 0.0 if options.share else MOMENTUM / options.draws
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("second", torch.eye(size))
        self.register_buffer("seen", torch.zeros(()))

    @torch.no_grad()
    def see(self, latents: Latents) -> None:
        """Take a batch into the moments: all of them alike, where latents change the last ones more."""
        self.seen += 1
        weight = torch.clamp(1 / self.seen, min=self.least)
        self.mean.lerp_(latents.mean(dim=0), weight)
        self.second.lerp_(latents.T @ latents / len(latents), weight)

    @torch.no_grad()
    def agree(self) -> None:
        """Bring the moments of all processes to their mean: after a step, when its parts are done."""
        if distributed.is_available() and distributed.is_initialized():
            moments = torch.cat([self.mean[None], self.second])
            distributed.all_reduce(moments)
            moments /= distributed.get_world_size()
            self.mean.copy_(moments[0])
            self.second.copy_(moments[1:])

    @property
    def factor(self) -> Float[Tensor, "latent latent"]:
        """The covariance's Cholesky factor. Few batches tell little of how latents go together: the fewer, the less."""
        mean = self.mean.double()
        covariance = self.second.double() - mean[:, None] * mean
        own = covariance.diagonal().clamp(min=1e-12).maximum(ROUNDED * mean.square())
        together = (covariance - torch.diag(covariance.diagonal())) * (1 - 1 / (1 + self.seen**2))
        found: Tensor = torch.linalg.cholesky(together + torch.diag(own * (1 + SMALLEST)))
        return found.to(self.mean.dtype)

    def seen_after(self, latents: Latents, training: bool) -> Latents:
        """Whitened latents, by the moments before them; in training they are taken into these afterwards."""
        points = self.inward(latents)
        if training:
            self.see(latents)
        return points

    def inward(self, latents: Latents) -> Latents:
        """Whitened latents."""
        found: Tensor = torch.linalg.solve_triangular(self.factor, (latents - self.mean).T, upper=False)
        return found.T

    def outward(self, points: Latents) -> Latents:
        """Latents of whitened ones."""
        return self.mean + points @ self.factor.T

    @property
    def log_scale(self) -> Float[Tensor, ""]:
        """The logarithm of how much larger a volume is outside."""
        return self.factor.diagonal().log().sum()


class Learned(nn.Module):
    """What is learned of whitened latents, under a condition where it has one."""

    noise_size: int
    """numbers that a latent is made of"""
    begins_with: ClassVar[int] = 0
    """training pictures whose latents `begin` is given"""

    def __init__(self, options: LearnedOptions, size: int, conditions: Conditions) -> None:
        super().__init__()
        self.own = Conditions(options.condition, conditions.spec, "model.prior.condition")
        self.places = [conditions.place(name) for name in options.condition]
        """where the model's rows hold what this prior is conditioned on"""
        self.scale = Whitened(size, options)

    def of_model(self, condition: Condition | None) -> Condition | None:
        """What the prior is conditioned on, of the model's rows; None: unconditional."""
        if condition is None or not self.places:
            return None
        return torch.cat([condition[:, place] for place in self.places], dim=1)

    def begin(self, latents: Latents) -> None:
        """What is made of the latents of `begins_with` pictures, before anything is learned: nothing."""


class MixturePrior(Learned):
    """A mixture of Gaussians, learned by its likelihood. A condition changes their weights.

    It begins as expectation maximization leaves it, which gradients alone are long behind: from anywhere else, many
    components would stay for nothing.

    A latent is made of one number more than it has: by its place in the normal distribution, the first chooses the
    component.
    """

    begins_with: ClassVar[int] = 20_000

    def __init__(self, options: MixtureOptions, size: int, conditions: Conditions) -> None:
        super().__init__(options, size, conditions)
        self.options, self.noise_size = options, size + 1
        self.logits = nn.Parameter(torch.zeros(options.components))
        self.means = nn.Parameter(torch.randn(options.components, size))
        self.factors = nn.Parameter(torch.zeros(options.components, size, size))
        """below the diagonal the covariances' Cholesky factors, on it what `softplus` makes positive"""
        with torch.no_grad():
            self.factors.diagonal(dim1=1, dim2=2).fill_(math.log(math.e - 1))  # deviations of 1
        self.given = nn.Linear(self.own.width, options.components, bias=False) if self.own.names else None
        if self.given is not None:
            nn.init.zeros_(self.given.weight)

    @torch.no_grad()
    def begin(self, latents: Latents) -> None:
        """Fit the components to latents, by scikit-learn. Of few latents some components are given no weight."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture
        from threadpoolctl import threadpool_limits

        if len(latents) < 2 or not latents.isfinite().all():  # the loop says that a training has diverged
            return
        self.scale.seen.zero_()  # of a training that was made longer, latents were others before
        for first in range(0, len(latents), SEEN):
            self.scale.see(latents[first : first + SEEN])
        points = self.scale.inward(latents).double().cpu().numpy()
        count = max(1, min(len(self.means), len(points) // (2 * points.shape[1])))
        estimator = GaussianMixture(count, reg_covar=SMALLEST, max_iter=ROUNDS, random_state=0)
        with warnings.catch_warnings(), threadpool_limits(1):  # sums of several threads come in any order
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is learned on
            estimator.fit(points)
        lower = torch.from_numpy(np.linalg.cholesky(estimator.covariances_))
        raw = (lower.diagonal(dim1=1, dim2=2) - SMALLEST).clamp(min=SMALLEST).expm1().log()  # what softplus undoes
        self.factors[:count] = (lower.tril(-1) + torch.diag_embed(raw)).to(self.factors)
        self.means[:count] = torch.from_numpy(estimator.means_).to(self.means)
        self.logits.fill_(UNUSED)
        self.logits[:count] = torch.from_numpy(estimator.weights_).log().to(self.logits)

    def _triangles(self) -> Float[Tensor, "components latent latent"]:
        below, diagonal = self.factors.tril(-1), self.factors.diagonal(dim1=1, dim2=2)
        return below + torch.diag_embed(F.softplus(diagonal) + SMALLEST)

    def _logits(self, condition: Condition | None, count: int) -> Float[Tensor, "batch components"]:
        if self.given is None or condition is None:
            return self.logits.expand(count, -1)
        return self.logits + self.given(condition)  # type: ignore[no-any-return]

    def _density(self, points: Latents, condition: Condition | None) -> Nats:
        from torch.distributions import MultivariateNormal

        components = MultivariateNormal(self.means, scale_tril=self._triangles(), validate_args=False)
        each: Tensor = components.log_prob(points[:, None])  # type: ignore[no-untyped-call]
        weights = self._logits(condition, len(points)).log_softmax(dim=1)
        return torch.logsumexp(weights + each, dim=1)

    def loss(self, latents: Latents, condition: Condition | None, context: StepContext) -> tuple[str, Nats]:
        """Its name, and minus the log density of each whitened latent, in nats a number."""
        points = self.scale.seen_after(latents, self.training)
        return "likelihood", -self._density(points, condition) / latents.shape[1]

    def draw(self, noise: Noise, condition: Condition | None, options: Sampling) -> Latents:
        """The latent of each noise."""
        place = torch.special.ndtr(noise[:, :1].double())
        bounds = self._logits(condition, len(noise)).double().softmax(dim=1).cumsum(dim=1)
        component = torch.searchsorted(bounds, place)[:, 0].clamp(max=len(self.logits) - 1)
        around = (self._triangles()[component] @ (options.temperature * noise[:, 1:, None]))[:, :, 0]
        return self.scale.outward(self.means[component] + around)

    def log_density(self, latents: Latents, probe: Latents, condition: Condition | None = None) -> Nats:
        """Logarithm of the density at each latent, in nats. It is known: the probe is for a flow's."""
        return self._density(self.scale.inward(latents), condition) - self.scale.log_scale


class FlowPrior(Learned):
    """A flow from noise to whitened latents."""

    def __init__(self, options: FlowPriorOptions, size: int, conditions: Conditions) -> None:
        super().__init__(options, size, conditions)
        self.options, self.noise_size = options, size
        self.network = VectorNetwork(size, options.width, options.blocks, self.own)

    def loss(self, latents: Latents, condition: Condition | None, context: StepContext) -> tuple[str, Nats]:
        """Its name, and the squared error of the velocity for each latent."""
        x1 = self.scale.seen_after(latents, self.training)
        x0, t = context.normal("prior", (x1.shape[1],)), even_times(context)
        return "velocity", matching_error(lambda x, t: self.network(x, t, condition), x0, x1, t)

    def draw(self, noise: Noise, condition: Condition | None, options: Sampling) -> Latents:
        """The latent of each noise. Raises RunError for options that mean nothing."""
        assert isinstance(options, FlowSampling)
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
        """Logarithm of the density at each latent, in nats: estimated by a probe of signs."""
        velocity = guided(self.network, condition, 1.0)
        return log_density(velocity, self.scale.inward(latents), probe, *EXACT) - self.scale.log_scale


Prior = MixturePrior | FlowPrior
