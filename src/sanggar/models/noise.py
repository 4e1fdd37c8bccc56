"""Disturbing pictures: the noise that a denoiser learns to undo, in training and in measuring alike."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sanggar.models.base import Pictures, StepContext
from sanggar.options import Options

Level = Annotated[float, Field(ge=0, le=2)]


class NoiseOptions(Options):
    """Noise added to pictures in [-1, 1]; the result is clamped to [-1, 1], as a stored picture would be."""

    kind: Literal["gaussian", "masking", "salt-and-pepper"] = "gaussian"
    """added normal noise; pixels set to black; pixels set to black or white"""
    level: Level | tuple[Level, Level] = 0.3
    """deviation of the normal noise on the scale [-1, 1], or share of pixels hit; two numbers: drawn anew for
    each picture, uniformly between them; 0: none, a plain autoencoder"""

    @model_validator(mode="after")
    def _check(self) -> NoiseOptions:
        low, high = self.bounds
        if low > high:
            raise ValueError(f"level: the range {low}…{high} runs backwards")
        if self.kind != "gaussian" and high > 1:
            raise ValueError(f"level: a share of pixels is at most 1, got {high}")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest level."""
        return self.level if isinstance(self.level, tuple) else (self.level, self.level)

    @property
    def typical(self) -> float:
        """The level that a run is measured at: the middle of its range."""
        return sum(self.bounds) / 2


def disturb(images: Pictures, noise: NoiseOptions, context: StepContext, level: float | None = None) -> Pictures:
    """`images` (float32 in [-1, 1]) with noise, clamped to [-1, 1]; `level` overrides the option's.

    Always float32: draws and sums in lower precision would change what the network is asked to do.
    """
    low, high = noise.bounds if level is None else (level, level)
    if high == 0:
        return images
    if low == high:
        amount: Pictures | float = low
    else:
        amount = low + (high - low) * context.uniform("noise level", (1, 1, 1))
    # one draw for all channels of a pixel where pixels are lost, one for each where noise is added
    shape = images.shape[1:]
    if noise.kind == "gaussian":
        return (images + amount * context.normal("noise", shape)).clamp_(-1, 1)
    draw = context.uniform("noise", (1, *shape[1:]))
    if noise.kind == "masking":
        return images.masked_fill(draw < amount, -1.0)
    return images.masked_fill(draw < amount / 2, -1.0).masked_fill(draw > 1 - amount / 2, 1.0)
