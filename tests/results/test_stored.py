"""A stored evaluation is read whole or refused in one line, whatever of it is missing, of another type, or too much."""

from __future__ import annotations

import copy
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import put_arrays
from sanggar.errors import RunError
from sanggar.results import FORMAT, Evaluation
from sanggar.results.stored import read, read_arrays, read_tools, save, settle
from sanggar.runs import Run, load_arrays, save_arrays

ZIP = Path(__file__).parent.parent / "fixtures" / "format-1.zip"
Tree = dict[str, Any]
Place = tuple[str | int, ...]

OTHERS: tuple[Any, ...] = (None, True, -1, 0.5, "", "x", "\ud800", [], {}, [None], {"x": None}, 10**400)
"""Values of other types that stand where something is expected"""


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Run]:
    """A run with an evaluation of each format, cut down to one measurement of each quantity. Not to be changed."""
    folder = tmp_path_factory.mktemp("stored")
    with zipfile.ZipFile(ZIP) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith("vae/")])
    runs = {1: Run(folder / "vae")}
    runs[2] = Run(shutil.copytree(folder / "vae", folder / "anew"))
    tree = json.loads(runs[1].evaluation_file.read_text(encoding="utf-8"))
    tree["numbers"] = list({number["key"]: number for number in tree["numbers"]}.values())
    runs[1].evaluation_file.write_text(json.dumps(tree))
    save(runs[2], read(runs[1]), read_arrays(runs[1]), *read_tools(runs[1]))
    return runs


@pytest.fixture(params=[1, 2])
def run(request: pytest.FixtureRequest, old: dict[int, Run], tmp_path: Path) -> Run:
    """A copy of a run with an evaluation of each format."""
    return Run(shutil.copytree(old[request.param].path, tmp_path / f"format-{request.param}"))


def stored(run: Run) -> Tree:
    tree: Tree = json.loads(run.evaluation_file.read_text(encoding="utf-8"))
    return tree


def places(tree: Any, above: Place = ()) -> Iterator[Place]:
    """Every place of a tree, branches and leaves."""
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield (*above, key)
            yield from places(value, (*above, key))


def changed(tree: Tree, place: Place, change: Callable[[Any, Any], None]) -> Tree:
    """A copy, as far as the way to a place goes, with something done to what holds it."""
    tree = copy.copy(tree)
    holder: Any = tree
    for key in place[:-1]:
        holder[key] = copy.copy(holder[key])
        holder = holder[key]
    change(holder, place[-1])
    return tree


def outcome(run: Run, tree: Any) -> Evaluation | str:
    """What is read of a tree; or the one line that refuses it, which says what to do."""
    run.evaluation_file.write_text(json.dumps(tree))
    try:
        return read(run)
    except RunError as error:
        said = str(error)
    assert len(said.splitlines()) == 1
    assert said.isprintable()
    assert str(run.path) in said
    assert "`sanggar evaluate" in said or "Update sanggar" in said
    return said


def free(place: Place) -> bool:
    """Whether anything may stand in a place, or nothing: settings, values of alarms, details, what has a default."""
    names = [key for key in place if isinstance(key, str)]
    last = names[-1]
    if names[0] in ("alarms", "details", "seconds", "files"):
        return True
    if last in ("package", "label", "data", "headline", "interval", "tags", "settings"):
        return True
    return any(name in ("protocol", "settings", "tags") for name in names[:-1]) and last not in ("n", "split")


def test_both_formats_are_read_alike(old: dict[int, Run]) -> None:
    assert stored(old[1])["format"] == 1
    assert stored(old[2])["format"] == FORMAT == 2
    assert read(old[1]) == read(old[2]).model_copy(update={"files": {}}), "which format 1 does not name"
    assert len(read(old[1]).measurements) == len({m.key for m in read(old[1]).measurements}) > 30


@pytest.mark.parametrize("part", ["head", "measurements"])
def test_nothing_that_is_missing_is_accepted_in_silence(run: Run, part: str) -> None:
    tree = stored(run)
    (many,) = {"numbers", "measurements"} & set(tree)
    tree[many] = tree[many][::3]
    for place in chosen(tree, part):
        found = outcome(run, changed(tree, place, lambda holder, key: holder.__delitem__(key)))
        assert free(place) or place[0] in ("numbers", "measurements") or isinstance(found, str), place


