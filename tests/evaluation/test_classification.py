"""Classification: every number against an independent computation, on made-up probabilities and on a real run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t
from sklearn import metrics
from sklearn.neural_network import MLPClassifier

import sanggar
from conftest import TINY_FFNN, Trained, context_of
from sanggar.data.images import Images, ImageSpec, to_vectors
from sanggar.data.sources import Dataset
from sanggar.evaluation.context import EvaluationContext, Findings
from sanggar.evaluation.measures.classification import BINS, calibration_error, confusion, reliability
from sanggar.evaluation.metrics.classification import GRADIENT_IMAGES, SCIKIT_LEARN, ClassificationOptions, measure
from sanggar.plan import EvaluationOptions
from sanggar.reporting import labels as words
from sanggar.results import NETWORK, Measurement, headlines
from sanggar.results.stored import read, read_arrays
from sanggar.trained import TrainedModel
from typed import there

NAMES = ("ant", "bee", "cat", "dog")


class Fixed(TrainedModel):
    """A model that gives picture i the probabilities in row i."""

    def __init__(self, shares: np.ndarray, classes: tuple[str, ...] = NAMES) -> None:
        self.shares, self.spec = shares, ImageSpec(2, 1, 1, classes)
        data = {"source": "made-up", "fingerprint": "0" * 64}
        run: Any = SimpleNamespace(info={"data": data})
        source = SimpleNamespace(normal=lambda data: None)
        plan: Any = SimpleNamespace(data=SimpleNamespace(test=None, only=None), source=source)
        self.run, self.plan = run, plan

    def can(self, capability: str) -> bool:
        return capability == "classify"

    def classify(self, images: Any) -> np.ndarray:
        rows: np.ndarray = self.shares[images.reshape(-1, 2).astype(int) @ [256, 1]]
        return rows


def numbered(labels: np.ndarray | None, count: int) -> Images:
    """Pictures of two pixels that say their number."""
    place = np.arange(count)
    return Images(np.stack([place // 256, place % 256], axis=1).astype(np.uint8).reshape(-1, 2, 1, 1), labels)


def measured(shares: np.ndarray, labels: np.ndarray | None, classes: tuple[str, ...] = NAMES) -> Findings:
    test = numbered(labels, len(shares))
    context = EvaluationContext(Fixed(shares, classes), Dataset(test, test, test, "0"), EvaluationOptions())
    return measure(context, ClassificationOptions())


def made_up(n: int, sharpness: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that know something of the labels."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, len(NAMES), n)
    logits = draw.normal(size=(n, len(NAMES))) + np.eye(len(NAMES))[labels]
    shares = np.exp(sharpness * logits)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32), labels


def number(found: Findings, key: str, subject: str = NETWORK, name: str | None = None) -> Measurement:
    (one,) = [
        m for m in found.measurements
        if m.key == f"classification.{key}" and m.subject == subject and m.tags.get("class") == name
    ]  # fmt: skip
    return one


def of_classes(found: Findings) -> list[Measurement]:
    """Precision and recall."""
    return [m for m in found.measurements if m.key in ("classification.precision", "classification.recall")]


def wilson(hits: int, n: int) -> tuple[float, float]:
    z, p = 1.959963984540054, hits / n
    centre, reach = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)


def by_hand_calibration(shares: np.ndarray, labels: np.ndarray) -> tuple[float, list[list[float]]]:
    """Expected calibration error and the bins' rows, one picture at a time."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(shares.astype(np.float64), labels, strict=True):
        sure = row.max()
        bins.setdefault(min(int(sure * BINS), BINS - 1), []).append((sure, row.argmax() == label))
    rows = []
    for _, inside in sorted(bins.items()):
        confidence, accuracy = np.mean(np.array(inside, float), axis=0)
        rows.append([confidence, accuracy, len(inside) / len(shares)])
    return sum(share * abs(confidence - accuracy) for confidence, accuracy, share in rows), rows


