"""Diagnoses: two or three sentences on what a network is good at, what it is worse at, and what to change first.

Each rule looks at measurements and says one thing with the number that it rests on, or nothing. A rule gives a weight
that says how far its number lies from where it would begin to speak, in multiples of that distance; of each kind the
weightiest is said. Words stand in `labels.DIAGNOSES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from sanggar.errors import RecipeError, RunError
from sanggar.files import Tree
from sanggar.plain import parse
from sanggar.reporting.view import View
from sanggar.results import FLOOR, NETWORK, PCA, Measurement

Kind = Literal["good", "worse", "next", "caution"]
ORDER: tuple[Kind, ...] = ("good", "worse", "next", "caution")
"""In which they are said: what it is good at, what it is worse at, what to change first, what all this rests on"""


@dataclass(frozen=True)
class Diagnosis:
    """One thing that can be said of a network."""

    kind: Kind
    key: str
    """of its words"""
    values: Mapping[str, float | str]
    """for its words, and what it rests on"""
    weight: float
    """how much it weighs beside others of its kind, 1 where its rule just speaks"""


Rule = Callable[[View], Iterator[Diagnosis]]


def diagnose(view: View) -> list[Diagnosis]:
    """What can be said of a run's network: of each kind the weightiest, in the order of ORDER."""
    found = [diagnosis for rule in RULES for diagnosis in rule(view)]
    if tested(view) < LEAST:  # nothing else can be said
        found = [diagnosis for diagnosis in found if diagnosis.kind == "caution"]
    said = []
    for kind in ORDER:
        of_kind = [diagnosis for diagnosis in found if diagnosis.kind == kind]
        if of_kind:
            said.append(max(of_kind, key=lambda diagnosis: diagnosis.weight))
    return said


def one(view: View, key: str, subject: str = NETWORK, **tags: str | float) -> Measurement | None:
    """The measurement of a key with these tags alone, where there is one."""
    return next((m for m in view.find(key, subject, **tags) if m.tags.keys() == tags.keys()), None)


# -- beside what is simplest -------------------------------------------------------------------------------------

DECIBELS = 0.5
"""PSNR by which reconstructions have to differ from PCA's, or a filter's, to be spoken of"""


def beside_pca(view: View) -> Iterator[Diagnosis]:
    """Reconstructions beside those of as many principal components, which a linear path would begin as."""
    network, pca = one(view, "reconstruction.psnr"), one(view, "reconstruction.psnr", PCA)
    if network is None or pca is None or abs(network.value - pca.value) < DECIBELS:
        return
    difference = network.value - pca.value
    values = {"difference": abs(difference), "psnr": network.value, "pca": pca.value}
    weight = abs(difference) / DECIBELS
    if difference > 0:
        yield Diagnosis("good", "above_pca", values, weight)
    else:
        yield Diagnosis("worse", "below_pca", values, weight)
        if view.detail("reconstruction", "linear") is False:  # none: there can be no linear path, or an older run
            yield Diagnosis("next", "begin_linear", values, weight)


def beside_filters(view: View) -> Iterator[Diagnosis]:
    """Denoising beside the best classical filter, at the noise that the network was trained on."""
    for m in view.find("denoising.gain", NETWORK):
        if m.headline and abs(m.value) >= DECIBELS:
            values = {"difference": abs(m.value), "level": m.tags.get("level", 0.0)}
            kind: Kind = "good" if m.value > 0 else "worse"
            yield Diagnosis(kind, "above_filter" if m.value > 0 else "below_filter", values, abs(m.value) / DECIBELS)


def beside_the_largest_class(view: View) -> Iterator[Diagnosis]:
    """Accuracy beside always naming the largest class: how much of the way to no mistakes is gone."""
    network, largest = one(view, "classification.accuracy"), one(view, "classification.accuracy", "largest_class")
    if network is None or largest is None or largest.value >= 1:
        return
    way = (network.value - largest.value) / (1 - largest.value)
    values = {"accuracy": network.value, "largest": largest.value, "n": network.protocol.n}
    if way >= 0.8:
        yield Diagnosis("good", "classifies", values, way / 0.8)
    elif way < 0.5:
        yield Diagnosis("worse", "classifies_badly", values, 0.5 / max(way, 0.05))


# -- what is drawn -----------------------------------------------------------------------------------------------

