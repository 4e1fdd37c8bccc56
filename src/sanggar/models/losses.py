"""Losses over pictures, each a mean over pixels and batch, in float32 whatever the precision of the network."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sanggar.models.base import Pictures

PixelLoss = Literal["mse", "l1", "bce", "psnr"]

BIN = 2 / 255
"""Width of a pixel's value on [-1, 1]"""


def pixel_loss(kind: PixelLoss, raw: Pictures, target: Pictures) -> Float[Tensor, ""]:
    """How far what a decoder gives is from `target` (float32 in [-1, 1]).

    For `mse`, `l1` and `psnr`, `raw` is the picture in [-1, 1]. `psnr` is minus the peak signal-to-noise ratio in dB,
    averaged over pictures: what a denoiser is judged by, where `mse` would let the hardest pictures rule; an error
    below 1e-4 counts little. For `bce`, `raw` is the logit of a pixel's brightness, of
    which (target + 1) / 2 is the wanted probability.
    """
    raw, target = raw.float(), target.float()
    if kind == "mse":
        return F.mse_loss(raw, target)
    if kind == "l1":
        return F.l1_loss(raw, target)
    if kind == "psnr":
        errors = (raw - target).square().mean(dim=(1, 2, 3))
        return 10 * torch.log10((errors + 1e-4) / 4).mean()  # 4: the square of the range [-1, 1]
    return F.binary_cross_entropy_with_logits(raw, (target + 1) / 2)


def to_picture(kind: PixelLoss, raw: Pictures) -> Pictures:
    """What a decoder gives as a picture in [-1, 1]: for logits, 2·sigmoid(raw) − 1 = tanh(raw / 2)."""
    return torch.tanh(raw.float() / 2) if kind == "bce" else raw.float()
