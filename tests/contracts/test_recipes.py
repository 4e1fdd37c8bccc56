"""What every shipped recipe promises: it means something, it says itself again, and it trains."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest

import sanggar
from sanggar import recipe
from sanggar.data.sources import presence, root
from sanggar.models.base import Model, best_device
from sanggar.plain import parse
from sanggar.plan import build, resolve
from sanggar.reporting.page import report
from sanggar.runs import fresh_folder

SHORT = [
    # few to train on: looking at all of them, for the nearest to what is drawn, would take minutes
    "data.test=0.95", "data.validation=0.01",
    "training.epochs=null", "training.steps=2", "training.batch_size=16", "training.device=cpu",
    "evaluation.images=40", "evaluation.classical_images=10", "evaluation.tuning_images=5",
    "evaluation.noise_levels=[0.3]", "evaluation.probe_images=100", "evaluation.map_images=40",
    "evaluation.bound_images=20", "evaluation.anomaly_images=20", "evaluation.regret_steps=2",
]  # fmt: skip


@pytest.mark.parametrize("name", recipe.shipped())
def test_it_says_itself_again(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where no run of this name lies yet
    plan = resolve(recipe.read(name))
    assert plan.name == name
    assert plan.about.endswith(".")
    again = resolve(recipe.read(parse(plan.yaml(), name)))
    assert again == plan
    assert again.identity("data") == plan.identity("data")
    assert fresh_folder(plan.name).name == name


@pytest.mark.parametrize("name", [name for name in recipe.shipped() if name.endswith("-gpu")])
def test_one_for_a_gpu_is_built_anywhere(name: str) -> None:
    plan = resolve(recipe.read(name))
    if presence(plan.data.source, plan.data).state == "absent":
        pytest.skip(f"{plan.data.source} is not under the data root (SANGGAR_DATA)")
    usual = resolve(recipe.read(name.removesuffix("-gpu")))
    one, other = build(plan, plan.spec), build(usual, usual.spec)
    assert isinstance(one, Model) and isinstance(other, Model)
    large, small = (sum(p.numel() for p in model.parameters()) for model in (one, other))
    assert large > 2 * small


@pytest.fixture(scope="module")
def few_faces(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What makes a recipe of faces one of 240 of them at half their size, of which one attribute is edited."""
    whole, few = root() / "utkface-128", tmp_path_factory.mktemp("few") / "utkface-128"
    if not (whole / "images").is_dir():
        pytest.skip("utkface-128 is no folder under the data root (SANGGAR_DATA)")
    header, *rows = (whole / "attributes.csv").read_text().splitlines()
    rows = rows[:: len(rows) // 240]  # by age
    few.mkdir()
    for row in rows:
        shutil.copy(whole / "images" / row.partition(",")[0], few)
    (few / "attributes.csv").write_text("\n".join([header, *rows]))
    data = [f"data.path={few}", "data.size=64", "data.test=0.5", "data.validation=0.2"]
    return [*data, "evaluation.attributes=[gender]"]


@cache
def one_of_each() -> dict[tuple[str, str], str]:
    """The first shipped recipe of each family on each source: what is measured and reported depends on little else."""
    names = [name for name in recipe.shipped() if not name.endswith("-gpu")]
    recipes = {name: recipe.read(name) for name in reversed(names)}
    return {(found.model["family"], found.data["source"]): name for name, found in recipes.items()}


@pytest.mark.parametrize("name", recipe.shipped())
def test_it_trains_and_is_measured_and_reported(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    plan = resolve(recipe.read(name))
    if presence(plan.data.source, plan.data).state == "absent":
        pytest.skip(f"{plan.data.source} is not under the data root (SANGGAR_DATA)")
    if name.endswith("-gpu") and best_device() == "cpu":
        pytest.skip("for a GPU")
    small = request.getfixturevalue("few_faces") if plan.data.source == "folder" else []
    if name.startswith("faces"):
        small = [*small, "model.widths=[8,8,8,8,8]"]  # at their own widths each takes a minute
    run = sanggar.train(name, SHORT + small, out=tmp_path / name)
    assert (run.status, run.info["step"]) == ("finished", 2)
    if name not in one_of_each().values():
        return
    sanggar.evaluate(run)
    report(run)
    assert name in run.report_file.read_text()
