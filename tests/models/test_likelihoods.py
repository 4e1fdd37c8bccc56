"""What a decoder says of pixels, against SciPy and PyTorch's distributions; a deviation is the one asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sanggar.errors import RecipeError
from sanggar.models.losses import BIN
from sanggar.models.vae.likelihoods import (
    SMALLEST,
    BernoulliLikelihood,
    GaussianLikelihood,
    GaussianOptions,
    LogisticLikelihood,
    at_least,
)
from sanggar.plan import resolve
from sanggar.recipe import Recipe
from typed import log_prob

EVERY_VALUE = torch.arange(256).float().reshape(256, 1, 1, 1) / 127.5 - 1
MEANS = st.floats(-1.3, 1.3)


def pictures(seed: int = 0, n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Raw pictures and pixels on the grid of 8 bits."""
    draw = torch.Generator().manual_seed(seed)
    raw = torch.randn((n, 2, 3, 4), generator=draw)
    return raw, torch.randint(0, 256, (n, 2, 3, 4), generator=draw) / 127.5 - 1


def logistic(scale: float) -> LogisticLikelihood:
    found = LogisticLikelihood(1)
    torch.nn.init.constant_(found.log_scale, math.log(scale))
    return found


def own_scale(likelihood: LogisticLikelihood) -> float:
    """The scale that a parameter comes to: never below what a pixel's bin can tell."""
    return float(at_least(likelihood.log_scale.detach(), math.log(SMALLEST / 4)).exp())


@given(MEANS, st.floats(1e-4, 2.0))
def test_the_logistics_256_probabilities_sum_to_1(mean: float, scale: float) -> None:
    with torch.no_grad():
        found = logistic(scale)(torch.full_like(EVERY_VALUE, mean), EVERY_VALUE)
    assert found.isfinite().all()
    assert found.double().exp().sum().item() == pytest.approx(1, abs=1e-4)


@given(MEANS, st.floats(3e-3, 2.0))
def test_the_logistics_probability_is_the_difference_of_two_of_scipys(mean: float, scale: float) -> None:
    likelihood = logistic(scale)
    with torch.no_grad():
        found = likelihood(torch.full_like(EVERY_VALUE, mean), EVERY_VALUE).double().exp().numpy()
    edges = np.concatenate([[-np.inf], (EVERY_VALUE.flatten()[:-1].double().numpy() + BIN / 2), [np.inf]])
    expected = np.diff(stats.logistic.cdf(edges, np.float32(mean), own_scale(likelihood)))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)


def test_the_logistics_gradient_is_finite_far_from_every_pixel() -> None:
    likelihood = logistic(1e-6)
    raw = torch.tensor([-40.0, 0.0, 40.0]).reshape(3, 1, 1, 1).requires_grad_()
    likelihood(raw, torch.tensor([1.0, 0.003, -1.0]).reshape(3, 1, 1, 1)).sum().backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()
    assert likelihood.log_scale.grad is not None
    assert likelihood.log_scale.grad.isfinite().all()


@given(st.integers(0, 99), st.floats(0.01, 3.0))
def test_the_gaussian_is_scipys_density_times_a_bin_of_the_deviation_asked_for(seed: int, deviation: float) -> None:
    raw, images = pictures(seed)
    likelihood = GaussianLikelihood(GaussianOptions(deviation=deviation))
    expected = stats.norm.logpdf(images.double(), raw.double(), deviation) + math.log(BIN)
    np.testing.assert_allclose(likelihood(raw, images), expected.sum(axis=(1, 2, 3)), rtol=1e-4)
    assert likelihood.deviation == pytest.approx(deviation)
    assert not list(likelihood.parameters())


def test_a_learned_deviation_comes_to_the_root_of_the_mean_squared_error() -> None:
    """Where −log p is least: Rybkin et al. 2021, section 4.2."""
    raw, images = pictures()
    likelihood = GaussianLikelihood(GaussianOptions())
    optimizer = torch.optim.Adam(likelihood.parameters(), 0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (-likelihood(raw, images).sum()).backward()
        optimizer.step()
    assert likelihood.deviation == pytest.approx((raw - images).square().mean().sqrt().item(), rel=1e-3)


@given(st.floats(-60, 3))
def test_a_learned_deviation_stays_above_half_a_bin_and_always_has_a_slope(log_deviation: float) -> None:
    likelihood = GaussianLikelihood(GaussianOptions())
    torch.nn.init.constant_(likelihood.log_deviation, log_deviation)
    assert likelihood.deviation >= SMALLEST * (1 - 1e-5)
    likelihood(*pictures()).sum().backward()
    assert likelihood.log_deviation.grad is not None
    assert likelihood.log_deviation.grad.isfinite()
    # and so no 256 values together are likelier than 1, but for the rounding of an integral to a sum
    with torch.no_grad():
        each = likelihood(torch.full_like(EVERY_VALUE, 0.1), EVERY_VALUE)
    assert each.exp().sum() < 1.02


@given(st.integers(0, 99))
def test_bernoulli_is_torchs_cross_entropy_of_the_picture_that_it_shows(seed: int) -> None:
    raw, images = pictures(seed)
    likelihood = BernoulliLikelihood()
    white = ((likelihood.picture(raw) + 1) / 2).double()
    x = ((images + 1) / 2).double()
    expected = (x * white.log() + (1 - x) * (1 - white).log()).sum(dim=(1, 2, 3))
    torch.testing.assert_close(likelihood(raw, images).double(), expected, rtol=1e-4, atol=1e-3)
    black = log_prob(torch.distributions.Bernoulli(logits=raw), torch.zeros_like(raw)).sum(dim=(1, 2, 3))
    torch.testing.assert_close(likelihood(raw, torch.full_like(raw, -1)), black)
    assert not likelihood.discrete


@pytest.mark.parametrize("deviation", ["0", "wide"])
def test_a_deviation_is_a_positive_number_or_learned(deviation: str) -> None:
    given: object = 0 if deviation == "0" else deviation
    model = {"family": "vae", "likelihood": {"kind": "gaussian", "deviation": given}}
    with pytest.raises(RecipeError, match="deviation"):
        resolve(Recipe("t", data={"source": "digits"}, model=model, training={"steps": 1}))
