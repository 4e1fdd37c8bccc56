"""Reading a recipe: `base:` inheritance, dotted overrides, earlier keys. What the names mean is `plan`'s affair."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from sanggar.errors import RecipeError, shown, suggest
from sanggar.files import Content, Tree, content
from sanggar.plain import DEEPEST, LARGEST, STORED, check_values, kind, parse, to_yaml

PARTS = ("data", "model", "training", "evaluation")
KEYS = ("format", "name", "about", "base", *PARTS)

FORMAT = 2
"""Version of the keys of a recipe; raised when one is renamed or moved, with an entry in MIGRATIONS."""

LONGEST_CHAIN = 20
"""Recipes that stand on each other"""
LENGTHS = ("epochs", "steps")
"""Keys of `training` that say the same in two ways: who gives one means it instead of the other"""

Override = str


@dataclass(frozen=True)
class Recipe:
    """What to do, as it was written, with its bases and overrides merged: plain values, not yet checked."""

    name: str
    about: str = ""
    data: Tree = field(default_factory=dict)
    model: Tree = field(default_factory=dict)
    training: Tree = field(default_factory=dict)
    evaluation: Tree = field(default_factory=dict)

    def tree(self) -> Tree:
        """The recipe as nested dictionaries, in the order it is written."""
        parts = {part: getattr(self, part) for part in PARTS}
        return {"format": FORMAT, "name": self.name, "about": self.about, **parts}

    def yaml(self) -> str:
        """The recipe as YAML text, which `read` takes back unchanged."""
        return to_yaml(self.tree())

    def _repr_html_(self) -> str:
        from html import escape

        return f"<b>{escape(self.name)}</b><pre>{escape(self.yaml())}</pre>"


def shipped() -> dict[str, Path]:
    """The recipes that come with sanggar: name to file, in alphabetical order."""
    folder = Path(str(resources.files("sanggar"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read(source: str | Path | Content | Recipe, overrides: Sequence[Override] = ()) -> Recipe:
    """The recipe named or found at `source`, with its bases merged and `overrides` applied.

    `source` is the name of a shipped recipe, a path to a YAML file, a mapping, or a recipe. Each override is
    `part.key=value` with the value read as YAML. Raises RecipeError.
    """
    if isinstance(source, Recipe):
        tree, where = source.tree(), source.name
    elif isinstance(source, Mapping):
        where = shown(source.get("name", "recipe"))
        check_values(source, where)
        tree = _inherit(migrate(dict(source), where), Path(), ())
    else:
        path = _find(str(source), Path())
        tree, where = _read_file(path, ()), str(source)
    changes = [migrate(_parse_override(override), shown(override)) for override in overrides]
    for change in changes:
        tree = merge(tree, change)
    tree = _one_length(tree, [length for change in changes for length in _lengths(change)])
    check_values(tree, where)
    _check_outline(tree, where)
    parts = {part: tree.get(part) or {} for part in PARTS}
    return Recipe(name=str(tree.get("name") or where), about=str(tree.get("about") or "").strip(), **parts)


def read_stored(text: str, where: str) -> Recipe:
    """The recipe that a run keeps, which stands alone: one that names a base is none. Raises RecipeError."""
    tree = parse(text, where, STORED)
    if not isinstance(tree, dict):
        raise RecipeError(f"{where}: expected `key: value` lines, got {kind(tree)}.")
    if "base" in tree:
        raise RecipeError(f"{where}: base: the recipe of a run stands alone; sanggar writes none that names another.")
    return read(tree)


# -- recipes of earlier formats --------------------------------------------------------------------------------


Migration = Callable[[Tree, str], Tree]
"""From a recipe or a part of one, and what it is called in messages, to the same in a later format"""


def moved(old: str, new: str, value: Callable[[object], object] = lambda given: given, keep: bool = False) -> Migration:
    """Rename or move a dotted key, its value changed by `value`; `keep`: the old key is still to be moved elsewhere."""

    def move(tree: Tree, where: str) -> Tree:
        given = _at(tree, old)
        if given is None:
            return tree
        if _at(tree, new) is not None:
            raise RecipeError(f"{where}: {old} is called {new} now; both are given. Leave out {old}.")
        inner: object = tree
        for name in new.split(".")[:-1]:
            inner = inner.get(name) if isinstance(inner, dict) else None
            if inner is not None and not isinstance(inner, dict):
                raise RecipeError(f"{where}: {name}: expected `key: value` lines, got {kind(inner)}.")
        return merge(tree if keep else _without(tree, old), _nested(new, value(given[0])))

    return move


def _gan_condition(tree: Tree, where: str) -> Tree:
    """`model.condition` of a GAN said how it is conditioned on the class; now it says on what."""
    given = _at(tree, "model.condition")
    if given is None or given[0] not in ("none", "joined", "projection"):
        return tree
    if given[0] == "none":
        return {**tree, "model": {**tree["model"], "condition": []}}
    return {**tree, "model": {**tree["model"], "condition": ["class"], "conditioning": given[0]}}


MIGRATIONS: dict[int, tuple[Migration, ...]] = {
    2: (
        moved("model.untold", "model.condition_dropout"),
        _gan_condition,
        moved("evaluation.noise_levels", "evaluation.denoising.noise_levels"),
        moved("evaluation.classical_images", "evaluation.denoising.images"),
        moved("evaluation.tuning_images", "evaluation.denoising.tuning_images"),
        moved("evaluation.probe_images", "evaluation.train_images"),
        moved("evaluation.map_images", "evaluation.latent.map_images"),
        moved("evaluation.bound_images", "evaluation.bounds.images"),
        moved("evaluation.samples", "evaluation.exploration.samples",
              lambda n: min(n, 2000) if isinstance(n, int) else n, keep=True),
        moved("evaluation.samples", "evaluation.generation.samples"),
        moved("evaluation.anomaly_images", "evaluation.anomaly.images"),
        moved("evaluation.regret_steps", "evaluation.anomaly.regret_steps"),
    ),
}  # fmt: skip
"""By the format that brought them: every rename and move of a key, in the order in which they are applied."""


def migrate(tree: Tree, where: str) -> Tree:
    """A recipe, or an override, with the keys of this format. Raises RecipeError for another format than a known one.

    A recipe that names no format may use earlier keys; one that names this format may not.
    """
    written = tree.get("format", 1)
    if isinstance(written, bool) or not isinstance(written, int) or written < 1:
        raise RecipeError(f"{where}: format: expected a whole number from 1 to {FORMAT}, got {written!r}.")
    if written > FORMAT:
        raise RecipeError(
            f"{where} is of format {written}, written for a newer sanggar; this one reads format {FORMAT}. Update "
            "sanggar to use it."
        )
    if written == FORMAT:
        return tree
    for later in range(written + 1, FORMAT + 1):
        for change in MIGRATIONS[later]:
            tree = change(tree, where)
    return {**tree, "format": FORMAT} if "format" in tree else tree


def _at(tree: object, key: str) -> tuple[object] | None:
    """The value at a dotted key, in a tuple; None where there is none."""
    for name in key.split("."):
        if not isinstance(tree, dict) or name not in tree:
            return None
        tree = tree[name]
    return (tree,)


def _without(tree: Tree, key: str) -> Tree:
    name, _, rest = key.partition(".")
    if not rest:
        return {other: value for other, value in tree.items() if other != name}
    return {**tree, name: _without(tree[name], rest)}


def _nested(key: str, value: object) -> Tree:
    """A tree that holds a value at a dotted key."""
    *above, last = key.split(".")
    tree: Tree = {last: value}
    for name in reversed(above):
        tree = {name: tree}
    return tree


# -- reading ---------------------------------------------------------------------------------------------------


def merge(base: Tree, change: Tree) -> Tree:
    """`change` laid over `base`, key by key.

    Where the two choose different kinds of a thing (`kind`, `family` or `source` differs) nothing of the base's
    choice is kept: its options would mean nothing to the new one.
    """
    for key in ("kind", "family", "source"):
        if key in change and key in base and change[key] != base[key]:
            return change
    merged = dict(base)
    for key, value in change.items():
        below = base.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _lengths(tree: Tree) -> list[str]:
    """Which of LENGTHS a recipe or an override gives."""
    training = tree.get("training")
    return [key for key in LENGTHS if isinstance(training, dict) and training.get(key) is not None]


def _one_length(tree: Tree, given: Sequence[str]) -> Tree:
    """`tree` where, of the keys that say how long, the one that was `given` last takes the place of what stood there.

    Two of them given at once are left: that is refused where options are checked.
    """
    if len(set(given)) != 1 or len(_lengths(tree)) < 2:
        return tree
    return {**tree, "training": {k: v for k, v in tree["training"].items() if k not in LENGTHS or k == given[0]}}


def _find(name: str, beside: Path) -> Path:
    """The file of a recipe: a path when it looks like one, else a shipped recipe's name."""
    known = shipped()
    if name in known:
        return known[name]
    path = beside / name
    is_file = os.path.isfile(path)  # noqa: PTH113 - unlike Path.is_file it takes a name of any length
    if path.suffix in (".yaml", ".yml") or is_file:
        if not is_file:
            raise RecipeError(f"There is no recipe file {path}.")
        return path
    raise RecipeError(f"There is no recipe {name!r}. {suggest(name, known)} `sanggar recipes` lists them.")