def chosen(tree: Tree, part: str) -> list[Place]:
    """The places of a part of a tree."""
    among = ("numbers", "measurements")
    return [place for place in places(tree) if (place[0] in among and len(place) > 1) == (part == "measurements")]


def test_a_measurement_needs_each_of_its_parts(run: Run) -> None:
    tree = stored(run)
    (many,) = {"numbers", "measurements"} & set(tree)
    needed = {"key", "value", "protocol"} | ({"label", "unit", "better", "subject"} if many == "numbers" else set())
    for index in range(len(tree[many])):
        for name in needed:
            said = outcome(run, changed(tree, (many, index, name), lambda holder, key: holder.__delitem__(key)))
            assert isinstance(said, str), (index, name)
            assert "is damaged" in said
        for name in ("n", "data"):
            place = (many, index, "protocol", name)
            assert isinstance(outcome(run, changed(tree, place, lambda holder, key: holder.__delitem__(key))), str)


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS, ids=lambda other: repr(other)[:12])
def test_nothing_of_another_type_is_accepted_in_silence(run: Run, other: object) -> None:
    tree = stored(run)
    (many,) = {"numbers", "measurements"} & set(tree)
    tree[many] = tree[many][:: 1 + len(tree[many]) // 12]

    def put(holder: Any, key: Any) -> None:
        holder[key] = other

    for place in places(tree):
        before: Any = tree
        for key in place:
            before = before[key]
        alike = type(before) is type(other) or (isinstance(before, float) and type(other) in (float, int))
        found = outcome(run, changed(tree, place, put))
        assert free(place) or alike or place[-1] == "better" or isinstance(found, str), place


def test_unknown_keys_are_refused(run: Run) -> None:
    tree = stored(run)
    (many,) = {"numbers", "measurements"} & set(tree)
    for place in ((), (many, 0), *(((many, 0, "protocol"),) if many == "measurements" else ())):
        for name in ("unknown", "numbers" if many == "measurements" else "measurements", "", "a\nb", "\ud800"):
            extended = changed(tree, (*place, name), lambda holder, key: holder.__setitem__(key, 1))
            assert isinstance(outcome(run, extended), str), (place, name)


@pytest.mark.parametrize("written", [3, 99, 10**30])
def test_a_newer_format_is_named(run: Run, written: int) -> None:
    said = outcome(run, {**stored(run), "format": written})
    assert said == (
        f"{run.evaluation_file} was written by a newer sanggar (format {written}); this one reads format {FORMAT}. "
        "Update sanggar to open it."
    )
    for reader in (read_arrays, read_tools):
        with pytest.raises(RunError, match="written by a newer sanggar"):
            reader(run)


@pytest.mark.parametrize("written", [None, 0, -1, "1", "2", 1.0, 2.0, True, [1], {}])
def test_a_format_that_is_no_number_of_a_format_is_damage(run: Run, written: object) -> None:
    assert "is damaged" in str(outcome(run, {**stored(run), "format": written}))
    for reader in (read_arrays, read_tools):
        with pytest.raises(RunError, match="is damaged"):
            reader(run)


def test_an_evaluation_migrated_by_half_is_refused(old: dict[int, Run], tmp_path: Path) -> None:
    run = Run(shutil.copytree(old[1].path, tmp_path / "half"))
    one, two = stored(old[1]), stored(old[2])
    for tree in (
        {**two, "format": 1},
        {**one, "format": 2},
        {**one, "numbers": two["measurements"]},
        {**two, "measurements": one["numbers"]},
        {**one, "measurements": two["measurements"]},
        {**two, "numbers": one["numbers"]},
        {**one, "alarms": two["alarms"]},
        {**two, "alarms": one["alarms"]},
        {**one, "numbers": [*one["numbers"], two["measurements"][0]]},
        {**two, "measurements": [*two["measurements"], one["numbers"][0]]},
        {**one, "details": two["details"]},
    ):
        assert "is damaged" in str(outcome(run, tree))


class Killed(BaseException):
    pass


@pytest.mark.parametrize("format_of_last", [1, 2])
@pytest.mark.parametrize("renames", range(8))
def test_whenever_it_is_killed_all_is_of_the_last_or_all_of_this_evaluation(
    old: dict[int, Run], format_of_last: int, renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = Run(shutil.copytree(old[format_of_last].path, tmp_path / "run"))
    before = read(last), read_arrays(last), read_tools(last)
    this = before[0].model_copy(update={"seconds": {"latent": 9.0}})
    arrays = {name: array[::-1].copy() for name, array in before[1].items() if array.ndim}
    done, replace = [0], Path.replace

    def killed(path: Path, target: Path) -> Path:
        if done[0] == renames:
            raise Killed
        done[0] += 1
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with suppress(Killed):
        save(last, this, arrays, {"some.tool": np.ones(3)}, {"step": this.step})
    monkeypatch.undo()
    new = read(last).seconds == this.seconds
    assert new == (done[0] > 2), "the third file says that the others are there"
    np.testing.assert_equal(read_arrays(last), arrays if new else before[1])
    np.testing.assert_equal(read_tools(last)[0], {"some.tool": np.ones(3)} if new else before[2][0])
    settle(last)
    assert not list(last.path.glob("*.next.*"))
    np.testing.assert_equal(read_arrays(last), arrays if new else before[1])
    np.testing.assert_equal(read_tools(last)[0], {"some.tool": np.ones(3)} if new else before[2][0])
    settle(last)


@pytest.mark.parametrize("file", ["arrays_file", "tools_file"])
def test_arrays_of_another_evaluation_are_refused(old: dict[int, Run], file: str, tmp_path: Path) -> None:
    run = Run(shutil.copytree(old[2].path, tmp_path / "run"))
    save_arrays(getattr(run, file), {"latent.x": np.zeros(3)}, {"step": 36})
    reader: Callable[[Run], object] = read_arrays if file == "arrays_file" else read_tools
    with pytest.raises(RunError, match=r"safetensors is damaged: it belongs to another evaluation\. `sanggar evaluate"):
        reader(run)


def test_arrays_of_the_other_format_are_refused(old: dict[int, Run], tmp_path: Path) -> None:
    """As the first 0.2.0 left them when a run was measured anew and that was broken off."""
    run = Run(shutil.copytree(old[1].path, tmp_path / "broken off"))
    shutil.copy(old[2].arrays_file, run.arrays_file)
    with pytest.raises(RunError, match=r"evaluation\.safetensors is damaged: .* in format 1\. `sanggar evaluate"):
        read_arrays(run)


def test_the_same_measurement_twice_is_refused(run: Run) -> None:
    tree = stored(run)
    (many,) = {"numbers", "measurements"} & set(tree)
    said = outcome(run, {**tree, many: [*tree[many], tree[many][3]]})
    assert "stands there twice" in str(said)


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}", b"[" * 100_000, b'{"a":' * 100_000,
    b'{"format": NaN}', b'{"format": 1}', b'{"format": 2}', b'{"format": 2, "measurements": []}', b"\x00" * 64,
])  # fmt: skip
def test_a_file_that_is_no_evaluation_is_damaged(run: Run, content: bytes) -> None:
    run.evaluation_file.write_bytes(content)
    with pytest.raises(RunError, match="is damaged") as raised:
        read(run)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_of_json_is_damage(run: Run, value: float) -> None:
    tree = stored(run)
    (many,) = {"numbers", "measurements"} & set(tree)
    for place in ((many, 0, "value"), (many, 0, "protocol", "n"), (many, 0, "protocol", "new"), ("seconds", "latent")):
        changed_tree = changed(tree, place, lambda holder, key: holder.__setitem__(key, value))
        assert "is damaged" in str(outcome(run, changed_tree))


