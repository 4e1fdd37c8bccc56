"""Critics: a score for each picture, higher for real; given a condition where there is one.

Each is called as `critic(pictures, condition, stage)`: pictures in [-1, 1] at the stage's resolution, a condition float
`(n, width)` where there is one; it gives float32 scores `(n,)`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from math import prod
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from sanggar.models.base import Pictures
from sanggar.models.blocks import Activation, Norm, check_norm, norm_layer
from sanggar.models.conditions import Condition, ConditionEmbedding
from sanggar.models.gan.generators import (
    WHOLE,
    Features,
    Join,
    Sizes,
    Stage,
    Task,
    Width,
    Widths,
    begin_small,
    leaky,
    mixed,
    normal_weights,
)
from sanggar.models.gan.objectives import Scores
from sanggar.options import Options

Share = Annotated[float, Field(ge=0, lt=1)]


# -- options -----------------------------------------------------------------------------------------------------


class DenseCriticOptions(Options):
    """Dense layers only."""

    kind: Literal["dense"] = "dense"
    widths: Widths = (512, 256)
    """neurons of each layer"""
    norm: Literal["none"] = "none"
    """between a layer and its activation"""
    activation: Activation = "leaky_relu"
    """after each layer"""
    dropout: Share = 0.0
    """share of the outputs of a layer that is left out while training"""
    spectral: bool = False
    """weights divided by their largest singular value (Miyato et al. 2018, arXiv:1802.05957)"""
    embedding: Width = 50
    """numbers that the condition is embedded in, where it is joined to the picture"""

    def build(self, task: Task) -> DenseCritic:
        """The network."""
        return DenseCritic(self, task)


class DCGANCriticOptions(Options):
    """Convolutions of stride 2, then a dense layer (Radford et al. 2016, arXiv:1511.06434)."""

    kind: Literal["dcgan"]
    widths: Widths = (64, 128, 256)
    """channels after each convolution; each halves height and width"""
    kernel: Literal[4, 6] = 4
    """height and width of a convolution"""
    norm: Norm = "batch"
    """none after the first convolution, as in the paper"""
    activation: Activation = "leaky_relu"
    """after each layer"""
    dropout: Share = 0.0
    """share of the outputs of a layer that is left out while training"""
    spectral: bool = False
    """weights divided by their largest singular value (Miyato et al. 2018, arXiv:1802.05957)"""
    embedding: Width = 50
    """numbers that the condition is embedded in, where it is joined to the picture"""

    def build(self, task: Task) -> ConvCritic:
        """The network."""
        return ConvCritic(self, task)


class ResNetCriticOptions(Options):
    """Residual blocks that halve height and width, and the sum over what is left (Miyato et al. 2018)."""

    kind: Literal["resnet"]
    widths: Widths = (128, 128, 128)
    """channels after each block; each halves height and width"""
    norm: Norm = "none"
    """between a layer and its activation"""
    activation: Activation = "relu"
    """after each layer"""
    dropout: Share = 0.0
    """share of the outputs of a layer that is left out while training"""
    spectral: bool = True
    """weights divided by their largest singular value (Miyato et al. 2018, arXiv:1802.05957)"""
    embedding: Width = 50
    """numbers that the condition is embedded in, where it is joined to the picture"""

    def build(self, task: Task) -> ConvCritic:
        """The network."""
        return ConvCritic(self, task)


# -- what they share ---------------------------------------------------------------------------------------------


class JoinPlane(nn.Module):
    """The picture, with a plane made of the condition behind its channels where it is joined."""

    def __init__(self, task: Task, embedding: int) -> None:
        super().__init__()
        self.size = (task.spec.height, task.spec.width)
        self.embedding = ConditionEmbedding(task.conditions, embedding, begin_small) if task.joined else None
        self.plane = nn.Linear(embedding, prod(self.size)) if task.joined else None
        self.channels = task.spec.channels + task.joined

    def forward(self, pictures: Pictures, condition: Condition | None) -> Features:
        """One channel more, at the pictures' own resolution."""
        if self.embedding is None or self.plane is None:
            return pictures
        plane = self.plane(self.embedding(condition)).unflatten(1, (1, *self.size))
        if plane.shape[2:] != pictures.shape[2:]:
            plane = F.adaptive_avg_pool2d(plane, (pictures.shape[2], pictures.shape[3]))
        return torch.cat([pictures, plane.to(pictures.dtype)], dim=1)


