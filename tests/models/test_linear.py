"""The linear path beside the convolutions: a network that has one begins as principal components."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn import functional as F

import sanggar
from conftest import TINY, TINY_VAE, Stop
from sanggar.data.images import ImageSpec, to_float
from sanggar.errors import RecipeError
from sanggar.models.autoencoder import Autoencoder, AutoencoderOptions
from sanggar.models.vae.model import VAE, VAEOptions
from sanggar.plan import resolve
from sanggar.recipe import Recipe
from sanggar.runs import Run
from sanggar.training.loop import Record

GREY, COLOUR = ImageSpec(9, 7, 1), ImageSpec(80, 60, 3)
STYLE: dict[str, Any] = {"widths": (4, 8), "linear": True}


def pictures(spec: ImageSpec, count: int) -> np.ndarray:
    """Smooth ones: a few waves each, so that few components say most."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[: spec.height, : spec.width] / max(spec.height, spec.width)
    waves = [np.cos(np.pi * (i * y + j * x)) for i in range(3) for j in range(3)]
    amounts = draw.normal(0, 20, (count, spec.channels, len(waves))) * np.linspace(1.5, 0.5, len(waves))
    found = np.einsum("ncw,whi->nhic", amounts, np.array(waves)) + draw.normal(0, 2, (count, *y.shape, spec.channels))
    pixels: np.ndarray = np.clip(128 + found, 0, 255).astype(np.uint8)
    return pixels


def shown(pixels: np.ndarray) -> torch.Tensor:
    return to_float(torch.from_numpy(pixels))


@pytest.mark.parametrize("options", [{}, {"patch": 2}, {"scales": True, "blocks": 1}], ids=["plain", "patch", "scales"])
def test_an_autoencoder_begins_as_principal_components(options: dict[str, Any]) -> None:
    spec = ImageSpec(12, 8, 1)
    pixels = pictures(spec, 200)
    model = Autoencoder(AutoencoderOptions(**STYLE, latent_size=5, **options), spec)
    model.begin(pixels)
    points = shown(pixels).flatten(1).numpy()
    reference = PCA(5, svd_solver="full").fit(points)
    with torch.no_grad():
        latents, found = model.eval().encode(shown(pixels)), model.reconstruct(shown(pixels))
    np.testing.assert_allclose(
        found.flatten(1).numpy(), reference.inverse_transform(reference.transform(points)), atol=1e-4
    )
    np.testing.assert_allclose(latents.var(dim=0, correction=0), np.ones(5), rtol=1e-3)


def test_larger_pictures_begin_as_the_components_of_smaller_ones() -> None:
    pixels = pictures(COLOUR, 100)
    model = Autoencoder(AutoencoderOptions(**STYLE, latent_size=27), COLOUR)
    model.begin(pixels)
    with torch.no_grad():
        found = model.eval().reconstruct(shown(pixels))
    assert found.shape == (100, 3, 80, 60)
    blurred = F.interpolate(F.adaptive_avg_pool2d(shown(pixels), (27, 20)), (80, 60), mode="bilinear")
    spread = shown(pixels).var().item()
    assert F.mse_loss(found, blurred).item() < 0.002 * spread
    assert F.mse_loss(found, shown(pixels)).item() < 0.02 * spread


def test_a_vae_begins_as_the_best_linear_one() -> None:
    """Its posteriors together are the prior, and moving any of its numbers makes the bound worse."""
    pixels = pictures(GREY, 300)
    points = shown(pixels).flatten(1).double()
    values, noise = torch.linalg.eigvalsh(torch.cov(points.T, correction=0)).flip(0), 0.0
    noise = values[4:].mean().item()
    options = VAEOptions(**STYLE, latent_size=4, likelihood={"kind": "gaussian", "deviation": noise**0.5})
    model = VAE(options, GREY)
    model.begin(pixels)
    inward, outward = model.encoder.linear, model.decoder.linear
    assert inward is not None and outward is not None

    def bound(weights: torch.Tensor) -> float:
        with torch.no_grad():
            mean, log_variance = model.eval()._posterior(shown(pixels))
            raw, variance = model.decoder(mean), log_variance.exp()
            # over the posterior in closed form: of a linear decoder, the variances add to the squared error
            spread = (weights.square() @ variance.T).T.sum(dim=1)
            error = ((raw - shown(pixels)).flatten(1).square().sum(dim=1) + spread) / (2 * noise)
            divergence = 0.5 * (mean.square() + variance - 1 - log_variance).sum(dim=1)
        return float((error + divergence).mean())

    with torch.no_grad():
        mean, log_variance = model.eval()._posterior(shown(pixels))
    np.testing.assert_allclose(mean.var(dim=0, correction=0) + log_variance.exp().mean(dim=0), np.ones(4), rtol=1e-3)
    best = bound(outward.weight)
    for layer in (inward, outward):
        for parameter in layer.parameters():
            for factor in (0.97, 1.03):
                with torch.no_grad():
                    parameter.mul_(factor)
                    worse = bound(outward.weight)
                    parameter.div_(factor)
                assert worse > best


