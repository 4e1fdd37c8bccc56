"""The bound and its parts on models of which everything is known, and what is measured of a small trained one."""

from __future__ import annotations

import math
from collections.abc import Callable
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
from sklearn.datasets import load_digits

import sanggar
from conftest import TINY_VAE, Trained
from sanggar.data.images import Images
from sanggar.errors import RunError
from sanggar.evaluation import exploration, unlearned
from sanggar.evaluation.baselines import components, through
from sanggar.evaluation.context import Findings, Number, Subject, first_of_each_class, taught
from sanggar.evaluation.metrics.bounds import DRAWS, _noise, divergence, importance_bounds, measure_inference
from sanggar.evaluation.metrics.exploration import (
    COLUMNS,
    COMPONENTS,
    CORNERS,
    TEMPERATURES,
    measure_exploration,
    mixture,
)
from sanggar.evaluation.metrics.reconstruction import measure_reconstruction
from sanggar.instruments.judge import open_judge
from sanggar.models.vae.kl import kl_divergence
from sanggar.models.vae.likelihoods import BernoulliOptions, GaussianOptions, LogisticOptions
from sanggar.trained import TrainedModel


@given(st.lists(st.tuples(st.floats(-4, 4), st.floats(-6, 3)), min_size=1, max_size=5))
def test_the_divergence_is_the_models(dimensions: list[tuple[float, float]]) -> None:
    posterior = np.array(dimensions).T[None]
    expected = kl_divergence(*torch.tensor(posterior).unbind(dim=1)).numpy()
    np.testing.assert_allclose(divergence(posterior), expected, rtol=1e-6, atol=1e-9)


# -- importance-weighted bounds on a model whose p(x) is known -----------------------------------------------------


class Known(TrainedModel):
    """x = z + noise of deviation 1/2, z from the prior; the posterior is believed to be N(x / 2, 1)."""

    def __init__(self) -> None:
        self.model = SimpleNamespace(latent_size=1)

    def weigh(self, pixels: np.ndarray, noise: np.ndarray, told: np.ndarray | None = None) -> np.ndarray:
        x = pixels[:, 0, 0, 0] / 100.0
        z = x / 2 + noise[:, 0]
        terms = norm.logpdf(x, z, 0.5), norm.logpdf(z), norm.logpdf(z, x / 2, 1.0)
        return np.stack(terms, axis=1).astype(np.float32)


def test_more_draws_bring_the_bound_of_every_picture_nearer_to_log_p() -> None:
    images = Images(np.arange(0, 250, 5, dtype=np.uint8).reshape(-1, 1, 1, 1))
    x = images.pixels.flatten() / 100
    found = importance_bounds(Known(), images, None, seed=3)
    assert list(found) == list(DRAWS)
    for fewer, more in pairwise(DRAWS):
        assert (found[more] >= found[fewer]).all()
    exact = norm.logpdf(x, 0, math.sqrt(1.25))
    np.testing.assert_allclose(found[100].mean(), exact.mean(), atol=0.03)
    # one draw: log p(x) less the divergence from the true posterior, N(4x/5, 1/5)
    gap = 0.5 * ((1 + (x / 2 - 0.8 * x) ** 2) / 0.2 - 1 + math.log(0.2))
    np.testing.assert_allclose(found[1].mean(), (exact - gap).mean(), atol=0.15)
    assert importance_bounds(Known(), images, None, seed=3)[10].tolist() == found[10].tolist()
    assert importance_bounds(Known(), images, None, seed=4)[10].tolist() != found[10].tolist()


# -- a small trained one -------------------------------------------------------------------------------------------


def subject_of(run: Any) -> Subject:
    painter = TrainedModel(run)
    return Subject(painter, painter.plan.source.load(painter.plan.data), painter.plan.evaluation)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("vae") / "run"
    return subject_of(sanggar.train("digits-vae", TINY_VAE, out=folder, watch=lambda _: None))


@pytest.fixture(scope="module")
def found(subject: Subject) -> Findings:
    return measure_inference(subject)


@pytest.fixture(scope="module")
def explored(subject: Subject) -> Findings:
    return measure_exploration(subject)


