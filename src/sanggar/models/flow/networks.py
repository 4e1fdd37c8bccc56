"""Networks that know a velocity at a place and a time: one for vectors, and a U-Net for pictures.

Time and condition enter every block as a scale and a shift of what its norm gives (Perez et al. 2018,
arXiv:1709.07871). Each block begins as nothing beside what goes round it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal, TypeVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sanggar.data.images import ImageSpec
from sanggar.errors import RecipeError
from sanggar.models.base import Latents, Pictures
from sanggar.models.blocks import Patch, into_patches, norm_layer, out_of_patches, patched
from sanggar.models.conditions import Condition, ConditionEmbedding, Conditions
from sanggar.models.flow.matching import Times
from sanggar.options import Options

Width = Annotated[int, Field(ge=1)]
Embedded = Float[Tensor, "batch embedding"]
WAVES = 64
"""Sines and cosines of a time"""
Layer = TypeVar("Layer", bound=nn.Module)
HEAD = 32
"""Channels of a head of attention"""


class Embedding(nn.Module):
    """A vector of time, of condition where there is one, and of the length of a shortcut where there are any."""

    def __init__(self, width: int, conditions: Conditions, shortcuts: bool = False) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.condition = ConditionEmbedding(conditions, width, _small) if conditions.names else None
        self.step = nn.Linear(WAVES, width) if shortcuts else None

    def forward(self, t: Times, condition: Condition | None, step: Times | None) -> Embedded:
        """The vector of each; no condition: unconditional, no step: the velocity itself."""
        found: Tensor = self.time(waves(t))
        if self.condition is not None and condition is not None:
            found = found + self.condition(condition)
        if self.step is not None:
            found = found + self.step(waves(torch.zeros_like(t) if step is None else step))
        return F.silu(found)


def waves(t: Times) -> Float[Tensor, "batch waves"]:
    """Sines and cosines of times in [0, 1], from a quarter of a wave to as many as tell thousandths apart."""
    frequencies = torch.exp(torch.linspace(math.log(math.pi / 2), math.log(500 * math.pi), WAVES // 2, device=t.device))
    angles = t[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def silent(layer: Layer) -> Layer:
    """A layer that begins by giving 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _small(weight: Tensor) -> None:
    nn.init.normal_(weight, std=0.02)


# -- vectors -----------------------------------------------------------------------------------------------------


class VectorBlock(nn.Module):
    """x + f(x), with two dense layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.scale_shift = nn.Linear(WAVES, 2 * width)
        self.first, self.last = nn.Linear(width, width), silent(nn.Linear(width, width))

    def forward(self, x: Float[Tensor, "batch width"], at: Embedded) -> Float[Tensor, "batch width"]:
        """The input with the block's correction added."""
        scale, shift = self.scale_shift(at).chunk(2, dim=1)
        corrected: Tensor = x + self.last(F.silu(self.first(self.norm(x) * (1 + scale) + shift)))
        return corrected


class VectorNetwork(nn.Module):
    """The velocity of vectors: dense layers with a way round each two.

    They add to the velocity from noise to a standard normal distribution, which whitened vectors have nearly.
    """

    def __init__(self, size: int, width: int, blocks: int, conditions: Conditions) -> None:
        super().__init__()
        # each latent has a time of its own: a wider embedding would cost as much again
        self.embedding = Embedding(WAVES, conditions)
        self.enter = nn.Linear(size, width)
        self.blocks = nn.ModuleList(VectorBlock(width) for _ in range(blocks))
        self.norm, self.leave = nn.LayerNorm(width), silent(nn.Linear(width, size))

    def forward(
        self, x: Latents, t: Times, condition: Condition | None = None, step: Times | None = None
    ) -> Latents:  # fmt: skip
        """The velocity at each point."""
        at, y = self.embedding(t, condition, step), self.enter(x)
        for block in self.blocks:
            y = block(y, at)
        velocity: Tensor = self.leave(self.norm(y)) + ((2 * t - 1) / (t**2 + (1 - t) ** 2))[:, None] * x
        return velocity


# -- pictures ----------------------------------------------------------------------------------------------------


class UNetOptions(Options):
    """A U-Net (Ronneberger et al. 2015, arXiv:1505.04597) of residual blocks, as diffusion models use it."""

    kind: Literal["unet"] = "unet"
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=6)] = (32, 64, 64)
    """channels at each resolution, the picture's own first; from one to the next, height and width are halved"""
    blocks: int = Field(default=1, ge=1, le=8)
    """residual blocks at each resolution, on the way down and on the way up"""
    patch: Patch = 1
    """squares of so many pixels go in and come out as channels of one place: larger ones cost less and draw coarser"""
    attention: bool = True
    """whether places look at each other (Vaswani et al. 2017, arXiv:1706.03762), at the coarsest resolution"""
    embedding: int = Field(default=128, ge=1)
    """numbers that stand for time and condition"""

    def build(self, spec: ImageSpec, conditions: Conditions, shortcuts: bool) -> UNet:
        """The network for pictures like `spec`. Raises RecipeError where patches do not fill a picture."""
        return UNet(self, spec, conditions, shortcuts)


