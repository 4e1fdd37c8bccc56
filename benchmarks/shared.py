"""Training beside a process that keeps one core busy, and alone: as sanggar waits and divides, and as libraries do.

Three ways in turns: one thread; as many as PyTorch takes, waiting as its libraries do, a batch as a whole (0.1.0); and
what sanggar does now. `SANGGAR_RECIPE` names other recipes, by commas; `SANGGAR_SECONDS` says how long each is timed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import torch

from sanggar import recipe
from sanggar.data.batches import Batches
from sanggar.data.sources import presence
from sanggar.plan import Plan, resolve
from sanggar.training.learners.torch import TorchLearner

WAYS = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    # what the libraries take where nothing is said: libgomp's number is for as many threads as there are cores
    "as they wait": {"GOMP_SPINCOUNT": "300000", "OPENBLAS_THREAD_TIMEOUT": "26", "SANGGAR_PARTS": "1"},
    "sanggar": {},
}
ROUNDS = 3


def planned(name: str) -> Plan:
    parts = os.environ.get("SANGGAR_PARTS")
    return resolve(recipe.read(name, ["training.device=cpu", *([f"training.parts={parts}"] if parts else [])]))


def shipped() -> Iterator[str]:
    """Recipes of PyTorch families for a processor, whose data are here."""
    for name in sorted(recipe.shipped()):
        plan = planned(name)
        there = presence(plan.data.source, plan.data).state != "absent"
        if there and plan.family.learner == "torch" and not name.endswith("-gpu"):
            yield name


def rate(name: str, seconds: float) -> float:
    """Pictures a second over some seconds of steps, after one that does not count."""
    plan = planned(name)
    dataset = plan.source.load(plan.data)
    learner, training = TorchLearner(plan, plan.spec), plan.training
    learner.steps = 10_000
    batches = Batches(dataset.train, training.batch_size, training.seed, learner.draws)
    learner.step(0, batches.at(0))
    began = time.perf_counter()
    for step in count(1):
        learner.step(step, batches.at(step))
        if (spent := time.perf_counter() - began) > seconds:
            break
    return step * training.batch_size / spent


@contextmanager
def busy(is_busy: bool) -> Iterator[None]:
    """A process beside that computes without end, where there shall be one."""
    beside = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if is_busy else None
    try:
        yield
    finally:
        if beside is not None:
            beside.kill()
            beside.wait()


def timed(name: str, way: str, seconds: float) -> float:
    """The same in a process of its own: how threads wait is read when libraries are loaded."""
    command = [sys.executable, "-m", "benchmarks.shared", name, str(seconds)]
    return float(subprocess.run(command, env=os.environ | WAYS[way], check=True, capture_output=True).stdout)


def main() -> None:
    """Two lines a recipe: alone, and beside a busy process."""
    named, seconds = os.environ.get("SANGGAR_RECIPE"), float(os.environ.get("SANGGAR_SECONDS", "4"))
    for name in named.split(",") if named else shipped():
        print(f"  {name}")
        for is_busy in (False, True):
            with busy(is_busy):
                rates = [{way: timed(name, way, seconds) for way in WAYS} for _ in range(ROUNDS)]
            one, theirs, ours = (statistics.median(found[way] for found in rates) for way in WAYS)
            times = f"as they wait {theirs / one:.2f} times, sanggar {ours / one:.2f}: {ours / theirs:.2f} times those"
            print(f"    {'beside' if is_busy else 'alone':<7} one thread {one:7,.0f} pictures/s, {times}", flush=True)


if __name__ == "__main__":
    torch.set_num_interop_threads(1)
    print(rate(sys.argv[1], float(sys.argv[2])))
