"""The denoising autoencoder (Vincent et al. 2008): clean pictures from disturbed ones, through few numbers.

Without noise it is a plain autoencoder.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import UInt8
from pydantic import Field, model_validator

from sanggar.data.images import ImageSpec
from sanggar.models import with_prior
from sanggar.models.base import (
    Batch,
    Latents,
    Model,
    Phase,
    Pictures,
    SamplingOptions,
    StepContext,
    Terms,
    alone,
)
from sanggar.models.blocks import Activation, Norm, Patch, begin_linear, check_strides, encoder_and_decoder
from sanggar.models.conditions import Condition, Conditions
from sanggar.models.flow.matching import FlowSampling
from sanggar.models.linear import BEGINNERS
from sanggar.models.losses import PixelLoss, pixel_loss, to_picture
from sanggar.models.noise import NoiseOptions, disturb
from sanggar.models.priors import LearnedPrior, Noise, Prior, TemperatureSampling
from sanggar.options import Options

Width = Annotated[int, Field(ge=1)]


class AutoencoderOptions(Options):
    """A convolutional encoder to a latent vector, and the same in reverse."""

    family: Literal["autoencoder"] = "autoencoder"
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=7)] = (32, 64, 128)
    """channels after each convolution; their number is the depth"""
    strides: tuple[Literal[1, 2], ...] | None = None
    """what each convolution divides height and width by; none: 2 each"""
    patch: Patch = 1
    """squares of so many pixels go in and come out as channels of one place: larger ones cost less and draw coarser"""
    blocks: int = Field(default=0, ge=0, le=8)
    """blocks of two convolutions at each resolution"""
    residual: bool = True
    """whether blocks add to what they are given; off: the plain twin, of as many parameters"""
    scales: bool = False
    """multi-scale: the code is read from every resolution, and the picture painted at every one"""
    linear: bool = False
    """a linear path beside the convolutions, from pictures (averaged to 32×32 at most) to latents and back. It begins
    as the principal components of the training pictures: what is learned is what these cannot say"""
    latent_size: int = Field(default=128, ge=1)
    """numbers that a picture is brought down to"""
    activation: Activation = "relu"
    """after each convolution"""
    norm: Norm = "none"
    """between a convolution and its activation"""
    noise: NoiseOptions = NoiseOptions()
    prior: LearnedPrior | None = None
    """what latents are drawn from; none: the network does not sample, but for a mixture fitted when it is measured"""
    loss: PixelLoss = "mse"
    """what the decoder's picture is judged by; `bce` takes pixels as probabilities, `psnr` is minus the PSNR in dB"""

    @property
    def odds(self) -> bool:
        """Whether raw pictures are logarithms of odds, which principal components are not."""
        return self.loss == "bce"

    @model_validator(mode="after")
    def _as_many(self) -> AutoencoderOptions:
        check_strides(self)
        if self.linear and self.odds:
            raise ValueError("linear: principal components are no logarithms of odds; choose another loss than bce")
        return self


class Autoencoder(Model):
    """A model of family `autoencoder`. It encodes, decodes, reconstructs and disturbs."""

    Options: ClassVar[type[Options]] = AutoencoderOptions
    SamplingOptions: type[SamplingOptions] = TemperatureSampling
    linear: bool | None
    """whether there is a linear path; none: there can be none"""
    prior: Prior | None
    conditions: Conditions
    noise_shape: tuple[int, ...]
    prior_density, noise_of, latent_of = with_prior.prior_density, with_prior.noise_of, with_prior.latent_of

    def __init__(self, options: AutoencoderOptions, spec: ImageSpec) -> None:
        super().__init__()
        self.options, self.noise, self.latent_size = options, options.noise, options.latent_size
        size = options.latent_size
        self.encoder, self.decoder = encoder_and_decoder(options, spec, size, size)
        self.linear = None if options.odds else options.linear
        with_prior.equip(self, options.prior, options.latent_size, spec)
        self.divisible = alone(self)

    def begin(self, pixels: UInt8[np.ndarray, "n height width channels"]) -> None:
        """Begin as the principal components of training pictures."""
        begin_linear(self.encoder, self.decoder, self.options.latent_size, pixels)

    def phases(self) -> list[Phase]:
        """One phase, and after it the prior's where one is learned."""
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        phase = Phase(
            "autoencoder", parameters, self.loss, span=with_prior.spans(self.options.prior)[0],
            begins_with=BEGINNERS if self.options.linear else 0, begin=self.begin,
        )  # fmt: skip
        return [phase, *with_prior.prior_phases(self.prior, self.encoder, self.prior_loss, self._latents)]

    def loss(self, batch: Batch, context: StepContext) -> Terms:
        """How far the reconstruction of the disturbed pictures is from the clean ones."""
        raw = self.decoder(self.encoder(self.disturb(batch.images, context)))
        return {self.options.loss: pixel_loss(self.options.loss, raw, batch.images)}

    def prior_loss(self, batch: Batch, context: StepContext) -> Terms:
        """The loss of a learned prior, over the pictures' latents."""
        assert self.prior is not None and batch.encoded is not None
        return with_prior.prior_terms(self.prior, batch.encoded, batch, context)

    def _latents(self, encoded: Latents, noise: Latents) -> Latents:
        """What a prior is learned of: the latents themselves."""
        return encoded

    def encode(self, images: Pictures) -> Latents:
        """The latent vector of each picture."""
        return self.encoder(images).float()  # type: ignore[no-any-return]

    def decode(self, latents: Latents, condition: Condition | None = None) -> Pictures:
        """The picture of each latent vector. The decoder knows no condition: a prior alone may have one."""
        return to_picture(self.options.loss, self.decoder(latents))

    def reconstruct(self, images: Pictures, condition: Condition | None = None) -> Pictures:
        """`decode(encode(images))`: nothing goes round the latent."""
        return self.decode(self.encode(images))

    def sample(
        self, noise: Noise, condition: Condition | None, options: TemperatureSampling | FlowSampling
    ) -> Pictures:  # fmt: skip
        """Picture of the prior's latent of each noise, under a condition; None: unconditional."""
        return self.decode(with_prior.draw(self.prior, noise, condition, options)).clamp(-1, 1)

    def disturb(self, images: Pictures, context: StepContext, level: float | None = None) -> Pictures:
        """The pictures with the recipe's noise, at `level` where one is given."""
        return disturb(images, self.options.noise, context, level)
