"""Editing attributes in the latent space: the edits that evaluation left in a run, and how they are used.

A picture's latent is moved along a direction and decoded; or, where the decoder is conditioned on the attribute, it is
given another value of it. Where a learned prior is a flow, the same can be done to the noise that it draws the latent
from: what comes of it lies where latents do. Which of these an edit does, and how far a strength of 1 goes, evaluation
chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from sanggar.errors import RunError, suggest
from sanggar.results import Measurement
from sanggar.results.stored import read, read_tools
from sanggar.runs import Run
from sanggar.trained import Given, Pixels, TrainedModel

Method = Literal["means", "probe", "condition", "noise", "prior"]
"""Along the difference of class means, along the normal of a linear probe, by another condition of the decoder; along
the difference of class means in the noise of a learned prior, or by another condition of that prior"""
SHOWN = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Strengths of a strip"""

Vector = Float[np.ndarray, "latent"]
Condition = Float[np.ndarray, "condition"]
Latents = Float[np.ndarray, "n latent"]
Strengths = Float[np.ndarray, "n"]


@dataclass(frozen=True)
class Edit:
    """How one attribute is edited. Below a strength of 0, the attribute goes away."""

    name: str
    method: Method
    vector: Vector
    """what a strength of 1 adds to a latent, or to its noise"""
    above: Condition
    """condition at a strength of 1; zeros where the method is another"""
    below: Condition
    """condition at a strength of −1"""

    def apply(self, model: TrainedModel, latents: Latents, strengths: Strengths) -> Pixels:
        """Decode latents, each edited by its strength; but for the edit, decoder and prior are unconditional."""
        strengths = strengths.astype(np.float32)[:, None]
        rows = np.maximum(strengths, 0) * self.above + np.maximum(-strengths, 0) * self.below
        condition = rows if self.method in ("condition", "prior") else None
        if self.method in ("noise", "prior"):
            moved = model.latent_of(model.noise_of(latents) + strengths * self.vector, condition)
        else:
            moved = latents + strengths * self.vector
        return model.decode(moved, condition)


def edits_of(model: TrainedModel) -> dict[str, Edit]:
    """Edits that `evaluate` left in a run, by name. Raises RunError when there are none, or of other weights."""
    path = model.run.path
    arrays, details = read_tools(model.run)
    if details and details["step"] != model.step:
        raise RunError(
            f"{path} was measured at step {details['step']:,} and has come to step {model.step:,} since; "
            f"`sanggar evaluate {path}` measures it anew."
        )
    if "edits" not in details:
        raise RunError(
            f"{path} holds no edits: its data have neither attributes nor classes that a judge tells, or an older "
            f"sanggar measured it. `sanggar evaluate {path}` measures it anew."
        )
    return {
        entry["name"]: Edit(entry["name"], entry["method"], vector, *conditions)
        for entry, vector, conditions in zip(
            details["edits"], arrays["edits.vectors"], arrays["edits.conditions"], strict=True
        )
    }


def edited(model: TrainedModel, images: Given, name: str, strengths: Sequence[float]) -> tuple[Pixels, Edit]:
    """Edit an attribute of pictures by each strength: all of the first picture, then of the second; and the edit.

    Raises RunError when the model cannot edit, or there is no such attribute; DataError when a picture does not fit.
    """
    if not (model.can("encode") and model.can("decode")):
        raise RunError(
            f"{model.run.path} cannot edit pictures: its model ({model.kind}) does not both encode and decode."
        )
    edits = edits_of(model)
    if name not in edits:
        raise RunError(f"There is no attribute {name!r} to edit. {suggest(name, edits)}")
    latents = model.encode(images)
    many = np.repeat(latents, len(strengths), axis=0)
    return edits[name].apply(model, many, np.tile(np.array(strengths, np.float32), len(latents))), edits[name]


def measured(run: Run, name: str, strengths: Sequence[float]) -> list[list[Measurement]]:
    """What was measured of an edit on test pictures, at each of these strengths or the measured one nearest to it.

    A list a strength, in ascending order. Raises RunError when the run was not evaluated.
    """
    by_strength: dict[float, list[Measurement]] = {}
    for m in read(run).measurements:
        strength = m.tags.get("strength")
        of_edit = m.metric == "edits" and m.tags.get("attribute") == name and m.protocol.split == "test"
        if of_edit and isinstance(strength, int | float):
            by_strength.setdefault(strength, []).append(m)
    wanted = [abs(strength) for strength in strengths if strength]
    nearest = {min(by_strength, key=lambda known: abs(known - size)) for size in wanted} if by_strength else set()
    return [by_strength[strength] for strength in sorted(nearest)]