# -- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, 40, 700])
def test_every_number_is_what_another_computation_says(n: int) -> None:
    shares, labels = made_up(n)
    found, predicted = measured(shares, labels), shares.argmax(axis=1)
    accuracy, surprise, calibration = (number(found, key) for key in ("accuracy", "cross_entropy", "calibration_error"))
    assert accuracy.value == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert accuracy.interval == pytest.approx(wilson((predicted == labels).sum(), n))
    losses = -np.log(shares[np.arange(n), labels].astype(np.float64))
    exact = shares.astype(np.float64) / shares.sum(axis=1, keepdims=True, dtype=np.float64)
    expected = metrics.log_loss(labels, exact, labels=range(len(NAMES)))
    assert surprise.value == pytest.approx(expected, rel=1e-5)
    if n == 1:
        assert surprise.interval is None
    else:
        reach = t.ppf(0.975, n - 1) * losses.std(ddof=1) / math.sqrt(n)
        assert surprise.interval == pytest.approx((losses.mean() - reach, losses.mean() + reach))
    assert surprise.unit == "nats"
    assert calibration.value == pytest.approx(by_hand_calibration(shares, labels)[0], abs=1e-6)
    most = np.bincount(labels).argmax()
    assert number(found, "accuracy", subject="largest_class").value == pytest.approx((labels == most).mean())
    assert [x.better for x in (accuracy, surprise, calibration)] == ["higher", "lower", "lower"]
    assert [x.headline for x in found.measurements[:4]] == [True, False, True, True]
    assert not any(x.headline for x in found.measurements[4:])
    precision, recall, _, _ = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(len(NAMES)), zero_division=np.nan
    )
    for key, values, among in (("precision", precision, predicted), ("recall", recall, labels)):
        for index, name in enumerate(NAMES):
            count = int((among == index).sum())
            if not count:
                assert not [x for x in of_classes(found) if x.key.endswith(key) and x.tags["class"] == name]
                continue
            one = number(found, key, name=name)
            assert one.value == pytest.approx(values[index])
            assert one.protocol.settings.get("of", n) == count
            assert one.interval == pytest.approx(wilson(round(values[index] * count), count))


def test_every_number_says_what_it_depends_on() -> None:
    shares, labels = made_up(60)
    for one in measured(shares, labels).measurements:
        assert (one.protocol.split, one.protocol.n, one.protocol.data) == ("test", 60, "made-up 000000000000")
        assert math.isfinite(one.value)
        if one.interval is not None:
            assert one.interval[0] <= one.value <= one.interval[1]


@pytest.mark.parametrize("n", [5, 400])
def test_a_perfect_network_is_perfect(n: int) -> None:
    labels = np.arange(n) % len(NAMES)
    found = measured(np.eye(len(NAMES), dtype=np.float32)[labels], labels)
    assert number(found, "accuracy").value == 1
    assert number(found, "cross_entropy").value == 0
    assert number(found, "calibration_error").value == 0
    assert all(m.value == 1 for m in of_classes(found))
    np.testing.assert_array_equal(found.arrays["confusion"], np.diag(np.bincount(labels)))
    np.testing.assert_array_equal(found.arrays["reliability"], [[1, 1, 1]])
    assert found.details == {"wrong": 0, "n": n}
    assert found.arrays["mistakes"].shape == (0, 2, 1, 1)
    assert found.alarms == []


def test_a_network_that_is_surely_wrong_is_finitely_so() -> None:
    labels = np.zeros(7, np.int64)
    found = measured(np.tile(np.eye(len(NAMES), dtype=np.float32)[1], (7, 1)), labels)
    assert number(found, "accuracy").value == 0
    assert number(found, "cross_entropy").value == pytest.approx(-math.log(np.finfo(np.float32).tiny))
    assert number(found, "calibration_error").value == 1
    assert number(found, "precision", name="bee").value == 0
    assert number(found, "recall", name="ant").value == 0
    assert len(of_classes(found)) == 2


