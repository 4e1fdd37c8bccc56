"""What every shipped recipe promises: it means something, it says itself again, and it trains."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import sanggar
from conftest import DEMOS
from sanggar import recipe
from sanggar.data.downloads import Download
from sanggar.data.images import Images
from sanggar.data.sources import SOURCES, presence, root
from sanggar.models.base import Model, best_device
from sanggar.plain import parse
from sanggar.plan import build, resolve
from sanggar.reporting.page import report
from sanggar.runs import fresh_folder

SHORT = [
    # few to train on: looking at all of them, for the nearest to what is drawn, would take minutes
    "data.test=0.9", "data.validation=0.1",
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
def test_one_for_a_gpu_is_built_anywhere(name: str, request: pytest.FixtureRequest) -> None:
    place = small_data(name, request)[:1]  # their full size decides the network's
    plan, usual = (resolve(recipe.read(of, place)) for of in (name, name.removesuffix("-gpu")))
    one, other = build(plan, plan.spec), build(usual, usual.spec)
    assert isinstance(one, Model) and isinstance(other, Model)
    large, small = (sum(p.numel() for p in model.parameters()) for model in (one, other))
    assert large > 2 * small


@pytest.fixture(scope="module")
def few_faces(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What makes a recipe of faces one of 120 of them at half their size, of which one attribute is edited."""
    whole, few = root() / "utkface-128", tmp_path_factory.mktemp("few") / "utkface-128"
    if not (whole / "images").is_dir():
        pytest.skip("utkface-128 is no folder under the data root (SANGGAR_DATA)")
    header, *rows = (whole / "attributes.csv").read_text().splitlines()
    rows = rows[:: len(rows) // 120]  # by age
    few.mkdir()
    for row in rows:
        shutil.copy(whole / "images" / row.partition(",")[0], few)
    (few / "attributes.csv").write_text("\n".join([header, *rows]))
    data = [f"data.path={few}", "data.size=64", "data.test=0.5", "data.validation=0.2"]
    return [*data, "evaluation.attributes=[gender]"]


@pytest.fixture(autouse=True, scope="module")
def few_pictures() -> Iterator[None]:
    """Of published pictures the first thousands alone, read once: the sources' own tests read them whole."""

    def few(source: Download) -> Download:
        train, test = min(source.train_count, 5000), min(source.test_count, 1000)

        @cache
        def read(place: Any) -> tuple[Images, Images]:
            whole = source.read(place)
            return whole[0].first(train), whole[1].first(test)

        return replace(source, read=read, train_count=train, test_count=test)

    with pytest.MonkeyPatch.context() as patch:
        for name, source in SOURCES.items():
            if isinstance(source, Download):
                patch.setitem(SOURCES, name, few(source))
        yield


def small_data(name: str, request: pytest.FixtureRequest) -> list[str]:
    """What makes a recipe's data few, where a folder holds them. Skips where there are none."""
    data = resolve(recipe.read(name)).data
    if data.source == "folder":
        faces: list[str] = request.getfixturevalue("few_faces")
        return faces
    if presence(data.source, data).state == "absent":
        pytest.skip(f"{data.source} is not under the data root (SANGGAR_DATA)")
    return []


@cache
def one_of_each() -> dict[tuple[str, object], str]:
    """The first shipped recipe of each family on pictures of each kind: what is measured depends on little else.

    But for those that `conftest` trains, whose metrics and sections have contracts of their own.
    """
    left_out = {demo for demo, _ in DEMOS.values()}
    names = [name for name in recipe.shipped() if not name.endswith("-gpu") and name not in left_out]
    recipes = {name: recipe.read(name) for name in reversed(names)}
    return {(found.model["family"], kind(found.data["source"])): name for name, found in recipes.items()}


def kind(source: str) -> object:
    """What pictures a source has: of published ones size and colour, else the source itself."""
    found = SOURCES[source]
    return (found.spec.height, found.spec.channels) if isinstance(found, Download) else source


def narrow(model: dict[str, Any], key: str = "model") -> list[str]:
    """What makes each of a recipe's convolutions a few channels wide, as many of them as there are."""
    found = [f"{key}.widths={[8] * len(model['widths'])}"] if "widths" in model else []
    return found + [
        each for name, part in model.items() if isinstance(part, dict) for each in narrow(part, f"{key}.{name}")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe.shipped())
def test_it_trains(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if name.endswith("-gpu") and best_device() == "cpu":
        pytest.skip("for a GPU")
    overrides = SHORT + small_data(name, request)
    if name.startswith("faces"):
        overrides += narrow(recipe.read(name).model)  # in their own width: a minute
    run = sanggar.train(name, overrides, out=tmp_path / name)
    assert (run.status, run.info["step"]) == ("finished", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("name", one_of_each().values())
def test_it_is_measured_and_reported(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    small = small_data(name, request)
    run = sanggar.train(name, SHORT + small + narrow(recipe.read(name).model), out=tmp_path / name)
    sanggar.evaluate(run)
    report(run)
    assert name in run.report_file.read_text()
