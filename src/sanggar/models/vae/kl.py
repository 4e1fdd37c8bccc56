"""The KL divergence of a diagonal normal posterior from a standard normal prior, and what it costs in training."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from sanggar.models.base import Latents
from sanggar.models.vae.likelihoods import Nats
from sanggar.options import Options

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Beta(Options):
    """The weight of the KL divergence (Higgins et al. 2017), constant or rising."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """weight of the term"""
    warm_up: Share = 0.0
    """share of the training (or of a cycle) in which it rises from 0 (Bowman et al. 2016, arXiv:1511.06349)"""
    cycles: int = Field(default=1, ge=1)
    """how often it rises anew (Fu et al. 2019, arXiv:1903.10145)"""

    @model_validator(mode="after")
    def _rises(self) -> Beta:
        if self.cycles > 1 and self.warm_up == 0:
            raise ValueError("cycles: there is nothing to repeat without a warm_up")
        return self

    def at(self, done: float) -> float:
        """The weight when a share `done` of the training is over."""
        if self.warm_up == 0:
            return self.weight
        within = (done * self.cycles) % 1.0 if done < 1 else 1.0
        return self.weight * min(1.0, within / self.warm_up)


class Capacity(Options):
    """The KL divergence is steered to a target that rises: weight · |KL − target| (Burgess et al. 2018,
    arXiv:1804.03599).
    """

    nats: Positive = 25.0
    """the target at its end"""
    rise: Annotated[float, Field(gt=0, le=1)] = 0.5
    """share of the training in which the target rises from 0"""
    weight: Positive = 10.0
    """weight of the term"""


def kl_term(
    divergences: Latents, done: float, price: Beta | Capacity, free_bits: float = 0.0
) -> tuple[Float[Tensor, ""], float]:
    """What a batch's divergences cost when a share `done` of the training is over, and the weight they are given.

    `free_bits`: nats of each dimension, in the mean over the batch, that cost nothing.
    """
    if isinstance(price, Capacity):
        target = price.nats * min(1.0, done / price.rise)
        return price.weight * (divergences.sum(dim=1).mean() - target).abs(), price.weight
    beta = price.at(done)
    counted = divergences.mean(dim=0).clamp(min=free_bits) if free_bits else divergences.mean(dim=0)
    return beta * counted.sum(), beta


def kl_divergence(mean: Latents, log_variance: Latents) -> Latents:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each dimension in nats: (μ² + σ² − log σ² − 1) / 2 (Kingma & Welling 2014, B)."""
    return (mean.square() + torch.exp(log_variance) - log_variance - 1) / 2


def kl_of_posterior(posterior: Float[np.ndarray, "n 2 latent"]) -> Float[np.ndarray, "n latent"]:
    """The same of a posterior in NumPy: mean and log variance of each dimension of each picture."""
    mean, log_variance = posterior[:, 0], posterior[:, 1]
    return np.asarray((mean**2 + np.exp(log_variance) - log_variance - 1) / 2)


def log_normal(z: Latents) -> Nats:
    """Logarithm of the standard normal density at each row."""
    return -0.5 * (z.square().sum(dim=1) + z.shape[1] * math.log(2 * math.pi))