NEAR, FAR = 2.0, 5.0
"""Multiples of the floor within which drawn pictures are near real ones, and from which they are far"""


def distance_of_drawn(view: View) -> Iterator[Diagnosis]:
    """The Fréchet distance of what is drawn, in multiples of its floor."""
    network, floor = one(view, "generation.frechet"), one(view, "generation.frechet", FLOOR)
    if network is None or floor is None or floor.value <= 0:
        return
    ratio = network.value / floor.value
    values = {"distance": network.value, "floor": floor.value, "ratio": ratio}
    if ratio <= NEAR:
        yield Diagnosis("good", "drawn_near", values, NEAR / max(ratio, 0.1))
    elif ratio >= FAR:
        yield Diagnosis("worse", "drawn_far", values, 1 + ratio / FAR / 10)  # ratios grow large, and weigh no more


def variety_of_drawn(view: View) -> Iterator[Diagnosis]:
    """Precision and recall of what is drawn beside those of real pictures: whether it is unlike them, or too alike."""
    shares = {}
    for name in ("precision", "recall"):
        network, floor = one(view, f"generation.{name}"), one(view, f"generation.{name}", FLOOR)
        if network is None or floor is None or floor.value <= 0:
            return
        shares[name] = (network.value, floor.value, network.value / floor.value)
    for name, key in (("recall", "little_variety"), ("precision", "unlike_real")):
        value, real, share = shares[name]
        if share < 0.7:
            yield Diagnosis("worse", key, {"value": value, "real": real}, 0.7 / max(share, 0.05))


def obedience(view: View) -> Iterator[Diagnosis]:
    """Whether the class that is asked for is drawn."""
    network, floor = one(view, "generation.agreement"), one(view, "generation.agreement", FLOOR)
    if network is None or floor is None:
        return
    values = {"agreement": network.value, "real": floor.value}
    if network.value >= floor.value - 0.02:
        yield Diagnosis("good", "obeys", values, 1.0)
    elif network.value < 0.9 * floor.value:
        yield Diagnosis("worse", "disobeys", values, 0.9 * floor.value / max(network.value, 0.05))


def memory(view: View) -> Iterator[Diagnosis]:
    """Whether training pictures are drawn again: far more often near one than test pictures are."""
    network, floor = one(view, "generation.memorization"), one(view, "generation.memorization", FLOOR)
    if network is None or floor is None or network.interval is None:
        return
    if network.interval[0] > 2 * max(floor.value, 0.005):
        values = {"share": network.value, "real": floor.value}
        yield Diagnosis("worse", "memorizes", values, 2 * network.value / max(floor.value, 0.005))


# -- the latent space --------------------------------------------------------------------------------------------


def prior(view: View) -> Iterator[Diagnosis]:
    """Whether latents lie where the prior draws them: what a learned prior gains, or a mixture would."""
    drawn = one(view, "exploration.frechet", source="prior", temperature=1.0)
    normal = one(view, "exploration.frechet", source="normal")
    mixture = one(view, "exploration.frechet", source="mixture")
    if drawn is None:
        return
    learned = view.detail("exploration", "prior") is not None
    rate = view.find("bounds.rate")  # what latents are drawn towards; of others the noise is no prior to be learned
    if normal is not None and drawn.value < 0.8 * normal.value:
        values = {"prior": drawn.value, "normal": normal.value}
        yield Diagnosis("good", "prior_learned", values, 0.8 * normal.value / max(drawn.value, 1e-6))
    if mixture is not None and mixture.value < 0.8 * drawn.value and (learned or rate):
        values = {"prior": drawn.value, "mixture": mixture.value}
        key = "prior_behind" if learned else "learn_a_prior"
        yield Diagnosis("next", key, values, 0.8 * drawn.value / max(mixture.value, 1e-6))


def unused_dimensions(view: View) -> Iterator[Diagnosis]:
    """Dimensions of the latent that hold nothing."""
    for m in view.find("bounds.active_dimensions", NETWORK):
        size = m.protocol.settings.get("size")
        if isinstance(size, int | float) and size > 0 and m.value < 0.7 * size:
            values = {"active": m.value, "size": float(size)}
            yield Diagnosis("next", "unused_dimensions", values, 0.7 * size / max(m.value, 1.0))


