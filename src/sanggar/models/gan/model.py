"""Generative adversarial networks (Goodfellow et al. 2014, arXiv:1406.2661): a generator, and a critic against it.

A step has two phases: the critic's, on as many fresh batches as asked for, and the generator's.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, distributed
from torch.nn import functional as F

from sanggar.data.images import ImageSpec
from sanggar.errors import RecipeError
from sanggar.models.augment import AugmentationOptions, augment
from sanggar.models.base import Batch, Latents, Model, Phase, Pictures, SamplingOptions, StepContext, Terms, alone
from sanggar.models.conditions import Condition, Conditions, Names
from sanggar.models.gan.critics import DCGANCriticOptions, DenseCriticOptions, ResNetCriticOptions
from sanggar.models.gan.generators import (
    WHOLE,
    Conditioning,
    DCGANGeneratorOptions,
    DenseGeneratorOptions,
    Features,
    ResNetGeneratorOptions,
    Sizes,
    Stage,
    Task,
    enlarge,
    mixed,
)
from sanggar.models.gan.objectives import (
    BCE,
    Clip,
    ObjectiveOptions,
    PenaltyOptions,
    Scores,
    clip_weights,
    differentiates,
    penalty_terms,
)
from sanggar.models.gan.style import StyleCriticOptions, StyleGenerator, StyleGeneratorOptions
from sanggar.models.optimizers import OptimizerOptions
from sanggar.options import Options

GeneratorOptions = Annotated[
    DenseGeneratorOptions | DCGANGeneratorOptions | ResNetGeneratorOptions | StyleGeneratorOptions,
    Field(discriminator="kind"),
]
CriticOptions = Annotated[
    DenseCriticOptions | DCGANCriticOptions | ResNetCriticOptions | StyleCriticOptions, Field(discriminator="kind")
]


class Fixed(AugmentationOptions):
    """The critic sees real and drawn pictures changed at random (Zhao et al. 2020, arXiv:2006.10738)."""

    kind: Literal["fixed"]
    probability: float = Field(default=1.0, gt=0, le=1)
    """of each change, for each picture"""


class Adaptive(AugmentationOptions):
    """The same, with a probability that rises while the critic knows the real pictures too well, and falls again.

    Karras et al. 2020, arXiv:2006.06676, section 3.1.
    """

    kind: Literal["adaptive"]
    target: float = Field(default=0.6, gt=0, lt=1)
    """mean sign of the critic's scores of real pictures, from the objective's middle, that the probability is steered
    to"""
    pictures: int = Field(default=500_000, ge=1)
    """real pictures in which the probability could go from 0 to 1"""


class Growth(Options):
    """Training at one resolution after another, the smallest first (Karras et al. 2018, arXiv:1710.10196)."""

    first: int = Field(default=8, ge=4)
    """height of the first pictures, at least"""
    until: float = Field(default=0.5, gt=0, lt=1)
    """share of the training after which all is grown; each resolution takes an equal part of it, half to fade in"""


def check_game(critic: CriticOptions, objective: ObjectiveOptions, penalty: PenaltyOptions | None) -> None:
    """Raises ValueError where a critic, what it plays for and what bounds it have no meaning together."""
    if differentiates(penalty) and critic.norm == "batch":
        raise ValueError(
            "penalty: a penalty on the gradient for each picture has no meaning with batch norm in the critic, "
            "which makes scores depend on the whole batch; choose another critic.norm"
        )
    if isinstance(penalty, Clip) and critic.spectral:
        raise ValueError("penalty: clip and critic.spectral both bound the critic's weights; choose one")
    if isinstance(penalty, Clip) and objective.kind != "wasserstein":
        raise ValueError("penalty: clip is what keeps a wasserstein critic Lipschitz; it serves no other objective")
    if isinstance(penalty, Clip) and critic.kind == "style":
        raise ValueError(
            "penalty: clip cuts weights that a style critic scales again when it uses them: next to nothing is left "
            "of its scores; choose another critic or penalty"
        )
    if objective.kind == "wasserstein" and penalty is None and (not critic.spectral or critic.norm != "none"):
        norm = f", whose {critic.norm} norm spectral: true does not bound" if critic.spectral else ""
        raise ValueError(f"objective: nothing bounds this wasserstein critic{norm}; give it a penalty")


class GANOptions(Options):
    """A generator, a critic, and what they play for."""

    family: Literal["gan"] = "gan"
    latent_size: int = Field(default=100, ge=1)
    """numbers in the noise that a picture is made from"""
    condition: Names = ()
    """what both networks are conditioned on: `class`, or names of attributes"""
    conditioning: Conditioning = "joined"
    """how: by an embedding joined to latent and picture (Mirza & Osindero 2014, arXiv:1411.1784); or by the
    generator's norms or styles and a projection in the critic (Miyato & Koyama 2018, arXiv:1802.05637)"""
    condition_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """share of the training pictures without any condition, and share of the others of which each single name is
    left out; above 0 the network samples unconditionally too"""
    generator: GeneratorOptions = DenseGeneratorOptions()
    critic: CriticOptions = DenseCriticOptions()
    objective: ObjectiveOptions = BCE()
    penalty: Annotated[PenaltyOptions | None, Field()] = None
    critic_steps: int = Field(default=1, ge=1, le=20)
    """steps of the critic, each on a fresh batch, to one of the generator"""
    critic_optimizer: OptimizerOptions | None = None
    """none: training.optimizer; the same for the generator's"""
    generator_optimizer: OptimizerOptions | None = None
    augmentation: Annotated[Fixed | Adaptive, Field(discriminator="kind")] | None = None
    """what real and drawn pictures go through before the critic"""
    instance_noise: float = Field(default=0.0, ge=0, le=1)
    """deviation of noise on all that the critic sees, falling to 0 over the training (Sønderby et al. 2017,
    arXiv:1610.04490)"""
    growth: Growth | None = None

    @model_validator(mode="after")
    def _make_sense(self) -> GANOptions:
        critic, objective = self.critic, self.objective
        check_game(critic, objective, self.penalty)
        if isinstance(self.augmentation, Adaptive) and objective.middle is None:
            raise ValueError(
                f"augmentation: adaptive reads on which side a score lies, and a {objective.kind} score has none; "
                "use kind: fixed"
            )
        if self.augmentation is not None and not self.augmentation.active:
            raise ValueError("augmentation: it changes nothing; turn on flip, rotation, translation, colour or cutout")
        if self.growth is not None and "dense" in (self.generator.kind, critic.kind):
            raise ValueError("growth: a dense network has one resolution; choose another kind of generator and critic")
        projected = bool(self.condition) and self.conditioning == "projection"
        if projected and self.generator.kind == "dense":
            raise ValueError("conditioning: a dense generator takes its condition beside its latent: use joined")
        norm = getattr(self.generator, "norm", None)  # a style generator has none, and is conditioned by its styles
        if projected and norm not in ("batch", "instance", None):
            raise ValueError(
                "conditioning: projection conditions the generator through batch or instance norms; this one has "
                "none. Choose generator.norm, a style generator, or conditioning: joined"
            )
        return self


