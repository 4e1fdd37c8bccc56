"""Every key of a recipe with type, default, allowed values and explanation, read off the option classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap

from sanggar.errors import RecipeError, suggest
from sanggar.files import Content
from sanggar.plan import schema

Schema = Content

TOP = {
    "format": "version of the keys; a recipe that leaves it out may use earlier names of keys",
    "name": "what the recipe is called; default: the name of its file",
    "about": "what it is for, in a sentence or two; stands at the head of its report",
    "base": "recipe that this one changes: the name of a shipped recipe, or a file beside this one",
}


@dataclass(frozen=True)
class Key:
    """One key of a recipe."""

    path: str
    """dotted, as on the command line: model.noise.level"""
    of: str
    """choice that it belongs to: `family: vae`, `kind: adam`; empty where it is always there"""
    type: str
    """values that are allowed, in words"""
    default: str
    """as a recipe writes it; empty where it has to be given"""
    about: str
    """explanation"""


def all_keys() -> list[Key]:
    """Every key of a recipe, in the order of the option classes; a key of several families or sources once for each."""
    whole = schema()
    known: Schema = whole["$defs"]
    rows = [Key(name, "", _words(whole["properties"][name], known), "", about) for name, about in TOP.items()]
    for part, choice in (("data", "source"), ("model", "family")):
        for names, given in _alike(part, choice, whole):
            rows += _keys(part, f"{choice}: {', '.join(names)}", given, known)
    for part in ("training", "evaluation"):
        rows += _keys(part, "", known[part], known)
    return rows


def _alike(part: str, choice: str, whole: Schema) -> list[tuple[list[str], Schema]]:
    """The schemas of a part by the names that share them: published data sets have the same options."""
    groups: dict[str, tuple[list[str], Schema]] = {}
    for entry in whole["properties"][part]["anyOf"]:
        name = entry["$ref"].removeprefix("#/$defs/")
        given = whole["$defs"][name]
        free = {**given["properties"][choice], "const": ""}
        same = json.dumps({**given, "properties": {**given["properties"], choice: free}}, sort_keys=True)
        names, _ = groups.setdefault(same, ([], given))
        names.append(name.removeprefix(f"{part}_"))
    return [
        (names, {**given, "properties": {**given["properties"], choice: {"enum": names, **_about(given, choice)}}})
        for names, given in groups.values()
    ]


def _about(given: Schema, name: str) -> Schema:
    return {key: value for key, value in given["properties"][name].items() if key == "description"}


def find(wanted: str) -> list[Key]:
    """The keys at a dotted path, or below it. Raises RecipeError for one that does not exist."""
    rows = all_keys()
    found = [key for key in rows if key.path == wanted] or [key for key in rows if key.path.startswith(f"{wanted}.")]
    if not found:
        last = [key.path for key in rows if key.path.split(".")[-1] == wanted.split(".")[-1]]
        there = f"Did you mean {', '.join(dict.fromkeys(last))}?" if last else suggest(wanted, [k.path for k in rows])
        raise RecipeError(f"There is no key {wanted!r} in a recipe. {there}")
    return found


def explained(found: list[Key]) -> str:
    """Keys in words, one after the other, for a terminal; what several choices share is said once."""
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    for key in found:
        alike.setdefault((key.path, key.type, key.default, key.about), []).append(key.of)
    parts = []
    for (path, kind, default, about), choices in alike.items():
        of = f"  ({', '.join(choices)})" if any(choices) else ""
        given = f", default {default}" if default else ", has to be given" if path not in TOP else ""
        said = "\n    ".join(wrap(" ".join(about.split()), 100))
        parts.append(f"{path}{of}\n    {kind}{given}" + (f"\n    {said}" if said else ""))
    return "\n".join(parts)


def page() -> str:
    """The page `docs/recipes.md`."""
    lines = [
        "# Every key of a recipe", "",
        "This page is made from the option classes (`make keys`). `sanggar describe --explain KEY` prints the same for",
        "one key, `sanggar describe RECIPE` every key of a recipe with its value. A key is written nested in YAML",
        "(`training: {epochs: 3}`) and dotted on the command line (`training.epochs=3`).", "",
    ]  # fmt: skip
    heading = ""
    for key in all_keys():
        part = key.path.split(".")[0] if "." in key.path else "recipe"
        now = " · ".join(filter(None, (part, key.of.split(" · ")[0])))
        if now != heading:
            heading = now
            lines += ["", f"## {heading}", "", "| key | values | default | explanation |", "|---|---|---|---|"]
        variant = " · ".join(key.of.split(" · ")[1:] if "." in key.path and ":" in heading else filter(None, [key.of]))
        about = f"({variant}) {key.about}" if variant and variant not in heading else key.about
        cells = (f"`{key.path}`", key.type, f"`{key.default}`" if key.default else "", about)
        lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _keys(path: str, of: str, given: Schema, known: Schema) -> Iterator[Key]:
    """Rows of an object's properties, nested ones included."""
    required = given.get("required", ())
    for name, entry in given.get("properties", {}).items():
        place = f"{path}.{name}"
        default = json.dumps(entry["default"]) if "default" in entry and name not in required else ""
        # what a kind or a family is, its option class says
        about = entry.get("description") or (given.get("description", "") if name in ("kind", "family") else "")
        options = list(_objects(entry, known))
        if not options:
            yield Key(place, of, _words(entry, known), default, about)
            continue
        first = entry if about else options[0]
        yield Key(place, of, _words(entry, known), default, first.get("description", ""))
        for inner in options:
            kind = inner.get("properties", {}).get("kind", {})
            chosen = f"kind: {kind['const']}" if len(options) > 1 and "const" in kind else ""
            yield from _keys(place, " · ".join(filter(None, (of, chosen))), inner, known)


