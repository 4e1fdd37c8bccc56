"""Classes of options, and what is wrong with values given to one, in a recipe's words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from sanggar.errors import RecipeError, shown, suggest
from sanggar.files import Content
from sanggar.seeding import SEEDS

COUNTED = 2**53
"""Whole numbers of options are below this: what a float holds exactly, and more than any machine counts to"""

Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
"""An option that is a seed"""


class Options(BaseModel):
    """Base of every class of options: frozen, and an unknown key is an error rather than a silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


OptionsT = TypeVar("OptionsT", bound=Options)


def validated(where: str, part: str, options: type[OptionsT], values: Content) -> OptionsT:
    """The options that a part of the recipe `where` gives. Raises RecipeError, a line for each thing that is wrong."""
    for path, value in _leaves(values, part):
        if isinstance(value, float) and not math.isfinite(value):
            raise RecipeError(f"{where}: {path}: expected a finite number, got {value!r}.")
    try:
        found = options.model_validate(dict(values))
    except (OverflowError, RecursionError) as error:
        raise RecipeError(f"{where}: {part}: a value is out of every range ({error}).") from None
    except ValidationError as error:
        problems = error.errors(include_url=False)
        within = {problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"]))}
        lines = [
            f"{where}: {_explain(part, options, problem)}"
            for problem in problems
            if problem["loc"] not in within  # a list that is too short only because what it holds is wrong
        ]
        raise RecipeError("\n".join(dict.fromkeys(lines))) from None
    answers = {path for path, value in _leaves(values, part) if isinstance(value, bool)}
    for path, value in _leaves(found, part):
        if path in answers and isinstance(value, int | float) and not isinstance(value, bool):
            raise RecipeError(f"{where}: {path}: expected a number, got {'true' if value else 'false'}.")
        if isinstance(value, int) and not -COUNTED < value < COUNTED:
            raise RecipeError(f"{where}: {path}: expected a number below {COUNTED:.0e}, got {shown(repr(value))}.")
    return found


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """The single values among options, with their paths."""
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{i}]")
    else:
        yield path, value


def _explain(part: str, options: type[Options], problem: ErrorDetails) -> str:
    """One of pydantic's complaints in sanggar's words."""
    given, context = problem["input"], problem.get("ctx", {})
    names, known = _walk(options, problem["loc"], problem["type"] == "extra_forbidden")
    path = ".".join([part, *names])
    match problem["type"]:
        case "extra_forbidden":
            return f"{path}: there is no such key. {suggest(names[-1], known)}"
        case "missing":
            return f"{path}: missing."
        case "literal_error" | "union_tag_invalid":
            expected = context.get("expected") or context.get("expected_tags", "")
            allowed = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
            chosen = given.get("kind") if isinstance(given, dict) else given
            kind = ".kind" if isinstance(given, dict) else ""
            return f"{path}{kind}: there is no {shown(repr(chosen))}. {suggest(chosen, allowed)}"
        case "union_tag_not_found":
            return f"{path}.kind: missing; the options beside it depend on it."
        case "value_error":
            told = str(context["error"])
            return f"{path}: {told}" if told.endswith("?") else f"{path}: {told}."
        case "string_type" if isinstance(given, int | float) and not isinstance(given, bool):
            return (
                f'{path}: expected text, got the number {shown(repr(given))}. In quotes it is text: "{given}" '
                f"(on a command line: '\"{given}\"')."
            )
        case "tuple_type" | "list_type" | "set_type":
            return f"{path}: expected a list, as in [a, b], got {shown(repr(given))}."
        case "too_short" | "too_long":
            least = context.get("min_length", context.get("max_length"))
            word = "at least" if problem["type"] == "too_short" else "at most"
            return f"{path}: expected a list of {word} {least}, got {shown(repr(given))}."
        case _:
            expected = problem["msg"].removeprefix("Input should be ").removeprefix("a valid ")
            if problem["type"] in ("model_type", "model_attributes_type", "dict_type", "mapping_type"):
                expected = "`key: value` lines"
            return f"{path}: expected {_PLAIN.get(problem['type'], expected.split(', ')[0])}, got {shown(repr(given))}."


_PLAIN = {
    "string_type": "text", "bool_type": "true or false", "bool_parsing": "true or false",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "integer"),
    **dict.fromkeys(("float_type", "float_parsing"), "number"),
}  # fmt: skip


def _walk(options: type[BaseModel], location: tuple[int | str, ...], unknown: bool) -> tuple[list[str], list[str]]:
    """The path of a complaint as a recipe writes it, and the keys that are known where it ends.

    pydantic puts the tags and the types of unions into its locations; they are not keys of the recipe.
    """
    names: list[str] = []
    level: list[type[BaseModel]] = [options]
    named = False
    for place in location:
        if isinstance(place, int):
            if names:
                names[-1] += f"[{place}]"
            else:
                names.append(str(place))
            continue
        fields = {name: field for model in level for name, field in model.model_fields.items()}
        if named:  # a key that is not ours: of a table, a claim
            names.append(place)
            named = False
        elif place in fields:
            names.append(place)
            level = list(_models_in(fields[place].annotation)) or level
            named = get_origin(fields[place].annotation) is dict
        elif tagged := [m for m in level if place in _tags(m)]:
            level = tagged
        elif unknown and place == location[-1]:
            names.append(place)
    return names, [name for model in level for name in model.model_fields]


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _tags(model: type[BaseModel]) -> tuple[object, ...]:
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field else ()
