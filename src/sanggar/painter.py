"""A painter: the trained network of a run, on uint8 pictures. It knows neither training nor HTTP."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8

from sanggar import recipe
from sanggar.data.batches import address
from sanggar.data.gathered import GatheredOptions, gathered_picture
from sanggar.data.images import Attribute, Facts, Images, as_pixels, read_images, to_float, to_uint8
from sanggar.errors import DataError, RunError, suggest
from sanggar.models.conditions import CLASS, Conditions
from sanggar.models.family import CAPABILITIES, CHUNK, Moment
from sanggar.models.noise import NoiseOptions
from sanggar.plan import Model, Plan, resolve
from sanggar.runs import Run, load_arrays

Pixels = UInt8[np.ndarray, "n height width channels"]
Vectors = Float[np.ndarray, "n latent"]
Classes = Int64[np.ndarray, "n"]
Told = Float[np.ndarray, "n numbers"]
Label = int | str | None
"""A class by number or name; None: each in turn"""
Given = np.ndarray | str | Path | Sequence[str | Path]
"""Pictures as a caller has them: a uint8 array, or the names of files"""


def plan_of(run: Run, family: type[Model] | None = None) -> Plan:
    """The plan that a run was made by."""
    text = run.recipe_text()
    return resolve(recipe.read(recipe.parse(text, str(run.recipe_file))), family)


def facts_of(run: Run) -> Facts:
    """What the run's pictures are like, without looking at the data."""
    data = run.info["data"]
    attributes = (Attribute(**{**column, "values": tuple(column["values"])}) for column in data.get("attributes", ()))
    return Facts(data["height"], data["width"], data["channels"], tuple(data["classes"]), tuple(attributes))


