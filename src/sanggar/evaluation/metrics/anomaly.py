"""Odd pictures told from normal ones: a network's scores beside PCA and nearest neighbours, on three kinds of trial.

Pictures of classes that training never saw, where there are such; normal pictures with something done to them; and,
for networks with a bound, pictures simpler than normal ones, which a likelihood takes for more normal than those
(Nalisnick et al. 2019, arXiv:1810.09136).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sanggar.data.images import Images
from sanggar.data.sources import SOURCES, presence
from sanggar.evaluation.baselines import NEIGHBOURS, Baselines
from sanggar.evaluation.context import Findings, Number, Pixels, Subject, first_of_each_class, normal_classes
from sanggar.evaluation.corruptions import CORRUPTIONS, faded, smooth
from sanggar.models.vae.likelihood_regret import RATE, WEIGHED
from sanggar.runs import Arrays
from sanggar.seeding import address
from sanggar.tools.anomaly import (
    SLACK,
    Scores,
    auroc,
    average_precision,
    heat,
    overlaid,
)
from sanggar.tools.detector import KEPT, Detector, fitting
from sanggar.trained import TrainedModel

LABELS = {
    "together": "residual and latent distance together",
    "reconstruction": "reconstruction error",
    "residual": "residual in deviations of its pixel",
    "latent": "latent distance",
    "kl": "KL divergence",
    "bound": "minus the bound",
    "regret": "likelihood regret",
    "neighbours": "distance to training pictures",
}
"""What each score is called."""
COMPONENTS = 32
"""Of PCA beside a network that reconstructs without a latent space."""
SIMPLER = {"fashion-mnist": "mnist"}
"""By source, another whose pictures are of the same size and simpler: shown where it lies on this machine."""
SHOWN = 8
"""Odd pictures, and as many normal ones, that the report shows."""


# -- trials ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """Odd pictures that are to be told from the normal ones."""

    name: str
    kind: str
    pixels: Pixels
    headline: bool = False


def looked_for(painter: TrainedModel) -> bool:
    """Whether odd pictures are looked for: where training saw some classes alone, or the network has a bound."""
    return normal_classes(painter) is not None or painter.can("posterior")


def measure_anomaly(subject: Subject) -> Findings:
    """AUROC and average precision of every score of the network and of the baselines, in each trial."""
    painter, options = subject.painter, subject.options
    train, validation = fitting(subject)
    detector = Detector.fitted(painter, train, validation)
    size = COMPONENTS if detector.known.centre is None else len(detector.known.centre)
    baselines = Baselines.fitted(train, validation, size, options.seed)
    normal, trials = _trials(subject)

    def look(pixels: Pixels) -> dict[str, Scores]:
        return {"network": detector.scores(pixels, painter.reconstruct(pixels))} | baselines.scores(pixels)

    of_normal = look(normal.pixels)
    of_odd = {trial.name: look(trial.pixels) for trial in trials}
    mixed = [trial for trial in trials if trial.kind == CORRUPTED]
    if mixed:
        everything = np.concatenate([trial.pixels for trial in mixed])
        place = trials.index(mixed[0])
        trials.insert(place, Trial("all four corruptions", CORRUPTED, everything, subject.held_out is None))
        of_odd[trials[place].name] = _joined([of_odd[trial.name] for trial in mixed])
    numbers, arrays = [], _kept(of_normal, "anomaly.normal")
    for trial in trials:
        given = _protocol(subject, detector, trial, normal, len(train), len(validation))
        found = of_odd[trial.name]
        how = partial(_how, size=size, steps=detector.regret_steps)
        numbers += [n for who in found for n in _numbers(who, trial, of_normal[who], found[who], given, how)]
        arrays |= _kept(found, f"anomaly.odd.{trial.name}")
    arrays |= {KEPT + name: array for name, array in detector.known.arrays().items()}
    return Findings(numbers, arrays | _shown(detector, normal, trials[0]))


HELD_OUT, CORRUPTED, SIMPLE = "held-out classes", "corrupted pictures", "simpler pictures"


def _trials(subject: Subject) -> tuple[Images, list[Trial]]:
    """The normal test pictures, and what they are to be told from."""
    painter, seed, count = subject.painter, subject.options.seed, subject.options.anomaly_images
    trials, normal, held_out = [], subject.test.first(count), subject.held_out
    if held_out is not None:
        trials.append(Trial("held-out classes", HELD_OUT, held_out.first(count).pixels, True))
    for number, (name, disturb) in enumerate(CORRUPTIONS.items()):
        chosen = normal.pixels[number :: len(CORRUPTIONS)]  # of each picture one: no more odd than normal ones
        trials.append(Trial(name, CORRUPTED, disturb(chosen, address(seed, name))))
    if painter.can("posterior"):
        some = normal.first(500)
        for name, make in (("smooth pictures", smooth), ("faded pictures", faded)):
            trials.append(Trial(name, SIMPLE, make(some.pixels, address(seed, name))))
        trials += _other_data(painter, len(some))
    return normal, [trial for trial in trials if len(trial.pixels) > 1]


def _other_data(painter: TrainedModel, count: int) -> list[Trial]:
    """Test pictures of a simpler source, where its files are on this machine."""
    name = SIMPLER.get(painter.plan.data.source)
    if name is None or presence(name).state != "present":
        return []
    source = SOURCES[name]
    test = source.load(source.Options(source=name)).test.first(count)
    return [Trial(f"{name} pictures", SIMPLE, test.pixels)]


def _joined(found: list[dict[str, Scores]]) -> dict[str, Scores]:
    return {
        who: {name: np.concatenate([each[who][name] for each in found]) for name in named}
        for who, named in found[0].items()
    }


def _protocol(
    subject: Subject, detector: Detector, trial: Trial, normal: Images, train: int, validation: int
) -> dict[str, Any]:
    """What every number of a trial depends on."""
    painter, classes = subject.painter, normal_classes(subject.painter)
    named = "all" if classes is None else ", ".join(painter.spec.classes[code] for code in classes)
    given = {
        "split": "test", "n": len(normal), "data": painter.data_name, "trial": trial.kind, "odd": trial.name,
        "odd_pictures": len(trial.pixels), "normal_classes": named, "seed": detector.seed,
        "fitted_on": f"{train} training and {validation} validation pictures, all normal", "output": "clamped, uint8",
    }  # fmt: skip
    return given | subject.told


def _numbers(
    who: str,
    trial: Trial,
    normal: Scores,
    odd: Scores,
    given: dict[str, Any],
    how: Callable[[str, str], dict[str, Any]],
) -> list[Number]:
    """AUROC and average precision of each score of the network, or of a baseline."""
    found = []
    prevalence = round(given["odd_pictures"] / (given["odd_pictures"] + given["n"]), 4)
    for name in normal:
        score = given | {"score": LABELS[name]} | how(name, who)
        label = f"{trial.name}: {LABELS[name]}" + ("" if who == "network" else f", {who}")
        first = trial.headline and who == "network" and name == main_score(trial.kind, normal)
        value, interval = auroc(normal[name], odd[name])
        protocol = score | {"floor": 0.5}
        found.append(Number("anomaly.auroc", f"AUROC, {label}", value, "", "higher", protocol, who, interval, first))
        value, interval = average_precision(normal[name], odd[name], given["seed"])
        protocol, label = score | {"floor": prevalence}, f"average precision, {label}"
        found.append(Number("anomaly.precision", label, value, "", "higher", protocol, who, interval))
    return found


def main_score(kind: str, found: Scores) -> str:
    """The score that stands first. What is done to pixels need not show in a latent; a class never seen does."""
    return "together" if kind == HELD_OUT and "together" in found else "residual"


def _how(name: str, who: str, size: int, steps: int) -> dict[str, Any]:
    """How a score is taken: by PCA of so many numbers, with so many steps of regret."""
    regret = {"draws": WEIGHED, "method": f"{steps} steps of Adam {RATE:g} on mean and log variance, the decoder fixed"}
    of_name: dict[str, dict[str, Any]] = {
        "bound": {"draws": WEIGHED},
        "regret": regret,
        "residual": {"slack": SLACK},
        "latent": {"method": "Mahalanobis, covariance by Ledoit & Wolf 2004"},
        "neighbours": {"method": f"mean Euclidean distance of pixels to the {NEIGHBOURS} nearest"},
    }
    return of_name.get(name, {}) | ({"size": size} if who == "PCA" else {})


def _kept(found: dict[str, Scores], before: str) -> Arrays:
    return {
        f"{before}.{who}.{name}": np.asarray(values, np.float32)
        for who, named in found.items()
        for name, values in named.items()
    }


def _shown(detector: Detector, normal: Images, trial: Trial) -> Arrays:
    """Normal and odd pictures, what came back of them, where the error sits, and how many normal ones score lower.

    Not chosen by their scores: of the odd ones, evenly spread; of the normal ones, the first.
    """
    spread = np.linspace(0, len(trial.pixels) - 1, min(SHOWN, len(trial.pixels))).astype(np.int64)
    arrays: Arrays = {}
    chosen = {"normal": normal.pixels[list(first_of_each_class(normal, SHOWN))], "odd": trial.pixels[spread]}
    for name, pixels in chosen.items():
        came_back = detector.painter.reconstruct(pixels)
        maps = heat(pixels, came_back)
        over = [overlaid(picture, warm, detector.known.limit) for picture, warm in zip(pixels, maps, strict=True)]
        coloured = [np.broadcast_to(stack, (*stack.shape[:3], 3)) for stack in (pixels, came_back)]
        arrays[f"anomaly.shown.{name}"] = np.stack([*coloured, np.stack(over)])
        shares = detector.shares(detector.scores(pixels, came_back))
        arrays[f"anomaly.shown.{name}.shares"] = shares.get("together", shares["reconstruction"])
    return arrays
