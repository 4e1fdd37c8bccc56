"""Parts that families are built of: activations, norms, residual blocks, a convolutional encoder and decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sanggar.models.family import Latents, Pictures

Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
Norm = Literal["none", "batch", "group"]

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


def norm_layer(kind: Norm, width: int) -> nn.Module:
    """A norm over `width` channels; groups of 8 channels for group norm (Wu & He 2018, arXiv:1803.08494)."""
    if kind == "batch":
        return nn.BatchNorm2d(width)
    if kind == "group":
        return nn.GroupNorm(max(1, width // 8), width)
    return nn.Identity()


class ResidualBlock(nn.Module):
    """x + f(x) with two 3×3 convolutions, norm and activation before each (He et al. 2016, arXiv:1603.05027)."""

    def __init__(self, width: int, style: Style) -> None:
        super().__init__()
        last = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(last.weight)  # each block begins as the identity
        act, norm = ACTIVATIONS[style.activation], style.norm
        self.body = nn.Sequential(
            norm_layer(norm, width),
            act(),
            nn.Conv2d(width, width, 3, padding=1),
            norm_layer(norm, width),
            act(),
            last,
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input with the block's correction added."""
        corrected: Tensor = x + self.body(x)
        return corrected


def halvings(size: tuple[int, int], times: int) -> list[tuple[int, int]]:
    """Height and width at each of `times` + 1 resolutions, each half of the one before, rounded up."""
    sizes = [size]
    for _ in range(times):
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes


class Encoder(nn.Module):
    """Pictures to `outputs` numbers: a stride-2 convolution a width, residual blocks after it, then one dense layer."""

    def __init__(
        self, channels: int, size: tuple[int, int], widths: Sequence[int], outputs: int,
        style: Style,
    ) -> None:  # fmt: skip
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, *widths)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1)]
            layers += [ResidualBlock(after, style) for _ in range(style.blocks)]
            layers += [norm_layer(style.norm, after), ACTIVATIONS[style.activation]()]
        height, width = halvings(size, len(widths))[-1]
        self.convolutions = nn.Sequential(*_without_identities(layers))
        self.dense = nn.Linear(widths[-1] * height * width, outputs)

    def forward(self, images: Pictures) -> Float[Tensor, "batch outputs"]:
        """The code of each picture."""
        return self.dense(self.convolutions(images).flatten(1))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """The encoder in reverse: a dense layer, then blocks and a stride-2 transposed convolution a width."""

    def __init__(
        self, channels: int, size: tuple[int, int], widths: Sequence[int], inputs: int,
        style: Style,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = halvings(size, len(widths))[::-1]
        steps = list(pairwise((*reversed(widths), channels)))
        self.start = (widths[-1], *sizes[0])
        self.dense = nn.Linear(inputs, widths[-1] * sizes[0][0] * sizes[0][1])
        layers: list[nn.Module] = []
        for (before, after), small, large in zip(steps, sizes, sizes[1:], strict=False):
            layers += [ResidualBlock(before, style) for _ in range(style.blocks)]
            layers += [norm_layer(style.norm, before), ACTIVATIONS[style.activation]()]
            odd = (large[0] - (2 * small[0] - 1), large[1] - (2 * small[1] - 1))
            layers += [nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=odd)]
        self.convolutions = nn.Sequential(*_without_identities(layers))

    def forward(self, latents: Latents) -> Pictures:
        """The raw picture of each code."""
        start = self.dense(latents).unflatten(1, self.start)
        return self.convolutions(start.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]


def _without_identities(layers: list[nn.Module]) -> list[nn.Module]:
    return [layer for layer in layers if not isinstance(layer, nn.Identity)]
