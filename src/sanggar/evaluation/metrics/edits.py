"""How well attributes are edited in a latent space: an independent judge looks at what was edited.

How far one unit of strength goes is chosen on validation, and so is the way of editing; what is reported is measured
on test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from sanggar.data.images import Images
from sanggar.evaluation.aspects import Aspect, AttributeJudge, aspects_of, judge_of
from sanggar.evaluation.context import EvaluationContext, Findings, Metric
from sanggar.evaluation.edit_trials import Bench, Chosen, Outcome, choose_edit
from sanggar.evaluation.measures.probes import balanced_accuracy, r_squared
from sanggar.evaluation.statistics import Interval, mean_of, share_of, student
from sanggar.options import Options
from sanggar.results import JUDGE, Alarm, Json, Measurement, Protocol, Tag, Unit
from sanggar.tools.editing import SHOWN, Edit
from sanggar.trained import Pixels

STRENGTHS = (0.5, 1.0, 2.0, 3.0)
"""Strengths that are measured"""
CHOOSING, MEASURING, FEWEST = 32, 100, 3
"""Pictures of each kind on validation and on test; with fewer than the last, an attribute is left out"""
LEAST = {"flag": 0.65, "number": 0.1}
"""Balanced accuracy, or R², below which a judge of an attribute is none"""
HEADLINE = 2.0
"""The strength whose numbers stand first"""
REAL = 2000
"""Real pictures, at most, that a judge is judged on"""
NOISE = 2000
"""Training latents, at most, whose noise is looked for"""


@dataclass(frozen=True)
class Trial:
    """An attribute's edit, and what it did."""

    aspect: Aspect
    edit: Edit
    index: Int64[np.ndarray, "n"]
    """positions of the test pictures"""
    outcomes: dict[float, Outcome]
    """on test pictures, by strength"""
    tuning: int
    """validation pictures it was chosen on"""
    tuned: Outcome
    """on those, at the strength that stands first"""
    strip: UInt8[np.ndarray, "shown height width channels"]
    """a test picture without the attribute and one with it, at each shown strength"""


def measure(context: EvaluationContext, options: Options) -> Findings:
    """Measure how often a judge sees each attribute change when it is edited, and what else changes.

    Empty where the data have neither attributes nor classes.
    """
    train, validation, spec = context.train, context.dataset.validation, context.model.spec
    if any(split.labels is None and split.attributes is None for split in (train, validation, context.test)):
        return Findings()
    every = aspects_of(spec, context.options.attributes)
    aspects = tuple(aspect for aspect in every if len(np.unique(aspect.truth(train, spec))) > 1)
    if not aspects:
        return Findings()
    judge = judge_of(context, aspects)
    known = [value for value, _ in _accuracies(context, judge, aspects, validation)]
    recognized = tuple(value >= LEAST[aspect.kind] for aspect, value in zip(aspects, known, strict=True))
    by_noise = context.model.can("noise_of")
    noise = context.model.noise_of(context.latents("train")[:NOISE]) if by_noise and any(recognized) else None
    bench = Bench(context.model, aspects, judge, recognized, context.judge, noise)
    tried = {aspect: _trial(context, bench, aspect) for aspect, can in zip(aspects, recognized, strict=True) if can}
    trials = [trial for trial in tried.values() if trial is not None]
    left = [aspect.name for aspect in aspects if tried.get(aspect) is None]
    alarms = [Alarm(key="edits.left_out", values={"names": list[Json](left)})] if left else []
    if not trials:
        return Findings(alarms=alarms)
    ceilings = dict(zip(aspects, _accuracies(context, judge, aspects, context.test), strict=True))
    measurements = _means(context, bench, trials)
    for trial in trials:
        measurements += _measurements(context, bench, trial)
        measurements.append(_ceiling(context, judge, trial.aspect, *ceilings[trial.aspect]))
    return _findings(measurements, trials, alarms)


def _accuracies(
    context: EvaluationContext, judge: AttributeJudge, aspects: Sequence[Aspect], images: Images
) -> list[tuple[float, Interval | None]]:
    """How well a judge tells each aspect of real pictures: balanced accuracy, or R² of a number."""
    real, scores = images.first(REAL), []
    verdicts = judge.judge(real.pixels)
    for place, aspect in enumerate(aspects):
        truth, verdict = aspect.truth(real, context.model.spec), verdicts[:, place]
        if aspect.kind == "number":
            scores.append(r_squared(verdict, truth, context.options.seed))
        else:
            scores.append(balanced_accuracy((verdict > 0.5) == (truth > 0), truth))
    return scores


def _trial(context: EvaluationContext, bench: Bench, aspect: Aspect) -> Trial | None:
    """Choose an edit on validation and try it on test; None where there are too few pictures."""
    validation, test = context.dataset.validation, context.test
    tuning, ways = bench.choose(validation, aspect, CHOOSING)
    index, towards = bench.choose(test, aspect, MEASURING)
    if min(len(tuning), len(index)) < 2 * FEWEST:
        return None
    truth, prepared = aspect.truth(context.train, context.model.spec), bench.prepare(validation.take(tuning), ways)
    edit = choose_edit(bench, aspect, context.latents("train"), truth, prepared)
    chosen = bench.prepare(test.take(index), towards)
    outcomes = {strength: bench.outcome(edit, chosen, strength, perceptual=True) for strength in STRENGTHS}
    tuned = bench.outcome(edit, prepared, HEADLINE)
    return Trial(aspect, edit, index, outcomes, len(tuning), tuned, _strip(bench, edit, chosen))


