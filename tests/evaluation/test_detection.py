"""Area under the ROC curve and average precision, each against a second system."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import t
from sklearn.metrics import average_precision_score, roc_auc_score

from sanggar.evaluation.measures.detection import _precisions, auroc, average_precision

FEW = arrays(np.float64, st.integers(2, 30), elements=st.integers(0, 6).map(float))  # many are equal


@given(FEW, FEW)
def test_the_area_is_scikit_learns_and_its_interval_delongs(normal: np.ndarray, odd: np.ndarray) -> None:
    value, interval = auroc(normal, odd)
    truth = np.repeat([0, 1], [len(normal), len(odd)])
    assert value == pytest.approx(roc_auc_score(truth, np.concatenate([normal, odd])))
    higher = (odd[:, None] > normal) + 0.5 * (odd[:, None] == normal)  # by definition, pair by pair
    parts = higher.mean(axis=1), higher.mean(axis=0)
    variance = sum(part.var(ddof=1) / len(part) for part in parts)
    if variance < 1e-20:
        assert interval is None
    else:
        freedom = variance**2 / sum((part.var(ddof=1) / len(part)) ** 2 / (len(part) - 1) for part in parts)
        margin = t.ppf(0.975, freedom) * variance**0.5
        assert interval == pytest.approx((max(0, value - margin), min(1, value + margin)))


def test_an_area_of_one_picture_has_no_interval() -> None:
    value, interval = auroc(np.arange(9.0), np.array([4.5]))
    assert value == pytest.approx(5 / 9)
    assert interval is None


def test_the_precision_is_scikit_learns_and_lies_in_its_interval() -> None:
    draw = np.random.default_rng(0)
    normal, odd = draw.normal(size=200), draw.normal(1, size=80)
    value, interval = average_precision(normal, odd, seed=3)
    assert interval is not None
    low, high = interval
    truth = np.repeat([0, 1], [200, 80])
    assert value == pytest.approx(average_precision_score(truth, np.concatenate([normal, odd])))
    assert low < value < high
    assert 0.05 < high - low < 0.3
    assert average_precision(normal, odd, seed=3) == (value, (low, high))
    assert average_precision(np.zeros(3), np.ones(2)) == (1, None), "every draw is as good"


@given(FEW, FEW, st.integers(0, 99))
def test_the_precision_of_pictures_drawn_again_is_scikit_learns(normal: np.ndarray, odd: np.ndarray, seed: int) -> None:
    truth, scores = np.repeat([0, 1], [len(normal), len(odd)]), np.concatenate([normal, odd])
    times = np.random.default_rng(seed).integers(0, 3, len(truth))
    times[-1] = 1  # scikit-learn wants an odd picture
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    expected = average_precision_score(truth, scores, sample_weight=times)
    assert _precisions(truth[order], times[None, order], last) == pytest.approx([expected])
