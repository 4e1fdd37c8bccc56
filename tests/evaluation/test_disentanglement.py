"""Disentanglement is 1 where latents are the factors, 0 where they are noise; probes score as scikit-learn does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, r2_score

from sanggar.data.images import Images
from sanggar.evaluation.measures.disentanglement import dci, equal_count_bins, importances, mutual_information_gap
from sanggar.evaluation.measures.probes import (
    EDGE,
    balanced_accuracy,
    block_edge,
    fit,
    logistic,
    normal,
    pixel_table,
    r_squared,
    ridge,
)

RANDOM = np.random.default_rng(0)
N = 1500
FACTORS = [RANDOM.integers(0, 2, N), RANDOM.integers(0, 4, N), RANDOM.normal(0, 3, N)]
NUMBERS = [False, False, True]
THEMSELVES = np.stack([*FACTORS, RANDOM.normal(size=N)], axis=1).astype(np.float32)
NOISE = RANDOM.normal(size=(N, 4)).astype(np.float32)
TURNED = (THEMSELVES / THEMSELVES.std(axis=0)) @ np.linalg.qr(RANDOM.normal(size=(4, 4)))[0].astype(np.float32)


def gaps(latents: np.ndarray) -> list[float]:
    coded = [equal_count_bins(f.astype(float)) if n else f for f, n in zip(FACTORS, NUMBERS, strict=True)]
    return [mutual_information_gap(latents, factor) for factor in coded]


def scores(latents: np.ndarray) -> tuple[float, float]:
    return dci(importances(latents, list(zip(FACTORS, NUMBERS, strict=True)), 0))


def test_the_gap_is_1_of_the_factors_themselves_0_of_noise_and_between_of_a_mixture() -> None:
    assert min(gaps(THEMSELVES)) > 0.9
    assert max(gaps(NOISE)) < 0.03
    assert 0.02 < np.mean(gaps(TURNED)) < 0.6


def test_so_are_disentanglement_and_completeness() -> None:
    assert min(scores(THEMSELVES)) > 0.95
    assert max(scores(NOISE)) < 0.1
    assert all(0.05 < found < 0.8 for found in scores(TURNED))


def test_a_dimension_that_stands_for_two_factors_is_complete_and_not_disentangled() -> None:
    apart, whole = dci(np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))
    assert (apart, whole) == pytest.approx((0, 1))
    apart, whole = dci(np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0]]))
    assert apart == pytest.approx(1)
    assert whole == pytest.approx(1 - 0.5 * np.log(2) / np.log(3))


def test_a_factor_that_no_dimension_tells_is_not_complete() -> None:
    assert dci(np.array([[1.0, 0.0], [0.0, 0.0]]))[1] == pytest.approx(0.5)


def test_what_does_not_vary_has_no_gap_and_a_single_dimension_has_none() -> None:
    assert mutual_information_gap(NOISE, np.zeros(N, np.int64)) == 0
    assert mutual_information_gap(NOISE[:, :1], FACTORS[0]) == 0


@given(st.permutations(range(4)), st.lists(st.sampled_from([-3.0, 0.5, 2.0]), min_size=4, max_size=4))
def test_neither_order_nor_scale_of_dimensions_matters_to_the_gap(order: list[int], scale: list[float]) -> None:
    few = slice(300)
    changed = TURNED[few][:, order] * np.array(scale, np.float32) + 1
    factor = FACTORS[1][few]
    # a negative scale turns bins around, and ties between them with it
    assert mutual_information_gap(changed, factor) == pytest.approx(
        mutual_information_gap(TURNED[few], factor), abs=0.02
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60))
def test_balanced_accuracy_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(column, np.float32) for column in zip(*pairs, strict=True))
    found, (low, high) = balanced_accuracy(predicted == truth, truth)
    known = np.isin(predicted, truth)
    if known.all():
        assert found == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert 0 <= low <= found <= high <= 1
    assert low < high, "not a point, though all were told right"


def test_r_squared_is_scikit_learns_and_its_interval_covers_as_often_as_it_says() -> None:
    truth = RANDOM.normal(size=400).astype(np.float32)
    predicted = (0.6 * truth + RANDOM.normal(0, 0.5, 400)).astype(np.float32)
    found, interval = r_squared(predicted, truth, 0)
    assert interval is not None
    low, high = interval
    assert found == pytest.approx(r2_score(truth, predicted), abs=1e-6)
    assert low < found < high
    covered = 0
    for seed in range(100):
        drawn = np.random.default_rng(seed)
        y = drawn.normal(size=150).astype(np.float32)
        x = (0.6 * y + drawn.normal(0, 0.5, 150)).astype(np.float32)
        interval = r_squared(x, y, seed)[1]
        covered += interval is not None and interval[0] <= 1 - (0.16 + 0.25) <= interval[1]
    assert 88 <= covered <= 100


def test_the_normal_of_a_probe_is_the_direction_that_was_put_in() -> None:
    table = RANDOM.normal(size=(2000, 5)).astype(np.float32) * np.array([1, 2, 3, 4, 5], np.float32)
    along = np.array([1, -1, 0.5, 0, 0.25], np.float32)
    along /= np.linalg.norm(along)
    for model, truth in ((logistic(balanced=True), table @ along > 0), (ridge(2000), table @ along)):
        assert abs(float(normal(fit(model, table, truth)) @ along)) > 0.99


@pytest.mark.parametrize(("edge", "side"), [(8, 1), (63, 1), (64, 2), (100, 3), (128, 4)])
def test_large_pictures_become_means_of_blocks(edge: int, side: int) -> None:
    pixels = RANDOM.integers(0, 256, (3, edge, edge, 3), np.uint8)
    table = pixel_table(Images(pixels))
    assert table.shape == (3, (edge // side) ** 2 * 3)
    assert edge // side <= 2 * EDGE
    assert table[0, :3] == pytest.approx(pixels[0, :side, :side].mean(axis=(0, 1)), rel=1e-5)
    assert block_edge(edge, edge) == side