def test_a_class_that_is_never_predicted_raises_the_alarm_and_gives_no_nan() -> None:
    labels = np.arange(40) % len(NAMES)
    shares = np.full((40, len(NAMES)), 0.1, np.float32)
    shares[np.arange(40), labels % 2] = 0.7
    found = measured(shares, labels)
    (alarm,) = found.alarms
    assert words.alarm(alarm) == "No picture was taken for: cat, dog. The network leaves out classes."
    precise = [m.tags["class"] for m in of_classes(found) if m.key == "classification.precision"]
    assert precise == ["ant", "bee"]
    assert number(found, "recall", name="cat").value == 0
    assert all(math.isfinite(m.value) for m in found.measurements)
    assert all(np.isfinite(array).all() for array in found.arrays.values())


def test_without_labels_there_is_nothing_to_say() -> None:
    assert measured(made_up(9)[0], None) == Findings()


# -- calibration -------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 80), sharpness=st.floats(0, 30), seed=st.integers(0, 2**20))
def test_calibration_is_the_gap_of_the_rows_that_are_drawn(n: int, sharpness: float, seed: int) -> None:
    shares, labels = made_up(n, sharpness, seed)
    expected, rows = by_hand_calibration(shares, labels)
    found = reliability(shares, labels)
    np.testing.assert_allclose(found, rows, atol=1e-6)
    assert calibration_error(shares, labels) == pytest.approx(expected, abs=1e-5)
    assert (np.diff(found[:, 0]) > 0).all()
    assert found[:, 2].sum() == pytest.approx(1)


def test_the_surest_pictures_share_a_bin() -> None:
    shares = np.array([[1, 0], [1, 0], [0.95, 0.05], [0.95, 0.05]], np.float32)
    labels = np.array([1, 1, 0, 0])
    np.testing.assert_allclose(reliability(shares, labels), [[0.975, 0.5, 1]])
    assert calibration_error(shares, labels) == pytest.approx(0.475)


# -- arrays ------------------------------------------------------------------------------------------------------


def test_the_confusion_counts_rows_that_are_true_and_columns_that_were_said() -> None:
    shares, labels = made_up(200)
    predicted = shares.argmax(axis=1)
    counts = np.zeros((len(NAMES), len(NAMES)), int)
    for true, said in zip(labels, predicted, strict=True):
        counts[true, said] += 1
    found = measured(shares, labels).arrays["confusion"]
    np.testing.assert_array_equal(found, counts)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found.sum(axis=1), np.bincount(labels))
    seven = confusion(labels, predicted, 7)
    assert seven.shape == (7, 7)
    assert seven.sum() == 200


@pytest.mark.parametrize(("n", "shown"), [(300, 24), (12, None)])
def test_mistakes_are_the_surest_ones_first(n: int, shown: int | None) -> None:
    shares, labels = made_up(n)
    shares[5] = shares[2]  # as sure as an earlier one
    findings = measured(shares, labels)
    wrong = [i for i in range(n) if shares[i].argmax() != labels[i]]
    expected = sorted(wrong, key=lambda i: (-shares[i].max(), i))[:24]
    assert findings.details == {"wrong": len(wrong), "n": n}
    assert len(expected) == (shown or len(wrong)) < n
    np.testing.assert_array_equal(findings.arrays["mistakes"], numbered(labels, n).pixels[expected])
    np.testing.assert_array_equal(findings.arrays["mistake_labels"], labels[expected])
    np.testing.assert_array_equal(findings.arrays["mistake_shares"], shares[expected])


# -- of a run ----------------------------------------------------------------------------------------------------


