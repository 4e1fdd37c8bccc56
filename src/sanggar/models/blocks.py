"""Parts that families are built of: activations, norms, residual blocks, a convolutional encoder and decoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from sanggar.data.images import ImageSpec
from sanggar.errors import RecipeError
from sanggar.models.base import Latents, Pictures
from sanggar.models.linear import LinearDecoder, LinearEncoder, begin

Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
Norm = Literal["none", "batch", "group", "instance", "pixel"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@dataclass(frozen=True)
class Style:
    """What the convolutional parts of a network have in common."""

    blocks: int
    """residual blocks at each resolution"""
    activation: Activation
    norm: Norm
    residual: bool = True
    """whether a block adds to what it is given, or replaces it"""
    scales: bool = False
    """whether the code is read from every resolution, and the picture painted at every one"""


def norm_layer(kind: Norm, width: int) -> nn.Module:
    """A norm over `width` channels.

    Batch (Ioffe & Szegedy 2015, arXiv:1502.03167), groups of 8 channels (Wu & He 2018, arXiv:1803.08494), each channel
    of each picture (Ulyanov et al. 2016, arXiv:1607.08022), each pixel.
    """
    if kind == "batch":
        return nn.BatchNorm2d(width)
    if kind == "group":
        return nn.GroupNorm(width // 8 if width % 8 == 0 else 1, width)
    if kind == "instance":
        return nn.InstanceNorm2d(width, affine=True)
    if kind == "pixel":
        return PixelNorm()
    return nn.Identity()


@contextmanager
def frozen_batch_stats(network: nn.Module) -> Iterator[None]:
    """Batch norms of a network in training go by the batch, and keep nothing of it for when it is in use."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum


def check_norm(kind: Norm, smallest: tuple[int, int]) -> None:
    """Raises RecipeError for an instance norm over a single pixel, which would make everything 0."""
    if kind == "instance" and smallest == (1, 1):
        raise RecipeError(
            "model: instance norm is taken over a picture's pixels, and these widths leave 1×1 of them; give fewer "
            "widths, or another norm."
        )


class PixelNorm(nn.Module):
    """Each pixel's channels divided by the root of their mean square (Karras et al. 2018, arXiv:1710.10196, 4.2)."""

    def forward(self, x: Float[Tensor, "b c *places"]) -> Float[Tensor, "b c *places"]:
        """Of the same shape."""
        found: Tensor = x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)
        return found


class ResidualBlock(nn.Module):
    """x + f(x) with two 3×3 convolutions, norm and activation before each (He et al. 2016, arXiv:1603.05027).

    Its plain twin has the same layers and nothing going round them: two convolutions, norm and activation after each,
    so that none stands beside another convolution without an activation between.
    """

    def __init__(self, width: int, style: Style) -> None:
        super().__init__()
        self.residual = style.residual
        last, first = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        one, other = ([norm_layer(style.norm, width), ACTIVATIONS[style.activation]()] for _ in range(2))
        if style.residual:
            nn.init.zeros_(last.weight)  # each block begins as next to nothing beside what goes round it
            self.body = nn.Sequential(*one, first, *other, last)
        else:
            self.body = nn.Sequential(first, *one, last, *other)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input with the block's correction added, or what a plain block makes of it."""
        found: Tensor = x + self.body(x) if self.residual else self.body(x)
        return found


Patch = Literal[1, 2, 4, 8]
"""Edge of the squares of pixels that stand in one place, as channels of it (Shi et al. 2016, arXiv:1609.05158)"""


def patched(spec: ImageSpec, patch: Patch, key: str) -> ImageSpec:
    """What pictures are as squares of pixels. Raises RecipeError that names `key` where these do not fill a picture."""
    if spec.height % patch or spec.width % patch:
        raise RecipeError(
            f"{key}: pictures of {spec.height}×{spec.width} are not filled by squares of {patch}×{patch}; choose a "
            "patch that divides both."
        )
    return replace(
        spec, height=spec.height // patch, width=spec.width // patch, channels=spec.channels * patch**2
    )  # fmt: skip


def into_patches(images: Pictures, patch: Patch) -> Float[Tensor, "b c h w"]:
    """Pictures with a square of pixels at each place, as channels of it."""
    return images if patch == 1 else nn.functional.pixel_unshuffle(images, patch)  # a copy in another order of memory


