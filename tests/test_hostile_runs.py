"""Runs from somebody else: nothing is followed out of them, and whatever their files hold is answered in one line."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Cli, Trained
from sanggar import evaluate, recipe
from sanggar import open as open_run
from sanggar.errors import RecipeError, RunError, SanggarError
from sanggar.runs import Log, Run, find, load_arrays, save_arrays
from sanggar.trained import spec_of
from sanggar.training.start import resume

FILES = ["run.json", "recipe.yaml", "metrics.jsonl", "timing.jsonl", "weights.safetensors", "evaluation.json",
         "evaluation.safetensors", "tools.safetensors", "checkpoint/state.safetensors", "checkpoint", "samples",
         "report.html", ".lock", ".writer.json", "logs"]  # fmt: skip

OTHERS: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, "", "x", "\ud800", [], {}, [None], {"x": None}, 10**400, 65_536, 2**63, [[1]], "a" * 300,
)  # fmt: skip
"""Values of other types, or out of range, that stand where something is expected"""


# -- links -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="makes links")
@pytest.mark.parametrize("name", FILES)
def test_nothing_of_a_run_is_followed_out_of_it(name: str, copied_run: Run, tmp_path: Path, run_cli: Cli) -> None:
    outside, path = tmp_path / "outside", copied_run.path / name
    if path.is_dir():
        shutil.move(path, outside)
    elif path.exists():
        path.rename(outside)
    else:
        outside.write_text("kept")
    before = {file: file.read_bytes() for file in [outside, *outside.rglob("*")] if file.is_file()}
    path.symlink_to(outside)
    for command in (("report", "RUN"), ("evaluate", "RUN"), ("train", "--resume", "RUN", "training.epochs=3"),
                    ("sample", "RUN", "--count", "1", "--mixture", "--out", tmp_path / "x.png")):  # fmt: skip
        status, _, err = run_cli(*(copied_run.path if word == "RUN" else word for word in command))
        assert (status, len(err.splitlines())) == (2, 1)
        assert f"{path} is a link, and nothing of a run is followed out of it" in err
    assert {file: file.read_bytes() for file in [outside, *outside.rglob("*")] if file.is_file()} == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a pipe")
def test_what_never_ends_is_not_read(copied_run: Run) -> None:
    os.mkfifo(copied_run.path / "metrics2.jsonl")
    with pytest.raises(RunError, match=r"metrics2\.jsonl is no file"):
        Run(copied_run.path)


def test_a_run_may_be_named_by_a_link(copied_run: Run, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(copied_run.path)
    assert Run(tmp_path / "latest").name == copied_run.name


def test_a_log_leaves_what_else_is_linked_to_it_alone(tmp_path: Path) -> None:
    log, backup = tmp_path / "log", tmp_path / "backup"
    log.write_text("one\ntwo\n")
    backup.hardlink_to(log)
    with Log(log, 4) as opened:
        opened.write({})
        opened.flush()
    assert (log.read_text(), backup.read_text()) == ("one\n{}\n", "one\ntwo\n")


def test_a_stored_recipe_stands_alone(copied_run: Run, tmp_path: Path, run_cli: Cli) -> None:
    for base in (str(tmp_path / "outside.yaml"), "digits-vae", "null"):
        copied_run.recipe_file.write_text(f"base: {base}\n{recipe.read('digits-vae').yaml()}")
        with pytest.raises(RecipeError, match="base: the recipe of a run stands alone"):
            open_run(copied_run)
    assert run_cli("evaluate", copied_run.path)[0] == 2


# -- what its files hold ---------------------------------------------------------------------------------------


def places(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield (*above, key)
            yield from places(value, (*above, key))


def mutated(tree: Any, seed: int) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each place of a tree, once without it and once with another value there."""
    draws = random.Random(seed)
    for place in places(tree):
        for value in (..., draws.choice(OTHERS), draws.choice(OTHERS)):
            changed = copy.deepcopy(tree)
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            if value is ...:
                del inner[place[-1]]
            else:
                inner[place[-1]] = value
            yield place, changed


def answers(ask: Callable[[], object]) -> None:
    """Something works, or is refused in one line."""
    try:
        ask()
    except SanggarError as error:
        assert error.exit_status == 2
        assert len(str(error).splitlines()) == 1


def used(path: Path) -> None:
    """What every command needs of a run's record, without its network."""
    run = Run(path)
    spec_of(run)
    json.dumps([run.info["data"]["fingerprint"], run.info["device"].get("parts", 1), run.info["identity"]])


@pytest.mark.parametrize("family", ["autoencoder", "ffnn"])
def test_any_record_is_read_or_refused(family: str, copied: Trained) -> None:
    run = copied(family)
    tree = json.loads(run.info_file.read_text(encoding="utf-8"))
    for _, changed in mutated(tree, 0):
        run.info_file.write_text(json.dumps(changed))
        answers(lambda: used(run.path))
        answers(lambda: find(run.path.parent))


