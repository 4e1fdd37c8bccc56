"""Representations that the network's latents are compared with: PCA of the same size, and the pixels themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sanggar.evaluation.context import EvaluationContext
from sanggar.evaluation.measures.probes import Table, block_edge, principal_components
from sanggar.instruments.cache import cached
from sanggar.results import NETWORK, PCA, PIXELS
from sanggar.runs import Arrays

REPRESENTATIONS = (NETWORK, PCA, PIXELS)


def measured_once(
    context: EvaluationContext, subject: str, measure: Callable[[Table, Table], Arrays], *key: object
) -> Arrays:
    """Arrays that `measure` gives for a representation's training and test table, with the table's width as `size`.

    PCA and pixels depend on the data alone: what is measured of them is kept for all runs. `key` names what they
    depend on beside data, size and seed.
    """

    def compute() -> Arrays:
        train, test = _tables(context, subject)
        return measure(train, test) | {"size": np.array([test.shape[1]])}

    if subject == NETWORK:
        return compute()
    size = context.latents("train").shape[1] if subject == PCA else 0
    counts = len(context.train), len(context.test)
    return cached((*key, subject, *context.data_key, size, *counts, context.options.seed), compute)


def settings_of(context: EvaluationContext, subject: str) -> dict[str, int]:
    """For a protocol: edge of the blocks whose means are the features, where pixels are not taken as they are."""
    edge = block_edge(context.model.spec.height, context.model.spec.width)
    return {"block": edge} if edge > 1 and subject != NETWORK else {}


def _tables(context: EvaluationContext, subject: str) -> tuple[Table, Table]:
    """Training and test pictures as features."""
    if subject == NETWORK:
        return context.latents("train"), context.latents("test")
    if subject == PIXELS:
        return context.pixel_table("train"), context.pixel_table("test")
    components: tuple[Table, Table] = context.once("principal components", compute=lambda: _components(context))
    return components


def _components(context: EvaluationContext) -> tuple[Table, Table]:
    """Principal components of the pixels, as many as the latent has numbers, fitted on training pictures."""
    train, test = context.pixel_table("train"), context.pixel_table("test")
    pca = principal_components(train, context.latents("train").shape[1], context.options.seed)
    return pca.transform(train), pca.transform(test)