def out_of_patches(x: Float[Tensor, "b c h w"], patch: Patch) -> Pictures:
    """The pictures whose squares are the channels of each place."""
    return x if patch == 1 else nn.functional.pixel_shuffle(x, patch)


@dataclass(frozen=True)
class Ladder:
    """The resolutions that an encoder steps down and a decoder steps up."""

    channels: int
    """of a patch"""
    size: tuple[int, int]
    """patches of a picture's height and width"""
    patch: Patch
    widths: tuple[int, ...]
    """channels after each convolution"""
    strides: tuple[int, ...]
    """what each convolution divides height and width by, rounded up"""

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width before the first convolution and after each."""
        sizes = [self.size]
        for stride in self.strides:
            height, width = sizes[-1]
            sizes.append((-(-height // stride), -(-width // stride)))
        return sizes

    @property
    def end(self) -> tuple[int, int, int]:
        """Height, width and channels at the bottom."""
        return (*self.sizes[-1], self.widths[-1])


class Upsample(nn.ConvTranspose2d):
    """A transposed 3×3 convolution from `small` to `large`: what a convolution of that stride undoes.

    PyTorch's own arithmetic, but for the bias: without output padding, oneDNN's transposed convolution is several
    times slower with a bias inside than with the same bias added after.
    """

    def __init__(self, before: int, after: int, stride: int, small: tuple[int, int], large: tuple[int, int]) -> None:
        odd = (large[0] - stride * (small[0] - 1) - 1, large[1] - stride * (small[1] - 1) - 1)
        super().__init__(before, after, 3, stride=stride, padding=1, output_padding=odd)

    def forward(self, x: Float[Tensor, "b c h w"], output_size: list[int] | None = None) -> Float[Tensor, "b c2 h2 w2"]:
        """The enlarged picture or feature map."""
        if self.bias is None or self.output_padding != (0, 0):
            return super().forward(x)
        y = nn.functional.conv_transpose2d(x, self.weight, stride=self.stride, padding=1)
        return y + self.bias.to(y.dtype).view(-1, 1, 1)


class Encoder(nn.Module):
    """Pictures to `outputs` numbers: a convolution a width, residual blocks after it, then a dense layer.

    With `scales` the dense layer is also given the mean of each channel at every resolution before the last.
    """

    def __init__(self, ladder: Ladder, outputs: int, style: Style, linear: LinearEncoder | None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.ends: list[int] = []
        """layers after which a resolution is left, where they are looked at"""
        for (before, after), stride in zip(pairwise((ladder.channels, *ladder.widths)), ladder.strides, strict=True):
            if style.scales and layers:
                self.ends.append(len(layers))
            layers += [nn.Conv2d(before, after, 3, stride, padding=1), *norm_and_activation(style, after)]
            layers += [ResidualBlock(after, style) for _ in range(style.blocks)]
        self.convolutions, self.patch = nn.Sequential(*layers), ladder.patch
        seen = sum(ladder.widths[:-1]) if style.scales else 0
        self.dense = nn.Linear(prod(ladder.end) + seen, outputs)
        self.linear = linear

    def forward(self, images: Pictures) -> Float[Tensor, "batch outputs"]:
        """The code of each picture."""
        x, seen = into_patches(images, self.patch), []
        for start, end in pairwise([0, *self.ends, len(self.convolutions)]):
            x = self.convolutions[start:end](x)
            seen.append(x.mean(dim=(2, 3)))
        # height, width, channels: the order in memory, so that flattening moves nothing
        code: Tensor = self.dense(torch.cat([*seen[:-1], x.permute(0, 2, 3, 1).flatten(1)], dim=1))
        return code if self.linear is None else code + self.linear(images)


class Decoder(nn.Module):
    """The encoder in reverse: a dense layer, then blocks and a transposed convolution a width.

    With `scales` the picture is a sum: each resolution before the last adds one of its own, enlarged.
    """

    def __init__(self, ladder: Ladder, inputs: int, style: Style, linear: LinearDecoder | None) -> None:
        super().__init__()
        self.start, self.patch = ladder.end, ladder.patch
        self.dense = nn.Linear(inputs, prod(self.start))
        sizes = ladder.sizes
        steps = list(enumerate(zip(pairwise((ladder.channels, *ladder.widths)), ladder.strides, strict=True)))
        layers: list[nn.Module] = []
        self.ends: list[int] = []
        for step, ((after, before), stride) in reversed(steps):
            if style.scales and layers:
                self.ends.append(len(layers))
            layers += [ResidualBlock(before, style) for _ in range(style.blocks)]
            layers += [Upsample(before, after, stride, sizes[step + 1], sizes[step])]
            if step > 0:
                layers += norm_and_activation(style, after)
        self.convolutions = nn.Sequential(*layers)
        painted = reversed(ladder.widths[:-1]) if style.scales else ()
        self.painted = nn.ModuleList(nn.Conv2d(width, ladder.channels, 1) for width in painted)
        self.linear = linear

    def forward(self, latents: Latents) -> Pictures:
        """The raw picture of each code."""
        x: Tensor = self.dense(latents).unflatten(1, self.start).permute(0, 3, 1, 2)
        own = []
        for place, (start, end) in enumerate(pairwise([0, *self.ends, len(self.convolutions)])):
            x = self.convolutions[start:end](x)
            if place < len(self.painted):
                own.append(self.painted[place](x))
        size = x.shape[2:]
        for picture in own:
            x = x + nn.functional.interpolate(picture, size, mode="bilinear")
        x = out_of_patches(x, self.patch)
        return x if self.linear is None else x + self.linear(latents)


@runtime_checkable
class Shape(Protocol):
    """What options of a family say of its encoder and decoder."""

    @property
    def widths(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def strides(self) -> tuple[int, ...] | None: ...  # noqa: D102
    @property
    def patch(self) -> Patch: ...  # noqa: D102
    @property
    def blocks(self) -> int: ...  # noqa: D102
    @property
    def residual(self) -> bool: ...  # noqa: D102
    @property
    def scales(self) -> bool: ...  # noqa: D102
    @property
    def activation(self) -> Activation: ...  # noqa: D102
    @property
    def norm(self) -> Norm: ...  # noqa: D102
    @property
    def linear(self) -> bool: ...  # noqa: D102


def check_strides(shape: Shape) -> None:
    """Raises ValueError where there are not as many strides as widths."""
    if shape.strides is not None and len(shape.strides) != len(shape.widths):
        raise ValueError(f"strides: {len(shape.strides)} strides for {len(shape.widths)} widths")


def encoder_and_decoder(shape: Shape, spec: ImageSpec, outputs: int, inputs: int) -> tuple[Encoder, Decoder]:
    """Networks from pictures to `outputs` numbers, and from `inputs` numbers to raw pictures.

    Raises RecipeError where they do not fit the pictures.
    """
    seen = patched(spec, shape.patch, "model.patch")
    strides = shape.strides or (2,) * len(shape.widths)
    ladder = Ladder(seen.channels, (seen.height, seen.width), shape.patch, shape.widths, strides)
    check_norm(shape.norm, ladder.sizes[-1])
    style = Style(shape.blocks, shape.activation, shape.norm, shape.residual, shape.scales)
    inward, outward = (LinearEncoder(spec, outputs), LinearDecoder(spec, inputs)) if shape.linear else (None, None)
    return Encoder(ladder, outputs, style, inward), Decoder(ladder, inputs, style, outward)


@torch.no_grad()
def begin_linear(
    encoder: Encoder, decoder: Decoder, size: int, pixels: UInt8[np.ndarray, "n height width channels"],
    rate: float = 0.0,
) -> None:  # fmt: skip
    """Let the linear paths be the best ones of `size` latents, see `linear.begin`, and convolutions add nothing yet."""
    assert encoder.linear is not None and decoder.linear is not None
    for layer in (encoder.dense, decoder.convolutions[-1], *decoder.painted):
        for parameter in layer.parameters():
            parameter.zero_()
    begin(encoder.linear, decoder.linear, size, pixels, rate)


def norm_and_activation(style: Style, width: int) -> list[nn.Module]:
    """What follows a convolution."""
    norm = [] if style.norm == "none" else [norm_layer(style.norm, width)]
    return [*norm, ACTIVATIONS[style.activation]()]
