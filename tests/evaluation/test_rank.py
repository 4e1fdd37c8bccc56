"""The effective rank of tables whose rank is known."""

from __future__ import annotations

import numpy as np
import pytest

from sanggar.evaluation.measures.rank import effective_rank

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize("k", [1, 2, 8, 20])
def test_equal_spread_in_k_directions_counts_k(k: int) -> None:
    directions, _ = np.linalg.qr(DRAW.normal(size=(30, k)))
    cloud = DRAW.normal(size=(20_000, k)) @ directions.T + 7
    assert effective_rank(cloud.astype(np.float64)) == pytest.approx(k, rel=0.01)


def test_one_direction_counts_one_and_none_counts_none() -> None:
    line = np.outer(DRAW.normal(size=500), DRAW.normal(size=9))
    assert effective_rank(line) == pytest.approx(1, abs=1e-6)
    assert effective_rank(np.ones((50, 9))) == 0


def test_it_follows_the_definition_and_ignores_scale_and_shift() -> None:
    cloud = DRAW.normal(size=(100, 3)) * [1, 5, 0.1]
    values = np.linalg.svd(cloud - cloud.mean(axis=0), compute_uv=False)
    shares = values / values.sum()
    expected = np.exp(-(shares * np.log(shares)).sum())
    for table in (cloud, 40 * cloud, cloud - 3):
        assert effective_rank(table) == pytest.approx(expected)
