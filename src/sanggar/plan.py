"""A plan: a recipe resolved against the tables into typed options, every default filled in."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import version
from typing import Any, Literal, cast

from pydantic import BaseModel, Field, TypeAdapter, create_model, field_validator, model_validator

from sanggar.data.dataset import DataOptions, Dataset, Source
from sanggar.data.images import Attribute, ImageSpec
from sanggar.data.sources import SOURCES
from sanggar.errors import DataError, RecipeError, RunError, suggest
from sanggar.files import Content, Tree
from sanggar.instruments.inception import find_weights
from sanggar.instruments.judge import GENERAL, JUDGES, judge_for, open_judge, that_sees
from sanggar.models.augment import AugmentationOptions
from sanggar.models.autoencoder import Autoencoder
from sanggar.models.base import Model
from sanggar.models.classifier import Classifier
from sanggar.models.feed_forward import FeedForward
from sanggar.models.flow.model import Flow
from sanggar.models.gan.model import GAN
from sanggar.models.optimizers import Adam, Constant, OptimizerOptions, ScheduleOptions
from sanggar.models.vae.model import VAE
from sanggar.options import Options, Seed, validated
from sanggar.plain import to_yaml
from sanggar.recipe import FORMAT, PARTS, Recipe
from sanggar.runs import Run

AnyModel = Model | FeedForward
"""A network, whatever computes it: both kinds are built, loaded and asked in the same way, NumPy in and NumPy out."""

FAMILIES: dict[str, type[AnyModel]] = {
    "autoencoder": Autoencoder,
    "ffnn": FeedForward,
    "classifier": Classifier,
    "vae": VAE,
    "gan": GAN,
    "flow": Flow,
}

MEASURED = 12
"""Attributes that are measured where the recipe names none: the first."""

PLACES = ("data.path", "data.table", "training.device")
"""Keys that name a place or a device and not the work. They may change in the life of a run: the fingerprint proves
that the data are the same."""

METRICS = "sanggar.evaluation.evaluate:METRICS"
"""Where the table of metrics stands: above this layer, so it is loaded by name when a recipe is resolved. Each metric
brings its own options, which are a part of the recipe."""


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
    seed: Seed = 0
    """seed of the first weights, the order of pictures and every draw of the training"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """where it computes; auto: the fastest kind on this machine"""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where a GPU computes in it natively, or a processor does and the network's convolutions, tried at the
    start, are right and faster in it, else fp32; losses and noise are fp32 always"""
    parts: int | None = Field(default=None, ge=1, le=64)
    """parts of a batch, each computed on a thread of its own with the same weights, on a processor alone; none: as many
    as there are threads, where the loss is a mean over pictures and the batch is large, else 1"""
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
    """What is measured, and on how many pictures. Nothing here changes the training.

    A recipe's `evaluation` has a part for each metric beside these, see `evaluation_options`.
    """

    images: int | None = Field(default=None, ge=20)
    """test pictures, from the first; none: all"""
    train_images: int = Field(default=10_000, ge=20)
    """training pictures, from the first, that probes, PCA, mixtures, edit directions and detectors are fitted on"""
    metrics: tuple[str, ...] = ()
    """metrics that are measured, of those that the network can be measured by; none: all of them, but of flows those
    that encode, which takes long"""
    feature_network: str = "judge"
    """network whose features compare pictures: `judge` for the source's own, another judge by its name, or
    `inception`, the network that defines FID"""
    attributes: tuple[str, ...] = ()
    """attributes that are probed and edited; none: the first twelve"""
    seed: Seed = 0
    """seed of every draw made while measuring"""

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = list(load_object(METRICS, "evaluation.metrics"))
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"there is no {unknown[0]!r}. {suggest(unknown[0], known).removesuffix('.')}")
        return names

    @field_validator("feature_network")
    @classmethod
    def _known(cls, name: str) -> str:
        known = ("judge", "inception", *JUDGES)
        if name not in known:
            raise ValueError(f"there is no {name!r}. {suggest(name, known).removesuffix('.')}")
        return name