@pytest.mark.parametrize("name", ["metrics", "timing"])
def test_any_log_is_read_or_refused(name: str, copied: Trained) -> None:
    run = copied("ffnn")
    file: Path = getattr(run, f"{name}_file")
    line = json.loads(file.read_text().splitlines()[0])
    for _, changed in mutated(line, 1):
        file.write_text(json.dumps(changed) + "\n")
        answers(getattr(run, name))
    file.write_bytes(b'{"step": 1e999}\n' + b"[" * 100_000 + b"\n")
    answers(getattr(run, name))


@pytest.mark.parametrize(("part", "value"), [("height", 65_536), ("width", 0), ("channels", 4), ("classes", "ab")])
def test_pictures_have_a_size_that_pictures_have(part: str, value: object, copied_run: Run) -> None:
    tree = json.loads(copied_run.info_file.read_text(encoding="utf-8"))
    tree["data"][part] = value
    copied_run.info_file.write_text(json.dumps(tree))
    with pytest.raises(RunError, match=rf"run\.json is damaged: data\.{part}"):
        Run(copied_run.path)


def test_only_samples_are_taken_for_samples(copied_run: Run, run_cli: Cli) -> None:
    known = copied_run.samples()
    for name in ("step-x.png", "step-.png", "step-1.png.png", "x.png", "step-" + "9" * 200 + ".png"):
        (copied_run.samples_folder / name).write_bytes(b"x")
    assert copied_run.samples() == known != []
    assert run_cli("report", copied_run.path)[0] == 0


ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "shape": lambda array: np.concatenate([array, array]) if array.ndim else np.stack([array] * 2),
    "turned": lambda array: array.T if array.ndim > 1 and len(set(array.shape)) > 1 else array.reshape(*array.shape, 1),
    "kind": lambda array: array.astype(np.int32 if array.dtype.kind == "f" else np.float64),
}


@pytest.mark.parametrize("family", ["autoencoder", "ffnn"])
@pytest.mark.parametrize("change", ["name", "missing", *ARRAYS])
def test_an_optimizer_of_another_shape_is_not_gone_on_with(change: str, family: str, copied: Trained) -> None:
    copied_run = copied(family)
    arrays, meta = load_arrays(copied_run.checkpoint_file)
    names = [name for name in arrays if name.startswith("optimizer.") and arrays[name].ndim > 1]
    names += [name for name in arrays if name.startswith("model.") and arrays[name].ndim > 1]
    for name in (names[0], names[-1]):
        changed = dict(arrays)
        array = changed.pop(name)
        if change != "missing":
            key = f"{name}x" if change == "name" else name
            changed[key] = array if change == "name" else ARRAYS[change](array)
        save_arrays(copied_run.checkpoint_file, changed, meta)
        with pytest.raises(RunError, match="The checkpoint does not fit this recipe's network") as raised:
            resume(copied_run.path, ["training.epochs=3"])
        assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("meta", [{}, {"step": "1"}, {"step": 1.5}, {"step": -1}, {"step": True}, {"steps": 3}])
def test_a_checkpoint_says_how_far_it_came(meta: dict[str, Any], copied_run: Run) -> None:
    for file, use in ((copied_run.checkpoint_file, lambda: resume(copied_run.path)),
                      (copied_run.weights_file, lambda: open_run(copied_run.path))):  # fmt: skip
        arrays, known = load_arrays(file)
        wrong = {**known, **meta} if meta else {"x": 1}
        save_arrays(file, arrays, wrong)
        if "steps" not in meta or file == copied_run.checkpoint_file:
            with pytest.raises(RunError):
                use()
        save_arrays(file, arrays, known)


# -- a run that moved ------------------------------------------------------------------------------------------


def test_where_data_lie_and_what_computes_may_change(
    tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sanggar.evaluation.evaluate.METRICS", {})  # what is measured is not the matter here
    archive = Path(__file__).parent / "fixtures" / "format-1.zip"
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path, [n for n in file.namelist() if n.startswith("faces/") or n == "data/faces.zip"])
    moved = (tmp_path / "data" / "faces.zip").rename(tmp_path / "elsewhere.zip")
    run = Run(tmp_path / "faces")
    status, _, err = run_cli("train", "--resume", run.path, "training.epochs=3")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "data.path=PLACE" in err
    status, _, err = run_cli("train", "--resume", run.path, "training.epochs=3", f"data.path={moved}",
                             "training.device=auto")  # fmt: skip
    assert status == 0, err
    assert str(moved) in run.recipe_text()
    assert evaluate(run.path, ["training.device=cpu"]).info["step"] == 6
    assert "device: cpu" in run.recipe_text()
    status, _, err = run_cli("evaluate", run.path, "data.seed=1")
    assert status == 2
    assert "data.seed" in err
