"""Bounds on the likelihood by a model that infers latents, and what its dimensions hold.

Everything is in nats a picture, by the convention of the losses: −log p(x | z) and the KL divergence are each summed
over a picture, then averaged over pictures.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, UInt8
from pydantic import Field

from sanggar.data.images import Images
from sanggar.evaluation.context import EvaluationContext, Findings, Metric, first_of_each_class
from sanggar.evaluation.statistics import mean_of
from sanggar.models.vae.kl import kl_of_posterior
from sanggar.options import Options
from sanggar.results import Alarm, Json, Measurement, Protocol, Tag
from sanggar.trained import Posterior, Rows, TrainedModel, Vectors

DRAWS = (1, 10, 100)
"""Draws of the importance-weighted bounds; each number divides the last"""
ACTIVE = 0.01
"""Variance of the posterior's mean over pictures above which a dimension is active: Burda et al. 2016, section 5.3"""
LEAST = 1.0
"""Nats a picture below which a posterior has collapsed: they would not even tell three pictures apart"""
FEWEST = 10
"""Pictures from which means that hardly differ say that a posterior has collapsed"""

Values = Float[np.ndarray, "n"]
Table = Float[np.ndarray, "n latent"]
Grid = UInt8[np.ndarray, "rows columns height width channels"]


class BoundsOptions(Options):
    """Options of the metric `bounds`."""

    images: int = Field(default=500, ge=20)
    """test pictures, from the first, that importance-weighted bounds are computed on: a hundred draws of each"""


def measure(context: EvaluationContext, options: BoundsOptions) -> Findings:
    """Measure the bound and its parts, unconditionally and under the condition, and how many dimensions are active."""
    if not context.model.can("posterior"):
        return Findings(_of_density(context, options))
    posterior = context.posterior().astype(np.float64)
    mean, divergences = posterior[:, 0], kl_of_posterior(posterior)
    condition = context.model.rows_of(context.test)
    measurements = _bounds(context, options, divergences, None)
    if condition is not None and context.model.decoder_names:
        measurements += _bounds(context, options, divergences, condition)
    if context.model.learned_prior is not None:
        measurements += _under_prior(context, context.model.learned_prior, None)
        if condition is not None:
            measurements += _under_prior(context, context.model.learned_prior, condition)
    active, alarms = _active_dimensions(context, mean, divergences)
    arrays = {
        "rates": divergences.mean(axis=0),
        "active": mean.var(axis=0) > ACTIVE,
        "reconstructions": _reconstructions(context),
    }
    return Findings([*measurements, active, *_weights(context)], arrays, alarms)


# -- bounds --------------------------------------------------------------------------------------------------------


def _bounds(
    context: EvaluationContext, options: BoundsOptions, divergences: Table, condition: Rows | None
) -> list[Measurement]:
    """Rate, distortion, and their sum, the negative ELBO; with more draws, importance-weighted bounds."""
    model, test, seed = context.model, context.test, context.options.seed
    tags, protocol = _tags(model, condition), _protocol(context)
    if condition is None:
        protocol = protocol.having(condition="none")
    drawn = protocol.having(draws=1, seed=seed, rate="closed form")
    noise, rate = _noise(model, len(test), seed, 0), divergences.sum(axis=1)
    distortion = -model.log_weight_terms(test.pixels, context.posterior(), noise, condition)[:, 0].astype(np.float64)
    measurements = [
        _nats("negative_elbo", distortion + rate, drawn, tags, headline=True),
        _nats("distortion", distortion, drawn, tags),
    ]
    if condition is None:  # the encoder is not conditioned: the rate is the same under any condition
        measurements.append(_nats("rate", rate, protocol, tags))
    if model.likelihood.discrete:
        measurements.append(
            _bits(distortion + rate, test, protocol.having(draws=1, seed=seed), tags, headline=condition is None)
        )
    few = test.first(options.images)
    given = None if condition is None else condition[: len(few)]
    bounds = importance_weighted(model, few, context.posterior()[: len(few)], given, seed)
    weighted = protocol.on(len(few)).having(seed=seed, method="Burda et al. 2016")
    return measurements + [
        _nats("importance_weighted", -bound, weighted, tags | {"draws": draws}) for draws, bound in bounds.items()
    ]


def _under_prior(context: EvaluationContext, prior: str, condition: Rows | None) -> list[Measurement]:
    """Rate and negative ELBO where latents come from a learned prior: by one draw of each posterior."""
    model, test, seed = context.model, context.test, context.options.seed
    mean, log_variance = context.posterior().astype(np.float64).swapaxes(0, 1)
    noise = _noise(model, len(test), seed, 0)
    latents = (mean + np.exp(log_variance / 2) * noise).astype(np.float32)
    probe = np.random.default_rng((seed, 0, 1)).choice(np.array([-1, 1], np.float32), latents.shape)
    entropy = (1 + math.log(2 * math.pi) + log_variance).sum(axis=1) / 2
    rate = -entropy - model.prior_density(latents, probe, condition).astype(np.float64)
    terms = model.log_weight_terms(test.pixels, context.posterior(), noise, condition)
    tags: dict[str, Tag] = {"prior": prior}
    if condition is not None and model.conditions is not None:  # the prior's conditions matter as the decoder's do
        tags["condition"] = ", ".join(model.conditions.names)
    protocol = _protocol(context).having(draws=1, seed=seed, **({"condition": "none"} if condition is None else {}))
    values = rate - terms[:, 0].astype(np.float64)
    found = [_nats("rate", rate, protocol, tags), _nats("negative_elbo", values, protocol, tags)]
    return [*found, _bits(values, test, protocol, tags)] if model.likelihood.discrete else found


