"""Weights begin with the mean, the variance and the form that their initializer promises."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from sanggar.scratch.initializers import INITIALIZERS, initializer, normal, uniform

INPUTS, OUTPUTS = 300, 200
UNIFORM, NORMAL = 1.8, 3.0
"""The mean fourth power, in standard deviations, of numbers drawn so."""

PROMISES = {
    "zero": (0.0, None),
    "uniform": (0.1**2 / 12, UNIFORM),
    "normal": (0.0025, NORMAL),
    "xavier_uniform": (2 / (INPUTS + OUTPUTS), UNIFORM),
    "xavier_normal": (2 / (INPUTS + OUTPUTS), NORMAL),
    "he_uniform": (2 / INPUTS, UNIFORM),
    "he_normal": (2 / INPUTS, NORMAL),
}
"""Variance and form."""


@pytest.mark.parametrize("name", INITIALIZERS)
def test_weights_are_drawn_as_promised(name: str) -> None:
    variance, form = PROMISES[name]
    weights = INITIALIZERS[name]((INPUTS, OUTPUTS), np.random.default_rng(0))
    assert weights.shape == (INPUTS, OUTPUTS)
    assert weights.mean() == pytest.approx(0, abs=5 * np.sqrt(variance / weights.size))
    assert weights.var() == pytest.approx(variance, rel=0.03)
    if form is not None:
        assert (weights**4).mean() / variance**2 == pytest.approx(form, rel=0.05)
    if form == UNIFORM:
        assert np.abs(weights).max() == pytest.approx(np.sqrt(3 * variance), rel=1e-3)


@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"zero"}))
def test_weights_are_a_generators(name: str) -> None:
    one, same, other = (INITIALIZERS[name]((3, 2), np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_bounds_mean_and_variance_can_be_chosen() -> None:
    rng = np.random.default_rng(0)
    weights = uniform((INPUTS, OUTPUTS), rng, low=1.0, high=3.0)
    assert (weights.min(), weights.max()) == (pytest.approx(1, abs=1e-3), pytest.approx(3, abs=1e-3))
    weights = normal((INPUTS, OUTPUTS), rng, mean=2.0, variance=9.0)
    assert (weights.mean(), weights.var()) == (pytest.approx(2, abs=0.05), pytest.approx(9, rel=0.03))


def test_an_initializer_is_found_by_name_or_is_a_function() -> None:
    assert initializer("he_normal") is INITIALIZERS["he_normal"]
    mine = partial(uniform, low=0.0)
    assert initializer(mine) is mine
