"""`sanggar new`: what is chosen for pictures of one's own, why, and what is said where nothing can be chosen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sanggar import recipe
from sanggar.cli.group import cli
from sanggar.data.look import look
from sanggar.errors import DataError, RecipeError
from sanggar.files import Tree
from sanggar.plan import build, resolve
from sanggar.training import configure as module
from sanggar.training.configure import FAMILIES, Family, configure


def picture(rng: np.random.Generator, edge: int, mode: str = "RGB", wide: int = 1) -> Image.Image:
    channels = len(mode) if mode != "L" else 0
    shape = (edge, wide * edge, channels) if channels else (edge, edge)
    return Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode)


def folder(
    place: Path, count: int = 120, edge: int = 40, mode: str = "RGB", classes: tuple[str, ...] = (), wide: int = 1
) -> Path:  # fmt: skip
    rng = np.random.default_rng(0)
    for i in range(count):
        target = place / classes[i % len(classes)] if classes else place
        target.mkdir(parents=True, exist_ok=True)
        picture(rng, edge, mode, wide).save(target / f"{i:04}.png")
    return place


@pytest.fixture
def ten_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes ten milliseconds for each eight channels of a network's first width."""

    def seconds(choices: object, network: Tree, per_epoch: int) -> float:
        holding: Tree = network if "widths" in network else network.get("network") or network["critic"]
        return 0.01 * float(min(holding["widths"])) / 8 * (1 + int(network.get("blocks", 0)))

    monkeypatch.setattr(module, "_seconds", seconds)


def test_pictures_are_looked_at(tmp_path: Path) -> None:
    place = folder(tmp_path / "icons", mode="RGBA", classes=("a", "b"))
    (place / "a" / "0000.png").write_bytes(b"no picture")
    (place / "b" / "0003.png").write_bytes((place / "b" / "0001.png").read_bytes())
    looked = look(str(place))
    assert (looked.count, looked.opened, set(looked.edges), looked.modes) == (120, 120, {40}, {"RGBA": 119})
    assert looked.broken == ("a/0000.png",)
    assert looked.colour and looked.different == 118
    assert not look(str(folder(tmp_path / "grey", mode="L"))).colour


@pytest.mark.parametrize("family", FAMILIES)
def test_a_recipe_of_every_family_says_why_and_can_be_built(
    family: Family, tmp_path: Path, ten_milliseconds: None
) -> None:
    place = folder(tmp_path / "icons", 130, classes=("a", "b"))
    chosen = configure(place, 10.0, family)
    text = chosen.yaml()
    plan = resolve(recipe.read_stored(text, "mine"))
    build(plan, plan.spec)
    assert plan.family_name == family
    assert plan.data.model_dump()["size"] == 32  # of 40 pixels, in ten minutes
    for key, why in chosen.choices.why.items():
        assert "".join(why.split()) in "".join(text.replace("#", "").split()), key
    assert chosen.minutes <= 10
    assert max(len(line) for line in text.splitlines() if line.lstrip().startswith("#")) <= 120
    of_itself = {"format", "about", "data.source", "data.path", "model.family"}
    assert chosen.choices.values.keys() - chosen.choices.why.keys() == of_itself
    assert "chosen by `sanggar new` for 10 minutes" in " ".join(text.split())


def test_a_network_is_as_large_as_the_minutes_allow(tmp_path: Path, ten_milliseconds: None) -> None:
    place = folder(tmp_path / "icons")

    def width(minutes: float) -> int:
        widths = configure(place, minutes).choices.tree()["model"]["widths"]
        return int(widths[0])

    widths = [width(minutes) for minutes in (0.02, 2.0, 4.0, 30.0)]
    assert widths[0] == 8 and widths[-1] == 64
    assert widths == sorted(widths)