def test_a_place_that_cannot_be_read_is_named(run: Run) -> None:
    run.evaluation_file.unlink()
    run.evaluation_file.mkdir()
    for reader in (read, read_arrays, read_tools):
        with pytest.raises(RunError, match=r"evaluation\.json: cannot be read"):
            reader(run)


def test_lists_within_lists_without_end_are_refused(run: Run) -> None:
    tree = stored(run)
    (many,) = {"numbers", "measurements"} & set(tree)
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    assert "is damaged" in str(
        outcome(run, changed(tree, (many, 0, "protocol", "n"), lambda h, k: h.update({k: deep})))
    )
    assert len(str(outcome(run, changed(tree, ("alarms",), lambda h, k: h.update({k: deep}))))) < 1000


def putting(value: Any) -> Callable[[Any, Any], None]:
    """What puts a value in a place."""
    return lambda holder, key: holder.__setitem__(key, value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@given(data=st.data())
def test_several_changes_at_once_are_survived(old: dict[int, Run], data: st.DataObject) -> None:
    run = old[data.draw(st.sampled_from((1, 2)))]
    tree, before = stored(run), run.evaluation_file.read_bytes()
    try:
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.sampled_from(list(places(tree))))
            value = data.draw(JSON)
            tree = changed(tree, place, putting(value))
        outcome(run, tree)
    finally:
        run.evaluation_file.write_bytes(before)


