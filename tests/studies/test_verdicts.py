"""What is said to claims and to reported figures: by what statistics, and that it is right as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_rel

from sanggar.studies.verdicts import Difference, compared, verdicts

VALUES = st.lists(st.floats(-5, 5), min_size=3, max_size=8).filter(lambda v: np.std(v) > 1e-3)


@given(VALUES)
def test_the_interval_and_the_chances_are_students(values: list[float]) -> None:
    difference = Difference(tuple(values), 0.0)
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert difference.interval() == pytest.approx((low, high))
    chance = ttest_1samp(values, 0).pvalue
    assert difference.reading[1] == pytest.approx(chance)


def test_differences_are_paired() -> None:
    one, other = np.array([1.0, 2.0, 3.1]), np.array([0.9, 1.8, 3.0])
    difference = Difference(tuple(one - other), 0.0)
    outcome, chance, within = difference.reading
    assert (outcome, within) == ("borne out", False)
    assert chance == pytest.approx(ttest_rel(one, other).pvalue)


@pytest.mark.parametrize(("values", "margin", "outcome", "why"), [
    ((0.5, 0.52, 0.51), 0.1, "borne out", ""),
    ((0.05, 0.052, 0.051), 0.1, "refuted", "the difference is below what matters"),
    ((-0.5, -0.52, -0.51), 0.1, "refuted", "the other side is better"),
    ((0.02, 0.16, 0.10), 0.1, "undecided", "seeds would decide it"),
    ((0.05, 0.11, 0.10), 0.05, "borne out", ""),
    ((0.001, -0.001, 0.0005), 0.1, "refuted", "the difference is below what matters"),
    ((0.5, -0.4, 0.9), 0.1, "undecided", "seeds would decide it"),
    ((0.5,), 0.1, "undecided", "one seed says nothing of others"),
    ((0.0, 0.0, 0.0), 0.1, "refuted", "the difference is below what matters"),
    ((0.3, 0.3, 0.3), 0.1, "borne out", ""),
    ((-0.08, -0.10, -0.09), 0.095, "refuted", "the other side is better"),  # and not within the margin for sure
])  # fmt: skip
def test_a_claim_is_borne_out_refuted_or_undecided(
    values: tuple[float, ...], margin: float, outcome: str, why: str
) -> None:
    (found,) = verdicts({"a": Difference(values, margin)}).values()
    assert found.outcome == outcome
    assert why in found.why


def test_so_many_seeds_would_decide_it() -> None:
    values = np.array([0.9, -0.4, 0.5, -0.2, 0.6, 0.1])
    enough = Difference(tuple(values), 0.0).enough()
    assert enough is not None
    assert enough > 6

    def chance(n: int) -> float:
        """Of as many seeds that are as these."""
        draw = np.random.default_rng(0).standard_normal(n)
        alike = (draw - draw.mean()) / draw.std(ddof=1) * values.std(ddof=1) + values.mean()
        return float(ttest_1samp(alike, 0).pvalue)

    assert chance(enough) < 0.05 < chance(enough - 1)


def test_more_seeds_than_there_are_would_decide_what_is_undecided() -> None:
    """Within the margin at 5 %, and not at a fourteenth of that: what is counted is what was tested."""
    values = (0.0848, 0.0952, 0.09)
    (found, *_) = verdicts({str(n): Difference(values, 0.1) for n in range(14)}).values()
    assert found.outcome == "undecided"
    assert int(found.why.split()[0]) > len(values)


def test_of_several_claims_each_has_to_be_the_clearer() -> None:
    """Holm: by itself each of these is borne out at 5 %; of ten, none is."""
    values = (0.9, 1.6, 1.3, 0.2)
    assert ttest_1samp(values, 0).pvalue < 0.05
    alone = verdicts({"a": Difference(values, 0.0)})
    assert alone["a"].outcome == "borne out"
    together = verdicts({str(n): Difference(values, 0.0) for n in range(10)})
    assert {v.outcome for v in together.values()} == {"undecided"}
    clear = verdicts({"clear": Difference((1.0, 1.01, 1.02), 0.0), "a": Difference(values, 0.0)})
    assert {v.outcome for v in clear.values()} == {"borne out"}, "once the clear one is said, one is left"


@pytest.mark.slow
def test_claims_that_hold_by_chance_are_as_rare_as_said() -> None:
    draw, wrong = np.random.default_rng(0), 0
    for _ in range(200):
        claims = {str(n): Difference(tuple(draw.standard_normal(5)), 0.0) for n in range(4)}
        wrong += any(v.outcome != "undecided" for v in verdicts(claims).values())
    assert wrong / 200 == pytest.approx(0.05, abs=0.04)


def test_what_was_not_measured_is_said_and_judged_by_nobody() -> None:
    found = verdicts({"gone": "not both sides were measured", "a": Difference((1.0, 1.1, 1.05), 0.0)})
    assert list(found) == ["gone", "a"]
    assert (found["gone"].outcome, found["gone"].why) == ("not measured", "not both sides were measured")
    assert found["a"].outcome == "borne out"


@pytest.mark.parametrize(("reported", "measured", "better", "outcome"), [
    (0.95, [0.951, 0.949, 0.950], "higher", "reproduced"),
    (0.95, [0.971, 0.969, 0.970], "higher", "better"),
    (0.95, [0.971, 0.969, 0.970], "lower", "worse"),
    (0.95, [0.871, 0.869, 0.870], "higher", "worse"),
    (0.95, [0.871, 0.869, 0.870], None, "another"),
    (0.95, [0.95], "higher", "without a verdict"),
    (0.95, [0.95, 0.951], "higher", "without a verdict"),
    (0.95, [], "higher", "not measured"),
])  # fmt: skip
def test_a_reported_figure_is_judged_from_three_seeds(
    reported: float, measured: list[float], better: str | None, outcome: str
) -> None:
    assert compared(reported, measured, better).outcome == outcome


def test_above_is_reproduced_by_more() -> None:
    assert compared(0.9, [0.971, 0.969, 0.970], "higher", at_least=True).outcome == "reproduced"
    assert compared(0.98, [0.971, 0.969, 0.970], "higher", at_least=True).outcome == "worse"


def test_what_does_not_compare_is_given_no_verdict() -> None:
    found = compared(0.9, [0.97, 0.96, 0.98], "higher", because="its batch size is not stated")
    assert (found.outcome, found.why) == ("not comparable", "its batch size is not stated")
    assert found.difference == pytest.approx(0.07)


def test_one_more_run_falls_into_the_prediction_interval_as_often_as_said() -> None:
    draw, hits = np.random.default_rng(1), 0
    for _ in range(1000):
        *measured, one_more = draw.standard_normal(5).tolist()
        hits += compared(one_more, measured, "higher").outcome == "reproduced"
    assert hits / 1000 == pytest.approx(0.95, abs=0.02)
