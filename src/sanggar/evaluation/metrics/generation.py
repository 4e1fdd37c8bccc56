"""How good generated pictures are: distances to real ones beside their floor, variety, obedience to the condition.

Generated and real pictures are compared by features, always as many of each, and always with test pictures. The floor
of a value is what it is when training pictures stand in for generated ones, or test pictures where
nearness to training pictures is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from sanggar.evaluation.context import EvaluationContext, Findings, Metric
from sanggar.evaluation.generated_pictures import (
    COLUMNS,
    neighbour_pictures,
    shown_pictures,
    solver_curves,
    sweeps,
    truncation_sweep,
)
from sanggar.evaluation.measures.distances import (
    COVER,
    MANIFOLD,
    NEAREST,
    Cloud,
    Moments,
    cloud,
    frechet_of,
    kernel_distance,
    nearest,
    neighbourhoods,
    too_few,
)
from sanggar.evaluation.reference import NotComparable, Reference, draw_and_extract, extractor_of, wanted_like
from sanggar.evaluation.statistics import mean_of, share_of
from sanggar.instruments.cache import cached
from sanggar.instruments.features import FeatureExtractor, Features
from sanggar.instruments.judge import Judge
from sanggar.models.conditions import CLASS
from sanggar.options import Options
from sanggar.results import FLOOR, NETWORK, Alarm, Better, Json, Measurement, Protocol, Tag
from sanggar.runs import Arrays
from sanggar.trained import Labels, Rows

SUBSETS, SUBSET_SIZE = 50, 1000
"""Subsets of the kernel distance, and pictures in each"""
RARE = 0.01
"""Share of test pictures that are nearer to another picture than what then counts as near"""
HEADLINES = ("precision", "recall", "agreement")
"""Shares to look at first"""

DIRECTIONS: dict[str, Better | None] = {
    "precision": "higher", "recall": "higher", "density": "higher", "coverage": "higher", "nearest": None,
    "memorization": "lower", "duplicates": "lower",
}  # fmt: skip
"""Measures of variety, and where better lies: nowhere for `nearest`, which neither a copy nor a blot does well in"""
NEARNESS = ("nearest", "memorization")
"""Measures of nearness to training pictures: of test pictures at their floor, as the nearest to a training picture is
itself"""


class GenerationOptions(Options):
    """Options of the metric `generation`."""

    samples: int = Field(default=10_000, ge=20)
    """pictures that are generated and measured; as many as there are test or training pictures, where those are
    fewer"""


@dataclass(frozen=True)
class Comparison:
    """Generated pictures beside real ones, by their features."""

    context: EvaluationContext
    extractor: FeatureExtractor
    real: Reference
    features: Features
    """of the generated pictures"""
    labels: Labels | None
    """classes asked for; None where the model is not conditioned on the class"""
    protocol: Protocol


def measure(context: EvaluationContext, options: GenerationOptions) -> Findings:
    """Measure Fréchet and kernel distance, precision, recall, density, coverage, memorization, duplicates, obedience.

    Where the pictures cannot be compared, they are shown, and an alarm says why. Raises DataError when Inception is
    asked for and its weights cannot be had.
    """
    model, train, seed = context.model, context.dataset.train, context.options.seed
    arrays, details = shown_pictures(model, context.test, seed), dict[str, Json](columns=COLUMNS)
    try:
        extractor = extractor_of(context)
    except NotComparable as reason:
        return Findings([], arrays, [Alarm(key="generation.not_measured", values=reason.values)], details)
    n = min(options.samples, len(context.test), len(train))
    real = Reference.of(extractor, train, context.test.first(n), seed)
    noise, wanted = model.noise(n, seed), wanted_like(model, real.test)
    rows = model.rows_like(wanted)
    few, features = draw_and_extract(model, extractor, noise, rows)
    protocol = context.protocol(n, seed=seed).having(
        **extractor.settings, floor="train", **_condition(context, rows), **context.trained_on(extractor.network)
    )
    labels = wanted.labels if model.by_class else None
    comparison = Comparison(context, extractor, real, features, labels, protocol)
    measurements, alarms = list[Measurement](), list[Alarm]()
    for measured, raised in (_distances(comparison), _variety(comparison), _obedience(comparison)):
        measurements, alarms = measurements + measured, alarms + raised
    arrays |= neighbour_pictures(real, features, few)
    if sweeps(model):
        curves, details["truncation_n"] = truncation_sweep(model, extractor, real, noise, rows, features)
        arrays |= curves
    if model.solvers:
        curves, how = solver_curves(model, extractor, real, noise, rows)
        arrays, details = arrays | curves, details | how
    return Findings(measurements, arrays, alarms, details)


def _condition(context: EvaluationContext, rows: Rows | None) -> dict[str, Json]:
    """For the protocol: names of what pictures were given, or "none"; nothing where it was the class alone."""
    conditions = context.model.conditions
    if rows is None or conditions is None:
        return context.unconditionally
    given = [name for name in conditions.names if rows[:, conditions.place(name)].any()]
    return {} if given == [CLASS] else {"condition": ", ".join(given)}


# -- distances -------------------------------------------------------------------------------------------------


def _distances(of: Comparison) -> tuple[list[Measurement], list[Alarm]]:
    """Fréchet and kernel distance to the test pictures, of the network and of training pictures."""
    real, features = of.real, of.features.features
    measurements, alarms, (n, size) = list[Measurement](), list[Alarm](), features.shape
    if too_few(n, size):
        network = of.extractor.network.name
        alarms.append(Alarm(key="generation.no_distance", values={"network": network, "n": n, "size": size}))
    else:
        test = Moments.of(real.of_test.features)
        floor = cached(
            ("frechet", *real.key), lambda: {"value": np.array([frechet_of(Moments.of(real.stand_ins), test)])}
        )
        for subject, value in (
            (NETWORK, frechet_of(Moments.of(features), test)), (FLOOR, float(floor["value"][0])),
        ):  # fmt: skip
            measurements.append(_distance("frechet", value, of.protocol, subject, headline=subject == NETWORK))
    return measurements + _kernel_distances(of), alarms


def _kernel_distances(of: Comparison) -> list[Measurement]:
    """Kernel distance, in the mean over subsets and its deviation among them."""
    real, seed = of.real, of.context.options.seed
    subset = min(SUBSET_SIZE, len(of.features.features) // 2)

    def kernel(features: Float[np.ndarray, "n d"]) -> Arrays:
        return {"found": np.array(kernel_distance(features, real.of_test.features, SUBSETS, subset, seed))}

    protocol = of.protocol.having(method="Bińkowski et al. 2018", subsets=SUBSETS, subset_size=subset)
    floor, measurements = cached(("kernel", SUBSETS, subset, *real.key), lambda: kernel(real.stand_ins)), []
    for subject, arrays in ((NETWORK, kernel(of.features.features)), (FLOOR, floor)):
        mean, deviation = map(float, arrays["found"])
        measurements += [
            _distance("kernel", mean, protocol, subject, headline=subject == NETWORK),
            _distance("kernel_deviation", deviation, protocol, subject),
        ]
    return measurements


def _class_distances(of: Comparison, asked: Labels, truth: Labels) -> tuple[list[Measurement], list[Alarm]]:
    """Fréchet distance of each class that has pictures enough, and an alarm for the others."""
    real, size = of.real, of.features.features.shape[1]
    of_drawn = None if real.train.labels is None else real.train.labels[real.drawn]
    measurements, left_out = list[Measurement](), list[Json]()
    for index, name in enumerate(of.context.model.spec.classes):
        test = real.of_test.features[truth == index]
        if too_few(len(test), size):
            left_out.append({"class": name, "n": len(test)})
            continue
        moments = Moments.of(test)
        for subject, labels, features in (
            (NETWORK, asked, of.features.features), (FLOOR, of_drawn, real.stand_ins),
        ):  # fmt: skip
            if labels is None or too_few(int((labels == index).sum()), size):
                continue
            value = frechet_of(Moments.of(features[labels == index]), moments)
            measurements.append(
                _distance("class_frechet", value, of.protocol.on(len(test)), subject, tags={"class": name})
            )
    # where no class has pictures enough for the judge's own features, the data is small, and nothing is amiss
    small = not measurements and of.extractor.network is of.extractor.judge
    alarm = Alarm(key="generation.no_class_distance", values={"size": size, "classes": left_out})
    return measurements, [alarm] if left_out and not small else []


def _distance(
    quantity: str, value: float, protocol: Protocol, subject: str, *, tags: dict[str, Tag] | None = None,
    headline: bool = False,
) -> Measurement:  # fmt: skip
    return Measurement(
        key=f"generation.{quantity}", subject=subject, value=value, better="lower", tags=tags or {}, protocol=protocol,
        headline=headline,
    )  # fmt: skip


# -- variety ---------------------------------------------------------------------------------------------------


def _variety(of: Comparison) -> tuple[list[Measurement], list[Alarm]]:
    """Precision, recall, density, coverage; nearness to training pictures and to one another."""
    real, train = of.real, of.real.of_train.features
    floor = cached(("floor", RARE, *real.key), lambda: _lying(real, cloud(real.stand_ins)))
    near = cached(("near", *real.key), lambda: {"train": nearest(real.of_test.features, train)[0][:, 0]})["train"]
    found = _lying(real, cloud(of.features.features))
    of_subject = {
        subject: {**arrays, "nearest": distances, "memorization": distances <= np.quantile(near, RARE)}
        for subject, arrays, distances in (
            (NETWORK, found, nearest(of.features.features, train)[0][:, 0]), (FLOOR, floor, near),
        )
    }  # fmt: skip
    measurements = []
    for quantity, better in DIRECTIONS.items():
        floor_of: dict[str, Json] = {"floor": "test"} if quantity in NEARNESS else {}
        protocol = of.protocol.having(**_settings(quantity, len(train)), **floor_of)
        for subject, arrays in of_subject.items():
            measurements.append(_mean(quantity, arrays[quantity], protocol, subject, better))
    return measurements, _doubts({(m.key.split(".")[1], m.subject): m.value for m in measurements})


def _settings(quantity: str, among: int) -> dict[str, Json]:
    """What a measure of variety depends on besides the pictures."""
    match quantity:
        case "precision" | "recall":
            return {"method": "Kynkäänniemi et al. 2019", "k": MANIFOLD}
        case "density" | "coverage":
            return {"method": "Naeem et al. 2020", "k": COVER}
        case "nearest":
            return {"among": among}
        case "memorization":
            return {"near": 1 - RARE, "among": among}
        case _:
            return {"near": 1 - RARE}


def _lying(real: Reference, others: Cloud) -> Arrays:
    """How other pictures lie among the test pictures, and which have another that is all but the same.

    The birthday test (Arora & Zhang 2017, arXiv:1706.08224) asks whether a sample holds duplicates. Here, by features:
    pictures whose nearest other is nearer than that of all but a few test pictures.
    """
    among = neighbourhoods(real.cloud, others)
    duplicates = others.radii[NEAREST] <= np.quantile(real.cloud.radii[NEAREST], RARE)
    return {
        "precision": among.precision, "recall": among.recall, "density": among.density, "coverage": among.coverage,
        "duplicates": duplicates,
    }  # fmt: skip


def _doubts(values: dict[tuple[str, str], float]) -> list[Alarm]:
    """Alarms of collapse and of memorization."""
    limits = {
        quantity: values[quantity, NETWORK] < least * values[quantity, FLOOR]
        for quantity, least in (("recall", 0.2), ("coverage", 0.3))
    } | {"duplicates": values["duplicates", NETWORK] > max(0.1, 5 * values["duplicates", FLOOR])}
    signs: list[Json] = [
        {"quantity": quantity, "value": values[quantity, NETWORK], "floor": values[quantity, FLOOR]}
        for quantity, beyond in limits.items()
        if beyond
    ]
    alarms = [Alarm(key="generation.collapse", values={"signs": signs})] if signs else []
    if (share := values["memorization", NETWORK]) > 0.1:
        alarms.append(Alarm(key="generation.memorization", values={"share": share, "near": 1 - RARE}))
    return alarms


def _mean(quantity: str, values: np.ndarray, protocol: Protocol, subject: str, better: Better | None) -> Measurement:
    """Mean over pictures, or the share of those where it is so."""
    if values.dtype == bool:
        return _share(quantity, values, protocol, subject, better=better)
    return mean_of(f"generation.{quantity}", values, protocol, better=better, subject=subject)


# -- obedience -------------------------------------------------------------------------------------------------


def _obedience(of: Comparison) -> tuple[list[Measurement], list[Alarm]]:
    """Whether pictures are of the class asked for, by the judge; and the Fréchet distance of each class."""
    real, model, asked, truth = of.real, of.context.model, of.labels, of.real.test.labels
    if asked is None or truth is None:
        return [], []
    measurements, alarms = _class_distances(of, asked, truth)
    judge, predicted, real_predicted = of.extractor.judge, of.features.predicted, real.of_test.predicted
    if judge is None or judge.spec.classes != model.spec.classes or predicted is None or real_predicted is None:
        return measurements, [*alarms, Alarm(key="generation.no_judge", values={"data": model.data_name})]
    hits, real_hits = predicted == asked, real_predicted == truth
    protocol = _by_judge(of, judge)
    for subject, right in ((NETWORK, hits), (FLOOR, real_hits)):
        measurements.append(_share("agreement", right, protocol, subject))
    lowest = list[Json]()
    for index, name in enumerate(model.spec.classes):
        for subject, right in ((NETWORK, hits[asked == index]), (FLOOR, real_hits[truth == index])):
            if len(right):
                measurements.append(
                    _share("class_agreement", right, protocol.on(len(right)), subject, tags={"class": name})
                )
        if (asked == index).any() and (share := float(hits[asked == index].mean())) < 0.5:
            lowest.append({"class": name, "share": share})
    if hits.mean() < 0.8 or lowest:
        values: dict[str, Json] = {
            "judge": judge.name, "share": float(hits.mean()), "real": float(real_hits.mean()), "lowest": lowest,
        }  # fmt: skip
        alarms.append(Alarm(key="generation.disobedience", values=values))
    return measurements, alarms


def _by_judge(of: Comparison, judge: Judge) -> Protocol:
    """Protocol of what a judge finds in generated pictures, and in test pictures of known class."""
    condition = {name: value for name, value in of.protocol.settings.items() if name == "condition"}
    return of.context.protocol(of.protocol.n, seed=of.context.options.seed).having(
        judge=judge.name, weights=judge.hash, floor="test", **condition, **of.context.trained_on(judge)
    )


def _share(
    quantity: str, hits: Bool[np.ndarray, "n"], protocol: Protocol, subject: str, *, better: Better | None = "higher",
    tags: dict[str, Tag] | None = None,
) -> Measurement:  # fmt: skip
    """Share of pictures as a measurement."""
    return share_of(
        f"generation.{quantity}", hits, protocol, better=better, subject=subject, tags=tags,
        headline=subject == NETWORK and quantity in HEADLINES,
    )  # fmt: skip


METRIC = Metric(measure, ("sample",), GenerationOptions)
