"""A recipe trained from several seeds: every headline number as its mean over them, with a 95 % t-interval.

`SANGGAR_RECIPE` and `SANGGAR_SEEDS` choose another recipe than `fashion-vae`, and other seeds than 0 to 2.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from scipy.stats import t

import sanggar
from benchmarks.machine import silent
from sanggar import recipe
from sanggar.data.sources import presence
from sanggar.plan import resolve
from sanggar.reporting import labels
from sanggar.results import Measurement, headlines


def measured(name: str, seed: int) -> dict[str, Measurement]:
    """The headline numbers of one training, by their label."""
    with tempfile.TemporaryDirectory() as folder:
        run = sanggar.train(name, [f"training.seed={seed}"], out=Path(folder) / "run", watch=silent)
        seconds = run.info["totals"]["seconds"]
        first = headlines(sanggar.evaluation_of(sanggar.evaluate(run)))
    print(f"    seed {seed}: trained in {seconds:.0f} s", flush=True)
    return {labels.label_with_subject(m): m for m in first}


def interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of the mean over seeds, Student's: no more than what so few can say."""
    margin = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - margin, statistics.mean(values) + margin


def main() -> None:
    """A training a seed, then a line a number."""
    name = os.environ.get("SANGGAR_RECIPE", "fashion-vae")
    seeds = [int(seed) for seed in os.environ.get("SANGGAR_SEEDS", "0,1,2").split(",")]
    plan = resolve(recipe.read(name))
    if presence(plan.data.source, plan.data).state == "absent":
        print(f"  {plan.data.source} is not under the data root (SANGGAR_DATA)")
        return
    print(f"  {name}, seeds {', '.join(map(str, seeds))}")
    found = [measured(name, seed) for seed in seeds]
    for label, first in found[0].items():
        values = [numbers[label].value for numbers in found]
        low, high = interval(values)
        each = ", ".join(f"{value:.4f}" for value in values)
        print(f"    {label}: {statistics.mean(values):.4f} [{low:.4f}, {high:.4f}] {labels.unit(first)}  ({each})")