def _read_file(path: Path, above: tuple[Path, ...]) -> Tree:
    if len(above) >= LONGEST_CHAIN:
        raise RecipeError(f"{path}: more than {LONGEST_CHAIN} recipes stand on each other.")
    if path.resolve() in above:
        chain = " → ".join(p.stem for p in (*above, path))
        raise RecipeError(f"{path.name} inherits from itself: {chain}.")
    try:
        text = content(path, 4 * LARGEST, RecipeError).decode("utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not a text file; a recipe is YAML in UTF-8.") from None
    tree = parse(text, str(path))
    if tree is None:
        raise RecipeError(f"{path}: empty; a recipe has the parts {', '.join(PARTS)}.")
    if not isinstance(tree, dict):
        raise RecipeError(f"{path}: expected `key: value` lines ({', '.join(PARTS)}), got {kind(tree)}.")
    tree.setdefault("name", path.stem)
    return _inherit(migrate(tree, str(path)), path.parent, (*above, path.resolve()))


def _inherit(tree: Tree, folder: Path, above: tuple[Path, ...]) -> Tree:
    base = tree.pop("base", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise RecipeError(f"base: expected the name of a recipe, got {kind(base)}.")
    return _one_length(merge(_read_file(_find(base, folder), above), tree), _lengths(tree))


def _parse_override(text: str) -> Tree:
    key, equals, value = text.partition("=")
    names = key.strip().split(".")
    if names == ["base"]:
        raise RecipeError(
            f"{shown(text)!r}: a base is part of a recipe file and cannot be overridden; name that recipe instead."
        )
    if not equals or not all(names):
        raise RecipeError(f"{shown(text)!r} is not an override; expected `part.key=value`, as in training.epochs=3.")
    if len(names) > DEEPEST:
        raise RecipeError(f"{shown(text)!r}: values within values, deeper than {DEEPEST} levels.")
    return _nested(".".join(names), parse(value, shown(text)) if value.strip() else None)


def _check_outline(tree: Tree, where: str) -> None:
    for key, value in tree.items():
        if key not in KEYS:
            raise RecipeError(f"{where}: a recipe has no part {str(key)!r}. {suggest(key, KEYS)}")
        if key in ("name", "about") and isinstance(value, dict | list | tuple):
            raise RecipeError(f"{where}: {key}: expected text, got {kind(value)}.")
        if key in PARTS and value is not None and not isinstance(value, dict):
            raise RecipeError(f"{where}: {key}: expected `key: value` lines, got {kind(value)}.")
