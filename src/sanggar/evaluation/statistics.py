"""Statistics of a sample of pictures: means and shares, each with its 95 % interval."""

from __future__ import annotations

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


def mean_interval(values: Float[np.ndarray, "n"]) -> Interval:
    """95 % interval of a mean over pictures, by the normal approximation."""
    centre = float(np.mean(values))
    margin = 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return centre - margin, centre + margin


def share_interval(hits: Bool[np.ndarray, "n"]) -> Interval:
    """95 % interval of a share, Wilson's (1927)."""
    from scipy.stats import binomtest

    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
