"""What runs say to a claim, and to a figure that somebody reported: statistics over seeds, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LEVEL = 0.05
"""Chance that a claim is called borne out, or refuted, which is neither: over all claims of a study (Holm 1979)"""
FEWEST = 3
"""Seeds that a reported figure is judged by, at least"""
MANY = 1000
"""Seeds that are named as enough, at most"""

Outcome = Literal["borne out", "refuted", "undecided", "not measured"]


@dataclass(frozen=True)
class Difference:
    """By how much a claim's row is better than the other: paired by seed, positive where the claim holds."""

    values: tuple[float, ...]
    """one a seed"""
    margin: float
    """the smallest that matters"""

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(self.values))

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Student's interval of the mean; None of a single seed."""
        from scipy.stats import t

        n = len(self.values)
        if n < 2:
            return None
        half = float(t.ppf(1 - level / 2, n - 1)) * float(np.std(self.values, ddof=1)) / n**0.5
        return self.mean - half, self.mean + half

    @property
    def reading(self) -> tuple[Outcome, float, bool]:
        """What would be said, its p-value, and whether that it is within the margin (TOST), where that is clear; else
        it is which side of 0.
        """
        from scipy.stats import t

        n = len(self.values)
        if n < 2:
            return "undecided", 1.0, False
        error = float(np.std(self.values, ddof=1)) / n**0.5

        def above(limit: float) -> float:
            """Chance of a mean so high, or higher, where the truth is the limit."""
            if error == 0:
                return 0.0 if self.mean > limit else 1.0
            return float(t.sf((self.mean - limit) / error, n - 1))

        within = max(above(-self.margin), 1 - above(self.margin)) if self.margin else 1.0
        if within <= LEVEL:
            return "refuted", within, True
        sides: dict[Outcome, float] = {"borne out": 2 * above(0.0), "refuted": 2 * (1 - above(0.0))}
        return *min(sides.items(), key=lambda item: item[1]), False

    def enough(self, level: float = LEVEL) -> int | None:
        """Seeds that would decide it if they were as these; None where a thousand would not."""
        from scipy.stats import t

        deviation = float(np.std(self.values, ddof=1)) if len(self.values) > 1 else float("nan")
        # what is within the margin is tested from one side at a time
        tests = [(abs(self.mean), level / 2), (self.margin - abs(self.mean), level)]
        distance, tail = tests[1] if self.reading[2] else max(tests)
        if not deviation > 0 or distance <= 0:
            return None
        seeds = np.arange(2, MANY)
        decided = seeds[t.ppf(1 - tail, seeds - 1) * deviation / np.sqrt(seeds) < distance]
        return int(decided[0]) if len(decided) else None


@dataclass(frozen=True)
class Verdict:
    """What is said to a claim."""

    outcome: Outcome
    difference: Difference | None = None
    interval: tuple[float, float] | None = None
    """of the difference, at the level that Holm's order leaves this claim"""
    why: str = ""


def verdicts(differences: Mapping[str, Difference | str]) -> dict[str, Verdict]:
    """Judge the claims of a study together; a text says why one was not measured.

    In ascending order of their p-values each is judged at the level divided by how many are left (Holm 1979); after the
    first that is undecided, all are.
    """
    measured = {name: found for name, found in differences.items() if isinstance(found, Difference)}
    best = {name: difference.reading for name, difference in measured.items()}
    found: dict[str, Verdict] = {}
    open_, going_on = len(measured), True
    for name in sorted(measured, key=lambda name: best[name][1]):
        difference, (outcome, chance, within) = measured[name], best[name]
        level = LEVEL / open_
        going_on = going_on and chance <= level
        why = ""
        if not going_on:
            outcome, why = "undecided", _missing(difference, level)
        elif outcome == "refuted":
            why = "the difference is below what matters" if within else "the other side is better"
        elif difference.mean < difference.margin:
            why = "by less than what matters"
        found[name] = Verdict(outcome, difference, difference.interval(level), why)
        open_ -= going_on
    others = {name: Verdict("not measured", why=why) for name, why in differences.items() if isinstance(why, str)}
    return {name: (found | others)[name] for name in differences}


def _missing(difference: Difference, level: float) -> str:
    """What would decide it."""
    if len(difference.values) < 2:
        return "one seed says nothing of others"
    enough = difference.enough(level)
    return f"{enough} seeds would decide it" if enough else "no number of seeds below 1,000 would decide it"


@dataclass(frozen=True)
class Comparison:
    """A reported figure beside those that were measured."""

    outcome: Literal["reproduced", "better", "worse", "another", "without a verdict", "not measured", "not comparable"]
    interval: tuple[float, float] | None = None
    """in which one more run would fall, 95 of 100 times"""
    difference: float | None = None
    """mean of the measured less the reported"""
    why: str = ""


def compared(
    reported: float,
    measured: Sequence[float],
    better: str | None,
    at_least: bool = False,
    because: str = "",
    constant: bool = False,
) -> Comparison:
    """Judge a reported figure by the 95 % prediction interval for one run, from at least three seeds.

    `because` says why the two do not compare; `at_least`: the report says "above", so that higher is reproduced;
    `constant`: no seed changes it, so that it is equal or not.
    """
    from scipy.stats import t

    if not measured:
        return Comparison("not measured")
    n, mean = len(measured), float(np.mean(measured))
    difference = mean - reported
    if constant and not because:
        return Comparison("another" if difference else "reproduced", (mean, mean), difference)
    if n < FEWEST:
        return Comparison("not comparable" if because else "without a verdict", None, difference, because)
    half = float(t.ppf(0.975, n - 1)) * float(np.std(measured, ddof=1)) * (1 + 1 / n) ** 0.5
    interval = mean - half, mean + half
    if because:
        return Comparison("not comparable", interval, difference, because)
    if interval[0] <= reported <= interval[1] or (at_least and difference >= 0):
        return Comparison("reproduced", interval, difference)
    if better is None:
        return Comparison("another", interval, difference)
    return Comparison("better" if (difference > 0) == (better == "higher") else "worse", interval, difference)
