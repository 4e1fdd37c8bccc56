"""Drives the from-scratch network: one phase, on the processor, in one process."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from threadpoolctl import threadpool_info

from sanggar.data.images import Images, ImageSpec
from sanggar.errors import RecipeError, RunError
from sanggar.files import Tree
from sanggar.models.feed_forward import FeedForward
from sanggar.plan import Plan, build
from sanggar.runs import Arrays
from sanggar.scratch import Tensor, no_grad
from sanggar.scratch.network import quantiles
from sanggar.scratch.optimizers import optimizer
from sanggar.seeding import address
from sanggar.training.learners.base import CHUNK, Layer, Values, decay_after
from sanggar.training.machine import accelerator, described, processor


class NumpyLearner:
    """Trains an `FFNN` on labelled pictures."""

    def __init__(self, plan: Plan, spec: ImageSpec, folder: Path | None = None, begun: Tree | None = None) -> None:
        options = plan.training
        _check(plan)
        self.options, self.steps, self.draws, self.sync_every = options, 1, 1, 1
        self.rank, self.world = 0, 1
        self.model = cast("FeedForward", build(plan, spec, options.seed))
        self.network = self.model.network
        self.loss_name = f"ffnn/{self.network.loss_name}"
        self.watched = frozenset({"ffnn/accuracy"})
        named = options.optimizer.model_dump(exclude={"kind", "second_start"})
        self.optimizer = optimizer(options.optimizer.kind)(**named)
        self.averaged: Arrays | None = None
        self._rng = np.random.default_rng(0)
        # only a tracker needs Accelerate here
        self._tracker = accelerator(options, folder) if options.tracker else None
        self._tracks_as = plan.name

    # -- a step ------------------------------------------------------------------------------------------------

    def learns_from(self, images: Images) -> None:
        """Nothing: first weights are drawn."""

    def step(self, step: int, batches: Sequence[Images]) -> Values:
        """One step of the optimizer on a batch."""
        with np.errstate(all="ignore"):  # what is not finite is told by the loop, in one line
            return self._step(step, *batches)

    def _step(self, step: int, images: Images) -> Values:
        network = self.network
        if network.dropout:
            seed = address(self.options.seed, "train", step, 0, "dropout")
            self._rng = np.random.Generator(np.random.Philox(seed))
        logits = network.logits(self.model.inputs(images.pixels), self._rng)
        terms, loss = self._terms(logits, images)
        self.optimizer.rate = self.optimizer.learning_rate * self.options.schedule.factor(step, self.steps)
        if all(map(math.isfinite, terms.values())):  # the loop ends the training where they are not
            if self.options.clip_gradient is None:
                network.descend(loss, self.optimizer)
            else:
                self._descend_clipped(loss, self.options.clip_gradient)
            self._average(step)
        return terms

    def _terms(self, logits: Tensor, images: Images) -> tuple[Values, Tensor]:
        """The named terms of a batch, and the loss that is their sum."""
        loss = self.network.error(logits, self.model.targets(_labels(images)))
        terms = {self.loss_name: float(loss.data)}
        if self.network.l1 or self.network.l2:
            penalty = self.network.penalty()
            terms["ffnn/penalty"] = float(penalty.data)
            loss = loss + penalty
        terms["ffnn/accuracy"] = float(np.mean(logits.data.argmax(axis=1) == images.labels))
        return terms, loss

    def _descend_clipped(self, loss: Tensor, longest: float) -> None:
        self.network.backward(loss)
        found = [p.grad for p in self.network.parameters if p.grad is not None]
        length = math.sqrt(sum(float(np.vdot(gradient, gradient)) for gradient in found))
        if length > longest:
            for gradient in found:
                gradient *= longest / length
        self.optimizer.step(self.network.parameters)

    def _average(self, updates: int) -> None:
        if self.options.ema is None:
            return
        if self.averaged is None:
            self.averaged = {name: array.copy() for name, array in self.network.arrays().items()}
        for name, array in self.network.arrays().items():
            average = self.averaged[name]
            average += (1 - decay_after(updates, self.options.ema)) * (array - average)

    def read(self, terms: Sequence[Values]) -> list[Values]:
        """Terms are numbers already."""
        return list(terms)

    # -- looking at the network --------------------------------------------------------------------------------

    def evaluate(self, images: Images) -> Values:
        """Mean terms over `images`, of the network as it would be saved now."""
        sums: Values = {}
        kept = {name: array.copy() for name, array in self.network.arrays().items()}
        self.network.load_arrays(self.weights())
        with no_grad(), np.errstate(all="ignore"):
            for chunk in images.chunks(CHUNK):
                terms, _ = self._terms(self.network.logits(self.model.inputs(chunk.pixels)), chunk)
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + value * len(chunk)
        self.network.load_arrays(kept)
        return {name: total / len(images) for name, total in sums.items()}

    def weight_stats(self) -> dict[str, list[float]]:
        """The 5, 25, 50, 75 and 95 % quantiles of each layer's weights and of the last step's gradients."""
        found = {"weights": quantiles(self.network.weights), "gradients": quantiles(self.network.gradients)}
        return {f"{of}/{layer}": values for of, layers in found.items() for layer, values in layers.items()}

    def preview(self, images: Images) -> list[np.ndarray]:
        """Nothing to draw."""
        return []

    # -- state -------------------------------------------------------------------------------------------------

    def state(self) -> Arrays:
        """Weights, average, and the optimizer's memory, by name."""
        named = {f"model.{name}": array for name, array in self.network.arrays().items()}
        named |= {f"average.{name}": array for name, array in (self.averaged or {}).items()}
        return named | {f"optimizer.{name}": array for name, array in self.optimizer.arrays().items()}

    def load_state(self, arrays: Arrays) -> None:
        """Go back to what `state` gave. Raises RunError when it belongs to another network."""
        average = {name: array.copy() for name, array in _below("average.", arrays).items()}
        try:
            if average:
                self.network.load_arrays(average)  # looks at their names and shapes
            self.network.load_arrays(_below("model.", arrays))
            self.optimizer.load(_below("optimizer.", arrays), self.network.parameters)
            if bool(average) != (self.options.ema is not None and self.optimizer.steps > 0):
                raise ValueError("averaged weights are there, or are not.")
        except ValueError as error:
            raise RunError(f"The checkpoint does not fit this recipe's network: {error}") from None
        self.averaged = average or None

    def weights(self) -> Arrays:
        """The network to measure and save."""
        return self.averaged if self.averaged is not None else self.network.arrays()

    # -- the rest of the contract ------------------------------------------------------------------------------

    def layers(self, images: Images) -> list[Layer]:
        """The layers with the widths they have."""
        found, width = [], self.network.widths[0]
        for name, layer in [*self.network.body.layers.items(), ("output", self.network.head)]:
            width = layer.parameters["neurons"].shape[1] if "neurons" in layer.parameters else width
            count = sum(parameter.size for parameter in layer.parameters.values())
            kind = getattr(layer, "name", type(layer).__name__)
            found.append(Layer(name, kind, (width,), count, 4 * width * len(images)))
        return found

    def stretches(self, steps: int) -> list[tuple[int, int]]:
        """The whole training: its steps are alike."""
        return [(0, steps)]

    def phases(self) -> list[str]:
        """The one phase, with its optimizer."""
        count = sum(parameter.size for parameter in self.network.parameters)
        options = self.options.optimizer
        return [f"ffnn ({options.kind}, learning rate {options.learning_rate:g}, {count:,} parameters)"]

    def any_process(self, *flags: bool) -> list[bool]:
        """Of each, whether any process says yes: there is one."""
        return list(flags)

    def describe(self) -> Tree:
        """The processor, its threads, and versions."""
        threads = max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)
        device = {"kind": "cpu", "name": processor(), "threads": threads, "processes": 1, "precision": "fp32"}
        return described(device, "numpy")

    def track(self, values: Values, step: int) -> None:
        """Send numbers to the recipe's tracker."""
        if self._tracker is not None:
            if not self._tracker.trackers:  # not before the run's folder is the run's
                self._tracker.init_trackers(self._tracks_as)
            self._tracker.log(values, step=step)

    def wait(self) -> None:
        """There is nobody to wait for."""

    def close(self) -> None:
        """End the tracker."""
        if self._tracker is not None:
            self._tracker.end_training()


def _check(plan: Plan) -> None:
    """Raises RecipeError for what NumPy cannot do."""
    options = plan.training
    if options.device not in ("auto", "cpu"):
        raise RecipeError(f"training.device: ffnn computes with NumPy on the processor, not on {options.device}.")
    if options.precision == "bf16":
        raise RecipeError("training.precision: ffnn computes with NumPy in fp32; bf16 is PyTorch's.")
    if plan.model.model_dump()["normalization"] == "batch" and options.batch_size < 2:
        raise RecipeError("training.batch_size: batch norm needs two pictures or more in a batch.")
    if options.augmentation is not None and options.augmentation.active:
        raise RecipeError("training.augmentation: ffnn computes with NumPy, and pictures are augmented with PyTorch.")
    if getattr(options.optimizer, "second_start", None) is not None:
        raise RecipeError("training.optimizer.second_start: the decays of ffnn's own Adam stay as they are.")
    if options.compile:
        raise RecipeError("training.compile: there is nothing to compile in a NumPy network.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeError("ffnn trains in one process; start it without a launcher.")


def _labels(images: Images) -> np.ndarray:
    assert images.labels is not None  # a family of classes is built for pictures that have them
    return images.labels


def _below(prefix: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