def begin_short(weight: Tensor) -> None:
    """Draw rows of length about 1, so that their product with features is as large as one feature."""
    nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[1]))


class Verdict(nn.Module):
    """Features to a score: linear, and where the condition is projected, their product with its embedding.

    Projection: Miyato & Koyama 2018, arXiv:1802.05637, equation 3.
    """

    def __init__(self, width: int, task: Task, layer: type[nn.Linear] = nn.Linear) -> None:
        super().__init__()
        self.linear = layer(width, 1)
        self.embedding = ConditionEmbedding(task.conditions, width, begin_short) if task.projected else None

    def forward(self, features: Float[Tensor, "batch width"], condition: Condition | None) -> Scores:
        """A score a picture."""
        score: Tensor = self.linear(features).squeeze(1).float()
        if self.embedding is None:
            return score
        projection: Tensor = (self.embedding(condition).float() * features.float()).sum(dim=1)
        return score + projection


def bounded(critic: nn.Module) -> None:
    """Divide every weight by its largest singular value from now on, but for joined embeddings, which begin small."""
    joins = [module.embedding for module in critic.modules() if isinstance(module, Join | JoinPlane)]
    for module in list(critic.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding) and all(module is not join for join in joins):
            spectral_norm(module)


def norms(kind: Norm, width: int) -> list[nn.Module]:
    """The norm, or nothing. Batch norm goes by the batch while validating as well.

    A running mean of what a critic is shown would be of real and drawn pictures mixed, and its scores by that are none
    that anything was trained on: an accuracy of 0.98 became 0.80.
    """
    if kind == "batch":
        return [nn.BatchNorm2d(width, track_running_stats=False)]
    return [] if kind == "none" else [norm_layer(kind, width)]


def drops(rate: float) -> list[nn.Module]:
    """Dropout, or nothing."""
    return [nn.Dropout(rate)] if rate else []


# -- dense -------------------------------------------------------------------------------------------------------


class DenseCritic(nn.Module):
    """See DenseCriticOptions."""

    per_batch = False

    def __init__(self, options: DenseCriticOptions, task: Task) -> None:
        super().__init__()
        self.picture_sizes: Sizes = task.sizes(0)
        self.join = Join(prod(task.spec.shape), task, options.embedding)
        layers: list[nn.Module] = []
        for before, after in pairwise((self.join.size, *options.widths)):
            layers += [nn.Linear(before, after), leaky(options.activation), *drops(options.dropout)]
        self.layers = nn.Sequential(*layers)
        self.verdict = Verdict(options.widths[-1], task)
        if options.spectral:
            bounded(self)

    def forward(self, pictures: Pictures, condition: Condition | None = None, stage: Stage = WHOLE) -> Scores:
        """A score a picture."""
        rows = self.join(pictures.permute(0, 2, 3, 1).flatten(1), condition)
        found: Scores = self.verdict(self.layers(rows), condition)
        return found


# -- convolutions ------------------------------------------------------------------------------------------------


class Descent(nn.Module):
    """From a picture down to the smallest resolution: an entry, and a block from each resolution to the next.

    `entries` and `blocks` come largest resolution first. One that grows keeps an entry at each resolution.
    """

    def __init__(self, entries: list[nn.Module], blocks: list[nn.Module], sizes: Sizes, grows: bool) -> None:
        super().__init__()
        # smallest first, as the levels of a stage count
        self.entries = nn.ModuleList(entries[::-1] if grows else entries[:1])
        self.blocks = nn.ModuleList(blocks[::-1])
        self.sizes = sizes

    def forward(self, shown: Features, stage: Stage) -> Features:
        """What is left of a picture at the smallest resolution."""
        level = stage.level(self.sizes)
        x: Features = self.entries[min(level, len(self.entries) - 1)](shown)
        for i in range(level, 0, -1):
            x = self.blocks[i - 1](x)
            if i == level and stage.fade < 1:
                small = F.adaptive_avg_pool2d(shown, self.sizes[level - 1])
                x = mixed(self.entries[level - 1](small), x, stage.fade)
        return x


