"""Odd pictures told from normal ones: a network's scores beside PCA and nearest neighbours, on three kinds of trial.

Pictures of classes that training never saw, where there are such; normal pictures with something done to them; and,
for networks with a bound, pictures simpler than normal ones, which a likelihood takes for more normal than those
(Nalisnick et al. 2019, arXiv:1810.09136). Where it is known in which places they are odd, heat maps are measured too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from pydantic import Field

from sanggar.data.images import Images
from sanggar.data.masks import ODD, UNKNOWN
from sanggar.data.sources import SOURCES, presence
from sanggar.evaluation.baselines import NEIGHBOURS, Baselines
from sanggar.evaluation.context import EvaluationContext, Findings, Metric, first_of_each_class, normal_classes
from sanggar.evaluation.corruptions import CORRUPTIONS, LOCAL, SIMPLER, seed_of
from sanggar.evaluation.measures.detection import auroc, average_precision
from sanggar.evaluation.measures.localization import localization
from sanggar.models.vae.likelihood_regret import RATE
from sanggar.options import Options
from sanggar.results import NETWORK, PCA, Alarm, Json, Measurement, Protocol, Tag
from sanggar.runs import Arrays
from sanggar.tools.detector import (
    IMAGES,
    REGRET_STEPS,
    SLACK,
    TOOL,
    WEIGHED,
    Detector,
    Scores,
    fitting_images,
    heat,
    overlaid,
)
from sanggar.trained import Pixels, TrainedModel

ByDetector = dict[str, Scores]
"""Scores by subject: of the network and of the baselines"""
Pair = tuple[np.ndarray, np.ndarray]
"""Pictures and their reconstructions"""

HELD_OUT, CORRUPTED, SIMPLE = "held_out", "corrupted", "simpler"
"""Kinds of trial; the first two also name the trial with all their odd pictures"""
COMPONENTS = 32
"""Components of PCA beside a network that reconstructs without a latent space"""
OTHER_SOURCES = {"fashion-mnist": "mnist"}
"""By source, another whose pictures are of the same size and simpler: scored where it lies on this machine"""
SIMPLE_IMAGES = 200
"""Test pictures that simpler ones are made from, at most, and pictures of another source"""
FLOORS = {"pixel_auroc": 0.5, "region_overlap": 0.15}
"""What guessing gives"""
SHOWN = 8
"""Odd pictures, and as many normal ones, that the report shows"""


class AnomalyOptions(Options):
    """Options of the metric `anomaly`."""

    images: int | None = Field(default=IMAGES, ge=20)
    """test pictures, and validation pictures, on which anomaly scores are measured; none: all"""
    regret_steps: int = Field(default=REGRET_STEPS, ge=0)
    """Adam steps that fit a posterior to each of them, for the likelihood regret; 0: it is not measured"""


@dataclass(frozen=True)
class Trial:
    """Odd pictures that are to be told from the normal ones."""

    odd: str
    """name of the odd pictures"""
    kind: str
    pixels: Pixels
    headline: bool = False
    masks: UInt8[np.ndarray, "n height width"] | None = None
    """where they are odd, as `Images` has it"""


def applies(model: TrainedModel, options: AnomalyOptions) -> bool:
    """Whether training saw some classes alone, or the model has a bound."""
    return normal_classes(model) is not None or model.can("posterior")


def measure(context: EvaluationContext, options: AnomalyOptions) -> Findings:
    """Measure AUROC and average precision of every score of the network and of the baselines, in each trial."""
    model, seed = context.model, context.options.seed
    train, validation = fitting_images(context.dataset, context.options.train_images, options.images)
    latents = context.latents("train") if model.can("encode") and len(train) == len(context.train) else None
    detector = Detector.fit(model, train, validation, seed, options.regret_steps, latents)
    baselines = Baselines(train, validation, _components(detector), seed)
    normal, trials = _trials(context, options.images)
    tools = {TOOL + name: array for name, array in detector.known.arrays().items()}
    if not trials or len(normal) < 2:
        few = Alarm(key="anomaly.not_measured", values={"n": len(normal)})
        return Findings(alarms=[few], tools=tools)

    def score(pixels: Pixels, reconstructed: Pixels) -> ByDetector:
        return {NETWORK: detector.scores(pixels, reconstructed), **baselines.scores(pixels)}

    whole = len(normal) == len(context.test)
    known = context.reconstructions("test") if whole else model.reconstruct(normal.pixels)
    reconstructed = {trial.odd: model.reconstruct(trial.pixels) for trial in trials if trial.odd != CORRUPTED}
    of_normal = score(normal.pixels, known)
    of_odd = _score_trials(trials, lambda trial: score(trial.pixels, reconstructed[trial.odd]))
    measurements, arrays = [], _stored(of_normal, "normal")
    for trial in trials:
        protocol = _protocol(context, trial, normal, train, validation)
        for subject, scored in of_odd[trial.odd].items():
            measurements += _measurements(detector, subject, trial, of_normal[subject], scored, protocol)
        if trial.masks is not None:
            pairs = (normal.pixels, known), (trial.pixels, reconstructed[trial.odd])
            measurements += _located(baselines, trial, *pairs, protocol)
        arrays |= _stored(of_odd[trial.odd], f"odd.{trial.odd}")
    return Findings(measurements, arrays | _shown(detector, normal, trials[0]), tools=tools)


def _components(detector: Detector) -> int:
    """Size of PCA beside a network: as many numbers as its latent has."""
    return COMPONENTS if detector.known.centre is None else len(detector.known.centre)


# -- trials ----------------------------------------------------------------------------------------------------


def _trials(context: EvaluationContext, images: int | None) -> tuple[Images, list[Trial]]:
    """The normal test pictures, and what they are to be told from."""
    model, seed, held_out = context.model, context.options.seed, context.held_out
    normal, trials = context.test.first(images), []
    if held_out is not None:
        odd = held_out.first(images)
        trials.append(Trial(HELD_OUT, HELD_OUT, odd.pixels, headline=True, masks=odd.masks))
    corrupted = []
    for number, (name, corrupt) in enumerate(CORRUPTIONS.items()):
        chosen = normal.pixels[number :: len(CORRUPTIONS)]  # each picture once: no more odd than normal ones
        changed = corrupt(chosen, seed_of(name, seed))
        masks = (changed != chosen).any(axis=3).astype(np.uint8) if name in LOCAL else None
        corrupted.append(Trial(name, CORRUPTED, changed, masks=masks))
    corrupted = [trial for trial in corrupted if len(trial.pixels) > 1]
    if corrupted:
        together = np.concatenate([trial.pixels for trial in corrupted])
        trials += [Trial(CORRUPTED, CORRUPTED, together, headline=held_out is None), *corrupted]
    if model.can("posterior"):
        some = normal.first(SIMPLE_IMAGES)
        trials += [Trial(name, SIMPLE, make(some.pixels, seed_of(name, seed))) for name, make in SIMPLER.items()]
        trials += _other_source(model, len(some))
    return normal, [trial for trial in trials if len(trial.pixels) > 1]


def _other_source(model: TrainedModel, count: int) -> list[Trial]:
    """Test pictures of a simpler source, where its files are on this machine."""
    name = OTHER_SOURCES.get(model.plan.data.source)
    if name is None or presence(name).state != "present":
        return []
    source = SOURCES[name]
    test = source.load(source.Options(source=name)).test.first(count)
    return [Trial(name.replace("-", "_"), SIMPLE, test.pixels)]


def _score_trials(trials: list[Trial], score: Callable[[Trial], ByDetector]) -> dict[str, ByDetector]:
    """Score the odd pictures of each trial; all corrupted ones have the scores of each corruption, joined."""
    of_odd = {trial.odd: score(trial) for trial in trials if trial.odd != CORRUPTED}
    parts = [of_odd[trial.odd] for trial in trials if trial.kind == CORRUPTED and trial.odd != CORRUPTED]
    if parts:
        of_odd[CORRUPTED] = {
            subject: {name: np.concatenate([part[subject][name] for part in parts]) for name in scored}
            for subject, scored in parts[0].items()
        }
    return of_odd


# -- measurements ----------------------------------------------------------------------------------------------


def _protocol(context: EvaluationContext, trial: Trial, normal: Images, train: Images, validation: Images) -> Protocol:
    """What every measurement of a trial depends on."""
    classes, names = context.normal_classes, context.model.spec.classes
    return context.protocol(
        len(normal), trial=trial.kind, odd_pictures=len(trial.pixels), seed=context.options.seed, output="uint8",
        normal_classes="all" if classes is None else ", ".join(names[code] for code in classes),
        fitted_on=len(train), tuned_on=len(validation), **context.unconditionally,
    )  # fmt: skip


def _measurements(
    detector: Detector, subject: str, trial: Trial, normal: Scores, odd: Scores, protocol: Protocol
) -> list[Measurement]:
    """AUROC and average precision of each score of the network, or of a baseline."""
    measurements, odd_pictures = [], len(trial.pixels)
    prevalence = round(odd_pictures / (odd_pictures + protocol.n), 4)
    for name in normal:
        tags: dict[str, Tag] = {"odd": trial.odd, "score": name}
        of_score = protocol.having(**_settings(detector, subject, name))
        headline = trial.headline and subject == NETWORK and name == main_score(trial.kind, normal)
        value, interval = auroc(normal[name], odd[name])
        measurements.append(Measurement(
            key="anomaly.auroc", subject=subject, value=value, better="higher", interval=interval, tags=tags,
            protocol=of_score.having(floor=0.5), headline=headline,
        ))  # fmt: skip
        value, interval = average_precision(normal[name], odd[name], detector.seed)
        measurements.append(Measurement(
            key="anomaly.average_precision", subject=subject, value=value, better="higher", interval=interval,
            tags=tags, protocol=of_score.having(floor=prevalence),
        ))  # fmt: skip
    return measurements


def _located(baselines: Baselines, trial: Trial, normal: Pair, odd: Pair, protocol: Protocol) -> list[Measurement]:
    """How well heat maps of the network and of PCA say where the pictures of a trial are odd."""
    assert trial.masks is not None
    known = (trial.masks != UNKNOWN).all(axis=(1, 2))
    marks = np.concatenate([np.zeros(normal[0].shape[:3], bool), trial.masks[known] == ODD])
    if not marks.any() or marks.all():
        return []
    pixels, reconstructed = (np.concatenate([one, other[known]]) for one, other in zip(normal, odd, strict=True))
    by_network = localization(heat(pixels, reconstructed), marks)
    settings = protocol.having(odd_pictures=int(known.sum()), odd_pixels=round(float(marks.mean()), 4))
    tags: dict[str, Tag] = {"odd": trial.odd}
    return [
        Measurement(
            key=f"anomaly.{key}", subject=subject, value=place.value, better="higher", interval=place.interval,
            tags=tags, protocol=settings.having(**of_subject, floor=FLOORS[key]),
        )
        for subject, found, of_subject in (
            (NETWORK, by_network, {}), (PCA, baselines.localization(pixels, marks), {"size": baselines.size}),
        )
        for key, place in found.items()
    ]  # fmt: skip


def main_score(kind: str, scored: Scores) -> str:
    """The score that stands first. What is done to pixels need not show in a latent; a class never seen does."""
    return "together" if kind == HELD_OUT and "together" in scored else "residual"


def _settings(detector: Detector, subject: str, score: str) -> dict[str, Json]:
    """What one score depends on: the size of PCA, the steps of the likelihood regret, and so on."""
    of_score: dict[str, dict[str, Json]] = {
        "bound": {"draws": WEIGHED},
        "regret": {"draws": WEIGHED, "steps": detector.regret_steps, "learning_rate": RATE},
        "residual": {"slack": SLACK},
        "latent": {"method": "Ledoit & Wolf 2004"},
        "neighbours": {"neighbours": NEIGHBOURS},
    }
    return of_score.get(score, {}) | ({"size": _components(detector)} if subject == PCA else {})


# -- for the report --------------------------------------------------------------------------------------------


def _stored(by_detector: ByDetector, before: str) -> Arrays:
    """Scores for histograms and curves, float32."""
    return {
        f"{before}.{subject}.{name}": np.asarray(values, np.float32)
        for subject, scored in by_detector.items()
        for name, values in scored.items()
    }


def _shown(detector: Detector, normal: Images, trial: Trial) -> Arrays:
    """Normal and odd pictures, their reconstructions, where the error sits, and how many normal ones score lower.

    Not chosen by their scores: of the odd ones, evenly spread; of the normal ones, the first.
    """
    spread = np.linspace(0, len(trial.pixels) - 1, min(SHOWN, len(trial.pixels))).astype(np.int64)
    arrays: Arrays = {}
    chosen = {"normal": normal.pixels[list(first_of_each_class(normal, SHOWN))], "odd": trial.pixels[spread]}
    if trial.masks is not None:
        arrays["shown_odd_masks"] = trial.masks[spread]
    for name, pixels in chosen.items():
        reconstructed = detector.model.reconstruct(pixels)
        maps = heat(pixels, reconstructed)
        over = [overlaid(picture, warm, detector.known.limit) for picture, warm in zip(pixels, maps, strict=True)]
        coloured = [np.broadcast_to(stack, (*stack.shape[:3], 3)) for stack in (pixels, reconstructed)]
        arrays[f"shown_{name}"] = np.stack([*coloured, np.stack(over)])
        shares = detector.shares(detector.scores(pixels, reconstructed))
        arrays[f"shown_{name}_shares"] = shares.get("together", shares["reconstruction"])
    return arrays


METRIC = Metric(measure, ("reconstruct",), AnomalyOptions, applies)
