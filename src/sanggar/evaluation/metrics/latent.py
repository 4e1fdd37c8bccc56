"""What the latent space keeps apart: probes, neighbours, silhouette and rank, beside PCA and raw pixels."""

from __future__ import annotations

from functools import partial

import numpy as np
from jaxtyping import Float, Int64
from pydantic import Field

from sanggar.data.images import Images
from sanggar.evaluation.context import EvaluationContext, Findings, Metric, first_of_each_class
from sanggar.evaluation.measures.probes import Table, fit, logistic
from sanggar.evaluation.measures.rank import effective_rank
from sanggar.evaluation.representations import REPRESENTATIONS, measured_once, settings_of
from sanggar.evaluation.statistics import mean_of, share_of
from sanggar.options import Options
from sanggar.results import NETWORK, PCA, Alarm, Json, Measurement
from sanggar.runs import Arrays
from sanggar.tools.interpolation import interpolate
from sanggar.tools.projection import project

NEIGHBOURS = 10
MAPPED = 4
"""Pictures that a map needs at least"""
THUMBNAILS = 60
"""Pictures that may be shown on the map"""
WALKS, STEPS = 4, 9
"""Walks between two test pictures, and pictures of each"""
IDLE = 0.1
"""Share of the dimensions below which an effective rank is alarming"""

Classes = tuple[Int64[np.ndarray, "_"], Int64[np.ndarray, "_"]]
"""Labels of training and test pictures"""


class LatentOptions(Options):
    """Options of the metric `latent`."""

    map_images: int = Field(default=2000, ge=20)
    """test pictures on the latent map and in the silhouette"""


def measure(context: EvaluationContext, options: LatentOptions) -> Findings:
    """Measure linear-probe and nearest-neighbour accuracy, silhouette and effective rank of each representation."""
    model, test = context.model, context.test
    classes = _classes(context.train, test)
    key = "latent", classes is not None, options.map_images
    scores = {
        subject: measured_once(context, subject, partial(_scores, classes, options.map_images), *key)
        for subject in REPRESENTATIONS
    }
    measurements = [m for subject, found in scores.items() for m in _measurements(context, subject, found)]
    mapped = len(test.first(options.map_images)) >= MAPPED
    arrays = _map(context, options.map_images) if mapped and test.labels is not None else {}
    arrays |= _strips(context) if model.can("decode") and len(test) > 1 else {}
    enough = len(test) > IDLE * scores[NETWORK]["size"][0] + 1  # n pictures span n - 1 dimensions
    alarms = _alarms(scores[NETWORK]) if enough else []
    if test.labels is not None and not mapped:
        alarms.append(Alarm(key="latent.no_map", values={"n": len(test)}))
    return Findings(measurements, arrays, alarms)


def _classes(train: Images, test: Images) -> Classes | None:
    """Labels of both splits, where there are several classes to tell apart in each."""
    if train.labels is None or test.labels is None:
        return None
    several = all(len(np.unique(labels)) > 1 for labels in (train.labels, test.labels))
    return (train.labels, test.labels) if several else None


def _scores(classes: Classes | None, shown: int, train: Table, test: Table) -> Arrays:
    """Rank of a representation and, picture by picture, what both classifiers tell right and the silhouettes."""
    arrays = {"rank": np.array([effective_rank(test)])} if len(test) > 1 else {}
    if classes is None:
        return arrays
    known, truth = classes
    arrays["probe"] = fit(logistic(), train, known).predict(test) == truth
    arrays["knn"] = _nearest(train, known, test) == truth
    if 1 < len(np.unique(truth[:shown])) < len(truth[:shown]):  # else a class, or a picture, has no others beside it
        arrays["silhouettes"] = _silhouettes(test[:shown], truth[:shown])
    return arrays


def _nearest(train: Table, labels: np.ndarray, test: Table) -> np.ndarray:
    from sklearn.neighbors import KNeighborsClassifier

    return np.asarray(KNeighborsClassifier(min(NEIGHBOURS, len(train))).fit(train, labels).predict(test))


def _silhouettes(table: Table, labels: np.ndarray) -> Float[np.ndarray, "n"]:
    from sklearn.metrics import silhouette_samples

    return np.asarray(silhouette_samples(table, labels), np.float64)


def _measurements(context: EvaluationContext, subject: str, scores: Arrays) -> list[Measurement]:
    """What was measured of one representation."""
    protocol, size = context.protocol(len(context.test)), int(scores["size"][0])
    of_size: dict[str, Json] = {"size": size} if subject == PCA else {}
    fitted = protocol.having(fitted_on=len(context.train), **settings_of(context, subject), **of_size)
    measurements = []
    for name, how, headline in (
        ("probe", fitted.having(method="logistic regression on standardized features"), subject == NETWORK),
        ("knn", fitted.having(neighbours=min(NEIGHBOURS, len(context.train))), False),
    ):
        if name in scores:
            measurements.append(share_of(f"latent.{name}", scores[name], how, subject=subject, headline=headline))
    if "silhouettes" in scores:
        fewer = protocol.on(len(scores["silhouettes"])).having(**of_size)
        measurements.append(mean_of("latent.silhouette", scores["silhouettes"], fewer, subject=subject))
    if "rank" in scores:
        rank = protocol.having(size=size, method="Roy & Vetterli 2007, of centred features")
        measurements.append(Measurement(
            key="latent.rank", subject=subject, value=float(scores["rank"][0]), unit="dimensions", better="higher",
            protocol=rank,
        ))  # fmt: skip
    return measurements


def _map(context: EvaluationContext, shown: int) -> Arrays:
    """Place of each of the first test pictures on a map of the latents, with some thumbnails."""
    few = context.test.first(shown)
    chosen = np.array(first_of_each_class(few, THUMBNAILS))
    assert few.labels is not None
    return {
        "map_places": project(context.latents("test")[: len(few)], context.options.seed),
        "map_labels": few.labels,
        "map_chosen": chosen,
        "map_thumbnails": few.pixels[chosen],
    }


def _strips(context: EvaluationContext) -> Arrays:
    """Walks on the straight line between the latents of two test pictures."""
    pixels = context.test.pixels
    chosen = first_of_each_class(context.test, 2 * WALKS)
    pairs = list(zip(chosen[0::2], chosen[1::2], strict=False))
    strips = [interpolate(context.model, pixels[[a]], pixels[[b]], STEPS) for a, b in pairs]
    ends = np.array(pairs)
    return {"strips": np.stack(strips), "strip_ends": np.stack([pixels[ends[:, 0]], pixels[ends[:, 1]]])}


def _alarms(scores: Arrays) -> list[Alarm]:
    """Alarm where the network leaves most of its dimensions idle."""
    rank, size = float(scores["rank"][0]), int(scores["size"][0])
    return [Alarm(key="latent.idle", values={"rank": rank, "size": size})] if rank < IDLE * size else []


METRIC = Metric(measure, ("encode",), LatentOptions)
