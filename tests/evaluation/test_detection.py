"""Area under the ROC curve and average precision, each against a second system."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from sanggar.evaluation.measures.detection import _precisions, auroc, average_precision

FEW = arrays(np.float64, st.integers(2, 30), elements=st.integers(0, 6).map(float))  # many are equal


@given(FEW, FEW)
def test_the_area_is_scikit_learns_and_its_interval_delongs(normal: np.ndarray, odd: np.ndarray) -> None:
    value, (low, high) = auroc(normal, odd)
    truth = np.repeat([0, 1], [len(normal), len(odd)])
    assert value == pytest.approx(roc_auc_score(truth, np.concatenate([normal, odd])))
    higher = (odd[:, None] > normal) + 0.5 * (odd[:, None] == normal)  # by definition, pair by pair
    variance = higher.mean(axis=1).var(ddof=1) / len(odd) + higher.mean(axis=0).var(ddof=1) / len(normal)
    assert low == pytest.approx(max(0, value - 1.96 * variance**0.5))
    assert high == pytest.approx(min(1, value + 1.96 * variance**0.5))


def test_the_precision_is_scikit_learns_and_lies_in_its_interval() -> None:
    draw = np.random.default_rng(0)
    normal, odd = draw.normal(size=200), draw.normal(1, size=80)
    value, (low, high) = average_precision(normal, odd, seed=3)
    truth = np.repeat([0, 1], [200, 80])
    assert value == pytest.approx(average_precision_score(truth, np.concatenate([normal, odd])))
    assert low < value < high
    assert 0.05 < high - low < 0.3
    assert average_precision(normal, odd, seed=3) == (value, (low, high))
    assert average_precision(np.zeros(3), np.ones(2)) == (1, (1, 1))


@given(FEW, FEW, st.integers(0, 99))
def test_the_precision_of_pictures_drawn_again_is_scikit_learns(normal: np.ndarray, odd: np.ndarray, seed: int) -> None:
    truth, scores = np.repeat([0, 1], [len(normal), len(odd)]), np.concatenate([normal, odd])
    times = np.random.default_rng(seed).integers(0, 3, len(truth))
    times[-1] = 1  # scikit-learn wants an odd picture
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    expected = average_precision_score(truth, scores, sample_weight=times)
    assert _precisions(truth[order], times[None, order], last) == pytest.approx([expected])