def one(findings: Findings, key: str, **protocol: Any) -> Number:
    keys = (f"inference.{key}", f"exploration.{key}")
    numbers = [n for n in findings.numbers if n.key in keys and protocol.items() <= n.protocol.items()]
    assert len(numbers) == 1, (key, [n.protocol for n in numbers])
    return numbers[0]


def test_the_bound_is_rate_and_distortion_and_its_bits_are_by_pixels(found: Findings, subject: Subject) -> None:
    bound, rate, distortion = (one(found, key).value for key in ("bound", "rate", "distortion"))
    assert bound == pytest.approx(rate + distortion)
    assert one(found, "bits").value == pytest.approx(bound / math.log(2) / 64)
    assert found.pictures["inference.rates"].sum() == pytest.approx(rate)
    # the means over a hundred draws, and over one
    assert one(found, "importance", draws=1).value == pytest.approx(bound, rel=0.02)
    by_draws = [one(found, "importance", draws=k).value for k in DRAWS]
    assert by_draws == sorted(by_draws, reverse=True)
    assert one(found, "importance", draws=1).protocol["n"] == subject.options.bound_images


def test_beta_is_said_and_what_it_is_beside_squared_errors(found: Findings, subject: Subject) -> None:
    deviation = subject.painter.model.likelihood.deviation
    assert one(found, "beta").value == 1
    assert one(found, "deviation").value == deviation
    assert one(found, "beta_squared").value == pytest.approx(2 * deviation**2)
    # half the squared error over the variance and a constant: what is left of the distortion is the same for all
    noise = _noise(subject.painter, 20, 0, 0)
    shown = subject.test.first(20)
    weighed = -subject.painter.weigh(shown.pixels, noise)[:, 0]
    mean, log_variance = subject.painter.posterior(shown.pixels).swapaxes(0, 1)
    with torch.no_grad():
        raw = subject.painter.model.decoder(torch.from_numpy(mean + np.exp(log_variance / 2) * noise)).numpy()
    errors = np.square(shown.pixels.transpose(0, 3, 1, 2) / 127.5 - 1 - raw).sum(axis=(1, 2, 3))
    assert np.ptp(weighed - errors / (2 * deviation**2)) < 1e-2


def test_active_dimensions_are_those_whose_mean_varies(found: Findings, subject: Subject) -> None:
    variances = subject.painter.encode(subject.test.pixels).var(axis=0)
    assert one(found, "active").value == (variances > 0.01).sum()
    np.testing.assert_array_equal(found.pictures["inference.active"], variances > 0.01)


def test_every_way_to_draw_is_measured_and_shown(explored: Findings) -> None:
    ways = dict.fromkeys(n.protocol["drawn_from"] for n in explored.numbers if n.key == "exploration.precision")
    assert len(ways) == len(TEMPERATURES) + 2
    assert explored.pictures["exploration.drawn"].shape[:2] == (len(ways) - 1, COLUMNS)  # not of the floor
    distances = [one(explored, "frechet", drawn_from=way).value for way in ways]
    assert distances[-1] == min(distances)
    for way in ways:
        assert one(explored, "recall", drawn_from=way).protocol["n"] == 100


