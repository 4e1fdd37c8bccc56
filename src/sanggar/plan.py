"""A plan: a recipe resolved against the tables into typed options, every default filled in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, Field, TypeAdapter, field_validator, model_validator

from sanggar.data.dataset import DataOptions, Dataset, Source
from sanggar.data.images import Attribute, Facts
from sanggar.data.sources import SOURCES
from sanggar.errors import RecipeError, RunError, suggest
from sanggar.models.augment import AugmentationOptions
from sanggar.models.autoencoder import Autoencoder
from sanggar.models.classifier import Classifier
from sanggar.models.family import Family
from sanggar.models.ffnn import FeedForward
from sanggar.models.gan import GAN
from sanggar.models.inception import find_weights
from sanggar.models.judge import JUDGES, judge_for
from sanggar.models.optimizers import Adam, Constant, OptimizerOptions, ScheduleOptions
from sanggar.models.vae import VAE
from sanggar.options import Options, validated
from sanggar.recipe import PARTS, Recipe, to_yaml
from sanggar.runs import Run

Model = Family | FeedForward
"""A network, whatever computes it: both kinds are built, loaded and asked in the same way, NumPy in and NumPy out."""

FAMILIES: dict[str, type[Model]] = {
    "autoencoder": Autoencoder,
    "ffnn": FeedForward,
    "classifier": Classifier,
    "vae": VAE,
    "gan": GAN,
}

MEASURED = 12
"""Attributes that are measured where the recipe names none: the first."""

Level = Annotated[float, Field(gt=0, le=2)]


class EarlyStopping(Options):
    """Stop when the validation loss has not fallen for a while. The weights stay those of the last step."""

    patience: int = Field(default=5, ge=1)
    """validations without a new lowest loss before training stops"""


class TrainingOptions(Options):
    """How the network is trained. Either `epochs` or `steps` says how long."""

    epochs: int | None = Field(default=None, ge=1)
    """passes over the training pictures"""
    steps: int | None = Field(default=None, ge=1)
    """steps of the loop; a step walks every phase once"""
    batch_size: int = Field(default=128, ge=1)
    """pictures in a batch, over all processes"""
    optimizer: OptimizerOptions = Adam()
    schedule: ScheduleOptions = Constant()
    clip_gradient: float | None = Field(default=None, gt=0)
    """largest norm of a phase's gradient; longer ones are shortened to it"""
    augmentation: AugmentationOptions | None = None
    """what is done at random to training pictures; never to validation or test ones"""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """decay of the averaged weights, which are then the ones measured and saved; it begins lower and rises to this"""
    early_stopping: EarlyStopping | None = None
    validate_every: int | None = Field(default=None, ge=1)
    """steps between validations; none: an epoch"""
    checkpoint_every: int | None = Field(default=None, ge=1)
    """steps between checkpoints, which are kept after two minutes in any case; none: at each validation"""
    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the processor computes in it natively, else fp32; losses and noise are fp32 always"""
    compile: bool = False
    """hand the networks to torch.compile: a slow start, then faster steps"""
    tracker: Literal["tensorboard", "wandb", "mlflow", "trackio"] | None = None
    """also send the metrics there, through Accelerate; the tracker's package must be installed"""

    @model_validator(mode="after")
    def _one_length(self) -> TrainingOptions:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps")
        return self

    def total_steps(self, steps_per_epoch: int) -> int:
        """Steps in all, given how many make an epoch."""
        return self.steps if self.steps is not None else cast("int", self.epochs) * steps_per_epoch

    def validation_interval(self, steps_per_epoch: int) -> int:
        """Steps between two validations."""
        return self.validate_every or steps_per_epoch


