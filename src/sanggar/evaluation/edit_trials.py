"""Edits tried out: what a judge sees change, what else changes, and which edit is taken. Chosen on validation alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int64

from sanggar.data.images import Images
from sanggar.evaluation.context import Pixels, peak_ratios
from sanggar.evaluation.metrics.attributes import Aspect, AttributeJudge, Verdicts
from sanggar.instruments.judge import Judge
from sanggar.tools.editing import Edit, Latents, Method, Strengths, directions, telling
from sanggar.trained import TrainedModel

STEPS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""That are tried on validation, in gaps between the means; of telling, in values told."""
NEAR = 0.8
"""The share of the greatest success that an edit has to reach to be taken."""


@dataclass(frozen=True)
class Chosen:
    """Pictures of which half lack an attribute and half have it (of a number: less and more than the median)."""

    images: Images
    towards: Float[np.ndarray, "n"]
    """1 where the attribute is to come or to grow, −1 where it is to go"""
    latents: Latents
    unedited: Pixels
    before: Verdicts
    """of the unedited reconstructions"""


@dataclass(frozen=True)
class Outcome:
    """What an edit did to each picture, in the judge's eyes and in the picture itself."""

    success: Float[np.ndarray, "n"]
    """1 where the verdict flipped to what was asked; of a number, its shift that way in deviations"""
    kept: Float[np.ndarray, "n"] | None
    """share of the other attributes that stayed; none where there are no others"""
    psnr: Float[np.ndarray, "n"]
    perceptual: Float[np.ndarray, "n"] | None = None


@dataclass(frozen=True)
class Bench:
    """What edits are tried on: the network, and who looks at the pictures."""

    painter: TrainedModel
    aspects: tuple[Aspect, ...]
    judge: AttributeJudge
    told_apart: tuple[bool, ...]
    """which aspects the judge can tell"""
    eye: Judge | None
    """whose features compare pictures; none where the source has no judge"""

    def choose(self, images: Images, aspect: Aspect, each: int) -> tuple[Int64[np.ndarray, "n"], Strengths]:
        """The first pictures without and with an attribute, equally many: positions, and where each is to go."""
        truth = aspect.truth(images, self.painter.spec)
        if aspect.kind == "number":
            truth = np.sign(truth - np.median(truth))
            lacking, having = np.flatnonzero(truth < 0), np.flatnonzero(truth > 0)
        else:
            lacking, having = np.flatnonzero(truth == 0), np.flatnonzero(truth > 0)
        each = min(each, len(lacking), len(having))
        index = np.concatenate([lacking[:each], having[:each]])
        return index, np.repeat([1.0, -1.0], each)

    def prepare(self, images: Images, towards: Strengths) -> Chosen:
        """Encoded, decoded unedited, and judged."""
        latents = self.painter.encode(images.pixels)
        unedited = self.painter.decode(latents)
        return Chosen(images, towards, latents, unedited, self.judge.judge(unedited))

    def outcome(self, edit: Edit, chosen: Chosen, strength: float, *, closely: bool = False) -> Outcome:
        """Every picture edited by `strength` to its other side; `closely` looks at the features too."""
        pictures = edit.apply(self.painter, chosen.latents, chosen.towards * strength)
        after, place = self.judge.judge(pictures), [aspect.name for aspect in self.aspects].index(edit.name)
        mine, before = self.aspects[place], chosen.before
        if mine.kind == "number":
            success = (after[:, place] - before[:, place]) * chosen.towards / mine.deviation
        else:
            yes = chosen.towards > 0
            success = ((before[:, place] > 0.5) != yes) & ((after[:, place] > 0.5) == yes)
        stayed = [stays for column, stays in self._staying(before, after) if column != mine.column]
        kept = np.mean(stayed, axis=0) if stayed else None
        seen = self.eye.dissimilarity(pictures, chosen.unedited) if closely and self.eye is not None else None
        return Outcome(success.astype(np.float64), kept, peak_ratios(pictures, chosen.unedited), seen)

    def others(self, aspect: Aspect | None) -> str:
        """For a protocol: the attributes that the judge can tell, but for the one that is edited."""
        told = {a.column for a, can in zip(self.aspects, self.told_apart, strict=True) if can}
        return ", ".join(sorted(told - ({aspect.column} if aspect else set())))

    def _staying(self, before: Verdicts, after: Verdicts) -> Iterator[tuple[str, Float[np.ndarray, "n"]]]:
        """By attribute, 1 where it stayed: the same verdict, or within half a deviation."""
        known = [i for i, told in enumerate(self.told_apart) if told]
        for column in dict.fromkeys(self.aspects[i].column for i in known):
            of = [i for i in known if self.aspects[i].column == column]
            if self.aspects[of[0]].kind == "number":
                stays = np.abs(after[:, of[0]] - before[:, of[0]]) < self.aspects[of[0]].deviation / 2
            elif len(of) > 1:
                stays = before[:, of].argmax(axis=1) == after[:, of].argmax(axis=1)
            else:
                stays = (before[:, of[0]] > 0.5) == (after[:, of[0]] > 0.5)
            yield column, stays.astype(np.float64)


# -- choosing, on validation -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """What an edit reaches on validation, step by step from none."""

    steps: Float[np.ndarray, "s"]
    success: Float[np.ndarray, "s"]
    spared: Float[np.ndarray, "s"]
    """share of the other attributes that stayed; where there are none, PSNR with the unedited reconstruction"""

    def step_for(self, level: float) -> float:
        """The smallest step that reaches a level of success, on straight lines between steps; the last if none does."""
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
    """The success that a strength of 1 is to reach: half of the most, and of a number no more than a deviation."""
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
    """The edit tried at every step."""
    success, spared = [0.0], []
    for step in STEPS:
        found = bench.outcome(edit, chosen, step)
        success.append(float(found.success.mean()))
        spared.append(float((found.psnr if found.kept is None else found.kept).mean()))
    untouched = 100.0 if found.kept is None else 1.0
    return Curve(np.array([0.0, *STEPS]), np.array(success), np.array([untouched, *spared]))


def choose_edit(bench: Bench, aspect: Aspect, latents: Latents, truth: Float[np.ndarray, "n"], chosen: Chosen) -> Edit:
    """The best of both directions, and of telling where the decoder is told.

    It is made so long that at strength 1 it succeeds half as often as at any step. Telling is not always best: a latent
    that knows the attribute outweighs what is told.
    """
    conditions = bench.painter.conditions
    none = np.zeros(0 if conditions is None else conditions.width, np.float32)
    tried = {m: Edit(aspect.name, m, v, none, none) for m, v in directions(latents, truth, aspect).items()}
    if (told := telling(bench.painter, aspect)) is not None:
        tried["told"] = told
    curves = {method: curve_of(bench, edit, chosen) for method, edit in tried.items()}
    method = better(curves, aspect.kind)
    level = half(curves[method], aspect.kind)
    scale = np.float32(curves[method].step_for(level) if level > 0 else 1.0)
    best = tried[method]
    return replace(best, vector=best.vector * scale, above=best.above * scale, below=best.below * scale)
