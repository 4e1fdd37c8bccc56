"""A network that looks for odd pictures, beside PCA and nearest neighbours; what it keeps in the run."""

from __future__ import annotations

import json
import tracemalloc
from copy import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.decomposition import PCA

from conftest import Trained
from sanggar import recipe
from sanggar.data.dataset import DataOptions, Dataset
from sanggar.data.images import Images
from sanggar.data.sources import SOURCES
from sanggar.evaluation.context import Findings, Subject
from sanggar.evaluation.metrics.anomaly import CORRUPTED, HELD_OUT, LABELS, measure_anomaly
from sanggar.models.vae.likelihood_regret import WEIGHED
from sanggar.plan import EvaluationOptions, resolve
from sanggar.tools.anomaly import CHUNK, Known, Scores, heat, scores
from sanggar.tools.detector import KEPT, Detector, fitting
from sanggar.trained import TrainedModel

LATENT = 6
RECIPE = {"name": "fake", "data": {"source": "digits"}, "model": {"family": "ffnn"}, "training": {"epochs": 1}}


class Chosen(DataOptions):
    only: tuple[str, ...] | None = None


class Linear(TrainedModel):
    """A network that is PCA of some pictures."""

    conditions = None

    def __init__(self, dataset: Dataset, only: tuple[str, ...] | None) -> None:
        pixels = dataset.train.pixels.reshape(len(dataset.train), -1)
        self.pca = PCA(LATENT, random_state=0).fit(pixels.astype(np.float32))
        self.plan = replace(resolve(recipe.read(RECIPE)), data=Chosen(source="digits", only=only))
        self.spec = self.plan.spec
        self.run = SimpleNamespace(info={"data": {"source": "digits", "fingerprint": dataset.fingerprint}})

    def can(self, capability: str) -> bool:
        return capability in ("encode", "reconstruct")

    def encode(self, images: np.ndarray) -> np.ndarray:
        return self.pca.transform(images.reshape(len(images), -1).astype(np.float32))

    def reconstruct(self, images: np.ndarray, told: None = None) -> np.ndarray:
        flat = self.pca.inverse_transform(self.encode(images))
        return np.rint(np.clip(flat, 0, 255)).astype(np.uint8).reshape(images.shape)


def scored(detector: Detector, pixels: np.ndarray) -> Scores:
    """A detector's scores of pictures."""
    return detector.scores(pixels, detector.painter.reconstruct(pixels))


def linear(*only: str) -> Subject:
    """Digits of which training saw some classes alone."""
    options = SOURCES["digits"].Options(source="digits", validation=400)
    whole = SOURCES["digits"].load(options)

    def normal(images: Images) -> Images:
        return images.take(np.flatnonzero(np.isin(images.labels, [int(name) for name in only])))

    dataset = replace(whole, train=normal(whole.train), validation=normal(whole.validation)) if only else whole
    return Subject(Linear(dataset, only or None), dataset, EvaluationOptions(anomaly_images=None))


@pytest.fixture(scope="module")
def held_out() -> Findings:
    return measure_anomaly(linear("0", "6"))


def areas(findings: Findings, who: str, odd: str) -> dict[str, float]:
    return {
        n.protocol["score"]: n.value
        for n in findings.numbers
        if n.key == "anomaly.auroc" and n.subject == who and n.protocol["odd"] == odd
    }


def test_classes_that_training_never_saw_are_told_apart(held_out: Findings) -> None:
    found = areas(held_out, "network", "held-out classes")
    assert set(found) == {
        "residual and latent distance together", "reconstruction error", "residual in deviations of its pixel",
        "latent distance",
    }  # fmt: skip
    assert all(area > 0.8 for area in found.values()), found
    assert areas(held_out, "kNN", "held-out classes")["distance to training pictures"] > 0.95


def test_a_network_that_is_pca_is_as_good_as_pca(held_out: Findings) -> None:
    ours, theirs = (areas(held_out, who, "held-out classes") for who in ("network", "PCA"))
    assert ours == pytest.approx(theirs)


def test_every_number_has_its_protocol_and_one_is_a_headline(held_out: Findings) -> None:
    test = SOURCES["digits"].load(SOURCES["digits"].Options(source="digits", validation=400)).test
    normal = int(np.isin(test.labels, [0, 6]).sum())
    for n in held_out.numbers:
        odd = n.protocol["odd_pictures"]
        assert n.protocol["n"] == normal
        assert n.protocol["trial"] != HELD_OUT or odd == len(test) - normal
        assert n.protocol["normal_classes"] == "0, 6"
        assert n.protocol["data"].endswith(", 0, 6 alone"), "figures of other classes do not compare"
        assert n.protocol.get("size") == (LATENT if n.subject == "PCA" else None)
        assert n.protocol["floor"] == (0.5 if n.key == "anomaly.auroc" else round(odd / (odd + normal), 4))
        assert n.interval
        assert n.interval[0] <= n.value <= n.interval[1]
    told_apart = [json.dumps([n.key, n.subject, n.protocol], sort_keys=True) for n in held_out.numbers]
    assert len(set(told_apart)) == len(told_apart)
    assert [n.label for n in held_out.numbers if n.headline] == [
        "AUROC, held-out classes: residual and latent distance together"
    ]


