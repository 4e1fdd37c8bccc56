"""Odd pictures told from normal ones by a network, beside PCA and nearest neighbours."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from conftest import Trained
from sanggar import recipe
from sanggar.data.dataset import DataOptions, Dataset
from sanggar.data.images import Images
from sanggar.data.sources import SOURCES
from sanggar.evaluation.baselines import Baselines, FittedBaselines
from sanggar.evaluation.context import EvaluationContext, Findings
from sanggar.evaluation.metrics.anomaly import CORRUPTED, HELD_OUT, AnomalyOptions, measure
from sanggar.plan import EvaluationOptions, resolve
from sanggar.reporting import labels
from sanggar.trained import TrainedModel
from typed import number, there

LATENT = 6
ALL = AnomalyOptions(images=None)
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
        run: Any = SimpleNamespace(info={"data": {"source": "digits", "fingerprint": dataset.fingerprint}})
        self.run = run

    def can(self, capability: str) -> bool:
        return capability in ("encode", "reconstruct")

    def encode(self, images: Any) -> np.ndarray:
        codes: np.ndarray = self.pca.transform(images.reshape(len(images), -1).astype(np.float32))
        return codes

    def reconstruct(self, images: Any, condition: np.ndarray | None = None) -> np.ndarray:
        flat: np.ndarray = self.pca.inverse_transform(self.encode(images))
        pictures: np.ndarray = np.rint(np.clip(flat, 0, 255)).astype(np.uint8).reshape(images.shape)
        return pictures


def linear(*only: str) -> EvaluationContext:
    """Digits of which training saw some classes alone."""
    options = SOURCES["digits"].Options(source="digits", validation=400)
    whole = SOURCES["digits"].load(options)

    def normal(images: Images) -> Images:
        return images.take(np.flatnonzero(np.isin(there(images.labels), [int(name) for name in only])))

    dataset = replace(whole, train=normal(whole.train), validation=normal(whole.validation)) if only else whole
    return EvaluationContext(Linear(dataset, only or None), dataset, EvaluationOptions())


@pytest.fixture(scope="module")
def held_out() -> Findings:
    return measure(linear("0", "6"), ALL)


def areas(findings: Findings, subject: str, odd: str) -> dict[str, float]:
    return {
        str(m.tags["score"]): m.value
        for m in findings.measurements
        if m.key == "anomaly.auroc" and m.subject == subject and m.tags["odd"] == odd
    }


def test_classes_that_training_never_saw_are_told_apart(held_out: Findings) -> None:
    found = areas(held_out, "network", "held_out")
    assert set(found) == {"together", "reconstruction", "residual", "latent"}
    assert all(area > 0.8 for area in found.values()), found
    assert areas(held_out, "knn", "held_out")["neighbours"] > 0.95


def test_a_network_that_is_pca_is_as_good_as_pca(held_out: Findings) -> None:
    ours, theirs = (areas(held_out, subject, "held_out") for subject in ("network", "pca"))
    assert ours == pytest.approx(theirs)


def test_every_number_has_its_protocol_and_one_is_a_headline(held_out: Findings) -> None:
    test = SOURCES["digits"].load(SOURCES["digits"].Options(source="digits", validation=400)).test
    normal = int(np.isin(there(test.labels), [0, 6]).sum())
    for m in held_out.measurements:
        settings = m.protocol.settings
        odd = number(settings["odd_pictures"])
        assert m.protocol.n == normal
        assert settings["trial"] != HELD_OUT or odd == len(test) - normal
        assert settings["normal_classes"] == "0, 6"
        assert m.protocol.data.endswith(", 0, 6 alone"), "figures of other classes do not compare"
        assert settings.get("size") == (LATENT if m.subject == "pca" else None)
        share = round(odd / (odd + normal), 4)
        assert settings["floor"] == {"anomaly.average_precision": share, "anomaly.region_overlap": 0.15}.get(m.key, 0.5)
        if m.interval is None:
            assert m.value == 1, "where all are told apart, nothing varies"
        else:
            assert m.interval[0] <= m.value <= m.interval[1]
    told_apart = [json.dumps([m.key, m.subject, m.tags], sort_keys=True) for m in held_out.measurements]
    assert len(set(told_apart)) == len(told_apart)
    assert [labels.label(m) for m in held_out.measurements if m.headline] == [
        "AUROC, held-out classes, residual and latent distance together"
    ]


def test_corrupted_pictures_are_looked_for_beside_classes_that_training_never_saw(held_out: Findings) -> None:
    assert list(dict.fromkeys(m.tags["odd"] for m in held_out.measurements)) == [
        "held_out", "corrupted", "blur", "noise", "occlusion", "defect",
    ]  # fmt: skip
    assert {m.protocol.settings["trial"] for m in held_out.measurements} == {HELD_OUT, CORRUPTED}


def test_other_metrics_look_at_normal_pictures_alone() -> None:
    context = linear("0", "6")
    held_out = there(context.held_out)
    assert set(there(context.test.labels)) == {0, 6}
    assert set(there(held_out.labels)) == {1, 2, 3, 4, 5, 7, 8, 9}
    assert len(context.test) + len(held_out) == len(linear().test)
    assert linear().held_out is None


def test_without_held_out_classes_normal_pictures_are_disturbed() -> None:
    findings = measure(linear(), ALL)
    odd = dict.fromkeys(m.tags["odd"] for m in findings.measurements)
    assert list(odd) == ["corrupted", "blur", "noise", "occlusion", "defect"]
    counts = {m.tags["odd"]: number(m.protocol.settings["odd_pictures"]) for m in findings.measurements}
    assert counts["corrupted"] == 360 == sum(counts.values()) / 2
    assert areas(findings, "network", "noise")["residual"] > 0.8
    headlines = [m for m in findings.measurements if m.headline]
    assert [m.tags["score"] for m in headlines] == ["residual"]
    shown = findings.arrays["shown_odd"]
    assert shown.shape == (3, 8, 8, 8, 3)
    assert shown.dtype == np.uint8


def test_every_odd_trial_score_and_kind_has_words(held_out: Findings) -> None:
    for m in held_out.measurements:
        assert m.tags["odd"] in labels.TRIALS
        of_pictures = m.key in ("anomaly.auroc", "anomaly.average_precision")
        assert m.tags["score"] in labels.SCORES if of_pictures else "score" not in m.tags
        assert m.protocol.settings["trial"] in labels.VALUES["trial"]


@pytest.mark.slow
def test_what_is_measured_in_more_steps_does_not_compare(trained: Trained) -> None:
    model = TrainedModel(trained("vae"))
    dataset = model.plan.source.load(model.plan.data)
    protocols = []
    for steps in (2, 3):
        context = EvaluationContext(model, dataset, model.plan.evaluation)
        findings = measure(context, AnomalyOptions(images=40, regret_steps=steps))
        settings = [m.protocol.settings for m in findings.measurements if m.tags.get("score") == "regret"]
        assert settings
        protocols.append({(given["steps"], given["learning_rate"], given["draws"]) for given in settings})
    assert len(protocols[0] | protocols[1]) == 2


# -- baselines -------------------------------------------------------------------------------------------------


def test_baselines_are_fitted_for_the_first_run_on_the_same_pictures_alone(
    held_out: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*given: object) -> None:
        raise AssertionError("fitted")

    monkeypatch.setattr(FittedBaselines, "fit", fit)
    again = measure(linear("0", "6"), ALL)
    assert again.measurements == held_out.measurements
    for options in (AnomalyOptions(images=60), AnomalyOptions(images=61)):  # other validation and test pictures
        with pytest.raises(AssertionError, match="fitted"):
            measure(linear("0", "6"), options)


def test_baselines_give_the_same_scores_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = linear().dataset
    train, validation, pixels = dataset.train.first(200), dataset.validation.first(50), dataset.test.pixels[:30]
    baselines = Baselines(train, validation, 4, 7)
    fitted = FittedBaselines.fit(train, validation, 4, 7).scores(pixels)
    for _ in range(2):
        found = Baselines(train, validation, 4, 7).scores(pixels)
        assert {name: list(scores) for name, scores in found.items()} == {
            "pca": ["together", "reconstruction", "residual", "latent"], "knn": ["neighbours"],
        }  # fmt: skip
        for name, scores in fitted.items():
            for score, values in scores.items():
                np.testing.assert_array_equal(found[name][score], values)
    monkeypatch.setattr(FittedBaselines, "fit", lambda *given: pytest.fail("fitted"))
    assert baselines.scores(pixels)["knn"]["neighbours"].tolist() == fitted["knn"]["neighbours"].tolist()
