"""Generators whose faults are known: each is found, said in words, and what is without fault is at the floor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import Trained
from sanggar import recipe
from sanggar.data.images import Attribute, Images, ImageSpec
from sanggar.data.sources import SOURCES, DataOptions, Dataset, fingerprint
from sanggar.errors import DataError, RecipeError
from sanggar.evaluation.context import EvaluationContext, Findings
from sanggar.evaluation.generated_pictures import LEVELS, shown_pictures, sweeps
from sanggar.evaluation.metrics import generation
from sanggar.evaluation.metrics.generation import GenerationOptions, measure
from sanggar.evaluation.reference import drawn_like, extractor_of, wanted_like
from sanggar.instruments import cache as caching
from sanggar.instruments import judge as judges
from sanggar.instruments.cache import cached
from sanggar.instruments.features import FeatureExtractor
from sanggar.instruments.judge import open_judge
from sanggar.models.conditions import Conditions
from sanggar.models.gan.model import GANSampling
from sanggar.plan import EvaluationOptions, resolve
from sanggar.reporting import labels as words
from sanggar.results import FLOOR, NETWORK
from sanggar.trained import TrainedModel
from typed import listed, there

LATENT = 12
RECIPE = {"name": "fake", "data": {"source": "digits"}, "model": {"family": "ffnn"}, "training": {"epochs": 1}}
Generator = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


class Network:
    """A generator that is a function from latents and the classes asked for to pictures."""

    SamplingOptions = GANSampling
    noise_shape: tuple[int, ...] = (LATENT,)
    perceptual_judge: str | None = None

    def __init__(self, draw: Generator, spec: ImageSpec, names: tuple[str, ...], unconditional: bool = False) -> None:
        self.draw, self.conditions, self.unconditional = draw, Conditions(names, spec), unconditional
        self.asked: list[np.ndarray | None] = []

    def compute(self, capability: str, noise: np.ndarray, rows: np.ndarray | None, options: GANSampling) -> np.ndarray:
        assert capability == "sample"
        self.asked.append(rows)
        labels = None
        if "class" in self.conditions.names and rows is not None:
            labels = rows[:, self.conditions.place("class")].argmax(axis=1)
        return self.draw(noise * options.truncation, labels)


class Fake(TrainedModel):
    """A trained model without a run's files."""

    def __init__(self, dataset: Dataset, network: Network, spec: ImageSpec) -> None:
        self._model = network
        self.capabilities = frozenset({"sample"})
        self.plan = resolve(recipe.read(RECIPE))
        self.spec = spec
        run: Any = SimpleNamespace(
            path=Path("fake"), info={"data": {"source": "digits", "fingerprint": dataset.fingerprint}}
        )
        self.run = run


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """Digits with more test pictures than the judge has features, in each class."""
    return SOURCES["digits"].load(DataOptions(source="digits", validation=1, test=850))


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache that these tests share."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caching, "cache_folder", lambda: folder)
        yield folder


def context_of(
    dataset: Dataset, draw: Generator, names: tuple[str, ...] = ("class",), spec: ImageSpec | None = None,
    unconditional: bool = False, **options: Any,
) -> EvaluationContext:  # fmt: skip
    spec = spec or SOURCES["digits"].spec_for(DataOptions(source="digits"))
    model = Fake(dataset, Network(draw, spec, names, unconditional), spec)
    return EvaluationContext(model, dataset, EvaluationOptions(**options))


def measured(dataset: Dataset, draw: Generator, samples: int = 10_000, **how: Any) -> Findings:
    return measure(context_of(dataset, draw, **how), GenerationOptions(samples=samples))


def said(findings: Findings) -> list[str]:
    """The alarms in words."""
    return [words.alarm(alarm) for alarm in findings.alarms]


