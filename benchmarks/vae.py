"""A VAE of sanggar beside pythae's ResNet VAE on Fashion-MNIST; `faces-vae` beside the plain script.

Beside pythae: as many parameters (within 10 %), Bernoulli, a latent of 16, the same pictures and seconds. Both are
scored by one evaluator: test bound, Fréchet distance of drawn pictures on the judge's features, pictures a second while
training. pythae is not among sanggar's dependencies: `pip install pythae==0.1.2`.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks import plain_vae
from benchmarks.autoencoder import loop
from benchmarks.gan import lengths
from sanggar import recipe
from sanggar.data.batches import Batches
from sanggar.data.sources import Dataset, presence, root
from sanggar.evaluation.distances import Moments, frechet_of
from sanggar.models.judge import open_judge
from sanggar.models.vae import VAE
from sanggar.plan import resolve
from sanggar.training.torch_learner import TorchLearner

MINUTES = 8
LATENT = 16
OURS = [
    "model.latent_size=16", "model.likelihood={kind: bernoulli}", "training.epochs=null",
]  # fmt: skip
STEPS, ROUNDS = 10, 5


@dataclass(frozen=True)
class Trained:
    """A VAE as the evaluator sees it: pixels float32 `(n, 1, 28, 28)` in [0, 1]."""

    name: str
    infer: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    """pictures to mean and logarithm of the variance"""
    paint: Callable[[torch.Tensor], torch.Tensor]
    """latents to the probability of each pixel being white"""
    parameters: int
    steps: int
    pictures: int
    seconds: float


def ours(dataset: Dataset, seconds: float) -> Trained:
    """`fashion-vae` with the other's likelihood and size, for as many steps as fit into the time."""
    sizing = resolve(recipe.read("fashion-vae", [*OURS, "training.steps=1000"]))
    probe = _learner(sizing, dataset)
    pace = _pace(probe, Batches(dataset.train, sizing.training.batch_size, 0))
    plan = resolve(recipe.read("fashion-vae", [*OURS, f"training.steps={int(seconds / pace)}"]))
    learner, batches = _learner(plan, dataset), Batches(dataset.train, plan.training.batch_size, 0)
    began, step = time.perf_counter(), 0
    while step < learner.steps and time.perf_counter() - began < seconds:
        learner.step(step, batches.at(step))
        step += 1
    spent, model = time.perf_counter() - began, learner.shown_model.eval()
    assert isinstance(model, VAE)

    def infer(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = model.posterior(pixels * 2 - 1).unbind(dim=1)
        return mean, log_variance

    return Trained(
        "sanggar", infer, lambda z: (model.decode(z) + 1) / 2, _count(model), step,
        step * plan.training.batch_size, spent,
    )  # fmt: skip


def _learner(plan: Any, dataset: Dataset) -> TorchLearner:
    return TorchLearner(plan, plan.facts)


def _pace(learner: TorchLearner, batches: Batches, steps: int = 20) -> float:
    """Seconds a step takes, after a few to warm up."""
    for step in range(5):
        learner.step(step, batches.at(step))
    began = time.perf_counter()
    for step in range(steps):
        learner.step(step, batches.at(step))
    return (time.perf_counter() - began) / steps


class _EnoughError(Exception):
    """The time is over."""


def theirs(dataset: Dataset, seconds: float, learning_rate: float) -> Trained:
    """pythae's own trainer on its own ResNet VAE for MNIST, with the batch of its examples."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE as TheirVAE
    from pythae.models import VAEConfig
    from pythae.models.nn.benchmarks.mnist import Decoder_ResNet_AE_MNIST, Encoder_ResNet_VAE_MNIST
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    torch.manual_seed(0)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
    model = TheirVAE(config, encoder=Encoder_ResNet_VAE_MNIST(config), decoder=Decoder_ResNet_AE_MNIST(config))
    batch, done, began = 100, [0], [0.0]

    class Watch(TrainingCallback):  # type: ignore[misc]
        def on_train_begin(self, training_config: Any, **kwargs: Any) -> None:
            began[0] = time.perf_counter()

        def on_train_step_end(self, training_config: Any, **kwargs: Any) -> None:
            done[0] += 1
            if time.perf_counter() - began[0] > seconds:
                raise _EnoughError

    pixels = torch.from_numpy(dataset.train.pixels.astype(np.float32) / 255).permute(0, 3, 1, 2)
    assert dataset.train.labels is not None
    pictures = BaseDataset(pixels.contiguous(), torch.from_numpy(dataset.train.labels))
    with tempfile.TemporaryDirectory() as folder:
        how = BaseTrainerConfig(
            output_dir=folder, num_epochs=10_000, learning_rate=learning_rate, per_device_train_batch_size=batch,
            no_cuda=True, seed=0,
        )  # fmt: skip
        trainer = BaseTrainer(model=model, train_dataset=pictures, training_config=how, callbacks=[Watch()])
        with suppress(_EnoughError):
            trainer.train()
    spent = time.perf_counter() - began[0]
    model.eval()

    def infer(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = model.encoder(images)
        return found.embedding, found.log_covariance

    name = f"pythae, learning rate {learning_rate:g}"
    return Trained(
        name, infer, lambda z: model.decoder(z).reconstruction, _count(model), done[0], done[0] * batch, spent
    )


def _count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def negative_bound(trained: Trained, pixels: np.ndarray) -> tuple[float, float, float]:
    """Minus the bound in nats a picture, one draw each, and its halves: distortion and rate."""
    distortion, rate = [], []
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for start in range(0, len(pixels), 500):
            x = torch.from_numpy(pixels[start : start + 500].astype(np.float32) / 255).permute(0, 3, 1, 2)
            mean, log_variance = (part.float() for part in trained.infer(x))
            z = mean + torch.exp(log_variance / 2) * torch.randn(mean.shape, generator=generator)
            painted = trained.paint(z).float().clamp(0, 1)
            each = F.binary_cross_entropy(painted, x, reduction="none").flatten(1).sum(dim=1)
            distortion.append(each)
            rate.append(((mean.square() + log_variance.exp() - log_variance - 1) / 2).sum(dim=1))
    halves = float(torch.cat(distortion).mean()), float(torch.cat(rate).mean())
    return sum(halves), *halves


def distance(trained: Trained, real: Moments, count: int) -> float:
    """Fréchet distance of `count` pictures drawn from the prior."""
    generator, parts = torch.Generator().manual_seed(1), []
    judge = open_judge("fashion-mnist", "cpu")
    with torch.inference_mode():
        for start in range(0, count, 500):
            z = torch.randn((min(500, count - start), LATENT), generator=generator)
            painted = (trained.paint(z).float().clamp(0, 1) * 255).round().to(torch.uint8)
            parts.append(judge.features(painted.permute(0, 2, 3, 1).numpy()))
    return frechet_of(Moments.of(np.concatenate(parts)), real)


def beside_pythae(minutes: float = MINUTES) -> None:
    """Train each for the same time, one after another, and score all by one evaluator."""
    plan = resolve(recipe.read("fashion-vae"))
    dataset = plan.source.load(plan.data)
    judge, test = open_judge("fashion-mnist", "cpu"), dataset.test.pixels
    real = Moments.of(judge.features(test))
    floor = frechet_of(Moments.of(judge.features(dataset.train.pixels[: len(test)])), real)
    print(f"  {minutes:g} minutes each; test, n = {len(test):,}; floor of the Fréchet distance {floor:.3f}")
    seconds = 60 * minutes
    for trained in (ours(dataset, seconds), theirs(dataset, seconds, 1e-3), theirs(dataset, seconds, 1e-4)):
        total, distortion, rate = negative_bound(trained, test)
        print(
            f"    {trained.name:<28} {trained.parameters:9,} parameters  {trained.pictures / trained.seconds:7,.0f} "
            f"pictures/s  negative bound {total:.2f} nats ({distortion:.2f} + {rate:.2f})  "
            f"Fréchet {distance(trained, real, len(test)):.3f}",
            flush=True,
        )


def faces() -> None:
    """Pictures a second of `faces-vae` and of the plain script, in turns, in one process."""
    plan = resolve(recipe.read("faces-vae"))
    batch = plan.training.batch_size
    folder = root() / "utkface-128"
    runs: dict[str, Iterator[object]] = {"sanggar": iter(loop(plan))}
    for workers in (0, 2):
        runs[f"plain, {workers} workers"] = plain_vae.train(folder, batch, workers)
    rates: dict[str, list[float]] = {key: [] for key in runs}
    for steps in runs.values():
        next(steps)
    for _ in range(ROUNDS):
        for key, steps in runs.items():
            began = time.perf_counter()
            for _ in islice(steps, STEPS):
                pass
            rates[key].append(STEPS * batch / (time.perf_counter() - began))
    for key, values in rates.items():
        print(
            f"    {key:<18} {statistics.median(values):7,.0f} pictures/s   ({', '.join(f'{v:,.0f}' for v in values)})"
        )
    best = max(statistics.median(values) for key, values in rates.items() if key != "sanggar")
    print(f"    sanggar is {statistics.median(rates['sanggar']) / best:.2f} times the faster plain script")


def main() -> None:
    """All of it."""
    if presence("fashion-mnist").state == "absent":
        print("  fashion-mnist is not under the data root (SANGGAR_DATA)")
    elif importlib.util.find_spec("pythae") is None:
        print("  pythae is not installed: pip install pythae==0.1.2")
    else:
        beside_pythae()
    if (root() / "utkface-128").is_dir():
        print("  faces-vae, pictures a second")
        faces()
        print("  how long the recipes train")
        lengths(["faces-vae", "faces-vae-plain", "faces-autoencoder", "fashion-vae"])
    else:
        print("  utkface-128 is not under the data root (SANGGAR_DATA)")
