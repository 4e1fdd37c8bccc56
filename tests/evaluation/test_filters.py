"""Classical denoisers: pictures in, pictures out; the best setting of the table is the one that is used."""

from __future__ import annotations

import numpy as np
import pytest

from sanggar.evaluation.filters import DENOISERS, denoise, tune
from sanggar.evaluation.measures.fidelity import psnr

LEVEL = 0.3
FILTERS = ("gaussian_filter", "median_filter")


def pictures(channels: int, n: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Discs and the same discs with noise."""
    y, x = np.mgrid[:16, :16]
    discs = [((y - 8) ** 2 + (x - 8) ** 2 < (3 + i) ** 2) * 200 + 20 for i in range(n)]
    clean = np.repeat(np.stack(discs)[..., None], channels, axis=-1).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, LEVEL * 127.5, clean.shape)
    return np.rint(np.clip(clean + noise, 0, 255)).astype(np.uint8), clean


@pytest.mark.parametrize("name", DENOISERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_denoiser_gives_pictures_for_pictures_and_helps(name: str, channels: int) -> None:
    noisy, clean = pictures(channels)
    for setting in (DENOISERS[name].settings[0], DENOISERS[name].settings[-1]):
        cleaned = denoise(name, noisy, LEVEL / 2, setting)
        assert cleaned.dtype == np.uint8
        assert cleaned.shape == noisy.shape
    best = denoise(name, noisy, LEVEL / 2, tune(name, noisy[:2], clean[:2], LEVEL / 2))
    gain = psnr(best, clean).mean() - psnr(noisy, clean).mean()
    assert gain == 0 if len(DENOISERS[name].settings) == 1 else gain > 1


@pytest.mark.parametrize("name", FILTERS)
def test_tuning_finds_the_best_on_the_table(name: str) -> None:
    noisy, clean = pictures(1)
    scores = [psnr(denoise(name, noisy, LEVEL / 2, setting), clean).mean() for setting in DENOISERS[name].settings]
    assert tune(name, noisy, clean, LEVEL / 2) == DENOISERS[name].settings[int(np.argmax(scores))]


def test_a_picture_is_denoised_alone_whatever_stands_beside_it() -> None:
    noisy, _ = pictures(1, 8)
    many = np.tile(noisy, (15, 1, 1, 1))
    for name in FILTERS:
        setting = DENOISERS[name].settings[-1]
        np.testing.assert_array_equal(denoise(name, many, 0.15, setting)[-8:], denoise(name, noisy, 0.15, setting))


def test_even_pictures_without_noise_come_back_as_pictures() -> None:
    flat = np.full((2, 8, 8, 1), 255, np.uint8)
    for name, denoiser in DENOISERS.items():
        assert denoise(name, flat, 0.15, denoiser.settings[0]).min() >= 250