# -- the files of arrays -----------------------------------------------------------------------------------------


def test_missing_and_damaged_arrays_are_said(run: Run) -> None:
    written = stored(run)["format"]
    content = run.arrays_file.read_bytes()
    for damage, words in (
        (lambda: run.arrays_file.unlink(), "There is no file"),
        (lambda: run.arrays_file.write_bytes(content[:100]), "is damaged"),
        (lambda: run.arrays_file.write_bytes(content[:-1] + bytes([content[-1] ^ 1])), "is damaged: its content has"),
    ):
        damage()
        # format 1 kept among its arrays what is details and tools now
        for reader in (read_arrays, *((read, read_tools) if written == 1 else ())):
            with pytest.raises(RunError, match=words) as raised:
                reader(run)
            assert len(str(raised.value).splitlines()) == 1


def bytes_of(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


@pytest.mark.parametrize(("name", "array"), [
    ("attributes.edits", bytes_of("no JSON")),
    ("attributes.edits", bytes_of("[]")),
    ("attributes.edits", bytes_of("7")),
    ("attributes.edits", bytes_of("{}")),
    ("attributes.edits", bytes_of("[" * 50_000)),
    ("attributes.edits", np.array([255, 254], np.uint8)),
    ("attributes.edits", np.array(3.5)),
    ("attributes.edits", None),
    ("attributes.vectors", None),
    ("attributes.told", None),
    ("attributes.vectors", np.zeros((2, 3), np.float32)),
    ("attributes.told", np.array(1.0)),
    ("exploration.traversals.unit", bytes_of("miles")),
    ("exploration.traversals.unit", np.zeros(3)),
    ("generation.columns", np.zeros((2, 2))),
    ("generation.columns", np.zeros(0)),
    ("generation.truncation.n", np.array([np.nan])),
    ("mistakes.count", np.array([1])),
    ("mistakes.count", np.array(1)),
    ("grid.best", bytes_of("magic")),
    ("unheard.of", np.zeros(3)),
    ("anomaly.odd.monsters.network.latent", np.zeros(3)),
    ("anomaly.normal.somebody.latent", np.zeros(3)),
])  # fmt: skip
def test_arrays_that_are_not_of_format_1_are_refused(
    old: dict[int, Run], tmp_path: Path, name: str, array: np.ndarray | None
) -> None:
    run = Run(shutil.copytree(old[1].path, tmp_path / "copied"))
    arrays = load_arrays(run.arrays_file)[0]
    save_arrays(run.arrays_file, {key: value for key, value in {**arrays, name: array}.items() if value is not None})
    refused = []
    for reader in (read, read_arrays, read_tools):
        try:
            reader(run)
        except RunError as error:
            refused.append(str(error))
    assert refused or (name, array) == ("attributes.edits", None)  # vectors and strips of no known edit: no edits
    assert all("is damaged: it is not what sanggar wrote in format 1. `sanggar" in said for said in refused)


@pytest.mark.parametrize("details", [{}, {"step": None}, {"step": "18"}, {"step": True}, {"step": 1.0}])
def test_tools_say_the_step_that_they_are_of(old: dict[int, Run], tmp_path: Path, details: Tree) -> None:
    run = Run(shutil.copytree(old[2].path, tmp_path / "copied"))
    put_arrays(run, run.tools_file, load_arrays(run.tools_file)[0], details)
    with pytest.raises(RunError, match=r"tools\.safetensors is damaged; `sanggar evaluate"):
        read_tools(run)


@pytest.mark.parametrize("step", [None, "18", True, 1.5, [1]])
def test_tools_of_format_1_need_its_step(old: dict[int, Run], tmp_path: Path, step: object) -> None:
    run = Run(shutil.copytree(old[1].path, tmp_path / "copied"))
    run.evaluation_file.write_text(json.dumps({**stored(run), "step": step}))
    with pytest.raises(RunError, match="is damaged"):
        read_tools(run)
