"""An evaluation: finite numbers, each with its protocol, the same each time, and only on the run's own data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sanggar
from conftest import DEMOS, Trained
from sanggar.errors import RecipeError, RunError
from sanggar.evaluation import baselines
from sanggar.evaluation.context import EvaluationContext
from sanggar.evaluation.filters import DENOISERS
from sanggar.evaluation.metrics import denoising
from sanggar.plan import FAMILIES
from sanggar.reporting import labels
from sanggar.results import headlines
from sanggar.results.stored import read, read_arrays, read_tools
from sanggar.runs import Run, load_arrays, save_arrays
from sanggar.trained import TrainedModel

OF_EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)


def test_what_was_promised_is_measured(tiny_run: Run) -> None:
    evaluation = read(tiny_run)
    assert {m.key for m in headlines(evaluation)} >= {
        "reconstruction.mse",
        "reconstruction.psnr",
        "reconstruction.ssim",
        "denoising.gain",
        "latent.probe",
    }
    levels = {m.tags["level"] for m in evaluation.find("denoising.compared_psnr")}
    assert levels == {0.2, 0.3}
    for level in levels:
        assert {m.subject for m in evaluation.find("denoising.compared_psnr", level=level)} == {"network", *DENOISERS}
    assert {m.subject for m in evaluation.find("latent.knn")} == {"network", "pca", "pixels"}


def test_what_was_promised_of_classes_is_measured(ffnn_run: Run) -> None:
    evaluation = read(ffnn_run)
    first = [m.key for m in headlines(evaluation)]
    assert first == [f"classification.{key}" for key in ("accuracy", "cross_entropy", "calibration_error")]
    classes = ffnn_run.info["data"]["classes"]
    assert [m.tags["class"] for m in evaluation.find("classification.recall")] == classes
    precisions = [m.tags["class"] for m in evaluation.find("classification.precision")]
    left_out = [name for name in classes if name not in precisions]
    said = [labels.alarm(alarm) for alarm in evaluation.alarms]
    assert said == (
        [f"No picture was taken for: {', '.join(left_out)}. The network leaves out classes."] if left_out else []
    )
    assert list(evaluation.seconds) == ["classification"]


def test_the_gain_is_the_difference_to_the_best(tiny_run: Run) -> None:
    evaluation = read(tiny_run)
    for gain in evaluation.find("denoising.gain"):
        ratios = {m.subject: m.value for m in evaluation.find("denoising.compared_psnr", level=gain.tags["level"])}
        network = ratios.pop("network")
        assert gain.protocol.settings["against"] == max(ratios, key=ratios.__getitem__)
        assert gain.value == pytest.approx(network - max(ratios.values()))


@pytest.mark.slow
def test_measuring_again_gives_the_same_numbers_and_pictures(copied_run: Run) -> None:
    before, arrays, tools = read(copied_run), read_arrays(copied_run), read_tools(copied_run)
    for file in (copied_run.evaluation_file, copied_run.arrays_file, copied_run.tools_file):
        file.unlink()
    said: list[str] = []
    after = read(sanggar.evaluate(copied_run.path, say=said.append))
    assert after.model_copy(update={"seconds": {}}) == before.model_copy(update={"seconds": {}})
    assert len(said) == len(after.seconds)
    for one, other in ((read_arrays(copied_run), arrays), (read_tools(copied_run)[0], tools[0])):
        assert set(one) == set(other)
        for name in other:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert read_tools(copied_run)[1] == tools[1]


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


@pytest.mark.slow
def test_a_trained_run_is_measured_otherwise(copied_run: Run) -> None:
    identity, levels = copied_run.info["identity"], "evaluation.denoising.noise_levels=[0.4]"
    run = sanggar.evaluate(copied_run, [levels])
    assert {m.tags["level"] for m in read(run).find("denoising.compared_psnr")} == {0.3, 0.4}
    assert "noise_levels: [0.4]" in run.recipe_text()
    assert run.info["identity"] != identity
    options: Any = sanggar.open(run).plan.evaluation  # with a part for each metric
    assert options.denoising.noise_levels == (0.4,)


def test_training_pictures_are_measured_as_test_pictures_are(tiny_run: Run) -> None:
    (found,) = read(tiny_run).find("denoising.train_mse")
    (beside,) = read(tiny_run).find("denoising.mse", level=0.3)
    assert found.protocol == beside.protocol.model_copy(update={"split": "train"})
    model = TrainedModel(tiny_run)
    train = model.plan.source.load(model.plan.data).train.first(40).pixels
    again = model.reconstruct(model.disturb(train, 0.3, 0))
    assert found.value == pytest.approx(float((((again.astype(float) - train) / 127.5) ** 2).mean()), rel=1e-5)


def test_what_is_not_wanted_is_not_measured(copied_run: Run) -> None:
    run = sanggar.evaluate(copied_run, ["evaluation.metrics=[latent, reconstruction, generation]"])
    assert {m.metric for m in read(run).measurements} == {"reconstruction", "latent"}  # it does not sample
    with pytest.raises(RecipeError, match=r"there is no 'latents'\. Did you mean 'latent'"):
        sanggar.evaluate(copied_run, ["evaluation.metrics=[latents]"])


@pytest.mark.parametrize("override", ["training.epochs=999", "model.latent_size=3", "data.seed=4"])
def test_nothing_but_the_measuring_changes(copied_run: Run, override: str) -> None:
    before = copied_run.recipe_text()
    with pytest.raises(RunError, match=rf"Only evaluation.* can change .*{override.split('=')[0]}"):
        sanggar.evaluate(copied_run, [override])
    with pytest.raises(RecipeError, match="there is no such key"):
        sanggar.evaluate(copied_run, ["evaluation.sample=3"])
    assert copied_run.recipe_text() == before


def test_pca_of_the_latents_size_stands_beside_reconstructions(tiny_run: Run) -> None:
    (found,) = read(tiny_run).find("reconstruction.mse", "pca")
    model = TrainedModel(tiny_run)
    data = model.plan.source.load(model.plan.data)
    train, test = (pixels.reshape(len(pixels), -1).astype(np.float64) for pixels in
                   (data.train.first(200).pixels, data.test.first(model.plan.evaluation.images).pixels))  # fmt: skip
    size = found.protocol.settings["size"]
    assert isinstance(size, int)
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:size]
    back = np.rint(np.clip((test - mean) @ axes.T @ axes + mean, 0, 255))
    errors = np.square((back - test) / 127.5).mean()
    assert size == model.encode(data.test.pixels[:1]).shape[1]
    assert found.value == pytest.approx(errors, rel=1e-3)
    assert found.protocol.settings["fitted_on"] == len(train)


@pytest.mark.slow
def test_a_network_that_never_saw_noise_is_not_asked_about_it(tmp_path: Path) -> None:
    plain = ["model.noise.level=0", "evaluation.denoising.noise_levels=[]", "training.epochs=1", "evaluation.images=40"]
    run = sanggar.train("digits-denoising-autoencoder", plain, out=tmp_path / "run", watch=lambda _: None)
    evaluation = read(sanggar.evaluate(run))
    assert "denoising" not in evaluation.seconds
    assert not [m for m in evaluation.measurements if m.protocol.settings.get("input") == "noisy"]
    assert "reconstruction.best" in load_arrays(run.arrays_file)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "said"), [("autoencoder", True), ("ffnn", False)])
def test_a_judge_that_learned_from_these_test_pictures_is_said_to_have_where_it_measured(
    family: str, said: bool, tmp_path: Path
) -> None:
    demo, tiny = DEMOS[family]
    run = sanggar.train(demo, [*tiny, "data.test=300"], out=tmp_path / "run", watch=lambda _: None)
    alarms = [labels.alarm(alarm) for alarm in read(sanggar.evaluate(run)).alarms]
    assert any("judge digits v1 learned from pictures that are for test here" in alarm for alarm in alarms) is said


@pytest.mark.slow
def test_filters_are_compared_on_fewer_pictures_where_these_are_large(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TrainedModel(tiny_run)
    context = EvaluationContext(model, model.plan.source.load(model.plan.data), model.plan.evaluation)
    monkeypatch.setattr(denoising, "COMPARED", 12 * 64)
    monkeypatch.setattr(denoising, "TUNED", 7 * 64)
    found = denoising.measure(context, denoising.DenoisingOptions())
    compared = [m.protocol for m in found.measurements if m.key == "denoising.compared_psnr"]
    assert {(p.n, p.settings["tuned_on"]) for p in compared} == {(12, 7)}


@pytest.mark.slow
def test_what_depends_on_data_alone_is_computed_once_for_all_runs(
    copied_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANGGAR_CACHE", str(tmp_path / "cache"))
    first = read(sanggar.evaluate(copied_run))

    def computed(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    for place, name in ((denoising, "tune"), (denoising, "denoise"), (baselines, "fit_pca")):
        monkeypatch.setattr(place, name, computed)
    again = read(sanggar.evaluate(copied_run))
    assert again.measurements == first.measurements
    for file in (tmp_path / "cache").rglob("*.safetensors"):
        file.write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="computed again"):
        sanggar.evaluate(copied_run)
