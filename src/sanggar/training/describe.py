"""What a recipe would do on this machine: layers, phases, options, and what it would cost."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from sanggar import recipe as recipes
from sanggar.data.batches import Batches
from sanggar.data.images import Attribute, Images
from sanggar.errors import RecipeError
from sanggar.files import Tree
from sanggar.plan import Plan, resolve
from sanggar.resources import check_memory
from sanggar.training.learners.base import Layer
from sanggar.training.start import learner_of

TIMED_STEPS = 7


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
    phases: list[str]
    cost: Cost
    machine: Tree

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        table = "\n".join(
            f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:>{widths[2]}}  {count:>{widths[3]}}"
            for name, kind, shape, count in rows
        )
        device, cost = self.machine["device"], self.cost
        beside = "beside PyTorch's own" if "torch" in self.machine["versions"] else "beside Python's own"
        hours, rest = divmod(round(cost.steps * cost.seconds_a_step), 3600)
        duration = f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
        return (
            f"{self.plan.name}\n{self.plan.about}\n\n{table}\n{self._totals()}\n\n"
            f"Phases of a step: {'; '.join(self.phases)}\n\n"
            f"On {device['name']} ({device['kind']}, {device['precision']}): about {duration} for {cost.steps:,} steps "
            f"at {cost.seconds_a_step * 1000:.1f} ms, validation aside; {_mega(cost.memory_bytes)} of memory "
            f"{beside}; {_mega(cost.disk_bytes)} of disk.\n\n{self.plan.yaml()}"
        )

    def _rows(self) -> list[tuple[str, str, str, str]]:
        of_layers = (
            (x.name, x.kind, "×".join(map(str, x.shape)) or "–", f"{x.parameters + x.measured:,}") for x in self.layers
        )
        return [("layer", "kind", "output", "parameters"), *of_layers]

    def _totals(self) -> str:
        """Of the whole, or of each part where several phases train them; measured numbers count, as in Keras."""
        parts = dict.fromkeys(layer.name.split(".")[0] for layer in self.layers) if len(self.phases) > 1 else [""]
        lines = []
        for part in parts:
            mine = [layer for layer in self.layers if layer.name.split(".")[0] == part or not part]
            trained, measured = sum(x.parameters for x in mine), sum(x.measured for x in mine)
            split = f" ({trained:,} trained, {measured:,} measured)" if measured else ""
            lines.append(f"{part or 'all'}: {trained + measured:,} parameters{split}".removeprefix("all: "))
        return "\n".join(lines)


def describe(source: str | Path | recipes.Recipe, overrides: Sequence[str] = ()) -> Description:
    """Resolve a recipe, build its network, and time a few steps on made-up pictures.

    Needs no data, unless they are pictures of one's own: only their files can say what is known of them.
    """
    plan = resolve(recipes.read(source, [*overrides, "training.compile=false", "training.tracker=null"]))
    spec, training = plan.spec, plan.training
    shape = (spec.height, spec.width, spec.channels)
    made_up = training.batch_size * 64 * math.prod(shape)
    check_memory(8 * made_up, f"training.batch_size: batches of {training.batch_size:,} pictures", RecipeError)
    generator = np.random.default_rng(0)
    count = training.batch_size * 64
    pixels = generator.integers(0, 256, (count, *shape), np.uint8)
    columns = [_made_up(column, count, generator) for column in spec.attributes]
    attributes = np.stack(columns, axis=1).astype(np.float32) if columns else None
    images = Images(pixels, generator.integers(0, max(1, len(spec.classes)), count), attributes)
    learner = learner_of(plan, spec)
    batches = Batches(images, training.batch_size, training.seed, learner.draws)
    layers = learner.layers(batches.at(0)[0])
    per_epoch = max(1, plan.source.counted(plan.data) // (training.batch_size * learner.draws))
    steps = training.total_steps(per_epoch)
    seconds, stretches = 0.0, learner.stretches(steps)
    for first, end in stretches:
        count, timed = TIMED_STEPS, list[float]()
        if len(stretches) > 1:  # else it stays a training of one step, at whose end all is grown
            learner.steps, count = steps, min(TIMED_STEPS, end - first)
        for step in range(first, first + count):
            began = time.perf_counter()
            learner.read([learner.step(step, batches.at(step))])
            timed.append(time.perf_counter() - began)
        seconds += (end - first) / steps * statistics.median(timed[2:] or timed)
    state = sum(array.nbytes for array in learner.state().values())
    weights = sum(array.nbytes for array in learner.weights().values())
    cost = Cost(
        steps,
        seconds,
        state + weights + 2 * sum(layer.output_bytes for layer in layers) + plan.source.memory(plan.data),
        state + weights,
    )
    description = Description(plan, layers, learner.phases(), cost, learner.describe())
    learner.close()
    return description


def _made_up(column: Attribute, count: int, generator: np.random.Generator) -> Float64[np.ndarray, "n"]:
    if column.kind == "number":
        return generator.normal(column.mean, column.deviation, count)
    return generator.integers(0, len(column.values), count).astype(np.float64)


def _mega(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