class Painter:
    """The network of a run, ready for pictures.

    Pictures are uint8 arrays `(N, H, W)` or `(N, H, W, C)` of the run's size, or names of files; what comes
    back is uint8 `(N, H, W, C)` or, for latents, float32 `(N, latent)`. The network computes in float32 and in
    evaluation mode. Raises RunError when the weights are missing or damaged, and when the model lacks a
    capability.
    """

    def __init__(self, run: Run, family: type[Model] | None = None, device: str | None = None) -> None:
        self.run = run
        self.plan = plan_of(run, family)
        self.facts = facts_of(run)
        if not run.weights_file.is_file():
            raise RunError(
                f"{run.path} has no weights yet: its training is {run.status} at step {run.info.get('step', 0)}. "
                f"`sanggar train --resume {run.path}` goes on."
            )
        arrays, meta = load_arrays(run.weights_file)
        self.step: int = meta["step"]
        """of the weights: behind the checkpoint's, while a finished run is made longer"""
        self.model: Any = build(self.plan, self.facts)  # asked for capabilities that no type knows
        try:
            self.model.load(arrays)
        except ValueError as error:
            raise RunError(f"{run.weights_file} does not fit the recipe beside it: {error}") from None
        self.model.ready(device)

    def can(self, capability: str) -> bool:
        """Whether the model has a capability: one of CAPABILITIES."""
        return isinstance(self.model, CAPABILITIES[capability])

    def _compute(self, capability: str, *arrays: np.ndarray, **how: float) -> np.ndarray:
        found: np.ndarray = self.model.compute(capability, *arrays, **how)
        return found

    def _seen(self, capability: str, images: Given, *arrays: np.ndarray) -> np.ndarray:
        """What the model computes of pictures, which are not looked at where it cannot."""
        self.need("posterior" if capability == "weigh" else capability)
        return self._compute(capability, self.pixels(images), *arrays)

    def need(self, capability: str) -> None:
        """Raises RunError in words when the model has not this capability."""
        if not self.can(capability):
            able = ", ".join(name for name in CAPABILITIES if self.can(name)) or "nothing that is asked for by name"
            family = self.run.recipe_file.parent.name
            raise RunError(f"{family} cannot {capability}: its model ({type(self.model).__name__}) can {able}.")

    def pixels(self, images: Given) -> Pixels:
        """Whatever the caller has, as uint8 `(N, H, W, C)`. Raises DataError when it does not fit the network."""
        if isinstance(images, np.ndarray):
            single = images.ndim == 2 or (images.ndim == 3 and images.shape[2] == self.facts.channels > 1)
            return as_pixels(images[None] if single else images, self.facts)
        names = [images] if isinstance(images, (str, Path)) else images
        return np.concatenate([self.read(name)[0] for name in names])

    def read(self, images: str | Path) -> tuple[Pixels, list[str]]:
        """The pictures of a file, a folder or an `.npz`, and their names. Raises DataError when they do not fit.

        Where the network learned from gathered pictures, whatever files hold is made a picture of its size as theirs
        was: nothing else would be what it was shown.
        """
        data = self.plan.data
        read = partial(gathered_picture, options=data) if isinstance(data, GatheredOptions) else None
        return read_images(images, self.facts, read)

    def _one(self, images: Given) -> Pixels:
        pixels = self.pixels(images)
        if len(pixels) != 1:
            where = "" if isinstance(images, np.ndarray) else f"{images}: "
            raise DataError(f"{where}{len(pixels)} pictures; expected one.")
        return pixels

    def encode(self, images: Given) -> Vectors:
        """The latent of each picture, float32 `(N, latent)`: where there is a posterior, its mean."""
        return self._seen("encode", images)

    def reconstruct(self, images: Given, told: Told | None = None) -> Pixels:
        """Each picture as the network holds it to be, undisturbed; `told` is what `told` gives, or nothing."""
        return self._seen("reconstruct", images, *_given(told))

    @property
    def conditions(self) -> Conditions | None:
        """What the decoder is told beside the latent; None where it is told nothing."""
        found: Conditions | None = getattr(self.model, "conditions", None)
        return found if found is not None and found.names else None

    def told(self, images: Images) -> Told | None:
        """What the decoder is told of pictures, float32 `(N, numbers)`; None where it is told nothing."""
        conditions = self.conditions
        if conditions is None:
            return None
        known = (None if array is None else torch.from_numpy(array) for array in (images.labels, images.attributes))
        return np.asarray(conditions.told(*known))

    def posterior(self, images: Given) -> Float[np.ndarray, "n 2 latent"]:
        """Mean and logarithm of the variance of each picture's latent, float32."""
        return self._seen("posterior", images)

    def weigh(self, images: Given, noise: Vectors, told: Told | None = None) -> Float[np.ndarray, "n 3"]:
        """With z = μ + σ · noise: log p(x | z), log p(z), log q(z | x) of each picture, in nats."""
        return self._seen("weigh", images, noise, *_given(told))

    def regret(
        self, images: Given, noise: Float[np.ndarray, "n draws latent"], told: Told | None = None
    ) -> Float[np.ndarray, "n 2"]:
        """The bound of each picture in nats: with its posterior, and with one fitted to it alone, never lower."""
        return self._seen("regret", images, noise, *_given(told))

    def classify(self, images: Given) -> Vectors:
        """The probability of each class for each picture, float32 `(N, classes)`."""
        return self._seen("classify", images)

    @property
    def conditional(self) -> bool:
        """Whether pictures are drawn of a class that is asked for."""
        self.need("sample")
        return bool(self.model.conditional)

    def latents(self, count: int, seed: int = 0) -> Vectors:
        """`count` standard normal latents, drawn on the CPU: the first of many are the same as the first of few."""
        self.need("sample")
        parts = []
        for number, start in enumerate(range(0, count, CHUNK)):
            generator = torch.Generator().manual_seed(address(seed, "sample", number))
            whole = torch.randn((CHUNK, self.model.latent_size), generator=generator).numpy()
            parts.append(whole[: count - start])
        return np.concatenate(parts)

    def labels(self, count: int, label: Label = None) -> Classes | None:
        """The classes that `count` pictures are asked to be of: the one named, or each in turn.

        None where the model is not told. Raises RunError for a class that does not exist.
        """
        self.need("sample")
        classes = self.facts.classes
        if not self.conditional:
            if label is not None:
                raise RunError(f"{self.plan.name} is not told classes: it cannot be asked for {label!r}.")
            return None
        if label is None:
            return np.arange(count, dtype=np.int64) % len(classes)
        if isinstance(label, str) and label not in classes and label.isdecimal():
            label = int(label)
        if isinstance(label, str):
            if label not in classes:
                raise RunError(f"There is no class {label!r}. {suggest(label, classes)}")
            label = classes.index(label)
        if not 0 <= label < len(classes):
            known = ", ".join(f"{i} {name}" if name != str(i) else name for i, name in enumerate(classes))
            raise RunError(f"There is no class {label}. Known: {known}.")
        return np.full(count, label, np.int64)

    def paint(self, latents: np.ndarray, labels: np.ndarray | None = None, truncation: float = 1.0) -> Pixels:
        """The picture of each latent, float `(N, latent)`, of the classes `(N,)` asked for.

        Where the network has no prior, what it decodes.
        """
        latents = np.asarray(latents, np.float32)
        if not self.can("sample") and labels is None and truncation == 1:
            return self.decode(latents)
        given = (latents,) if labels is None else (latents, np.asarray(labels, np.int64))
        self.need("sample")
        return self._compute("sample", *given, truncation=truncation)

    def sample(
        self, count: int, label: Label = None, seed: int = 0, truncation: float = 1.0,
        attributes: Mapping[str, str] | None = None,
    ) -> Pixels:  # fmt: skip
        """`count` new pictures; the same seed gives the same pictures. Raises RunError, see `samples`."""
        return np.concatenate([pixels for pixels, _ in self.samples(count, label, seed, truncation, attributes)])

    def samples(
        self, count: int, label: Label = None, seed: int = 0, truncation: float = 1.0,
        attributes: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[Pixels, Classes | None]]:  # fmt: skip
        """The same, some pictures at a time, with the classes they were asked to be of: for more than memory holds.

        `truncation` is the temperature where there is a posterior, and may be above 1 there; `attributes` are values
        by name, of those that the network is told. Raises RunError for what it cannot be asked.
        """
        if count < 1:
            raise RunError(f"count: expected a whole number above 0, got {count}.")
        warm = self.can("posterior")
        if not 0 < truncation <= (sys.float_info.max if warm else 1):
            raise RunError(f"truncation: expected above 0{'' if warm else ' and at most 1'}, got {truncation:g}.")
        labels, latents, told = self.labels(count, label), self.latents(count, seed), self._asked(attributes or {})
        for start in range(0, count, CHUNK):
            part = None if labels is None else labels[start : start + CHUNK]
            few = latents[start : start + CHUNK]
            if told is None:
                yield self.paint(few, part, truncation), part
                continue
            rows = np.tile(told, (len(few), 1))
            if part is not None and self.conditions is not None:
                rows[:, self.conditions.place(CLASS)] = np.eye(len(self.facts.classes), dtype=np.float32)[part]
            yield self.decode(few * np.float32(truncation), rows), part

    def _asked(self, attributes: Mapping[str, str]) -> Told | None:
        """What the decoder is told where attributes are asked for; None where none are."""
        if not attributes:
            return None
        if self.conditions is None:
            raise RunError(f"{self.plan.name} is not told attributes: it cannot be asked for {', '.join(attributes)}.")
        return self.conditions.asked(attributes).numpy()[None]

    def neurons(self) -> dict[str, np.ndarray]:
        """By layer, `(inputs + 1, outputs)`: a column is a neuron, its weights and, in the last row, its bias."""
        self.need("neurons")
        found: dict[str, np.ndarray] = self.model.neurons()
        return found

    def neuron_gradients(self, images: Given, labels: np.ndarray) -> dict[str, np.ndarray]:
        """The gradients by the neurons of the mean loss on pictures of known class, in the same shape."""
        self.need("neurons")
        found: dict[str, np.ndarray] = self.model.neuron_gradients(self.pixels(images), labels)
        return found

    @property
    def noise(self) -> NoiseOptions:
        """The noise that the network was trained against."""
        self.need("disturb")
        noise: NoiseOptions = self.model.options.noise
        return noise

    @property
    def data_name(self) -> str:
        """What the run was trained on: source, start of the fingerprint, its own test split, classes kept alone."""
        data, chosen = self.run.info["data"], self.plan.data
        drawn = "" if chosen.test is None else f", {chosen.test} test pictures drawn by seed {chosen.seed}"
        alone = "" if chosen.only is None else f", {', '.join(sorted(chosen.only))} alone"
        return f"{data['source']} {data['fingerprint'][:12]}{drawn}{alone}"

    def disturb(self, images: Given, level: float, seed: int = 0) -> Pixels:
        """The pictures with noise of the kind the network was trained against, clamped and rounded to uint8.

        The same pictures, level and seed give the same noise; two levels differ by scale alone.
        """
        self.need("disturb")
        pixels, parts = self.pixels(images), []
        for number, start in enumerate(range(0, len(pixels), CHUNK)):
            chunk = to_float(torch.from_numpy(np.require(pixels[start : start + CHUNK], requirements=["C", "W"])))
            # drawn on the CPU, so that every machine measures with the same noise
            moment = Moment(seed, number, 1, len(chunk), slice(len(chunk)), torch.device("cpu"), split="measured")
            parts.append(to_uint8(self.model.disturb(chunk, moment, level)))
        return np.concatenate(parts)

    def decode(self, latents: np.ndarray, told: Told | None = None) -> Pixels:
        """The picture of each latent, float `(N, latent)`; `told` is what `told` gives, or nothing."""
        self.need("decode")
        return self._compute("decode", np.asarray(latents, np.float32), *_given(told))

    def interpolate(self, first: Given, second: Given, steps: int, arc: bool = False) -> Pixels:
        """`steps` pictures between two pictures' latents, both ends included: on the straight line, or on the arc.

        Raises DataError where an end is not one picture.
        """
        self.need("encode")
        ends = [self.encode(self._one(images))[0] for images in (first, second)]
        if arc:
            return self.decode(slerp(ends[0], ends[1], steps))
        way = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        return self.decode((1 - way) * ends[0] + way * ends[1])

    def between_four(self, corners: Sequence[Given], edge: int, told: Told | None = None) -> Pixels:
        """`edge` × `edge` pictures in reading order, by straight lines between the latents of four: upper left, upper
        right, lower left, lower right; what is told of them is mixed likewise.

        Raises DataError where a corner is not one picture.
        """
        self.need("encode")
        latents = np.concatenate([self.encode(self._one(images)) for images in corners])
        right, down = np.meshgrid(*[np.linspace(0, 1, edge, dtype=np.float32)] * 2)
        shares = np.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], axis=-1)
        mixed = shares.reshape(-1, 4)
        return self.decode(mixed @ latents, None if told is None else mixed @ told)