def test_the_grids_corners_are_test_pictures_as_they_come_back(explored: Findings, subject: Subject) -> None:
    shown = subject.test.take(np.array(first_of_each_class(subject.test, 4)))
    corners = explored.pictures["exploration.corners"]
    assert corners.shape == (CORNERS, CORNERS, 8, 8, 1)
    at = corners[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
    assert np.abs(at - subject.painter.reconstruct(shown.pixels)).max() <= 1
    middle = subject.painter.decode(subject.painter.encode(shown.pixels).mean(axis=0, keepdims=True))
    assert np.abs(corners[CORNERS // 2, CORNERS // 2].astype(int) - middle[0]).max() <= 1


def test_a_traversal_moves_one_dimension_the_most_informative_first(explored: Findings, subject: Subject) -> None:
    pictures, held = explored.pictures["exploration.traversals"], explored.pictures["exploration.traversals.held"]
    order, places = (explored.pictures[f"exploration.traversals.{key}"] for key in ("dimensions", "places"))
    assert (np.diff(held) <= 0).all()
    most = divergence(subject.painter.posterior(subject.test.pixels)).mean(axis=0).max()
    assert held[0] == pytest.approx(most, rel=1e-4)
    shown = subject.test.take(np.array(first_of_each_class(subject.test, 1)))
    latents = np.repeat(subject.painter.encode(shown.pixels), len(places), axis=0)
    latents[:, order[1]] = places
    assert np.abs(pictures[1].astype(int) - subject.painter.decode(latents)).max() <= 1


def test_a_latent_space_without_a_prior_is_explored_as_well(trained: Trained) -> None:
    subject = subject_of(trained("autoencoder"))
    explored = measure_exploration(subject)
    ways = dict.fromkeys(n.protocol["drawn_from"] for n in explored.numbers)
    assert [way.split(" of ")[0] for way in ways] == ["a mixture", "training pictures, the floor"]
    assert explored.pictures["exploration.drawn"].shape[:2] == (1, COLUMNS)
    held, order = (explored.pictures[f"exploration.traversals.{key}"] for key in ("held", "dimensions"))
    latents = subject.painter.encode(subject.test.pixels)
    np.testing.assert_allclose(held, (100 * latents.var(axis=0) / latents.var(axis=0).sum())[order], rtol=1e-3)
    middle = explored.pictures["exploration.traversals"][0, 4]  # that dimension at its mean, the others as they were
    shown = subject.painter.encode(subject.test.take(np.array(first_of_each_class(subject.test, 1))).pixels)
    shown[0, order[0]] = latents[:, order[0]].mean()
    assert np.abs(subject.painter.decode(shown)[0].astype(int) - middle).max() <= 1


def test_reconstructions_are_from_the_mean_and_from_a_draw(found: Findings, subject: Subject) -> None:
    clean, mean, drawn = found.pictures["inference.reconstructions"]
    assert np.abs(subject.painter.reconstruct(clean).astype(int) - mean).max() <= 1
    assert (mean != drawn).any()


class Silent(TrainedModel):
    """A painter whose posterior is the prior, whatever it is shown."""

    def __init__(self, painter: TrainedModel, held: float = 0.0) -> None:
        self.__dict__ |= painter.__dict__ | {"held": held}

    def posterior(self, images: Any) -> np.ndarray:
        found = np.zeros((len(images), 2, self.model.latent_size), np.float32)
        found[:, 0] = self.held * np.arange(len(images))[:, None] / len(images)
        return found


@pytest.mark.parametrize(("held", "active"), [(0.0, 0), (0.5, 6)])
def test_a_collapsed_posterior_raises_an_alarm(held: float, active: int, subject: Subject) -> None:
    found = measure_inference(Subject(Silent(subject.painter, held), subject.dataset, subject.options))
    assert one(found, "active").value == active
    (alarm,) = found.alarms  # the second is active by the rule, and still tells less than a nat of a picture
    assert alarm.startswith(f"Posterior collapse: {active} of 6 dimensions are active")


def test_without_a_judge_there_are_pictures_and_no_numbers_of_them(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise RunError("there is no judge")

    monkeypatch.setattr(exploration, "open_extractor", none)
    numbers, pictures = exploration._ways(subject)
    assert numbers == []
    assert len(pictures["exploration.drawn"]) == len(TEMPERATURES) + 1


def test_a_conditional_model_is_measured_told_and_untold(tmp_path: Path) -> None:
    overrides = [*TINY_VAE, "model.condition=[class]", "model.likelihood={kind: bernoulli}", "model.beta.weight=2",
                 "evaluation.images=60"]  # fmt: skip
    subject = subject_of(sanggar.train("digits-vae", overrides, out=tmp_path / "run", watch=lambda _: None))
    found = measure_inference(subject)
    told, untold = (one(found, "bound", told=what) for what in ("class", "nothing"))
    assert told.label == "negative bound, told class"
    assert told.value != untold.value
    assert told.value == pytest.approx(one(found, "distortion", told="class").value + one(found, "rate").value)
    assert len([n for n in found.numbers if n.key == "inference.importance"]) == 2 * len(DRAWS)
    # not of 8 bits: no bits per dimension, no deviation, and not of one protocol with likelihoods that have them
    assert not [n for n in found.numbers if n.key in ("inference.bits", "inference.deviation")]
    assert told.protocol["pixels"] == "shares of white"
    assert one(found, "beta").value == 2
    back = measure_reconstruction(subject).numbers
    assert {n.protocol.get("told") for n in back if n.subject == "network"} == {"nothing"}
    assert not any("told" in n.protocol for n in back if n.subject == "PCA")


def test_bounds_of_different_likelihoods_are_of_different_protocols() -> None:
    kinds = (BernoulliOptions(kind="bernoulli"), GaussianOptions(), LogisticOptions(kind="logistic"))
    assert len({kind.build(1).pixels for kind in kinds}) == 3


# -- beside it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 50])
def test_the_mixture_draws_where_the_latents_lie(count: int) -> None:
    draw = np.random.default_rng(0)
    centres = np.array([[-6.0, 0.0], [6.0, 0.0], [0.0, 9.0]], np.float32)
    latents = (np.repeat(centres, 200, axis=0) + draw.normal(0, 0.3, (600, 2))).astype(np.float32)
    found, components = mixture(latents, count, 0)
    assert (components, found.shape, found.dtype) == (COMPONENTS, (count, 2), np.float32)
    assert np.linalg.norm(found[:, None] - centres, axis=2).min(axis=1).max() < 2
    np.testing.assert_array_equal(found, mixture(latents, count, 0)[0])
    assert mixture(latents[:3], 2, 0)[1] == 1  # no more parts than latents can tell apart


def test_the_mixture_does_not_draw_part_after_part() -> None:
    latents = np.repeat(np.array([[-9.0], [9.0]], np.float32), 100, axis=0)
    found, _ = mixture(latents + np.random.default_rng(0).normal(0, 0.1, (200, 1)).astype(np.float32), 64, 1)
    assert len(set(np.sign(found[:16, 0]))) == 2


def test_a_network_that_was_trained_to_please_the_judge_is_not_compared_with_others(subject: Subject) -> None:
    judge = subject.judge
    assert judge is not None
    assert taught(subject.painter, judge) == {}
    pleasing = Known()
    pleasing.model.taught_by = "digits"
    assert taught(pleasing, judge) == {"trained_on": "features of the same network"}
    assert taught(pleasing, open_judge("mnist", "cpu")) == {}


def test_pca_of_more_than_fits_into_memory_is_nearly_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = load_digits().images[:1000, :, :, None].astype(np.uint8)
    whole = components(pixels, 8, 0)
    monkeypatch.setattr(unlearned, "VALUES", pixels.size - 1)
    parts = components(pixels, 8, 0)
    assert type(parts) is not type(whole)
    errors = [np.square(through(pca, pixels)[1] - pixels.astype(float)).mean() for pca in (whole, parts)]
    assert errors[0] <= errors[1] < 1.02 * errors[0]


def test_the_perceptual_distance_is_zero_for_the_same_pictures_and_grows_with_noise(subject: Subject) -> None:
    judge, clean = open_judge("digits"), subject.test.pixels[:30]
    draw = np.random.default_rng(0).normal(size=clean.shape)
    worse: Callable[[float], np.ndarray] = lambda level: np.clip(clean + level * draw, 0, 255).astype(np.uint8)  # noqa: E731
    means = [judge.dissimilarity(worse(level), clean).mean() for level in (0, 10, 40, 120)]
    assert means[0] == 0
    assert means == sorted(means)
    number, by_pca = (n for n in measure_reconstruction(subject).numbers if n.key == "reconstruction.perceptual")
    assert (number.subject, by_pca.subject) == ("network", "PCA")
    came_back = subject.painter.reconstruct(subject.test.pixels)
    assert number.value == pytest.approx(judge.dissimilarity(came_back, subject.test.pixels).mean())
    assert (number.protocol["network"], number.protocol["n"]) == (judge.name, len(subject.test))
