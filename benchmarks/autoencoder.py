"""`fashion-denoising-autoencoder` beside the plain script: pictures a second, loss, overhead, the floor, memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import machine, plain_autoencoder
from sanggar import recipe
from sanggar.data.batches import Batches
from sanggar.data.sources import root
from sanggar.models.autoencoder import Autoencoder, AutoencoderOptions
from sanggar.plan import Plan, resolve
from sanggar.training.checkpoint import Progress
from sanggar.training.learners.torch import TorchLearner
from sanggar.training.loop import Loop

STEPS = 60


def loop(plan: Plan) -> Loop:
    """The loop of a recipe, with nothing written anywhere."""
    dataset = plan.source.load(plan.data)
    learner = TorchLearner(plan, plan.spec)
    batches = Batches(dataset.train, plan.training.batch_size, plan.training.seed)
    return Loop(plan, learner, batches, dataset.validation.first(100), Progress(), None)


def throughput() -> None:
    """Ours and the plain script, in turns, in one process."""
    plan = resolve(recipe.read("fashion-denoising-autoencoder"))
    folder = root() / "fashion-mnist"
    runs: dict[str, Iterator[object]] = {"sanggar": iter(loop(plan))}
    runs |= {f"plain, {workers} workers": plain_autoencoder.train(folder, workers) for workers in (0, 2)}
    beside(runs, 128, STEPS)


def beside(runs: dict[str, Iterator[object]], batch: int, steps: int) -> None:
    """Trainings in turns, so many steps each at a time, after one to warm up."""
    for walked in runs.values():
        next(walked)
    machine.in_turns({name: partial(machine.rate, walked, steps, batch) for name, walked in runs.items()})


def same_loss(epochs: int = 2) -> None:
    """Mean train loss of each of the first epochs, ours and the plain script's."""
    plan = resolve(recipe.read("fashion-denoising-autoencoder", ["data.validation=1"]))
    per_epoch = 59_999 // 128
    ours = (sum(record.terms.values()) for record in loop(plan))
    plain = (loss for _, loss, _ in plain_autoencoder.train(root() / "fashion-mnist", 0))
    for epoch in range(epochs):
        a, b = (statistics.fmean(islice(losses, per_epoch)) for losses in (ours, plain))
        print(f"  epoch {epoch + 1}: sanggar {a:.5f}, plain {b:.5f}, difference {100 * (a / b - 1):+.1f} %")


def overhead() -> None:
    """The share of a training's time that is not the phases' forward, backward and optimizer step."""
    walked = loop(resolve(recipe.read("fashion-denoising-autoencoder", ["training.steps=400", "training.epochs=null",
                                                                        "training.validate_every=400"])))  # fmt: skip
    learner, spent = cast("TorchLearner", walked.learner), 0.0
    optimize = learner._optimize

    def timed(*arguments: object) -> dict[str, torch.Tensor]:
        nonlocal spent
        began = time.perf_counter()
        found = optimize(*arguments)  # type: ignore[arg-type]
        spent += time.perf_counter() - began
        return found

    learner._optimize = timed  # type: ignore[method-assign,assignment]
    steps = iter(walked)
    for _ in islice(steps, 50):
        pass
    spent, began = 0.0, time.perf_counter()
    for _ in islice(steps, 300):
        pass
    total = time.perf_counter() - began
    print(f"  loop overhead: {100 * (1 - spent / total):.2f} % of {1000 * total / 300:.1f} ms a step")


def floor() -> None:
    """Measured step beside the time that its multiply-adds alone would take at the machine's best convolution rate."""
    plan = resolve(recipe.read("fashion-denoising-autoencoder"))
    model = Autoencoder(cast("AutoencoderOptions", plan.model), plan.spec)
    forward = machine.multiply_adds(torch.nn.Sequential(model.encoder, model.decoder), torch.zeros(128, 1, 28, 28))
    walked = loop(plan)
    batches = walked.batches.at(0)
    seconds = machine.median_seconds(lambda: walked.learner.step(0, batches), 40)
    print(f"  {forward / 128e6:.2f} million multiply-adds a picture forward; three times that for a step")
    for dtype in (torch.float32, torch.bfloat16):
        best = machine.convolution_rate(dtype)
        least = 3 * forward / best
        print(
            f"  {dtype!s:<15} {best / 1e9:6.0f} G multiply-adds/s: floor {1000 * least:5.1f} ms a step, "
            f"measured {1000 * seconds:5.1f} ms, {seconds / least:.1f} times the floor"
        )
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for step in range(30):
            walked.learner.step(step, batches)
    rows = sorted(profiled.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    print("  where a step goes:")
    for row in rows[:12]:
        print(f"    {100 * row.self_cpu_time_total / total:5.1f} %  {row.key}")


def memory() -> None:
    """Peak memory of a training of one epoch and of four: it does not grow with epochs."""
    peaks = []
    for epochs in (1, 4):
        with tempfile.TemporaryDirectory() as folder:
            code = (
                "import resource, sanggar;"
                f"sanggar.train('fashion-denoising-autoencoder', ['training.epochs={epochs}', 'model.widths=[4,4,4]'],"
                f"out={str(Path(folder) / 'run')!r}, watch=lambda record: None);"
                "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
            )
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            peaks.append(
                int(done.stdout) / (1 if sys.platform == "darwin" else 1024) / (1024 if sys.platform == "darwin" else 1)
            )
    print(
        f"  peak memory: {peaks[0]:,.0f} MiB over one epoch, {peaks[1]:,.0f} MiB over four ({peaks[1] / peaks[0]:.3f})"
    )


def main() -> None:
    """All of it, in the order of the issue's claims."""
    if not (root() / "fashion-mnist").is_dir():
        print("  Fashion-MNIST is not under the data root; `sanggar train fashion-denoising-autoencoder` fetches it.")
        return
    for part in (throughput, overhead, floor, memory, same_loss):
        print(f"{part.__name__}: {(part.__doc__ or '').splitlines()[0]}")
        part()
