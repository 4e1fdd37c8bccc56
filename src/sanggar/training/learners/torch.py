"""Drives the phases of a PyTorch module on the devices, precisions and processes that Accelerate knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.optim.swa_utils import AveragedModel

from sanggar.data.images import Images, ImageSpec, to_float, to_uint8
from sanggar.errors import RecipeError, RunError
from sanggar.files import Tree
from sanggar.models.augment import augment
from sanggar.models.base import Batch, Model, Phase, StepContext
from sanggar.models.capabilities import capabilities_of
from sanggar.models.conditions import CLASS
from sanggar.models.optimizers import betas_at
from sanggar.plan import Plan, build
from sanggar.resources import free_threads
from sanggar.runs import Arrays
from sanggar.training.learners.average import averaging, forget_beginnings
from sanggar.training.learners.base import CHUNK, Layer, Values
from sanggar.training.learners.parts import LEAST, Parts, parts_for
from sanggar.training.machine import accelerator, described, processor
from sanggar.training.precision import precision_for


class TorchLearner:
    """Drives the phases of an `nn.Module`."""

    def __init__(self, plan: Plan, spec: ImageSpec, folder: Path | None = None, begun: Tree | None = None) -> None:
        options, begun = plan.training, begun or {}
        self.options, self.spec, self.steps = options, spec, 1
        self.accelerator = accelerator(options, folder)
        self.device = self.accelerator.device
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.sync_every = 1 if self.device.type == "cpu" else 20
        self.model = cast("Model", build(plan, spec, options.seed)).place(self.device)
        share = options.batch_size // self.world
        # a run goes on as it began where the kind of device is the same: trying anew might find otherwise
        begun = begun if begun.get("kind") == self.device.type else {}
        self.precision, self._why = begun.get("precision"), begun.get("precision_because", "")
        if self.precision is None:
            self.precision, self._why = precision_for(options.precision, self.model, spec, self.device, share)
            if self.any_process(self.precision == "fp32")[0]:
                self.precision = "fp32"
        self.averaged = None
        if options.ema is not None:
            self.averaged = AveragedModel(self.model, multi_avg_fn=averaging(options.ema), use_buffers=True)
        if options.compile:
            for name, part in self.model.named_children():
                if name not in self.model.uncompiled:
                    part.compile()
        self._parts = Parts(self.model, self._count(begun.get("parts", 1) if begun else None), self._autocast)
        self._phases = list(self._parts.phases[0].values())
        self.draws = max(phase.batches for phase in self._phases)
        self.watched = frozenset(f"{phase.name}/{name}" for phase in self._phases for name in phase.watched)
        self.optimizers = [
            (phase.optimizer or options.optimizer).build(phase.parameters, self.device) for phase in self._phases
        ]
        if share == 1 and any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in self.model.modules()):
            raise RecipeError(
                "training.batch_size: batch norm has nothing to go by in a batch of one picture (for each process); "
                "give at least 2, or another norm."
            )
        rows = slice(self.rank * share, (self.rank + 1) * share)
        self.context = StepContext(options.seed, 0, self.steps, options.batch_size, rows, self.device)
        self._training: Images | None = None
        self._tracks_as = plan.name if options.tracker else None
        self._threads = torch.get_num_threads()
        pixels = options.batch_size * spec.height * spec.width
        if self.device.type == "cpu" and self.world == 1 and len(self._parts.models) == 1 and pixels < LEAST:
            # threads that share so little work wait for each other at every operation, and for long where one of them
            # has no core: beside another process one thread is faster
            torch.set_num_threads(min(self._threads, begun.get("threads") or free_threads(self._threads)))

    def _autocast(self) -> torch.autocast:
        """Where a network computes as its training does."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _count(self, parts: int | None) -> int:
        """Parts of a batch: those the recipe names, else those a run began with, else as many as do good here."""
        asked, divisible = self.options.parts, self.model.divisible and not self.options.compile
        if asked is not None and asked > 1 and not (divisible and self.device.type == "cpu"):
            raise RecipeError(
                "training.parts: a batch is divided on a processor alone, without training.compile, and where no layer "
                "looks beyond one picture or draws (batch norm, dropout); give 1, or leave it out."
            )
        if self.device.type != "cpu" or not divisible:
            return 1
        chosen = asked or parts or parts_for(self.options.batch_size // self.world, self.spec.height * self.spec.width)
        return min(chosen, self.options.batch_size)

    # -- a step ------------------------------------------------------------------------------------------------

    def learns_from(self, images: Images) -> None:
        """Take note of the training pictures, of which phases that ask for some are given them when they begin."""
        self._training = images

    def _begin(self, step: int) -> None:
        """Let what phases that begin with this step learn depend on training pictures, where they ask for some."""
        for phase in self._phases:
            if not phase.begins_with or phase.begin is None or self._training is None:
                continue
            if step == phase.steps(self.steps)[0]:
                phase.begin(self._training.pixels[:: -(-len(self._training) // phase.begins_with)])
                if self.world > 1:  # two kinds of processor do not come to the same bits
                    for value in self.model.state_dict().values():
                        distributed.broadcast(value, 0)

    def step(self, step: int, batches: Sequence[Images]) -> dict[str, Tensor]:
        """One optimizer step of every phase, repeated where the phase asks for it."""
        self._begin(step)
        moments = [replace(self.context, step=step, steps=self.steps, draw=draw) for draw in range(len(batches))]
        shown = [self._augmented(self._batch(images), at) for images, at in zip(batches, moments, strict=True)]
        terms: dict[str, Tensor] = {}
        for phase, optimizer in zip(self._phases, self.optimizers, strict=True):
            first, end = phase.steps(self.steps)
            if (
                not first <= step < end and step < self.steps
            ):  # past the end, where a network is looked at, all are in use
                continue
            options = phase.optimizer or self.options.optimizer
            betas = betas_at(options, (step - first) / max(1, end - first))
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * self.options.schedule.factor(step - first, end - first)
                if betas is not None:
                    group["betas"] = betas
            draws = phase.batches * phase.repeats
            for draw in range(draws):
                if draw % phase.repeats == 0:
                    with self._autocast():
                        batch = phase.prepared(shown[draw // phase.repeats])
                context = replace(moments[0], steps=max(1, end), draw=draw)
                for name, value in self._optimize(phase, optimizer, batch, context).items():
                    key = f"{phase.name}/{name}"
                    terms[key] = terms.get(key, 0) + value / draws
        if self.averaged is not None and self.options.ema is not None:
            self.averaged.update_parameters(self.model)
            forget_beginnings(self.averaged, self.model, self._phases, step, self.steps, self.options.ema)
        return terms

    def _optimize(
        self, phase: Phase, optimizer: torch.optim.Optimizer, batch: Batch, context: StepContext
    ) -> dict[str, Tensor]:
        # layers such as dropout draw from PyTorch's own generator: it too is addressed
        torch.manual_seed(context.address(f"layers {phase.name} {self.rank}"))
        losses = self._parts.backward(phase.name, batch, context)
        if self.world > 1:
            self._average_gradients(phase)
        if self.options.clip_gradient is not None:
            nn.utils.clip_grad_norm_(phase.parameters, self.options.clip_gradient)
        optimizer.step()
        if phase.after is not None:
            phase.after(context)
        return losses

    def _average_gradients(self, phase: Phase) -> None:
        """One reduction for the whole phase: the phases call `encode` and `decode`, which no wrapper would see."""
        found = [p.grad for p in phase.parameters if p.grad is not None]
        flat: Tensor = self.accelerator.reduce(torch.cat([g.flatten() for g in found]), "mean")
        for gradient, mean in zip(found, torch.split(flat, [g.numel() for g in found]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def _batch(self, images: Images) -> Batch:
        writable = np.require(images.pixels, requirements="W")  # a copy, where they are mapped from the disk
        pixels = torch.from_numpy(writable).to(self.device, non_blocking=True)
        known = (images.labels, images.attributes)
        labels, attributes = (None if array is None else torch.from_numpy(array).to(self.device) for array in known)
        return Batch(to_float(pixels), labels, attributes)

    def _augmented(self, batch: Batch, context: StepContext) -> Batch:
        options = self.options.augmentation
        if options is None:
            return batch
        return replace(batch, images=augment(batch.images, options, context, "augmentation"))

    def read(self, terms: Sequence[dict[str, Tensor]]) -> list[Values]:
        """Terms as numbers, with one transfer for all of them."""
        flat = torch.stack([value.float() for line in terms for value in line.values()])
        if self.world > 1:
            flat = self.accelerator.reduce(flat, "mean")
        values = iter(flat.tolist())  # a lazy term is there at some steps only
        return [{name: next(values) for name in line} for line in terms]

    # -- looking at the network --------------------------------------------------------------------------------

    @property
    def ema_model(self) -> Model:
        """The network as it would be saved now: the averaged one where there is an average.

        What norms have measured is averaged with the weights that it was measured under; what a family itself keeps,
        how far it has come, is not.
        """
        if self.averaged is None:
            return self.model
        shown = cast("Model", self.averaged.module)
        for name, buffer in self.model.named_buffers(recurse=False):
            shown.get_buffer(name).copy_(buffer)
        if shown.averages is not None:
            for name, child in self.model.named_children():
                if name not in shown.averages:
                    shown.get_submodule(name).load_state_dict(child.state_dict())
        return shown

    def evaluate(self, images: Images) -> Values:
        """Mean loss terms over `images`; noise is the same each time and does not depend on the processes."""
        with self._as_measured() as model:
            phases = model.phases()
            sums: Values = {}
            for number, chunk in enumerate(images.chunks(CHUNK)):
                mine = number % self.world == self.rank
                if number and not mine:
                    continue  # every process does the first chunk, so that all know the terms' names
                context = replace(
                    self.context, step=number, batch=len(chunk), rows=slice(len(chunk)), split="validation"
                )
                batch = self._batch(chunk)
                with self._autocast():
                    found = {f"{p.name}/{k}": v for p in phases for k, v in p.loss(p.prepared(batch), context).items()}
                for name, value in found.items():
                    sums[name] = sums.get(name, 0.0) + (value.item() * len(chunk) if mine else 0.0)
        totals = torch.tensor(list(sums.values()), dtype=torch.float64)
        if self.world > 1:
            totals = self.accelerator.reduce(totals.to(self.device), "sum")
        return dict(zip(sums, (totals / len(images)).tolist(), strict=True))

    def preview(self, images: Images) -> list[np.ndarray]:
        """The pictures, as disturbed where the model disturbs, and as reconstructed; or the same latents drawn."""
        with self._as_measured() as measured:
            model: Any = measured
            able = capabilities_of(model)
            if "sample" in able:
                return self._drawn(model, images)
            if "reconstruct" not in able:
                return []
            shown = self._batch(images).images
            rows = [images.pixels]
            if "disturb" in able:
                context = replace(self.context, step=0, batch=len(images), rows=slice(len(images)), split="preview")
                shown = model.disturb(shown, context)
                rows.append(to_uint8(shown))
            rows.append(to_uint8(model.reconstruct(shown)))
        return rows

    def _drawn(self, model: Any, images: Images) -> list[np.ndarray]:
        """Eight rows of pictures from latents that stay the same; a column a class where there are ten or fewer.

        Attributes are asked for as these pictures have them, where the model cannot do without.
        """
        conditions = model.conditions
        by_class = conditions is not None and CLASS in conditions.names
        classes = len(self.spec.classes) if by_class else 0
        columns = classes if 0 < classes <= 10 else 8
        count = 8 * columns
        context = replace(self.context, step=0, batch=count, rows=slice(count), split="preview")
        latents, rows = context.normal("latents", model.noise_shape), None
        if conditions is not None and conditions.names:
            rows = torch.zeros(count, conditions.width, device=self.device)
            if not model.unconditional and conditions.names != (CLASS,):
                batch = self._batch(images.take(np.arange(count) % len(images)))
                rows = conditions.encode(batch.labels, batch.attributes)
            if by_class:
                labels = torch.arange(count, device=self.device) % classes
                rows[:, conditions.place(CLASS)] = nn.functional.one_hot(labels, classes).float()
        pictures = model.sample(latents, rows, model.SamplingOptions())
        return list(to_uint8(pictures).reshape(8, columns, *self.spec.shape))

    @contextmanager
    def _as_measured(self) -> Iterator[Model]:
        """The network as it would be saved, in evaluation mode; in training mode again afterwards."""
        model = self.ema_model.eval()
        with torch.no_grad():
            yield model
        model.train()

    # -- state -------------------------------------------------------------------------------------------------

    def state(self) -> Arrays:
        """Weights, average and optimizers, by name."""
        named = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.averaged is not None:
            named |= {f"average.{name}": value for name, value in self.averaged.state_dict().items()}
        for phase, optimizer in zip(self._phases, self.optimizers, strict=True):
            for index, entries in optimizer.state_dict()["state"].items():
                named |= {
                    f"optimizer.{phase.name}.{index}.{key}": torch.as_tensor(value)
                    for key, value in entries.items()
                    if value is not None
                }
        return {name: value.detach().cpu().numpy() for name, value in named.items()}

    def load_state(self, arrays: Arrays) -> None:
        """Go back to what `state` gave. Raises RunError when it belongs to another network."""
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        try:
            self._check_state(tensors)
            self.model.load_state_dict(_below("model.", tensors))
            if self.averaged is not None:
                self.averaged.load_state_dict(_below("average.", tensors))
            for phase, optimizer in zip(self._phases, self.optimizers, strict=True):
                entries: dict[int, dict[str, Tensor]] = {}
                for name, value in _below(f"optimizer.{phase.name}.", tensors).items():
                    index, key = name.split(".", 1)
                    entries.setdefault(int(index), {})[key] = value
                optimizer.load_state_dict({**optimizer.state_dict(), "state": entries})
                for parameter, kept in optimizer.state.items():
                    for key, value in kept.items():
                        if isinstance(value, Tensor) and value.shape == parameter.shape:
                            # fused kernels walk memory as it lies: the state must lie as its parameter does
                            kept[key] = torch.empty_like(parameter).copy_(value)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            said = " ".join(str(error).split())[:300]
            raise RunError(f"The checkpoint does not fit this recipe's network: {said}") from None

    def _check_state(self, tensors: dict[str, Tensor]) -> None:
        """Raises ValueError where an array is of another type than its place, or an optimizer's of another shape.

        PyTorch would convert the one and use the other.
        """
        for prefix, module in (("model.", self.model), ("average.", self.averaged)):
            for name, place in (module.state_dict() if module is not None else {}).items():
                kept = tensors.get(prefix + name)
                if kept is not None and kept.dtype != place.dtype:
                    raise ValueError(f"{prefix}{name} is {kept.dtype}, expected {place.dtype}.")
        for phase in self._phases:
            keys: dict[str, set[str]] = {}
            for name, value in _below(f"optimizer.{phase.name}.", tensors).items():
                index, _, key = name.partition(".")
                if not (index.isdecimal() and int(index) < len(phase.parameters) and key):
                    raise ValueError(f"optimizer.{phase.name}.{name} belongs to no parameter.")
                shape = phase.parameters[int(index)].shape
                if value.shape not in ((), shape) or not value.is_floating_point():
                    raise ValueError(f"optimizer.{phase.name}.{name} is {tuple(value.shape)}, expected {tuple(shape)}.")
                keys.setdefault(index, set()).add(key)
            if any(found != next(iter(keys.values())) for found in keys.values()):
                raise ValueError(f"optimizer.{phase.name} keeps other things of some parameters than of others.")

    def weights(self) -> Arrays:
        """The network to measure and save, on the CPU."""
        return {name: value.detach().cpu().numpy() for name, value in self.ema_model.state_dict().items()}

    # -- the rest of the contract ------------------------------------------------------------------------------

    def any_process(self, *flags: bool) -> list[bool]:
        """Of each, whether any process says yes; all processes must ask at the same step."""
        if self.world == 1:
            return list(flags)
        asked = torch.tensor(flags, dtype=torch.float32, device=self.device)
        return [count > 0 for count in self.accelerator.reduce(asked, "sum").tolist()]

    def describe(self) -> Tree:
        """Device, precision, threads and versions."""
        device = {
            "kind": self.device.type,
            "name": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else processor(),
            "threads": torch.get_num_threads(),
            "parts": len(self._parts.models),
            "processes": self.world,
            "precision": self.precision,
            "precision_because": self._why,
        }
        return described(device, "torch", "numpy")

    def layers(self, images: Images) -> list[Layer]:
        """The leaves of the module tree in the order in which a step calls them first, then those with parameters that
        it does not call: of a network that grows, what is in use only while it does.
        """
        # a parametrized layer is a leaf, with what its parametrizations hold
        leaves = {
            name: module
            for name, module in self.model.named_modules()
            if all(child == "parametrizations" for child, _ in module.named_children())
            and "parametrizations" not in name.split(".")
        }
        found: dict[str, Layer] = {}
        hooks = []
        for name, module in leaves.items():

            def note(module: nn.Module, given: tuple[object, ...], output: Tensor, name: str = name) -> None:
                if output is not given[0]:  # what hands on what it was given is not a layer: a dropout of 0, say
                    size = output.numel() * output.element_size()
                    found.setdefault(name, _layer(name, module, tuple(output.shape[1:]) or (1,), size))

            hooks.append(module.register_forward_hook(note))
        self._parts = Parts(self.model, 1, self._autocast)  # a batch goes through it as a whole
        self.step(1, [images] * self.draws)  # the end of a training of one step: all is grown
        for hook in hooks:
            hook.remove()
        resting = [_layer(name, module, (), 0) for name, module in leaves.items() if name not in found]
        return [*found.values(), *(layer for layer in resting if layer.parameters + layer.measured)]

    def stretches(self, steps: int) -> list[tuple[int, int]]:
        """Parts of a training of so many steps in which the same phases take theirs."""
        for phase in self._phases:
            first, end = phase.steps(steps)
            if first >= end:
                raise RecipeError(
                    f"training.steps: {steps:,} is too few: there is none for the phase {phase.name!r}, between "
                    f"{phase.span[0]:.0%} and {phase.span[1]:.0%} of them. Train longer."
                )
        bounds = sorted({bound for phase in self._phases for bound in phase.steps(steps)} | {0, steps})
        return list(pairwise(bounds))

    def phases(self) -> list[str]:
        """Each phase with its optimizer, learning rate and number of parameters."""
        lines = []
        for phase in self._phases:
            options = phase.optimizer or self.options.optimizer
            count = sum(p.numel() for p in phase.parameters)
            times = f", {phase.batches} times on fresh batches" if phase.batches > 1 else ""
            times += f", {phase.repeats} times on each batch" if phase.repeats > 1 else ""
            lines.append(
                f"{phase.name} ({options.kind}, learning rate {options.learning_rate:g}, {count:,} parameters{times})"
            )
        return lines

    def weight_stats(self) -> dict[str, list[float]]:
        """Nothing so far."""
        return {}

    def track(self, values: Values, step: int) -> None:
        """Send numbers to the recipe's tracker."""
        if self._tracks_as is not None:
            if not self.accelerator.trackers:  # not before the run's folder is the run's
                self.accelerator.init_trackers(self._tracks_as)
            self.accelerator.log(values, step=step)

    def wait(self) -> None:
        """Until every process is here."""
        self.accelerator.wait_for_everyone()

    def close(self) -> None:
        """End the tracker, and let others have as many threads as before."""
        torch.set_num_threads(self._threads)
        if self.options.tracker:
            self.accelerator.end_training()


def _layer(name: str, module: nn.Module, shape: tuple[int, ...], output_bytes: int) -> Layer:
    count = sum(p.numel() for p in module.parameters())
    measured = sum(b.numel() for b in module.buffers(recurse=False) if b.is_floating_point())
    return Layer(name, type(module).__name__.removeprefix("Parametrized"), shape, count, output_bytes, measured)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