def slerp(first: Float[np.ndarray, "d"], last: Float[np.ndarray, "d"], steps: int) -> Float[np.ndarray, "steps d"]:
    """Points on the arc from one latent to another, both included (Shoemake 1985; White 2016, arXiv:1609.04468).

    A straight line between two normal draws passes where hardly any draw lies, nearer to the origin; the arc does
    not. Latents in one direction or in opposite ones make no arc: between them the line is taken.
    """
    way = np.linspace(0, 1, steps)[:, None]
    lengths = float(np.linalg.norm(first)) * float(np.linalg.norm(last))
    angle = np.arccos(np.clip(np.dot(first, last) / lengths, -1, 1)) if lengths else 0.0
    if np.sin(angle) < 1e-6:
        found = (1 - way) * first + way * last
    else:
        found = (np.sin((1 - way) * angle) * first + np.sin(way * angle) * last) / np.sin(angle)
    return np.asarray(found, first.dtype)


def _given(told: Told | None) -> tuple[Told, ...]:
    return () if told is None else (told,)


def open(path: str | Path | Run, device: str | None = None, family: type[Model] | None = None) -> Painter:
    """The trained network of the run at `path`; the run itself is its `.run`."""
    return Painter(path if isinstance(path, Run) else Run(path), family, device)


def build(plan: Plan, facts: Facts, seed: int = 0) -> Model:
    """The plan's network, its first weights drawn from `seed`."""
    return plan.family.build(plan.model, facts, seed)
