"""What is drawn from the latent spaces of small trained models, and what is measured of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import sanggar
from conftest import TINY_VAE, Trained, context_of
from sanggar.evaluation.context import EvaluationContext, Findings, first_of_each_class
from sanggar.evaluation.metrics import exploration
from sanggar.evaluation.metrics.exploration import COLUMNS, CORNERS, TEMPERATURES, measure
from sanggar.evaluation.reference import NotComparable
from sanggar.models.base import SamplingOptions
from sanggar.models.vae.kl import kl_of_posterior
from sanggar.results import FLOOR, NETWORK, PIXELS, Measurement
from sanggar.tools.mixture import Mixture


def measured(context: EvaluationContext) -> Findings:
    options: Any = context.options  # with a part for each metric
    return measure(context, options.exploration)


@pytest.fixture(scope="module")
def context(trained: Trained) -> EvaluationContext:
    return context_of(trained("vae"))


@pytest.fixture(scope="module")
def explored(context: EvaluationContext) -> Findings:
    return measured(context)


def of(findings: Findings, quantity: str) -> list[Measurement]:
    return [m for m in findings.measurements if m.key == f"exploration.{quantity}"]


def test_every_source_is_measured_and_shown(explored: Findings) -> None:
    sources = [(m.subject, m.tags) for m in of(explored, "precision")]
    priors = [(NETWORK, {"source": "prior", "temperature": t}) for t in TEMPERATURES]
    midway = {"source": "midpoint"}
    assert sources == [*priors, (NETWORK, {"source": "mixture"}), (NETWORK, midway), (PIXELS, midway), (FLOOR, {})]
    assert explored.arrays["drawn"].shape[:2] == (len(TEMPERATURES) + 1, COLUMNS)
    assert explored.arrays["temperatures"].tolist() == list(TEMPERATURES)
    distances = of(explored, "frechet")
    assert [(m.subject, m.tags) for m in distances] == sources
    assert distances[-1].value == min(m.value for m in distances)
    assert {m.protocol.n for m in of(explored, "recall")} == {100}


def test_the_mixture_is_kept_and_is_the_one_that_was_measured(explored: Findings, context: EvaluationContext) -> None:
    mixture = Mixture.of(explored.tools)
    assert mixture.means.shape == (len(mixture), context.model.latent_size)
    assert explored.arrays["components"].tolist() == [len(mixture)]
    protocols = [m.protocol.settings for m in explored.measurements if m.tags.get("source") == "mixture"]
    assert {(s["components"], s["fitted_on"]) for s in protocols} == {(len(mixture), len(context.train))}


def test_midway_between_two_training_pictures(context: EvaluationContext, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[np.ndarray] = []
    decode = context.model.decode

    def recorded(latents: np.ndarray, *rest: Any) -> Any:
        decoded.append(latents)
        return decode(latents, *rest)

    monkeypatch.setattr(context.model, "decode", recorded)
    midpoints = [m for m in measured(context).measurements if m.tags.get("source") == "midpoint"]
    latents = context.latents("train")
    pairs = (latents[:, None] + latents[None]) / 2
    halves = {tuple(row) for row in pairs[~np.eye(len(latents), dtype=bool)].tolist()}
    (between,) = [given for given in decoded if len(given) == 100 and tuple(given[0].tolist()) in halves]
    assert {tuple(row) for row in between.tolist()} <= halves
    assert len(np.unique(between, axis=0)) > 90, "pairs are drawn at random"
    assert {m.protocol.settings["among"] for m in midpoints} == {len(latents)}


def test_a_prior_without_a_temperature_is_one_source(
    context: EvaluationContext, explored: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = context.model._model
    monkeypatch.setattr(type(model), "SamplingOptions", SamplingOptions)
    monkeypatch.setattr(
        model, "sample", lambda noise, condition, options: model.decode(noise, condition), raising=False
    )
    found = measured(context)
    sources = [m.tags for m in of(found, "precision")]
    midway = {"source": "midpoint"}
    assert sources == [{"source": "prior", "temperature": 1.0}, {"source": "mixture"}, midway, midway, {}]
    before = {(m.key, m.subject, tuple(m.tags.items())): m.value for m in explored.measurements}
    for m in found.measurements:
        assert m.value == before[m.key, m.subject, tuple(m.tags.items())]


def test_the_grids_corners_are_test_pictures_as_they_come_back(explored: Findings, context: EvaluationContext) -> None:
    shown = context.test.take(np.array(first_of_each_class(context.test, 4)))
    corners = explored.arrays["corners"]
    assert corners.shape == (CORNERS, CORNERS, 8, 8, 1)
    at = corners[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
    assert np.abs(at - context.model.reconstruct(shown.pixels)).max() <= 1
    middle = context.model.decode(context.model.encode(shown.pixels).mean(axis=0, keepdims=True))
    assert np.abs(corners[CORNERS // 2, CORNERS // 2].astype(int) - middle[0]).max() <= 1


def test_a_traversal_moves_one_dimension_the_most_informative_first(
    explored: Findings, context: EvaluationContext
) -> None:
    pictures, held = explored.arrays["traversals"], explored.arrays["traversal_held"]
    order, places = (explored.arrays[f"traversal_{name}"] for name in ("dimensions", "places"))
    assert explored.details["traversal_unit"] == "nats"
    assert (np.diff(held) <= 0).all()
    most = kl_of_posterior(context.model.posterior(context.test.pixels)).mean(axis=0).max()
    assert held[0] == pytest.approx(most, rel=1e-4)
    shown = context.test.take(np.array(first_of_each_class(context.test, 1)))
    latents = np.repeat(context.model.encode(shown.pixels), len(places), axis=0)
    latents[:, order[1]] = places
    assert np.abs(pictures[1].astype(int) - context.model.decode(latents)).max() <= 1


def test_a_latent_space_without_a_prior_is_explored_as_well(trained: Trained) -> None:
    context = context_of(trained("autoencoder"))
    explored = measured(context)
    assert {(m.subject, *m.tags.values()) for m in explored.measurements} == {
        (NETWORK, "mixture"), (NETWORK, "midpoint"), (PIXELS, "midpoint"), (FLOOR,)
    }  # fmt: skip
    assert explored.arrays["drawn"].shape[:2] == (1, COLUMNS)
    assert explored.arrays["temperatures"].shape == (0,)
    held, order = (explored.arrays[f"traversal_{name}"] for name in ("held", "dimensions"))
    assert explored.details["traversal_unit"] == "variance_percent"
    latents = context.model.encode(context.test.pixels)
    np.testing.assert_allclose(held, (100 * latents.var(axis=0) / latents.var(axis=0).sum())[order], rtol=1e-3)
    middle = explored.arrays["traversals"][0, 4]  # that dimension at its mean, the others as they were
    shown = context.model.encode(context.test.take(np.array(first_of_each_class(context.test, 1))).pixels)
    shown[0, order[0]] = latents[:, order[0]].mean()
    assert np.abs(context.model.decode(shown)[0].astype(int) - middle).max() <= 1


def test_of_hardly_any_pictures_some_are_shown_and_nothing_is_measured(
    context: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise NotComparable("few_pictures")

    monkeypatch.setattr(exploration, "extractor_of", none)
    found = measured(context)
    assert found.measurements == []
    assert len(found.arrays["drawn"]) == len(TEMPERATURES) + 1
    assert found.tools


def test_a_class_is_asked_for_as_often_as_test_pictures_are_of_it(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("conditional") / "run"
    context = context_of(
        sanggar.train("digits-vae", [*TINY_VAE, "model.condition=[class]"], out=folder, watch=lambda _: None)
    )
    given: dict[str, list[Any]] = {"draw": [], "decode": []}
    for name, conditions in given.items():
        whole = getattr(context.model, name)

        def recorded(whole: Any, conditions: list[Any], inputs: Any, condition: Any = None, **options: Any) -> Any:
            conditions.append(condition)
            return whole(inputs, condition, **options)

        monkeypatch.setattr(context.model, name, partial(recorded, whole, conditions))
    found = measured(context)
    assert not any("condition" in m.protocol.settings for m in found.measurements)
    in_turn, wanted = np.arange(COLUMNS) % 10, context.test.first(100).labels
    shown = [rows for rows in given["draw"] + given["decode"] if rows is not None and len(rows) == COLUMNS]
    asked = [rows for rows in given["draw"] + given["decode"] if rows is not None and len(rows) == 100]
    assert (len(shown), len(asked)) == (len(TEMPERATURES) + 1, len(TEMPERATURES) + 2)  # and midway
    assert all((rows.argmax(axis=1) == in_turn).all() for rows in shown)
    assert all((rows.argmax(axis=1) == wanted).all() for rows in asked)