class EvaluationOptions(Options):
    """What is measured, and on how many pictures. Nothing here changes the training."""

    images: int | None = Field(default=None, ge=20)
    """test pictures, from the first; none: all"""
    noise_levels: tuple[Level, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    """levels of noise that reconstructions are measured at, beside the one trained on; none: that one alone"""
    classical_images: int = Field(default=1000, ge=10)
    """test pictures on which the classical denoisers and the network are compared; fewer where pictures are large"""
    tuning_images: int = Field(default=100, ge=5)
    """validation pictures on which the classical denoisers are tuned; fewer likewise"""
    probe_images: int = Field(default=10_000, ge=20)
    """training pictures, with labels, for the linear probe and the nearest neighbours"""
    map_images: int = Field(default=2000, ge=20)
    """test pictures on the latent map and in the silhouette"""
    bound_images: int = Field(default=500, ge=20)
    """test pictures, from the first, of which the importance-weighted bound is taken: a hundred draws of each"""
    samples: int = Field(default=10_000, ge=20)
    """generated pictures that are measured; as many as there are test pictures, where those are fewer"""
    feature_network: str = "judge"
    """whose features generated pictures are measured by: the source's own judge, another judge by its name, or
    `inception`, the network that defines FID"""
    attributes: tuple[str, ...] = ()
    """attributes that are probed and edited; none: the first twelve"""
    anomaly_images: int | None = Field(default=1000, ge=20)
    """test pictures, and validation pictures, on which anomaly scores are measured; none: all"""
    regret_steps: int = Field(default=10, ge=0)
    """Adam steps that fit a posterior to each of them, for the likelihood regret; 0: it is not measured"""
    seed: int = Field(default=0, ge=0)
    """of the noise and of every draw made while measuring"""

    @field_validator("feature_network")
    @classmethod
    def _known(cls, name: str) -> str:
        known = ("judge", "inception", *JUDGES)
        if name not in known:
            raise ValueError(f"there is no {name!r}. {suggest(name, known).removesuffix('.')}")
        return name


@dataclass(frozen=True)
class Plan:
    """A recipe that makes sense: what each name in it stands for, and every option with its type."""

    name: str
    about: str
    data: DataOptions
    model: Options
    training: TrainingOptions
    evaluation: EvaluationOptions
    source: Source
    family: type[Model]

    @cached_property
    def facts(self) -> Facts:
        """What a network has to know of the pictures; of one's own pictures only their files can tell."""
        return self.source.facts_for(self.data)

    def data_of(self, run: Run) -> Dataset:
        """The data that a run of this plan was trained on.

        Raises RunError where the source holds others by now, DataError where they are missing.
        """
        dataset: Dataset = self.source.load(self.data)
        if dataset.fingerprint != (known := run.info["data"]["fingerprint"]):
            raise RunError(
                f"{run.path} was trained on other data than {self.data.source} holds now: they have fingerprint "
                f"{dataset.fingerprint[:16]}…, the run {known[:16]}…."
            )
        return dataset

    def check(self) -> None:
        """Raises RecipeError for what is measured, and these pictures do not allow: sooner than at the end.

        Raises DataError when Inception's weights are asked for and cannot be had.
        """
        if self.evaluation.feature_network in JUDGES:
            judge_for(self.evaluation.feature_network, self.data.source, self.facts)
        elif self.evaluation.feature_network == "inception":
            find_weights()
        measured_attributes(self.facts, self.evaluation.attributes)

    def tree(self) -> dict[str, Any]:
        """The resolved recipe as plain values: running it again gives the same run."""
        parts = {part: getattr(self, part).model_dump(mode="json") for part in PARTS}
        return {"name": self.name, "about": self.about, **parts}

    def yaml(self) -> str:
        """The resolved recipe as YAML."""
        return to_yaml(self.tree())

    def identity(self, fingerprint: str) -> str:
        """Hash of what makes a run what it is: the recipe (its name and text aside), the data, this package."""
        tree = {part: value for part, value in self.tree().items() if part not in ("name", "about")}
        content = json.dumps([tree, fingerprint, version("sanggar")], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def differing(one: Plan, other: Plan) -> list[str]:
    """The keys of two resolved recipes that hold different values, `training.steps` say."""
    old, new = one.tree(), other.tree()
    return [key for key in ("name", "about") if old[key] != new[key]] + [
        f"{part}.{key}" for part in PARTS for key in new[part]
        if old[part].get(key) != new[part][key]
    ]  # fmt: skip


def measured_attributes(facts: Facts, wanted: Sequence[str] = ()) -> tuple[Attribute, ...]:
    """The attributes that are wanted, else the first of these pictures'. Raises RecipeError for an unknown one."""
    known = {column.name: column for column in facts.attributes}
    for name in wanted:
        if name not in known:
            raise RecipeError(f"evaluation.attributes: there is no attribute {name!r}. {suggest(name, known)}")
    return tuple(known[name] for name in wanted) or facts.attributes[:MEASURED]


def resolve(recipe: Recipe, family: type[Model] | None = None) -> Plan:
    """The plan of a recipe. `family` is a class of the caller's own, instead of one in the table.

    Raises RecipeError that names the key, what was expected there, and the nearest known name.
    """
    where = recipe.name
    source = SOURCES[_choice(where, "data.source", recipe.data, "source", SOURCES)]
    if family is None:
        family = FAMILIES[_choice(where, "model.family", recipe.model, "family", FAMILIES)]
    elif "family" not in family.Options.model_fields:
        recipe = Recipe(**{**recipe.tree(), "model": {k: v for k, v in recipe.model.items() if k != "family"}})
    return Plan(
        name=recipe.name,
        about=recipe.about,
        data=validated(where, "data", source.Options, recipe.data),
        model=validated(where, "model", family.Options, recipe.model),
        training=validated(where, "training", TrainingOptions, recipe.training),
        evaluation=validated(where, "evaluation", EvaluationOptions, recipe.evaluation),
        source=source,
        family=family,
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of recipes, for editors that complete and check YAML as it is written."""
    parts: dict[str, type[BaseModel]] = {
        "training": TrainingOptions, "evaluation": EvaluationOptions,
        **{f"data_{name}": source.Options for name, source in SOURCES.items()},
        **{f"model_{name}": family.Options for name, family in FAMILIES.items()},
    }  # fmt: skip
    definitions: dict[str, Any] = {}
    for part, options in parts.items():
        found = TypeAdapter(options).json_schema(ref_template="#/$defs/{model}")
        definitions.update(found.pop("$defs", {}))
        definitions[part] = found
    for name in SOURCES:
        definitions[f"data_{name}"]["properties"]["source"]["const"] = name
    text = {"type": "string"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A sanggar recipe",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": text,
            "about": text,
            "base": text,
            **{part: {"$ref": f"#/$defs/{part}"} for part in ("training", "evaluation")},
            "data": {"anyOf": [{"$ref": f"#/$defs/data_{name}"} for name in SOURCES]},
            "model": {"anyOf": [{"$ref": f"#/$defs/model_{name}"} for name in FAMILIES]},
        },
        "$defs": definitions,
    }


def _choice(where: str, path: str, part: Mapping[str, Any], key: str, table: Mapping[str, Any]) -> str:
    name = part.get(key)
    if name is None:
        raise RecipeError(f"{where}: {path}: missing. Known: {', '.join(table)}.")
    if not isinstance(name, str) or name not in table:
        raise RecipeError(f"{where}: {path}: there is no {name!r}. {suggest(name, table)}")
    return name
