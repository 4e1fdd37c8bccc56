"""Scores of oddness: each against a second system, and what must hold whatever the pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kstest
from sklearn.covariance import LedoitWolf
from sklearn.metrics import average_precision_score, roc_auc_score

from sanggar.evaluation.corruptions import CORRUPTIONS, defective, faded, occluded, smooth
from sanggar.evaluation.metrics.bounds import divergence
from sanggar.tools.anomaly import (
    SLACK,
    Known,
    _precision,
    auroc,
    average_precision,
    gaussian,
    heat,
    hottest,
    mahalanobis,
    overlaid,
    residual_deviations,
    scores,
    share_below,
    together,
)

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
    truth, found = np.repeat([0, 1], [len(normal), len(odd)]), np.concatenate([normal, odd])
    times = np.random.default_rng(seed).integers(0, 3, len(truth))
    times[-1] = 1  # scikit-learn wants an odd picture
    order = np.argsort(-found, kind="stable")
    last = np.flatnonzero(np.append(np.diff(found[order]) != 0, True))
    expected = average_precision_score(truth, found, sample_weight=times)
    assert _precision(truth[order], times[None, order], last) == pytest.approx([expected])


def test_the_latent_distance_is_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    latents = (draw.normal(size=(60, 5)) @ draw.normal(size=(5, 5))).astype(np.float32)
    fitted = LedoitWolf().fit(latents.astype(np.float64))
    np.testing.assert_allclose(mahalanobis(latents, *gaussian(latents)), fitted.mahalanobis(latents), rtol=1e-6)


def test_the_divergence_is_pytorchs() -> None:
    posterior = torch.randn(7, 2, 5, generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal(posterior[:, 0], (posterior[:, 1] / 2).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    np.testing.assert_allclose(divergence(posterior.numpy().astype(np.float64)).sum(axis=1), expected, rtol=1e-5)


def test_shares_are_uniform_on_normal_pictures() -> None:
    draw = np.random.default_rng(0)
    shares = share_below(draw.gamma(2, size=1000), np.sort(draw.gamma(2, size=2000)))
    assert kstest(shares, "uniform").pvalue > 0.01
    assert share_below(np.array([-1.0, 9e9]), np.sort(draw.gamma(2, size=10))).tolist() == [0, 1]
    assert share_below(np.array([2.0]), np.array([1.0, 2.0, 2.0, 3.0])).tolist() == [0.25]  # lower, not equal


def pictures(seed: int, n: int = 12, edge: int = 9, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, edge, edge, channels)).astype(np.uint8)


def test_a_residual_counts_by_how_far_its_pixel_strays_in_normal_pictures() -> None:
    pixels = np.full((600, 4, 4, 1), 100, np.uint8)
    back = pixels.copy()
    back[::2, 0, 0] = 151  # one pixel often comes back wrongly, by 51 / 127.5
    deviations = residual_deviations(pixels, back)
    assert deviations[0, 0, 0] == pytest.approx(0.4 * 0.5**0.5 + SLACK, rel=1e-4)
    assert deviations[1, 1, 0] == pytest.approx(SLACK)
    known = Known(deviations, None, None, {}, 1.0)
    odd = np.full((2, 4, 4, 1), 100, np.uint8)
    wrong = odd.copy()
    wrong[0, 0, 0], wrong[1, 1, 1] = 151, 151
    found = scores(known, odd, wrong, None)
    assert found["reconstruction"][0] == pytest.approx(found["reconstruction"][1])
    assert found["residual"][1] > 30 * found["residual"][0]
    assert found["residual"][1] == pytest.approx((0.4 / SLACK) ** 2 / 16, rel=1e-4)
    assert "latent" not in found


@given(st.integers(0, 99), st.floats(0.01, 100), st.floats(0.01, 100))
def test_both_together_do_not_ask_for_the_units_of_either(seed: int, residual: float, latent: float) -> None:
    draw = np.random.default_rng(seed)
    normal = {name: draw.gamma(3, size=50) for name in ("residual", "latent")}
    found = {name: draw.gamma(5, size=20) for name in ("residual", "latent")}
    scale = {"residual": residual, "latent": latent}
    scaled = [{name: values * scale[name] for name, values in named.items()} for named in (found, normal)]
    np.testing.assert_allclose(together(*scaled), together(found, normal), atol=1e-6)
    assert together(normal, normal).mean() == pytest.approx(0, abs=1e-9)


def test_what_is_known_of_normal_pictures_survives_a_file() -> None:
    pixels, latents = pictures(0), np.random.default_rng(0).normal(size=(12, 3))
    known = Known(residual_deviations(pixels, pictures(1)), *gaussian(latents), {"latent": np.arange(3.0)}, 0.25)
    again = Known.of(known.arrays())
    assert again.limit == known.limit
    found = [scores(each, pixels, pictures(1), latents) for each in (known, again)]
    for name in ("reconstruction", "residual", "latent"):
        np.testing.assert_array_equal(found[0][name], found[1][name])
    assert again.normal["latent"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("channels", [1, 3])
def test_heat_sits_where_the_error_is(channels: int) -> None:
    pixels = pictures(0, 3, 28, channels)
    wrong = pixels.copy()
    wrong[1, 20, 5] ^= 255
    maps = heat(pixels, wrong)
    assert maps.shape == (3, 28, 28)
    assert not maps[[0, 2]].any()
    assert np.unravel_index(maps[1].argmax(), (28, 28)) == (20, 5)
    error = ((wrong[1].astype(float) - pixels[1]) / 127.5) ** 2
    assert maps[1].sum() == pytest.approx(error.mean(axis=2).sum(), rel=1e-3)  # smoothing moves it and keeps it
    assert hottest(maps) <= maps.max()
    assert hottest(maps[:1]) > 0
    over = overlaid(pixels[1], maps[1], float(maps.max()), scale=3)
    assert over.shape == (84, 84, 3)
    assert (over[61, 16] > [200, 200, 100]).all()  # the hottest place is at the bright end of the colours
    np.testing.assert_array_equal(over[40:, 60:, 0], over[40:, 60:, 2])  # far from it the picture is as it was, grey


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("edge", "channels"), [(8, 1), (28, 1), (33, 3)])
def test_corruptions_are_seeded_and_leave_the_original_alone(name: str, edge: int, channels: int) -> None:
    pixels = pictures(0, 5, edge, channels)
    before = pixels.copy()
    found = CORRUPTIONS[name](pixels, 4)
    assert (found.dtype, found.shape) == (np.uint8, pixels.shape)
    assert (found != pixels).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(found, CORRUPTIONS[name](pixels, 4))
    assert name == "blur" or (found != CORRUPTIONS[name](pixels, 5)).any()


def test_patches_are_as_large_as_they_are_said_to_be() -> None:
    pixels = np.zeros((40, 28, 28, 3), np.uint8)
    hidden, spoilt = occluded(pixels, 0), defective(pixels, 0)
    assert (hidden == 128).all(axis=3).sum(axis=(1, 2)).tolist() == [81] * 40
    assert (spoilt == 255).all(axis=3).sum(axis=(1, 2)).tolist() == [9] * 40
    assert not spoilt[:, :7].any()
    assert not spoilt[:, :, 21:].any()


def test_pictures_that_are_too_simple() -> None:
    pixels = pictures(0, 50, 16)
    plain = smooth(pixels, 0)
    assert plain.shape == pixels.shape
    second = np.diff(plain.astype(int), n=2, axis=1)
    assert np.abs(second).max() <= 2  # straight but for rounding
    pale = faded(pixels, 0)
    assert pale.std(axis=0).mean() == pytest.approx(0.2 * pixels.std(axis=0).mean(), rel=0.02)
    np.testing.assert_allclose(pale.mean(axis=0), pixels.mean(axis=0), atol=1)
