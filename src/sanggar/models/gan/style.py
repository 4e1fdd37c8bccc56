"""Generator and critic in the manner of StyleGAN2 (Karras et al. 2020, arXiv:1912.04958)."""

from __future__ import annotations

import math
from itertools import pairwise
from math import prod
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sanggar.models.base import Latents, Pictures
from sanggar.models.blocks import PixelNorm
from sanggar.models.conditions import CLASS, Condition, ConditionEmbedding
from sanggar.models.gan.critics import Descent, JoinPlane, Verdict, halved
from sanggar.models.gan.generators import WHOLE, Features, Sizes, Stage, Task, Width, Widths
from sanggar.models.gan.objectives import Scores
from sanggar.options import Options

# -- options -----------------------------------------------------------------------------------------------------


class StyleGeneratorOptions(Options):
    """Styles that scale the channels of convolutions, noise, and pictures summed over resolutions.

    In the manner of StyleGAN2 (Karras et al. 2020, arXiv:1912.04958), without its path length penalty, which serves
    large pictures.
    """

    kind: Literal["style"]
    widths: Annotated[tuple[Width, ...], Field(min_length=2, max_length=8)] = (128, 128, 128, 128)
    """channels at each resolution, smallest first"""
    style_size: Width = 128
    """numbers in a style"""
    mapping_layers: int = Field(default=2, ge=1, le=8)
    """dense layers from noise to style"""
    embedding: Width = 50
    """numbers that the condition is embedded in, beside the latent"""
    noise: bool = True
    """whether noise of a learned strength is added after each convolution"""

    def build(self, task: Task) -> StyleGenerator:
        """The network."""
        return StyleGenerator(self, task)


class StyleCriticOptions(Options):
    """Residual blocks with an equalized learning rate, and the deviation within the batch as one more channel.

    In the manner of StyleGAN2 (Karras et al. 2020, arXiv:1912.04958).
    """

    kind: Literal["style"]
    widths: Widths = (64, 128, 128, 128)
    """channels at each resolution, largest first"""
    norm: Literal["none"] = "none"
    """has none"""
    spectral: Literal[False] = False
    """has no meaning here: weights are scaled otherwise"""
    group: int = Field(default=4, ge=1)
    """pictures among which the deviation is taken (Karras et al. 2018, section 3); 1: none"""
    embedding: Width = 50
    """numbers that the condition is embedded in, where it is joined to the picture"""

    def build(self, task: Task) -> StyleCritic:
        """The network."""
        return StyleCritic(self, task)


LIVELY = math.sqrt(2)
"""Gain of a layer that a leaky ReLU follows: with it, the deviation stays as it was."""


def leaky_relu(x: Tensor) -> Tensor:
    """x where it is positive, else x / 5."""
    return F.leaky_relu(x, 0.2)


# -- the generator ---------------------------------------------------------------------------------------------


class EqualLinear(nn.Linear):
    """A dense layer whose weights are kept at deviation 1 and scaled when used, so that all learn at one pace.

    Equalized learning rate: Karras et al. 2018, arXiv:1710.10196, section 4.1.
    """

    def __init__(self, before: int, after: int, pace: float = 1.0, bias: float = 0.0, gain: float = 1.0) -> None:
        super().__init__(before, after)
        nn.init.normal_(self.weight, std=1 / pace)
        nn.init.constant_(self.bias, bias / pace)
        self.scale, self.pace = gain * pace / math.sqrt(before), gain * pace

    def forward(self, x: Float[Tensor, "batch before"]) -> Float[Tensor, "batch after"]:
        """The layer's outputs."""
        return F.linear(x, self.weight * self.scale, self.bias * self.pace)


