"""How well classes are told apart: accuracy, precision and recall, calibration, and what is confused with what."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from sanggar.evaluation.protocol import Findings, Number, Subject, averaged, share_interval

BINS = 15
"""Of confidence, equally wide, for the calibration error."""
GRADIENT_IMAGES = 512
"""Test pictures that the shown gradients are of."""


def measure_classification(subject: Subject) -> Findings:
    """Accuracy, cross-entropy and calibration error on test, precision and recall of each class, confusion."""
    painter, test = subject.painter, subject.test
    if test.labels is None:
        return Findings()
    labels, classes = test.labels, painter.facts.classes
    shares = painter.classify(test.pixels)
    predicted = shares.argmax(axis=1)
    right = predicted == labels
    given = {"split": "test", "n": len(test), "data": painter.data_name}
    most = int(np.bincount(labels).argmax())
    numbers = [
        _share("accuracy", "accuracy", right, given, headline=True),
        _share("accuracy", "accuracy: always the largest class", labels == most, given, subject="largest class"),
        averaged(
            "classification.cross_entropy", "cross-entropy", _surprises(shares, labels), given, unit="nats",
            better="lower", headline=True,
        ),
        Number(
            "classification.calibration_error", "expected calibration error", calibration_error(shares, labels), "",
            "lower", {**given, "bins": f"{BINS}, equally wide", "norm": "L1"}, headline=True,
        ),
    ]  # fmt: skip
    for index, name in enumerate(classes):
        for key, among in (("precision", predicted == index), ("recall", labels == index)):
            if among.any():
                protocol = {**given, "class": name}
                numbers.append(_share(key, f"{key}: {name}", right[among], protocol))
    never = [name for index, name in enumerate(classes) if not (predicted == index).any()]
    alarms = [f"No picture was taken for: {', '.join(never)}. The network leaves out classes."] if never else []
    arrays = _mistakes(test.pixels, labels, shares) | {
        "classes.confusion": confusion(labels, predicted, len(classes)),
        "classes.reliability": reliability(shares, labels),
    }
    if painter.can("neurons"):
        shown = slice(GRADIENT_IMAGES)
        gradients = painter.neuron_gradients(test.pixels[shown], labels[shown])
        arrays |= {f"neurons.weights.{name}": array for name, array in painter.neurons().items()}
        arrays |= {f"neurons.gradients.{name}": array for name, array in gradients.items()}
    return Findings(numbers, arrays, alarms)


def _share(
    key: str, label: str, hits: np.ndarray, protocol: dict[str, Any], *, subject: str = "network",
    headline: bool = False,
) -> Number:  # fmt: skip
    """A share of hits with Wilson's interval; what it is a share of is said where that is not n."""
    of = {} if len(hits) == protocol["n"] else {"of": len(hits)}
    value, interval = float(hits.mean()), share_interval(hits)
    return Number(f"classification.{key}", label, value, "", "higher", protocol | of, subject, interval, headline)


def _surprises(shares: Float[np.ndarray, "n classes"], labels: Int64[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """−log of the probability that each picture's class was given; at most that of the smallest float32."""
    given = shares[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.maximum(given, np.finfo(np.float32).tiny)))


def calibration_error(shares: Float[np.ndarray, "n classes"], labels: Int64[np.ndarray, "n"]) -> float:
    """Mean gap between confidence and accuracy over bins of confidence, weighted by their pictures.

    Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599.
    """
    confidence, accuracy, share = reliability(shares, labels).T
    return float(np.sum(share * np.abs(confidence - accuracy)))


def reliability(shares: Float[np.ndarray, "n classes"], labels: Int64[np.ndarray, "n"]) -> Float[np.ndarray, "bins 3"]:
    """For each bin of confidence that holds pictures: mean confidence, accuracy, share of the pictures."""
    confidence, right = shares.max(axis=1).astype(np.float64), shares.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = [
        (confidence[bins == b].mean(), right[bins == b].mean(), (bins == b).mean())
        for b in range(BINS)
        if (bins == b).any()
    ]
    return np.array(rows, np.float64)


def confusion(
    labels: Int64[np.ndarray, "n"], predicted: Int64[np.ndarray, "n"], classes: int
) -> Int64[np.ndarray, "classes classes"]:
    """How many pictures of a class (row) were taken for each (column)."""
    from sklearn.metrics import confusion_matrix

    return np.asarray(confusion_matrix(labels, predicted, labels=range(classes)), np.int64)


def _mistakes(
    pixels: np.ndarray, labels: Int64[np.ndarray, "n"], shares: Float[np.ndarray, "n classes"], count: int = 24
) -> dict[str, np.ndarray]:
    """The wrongly classified pictures that the network was surest of."""
    predicted = shares.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    chosen = wrong[np.argsort(-shares[wrong].max(axis=1), kind="stable")][:count]
    return {
        "mistakes.pixels": pixels[chosen],
        "mistakes.labels": labels[chosen],
        "mistakes.shares": shares[chosen],
        "mistakes.count": np.array([len(wrong), len(labels)]),
    }
