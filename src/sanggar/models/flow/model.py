"""The family of flows: pictures from noise along a learned velocity (see `matching`), and noise from pictures."""

from __future__ import annotations

import math
from math import prod
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from sanggar.data.images import ImageSpec
from sanggar.models.base import Batch, Latents, Model, Phase, Pictures, SamplingOptions, StepContext, Terms, alone
from sanggar.models.conditions import Condition, Conditions, Names
from sanggar.models.flow.matching import (
    EXACT,
    SOLVERS,
    FlowSampling,
    Nats,
    Points,
    Times,
    alike,
    between,
    check_sampling,
    even_times,
    follow,
    gradients,
    guided,
    log_density,
    matching_error,
    mean_square,
    take_shortcuts,
)
from sanggar.models.flow.networks import UNetOptions
from sanggar.models.losses import BIN
from sanggar.options import Options

SHORTEST = 7
"""Shortcuts are learned in steps of 1/64, 1/32, … 1; the halves of the shortest, 2 to the power of −7 long, are steps
along the velocity"""


class Shortcuts(Options):
    """The network also learns long steps: each as two of half its length (Frans et al. 2025, arXiv:2410.12557)."""

    share: float = Field(default=0.25, gt=0, lt=1)
    """share of the pictures that they are learned from, in place of the velocity"""


class FlowOptions(Options):
    """A network that knows the velocity at a picture between noise and data."""

    family: Literal["flow"] = "flow"
    network: UNetOptions = UNetOptions()
    condition: Names = ()
    """what the network is conditioned on: `class`, or names of attributes"""
    condition_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """share of the training pictures without any condition, and share of the others of which each single name is left
    out; above 0 the network samples unconditionally too, and can be guided"""
    shortcuts: Shortcuts | None = None


class BinProbability:
    """Facts about p(x): pixels are spread evenly over their bins, so that a density bounds a probability."""

    discrete = True
    pixels = "8 bits, by the probability of a bin"


