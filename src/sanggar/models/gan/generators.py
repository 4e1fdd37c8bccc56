"""Generators: pictures from latents, and from a condition where there is one.

Each is called as `generator(latents, condition, stage)`: latents float `(n, latent)`, a condition float `(n, width)`
where there is one, a stage where the network grows; it gives pictures in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sanggar.data.images import ImageSpec
from sanggar.models.base import Latents, Pictures
from sanggar.models.blocks import ACTIVATIONS, Activation, Norm, check_norm, norm_layer
from sanggar.models.conditions import CLASS, Condition, ConditionEmbedding, Conditions
from sanggar.options import Options

Width = Annotated[int, Field(ge=1)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]
Features = Float[Tensor, "_ _ _ _"]
"""Channels at places, of a batch of pictures"""
Sizes = list[tuple[int, int]]
"""Height and width at each resolution, smallest first"""
Conditioning = Literal["joined", "projection"]


@dataclass(frozen=True)
class Task:
    """What a generator or a critic is built for."""

    spec: ImageSpec
    latent_size: int
    conditions: Conditions
    conditioning: Conditioning = "joined"
    grows: bool = False
    """whether it is trained at one resolution after another, and needs a way out of each"""

    @property
    def joined(self) -> bool:
        """Whether the condition is joined to the input."""
        return bool(self.conditions.names) and self.conditioning == "joined"

    @property
    def projected(self) -> bool:
        """Whether the condition enters through norms, styles and a product."""
        return bool(self.conditions.names) and self.conditioning == "projection"

    def sizes(self, doublings: int) -> Sizes:
        """Height and width at each resolution, smallest first: the picture's, halved and rounded up."""
        found = [(self.spec.height, self.spec.width)]
        for _ in range(doublings):
            height, width = found[0]
            found.insert(0, (-(-height // 2), -(-width // 2)))
        return found


@dataclass(frozen=True)
class Stage:
    """How far a network has grown."""

    halvings: int = 0
    """how often the pictures it works at are halved"""
    fade: float = 1.0
    """how much its newest resolution counts beside the one below"""

    def level(self, sizes: Sizes) -> int:
        """Which of a network's resolutions that is, counted from the smallest."""
        return len(sizes) - 1 - self.halvings


WHOLE = Stage()


# -- options -----------------------------------------------------------------------------------------------------


class DenseGeneratorOptions(Options):
    """Dense layers only, each with norm and activation; the last gives the pixels."""

    kind: Literal["dense"] = "dense"
    widths: Widths = (256, 512, 1024)
    """neurons of each layer"""
    norm: Literal["none", "batch"] = "batch"
    """between a layer and its activation"""
    activation: Activation = "leaky_relu"
    """after each layer"""
    embedding: Width = 50
    """numbers that the condition is embedded in, where it is joined to the latent"""
    output: Literal["tanh", "sigmoid"] = "tanh"
    """function that makes pixels of the last layer"""

    def build(self, task: Task) -> DenseGenerator:
        """The network."""
        return DenseGenerator(self, task)


class DCGANGeneratorOptions(Options):
    """A dense layer, then transposed convolutions of stride 2 (Radford et al. 2016, arXiv:1511.06434)."""

    kind: Literal["dcgan"]
    widths: Widths = (256, 128, 64)
    """channels before each transposed convolution; each doubles height and width"""
    kernel: Literal[4, 6] = 4
    """height and width of a transposed convolution"""
    norm: Norm = "batch"
    """between a layer and its activation"""
    activation: Activation = "relu"
    """after each layer"""
    embedding: Width = 50
    """numbers that the condition is embedded in, where it is joined to the latent"""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """share of the outputs of a layer that is left out while training"""
    output: Literal["tanh", "sigmoid"] = "tanh"
    """function that makes pixels of the last layer"""

    def build(self, task: Task) -> ConvGenerator:
        """The network."""
        return ConvGenerator(self, task)


class ResNetGeneratorOptions(Options):
    """A dense layer, then residual blocks that double height and width (Miyato et al. 2018, arXiv:1802.05957)."""

    kind: Literal["resnet"]
    widths: Annotated[tuple[Width, ...], Field(min_length=2, max_length=8)] = (128, 128, 128, 128)
    """channels at each resolution, smallest first"""
    norm: Norm = "batch"
    """between a layer and its activation"""
    activation: Activation = "relu"
    """after each layer"""
    embedding: Width = 50
    """numbers that the condition is embedded in, where it is joined to the latent"""
    output: Literal["tanh", "sigmoid"] = "tanh"
    """function that makes pixels of the last layer"""

    def build(self, task: Task) -> ConvGenerator:
        """The network."""
        return ConvGenerator(self, task)


# -- what they share ---------------------------------------------------------------------------------------------


def begin_small(weight: Tensor) -> None:
    """Draw an embedding that is joined to noise or picture, as small as Keras begins its embeddings.

    As large as PyTorch's (deviation 1), it drowns both: within 300 steps the generator drew one picture a class.
    """
    nn.init.uniform_(weight, -0.05, 0.05)


class Join(nn.Module):
    """Rows of `width` numbers, with an embedding of the condition behind each where it is joined.

    Mirza & Osindero 2014, arXiv:1411.1784.
    """

    def __init__(self, width: int, task: Task, embedding: int) -> None:
        super().__init__()
        self.embedding = ConditionEmbedding(task.conditions, embedding, begin_small) if task.joined else None
        self.size = width + (embedding if task.joined else 0)

    def forward(self, rows: Float[Tensor, "batch width"], condition: Condition | None) -> Float[Tensor, "batch size"]:
        """Input of the first layer."""
        return rows if self.embedding is None else torch.cat([rows, self.embedding(condition).to(rows.dtype)], dim=1)


class ConditionalNorm(nn.Module):
    """A norm whose scale and shift depend on the condition (de Vries et al. 2017; Miyato & Koyama 2018)."""

    def __init__(self, kind: Norm, width: int, conditions: Conditions | None) -> None:
        super().__init__()
        self.norm = norm_layer(kind, width)
        self.scale = self.shift = None
        if conditions is not None:
            if kind in ("batch", "instance"):  # the condition's scale and shift stand in for the norm's own
                layer = nn.BatchNorm2d if kind == "batch" else nn.InstanceNorm2d
                self.norm = layer(width, affine=False)
            self.scale, self.shift = (ConditionEmbedding(conditions, width) for _ in range(2))
            nn.init.zeros_(self.scale.weight)
            nn.init.zeros_(self.shift.weight)
            self.of_class = conditions.place(CLASS) if CLASS in conditions.names else slice(0, 0)
            nn.init.ones_(self.scale.weight[self.of_class])

    def forward(self, x: Features, condition: Condition | None) -> Features:
        """Of the same shape."""
        y: Tensor = self.norm(x)
        if self.scale is None or self.shift is None or condition is None:
            return y
        # a class has a scale of its own; what else is given changes a scale of 1
        scale = self.scale(condition) + (1 - condition[:, self.of_class].sum(dim=1, keepdim=True))
        scale, shift = (part[:, :, None, None].to(y.dtype) for part in (scale, self.shift(condition)))
        conditioned: Tensor = y * scale + shift
        return conditioned


def squash(output: Literal["tanh", "sigmoid"], raw: Tensor) -> Tensor:
    """A last layer's numbers as pixels in [-1, 1], in float32: a sigmoid's 0…1 are stretched, 2 σ(x) − 1."""
    return torch.tanh(raw.float() if output == "tanh" else raw.float() / 2)


def enlarge(x: Features, size: tuple[int, int]) -> Features:
    """Each pixel repeated, to a height and width; a cut where these are odd."""
    height, width = size
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest") if (height, width) != x.shape[2:] else x
    return doubled[:, :, :height, :width]


def mixed(below: Tensor, above: Tensor, fade: float) -> Tensor:
    """`fade` of what is above, the rest of what is below."""
    return torch.lerp(below, above, fade) if fade < 1 else above


# -- dense -------------------------------------------------------------------------------------------------------


class DenseGenerator(nn.Module):
    """See DenseGeneratorOptions. Batch norm counts the new batch with 0.01, as Keras does."""

    def __init__(self, options: DenseGeneratorOptions, task: Task) -> None:
        super().__init__()
        self.options = options
        self.shape = task.spec.shape
        self.picture_sizes: Sizes = task.sizes(0)
        self.join = Join(task.latent_size, task, options.embedding)
        layers: list[nn.Module] = []
        for before, after in pairwise((self.join.size, *options.widths)):
            layers += [nn.Linear(before, after)]
            if options.norm == "batch":
                layers += [nn.BatchNorm1d(after, eps=1e-3, momentum=0.01)]
            layers += [leaky(options.activation)]
        self.layers = nn.Sequential(*layers, nn.Linear(options.widths[-1], prod(self.shape)))

    def forward(self, latents: Latents, condition: Condition | None = None, stage: Stage = WHOLE) -> Pictures:
        """The picture of each latent."""
        raw = self.layers(self.join(latents, condition))
        return squash(self.options.output, raw).reshape(-1, *self.shape).permute(0, 3, 1, 2)


# -- convolutions ------------------------------------------------------------------------------------------------


class ConvGenerator(nn.Module):
    """A dense layer to the smallest resolution, a block to each next one, and a head that makes the picture.

    One that grows has a head at each resolution.
    """

    def __init__(self, options: DCGANGeneratorOptions | ResNetGeneratorOptions, task: Task) -> None:
        super().__init__()
        self.options = options
        widths = options.widths
        transposed = isinstance(options, DCGANGeneratorOptions)
        # transposed convolutions make the picture while they double once more; residual blocks leave it to a head
        sizes = task.sizes(len(widths) if transposed else len(widths) - 1)
        self.join = Join(task.latent_size, task, options.embedding)
        check_norm(options.norm, sizes[0])
        self.start = (*sizes[0], widths[0])
        self.dense = nn.Linear(self.join.size, prod(self.start))
        conditions = task.conditions if task.projected else None
        heads: list[nn.Module]
        pairs = list(zip(pairwise(widths), sizes[1:], strict=False))
        if isinstance(options, DCGANGeneratorOptions):
            self.blocks = nn.ModuleList(
                TransposedBlock(options, before, after, size, conditions) for (before, after), size in pairs
            )
            heads = [TransposedBlock(options, w, task.spec.channels, size, conditions)
                     for w, size in zip(widths, sizes[1:], strict=True)]  # fmt: skip
        else:
            self.blocks = nn.ModuleList(
                ResidualUp(options, before, after, size, conditions) for (before, after), size in pairs
            )
            heads = [ResidualHead(options, w, task.spec.channels, conditions) for w in widths]
        self.heads = nn.ModuleList(heads if task.grows else heads[-1:])
        self.picture_sizes: Sizes = sizes[1:] if transposed else sizes
        if transposed:
            self.apply(normal_weights)

    def forward(self, latents: Latents, condition: Condition | None = None, stage: Stage = WHOLE) -> Pictures:
        """The picture of each latent, at the stage's resolution."""
        x = self.dense(self.join(latents, condition)).unflatten(1, self.start).permute(0, 3, 1, 2)
        level = stage.level(self.picture_sizes)
        below = x
        for block in self.blocks[:level]:
            below, x = x, block(x, condition)
        picture = squash(self.options.output, self.heads[min(level, len(self.heads) - 1)](x, condition))
        if stage.fade < 1 and level > 0:
            small = squash(self.options.output, self.heads[level - 1](below, condition))
            picture = mixed(enlarge(small, self.picture_sizes[level]), picture, stage.fade)
        return picture


class TransposedBlock(nn.Module):
    """Norm, activation, and a transposed convolution that doubles height and width."""

    def __init__(
        self,
        options: DCGANGeneratorOptions,
        before: int,
        after: int,
        size: tuple[int, int],
        conditions: Conditions | None,
    ) -> None:
        super().__init__()
        self.size = size
        self.norm = ConditionalNorm(options.norm, before, conditions)
        self.act = leaky(options.activation)
        self.drop = nn.Dropout(options.dropout) if options.dropout else nn.Identity()
        self.conv = nn.ConvTranspose2d(before, after, options.kernel, stride=2, padding=options.kernel // 2 - 1)

    def forward(self, x: Features, condition: Condition | None = None) -> Features:
        """Twice as high and wide, less one where the size is odd."""
        y: Tensor = self.conv(self.drop(self.act(self.norm(x, condition))))
        return y[:, :, : self.size[0], : self.size[1]]


class ResidualUp(nn.Module):
    """Norm, activation, doubling and convolution, twice over, beside a doubled 1×1 convolution."""

    def __init__(
        self,
        options: ResNetGeneratorOptions,
        before: int,
        after: int,
        size: tuple[int, int],
        conditions: Conditions | None,
    ) -> None:
        super().__init__()
        self.size = size
        self.norm1, self.norm2 = (ConditionalNorm(options.norm, width, conditions) for width in (before, after))
        self.act = leaky(options.activation)
        self.conv1, self.conv2 = (nn.Conv2d(width, after, 3, padding=1) for width in (before, after))
        self.skip = nn.Conv2d(before, after, 1)

    def forward(self, x: Features, condition: Condition | None = None) -> Features:
        """Twice as high and wide, less one where the size is odd."""
        y = self.conv1(enlarge(self.act(self.norm1(x, condition)), self.size))
        y = self.conv2(self.act(self.norm2(y, condition)))
        found: Tensor = y + enlarge(self.skip(x), self.size)  # the same as after doubling, at a quarter of the cost
        return found


class ResidualHead(nn.Module):
    """Norm, activation and a convolution to pixels."""

    def __init__(
        self, options: ResNetGeneratorOptions, width: int, channels: int, conditions: Conditions | None
    ) -> None:
        super().__init__()
        self.norm = ConditionalNorm(options.norm, width, conditions)
        self.act = leaky(options.activation)
        self.conv = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Features, condition: Condition | None = None) -> Features:
        """Raw pixels."""
        found: Tensor = self.conv(self.act(self.norm(x, condition)))
        return found


def leaky(name: Activation) -> nn.Module:
    """As everywhere, but a leaky ReLU leaks 0.2, as GANs have it since Radford et al. 2016."""
    return nn.LeakyReLU(0.2) if name == "leaky_relu" else ACTIVATIONS[name]()


def normal_weights(module: nn.Module) -> None:
    """Weights from a normal distribution of deviation 0.02 (Radford et al. 2016, section 4)."""
    if isinstance(module, nn.ConvTranspose2d | nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
