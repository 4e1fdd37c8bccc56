"""Pictures that are odd on purpose: seeded, as large as they are said to be, and as simple."""

from __future__ import annotations

import numpy as np
import pytest

from sanggar.evaluation.corruptions import CORRUPTIONS, defective, faded, occluded, seed_of, smooth
from sanggar.seeding import address


def pictures(seed: int, n: int = 12, edge: int = 9, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, edge, edge, channels)).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("edge", "channels"), [(8, 1), (28, 1), (33, 3)])
def test_corruptions_are_seeded_and_leave_the_original_alone(name: str, edge: int, channels: int) -> None:
    pixels = pictures(0, 5, edge, channels)
    before = pixels.copy()
    corrupted = CORRUPTIONS[name](pixels, 4)
    assert (corrupted.dtype, corrupted.shape) == (np.dtype(np.uint8), pixels.shape)
    assert (corrupted != pixels).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(corrupted, CORRUPTIONS[name](pixels, 4))
    assert name == "blur" or (corrupted != CORRUPTIONS[name](pixels, 5)).any()


def test_patches_are_as_large_as_they_are_said_to_be() -> None:
    pixels = np.zeros((40, 28, 28, 3), np.uint8)
    hidden, spoilt = occluded(pixels, 0), defective(pixels, 0)
    assert (hidden == 128).all(axis=3).sum(axis=(1, 2)).tolist() == [81] * 40
    assert (spoilt == 255).all(axis=3).sum(axis=(1, 2)).tolist() == [9] * 40
    assert not spoilt[:, :7].any()
    assert not spoilt[:, :, 21:].any()


def test_pictures_that_are_too_simple() -> None:
    pixels = pictures(0, 50, 16)
    plain = smooth(pixels, 0)
    assert plain.shape == pixels.shape
    second = np.diff(plain.astype(int), n=2, axis=1)
    assert np.abs(second).max() <= 2  # straight but for rounding
    pale = faded(pixels, 0)
    assert pale.std(axis=0).mean() == pytest.approx(0.2 * pixels.std(axis=0).mean(), rel=0.02)
    np.testing.assert_allclose(pale.mean(axis=0), pixels.mean(axis=0), atol=1)


def test_pictures_are_drawn_by_the_purposes_they_always_had() -> None:
    purposes = {"blur": "blur", "noise": "noise", "occlusion": "occlusion", "defect": "small defect",
                "smooth": "smooth pictures", "faded": "faded pictures"}  # fmt: skip
    assert {name: seed_of(name, 3) for name in purposes} == {name: address(3, said) for name, said in purposes.items()}
