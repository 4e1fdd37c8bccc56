"""What a representation tells of attributes: linear probes, and whether single dimensions stand for attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import Float

from sanggar.data.images import Attribute, Images, ImageSpec
from sanggar.evaluation.context import EvaluationContext, Findings, Metric
from sanggar.evaluation.measures.disentanglement import (
    BINS,
    TREES,
    dci,
    equal_count_bins,
    importances,
    mutual_information_gap,
)
from sanggar.evaluation.measures.probes import Table, balanced_accuracy, fit, logistic, r_squared, ridge
from sanggar.evaluation.representations import REPRESENTATIONS, measured_once, settings_of
from sanggar.options import Options
from sanggar.plan import measured_attributes
from sanggar.results import NETWORK, PCA, Json, Measurement
from sanggar.runs import Arrays

FEW = 2000
"""Test pictures that disentanglement is measured on, at most"""
HEADLINES = 4
"""Attributes whose probes stand among the first numbers, where there are no more"""


@dataclass(frozen=True)
class Column:
    """An attribute in training and test pictures."""

    attribute: Attribute
    train: Float[np.ndarray, "n"]
    test: Float[np.ndarray, "m"]

    @property
    def is_number(self) -> bool:
        """Whether it is a number, and not a flag or a category."""
        return self.attribute.kind == "number"

    @cached_property
    def varies(self) -> bool:
        """Whether there is anything to tell, in both splits."""
        return len(np.unique(self.train)) > 1 and len(np.unique(self.test)) > 1


def columns_of(spec: ImageSpec, train: Images, test: Images, wanted: Sequence[str] = ()) -> list[Column]:
    """The measured attributes in training and test pictures, where they vary."""
    if train.attributes is None or test.attributes is None:
        return []
    places = [spec.attributes.index(attribute) for attribute in measured_attributes(spec, wanted)]
    columns = [
        Column(spec.attributes[place], np.asarray(train.attributes[:, place]), np.asarray(test.attributes[:, place]))
        for place in places
    ]
    return [column for column in columns if column.varies]


def measure(context: EvaluationContext, options: Options) -> Findings:
    """Measure what each representation tells of each attribute. Empty where the data have no attributes."""
    columns = columns_of(context.model.spec, context.train, context.test, context.options.attributes)
    if not columns:
        return Findings()
    return Findings(_probes(context, columns) + _disentanglement(context, columns))


# -- probes ----------------------------------------------------------------------------------------------------


def _probes(context: EvaluationContext, columns: Sequence[Column]) -> list[Measurement]:
    """Linear probe of each attribute from each representation: balanced accuracy, or R² of a number."""
    seed, names = context.options.seed, [column.attribute.name for column in columns]
    scores = {
        subject: measured_once(context, subject, partial(_probe_scores, columns, seed), "attribute probes", *names)
        for subject in REPRESENTATIONS
    }
    return [
        _probe(context, column, subject, found["scores"][row], int(found["size"][0]), len(columns) <= HEADLINES)
        for row, column in enumerate(columns)
        for subject, found in scores.items()
    ]


def _probe_scores(columns: Sequence[Column], seed: int, train: Table, test: Table) -> Arrays:
    """Score and interval of a probe of each attribute."""
    scores = []
    for column in columns:
        if column.is_number:
            predicted = fit(ridge(len(train)), train, column.train).predict(test)
            value, interval = r_squared(predicted, column.test, seed)
        else:
            right = fit(logistic(balanced=True), train, column.train).predict(test) == column.test
            value, interval = balanced_accuracy(right, column.test)
        scores.append((value, *(interval or (np.nan, np.nan))))
    return {"scores": np.array(scores)}


def _probe(
    context: EvaluationContext, column: Column, subject: str, score: Float[np.ndarray, "3"], size: int, headline: bool
) -> Measurement:
    settings: dict[str, Json] = {**settings_of(context, subject), "kind": column.attribute.kind}
    settings |= {} if subject == NETWORK else {"size": size}
    if column.is_number:
        settings |= {"score": "R²", "floor": 0.0, "method": "ridge regression on standardized features"}
    else:
        method = "logistic regression on standardized features, values weighed alike"
        settings |= {"score": "balanced accuracy", "floor": 1 / len(np.unique(column.test)), "method": method}
    value, low, high = score.tolist()
    protocol = context.protocol(len(context.test), fitted_on=len(context.train))
    return Measurement(
        key="attributes.probe", subject=subject, value=value, better="higher",
        interval=None if np.isnan(low) else (low, high),
        tags={"attribute": column.attribute.name}, headline=headline and subject == NETWORK,
        protocol=protocol.having(**settings),
    )  # fmt: skip


# -- disentanglement -------------------------------------------------------------------------------------------


def _disentanglement(context: EvaluationContext, columns: Sequence[Column]) -> list[Measurement]:
    """Whether single dimensions stand for attributes, in the network's latents and in PCA of the same size."""
    seed, names = context.options.seed, [column.attribute.name for column in columns]
    measurements = []
    for subject in (NETWORK, PCA):
        scores = measured_once(context, subject, partial(_dimension_scores, columns, seed), "disentanglement", *names)
        size: dict[str, Json] = {} if subject == NETWORK else {"size": int(scores["size"][0])}
        protocol = context.protocol(min(len(context.test), FEW), attributes=", ".join(names)).having(**size)
        for name, method in (
            ("mig", f"Chen et al. 2018, {BINS} bins of equal counts"),
            ("disentanglement", f"Eastwood & Williams 2018, importance in {TREES} trees"),
            ("completeness", f"Eastwood & Williams 2018, importance in {TREES} trees"),
        ):
            if name in scores:
                measurements.append(Measurement(
                    key=f"attributes.{name}", subject=subject, value=float(scores[name][0]), better="higher",
                    protocol=protocol.having(method=method),
                ))  # fmt: skip
    return measurements


def _dimension_scores(columns: Sequence[Column], seed: int, train: Table, test: Table) -> Arrays:
    return {name: np.array([value]) for name, value in disentanglement(columns, test[:FEW], seed).items()}


def disentanglement(columns: Sequence[Column], latents: Table, seed: int) -> dict[str, float]:
    """Score latents of the first test pictures: mutual information gap and, of several attributes, both DCI scores.

    Empty where there is one dimension alone.
    """
    if latents.shape[1] < 2:
        return {}
    factors = [(column.test[: len(latents)], column.is_number) for column in columns]
    codes = [equal_count_bins(values) if is_number else values.astype(np.int64) for values, is_number in factors]
    scores = {"mig": float(np.mean([mutual_information_gap(latents, factor) for factor in codes]))}
    if len(columns) > 1:
        scores["disentanglement"], scores["completeness"] = dci(importances(latents, factors, seed))
    return scores


METRIC = Metric(measure, ("encode",))