def chooser(images: Images, few: int | None = None) -> Generator:
    """Pictures of the data, of the class asked for, chosen by the latent; only the first `few` of each."""
    by_class = {label: np.flatnonzero(images.labels == label)[:few] for label in range(10)}
    everything = np.concatenate(list(by_class.values()))

    def draw(latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        numbers = np.abs(np.rint(latents * 1e6).astype(np.int64)).sum(axis=1)
        among = [everything] * len(latents) if labels is None else [by_class[label] for label in labels.tolist()]
        return images.pixels[[a[i % len(a)] for i, a in zip(numbers, among, strict=True)]]

    return draw


def noisy(images: Images) -> Generator:
    """Real pictures, disturbed a little: near the real ones, none of them a copy."""
    choose = chooser(images)

    def draw(latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        noise = np.tile(latents, (1, 6))[:, :64].reshape(-1, 8, 8, 1) * 10
        drawn: np.ndarray = np.clip(choose(latents, labels) + noise, 0, 255).astype(np.uint8)
        return drawn

    return draw


def value(findings: Findings, key: str, subject: str = NETWORK, name: str | None = None) -> float:
    (one,) = [
        m for m in findings.measurements
        if m.key == f"generation.{key}" and m.subject == subject and m.tags.get("class") == name
    ]  # fmt: skip
    return one.value


@pytest.fixture(scope="module")
def copies(digits: Dataset, cache: Path) -> Findings:
    return measured(digits, chooser(digits.train))


@pytest.fixture(scope="module")
def collapsed(digits: Dataset, cache: Path) -> Findings:
    return measured(digits, chooser(digits.train, 2))


def test_copies_of_training_pictures_are_at_the_floor_and_known_for_copies(copies: Findings) -> None:
    assert value(copies, "frechet") < 1.6 * value(copies, "frechet", FLOOR)
    assert value(copies, "kernel") < value(copies, "kernel", FLOOR) + 3 * value(copies, "kernel_deviation", FLOOR)
    for key in ("precision", "recall"):
        assert value(copies, key) > 0.85 * value(copies, key, FLOOR)
    assert value(copies, "memorization") == 1
    assert value(copies, "nearest") < 1e-3 < value(copies, "nearest", FLOOR)
    assert value(copies, "memorization", FLOOR) == pytest.approx(0.01, abs=0.005)
    assert any(alarm.startswith("Memorization: 100%") for alarm in said(copies))
    np.testing.assert_allclose(copies.arrays["neighbour_distances"][0], 0, atol=1e-4)
    np.testing.assert_array_equal(*copies.arrays["neighbours"][:2])


def test_the_floor_of_the_measures_is_good_itself(copies: Findings) -> None:
    assert value(copies, "precision", FLOOR) > 0.7
    assert value(copies, "recall", FLOOR) > 0.7
    assert value(copies, "coverage", FLOOR) > 0.7
    assert value(copies, "density", FLOOR) == pytest.approx(1, abs=0.3)
    assert value(copies, "duplicates", FLOOR) < 0.05
    assert value(copies, "agreement", FLOOR) > 0.97


def test_a_collapsed_generator_is_found_out(copies: Findings, collapsed: Findings) -> None:
    alarm = next(alarm for alarm in said(collapsed) if alarm.startswith("Collapse"))
    assert "Recall is 0.0" in alarm
    assert "100% of the pictures have another that is all but the same" in alarm
    assert value(collapsed, "frechet") > 3 * value(copies, "frechet")
    assert value(collapsed, "coverage") < 0.3 * value(copies, "coverage")
    assert value(collapsed, "agreement") > 0.9  # what it draws is what was asked for
    assert not any(alarm.startswith("Labels") for alarm in said(collapsed))


def test_a_disobedient_generator_is_found_out(digits: Dataset) -> None:
    draw = noisy(digits.train)

    def disobedient(latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        labels = there(labels)
        return draw(latents, np.where(labels == 3, 8, labels))

    findings = measured(digits, disobedient)
    assert value(findings, "class_agreement", name="3") < 0.1
    assert value(findings, "class_agreement", name="4") > 0.8
    assert 0.8 < value(findings, "agreement") < 0.93
    alarms = [alarm for alarm in said(findings) if alarm.startswith("Labels are not obeyed")]
    assert len(alarms) == 1
    assert "Lowest: 3 " in alarms[0]
    distances = {name: value(findings, "class_frechet", name=name) for name in "0123456789"}
    assert max(distances, key=distances.__getitem__) == "3"
    assert distances["3"] > 2 * np.median(list(distances.values()))


def test_a_good_generator_raises_no_alarm(digits: Dataset) -> None:
    def fresh(_: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """As good as it gets: new pictures of the same kind, none twice."""
        labels = there(labels)
        chosen = np.zeros(len(labels), np.int64)
        for label in range(10):
            chosen[labels == label] = np.flatnonzero(digits.test.labels == label)[::-1][: np.sum(labels == label)]
        return digits.test.pixels[chosen]

    findings = measured(digits, fresh, samples=200)
    assert findings.alarms == []


def test_every_value_has_its_protocol_and_its_floor(copies: Findings, digits: Dataset) -> None:
    judge = open_judge("digits")
    told_apart = [json.dumps([m.key, m.subject, m.tags], sort_keys=True) for m in copies.measurements]
    assert len(set(told_apart)) == len(told_apart)
    subjects: dict[str, set[str]] = {}
    for m in copies.measurements:
        settings = m.protocol.settings
        of = json.dumps([m.key, m.tags, m.protocol.model_dump()], sort_keys=True)
        subjects.setdefault(of, set()).add(m.subject)
        assert {"seed", "floor"} <= settings.keys()
        if "agreement" in m.key:
            assert (settings["judge"], settings["weights"], settings["floor"]) == (judge.name, judge.hash, "test")
        else:
            floor = "test" if m.key in ("generation.nearest", "generation.memorization") else "train"
            assert (settings["network"], settings["weights"], settings["floor"]) == (judge.name, judge.hash, floor)
            assert "resize" in settings
        if "class" not in m.tags:
            assert m.protocol.n == len(digits.test)
    assert set(map(frozenset, subjects.values())) == {frozenset({NETWORK, FLOOR})}
    assert {m.key.removeprefix("generation.") for m in copies.measurements} == {
        "frechet", "kernel", "kernel_deviation", "precision", "recall", "density", "coverage", "nearest",
        "memorization", "duplicates", "agreement", "class_agreement", "class_frechet",
    }  # fmt: skip
    (frechet,) = [m for m in copies.measurements if m.key == "generation.frechet" and m.subject == NETWORK]
    assert words.label(frechet) == f"Fréchet distance ({judge.name})"
    headlines = {m.key.removeprefix("generation.") for m in copies.measurements if m.headline and m.subject == NETWORK}
    assert headlines == {"frechet", "kernel", "precision", "recall", "agreement"}


def test_the_arrays_that_a_report_draws(copies: Findings) -> None:
    arrays = copies.arrays
    assert arrays["samples"].shape == (80, 8, 8, 1)
    assert copies.details == {"columns": 8, "truncation_n": 850}
    assert arrays["labels"].tolist() == np.repeat(np.arange(10), 8).tolist()
    assert arrays["walks"].shape == (4, 9, 8, 8, 1)
    assert arrays["truncation_pictures"].shape == (5, 8, 8, 8, 1)
    assert arrays["truncation_levels"].tolist() == list(LEVELS)
    for name in ("recall", "frechet"):
        assert arrays[f"truncation_{name}"].shape == (5,)
        assert np.isfinite(arrays[f"truncation_{name}"]).all()
    assert arrays["neighbours"].shape == (4, 8, 8, 8, 1)
    assert arrays["neighbour_distances"].shape == (3, 8)
    assert arrays["truncation_recall"][0] == value(copies, "recall")
    assert arrays["truncation_frechet"][0] == value(copies, "frechet")


def test_without_labels_there_is_nothing_of_classes(digits: Dataset) -> None:
    findings = measured(digits, noisy(digits.train), names=(), samples=200)
    keys = {m.key for m in findings.measurements}
    assert not any("class" in key or "agreement" in key for key in keys)
    assert "generation.frechet" in keys
    assert findings.arrays["samples"].shape == (64, 8, 8, 1)
    assert "labels" not in findings.arrays


def test_fewer_pictures_than_features_are_said_and_the_distance_left_out(digits: Dataset) -> None:
    findings = measured(digits, noisy(digits.train), samples=64)
    assert not any("frechet" in m.key for m in findings.measurements)
    assert not any("frechet" in name for name in findings.arrays)
    assert any("64 pictures are too few for a Fréchet distance on 64 features" in alarm for alarm in said(findings))
    assert value(findings, "recall") >= 0
    assert {m.protocol.n for m in findings.measurements if not m.tags} == {64}


@pytest.mark.slow
def test_what_the_cache_holds_is_what_was_computed(
    digits: Dataset, copies: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching, "cache_folder", lambda: tmp_path)
    for _ in range(2):  # computed, then read
        assert measured(digits, chooser(digits.train)).measurements == copies.measurements
    files = sorted(tmp_path.iterdir())
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:-5])
    assert measured(digits, chooser(digits.train)).measurements == copies.measurements
    monkeypatch.setattr(generation, "cloud", None)
    monkeypatch.setattr(FeatureExtractor, "extract", None)
    extractor = extractor_of(context_of(digits, chooser(digits.train)))
    features = extractor.extract_cached(digits.train, fingerprint(digits.train)).features
    assert len(features) == len(digits.train)  # not looked at again


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(caching, "cache_folder", lambda: tmp_path / "file")
    assert cached(("a", 1), lambda: {"x": np.ones(2)})["x"].tolist() == [1, 1]


def test_other_pictures_or_another_extractor_are_not_taken_for_these(cache: Path) -> None:
    def kept(key: tuple[str, int]) -> int:
        return int(cached(key, lambda: {"x": np.array([hash(key)])})["x"][0])

    made = [kept(key) for key in [("a", 1), ("a", 2), ("b", 1)]]
    assert len(set(made)) == 3


@pytest.mark.slow
def test_data_without_a_judge_are_measured_by_the_general_one(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "JUDGES", ("general", "mnist"))
    findings = measured(digits, noisy(digits.train))
    found = [m for m in findings.measurements if m.key == "generation.frechet"]
    assert {str(m.protocol.settings["network"])[:13] for m in found} == {"judge general"}
    assert not [m for m in findings.measurements if m.key == "generation.agreement"], "it names no classes"


def test_hardly_any_test_pictures_are_not_compared_with_and_that_is_said(digits: Dataset) -> None:
    few = replace(digits, test=digits.test.first(5))
    findings = measured(few, noisy(digits.train))
    assert findings.measurements == []
    assert said(findings) == [
        "Generated pictures were not measured: 5 pictures are too few to compare generated ones with."
    ]


def test_missing_inception_weights_are_an_error(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANGGAR_DATA", str(tmp_path))
    monkeypatch.setattr("sanggar.instruments.inception.MIRROR", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match=r"Put pt_inception-2015-12-05-6726825d\.pth"):
        measured(digits, noisy(digits.train), feature_network="inception")
    with pytest.raises(DataError, match="Put pt_inception"):  # and before a training already
        resolve(recipe.read({**RECIPE, "evaluation": {"feature_network": "inception"}})).check()


def test_an_unknown_feature_network_is_answered_with_the_nearest() -> None:
    tree = {**RECIPE, "evaluation": {"feature_network": "inceptoin"}}
    with pytest.raises(RecipeError, match=r"there is no 'inceptoin'\. Did you mean 'inception'"):
        resolve(recipe.read(tree))


@given(st.integers(0, 1000), st.integers(1, 60))
def test_stand_ins_are_of_the_classes_that_are_wanted(seed: int, n: int) -> None:
    draw = np.random.default_rng(seed)
    labels, wanted = np.repeat(np.arange(4), 60), draw.integers(0, 4, n)
    drawn = drawn_like(labels, wanted, len(labels), n, seed)
    assert len(set(drawn.tolist())) == n
    np.testing.assert_array_equal(np.sort(labels[drawn]), np.sort(wanted))
    scarce = drawn_like(labels[:70], wanted, 70, n, seed)  # few of one class, none of two
    assert len(set(scarce.tolist())) == n
    assert len(set(drawn_like(None, None, 70, n, seed).tolist())) == n


# -- conditions ------------------------------------------------------------------------------------------------


def attributed(digits: Dataset) -> tuple[Dataset, ImageSpec]:
    """Digits with a flag (whether the class is odd) and a number (the mean of the pixels)."""

    def known(images: Images) -> Images:
        columns = [there(images.labels) % 2, images.pixels.mean(axis=(1, 2, 3))]
        return replace(images, attributes=np.stack(columns, axis=1).astype(np.float32))

    spec = replace(
        SOURCES["digits"].spec_for(DataOptions(source="digits")),
        attributes=(Attribute("odd", "flag", ("no", "yes")), Attribute("ink", "number", mean=80.0, deviation=20.0)),
    )
    return replace(digits, train=known(digits.train), test=known(digits.test)), spec


def test_attributes_are_asked_for_only_where_the_model_cannot_do_without(digits: Dataset) -> None:
    dataset, spec = attributed(digits)
    for unconditional in (False, True):
        context = context_of(dataset, noisy(dataset.train), ("class", "odd", "ink"), spec, unconditional)
        findings = measure(context, GenerationOptions(samples=100))
        conditions = context.model.conditions
        assert conditions is not None
        samples = context.model._model.asked[0]
        labels = findings.arrays["labels"]
        np.testing.assert_array_equal(samples[:, :10].argmax(axis=1), labels)
        if unconditional:
            assert not samples[:, 10:].any()
        else:  # those of test pictures of the class
            np.testing.assert_array_equal(samples[:, 10], labels % 2 * 2 - 1)
            assert len(np.unique(samples[:8, 11])) > 1
        expected = None if unconditional else "class, odd, ink"
        assert {m.protocol.settings.get("condition") for m in findings.measurements} == {expected}
        whole = [rows for rows in context.model._model.asked if rows is not None and len(rows) == 100]
        wanted = np.asarray(conditions.encode(
            torch.from_numpy(dataset.test.first(100).labels), torch.from_numpy(dataset.test.first(100).attributes)
        ))  # fmt: skip
        for rows in whole:
            np.testing.assert_array_equal(rows, wanted * (np.arange(12) < 10) if unconditional else wanted)
        assert whole
        assert value(findings, "agreement") > 0.8


def test_a_model_conditioned_on_attributes_alone_draws_those_of_test_pictures(digits: Dataset) -> None:
    dataset, spec = attributed(digits)
    for unconditional in (False, True):
        context = context_of(dataset, noisy(dataset.train), ("odd",), spec, unconditional)
        findings = measure(context, GenerationOptions(samples=100))
        asked = context.model._model.asked
        assert "labels" not in findings.arrays
        assert not any("agreement" in m.key for m in findings.measurements)
        expected = "none" if unconditional else "odd"
        assert {m.protocol.settings.get("condition") for m in findings.measurements} == {expected}
        if unconditional:
            assert all(rows is None for rows in asked)
        else:
            np.testing.assert_array_equal(asked[0][:, 0], there(dataset.test.labels)[:64] % 2 * 2 - 1)
            walks = [rows for rows in asked if len(rows) == 9]
            assert len(walks) == 4
            assert all(len(np.unique(rows)) == 1 for rows in walks), "a walk keeps its condition"


def test_classes_come_in_turn_where_test_pictures_have_none(digits: Dataset) -> None:
    bare = replace(digits, test=replace(digits.test, labels=None))
    context = context_of(bare, noisy(digits.train))
    assert there(wanted_like(context.model, bare.test).labels).tolist() == [i % 10 for i in range(len(bare.test))]
    findings = measure(context, GenerationOptions(samples=100))
    assert findings.arrays["labels"].tolist() == np.repeat(np.arange(10), 8).tolist()
    assert not any("agreement" in m.key for m in findings.measurements)
    assert wanted_like(context.model, digits.test) is digits.test


def test_a_class_without_test_pictures_is_shown_all_the_same(digits: Dataset) -> None:
    dataset, spec = attributed(digits)
    some = dataset.test.take(np.flatnonzero(dataset.test.labels != 3))
    context = context_of(dataset, noisy(dataset.train), ("class", "odd"), spec)
    arrays = shown_pictures(context.model, some, 0)
    assert (arrays["labels"] == 3).sum() == 8
    assert (context.model._model.asked[0][24:32, :10].argmax(axis=1) == 3).all()


def test_noise_of_any_shape_is_walked_through(digits: Dataset) -> None:
    context = context_of(digits, lambda noise, _: (noise * 0 + 7).astype(np.uint8), ())
    context.model._model.noise_shape = (8, 8, 1)
    assert shown_pictures(context.model, digits.test, 0)["walks"].shape == (4, 9, 8, 8, 1)


# -- truncation ------------------------------------------------------------------------------------------------


def test_only_what_has_something_to_sweep_is_swept(trained: Trained) -> None:
    """An autoencoder's temperatures stand beside other ways to draw."""
    gan, vae = TrainedModel(trained("gan")), TrainedModel(trained("vae"))
    assert (sweeps(gan), sweeps(vae)) == (True, False)
    assert (gan.swept, vae.swept) == ("truncation", "temperature")
    test = vae.plan.source.load(vae.plan.data).test
    assert not any("truncation" in name for name in shown_pictures(vae, test, 0))
    gan._model.SamplingOptions = type("Plain", (GANSampling,), {"swept": None})
    assert not sweeps(gan)


# -- alarms ----------------------------------------------------------------------------------------------------


def test_alarms_hold_data_and_are_worded_when_they_are_shown(collapsed: Findings) -> None:
    (alarm,) = [alarm for alarm in collapsed.alarms if alarm.key == "generation.collapse"]
    signs = {sign["quantity"]: sign for sign in listed(alarm.values["signs"])}
    assert signs.keys() == {"recall", "coverage", "duplicates"}
    for quantity, sign in signs.items():
        assert (sign["value"], sign["floor"]) == (value(collapsed, quantity), value(collapsed, quantity, FLOOR))
    assert "of real pictures" in words.alarm(alarm)
    damaged = alarm.model_copy(update={"values": {"signs": [{"quantity": "strangeness"}]}})
    assert words.alarm(damaged).startswith("generation.collapse: ")


def test_the_pictures_of_a_class_that_are_too_few_are_named(digits: Dataset) -> None:
    scarce = np.concatenate([np.flatnonzero(digits.test.labels == 3)[:5], np.flatnonzero(digits.test.labels != 3)])
    few = replace(digits, test=digits.test.take(scarce))
    findings = measured(few, noisy(digits.train))
    (alarm,) = [text for text in said(findings) if text.startswith("Distances of some classes")]
    assert "3 5" in alarm and "(64)" in alarm
    assert "3" not in {m.tags["class"] for m in findings.measurements if m.key == "generation.class_frechet"}
