"""Generators whose faults are known: each is found, said in words, and what is without fault is at the floor."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanggar import recipe
from sanggar.data.images import Images
from sanggar.data.sources import SOURCES, DataOptions, Dataset, fingerprint
from sanggar.errors import DataError, RecipeError
from sanggar.evaluation import generation, rulers
from sanggar.evaluation.context import Findings, Subject
from sanggar.evaluation.metrics.generation import FLOOR, measure_generation
from sanggar.evaluation.samples import LEVELS, slerp
from sanggar.instruments import judge as judges
from sanggar.instruments.features import drawn_like, remembered
from sanggar.instruments.judge import open_judge
from sanggar.plan import EvaluationOptions, resolve
from sanggar.trained import TrainedModel

LATENT = 12
RECIPE = {"name": "fake", "data": {"source": "digits"}, "model": {"family": "ffnn"}, "training": {"epochs": 1}}
Generator = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


class Model:
    """A generator that is a function from latents and labels to pictures."""

    latent_size = LATENT
    taught_by: str | None = None

    def __init__(self, draw: Generator, conditional: bool) -> None:
        self.draw, self.conditional = draw, conditional

    def sample(self, latents: np.ndarray, labels: np.ndarray | None = None, truncation: float = 1.0) -> np.ndarray:
        return self.draw(latents * truncation, labels)

    def compute(self, capability: str, *arrays: np.ndarray, **how: float) -> np.ndarray:
        assert capability == "sample"
        return self.sample(*arrays, **how)


class Fake(TrainedModel):
    """A painter without a run's files."""

    def __init__(self, dataset: Dataset, model: Model) -> None:
        self.model = model
        self.plan = resolve(recipe.read(RECIPE))
        self.spec = SOURCES["digits"].spec
        self.run = SimpleNamespace(info={"data": {"source": "digits", "fingerprint": dataset.fingerprint}})


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """Digits with more test pictures than the judge has features, in each class."""
    return SOURCES["digits"].load(DataOptions(source="digits", validation=1, test=850))


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that these tests share."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rulers, "cache_folder", lambda: folder)
        yield folder


def subject(digits: Dataset, draw: Generator, conditional: bool = True, **options: object) -> Subject:
    return Subject(Fake(digits, Model(draw, conditional)), digits, EvaluationOptions(**options))


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
        return np.clip(choose(latents, labels) + noise, 0, 255).astype(np.uint8)

    return draw


def value(findings: Findings, key: str, subject: str = "network", **protocol: object) -> float:
    found = [
        n for n in findings.numbers
        if n.key == f"generation.{key}" and n.subject == subject and protocol.items() <= n.protocol.items()
    ]  # fmt: skip
    assert len(found) == 1, key
    return found[0].value


@pytest.fixture(scope="module")
def copies(digits: Dataset, cache: Path) -> Findings:
    return measure_generation(subject(digits, chooser(digits.train)))


@pytest.fixture(scope="module")
def collapsed(digits: Dataset, cache: Path) -> Findings:
    return measure_generation(subject(digits, chooser(digits.train, 2)))


def test_copies_of_training_pictures_are_at_the_floor_and_known_for_copies(copies: Findings) -> None:
    assert value(copies, "frechet") < 1.6 * value(copies, "frechet", FLOOR)
    assert value(copies, "kernel") < value(copies, "kernel", FLOOR) + 3 * value(copies, "kernel_deviation", FLOOR)
    for key in ("precision", "recall"):
        assert value(copies, key) > 0.85 * value(copies, key, FLOOR)
    assert value(copies, "memorization") == 1
    assert value(copies, "nearest") < 1e-3 < value(copies, "nearest", FLOOR)
    assert value(copies, "memorization", FLOOR) == pytest.approx(0.01, abs=0.005)
    assert any(alarm.startswith("Memorization: 100%") for alarm in copies.alarms)
    np.testing.assert_allclose(copies.pictures["generation.neighbours.distances"][0], 0, atol=1e-4)
    np.testing.assert_array_equal(*copies.pictures["generation.neighbours"][:2])


def test_the_floor_of_the_measures_is_good_itself(copies: Findings) -> None:
    assert value(copies, "precision", FLOOR) > 0.7
    assert value(copies, "recall", FLOOR) > 0.7
    assert value(copies, "coverage", FLOOR) > 0.7
    assert value(copies, "density", FLOOR) == pytest.approx(1, abs=0.3)
    assert value(copies, "duplicates", FLOOR) < 0.05
    assert value(copies, "agreement", FLOOR) > 0.97


