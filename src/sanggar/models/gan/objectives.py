"""What generator and critic play for, and what keeps the critic from running away.

A critic gives each picture a score; higher means real. `real` and `fake` are the scores of a batch of each, float32
`(n,)`. Each objective is two losses, means over the batch, both to be minimized; its `middle` is the score on whose one
side real pictures are asked to be, and drawn ones on the other; none where only differences of scores count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sanggar.models.base import Pictures, StepContext, Terms
from sanggar.options import Options

Scores = Float[Tensor, "n"]
Loss = Float[Tensor, ""]
Positive = Annotated[float, Field(gt=0)]
Smoothing = Annotated[float, Field(ge=0, lt=0.5)]


class BCE(Options):
    """Binary cross-entropy; the generator's side does not saturate (Goodfellow et al. 2014, arXiv:1406.2661)."""

    kind: Literal["bce"] = "bce"
    middle: ClassVar[float | None] = 0.0
    smoothing: Smoothing = 0.0
    """how far the target of real pictures stays below 1; that of drawn ones is 0 (Salimans et al. 2016, 3.4)"""

    def critic(self, real: Scores, fake: Scores) -> Loss:
        """−(1 − s) log σ(real) − s log σ(−real) − log σ(−fake)."""
        target = torch.full_like(real, 1 - self.smoothing)
        return F.binary_cross_entropy_with_logits(real, target) + F.softplus(fake).mean()

    def generator(self, real: Scores, fake: Scores) -> Loss:
        """−log σ(fake)."""
        return F.softplus(-fake).mean()


class LeastSquares(Options):
    """Least squares to 1 for real and 0 for drawn pictures (Mao et al. 2017, arXiv:1611.04076, equation 9)."""

    kind: Literal["least_squares"]
    middle: ClassVar[float | None] = 0.5
    smoothing: Smoothing = 0.0
    """how far the target of real pictures stays below 1"""

    def critic(self, real: Scores, fake: Scores) -> Loss:
        """(real − 1 + s)² / 2 + fake² / 2."""
        return ((real - 1 + self.smoothing).square().mean() + fake.square().mean()) / 2

    def generator(self, real: Scores, fake: Scores) -> Loss:
        """(fake − 1)² / 2."""
        return (fake - 1).square().mean() / 2


class Hinge(Options):
    """The hinge loss (Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, equations 16 and 17)."""

    kind: Literal["hinge"]
    middle: ClassVar[float | None] = 0.0

    def critic(self, real: Scores, fake: Scores) -> Loss:
        """max(0, 1 − real) + max(0, 1 + fake)."""
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def generator(self, real: Scores, fake: Scores) -> Loss:
        """−fake."""
        return -fake.mean()


class Wasserstein(Options):
    """The Wasserstein distance, as far as the critic is 1-Lipschitz (Arjovsky et al. 2017, arXiv:1701.07875)."""

    kind: Literal["wasserstein"]
    middle: ClassVar[float | None] = None

    def critic(self, real: Scores, fake: Scores) -> Loss:
        """fake − real: minus the estimated distance."""
        return fake.mean() - real.mean()

    def generator(self, real: Scores, fake: Scores) -> Loss:
        """−fake."""
        return -fake.mean()


class Relativistic(Options):
    """Pairs of a real and a drawn picture, told apart (Jolicoeur-Martineau 2019, arXiv:1807.00734, section 4.1)."""

    kind: Literal["relativistic"]
    middle: ClassVar[float | None] = None

    def critic(self, real: Scores, fake: Scores) -> Loss:
        """−log σ(real − fake)."""
        return F.softplus(fake - real).mean()

    def generator(self, real: Scores, fake: Scores) -> Loss:
        """−log σ(fake − real)."""
        return F.softplus(real - fake).mean()


ObjectiveOptions = Annotated[BCE | LeastSquares | Hinge | Wasserstein | Relativistic, Field(discriminator="kind")]


