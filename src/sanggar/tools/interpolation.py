"""Interpolation: pictures on the way between the latents of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sanggar.trained import Given, Pixels, TrainedModel

Corners = Float[np.ndarray, "corners condition"]
"""Conditions of the corners, a row each"""


def interpolate(
    model: TrainedModel, first: Given, second: Given, steps: int, arc: bool = False, prior: bool = False
) -> Pixels:  # fmt: skip
    """`steps` pictures between two pictures' latents, both ends included: on the straight line, or on the arc.

    By the `prior`: on the arc between the noise that a learned prior draws the two from, so that what lies between is
    what the prior draws. Raises DataError where an end is not one picture, RunError where there is no such prior.
    """
    model.need("encode")
    ends = [model.encode(model.one(images))[0] for images in (first, second)]
    if prior:
        one, other = model.noise_of(np.stack(ends))
        return model.decode(model.latent_of(slerp(one, other, steps)))
    if arc:
        return model.decode(slerp(ends[0], ends[1], steps))
    way = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return model.decode((1 - way) * ends[0] + way * ends[1])


def between_four(model: TrainedModel, corners: Sequence[Given], edge: int, condition: Corners | None = None) -> Pixels:
    """`edge` × `edge` pictures in reading order, by straight lines between the latents of four: upper left, upper
    right, lower left, lower right; their conditions are mixed likewise.

    Raises DataError where a corner is not one picture.
    """
    model.need("encode")
    latents = np.concatenate([model.encode(model.one(images)) for images in corners])
    right, down = np.meshgrid(*[np.linspace(0, 1, edge, dtype=np.float32)] * 2)
    shares = np.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], axis=-1)
    mixed = shares.reshape(-1, 4)
    return model.decode(mixed @ latents, None if condition is None else mixed @ condition)


def slerp(first: Float[np.ndarray, "d"], last: Float[np.ndarray, "d"], steps: int) -> Float[np.ndarray, "steps d"]:
    """Points on the arc from one latent to another, both included (Shoemake 1985; White 2016, arXiv:1609.04468).

    A straight line between two normal draws passes where hardly any draw lies, nearer to the origin; the arc does
    not. Latents in one direction or in opposite ones make no arc: between them the line is taken.
    """
    way = np.linspace(0, 1, steps)[:, None]
    lengths = float(np.linalg.norm(first)) * float(np.linalg.norm(last))
    angle = np.arccos(np.clip(np.dot(first, last) / lengths, -1, 1)) if lengths else 0.0
    if np.sin(angle) < 1e-6:
        found = (1 - way) * first + way * last
    else:
        found = (np.sin((1 - way) * angle) * first + np.sin(way * angle) * last) / np.sin(angle)
    return np.asarray(found, first.dtype)
