"""How well classes are told apart: accuracy, precision and recall, calibration, and what is confused with what."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from sanggar.data.images import to_vectors
from sanggar.evaluation.context import EvaluationContext, Findings, Metric
from sanggar.evaluation.measures.classification import (
    BINS,
    calibration_error,
    confusion,
    cross_entropies,
    reliability,
)
from sanggar.evaluation.statistics import mean_of, share_of
from sanggar.instruments.cache import cached
from sanggar.models.feed_forward import FeedForwardOptions
from sanggar.options import Options
from sanggar.plan import Plan
from sanggar.results import NETWORK, Alarm, Json, Measurement, Protocol, Tag
from sanggar.runs import Arrays

SCIKIT_LEARN = "scikit_learn"
"""Subject: scikit-learn's MLPClassifier, trained as the network was"""
ACTIVATIONS = {"linear": "identity", "relu": "relu", "tanh": "tanh", "sigmoid": "logistic"}
"""What scikit-learn calls them"""
LARGEST_CLASS = "largest_class"
"""Subject: predicting the most frequent class for every picture"""
GRADIENT_IMAGES = 512
"""Test pictures that the shown gradients are of"""
MISTAKES = 24
"""Mistakes that are shown"""

Labels = Int64[np.ndarray, "n"]
Probabilities = Float[np.ndarray, "n classes"]


class ClassificationOptions(Options):
    """How classification is measured."""

    scikit_learn: bool = False
    """train scikit-learn's MLPClassifier as the network was, and measure its accuracy beside; for family ffnn with SGD
    or Adam at a constant rate, without norms, dropout and penalties"""


def measure(context: EvaluationContext, options: ClassificationOptions) -> Findings:
    """Measure accuracy, cross-entropy and calibration error on test, and precision and recall of each class."""
    model, test = context.model, context.test
    if test.labels is None:
        return Findings()
    labels, classes, protocol = test.labels, model.spec.classes, context.protocol(len(test))
    probabilities = model.classify(test.pixels)
    predicted = probabilities.argmax(axis=1)
    largest = int(np.bincount(labels).argmax())
    measurements = [
        _share("accuracy", predicted == labels, protocol, headline=True),
        _share("accuracy", labels == largest, protocol, subject=LARGEST_CLASS),
        mean_of(
            "classification.cross_entropy", cross_entropies(probabilities, labels), protocol, unit="nats",
            better="lower", headline=True,
        ),
        Measurement(
            key="classification.calibration_error", value=calibration_error(probabilities, labels), better="lower",
            protocol=protocol.having(bins=BINS, norm="L1"), headline=True,
        ),
        *_by_class(labels, predicted, classes, protocol),
        *(_scikit_learn(context, test.pixels, labels, protocol) if options.scikit_learn else ()),
    ]  # fmt: skip
    arrays, details = _mistakes(test.pixels, labels, probabilities)
    arrays["confusion"] = confusion(labels, predicted, len(classes))
    arrays["reliability"] = reliability(probabilities, labels)
    never = [name for index, name in enumerate(classes) if not (predicted == index).any()]
    alarms = [Alarm(key="classification.left_out", values={"names": list[Json](never)})] if never else []
    return Findings(measurements, arrays | _neurons(context, test.pixels, labels), alarms, details)


def _scikit_learn(
    context: EvaluationContext, pixels: UInt8[np.ndarray, "n height width channels"], labels: Labels, protocol: Protocol
) -> list[Measurement]:
    """Accuracy of scikit-learn's MLPClassifier with the settings of the network's training, on the same pictures."""
    settings = _as_scikit_learn(context.model.plan)
    train = context.dataset.train
    if settings is None or train.labels is None:
        return []
    known = train.labels

    def compute() -> Arrays:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is to have as many epochs, and no more
            classifier = MLPClassifier(**settings).fit((to_vectors(train.pixels) + 1) / 2, known)
        return {"predicted": np.asarray(classifier.predict((to_vectors(pixels) + 1) / 2), np.int64)}

    key = SCIKIT_LEARN, version("scikit-learn"), *context.data_key, len(train), len(labels), sorted(settings.items())
    hits = cached(key, compute)["predicted"] == labels
    return [_share("accuracy", hits, protocol, subject=SCIKIT_LEARN)]


