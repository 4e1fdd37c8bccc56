"""An evaluation: finite numbers, each with its protocol, the same each time, and only on the run's own data."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import sanggar
from conftest import DEMOS, Trained
from sanggar.errors import RecipeError, RunError
from sanggar.evaluation.context import Subject
from sanggar.evaluation.filters import DENOISERS
from sanggar.evaluation.metrics import reconstruction
from sanggar.plan import FAMILIES
from sanggar.runs import Run, load_arrays, save_arrays
from sanggar.trained import TrainedModel

OF_EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)


@OF_EACH_FAMILY
def test_every_number_is_finite_and_carries_its_protocol(family: str, trained: Trained) -> None:
    run = trained(family)
    numbers = run.evaluation()["numbers"]
    assert numbers
    for n in numbers:
        assert math.isfinite(n["value"]), n["label"]
        assert n["label"]
        assert n["better"] in ("higher", "lower")
        assert n["protocol"]["split"] == ("validation" if n["key"].endswith("_validation") else "test")
        tested, tuned = TrainedModel(run).plan.evaluation.images, run.info["data"]["validation"]
        assert 0 < n["protocol"]["n"] <= (tuned if "_validation" in n["key"] else tested)
        assert n["protocol"]["data"] == f"digits {run.info['data']['fingerprint'][:12]}"
        if n["interval"] is not None:
            assert n["interval"][0] <= n["value"] <= n["interval"][1]


@OF_EACH_FAMILY
def test_no_two_numbers_are_of_the_same_thing(family: str, trained: Trained) -> None:
    things = [str((n["key"], n["subject"], n["protocol"])) for n in trained(family).evaluation()["numbers"]]
    assert len(set(things)) == len(things)


def test_what_was_promised_is_measured(tiny_run: Run) -> None:
    numbers = tiny_run.evaluation()["numbers"]
    headlines = {n["key"] for n in numbers if n["headline"]}
    assert headlines >= {
        "reconstruction.mse",
        "reconstruction.psnr",
        "reconstruction.ssim",
        "denoising.gain",
        "latent.probe",
    }
    levels = {n["protocol"]["level"] for n in numbers if n["key"] == "denoising.psnr"}
    assert levels == {0.2, 0.3}
    for level in levels:
        subjects = {n["subject"] for n in numbers if n["key"] == "denoising.psnr" and n["protocol"]["level"] == level}
        assert subjects == {"network", *DENOISERS}
    assert {n["subject"] for n in numbers if n["key"] == "latent.knn"} == {"network", "PCA", "pixels"}


def test_what_was_promised_of_classes_is_measured(ffnn_run: Run) -> None:
    evaluation = ffnn_run.evaluation()
    headlines = [n["key"] for n in evaluation["numbers"] if n["headline"]]
    assert headlines == [f"classification.{key}" for key in ("accuracy", "cross_entropy", "calibration_error")]
    classes = ffnn_run.info["data"]["classes"]
    recalls = [n["protocol"]["class"] for n in evaluation["numbers"] if n["key"] == "classification.recall"]
    assert recalls == classes
    precisions = [n["protocol"]["class"] for n in evaluation["numbers"] if n["key"] == "classification.precision"]
    left_out = [name for name in classes if name not in precisions]
    assert evaluation["alarms"] == (
        [f"No picture was taken for: {', '.join(left_out)}. The network leaves out classes."] if left_out else []
    )
    assert list(evaluation["seconds"]) == ["classification"]


def test_the_gain_is_the_difference_to_the_best(tiny_run: Run) -> None:
    numbers = tiny_run.evaluation()["numbers"]
    for gain in (n for n in numbers if n["key"] == "denoising.gain"):
        level = gain["protocol"]["level"]
        ratios = {
            n["subject"]: n["value"]
            for n in numbers
            if n["key"] == "denoising.psnr" and n["protocol"]["level"] == level
        }
        network = ratios.pop("network")
        assert gain["protocol"]["against"] == max(ratios, key=ratios.__getitem__)
        assert gain["value"] == pytest.approx(network - max(ratios.values()))


@OF_EACH_FAMILY
def test_measuring_again_gives_the_same_numbers_and_pictures(family: str, copied: Trained) -> None:
    copied_run = copied(family)
    before, pictures = copied_run.evaluation(), copied_run.pictures()
    copied_run.evaluation_file.unlink()
    copied_run.pictures_file.unlink()
    said: list[str] = []
    after = sanggar.evaluate(copied_run.path, say=said.append).evaluation()
    assert {**after, "seconds": None} == {**before, "seconds": None}
    assert len(said) == len(after["seconds"])
    again = copied_run.pictures()
    assert set(again) == set(pictures)
    for name in pictures:
        np.testing.assert_array_equal(again[name], pictures[name], err_msg=name)


def test_other_data_than_the_runs_is_refused_and_what_was_measured_is_kept(copied_run: Run) -> None:
    before = copied_run.evaluation_file.read_bytes()
    copied_run.update(data={**copied_run.info["data"], "fingerprint": "0" * 64})
    with pytest.raises(RunError, match="was trained on other data than digits holds now"):
        sanggar.evaluate(copied_run)
    assert copied_run.evaluation_file.read_bytes() == before


@OF_EACH_FAMILY
def test_missing_or_foreign_weights_are_refused(family: str, copied: Trained) -> None:
    copied_run = copied(family)
    arrays, meta = load_arrays(copied_run.weights_file)
    arrays.popitem()
    save_arrays(copied_run.weights_file, arrays, meta)
    with pytest.raises(RunError, match="does not fit the recipe beside it"):
        sanggar.evaluate(copied_run)
    copied_run.weights_file.unlink()
    with pytest.raises(RunError, match=r"has no weights yet: .*--resume"):
        sanggar.evaluate(copied_run)


def test_a_trained_run_is_measured_otherwise(copied_run: Run) -> None:
    identity, levels = copied_run.info["identity"], "evaluation.noise_levels=[0.4]"
    run = sanggar.evaluate(copied_run, [levels])
    assert {n["protocol"]["level"] for n in run.evaluation()["numbers"] if n["key"] == "denoising.psnr"} == {0.3, 0.4}
    assert "noise_levels: [0.4]" in run.recipe_text()
    assert run.info["identity"] != identity
    assert sanggar.open(run).plan.evaluation.noise_levels == (0.4,)


@pytest.mark.parametrize("override", ["training.epochs=999", "model.latent_size=3", "data.seed=4"])
def test_nothing_but_the_measuring_changes(copied_run: Run, override: str) -> None:
    before = copied_run.recipe_text()
    with pytest.raises(RunError, match=rf"Only evaluation.* can change .*{override.split('=')[0]}"):
        sanggar.evaluate(copied_run, [override])
    with pytest.raises(RecipeError, match="there is no such key"):
        sanggar.evaluate(copied_run, ["evaluation.sample=3"])
    assert copied_run.recipe_text() == before


def test_pca_of_the_latents_size_stands_beside_reconstructions(tiny_run: Run) -> None:
    numbers = {n["key"]: n for n in tiny_run.evaluation()["numbers"] if n["subject"] == "PCA"}
    found = numbers["reconstruction.mse"]
    painter = TrainedModel(tiny_run)
    data = painter.plan.source.load(painter.plan.data)
    train, test = (pixels.reshape(len(pixels), -1).astype(np.float64) for pixels in
                   (data.train.first(200).pixels, data.test.first(painter.plan.evaluation.images).pixels))  # fmt: skip
    size = found["protocol"]["size"]
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:size]
    back = np.rint(np.clip((test - mean) @ axes.T @ axes + mean, 0, 255))
    errors = np.square((back - test) / 127.5).mean()
    assert size == painter.encode(data.test.pixels[:1]).shape[1]
    assert found["value"] == pytest.approx(errors, rel=1e-3)
    assert found["protocol"]["fitted_on"] == f"{len(train)} training pictures"


def test_a_network_that_never_saw_noise_is_not_asked_about_it(tmp_path: Path) -> None:
    plain = ["model.noise.level=0", "evaluation.noise_levels=[]", "training.epochs=1", "evaluation.images=40"]
    run = sanggar.train("digits-denoising-autoencoder", plain, out=tmp_path / "run", watch=lambda _: None)
    evaluation = sanggar.evaluate(run).evaluation()
    assert "denoising" not in evaluation["seconds"]
    assert not [n for n in evaluation["numbers"] if n["protocol"].get("input") == "noisy"]
    assert "best.rows" in load_arrays(run.pictures_file)[0]


@pytest.mark.parametrize(("family", "said"), [("autoencoder", True), ("ffnn", False)])
def test_a_judge_that_learned_from_these_test_pictures_is_said_to_have_where_it_measured(
    family: str, said: bool, tmp_path: Path
) -> None:
    demo, tiny = DEMOS[family]
    run = sanggar.train(demo, [*tiny, "data.test=300"], out=tmp_path / "run", watch=lambda _: None)
    alarms = sanggar.evaluate(run).evaluation()["alarms"]
    assert any("judge digits v1 learned from pictures that are for test here" in alarm for alarm in alarms) is said


def test_filters_are_compared_on_fewer_pictures_where_these_are_large(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    painter = TrainedModel(tiny_run)
    subject = Subject(painter, painter.plan.source.load(painter.plan.data), painter.plan.evaluation)
    monkeypatch.setattr(reconstruction, "COMPARED", 12 * 64)
    monkeypatch.setattr(reconstruction, "TUNED", 7 * 64)
    protocols = [n.protocol for n in reconstruction.measure_denoising(subject).numbers]
    assert {(p["n"], p["tuned_on"]) for p in protocols} == {(12, "7 validation pictures")}
