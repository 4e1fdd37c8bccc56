"""What a latent space draws: from the prior and from a fitted mixture, between pictures, along single dimensions.

Of every network that encodes and decodes, whether it has a prior or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from sanggar.data.images import Images
from sanggar.errors import RunError
from sanggar.evaluation.context import Findings, Number, Subject, first_of_each_class, share_interval, taught
from sanggar.evaluation.measures.distances import Moments, cloud, frechet_of, neighbourhoods, too_few
from sanggar.evaluation.metrics.bounds import divergence
from sanggar.instruments.features import FeatureExtractor, Latents, Real, asked_of, drawn_like, look_at, open_extractor
from sanggar.models.base import CHUNK
from sanggar.runs import Arrays
from sanggar.trained import TrainedModel

TEMPERATURES = (1.3, 1.0, 0.8, 0.6, 0.4)
"""What latents of the prior are multiplied with."""
COMPONENTS = 10
"""Of the mixture that latents are fitted with, as Ghosh et al. 2020 (arXiv:1903.12436) chose."""
DRAWN = 2000
"""Pictures that each way of drawing is measured on."""
FLOOR = "training pictures, the floor"
"""What stands beside them: as many, against the same test pictures."""
COLUMNS, CORNERS, STEPS, TRAVERSED = 8, 7, 9, 10
"""Pictures in a row, along an edge of the grid, along a dimension; dimensions that are walked along."""
REACH = 3.0
"""How far, in deviations, to either side."""

Grid = UInt8[np.ndarray, "rows columns height width channels"]


def measure_exploration(subject: Subject) -> Findings:
    """How near drawn pictures come to real ones, by the way in which latents are drawn; and pictures of the space."""
    painter, test = subject.painter, subject.test
    numbers, drawn = _ways(subject)
    return Findings(numbers, {"exploration.corners": _corners(painter, test), **_traversals(painter, test), **drawn})


def _ways(subject: Subject) -> tuple[list[Number], Arrays]:
    """The same draws of the prior at several temperatures, and draws of a mixture that was fitted to the latents."""
    painter, options = subject.painter, subject.options
    train, test = subject.dataset.train, subject.test
    n = min(DRAWN, options.samples, len(test), len(train))
    count = max(n, COLUMNS)
    fitted, components = mixture(painter.encode(train.first(options.probe_images).pixels), count, options.seed)
    ways: list[tuple[str, Latents, float]] = [(f"a mixture of {components} normal distributions", fitted, 1.0)]
    asked = in_turn = None
    if painter.can("sample"):
        latents, asked = painter.latents(count, options.seed), asked_of(painter, test.first(n))
        in_turn = painter.labels(COLUMNS)
        ways = [*((f"the prior at temperature {level:g}", latents, level) for level in TEMPERATURES), *ways]
    pictures: Arrays = {
        "exploration.drawn": np.stack([painter.paint(z[:COLUMNS], in_turn, level) for _, z, level in ways]),
        "exploration.temperatures": np.array([level for _, z, level in ways if z is not fitted]),
        "exploration.components": np.array([components]),
    }  # fmt: skip
    try:
        extractor = open_extractor(subject)
    except RunError:
        return [], pictures  # said where generated pictures are measured
    test = test.first(n)
    stand_ins = train.take(drawn_like(train.labels, test.labels, len(train), n, options.seed))
    real = Real.of(extractor, stand_ins, test, options.seed)
    how = {"split": "test", "n": n, "data": painter.data_name, "seed": options.seed, **extractor.protocol}
    how |= subject.told if asked is None else {}
    numbers = []
    for name, z, level in ways:
        seen = look_at(painter, extractor, z[:n], asked, level)[1]
        fit = {"fitted_on": f"{min(len(train), options.probe_images)} training pictures"} if z is fitted else {}
        given = how | {"drawn_from": name, **fit, **taught(painter, extractor.network)}
        numbers += _lying(extractor, real, seen.features, given, shown=z is fitted)
    return numbers + _lying(extractor, real, real.stand_ins, how | {"drawn_from": FLOOR}, FLOOR), pictures


def _lying(
    extractor: FeatureExtractor, real: Real, features: Float[np.ndarray, "n d"], how: dict[str, Any], subject: str = "network",
    shown: bool = False,
) -> list[Number]:  # fmt: skip
    """Fréchet distance to the test pictures, precision and recall."""
    of, numbers = how["drawn_from"], []
    if not too_few(*features.shape):
        value = frechet_of(Moments.of(features), Moments.of(real.of_test.features))
        number = Number("exploration.frechet", f"{extractor.distance}, from {of}", value, "", "lower", how, subject)
        numbers.append(replace(number, headline=shown))
    lying = neighbourhoods(real.cloud, cloud(features))
    for key, hits in (("precision", lying.precision), ("recall", lying.recall)):
        share, interval = float(hits.mean()), share_interval(hits)
        number = Number(f"exploration.{key}", f"{key}, from {of}", share, "", "higher", how, subject, interval)
        numbers.append(replace(number, headline=shown and key == "recall"))
    return numbers


def mixture(means: Float[np.ndarray, "many latent"], count: int, seed: int) -> tuple[Latents, int]:
    """`count` draws of a Gaussian mixture fitted to latents, in mixed order, and of how many parts it is."""
    from sklearn.mixture import GaussianMixture

    components = max(1, min(COMPONENTS, len(means) // (2 * means.shape[1])))
    fitted = GaussianMixture(components, random_state=seed).fit(means.astype(np.float64))
    drawn, _ = fitted.sample(count)
    return np.random.default_rng(seed).permutation(drawn).astype(np.float32), components


def from_mixture(painter: TrainedModel, count: int, seed: int) -> Iterator[tuple[UInt8[np.ndarray, "n h w c"], None]]:
    """Pictures of latents drawn from a mixture fitted to those of training pictures, some at a time.

    For every network that encodes and decodes: a plain autoencoder has no prior to draw from. Raises RunError where
    it does not, or the data are not the run's; DataError where they are missing.
    """
    painter.need("encode")
    painter.need("decode")
    train = painter.plan.data_of(painter.run).train.first(painter.plan.evaluation.probe_images)
    latents = mixture(painter.encode(train.pixels), count, seed)[0]
    for start in range(0, count, CHUNK):
        yield painter.decode(latents[start : start + CHUNK]), None


# -- pictures ---------------------------------------------------------------------------------------------------


def _corners(painter: TrainedModel, test: Images) -> Grid:
    """A square grid between four test pictures, `(edge, edge, H, W, C)`; what is told of them is mixed as well."""
    shown = test.take(np.array([*first_of_each_class(test, 4)] * 4)[:4])
    pixels = painter.between_four([picture[None] for picture in shown.pixels], CORNERS, painter.told(shown))
    return pixels.reshape(CORNERS, CORNERS, *pixels.shape[1:])


def _traversals(painter: TrainedModel, test: Images) -> Arrays:
    """A test picture's latent, moved along each of the dimensions that hold most, the most first.

    What a dimension holds: where there is a posterior, its KL divergence in nats; else its share of the variance of
    latents in percent. It moves around 0 in deviations of the prior, or around the mean in those of the latents.
    """
    if painter.can("posterior"):
        posterior = painter.posterior(test.pixels).astype(np.float64)
        held = divergence(posterior).mean(axis=0)
        centre, deviation, unit = np.zeros(len(held)), np.ones(len(held)), "nats"
    else:
        latents = painter.encode(test.pixels).astype(np.float64)
        centre, deviation, unit = latents.mean(axis=0), latents.std(axis=0), "% of the variance"
        held = 100 * deviation**2 / max(float((deviation**2).sum()), 1e-12)
    order = np.argsort(-held, kind="stable")[:TRAVERSED]
    shown = test.take(np.array(first_of_each_class(test, 1)))
    told, latent = painter.told(shown), painter.encode(shown.pixels)[0]
    places = np.linspace(-REACH, REACH, STEPS, dtype=np.float32)
    walks = np.tile(latent, (len(order), STEPS, 1))
    for row, dimension in enumerate(order):
        walks[row, :, dimension] = centre[dimension] + places * deviation[dimension]
    flat = walks.reshape(-1, len(latent))
    pixels = painter.decode(flat, None if told is None else np.repeat(told, len(flat), axis=0))
    return {
        "exploration.traversals": pixels.reshape(len(order), STEPS, *pixels.shape[1:]),
        "exploration.traversals.dimensions": order, "exploration.traversals.places": places,
        "exploration.traversals.held": held[order],
        "exploration.traversals.unit": np.frombuffer(unit.encode(), np.uint8),
    }  # fmt: skip
