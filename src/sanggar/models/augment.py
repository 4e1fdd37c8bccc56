"""Augmentation: small random changes to pictures, in batches, that gradients flow through.

It serves twice: on training pictures, so that a network sees each of them in many ways, and inside a critic, on
real and generated pictures alike (Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training";
Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", whose probability adapts).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from sanggar.models.base import Pictures, StepContext
from sanggar.options import Options

PerPicture = Float[Tensor, "batch"]
Probability = float | Float[Tensor, ""]


class AugmentationOptions(Options):
    """What is done to pictures at random. What lies beyond the border is the picture mirrored there."""

    flip: bool = False
    """mirror half of them left to right: not for digits or letters"""
    rotation: float = Field(default=0, ge=0, le=180)
    """largest angle in degrees, either way"""
    translation: float = Field(default=0, ge=0, le=0.5)
    """longest way, as a share of width and of height, either way; in whole pixels"""
    colour: float = Field(default=0, ge=0, le=1)
    """strength of changes to brightness, saturation and contrast; 1: as Zhao et al."""
    cutout: float = Field(default=0, ge=0, le=1)
    """side of a square painted mid grey, as a share of width and of height; it may lie partly outside"""

    @property
    def active(self) -> bool:
        """Whether anything is done at all."""
        return self.flip or any((self.rotation, self.translation, self.colour, self.cutout))


def augment(
    images: Pictures, options: AugmentationOptions, context: StepContext, purpose: str, probability: Probability = 1.0
) -> Pictures:
    """`images` (in [-1, 1]), each changed in its own way: a function of the context and of `purpose`.

    Each transformation is applied to each picture with `probability`, independently; the others leave it exactly
    as it was. A flip is a fair coin on top of that. The order: flip, translation, rotation, colour, cutout. Flip,
    translation and cutout are exact, rotation is bilinear; colours may leave [-1, 1] and are not clamped, so
    that gradients flow. Always float32, in the memory order given.
    """
    if not options.active or (isinstance(probability, float) and probability == 0):
        return images
    height, width = images.shape[2:]

    def chosen(name: str) -> Bool[Tensor, "batch"]:
        return context.uniform(f"{purpose} {name}?", ()) < probability

    def spread(name: str) -> Float[Tensor, "batch"]:
        return context.uniform(f"{purpose} {name}", ()) * 2 - 1

    with torch.autocast(images.device.type, enabled=False):
        images = images if images.dtype == torch.float64 else images.float()
        if options.flip or options.translation:
            coin = context.uniform(f"{purpose} flip", ())
            flipped = coin < probability / 2 if options.flip else torch.zeros_like(coin, dtype=torch.bool)
            drawn, moving = context.uniform(f"{purpose} translation", (2,)), chosen("translation")
            longest = (round(options.translation * side) for side in (height, width))
            # one of 2·most + 1 ways, from -most to most
            down, right = (((drawn[:, i] * (2 * most + 1)).long() - most) * moving for i, most in enumerate(longest))
            images = move(images, flipped, down, right)
        if options.rotation:
            turned = rotate(images, spread("rotation") * options.rotation)
            images = torch.where(chosen("rotation")[:, None, None, None], turned, images)
        if options.colour:
            brightness, saturation, contrast = (
                spread(name) * options.colour * chosen(name) for name in ("brightness", "saturation", "contrast")
            )
            images = recolour(images, brightness / 2, 1 + saturation, 1 + contrast / 2)
        if options.cutout:
            centre = context.uniform(f"{purpose} cutout", (2,))
            images = cut_out(images, options.cutout, centre, chosen("cutout"))
        return images


def move(
    images: Pictures, flipped: Bool[Tensor, "batch"], down: Int64[Tensor, "batch"], right: Int64[Tensor, "batch"]
) -> Pictures:
    """Each picture mirrored left to right where `flipped`, then moved by whole pixels: an exact copy of pixels."""
    n, channels, height, width = images.shape
    device = images.device
    rows = _mirrored(torch.arange(height, device=device) - down[:, None], height)
    columns = _mirrored(torch.arange(width, device=device) - right[:, None], width)
    columns = torch.where(flipped[:, None], width - 1 - columns, columns)
    first = torch.arange(n, device=device)[:, None, None] * (height * width)
    index = (first + rows[:, :, None] * width + columns[:, None, :]).flatten()
    # pixels as rows of a table: one gather for all channels, which is how channels-last pictures lie anyway
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, index)
    return _lying_as(images, pixels.view(n, height, width, channels).permute(0, 3, 1, 2))


def rotate(images: Pictures, degrees: PerPicture) -> Pictures:
    """Each picture turned about its centre by its own angle, anticlockwise, bilinear."""
    angle = degrees.to(images.dtype)[:, None, None] * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    height, width = images.shape[2:]
    places = torch.arange(max(height, width), dtype=images.dtype, device=images.device) * 2 + 1
    down, right = (places[:height] - height)[:, None], places[:width] - width  # from the centre, in half pixels
    # where each pixel comes from, each way from -1 to 1
    grid = torch.stack([(right * cos - down * sin) / width, (right * sin + down * cos) / height], dim=-1)
    turned = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return _lying_as(images, turned)


def recolour(images: Pictures, brightness: PerPicture, saturation: PerPicture, contrast: PerPicture) -> Pictures:
    """Brightness is added, saturation scales the distance to a pixel's grey, contrast that to the picture's mean.

    Zhao et al. 2020 do this one after the other. The means of a step do not change in the next, so that all three
    make one sum: with s, c and b, the pixel x becomes c·s·x + c·(1-s)·grey + (1-c)·mean + b.
    """
    b, s, c = (value.to(images.dtype).view(-1, 1, 1, 1) for value in (brightness, saturation, contrast))
    grey = images.mean(dim=1, keepdim=True)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    rest = (1 - c) * mean + b
    if images.shape[1] == 1:  # a grey picture has nothing to saturate
        return images * c + rest
    return images * (c * s) + (grey * (c * (1 - s)) + rest)


def cut_out(images: Pictures, side: float, centre: Float[Tensor, "batch 2"], chosen: Bool[Tensor, "batch"]) -> Pictures:
    """The chosen pictures with a rectangle of zeros, `side` of the width and of the height; `centre` in [0, 1)."""

    def covered(length: int, place: PerPicture) -> Bool[Tensor, "batch length"]:
        long = round(side * length)
        start = (place * (length + 1 - long % 2)).long()[:, None] - long // 2
        pixels = torch.arange(length, device=images.device)
        return (pixels >= start) & (pixels < start + long)

    rows, columns = (covered(length, centre[:, i]) for i, length in enumerate(images.shape[2:]))
    hidden = (rows & chosen[:, None])[:, None, :, None] & columns[:, None, None, :]
    return images * ~hidden


def _mirrored(index: Int64[Tensor, "batch length"], length: int) -> Int64[Tensor, "batch length"]:
    """Indices brought inside by mirroring at the border, which lies beside the outermost pixels."""
    index = index.remainder(2 * length)
    return torch.minimum(index, 2 * length - 1 - index)


def _lying_as(images: Pictures, result: Pictures) -> Pictures:
    lies = torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return result.contiguous(memory_format=lies)
