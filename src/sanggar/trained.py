"""A trained model: the network of a run on uint8 pictures, NumPy in and NumPy out. It knows nothing of training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8

from sanggar import recipe
from sanggar.data.image_folder import ImageFolderOptions, folder_picture
from sanggar.data.images import CHUNK, Attribute, Images, ImageSpec, as_pixels, read_images, to_float, to_uint8
from sanggar.errors import DataError, RecipeError, RunError
from sanggar.models.base import Model, SamplingOptions, StepContext
from sanggar.models.capabilities import CAPABILITIES, capabilities_of
from sanggar.models.conditions import CLASS, Conditions
from sanggar.models.noise import NoiseOptions
from sanggar.options import validated
from sanggar.plan import AnyModel, Plan, build, resolve
from sanggar.resources import check_memory
from sanggar.runs import Run, load_arrays
from sanggar.seeding import address, checked

Pixels = UInt8[np.ndarray, "n height width channels"]
Vectors = Float[np.ndarray, "n latent"]
Posterior = Float[np.ndarray, "n 2 latent"]
Noise = Float[np.ndarray, "n ..."]
Labels = Int64[np.ndarray, "n"]
Rows = Float[np.ndarray, "n condition"]
"""Conditions as numbers, a row a picture"""
Wanted = Mapping[str, str | int]
"""A condition by name: the class under `class`, attributes under theirs"""
Given = np.ndarray | str | Path | Sequence[str | Path]
"""Pictures as a caller has them: a uint8 array, or names of files"""


@dataclass(frozen=True)
class Likelihood:
    """Facts about a model's p(x | z)."""

    pixels: str
    """what pixels are taken for; nats compare within one such convention alone"""
    discrete: bool
    """whether its nats make bits per dimension"""
    deviation: float | None
    """of normally distributed pixels, on [-1, 1]"""


def plan_of(run: Run, family: type[AnyModel] | None = None) -> Plan:
    """Plan that a run was made by. `family` is a class of the caller's own, where the recipe names none to import."""
    return resolve(recipe.read_stored(run.recipe_text(), str(run.recipe_file)), family)


def spec_of(run: Run) -> ImageSpec:
    """Specification of a run's pictures, without looking at the data."""
    data = run.info["data"]
    attributes = (Attribute(**{**column, "values": tuple(column["values"])}) for column in data.get("attributes", ()))
    return ImageSpec(data["height"], data["width"], data["channels"], tuple(data["classes"]), tuple(attributes))


