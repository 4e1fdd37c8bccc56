"""Optimizers and learning-rate schedules that a recipe can name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from sanggar.options import Options

Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Adam(Options):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980)."""

    kind: Literal["adam"] = "adam"
    learning_rate: Rate = 1e-3
    """size of a step; the schedule multiplies it"""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """decay of the running means of the gradient and of its square"""
    second_start: Share | None = None
    """the second of them at the beginning, from which it goes to `betas` along half a cosine: a short memory while much
    changes (R3GAN: Huang et al. 2024, arXiv:2501.05441); none: it stays as it is"""

    def build(self, parameters: Iterable[nn.Parameter], device: torch.device) -> torch.optim.Optimizer:
        """The optimizer over `parameters`."""
        return torch.optim.Adam(parameters, self.learning_rate, self.betas, fused=_fused(device))


class AdamW(Options):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101)."""

    kind: Literal["adamw"]
    learning_rate: Rate = 1e-3
    """size of a step; the schedule multiplies it"""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """decay of the running means of the gradient and of its square"""
    second_start: Share | None = None
    """the second of them at the beginning, from which it goes to `betas` along half a cosine; none: it stays"""
    weight_decay: float = Field(default=0.01, ge=0)
    """share of each weight, times the learning rate, that a step takes off"""

    def build(self, parameters: Iterable[nn.Parameter], device: torch.device) -> torch.optim.Optimizer:
        """The optimizer over `parameters`."""
        return torch.optim.AdamW(
            parameters, self.learning_rate, self.betas, weight_decay=self.weight_decay, fused=_fused(device)
        )


class SGD(Options):
    """Stochastic gradient descent, with momentum where it is above 0."""

    kind: Literal["sgd"]
    learning_rate: Rate = 1e-2
    """size of a step; the schedule multiplies it"""
    momentum: Share = 0.0
    """share of the last step that is added to the next"""
    nesterov: bool = False
    """take the gradient where the momentum leads (Nesterov 1983)"""

    @model_validator(mode="after")
    def _check(self) -> SGD:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    def build(self, parameters: Iterable[nn.Parameter], device: torch.device) -> torch.optim.Optimizer:
        """The optimizer over `parameters`."""
        return torch.optim.SGD(
            parameters, self.learning_rate, self.momentum, nesterov=self.nesterov, fused=_fused(device)
        )


class RMSProp(Options):
    """RMSProp (Tieleman & Hinton 2012, lecture 6.5)."""

    kind: Literal["rmsprop"]
    learning_rate: Rate = 1e-3
    """size of a step; the schedule multiplies it"""
    momentum: Share = 0.0
    """share of the last step that is added to the next"""
    smoothing: Share = 0.99
    """decay of the running mean of the squared gradient"""

    def build(self, parameters: Iterable[nn.Parameter], device: torch.device) -> torch.optim.Optimizer:
        """The optimizer over `parameters`."""
        return torch.optim.RMSprop(parameters, self.learning_rate, self.smoothing, momentum=self.momentum)


def betas_at(options: Adam | AdamW | SGD | RMSProp, done: float) -> tuple[float, float] | None:
    """What Adam's decays are when a share `done` of the training is over, where they change; else None."""
    if not isinstance(options, Adam | AdamW) or options.second_start is None:
        return None
    first, last = options.betas
    left = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return first, last + left * (options.second_start - last)


OptimizerOptions = Annotated[Adam | AdamW | SGD | RMSProp, Field(discriminator="kind")]


def _fused(device: torch.device) -> bool:
    """One kernel for the whole update: about three times faster than PyTorch's default on a CPU."""
    return device.type in ("cpu", "cuda")


class Constant(Options):
    """The learning rate stays as it is, after a linear warm-up where one is asked for."""

    kind: Literal["constant"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    """steps in which the learning rate rises from 0"""

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by at `step` (from 0) of `steps`."""
        return min(1.0, (step + 1) / (self.warmup_steps + 1))


class Cosine(Options):
    """Half a cosine from the full learning rate to `final` of it (Loshchilov & Hutter 2017, arXiv:1608.03983)."""

    kind: Literal["cosine"]
    warmup_steps: int = Field(default=0, ge=0)
    """steps in which the learning rate rises from 0"""
    final: float = Field(default=0.0, ge=0, le=1)
    """share of the learning rate that is left at the end"""

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by at `step` (from 0) of `steps`."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        way = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(1.0, way))) / 2


ScheduleOptions = Annotated[Constant | Cosine, Field(discriminator="kind")]
