"""How good generated pictures are: distances to real ones beside their floor, variety, obedience to labels.

Generated and real pictures are compared by features (see `rulers`), always as many of each, and always with test
pictures. The floor of a number is what it is when training pictures stand in for the generated ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from sanggar.errors import RunError
from sanggar.evaluation.context import Better, Findings, Number, Subject, averaged, share_interval, taught
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
from sanggar.evaluation.samples import neighbour_pictures, shown_pictures, truncation_sweep
from sanggar.instruments.features import (
    FeatureExtractor,
    Features,
    Labels,
    Real,
    asked_of,
    look_at,
    open_extractor,
    remembered,
)
from sanggar.runs import Arrays
from sanggar.trained import TrainedModel

FLOOR = "real test pictures"
"""What stands beside the network: training pictures against test pictures, or test pictures themselves."""
SUBSETS, SUBSET_SIZE = 50, 1000
"""Of the kernel distance."""
RARE = 0.01
"""The share of test pictures that are nearer to another picture than what then counts as near."""


def measure_generation(subject: Subject) -> Findings:
    """Fréchet and kernel distance, precision, recall, density, coverage, memorization, duplicates, obedience.

    Where the data has no judge, the pictures alone, and why. Raises DataError when Inception is asked for and its
    weights cannot be had.
    """
    painter, options = subject.painter, subject.options
    pictures = shown_pictures(painter, options.seed)
    try:
        extractor = open_extractor(subject)
    except RunError as error:
        return Findings([], pictures, [f"Generated pictures were not measured: {error}"])
    n = min(options.samples, len(subject.test), len(subject.dataset.train))
    real = Real.of(extractor, subject.dataset.train, subject.test.first(n), options.seed)
    latents = painter.latents(n, options.seed)
    asked = asked_of(painter, real.test)
    few, seen = look_at(painter, extractor, latents, asked)
    protocol = {
        "split": "test", "n": n, "data": painter.data_name, "seed": options.seed, **extractor.protocol,
        "floor": "as many training pictures, their classes as often, against the same test pictures",
        **(subject.told if asked is None else {}), **taught(painter, extractor.network),
    }  # fmt: skip
    numbers, alarms = _distances(extractor, real, seen, protocol)
    variety, doubts = _variety(real, seen, protocol)
    numbers, alarms = numbers + variety, alarms + doubts
    if asked is not None:
        obeyed, disobeyed = _obedience(painter, extractor, real, seen, asked, protocol)
        numbers, alarms = numbers + obeyed, alarms + disobeyed
    pictures |= neighbour_pictures(real, seen, few)
    pictures |= truncation_sweep(painter, extractor, real, latents, asked, seen)
    return Findings(numbers, pictures, alarms)


# -- numbers ---------------------------------------------------------------------------------------------------


def _distances(
    extractor: FeatureExtractor, real: Real, seen: Features, protocol: dict[str, Any]
) -> tuple[list[Number], list[str]]:
    """Fréchet and kernel distance to the test pictures, of the network and of real pictures."""
    numbers, alarms = [], []
    n, size = seen.features.shape
    if refusal := too_few(n, size):
        alarms.append(f"The {extractor.distance} is left out: {refusal}")
    else:
        test = Moments.of(real.of_test.features)
        for subject, features in (("network", seen.features), (FLOOR, real.stand_ins)):
            value = frechet_of(Moments.of(features), test)
            numbers.append(_number("frechet", extractor.distance, value, "lower", protocol, subject))
    subset = min(SUBSET_SIZE, n // 2)
    how = protocol | {"kernel": "(x·y/d + 1)³, unbiased", "subsets": f"{SUBSETS} of {subset}"}

    def kernel(features: Float[np.ndarray, "n d"]) -> Arrays:
        found = kernel_distance(features, real.of_test.features, SUBSETS, subset, protocol["seed"])
        return {"found": np.array(found)}

    floor = remembered(("kernel", SUBSETS, subset, *real.key), lambda: kernel(real.stand_ins))
    for subject, found in (("network", kernel(seen.features)["found"]), (FLOOR, floor["found"])):
        name = f"kernel distance ({extractor.network.name})"
        numbers.append(_number("kernel", name, float(found[0]), "lower", how, subject))
        spread = Number(
            "generation.kernel_deviation", f"{name}: deviation over subsets", float(found[1]), "", "lower", how, subject
        )
        numbers.append(spread)
    return numbers, alarms


def _variety(real: Real, seen: Features, protocol: dict[str, Any]) -> tuple[list[Number], list[str]]:
    """Precision, recall, density, coverage; nearness to training pictures and to one another."""
    test = real.of_test.features
    generated = cloud(seen.features)
    floor = remembered(("floor", *real.key), lambda: _lying(real, cloud(real.stand_ins)))
    near = remembered(("near", *real.key), lambda: {"train": nearest(test, real.of_train.features)[0][:, 0]})
    found = _lying(real, generated)
    found["nearest"], floor["nearest"] = nearest(seen.features, real.of_train.features)[0][:, 0], near["train"]
    for arrays in (found, floor):
        arrays["memorization"] = arrays["nearest"] <= np.quantile(near["train"], RARE)
    rare = f"nearer than {1 - RARE:.0%} of the test pictures are"
    how: dict[str, tuple[str, Better, dict[str, Any]]] = {
        "precision": ("precision", "higher", {"method": f"Kynkäänniemi et al. 2019, k = {MANIFOLD}"}),
        "recall": ("recall", "higher", {"method": f"Kynkäänniemi et al. 2019, k = {MANIFOLD}"}),
        "density": ("density", "higher", {"method": f"Naeem et al. 2020, k = {COVER}"}),
        "coverage": ("coverage", "higher", {"method": f"Naeem et al. 2020, k = {COVER}"}),
        "nearest": (
            "distance to the nearest training picture", "higher", {"among": f"{len(real.train)} training pictures"}
        ),
        "memorization": (
            "near a training picture", "lower", {"near": rare, "among": f"{len(real.train)} training pictures"}
        ),
        "duplicates": ("near another of the same set", "lower", {"near": rare}),
    }  # fmt: skip
    numbers, values = [], {}
    for key, (label, better, method) in how.items():
        for subject, arrays in (("network", found), (FLOOR, floor)):
            array = arrays[key]
            if array.dtype == bool:
                number = _share(key, label, array, better, protocol | method, subject)
            else:
                number = averaged(f"generation.{key}", label, array, protocol | method, better=better, subject=subject)
            numbers.append(number)
            values[key, subject] = number.value
    return numbers, _doubts(values)


def _lying(real: Real, others: Cloud) -> Arrays:
    """How other pictures lie among the test pictures, and which have another that is all but the same.

    The birthday test (Arora & Zhang 2017, arXiv:1706.08224) asks whether a sample holds duplicates. Here, by features:
    pictures whose nearest other is nearer than that of all but a few test pictures.
    """
    found = neighbourhoods(real.cloud, others)
    twins = others.radii[NEAREST] <= np.quantile(real.cloud.radii[NEAREST], RARE)
    return {
        "precision": found.precision, "recall": found.recall, "density": found.density, "coverage": found.coverage,
        "duplicates": twins,
    }  # fmt: skip


def _doubts(values: dict[tuple[str, str], float]) -> list[str]:
    """Alarms of collapse and of memorization."""
    alarms = []
    signs = [
        f"{key} is {values[key, 'network']:.2f}, of real pictures {values[key, FLOOR]:.2f}"
        for key, least in (("recall", 0.2), ("coverage", 0.3))
        if values[key, "network"] < least * values[key, FLOOR]
    ]
    if values["duplicates", "network"] > max(0.1, 5 * values["duplicates", FLOOR]):
        signs.append(
            f"{values['duplicates', 'network']:.0%} of the pictures have another that is all but the same, of real "
            f"pictures {values['duplicates', FLOOR]:.1%}"
        )
    if signs:
        alarms.append(f"Collapse: much of what the real pictures show is never drawn. {_sentence(signs)}")
    if values["memorization", "network"] > 0.1:
        alarms.append(
            f"Memorization: {values['memorization', 'network']:.0%} of the pictures are nearer to a training picture "
            f"than {1 - RARE:.0%} of the test pictures are."
        )
    return alarms


def _obedience(
    painter: TrainedModel,
    extractor: FeatureExtractor,
    real: Real,
    seen: Features,
    asked: Labels,
    protocol: dict[str, Any],
) -> tuple[list[Number], list[str]]:
    """Whether pictures are of the class asked for, by the judge; and the Fréchet distance of each class."""
    classes, truth = painter.spec.classes, real.test.labels
    if truth is None:
        return [], []
    numbers, alarms = _class_distances(extractor, real, seen, asked, classes, protocol)
    judge = extractor.judge
    if judge is None or judge.spec.classes != classes or seen.predicted is None or real.of_test.predicted is None:
        return numbers, [*alarms, f"Whether labels are obeyed was not measured: {painter.data_name} has no judge."]
    how = {
        key: value for key, value in protocol.items() if key not in ("network", "weights", "resize", "floor")
    } | {"judge": f"{judge.name} {judge.hash}", "floor": "the test pictures, by their own labels"}  # fmt: skip
    hits, real_hits = seen.predicted == asked, real.of_test.predicted == truth
    for subject, right in (("network", hits), (FLOOR, real_hits)):
        numbers.append(_share("agreement", "agreement with the label asked for", right, "higher", how, subject))
    refused = []
    for index, name in enumerate(classes):
        for subject, right in (("network", hits[asked == index]), (FLOOR, real_hits[truth == index])):
            if len(right):
                of = how | {"n": len(right), "class": name}
                numbers.append(_share("class_agreement", f"agreement: {name}", right, "higher", of, subject))
        if (asked == index).any() and hits[asked == index].mean() < 0.5:
            refused.append(f"{name} {hits[asked == index].mean():.0%}")
    if hits.mean() < 0.8 or refused:
        low = f" Lowest: {', '.join(refused)}." if refused else ""
        alarms.append(
            f"Labels are not obeyed: {judge.name} finds the class asked for in {hits.mean():.0%} of the pictures, and "
            f"in {real_hits.mean():.0%} of real ones.{low}"
        )
    return numbers, alarms


def _class_distances(
    extractor: FeatureExtractor,
    real: Real,
    seen: Features,
    asked: Labels,
    classes: Sequence[str],
    protocol: dict[str, Any],
) -> tuple[list[Number], list[str]]:
    """The Fréchet distance of each class that has pictures enough, and what is said of the others."""
    numbers, left = [], []
    assert real.test.labels is not None
    of_drawn = None if real.train.labels is None else real.train.labels[real.drawn]
    for index, name in enumerate(classes):
        test = real.of_test.features[real.test.labels == index]
        if too_few(len(test), test.shape[1]):
            left.append(f"{name} {len(test)}")
            continue
        moments = Moments.of(test)
        for subject, labels, features in (("network", asked, seen.features), (FLOOR, of_drawn, real.stand_ins)):
            if labels is None or too_few(int((labels == index).sum()), test.shape[1]):
                continue
            value = frechet_of(Moments.of(features[labels == index]), moments)
            of = protocol | {"n": len(test), "class": name}
            label = f"{extractor.distance}: {name}"
            numbers.append(Number("generation.class_frechet", label, value, "", "lower", of, subject))
    size = seen.features.shape[1]
    said = f"Distances of some classes are left out: no more pictures than features ({size}): {', '.join(left)}."
    small = not numbers and extractor.network is extractor.judge  # the data is, and nothing is amiss
    return numbers, [said] if left and not small else []


def _number(key: str, label: str, value: float, better: Better, protocol: dict[str, Any], subject: str) -> Number:
    headline = subject == "network"
    return Number(f"generation.{key}", label, value, "", better, protocol, subject, headline=headline)


def _share(
    key: str, label: str, hits: Bool[np.ndarray, "n"], better: Better, protocol: dict[str, Any], subject: str
) -> Number:
    """A share of pictures with Wilson's interval."""
    value, interval = float(hits.mean()), share_interval(hits)
    headline = subject == "network" and key in ("precision", "recall", "agreement")
    return Number(f"generation.{key}", label, value, "", better, protocol, subject, interval, headline)


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
