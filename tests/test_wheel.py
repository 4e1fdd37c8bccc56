"""The wheel holds what a run needs, and works where nothing else of this checkout is."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from conftest import TINY
from sanggar.recipe import shipped

ROOT = Path(__file__).parent.parent


def done(*command: str | Path, **options: Any) -> str:
    arguments = [sys.executable, *map(str, command)]
    finished: subprocess.CompletedProcess[str] = subprocess.run(arguments, capture_output=True, text=True, **options)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("build", "hatchling"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("wheel")
    done("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_what_is_not_code(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    wanted = {f"sanggar/recipes/{name}.yaml" for name in shipped()} | {
        "sanggar/reporting/page.html",
        "sanggar/py.typed",
    }
    assert wanted <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"sanggar"}


@pytest.mark.slow
def test_the_installed_wheel_makes_a_report_without_pip(wheel: Path, tmp_path: Path) -> None:
    target, work = tmp_path / "target", tmp_path / "work"
    work.mkdir()
    done("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    program = (
        "import sys; sys.modules['pip'] = None; import sanggar; print(sanggar.__file__)\n"
        "import runpy; runpy.run_module('sanggar', run_name='__main__', alter_sys=True)"
    )
    out = done("-c", program, "run", "digits-denoising-autoencoder", *TINY, cwd=work, env=environment)
    assert out.splitlines()[0] == str(target / "sanggar" / "__init__.py")
    report = work / "runs" / "digits-denoising-autoencoder" / "report.html"
    assert report.read_text().startswith("<!doctype html>")