def test_a_collapsed_generator_is_found_out(copies: Findings, collapsed: Findings) -> None:
    alarm = next(alarm for alarm in collapsed.alarms if alarm.startswith("Collapse"))
    assert "Recall is 0.0" in alarm
    assert "100% of the pictures have another that is all but the same" in alarm
    assert value(collapsed, "frechet") > 3 * value(copies, "frechet")
    assert value(collapsed, "coverage") < 0.3 * value(copies, "coverage")
    assert value(collapsed, "agreement") > 0.9  # what it draws is what was asked for
    assert not any(alarm.startswith("Labels") for alarm in collapsed.alarms)


def test_a_disobedient_generator_is_found_out(digits: Dataset) -> None:
    draw = noisy(digits.train)
    findings = measure_generation(
        subject(digits, lambda latents, labels: draw(latents, np.where(labels == 3, 8, labels)))
    )
    assert value(findings, "class_agreement", **{"class": "3"}) < 0.1
    assert value(findings, "class_agreement", **{"class": "4"}) > 0.8
    assert 0.8 < value(findings, "agreement") < 0.93
    alarms = [alarm for alarm in findings.alarms if alarm.startswith("Labels are not obeyed")]
    assert len(alarms) == 1
    assert "Lowest: 3 " in alarms[0]
    distances = {name: value(findings, "class_frechet", **{"class": name}) for name in "0123456789"}
    assert max(distances, key=distances.__getitem__) == "3"
    assert distances["3"] > 2 * np.median(list(distances.values()))


def test_a_good_generator_raises_no_alarm(digits: Dataset) -> None:
    def fresh(_: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """As good as it gets: new pictures of the same kind, none twice."""
        chosen = np.zeros(len(labels), np.int64)
        for label in range(10):
            chosen[labels == label] = np.flatnonzero(digits.test.labels == label)[::-1][: np.sum(labels == label)]
        return digits.test.pixels[chosen]

    findings = measure_generation(subject(digits, fresh, samples=200))
    assert findings.alarms == []


def test_every_number_has_its_protocol_and_its_floor(copies: Findings, digits: Dataset) -> None:
    judge = open_judge("digits")
    told_apart = [json.dumps([n.key, n.subject, n.protocol], sort_keys=True) for n in copies.numbers]
    assert len(set(told_apart)) == len(told_apart)
    protocols = {(n.key, json.dumps(n.protocol, sort_keys=True)): set() for n in copies.numbers}
    for n in copies.numbers:
        protocols[n.key, json.dumps(n.protocol, sort_keys=True)].add(n.subject)
        assert {"split", "n", "data", "seed", "floor"} <= n.protocol.keys()
        if "agreement" in n.key:
            assert n.protocol["judge"] == f"{judge.name} {judge.hash}"
        else:
            assert n.protocol["network"] == judge.name
            assert n.protocol["weights"] == judge.hash
            assert "resize" in n.protocol
        if "class" not in n.protocol:
            assert n.protocol["n"] == len(digits.test)
    assert set(map(frozenset, protocols.values())) == {frozenset({"network", FLOOR})}
    keys = {n.key.removeprefix("generation.") for n in copies.numbers}
    assert keys == {
        "frechet", "kernel", "kernel_deviation", "precision", "recall", "density", "coverage", "nearest",
        "memorization", "duplicates", "agreement", "class_agreement", "class_frechet",
    }  # fmt: skip
    assert next(n.label for n in copies.numbers if n.key == "generation.frechet") == f"Fréchet distance ({judge.name})"


def test_the_arrays_that_a_report_draws(copies: Findings) -> None:
    arrays = copies.pictures
    assert arrays["generation.samples"].shape == (80, 8, 8, 1)
    assert arrays["generation.columns"].tolist() == [8]
    assert arrays["generation.labels"].tolist() == np.repeat(np.arange(10), 8).tolist()
    assert arrays["generation.walks"].shape == (4, 9, 8, 8, 1)
    assert arrays["generation.truncation.pictures"].shape == (5, 8, 8, 8, 1)
    assert arrays["generation.truncation.levels"].tolist() == list(LEVELS)
    for name in ("recall", "frechet"):
        assert arrays[f"generation.truncation.{name}"].shape == (5,)
        assert np.isfinite(arrays[f"generation.truncation.{name}"]).all()
    assert arrays["generation.neighbours"].shape == (4, 8, 8, 8, 1)
    assert arrays["generation.neighbours.distances"].shape == (3, 8)
    assert arrays["generation.truncation.recall"][0] == value(copies, "recall")
    assert arrays["generation.truncation.frechet"][0] == value(copies, "frechet")


def test_without_labels_there_is_nothing_of_classes(digits: Dataset) -> None:
    findings = measure_generation(subject(digits, noisy(digits.train), conditional=False, samples=200))
    keys = {n.key for n in findings.numbers}
    assert not any("class" in key or "agreement" in key for key in keys)
    assert "generation.frechet" in keys
    assert findings.pictures["generation.samples"].shape == (64, 8, 8, 1)
    assert "generation.labels" not in findings.pictures


def test_fewer_pictures_than_features_are_said_and_the_distance_left_out(digits: Dataset) -> None:
    findings = measure_generation(subject(digits, noisy(digits.train), samples=64))
    assert not any("frechet" in n.key for n in findings.numbers)
    assert not any("frechet" in name for name in findings.pictures)
    assert any("64 pictures are too few for a Fréchet distance on 64 features" in alarm for alarm in findings.alarms)
    assert value(findings, "recall", n=64) >= 0


def test_what_the_cache_holds_is_what_was_computed(
    digits: Dataset, copies: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rulers, "cache_folder", lambda: tmp_path)
    for _ in range(2):  # computed, then read
        findings = measure_generation(subject(digits, chooser(digits.train)))
        assert findings.numbers == copies.numbers
    files = sorted(tmp_path.iterdir())
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:-5])
    assert measure_generation(subject(digits, chooser(digits.train))).numbers == copies.numbers
    monkeypatch.setattr(generation, "cloud", None)
    monkeypatch.setattr(rulers.FeatureExtractor, "look", None)
    extractor = rulers.open_extractor(subject(digits, chooser(digits.train)))
    seen = extractor.known(digits.train, fingerprint(digits.train))
    assert len(seen.features) == len(digits.train)  # not looked at again


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(rulers, "cache_folder", lambda: tmp_path / "file")
    assert remembered(("a", 1), lambda: {"x": np.ones(2)})["x"].tolist() == [1, 1]


