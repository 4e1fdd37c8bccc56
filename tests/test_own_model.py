"""A model of one's own by import path: the page about it does what it says, and what cannot be imported is refused."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

import sanggar
from conftest import Cli
from sanggar.errors import RecipeError
from sanggar.recipe import read
from sanggar.runs import Run

PAGE = Path(__file__).parent.parent / "docs" / "own-model.md"
FENCE = re.compile(r"^```(\w+) ?([\w.-]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path, which is the working folder too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name in ("my_models", "broken", "empty", "needy")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.mark.slow
def test_the_page_does_what_it_says(beside: Path, run_cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    commands = []
    for language, file, block in FENCE.findall(PAGE.read_text(encoding="utf-8")):
        if file:
            (beside / file).write_text(block, encoding="utf-8")
        elif language == "console":
            for line in block.splitlines():
                words = shlex.split(line.removeprefix("$ sanggar "))
                commands.append(words[0])
                status, _, err = run_cli(*words)
                assert status == 0, f"{line}: {err}"
        else:
            capsys.readouterr()
            exec(compile(block, PAGE.name, "exec"), {"__name__": "__main__"})
            steps = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
            assert len(steps) == 2
    assert {"run", "train", "evaluate", "report", "sample", "anomaly"} <= set(commands)
    measured = {m.metric for m in sanggar.evaluation_of(Run("runs/one-layer")).measurements}
    assert measured == {"reconstruction", "latent", "edits", "exploration"}
    assert read("runs/from-python/recipe.yaml").model["family"] == "my_models:OneLayer"


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("nowhere.models:Mine", "there is no module 'nowhere.models' to import; install its package"),
        ("broken:Mine", "importing broken failed: ZeroDivisionError: division by zero"),
        ("needy:Mine", "importing needy failed: No module named 'not_there'"),
        ("empty:Mine", "empty has no 'Mine'. Did you mean 'Mina'?"),
        ("empty:Mina", "empty:Mina is no model; expected a subclass of sanggar.Model"),
        ("empty:number", "empty:number is no model"),
        ("empty:Bare", "empty:Bare has no Options, a subclass of sanggar.Options"),
        ("os:system", "'os' is part of Python itself"),
        (":Mine", "':Mine' is no import path; expected package.module:Name"),
        ("empty:", "'empty:' is no import path"),
        ("../empty:Mina", "'../empty:Mina' is no import path"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(beside: Path, run_cli: Cli, family: str, words: str) -> None:
    (beside / "broken.py").write_text("1 / 0\n")
    (beside / "needy.py").write_text("import not_there\n")
    (beside / "empty.py").write_text("from sanggar import Model\nclass Mina: ...\nclass Bare(Model): ...\nnumber = 1\n")
    status, out, err = run_cli("train", "digits-denoising-autoencoder", f"model={{family: '{family}'}}", "--out", "run")
    assert (status, out) == (2, "")
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (beside / "run").exists()


def test_a_run_whose_model_cannot_be_imported_any_more_says_so_and_loses_nothing(
    beside: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, _, code), *_ = FENCE.findall(PAGE.read_text(encoding="utf-8"))
    (beside / "my_models.py").write_text(code)
    recipe = {"name": "t", "data": {"source": "digits", "validation": 237}, "model": {"family": "my_models:OneLayer"}}
    sanggar.train({**recipe, "training": {"steps": 2}}, out=beside / "run")
    before = {path: path.read_bytes() for path in (beside / "run").rglob("*") if path.is_file()}
    (beside / "my_models.py").rename(beside / "elsewhere.py")
    monkeypatch.delitem(sys.modules, "my_models")
    for command in (["evaluate", "run"], ["train", "--resume", "run"], ["encode", "run", "x", "--out", "y.npz"]):
        status, _, err = run_cli(*command)
        assert status == 2
        assert "there is no module 'my_models' to import" in err
    assert {path: path.read_bytes() for path in (beside / "run").rglob("*") if path.is_file()} == before
    elsewhere = importlib.import_module("elsewhere")
    assert sanggar.open("run", family=elsewhere.OneLayer).latent_size == 8
    with pytest.raises(RecipeError, match="there is no module"):
        sanggar.open("run")
