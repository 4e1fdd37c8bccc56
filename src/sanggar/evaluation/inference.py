"""What a model that infers latents says of pictures: the bound and its parts, its dimensions, and what it can draw.

Everything is in nats a picture, by the convention of the losses: −log p(x | z) and the KL divergence are each summed
over a picture, then averaged over pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from sanggar.data.images import Images
from sanggar.errors import RunError
from sanggar.evaluation.distances import Moments, cloud, frechet_of, neighbourhoods, too_few
from sanggar.evaluation.protocol import Findings, Number, Subject, averaged, first_of_each_class, share_interval
from sanggar.evaluation.rulers import Latents, Real, Ruler, asked_of, look_at, open_ruler
from sanggar.models.family import CHUNK
from sanggar.painter import Painter, Told
from sanggar.runs import Arrays

DRAWS = (1, 10, 100)
"""Of the importance-weighted bound; each divides the last."""
ACTIVE = 0.01
"""A dimension is active where the posterior's mean varies by more over the pictures: Burda et al. 2016, section 5.3."""
LEAST = 1.0
"""Nats that a picture's latent holds unless it has collapsed: less does not even tell three pictures apart."""
TEMPERATURES = (1.3, 1.0, 0.8, 0.6, 0.4)
"""What latents of the prior are multiplied with."""
COMPONENTS = 10
"""Of the mixture that the posterior's means are fitted with, as Ghosh et al. 2020 (arXiv:1903.12436) chose."""
DRAWN = 2000
"""Pictures that each way of drawing is measured on."""
FLOOR = "training pictures, the floor"
"""What stands beside them: as many, against the same test pictures."""
COLUMNS, CORNERS, STEPS, TRAVERSED = 8, 7, 9, 10
"""Pictures in a row, along an edge of the grid, along a dimension; dimensions that are walked along."""
REACH = 3.0
"""How far, in deviations of the prior, to either side."""

Values = Float[np.ndarray, "n"]
Table = Float[np.ndarray, "n latent"]
Grid = UInt8[np.ndarray, "rows columns height width channels"]


def measure_inference(subject: Subject) -> Findings:
    """The bound, told and untold; what the dimensions hold; pictures from the prior and from a fitted mixture."""
    painter, test = subject.painter, subject.test
    posterior = painter.posterior(test.pixels).astype(np.float64)
    mean, divergences = posterior[:, 0], divergence(posterior)
    told = painter.told(test)
    numbers = _bound(subject, divergences, None)
    if told is not None:
        numbers += _bound(subject, divergences, told)
    found, alarms = _dimensions(subject, mean, divergences)
    measured, drawn = _ways(subject)
    held = divergences.mean(axis=0)
    pictures = {
        "inference.rates": held, "inference.active": mean.var(axis=0) > ACTIVE,
        "inference.reconstructions": _reconstructions(painter, test, subject.options.seed),
        "inference.corners": _corners(painter, test), **_traversals(painter, test, held), **drawn,
    }  # fmt: skip
    return Findings(numbers + found + _weights(subject) + measured, pictures, alarms)