def test_pictures_are_larger_where_there_is_time(tmp_path: Path, ten_milliseconds: None) -> None:
    place = folder(tmp_path / "large", 60, edge=140)
    assert [configure(place, m).choices.values["data.size"] for m in (5.0, 20.0, 60.0, 90.0)] == [32, 64, 96, 128]
    small = configure(folder(tmp_path / "small", 60, edge=9), 90.0).choices
    assert small.values["data.size"] == 16 and "enlarged" in small.why["data.size"]
    middling = configure(folder(tmp_path / "middling"), 90.0).choices  # of 40 pixels
    assert "the largest of 16, 24, 28" in middling.why["data.size"]


def test_a_table_of_attributes_is_told(tmp_path: Path, ten_milliseconds: None) -> None:
    place = folder(tmp_path / "icons", 60)
    lines = ["file,age", *(f"{i:04}.png,{i}" for i in range(60))]
    (place / "attributes.csv").write_text("\n".join(lines), encoding="utf-8")
    assert "A table tells age: measured" in str(configure(place).choices.values["about"])


def test_what_follows_from_the_pictures(tmp_path: Path, ten_milliseconds: None) -> None:
    wide = configure(folder(tmp_path / "wide", wide=2)).choices
    assert (wide.values["data.fit"], wide.values["data.colour"]) == ("squash", True)
    assert "100% of the pictures" in wide.why["data.fit"]
    grey = configure(folder(tmp_path / "grey", mode="L")).choices
    assert (grey.values["data.fit"], grey.values["data.colour"]) == ("crop", False)
    assert "conditioned on nothing" in grey.why["model.prior"]
    small = configure(folder(tmp_path / "classes", classes=("a", "b", "c"))).choices
    assert "condition" not in small.values["model.prior"]  # type: ignore[operator]
    assert "3 classes, the smallest of 40" in small.why["model.prior"]
    two = configure(folder(tmp_path / "two", classes=("a", "b"))).choices.values["model.prior"]
    assert isinstance(two, dict) and two["condition"] == ["class"]


def test_what_cannot_be_done_is_said(tmp_path: Path, ten_milliseconds: None) -> None:
    with pytest.raises(DataError, match="There is no folder or zip"):
        configure(tmp_path / "nowhere")
    with pytest.raises(DataError, match="5 pictures are too few to learn from"):
        configure(folder(tmp_path / "five", 5))
    same = folder(tmp_path / "same", 1)
    for i in range(1, 80):
        (same / f"{i:04}.png").write_bytes((same / "0000.png").read_bytes())
    with pytest.raises(DataError, match="all 80 pictures that were opened are the same"):
        configure(same)
    broken = tmp_path / "broken"
    broken.mkdir()
    for i in range(80):
        (broken / f"{i}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="80 cannot be read"):
        configure(broken)
    two = folder(tmp_path / "two", 80)
    (two / "0007.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"of 80 .* 1 cannot be read: 0007.png. A training refuses .* 1% .* remove"):
        configure(two)
    place = folder(tmp_path / "icons")
    with pytest.raises(RecipeError, match=r"minutes are too few: the smallest network takes 0\.\d+ seconds for one"):
        configure(place, 0.0001)
    for minutes in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(RecipeError, match="minutes"):
            configure(place, minutes)
    with pytest.raises(RecipeError, match="there is no 'ffnn'"):
        configure(place, 10.0, "ffnn")


@pytest.mark.slow
def test_the_command_writes_a_recipe_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "icons", 60, edge=16)
    done = CliRunner().invoke(cli, ["new", "icons", "--minutes", "0.02", "--out", "mine.yaml"])
    assert done.exit_code == 0, done.output
    assert "Go on with: sanggar run mine.yaml" in done.output
    again = CliRunner().invoke(cli, ["new", "icons", "--out", "mine.yaml"])
    assert again.exit_code == 2 and "exists already" in again.output
    trained = CliRunner().invoke(cli, ["train", "mine.yaml", "training.steps=2", "training.device=cpu", "--out", "run"])
    assert trained.exit_code == 0, trained.output


def test_the_command_offers_what_there_is() -> None:
    assert get_args(Family) == FAMILIES
    help_text = CliRunner().invoke(cli, ["new", "--help"]).output
    assert all(family in help_text for family in FAMILIES)
