"""Distances between two sets of pictures, by their features: features in, numbers out, all in float64.

The larger a set, the more memory its pairs would take: pairs are computed in blocks, each of them exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from sanggar.errors import DataError

Features = Float[np.ndarray, "n d"]
Vector = Float[np.ndarray, "d"]
Matrix = Float[np.ndarray, "d d"]

BLOCK = 4_000_000
"""Pairs whose distances are in memory at a time"""
ROUNDING = 1e-13
"""Of a squared distance, and of the longest point's square, from which it is a difference"""
NEAREST, MANIFOLD, COVER = 1, 3, 5
"""Rank of the nearest other picture that counts: for duplicates, precision and recall, density and coverage"""


# -- Fréchet distance ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moments:
    """Moments of the features of a set of pictures."""

    count: int
    """pictures"""
    mean: Vector
    scatter: Matrix
    """sum of squared deviations from the mean"""

    @classmethod
    def of(cls, features: Features, chunk: int = 8192) -> Moments:
        """Compute the moments of many pictures, `chunk` of them in float64 at a time."""
        total = None
        check_finite(features)
        for start in range(0, len(features), chunk):
            part = features[start : start + chunk].astype(np.float64)
            mean = part.mean(axis=0)
            part -= mean
            moments = cls(len(part), mean, part.T @ part)
            total = moments if total is None else total.merged(moments)
        if total is None:
            raise DataError("There are no pictures to measure.")
        return total

    def merged(self, other: Moments) -> Moments:
        """Moments of both sets together, exactly (Chan, Golub & LeVeque 1983)."""
        count = self.count + other.count
        gap = other.mean - self.mean
        between = np.outer(gap, gap) * (self.count * other.count / count)
        return Moments(count, self.mean + gap * (other.count / count), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Matrix:
        """Unbiased covariance of the features. Raises DataError when it would not have full rank."""
        if refusal := too_few(self.count, len(self.mean)):
            raise DataError(refusal)
        return self.scatter / (self.count - 1)


def check_finite(features: Features) -> None:
    """Raises DataError where a feature is no number: the network that computed them is damaged, or its pictures are."""
    if wrong := int((~np.isfinite(features)).any(axis=1).sum()):
        raise DataError(f"Features of {wrong} of {len(features)} pictures are not finite: they cannot be compared.")


def too_few(count: int, size: int) -> str:
    """Why a Fréchet distance on `count` pictures with `size` features would mean nothing; empty where it means
    something.
    """
    if count > size:
        return ""
    return (
        f"{count} pictures are too few for a Fréchet distance on {size} features: their covariance has no full rank, "
        f"and the distance would follow the number of pictures, not what they show. It takes more than {size}, "
        "better ten times as many."
    )


def frechet(mean1: Vector, covariance1: Matrix, mean2: Vector, covariance2: Matrix) -> float:
    """Compute the Fréchet distance between two Gaussians, squared as in Heusel et al. 2017 (arXiv:1706.08500), Eq. 6.

    |m1 − m2|² + tr(C1 + C2 − 2 (C1 C2)^½), where the trace of the root is the sum of the roots of the eigenvalues
    of C1^½ C2 C1^½: symmetric, so that they are real and never negative but by rounding.
    """
    values, vectors = np.linalg.eigh(covariance1)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product = root @ covariance2 @ root
    cross = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)).sum()
    apart = np.sum((mean1 - mean2) ** 2) + np.trace(covariance1) + np.trace(covariance2) - 2 * cross
    return max(float(apart), 0.0)


def frechet_of(first: Moments, second: Moments) -> float:
    """Compute the same of two sets of pictures. Raises DataError when one has no more pictures than features."""
    return frechet(first.mean, first.covariance, second.mean, second.covariance)


# -- kernel distance -------------------------------------------------------------------------------------------


