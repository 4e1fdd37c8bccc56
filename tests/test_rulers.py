"""Rulers of one's own pictures: made once from what is known of them, tried, kept, and trusted only where they pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import sanggar
from sanggar import rulers
from sanggar.data.dataset import Dataset
from sanggar.data.images import Attribute, Images, ImageSpec
from sanggar.errors import Interrupted, RunError
from sanggar.evaluation import evaluate
from sanggar.evaluation.context import EvaluationContext
from sanggar.instruments.judge import own_file
from sanggar.plan import Plan, resolve
from sanggar.recipe import read
from sanggar.runs import Run, load_arrays, save_arrays


def recipe(path: Path, **evaluation: object) -> dict[str, Any]:
    return {
        "name": "own", "data": {"source": "arrays", "path": str(path), "validation": 200, "test": 200},
        "model": {"family": "autoencoder", "widths": [4], "latent_size": 8, "noise": {"level": 0}},
        "training": {"steps": 2, "batch_size": 8, "device": "cpu", "precision": "fp32"},
        "evaluation": {"metrics": ["reconstruction"], "train_images": 200, **evaluation},
    }  # fmt: skip


def digits(path: Path, labels: np.ndarray | None = None) -> Path:
    found = load_digits()
    np.savez(path, x=(found.images * 15.9).astype(np.uint8), y=found.target if labels is None else labels)
    return path


def planned(path: Path) -> tuple[Plan, Dataset]:
    plan = resolve(read(recipe(path)))
    return plan, plan.source.load(plan.data)


def measured_by(run: Run) -> str:
    found = {m.protocol.settings["network"] for m in sanggar.evaluation_of(run).find("reconstruction.perceptual")}
    assert len(found) == 1
    return str(found.pop())


@pytest.fixture(scope="module", autouse=True)
def _quickly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rulers, "SHOWN", 15_000)
        patch.setenv("SANGGAR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run, list[str]]:
    """Pictures, a run on them, and what was said while it was measured."""
    folder, said = tmp_path_factory.mktemp("own"), list[str]()
    path = digits(folder / "numerals.npz")
    run = sanggar.train(recipe(path), out=folder / "run", watch=lambda _: None)
    return path, sanggar.evaluate(run, say=said.append), said


@pytest.mark.slow
def test_pictures_without_a_judge_are_measured_by_a_ruler_of_their_own(own: tuple[Path, Run, list[str]]) -> None:
    path, run, said = own
    assert measured_by(run) == "judge numerals v1"
    plan, dataset = planned(path)
    meta = load_arrays(own_file(dataset.fingerprint, plan.data))[1]
    assert meta["trusted"]
    assert meta["skills"]["class"] > 0.7, "digits are easy to tell"
    assert len(meta["trials"]) == 6
    assert said[0].startswith("training a ruler")
    assert "measured by this ruler" in said[1]


@pytest.mark.slow
def test_it_is_made_once_for_all_runs(
    own: tuple[Path, Run, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rulers, "make", lambda *_: pytest.fail("it is there"))
    other = sanggar.train(recipe(own[0]), ["model.latent_size=5"], out=tmp_path / "run", watch=lambda _: None)
    sanggar.evaluate(other)
    weights = [sanggar.evaluation_of(r).find("reconstruction.perceptual")[0].protocol.settings["weights"]
               for r in (own[1], other)]  # fmt: skip
    assert weights[0] == weights[1]


def test_another_split_of_the_same_pictures_gets_another(own: tuple[Path, Run, list[str]]) -> None:
    plan, dataset = planned(own[0])
    others = [{"seed": 1}, {"validation": 100}]
    files = {own_file(dataset.fingerprint, plan.data.model_copy(update=other)) for other in [{}, *others]}
    assert len(files) == 3, "its training pictures may be for test there"
    moved = plan.data.model_copy(update={"path": "elsewhere", "note": "said"})
    assert own_file(dataset.fingerprint, moved) in files, "the same pictures in another place"


def test_what_could_not_be_measured_otherwise_trains_nothing(
    own: tuple[Path, Run, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rulers, "make", lambda *_: pytest.fail("another split is another training"))
    with pytest.raises(RunError, match=r"Only evaluation\.\* and .* can change"):
        sanggar.evaluate(own[1], ["data.seed=1"])


def test_what_a_search_goes_by_is_measured_by_it_too(
    own: tuple[Path, Run, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def noted(*given: Any) -> EvaluationContext:
        seen.append(EvaluationContext(*given))
        return seen[-1]

    monkeypatch.setattr(evaluate, "EvaluationContext", noted)
    evaluate.evaluate_on_validation(own[1], "reconstruction.perceptual")
    (context,) = seen
    assert context.judge.name == "judge numerals v1"
    assert context.data_key[0].endswith(" validation"), "floors of validation pictures are kept apart"


@pytest.mark.slow
def test_what_nothing_can_be_told_of_is_measured_by_the_general_judge(tmp_path: Path) -> None:
    path, said = digits(tmp_path / "noise.npz", np.random.default_rng(0).integers(0, 10, 1797)), list[str]()
    run = sanggar.train(recipe(path), out=tmp_path / "run", watch=lambda _: None)
    sanggar.evaluate(run, say=said.append)
    assert measured_by(run).startswith("judge general")
    assert "measured by the general judge" in said[1]
    sanggar.evaluate(run, say=said.append)
    assert sum("training a ruler" in text for text in said) == 1, "that it is not to be trusted is known"


def test_a_damaged_ruler_is_not_trusted(own: tuple[Path, Run, list[str]]) -> None:
    plan, dataset = planned(own[0])
    path = own_file(dataset.fingerprint, plan.data)
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-100])
        assert measured_by(sanggar.evaluate(own[1])).startswith("judge general")
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("asked", ["evaluation.metrics=[latent]", "evaluation.feature_network=general"])
def test_none_is_made_where_none_is_asked_for(asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulers, "make", lambda *_: pytest.fail("nobody asked for it"))
    path = digits(tmp_path / f"{asked[-6:-1]}.npz", np.arange(1797) % 10)
    run = sanggar.train(recipe(path), out=tmp_path / "run", watch=lambda _: None)
    sanggar.evaluate(run, [asked])


def test_interrupted_it_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object, **options: object) -> Run:
        raise Interrupted(130, "Stopped by SIGINT. Go on with: sanggar train --resume /somewhere/that/goes")

    path = digits(tmp_path / "numerals.npz", np.arange(1797) % 9)
    run = sanggar.train(recipe(path), out=tmp_path / "run", watch=lambda _: None)
    monkeypatch.setattr(rulers, "train", stop)
    with pytest.raises(Interrupted, match=r"^Stopped by SIGINT while a ruler was trained\.$"):
        sanggar.evaluate(run)
    plan, dataset = planned(path)
    assert not own_file(dataset.fingerprint, plan.data).exists()


# -- what one is made for -------------------------------------------------------------------------------------------


def told(count: int, classes: int, columns: tuple[Attribute, ...] = (), edge: int = 32) -> tuple[Images, ImageSpec]:
    labels = np.arange(count) % classes if classes else None
    values = np.zeros((count, len(columns)), np.float32) if columns else None
    names = tuple(map(str, range(classes)))
    return Images(np.zeros((count, edge, edge, 1), np.uint8), labels, values), ImageSpec(edge, edge, 1, names, columns)


@pytest.mark.parametrize(("count", "classes", "columns", "edge", "made"), [
    (1000, 2, (), 32, True),
    (999, 2, (), 32, False),  # too few pictures
    (1000, 1, (), 32, False),  # one class
    (1000, 25, (), 32, False),  # classes of 40 pictures
    (1000, 0, (), 32, False),  # nothing is known of them
    (1000, 0, (Attribute("smiling", "flag", ("no", "yes")),), 32, True),
    (1000, 0, (Attribute("name", "category", tuple(map(str, range(500)))),), 32, False),
    (1000, 2, (), 47, True),
    (1000, 2, (), 53, False),  # a prime: no whole factor
    (1000, 2, (), 6, False),  # smaller than what can be looked at
])  # fmt: skip
def test_a_ruler_is_made_where_there_is_enough_to_tell(
    count: int, classes: int, columns: tuple[Attribute, ...], edge: int, made: bool, tmp_path: Path
) -> None:
    plan, dataset = planned(digits(tmp_path / "own.npz"))
    images, spec = told(count, classes, columns, edge)
    vars(plan)["spec"] = spec
    tree = rulers.recipe_of(plan, Dataset(images, images, images, dataset.fingerprint))
    assert (tree is not None) == made


@pytest.mark.parametrize(("edge", "seen"), [(32, 32), (64, 32), (96, 48), (128, 32), (128 * 3, 48)])
def test_larger_pictures_are_averaged_by_a_whole_factor(edge: int, seen: int, tmp_path: Path) -> None:
    plain = recipe(tmp_path) | {"data": {"source": "folder", "path": str(tmp_path), "size": edge}}
    plan, (images, spec) = resolve(read(plain)), told(1000, 2, (), 8)
    vars(plan)["spec"] = ImageSpec(edge, edge, 1, spec.classes)
    tree = rulers.recipe_of(plan, Dataset(images, images, images, "0"))
    assert tree is not None
    assert tree["data"]["size"] == seen


def test_skill_is_above_saying_always_the_same(own: tuple[Path, Run, list[str]]) -> None:
    from sanggar.instruments.judge import read_judge

    plan, dataset = planned(own[0])
    judge = read_judge(own_file(dataset.fingerprint, plan.data), "cpu")
    found = rulers.skills(judge, dataset.validation, plan.spec)
    labels = dataset.validation.labels
    assert labels is not None
    right = (judge.classify(dataset.validation.pixels).argmax(axis=1) == labels).mean()
    same = np.bincount(labels).max() / len(labels)
    assert found == {"class": pytest.approx((right - same) / (1 - same))}


@pytest.mark.slow
def test_attributes_alone_make_a_ruler(tmp_path: Path) -> None:
    """Pictures whose table says one thing that can be told, and one that cannot."""
    from PIL import Image

    draw, rows = np.random.default_rng(0), ["file,bright,luck"]
    folder = tmp_path / "lights"
    folder.mkdir()
    for index in range(1400):
        bright = index % 2
        pixels = draw.integers(0, 128, (8, 8), np.uint8) + 127 * bright
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index:04d}.png")
        rows.append(f"{index:04d}.png,{'yes' if bright else 'no'},{'yes' if draw.random() < 0.5 else 'no'}")
    (folder / "attributes.csv").write_text("\n".join(rows))
    plain = recipe(folder) | {"data": {"source": "folder", "path": str(folder), "size": 8, "colour": False}}
    run = sanggar.train(plain, out=tmp_path / "run", watch=lambda _: None)
    sanggar.evaluate(run)
    plan = resolve(read(plain))
    meta = load_arrays(own_file(run.info["data"]["fingerprint"], plan.data))[1]
    assert measured_by(run) == ("judge lights v1" if meta["trusted"] else "judge general v1")
    assert meta["skills"]["bright"] > 0.9 and meta["skills"]["luck"] < 0.5
    assert meta["accuracy"] == 0, "it tells no classes"


def test_a_file_without_a_verdict_is_not_trusted(own: tuple[Path, Run, list[str]], tmp_path: Path) -> None:
    from sanggar.instruments.judge import judge_for

    plan, dataset = planned(own[0])
    arrays, meta = load_arrays(own_file(dataset.fingerprint, plan.data))
    save_arrays(tmp_path / "stranger", arrays, {k: v for k, v in meta.items() if k != "trusted"})
    assert judge_for("judge", "arrays", plan.spec, tmp_path / "stranger").of == "general"
