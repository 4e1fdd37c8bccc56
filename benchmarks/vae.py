"""A VAE of sanggar beside pythae's ResNet VAE on Fashion-MNIST; `faces-vae` beside the plain script.

Beside pythae: as many parameters (within 10 %), Bernoulli, a latent of 16, the same pictures and seconds; pythae with
its own constant rate, with a tenth of it, and with ours' cosine. All are scored by one evaluator: test bound, Fréchet
distance of drawn pictures on the judge's features. Pictures a second while training are taken in turns. pythae is not
among sanggar's dependencies: `pip install pythae==0.1.2`.
"""

from __future__ import annotations

import importlib.util
import io
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks import plain_vae
from benchmarks.autoencoder import beside, loop
from benchmarks.gan import lengths
from benchmarks.machine import in_turns
from sanggar import recipe
from sanggar.data.batches import Batches
from sanggar.data.sources import Dataset, presence, root
from sanggar.evaluation.measures.distances import Moments, frechet_of
from sanggar.instruments.judge import open_judge
from sanggar.models.vae.model import VAE
from sanggar.plan import resolve
from sanggar.training.learners.torch import TorchLearner

MINUTES = 8
LATENT = 16
OURS = [
    "model.latent_size=16", "model.likelihood={kind: bernoulli}", "training.epochs=null",
]  # fmt: skip
THEIRS = ((1e-3, False), (1e-4, False), (1e-3, True))
"""Rates that pythae is given, and whether each falls along ours' cosine."""
STEPS = 10
PACED = 20


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

    @property
    def pace(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds


def ours(dataset: Dataset, seconds: float) -> Trained:
    """`fashion-vae` with the other's likelihood and size, for as many steps as fit into the time."""
    sizing = resolve(recipe.read("fashion-vae", [*OURS, "training.steps=1000"]))
    pace = _pace(TorchLearner(sizing, sizing.spec), Batches(dataset.train, sizing.training.batch_size, 0))
    count = max(1, int(seconds / pace))
    plan = resolve(recipe.read("fashion-vae", [*OURS, f"training.steps={count}"]))
    learner, batches = TorchLearner(plan, plan.spec), Batches(dataset.train, plan.training.batch_size, 0)
    learner.steps = count  # what its schedule goes by
    began, step = time.perf_counter(), 0
    while step < count and time.perf_counter() - began < seconds:
        learner.step(step, batches.at(step))
        step += 1
    spent, model = time.perf_counter() - began, learner.ema_model.eval()
    assert isinstance(model, VAE)

    def infer(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = model.posterior(pixels * 2 - 1).unbind(dim=1)
        return mean, log_variance

    name = f"sanggar, {learner.describe()['device']['precision']}"
    return Trained(
        name, infer, lambda z: (model.decode(z) + 1) / 2, _count(model), step, step * plan.training.batch_size, spent
    )


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


def theirs(dataset: Dataset, seconds: float, learning_rate: float, cosine: bool) -> Trained:
    """pythae's own trainer on its own ResNet VAE for MNIST, with the batch of its examples.

    Its rate is constant, as in its examples, or falls along the same cosine as ours, by the share of the time.
    """
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
            spent = (time.perf_counter() - began[0]) / seconds
            if spent > 1:
                raise _EnoughError
            if cosine:
                for group in trainer.optimizer.param_groups:
                    group["lr"] = learning_rate * (1 + math.cos(math.pi * spent)) / 2

    pixels = torch.from_numpy(dataset.train.pixels.astype(np.float32) / 255).permute(0, 3, 1, 2)
    assert dataset.train.labels is not None
    pictures = BaseDataset(pixels.contiguous(), torch.from_numpy(dataset.train.labels))
    with tempfile.TemporaryDirectory() as folder:
        how = BaseTrainerConfig(
            output_dir=folder, num_epochs=10_000, learning_rate=learning_rate, per_device_train_batch_size=batch,
            no_cuda=True, seed=0,
        )  # fmt: skip
        trainer = BaseTrainer(model=model, train_dataset=pictures, training_config=how, callbacks=[Watch()])
        with suppress(_EnoughError), redirect_stderr(io.StringIO()):  # its bars
            trainer.train()
    spent = time.perf_counter() - began[0]
    model.eval()

    def infer(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = model.encoder(images)
        return found.embedding, found.log_covariance

    name = f"pythae, {'cosine from' if cosine else 'constant'} {learning_rate:g}"
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
    counts = []
    trainings: list[Callable[[Dataset, float], Trained]] = [ours]
    trainings += [partial(theirs, learning_rate=rate, cosine=cosine) for rate, cosine in THEIRS]
    for train in trainings:
        trained = train(dataset, seconds)
        total, distortion, rate = negative_bound(trained, test)
        counts.append(trained.parameters)
        print(
            f"    {trained.name:<28} {trained.parameters:9,} parameters  {trained.pictures:11,} pictures  "
            f"negative bound {total:.2f} nats ({distortion:.2f} + {rate:.2f})  "
            f"Fréchet {distance(trained, real, len(test)):.3f}",
            flush=True,
        )
    assert 0.9 < counts[0] / counts[1] < 1.1, "not as many parameters"
    print(f"  pictures a second while training, {PACED} s each, in turns")
    in_turns(
        {"sanggar": lambda: ours(dataset, PACED).pace, "pythae": lambda: theirs(dataset, PACED, 1e-3, False).pace}, 3
    )


def faces() -> None:
    """Pictures a second of `faces-vae` and of the plain script, in turns, in one process."""
    plan = resolve(recipe.read("faces-vae"))
    batch = plan.training.batch_size
    folder = root() / "utkface-128"
    runs: dict[str, Iterator[object]] = {"sanggar": iter(loop(plan))}
    for workers in (0, 2):
        runs[f"plain, {workers} workers"] = plain_vae.train(folder, batch, workers)
    beside(runs, batch, STEPS)


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
