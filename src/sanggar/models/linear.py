"""A linear path from pictures to latents and back, which begins as the principal components of training pictures."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from sanggar.data.images import CHUNK, ImageSpec, to_float
from sanggar.models.base import Latents, Pictures

COARSEST = 32
"""Edge that pictures are averaged to at most: what is finer is for convolutions, which cost no weight a pixel"""
BEGINNERS = 10_000
"""Training pictures that principal components are found of"""
BESIDE, ROUNDS = 16, 4
"""Components found beside those that are wanted, and iterations: so that the last of them is one as well"""
NOTHING = 1e-9
"""Share of the first component's variance below which another says nothing"""
SUREST = 1e-6
"""Variance of a posterior that nothing is left out of"""


class LinearEncoder(nn.Linear):
    """Numbers of pictures."""

    def __init__(self, spec: ImageSpec, outputs: int) -> None:
        shape = coarse(spec)
        super().__init__(prod(shape), outputs)
        self.size = shape[1:]

    def seen(self, images: Pictures) -> Float[Tensor, "batch values"]:
        """The values that it goes by."""
        return (images if images.shape[2:] == self.size else F.adaptive_avg_pool2d(images, self.size)).flatten(1)

    def forward(self, images: Pictures) -> Float[Tensor, "batch outputs"]:
        """The numbers of each picture."""
        return super().forward(self.seen(images))


class LinearDecoder(nn.Linear):
    """Pictures of numbers."""

    def __init__(self, spec: ImageSpec, inputs: int) -> None:
        shape = coarse(spec)
        super().__init__(inputs, prod(shape))
        self.shape, self.size = shape, (spec.height, spec.width)

    def forward(self, latents: Latents) -> Pictures:
        """The raw picture of each code."""
        found: Pictures = super().forward(latents).reshape(-1, *self.shape)
        return found if self.shape[1:] == self.size else F.interpolate(found, self.size, mode="bilinear")


def coarse(spec: ImageSpec) -> tuple[int, int, int]:
    """Channels, height and width of averaged pictures."""
    factor = -(-max(spec.height, spec.width) // COARSEST)
    return spec.channels, -(-spec.height // factor), -(-spec.width // factor)


@torch.no_grad()
def begin(
    inward: LinearEncoder, outward: LinearDecoder, size: int, pixels: UInt8[np.ndarray, "n height width channels"],
    rate: float,
) -> None:  # fmt: skip
    """Let both paths be the best linear network of `size` latents for these pictures.

    At a rate of 0 that is principal component analysis, each component divided by its deviation. Where `inward` says
    means and log variances, and the KL divergence has the weight `rate`, it is the linear VAE whose bound is highest:
    probabilistic principal components (Tipping & Bishop 1999; Lucas et al. 2019, arXiv:1911.02469).
    """
    mean, components, variances, rest = principal_components(inward, pixels, size)
    noise = rate * rest
    signal = (variances - noise).clamp(min=0)
    said = signal > NOTHING * variances[0]  # of fewer pictures than numbers: the others say nothing so far
    safe = torch.where(said, variances, 1.0)
    into = torch.where(said, components * signal.sqrt() / safe, 0.0).T
    for parameter in (*inward.parameters(), *outward.parameters()):
        parameter.zero_()
    count = len(into)  # at most as many as a picture has values
    inward.weight[:count] = into
    inward.bias[:count] = -into @ mean
    outward.weight[:, :count] = torch.where(said, components * signal.sqrt(), 0.0)
    outward.bias.copy_(mean)
    if inward.out_features > size:
        inward.bias[size : size + count] = torch.where(said, noise / safe, 1.0).clamp(SUREST, 1.0).log()


def principal_components(
    inward: LinearEncoder, pixels: UInt8[np.ndarray, "n height width channels"], size: int
) -> tuple[Float[Tensor, "values"], Float[Tensor, "values components"], Float[Tensor, "components"], float]:
    """The mean of what `inward` sees, its first components as columns, each one's variance, and the others' mean."""
    parts = (torch.from_numpy(np.array(pixels[i : i + CHUNK])) for i in range(0, len(pixels), CHUNK))
    points = torch.cat([inward.seen(to_float(part)) for part in parts])
    mean = points.mean(dim=0)
    points -= mean
    count, values = points.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, scales, components = torch.pca_lowrank(points, min(count, values, size + BESIDE), center=False, niter=ROUNDS)
    variances = scales.square()[:size] / count
    rest = (points.square().mean(dim=0).sum() - variances.sum()).clamp(min=0) / max(1, values - len(variances))
    where = inward.weight.device
    return mean.to(where), components[:, :size].to(where), variances.to(where), float(rest)
