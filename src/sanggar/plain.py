"""Plain values as YAML 1.2: text, numbers, lists and mappings.

A recipe may come from anybody: how large it is, also with its aliases written out, how deep, and which kinds of values
it holds is checked while it is read.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, ScalarEvent
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from sanggar.errors import RecipeError, shown
from sanggar.files import Content

LARGEST, DEEPEST = 100_000, 40
"""Letters that a recipe may have, and levels within each other"""
STORED = 1_000_000
"""Letters of the resolved recipe of a run, which holds every default"""
NUMBERS = 10**300
"""Whole numbers are below this, as a float can hold them"""


def to_yaml(tree: Content) -> str:
    """Plain values as YAML 1.2 text."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = None  # short lists and leaves on one line
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 100
    writer.representer.add_representer(str, _quoted)
    writer.representer.ignore_aliases = lambda _: True  # what stands there twice is written twice
    text = io.StringIO()
    writer.dump(dict(tree), text)
    return text.getvalue()


def _quoted(representer: SafeRepresenter, text: str) -> ScalarNode:
    """Text in double quotes where the writer would spoil it: it folds the line breaks of other alphabets away, and its
    reader takes no text that begins as a key does.
    """
    spoiled = text.startswith((":", "?")) or any(mark in text for mark in "\x85\u2028\u2029")
    style = '"' if spoiled else None
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def parse(text: str, where: str, largest: int = LARGEST) -> Any:
    """The plain values in a YAML 1.2 text; `where` names it in a RecipeError. `largest`: letters it may have."""
    if len(text) > largest:
        raise RecipeError(f"{where}: {len(text):,} letters; a recipe has at most {largest:,}.")
    reader = YAML(typ="safe", pure=True)
    reader.Composer, reader.Constructor = _Composer, _Constructor
    try:
        values = reader.load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise RecipeError(f"{where}{at}: not YAML ({shown(what)}).") from None
    except _TooMuch as error:
        raise RecipeError(f"{where}: {error}.") from None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:  # by the tag of a value
        raise RecipeError(f"{where}: a value is not what its tag says ({shown(str(error))}).") from None
    check_values(values, where, plain=True)
    return values


class _TooMuch(Exception):
    """A text that is deeper, or with its aliases written out longer, than any recipe."""


class _Composer(Composer):
    """Composes a text as long as it stays a recipe's size: an alias weighs what it stands for."""

    depth, weight = 0, 0

    def compose_node(self, parent: object, index: object) -> Any:
        """A node and what is below it."""
        event = self.parser.peek_event()
        before = self.weight
        if isinstance(event, AliasEvent):
            if event.anchor in self.anchors and event.anchor not in self.weights:
                raise _TooMuch(f"the alias *{shown(event.anchor)} stands within what it names")
            self._add(self.weights.get(event.anchor, 0))
        self._add(100 + (len(event.value) if isinstance(event, ScalarEvent) else 0))
        self.depth += 1
        if self.depth > DEEPEST:
            raise _TooMuch(f"values within values, deeper than {DEEPEST} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if not isinstance(event, AliasEvent) and event.anchor is not None:
            self.weights[event.anchor] = self.weight - before
        return node

    @property
    def weights(self) -> dict[str, int]:
        """What each anchor stands for weighs."""
        return self.__dict__.setdefault("_weights", {})  # type: ignore[no-any-return]

    def _add(self, weight: int) -> None:
        self.weight += weight
        if self.weight > STORED:
            raise _TooMuch("more values than any recipe has, once its aliases are written out")


class _Constructor(SafeConstructor):
    """Constructs plain values; a date is the text it is written as, as YAML 1.2 has it."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def check_values(tree: object, where: str, plain: bool = False) -> None:
    """Raises RecipeError for what no option can be: an endless number, half a letter, a key that is no text, endless
    nesting.

    `plain`: also for what is neither text, number, list nor mapping.
    """
    waiting: list[tuple[object, str, int]] = [(tree, "", 0)]
    while waiting:
        value, path, depth = waiting.pop()
        at = f"{where}: {path}" if path else where
        if depth > DEEPEST:
            raise RecipeError(f"{where}: values within values, deeper than {DEEPEST} levels.")
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise RecipeError(f"{at}: keys are text; got {kind(key)}. Put it in quotes.")
                waiting += [(key, path, depth), (inner, shown(f"{path}.{key}" if path else key), depth + 1)]
        elif isinstance(value, list | tuple):
            waiting += [(inner, f"{path}[{i}]", depth + 1) for i, inner in enumerate(value)]
        elif isinstance(value, int):
            if not -NUMBERS < value < NUMBERS:
                raise RecipeError(f"{at}: expected a number, got one of {_digits(value):,} digits.")
        elif isinstance(value, str):
            if not value.isascii() and any(0xD800 <= ord(letter) < 0xE000 for letter in value):
                raise RecipeError(f"{at}: {shown(repr(value))} is no text: it has half of a surrogate pair.")
        elif plain and not isinstance(value, float | None):
            raise RecipeError(f"{at}: expected text, numbers, lists or `key: value` lines, got {type(value).__name__}.")


def _digits(number: int) -> int:
    """Decimal digits of a whole number, about, and without writing it."""
    return int(abs(number).bit_length() * math.log10(2)) + 1


def kind(value: object) -> str:
    """How a value read from YAML is called in a message."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list",
             dict: "a mapping", type(None): "nothing"}  # fmt: skip
    which = "" if isinstance(value, (dict, list, type(None))) else f" ({shown(repr(value))})"
    return names.get(type(value), type(value).__name__) + which
