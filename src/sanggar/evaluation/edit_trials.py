"""Trials of edits: what a judge sees change, what else changes, and which edit is taken. Chosen on validation alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64

from sanggar.data.images import Images
from sanggar.evaluation.aspects import Aspect, AttributeJudge, Verdicts
from sanggar.evaluation.measures.fidelity import psnr
from sanggar.evaluation.measures.probes import fit, logistic, normal, ridge
from sanggar.instruments.judge import Judge
from sanggar.tools.editing import Edit, Latents, Method, Strengths, Vector
from sanggar.trained import Pixels, TrainedModel

STEPS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Steps tried on validation: in gaps between the means, or in values of a condition"""
NEAR = 0.8
"""Share of the greatest success that an edit has to reach to be taken"""


@dataclass(frozen=True)
class Chosen:
    """Pictures of which half lack an attribute and half have it; of a number, half are below the median."""

    images: Images
    towards: Float[np.ndarray, "n"]
    """1 where the attribute is to come or to grow, −1 where it is to go"""
    latents: Latents
    unedited: Pixels
    before: Verdicts
    """verdicts on the unedited reconstructions"""


@dataclass(frozen=True)
class Outcome:
    """What an edit did to each picture, in the judge's eyes and in the picture itself."""

    success: Float[np.ndarray, "n"]
    """1 where the verdict flipped to what was wanted; of a number, its shift that way in deviations"""
    kept: Float[np.ndarray, "n"] | None
    """share of the other attributes that stayed; None where there are no others"""
    psnr: Float[np.ndarray, "n"]
    perceptual: Float[np.ndarray, "n"] | None = None


@dataclass(frozen=True)
class Bench:
    """What edits are tried on: a model, and the judges of its pictures."""

    model: TrainedModel
    aspects: tuple[Aspect, ...]
    judge: AttributeJudge
    recognized: tuple[bool, ...]
    """which aspects the judge can tell"""
    perceptual: Judge | None
    """judge whose features compare pictures; None where the source has none"""
    noise: Latents | None = None
    """that a learned prior, a flow, draws the first training latents from; None where it is none"""

    def choose(self, images: Images, aspect: Aspect, each: int) -> tuple[Int64[np.ndarray, "n"], Strengths]:
        """Choose the first pictures without and with an attribute, equally many: positions, and where each is to go."""
        truth = aspect.truth(images, self.model.spec)
        if aspect.kind == "number":
            truth = np.sign(truth - np.median(truth))
            lacking, having = np.flatnonzero(truth < 0), np.flatnonzero(truth > 0)
        else:
            lacking, having = np.flatnonzero(truth == 0), np.flatnonzero(truth > 0)
        each = min(each, len(lacking), len(having))
        index = np.concatenate([lacking[:each], having[:each]])
        return index, np.repeat([1.0, -1.0], each)

    def prepare(self, images: Images, towards: Strengths) -> Chosen:
        """Encode pictures, decode them unedited, and judge them."""
        latents = self.model.encode(images.pixels)
        unedited = self.model.decode(latents)
        return Chosen(images, towards, latents, unedited, self.judge.judge(unedited))

    def outcome(self, edit: Edit, chosen: Chosen, strength: float, *, perceptual: bool = False) -> Outcome:
        """Edit every picture by `strength` to its other side; `perceptual` compares features too."""
        pictures = edit.apply(self.model, chosen.latents, chosen.towards * strength)
        after, place = self.judge.judge(pictures), [aspect.name for aspect in self.aspects].index(edit.name)
        aspect, before = self.aspects[place], chosen.before
        if aspect.kind == "number":
            success = (after[:, place] - before[:, place]) * chosen.towards / aspect.deviation
        else:
            yes = chosen.towards > 0
            success = ((before[:, place] > 0.5) != yes) & ((after[:, place] > 0.5) == yes)
        stayed = [stays for column, stays in self._staying(before, after) if column != aspect.column]
        kept = np.mean(stayed, axis=0) if stayed else None
        distance = None
        if perceptual and self.perceptual is not None:
            distance = self.perceptual.dissimilarity(pictures, chosen.unedited)
        return Outcome(success.astype(np.float64), kept, psnr(pictures, chosen.unedited), distance)

    def others(self, aspect: Aspect | None) -> str:
        """For a protocol: the attributes that the judge can tell, but for the one that is edited."""
        columns = {a.column for a, can in zip(self.aspects, self.recognized, strict=True) if can}
        return ", ".join(sorted(columns - ({aspect.column} if aspect else set())))

    def _staying(self, before: Verdicts, after: Verdicts) -> Iterator[tuple[str, Float[np.ndarray, "n"]]]:
        """By attribute, 1 where it stayed: the same verdict, or a number within half a deviation."""
        recognized = [i for i, can in enumerate(self.recognized) if can]
        for column in dict.fromkeys(self.aspects[i].column for i in recognized):
            of = [i for i in recognized if self.aspects[i].column == column]
            if self.aspects[of[0]].kind == "number":
                stays = np.abs(after[:, of[0]] - before[:, of[0]]) < self.aspects[of[0]].deviation / 2
            elif len(of) > 1:
                stays = before[:, of].argmax(axis=1) == after[:, of].argmax(axis=1)
            else:
                stays = (before[:, of[0]] > 0.5) == (after[:, of[0]] > 0.5)
            yield column, stays.astype(np.float64)


# -- edits to try ----------------------------------------------------------------------------------------------