def load_object(path: str, key: str) -> Any:
    """What an import path `package.module:Name` names. Raises RecipeError, which names `key`, when it cannot be had."""
    module, _, name = path.partition(":")
    if not all(word.isidentifier() for word in (*module.split("."), name)):
        raise RecipeError(f"{key}: {path!r} is no import path; expected package.module:Name.")
    if module.split(".")[0] in sys.stdlib_module_names:  # a recipe may come from anybody
        raise RecipeError(f"{key}: {module!r} is part of Python itself, which holds no models.")
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise RecipeError(
                f"{key}: there is no module {module!r} to import; install its package, or put its folder on PYTHONPATH."
            ) from None
        raise RecipeError(f"{key}: importing {module} failed: {error}.") from None
    except Exception as error:  # a module of somebody's own may raise anything
        raise RecipeError(f"{key}: importing {module} failed: {type(error).__name__}: {error}.") from None
    if not hasattr(found, name):
        raise RecipeError(f"{key}: {module} has no {name!r}. {suggest(name, [n for n in vars(found) if n[0] != '_'])}")
    return getattr(found, name)


@cache
def evaluation_options() -> type[EvaluationOptions]:
    """The class of a recipe's `evaluation`: the shared options, and a part for each metric that has options."""
    metrics = load_object(METRICS, "evaluation")
    parts: dict[str, Any] = {name: (m.Options, m.Options()) for name, m in metrics.items() if m.Options.model_fields}
    return create_model("EvaluationOptions", __base__=EvaluationOptions, __doc__=EvaluationOptions.__doc__, **parts)


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
    family: type[AnyModel]
    family_name: str
    """as the recipe names it: an entry of FAMILIES, or an import path"""

    @cached_property
    def spec(self) -> ImageSpec:
        """Specification of the pictures; of one's own pictures only their files can tell."""
        return self.source.spec_for(self.data)

    def data_of(self, run: Run) -> Dataset:
        """Load the data that a run of this plan was trained on.

        Raises RunError where the source holds others by now, DataError where they are missing.
        """
        try:
            dataset: Dataset = self.source.load(self.data)
        except DataError as error:
            if "path" not in type(self.data).model_fields:
                raise
            raise DataError(
                f"{error} Where the pictures lie elsewhere by now, `sanggar evaluate {run.path} data.path=PLACE` and "
                "`sanggar train --resume` likewise take note of it."
            ) from None
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
            judge_for(self.evaluation.feature_network, self.data.source, self.spec)
        elif self.evaluation.feature_network == "inception":
            find_weights()
        measured_attributes(self.spec, self.evaluation.attributes)

    def tree(self) -> Tree:
        """The resolved recipe as plain values: running it again gives the same run."""
        parts = {part: getattr(self, part).model_dump(mode="json") for part in PARTS}
        parts["model"] = {"family": self.family_name, **parts["model"]}
        return {"format": FORMAT, "name": self.name, "about": self.about, **parts}

    def yaml(self) -> str:
        """The resolved recipe as YAML."""
        return to_yaml(self.tree())

    def identity(self, fingerprint: str) -> str:
        """Hash of what makes a run what it is: the recipe (its name, text and PLACES aside), the data, this package."""
        whole = self.tree()
        tree = {
            part: {key: value for key, value in whole[part].items() if f"{part}.{key}" not in PLACES} for part in PARTS
        }
        content = json.dumps([tree, fingerprint, version("sanggar")], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def differing(one: Plan, other: Plan) -> list[str]:
    """The keys of two resolved recipes that hold different values, `training.steps` say."""
    old, new = one.tree(), other.tree()
    return [key for key in ("name", "about") if old[key] != new[key]] + [
        f"{part}.{key}" for part in PARTS for key in new[part]
        if old[part].get(key) != new[part][key]
    ]  # fmt: skip


def measured_attributes(spec: ImageSpec, wanted: Sequence[str] = ()) -> tuple[Attribute, ...]:
    """The attributes that are wanted, else the first of these pictures'. Raises RecipeError for an unknown one."""
    known = {column.name: column for column in spec.attributes}
    for name in wanted:
        if name not in known:
            raise RecipeError(f"evaluation.attributes: there is no attribute {name!r}. {suggest(name, known)}")
    return tuple(known[name] for name in dict.fromkeys(wanted)) or spec.attributes[:MEASURED]


def resolve(recipe: Recipe, family: type[AnyModel] | None = None) -> Plan:
    """Resolve a recipe into a plan. `family` is a class of the caller's own, instead of the one the recipe names.

    Raises RecipeError that names the key, what was expected there, and the nearest known name.
    """
    where = recipe.name
    source = SOURCES[_choice(where, "data.source", recipe.data, "source", SOURCES)]
    named, family = _family(where, recipe.model.get("family"), family)
    model = recipe.model
    if "family" not in family.Options.model_fields:
        model = {key: value for key, value in model.items() if key != "family"}
    return Plan(
        name=recipe.name,
        about=recipe.about,
        data=validated(where, "data", source.Options, recipe.data),
        model=_model(where, family, model),
        training=validated(where, "training", TrainingOptions, recipe.training),
        evaluation=validated(where, "evaluation", evaluation_options(), recipe.evaluation),
        source=source,
        family=family,
        family_name=named,
    )


def _model(where: str, family: type[AnyModel], values: Content) -> Options:
    """A family's options. Raises RecipeError, which says what other families have a key that is none of this one's."""
    try:
        return validated(where, "model", family.Options, values)
    except RecipeError as error:
        lines = str(error).splitlines()
        for key in values.keys() - family.Options.model_fields.keys():
            if others := [name for name, other in FAMILIES.items() if key in other.Options.model_fields]:
                none = f"{where}: model.{key}: there is no such key."
                told = f" Families that have it: {', '.join(others)}."
                lines = [line + told * line.startswith(none) for line in lines]
        raise RecipeError("\n".join(lines)) from None


def _family(where: str, named: object, given: type[AnyModel] | None) -> tuple[str, type[AnyModel]]:
    """The class of a model and how a recipe names it: from the table, by import path, or the caller's own."""
    known = {family: name for name, family in FAMILIES.items()}
    if given is not None:
        return known.get(given, f"{given.__module__}:{given.__qualname__}"), given
    if isinstance(named, str) and ":" in named:
        found = load_object(named, f"{where}: model.family")
        if not (isinstance(found, type) and issubclass(found, Model | FeedForward)):
            raise RecipeError(f"{where}: model.family: {named} is no model; expected a subclass of sanggar.Model.")
        options = getattr(found, "Options", None)
        if not (isinstance(options, type) and issubclass(options, Options)):
            raise RecipeError(f"{where}: model.family: {named} has no Options, a subclass of sanggar.Options.")
        return named, found
    name = _choice(where, "model.family", {"family": named}, "family", FAMILIES)
    return name, FAMILIES[name]


def build(plan: Plan, spec: ImageSpec, seed: int = 0) -> AnyModel:
    """Build the plan's model, its first weights drawn from `seed`."""
    model = plan.family.build(plan.model, spec, seed)
    if isinstance(model, Model) and model.perceptual_judge is not None:
        if model.perceptual_judge == GENERAL:
            raise RecipeError(
                "model.perceptual.judge: the general judge measures alone; name a judge of these pictures."
            )
        judge = open_judge(model.perceptual_judge, "cpu")
        model.use_judge(that_sees(judge, spec, "model.perceptual.judge"))
    return model


def schema() -> Tree:
    """The JSON Schema of recipes, for editors that complete and check YAML as it is written."""
    parts: dict[str, type[BaseModel]] = {
        "training": TrainingOptions, "evaluation": evaluation_options(),
        **{f"data_{name}": source.Options for name, source in SOURCES.items()},
        **{f"model_{name}": family.Options for name, family in FAMILIES.items()},
    }  # fmt: skip
    definitions: Tree = {}
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
            "format": {"type": "integer", "minimum": 1, "maximum": FORMAT},
            "name": text,
            "about": text,
            "base": text,
            **{part: {"$ref": f"#/$defs/{part}"} for part in ("training", "evaluation")},
            "data": {"anyOf": [{"$ref": f"#/$defs/data_{name}"} for name in SOURCES]},
            "model": {"anyOf": [{"$ref": f"#/$defs/model_{name}"} for name in FAMILIES]},
        },
        "$defs": definitions,
    }


def _choice(where: str, path: str, part: Content, key: str, table: Mapping[str, object]) -> str:
    name = part.get(key)
    if name is None:
        raise RecipeError(f"{where}: {path}: missing. Known: {', '.join(table)}.")
    if not isinstance(name, str) or name not in table:
        raise RecipeError(f"{where}: {path}: there is no {name!r}. {suggest(name, table)}")
    return name