def _strip(bench: Bench, edit: Edit, chosen: Chosen) -> Pixels:
    """The first picture without the attribute, and the first with it, at each shown strength."""
    few = [0, len(chosen.latents) // 2]
    latents = np.repeat(chosen.latents[few], len(SHOWN), axis=0)
    return edit.apply(bench.model, latents, np.tile(np.array(SHOWN), len(few)))


# -- measurements ----------------------------------------------------------------------------------------------


def _measurements(context: EvaluationContext, bench: Bench, trial: Trial) -> list[Measurement]:
    """What was measured of one attribute's edit, at each strength."""
    aspect, number = trial.aspect, trial.aspect.kind == "number"
    protocol = context.protocol(
        len(trial.index), judge=bench.judge.name, fitted_on=len(context.train),
        pictures="below_and_above_median" if number else "without_and_with",
        unit="half_shift" if number else "half_success",
    )  # fmt: skip
    measurements = []
    for strength, outcome in trial.outcomes.items():
        tags: dict[str, Tag] = {"attribute": aspect.name, "strength": strength}
        measurements.append(_success("", aspect, outcome, protocol, tags))
        against = protocol.having(against="unedited")
        if outcome.kept is not None:
            rule = against.having(others=bench.others(aspect), kept_when="within_half_deviation")
            measurements.append(mean_of("edits.kept", outcome.kept, rule, tags=tags))
        measurements.append(mean_of("edits.psnr", outcome.psnr, against, unit="dB", tags=tags))
        if outcome.perceptual is not None and bench.perceptual is not None:
            features = against.having(
                network=bench.perceptual.name, weights=bench.perceptual.hash, method="LPIPS without learned weights",
                **context.trained_on(bench.perceptual),
            )  # fmt: skip
            distance = mean_of("edits.perceptual", outcome.perceptual, features, better="lower", tags=tags)
            measurements.append(distance)
    tuned = protocol.model_copy(update={"split": "validation", "n": trial.tuning})
    tags = {"attribute": aspect.name, "strength": HEADLINE}
    return [*measurements, _success("_validation", aspect, trial.tuned, tuned, tags)]


def _success(where: str, aspect: Aspect, outcome: Outcome, protocol: Protocol, tags: dict[str, Tag]) -> Measurement:
    """How often the attribute flips; of a number, how far it goes."""
    if aspect.kind == "number":
        return mean_of(f"edits.shift{where}", outcome.success, protocol, unit="deviations", tags=tags)
    return share_of(f"edits.success{where}", outcome.success > 0, protocol, tags=tags)


def _ceiling(
    context: EvaluationContext, judge: AttributeJudge, aspect: Aspect, value: float, interval: Interval | None
) -> Measurement:
    """How well the judge tells the attribute of real test pictures: how far its verdicts can be trusted."""
    score = "R²" if aspect.kind == "number" else "balanced accuracy"
    protocol = context.protocol(min(len(context.test), REAL), judge=judge.name, score=score)
    return Measurement(
        key="edits.judge", subject=JUDGE, value=value, better="higher", interval=interval,
        tags={"attribute": aspect.name}, protocol=protocol,
    )  # fmt: skip


def _means(context: EvaluationContext, bench: Bench, trials: Sequence[Trial]) -> list[Measurement]:
    """Means over the attributes: success, what is kept, PSNR. Attributes count alike; intervals take them as
    independent."""
    measurements = []
    kinds: tuple[tuple[str, str, Unit], ...] = (("flag", "mean_success", ""), ("number", "mean_shift", "deviations"))
    for kind, key, unit in kinds:
        of = [trial for trial in trials if trial.aspect.kind == kind]
        if not of:
            continue
        outcomes = [trial.outcomes[HEADLINE] for trial in of]
        protocol = context.protocol(
            len({position for trial in of for position in trial.index.tolist()}), judge=bench.judge.name,
            attributes=", ".join(trial.aspect.name for trial in of), mean="independent_attributes",
            judged=bench.others(None),
        )  # fmt: skip
        kept = [outcome.kept for outcome in outcomes if outcome.kept is not None]
        measurements.append(_mean(key, [outcome.success for outcome in outcomes], protocol, unit))
        measurements += [_mean(f"{key}_kept", kept, protocol)] if kept else []
        measurements.append(_mean(f"{key}_psnr", [outcome.psnr for outcome in outcomes], protocol, "dB"))
    return measurements


def _mean(key: str, values: Sequence[np.ndarray], protocol: Protocol, unit: Unit = "") -> Measurement:
    mean = float(np.mean([array.mean() for array in values]))
    return Measurement(
        key=f"edits.{key}", value=mean, unit=unit, better="higher", interval=student(mean, values, 1 / len(values)),
        tags={"strength": HEADLINE}, protocol=protocol, headline=True,
    )  # fmt: skip


def _findings(measurements: list[Measurement], trials: Sequence[Trial], alarms: list[Alarm]) -> Findings:
    """With the strips for the report, and the edits for later use."""
    edits, shown = [trial.edit for trial in trials], np.stack([trial.strip for trial in trials])
    named: list[Json] = [
        {"name": trial.edit.name, "method": trial.edit.method, "kind": trial.aspect.kind} for trial in trials
    ]
    return Findings(
        measurements,
        arrays={
            "strips": shown.reshape(len(edits), -1, len(SHOWN), *shown.shape[2:]),
            "strengths": np.array(SHOWN),
        },
        alarms=alarms,
        details={"edits": named},
        tools={
            "edits.vectors": np.stack([edit.vector for edit in edits]),
            "edits.conditions": np.stack([np.stack([edit.above, edit.below]) for edit in edits]),
        },
        tool_details={"edits": named},
    )


METRIC = Metric(measure, ("encode", "decode"))
