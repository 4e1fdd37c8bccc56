"""`mnist-cgan` and `cifar10-dcgan` beside the plain scripts, in pictures a second; the minutes that each recipe trains;
and the time that measuring takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import sanggar
from benchmarks import plain_gan
from benchmarks.autoencoder import beside, loop
from benchmarks.machine import rate, silent
from sanggar import recipe
from sanggar.data.sources import presence, root
from sanggar.plan import resolve

STEPS = 15
RUNGS = ("gan-dense", "wgan-gp", "sngan", "style")
PLAIN = {
    "mnist-cgan": (plain_gan.mnist, plain_gan.ConditionalGenerator, plain_gan.ConditionalCritic),
    "cifar10-dcgan": (plain_gan.cifar10, plain_gan.Generator, plain_gan.Critic),
}


def throughput(name: str) -> None:
    """Ours and the plain script, in turns, in one process."""
    plan = resolve(recipe.read(name))
    read, generator, critic = PLAIN[name]
    batch, pictures = plan.training.batch_size, read(root())
    runs: dict[str, Iterator[object]] = {"sanggar": iter(loop(plan))}
    for workers in (0, 2):
        runs[f"plain, {workers} workers"] = plain_gan.train(pictures, generator(), critic(), batch, workers)
    beside(runs, batch, STEPS)


def lengths(names: Sequence[str]) -> None:
    """Minutes that each recipe's steps take here: the faster of two rounds of 32, which hold every lazy penalty."""
    plans = {name: resolve(recipe.read(name)) for name in names}
    runs = {name: iter(loop(plan)) for name, plan in plans.items()}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(3):
        for name, steps in runs.items():
            seconds[name].append(32 / rate(steps, 32, 1))
    for name, plan in plans.items():
        step, per_epoch = min(seconds[name][1:]) / 32, plan.source.counted(plan.data) // plan.training.batch_size
        count = plan.training.total_steps(per_epoch)
        print(f"    {name:<18} {1000 * step:6.1f} ms a step, {count:,} steps: {count * step / 60:.0f} min")


def measuring() -> None:
    """Seconds to measure 10,000 pictures of `mnist-cgan` and `cifar10-dcgan`; the second time references are cached."""
    for name in PLAIN:
        with tempfile.TemporaryDirectory() as folder:
            run = sanggar.train(
                name, ["training.steps=2", "training.validate_every=2"], out=Path(folder) / "run", watch=silent
            )
            seconds = [_timed(partial(sanggar.evaluate, run)) for _ in range(2)]
        print(f"    {name}: {seconds[0]:.0f} s, and {seconds[1]:.0f} s with the references cached")


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """All of it."""
    for name, source in (("mnist-cgan", "mnist"), ("cifar10-dcgan", "cifar-10")):
        if presence(source).state == "absent":
            print(f"  {source} is not under the data root; `sanggar train {name}` fetches it.")
            return
    for name in PLAIN:
        print(f"  {name}", flush=True)
        throughput(name)
    print("  how long the recipes train", flush=True)
    lengths([*PLAIN, "mnist-cgan-plus", *(f"cifar10-{rung}" for rung in RUNGS)])
    print("  measuring 10,000 pictures", flush=True)
    measuring()
