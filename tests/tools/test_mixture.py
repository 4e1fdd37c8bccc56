"""Sampling from a mixture: it draws where latents lie, and stored parameters draw what the fitted estimator does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from conftest import Trained, put_arrays
from sanggar.data.images import CHUNK
from sanggar.errors import RunError
from sanggar.results.stored import read_tools
from sanggar.runs import load_arrays, save_arrays
from sanggar.tools import mixture as mixtures
from sanggar.tools.mixture import COMPONENTS, Mixture, fit_mixture, from_mixture, mixture_of, sample_mixture
from sanggar.trained import TrainedModel


@pytest.mark.parametrize("count", [1, 50])
def test_the_mixture_draws_where_the_latents_lie(count: int) -> None:
    draw = np.random.default_rng(0)
    centres = np.array([[-6.0, 0.0], [6.0, 0.0], [0.0, 9.0]], np.float32)
    latents = (np.repeat(centres, 200, axis=0) + draw.normal(0, 0.3, (600, 2))).astype(np.float32)
    mixture = fit_mixture(latents, 0)
    drawn = sample_mixture(mixture, count, 0)
    assert (len(mixture), drawn.shape, drawn.dtype) == (COMPONENTS, (count, 2), np.dtype(np.float32))
    assert np.linalg.norm(drawn[:, None] - centres, axis=2).min(axis=1).max() < 2
    np.testing.assert_array_equal(drawn, sample_mixture(fit_mixture(latents, 0), count, 0))
    assert len(fit_mixture(latents[:3], 0)) == 1  # no more parts than latents can tell apart


def test_the_mixture_does_not_draw_part_after_part() -> None:
    latents = np.repeat(np.array([[-9.0], [9.0]], np.float32), 100, axis=0)
    latents += np.random.default_rng(0).normal(0, 0.1, (200, 1)).astype(np.float32)
    drawn = sample_mixture(fit_mixture(latents, 1), 64, 1)
    assert len(set(np.sign(drawn[:16, 0]))) == 2


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 6), many=st.integers(2, 90), count=st.integers(1, 40))
def test_stored_parameters_draw_bit_for_bit_what_the_fitted_estimator_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: int, many: int, count: int
) -> None:
    latents = np.random.default_rng(seed).normal(0, 2, (many, size)).astype(np.float32)
    mixture = fit_mixture(latents, seed)
    fitted = GaussianMixture(len(mixture), random_state=seed).fit(latents.astype(np.float64))
    expected = np.random.default_rng(seed).permutation(fitted.sample(count)[0]).astype(np.float32)
    path = tmp_path_factory.mktemp("mixture") / "tools.safetensors"
    save_arrays(path, mixture.arrays())
    stored = Mixture.of(load_arrays(path)[0])
    assert {stored.weights.dtype, stored.means.dtype, stored.covariances.dtype} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(sample_mixture(stored, count, seed), expected)


# -- of a run ------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(copied: Trained) -> TrainedModel:
    return TrainedModel(copied("autoencoder"))


def test_a_run_draws_from_the_mixture_it_keeps(model: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Mixture.of(read_tools(model.run)[0])
    data, seed = model.plan.data_of(model.run), model.plan.evaluation.seed
    monkeypatch.setattr(type(model.plan), "data_of", None)  # neither data nor fitting
    monkeypatch.setattr(mixtures, "fit_mixture", None)
    drawn = np.concatenate([pixels for pixels, labels in from_mixture(model, CHUNK + 3, seed) if labels is None])
    np.testing.assert_array_equal(drawn, model.decode(sample_mixture(kept, CHUNK + 3, seed)))
    monkeypatch.undo()
    latents = model.encode(data.train.first(model.plan.evaluation.train_images).pixels)
    np.testing.assert_array_equal(kept.covariances, fit_mixture(latents, seed).covariances)


@pytest.mark.parametrize("lack", ["evaluation", "mixture", "step"])
def test_a_run_that_keeps_none_of_these_weights_fits_one_to_its_data(lack: str, model: TrainedModel) -> None:
    run = model.run
    kept, (arrays, details) = Mixture.of(read_tools(run)[0]), read_tools(run)
    if lack == "evaluation":
        run.evaluation_file.unlink()
    elif lack == "mixture":
        put_arrays(run, run.tools_file, {n: a for n, a in arrays.items() if not n.startswith("mixture")}, details)
    else:
        put_arrays(run, run.tools_file, arrays, {**details, "step": model.step - 1})
    np.testing.assert_array_equal(mixture_of(model).covariances, kept.covariances)
    (drawn, _), (other, _) = (next(from_mixture(model, 3, seed)) for seed in (7, 8))
    np.testing.assert_array_equal(drawn, model.decode(sample_mixture(kept, 3, 7)))
    assert (drawn != other).any()


def test_a_model_that_cannot_encode_is_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot encode"):
        next(from_mixture(TrainedModel(trained("gan")), 3, 0))