def _as_scikit_learn(plan: Plan) -> dict[str, Any] | None:
    """A training as MLPClassifier's arguments; None of one that it has no arguments for."""
    model, training = plan.model, plan.training
    if not isinstance(model, FeedForwardOptions) or training.epochs is None or training.schedule.kind != "constant":
        return None
    others = (model.normalization, model.dropout, model.l1, model.l2, training.augmentation, training.ema,
              training.clip_gradient, training.early_stopping, training.schedule.warmup_steps)  # fmt: skip
    activation = ACTIVATIONS.get(model.activation) if isinstance(model.activation, str) else None
    if any(others) or activation is None or model.loss != "categorical_cross_entropy":
        return None
    optimizer = training.optimizer
    if optimizer.kind == "sgd":
        solver = {"solver": "sgd", "momentum": optimizer.momentum, "nesterovs_momentum": optimizer.nesterov}
    elif optimizer.kind == "adam":
        solver = {"solver": "adam", "beta_1": optimizer.betas[0], "beta_2": optimizer.betas[1]}
    else:
        return None
    return {
        **solver, "hidden_layer_sizes": model.hidden, "activation": activation, "alpha": 0.0,
        "learning_rate_init": optimizer.learning_rate, "batch_size": training.batch_size, "max_iter": training.epochs,
        "tol": 0.0, "n_iter_no_change": training.epochs + 1, "random_state": training.seed,
    }  # fmt: skip


def _by_class(labels: Labels, predicted: Labels, classes: tuple[str, ...], protocol: Protocol) -> list[Measurement]:
    """Precision and recall of each class that has pictures."""
    right, measurements = predicted == labels, []
    for index, name in enumerate(classes):
        for quantity, among in (("precision", predicted == index), ("recall", labels == index)):
            if among.any():
                measurements.append(_share(quantity, right[among], protocol, tags={"class": name}))
    return measurements


def _share(
    quantity: str, hits: Bool[np.ndarray, "hits"], protocol: Protocol, *, subject: str = NETWORK,
    tags: dict[str, Tag] | None = None, headline: bool = False,
) -> Measurement:  # fmt: skip
    """Share of hits as a measurement; where these are not all pictures, the protocol says of how many."""
    protocol = protocol if len(hits) == protocol.n else protocol.having(of=len(hits))
    return share_of(f"classification.{quantity}", hits, protocol, subject=subject, tags=tags, headline=headline)


def _mistakes(
    pixels: UInt8[np.ndarray, "n height width channels"], labels: Labels, probabilities: Probabilities
) -> tuple[Arrays, dict[str, Json]]:
    """The wrongly classified pictures that the network was surest of, and how many there are in all."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    chosen = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:MISTAKES]
    arrays = {
        "mistakes": pixels[chosen],
        "mistake_labels": labels[chosen],
        "mistake_shares": probabilities[chosen],
    }
    return arrays, {"wrong": len(wrong), "n": len(labels)}


def _neurons(
    context: EvaluationContext, pixels: UInt8[np.ndarray, "n height width channels"], labels: Labels
) -> Arrays:
    """Weights of each layer, and their gradients on the first test pictures, where the network shows its neurons."""
    if not context.model.can("neurons"):
        return {}
    shown = slice(GRADIENT_IMAGES)
    gradients = context.model.neuron_gradients(pixels[shown], labels[shown])
    arrays = {f"weights.{name}": array for name, array in context.model.neurons().items()}
    return arrays | {f"gradients.{name}": array for name, array in gradients.items()}


METRIC = Metric(measure, ("classify",), ClassificationOptions)