class TrainedModel:
    """The network of a run, ready for pictures; of a run that is still training, as its last interval left it.

    Pictures are uint8 arrays `(N, H, W)` or `(N, H, W, C)` of the run's size, or names of files; what comes back is
    uint8 `(N, H, W, C)` or, for latents, float32 `(N, latent)`. The network computes in float32 and in evaluation mode.
    Raises RunError when the weights are missing or damaged, and when the model lacks a capability.
    """

    def __init__(self, run: Run, family: type[AnyModel] | None = None, device: str | None = None) -> None:
        self.run = run
        self.plan = plan_of(run, family)
        self.spec = spec_of(run)
        if not run.weights_file.is_file():
            raise RunError(
                f"{run.path} has no weights yet: its training is {run.status} at step {run.info.get('step', 0)}. "
                f"`sanggar train --resume {run.path}` goes on."
            )
        arrays, meta = load_arrays(run.weights_file)
        step = meta.get("step")
        if type(step) is not int or step < 0:
            raise RunError(f"{run.weights_file} is damaged: it does not say of which step it is.")
        self.step = step
        """of the weights: behind the checkpoint's, while a finished run is made longer"""
        self._model: Any = build(self.plan, self.spec)  # asked for capabilities that no type knows
        try:
            self._model.load(arrays)
        except ValueError as error:
            raise RunError(f"{run.weights_file} does not fit the recipe beside it: {error}") from None
        self._model.eval_on(device)
        self.capabilities = capabilities_of(self._model)
        """names of what can be asked of it, see models.capabilities"""

    # -- facts -------------------------------------------------------------------------------------------------

    def can(self, capability: str) -> bool:
        """Whether the model has a capability: one of CAPABILITIES."""
        return capability in self.capabilities

    def need(self, *capabilities: str) -> None:
        """Raise RunError in words when the model lacks one of these capabilities."""
        for capability in capabilities:
            if not self.can(capability):
                able = ", ".join(name for name in CAPABILITIES if self.can(name)) or "nothing that is asked for by name"
                raise RunError(f"{self.run.path} cannot {capability}: its model ({self.kind}) can {able}.")

    @property
    def costly(self) -> frozenset[str]:
        """Capabilities that take too long for all pictures of a split."""
        costly: frozenset[str] = self._model.costly if isinstance(self._model, Model) else frozenset()
        return costly

    @property
    def kind(self) -> str:
        """Name of the model's class."""
        return type(self._model).__name__

    @property
    def conditions(self) -> Conditions | None:
        """What the model is conditioned on; None where it is unconditional."""
        conditions: Conditions | None = getattr(self._model, "conditions", None)
        return conditions if conditions is not None and conditions.names else None

    @property
    def by_class(self) -> bool:
        """Whether the model is conditioned on the class."""
        return self.conditions is not None and CLASS in self.conditions.names

    @property
    def latent_size(self) -> int:
        """Numbers in a latent. Raises RunError where there is no latent space."""
        size: int | None = getattr(self._model, "latent_size", None)
        if size is None:
            raise RunError(f"{self.run.path} has no latent space: its model is {self.kind}.")
        return size

    @property
    def likelihood(self) -> Likelihood:
        """Facts about p(x | z), or p(x), where the model has one."""
        if not self.can("log_density"):
            self.need("posterior")
        given = self._model.likelihood
        return Likelihood(given.pixels, given.discrete, getattr(given, "deviation", None))

    @property
    def linear(self) -> bool | None:
        """Whether it has a linear path, which began as principal components; None where it could have none."""
        linear: bool | None = getattr(self._model, "linear", None)
        return linear

    @property
    def learned_prior(self) -> str | None:
        """Kind of the prior that was learned; None where there is none."""
        kind: str | None = getattr(self._model, "learned_prior", None)
        return kind

    @property
    def decoder_names(self) -> tuple[str, ...]:
        """What the decoder is conditioned on: all that the model is, but for what its prior alone knows."""
        names: tuple[str, ...] | None = getattr(self._model, "decoder_names", None)
        if self.conditions is None:
            return ()
        return self.conditions.names if names is None else names

    @property
    def prior_names(self) -> tuple[str, ...]:
        """What its learned prior is conditioned on."""
        own: Conditions | None = getattr(getattr(self._model, "prior", None), "own", None)
        return () if own is None else own.names

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the noise that a picture is made from."""
        shape: tuple[int, ...] = self._model.noise_shape
        return shape

    @property
    def beta(self) -> float | None:
        """Weight of the KL divergence at the end of the training; None where there is none."""
        beta: float | None = getattr(self._model, "beta", None)
        return beta

    @property
    def perceptual_judge(self) -> str | None:
        """Name of the judge whose features the model was trained to please."""
        judge: str | None = getattr(self._model, "perceptual_judge", None)
        return judge

    @property
    def noise_options(self) -> NoiseOptions:
        """Noise that the network was trained against."""
        self.need("disturb")
        noise: NoiseOptions = self._model.noise
        return noise

    @property
    def data_name(self) -> str:
        """What the run was trained on: source, start of the fingerprint, its own test split, classes kept alone."""
        data, chosen = self.run.info["data"], self.plan.data
        drawn = "" if chosen.test is None else f", {chosen.test} test pictures drawn by seed {chosen.seed}"
        alone = "" if chosen.only is None else f", {', '.join(sorted(chosen.only))} alone"
        return f"{data['source']} {data['fingerprint'][:12]}{drawn}{alone}"

    # -- pictures ----------------------------------------------------------------------------------------------

    def pixels(self, images: Given) -> Pixels:
        """Bring pictures into uint8 `(N, H, W, C)`. Raises DataError when they do not fit the network."""
        if isinstance(images, np.ndarray):
            single = images.ndim == 2 or (images.ndim == 3 and images.shape[2] == self.spec.channels > 1)
            return as_pixels(images[None] if single else images, self.spec)
        names = [images] if isinstance(images, (str, Path)) else images
        return np.concatenate([self.read(name)[0] for name in names])

    def read(self, images: str | Path) -> tuple[Pixels, list[str]]:
        """Read the pictures of a file, a folder or an `.npz`, and their names. Raises DataError when they do not fit.

        Where the network learned from a folder of pictures, whatever files hold is brought to its size as theirs was:
        nothing else would be what it was trained on.
        """
        data = self.plan.data
        read = partial(folder_picture, options=data) if isinstance(data, ImageFolderOptions) else None
        return read_images(images, self.spec, read)

    def one(self, images: Given) -> Pixels:
        """A single picture. Raises DataError where there is another number of them."""
        pixels = self.pixels(images)
        if len(pixels) != 1:
            where = "" if isinstance(images, np.ndarray) else f"{images}: "
            raise DataError(f"{where}{len(pixels)} pictures; expected one.")
        return pixels

    def encode(self, images: Given) -> Vectors:
        """Latent of each picture, float32 `(N, latent)`; of a model with a posterior, its mean."""
        return self._of_pictures("encode", images)

    def decode(self, latents: np.ndarray, condition: Rows | None = None) -> Pixels:
        """Picture of each latent, float `(N, latent)`, under a condition; None: unconditional."""
        self.need("decode")
        return self._compute("decode", np.asarray(latents, np.float32), *_given(condition))

    def reconstruct(self, images: Given, condition: Rows | None = None) -> Pixels:
        """Reconstruction of each picture, under a condition; None: unconditional."""
        return self._of_pictures("reconstruct", images, *_given(condition))

    def classify(self, images: Given) -> Vectors:
        """Probability of each class for each picture, float32 `(N, classes)`."""
        return self._of_pictures("classify", images)

    def disturb(self, images: Given, level: float, seed: int = 0) -> Pixels:
        """Add noise of the kind the network was trained against; clamped and rounded to uint8.

        The same pictures, level and seed give the same noise; two levels differ by scale alone.
        """
        self.need("disturb")
        pixels, parts = self.pixels(images), []
        for number, start in enumerate(range(0, len(pixels), CHUNK)):
            chunk = to_float(torch.from_numpy(np.require(pixels[start : start + CHUNK], requirements=["C", "W"])))
            # drawn on the CPU, so that every machine measures with the same noise
            part, cpu = slice(len(chunk)), torch.device("cpu")
            context = StepContext(checked(seed), number, 1, len(chunk), part, cpu, split="measured")
            parts.append(to_uint8(self._model.disturb(chunk, context, level)))
        return np.concatenate(parts)

    # -- the bound ---------------------------------------------------------------------------------------------

    def posterior(self, images: Given) -> Posterior:
        """Mean and log variance of each picture's latent, float32."""
        return self._of_pictures("posterior", images)

    def log_weight_terms(
        self, images: Given, posterior: Posterior, noise: Vectors, condition: Rows | None = None
    ) -> Float[np.ndarray, "n 3"]:
        """With z = μ + σ · noise, by the posterior: log p(x | z), log p(z), log q(z | x) of each picture, in nats."""
        self.need("posterior")
        return self._compute("log_weight_terms", self.pixels(images), posterior, noise, *_given(condition))

    def regret(
        self, images: Given, posterior: Posterior, known: Float[np.ndarray, "n weighed"],
        noise: Float[np.ndarray, "n draws latent"], condition: Rows | None = None,
    ) -> Float[np.ndarray, "n 2"]:  # fmt: skip
        """Bound of each picture in nats: with its posterior, and with one fitted to it alone, never lower.

        `known` are log p(x | z) by the posterior, for each of the first draws of noise.
        """
        return self._of_pictures("regret", images, posterior, known, noise, *_given(condition))

    def prior_density(
        self, latents: Vectors, probe: Vectors, condition: Rows | None = None
    ) -> Float[np.ndarray, "n"]:  # fmt: skip
        """Log density of the learned prior at each latent in nats; a flow estimates it with a probe of signs."""
        self.need("prior_density")
        return self._compute("prior_density", latents, probe, *_given(condition))

    def noise_of(self, latents: Vectors, condition: Rows | None = None) -> Vectors:
        """Noise from which the flow of a learned prior leads to each latent."""
        if not self.can("noise_of"):
            raise RunError(f"{self.run.path} has no prior that is a flow (model.prior={{kind: flow}}), to walk by.")
        return self._compute("noise_of", latents, *_given(condition))

    def latent_of(self, noise: Vectors, condition: Rows | None = None) -> Vectors:
        """Latent to which the flow of a learned prior leads from each noise."""
        self.need("noise_of")
        return self._compute("latent_of", noise, *_given(condition))

    def log_density(
        self, images: Given, noise: Noise, condition: Rows | None = None
    ) -> Float[np.ndarray, "n"]:  # fmt: skip
        """Lower bound on each picture's log probability in nats, estimated with uniform noise of the noise's shape."""
        return self._of_pictures("log_density", images, noise, *_given(condition))

    # -- sampling ----------------------------------------------------------------------------------------------

    def noise(self, count: int, seed: int = 0) -> Noise:
        """Standard normal noise of `count` pictures, drawn on the CPU: the first of many are the same as of few."""
        return np.concatenate(list(self._noise(count, seed)))

    def _noise(self, count: int, seed: int) -> Iterator[Noise]:
        """The same, a chunk at a time."""
        self.need("sample")
        check_memory(4.0 * CHUNK * math.prod(self._model.noise_shape), "the noise of a chunk of pictures")
        for number, start in enumerate(range(0, count, CHUNK)):
            generator = torch.Generator().manual_seed(address(checked(seed), "sample", number))
            whole = torch.randn((CHUNK, *self._model.noise_shape), generator=generator).numpy()
            yield whole[: count - start]

    def sampling_options(self, **options: object) -> SamplingOptions:
        """The model's own SamplingOptions. Raises RunError for an option it does not have, or a value out of range."""
        self.need("sample")
        known: type[SamplingOptions] = self._model.SamplingOptions
        for name in options:
            if name not in known.model_fields:
                there = f"It has {', '.join(known.model_fields)}." if known.model_fields else "It has none."
                raise RunError(f"{self.run.path}: sampling from {self.kind} has no option {name!r}. {there}")
        try:
            return validated(self.run.path.name, "sampling", known, options)
        except RecipeError as error:
            raise RunError(str(error)) from None

    @property
    def swept(self) -> str | None:
        """Sampling option that trades variety for typical pictures; None where there is none."""
        self.need("sample")
        swept: str | None = self._model.SamplingOptions.swept
        return swept

    @property
    def solvers(self) -> tuple[str, ...]:
        """Values of the sampling option `solver` that are compared by their steps; none where sampling takes none."""
        solvers: tuple[str, ...] = getattr(self._model, "solvers", ())
        return solvers

    def draw(self, noise: np.ndarray, condition: Rows | None = None, **options: object) -> Pixels:
        """Picture of each noise, float `(N, *noise_shape)`, under a condition; None: unconditional."""
        chosen = self.sampling_options(**options)
        rows = None if condition is None else np.asarray(condition, np.float32)
        return self._compute("sample", np.asarray(noise, np.float32), rows, options=chosen)

    def sample(self, count: int, condition: Wanted | None = None, seed: int = 0, **options: object) -> Pixels:
        """Sample `count` new pictures; the same seed gives the same pictures. See `samples`."""
        if isinstance(count, int | np.integer):
            check_memory(2.0 * int(count) * math.prod(self.spec.shape), f"count: {count:,} pictures")
        return np.concatenate([pixels for pixels, _ in self.samples(count, condition, seed, **options)])

    def samples(
        self, count: int, condition: Wanted | None = None, seed: int = 0, **options: object
    ) -> Iterator[tuple[Pixels, Labels | None]]:
        """Sample pictures a chunk at a time, with the classes they were asked to be of: for more than memory holds.

        `condition` names values; each class comes in turn where the model is conditioned on the class and none is
        named; an empty one leaves everything unconditional. `options` are the model's own. Raises RunError for what it
        cannot be asked.
        """
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise RunError(f"count: expected a whole number above 0, got {count!r}.")
        check_memory(count * 8, f"count: {count:,} pictures, even each one's class alone,")
        self.sampling_options(**options)
        row, labels = self._asked(condition), None
        for number, noise in enumerate(self._noise(count, seed)):
            rows = None if row is None else np.tile(row, (len(noise), 1))
            if rows is not None and self.conditions is not None and self.by_class:
                labels = self._classes(condition, number * CHUNK, len(noise))
                if labels is not None:
                    rows[:, self.conditions.place(CLASS)] = np.eye(len(self.spec.classes), dtype=np.float32)[labels]
            yield self.draw(noise, rows, **options), labels

    def _asked(self, condition: Wanted | None) -> Float[np.ndarray, "condition"] | None:
        """Row of what is asked by name, zeros for the rest; None where the model is unconditional."""
        self.need("sample")
        conditions, wanted = self.conditions, dict(condition or {})
        if conditions is None:
            if wanted:
                names = ", ".join(wanted)
                raise RunError(f"{self.run.path} is not conditioned on anything: it cannot be asked for {names}.")
            return None
        if not self._model.unconditional:
            given = {*wanted, *([CLASS] if condition is None or wanted else [])}
            if missing := [name for name in conditions.names if name not in given]:
                raise RunError(
                    f"{self.run.path} was trained with a condition always given: say what {', '.join(missing)} shall "
                    "be, or train with model.condition_dropout above 0."
                )
        return np.asarray(conditions.row(wanted))

    def _classes(self, condition: Wanted | None, start: int, count: int) -> Labels | None:
        """Classes asked for: the one named, or each in turn; None where none is."""
        assert self.conditions is not None
        if condition is not None and not condition:
            return None
        if condition is None or CLASS not in condition:
            return np.arange(start, start + count, dtype=np.int64) % len(self.spec.classes)
        return np.full(count, self.conditions.class_index(condition[CLASS]), np.int64)

    def rows_of(self, images: Images) -> Rows | None:
        """Condition of pictures whose class and attributes are known, float32; None where the model has none."""
        conditions = self.conditions
        if conditions is None:
            return None
        known = (None if array is None else torch.from_numpy(array) for array in (images.labels, images.attributes))
        return np.asarray(conditions.encode(*known))

    def rows_like(self, images: Images) -> Rows | None:
        """Condition for pictures that are compared with these: of their classes, equally often.

        Attributes are asked for only where the model cannot do without. None: unconditional.
        """
        rows = self.rows_of(images)
        if rows is None or self.conditions is None or not self._model.unconditional:
            return rows
        return self.rows_of_class(images.labels) if self.by_class and images.labels is not None else None

    def rows_of_class(self, labels: Labels) -> Rows | None:
        """Condition that asks for classes alone; None where the model is not conditioned on the class."""
        if self.conditions is None or not self.by_class:
            return None
        rows = np.zeros((len(labels), self.conditions.width), np.float32)
        rows[:, self.conditions.place(CLASS)] = np.eye(len(self.spec.classes), dtype=np.float32)[labels]
        return rows

    # -- neurons -----------------------------------------------------------------------------------------------

    def neurons(self) -> dict[str, np.ndarray]:
        """By layer, `(inputs + 1, outputs)`: a column is a neuron, its weights and, in the last row, its bias."""
        self.need("neurons")
        neurons: dict[str, np.ndarray] = self._model.neurons()
        return neurons

    def neuron_gradients(self, images: Given, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Gradients by the neurons of the mean loss on pictures of known class, in the same shape."""
        self.need("neurons")
        gradients: dict[str, np.ndarray] = self._model.neuron_gradients(self.pixels(images), labels)
        return gradients

    # -- computing ---------------------------------------------------------------------------------------------

    def _compute(self, capability: str, *arrays: np.ndarray | None, **how: object) -> np.ndarray:
        computed: np.ndarray = self._model.compute(capability, *arrays, **how)
        return computed

    def _of_pictures(self, capability: str, images: Given, *arrays: np.ndarray) -> np.ndarray:
        """What the model computes of pictures, which are not opened where it cannot."""
        self.need(capability)
        return self._compute(capability, self.pixels(images), *arrays)


def _given(condition: Rows | None) -> tuple[Rows, ...]:
    return () if condition is None else (condition,)


def open(path: str | Path | Run, device: str | None = None, family: type[AnyModel] | None = None) -> TrainedModel:
    """Open the trained network of the run at `path`; the run itself is its `.run`."""
    return TrainedModel(path if isinstance(path, Run) else Run(path), family, device)
