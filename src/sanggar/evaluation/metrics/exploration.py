"""Pictures drawn from a latent space: from the prior and from a fitted mixture, between pictures, along dimensions.

Of every model that encodes and decodes, whether it has a prior or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float, UInt8
from pydantic import Field

from sanggar.evaluation.context import EvaluationContext, Findings, Metric, first_of_each_class
from sanggar.evaluation.measures.distances import Moments, cloud, frechet_of, neighbourhoods, too_few
from sanggar.evaluation.reference import (
    NotComparable,
    Reference,
    drawn_like,
    extract_chunks,
    extractor_of,
    wanted_like,
)
from sanggar.evaluation.statistics import share_of
from sanggar.instruments.features import FeatureExtractor
from sanggar.models.vae.kl import kl_of_posterior
from sanggar.options import Options
from sanggar.results import FLOOR, NETWORK, PIXELS, Json, Measurement, Protocol, Tag
from sanggar.runs import Arrays
from sanggar.tools.interpolation import between_four
from sanggar.tools.mixture import Mixture, fit_mixture, sample_mixture
from sanggar.trained import Noise, Pixels, Rows

TEMPERATURES = (1.3, 1.0, 0.8, 0.6, 0.4)
"""Factors of the prior's deviation"""
COLUMNS, CORNERS, STEPS, TRAVERSED = 8, 7, 9, 10
"""Pictures in a row, along an edge of the grid, along a dimension; dimensions that are traversed"""
REACH = 3.0
"""Deviations that a traversal goes to either side"""

Grid = UInt8[np.ndarray, "rows columns height width channels"]


class ExplorationOptions(Options):
    """Options of the metric `exploration`."""

    samples: int = Field(default=2000, ge=20)
    """pictures that are drawn in each way and measured; as many as there are test or training pictures, where those
    are fewer"""


@dataclass(frozen=True)
class Source:
    """A way to draw pictures."""

    tags: dict[str, Tag]
    settings: dict[str, Json]
    """for the protocol"""
    noise: Noise
    """or latents: what pictures are drawn from"""
    draw: Callable[[Noise, Rows | None], Pixels]
    headline: bool = False

    def pictures(self, part: slice, rows: Rows | None) -> Pixels:
        """Draw a part of the pictures, under conditions of which there is a row for each of them all."""
        return self.draw(self.noise[part], None if rows is None else rows[part])


def measure(context: EvaluationContext, options: ExplorationOptions) -> Findings:
    """Measure how near drawn pictures come to real ones, by where their latents are drawn from.

    Raises DataError when Inception is asked for and its weights cannot be had.
    """
    n = min(options.samples, len(context.test), len(context.dataset.train))
    mixture = fit_mixture(context.latents("train"), context.options.seed)
    sources = _sources(context, mixture, max(n, COLUMNS))
    traversals, unit = _traversals(context)
    arrays = {"corners": _corners(context), **traversals, **_drawn(context, sources)}
    measurements = _compared(context, sources, n)
    details = dict[str, Json](traversal_unit=unit, prior=context.model.learned_prior)
    arrays["components"] = np.array([len(mixture)])
    return Findings(measurements, arrays, details=details, tools=mixture.arrays())


def _sources(context: EvaluationContext, mixture: Mixture, count: int) -> list[Source]:
    """The same noise of the prior at several temperatures, where there is a prior, and draws from the mixture."""
    model, seed, sources = context.model, context.options.seed, list[Source]()
    if model.can("sample"):
        noise, swept = model.noise(count, seed), model.swept == "temperature"
        for temperature in TEMPERATURES if swept else (1.0,):
            draw = partial(model.draw, temperature=temperature) if swept else model.draw
            tags: dict[str, Tag] = {"source": "prior", "temperature": temperature}
            sources.append(Source(tags, {}, noise, draw))
    if model.learned_prior is not None and model.can("posterior"):
        # what the rate draws latents towards, and what they would be drawn from without a learned prior
        noise = np.random.default_rng(seed).standard_normal((count, model.latent_size), np.float32)
        sources.append(Source({"source": "normal"}, {}, noise, model.decode))
    settings: dict[str, Json] = {"components": len(mixture), "fitted_on": len(context.train)}
    latents = sample_mixture(mixture, count, seed)
    return [*sources, Source({"source": "mixture"}, settings, latents, model.decode, headline=True)]


def _drawn(context: EvaluationContext, sources: list[Source]) -> Arrays:
    """The first pictures of each source, of each class in turn where the model is conditioned on the class."""
    model, test = context.model, context.test
    images = test.take(np.arange(COLUMNS) % len(test))
    if model.by_class:
        images = replace(images, labels=np.arange(COLUMNS) % len(model.spec.classes))
    rows = model.rows_like(images)
    return {
        "drawn": np.stack([source.pictures(slice(COLUMNS), rows) for source in sources]),
        "temperatures": np.array([s.tags["temperature"] for s in sources if "temperature" in s.tags], np.float64),
    }


# -- compared with real pictures -----------------------------------------------------------------------------------


