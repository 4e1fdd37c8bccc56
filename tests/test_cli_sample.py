"""`sanggar sample`: the same seed gives the same file, classes are where they are asked for, mistakes cost one line."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

import sanggar
from conftest import Cli
from sanggar.data.images import ImageSpec, read_images
from sanggar.data.writing import Chunk, sheet, write_stack
from sanggar.errors import DataError
from sanggar.models.base import Batch, Model, Phase, SamplingOptions, StepContext, Terms
from sanggar.models.conditions import Conditions
from sanggar.options import Options
from sanggar.plan import FAMILIES
from sanggar.runs import Run

RunOf = Callable[[bool], Run]


class DotOptions(Options):
    """Whether it is conditioned on the class."""

    family: Literal["dots"] = "dots"
    conditional: bool = True


class DotSampling(SamplingOptions):
    """One option."""

    swept = "truncation"
    truncation: float = Field(default=1.0, gt=0, le=1)
    """factor of the noise"""


class Dots(Model):
    """Draws a picture whose first row says the class, a pixel each; the rest is its noise."""

    Options = DotOptions
    SamplingOptions = DotSampling
    noise_shape = (7, 8)

    def __init__(self, options: DotOptions, spec: ImageSpec) -> None:
        super().__init__()
        self.conditions = Conditions(("class",) if options.conditional else (), spec)
        self.weight = nn.Parameter(torch.ones(1))

    def phases(self) -> list[Phase]:
        return [Phase("dots", list(self.parameters()), self.loss)]

    def loss(self, batch: Batch, moment: StepContext) -> Terms:
        return {"none": 0.0 * self.weight.sum()}

    def sample(self, noise: Tensor, condition: Tensor | None, options: DotSampling) -> Tensor:
        first = torch.zeros(len(noise), 1, 8)
        if condition is not None:
            first = condition[:, None, :8] * 2.0 - 1
        return torch.cat([first, noise * options.truncation * self.weight], dim=1)[:, None]


@pytest.fixture(scope="module", autouse=True)
def dots() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "dots", Dots)
        yield


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory, dots: None) -> RunOf:
    recipe = {
        "name": "dots",
        "data": {"source": "digits", "validation": 237},
        "training": {"steps": 1, "device": "cpu"},
    }
    runs = {
        told: sanggar.train({**recipe, "model": {"family": "dots", "conditional": told}},
                            out=tmp_path_factory.mktemp("dots") / "run", watch=lambda _: None)
        for told in (True, False)
    }  # fmt: skip
    return runs.__getitem__


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def asked_for(images: np.ndarray) -> list[int]:
    """The class that each picture of 8×8 says it was asked for; 8 for both that have no pixel."""
    return [int(np.argmax([*row, 254])) for row in images[:, 0, :]]


# -- what it writes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 25, 1100])
def test_arrays_hold_what_the_painter_draws_each_class_in_turn(
    count: int, run_of: RunOf, run_cli: Cli, tmp_path: Path
) -> None:
    status, out, err = run_cli("sample", run_of(True).path, "--count", count, "--out", tmp_path / "x" / "x.npz")
    assert (status, out, err) == (0, f"{tmp_path / 'x' / 'x.npz'}\n", "")
    found = arrays(tmp_path / "x" / "x.npz")
    assert sorted(found) == ["images", "labels"]
    assert (found["images"].dtype, found["images"].shape) == (np.dtype(np.uint8), (count, 8, 8))
    assert (found["labels"].dtype, found["labels"].tolist()) == (np.dtype(np.int64), [i % 10 for i in range(count)])
    assert asked_for(found["images"]) == [min(label, 8) for label in found["labels"]]
    np.testing.assert_array_equal(found["images"][..., None], sanggar.open(run_of(True).path).sample(count))
    np.testing.assert_array_equal(read_images(tmp_path / "x" / "x.npz", ImageSpec(8, 8, 1))[0][..., 0], found["images"])
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["x.npz"]


def test_the_same_seed_gives_the_same_file_and_another_seed_another(
    run_of: RunOf, run_cli: Cli, tmp_path: Path
) -> None:
    for name in ("a.npz", "b.npz", "a.png", "b.png"):
        assert run_cli("sample", run_of(True).path, "--count", 30, "--seed", 3, "--out", tmp_path / name)[0] == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    run_cli("sample", run_of(True).path, "--count", 30, "--seed", 4, "--out", tmp_path / "c.npz")
    a, c = (arrays(tmp_path / name)["images"][:, 1:] for name in ("a.npz", "c.npz"))
    assert (a != c).mean() > 0.9


@pytest.mark.parametrize("label", ["3", "three"])
def test_a_label_is_a_number_or_a_name(
    label: str, run_of: RunOf, run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ImageSpec(8, 8, 1, ("zero", "one", "two", "three", *"456789"))
    monkeypatch.setattr("sanggar.trained.spec_of", lambda run: named)
    assert run_cli("sample", run_of(True).path, "--count", 12, "--label", label, "--out", tmp_path / "x.npz")[0] == 0
    found = arrays(tmp_path / "x.npz")
    assert found["labels"].tolist() == asked_for(found["images"]) == [3] * 12


def test_truncation_reaches_the_network(run_of: RunOf, run_cli: Cli, tmp_path: Path) -> None:
    spread = []
    for option in (["--truncation", "1"], ["--truncation", "0.5"], ["--set", "truncation=0.5"]):
        out = tmp_path / "x.npz"
        assert run_cli("sample", run_of(False).path, "--count", 200, *option, "--out", out)[0] == 0
        spread.append((arrays(out)["images"][:, 1:] / 127.5 - 1).std())
    assert 0.5 < spread[1] / spread[0] < 0.7, "what is clamped at 1 would not be at 0.5"
    assert spread[1] == spread[2]


def test_a_class_is_a_condition_like_any_other_and_none_can_be_asked_for(
    run_of: RunOf, run_cli: Cli, tmp_path: Path
) -> None:
    out, run = tmp_path / "x.npz", run_of(True).path
    for option in (["--condition", "class=3"], ["--attribute", "class=3"], ["--label", "3"]):
        assert run_cli("sample", run, "--count", 4, *option, "--out", out)[0] == 0
        assert asked_for(arrays(out)["images"]) == [3] * 4
    assert run_cli("sample", run, "--count", 4, "--unconditional", "--out", out)[0] == 0
    assert list(arrays(out)) == ["images"]
    assert not arrays(out)["images"][:, 0].any(), "all zeros of the condition"


def test_a_network_that_is_not_told_classes_writes_none(run_of: RunOf, run_cli: Cli, tmp_path: Path) -> None:
    for name in ("x.npz", "x.png", "x"):
        assert run_cli("sample", run_of(False).path, "--count", 5, "--out", tmp_path / name)[0] == 0
    assert list(arrays(tmp_path / "x.npz")) == ["images"]
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [f"{i:05d}.png" for i in range(5)]
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (4 * (5 * 10 - 2), 4 * 8)


def test_a_folder_holds_a_picture_each_named_by_its_class(run_of: RunOf, run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for folder in ("out", "new/out"):  # an empty folder, and none
        assert run_cli("sample", run_of(True).path, "--count", 23, "--out", tmp_path / folder)[0] == 0
        names = sorted(path.name for path in (tmp_path / folder).iterdir())
        assert names == [f"{i:05d}-{i % 10}.png" for i in range(23)]
    pixels = sanggar.open(run_of(True).path).sample(23)
    for i in (0, 22):
        with Image.open(tmp_path / "out" / names[i]) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels[i, :, :, 0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "out"]


# -- sheets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "classes", "rows", "columns"), [
    (100, 10, 10, 10), (1000, 10, 40, 25), (20, 10, 10, 2), (25, 10, 10, 3), (10, 10, 1, 10), (7, 10, 1, 7),
    (64, None, 7, 10), (5, None, 1, 5), (64, 1, 7, 10), (9, 3, 3, 3), (400, None, 20, 20),
])  # fmt: skip
def test_a_sheet_has_rows_for_each_class(count: int, classes: int | None, rows: int, columns: int) -> None:
    labels = None if classes is None else np.arange(count) % classes
    pixels = np.repeat(np.arange(count) % (classes or 100), 16).astype(np.uint8).reshape(count, 4, 4, 1)
    made = sheet(pixels, labels)
    scale = min(4, 2000 // (columns * 6))
    assert made.shape == (scale * (rows * 6 - 2), scale * (columns * 6 - 2))
    seen = made[::scale, ::scale][::6, ::6]
    assert seen.shape == (rows, columns)
    told = seen[seen != 128]
    assert len(told) == count
    if classes is not None:
        assert (np.diff(told.astype(int)) >= 0).all(), "row by row, class by class"


def test_colours_stay_colours(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), np.uint8)
    labels, spec = np.arange(6) % 2, ImageSpec(5, 4, 3, ("a b", "c/d"))
    for name in ("x.npz", "x.png", "x"):
        write_stack(tmp_path / name, [(pixels[:4], labels[:4]), (pixels[4:], labels[4:])], 6, spec)
    np.testing.assert_array_equal(arrays(tmp_path / "x.npz")["images"], pixels)
    names = sorted(path.name for path in (tmp_path / "x").iterdir())
    assert names == [f"{i:05d}-{('a-b', 'c-d')[i % 2]}.png" for i in range(6)]
    np.testing.assert_array_equal(read_images(tmp_path / "x", spec)[0], pixels)
    with Image.open(tmp_path / "x.png") as image:
        assert (image.mode, image.size) == ("RGB", (4 * (3 * 6 - 2), 4 * (2 * 7 - 2)))


# -- many, and what goes wrong underway ------------------------------------------------------------------------------


def test_many_pictures_are_never_in_memory_together(tmp_path: Path) -> None:
    chunk = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), np.uint8)

    def chunks() -> Iterator[Chunk]:
        for _ in range(50):
            yield chunk.copy(), np.zeros(200, np.int64)

    tracemalloc.start()
    write_stack(tmp_path / "x.npz", chunks(), 10_000, ImageSpec(32, 32, 3, ("a",)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 6 * chunk.nbytes < 10_000 * 32 * 32 * 3 / 6
    assert arrays(tmp_path / "x.npz")["images"].shape == (10_000, 32, 32, 3)


@pytest.mark.parametrize("name", ["x.npz", "x.png", "x"])
@pytest.mark.parametrize("error", [DataError("wrong"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_stops_halfway_leaves_nothing(error: BaseException, name: str, tmp_path: Path) -> None:
    def chunks() -> Iterator[Chunk]:
        yield np.zeros((2, 4, 4, 1), np.uint8), None
        raise error

    (tmp_path / "x.npz").write_bytes(b"before")
    with pytest.raises((sanggar.errors.SanggarError, KeyboardInterrupt, OSError)):
        write_stack(tmp_path / name, chunks(), 4, ImageSpec(4, 4, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
    assert (tmp_path / "x.npz").read_bytes() == b"before"


@pytest.mark.parametrize(("arguments", "says"), [
    ("--out x.npz", "Missing option '--count'"),
    ("--count 3", "Missing option '--out'"),
    ("--count 0 --out x.npz", "--count"),
    ("--count -4 --out x.npz", "--count"),
    ("--count many --out x.npz", "--count"),
    ("--count 3 --label 10 --out x.npz", "There is no class 10. Known: 0, 1, 2"),
    ("--count 3 --label -1 --out x.npz", "There is no class"),
    ("--count 3 --label cat --out x", "There is no class 'cat'"),
    ("--count 3 --seed -1 --out x.npz", "--seed"),
    ("--count 3 --seed 4294967296 --out x.npz", "--seed"),
    ("--count 3 --truncation 0 --out x.npz", "truncation: expected greater than 0, got 0"),
    ("--count 3 --truncation 1.5 --out x.npz", "truncation: expected less than or equal to 1, got 1.5"),
    ("--count 3 --truncation nan --out x.npz", "truncation: expected"),
    ("--count 3 --set temperature=2 --out x.npz", "has no option 'temperature'. It has truncation."),
    ("--count 3 --set truncation --out x.npz", "--set truncation: expected NAME=VALUE"),
    ("--count 3 --set truncation=low --out x.npz", "truncation: expected number"),
    ("--count 3 --condition age --out x.npz", "--condition age: expected NAME=VALUE"),
    ("--count 3 --condition age=3 --out x.npz", "not conditioned on 'age'. Known: class."),
    ("--count 3 --unconditional --label 3 --out x.npz", "--unconditional: a condition is given beside it"),
    ("--count 3 --mixture --out x.npz", "cannot encode"),
    ("--count 3 --mixture --label 3 --out x.npz", "--mixture: it has neither conditions nor options"),
    ("--count 3 --out x.jpg", "x.jpg: expected a name ending in .npz or .png, or a folder"),
    ("--count 3 --out FULL", "FULL already exists and is not an empty folder"),
    ("--count 3 --out FILE", "FILE already exists and is not an empty folder"),
    ("--count 3 --out FILE/x.npz", "Cannot write"),
    ("--count 3 --out FILE/x", "Cannot write"),
    ("--count 3 --out EMPTY.npz", "Cannot write"),
    ("--count 1000000 --out x.png", "1,000,000 pictures are too many for one sheet; write FILE.npz or a folder"),
])  # fmt: skip
def test_a_mistake_ends_with_one_line_and_leaves_nothing(
    arguments: str, says: str, run_of: RunOf, run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("words")
    Path("FULL").mkdir()
    Path("FULL/mine").write_text("mine")
    Path("EMPTY.npz").mkdir()
    before = sorted(map(str, tmp_path.rglob("*")))
    status, out, err = run_cli("sample", run_of(True).path, *arguments.split())
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("sanggar: ")
    assert says in line
    assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_a_run_that_cannot_is_told_so(
    run_of: RunOf, run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--count", "3", "--out", tmp_path / "x.npz")
    told = run_cli("sample", run_of(False).path, *asked, "--label", "3")
    assert told[0] == 2
    assert "is not conditioned on anything: it cannot be asked for class" in told[2]
    assert "There is no run directory" in run_cli("sample", tmp_path / "nowhere", *asked)[2]
    monkeypatch.delattr(Dots, "sample")
    status, _, err = run_cli("sample", run_of(True).path, *asked)
    assert status == 2
    assert "cannot sample: its model (Dots) can nothing that is asked for by name" in err
    assert list(tmp_path.iterdir()) == []
