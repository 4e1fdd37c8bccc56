"""The variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114), with residual blocks.

Both terms of the bound are summed over a picture and averaged over the batch, in nats; `beta` is the weight of the
KL divergence in that convention. The posterior is a diagonal normal distribution, the prior that it is trained
towards a standard one; what latents are drawn from can be learned besides (`models.priors`).
"""

from __future__ import annotations

from math import prod
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydantic import Field, model_validator
from torch import Tensor, nn

from sanggar.data.images import ImageSpec
from sanggar.models import with_prior
from sanggar.models.base import (
    Batch,
    Latents,
    Model,
    Phase,
    Pictures,
    Posterior,
    SamplingOptions,
    StepContext,
    Terms,
    alone,
)
from sanggar.models.blocks import (
    Activation,
    Norm,
    Patch,
    begin_linear,
    check_strides,
    encoder_and_decoder,
    frozen_batch_stats,
)
from sanggar.models.classifier import Classifier, at_size, dissimilarity
from sanggar.models.conditions import Condition, Conditions, Names
from sanggar.models.flow.matching import FlowSampling
from sanggar.models.gan.generators import Task
from sanggar.models.gan.objectives import (
    Clip,
    clip_weights,
    differentiates,
    penalty_terms,
)
from sanggar.models.linear import BEGINNERS
from sanggar.models.priors import Noise, Normal, Prior, PriorOptions, TemperatureSampling
from sanggar.models.vae.beside import Adversarial, Perceptual, PerceptualJudge
from sanggar.models.vae.kl import Beta, Capacity, kl_divergence, kl_term, log_normal
from sanggar.models.vae.likelihood_regret import refitted
from sanggar.models.vae.likelihoods import GaussianOptions, LikelihoodOptions, Nats
from sanggar.options import Options

Width = Annotated[int, Field(ge=1)]
LOG_VARIANCES = (-14.0, 6.0)
"""Between these a posterior's stay, so that no single picture can make a step infinite."""


class VAEOptions(Options):
    """A convolutional encoder to a normal distribution, and a decoder to a distribution of pictures."""

    family: Literal["vae"] = "vae"
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=7)] = (32, 64, 128)
    """channels after each convolution; their number is the depth"""
    strides: tuple[Literal[1, 2], ...] | None = None
    """what each convolution divides height and width by; none: 2 each"""
    patch: Patch = 1
    """squares of so many pixels go in and come out as channels of one place: larger ones cost less and draw coarser"""
    blocks: int = Field(default=1, ge=0, le=8)
    """blocks of two convolutions at each resolution"""
    residual: bool = True
    """whether blocks add to what they are given; off: the plain twin, of as many parameters"""
    scales: bool = False
    """multi-scale: the code is read from every resolution, and the picture painted at every one"""
    linear: bool = False
    """a linear path beside the convolutions, from pictures (averaged to 32×32 at most) to latents and back. It begins
    as the principal components of the training pictures: what is learned is what these cannot say"""
    latent_size: int = Field(default=32, ge=1)
    """numbers in a latent"""
    activation: Activation = "silu"
    """after each convolution"""
    norm: Norm = "group"
    """between a convolution and its activation"""
    likelihood: LikelihoodOptions = GaussianOptions()
    beta: Beta = Beta()
    free_bits: float = Field(default=0.0, ge=0)
    """nats of each dimension, in the mean over a batch, that cost nothing (Kingma et al. 2016, arXiv:1606.04934)"""
    capacity: Capacity | None = None
    """instead of beta"""
    condition: Names = ()
    """what the decoder is conditioned on: `class`, or names of attributes"""
    condition_dropout: Annotated[float, Field(gt=0, le=1)] = 0.1
    """share of the training pictures without any condition, and share of the others of which each single name is left
    out: pictures are reconstructed and sampled unconditionally as well"""
    prior: PriorOptions = Normal()
    """what latents are drawn from when sampling; the rate is towards the standard normal distribution in any case"""
    perceptual: Perceptual | None = None
    adversarial: Adversarial | None = None

    @property
    def odds(self) -> bool:
        """Whether raw pictures are logarithms of odds, which principal components are not."""
        return self.likelihood.kind == "bernoulli"

    @model_validator(mode="after")
    def _make_sense(self) -> VAEOptions:
        check_strides(self)
        if self.capacity is not None and (self.beta != Beta() or self.free_bits):
            raise ValueError("capacity: it steers the KL divergence in place of beta and free_bits; give one of them")
        if self.linear and self.odds:
            raise ValueError("linear: principal components are no logarithms of odds; choose another likelihood")
        return self


