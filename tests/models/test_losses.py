"""Losses against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sanggar.models.losses import PixelLoss, pixel_loss, to_picture

RAW = torch.tensor([0.5, -1.0, 0.0, 2.0]).reshape(1, 1, 2, 2)
TARGET = torch.tensor([1.0, -1.0, 0.5, 0.0]).reshape(1, 1, 2, 2)


def cross_entropy(logit: float, wanted: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -(wanted * math.log(p) + (1 - wanted) * math.log(1 - p))


@pytest.mark.parametrize(("kind", "expected"), [
    ("mse", (0.25 + 0 + 0.25 + 4) / 4),
    ("l1", (0.5 + 0 + 0.5 + 2) / 4),
    ("bce", (cross_entropy(0.5, 1) + cross_entropy(-1, 0) + cross_entropy(0, 0.75) + cross_entropy(2, 0.5)) / 4),
])  # fmt: skip
def test_a_loss_is_the_mean_computed_by_hand(kind: PixelLoss, expected: float) -> None:
    for raw, target in ((RAW, TARGET), (RAW.repeat(3, 2, 1, 1), TARGET.repeat(3, 2, 1, 1))):
        loss = pixel_loss(kind, raw, target)
        assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert pixel_loss(kind, RAW.bfloat16(), TARGET).dtype == torch.float32


@given(st.floats(-30, 30))
def test_a_logit_is_shown_as_the_brightness_it_stands_for(logit: float) -> None:
    raw = torch.full((1, 1, 1, 1), logit)
    assert to_picture("bce", raw).item() == pytest.approx(2 / (1 + math.exp(-logit)) - 1, abs=1e-6)
    assert torch.equal(to_picture("mse", raw), raw)
    assert torch.equal(to_picture("l1", raw), raw)


def test_bce_is_least_where_the_picture_is_the_target() -> None:
    target = torch.linspace(-0.95, 0.95, 16).reshape(1, 1, 4, 4)
    right = 2 * torch.atanh(target)
    torch.testing.assert_close(to_picture("bce", right), target)
    assert pixel_loss("bce", right, target) < min(pixel_loss("bce", right + d, target) for d in (-0.1, 0.1))


def test_psnr_is_minus_the_ratio_in_decibels_averaged_over_pictures() -> None:
    raw = torch.stack([torch.full((1, 4, 4), 0.2), torch.full((1, 4, 4), 0.02)])
    ratios = [10 * math.log10(4 / (error**2 + 1e-4)) for error in (0.2, 0.02)]
    assert pixel_loss("psnr", raw, torch.zeros(2, 1, 4, 4)).item() == pytest.approx(-sum(ratios) / 2, rel=1e-6)
    assert pixel_loss("psnr", raw, raw).item() == pytest.approx(-10 * math.log10(4e4))
