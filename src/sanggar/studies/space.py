"""What a search varies: ranges and choices for keys of a recipe, some of which are there by another's choice alone."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sanggar import recipe
from sanggar.errors import RecipeError
from sanggar.files import Content
from sanggar.plain import parse
from sanggar.plan import Plan, resolve
from sanggar.recipe import Recipe

Setting = dict[str, Any]
"""Dotted keys with the values that they are given"""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(:log)?")
_WHOLE = re.compile(r"[-+]?\d+")
_SELECTORS = ("kind", "source", "family")
MOST = 1000
"""Combinations of a grid, at most"""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; evenly, or evenly in their logarithms."""

    low: float
    high: float
    log: bool = False
    whole: bool = False
    """whole numbers alone"""

    def allows(self, value: object) -> bool:
        """Whether it is a number of the range."""
        kinds = int if self.whole else int | float
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high

    @property
    def samples(self) -> tuple[int | float, ...]:
        """Values that have to be allowed: where the ends are, what lies between is."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def __str__(self) -> str:
        low, high = self.samples
        return f"{low}..{high}{':log' * self.log}"


@dataclass(frozen=True)
class Choice:
    """One of some values of any kind."""

    values: tuple[Any, ...]

    def allows(self, value: object) -> bool:
        """Whether it is one of them: 1 is not true, and not 1.0."""
        return json.dumps(value) in map(json.dumps, self.values)

    @property
    def samples(self) -> tuple[Any, ...]:
        """All of them."""
        return self.values

    def __str__(self) -> str:
        return ",".join(map(json.dumps, self.values))


@dataclass(frozen=True)
class Space:
    """A recipe, and what is varied of it."""

    base: Recipe
    varied: Mapping[str, Range | Choice]
    """in the order in which they are chosen: what others depend on comes first"""
    _plans: dict[str, Plan] = field(default_factory=dict, repr=False, compare=False)

    def plan(self, setting: Setting, **further: object) -> Plan:
        """The recipe with a setting. Raises RecipeError."""
        overrides = [f"{key}={json.dumps(value)}" for key, value in {**setting, **further}.items()]
        known = json.dumps(overrides)
        if known not in self._plans:
            self._plans[known] = resolve(recipe.read(self.base, overrides))
        return self._plans[known]

    def has(self, key: str, chosen: Setting) -> bool:
        """Whether a key is there when others are chosen so: one of another optimizer's is not."""
        node: object = self.plan(chosen).tree()
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                return False
            node = node[name]
        return True

    @cached_property
    def grid(self) -> list[Setting]:
        """Every combination of choices, each once. Raises RecipeError where a range is among them."""
        for key, of in self.varied.items():
            if isinstance(of, Range):
                raise RecipeError(
                    f"{key}: a grid takes values, as in {key}={of.samples[0]},{of.samples[1]}, not a range."
                )
        if (count := math.prod(len(of.samples) for of in self.varied.values())) > MOST:
            raise RecipeError(f"the grid has {count:,} combinations; {MOST:,} are the most.")
        found: dict[str, Setting] = {}
        for values in itertools.product(*(of.samples for of in self.varied.values())):
            setting = self.following(dict(zip(self.varied, values, strict=True)))
            found.setdefault(json.dumps(setting), setting)
        return list(found.values())

    def following(self, wanted: Setting) -> Setting:
        """A setting without the keys that are not there."""
        chosen: Setting = {}
        for key in self.varied:
            if key in wanted and self.has(key, chosen):
                chosen[key] = wanted[key]
        return chosen

    def allows(self, setting: Setting) -> bool:
        """Whether it is one that could have been proposed."""
        chosen: Setting = {}
        for key, of in self.varied.items():
            if self.has(key, chosen):
                if key not in setting or not of.allows(setting[key]):
                    return False
                chosen[key] = setting[key]
        return len(chosen) == len(setting)

    def check(self) -> None:
        """Raises RecipeError for a key that is never there, and for a value that is not allowed."""
        selectors = {key: of for key, of in self.varied.items() if key.rpartition(".")[2] in _SELECTORS}
        choices = list(itertools.islice(itertools.product(*(of.samples for of in selectors.values())), MOST))
        for key, of in self.varied.items():
            where = [dict(zip(selectors, values, strict=True)) for values in choices]
            where = [chosen for chosen in where if self.has(key, self.following(chosen))]
            if not where:
                self.plan({key: of.samples[0]})  # which says what is wrong with it
                raise RecipeError(f"{self.base.name}: {key}: there is no such key.")
            for value in of.samples:
                for chosen in where:
                    self.plan({**self.following(chosen), key: value}).check()


def space(source: str | Content | Recipe, settings: Sequence[str]) -> Space:
    """The space of a recipe and `key=RANGE`, `key=VALUE,VALUE,…`; `key=VALUE` sets a key for all. Raises RecipeError.

    RANGE is LOW..HIGH, whole numbers where both ends are, with :log behind it where it spans orders of magnitude.
    """
    fixed: list[str] = []
    varied: dict[str, Range | Choice] = {}
    for setting in settings:
        key, given, text = setting.partition("=")
        if not given or not key or not text:
            raise RecipeError(f"expected KEY=LOW..HIGH or KEY=VALUE,VALUE, got {setting!r}.")
        if key in varied:
            raise RecipeError(f"{key} is varied twice.")
        if key == "training.seed":
            raise RecipeError("training.seed is no setting: the best are trained again by seeds that no trial had.")
        of = _varied(key, text)
        if isinstance(of, Choice) and len(of.values) == 1:
            fixed.append(setting)
        else:
            varied[key] = of
    if not varied:
        raise RecipeError("nothing is varied. Give a range, as in training.optimizer.learning_rate=1e-4..1e-2:log, or "
                          "values, as in training.batch_size=32,64.")  # fmt: skip
    ordered = dict(sorted(varied.items(), key=lambda pair: _depth(pair[0])))
    found = Space(recipe.read(source, fixed), ordered)
    found.check()
    return found


def _depth(key: str) -> int:
    """How late a key is chosen: what selects among several parts comes before what is in them."""
    return key.count(".") - (key.rpartition(".")[2] in _SELECTORS)


def _varied(key: str, text: str) -> Range | Choice:
    if span := _RANGE.fullmatch(text.strip()):
        whole = all(_WHOLE.fullmatch(end) is not None for end in span.groups()[:2])
        low, high = float(span[1]), float(span[2])
        if not (low < high and math.isfinite(low) and math.isfinite(high)):
            raise RecipeError(f"{key}: expected a range from a number to a larger one, got {text}.")
        if span[3] and low <= 0:
            raise RecipeError(f"{key}: a range in logarithms begins above 0, got {text}.")
        return Range(low, high, bool(span[3]), whole)
    if ".." in text and "," not in text:
        raise RecipeError(f"{key}: expected LOW..HIGH or LOW..HIGH:log with two numbers, got {text}.")
    values = parse(f"[{text}]", key)
    if not isinstance(values, list) or not values:
        raise RecipeError(f"{key}: expected values with commas between them, got {text}.")
    told = [json.dumps(value) for value in values]
    if len(set(told)) < len(told):
        raise RecipeError(f"{key}: a value is given twice in {text}.")
    return Choice(tuple(values))


def as_text(setting: Setting) -> dict[str, str]:
    """A setting as a run keeps it: JSON by key."""
    return {key: json.dumps(value) for key, value in setting.items()}