def directions(latents: Latents, truth: Float[np.ndarray, "n"], aspect: Aspect) -> dict[Method, Vector]:
    """Fit both directions, each as long as the attribute's gap along it; along the probe's normal at least as long as
    the latents' deviation.
    """
    gap = gap_of(latents, truth, aspect)
    if aspect.kind == "number":
        probe = normal(fit(ridge(len(latents)), latents, truth))
    else:
        probe = normal(fit(logistic(balanced=True), latents, truth))
    length = max(abs(float(probe @ gap)), float(np.std(latents @ probe)))
    return {"means": gap.astype(np.float32), "probe": (probe * length).astype(np.float32)}


def gap_of(latents: Latents, truth: Float[np.ndarray, "n"], aspect: Aspect) -> Vector:
    """From the mean latent of pictures without to that of pictures with an attribute, each of which there are some; of
    a number, what a deviation of it changes in the latent (its least-squares slope).
    """
    if aspect.kind != "number":
        apart: Vector = latents[truth > 0].mean(axis=0) - latents[truth == 0].mean(axis=0)
        return apart
    centred = truth.astype(np.float64) - truth.mean(dtype=np.float64)
    gap: Vector = centred @ (latents - latents.mean(axis=0)) / (centred @ centred) * aspect.deviation
    return gap


def by_condition(model: TrainedModel, aspect: Aspect, method: Literal["condition", "prior"]) -> Edit | None:
    """Edit by another condition of the decoder or the prior; None where these are not conditioned on this attribute.

    A flag is yes above 0 and no below, a category is this value above 0 and evenly the others below, a number is so
    many deviations from the mean.
    """
    conditions = model.conditions
    names = model.decoder_names if method == "condition" else model.prior_names
    if conditions is None or aspect.column not in names:
        return None
    place = conditions.place(aspect.column)
    many = place.stop - place.start
    above, below = (np.zeros(conditions.width, np.float32) for _ in range(2))
    if many == 1:
        above[place], below[place] = 1, -1
    else:
        below[place] = 1 / (many - 1)
        below[place.start + aspect.code] = 0
        above[place.start + aspect.code] = 1
    return Edit(aspect.name, method, np.zeros(model.latent_size, np.float32), above, below)


# -- choosing, on validation -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """What an edit reaches on validation, step by step from none."""

    steps: Float[np.ndarray, "s"]
    success: Float[np.ndarray, "s"]
    spared: Float[np.ndarray, "s"]
    """share of the other attributes that stayed; where there are none, PSNR with the unedited reconstruction"""

    def step_for(self, level: float) -> float:
        """Smallest step that reaches a level of success, on straight lines between steps; the last if none does."""
        reached = np.flatnonzero(self.success >= level)
        if not len(reached) or reached[0] == 0:
            return float(self.steps[-1] if not len(reached) else self.steps[1])
        after = int(reached[0])
        low, high = self.success[after - 1], self.success[after]
        part = (level - low) / (high - low)
        return float(self.steps[after - 1] + part * (self.steps[after] - self.steps[after - 1]))

    def spared_at(self, level: float) -> float:
        """What is spared where a level of success is reached."""
        return float(np.interp(self.step_for(level), self.steps, self.spared))


def half(curve: Curve, kind: str) -> float:
    """Success that a strength of 1 is to reach: half of the most, and of a number no more than a deviation."""
    most = float(curve.success.max()) / 2
    return min(most, 1.0) if kind == "number" else most


def better(curves: dict[Method, Curve], kind: str) -> Method:
    """The edit that spares most at an equal success: half of what the least of them reaches.

    One that reaches less than `NEAR` of what the best reaches is not considered, however much it spares.
    """
    most = max(float(curve.success.max()) for curve in curves.values())
    able = {method: curve for method, curve in curves.items() if float(curve.success.max()) >= NEAR * most}
    level = min(half(curve, kind) for curve in able.values())
    return max(able, key=lambda method: able[method].spared_at(level) if level > 0 else 0.0)


def curve_of(bench: Bench, edit: Edit, chosen: Chosen) -> Curve:
    """Try an edit at every step."""
    success, spared = [0.0], []
    for step in STEPS:
        outcome = bench.outcome(edit, chosen, step)
        success.append(float(outcome.success.mean()))
        spared.append(float((outcome.psnr if outcome.kept is None else outcome.kept).mean()))
    untouched = 100.0 if outcome.kept is None else 1.0
    return Curve(np.array([0.0, *STEPS]), np.array(success), np.array([untouched, *spared]))


def choose_edit(bench: Bench, aspect: Aspect, latents: Latents, truth: Float[np.ndarray, "n"], chosen: Chosen) -> Edit:
    """Choose the best of both directions and, where the decoder is conditioned on the attribute, another condition.

    Where a learned prior is a flow, a direction in its noise is tried too, and another condition of it that it has.
    It is made so long that at strength 1 it succeeds half as often as at any step. Another condition is not always
    best: a latent that knows the attribute outweighs it.
    """
    conditions = bench.model.conditions
    none = np.zeros(0 if conditions is None else conditions.width, np.float32)
    tried = {m: Edit(aspect.name, m, v, none, none) for m, v in directions(latents, truth, aspect).items()}
    ways: list[Literal["condition", "prior"]] = ["condition"]
    if bench.noise is not None:
        ways.append("prior")
        of_these = truth[: len(bench.noise)]
        if len(np.unique(of_these)) > 1:
            gap = gap_of(bench.noise, of_these, aspect).astype(np.float32)
            tried["noise"] = Edit(aspect.name, "noise", gap, none, none)
    for way in ways:
        if (conditional := by_condition(bench.model, aspect, way)) is not None:
            tried[way] = conditional
    curves = {method: curve_of(bench, edit, chosen) for method, edit in tried.items()}
    method = better(curves, aspect.kind)
    level = half(curves[method], aspect.kind)
    scale = np.float32(curves[method].step_for(level) if level > 0 else 1.0)
    best = tried[method]
    return replace(best, vector=best.vector * scale, above=best.above * scale, below=best.below * scale)
