"""What a decoder's raw picture says of pixels: a probability for each, in nats, summed over a picture.

Pixels are numbers 0…255. Densities are taken on [-1, 1] and multiplied by the width of a pixel's bin, 2/255, so that
nats of different likelihoods are of a size, and divide into bits per dimension. A density times a width is not
bounded by 1 as a probability is: where a model is surer than a bin is wide, the discretized logistic is the honest one.
Bernoulli takes a pixel for the probability of a white one, and its nats compare with no other's.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sanggar.models.base import Pictures
from sanggar.models.losses import BIN
from sanggar.options import Options

Nats = Float[Tensor, "batch"]
SMALLEST = 0.5 * BIN
"""A deviation is not let below half a bin, where a density has no meaning for pixels any more."""
START = 0.2
"""What a learned deviation begins at: near where it ends on most pictures. A step moves its logarithm by about the
learning rate, and as long as it is too wide, the KL divergence weighs too much."""


class GaussianOptions(Options):
    """A normal distribution around the picture, of one deviation for all pixels."""

    kind: Literal["gaussian"] = "gaussian"
    deviation: Annotated[float, Field(ge=SMALLEST)] | Literal["learned"] = "learned"
    """on [-1, 1], at least half of what one of 255 steps is there; learned with the network: Rybkin et al. 2021,
    arXiv:2006.13202"""

    def build(self, channels: int) -> GaussianLikelihood:
        """The likelihood, with what it learns."""
        return GaussianLikelihood(self)


class BernoulliOptions(Options):
    """Pixels as probabilities of white (Kingma & Welling 2014, arXiv:1312.6114, appendix C)."""

    kind: Literal["bernoulli"]

    def build(self, channels: int) -> BernoulliLikelihood:
        """The likelihood; it learns nothing."""
        return BernoulliLikelihood()


class LogisticOptions(Options):
    """A logistic distribution around the picture, its mass in each pixel's bin (Kingma et al. 2016, arXiv:1606.04934).

    Its scale is learned, one a channel.
    """

    kind: Literal["logistic"]

    def build(self, channels: int) -> LogisticLikelihood:
        """The likelihood, with what it learns."""
        return LogisticLikelihood(channels)


LikelihoodOptions = Annotated[GaussianOptions | BernoulliOptions | LogisticOptions, Field(discriminator="kind")]


class GaussianLikelihood(nn.Module):
    """See GaussianOptions."""

    discrete = True
    """whether its nats make bits per dimension"""
    pixels = "8 bits, by a density times the width of a bin"
    """what it takes pixels for: its nats compare with those of no other"""

    def __init__(self, options: GaussianOptions) -> None:
        super().__init__()
        self.given = None if options.deviation == "learned" else options.deviation
        if self.given is None:
            self.log_deviation = nn.Parameter(torch.tensor(math.log(START)))

    @property
    def deviation(self) -> float:
        """As given or as learned, on [-1, 1]."""
        return float(self._log_deviation(torch.zeros(())).detach().exp())

    def _log_deviation(self, like: Tensor) -> Float[Tensor, ""]:
        if self.given is not None:
            return like.new_tensor(math.log(self.given), dtype=torch.float32)
        return at_least(self.log_deviation.float(), math.log(SMALLEST))

    def picture(self, raw: Pictures) -> Pictures:
        """The mean, in [-1, 1] or a little beyond."""
        return raw.float()

    def forward(self, raw: Pictures, images: Pictures) -> Nats:
        """Of each picture (float32 in [-1, 1]) under what the decoder said."""
        log_deviation = self._log_deviation(raw)
        z = (images - raw.float()) * torch.exp(-log_deviation)
        each = -0.5 * z.square() - log_deviation - 0.5 * math.log(2 * math.pi) + math.log(BIN)
        return each.flatten(1).sum(dim=1)


class BernoulliLikelihood(nn.Module):
    """See BernoulliOptions."""

    discrete = False
    pixels = "shares of white"

    def picture(self, raw: Pictures) -> Pictures:
        """The probability of white on [-1, 1]: 2·sigmoid(raw) − 1 = tanh(raw / 2)."""
        return torch.tanh(raw.float() / 2)

    def forward(self, raw: Pictures, images: Pictures) -> Nats:
        """Of each picture (float32 in [-1, 1]) under what the decoder said."""
        each = F.binary_cross_entropy_with_logits(raw.float(), (images + 1) / 2, reduction="none")
        return -each.flatten(1).sum(dim=1)


class LogisticLikelihood(nn.Module):
    """See LogisticOptions."""

    discrete = True
    pixels = "8 bits, by the probability of a bin"

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((channels, 1, 1), math.log(START / 2)))

    def picture(self, raw: Pictures) -> Pictures:
        """The mean, in [-1, 1] or a little beyond."""
        return raw.float()

    def forward(self, raw: Pictures, images: Pictures) -> Nats:
        """Of each picture (float32 in [-1, 1]): log(σ((x + h − m)/s) − σ((x − h − m)/s)), h half a bin.

        The bins of 0 and 255 reach to infinity. With a = (x − m)/s and b = h/s, the difference of two sigmoids is
        σ(a + b) σ(b − a) (1 − exp(−2b)), which nothing cancels in.
        """
        inverse = torch.exp(-at_least(self.log_scale.float(), math.log(SMALLEST / 4)))
        a, b = (images - raw.float()) * inverse, BIN / 2 * inverse
        inside = F.logsigmoid(a + b) + F.logsigmoid(b - a) + torch.log(-torch.expm1(-2 * b))
        lowest, highest = F.logsigmoid(a + b), F.logsigmoid(b - a)
        edge = 1 - BIN / 2
        each = torch.where(images < -edge, lowest, torch.where(images > edge, highest, inside))
        return each.flatten(1).sum(dim=1)


def at_least(x: Tensor, lowest: float) -> Tensor:
    """x where it is well above `lowest`, and never below: with a slope everywhere, unlike a clamp."""
    return lowest + F.softplus(x - lowest)


Likelihood = GaussianLikelihood | BernoulliLikelihood | LogisticLikelihood