def divergence(posterior: Float[np.ndarray, "n 2 latent"]) -> Table:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each dimension of each picture, in nats (Kingma & Welling 2014, appendix B)."""
    mean, log_variance = posterior[:, 0], posterior[:, 1]
    return np.asarray((mean**2 + np.exp(log_variance) - log_variance - 1) / 2)


# -- the bound -----------------------------------------------------------------------------------------------------


def _bound(subject: Subject, divergences: Table, told: Told | None) -> list[Number]:
    """Rate, distortion, and the negative bound that is their sum; with more draws, the importance-weighted one."""
    painter, test, seed = subject.painter, subject.test, subject.options.seed
    how = _protocol(subject, len(test)) | {"told": _named(painter, told)}
    suffix = "" if told is None else f", told {how['told']}"
    rate = divergences.sum(axis=1)
    distortion = -painter.weigh(test.pixels, _noise(painter, len(test), seed, 0), told)[:, 0].astype(np.float64)
    drawn = how | {"draws": 1, "seed": seed, "rate": "in closed form"}
    numbers = [
        _nats("bound", f"negative bound{suffix}", distortion + rate, drawn, headline=True),
        _nats("distortion", f"distortion, −log p(x | z){suffix}", distortion, drawn),
    ]
    if told is None:
        numbers.append(_nats("rate", "rate, KL(q(z | x) ‖ p(z))", rate, how))
    if painter.model.likelihood.discrete:
        bits = (distortion + rate) / (math.log(2) * test.pixels[0].size)
        said, first = f"negative bound in bits per dimension{suffix}", told is None
        numbers.append(averaged("inference.bits", said, bits, drawn, unit="bits", better="lower", headline=first))
    few = test.first(subject.options.bound_images)
    told_few = None if told is None else told[: len(few)]
    for draws, bound in importance_bounds(painter, few, told_few, seed).items():
        weighted = how | {"n": len(few), "draws": draws, "seed": seed, "method": "Burda et al. 2016"}
        of = f"{draws} draw" if draws == 1 else f"{draws} draws"
        numbers.append(_nats("importance", f"negative importance-weighted bound, {of}{suffix}", -bound, weighted))
    return numbers


def importance_bounds(painter: Painter, images: Images, told: Told | None, seed: int) -> dict[int, Values]:
    """log of the mean of `k` weights p(x, z) / q(z | x), of each picture, for each `k` of DRAWS (Burda et al. 2016).

    All of them stand on the same draws, in groups of `k` whose logarithms are averaged: for each picture, the bound
    can only rise with `k`. A draw is looked at and forgotten.
    """
    most = DRAWS[-1]
    sums = {k: np.zeros(len(images)) for k in DRAWS}
    group = {k: np.full(len(images), -np.inf) for k in DRAWS}
    for draw in range(most):
        weighed = painter.weigh(images.pixels, _noise(painter, len(images), seed, draw + 1), told).astype(np.float64)
        log_weight = weighed[:, 0] + weighed[:, 1] - weighed[:, 2]
        for k in DRAWS:
            group[k] = np.logaddexp(group[k], log_weight)
            if (draw + 1) % k == 0:
                sums[k] += group[k] - math.log(k)
                group[k][:] = -np.inf
    return {k: sums[k] / (most // k) for k in DRAWS}


def _noise(painter: Painter, count: int, seed: int, draw: int) -> Latents:
    """Standard normal numbers: another table for each draw."""
    draws = np.random.default_rng((seed, draw))
    return draws.standard_normal((count, painter.model.latent_size), np.float32)


def _protocol(subject: Subject, n: int) -> dict[str, Any]:
    pixels = subject.painter.model.likelihood.pixels
    return {"split": "test", "n": n, "data": subject.painter.data_name, "pixels": pixels}


def _named(painter: Painter, told: Told | None) -> str:
    return "nothing" if told is None or painter.conditions is None else ", ".join(painter.conditions.names)


def _nats(key: str, label: str, values: Values, protocol: dict[str, Any], headline: bool = False) -> Number:
    return averaged(f"inference.{key}", label, values, protocol, unit="nats", better="lower", headline=headline)


def _weights(subject: Subject) -> list[Number]:
    """beta as it was at the end; and, where pixels are normally distributed, what it is beside squared errors."""
    model, how = subject.painter.model, _protocol(subject, len(subject.test))
    beta, deviation = getattr(model, "beta", None), getattr(model.likelihood, "deviation", None)
    numbers = []
    if beta is not None:
        both = {"convention": "both terms in nats, summed over a picture"}
        numbers.append(Number("inference.beta", "beta", beta, "", "lower", how | both))
    if deviation is not None:
        said = "deviation of the pixels"
        numbers.append(Number("inference.deviation", said, deviation, "on [-1, 1]", "lower", how))
    if beta is not None and deviation is not None:
        # −log p(x | z) is ‖x − m‖² / 2σ² and a constant: times 2σ², the squared errors stand alone
        said = "beta beside the summed squared error"
        squared = {"convention": "2σ² · beta, pixels on [-1, 1], squared errors summed over a picture"}
        numbers.append(Number("inference.beta_squared", said, 2 * deviation**2 * beta, "", "lower", how | squared))
    return numbers


# -- dimensions ----------------------------------------------------------------------------------------------------


def _dimensions(subject: Subject, mean: Table, divergences: Table) -> tuple[list[Number], list[str]]:
    """How many dimensions are in use, and an alarm where nearly none is."""
    size = mean.shape[1]
    active = float((mean.var(axis=0) > ACTIVE).sum())
    rate = float(divergences.sum(axis=1).mean())
    method = {"size": size, "method": f"the posterior's mean varies by more than {ACTIVE:g} (Burda et al. 2016)"}
    protocol = _protocol(subject, len(mean)) | method
    number = Number("inference.active", "active dimensions", active, f"of {size}", "higher", protocol, headline=True)
    alarms = []
    if active < 0.1 * size or rate < LEAST:
        alarms.append(
            f"Posterior collapse: {active:.0f} of {size} dimensions are active, and a picture's latent tells "
            f"{rate:.2g} nats of it. Less beta, a warm-up or free bits keep more of them in use."
        )
    return [number], alarms


# -- drawing -------------------------------------------------------------------------------------------------------


def _ways(subject: Subject) -> tuple[list[Number], Arrays]:
    """The same draws of the prior at several temperatures, and draws of a mixture that was fitted to the latents."""
    painter, options = subject.painter, subject.options
    if not painter.can("sample") or not painter.can("encode"):
        return [], {}
    train, test = subject.dataset.train, subject.test
    n = min(DRAWN, options.samples, len(test), len(train))
    latents, asked = painter.latents(max(n, COLUMNS), options.seed), asked_of(painter, test.first(n))
    fitted, components = mixture(painter.encode(train.first(options.probe_images).pixels), len(latents), options.seed)
    ways: list[tuple[str, Latents, float]] = [
        (f"the prior at temperature {level:g}", latents, level) for level in TEMPERATURES
    ]
    ways.append((f"a mixture of {components} normal distributions", fitted, 1.0))
    in_turn = painter.labels(COLUMNS)
    pictures: Arrays = {
        "inference.drawn": np.stack([painter.paint(z[:COLUMNS], in_turn, level) for _, z, level in ways]),
        "inference.temperatures": np.array(TEMPERATURES), "inference.components": np.array([components]),
    }  # fmt: skip
    try:
        ruler = open_ruler(subject)
    except RunError:
        return [], pictures  # said where generated pictures are measured
    real = Real.of(ruler, train, test.first(n), options.seed)
    how = _protocol(subject, n) | {"seed": options.seed, **ruler.protocol}
    numbers = []
    for name, z, level in ways:
        seen = look_at(painter, ruler, z[:n], asked, level)[1]
        fit = {"fitted_on": f"{min(len(train), options.probe_images)} training pictures"} if z is fitted else {}
        numbers += _lying(ruler, real, seen.features, how | {"drawn_from": name, **fit})
    return numbers + _lying(ruler, real, real.stand_ins, how | {"drawn_from": FLOOR}, FLOOR), pictures


def _lying(
    ruler: Ruler, real: Real, features: Float[np.ndarray, "n d"], how: dict[str, Any], subject: str = "network"
) -> list[Number]:
    """Fréchet distance to the test pictures, precision and recall."""
    of, numbers = how["drawn_from"], []
    if not too_few(*features.shape):
        value = frechet_of(Moments.of(features), Moments.of(real.of_test.features))
        numbers.append(Number("inference.frechet", f"{ruler.distance}, from {of}", value, "", "lower", how, subject))
    lying = neighbourhoods(real.cloud, cloud(features))
    for key, hits in (("precision", lying.precision), ("recall", lying.recall)):
        share, interval = float(hits.mean()), share_interval(hits)
        numbers.append(Number(f"inference.{key}", f"{key}, from {of}", share, "", "higher", how, subject, interval))
    return numbers


def mixture(means: Float[np.ndarray, "many latent"], count: int, seed: int) -> tuple[Latents, int]:
    """`count` draws of a Gaussian mixture fitted to latents, in mixed order, and of how many parts it is."""
    from sklearn.mixture import GaussianMixture

    components = max(1, min(COMPONENTS, len(means) // (2 * means.shape[1])))
    fitted = GaussianMixture(components, random_state=seed).fit(means.astype(np.float64))
    drawn, _ = fitted.sample(count)
    return np.random.default_rng(seed).permutation(drawn).astype(np.float32), components


def from_mixture(painter: Painter, count: int, seed: int) -> Iterator[tuple[UInt8[np.ndarray, "n h w c"], None]]:
    """Pictures of latents drawn from a mixture fitted to those of training pictures, some at a time.

    For every network that encodes and decodes: a plain autoencoder has no prior to draw from. Raises RunError where
    it does not, DataError where the training pictures are not there.
    """
    painter.need("encode")
    painter.need("decode")
    plan = painter.plan
    train = plan.source.load(plan.data).train.first(plan.evaluation.probe_images)
    latents = mixture(painter.encode(train.pixels), count, seed)[0]
    for start in range(0, count, CHUNK):
        yield painter.decode(latents[start : start + CHUNK]), None


# -- pictures ------------------------------------------------------------------------------------------------------


def _reconstructions(painter: Painter, test: Images, seed: int) -> Grid:
    """Test pictures of each class, what comes back from the posterior's mean, and from a draw of it."""
    shown = test.take(np.array(first_of_each_class(test, 10)))
    told, (mean, log_variance) = painter.told(shown), painter.posterior(shown.pixels).swapaxes(0, 1)
    drawn = mean + np.exp(log_variance / 2) * _noise(painter, len(shown), seed, 0)
    return np.stack([shown.pixels, painter.decode(mean, told), painter.decode(drawn, told)])