def _of_density(context: EvaluationContext, options: BoundsOptions) -> list[Measurement]:
    """The negative bound of a model that knows its density without latents, unconditionally."""
    model, few, seed = context.model, context.test.first(options.images), context.options.seed
    noise = np.random.default_rng((seed, 0)).random((len(few), *model.noise_shape), np.float32)
    values = -model.log_density(few.pixels, noise).astype(np.float64)
    protocol = context.protocol(len(few), pixels=model.likelihood.pixels, condition="none", draws=1, seed=seed)
    return [
        _nats("negative_elbo", values, protocol, {}, headline=True), _bits(values, few, protocol, {}, headline=True),
    ]  # fmt: skip


def importance_weighted(
    model: TrainedModel, images: Images, posterior: Posterior, condition: Rows | None, seed: int
) -> dict[int, Values]:
    """Compute the log of the mean of `k` weights p(x, z) / q(z | x) of each picture, for each `k` of DRAWS.

    Burda et al. 2016 (arXiv:1509.00519), Eq. 8. All of them use the same draws, in groups of `k` whose logarithms are
    averaged: for each picture, the bound can only rise with `k`. Draws are made one after another and none is kept.
    """
    most = DRAWS[-1]
    sums = {k: np.zeros(len(images)) for k in DRAWS}
    group = {k: np.full(len(images), -np.inf) for k in DRAWS}
    for draw in range(most):
        noise = _noise(model, len(images), seed, draw + 1)
        terms = model.log_weight_terms(images.pixels, posterior, noise, condition).astype(np.float64)
        log_weight = terms[:, 0] + terms[:, 1] - terms[:, 2]
        for k in DRAWS:
            group[k] = np.logaddexp(group[k], log_weight)
            if (draw + 1) % k == 0:
                sums[k] += group[k] - math.log(k)
                group[k][:] = -np.inf
    return {k: sums[k] / (most // k) for k in DRAWS}


def _noise(model: TrainedModel, count: int, seed: int, draw: int) -> Vectors:
    """Standard normal noise: another table for each draw."""
    generator = np.random.default_rng((seed, draw))
    return generator.standard_normal((count, model.latent_size), np.float32)


def _protocol(context: EvaluationContext) -> Protocol:
    return context.protocol(len(context.test), pixels=context.model.likelihood.pixels)


def _tags(model: TrainedModel, condition: Rows | None) -> dict[str, Tag]:
    """Names of what the decoder is conditioned on; none where it is used unconditionally."""
    return {} if condition is None else {"condition": ", ".join(model.decoder_names)}


def _nats(
    quantity: str, values: Values, protocol: Protocol, tags: dict[str, Tag], *, headline: bool = False
) -> Measurement:
    return mean_of(
        f"bounds.{quantity}", values, protocol, unit="nats", better="lower", tags=tags, headline=headline
    )  # fmt: skip


def _bits(
    nats: Values, images: Images, protocol: Protocol, tags: dict[str, Tag], *, headline: bool = False
) -> Measurement:
    bits = nats / (math.log(2) * images.pixels[0].size)
    return mean_of(
        "bounds.bits_per_dimension", bits, protocol, unit="bits", better="lower", tags=tags, headline=headline
    )


def _weights(context: EvaluationContext) -> list[Measurement]:
    """Beta at the end of the training; where pixels are normally distributed, what it is beside squared errors."""
    beta, deviation, protocol = context.model.beta, context.model.likelihood.deviation, _protocol(context)
    measurements = []
    if beta is not None:
        summed = protocol.having(convention="nats summed over a picture")
        measurements.append(Measurement(key="bounds.beta", value=beta, protocol=summed))
    if deviation is not None:
        measurements.append(Measurement(key="bounds.deviation", value=deviation, unit="scale", protocol=protocol))
    if beta is not None and deviation is not None:
        # −log p(x | z) is ‖x − m‖² / 2σ² and a constant: times 2σ², the squared errors stand alone
        squared = protocol.having(convention="2σ² · beta, squared errors summed over a picture")
        measurements.append(Measurement(key="bounds.beta_squared", value=2 * deviation**2 * beta, protocol=squared))
    return measurements


# -- dimensions ----------------------------------------------------------------------------------------------------


def _active_dimensions(context: EvaluationContext, mean: Table, divergences: Table) -> tuple[Measurement, list[Alarm]]:
    """Number of active dimensions, and an alarm where the posterior has collapsed."""
    size, active = mean.shape[1], int((mean.var(axis=0) > ACTIVE).sum())
    rate = float(divergences.sum(axis=1).mean())
    measurement = Measurement(
        key="bounds.active_dimensions", value=active, unit="dimensions", better="higher", headline=True,
        protocol=_protocol(context).having(size=size, threshold=ACTIVE, method="Burda et al. 2016"),
    )  # fmt: skip
    collapsed = len(mean) >= FEWEST and (active < 0.1 * size or rate < LEAST)
    values: dict[str, Json] = {"active": active, "size": size, "rate": rate}
    return measurement, [Alarm(key="bounds.collapse", values=values)] if collapsed else []


# -- pictures ------------------------------------------------------------------------------------------------------


def _reconstructions(context: EvaluationContext) -> Grid:
    """Test pictures of each class, reconstructed from the posterior's mean and from a draw of it."""
    model, chosen = context.model, np.array(first_of_each_class(context.test, 10))
    shown = context.test.take(chosen)
    condition, (mean, log_variance) = model.rows_of(shown), context.posterior()[chosen].swapaxes(0, 1)
    drawn = mean + np.exp(log_variance / 2) * _noise(model, len(shown), context.options.seed, 0)
    return np.stack([shown.pixels, model.decode(mean, condition), model.decode(drawn, condition)])


METRIC = Metric(measure, (), BoundsOptions, either=("posterior", "log_density"))
