"""The tour: all five systems on pictures that come along, on one page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Cli
from sanggar.errors import RunError
from sanggar.runs import Run
from sanggar.studies import start
from sanggar.studies.definition import Budget, read

TINY = Budget(
    length=0.01, tables=("from-scratch", "gan"), set={"evaluation.images": 60, "evaluation.train_images": 200}
)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of digits, hardly trained, in this process."""
    tiny = replace(read("tour"), budget=TINY)
    monkeypatch.setattr(start, "read", lambda name: tiny)
    monkeypatch.setattr(start, "executor_for", lambda *_: lambda: ThreadPoolExecutor(1))


def test_it_needs_no_files_and_shows_every_system() -> None:
    cells = read("tour").cells
    assert {cell.plan.data.source for cell in cells} <= {"digits", "glyphs"}
    families = [cell.plan.family_name for cell in cells]
    assert sorted(families) == ["autoencoder", "ffnn", "gan", "gan", "vae"]


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_the_command_makes_one_page(run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, told, said = run_cli("tour", "--out", str(tmp_path))
    assert code == 0, said
    page = tmp_path / "tour.html"
    assert str(page) in told
    runs = [Run(folder) for folder in (tmp_path / "runs").iterdir()]
    text = page.read_text(encoding="utf-8")
    names = sorted(run.info["name"] for run in runs)
    assert names == ["digits-cgan", "digits-ffnn", "digits-gan"]
    assert all(f">{name}<" in text for name in names)  # and not by the name of its folder

    def broken(*_: object, **__: object) -> None:
        raise RunError("this one fails.")

    monkeypatch.setattr("sanggar.training.start.train", broken)
    code, _, said = run_cli("tour", "--out", str(tmp_path / "other"))
    assert code == 2 and "this one fails." in said and "Traceback" not in said