class ConvCritic(nn.Module):
    """See DCGANCriticOptions and ResNetCriticOptions."""

    def __init__(self, options: DCGANCriticOptions | ResNetCriticOptions, task: Task) -> None:
        super().__init__()
        widths, last = options.widths, options.widths[-1]
        self.strided = isinstance(options, DCGANCriticOptions)
        self.per_batch = options.norm == "batch"
        self.join = JoinPlane(task, options.embedding)
        channels = self.join.channels
        entries: list[nn.Module]
        blocks: list[nn.Module]
        sizes = task.sizes(len(widths))
        check_norm(options.norm, sizes[0])
        self.picture_sizes = sizes[1:]
        if isinstance(options, DCGANCriticOptions):
            entries = [Halving(channels, width, options.kernel) for width in widths]
            blocks = [StridedBlock(options, a, b) for a, b in pairwise(widths)]
        else:
            entries = [ResidualEntry(options, channels, width) for width in widths]
            blocks = [ResidualDown(options, a, b) for a, b in pairwise(widths)]
        self.descent = Descent(entries, blocks, self.picture_sizes, task.grows)
        self.last = leaky(options.activation)
        self.verdict = Verdict(prod(sizes[0]) * last if self.strided else last, task)
        if self.strided:
            self.apply(normal_weights)
        if options.spectral:
            bounded(self)

    def forward(self, pictures: Pictures, condition: Condition | None = None, stage: Stage = WHOLE) -> Scores:
        """A score a picture."""
        x = self.last(self.descent(self.join(pictures, condition), stage))
        # a sum and not a mean: a verdict whose weights are bounded could not make up for the division
        features = x.permute(0, 2, 3, 1).flatten(1) if self.strided else x.sum(dim=(2, 3), dtype=torch.float32)
        found: Scores = self.verdict(features, condition)
        return found


class Halving(nn.Conv2d):
    """A convolution of stride 2 to half the height and width, rounded up."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__(before, after, kernel, stride=2, padding=kernel // 2 - 1)

    def forward(self, x: Features) -> Features:
        """Half as high and wide."""
        height, width = x.shape[2:]
        return super().forward(F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x)


class StridedBlock(nn.Sequential):
    """Activation, dropout, a convolution of stride 2, and norm."""

    def __init__(self, options: DCGANCriticOptions, before: int, after: int) -> None:
        super().__init__(
            leaky(options.activation), *drops(options.dropout), Halving(before, after, options.kernel),
            *norms(options.norm, after),
        )  # fmt: skip


class ResidualEntry(nn.Module):
    """A convolution from the picture, a halving by means, and a convolution, beside a 1×1 convolution."""

    def __init__(self, options: ResNetCriticOptions, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), leaky(options.activation))
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.skip = nn.Conv2d(channels, width, 1)

    def forward(self, pictures: Features) -> Features:
        """Features of half the height and width, rounded up."""
        found: Tensor = self.second(halved(self.first(pictures))) + self.skip(halved(pictures))
        return found


class ResidualDown(nn.Module):
    """Two convolutions with a halving by means between them, beside a 1×1 convolution.

    The paper halves after both; the second then costs four times as much.
    """

    def __init__(self, options: ResNetCriticOptions, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            *norms(options.norm, before), leaky(options.activation), nn.Conv2d(before, after, 3, padding=1)
        )
        self.second = nn.Sequential(
            *norms(options.norm, after), leaky(options.activation), *drops(options.dropout),
            nn.Conv2d(after, after, 3, padding=1),
        )  # fmt: skip
        self.skip = nn.Conv2d(before, after, 1)

    def forward(self, x: Features) -> Features:
        """Half as high and wide, rounded up."""
        # the mean of what a 1×1 convolution makes is what it makes of the mean, at a quarter of the cost
        found: Tensor = self.second(halved(self.first(x))) + self.skip(halved(x))
        return found


def halved(x: Features) -> Features:
    """Means of 2×2 pixels; half the height and width, rounded up."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