class EqualConv(nn.Conv2d):
    """A convolution with an equalized learning rate, which a style may modulate."""

    def __init__(self, before: int, after: int, kernel: int, gain: float = 1.0) -> None:
        super().__init__(before, after, kernel, padding=kernel // 2)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.biases)
        self.scale, self.gain = gain / math.sqrt(before * kernel**2), gain

    @property
    def biases(self) -> Tensor:
        """One a channel."""
        assert self.bias is not None
        return self.bias

    def forward(self, x: Features, modulation: Float[Tensor, "b before"] | None = None) -> Features:
        """Of the same height and width.

        With a modulation, inputs are scaled by it and outputs brought back to deviation 1: weight demodulation (Karras
        et al. 2020, section 2.2). Scaling what goes in and what comes out, instead of the weights, gives the same
        numbers with one convolution for the whole batch.
        """
        weight = self.weight * self.scale
        if modulation is None:
            return F.conv2d(x, weight, self.biases * self.gain, padding=self.padding)
        power = weight.float().square().sum(dim=(2, 3))  # (after, before)
        back = self.gain * torch.rsqrt(modulation.float().square() @ power.T + 1e-8)
        y = F.conv2d(x * modulation[:, :, None, None].to(x.dtype), weight, padding=self.padding)
        return y * back[:, :, None, None].to(y.dtype) + (self.biases * self.gain)[:, None, None].to(y.dtype)


class Mapping(nn.Module):
    """Latent and condition to a style (Karras et al. 2019, arXiv:1812.04948), learning at a hundredth of the pace."""

    def __init__(self, options: StyleGeneratorOptions, task: Task) -> None:
        super().__init__()
        self.embedding = ConditionEmbedding(task.conditions, options.embedding) if task.conditions.names else None
        size, widths = options.style_size, [task.latent_size + (options.embedding if task.conditions.names else 0)]
        widths += [size] * options.mapping_layers
        self.norm = PixelNorm()
        self.layers = nn.ModuleList(
            EqualLinear(before, after, pace=0.01, gain=LIVELY) for before, after in pairwise(widths)
        )

    def forward(self, latents: Latents, condition: Condition | None) -> Float[Tensor, "batch style"]:
        """The style of each latent."""
        x = self.norm(latents)
        if self.embedding is not None:
            x = torch.cat([x, self.norm(self.embedding(condition))], dim=1)
        for layer in self.layers:
            x = leaky_relu(layer(x))
        found: Tensor = x
        return found


def smoothly(x: Features, size: tuple[int, int]) -> Features:
    """Enlarged to a height and width by straight lines between pixels: the filter [1, 3, 3, 1] of StyleGAN2."""
    height, width = size
    if (height, width) == x.shape[2:]:
        return x
    return F.interpolate(x, scale_factor=2.0, mode="bilinear")[:, :, :height, :width]


class StyledConv(nn.Module):
    """A 3×3 convolution modulated by a style, noise, and leaky ReLU.

    What it makes is enlarged to `size` after the convolution, which costs a quarter of a convolution of what is
    enlarged already; StyleGAN2's transposed convolution and filter cost the same.
    """

    def __init__(self, before: int, after: int, style_size: int, size: tuple[int, int], noise: bool) -> None:
        super().__init__()
        self.size = size
        self.style = EqualLinear(style_size, before, bias=1.0)
        self.conv = EqualConv(before, after, 3, LIVELY)
        self.noise = Noise(size) if noise else nn.Identity()

    def forward(self, x: Features, styles: Float[Tensor, "batch style"]) -> Features:
        """Of this block's height and width."""
        y: Tensor = self.noise(smoothly(self.conv(x, self.style(styles)), self.size))
        return leaky_relu(y)


class Styled(nn.ModuleList):
    """Convolutions one after another, modulated by one style."""

    def forward(self, x: Features, styles: Float[Tensor, "batch style"]) -> Features:
        """Of this block's height and width."""
        for conv in self:
            x = conv(x, styles)
        return x


class Noise(nn.Module):
    """Noise of a learned strength, one draw a pixel; always the same draw in use."""

    drawn: Tensor

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("drawn", torch.randn(1, 1, *size))

    def forward(self, x: Features) -> Features:
        """Of the same shape."""
        noise = torch.randn(len(x), 1, *x.shape[2:], device=x.device) if self.training else self.drawn
        return x + (self.strength * noise).to(x.dtype)


class ToPicture(nn.Module):
    """Features to pixels by a 1×1 convolution whose inputs a style scales."""

    def __init__(self, before: int, channels: int, style_size: int) -> None:
        super().__init__()
        self.style = EqualLinear(style_size, before, bias=1.0)
        self.conv = EqualConv(before, channels, 1)

    def forward(self, x: Features, styles: Float[Tensor, "batch style"]) -> Features:
        """Raw pixels, to be added."""
        found: Tensor = self.conv(x * self.style(styles)[:, :, None, None].to(x.dtype))
        return found


class Constant(nn.Module):
    """The learned features that every picture begins from."""

    def __init__(self, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.features = nn.Parameter(torch.randn(1, width, *size))

    def forward(self, count: int) -> Features:
        """The same for each of `count` pictures."""
        return self.features.expand(count, -1, -1, -1)


class StyleGenerator(nn.Module):
    """See StyleGeneratorOptions. It keeps the mean style, of each class where it is conditioned on, for truncation."""

    mean_style: Tensor
    """`(classes or 1, style)`"""

    def __init__(self, options: StyleGeneratorOptions, task: Task) -> None:
        super().__init__()
        widths, size = options.widths, options.style_size
        self.picture_sizes: Sizes = task.sizes(len(widths) - 1)
        self.mapping = Mapping(options, task)
        self.constant = Constant(widths[0], self.picture_sizes[0])
        self.blocks, self.heads = nn.ModuleList(), nn.ModuleList()
        for before, after, place in zip((widths[0], *widths), widths, self.picture_sizes, strict=False):
            inner = [] if place == self.picture_sizes[0] else [StyledConv(before, after, size, place, options.noise)]
            self.blocks.append(Styled([*inner, StyledConv(after, after, size, place, options.noise)]))
            self.heads.append(ToPicture(after, task.spec.channels, size))
        self.conditions = task.conditions
        classes = len(task.spec.classes) if CLASS in task.conditions.names else 1
        self.register_buffer("mean_style", torch.zeros(classes, size))

    def forward(self, latents: Latents, condition: Condition | None = None, stage: Stage = WHOLE) -> Pictures:
        """The picture of each latent, at the stage's resolution."""
        styles = self.mapping(latents, condition)
        if self.training:
            self._remember(styles.detach().float(), condition)
        return self.draw(styles, stage)

    def truncated(
        self, latents: Latents, condition: Condition | None, truncation: float, stage: Stage = WHOLE
    ) -> Pictures:
        """With styles at `truncation` of their way from the mean style (Karras et al. 2019, appendix B)."""
        styles = self.mapping(latents, condition)
        mean = self.mean_style[self._rows(condition, len(styles))].to(styles.dtype)
        return self.draw(torch.lerp(mean, styles, truncation), stage)

    def draw(self, styles: Float[Tensor, "batch style"], stage: Stage = WHOLE) -> Pictures:
        """The picture of each style."""
        level = stage.level(self.picture_sizes)
        x = self.blocks[0](self.constant(len(styles)).to(styles.dtype), styles)
        picture: Tensor = self.heads[0](x, styles).float()
        for i in range(1, level + 1):
            x = self.blocks[i](x, styles)
            found = self.heads[i](x, styles).float()
            picture = smoothly(picture, self.picture_sizes[i]) + (stage.fade if i == level else 1.0) * found
        return picture

    def _rows(self, condition: Condition | None, count: int) -> Int64[Tensor, "batch"]:
        """Row of the mean style for each picture."""
        if condition is None or CLASS not in self.conditions.names:
            return torch.zeros(count, dtype=torch.int64, device=self.mean_style.device)
        return self.conditions.classes_of(condition)

    def _remember(self, styles: Float[Tensor, "batch style"], condition: Condition | None) -> None:
        """Update the running mean of the styles, of each class that is there."""
        rows = self._rows(condition, len(styles))
        sums = torch.zeros_like(self.mean_style).index_add_(0, rows, styles)
        counts = torch.bincount(rows, minlength=len(self.mean_style))[:, None]
        means = torch.where(counts > 0, sums / counts.clamp(min=1), self.mean_style)
        self.mean_style.lerp_(means, 0.01)


# -- the critic -------------------------------------------------------------------------------------------------------


class StyleCritic(nn.Module):
    """See StyleCriticOptions."""

    def __init__(self, options: StyleCriticOptions, task: Task) -> None:
        super().__init__()
        widths = options.widths
        self.picture_sizes: Sizes = task.sizes(len(widths) - 1)
        self.group = options.group
        self.per_batch = options.group > 1
        self.join = JoinPlane(task, options.embedding)
        entries: list[nn.Module] = [
            nn.Sequential(EqualConv(self.join.channels, w, 1, LIVELY), nn.LeakyReLU(0.2)) for w in widths
        ]
        blocks: list[nn.Module] = [StyleDown(a, b) for a, b in pairwise(widths)]
        self.descent = Descent(entries, blocks, self.picture_sizes, task.grows)
        last = widths[-1]
        self.conv = EqualConv(last + self.per_batch, last, 3, LIVELY)
        self.dense = EqualLinear(prod(self.picture_sizes[0]) * last, last, gain=LIVELY)
        self.verdict = Verdict(last, task, EqualLinear)

    def forward(self, pictures: Pictures, condition: Condition | None = None, stage: Stage = WHOLE) -> Scores:
        """A score a picture."""
        x = self.descent(self.join(pictures, condition), stage)
        if self.per_batch:
            x = torch.cat([x, deviation(x, self.group)], dim=1)
        x = leaky_relu(self.conv(x)).permute(0, 2, 3, 1).flatten(1)
        found: Scores = self.verdict(leaky_relu(self.dense(x)), condition)
        return found


class StyleDown(nn.Module):
    """Two convolutions and a halving, beside a 1×1 convolution; the sum keeps its deviation."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = EqualConv(before, before, 3, LIVELY), EqualConv(before, after, 3, LIVELY)
        self.skip = EqualConv(before, after, 1)

    def forward(self, x: Features) -> Features:
        """Half as high and wide, rounded up."""
        body = leaky_relu(self.conv2(halved(leaky_relu(self.conv1(x)))))
        found: Tensor = (body + self.skip(halved(x))) / math.sqrt(2)
        return found


def deviation(x: Features, group: int) -> Features:
    """A channel with the mean deviation within groups of pictures of a batch (Karras et al. 2018, section 3).

    The groups have `group` pictures, some of them more where the batch does not divide by that.
    """
    means = []
    for part in x.float().tensor_split(max(1, len(x) // group)):
        spread = (part - part.mean(dim=0)).square().mean(dim=0)
        means.append((spread + 1e-8).sqrt().mean().expand(len(part)))
    return torch.cat(means).to(x.dtype)[:, None, None, None].expand(-1, 1, *x.shape[2:])
