"""Noise: as much as was asked for, clamped, the same at the same moment, the same for one process and for two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sanggar.models.base import StepContext
from sanggar.models.noise import NoiseOptions, disturb

KINDS = ("gaussian", "masking", "salt-and-pepper")


def step_context(n: int, **changes: Any) -> StepContext:
    return replace(StepContext(0, 5, 10, n, slice(n), torch.device("cpu")), **changes)


def greys(n: int, channels: int = 1, side: int = 40) -> torch.Tensor:
    return torch.full((n, channels, side, side), 0.1)


def test_gaussian_noise_has_the_deviation_asked_for() -> None:
    added = disturb(greys(20), NoiseOptions(level=0.2), step_context(20)) - 0.1
    assert added.std().item() == pytest.approx(0.2, rel=0.02)
    assert added.mean().item() == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_share_of_lost_pixels_is_the_level(level: float, channels: int) -> None:
    masked = disturb(greys(20, channels), NoiseOptions(kind="masking", level=level), step_context(20))
    assert (masked == -1).float().mean().item() == pytest.approx(level, abs=0.01)
    assert ((masked == -1) | (masked == greys(20, channels))).all()
    salted = disturb(greys(20, channels), NoiseOptions(kind="salt-and-pepper", level=level), step_context(20))
    for value in (-1, 1):
        assert (salted == value).float().mean().item() == pytest.approx(level / 2, abs=0.01)
    for lost in (masked == -1, salted.abs() == 1):
        assert (lost == lost[:, :1]).all(), "a pixel is lost in all its channels or in none"


@given(kind=st.sampled_from(KINDS), level=st.floats(0, 1), seed=st.integers(0, 2**40))
def test_the_result_is_a_picture_in_float32_and_its_source_is_unchanged(kind: str, level: float, seed: int) -> None:
    images = torch.linspace(-1, 1, 2 * 3 * 16).reshape(2, 3, 4, 4)
    before = images.clone()
    noisy = disturb(images, NoiseOptions(kind=kind, level=level), step_context(2, seed=seed))
    assert noisy.dtype == torch.float32
    assert noisy.abs().max() <= 1
    assert torch.equal(images, before)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(disturb(images, NoiseOptions(kind=kind, level=level), step_context(2, seed=seed)), noisy)


def test_a_range_of_levels_gives_each_picture_its_own() -> None:
    noise = NoiseOptions(level=(0.05, 0.4))
    spread = (disturb(greys(200), noise, step_context(200)) - 0.1).std(dim=(1, 2, 3))
    assert spread.min().item() == pytest.approx(0.05, abs=0.02)
    assert spread.max().item() == pytest.approx(0.4, abs=0.03)
    assert spread.mean().item() == pytest.approx(0.225, abs=0.03)
    assert noise.typical == pytest.approx(0.225)


@pytest.mark.parametrize("kind", KINDS)
def test_a_level_given_overrides_the_trained_one(kind: str) -> None:
    images = greys(4)
    trained, other = NoiseOptions(kind=kind, level=(0.1, 0.2)), NoiseOptions(kind=kind, level=0.4)
    assert torch.equal(disturb(images, trained, step_context(4), 0.4), disturb(images, other, step_context(4)))
    assert torch.equal(disturb(images, trained, step_context(4), 0.0), images)


def test_levels_differ_by_scale_alone() -> None:
    images = torch.zeros(2, 1, 8, 8)
    small, large = (disturb(images, NoiseOptions(), step_context(2), level) for level in (0.01, 0.02))
    torch.testing.assert_close(large, 2 * small)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_moment_gives_the_same_noise_and_every_other_another(kind: str) -> None:
    noise, images = NoiseOptions(kind=kind, level=(0.2, 0.4)), greys(4)
    known = disturb(images, noise, step_context(4))
    assert torch.equal(disturb(images, noise, step_context(4)), known)
    for change in ({"seed": 1}, {"step": 6}, {"draw": 1}, {"split": "validation"}):
        assert not torch.equal(disturb(images, noise, step_context(4, **change)), known)


@given(kind=st.sampled_from(KINDS), world=st.sampled_from([2, 3, 6]), wide=st.booleans())
def test_processes_together_draw_what_one_would(kind: str, world: int, wide: bool) -> None:
    images = torch.linspace(-1, 1, 6 * 16).reshape(6, 1, 4, 4)
    noise = NoiseOptions(kind=kind, level=(0.2, 0.7) if wide else 0.4)
    whole = disturb(images, noise, step_context(6))
    share = 6 // world
    parts = [slice(rank * share, (rank + 1) * share) for rank in range(world)]
    together = torch.cat([disturb(images[rows], noise, step_context(6, rows=rows)) for rows in parts])
    assert torch.equal(together, whole)


@pytest.mark.parametrize("options", [
    {"level": (0.5, 0.1)}, {"level": -0.1}, {"level": 2.1}, {"kind": "masking", "level": 1.1}, {"kind": "salt"},
    {"kind": "salt-and-pepper", "level": (0, 1.5)},
])  # fmt: skip
def test_noise_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NoiseOptions(**options)