def kernel_distance(
    first: Features, second: Float[np.ndarray, "m d"], subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Estimate the squared maximum mean discrepancy: its mean and its deviation over random subsets of both sets.

    Unbiased, with the kernel (x·y / d + 1)³: Bińkowski et al. 2018 (arXiv:1801.01401). Computed by torchmetrics, on
    subsets drawn by `seed`. Raises DataError when a set is smaller than a subset.
    """
    import torch
    from torchmetrics.image.kid import poly_mmd

    if min(len(first), len(second)) < subset_size or subset_size < 2:
        raise DataError(f"Subsets of {subset_size} pictures cannot be drawn from {len(first)} and {len(second)}.")
    draw = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        a, b = (
            torch.from_numpy(table[draw.choice(len(table), subset_size, replace=False)].astype(np.float64))
            for table in (first, second)
        )
        values.append(float(poly_mmd(a, b)))
    return float(np.mean(values)), float(np.std(values))


# -- neighbourhoods --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cloud:
    """Pictures as points, and their distances to one another."""

    points: Features
    radii: dict[int, Float[np.ndarray, "n"]]
    """by rank, the distance of each to its nearest, third and fifth nearest other"""


@dataclass(frozen=True)
class Neighbourhoods:
    """How two clouds lie in one another; the mean of each array is the measure of the same name."""

    precision: Bool[np.ndarray, "generated"]
    """of each generated picture: whether it lies among the real ones"""
    recall: Bool[np.ndarray, "real"]
    """of each real picture: whether it lies among the generated ones"""
    density: Float[np.ndarray, "generated"]
    """of each generated picture: in how many real neighbourhoods it lies, over the neighbours that make one"""
    coverage: Bool[np.ndarray, "real"]
    """of each real picture: whether a generated one lies in its neighbourhood"""


def cloud(features: Features) -> Cloud:
    """Find the nearest others of each point. Raises DataError when there are too few of them."""
    if len(features) <= COVER:
        raise DataError(f"{len(features)} pictures are too few to look for the {COVER} nearest others of each.")
    check_finite(features)
    points = features.astype(np.float64)
    ranks = (NEAREST, MANIFOLD, COVER)
    squares = np.empty((len(ranks), len(points)))
    for start, block in _squared_distances(points, points):
        rows = np.arange(len(block))
        block[rows, start + rows] = np.inf  # a picture is no neighbour of itself
        block.partition([rank - 1 for rank in ranks], axis=1)
        squares[:, start : start + len(block)] = block[:, [rank - 1 for rank in ranks]].T
    return Cloud(points, dict(zip(ranks, np.sqrt(squares), strict=True)))


def neighbourhoods(real: Cloud, generated: Cloud) -> Neighbourhoods:
    """Compute precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991; k = 3), density and coverage (Naeem et
    al. 2020, arXiv:2002.09797; k = 5). A neighbourhood is the closed ball up to the k-th nearest picture of the set:
    closed up to rounding, so that a picture that lies on its border, as of a set beside its own copy, lies in it.
    """
    longest = max(float(np.square(cloud.points).sum(axis=1).max()) for cloud in (real, generated))
    precision, recall = np.zeros(len(generated.points), bool), np.zeros(len(real.points), bool)
    density, coverage = np.zeros(len(generated.points)), np.zeros(len(real.points), bool)
    manifold, cover, around = (
        radii**2 * (1 + ROUNDING) + ROUNDING * longest
        for radii in (real.radii[MANIFOLD], real.radii[COVER], generated.radii[MANIFOLD])
    )
    for start, block in _squared_distances(generated.points, real.points):
        rows = slice(start, start + len(block))
        inside = block <= cover
        precision[rows] = (block <= manifold).any(axis=1)
        density[rows] = inside.sum(axis=1) / COVER
        coverage |= inside.any(axis=0)
        recall |= (block <= around[rows, None]).any(axis=0)
    return Neighbourhoods(precision, recall, density, coverage)


def nearest(
    features: Features, among: Float[np.ndarray, "m d"], count: int = 1
) -> tuple[Float[np.ndarray, "n count"], Int64[np.ndarray, "n count"]]:
    """Find the `count` nearest points `among` others: their distances, nearest first, and their positions.

    They are found in float32, around the others' mean, since there may be far more others than elsewhere here, and then
    measured in float64: of two points whose squared distances differ by less than seven digits of the largest square
    about that mean, either may be taken.
    """
    centre = among.mean(axis=0, dtype=np.float64)
    points, others = ((table - centre).astype(np.float32) for table in (features, among))
    squares = np.einsum("md,md->m", others, others)
    distances, positions = np.empty((len(points), count)), np.empty((len(points), count), np.int64)
    rows = max(1, BLOCK // len(others))
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        block = (-2 * points[part]) @ others.T  # |x|², the same for all others of a point, is left out
        block += squares
        few = block.argmin(axis=1)[:, None] if count == 1 else np.argpartition(block, count - 1, axis=1)[:, :count]
        exact = np.linalg.norm(features[part, None].astype(np.float64) - among[few], axis=2)
        order = np.argsort(exact, axis=1, kind="stable")
        distances[part] = np.take_along_axis(exact, order, axis=1)
        positions[part] = np.take_along_axis(few, order, axis=1)
    return distances, positions


def _squared_distances(
    points: Features, others: Float[np.ndarray, "m d"]
) -> Iterator[tuple[int, Float[np.ndarray, "b m"]]]:
    """Squared Euclidean distances of some points at a time (the first one's position is given) to all others.

    By |x|² + |y|² − 2 x·y, which in float64 leaves no more than about 10⁻⁸ of the points' lengths uncertain.
    """
    squares = np.einsum("nd,nd->n", others, others)
    rows = max(1, BLOCK // len(others))
    for start in range(0, len(points), rows):
        part = points[start : start + rows]
        block = (-2 * part) @ others.T
        block += squares
        block += np.einsum("nd,nd->n", part, part)[:, None]
        yield start, np.maximum(block, 0, out=block)
