"""What a model that encodes and decodes does with a prior: how it is given one, learns it and draws from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from sanggar.data.images import CHUNK, ImageSpec, to_float
from sanggar.models.base import Batch, Latents, Phase, Pictures, StepContext, Terms
from sanggar.models.conditions import Condition, Conditions
from sanggar.models.flow.matching import SOLVERS, FlowSampling, Nats, gradients
from sanggar.models.priors import (
    FlowPrior,
    FlowPriorOptions,
    LearnedOptions,
    MixtureOptions,
    MixturePrior,
    Noise,
    Prior,
    PriorOptions,
    Sampling,
)


@runtime_checkable
class WithPrior(Protocol):
    """A model with a prior: what its methods below are of."""

    prior: Prior | None


def equip(
    model: Any, options: PriorOptions | None, size: int, spec: ImageSpec, names: tuple[str, ...] = ()
) -> None:  # fmt: skip
    """Give a model of latents of `size` numbers its prior, and what follows from it; None: it cannot sample.

    `names` are what its decoder is conditioned on: first of all that the model is, before what the prior alone is.
    """
    own = options.condition if isinstance(options, LearnedOptions) else ()
    Conditions(own, spec, "model.prior.condition")  # refuses names that are not there by the key that has them
    model.conditions = Conditions(tuple(dict.fromkeys((*names, *own))), spec)
    model.decoder_names, model.prior, model.noise_shape = names, None, (size,)
    model.lacks = frozenset({"prior_density", "noise_of"})
    if options is None:
        model.lacks |= {"sample"}
    if isinstance(options, MixtureOptions):
        model.prior, model.lacks = MixturePrior(options, size, model.conditions), frozenset({"noise_of"})
    if isinstance(options, FlowPriorOptions):
        model.prior, model.lacks = FlowPrior(options, size, model.conditions), frozenset()
        model.SamplingOptions, model.solvers = FlowSampling, SOLVERS
    if model.prior is not None:
        model.learned_prior, model.noise_shape = model.prior.options.kind, (model.prior.noise_size,)


def detached(encoder: nn.Module, images: Pictures) -> Float[Tensor, "batch outputs"]:
    """What an encoder in use makes of pictures: nothing is learned or kept of it."""
    training = encoder.training
    encoder.eval()
    with torch.no_grad():
        found: Tensor = encoder(images).float()
    encoder.train(training)
    return found


def spans(options: PriorOptions | None) -> tuple[tuple[float, float], tuple[float, float]]:
    """From when to when in the training the network is trained, and its prior."""
    share = options.share if isinstance(options, LearnedOptions) else 0.0
    return (0.0, 1 - share), (1 - share if share else 0.0, 1.0)


def prior_phases(
    prior: Prior | None, encoder: nn.Module, loss: Callable[[Batch, StepContext], Terms],
    latents: Callable[[Float[Tensor, "batch outputs"], Latents], Latents],
) -> list[Phase]:  # fmt: skip
    """The phase in which a prior is learned, of pictures that are encoded once for all its steps; None: no phase.

    `latents` makes them of what the encoder says, and of noise.
    """
    if prior is None:
        return []
    options, scale = prior.options, prior.scale

    def encoded(batch: Batch) -> Batch:
        return replace(batch, encoded=detached(encoder, batch.images))

    def begin(pixels: UInt8[np.ndarray, "n height width channels"]) -> None:
        draw, parts = torch.Generator().manual_seed(0), []
        for first in range(0, len(pixels), CHUNK):
            images = to_float(torch.from_numpy(np.array(pixels[first : first + CHUNK])).to(scale.mean.device))
            noise = torch.randn(len(images), len(scale.mean), generator=draw).to(scale.mean.device)
            parts.append(latents(detached(encoder, images), noise))
        prior.begin(torch.cat(parts))

    phase = Phase(
        "prior", list(prior.parameters()), loss, options.optimizer, repeats=options.draws, prepare=encoded,
        after=lambda _: scale.agree(), span=spans(options)[1], begins_with=prior.begins_with, begin=begin,
    )  # fmt: skip
    return [phase]


def prior_terms(prior: Prior, latents: Latents, batch: Batch, context: StepContext) -> Terms:
    """The loss of a prior over the latents of a batch, under what it is conditioned on."""
    condition = prior.own.of_batch(batch, context, prior.options.condition_dropout)
    name, each = prior.loss(latents, condition, context)
    return {name: each.mean()}


def draw(prior: Prior | None, noise: Noise, condition: Condition | None, options: Sampling) -> Latents:
    """The latent of each noise, from a prior; None: the standard normal one."""
    if prior is None:
        return noise * options.temperature
    return prior.draw(noise, prior.of_model(condition), options)


def prior_density(self: WithPrior, latents: Latents, probe: Latents, condition: Condition | None = None) -> Nats:
    """Log density of the learned prior at each latent, in nats; a flow's is estimated with a probe of signs."""
    assert self.prior is not None
    with gradients():  # a clone is no longer bound to inference
        rows = self.prior.of_model(condition)
        return self.prior.log_density(latents.clone(), probe.clone(), None if rows is None else rows.clone())


def noise_of(self: WithPrior, latents: Latents, condition: Condition | None = None) -> Latents:
    """The noise from which the prior's flow leads to each latent."""
    assert isinstance(self.prior, FlowPrior)
    return self.prior.noise_of(latents, self.prior.of_model(condition))


def latent_of(self: WithPrior, noise: Latents, condition: Condition | None = None) -> Latents:
    """The latent to which the prior's flow leads from each noise."""
    assert isinstance(self.prior, FlowPrior)
    return self.prior.latent_of(noise, self.prior.of_model(condition))
