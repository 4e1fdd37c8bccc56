"""What a model that infers latents says of pictures: the bound and its parts, and its dimensions.

Everything is in nats a picture, by the convention of the losses: −log p(x | z) and the KL divergence are each summed
over a picture, then averaged over pictures.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from sanggar.data.images import Images
from sanggar.evaluation.context import Findings, Number, Subject, averaged, first_of_each_class
from sanggar.instruments.features import Latents
from sanggar.trained import Told, TrainedModel

DRAWS = (1, 10, 100)
"""Of the importance-weighted bound; each divides the last."""
ACTIVE = 0.01
"""A dimension is active where the posterior's mean varies by more over the pictures: Burda et al. 2016, section 5.3."""
LEAST = 1.0
"""Nats that a picture's latent holds unless it has collapsed: less does not even tell three pictures apart."""
Values = Float[np.ndarray, "n"]
Table = Float[np.ndarray, "n latent"]
Grid = UInt8[np.ndarray, "rows columns height width channels"]


def measure_inference(subject: Subject) -> Findings:
    """The bound, told and untold; what the dimensions hold; pictures as they come back."""
    painter, test = subject.painter, subject.test
    posterior = painter.posterior(test.pixels).astype(np.float64)
    mean, divergences = posterior[:, 0], divergence(posterior)
    told = painter.told(test)
    numbers = _bound(subject, divergences, None)
    if told is not None:
        numbers += _bound(subject, divergences, told)
    found, alarms = _dimensions(subject, mean, divergences)
    held = divergences.mean(axis=0)
    pictures = {
        "inference.rates": held,
        "inference.active": mean.var(axis=0) > ACTIVE,
        "inference.reconstructions": _reconstructions(painter, test, subject.options.seed),
    }
    return Findings(numbers + found + _weights(subject), pictures, alarms)


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


def importance_bounds(painter: TrainedModel, images: Images, told: Told | None, seed: int) -> dict[int, Values]:
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


def _noise(painter: TrainedModel, count: int, seed: int, draw: int) -> Latents:
    """Standard normal numbers: another table for each draw."""
    draws = np.random.default_rng((seed, draw))
    return draws.standard_normal((count, painter.model.latent_size), np.float32)


def _protocol(subject: Subject, n: int) -> dict[str, Any]:
    pixels = subject.painter.model.likelihood.pixels
    return {"split": "test", "n": n, "data": subject.painter.data_name, "pixels": pixels}


def _named(painter: TrainedModel, told: Told | None) -> str:
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


# -- pictures ------------------------------------------------------------------------------------------------------


def _reconstructions(painter: TrainedModel, test: Images, seed: int) -> Grid:
    """Test pictures of each class, what comes back from the posterior's mean, and from a draw of it."""
    shown = test.take(np.array(first_of_each_class(test, 10)))
    told, (mean, log_variance) = painter.told(shown), painter.posterior(shown.pixels).swapaxes(0, 1)
    drawn = mean + np.exp(log_variance / 2) * _noise(painter, len(shown), seed, 0)
    return np.stack([shown.pixels, painter.decode(mean, told), painter.decode(drawn, told)])