# -- what bounds the critic --------------------------------------------------------------------------------------


class Clip(Options):
    """Every weight of the critic is cut to [-limit, limit] after its step (Arjovsky et al. 2017, algorithm 1)."""

    kind: Literal["clip"]
    limit: Positive = 0.01
    """largest absolute value of a weight"""


class GradientPenalty(Options):
    """weight · (‖∇critic‖ − 1)² between real and drawn pictures (Gulrajani et al. 2017, arXiv:1704.00028)."""

    kind: Literal["gradient"]
    weight: Positive = 10.0
    """weight of the penalty"""
    every: int = Field(default=1, ge=1)
    """steps between penalties; each then counts that many times"""


class R1(Options):
    """weight / 2 · ‖∇critic‖² at real pictures (Mescheder et al. 2018, arXiv:1801.04406).

    Taken only at every few steps it counts that many times (Karras et al. 2020, arXiv:1912.04958, lazy
    regularization).
    """

    kind: Literal["r1"]
    weight: Positive = 1.0
    """weight of the penalty"""
    every: int = Field(default=16, ge=1)
    """steps from one penalty to the next"""
    drawn: bool = False
    """the same at drawn pictures as well, which is R2: with both, a relativistic game settles without other tricks
    (R3GAN: Huang et al. 2024, arXiv:2501.05441)"""
    final: float = Field(default=1.0, gt=0, le=1)
    """share of the weight that is left at the end; it falls along half a cosine, as R3GAN's does"""

    def weight_at(self, done: float) -> float:
        """The weight when a share `done` of the training is over."""
        return self.weight * (self.final + (1 - self.final) * (1 + math.cos(math.pi * min(1.0, done))) / 2)


PenaltyOptions = Annotated[Clip | GradientPenalty | R1, Field(discriminator="kind")]

Critic = Callable[[Pictures], Scores]


def differentiates(penalty: PenaltyOptions | None) -> bool:
    """Whether a penalty is on the critic's gradient, so that its step takes second derivatives."""
    return isinstance(penalty, GradientPenalty | R1)


def gradient_penalty(critic: Critic, real: Pictures, fake: Pictures, way: Float[Tensor, "n 1 1 1"]) -> Loss:
    """Mean of (‖∇critic‖ − 1)² at `way` of the way from drawn to real pictures."""
    between = (way * real.detach() + (1 - way) * fake.detach()).requires_grad_()
    return (_slopes(critic(between), between) - 1).square().mean()


def r1_penalty(critic: Critic, pictures: Pictures) -> Loss:
    """Mean of ‖∇critic‖² / 2 at some pictures: R1 at real ones, R2 at drawn ones."""
    pictures = pictures.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(pictures).sum(), pictures, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean() / 2


def penalty_terms(
    penalty: Clip | GradientPenalty | R1 | None, critic: Critic, real: Pictures, fake: Pictures, context: StepContext
) -> Terms:
    """The penalty on a critic's gradient at the steps where it is due, as a term to be added; else nothing."""
    if not isinstance(penalty, GradientPenalty | R1) or not torch.is_grad_enabled() or context.step % penalty.every:
        return {}
    if isinstance(penalty, R1):
        weight = penalty.weight_at(context.step / context.steps) * penalty.every
        terms = {"r1": r1_penalty(critic, real) * weight}
        return terms | ({"r2": r1_penalty(critic, fake) * weight} if penalty.drawn else {})
    weight = penalty.weight * penalty.every
    return {"gradient": gradient_penalty(critic, real, fake, context.uniform("between", (1, 1, 1))) * weight}


def _slopes(scores: Scores, pictures: Pictures) -> Scores:
    (gradient,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
    # the root has no derivative at 0
    return (gradient.float().square().sum(dim=(1, 2, 3)) + 1e-12).sqrt()


def clip_weights(critic: nn.Module, limit: float) -> None:
    """Cut every weight to [-limit, limit]."""
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.clamp_(-limit, limit)
