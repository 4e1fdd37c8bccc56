"""A model as a detector of odd pictures: each score against a second system, and what it keeps in the run."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from sklearn.covariance import LedoitWolf

from conftest import Trained
from sanggar.data.dataset import Dataset
from sanggar.data.images import CHUNK
from sanggar.models.vae.kl import kl_of_posterior
from sanggar.results.stored import read_tools
from sanggar.tools.detector import (
    SLACK,
    TOOL,
    WEIGHED,
    Detector,
    Known,
    Scores,
    fitting_images,
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
from sanggar.trained import TrainedModel


def test_the_latent_distance_is_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    latents = (draw.normal(size=(60, 5)) @ draw.normal(size=(5, 5))).astype(np.float32)
    fitted = LedoitWolf().fit(latents.astype(np.float64))
    np.testing.assert_allclose(mahalanobis(latents, *gaussian(latents)), fitted.mahalanobis(latents), rtol=1e-6)


def test_the_kl_divergence_is_pytorchs() -> None:
    posterior = torch.randn(7, 2, 5, generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal(posterior[:, 0], (posterior[:, 1] / 2).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    np.testing.assert_allclose(kl_of_posterior(posterior.numpy().astype(np.float64)).sum(axis=1), expected, rtol=1e-5)


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


def test_scores_and_heat_hold_a_part_of_the_pictures_as_floats_at_a_time() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4 * CHUNK, 16, 16, 3), np.uint8)
    known = Known(np.ones(pixels.shape[1:], np.float32), None, None, {}, 1.0)
    tracemalloc.start()
    scores(known, pixels, pixels, None)
    heat(pixels, pixels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * pixels.size


# -- the detector of a run -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(trained: Trained) -> TrainedModel:
    return TrainedModel(trained("vae"))


@pytest.fixture(scope="module")
def dataset(model: TrainedModel) -> Dataset:
    return model.plan.source.load(model.plan.data)


def scored(detector: Detector, pixels: np.ndarray) -> Scores:
    """A detector's scores of pictures."""
    return detector.scores(pixels, detector.model.reconstruct(pixels))


def test_what_the_run_keeps_is_what_was_fitted(model: TrainedModel, dataset: Dataset) -> None:
    kept = Detector.of_run(model)
    assert any(name.startswith(TOOL) for name in read_tools(model.run)[0])
    options: Any = model.plan.evaluation  # with a part for each metric
    images = fitting_images(dataset, options.train_images, options.anomaly.images)
    fitted = Detector.fit(model, *images, options.seed, options.anomaly.regret_steps)
    assert (kept.seed, kept.regret_steps) == (fitted.seed, fitted.regret_steps)
    pixels = dataset.test.pixels[:30]
    first, second = scored(kept, pixels), scored(fitted, pixels)
    assert list(first) == ["together", "reconstruction", "residual", "latent", "kl", "bound", "regret"]
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-5)


def test_what_was_kept_for_other_weights_is_fitted_anew(trained: Trained) -> None:
    model, lines = TrainedModel(trained("vae")), list[str]()
    kept = Detector.of_run(model, lines.append)
    assert not lines
    model.step += 1
    fitted = Detector.of_run(model, lines.append)
    assert len(lines) == 1
    assert fitted.known.arrays().keys() == kept.known.arrays().keys()
    for name, array in fitted.known.arrays().items():
        np.testing.assert_allclose(array, kept.known.arrays()[name], rtol=1e-5, err_msg=name)


def test_a_picture_scores_alike_whatever_stands_beside_it(model: TrainedModel, dataset: Dataset) -> None:
    detector, pixels = Detector.of_run(model), dataset.test.pixels
    many, few = scored(detector, pixels[:40]), scored(detector, pixels[30:32])
    for name in many:
        np.testing.assert_allclose(few[name], many[name][30:32], rtol=1e-3, atol=1e-2)


def test_regret_is_never_negative_starts_at_the_bound_and_grows(model: TrainedModel, dataset: Dataset) -> None:
    detector, pixels = Detector.of_run(model), dataset.test.pixels[:60]
    regrets = []
    for steps in (0, 5, 40):
        posterior, noise = model.posterior(pixels), detector._noise(60, WEIGHED + steps)
        given = [model.log_weight_terms(pixels, posterior, noise[:, draw])[:, 0] for draw in range(WEIGHED)]
        before, after = model.regret(pixels, posterior, np.stack(given, axis=1), noise).T
        np.testing.assert_allclose(-before, scored(detector, pixels)["bound"], rtol=1e-4)
        assert (after >= before).all()
        regrets.append((after - before).mean())
    assert regrets[0] == 0
    assert 0 < regrets[1] < regrets[2]


def test_fitting_a_posterior_leaves_the_network_alone(model: TrainedModel, dataset: Dataset) -> None:
    before = {name: value.clone() for name, value in model._model.state_dict().items()}
    scored(Detector.of_run(model), dataset.test.pixels[:5])
    for name, value in model._model.state_dict().items():
        assert (value == before[name]).all(), name
    assert all(parameter.grad is None for parameter in model._model.parameters())


def test_shares_of_new_normal_pictures_are_uniform(model: TrainedModel, dataset: Dataset) -> None:
    detector = Detector.fit(model, dataset.train.first(800), dataset.validation)
    shares = detector.shares(scored(detector, dataset.test.pixels))
    for name, found in shares.items():
        assert kstest(found, "uniform").pvalue > 1e-4, name
