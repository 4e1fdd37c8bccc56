"""Measures of predicted class probabilities: cross-entropy, calibration, confusion."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

Probabilities = Float[np.ndarray, "n classes"]
Labels = Int64[np.ndarray, "n"]

BINS = 15
"""Bins of confidence, equally wide, of the calibration error"""


def cross_entropies(probabilities: Probabilities, labels: Labels) -> Float[np.ndarray, "n"]:
    """Cross-entropy of each picture in nats: −log of its class's probability, a normal float32 at the smallest."""
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.maximum(given, np.finfo(np.float32).tiny)))


def calibration_error(probabilities: Probabilities, labels: Labels) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over bins, weighted by their pictures.

    Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599.
    """
    confidence, accuracy, share = reliability(probabilities, labels).T
    return float(np.sum(share * np.abs(confidence - accuracy)))


def reliability(probabilities: Probabilities, labels: Labels) -> Float[np.ndarray, "bins 3"]:
    """Mean confidence, accuracy and share of the pictures in each bin of confidence that holds any."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = [
        (confidence[bins == b].mean(), right[bins == b].mean(), (bins == b).mean())
        for b in range(BINS)
        if (bins == b).any()
    ]
    return np.array(rows, np.float64)


def confusion(labels: Labels, predicted: Labels, classes: int) -> Int64[np.ndarray, "classes classes"]:
    """Number of pictures of each class (row) that were predicted to be of each class (column)."""
    from sklearn.metrics import confusion_matrix

    return np.asarray(confusion_matrix(labels, predicted, labels=range(classes)), np.int64)