class GANSampling(SamplingOptions):
    """Options of sampling from a GAN."""

    swept: ClassVar[str | None] = "truncation"

    truncation: float = Field(default=1.0, gt=0, le=1)
    """below 1: less variety, better pictures. Styles are drawn towards their mean; where there are none, latents
    towards 0, like the truncation trick (Brock et al. 2019, arXiv:1809.11096), but the same noise stays one picture"""


class GAN(Model):
    """A model of family `gan`. It samples."""

    Options: ClassVar[type[Options]] = GANOptions
    SamplingOptions: type[SamplingOptions] = GANSampling
    latent_size: int
    conditions: Conditions
    averages: ClassVar[tuple[str, ...] | None] = ("generator",)
    probability: Tensor
    """of each change to a picture; steered where the augmentation is adaptive"""
    sign: Tensor
    """mean sign of the scores of the last batch of real pictures"""
    trained: Tensor
    """share of the training done, for growth and instance noise: never less than before, should it be made longer"""

    def __init__(self, options: GANOptions, spec: ImageSpec) -> None:
        super().__init__()
        self.options, self.spec = options, spec
        self.latent_size, self.noise_shape = options.latent_size, (options.latent_size,)
        self.conditions = Conditions(options.condition, spec)
        self.unconditional = options.condition_dropout > 0
        grows = options.growth is not None
        task = Task(spec, options.latent_size, self.conditions, options.conditioning, grows)
        self.generator, self.critic = options.generator.build(task), options.critic.build(task)
        self.uncompiled = ("critic",) if differentiates(options.penalty) else ()
        self.register_buffer("probability", torch.tensor(0.0 if isinstance(options.augmentation, Adaptive) else 1.0))
        self.register_buffer("sign", torch.zeros(()))
        self.register_buffer("trained", torch.zeros(()))
        self._halvings = self._grown_through()
        draws = isinstance(self.generator, StyleGenerator)  # noise of its own, from PyTorch's generator
        self.divisible = alone(self) and not self.critic.per_batch and not draws

    @property
    def _adapts(self) -> bool:
        return isinstance(self.options.augmentation, Adaptive)

    def _grown_through(self) -> list[int]:
        """How often pictures are halved at each resolution that training goes through, the last not at all."""
        growth = self.options.growth
        if growth is None:
            return [0]
        shared: Sizes = []
        for one, other in zip(
            reversed(self.generator.picture_sizes), reversed(self.critic.picture_sizes), strict=False
        ):
            if one == other and one[0] >= growth.first:
                shared.append(one)
        if len(shared) < 2:
            there, here = (
                " ".join(f"{height}×{width}" for height, width in network.picture_sizes)
                for network in (self.generator, self.critic)
            )
            raise RecipeError(
                f"model.growth: nothing can grow from pictures {growth.first} high: the generator draws {there}, the "
                f"critic sees {here} (see growth.first and widths)."
            )
        return list(range(len(shared)))[::-1]

    def phases(self) -> list[Phase]:
        """The critic's, then the generator's."""
        options = self.options
        critic = Phase(
            "critic", list(self.critic.parameters()), self.critic_loss, options.critic_optimizer,
            batches=options.critic_steps, after=self._after_critic,
            watched=("accuracy", "real", "fake", *(["augmentation"] if self._adapts else [])),
        )  # fmt: skip
        generator = Phase(
            "generator", list(self.generator.parameters()), self.generator_loss, options.generator_optimizer
        )
        return [critic, generator]

    # -- the losses --------------------------------------------------------------------------------------------

    def critic_loss(self, batch: Batch, context: StepContext) -> Terms:
        """The critic's side of the objective, and its penalty at the steps where it is due."""
        if self.training:  # the first of a step's phases says for all where training is
            self.trained.clamp_(min=min(1.0, context.step / context.steps))
        stage, condition = self._stage(), self._condition(batch, context)
        real = self._at(stage, batch.images)
        with torch.no_grad():
            fake = self._drawn(context, "critic", condition, stage)
        shown = self._shown(real, context, "real"), self._shown(fake, context, "fake")
        scores = self._scores(*shown, condition, stage)
        terms = {"adversarial": self.options.objective.critic(*scores)}
        terms |= self._penalty(*shown, condition, context, stage)
        found = [score.detach() for score in scores]
        if self.training:
            self.sign.copy_((found[0] - (self.options.objective.middle or 0.0)).sign().mean())
        # share of pairs in which the real picture has the higher score: means the same for every objective
        terms |= {"accuracy": (found[0] > found[1]).float().mean(), "real": found[0].mean(), "fake": found[1].mean()}
        if self._adapts:
            terms["augmentation"] = self.probability.clone()
        return terms

    def generator_loss(self, batch: Batch, context: StepContext) -> Terms:
        """The generator's side of the objective."""
        stage, condition, objective = self._stage(), self._condition(batch, context), self.options.objective
        shown = self._shown(self._drawn(context, "generator", condition, stage), context, "drawn")
        if objective.kind != "relativistic":  # the others do not look at real pictures here
            fake = self.critic(shown, condition, stage)
            return {"adversarial": objective.generator(fake, fake)}
        real, fake = self._scores(
            self._shown(self._at(stage, batch.images), context, "beside"), shown, condition, stage
        )
        return {"adversarial": objective.generator(real, fake)}

    def _scores(
        self, real: Pictures, fake: Pictures, condition: Condition | None, stage: Stage
    ) -> tuple[Scores, Scores]:
        """Of both, in one pass where a score depends on nothing else in the batch."""
        if self.critic.per_batch:
            return self.critic(real, condition, stage), self.critic(fake, condition, stage)
        twice = None if condition is None else torch.cat([condition, condition])
        real_scores, fake_scores = self.critic(torch.cat([real, fake]), twice, stage).chunk(2)
        return real_scores, fake_scores

    def _penalty(
        self, real: Pictures, fake: Pictures, condition: Condition | None, context: StepContext, stage: Stage
    ) -> Terms:
        def critic(pictures: Pictures) -> Scores:
            scores: Scores = self.critic(pictures, condition, stage)
            return scores

        return penalty_terms(self.options.penalty, critic, real, fake, context)

    def _after_critic(self, context: StepContext) -> None:
        """Clip weights, steer the augmentation."""
        penalty, augmentation = self.options.penalty, self.options.augmentation
        if isinstance(penalty, Clip):
            clip_weights(self.critic, penalty.limit)
        if isinstance(augmentation, Adaptive):
            sign = self.sign.clone()
            if distributed.is_available() and distributed.is_initialized():  # every process must steer alike
                distributed.all_reduce(sign)
                sign /= distributed.get_world_size()
            step = torch.sign(sign - augmentation.target) * (context.batch / augmentation.pictures)
            self.probability.add_(step).clamp_(0, 1)

    # -- what the critic is shown ------------------------------------------------------------------------------

    def _condition(self, batch: Batch, context: StepContext) -> Condition | None:
        return self.conditions.of_batch(batch, context, self.options.condition_dropout)

    def _drawn(self, context: StepContext, purpose: str, condition: Condition | None, stage: Stage) -> Pictures:
        latents = context.normal(f"{purpose} latents", (self.latent_size,))
        pictures: Pictures = self.generator(latents, condition, stage)
        return pictures

    def _shown(self, pictures: Pictures, context: StepContext, purpose: str) -> Pictures:
        """As the critic sees them: changed at random, and with noise that falls as training goes."""
        augmentation, noise = self.options.augmentation, self.options.instance_noise
        if augmentation is not None:
            probability = augmentation.probability if isinstance(augmentation, Fixed) else self.probability
            pictures = augment(pictures, augmentation, context, f"augmented {purpose}", probability)
        if noise and context.split == "train":
            left = noise * (1 - self.trained)
            pictures = pictures + left * context.normal(f"instance noise {purpose}", pictures.shape[1:])
        return pictures

    def _at(self, stage: Stage, images: Pictures) -> Features:
        """Real pictures at a stage's resolution, as blurred as drawn ones are while it fades in."""
        sizes: Sizes = self.critic.picture_sizes
        level = stage.level(sizes)
        if stage.halvings:
            images = F.adaptive_avg_pool2d(images, sizes[level])
        if stage.fade == 1:
            return images
        small = F.adaptive_avg_pool2d(images, sizes[level - 1])
        return mixed(enlarge(small, sizes[level]), images, stage.fade)

    def _stage(self) -> Stage:
        """Where growth is, by how far the training of these weights had come."""
        if self.options.growth is None:
            return WHOLE
        done = self.trained.item() / self.options.growth.until * len(self._halvings)
        index = int(done)
        if index >= len(self._halvings):
            return WHOLE
        # half of a resolution's time to fade in, half to settle; the first has nothing to fade in from
        fade = 1.0 if index == 0 else min(1.0, 2 * (done - index))
        return Stage(self._halvings[index], fade)

    # -- in use ------------------------------------------------------------------------------------------------

    def sample(self, noise: Latents, condition: Condition | None, options: GANSampling) -> Pictures:
        """Picture of each latent, under a condition; None: unconditional."""
        stage = self._stage()
        if condition is None and self.conditions.names:
            condition = noise.new_zeros(len(noise), self.conditions.width)
        if isinstance(self.generator, StyleGenerator):
            pictures = self.generator.truncated(noise, condition, options.truncation, stage)
        else:
            pictures = self.generator(noise * options.truncation, condition, stage)
        size = (self.spec.height, self.spec.width)
        return pictures if pictures.shape[2:] == size else F.interpolate(pictures, size, mode="nearest")