def test_what_is_written_of_a_run_is_of_its_own_test_pictures(trained: Trained) -> None:
    context = context_of(trained("ffnn"))
    test, model = context.dataset.test.first(200), context.model
    predicted = model.classify(test.pixels).argmax(axis=1)
    (accuracy,) = read(model.run).find("classification.accuracy", NETWORK)
    assert accuracy.value == pytest.approx(metrics.accuracy_score(test.labels, predicted))
    assert accuracy.protocol.n == 200
    kept = read_arrays(model.run)
    np.testing.assert_array_equal(kept["classification.confusion"], metrics.confusion_matrix(test.labels, predicted))
    weights, gradients = model.neurons(), model.neuron_gradients(test.pixels, there(test.labels))
    assert len(test) <= GRADIENT_IMAGES
    assert {key for key in kept if key.startswith(("classification.weights.", "classification.gradients."))} == {
        f"classification.{of}.{name}" for of in ("weights", "gradients") for name in weights
    }
    for name in weights:
        np.testing.assert_array_equal(kept[f"classification.weights.{name}"], weights[name])
        np.testing.assert_allclose(kept[f"classification.gradients.{name}"], gradients[name], rtol=1e-5, atol=1e-8)


def test_gradients_are_of_the_first_pictures_alone(trained: Trained) -> None:
    context = context_of(trained("ffnn"))
    many = Images(np.tile(context.dataset.test.pixels, (2, 1, 1, 1)), np.tile(there(context.dataset.test.labels), 2))
    whole = EvaluationContext(context.model, replace(context.dataset, test=many), EvaluationOptions())
    arrays = measure(whole, ClassificationOptions()).arrays
    expected = context.model.neuron_gradients(many.pixels[:GRADIENT_IMAGES], there(many.labels)[:GRADIENT_IMAGES])
    for name, array in expected.items():
        np.testing.assert_allclose(arrays[f"gradients.{name}"], array, rtol=1e-5, atol=1e-8)


def test_values_on_a_test_split_drawn_anew_are_not_compared_with_the_publishers(tmp_path: Any) -> None:
    runs = [
        sanggar.evaluate(sanggar.train("digits-ffnn", [*TINY_FFNN, f"data.test={test}"], out=tmp_path / test))
        for test in ("null", "360")
    ]
    one, other = ([m.protocol for m in headlines(read(run))] for run in runs)
    assert [protocol.n for protocol in one] == [protocol.n for protocol in other]
    assert all(protocol not in other for protocol in one)


def beside_scikit_learn(overrides: Sequence[str], folder: Path) -> list[Measurement]:
    run = sanggar.train("digits-ffnn", ["training.epochs=3", "training.schedule.kind=constant", *overrides],
                        out=folder, watch=lambda record: None)  # fmt: skip
    context = context_of(run)
    found = measure(context, ClassificationOptions(scikit_learn=True)).measurements
    return [m for m in found if m.subject == SCIKIT_LEARN]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_scikit_learn_is_trained_as_the_network_was(optimizer: str, tmp_path: Path) -> None:
    overrides = [f"training.optimizer={{kind: {optimizer}, learning_rate: 0.01}}", "model.activation=tanh"]
    (theirs,) = beside_scikit_learn(overrides, tmp_path / "run")
    context = context_of(sanggar.Run(tmp_path / "run"))
    train, test = context.dataset.train, context.test
    settings: dict[str, Any] = {"solver": "adam"} if optimizer == "adam" else {
        "solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier = MLPClassifier(
            (64,), activation="tanh", alpha=0.0, batch_size=32, learning_rate_init=0.01, max_iter=3, tol=0.0,
            n_iter_no_change=100, random_state=0, **settings,
        ).fit((to_vectors(train.pixels) + 1) / 2, there(train.labels))  # fmt: skip
    assert theirs.value == classifier.score((to_vectors(test.pixels) + 1) / 2, there(test.labels))
    assert theirs.key == "classification.accuracy" and theirs.protocol.n == len(test)


@pytest.mark.parametrize(
    "override", ["model.dropout=0.1", "model.normalization=rms", "model.activation=gelu", "model.l1=0.01"]
)
def test_what_it_has_no_argument_for_is_left_out(override: str, tmp_path: Path) -> None:
    assert beside_scikit_learn([override], tmp_path / "run") == []