@pytest.mark.parametrize(("count", "latents"), [(3, 8), (100, 80)], ids=["few pictures", "more latents than pixels"])
def test_what_pictures_do_not_say_is_left_to_learn(count: int, latents: int) -> None:
    pixels = pictures(GREY, count)
    model = VAE(VAEOptions(**STYLE, latent_size=latents), GREY)
    model.begin(pixels)
    with torch.no_grad():
        mean, log_variance = model.eval()._posterior(shown(pixels))
        found = model.decoder(mean)
    assert mean.isfinite().all() and log_variance.isfinite().all()
    assert F.mse_loss(found, shown(pixels)).item() < 1e-4
    assert (mean.std(dim=0) < 1e-6).sum() >= latents - min(count - 1, 63)


def test_pictures_that_are_all_the_same_say_nothing() -> None:
    pixels = np.full((20, 9, 7, 1), 90, np.uint8)
    model = VAE(VAEOptions(**STYLE, latent_size=4), GREY)
    model.begin(pixels)
    with torch.no_grad():
        mean, log_variance = model.eval()._posterior(shown(pixels))
        found = model.decoder(mean)
    assert not mean.any() and not log_variance.any()
    assert F.mse_loss(found, shown(pixels)).item() < 1e-6


def test_what_a_decoder_is_told_besides_changes_nothing_yet() -> None:
    spec = ImageSpec(9, 7, 1, tuple("abcdefghij"))
    pixels = pictures(spec, 200)
    one, other = (VAE(VAEOptions(**STYLE, latent_size=3, condition=condition), spec) for condition in ((), ("class",)))
    for model in (one, other):
        model.begin(pixels)
        model.eval()
    with torch.no_grad():
        latents = one.encode(shown(pixels))
        assert other.encode(shown(pixels)).equal(latents)
        told = F.one_hot(torch.arange(200) % 10, 10).float()
        assert other.decode(latents, told).equal(one.decode(latents, None))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"family": "vae", "likelihood": {"kind": "bernoulli"}}, "choose another likelihood"),
        ({"family": "autoencoder", "loss": "bce"}, "choose another loss than bce"),
    ],
    ids=["vae", "autoencoder"],
)
def test_pictures_told_by_odds_are_refused(model: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        resolve(Recipe("t", data={"source": "digits"}, model={**model, "linear": True}, training={"steps": 1}))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autoencoder", "vae"])
def test_begun_again_or_resumed_it_is_the_same_and_better_than_without(name: str, tmp_path: Path) -> None:
    recipe, tiny = {"autoencoder": ("digits-denoising-autoencoder", TINY), "vae": ("digits-vae", TINY_VAE)}[name]
    chosen = [*tiny, "model.linear=true", "training.ema=0.9"]

    def stop(record: Record) -> None:
        if record.step == 2:
            raise Stop

    whole = sanggar.train(recipe, chosen, out=tmp_path / "whole")
    with pytest.raises(Stop):
        sanggar.train(recipe, chosen, out=tmp_path / "stopped", watch=stop)
    again = sanggar.resume(tmp_path / "stopped")
    assert again.weights_file.read_bytes() == whole.weights_file.read_bytes()
    without = sanggar.train(recipe, tiny, out=tmp_path / "without")

    def loss(run: Run) -> float:
        return sum(float(v) for k, v in run.metrics()[-1]["validation"].items() if k.startswith(name))

    assert loss(whole) < loss(without)
