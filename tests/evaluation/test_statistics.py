"""Per-picture measures against scikit-image's, and intervals against what they promise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from sanggar.data.images import Images
from sanggar.evaluation.context import first_of_each_class
from sanggar.evaluation.measures.fidelity import mean_squared_errors, psnr, ssim, window
from sanggar.evaluation.statistics import bootstrapped, mean_interval, mean_of, share_interval, student
from sanggar.results import Protocol


def pairs(n: int, height: int, width: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth pictures and noisy copies of them, from nearly the same to nothing in common."""
    draw = np.random.default_rng(height)
    ramp = np.linspace(0, 255, height)[None, :, None, None] * np.ones((n, 1, width, channels))
    noisy = ramp + draw.normal(size=ramp.shape) * np.linspace(2, 200, n)[:, None, None, None]
    return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8), ramp.astype(np.uint8)


SHAPES = pytest.mark.parametrize("shape", [(9, 8, 8, 1), (9, 28, 28, 1), (7, 32, 20, 3)])


@SHAPES
def test_errors_and_ratios_are_scikit_images(shape: tuple[int, ...]) -> None:
    pixels, target = pairs(*shape)
    errors = [mean_squared_error(a / 127.5, b / 127.5) for a, b in zip(pixels, target, strict=True)]
    peak_ratio: Callable[..., float] = peak_signal_noise_ratio
    ratios = [peak_ratio(b, a, data_range=255) for a, b in zip(pixels, target, strict=True)]
    np.testing.assert_allclose(mean_squared_errors(pixels, target), errors, rtol=1e-5)
    np.testing.assert_allclose(psnr(pixels, target), ratios, rtol=1e-5)


@SHAPES
def test_similarities_are_scikit_images_with_mirrored_borders(shape: tuple[int, ...]) -> None:
    pixels, target = pairs(*shape)
    reach = int(3.5 * window(target) + 0.5)  # scikit-image leaves so much of the border out

    def padded(picture: np.ndarray) -> np.ndarray:
        return np.pad(picture.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")

    similarity: Callable[..., float] = structural_similarity
    expected = [
        similarity(
            padded(a), padded(b), gaussian_weights=True, sigma=window(target), use_sample_covariance=False,
            data_range=255, channel_axis=-1,
        )
        for a, b in zip(pixels, target, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(ssim(pixels, target), expected, atol=2e-4)


def test_a_perfect_picture_is_perfect() -> None:
    _, target = pairs(3, 16, 16, 1)
    assert mean_squared_errors(target, target).tolist() == [0] * 3
    assert psnr(target, target).tolist() == [100] * 3
    np.testing.assert_allclose(ssim(target, target), 1)
    assert psnr(255 - 0 * target, 0 * target).tolist() == [0] * 3


def test_similarities_do_not_depend_on_how_many_are_measured_together() -> None:
    pixels, target = pairs(1003, 8, 8, 1)
    np.testing.assert_allclose(ssim(pixels, target)[998:], ssim(pixels[998:], target[998:]), atol=1e-6)


def test_an_interval_of_a_mean_covers_it_as_often_as_promised() -> None:
    draw = np.random.default_rng(0)
    for count in (2, 5, 50):
        found = [mean_interval(draw.normal(3, 2, count)) for _ in range(1000)]
        covered = [interval is not None and interval[0] <= 3 <= interval[1] for interval in found]
        assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


@given(st.integers(2, 40), st.integers(0, 99))
def test_the_interval_of_a_mean_is_students(count: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=count)
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert mean_interval(values) == pytest.approx((low, high))


def test_of_two_samples_it_is_welchs() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.normal(0, 1, 7), draw.normal(1, 4, 5)
    interval = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    found = student(float(one.mean() - other.mean()), [one, other])
    assert found == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("values", [[0.1], [0.1, 0.1], [0.1] * 1000])
def test_there_is_no_interval_where_none_can_be_had(values: list[float]) -> None:
    assert mean_interval(np.array(values)) is None
    assert student(1.0, [np.arange(9.0), np.array(values[:1])]) is None
    assert bootstrapped(0.5, np.full(99, 0.5)) is None
    assert mean_of("a.b", np.array(values), Protocol(n=len(values), data="d")).interval is None


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_an_interval_of_a_share_covers_it_and_stays_a_share(share: float) -> None:
    draw = np.random.default_rng(0)
    found = [share_interval(draw.random(100) < share) for _ in range(500)]
    assert np.mean([low <= share <= high for low, high in found]) >= 0.9
    assert all(0 <= low < high <= 1 for low, high in found)
    assert share_interval(np.ones(10, bool))[0] < 0.8


def test_the_first_of_each_class_come_first() -> None:
    labels = np.array([2, 2, 0, 1, 0, 2, 1])
    images = Images(np.zeros((7, 1, 1, 1), np.uint8), labels)
    assert list(first_of_each_class(images, 3)) == [2, 3, 0]
    assert list(first_of_each_class(images, 5)) == [2, 3, 0, 4, 6]
    assert sorted(first_of_each_class(images, 99)) == list(range(7))
    assert list(first_of_each_class(Images(images.pixels), 3)) == [0, 1, 2]