class Flow(Model):
    """A model of family `flow`. It samples, encodes pictures as the noise they come from, and knows their density."""

    Options: ClassVar[type[Options]] = FlowOptions
    SamplingOptions: type[SamplingOptions] = FlowSampling
    conditions: Conditions
    latent_size: int
    costly = frozenset({"encode", "decode", "reconstruct"})
    likelihood = BinProbability()

    def __init__(self, options: FlowOptions, spec: ImageSpec) -> None:
        super().__init__()
        self.options, self.spec = options, spec
        self.noise_shape, self.latent_size = (spec.channels, spec.height, spec.width), prod(spec.shape)
        self.conditions = Conditions(options.condition, spec)
        self.unconditional = not options.condition or options.condition_dropout > 0
        self.network = options.network.build(spec, self.conditions, options.shortcuts is not None)
        self.solvers = (*SOLVERS, *(["shortcut"] if options.shortcuts is not None else []))
        self.divisible = alone(self)
        if not self.unconditional:
            self.lacks = frozenset({"encode", "decode", "reconstruct", "log_density"})

    def phases(self) -> list[Phase]:
        """One phase: all parameters."""
        return [Phase("flow", list(self.parameters()), self.loss)]

    # -- the loss ------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, context: StepContext) -> Terms:
        """Mean squared error of the velocity; and of shortcuts, of the pictures that these are learned from."""
        condition = self.conditions.of_batch(batch, context, self.options.condition_dropout)
        x1, x0 = self._continuous(batch.images, context), context.normal("noise", self.noise_shape)
        if self.options.shortcuts is None:
            t = even_times(context)
            return {"velocity": matching_error(lambda x, t: self.network(x, t, condition), x0, x1, t).mean()}
        return self._with_shortcuts(x0, x1, condition, context, self.options.shortcuts.share)

    def _continuous(self, images: Pictures, context: StepContext) -> Pictures:
        """Pictures spread evenly over the bins of their 8 bits, so that there is a density to learn."""
        return images + BIN * (context.uniform("bins", self.noise_shape) - 0.5)

    def _with_shortcuts(
        self, x0: Points, x1: Points, condition: Condition | None, context: StepContext, share: float
    ) -> Terms:
        """The two errors, each over its pictures and in the mean over all; one pass through the network for both."""
        t = even_times(context)
        of_steps = context.uniform("shortcuts", (1,))[:, 0] < share
        power = (context.uniform("step", (1,))[:, 0] * SHORTEST).floor()  # of half a shortcut: 1/2 … 1/128
        half = torch.where(of_steps, 2.0 ** -(power + 1), torch.zeros_like(t))
        t = torch.where(of_steps, (t / (2 * half)).floor() * 2 * half, t)  # shortcuts begin where steps end
        x = between(x0, x1, t)
        target = torch.where(alike(of_steps, x), self._of_two_halves(x, t, half, condition, of_steps), x1 - x0)
        error = mean_square(self.network(x, t, condition, 2 * half).float() - target)
        return {
            "velocity": torch.where(of_steps, 0.0, error).mean(),
            "shortcut": torch.where(of_steps, error, 0.0).mean(),
        }

    @torch.no_grad()
    def _of_two_halves(
        self, x: Points, t: Times, half: Times, condition: Condition | None, chosen: Bool[Tensor, "batch"]
    ) -> Points:
        """Mean velocity over two steps of half a shortcut's length, of the chosen pictures; zeros for the others.

        The shortest halves are the velocity's own, which the network is told as steps of length 0.
        """
        found = torch.zeros_like(x)
        x, t, half = x[chosen], t[chosen], half[chosen]
        if not len(x):
            return found
        rows = None if condition is None else condition[chosen]
        told = torch.where(half > 2.0**-SHORTEST, half, torch.zeros_like(half))
        first = self.network(x, t, rows, told).float()
        second = self.network(x + alike(half, x) * first, t + half, rows, told).float()
        found[chosen] = (first + second) / 2
        return found

    # -- in use ------------------------------------------------------------------------------------------------

    def sample(self, noise: Pictures, condition: Condition | None, options: FlowSampling) -> Pictures:
        """Picture of each noise, under a condition; None: unconditional. Raises RunError, see `check_sampling`."""
        shortcuts = self.options.shortcuts is not None
        check_sampling(options, condition, unconditional=self.unconditional, shortcuts=shortcuts)
        noise = noise * options.temperature
        if options.solver == "shortcut":
            return take_shortcuts(self.network, noise, condition, options.steps).clamp(-1, 1)
        velocity = guided(self.network, condition, options.guidance)
        return follow(velocity, noise, options.solver, options.steps).clamp(-1, 1)

    def encode(self, images: Pictures) -> Latents:
        """The noise that each picture comes from, unconditionally: the flow backwards."""
        return follow(self.network, images, *EXACT, backwards=True).flatten(1)

    def decode(self, latents: Latents, condition: Condition | None = None) -> Pictures:
        """The picture that each noise leads to, under a condition; None: unconditional."""
        velocity = guided(self.network, condition, 1.0)
        return follow(velocity, latents.reshape(-1, *self.noise_shape), *EXACT).clamp(-1, 1)

    def reconstruct(self, images: Pictures) -> Pictures:
        """`decode(encode(images))`: there and back again, equal up to the steps' error."""
        return self.decode(self.encode(images))

    def log_density(self, images: Pictures, noise: Pictures, condition: Condition | None = None) -> Nats:
        """Lower bound on the log probability of each picture's 8 bits, in nats, up to the error of the flow's steps.

        Of numbers drawn with a deviation of 0.6 bins, that error is below 0.01 nats each.
        `noise` is uniform in [0, 1), of the pictures' shape: its first binary digit gives the signs of Hutchinson's
        estimate, the others place a picture in its pixels' bins.
        """
        sign = torch.where((noise * 2).floor() > 0, 1.0, -1.0)
        place = (noise * 2).frac()
        points = images + BIN * (place - 0.5)
        with gradients():  # a clone is no longer bound to inference
            rows = None if condition is None else condition.clone()
            velocity = guided(self.network, rows, 1.0)
            density = log_density(velocity, points.clone(), sign.clone(), *EXACT)
        return density.detach() + self.latent_size * math.log(BIN)
