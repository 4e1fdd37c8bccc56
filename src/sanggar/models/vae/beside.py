"""What a VAE's loss can have beside its bound: a judge whose features it pleases, a critic that it plays against."""

from __future__ import annotations

from typing import Annotated, Protocol, runtime_checkable

from pydantic import Field, model_validator

from sanggar.data.images import ImageSpec
from sanggar.models.classifier import Classifier
from sanggar.models.gan.critics import DCGANCriticOptions
from sanggar.models.gan.model import CriticOptions, check_game
from sanggar.models.gan.objectives import BCE, R1, ObjectiveOptions, PenaltyOptions
from sanggar.models.optimizers import OptimizerOptions
from sanggar.models.vae.kl import Positive
from sanggar.options import Options


@runtime_checkable
class PerceptualJudge(Protocol):
    """A trained classifier as an instrument: what a loss needs of it."""

    @property
    def network(self) -> Classifier:
        """Whose features are compared."""
        ...

    @property
    def spec(self) -> ImageSpec:
        """The pictures that it looks at."""
        ...


class Perceptual(Options):
    """The distance of a judge's features, beside the likelihood (Hou et al. 2017, arXiv:1610.00291)."""

    judge: str
    """name of a judge that comes with sanggar; larger pictures are averaged to the size that it looks at"""
    weight: Positive = 1.0
    """nats for each of a picture's values that a dissimilarity of 1 is worth: see `classifier.dissimilarity`, which is
    at most 4 a stage. So it weighs alike, whatever the size of pictures"""


class Adversarial(Options):
    """A critic that tells reconstructions and drawn pictures from real ones (Larsen et al. 2016, arXiv:1512.09300).

    Where the prior is learned, it is shown reconstructions alone. Beside the likelihood of pixels, not in its place as
    in the paper: the bound stays a bound.
    """

    critic: CriticOptions = DCGANCriticOptions(kind="dcgan", norm="none")
    objective: ObjectiveOptions = BCE()
    penalty: Annotated[PenaltyOptions | None, Field()] = R1(kind="r1", weight=0.1)
    weight: Positive = 0.05
    """nats for each of a picture's values that the critic's verdict is worth"""
    optimizer: OptimizerOptions | None = None
    """the critic's; none: training.optimizer"""

    @model_validator(mode="after")
    def _make_sense(self) -> Adversarial:
        check_game(self.critic, self.objective, self.penalty)
        return self