def _corners(painter: Painter, test: Images) -> Grid:
    """A square grid between four test pictures, `(edge, edge, H, W, C)`; what is told of them is mixed as well."""
    shown = test.take(np.array([*first_of_each_class(test, 4)] * 4)[:4])
    told = painter.told(shown)
    shares = np.stack(list(_shares(CORNERS))).astype(np.float32)
    latents = shares @ painter.encode(shown.pixels)
    pixels = painter.decode(latents, None if told is None else shares @ told)
    return pixels.reshape(CORNERS, CORNERS, *pixels.shape[1:])


def _shares(edge: int) -> Iterator[Float[np.ndarray, "4"]]:
    """Of each place in a square: how much of each corner, in reading order."""
    for down in np.linspace(0, 1, edge):
        for right in np.linspace(0, 1, edge):
            yield np.array([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right])


def _traversals(painter: Painter, test: Images, held: Values) -> Arrays:
    """A test picture's latent, moved along each of the dimensions that hold most, the most first."""
    order = np.argsort(-held, kind="stable")[:TRAVERSED]
    shown = test.take(np.array(first_of_each_class(test, 1)))
    told, latent = painter.told(shown), painter.encode(shown.pixels)[0]
    places = np.linspace(-REACH, REACH, STEPS, dtype=np.float32)
    latents = np.tile(latent, (len(order), STEPS, 1))
    for row, dimension in enumerate(order):
        latents[row, :, dimension] = places
    flat = latents.reshape(-1, len(latent))
    pixels = painter.decode(flat, None if told is None else np.repeat(told, len(flat), axis=0))
    return {
        "inference.traversals": pixels.reshape(len(order), STEPS, *pixels.shape[1:]),
        "inference.traversals.dimensions": order, "inference.traversals.places": places,
        "inference.traversals.start": latent[order],
    }  # fmt: skip
