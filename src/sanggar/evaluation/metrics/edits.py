"""How well attributes are edited in a latent space: an independent judge looks at what was edited.

How far one unit of strength goes is chosen on validation, and so is the way of editing; what is reported is measured
on test.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from sanggar.data.images import Images
from sanggar.evaluation.context import (
    Findings,
    Interval,
    Number,
    Pixels,
    Subject,
    averaged,
    share_interval,
    taught,
)
from sanggar.evaluation.edit_trials import Bench, Chosen, Outcome, choose_edit
from sanggar.evaluation.measures.probes import balanced_accuracy, explained
from sanggar.evaluation.metrics.attributes import Aspect, AttributeJudge, aspects_of, judge_of
from sanggar.runs import Arrays
from sanggar.tools.editing import SHOWN, Edit

STRENGTHS = (0.5, 1.0, 2.0, 3.0)
"""That are measured."""
CHOOSING, MEASURING, FEWEST = 32, 100, 3
"""Pictures of each kind on validation and on test; with fewer than the last, an attribute is left out."""
LEAST = {"flag": 0.65, "number": 0.1}
"""Balanced accuracy, or R², below which a judge of an attribute is none."""
HEADLINE = 2.0
"""The strength whose numbers stand first."""
REAL = 2000
"""Real pictures, at most, that a judge is judged on."""


def measure_edits(subject: Subject) -> Findings:
    """For each attribute: how often a judge sees it change, what else changes, and strips that show it.

    Nothing where the data have neither attributes nor classes.
    """
    painter = subject.painter
    train, validation = subject.dataset.train.first(subject.options.probe_images), subject.dataset.validation
    if any(split.labels is None and split.attributes is None for split in (train, validation, subject.test)):
        return Findings()
    every = aspects_of(painter.spec, subject.options.attributes)
    aspects = tuple(aspect for aspect in every if len(np.unique(aspect.truth(train, painter.spec))) > 1)
    if not aspects:
        return Findings()
    judge = judge_of(subject, train, aspects)
    known = [found[0] for found in _accuracies(judge, aspects, subject, validation)]
    ceilings = _accuracies(judge, aspects, subject, subject.test)
    told_apart = tuple(share >= LEAST[aspect.kind] for aspect, share in zip(aspects, known, strict=True))
    bench = Bench(painter, aspects, judge, told_apart, subject.judge)
    latents = painter.encode(train.pixels)
    numbers, edits, strips, outcomes, left = [], [], [], {}, []
    for aspect, can, ceiling in zip(aspects, told_apart, ceilings, strict=True):
        tuning, ways = bench.choose(validation, aspect, CHOOSING)
        index, towards = bench.choose(subject.test, aspect, MEASURING)
        if not can or min(len(tuning), len(index)) < 2 * FEWEST:
            left.append(aspect.name)
            continue
        truth, trial = aspect.truth(train, painter.spec), bench.prepare(validation.take(tuning), ways)
        edit = choose_edit(bench, aspect, latents, truth, trial)
        chosen = bench.prepare(subject.test.take(index), towards)
        found = {strength: bench.outcome(edit, chosen, strength, closely=True) for strength in STRENGTHS}
        how = _protocol(subject, judge, aspect, len(index), len(train))
        numbers += _numbers(bench, aspect, found, how)
        there = how | {"split": "validation", "n": len(tuning), "strength": HEADLINE}
        said = f"{aspect.name}, strength {HEADLINE:g}, on validation, where it was chosen"
        numbers.append(_success(aspect, bench.outcome(edit, trial, HEADLINE), there, said, "_validation"))
        numbers.append(_ceiling(subject, judge, aspect, *ceiling))
        outcomes[aspect] = (set(index.tolist()), found[HEADLINE])
        edits.append(edit)
        strips.append(_strip(bench, edit, chosen))
    alarms = [f"Edits of {', '.join(left)} are not measured: too few pictures, or no judge tells them."] if left else []
    if not edits:
        return Findings([], {}, alarms)
    return Findings([*_means(subject, bench, outcomes), *numbers], _arrays(edits, strips, aspects), alarms)


def _accuracies(
    judge: AttributeJudge, aspects: Sequence[Aspect], subject: Subject, images: Images
) -> list[tuple[float, Interval]]:
    """How well a judge tells each aspect of real pictures: balanced accuracy, or R² of a number."""
    real, found = images.first(REAL), []
    verdicts = judge.judge(real.pixels)
    for place, aspect in enumerate(aspects):
        truth, verdict = aspect.truth(real, subject.painter.spec), verdicts[:, place]
        if aspect.kind == "number":
            found.append(explained(verdict, truth, subject.options.seed))
        else:
            found.append(balanced_accuracy((verdict > 0.5) == (truth > 0), truth))
    return found


def _protocol(subject: Subject, judge: AttributeJudge, aspect: Aspect, n: int, fitted_on: int) -> dict[str, Any]:
    number = aspect.kind == "number"
    halves = "below and above the median" if number else "without it and with it"
    most = "shifts half as far as any step, or a deviation" if number else "succeeds half as often as any step"
    return {
        "split": "test", "n": n, "data": subject.painter.data_name, "attribute": aspect.name, "judge": judge.name,
        "pictures": f"as many {halves}, each pushed to the other side", "fitted_on": f"{fitted_on} training pictures",
        "unit": f"strength 1 {most}, on at most {2 * CHOOSING} validation pictures; or the gap, where nothing succeeds",
    }  # fmt: skip


def _numbers(bench: Bench, aspect: Aspect, found: dict[float, Outcome], protocol: dict[str, Any]) -> list[Number]:
    numbers = []
    for strength, outcome in found.items():
        given, of = protocol | {"strength": strength}, f"{aspect.name}, strength {strength:g}"
        numbers.append(_success(aspect, outcome, given, of))
        against = given | {"against": "the unedited reconstruction"}
        if outcome.kept is not None:
            rule = {"others": bench.others(aspect), "kept_when": "the same verdict; a number, within half a deviation"}
            numbers.append(averaged("attributes.kept", f"{of}: other attributes kept", outcome.kept, against | rule))
        numbers.append(averaged("attributes.psnr", f"{of}: PSNR", outcome.psnr, against, unit="dB"))
        if outcome.perceptual is not None and bench.eye is not None:
            seen = against | {
                "network": f"{bench.eye.name} {bench.eye.hash}",
                "method": "LPIPS without learned weights",
                **taught(bench.painter, bench.eye),
            }
            label = f"{of}: perceptual distance"
            numbers.append(averaged("attributes.perceptual", label, outcome.perceptual, seen, better="lower"))
    return numbers


def _success(aspect: Aspect, outcome: Outcome, given: dict[str, Any], of: str, split: str = "") -> Number:
    """How often the attribute flips; of a number, how far it goes."""
    if aspect.kind == "number":
        return averaged(f"attributes.shift{split}", f"shift of {of}", outcome.success, given, unit="deviations")
    hits = outcome.success > 0
    share, interval = float(hits.mean()), share_interval(hits)
    return Number(f"attributes.success{split}", f"{of}: flipped", share, "", "higher", given, interval=interval)


def _ceiling(subject: Subject, judge: AttributeJudge, aspect: Aspect, value: float, interval: Interval) -> Number:
    """How well the judge tells the attribute of real test pictures: how far its verdicts can be trusted."""
    what = "R²" if aspect.kind == "number" else "balanced accuracy"
    protocol = {
        "split": "test", "n": min(len(subject.test), REAL), "data": subject.painter.data_name,
        "attribute": aspect.name, "judge": judge.name,
    }  # fmt: skip
    label = f"the judge on real pictures, {what} of {aspect.name}"
    return Number("attributes.judge", label, value, "", "higher", protocol, "judge", interval)


def _means(subject: Subject, bench: Bench, outcomes: dict[Aspect, tuple[set[int], Outcome]]) -> list[Number]:
    """Over the attributes: success, what is kept, PSNR. Attributes count alike; intervals take them as independent."""
    numbers = []
    for kind, key, label, unit in (
        ("flag", "mean_success", "edits flip the attribute", ""),
        ("number", "mean_shift", "edits shift the number", "deviations"),
    ):
        of = {aspect: pair for aspect, pair in outcomes.items() if aspect.kind == kind}
        if not of:
            continue
        protocol = {
            "split": "test", "n": len(set().union(*(index for index, _ in of.values()))),
            "data": subject.painter.data_name, "strength": HEADLINE, "judge": bench.judge.name,
            "attributes": ", ".join(aspect.name for aspect in of), "mean": "over attributes, as if independent",
            "judged": bench.others(None),
        }  # fmt: skip
        found = [outcome for _, outcome in of.values()]
        measured = [(key, label, unit, [outcome.success for outcome in found])]
        kept = [outcome.kept for outcome in found if outcome.kept is not None]
        if kept:
            measured.append((f"{key}_kept", f"other attributes kept, {kind}s edited", "", kept))
        measured.append((f"{key}_psnr", f"PSNR with the unedited, {kind}s edited", "dB", [o.psnr for o in found]))
        for name, words, of_unit, values in measured:
            mean = float(np.mean([array.mean() for array in values]))
            variance = sum(float(array.var(ddof=1)) / len(array) for array in values) / len(values) ** 2
            margin = 1.96 * variance**0.5
            whole = f"{words}, strength {HEADLINE:g}"
            interval = (mean - margin, mean + margin)
            numbers.append(
                Number(f"attributes.{name}", whole, mean, of_unit, "higher", protocol, "network", interval, True)
            )
    return numbers


def _strip(bench: Bench, edit: Edit, chosen: Chosen) -> Pixels:
    """The first picture without the attribute, and the first with it, at each shown strength: `(2 · 7, H, W, C)`."""
    few = [0, len(chosen.latents) // 2]
    latents = np.repeat(chosen.latents[few], len(SHOWN), axis=0)
    return edit.apply(bench.painter, latents, np.tile(np.array(SHOWN), len(few)))


def _arrays(edits: Sequence[Edit], strips: Sequence[Pixels], aspects: Sequence[Aspect]) -> Arrays:
    kinds = {aspect.name: aspect for aspect in aspects}
    said = [{"name": edit.name, "method": edit.method, "kind": kinds[edit.name].kind} for edit in edits]
    shown = np.stack(strips)
    return {
        "attributes.edits": np.frombuffer(json.dumps(said).encode(), np.uint8),
        "attributes.vectors": np.stack([edit.vector for edit in edits]),
        "attributes.told": np.stack([np.stack([edit.above, edit.below]) for edit in edits]),
        "attributes.strips": shown.reshape(len(edits), -1, len(SHOWN), *shown.shape[2:]),
        "attributes.strengths": np.array(SHOWN),
    }
