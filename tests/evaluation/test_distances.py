"""Distances between sets of features: against torchmetrics, against formulas, against counting pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from sanggar.errors import DataError
from sanggar.evaluation.measures import distances
from sanggar.evaluation.measures.distances import (
    COVER,
    Moments,
    cloud,
    frechet,
    frechet_of,
    kernel_distance,
    nearest,
    neighbourhoods,
)

SEEDS = st.integers(0, 10_000)


def features(seed: int, n: int, d: int, shift: float = 0.0) -> np.ndarray:
    """Like those of a network after ReLU: never negative, correlated, of very different size."""
    draw = np.random.default_rng(seed)
    mixed = draw.normal(size=(n, d)) @ np.random.default_rng(1).normal(size=(d, d)) + shift
    return (np.maximum(mixed, 0) * np.geomspace(0.01, 3, d)).astype(np.float32)


class Given(torch.nn.Module):
    """For torchmetrics: features instead of a network."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, table: torch.Tensor) -> torch.Tensor:
        return table


def pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return features(seed, 300, 24), features(seed + 1, 250, 24, 0.4)


def test_the_frechet_distance_is_torchmetrics() -> None:
    first, second = pair()
    other = FrechetInceptionDistance(feature=Given(24))
    other.update(torch.from_numpy(first).double(), real=True)
    other.update(torch.from_numpy(second).double(), real=False)
    assert frechet_of(Moments.of(first), Moments.of(second)) == pytest.approx(float(other.compute()), rel=1e-4)


def test_the_kernel_distance_is_torchmetrics() -> None:
    first, second = pair()[0][:250], pair()[1]
    other = KernelInceptionDistance(feature=Given(24), subsets=1, subset_size=250)
    other.update(torch.from_numpy(first).double(), real=True)
    other.update(torch.from_numpy(second).double(), real=False)
    mean, deviation = kernel_distance(first, second, subsets=3, subset_size=250)
    assert mean == pytest.approx(float(other.compute()[0]), rel=1e-4)
    assert deviation == pytest.approx(0, abs=1e-9)  # subsets of everything are all the same


@given(SEEDS)
def test_the_frechet_distance_of_independent_features_is_known(seed: int) -> None:
    draw = np.random.default_rng(seed)
    means, deviations = draw.normal(size=(2, 5)), draw.uniform(0, 2, size=(2, 5))
    found = frechet(means[0], np.diag(deviations[0] ** 2), means[1], np.diag(deviations[1] ** 2))
    known = np.sum((means[0] - means[1]) ** 2) + np.sum((deviations[0] - deviations[1]) ** 2)
    assert found == pytest.approx(known, rel=1e-9, abs=1e-7)


@given(SEEDS)
def test_the_frechet_distance_is_symmetric_and_nothing_to_itself(seed: int) -> None:
    first, second = (Moments.of(features(seed + i, 40, 8, i)) for i in range(2))
    assert frechet_of(first, second) == pytest.approx(frechet_of(second, first), rel=1e-6)
    assert frechet_of(first, first) == pytest.approx(0, abs=1e-6 * np.trace(first.covariance))


@given(SEEDS, st.integers(1, 30), st.floats(-1e4, 1e4))
def test_moments_are_the_same_in_whatever_parts_they_come(seed: int, chunk: int, shift: float) -> None:
    table = features(seed, 30, 4).astype(np.float64) + shift
    found = Moments.of(table, chunk)
    np.testing.assert_allclose(found.mean, table.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(found.covariance, np.cov(table.T), atol=1e-10 * max(1.0, shift**2))
    assert found.count == 30


def test_fewer_pictures_than_features_have_no_distance_and_why() -> None:
    few = Moments.of(features(0, 24, 24))
    with pytest.raises(DataError, match=r"24 pictures are too few for a Fréchet distance on 24 features: .* full rank"):
        frechet_of(few, few)
    with pytest.raises(DataError, match="no pictures"):
        Moments.of(np.zeros((0, 3), np.float32))


def test_the_kernel_distance_is_unbiased_and_drawn_by_its_seed() -> None:
    values = [kernel_distance(features(2 * s, 60, 6), features(2 * s + 1, 60, 6), 5, 40)[0] for s in range(60)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))  # some are below 0
    assert min(values) < 0 < max(values)
    first, second = pair()
    assert kernel_distance(first, second, 4, 50, seed=1) == kernel_distance(first, second, 4, 50, seed=1)
    assert kernel_distance(first, second, 4, 50, seed=1) != kernel_distance(first, second, 4, 50, seed=2)