def _compared(context: EvaluationContext, sources: list[Source], n: int) -> list[Measurement]:
    """Each source beside as many test pictures; the floor is as many training pictures in its place."""
    train, test, seed = context.dataset.train, context.test.first(n), context.options.seed
    try:
        extractor = extractor_of(context)
    except NotComparable:
        return []  # where the model samples, the metric `generation` raises an alarm
    stand_ins = train.take(drawn_like(train.labels, test.labels, len(train), n, seed))
    real = Reference.of(extractor, stand_ins, test, seed)
    rows = context.model.rows_like(wanted_like(context.model, test))
    unconditionally = context.unconditionally if rows is None else {}
    protocol = context.protocol(n, seed=seed).having(**extractor.settings, **unconditionally)
    measurements = []
    for source in sources:
        features = extract_chunks(extractor, n, partial(source.pictures, rows=rows))[1].features
        given = protocol.having(**source.settings, **context.trained_on(extractor.network))
        measurements += _beside(real, features, given, NETWORK, source.tags, source.headline)
    measurements += _between(context, extractor, real, rows, protocol)
    return measurements + _beside(real, real.stand_ins, protocol, FLOOR, {}, headline=False)


def _between(
    context: EvaluationContext, extractor: FeatureExtractor, real: Reference, rows: Rows | None, protocol: Protocol
) -> list[Measurement]:
    """Pictures midway between the latents of two training pictures, and the mean of their pixels in their place.

    Of training pictures: between test pictures they would be compared with those that they were made of.
    """
    n, latents, pixels = protocol.n, context.latents("train"), context.train.pixels
    draw = np.random.default_rng(context.options.seed)
    one = draw.integers(len(latents), size=n)
    other = (one + draw.integers(1, max(2, len(latents)), size=n)) % len(latents)

    def midway(part: slice) -> Pixels:
        between = (latents[one[part]] + latents[other[part]]) / 2
        return context.model.decode(between, None if rows is None else rows[part])

    def blended(part: slice) -> Pixels:
        whole = pixels[one[part]].astype(np.uint16) + pixels[other[part]]
        return np.asarray((whole + 1) // 2, np.uint8)

    given = protocol.having(among=len(latents))
    trained_on = context.trained_on(extractor.network)
    measurements = []
    for subject, pictures, how in ((NETWORK, midway, given.having(**trained_on)), (PIXELS, blended, given)):
        features = extract_chunks(extractor, n, pictures)[1].features
        measurements += _beside(real, features, how, subject, {"source": "midpoint"}, headline=False)
    return measurements


def _beside(
    real: Reference, features: Float[np.ndarray, "n d"], protocol: Protocol, subject: str, tags: dict[str, Tag],
    headline: bool,
) -> list[Measurement]:  # fmt: skip
    """Fréchet distance to the test pictures, precision and recall."""
    measurements = []
    if not too_few(*features.shape):
        measurements.append(Measurement(
            key="exploration.frechet", subject=subject, better="lower", tags=tags, protocol=protocol, headline=headline,
            value=frechet_of(Moments.of(features), Moments.of(real.of_test.features)),
        ))  # fmt: skip
    among = neighbourhoods(real.cloud, cloud(features))
    for quantity, hits, first in (("precision", among.precision, False), ("recall", among.recall, headline)):
        measurements.append(
            share_of(f"exploration.{quantity}", hits, protocol, subject=subject, tags=tags, headline=first)
        )
    return measurements


# -- pictures of the space -----------------------------------------------------------------------------------------


def _corners(context: EvaluationContext) -> Grid:
    """A square grid between the latents of four test pictures, their conditions mixed as well."""
    test = context.test
    shown = test.take(np.array([*first_of_each_class(test, 4)] * 4)[:4])
    condition = context.model.rows_of(shown)
    pixels = between_four(context.model, [picture[None] for picture in shown.pixels], CORNERS, condition)
    return pixels.reshape(CORNERS, CORNERS, *pixels.shape[1:])


def _traversals(context: EvaluationContext) -> tuple[Arrays, str]:
    """A test picture's latent, moved along each of the dimensions that hold most, the most first; and the unit.

    What a dimension holds: where there is a posterior, its KL divergence in nats; else its share of the variance of
    latents in percent. It moves around 0 in deviations of the prior, or around the mean in those of the latents.
    """
    model, test = context.model, context.test
    if model.can("posterior"):
        held = kl_of_posterior(context.posterior().astype(np.float64)).mean(axis=0)
        centre, deviation, unit = np.zeros(len(held)), np.ones(len(held)), "nats"
    else:
        latents = context.latents("test").astype(np.float64)
        centre, deviation, unit = latents.mean(axis=0), latents.std(axis=0), "variance_percent"
        held = 100 * deviation**2 / max(float((deviation**2).sum()), 1e-12)
    order = np.argsort(-held, kind="stable")[:TRAVERSED]
    position = first_of_each_class(test, 1)[0]
    condition, latent = model.rows_of(test.take(np.array([position]))), context.latents("test")[position]
    places = np.linspace(-REACH, REACH, STEPS, dtype=np.float32)
    walks = np.tile(latent, (len(order), STEPS, 1))
    for row, dimension in enumerate(order):
        walks[row, :, dimension] = centre[dimension] + places * deviation[dimension]
    flat = walks.reshape(-1, len(latent))
    pixels = model.decode(flat, None if condition is None else np.repeat(condition, len(flat), axis=0))
    return {
        "traversals": pixels.reshape(len(order), STEPS, *pixels.shape[1:]), "traversal_dimensions": order,
        "traversal_places": places, "traversal_held": held[order],
    }, unit  # fmt: skip


METRIC = Metric(measure, ("encode", "decode"), ExplorationOptions)
