"""Statistics of a sample of pictures: means and shares, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from sanggar.results import NETWORK, Better, Measurement, Protocol, Tag, Unit

Interval = tuple[float, float]


def mean_of(
    key: str, values: Float[np.ndarray, "n"], protocol: Protocol, *, unit: Unit = "", better: Better | None = "higher",
    subject: str = NETWORK, tags: dict[str, Tag] | None = None, headline: bool = False,
) -> Measurement:  # fmt: skip
    """Mean over pictures as a measurement, with its interval."""
    return Measurement(
        key=key, subject=subject, value=float(values.mean()), unit=unit, better=better, interval=mean_interval(values),
        tags=tags or {}, protocol=protocol, headline=headline,
    )  # fmt: skip


def share_of(
    key: str, hits: Bool[np.ndarray, "n"], protocol: Protocol, *, better: Better | None = "higher",
    subject: str = NETWORK, tags: dict[str, Tag] | None = None, headline: bool = False,
) -> Measurement:  # fmt: skip
    """Share of pictures as a measurement, with its interval."""
    return Measurement(
        key=key, subject=subject, value=float(hits.mean()), better=better, interval=share_interval(hits),
        tags=tags or {}, protocol=protocol, headline=headline,
    )  # fmt: skip


def mean_interval(values: Float[np.ndarray, "n"]) -> Interval | None:
    """95 % interval of a mean over pictures, Student's; None where there is one picture, or all are alike."""
    return student(float(np.mean(values)), [values])


def student(value: float, samples: Sequence[Float[np.ndarray, "_"]], weight: float = 1.0) -> Interval | None:
    """95 % interval of a value whose error is that of the samples' means together, each times `weight`.

    Student's, with the degrees of freedom of Welch (1947) where there are several samples. None where a sample has one
    member, or nothing varies: then it says nothing of the error.
    """
    from scipy.stats import t

    if min(len(sample) for sample in samples) < 2 or all(np.ptp(sample) == 0 for sample in samples):
        return None
    parts = [(float(np.var(sample, ddof=1)) / len(sample), len(sample) - 1) for sample in samples]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    margin = float(t.ppf(0.975, freedom)) * weight * variance**0.5
    return value - margin, value + margin


def bootstrapped(value: float, drawn: Float[np.ndarray, "draws"]) -> Interval | None:
    """95 % interval from draws of a bootstrap, by percentiles, around the value; None where no draw is another."""
    low, high = (float(limit) for limit in np.quantile(drawn, (0.025, 0.975)))
    return None if low == high else (min(low, value), max(high, value))


def share_interval(hits: Bool[np.ndarray, "n"]) -> Interval:
    """95 % interval of a share, Wilson's (1927)."""
    from scipy.stats import binomtest

    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
