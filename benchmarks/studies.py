"""Twelve trainings on digits: a study by two processes, by one, and a loop that does one after another."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

import sanggar

SEEDS = 12
SET = {"training.epochs": 400}
STUDY: dict[str, Any] = {
    "name": "twelve", "about": "Twelve seeds of one network.",
    "tables": {"digits": {
        "base": "digits-ffnn", "set": SET, "rows": {"as it is": {}}, "seeds": SEEDS,
        "metrics": ["classification.accuracy"],
    }},
}  # fmt: skip


def one_after_another(folder: Path) -> None:
    """The same trainings without a study, on one thread."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for seed in range(SEEDS):
            overrides = [f"{key}={value}" for key, value in {**SET, "training.seed": seed}.items()]
            sanggar.evaluate(sanggar.train("digits-ffnn", overrides, out=folder / str(seed), watch=lambda record: None))


def main() -> None:
    """Time all three, twice each in turns."""
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(2):
            for name in ("a loop", "one process", "two processes"):
                place, start = Path(folder) / f"{name} {turn}", time.perf_counter()
                if name == "a loop":
                    one_after_another(place)
                else:
                    sanggar.study(STUDY, out=place, workers=1 if name == "one process" else 2)
                taken.setdefault(name, []).append(time.perf_counter() - start)
                print(f"  {name}: {taken[name][-1]:.1f} s", flush=True)
    least = {name: min(seconds) for name, seconds in taken.items()}
    for name in ("one process", "two processes"):
        print(f"  {name}: {least[name] / least['a loop']:.2f} of the loop's time")
