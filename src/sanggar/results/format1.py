"""Evaluations of format 1, as sanggar 0.1.0 wrote them, brought to format 2.

Format 1 called subjects, trials and scores by English labels, wrote sentences into protocols, and kept text in arrays
of bytes. This is the only module that parses any of that. What is not of format 1 raises ValueError or KeyError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from sanggar.files import Tree
from sanggar.results import FLOOR, JUDGE, KNN, NETWORK, PCA, PIXELS, Better, Finite, Json, Record
from sanggar.runs import Arrays

Settings = dict[str, Json]


class Number(Record):
    """A measured value of format 1."""

    key: str
    label: str
    value: Finite
    unit: str
    better: Better
    protocol: dict[str, Json]
    subject: str
    interval: tuple[Finite, Finite] | None
    headline: bool


class Stored(Record):
    """The content of an `evaluation.json` of format 1."""

    format: Literal[1]
    package: str
    step: int = Field(ge=0)
    weights: Literal["averaged", "final"]
    numbers: tuple[Number, ...]
    alarms: tuple[str, ...]
    seconds: dict[str, Finite]


# -- measurements ----------------------------------------------------------------------------------------------

RENAMED = {
    "denoising.psnr": "denoising.compared_psnr",
    "anomaly.precision": "anomaly.average_precision",
    "inference.bound": "bounds.negative_elbo",
    "inference.bits": "bounds.bits_per_dimension",
    "inference.importance": "bounds.importance_weighted",
    "inference.active": "bounds.active_dimensions",
}
"""Quantities that are called otherwise"""

QUANTITIES = {
    ("reconstruction", "reconstruction"): ("mse", "psnr", "ssim", "perceptual"),
    ("denoising", "denoising"): ("gain",),
    ("latent", "latent"): ("probe", "knn", "silhouette", "rank"),
    ("attributes", "attributes"): ("probe", "mig", "disentanglement", "completeness"),
    ("attributes", "edits"): (
        "success", "shift", "success_validation", "shift_validation", "kept", "psnr", "perceptual", "judge",
        "mean_success", "mean_success_kept", "mean_success_psnr", "mean_shift", "mean_shift_kept", "mean_shift_psnr",
    ),
    ("anomaly", "anomaly"): ("auroc",),
    ("inference", "bounds"): ("distortion", "rate", "beta", "deviation", "beta_squared"),
    ("exploration", "exploration"): ("frechet", "precision", "recall"),
    ("classification", "classification"): (
        "accuracy", "cross_entropy", "calibration_error", "precision", "recall",
    ),
    ("generation", "generation"): (
        "frechet", "kernel", "kernel_deviation", "precision", "recall", "density", "coverage", "nearest",
        "memorization", "duplicates", "agreement", "class_frechet", "class_agreement",
    ),
}  # fmt: skip
"""By metric in format 1 and now: quantities that kept their names"""

KEYS = RENAMED | {f"{old}.{name}": f"{new}.{name}" for (old, new), names in QUANTITIES.items() for name in names}

SUBJECTS = {
    "network": NETWORK,
    "PCA": PCA,
    "kNN": KNN,
    "pixels": PIXELS,
    "judge": JUDGE,
    "real test pictures": FLOOR,
    "training pictures, the floor": FLOOR,
    "largest class": "largest_class",
    "do nothing": "identity",
    "Gaussian filter": "gaussian_filter",
    "median filter": "median_filter",
    "non-local means": "non_local_means",
    "wavelet": "wavelet",
}

UNITS = {unit: unit for unit in ("", "dB", "nats", "bits", "deviations", "dimensions")} | {"on [-1, 1]": "scale"}

NEITHER = ("bounds.beta", "bounds.deviation", "bounds.beta_squared", "generation.nearest")
"""Quantities of which neither more nor less is better, though format 1 said so"""

ODD = {
    "held-out classes": "held_out",
    "all four corruptions": "corrupted",
    "blur": "blur",
    "noise": "noise",
    "occlusion": "occlusion",
    "small defect": "defect",
    "smooth pictures": "smooth",
    "faded pictures": "faded",
    "mnist pictures": "mnist",
}

VALUES: dict[str, Mapping[str, str]] = {
    "output": {"clamped, uint8": "uint8"},
    "input": {"clamped, uint8": "uint8"},
    "against": SUBJECTS | {"the unedited reconstruction": "unedited"},
    "pictures": {
        "as many without it and with it, each pushed to the other side": "without_and_with",
        "as many below and above the median, each pushed to the other side": "below_and_above_median",
    },
    "unit": {
        "strength 1 succeeds half as often as any step, on at most 64 validation pictures; or the gap, where nothing "
        "succeeds": "half_success",
        "strength 1 shifts half as far as any step, or a deviation, on at most 64 validation pictures; or the gap, "
        "where nothing succeeds": "half_shift",
    },
    "kept_when": {"the same verdict; a number, within half a deviation": "within_half_deviation"},
    "mean": {"over attributes, as if independent": "independent_attributes"},
    "rate": {"in closed form": "closed form"},
    "convention": {
        "both terms in nats, summed over a picture": "nats summed over a picture",
        "2σ² · beta, pixels on [-1, 1], squared errors summed over a picture": "2σ² · beta, squared errors summed over "
        "a picture",
    },
    "floor": {
        "as many training pictures, their classes as often, against the same test pictures": "train",
        "the test pictures, by their own labels": "test",
    },
    "trial": {"held-out classes": "held_out", "corrupted pictures": "corrupted", "simpler pictures": "simpler"},
    "odd": ODD,
    "score": {
        "residual and latent distance together": "together",
        "reconstruction error": "reconstruction",
        "residual in deviations of its pixel": "residual",
        "latent distance": "latent",
        "KL divergence": "kl",
        "minus the bound": "bound",
        "likelihood regret": "regret",
        "distance to training pictures": "neighbours",
    },
}
"""By entry of a protocol, what its values are called now"""

PARSED: dict[str, tuple[str, ...]] = {
    "fitted_on": (
        r"(?P<fitted_on>\d+) training pictures",
        r"(?P<fitted_on>\d+) training and (?P<tuned_on>\d+) validation pictures, all normal",
    ),
    "tuned_on": (r"(?P<tuned_on>\d+) validation pictures",),
    "among": (r"(?P<among>\d+) training pictures",),
    "near": (r"nearer than (?P<near>\d+)% of the test pictures are",),
    "window": (r"Gaussian, deviation (?P<window>\d+\.\d+), borders (?P<borders>mirrored)",),
    "pixels": (r"means of blocks of (?P<block>\d+)×\d+ pixels", r"(?P<pixels>.+)"),
    "bins": (r"(?P<bins>\d+), equally wide",),
    "subsets": (r"(?P<subsets>\d+) of (?P<subset_size>\d+)",),
    "network": (r"(?P<network>judge .+) (?P<weights>[0-9a-f]{12})", r"(?P<network>.+)"),
    "drawn_from": (
        r"the (?P<source>prior) at temperature (?P<temperature>\d+(\.\d+)?)",
        r"a (?P<source>mixture) of (?P<components>\d+) normal distributions",
        r"training pictures, the floor",
    ),
    "method": (
        r"(?P<neighbours>\d+) neighbours, Euclidean",
        r"mean Euclidean distance of pixels to the (?P<neighbours>\d+) nearest",
        r"Mahalanobis, covariance by (?P<method>.+)",
        r"(?P<steps>\d+) steps of Adam (?P<learning_rate>\d+\.\d+) on mean and log variance, the decoder fixed",
        r"(?P<method>.+ et al\. \d{4}), k = (?P<k>\d+)",
        r"the posterior's mean varies by more than (?P<threshold>\d+\.\d+) \((?P<method>.+)\)",
        r"(?P<method>.+)",
    ),
}
"""By entry of a protocol, what its sentences say: each named group is a setting"""

COUNTS = (
    "fitted_on", "tuned_on", "among", "block", "bins", "subsets", "subset_size", "components", "neighbours", "k",
    "steps",
)  # fmt: skip
NUMBERS: dict[str, Callable[[str], float]] = {
    **dict.fromkeys(COUNTS, int),
    **dict.fromkeys(("window", "temperature", "threshold", "learning_rate"), float),
    "near": lambda percent: int(percent) / 100,
}
"""Settings that are numbers"""

TAGS: dict[str, tuple[str, ...]] = {
    "denoising": ("level",),
    "attributes": ("attribute",),
    "edits": ("attribute", "strength"),
    "anomaly": ("odd", "score"),
    "exploration": ("source", "temperature"),
    "classification": ("class",),
    "generation": ("class",),
}
"""By metric, settings that are tags; of the bounds, that depends on the quantity"""


def evaluation(tree: Tree) -> Tree:
    """Bring the content of an `evaluation.json` to format 2; what its arrays say in addition, `details` gives."""
    old = Stored.model_validate_json(json.dumps(tree), strict=True)
    return {
        "format": 2,
        "package": old.package,
        "step": old.step,
        "weights": old.weights,
        "measurements": [_measurement(number) for number in old.numbers],
        "alarms": [{"key": "format1.alarm", "values": {"text": text}} for text in old.alarms],
        "seconds": {"bounds" if name == "inference" else name: value for name, value in old.seconds.items()},
    }


def _measurement(number: Number) -> Tree:
    key, settings = KEYS[number.key], _settings(number)
    if key == "bounds.bits_per_dimension":  # which models without a rate have as well
        settings.pop("rate", None)
    if key.startswith("reconstruction.") and "level" in settings:  # of noisy pictures
        key = key.replace("reconstruction.", "denoising.")
    protocol = {name: settings.pop(name) for name in ("split", "n", "data")}
    return {
        "key": key,
        "subject": SUBJECTS[number.subject],
        "value": number.value,
        "unit": "dimensions" if re.fullmatch(r"of \d+", number.unit) else UNITS[number.unit],
        "better": None if key in NEITHER else number.better,
        "interval": number.interval,
        "tags": _tags(key, settings),
        "protocol": {**protocol, "settings": settings},
        "headline": number.headline,
    }


def _settings(number: Number) -> Settings:
    """The entries of a protocol as settings, with what only the label said."""
    settings: Settings = {}
    for name, value in number.protocol.items():
        settings |= _setting(number.key, name, value)
    if number.key in ("generation.nearest", "generation.memorization"):  # format 1 said it was as of the others
        settings["floor"] = "test"
    if number.key == "attributes.probe":
        settings["score"] = "R²" if settings.get("kind") == "number" else "balanced accuracy"
    if number.key == "attributes.judge":  # only its label said which of the two it is
        explained = number.label.startswith("the judge on real pictures, R² of ")
        settings["score"] = "R²" if explained else "balanced accuracy"
    return settings


def _setting(key: str, name: str, value: Json) -> Settings:
    """An entry of a protocol as one setting or several."""
    if name == "told":
        return {"condition": "none" if value == "nothing" else value}
    if name == "kernel":
        return {"method": "Bińkowski et al. 2018"}
    if name == "resize":
        averaged = str(value).replace("larger ones averaged to", "average,")
        return {"resize": "bilinear, 299×299" if averaged.startswith("bilinear") else averaged}
    if name == "judge" and key.startswith("generation."):
        judge, weights = str(value).rsplit(" ", 1)
        return {"judge": judge, "weights": weights}
    if name in VALUES and isinstance(value, str):
        return {name: VALUES[name].get(value, value)}
    if name in PARSED:
        return _parsed(name, value)
    return {name: value}


def _parsed(name: str, value: Json) -> Settings:
    """What a sentence in a protocol says."""
    for pattern in PARSED[name]:
        if match := re.fullmatch(pattern, str(value)):
            return {name: NUMBERS.get(name, str)(text) for name, text in match.groupdict().items()}
    raise ValueError(f"{name}: {value!r}")


def _tags(key: str, settings: Settings) -> Settings:
    """Take the tags of a quantity out of its settings."""
    names = TAGS.get(key.split(".")[0], ())
    if key.startswith("bounds."):
        conditioned = settings.get("condition", "none") != "none"
        names = ("condition",) * conditioned + ("draws",) * (key == "bounds.importance_weighted")
    return {name: settings.pop(name) for name in names if name in settings}


# -- arrays ----------------------------------------------------------------------------------------------------

ARRAYS = {
    "grid.rows": "denoising.grid",
    "map.places": "latent.map_places",
    "map.labels": "latent.map_labels",
    "map.chosen": "latent.map_chosen",
    "map.thumbnails": "latent.map_thumbnails",
    "strips.pictures": "latent.strips",
    "strips.ends": "latent.strip_ends",
    "attributes.strips": "edits.strips",
    "attributes.strengths": "edits.strengths",
    "anomaly.shown.normal": "anomaly.shown_normal",
    "anomaly.shown.odd": "anomaly.shown_odd",
    "anomaly.shown.normal.shares": "anomaly.shown_normal_shares",
    "anomaly.shown.odd.shares": "anomaly.shown_odd_shares",
    "inference.rates": "bounds.rates",
    "inference.active": "bounds.active",
    "inference.reconstructions": "bounds.reconstructions",
    "exploration.corners": "exploration.corners",
    "exploration.drawn": "exploration.drawn",
    "exploration.temperatures": "exploration.temperatures",
    "exploration.components": "exploration.components",
    "exploration.traversals": "exploration.traversals",
    "exploration.traversals.dimensions": "exploration.traversal_dimensions",
    "exploration.traversals.places": "exploration.traversal_places",
    "exploration.traversals.held": "exploration.traversal_held",
    "classes.confusion": "classification.confusion",
    "classes.reliability": "classification.reliability",
    "mistakes.pixels": "classification.mistakes",
    "mistakes.labels": "classification.mistake_labels",
    "mistakes.shares": "classification.mistake_shares",
    "generation.samples": "generation.samples",
    "generation.labels": "generation.labels",
    "generation.walks": "generation.walks",
    "generation.truncation.levels": "generation.truncation_levels",
    "generation.truncation.pictures": "generation.truncation_pictures",
    "generation.truncation.recall": "generation.truncation_recall",
    "generation.truncation.frechet": "generation.truncation_frechet",
    "generation.neighbours": "generation.neighbours",
    "generation.neighbours.distances": "generation.neighbour_distances",
}

ELSEWHERE = (
    "grid.best", "exploration.traversals.unit", "mistakes.count", "generation.columns", "generation.truncation.n",
    "attributes.edits", "attributes.vectors", "attributes.told",
)  # fmt: skip
"""Arrays that are details or tools now"""

DETECTOR = "anomaly.known."
METHODS = {"means": "means", "probe": "probe", "told": "condition"}


def arrays(old: Arrays) -> Arrays:
    """Bring the arrays of an evaluation to format 2: those that are pictures or curves, by their new names."""
    extremes = "denoising" if "grid.rows" in old else "reconstruction"
    return {
        _array_name(name, extremes): array
        for name, array in old.items()
        if name not in ELSEWHERE and not name.startswith(DETECTOR)
    }


def _array_name(name: str, extremes: str) -> str:
    if name in ARRAYS:
        return ARRAYS[name]
    if name in ("best.rows", "worst.rows", "best.psnr", "worst.psnr"):
        return f"{extremes}.{name.replace('.rows', '').replace('.', '_')}"
    if match := re.fullmatch(r"neurons\.(weights|gradients)\.(.+)", name):
        return f"classification.{match[1]}.{match[2]}"
    if match := re.fullmatch(r"anomaly\.normal\.(\w+)\.(\w+)", name):
        return f"anomaly.normal.{SUBJECTS[match[1]]}.{match[2]}"
    if match := re.fullmatch(r"anomaly\.odd\.([^.]+)\.(\w+)\.(\w+)", name):
        return f"anomaly.odd.{ODD[match[1]]}.{SUBJECTS[match[2]]}.{match[3]}"
    raise KeyError(name)


def details(old: Arrays) -> dict[str, Tree]:
    """Details, by metric, that format 1 kept in arrays."""
    found: dict[str, Tree] = {}
    if "grid.best" in old:
        found["denoising"] = {"best": SUBJECTS[_text(old["grid.best"])]}
    if "attributes.edits" in old:
        found["edits"] = {"edits": _edits(old)}
    if "exploration.traversals.unit" in old:
        unit = {"nats": "nats", "% of the variance": "variance_percent"}[_text(old["exploration.traversals.unit"])]
        found["exploration"] = {"traversal_unit": unit}
    if "mistakes.count" in old:
        wrong, n = old["mistakes.count"].tolist()
        found["classification"] = {"wrong": int(wrong), "n": int(n)}
    generation = {"columns": "generation.columns", "truncation_n": "generation.truncation.n"}
    counts = {name: int(old[key].item()) for name, key in generation.items() if key in old}
    return found | ({"generation": counts} if counts else {})


def tools(old: Arrays, step: int) -> tuple[Arrays, Tree]:
    """Arrays and details of the tools that format 1 kept among the arrays: edits and detector. It kept no mixture."""
    found = {f"anomaly.{name.removeprefix(DETECTOR)}": old[name] for name in old if name.startswith(DETECTOR)}
    said: Tree = {"step": step}
    if "attributes.edits" in old:
        said["edits"] = _edits(old)
        found |= {"edits.vectors": old["attributes.vectors"], "edits.conditions": old["attributes.told"]}
    return found, said


def _edits(old: Arrays) -> list[dict[str, str]]:
    """Name, method and kind of each edit."""
    edits = json.loads(_text(old["attributes.edits"]))
    if not len(edits) == len(old["attributes.vectors"]) == len(old["attributes.told"]):
        raise ValueError("edits and their vectors do not match")
    return [{"name": str(edit["name"]), "method": METHODS[edit["method"]], "kind": str(edit["kind"])} for edit in edits]


def _text(array: np.ndarray) -> str:
    """Text that was kept as bytes."""
    return array.astype(np.uint8).tobytes().decode()