class Block(nn.Module):
    """x + f(x) with two 3×3 convolutions; where channels change, what goes round is a 1×1 convolution of it."""

    def __init__(self, before: int, after: int, embedding: int) -> None:
        super().__init__()
        self.first_norm, self.first = norm_layer("group", before), nn.Conv2d(before, after, 3, padding=1)
        self.scale_shift = nn.Linear(embedding, 2 * after)
        self.last_norm, self.last = norm_layer("group", after), silent(nn.Conv2d(after, after, 3, padding=1))
        self.round = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Float[Tensor, "batch before h w"], at: Embedded) -> Float[Tensor, "batch after h w"]:
        """The input with the block's correction added."""
        scale, shift = self.scale_shift(at)[:, :, None, None].chunk(2, dim=1)
        y = self.first(F.silu(self.first_norm(x)))
        y = self.last(F.silu(self.last_norm(y) * (1 + scale) + shift))
        corrected: Tensor = self.round(x) + y
        return corrected


class Blocks(nn.ModuleList):
    """Blocks one after another, the first of which may change the number of channels."""

    def __init__(self, before: int, after: int, embedding: int, count: int) -> None:
        super().__init__(Block(before if place == 0 else after, after, embedding) for place in range(count))

    def forward(self, x: Float[Tensor, "batch before h w"], at: Embedded) -> Float[Tensor, "batch after h w"]:
        """The input through all of them."""
        for block in self:
            x = block(x, at)
        return x


class Attention(nn.Module):
    """x + attention among its places, in heads of 32 channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD)
        if width % self.heads:
            raise RecipeError(
                f"model.network.widths: attention divides channels into heads of about {HEAD}: {width} channels do "
                f"not divide by {self.heads}; choose another last width, or attention: false."
            )
        self.norm = norm_layer("group", width)
        self.inward, self.outward = nn.Conv2d(width, 3 * width, 1), silent(nn.Conv2d(width, width, 1))

    def forward(self, x: Float[Tensor, "batch width h w"]) -> Float[Tensor, "batch width h w"]:
        """The input with what its places say to each other added."""
        parts = self.inward(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(3, 4)
        y = F.scaled_dot_product_attention(parts[:, 0], parts[:, 1], parts[:, 2])
        mixed: Tensor = x + self.outward(y.transpose(2, 3).reshape(x.shape))
        return mixed


class UNet(nn.Module):
    """The velocity of pictures: down through the resolutions and up again, with a way across at each."""

    def __init__(self, options: UNetOptions, spec: ImageSpec, conditions: Conditions, shortcuts: bool) -> None:
        super().__init__()
        self.patch: Patch = options.patch
        widths = options.widths
        seen = patched(spec, options.patch, "model.network.patch")
        if min(seen.height, seen.width) < 2 ** (len(widths) - 1):
            raise RecipeError(
                f"model.network.widths: {len(widths)} resolutions are more than pictures of "
                f"{spec.height}×{spec.width} in squares of {self.patch}×{self.patch} have; give fewer widths."
            )
        channels, embedding = seen.channels, options.embedding
        self.embedding = Embedding(embedding, conditions, shortcuts)
        self.enter = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Blocks(width, width, embedding, options.blocks) for width in widths)
        self.narrow = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.middle = Block(widths[-1], widths[-1], embedding)
        self.attention = Attention(widths[-1]) if options.attention else nn.Identity()
        self.up = nn.ModuleList(Blocks(2 * width, width, embedding, options.blocks) for width in widths)
        self.widen = nn.ModuleList(nn.Conv2d(after, before, 3, padding=1) for before, after in pairwise(widths))
        self.norm, self.leave = norm_layer("group", widths[0]), silent(nn.Conv2d(widths[0], channels, 3, padding=1))

    def forward(
        self, x: Pictures, t: Times, condition: Condition | None = None, step: Times | None = None
    ) -> Pictures:  # fmt: skip
        """The velocity at each picture."""
        at = self.embedding(t, condition, step)
        x = self.enter(into_patches(x, self.patch))
        kept = []
        for level, blocks in enumerate(self.down):
            x = self.narrow[level - 1](x) if level else x
            x = blocks(x, at)
            kept.append(x)
        x = self.attention(self.middle(x, at))
        for level in reversed(range(len(self.up))):
            across = kept[level]
            if level < len(self.widen):
                x = self.widen[level](F.interpolate(x, across.shape[2:], mode="nearest"))
            x = self.up[level](torch.cat([x, across], dim=1), at)
        return out_of_patches(self.leave(F.silu(self.norm(x))), self.patch)
