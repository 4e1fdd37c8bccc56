"""Reading recipes: what YAML means, what a base gives, what an override changes, what is refused and how."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sanggar.errors import RecipeError
from sanggar.plain import parse, to_yaml
from sanggar.plan import resolve
from sanggar.recipe import FORMAT, MIGRATIONS, PARTS, merge, migrate, read, shipped

DIGITS = "digits-denoising-autoencoder"

WORDS = st.text("abcdefgh_é", min_size=1, max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
TREES = st.dictionaries(WORDS, VALUES, max_size=4)


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def refusal(*arguments: Any) -> str:
    with pytest.raises(RecipeError) as raised:
        read(*arguments)
    return str(raised.value)


# -- YAML ------------------------------------------------------------------------------------------------------


def test_yaml_is_read_as_1_2() -> None:
    tree = parse("{a: 1e-3, b: off, c: yes, d: 0o17, e: true, f: 010, g: ~, h: 1:30}", "here")
    assert tree == {"a": 0.001, "b": "off", "c": "yes", "d": 15, "e": True, "f": 10, "g": None, "h": "1:30"}


@example(data={}, model={"_": "\x85", "a": "b\u2028c"}, about="")
@example(data={}, model={"_": ":0", "a": ["?x", ": )"], ":-": 1, "? ": 2}, about=":0")
@given(data=TREES, model=TREES, about=st.text("abc é:#'\"\n").map(str.strip))
def test_a_recipe_written_as_yaml_is_read_back_unchanged(
    data: dict[str, Any], model: dict[str, Any], about: str
) -> None:
    first = read({"name": "x", "about": about, "data": data, "model": model})
    assert read(parse(first.yaml(), "x")) == first


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_survives_the_round_trip(name: str) -> None:
    recipe = read(name)
    assert recipe.name == name
    assert recipe.about
    assert read(parse(recipe.yaml(), name)) == recipe == read(recipe)


# -- bases -----------------------------------------------------------------------------------------------------


def test_a_variant_keeps_what_it_does_not_change(tmp_path: Path) -> None:
    write(tmp_path, root="data: {source: digits, seed: 3}\nmodel: {widths: [4], noise: {kind: masking, level: 0.2}}")
    write(tmp_path, leaf="base: root.yaml\nmodel: {noise: {level: 0.5}}")
    leaf = read(tmp_path / "leaf.yaml")
    assert leaf.name == "leaf"
    assert leaf.data == {"source": "digits", "seed": 3}
    assert leaf.model == {"widths": [4], "noise": {"kind": "masking", "level": 0.5}}


@pytest.mark.parametrize("key", ["kind", "family", "source"])
def test_another_kind_drops_the_options_of_the_one_before(key: str) -> None:
    base = {"a": {key: "adam", "betas": [0.5, 0.9]}, "b": 1}
    assert merge(base, {"a": {key: "sgd", "momentum": 0.9}}) == {"a": {key: "sgd", "momentum": 0.9}, "b": 1}
    assert merge(base, {"a": {key: "adam", "rate": 1}})["a"] == {key: "adam", "betas": [0.5, 0.9], "rate": 1}


@given(TREES, TREES)
def test_merging_is_idempotent_and_changes_neither_side(base: dict[str, Any], change: dict[str, Any]) -> None:
    before = repr((base, change))
    once = merge(base, change)
    assert merge(once, change) == once
    assert merge(base, {}) == base
    assert repr((base, change)) == before


def test_shipped_recipes_and_files_beside_can_be_bases(tmp_path: Path) -> None:
    write(tmp_path, middle=f"base: {DIGITS}\ntraining: {{epochs: 5}}", top="base: middle.yaml\nname: mine")
    top = read(tmp_path / "top.yaml")
    assert (top.name, top.training["epochs"], top.training["batch_size"]) == ("mine", 5, 64)


@pytest.mark.parametrize(("files", "chain"), [
    ({"a": "base: a.yaml"}, "a → a"),
    ({"a": "base: b.yaml", "b": "base: c.yaml", "c": "base: a.yaml"}, "a → b → c → a"),
])  # fmt: skip
def test_inheriting_from_oneself_is_refused(tmp_path: Path, files: dict[str, str], chain: str) -> None:
    write(tmp_path, **files)
    assert "inherits from itself" in refusal(tmp_path / "a.yaml")
    assert chain in refusal(tmp_path / "a.yaml")


def test_a_missing_or_senseless_base_is_named(tmp_path: Path) -> None:
    write(tmp_path, a="base: nowhere.yaml", b="base: digits-denoising-autoencodr", c="base: [1]")
    assert "nowhere.yaml" in refusal(tmp_path / "a.yaml")
    assert f"Did you mean '{DIGITS}'?" in refusal(tmp_path / "b.yaml")
    assert "base: expected the name of a recipe, got a list" in refusal(tmp_path / "c.yaml")


# -- overrides -------------------------------------------------------------------------------------------------


def test_overrides_are_laid_over_in_order() -> None:
    changes = ["training.epochs=3", "training.epochs=4", "training.optimizer.kind=sgd", "model.widths=[1, 2]", "name=x"]
    recipe = read(DIGITS, changes)
    assert recipe.training["epochs"] == 4
    assert recipe.training["optimizer"] == {"kind": "sgd"}
    assert recipe.training["batch_size"] == 64
    assert recipe.model["widths"] == [1, 2]
    assert recipe.name == "x"


@given(st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_an_override_is_read_as_yaml(value: object) -> None:
    text = json.dumps(value)  # JSON is YAML
    assert read(DIGITS, [f"data.seed={text}"]).data["seed"] == value


def test_overrides_leave_a_recipe_as_it_was() -> None:
    recipe = read(DIGITS)
    before = recipe.yaml()
    read(recipe, ["model.noise.level=0.9", "training.epochs=1"])
    assert recipe.yaml() == before


@pytest.mark.parametrize("text", ["training.epochs", "=3", "training..epochs=3", ".epochs=3", ""])
def test_what_is_no_override_is_refused(text: str) -> None:
    assert "expected `part.key=value`, as in training.epochs=3" in refusal(DIGITS, [text])


def test_an_override_that_is_not_yaml_is_refused() -> None:
    assert "model.widths=[1,, line 1, column" in refusal(DIGITS, ["model.widths=[1,"])


def test_a_base_cannot_be_given_as_an_override() -> None:
    assert "base" in refusal(DIGITS, ["base=fashion-plain-autoencoder"])


# -- recipes of earlier formats --------------------------------------------------------------------------------

OLD = {
    "noise_levels": [0.2], "classical_images": 20, "tuning_images": 10, "probe_images": 100, "map_images": 24,
    "bound_images": 30, "samples": 5000, "anomaly_images": 40, "regret_steps": 2, "images": 64,
}  # fmt: skip
NEW = {
    "images": 64,
    "train_images": 100,
    "denoising": {"noise_levels": [0.2], "images": 20, "tuning_images": 10},
    "latent": {"map_images": 24},
    "bounds": {"images": 30},
    "exploration": {"samples": 2000},
    "generation": {"samples": 5000},
    "anomaly": {"images": 40, "regret_steps": 2},
}


@pytest.mark.parametrize("said", [{}, {"format": 1}])
def test_keys_of_format_1_are_those_of_format_2(said: dict[str, Any]) -> None:
    recipe = read({**said, "name": "x", "model": {"untold": 0.2}, "evaluation": OLD})
    assert recipe == read({"format": 2, "name": "x", "model": {"condition_dropout": 0.2}, "evaluation": NEW})
    assert recipe.evaluation == NEW
    assert recipe.tree()["format"] == FORMAT == 2


def test_every_migration_is_tested_here() -> None:
    """A move that is added must get its place above."""
    assert set(MIGRATIONS) == {2}
    assert len(MIGRATIONS[2]) == len(OLD) + 2  # images stays; samples goes to two; untold, condition


@pytest.mark.parametrize("samples", [1, 2000, 2001, None, "many", True])
def test_one_number_of_samples_became_two_of_which_one_had_a_limit(samples: object) -> None:
    limited = 2000 if samples == 2001 else samples
    found = read({"evaluation": {"samples": samples}}).evaluation
    assert found == {"exploration": {"samples": limited}, "generation": {"samples": samples}}


@pytest.mark.parametrize(("old", "new"), [
    ("none", {"condition": []}),
    ("joined", {"condition": ["class"], "conditioning": "joined"}),
    ("projection", {"condition": ["class"], "conditioning": "projection"}),
    (["class"], {"condition": ["class"]}),
    ([], {"condition": []}),
    ("nonsense", {"condition": "nonsense"}),
    (None, {"condition": None}),
    (7, {"condition": 7}),
])  # fmt: skip
def test_a_gans_condition_said_how_and_says_on_what(old: object, new: dict[str, Any]) -> None:
    assert read({"model": {"family": "gan", "condition": old}}).model == {"family": "gan", **new}
    assert migrate({"model": {"condition": old}}, "here") == {"model": new}


@pytest.mark.parametrize(("written", "words"), [
    (3, "x is of format 3, written for a newer sanggar; this one reads format 2. Update sanggar to use it."),
    (99, "x is of format 99"),
    (0, "x: format: expected a whole number from 1 to 2, got 0."),
    (-1, "got -1."),
    ("2", "got '2'."),
    ("two", "got 'two'."),
    (2.0, "got 2.0."),
    (True, "got True."),
    (None, "got None."),
    ([2], "got [2]."),
])  # fmt: skip
def test_a_format_that_is_not_known_is_refused(tmp_path: Path, written: object, words: str) -> None:
    assert words in refusal({"name": "x", "format": written})
    write(tmp_path, recipe=f"format: {json.dumps(written)}")
    assert words.removeprefix("x") in refusal(tmp_path / "recipe.yaml")
    assert refusal(tmp_path / "recipe.yaml").startswith(str(tmp_path / "recipe.yaml"))
    write(tmp_path, above="base: recipe.yaml")
    assert refusal(tmp_path / "above.yaml").startswith(str(tmp_path / "recipe.yaml"))


def test_an_override_of_the_format_is_checked_as_a_recipes() -> None:
    assert "is of format 3" in refusal(DIGITS, ["format=3"])
    assert "got 'new'" in refusal(DIGITS, ["format=new"])
    assert read(DIGITS, ["format=1"]) == read(DIGITS, ["format=2"]) == read(DIGITS)


def test_an_old_key_beside_the_new_one_is_refused() -> None:
    both = {"noise_levels": [0.1], "denoising": {"noise_levels": [0.2]}}
    assert refusal({"name": "x", "evaluation": both}) == (
        "x: evaluation.noise_levels is called evaluation.denoising.noise_levels now; both are given. Leave out "
        "evaluation.noise_levels."
    )
    for new in ({"generation": {"samples": 5}}, {"exploration": {"samples": 5}}):
        assert "evaluation.samples is called" in refusal({"evaluation": {"samples": 9, **new}})
    assert "model.untold is called model.condition_dropout now" in refusal(
        {"model": {"untold": 0.1, "condition_dropout": None}}
    )


def test_other_options_of_the_same_part_may_stand_beside_an_old_key() -> None:
    found = read({"evaluation": {"noise_levels": [0.1], "denoising": {"images": 30}}}).evaluation
    assert found == {"denoising": {"noise_levels": [0.1], "images": 30}}


def test_a_recipe_that_names_its_format_has_no_old_keys() -> None:
    written = {"format": 2, "model": {"untold": 0.1, "condition": "joined"}, "evaluation": {"samples": 9}}
    recipe = read(written)
    assert (recipe.model, recipe.evaluation) == (written["model"], written["evaluation"])  # refused by their plan


def test_overrides_may_use_old_keys_and_new_ones() -> None:
    old = ["evaluation.noise_levels=[0.1]", "evaluation.samples=3000", "model.untold=0.3", "evaluation.probe_images=50"]
    new = [
        "evaluation.denoising.noise_levels=[0.1]", "evaluation.exploration.samples=2000",
        "evaluation.generation.samples=3000", "model.condition_dropout=0.3", "evaluation.train_images=50",
    ]  # fmt: skip
    assert read(DIGITS, old) == read(DIGITS, new)
    later = read(DIGITS, ["evaluation.denoising.noise_levels=[0.3]", "evaluation.noise_levels=[0.1]"])
    assert later.evaluation["denoising"]["noise_levels"] == [0.1]
    assert read(DIGITS, ["model.condition=joined"]).model["condition"] == ["class"]
    assert read(DIGITS, ["model.condition=joined", "model.condition=none"]).model["condition"] == []


def test_a_part_given_as_a_whole_may_use_old_keys() -> None:
    assert read({"evaluation": {"images": 50}}, ["evaluation={map_images: 9}"]).evaluation == {
        "images": 50,
        "latent": {"map_images": 9},
    }


@pytest.mark.parametrize(
    "formats", [("", ""), ("format: 1", "format: 2"), ("format: 2", "format: 1"), ("", "format: 2")]
)
def test_a_base_and_what_stands_on_it_may_be_of_different_formats(tmp_path: Path, formats: tuple[str, str]) -> None:
    keys = {
        "format: 2": "model: {{condition_dropout: {}}}\nevaluation: {{denoising: {{images: {}}}}}",
        "format: 1": "model: {{untold: {}}}\nevaluation: {{classical_images: {}}}",
    }
    base, above = (f"{said}\n{keys[said or 'format: 1']}" for said in formats)
    write(tmp_path, base=base.format(0.1, 20) + "\ndata: {seed: 3}", above="base: base.yaml\n" + above.format(0.2, 40))
    recipe = read(tmp_path / "above.yaml")
    assert recipe.model == {"condition_dropout": 0.2}
    assert recipe.evaluation == {"denoising": {"images": 40}}
    assert recipe.data == {"seed": 3}


def test_old_keys_on_a_shipped_recipe_and_on_a_base_with_defaults_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, mine=f"base: {DIGITS}\nevaluation: {{noise_levels: [0.9]}}")
    assert read(tmp_path / "mine.yaml") == read(
        {"name": "mine", "base": DIGITS, "evaluation": {"denoising": {"noise_levels": [0.9]}}}
    )


@given(TREES)
def test_migrating_twice_changes_nothing_more(tree: dict[str, Any]) -> None:
    once = migrate({"format": 1, **tree}, "here")
    assert migrate(once, "here") == once
    assert once == {**tree, "format": FORMAT}


@pytest.mark.parametrize("tree", [{"evaluation": None}, {"evaluation": 5}, {"model": [1]}, {"model": "x"}, {}])
def test_parts_that_hold_nothing_stay_as_they_are(tree: dict[str, Any]) -> None:
    assert migrate(tree, "here") == tree


# -- what is not a recipe --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "words"), [
    (b"", "empty; a recipe has the parts data, model, training, evaluation"),
    (b"# only a comment\n", "empty"),
    (b"data: [1, 2\nmodel: {", "line 2, column"),
    (b"data: {}\ndata: {}\n", "not YAML"),
    (b"- a\n- b\n", "expected `key: value` lines (data, model, training, evaluation), got a list"),
    (b"just words", "got text ('just words')"),
    (b"\x89PNG\r\n\x1a\n\xff\xfe", "not a text file"),
    (b"model: \x00\n", "not YAML"),
    (b"modle: {}\n", "a recipe has no part 'modle'. Did you mean 'model'?"),
    (b"model: 5\n", "model: expected `key: value` lines, got a number (5)"),
    (b"training: off\n", "training: expected `key: value` lines, got text ('off')"),
])  # fmt: skip
def test_a_file_that_is_no_recipe_is_named_with_the_reason(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(str(path))
    assert words in message


def test_a_missing_file_and_an_unknown_name_are_told_apart(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone.yaml") == f"There is no recipe file {tmp_path / 'gone.yaml'}."
    assert f"Did you mean '{DIGITS}'?" in refusal("digit-denoising-autoencoder")
    assert "no recipe 'qqqq'" in refusal("qqqq")
    assert all(name in refusal("qqqq") for name in shipped())


def test_a_name_too_long_for_a_file_is_an_unknown_name() -> None:
    assert "no recipe" in refusal("x" * 300)


def test_empty_parts_are_empty_mappings() -> None:
    recipe = read({"data": None, "model": {}})
    assert [getattr(recipe, part) for part in PARTS] == [{}, {}, {}, {}]


# -- recipes from somebody else --------------------------------------------------------------------------------

LEVELS = [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
WEAPONS = {
    "aliases": "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *LEVELS]),
    "an alias within what it names": "data: &a {b: *a}",
    "brackets": "data: " + "[" * 800,
    "braces": "{a: " * 800,
    "dashes": "- " * 800 + "a",
    "keys": "? " * 800 + "a",
    "a long integer": "data: {test: " + "9" * 4301 + "}",
    "a long hexadecimal": "data: {test: 0x" + "f" * 4000 + "}",
    "a tag that does not fit": "data: {test: !!float x}",
    "a flag that is none": "data: {test: !!bool x}",
    "code": "data: !!python/object/apply:os.system [id]",
    "bytes": "data: {source: !!binary aGk=}",
    "a set": "data: !!set {a}",
    "a key twice": "data: {a: 1, a: 2}",
    "a key that is a number": "data: {1: 2}",
    "a key that is a list": "? [a]\n: b",
    "a value that ends nowhere": "data: {test: .inf}",
    "two documents": "--- {data: {}}\n--- {model: {}}",
    "too many letters": "about: " + "x" * 100_001,
    "too many values": "about: [" + "x," * 12_000 + "]",
    "a list for a name": "name: [a]",
}


@pytest.mark.parametrize("name", WEAPONS)
def test_a_recipe_is_no_weapon(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(WEAPONS[name])
    began = time.perf_counter()
    with pytest.raises(RecipeError) as raised:
        resolve(read(file))
    assert time.perf_counter() - began < 10
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 500 + len(str(file))


@pytest.mark.parametrize("value", [
    ".inf", ".nan", "1e400", "9" * 4301, "0x" + "f" * 4000, "!!float x", "[" * 800, "{a: 1, a: 2}", "&a [*a]", "1e300",
    "2020-01-00", "!!binary aGk=", "{1: 2}", "9e29", "=",
])  # fmt: skip
@pytest.mark.parametrize("key", ["data.test", "model.latent_size", "training.optimizer.learning_rate"])
def test_an_override_is_no_weapon(key: str, value: str) -> None:
    if key.endswith("learning_rate") and value in ("9e29", "1e300"):
        value = "-1"
    with pytest.raises(RecipeError) as raised:
        resolve(read(DIGITS, [f"{key}={value}"]))
    (line,) = str(raised.value).splitlines()
    assert len(line) < 500


def test_an_alias_of_ordinary_size_is_read_and_a_date_is_text() -> None:
    assert parse("a: &x {b: 1}\nc: *x\nd: 2020-01-00\ne: 2024-01-01", "x") == {
        "a": {"b": 1}, "c": {"b": 1}, "d": "2020-01-00", "e": "2024-01-01",
    }  # fmt: skip
    shared = ["a"]
    assert "&" not in to_yaml({"one": shared, "other": shared})


@pytest.mark.parametrize(("overrides", "epochs", "steps"), [
    (["training.steps=40"], None, 40),
    (["training={steps: 40}"], None, 40),
    (["training.epochs=3"], 3, None),
    (["training.epochs=3", "training.steps=null"], 3, None),
    (["training.steps=40", "training.epochs=null"], None, 40),
])  # fmt: skip
def test_a_length_that_is_given_takes_the_place_of_the_recipes(
    overrides: list[str], epochs: int | None, steps: int | None
) -> None:
    for name in (DIGITS, "digits-cgan"):  # one counts epochs, one steps
        training = resolve(read(name, overrides)).training
        assert (training.epochs, training.steps) == (epochs, steps)
    with pytest.raises(RecipeError, match="give either epochs or steps"):
        resolve(read(DIGITS, ["training.epochs=3", "training.steps=40"]))


def test_a_length_takes_the_place_of_the_bases(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"base: {DIGITS}\ntraining: {{steps: 7}}")
    assert resolve(read(tmp_path / "x.yaml")).training.steps == 7


@pytest.mark.parametrize(("data", "words"), [
    ({"path": 2024}, 'data.path: expected text, got the number 2024. In quotes it is text: "2024"'),
    ({"path": "x", "only": [3, 5]}, 'data.only[0]: expected text, got the number 3. In quotes it is text: "3"'),
    ({"path": "x", "only": 3}, "data.only: expected a list, as in [a, b], got 3"),
    ({"path": "x", "only": "3"}, "data.only: expected a list, as in [a, b], got '3'"),
    ({"path": "x", "only": []}, "data.only: expected a list of at least 1, got []"),
])  # fmt: skip
def test_what_was_meant_is_said(data: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError) as raised:
        resolve(read({"data": {"source": "folder", **data}, "model": {"family": "vae"}, "training": {"epochs": 1}}))
    assert words in str(raised.value)
    assert "uple" not in str(raised.value)


@pytest.mark.parametrize("key", ["training.epochs", "model.latent_size", "training.optimizer.learning_rate"])
def test_an_answer_is_no_number(key: str) -> None:
    with pytest.raises(RecipeError, match=rf"{re.escape(key)}: expected a number, got true\."):
        resolve(read(DIGITS, [f"{key}=true"]))
    assert resolve(read(DIGITS, ["training.augmentation={flip: true}"])).training.augmentation is not None
