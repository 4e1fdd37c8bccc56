"""What a study is: tables of recipes varied, claims stated beforehand, and how much of it a budget does."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from sanggar import recipe
from sanggar.errors import RecipeError, suggest
from sanggar.files import Content, content
from sanggar.options import Options, validated
from sanggar.plain import LARGEST, check_values, kind, parse
from sanggar.plan import Plan, resolve
from sanggar.results import NETWORK, Tag
from sanggar.results import Name as TagName
from sanggar.studies.logged import LOGGED
from sanggar.studies.size import PARAMETERS

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=60)]
MOST = 1000
"""Rows of a grid, at most"""
Setting = dict[str, Any]
"""Dotted keys of a recipe with their values; in a row, `base` is another recipe than the table's"""
SEED = "training.seed"


class Quantity(Options):
    """Which measurement is meant. A text is the key of the network's own."""

    key: str
    subject: str = NETWORK
    tags: dict[TagName, Tag | Annotated[tuple[Tag, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """of a list of values, the mean over them is meant"""

    def __str__(self) -> str:
        told = [] if self.subject == NETWORK else [self.subject]
        return ", ".join([self.key, *told, *(f"{name} {listed(value)}" for name, value in self.tags.items())])

    @property
    def constant(self) -> bool:
        """Whether it is known of a recipe before anything is trained."""
        return self.key == PARAMETERS

    @property
    def logged(self) -> bool:
        """Whether a run writes it down while it trains."""
        return self.key.partition(".")[0] in LOGGED

    def each(self) -> list[dict[str, Tag]]:
        """The tags of the measurements that it is the mean of; mostly one."""
        values = [value if isinstance(value, tuple) else (value,) for value in self.tags.values()]
        return [dict(zip(self.tags, chosen, strict=True)) for chosen in itertools.product(*values)]


def listed(value: object) -> str:
    """A tag, or several, in words."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


Measured = Annotated[Quantity, BeforeValidator(lambda given: {"key": given} if isinstance(given, str) else given)]


class Reported(Options):
    """A figure that the report has of a row."""

    of: Measured
    value: Annotated[float, Field(gt=-1e100, lt=1e100)]
    at_least: bool = False
    """it says "above" and no number"""


class Table(Options):
    """A recipe, varied: by `rows`, which are named, or by a `grid`, of which each combination is a row."""

    about: str = ""
    base: str
    """recipe that all rows vary"""
    set: Setting = Field(default_factory=dict)
    """what all rows have in common beside it"""
    rows: dict[str, Setting] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    seeds: int = Field(default=1, ge=1, le=100)
    """trainings of each row, by the seeds 0, 1, 2, …"""
    metrics: tuple[Measured, ...] = Field(min_length=1)
    samples: bool = False
    """whether pictures are shown that the networks draw: each row's first one, and its first picture of each class"""
    reported: dict[str, tuple[Reported, ...]] = Field(default_factory=dict)
    """by row"""
    not_comparable: str = ""
    """why figures that were reported do not compare with those measured here"""

    @model_validator(mode="after")
    def _has_rows(self) -> Table:
        if bool(self.rows) == bool(self.grid):
            raise ValueError("give either rows or a grid")
        if empty := [key for key, values in self.grid.items() if not values]:
            raise ValueError(f"the grid has no values of {', '.join(empty)}")
        if (count := math.prod(map(len, self.grid.values()))) > MOST:
            raise ValueError(f"the grid has {count:,} rows; {MOST:,} are the most")
        rows = self.settings()
        if self.grid and len(rows) < count:
            raise ValueError("several rows of the grid would be called alike; name them: rows")
        if unknown := [row for row in self.reported if row not in rows]:
            known = suggest(unknown[0], list(rows)).removesuffix(".")
            raise ValueError(f"reported: there is no row {unknown[0]!r}. {known}")
        return self

    def settings(self) -> dict[str, Setting]:
        """What each row varies, by its name."""
        if self.rows:
            return dict(self.rows)
        found = {}
        for values in itertools.product(*self.grid.values()):
            setting = dict(zip(self.grid, values, strict=True))
            name = ", ".join(f"{key.rpartition('.')[2]} {_plainly(value)}" for key, value in setting.items())
            found[name] = setting
        return found


class Claim(Options):
    """What is said to hold, before it is looked at: one row is better than another by a difference that matters."""

    says: str
    metric: Measured
    row: str
    """TABLE/ROW that is said to have the higher value, or the lower"""
    than: str
    """TABLE/ROW that it is compared with"""
    than_metric: Measured | None = None
    """what is measured of that one, where it is something else: another class, or real pictures"""
    direction: Literal["higher", "lower"] = "higher"
    margin: float = Field(ge=0)
    """the smallest difference that matters"""

    @property
    def hash(self) -> str:
        """What changes when anything of the claim does."""
        return hashlib.sha256(self.model_dump_json(exclude_none=True).encode()).hexdigest()[:12]

    @property
    def sides(self) -> tuple[tuple[str, Quantity], tuple[str, Quantity]]:
        """Both rows, each with what is measured of it."""
        return (self.row, self.metric), (self.than, self.than_metric or self.metric)


class Budget(Options):
    """How much of a study is done: other seeds, shorter trainings, some tables alone."""

    about: str = ""
    seeds: int | None = Field(default=None, ge=1, le=100)
    """of each row; none: what its table says"""
    set: Setting = Field(default_factory=dict)
    """what every recipe has beside its own"""
    length: float = Field(default=1, gt=0, le=1)
    """share of each training's steps, or epochs, that is done"""
    tables: tuple[str, ...] = ()
    """none: all of them"""


class StudyOptions(Options):
    """The keys of a study's file."""

    format: Literal[1] = 1
    about: str
    report: str = ""
    """what the reported figures are from"""
    tables: dict[Name, Table] = Field(min_length=1)
    claims: dict[Name, Claim] = Field(default_factory=dict)
    budgets: dict[Name, Budget] = Field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One training of a study: a row of a table, by one seed."""

    table: str
    row: str
    seed: int
    plan: Plan

    @cached_property
    def run_name(self) -> str:
        """Name of its folder: equal for equal recipes, whichever study asks."""
        return f"{self.plan.name}-{self.plan.identity('')[:12]}"


@dataclass(frozen=True)
class Study:
    """A study with the budget that it is done by."""

    name: str
    options: StudyOptions
    budget_name: str
    budget: Budget
    source: str = ""
    """its name or file, as it was asked for; none of a mapping"""

    @cached_property
    def tables(self) -> dict[str, Table]:
        """Those that the budget has, with its seeds."""
        chosen = self.budget.tables or tuple(self.options.tables)
        seeds = {} if self.budget.seeds is None else {"seeds": self.budget.seeds}
        return {name: self.options.tables[name].model_copy(update=seeds) for name in chosen}

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All trainings, table by table. Raises RecipeError where a variation makes no sense."""

        def plan(name: str, table: Table, row: str, setting: Setting) -> Plan:
            together = {**table.set, **setting, **self.budget.set}
            where = f"{self.name}: tables.{name}, {row}"
            if SEED in together:
                raise RecipeError(f"{where}: {SEED} is the study's own; say how many seeds a table has: seeds.")
            plan = _varied(table.base, together, where)
            if self.budget.length == 1:
                return plan
            return _varied(table.base, {**together, **_shortened(plan, self.budget.length)}, where)

        return tuple(
            Cell(name, row, seed, replace(seeded, training=seeded.training.model_copy(update={"seed": seed})))
            for name, table in self.tables.items()
            for row, setting in table.settings().items()
            for seeded in [plan(name, table, row, setting)]  # read once for all seeds
            for seed in range(table.seeds)
        )

    def asked(self, table: str, row: str) -> dict[str, Quantity]:
        """What is to be known of a row, by the key of the study that asks for it."""
        options, place = self.tables[table], f"{table}/{row}"
        found = {f"tables.{table}.metrics[{i}]": quantity for i, quantity in enumerate(options.metrics)}
        for name, claim in self.claims.items():
            for side, quantity in claim.sides:
                key = f"claims.{name}" + (".than_metric" if quantity is claim.than_metric else "")
                found |= {key: quantity} if side == place else {}
        figures = options.reported.get(row, ())
        return found | {f"tables.{table}.reported.{row}[{i}]": figure.of for i, figure in enumerate(figures)}

    @cached_property
    def claims(self) -> dict[str, Claim]:
        """Those whose rows the budget has."""
        there = {f"{name}/{row}" for name, table in self.tables.items() for row in table.settings()}
        return {name: claim for name, claim in self.options.claims.items() if {claim.row, claim.than} <= there}


def _varied(base: str, setting: Setting, where: str) -> Plan:
    """A recipe with some keys set; a `base` among them is another recipe. Raises RecipeError that names the row."""
    keys = {"base": base, **setting}
    base = str(keys.pop("base"))
    try:
        return resolve(recipe.read(base, [f"{key}={json.dumps(value)}" for key, value in keys.items()]))
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


def _shortened(plan: Plan, share: float) -> Setting:
    """A share of a training's length."""
    steps, epochs = plan.training.steps, plan.training.epochs
    key, whole = ("epochs", epochs) if epochs is not None else ("steps", steps or 0)
    return {f"training.{key}": max(1, round(share * whole))}


def _plainly(value: object) -> str:
    """A value of a grid in a row's name."""
    if isinstance(value, Mapping):
        return str(value.get("kind", value))
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


# -- reading ---------------------------------------------------------------------------------------------------


def shipped() -> dict[str, Path]:
    """The studies that come with sanggar: name to file, in alphabetical order."""
    folder = Path(str(resources.files("sanggar"))) / "studies"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read(source: str | Path | Content, budget: str = "full") -> Study:
    """The study of this name or in this file, with one of its budgets. Raises RecipeError, a line for what is wrong."""
    tree, name = _tree(source)
    options = _checked(tree, name)
    chosen = options.budgets.get(budget)
    if chosen is None and (options.budgets or budget != "full"):
        known = list(options.budgets) or ["full"]
        raise RecipeError(f"{name}: there is no budget {budget!r}. {suggest(budget, known)}")
    told = "" if isinstance(source, Mapping) else str(source)
    study = Study(name, options, budget, chosen or Budget(), told)
    for table in study.budget.tables:
        if table not in options.tables:
            raise RecipeError(f"{name}: budgets.{budget}.tables: there is no table {table!r}. "
                              f"{suggest(table, list(options.tables))}")  # fmt: skip
    rows = [f"{name}/{row}" for name, table in options.tables.items() for row in table.settings()]
    for which, claim in options.claims.items():
        if claim.sides[0] == claim.sides[1]:
            raise RecipeError(f"{name}: claims.{which}: both sides are the same; give another row, or than_metric.")
        for side in (claim.row, claim.than):
            if side not in rows:
                raise RecipeError(f"{name}: claims.{which}: there is no row {side!r}. {suggest(side, rows)}")
    return study


def read_options(source: str | Path | Content) -> StudyOptions:
    """The keys of a study's file, checked one by one. Raises RecipeError."""
    return _checked(*_tree(source))


def _checked(tree: Content, name: str) -> StudyOptions:
    check_values(tree, name)
    return validated(name, "study", StudyOptions, tree)


def _tree(source: str | Path | Content) -> tuple[dict[str, Any], str]:
    """A study's keys, laid over those of the study that it names as its base, and what it is called."""
    if isinstance(source, Mapping):
        tree = {key: value for key, value in source.items() if key != "name"}
        return _inherit(tree, Path()), _safe(str(source.get("name", "")))
    path = shipped().get(str(source), Path(source))
    return _inherit(_read(path, source), path.parent), _safe(path.stem)


def _inherit(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A base is a study that comes with sanggar, or a file beside; it has none itself."""
    base = tree.pop("base", None)
    if base is None:
        return tree
    below = _read(shipped().get(str(base), folder / str(base)), base)
    if "base" in below:
        raise RecipeError(f"base: the study {base} has a base itself.")
    return recipe.merge(below, tree)


def _read(path: Path, source: object) -> dict[str, Any]:
    if not path.is_file():
        asked = Path(str(source))
        if asked.suffix in (".yaml", ".yml") or len(asked.parts) > 1:
            raise RecipeError(f"There is no file {path}, which a study would be read from.")
        raise RecipeError(f"There is no study {str(source)!r}. {suggest(str(source), list(shipped()))}")
    try:
        text = content(path, LARGEST).decode("utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not text in UTF-8.") from None
    tree = parse(text, str(path))
    if not isinstance(tree, dict):
        raise RecipeError(f"{path}: expected `key: value` lines, got {kind(tree)}.")
    return tree


def _safe(name: str) -> str:
    """What a study is called, also in the names of its files."""
    return re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.") or "study"
