"""Editing attributes in a latent space: what an edit is, and how a run's edits are used.

A picture's latent is moved along a direction that training pictures show, and decoded; or, where the decoder is told
the attribute, it is told another value. How good that is, and which is better, `editing` measures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from sanggar.errors import RunError, suggest
from sanggar.evaluation.context import Pixels
from sanggar.evaluation.measures.probes import fitted, logistic, normal, ridge
from sanggar.evaluation.metrics.attributes import Aspect
from sanggar.runs import Run
from sanggar.trained import Given, TrainedModel

Method = Literal["means", "probe", "told"]
METHODS: dict[str, str] = {
    "means": "along the difference of class means",
    "probe": "along the normal of a linear probe",
    "told": "by telling the decoder another value",
}
SHOWN = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Strengths of a strip."""

Vector = Float[np.ndarray, "latent"]
Told = Float[np.ndarray, "told"]
Latents = Float[np.ndarray, "n latent"]
Strengths = Float[np.ndarray, "n"]


@dataclass(frozen=True)
class Edit:
    """How one attribute is edited. A strength of 1 is what it is measured by; below 0, the attribute goes away."""

    name: str
    method: Method
    vector: Vector
    """what a strength of 1 adds to a latent"""
    above: Told
    """what the decoder is told at a strength of 1; zeros where it is told nothing"""
    below: Told
    """and at a strength of −1"""

    def apply(self, painter: TrainedModel, latents: Latents, strengths: Strengths) -> Pixels:
        """The pictures of latents, each edited by its strength; beside the edit, the decoder is told nothing."""
        strengths = strengths.astype(np.float32)[:, None]
        moved = latents + strengths * self.vector
        if self.method != "told":
            return painter.decode(moved)
        return painter.decode(moved, np.maximum(strengths, 0) * self.above + np.maximum(-strengths, 0) * self.below)


# -- directions ------------------------------------------------------------------------------------------------


def directions(latents: Latents, truth: Float[np.ndarray, "n"], aspect: Aspect) -> dict[Method, Vector]:
    """Both directions, each as long as the attribute's gap along it.

    The gap is from the mean latent of pictures without to that of pictures with; of a number, what a deviation of it
    changes in the latent (its least-squares slope). Along the probe's normal, it is at least the latents' deviation.
    """
    if aspect.kind == "number":
        centred = truth.astype(np.float64) - truth.mean(dtype=np.float64)
        gap = centred @ (latents - latents.mean(axis=0)) / (centred @ centred) * aspect.deviation
        probe = normal(fitted(ridge(len(latents)), latents, truth))
    else:
        gap = latents[truth > 0].mean(axis=0) - latents[truth == 0].mean(axis=0)
        probe = normal(fitted(logistic(balanced=True), latents, truth))
    length = max(abs(float(probe @ gap)), float(np.std(latents @ probe)))
    return {"means": gap.astype(np.float32), "probe": (probe * length).astype(np.float32)}


def telling(painter: TrainedModel, aspect: Aspect) -> Edit | None:
    """Editing by telling, where the decoder is told this attribute; None where it is not.

    A flag is told as yes above 0 and as no below, a category as this value above 0 and evenly as the others below, a
    number as so many deviations from the mean.
    """
    conditions = painter.conditions
    if conditions is None or aspect.column not in conditions.names:
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
    return Edit(aspect.name, "told", np.zeros(painter.model.latent_size, np.float32), above, below)


# -- in use ----------------------------------------------------------------------------------------------------


def edits_of(painter: TrainedModel) -> dict[str, Edit]:
    """The edits that `evaluate` left in a run, by name. Raises RunError when there are none, or not of this network."""
    run, evaluation = painter.run, painter.run.evaluation()
    if evaluation["step"] != painter.step:
        raise RunError(
            f"{run.path} was measured at step {evaluation['step']:,} and has come to step {painter.step:,} since; "
            f"`sanggar evaluate {run.path}` measures it anew."
        )
    arrays = run.pictures()
    if "attributes.edits" not in arrays:
        raise RunError(
            f"{run.path} holds no edits: its data have neither attributes nor classes that a judge tells, or an older "
            f"sanggar measured it. `sanggar evaluate {run.path}` measures it anew."
        )
    said = json.loads(arrays["attributes.edits"].tobytes())
    return {
        entry["name"]: Edit(entry["name"], entry["method"], vector, *told)
        for entry, vector, told in zip(said, arrays["attributes.vectors"], arrays["attributes.told"], strict=True)
    }


def edited(painter: TrainedModel, images: Given, name: str, strengths: Sequence[float]) -> tuple[Pixels, Edit]:
    """Pictures with an attribute edited, by each strength: all of the first picture, then of the second; and how.

    Raises RunError when the network cannot be asked, or there is no such attribute; DataError when a picture does not
    fit.
    """
    if not (painter.can("encode") and painter.can("decode")):
        raise RunError(
            f"{painter.plan.name} cannot edit pictures: its model ({type(painter.model).__name__}) does not both "
            "encode and decode."
        )
    edits = edits_of(painter)
    if name not in edits:
        raise RunError(f"There is no attribute {name!r} to edit. {suggest(name, edits)}")
    latents = painter.encode(images)
    many = np.repeat(latents, len(strengths), axis=0)
    return edits[name].apply(painter, many, np.tile(np.array(strengths, np.float32), len(latents))), edits[name]


def measured(run: Run, name: str, strengths: Sequence[float]) -> list[str]:
    """What was measured of an edit at the strengths asked for, or at the nearest, a sentence each."""
    numbers = [n for n in run.evaluation()["numbers"] if n["protocol"].get("attribute") == name]
    found: dict[float, list[dict[str, Any]]] = {}
    for n in numbers:
        if "strength" in n["protocol"]:
            found.setdefault(n["protocol"]["strength"], []).append(n)
    nearest = {min(found, key=lambda known: abs(known - abs(strength))) for strength in strengths if strength}
    return [_sentence(strength, found[strength]) for strength in sorted(nearest)]


def _sentence(strength: float, numbers: list[dict[str, Any]]) -> str:
    by = {n["key"].removeprefix("attributes."): n for n in numbers}
    if "success" in by:
        n, verb = by["success"], "it flips {:.0%} [{:.0%}, {:.0%}] of"
    else:
        n, verb = by["shift"], "it shifts the number by {:.2f} [{:.2f}, {:.2f}] deviations on"
    said = f"At strength ±{strength:g}, {verb.format(n['value'], *n['interval'])} {n['protocol']['n']} test pictures"
    kept = f", other attributes stay in {by['kept']['value']:.0%}" if "kept" in by else ""
    return f"{said}{kept}, PSNR {by['psnr']['value']:.1f} dB with the unedited ({n['protocol']['judge']})."
