"""The bound and its parts on models of which everything is known, and what is measured of a small trained one."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

import sanggar
from conftest import TINY_VAE, Trained, context_of
from sanggar.data.images import Images
from sanggar.evaluation.context import EvaluationContext, Findings
from sanggar.evaluation.metrics import reconstruction
from sanggar.evaluation.metrics.bounds import DRAWS, _noise, importance_weighted, measure
from sanggar.models.vae.kl import kl_divergence, kl_of_posterior
from sanggar.models.vae.likelihoods import BernoulliOptions, GaussianOptions, LogisticOptions
from sanggar.options import Options
from sanggar.reporting import labels
from sanggar.results import NETWORK, PCA, Measurement
from sanggar.trained import TrainedModel


@given(st.lists(st.tuples(st.floats(-4, 4), st.floats(-6, 3)), min_size=1, max_size=5))
def test_the_divergence_is_the_models(dimensions: list[tuple[float, float]]) -> None:
    posterior = np.array(dimensions).T[None]
    expected = kl_divergence(*torch.tensor(posterior).unbind(dim=1)).numpy()
    np.testing.assert_allclose(kl_of_posterior(posterior), expected, rtol=1e-6, atol=1e-9)


# -- importance-weighted bounds on a model whose p(x) is known -----------------------------------------------------


class Known(TrainedModel):
    """x = z + noise of deviation 1/2, z from the prior; the posterior is believed to be N(x / 2, 1)."""

    def __init__(self) -> None:
        self._model = SimpleNamespace(latent_size=1)

    def log_weight_terms(
        self, images: Any, posterior: np.ndarray, noise: np.ndarray, condition: np.ndarray | None = None
    ) -> np.ndarray:
        assert posterior.shape == (len(images), 2, 1)
        x = images[:, 0, 0, 0] / 100.0
        z = x / 2 + noise[:, 0]
        terms = norm.logpdf(x, z, 0.5), norm.logpdf(z), norm.logpdf(z, x / 2, 1.0)
        return np.stack(terms, axis=1).astype(np.float32)


def test_more_draws_bring_the_bound_of_every_picture_nearer_to_log_p() -> None:
    images = Images(np.arange(0, 250, 5, dtype=np.uint8).reshape(-1, 1, 1, 1))
    x = images.pixels.flatten() / 100
    posterior = np.stack([x / 2, np.zeros_like(x)], axis=1, dtype=np.float32)[..., None]
    found = importance_weighted(Known(), images, posterior, None, seed=3)
    assert list(found) == list(DRAWS)
    for fewer, more in pairwise(DRAWS):
        assert (found[more] >= found[fewer]).all()
    exact = norm.logpdf(x, 0, math.sqrt(1.25))
    np.testing.assert_allclose(found[100].mean(), exact.mean(), atol=0.03)
    # one draw: log p(x) less the divergence from the true posterior, N(4x/5, 1/5)
    gap = 0.5 * ((1 + (x / 2 - 0.8 * x) ** 2) / 0.2 - 1 + math.log(0.2))
    np.testing.assert_allclose(found[1].mean(), (exact - gap).mean(), atol=0.15)
    assert importance_weighted(Known(), images, posterior, None, seed=3)[10].tolist() == found[10].tolist()
    assert importance_weighted(Known(), images, posterior, None, seed=4)[10].tolist() != found[10].tolist()


# -- a small trained one -------------------------------------------------------------------------------------------


def measured(context: EvaluationContext) -> Findings:
    options: Any = context.options  # with a part for each metric
    return measure(context, options.bounds)


@pytest.fixture(scope="module")
def context(trained: Trained) -> EvaluationContext:
    return context_of(trained("vae"))


@pytest.fixture(scope="module")
def found(context: EvaluationContext) -> Findings:
    return measured(context)


def one(findings: Findings, quantity: str, **tags: Any) -> Measurement:
    """The measurement of a quantity with these tags; without any, the one without."""
    measurements = [m for m in findings.measurements if (m.key, m.tags) == (f"bounds.{quantity}", tags)]
    assert len(measurements) == 1, (quantity, [m.tags for m in findings.measurements])
    return measurements[0]


def test_the_bound_is_rate_and_distortion_and_its_bits_are_by_pixels(
    found: Findings, context: EvaluationContext
) -> None:
    bound, rate, distortion = (one(found, quantity).value for quantity in ("negative_elbo", "rate", "distortion"))
    assert bound == pytest.approx(rate + distortion)
    assert one(found, "bits_per_dimension").value == pytest.approx(bound / math.log(2) / 64)
    assert found.arrays["rates"].sum() == pytest.approx(rate)
    # the means over a hundred draws, and over one
    assert one(found, "importance_weighted", draws=1).value == pytest.approx(bound, rel=0.02)
    by_draws = [one(found, "importance_weighted", draws=k).value for k in DRAWS]
    assert by_draws == sorted(by_draws, reverse=True)
    options: Any = context.options
    assert one(found, "importance_weighted", draws=1).protocol.n == options.bounds.images


def test_beta_is_said_and_what_it_is_beside_squared_errors(found: Findings, context: EvaluationContext) -> None:
    deviation = context.model.likelihood.deviation
    assert one(found, "beta").value == 1
    assert one(found, "deviation").value == deviation
    assert one(found, "beta_squared").value == pytest.approx(2 * deviation**2)
    # half the squared error over the variance and a constant: what is left of the distortion is the same for all
    noise = _noise(context.model, 20, 0, 0)
    shown = context.test.first(20)
    posterior = context.model.posterior(shown.pixels)
    distortion = -context.model.log_weight_terms(shown.pixels, posterior, noise)[:, 0]
    mean, log_variance = posterior.swapaxes(0, 1)
    with torch.no_grad():
        raw = context.model._model.decoder(torch.from_numpy(mean + np.exp(log_variance / 2) * noise)).numpy()
    errors = np.square(shown.pixels.transpose(0, 3, 1, 2) / 127.5 - 1 - raw).sum(axis=(1, 2, 3))
    assert np.ptp(distortion - errors / (2 * deviation**2)) < 1e-2


def test_active_dimensions_are_those_whose_mean_varies(found: Findings, context: EvaluationContext) -> None:
    variances = context.model.encode(context.test.pixels).var(axis=0)
    assert one(found, "active_dimensions").value == (variances > 0.01).sum()
    np.testing.assert_array_equal(found.arrays["active"], variances > 0.01)


def test_reconstructions_are_from_the_mean_and_from_a_draw(found: Findings, context: EvaluationContext) -> None:
    clean, mean, drawn = found.arrays["reconstructions"]
    assert np.abs(context.model.reconstruct(clean).astype(int) - mean).max() <= 1
    assert (mean != drawn).any()


class Silent(TrainedModel):
    """A model whose posterior is the prior, whatever it is given."""

    held: float

    def __init__(self, model: TrainedModel, held: float = 0.0) -> None:
        self.__dict__ |= model.__dict__ | {"held": held}

    def posterior(self, images: Any) -> np.ndarray:
        posterior = np.zeros((len(images), 2, self.latent_size), np.float32)
        posterior[:, 0] = self.held * np.arange(len(images))[:, None] / len(images)
        return posterior


@pytest.mark.parametrize(("held", "active"), [(0.0, 0), (0.5, 6)])
def test_a_collapsed_posterior_raises_an_alarm(held: float, active: int, context: EvaluationContext) -> None:
    found = measured(EvaluationContext(Silent(context.model, held), context.dataset, context.options))
    assert one(found, "active_dimensions").value == active
    (alarm,) = found.alarms  # the second is active by the rule, and still holds less than a nat of a picture
    assert labels.alarm(alarm).startswith(f"Posterior collapse: {active} of 6 dimensions are active")


def test_a_conditional_model_is_measured_with_its_condition_and_without(tmp_path: Path) -> None:
    overrides = [*TINY_VAE, "model.condition=[class]", "model.likelihood={kind: bernoulli}", "model.beta.weight=2",
                 "evaluation.images=60"]  # fmt: skip
    context = context_of(sanggar.train("digits-vae", overrides, out=tmp_path / "run", watch=lambda _: None))
    found = measured(context)
    given, without = one(found, "negative_elbo", condition="class"), one(found, "negative_elbo")
    assert labels.label(given) == "negative ELBO, given class"
    assert given.value != without.value
    assert given.value == pytest.approx(one(found, "distortion", condition="class").value + one(found, "rate").value)
    assert len([m for m in found.measurements if m.key == "bounds.importance_weighted"]) == 2 * len(DRAWS)
    # not of 8 bits: no bits per dimension, no deviation, and not of one protocol with likelihoods that have them
    assert not [m for m in found.measurements if m.key in ("bounds.bits_per_dimension", "bounds.deviation")]
    assert given.protocol.settings["pixels"] == "shares of white"
    assert one(found, "beta").value == 2
    back = reconstruction.measure(context, Options()).measurements
    assert {m.protocol.settings.get("condition") for m in back if m.subject == NETWORK} == {"none"}
    assert not any("condition" in m.protocol.settings for m in back if m.subject == PCA)


def test_bounds_of_different_likelihoods_are_of_different_protocols() -> None:
    kinds = (BernoulliOptions(kind="bernoulli"), GaussianOptions(), LogisticOptions(kind="logistic"))
    assert len({kind.build(1).pixels for kind in kinds}) == 3
