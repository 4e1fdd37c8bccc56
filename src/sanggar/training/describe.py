"""What a recipe would do on this machine: layers, phases, options, and what it would cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from sanggar import recipe as recipes
from sanggar.data.batches import Batches
from sanggar.data.images import Images
from sanggar.models.family import Phase
from sanggar.models.optimizers import OptimizerOptions
from sanggar.plan import Plan, resolve
from sanggar.training.learner import TorchLearner

TIMED_STEPS = 7


@dataclass(frozen=True)
class Layer:
    """One layer as a batch goes through it."""

    name: str
    kind: str
    shape: tuple[int, ...]
    """of its output for one picture"""
    parameters: int
    output_bytes: int
    """of its output for a whole batch"""


@dataclass(frozen=True)
class Cost:
    """An estimate for this machine; time is measured on a few steps, memory and disk are counted."""

    steps: int
    seconds_a_step: float
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class Description:
    """All that `sanggar describe` says."""

    plan: Plan
    layers: list[Layer]
    parameters: int
    phases: list[str]
    cost: Cost
    machine: dict[str, Any]

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        table = "\n".join(
            f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:>{widths[2]}}  {count:>{widths[3]}}"
            for name, kind, shape, count in rows
        )
        device, cost = self.machine["device"], self.cost
        hours, rest = divmod(round(cost.steps * cost.seconds_a_step), 3600)
        duration = f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
        return (
            f"{self.plan.name}\n{self.plan.about}\n\n{table}\n{self.parameters:,} parameters\n\n"
            f"Phases of a step: {'; '.join(self.phases)}\n\n"
            f"On {device['name']} ({device['kind']}, {device['precision']}): about {duration} for {cost.steps:,} steps "
            f"at {cost.seconds_a_step * 1000:.1f} ms, validation aside; {_mega(cost.memory_bytes)} of memory beside "
            f"PyTorch's own; {_mega(cost.disk_bytes)} of disk.\n\n{self.plan.yaml()}"
        )

    def _rows(self) -> list[tuple[str, str, str, str]]:
        head = ("layer", "kind", "output", "parameters")
        return [
            head,
            *((x.name, x.kind, "×".join(map(str, x.shape)), f"{x.parameters:,}") for x in self.layers),
        ]


def describe(source: str | Path | recipes.Recipe, overrides: Sequence[str] = ()) -> Description:
    """Resolve a recipe, build its network, and time a few steps on made-up pictures; needs no data."""
    plan = resolve(recipes.read(source, [*overrides, "training.compile=false", "training.tracker=null"]))
    facts, training = plan.source.facts, plan.training
    generator = np.random.default_rng(0)
    count = training.batch_size * 64
    pixels = generator.integers(0, 256, (count, facts.height, facts.width, facts.channels), np.uint8)
    images = Images(pixels, generator.integers(0, max(1, len(facts.classes)), count))
    learner = TorchLearner(plan, facts)
    batches = Batches(images, training.batch_size, training.seed, learner.draws)
    layers = _layers(learner, batches)
    seconds = []
    for step in range(TIMED_STEPS):
        began = time.perf_counter()
        learner.read([learner.step(step, batches.at(step))])
        seconds.append(time.perf_counter() - began)
    per_epoch = max(1, (plan.source.train_count - plan.data.validation) // (training.batch_size * learner.draws))
    state = sum(array.nbytes for array in learner.state().values())
    weights = sum(array.nbytes for array in learner.weights().values())
    cost = Cost(
        training.total_steps(per_epoch),
        statistics.median(seconds[2:]),
        state + weights + 2 * sum(layer.output_bytes for layer in layers) + plan.source.bytes,
        state + weights,
    )
    parameters = sum(p.numel() for p in learner.model.parameters())
    phases = [_phase(phase, phase.optimizer or training.optimizer) for phase in learner.phases]
    return Description(plan, layers, parameters, phases, cost, learner.describe())


def _layers(learner: TorchLearner, batches: Batches) -> list[Layer]:
    """The leaves of the module tree in the order in which a step calls them first."""
    found: dict[str, Layer] = {}
    hooks = []
    for name, module in learner.model.named_modules():
        if not list(module.children()):

            def note(module: nn.Module, _: Any, output: Tensor, name: str = name) -> None:
                count = sum(p.numel() for p in module.parameters(recurse=False))
                size = output.numel() * output.element_size()
                found.setdefault(name, Layer(name, type(module).__name__, tuple(output.shape[1:]), count, size))

            hooks.append(module.register_forward_hook(note))
    learner.step(0, batches.at(0))
    for hook in hooks:
        hook.remove()
    return list(found.values())


def _phase(phase: Phase, options: OptimizerOptions) -> str:
    count = sum(p.numel() for p in phase.parameters)
    times = f", {phase.batches} times on fresh batches" if phase.batches > 1 else ""
    return f"{phase.name} ({options.kind}, learning rate {options.learning_rate:g}, {count:,} parameters{times})"


def _mega(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
