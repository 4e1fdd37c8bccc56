"""Interpolation: the arc keeps its ends, and its length on the sphere."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sanggar.tools.interpolation import slerp

LATENT = 12


@given(st.integers(0, 1000), st.integers(2, 12))
def test_an_arc_keeps_its_ends_and_on_the_sphere_its_length(seed: int, steps: int) -> None:
    first, last = np.random.default_rng(seed).normal(size=(2, LATENT)).astype(np.float32)
    arc = slerp(first, last, steps)
    assert arc.dtype == np.float32
    np.testing.assert_allclose(arc[[0, -1]], [first, last], atol=1e-6)
    unit = slerp(first / np.linalg.norm(first), last / np.linalg.norm(last), steps)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)
    turns = np.sum(unit[1:] * unit[:-1], axis=1)
    np.testing.assert_allclose(turns, turns[0], atol=1e-5)  # at even speed


def test_latents_in_a_line_make_no_arc() -> None:
    first = np.ones(3)
    np.testing.assert_allclose(slerp(first, -first, 3), [[1, 1, 1], [0, 0, 0], [-1, -1, -1]])
    np.testing.assert_allclose(slerp(first, first, 3), np.ones((3, 3)))
    np.testing.assert_allclose(slerp(np.zeros(3), first, 3)[1], [0.5] * 3)