class VAE(Model):
    """A model of family `vae`. It encodes, decodes, reconstructs, samples, and bounds the likelihood."""

    Options: ClassVar[type[Options]] = VAEOptions
    SamplingOptions: type[SamplingOptions] = TemperatureSampling
    latent_size: int
    linear: bool | None
    """whether there is a linear path; none: there can be none"""
    prior: Prior | None
    conditions: Conditions
    noise_shape: tuple[int, ...]
    prior_density, noise_of, latent_of = with_prior.prior_density, with_prior.noise_of, with_prior.latent_of
    trained: Tensor
    """share of the training done"""

    def __init__(self, options: VAEOptions, spec: ImageSpec) -> None:
        super().__init__()
        self.options, self.spec, self.latent_size = options, spec, options.latent_size
        self.values = prod(spec.shape)
        self._of_decoder = Conditions(options.condition, spec)
        with_prior.equip(self, options.prior, options.latent_size, spec, options.condition)
        size = options.latent_size
        self.encoder, self.decoder = encoder_and_decoder(options, spec, 2 * size, size + self._of_decoder.width)
        self.linear = None if options.odds else options.linear
        self.likelihood = options.likelihood.build(spec.channels)
        self.critic: nn.Module | None = None
        if options.adversarial is not None:
            self.critic = options.adversarial.critic.build(Task(spec, options.latent_size, Conditions((), spec)))
            self.uncompiled = ("critic",) if differentiates(options.adversarial.penalty) else ()
        self.register_buffer("trained", torch.zeros(()))
        # an instrument, and no part of the network: neither trained nor saved
        self._judge: PerceptualJudge | None = None
        if options.perceptual is not None:
            self.perceptual_judge = options.perceptual.judge
        # free bits and a capacity go by means over the batch, and a critic is shown halves of it
        whole = options.free_bits or options.capacity or options.adversarial
        self.divisible = alone(self) and not whole

    def use_judge(self, judge: PerceptualJudge) -> None:
        """Take the judge whose features the perceptual loss compares."""
        self._judge = judge
        judge.network.requires_grad_(False)

    def begin(self, pixels: UInt8[np.ndarray, "n height width channels"]) -> None:
        """Begin as the principal components of training pictures, each as sure as the rate lets it be."""
        begin_linear(self.encoder, self.decoder, self.latent_size, pixels, self.options.beta.weight)

    def phases(self) -> list[Phase]:
        """One phase; before it the critic's and after it the prior's, where there are such."""
        parts: list[nn.Module] = [self.encoder, self.decoder, self.likelihood]
        parameters = [parameter for part in parts for parameter in part.parameters()]
        span = with_prior.spans(self.options.prior)
        vae = Phase(
            "vae", parameters, self.loss, watched=("rate", "beta"), span=span[0],
            begins_with=BEGINNERS if self.options.linear else 0, begin=self.begin,
        )  # fmt: skip
        phases = [vae]
        if self.critic is not None and self.options.adversarial is not None:
            optimizer = self.options.adversarial.optimizer
            critic = Phase(
                "critic", list(self.critic.parameters()), self.critic_loss, optimizer, after=self._after_critic,
                watched=("accuracy",), span=span[0],
            )  # fmt: skip
            phases.insert(0, critic)
        return [*phases, *with_prior.prior_phases(self.prior, self.encoder, self.prior_loss, self._latents)]

    # -- the losses --------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, context: StepContext) -> Terms:
        """Minus the bound in nats a picture, its KL divergence weighted; and what else the recipe asks for.

        Validation counts the KL divergence with the weight that it has at the end.
        """
        if self.training:
            self.trained.fill_((context.step + 1) / context.steps)
        mean, log_variance = self._posterior(batch.images)
        condition = self._of_decoder.of_batch(batch, context, self.options.condition_dropout)
        raw = self.decoder(self._joined(self._drawn(mean, log_variance, context), condition))
        divergences = kl_divergence(mean, log_variance)
        done = context.step / context.steps if context.split == "train" else 1.0
        price, beta = kl_term(divergences, done, self.options.capacity or self.options.beta, self.options.free_bits)
        terms = {"distortion": -self.likelihood(raw, batch.images).mean(), "divergence": price}
        picture = self.likelihood.picture(raw)
        if self.options.perceptual is not None:
            terms["perceptual"] = self._perceptual(picture, batch.images, self.options.perceptual.weight)
        if self.critic is not None and self.options.adversarial is not None:
            game, half = self.options.adversarial, self._reconstructed(len(batch))
            with frozen_batch_stats(self.decoder):
                drawn = self._prior_pictures(half, condition, context)
            fake = self.critic(torch.cat([picture[:half], drawn]))
            # the others do not look at real pictures here
            real = self.critic(batch.images) if game.objective.kind == "relativistic" else fake
            terms["adversarial"] = game.weight * self.values * game.objective.generator(real, fake)
        return terms | {"rate": divergences.detach().sum(dim=1).mean(), "beta": mean.new_tensor(beta)}

    def _perceptual(self, picture: Pictures, images: Pictures, weight: float) -> Float[Tensor, ""]:
        """Distance of the judge's features, in nats a picture."""
        assert self._judge is not None, (
            "plan.build hands a model its judge; a model built without it has to be given one"
        )
        network: Classifier = self._judge.network.to(images.device)
        one, other = (at_size(pictures, self._judge.spec) for pictures in (picture, images))
        return weight * self.values * dissimilarity(network, one, other).mean()

    def critic_loss(self, batch: Batch, context: StepContext) -> Terms:
        """The critic's side: half of what is not real are reconstructions, half are pictures drawn from the prior.

        All are reconstructions where the prior is learned: it is so later, and what the standard one draws is no
        picture of such a network.
        """
        assert self.critic is not None and self.options.adversarial is not None
        game, critic, half = self.options.adversarial, self.critic, self._reconstructed(len(batch))
        with torch.no_grad(), frozen_batch_stats(self):
            condition = self._of_decoder.of_batch(batch, context, self.options.condition_dropout)
            latents = self._drawn(*self._posterior(batch.images[:half]), context)
            came_back = self._decoded(latents, None if condition is None else condition[:half])
            fake = torch.cat([came_back, self._prior_pictures(half, condition, context)])
        real_scores, fake_scores = critic(batch.images), critic(fake)
        terms = {"adversarial": game.objective.critic(real_scores, fake_scores)}
        terms |= penalty_terms(game.penalty, critic, batch.images, fake, context)
        return terms | {"accuracy": (real_scores > fake_scores).float().mean()}

    def prior_loss(self, batch: Batch, context: StepContext) -> Terms:
        """The loss of a learned prior, over draws of the posterior."""
        assert self.prior is not None and batch.encoded is not None
        latents = self._latents(batch.encoded, context.normal("posterior of prior", (self.latent_size,)))
        return with_prior.prior_terms(self.prior, latents, batch, context)

    def _latents(self, encoded: Float[Tensor, "batch outputs"], noise: Latents) -> Latents:
        """What a prior is learned of: draws from posteriors."""
        mean, log_variance = _normal(encoded)
        return mean + torch.exp(log_variance / 2) * noise

    def _drawn(self, mean: Latents, log_variance: Latents, context: StepContext) -> Latents:
        """A draw from the posterior of each of the batch's first pictures."""
        noise = context.normal("posterior", (self.latent_size,))[: len(mean)]
        return mean + torch.exp(log_variance / 2) * noise

    def _prior_pictures(
        self, first: int, condition: Condition | None, context: StepContext
    ) -> Float[Tensor, "rest channels height width"]:
        """Drawn from the prior, one for each picture of the batch from the `first` on."""
        latents = context.normal("drawn", (self.latent_size,))[first:]
        if not len(latents):
            return latents.new_zeros(0, self.spec.channels, self.spec.height, self.spec.width)
        return self._decoded(latents, None if condition is None else condition[first:])

    def _reconstructed(self, count: int) -> int:
        """Of so many pictures that the critic is shown and that are not real, those that came back from the network."""
        return count if self.prior is not None else (count + 1) // 2

    def _after_critic(self, context: StepContext) -> None:
        assert self.critic is not None and self.options.adversarial is not None
        if isinstance(self.options.adversarial.penalty, Clip):
            clip_weights(self.critic, self.options.adversarial.penalty.limit)

    # -- the distribution ----------------------------------------------------------------------------------------

    def _posterior(self, images: Pictures) -> tuple[Latents, Latents]:
        return _normal(self.encoder(images).float())

    def _joined(self, latents: Latents, condition: Condition | None) -> Float[Tensor, "batch inputs"]:
        """Latents with what the decoder is conditioned on behind them; zeros where that is nothing."""
        width = self._of_decoder.width
        if not width:
            return latents
        if condition is None:
            condition = latents.new_zeros(len(latents), width)
        return torch.cat([latents, condition[:, :width].to(latents.dtype)], dim=1)  # the decoder's names come first

    def _decoded(self, latents: Latents, condition: Condition | None) -> Pictures:
        found: Pictures = self.likelihood.picture(self.decoder(self._joined(latents, condition)))
        return found

    # -- in use ------------------------------------------------------------------------------------------------

    @property
    def beta(self) -> float | None:
        """The weight of the KL divergence where the training ended, early or not; none where a capacity steers it."""
        return None if self.options.capacity is not None else self.options.beta.at(self.trained.item())

    def posterior(self, images: Pictures) -> Posterior:
        """Mean and logarithm of the variance of each dimension."""
        return torch.stack(self._posterior(images), dim=1)

    def log_weight_terms(
        self, images: Pictures, posterior: Posterior, noise: Latents, condition: Condition | None = None
    ) -> Float[Tensor, "batch 3"]:
        """With z = μ + σ · noise, by the pictures' posterior: log p(x | z), log p(z) and log q(z | x), in nats.

        First plus second minus third is one draw of the bound; the mean of its exponential over draws is an unbiased
        estimate of p(x), its logarithm the importance-weighted bound (Burda et al. 2016, arXiv:1509.00519).
        """
        mean, log_variance = posterior.unbind(dim=1)
        latents = mean + torch.exp(log_variance / 2) * noise
        given = self.likelihood(self.decoder(self._joined(latents, condition)), images)
        return torch.stack([given, log_normal(latents), log_normal(noise) - log_variance.sum(dim=1) / 2], dim=1)

    def regret(
        self, images: Pictures, posterior: Posterior, known: Float[Tensor, "batch weighed"],
        noise: Float[Tensor, "batch draws latent"], condition: Condition | None = None,
    ) -> Float[Tensor, "batch 2"]:  # fmt: skip
        """The bound in nats with the pictures' posterior, and with one fitted to each picture (`likelihood_regret`).

        `known` are log p(x | z) by the posterior, for each of the first draws of noise.
        """
        with torch.inference_mode(False), torch.enable_grad():  # it takes gradients even where nothing else does
            images, posterior, known, noise = images.clone(), posterior.clone(), known.clone(), noise.clone()
            condition = None if condition is None else condition.clone()
            mean, log_variance = posterior.unbind(dim=1)

            def log_likelihood(mean: Latents, log_variance: Latents, draw: Latents) -> Nats:
                raw = self.decoder(self._joined(mean + torch.exp(log_variance / 2) * draw, condition))
                given: Nats = self.likelihood(raw, images)
                return given

            return refitted(mean, log_variance, log_likelihood, known, noise)

    def encode(self, images: Pictures) -> Latents:
        """The posterior's mean."""
        return self._posterior(images)[0]

    def decode(self, latents: Latents, condition: Condition | None = None) -> Pictures:
        """Mean picture of each latent, under a condition; None: unconditional."""
        return self._decoded(latents, condition).clamp(-1, 1)

    def reconstruct(self, images: Pictures, condition: Condition | None = None) -> Pictures:
        """`decode(encode(images))`: from the posterior's mean."""
        return self.decode(self.encode(images), condition)

    def sample(
        self, noise: Noise, condition: Condition | None, options: TemperatureSampling | FlowSampling
    ) -> Pictures:  # fmt: skip
        """Mean picture of the prior's latent of each noise, under a condition; None: unconditional."""
        return self.decode(with_prior.draw(self.prior, noise, condition, options), condition)


def _normal(code: Float[Tensor, "batch outputs"]) -> tuple[Latents, Latents]:
    """Mean and log variance that an encoder's outputs stand for."""
    mean, log_variance = code.chunk(2, dim=1)
    lowest, highest = LOG_VARIANCES
    return mean, log_variance.clamp(lowest, highest)