def test_corrupted_pictures_are_looked_for_beside_classes_that_training_never_saw(held_out: Findings) -> None:
    assert list(dict.fromkeys(n.protocol["odd"] for n in held_out.numbers)) == [
        "held-out classes", "all four corruptions", "blur", "noise", "occlusion", "small defect",
    ]  # fmt: skip
    assert {n.protocol["trial"] for n in held_out.numbers} == {HELD_OUT, CORRUPTED}


def test_other_metrics_look_at_normal_pictures_alone() -> None:
    subject = linear("0", "6")
    assert set(subject.test.labels) == {0, 6}
    assert set(subject.held_out.labels) == {1, 2, 3, 4, 5, 7, 8, 9}
    assert len(subject.test) + len(subject.held_out) == len(linear().test)
    assert linear().held_out is None


def test_without_held_out_classes_normal_pictures_are_disturbed() -> None:
    findings = measure_anomaly(linear())
    odd = dict.fromkeys(n.protocol["odd"] for n in findings.numbers)
    assert list(odd) == ["all four corruptions", "blur", "noise", "occlusion", "small defect"]
    counts = {n.protocol["odd"]: n.protocol["odd_pictures"] for n in findings.numbers}
    assert counts["all four corruptions"] == 360 == sum(counts.values()) / 2
    assert areas(findings, "network", "noise")["residual in deviations of its pixel"] > 0.8
    headlines = [n for n in findings.numbers if n.headline]
    assert [n.protocol["score"] for n in headlines] == ["residual in deviations of its pixel"]
    shown = findings.pictures["anomaly.shown.odd"]
    assert shown.shape == (3, 8, 8, 8, 3)
    assert shown.dtype == np.uint8


# -- a network with a bound ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def painter(trained: Trained) -> TrainedModel:
    return TrainedModel(trained("vae"))


@pytest.fixture(scope="module")
def dataset(painter: TrainedModel) -> Dataset:
    return painter.plan.source.load(painter.plan.data)


def test_what_is_measured_in_more_steps_does_not_compare(painter: TrainedModel, dataset: Dataset) -> None:
    said = []
    for steps in (2, 3):
        other = copy(painter)
        options = painter.plan.evaluation.model_copy(update={"regret_steps": steps})
        other.plan = replace(painter.plan, evaluation=options)
        numbers = measure_anomaly(Subject(other, dataset, options)).numbers
        said.append({n.protocol["method"] for n in numbers if n.protocol["score"] == LABELS["regret"]})
    assert len(said[0] | said[1]) == 2


def test_scores_and_heat_hold_a_part_of_the_pictures_as_floats_at_a_time() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4 * CHUNK, 16, 16, 3), np.uint8)
    known = Known(np.ones(pixels.shape[1:], np.float32), None, None, {}, 1.0)
    tracemalloc.start()
    scores(known, pixels, pixels, None)
    heat(pixels, pixels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * pixels.size


def test_what_the_run_keeps_is_what_was_fitted(painter: TrainedModel, dataset: Dataset) -> None:
    kept = Detector.of_run(painter)
    assert any(name.startswith(KEPT) for name in painter.run.pictures())
    fitted = Detector.fitted(painter, *fitting(Subject(painter, dataset, painter.plan.evaluation)))
    pixels = dataset.test.pixels[:30]
    first, second = scored(kept, pixels), scored(fitted, pixels)
    assert list(first) == ["together", "reconstruction", "residual", "latent", "kl", "bound", "regret"]
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-5)


def test_a_picture_scores_alike_whatever_stands_beside_it(painter: TrainedModel, dataset: Dataset) -> None:
    detector, pixels = Detector.of_run(painter), dataset.test.pixels
    many, few = scored(detector, pixels[:40]), scored(detector, pixels[30:32])
    for name in many:
        np.testing.assert_allclose(few[name], many[name][30:32], rtol=1e-3, atol=1e-2)


def test_regret_is_never_negative_starts_at_the_bound_and_grows(painter: TrainedModel, dataset: Dataset) -> None:
    detector, pixels = Detector.of_run(painter), dataset.test.pixels[:60]
    regrets = []
    for steps in (0, 5, 40):
        before, after = painter.regret(pixels, detector._noise(60, WEIGHED + steps)).T
        np.testing.assert_allclose(-before, scored(detector, pixels)["bound"], rtol=1e-4)
        assert (after >= before).all()
        regrets.append((after - before).mean())
    assert regrets[0] == 0
    assert 0 < regrets[1] < regrets[2]


def test_fitting_a_posterior_leaves_the_network_alone(painter: TrainedModel, dataset: Dataset) -> None:
    before = {name: value.clone() for name, value in painter.model.state_dict().items()}
    scored(Detector.of_run(painter), dataset.test.pixels[:5])
    for name, value in painter.model.state_dict().items():
        assert (value == before[name]).all(), name
    assert all(parameter.grad is None for parameter in painter.model.parameters())


def test_shares_of_new_normal_pictures_are_uniform(painter: TrainedModel, dataset: Dataset) -> None:
    detector = Detector.fitted(painter, dataset.train.first(800), dataset.validation)
    shares = detector.shares(scored(detector, dataset.test.pixels))
    for name, found in shares.items():
        assert kstest(found, "uniform").pvalue > 1e-4, name