def _objects(entry: Schema, known: Schema) -> Iterator[Schema]:
    """The objects that a value may be."""
    entry = _resolved(entry, known)
    if "properties" in entry:
        yield entry
    for inner in (*entry.get("anyOf", ()), *entry.get("oneOf", ())):
        yield from _objects(inner, known)


def _words(entry: Schema, known: Schema) -> str:
    """Values that a schema allows, in words."""
    entry = _resolved(entry, known)
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        values = ", ".join(f"`{value if isinstance(value, str) else json.dumps(value)}`" for value in entry["enum"])
        return f"one of {values}" if len(entry["enum"]) > 1 else values
    for several in ("anyOf", "oneOf"):
        if several in entry:
            return " or ".join(dict.fromkeys(_words(inner, known) for inner in entry[several]))
    match entry.get("type"):
        case "object" if "properties" in entry:
            kind = entry["properties"].get("kind", {})
            named = [kind["const"]] if "const" in kind else kind.get("enum", [])
            return f"`kind: {' | '.join(map(str, named))}`" if named else "keys below"
        case "object":
            return "a mapping"
        case "array" if "prefixItems" in entry:
            return f"{len(entry['prefixItems'])} values: {', '.join(_words(i, known) for i in entry['prefixItems'])}"
        case "array":
            least = "at least one " if entry.get("minItems") else ""
            return f"a list of {least}{_words(entry.get('items', {}), known)}"
        case "integer":
            return "a whole number" + _bounds(entry)
        case "number":
            return "a number" + _bounds(entry)
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case "string":
            return "text"
    return "any value"


def _bounds(entry: Schema) -> str:
    signs = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    return "".join(f" {word} {_number(entry[name])}" for name, word in signs.items() if name in entry)


def _number(limit: int | float) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"


def _resolved(entry: Schema, known: Schema) -> Schema:
    """A schema behind its reference, with what stands beside it."""
    if "$ref" in entry:
        inner: Schema = known[entry["$ref"].removeprefix("#/$defs/")]
        return {**inner, **{key: value for key, value in entry.items() if key != "$ref"}}
    if len(entry.get("allOf", ())) == 1:
        return {**_resolved(entry["allOf"][0], known), **{k: v for k, v in entry.items() if k != "allOf"}}
    return entry
