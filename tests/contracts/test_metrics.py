"""What every metric promises: numbers that can be told apart, each with its protocol."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from conftest import Trained
from sanggar.evaluation.context import Findings, Subject
from sanggar.evaluation.evaluate import METRICS
from sanggar.plan import FAMILIES
from sanggar.trained import CAPABILITIES, TrainedModel


@pytest.fixture(scope="module", params=FAMILIES)
def subject(request: pytest.FixtureRequest, trained: Trained) -> Subject:
    """The tiny run of a family."""
    painter = TrainedModel(trained(request.param))
    return Subject(painter, painter.plan.source.load(painter.plan.data), painter.plan.evaluation)


@pytest.fixture(scope="module")
def found(subject: Subject) -> dict[str, Findings]:
    return {name: metric.measure(subject) for name, metric in METRICS.items() if can(subject, name)}


def can(subject: Subject, name: str) -> bool:
    return METRICS[name].applies(subject.painter)


def test_it_needs_capabilities_that_exist_and_that_some_family_has(trained: Trained) -> None:
    painters = [TrainedModel(trained(family)) for family in FAMILIES]
    for name, metric in METRICS.items():
        assert metric.needs
        assert set(metric.needs) <= set(CAPABILITIES)
        assert any(metric.applies(painter) for painter in painters), name


def test_something_of_every_family_is_measured(subject: Subject, found: dict[str, Findings]) -> None:
    assert any(number.headline for findings in found.values() for number in findings.numbers)


@pytest.mark.parametrize("name", METRICS)
def test_its_numbers_are_finite_and_carry_their_protocol(
    name: str, subject: Subject, found: dict[str, Findings]
) -> None:
    if not can(subject, name):
        pytest.skip(f"this network lacks {METRICS[name].needs}")
    numbers = found[name].numbers
    assert any(number.headline for number in numbers)
    for number in numbers:
        assert math.isfinite(number.value), number
        assert number.label
        assert number.protocol["split"] == ("validation" if number.key.endswith("_validation") else "test")
        of_validation = len(subject.dataset.validation)
        assert 0 < number.protocol["n"] <= (of_validation if "_validation" in number.key else subject.options.images)
        assert number.protocol["data"] == subject.painter.data_name
        if number.interval:
            low, high = number.interval
            assert low <= number.value <= high
    told_apart = [json.dumps([n.key, n.subject, n.protocol], sort_keys=True) for n in numbers]
    assert len(set(told_apart)) == len(told_apart)


@pytest.mark.parametrize("name", METRICS)
def test_measured_again_it_finds_the_same(name: str, subject: Subject, found: dict[str, Findings]) -> None:
    if not can(subject, name):
        pytest.skip(f"this network lacks {METRICS[name].needs}")
    again = METRICS[name].measure(subject)
    assert again.numbers == found[name].numbers
    assert again.pictures.keys() == found[name].pictures.keys()
    for key, array in again.pictures.items():
        np.testing.assert_array_equal(array, found[name].pictures[key])


def test_no_two_metrics_give_the_same_number_or_picture(found: dict[str, Findings]) -> None:
    numbers = [json.dumps([n.key, n.subject, n.protocol], sort_keys=True) for f in found.values() for n in f.numbers]
    pictures = [key for findings in found.values() for key in findings.pictures]
    assert len(set(numbers)) == len(numbers)
    assert len(set(pictures)) == len(pictures)


def test_no_array_holds_what_is_not_a_number(found: dict[str, Findings]) -> None:
    for findings in found.values():
        for key, array in findings.pictures.items():
            assert array.dtype.kind not in "fc" or np.isfinite(array).all(), key