# -- the training ------------------------------------------------------------------------------------------------

TENTH = 10
"""Lines of a log that are one in so many"""
STILL = 0.02
"""Share of a loss's whole fall that its last tenth may have, and the training be over"""


def losses(view: View) -> list[float]:
    """Validation loss of the phase that is trained first, by line, while it is: what a prior after it loses is not
    counted.
    """
    trained = [name for line in view.metrics for name in line["train"]]
    if not trained:
        return []
    phase = trained[0].split("/")[0]
    return [
        float(sum(v for name, v in line["validation"].items() if name.split("/")[0] == phase))
        for line in view.metrics
        if any(name.split("/")[0] == phase for name in line["train"])
    ]


def plays(view: View) -> bool:
    """Whether the network was trained against a critic: then its loss says nothing of quality."""
    return any(name.startswith("critic/") for line in view.metrics[-1:] for name in line["validation"])


def course(view: View) -> Iterator[Diagnosis]:
    """Whether the validation loss was still falling when the training ended, or had long been rising."""
    found = losses(view)
    if len(found) < TENTH or plays(view):
        return
    last, before, lowest = found[-1], found[-1 - len(found) // TENTH], min(found)
    fall = found[0] - lowest
    if fall <= 0:
        return
    if (share := (before - last) / fall) > STILL and last == lowest:
        yield Diagnosis("next", "still_falling", {"share": share, "loss": last}, share / STILL)
    elif (rise := (last - lowest) / fall) > 2 * STILL:
        line: Tree = view.metrics[found.index(lowest)]
        values = {"rise": rise, "epoch": float(line["epoch"]), "loss": last, "lowest": lowest}
        yield Diagnosis("next", "overfitted", values, rise / (2 * STILL))


def game_of(view: View) -> tuple[Tree, bool]:
    """What a network plays against its critic by, as far as its recipe tells; whether that is beside a likelihood."""
    try:
        model = parse(view.run.recipe_text(), view.name).get("model")
    except (RunError, RecipeError):  # a section of its own says so
        return {}, False
    model = model if isinstance(model, dict) else {}
    beside = model.get("adversarial")
    return (beside, True) if isinstance(beside, dict) else (model, False)


def critic(view: View) -> Iterator[Diagnosis]:
    """Whether the critic tells real from drawn pictures nearly always or hardly ever, in the last quarter.

    Of a Wasserstein critic that is wanted: the better it tells, the better it measures the distance.
    """
    told = [
        line["watched"]["train"]["critic/accuracy"]
        for line in view.metrics
        if "critic/accuracy" in line.get("watched", {}).get("train", {})
    ]
    if not told:
        return
    game, beside = game_of(view)
    objective = game.get("objective")
    if isinstance(objective, dict) and objective.get("kind") == "wasserstein":
        return
    last = told[-max(1, len(told) // 4) :]
    accuracy = sum(last) / len(last)
    if accuracy > 0.97:
        key = "critic_wins_beside" if beside else "critic_wins_penalized" if game.get("penalty") else "critic_wins"
        yield Diagnosis("next", key, {"accuracy": accuracy}, 1 + (accuracy - 0.97) / 0.03)
    elif accuracy < 0.55 and not beside:  # beside a likelihood, reconstructions may be as good as that
        yield Diagnosis("next", "critic_lost", {"accuracy": accuracy}, 1 + (0.55 - accuracy) / 0.05)


FEW, LEAST = 300, 20
"""Test pictures below which small differences cannot be told, and below which nothing can"""


def tested(view: View) -> float:
    """The most pictures that a headline rests on; infinite where there is none."""
    return float(max((m.protocol.n for m in view.evaluation.measurements if m.headline), default=math.inf))


def few_pictures(view: View) -> Iterator[Diagnosis]:
    """Whether the numbers rest on so few test pictures that they say little, or nothing."""
    if (n := tested(view)) < FEW:
        yield Diagnosis("caution", "few_pictures" if n >= LEAST else "too_few_pictures", {"n": n}, FEW / max(n, 1))


RULES: tuple[Rule, ...] = (
    beside_pca, beside_filters, beside_the_largest_class, distance_of_drawn, variety_of_drawn, obedience, memory, prior,
    unused_dimensions, course, critic, few_pictures,
)  # fmt: skip