def test_other_pictures_or_another_ruler_are_not_taken_for_these(cache: Path) -> None:
    made = [
        remembered(key, lambda key=key: {"x": np.array([hash(key)])})["x"][0] for key in [("a", 1), ("a", 2), ("b", 1)]
    ]
    assert len(set(made)) == 3


def test_data_without_a_judge_shows_pictures_and_says_why(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "JUDGES", ("mnist",))
    findings = measure_generation(subject(digits, noisy(digits.train)))
    assert findings.numbers == []
    assert "generation.samples" in findings.pictures
    assert "there is no judge for digits" in findings.alarms[0]
    assert "feature_network=inception" in findings.alarms[0]


def test_hardly_any_test_pictures_are_not_compared_with_and_that_is_said(digits: Dataset) -> None:
    few = replace(digits, test=digits.test.first(5))
    found = measure_generation(subject(few, noisy(digits.train)))
    assert found.numbers == []
    assert found.alarms == [
        "Generated pictures were not measured: 5 pictures are too few to compare generated ones with."
    ]


def test_missing_inception_weights_are_an_error(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANGGAR_DATA", str(tmp_path))
    monkeypatch.setattr("sanggar.instruments.inception.MIRROR", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match=r"Put pt_inception-2015-12-05-6726825d\.pth"):
        measure_generation(subject(digits, noisy(digits.train), feature_network="inception"))
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


@given(st.integers(0, 1000), st.integers(2, 12))
def test_an_arc_keeps_its_ends_and_on_the_sphere_its_length(seed: int, steps: int) -> None:
    first, last = np.random.default_rng(seed).normal(size=(2, LATENT)).astype(np.float32)
    arc = slerp(first, last, steps)
    assert arc.dtype == np.float32
    np.testing.assert_allclose(arc[[0, -1]], [first, last], atol=1e-6)
    unit = slerp(first / np.linalg.norm(first), last / np.linalg.norm(last), steps)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)
    turns = np.sum(unit[1:] * unit[:-1], axis=1)
    np.testing.assert_allclose(turns, turns[0], atol=1e-5)  # at even speed


def test_latents_in_a_line_make_no_arc() -> None:
    first = np.ones(3)
    np.testing.assert_allclose(slerp(first, -first, 3), [[1, 1, 1], [0, 0, 0], [-1, -1, -1]])
    np.testing.assert_allclose(slerp(first, first, 3), np.ones((3, 3)))
    np.testing.assert_allclose(slerp(np.zeros(3), first, 3)[1], [0.5] * 3)