def test_subsets_larger_than_the_set_are_refused() -> None:
    with pytest.raises(DataError, match="Subsets of 251 pictures cannot be drawn from 300 and 250"):
        kernel_distance(*pair(), subset_size=251)


def by_counting(real: np.ndarray, made: np.ndarray) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage from all pairs at once."""
    real, made = real.astype(np.float64), made.astype(np.float64)
    across = cdist(made, real)

    def radius(table: np.ndarray, k: int) -> np.ndarray:
        return np.sort(cdist(table, table), axis=1)[:, k]  # the first is the picture itself

    inside = across <= radius(real, 5)
    return (
        float((across <= radius(real, 3)).any(axis=1).mean()),
        float((across <= radius(made, 3)[:, None]).any(axis=0).mean()),
        float(inside.sum() / (5 * len(made))),
        float(inside.any(axis=0).mean()),
    )


@given(SEEDS, st.integers(6, 60), st.integers(6, 60), st.floats(0, 3), st.sampled_from([7, 150, 4_000_000]))
def test_neighbourhoods_are_those_counted_pair_by_pair(seed: int, n: int, m: int, shift: float, block: int) -> None:
    real, made = features(seed, n, 5), features(seed + 1, m, 5, shift)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "BLOCK", block)
        found = neighbourhoods(cloud(real), cloud(made))
    means = found.precision.mean(), found.recall.mean(), found.density.mean(), found.coverage.mean()
    np.testing.assert_allclose(means, by_counting(real, made), atol=1e-12)


@given(SEEDS, st.integers(8, 40), st.floats(0, 1e4), st.sampled_from([7, 4_000_000]))
def test_a_border_belongs_to_its_neighbourhood(seed: int, count: int, away: float, block: int) -> None:
    points = features(seed, count, 8) + np.float32(away)
    squares = np.sort(cdist(points, points) ** 2, axis=1)  # the first is the picture itself
    rounding = distances.ROUNDING * (np.square(points.astype(np.float64)).sum(axis=1).max() + squares.max())
    # where the sixth is as near as the fifth, up to rounding, it lies on the border as well
    assume((squares[:, COVER + 1] - squares[:, COVER] > 4 * rounding).all())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "BLOCK", block)
        found = neighbourhoods(cloud(points), cloud(np.random.default_rng(seed).permutation(points)))
    # a picture's five nearest have it on or within their borders, and each lies in its own neighbourhood
    assert found.density.sum() == pytest.approx(count * (COVER + 1) / COVER)
    assert found.precision.all() and found.recall.all() and found.coverage.all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(wrong: float) -> None:
    points = features(0, 50, 4)
    points[[3, 7], 1] = wrong
    for measure in (Moments.of, cloud):
        with pytest.raises(DataError, match="Features of 2 of 50 pictures are not finite"):
            measure(points)


def test_a_cloud_knows_how_far_others_are() -> None:
    points = np.array([[0.0], [1], [3], [6], [10], [15], [21]], np.float32)
    radii = cloud(points).radii
    assert radii[1].tolist() == [1, 1, 2, 3, 4, 5, 6]
    assert radii[3].tolist() == [6, 5, 3, 5, 7, 9, 15]
    with pytest.raises(DataError, match="5 pictures are too few"):
        cloud(points[:5])


@given(SEEDS, st.integers(1, 4), st.sampled_from([7, 150, 4_000_000]))
def test_the_nearest_are_the_nearest(seed: int, count: int, block: int) -> None:
    table, among = features(seed, 20, 5), features(seed + 1, 33, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "BLOCK", block)
        found, positions = nearest(table, among, count)
    pairs = cdist(table.astype(np.float64), among.astype(np.float64))
    # found in float32: squares are right to its seven digits of the largest square about the mean, not of their own
    largest = max(np.square(points - among.mean(axis=0)).sum(axis=1).max() for points in (table, among))
    slack = 8 * float(np.finfo(np.float32).eps) * float(largest)
    np.testing.assert_allclose(found**2, np.sort(pairs, axis=1)[:, :count] ** 2, rtol=0, atol=slack)
    np.testing.assert_allclose(np.take_along_axis(pairs, positions, axis=1), found, rtol=1e-9, atol=1e-12)


def test_a_copy_is_at_no_distance() -> None:
    table = features(3, 50, 8) + np.float32(1000)
    found, positions = nearest(table[7:9], table)
    assert found.tolist() == [[0], [0]]
    assert positions.tolist() == [[7], [8]]
