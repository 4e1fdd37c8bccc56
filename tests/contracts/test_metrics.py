"""What every metric promises: measurements that can be told apart, each with its protocol."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from conftest import Trained, context_of
from sanggar.evaluation.context import EvaluationContext, Findings
from sanggar.evaluation.evaluate import METRICS
from sanggar.models.capabilities import CAPABILITIES
from sanggar.plan import FAMILIES, evaluation_options
from sanggar.results import Measurement
from sanggar.results.stored import read, read_arrays, read_tools


@pytest.fixture(scope="module", params=FAMILIES)
def context(request: pytest.FixtureRequest, trained: Trained) -> EvaluationContext:
    """The tiny run of a family."""
    return context_of(trained(request.param))


def options(context: EvaluationContext, name: str) -> Any:
    return context.metric_options(name, METRICS[name])


@pytest.fixture(scope="module")
def found(context: EvaluationContext) -> dict[str, Findings]:
    """What each metric finds, measured anew."""
    return {name: m.measure(context, options(context, name)) for name, m in METRICS.items() if can(context, name)}


def can(context: EvaluationContext, name: str) -> bool:
    return METRICS[name].applies(context.model, options(context, name)) and METRICS[name].affordable(context.model)


def identity(m: Measurement) -> str:
    return json.dumps([m.key, m.subject, m.tags], sort_keys=True)


@pytest.mark.slow
def test_it_needs_capabilities_that_exist_and_that_some_family_has(trained: Trained) -> None:
    contexts = [context_of(trained(family)) for family in FAMILIES]
    for name, metric in METRICS.items():
        assert metric.needs or metric.either
        assert {*metric.needs, *metric.either} <= set(CAPABILITIES)
        assert any(can(context, name) for context in contexts), name


def test_its_options_are_a_part_of_the_recipe(context: EvaluationContext) -> None:
    having = {name for name, metric in METRICS.items() if metric.Options.model_fields}
    assert having <= set(evaluation_options().model_fields)
    assert all(isinstance(getattr(context.options, name), METRICS[name].Options) for name in having)


@pytest.mark.slow
def test_something_of_every_family_is_measured(found: dict[str, Findings]) -> None:
    assert any(m.headline for findings in found.values() for m in findings.measurements)


@pytest.mark.parametrize("name", METRICS)
def test_its_numbers_are_finite_and_carry_their_protocol(
    name: str, context: EvaluationContext, found: dict[str, Findings]
) -> None:
    if not can(context, name):
        assert name not in found
        return
    measurements = found[name].measurements
    if name != "attributes":  # digits have none
        assert any(m.headline for m in measurements)
    for m in measurements:
        assert math.isfinite(m.value), m
        assert m.metric == name
        of_validation = m.key.endswith("_validation")
        split = "validation" if of_validation else "train" if m.key == "denoising.train_mse" else "test"
        assert m.protocol.split == split
        most = len(context.dataset.validation) if of_validation else context.options.images
        assert most is not None
        assert 0 < m.protocol.n <= most
        assert m.protocol.data == context.model.data_name
        if m.interval:
            low, high = m.interval
            assert low <= m.value <= high
    assert len({identity(m) for m in measurements}) == len(measurements)


@pytest.mark.parametrize("name", METRICS)
def test_measured_again_it_finds_what_was_stored(
    name: str, context: EvaluationContext, found: dict[str, Findings]
) -> None:
    run, again = context.model.run, found.get(name, Findings())
    evaluation, arrays, (tools, tool_details) = read(run), read_arrays(run), read_tools(run)
    assert [m for m in evaluation.measurements if m.metric == name] == again.measurements
    assert evaluation.details.get(name, {}) == json.loads(json.dumps(again.details))
    assert set(map(str, again.alarms)) <= set(map(str, evaluation.alarms))
    stored = {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}
    assert stored.keys() == again.arrays.keys()
    assert tool_details.items() >= json.loads(json.dumps(again.tool_details)).items()
    for one, other in ((stored, again.arrays), (tools, again.tools)):
        for key, array in other.items():
            np.testing.assert_array_equal(array, one[key])


def test_no_two_metrics_give_the_same_number_or_tool(found: dict[str, Findings]) -> None:
    numbers = [identity(m) for findings in found.values() for m in findings.measurements]
    tools = [key for findings in found.values() for key in findings.tools]
    assert len(set(numbers)) == len(numbers)
    assert len(set(tools)) == len(tools)


def test_no_array_holds_what_is_not_a_number_and_none_holds_text(found: dict[str, Findings]) -> None:
    for findings in found.values():
        for key, array in (findings.arrays | findings.tools).items():
            assert array.dtype.kind not in "fc" or np.isfinite(array).all(), key
            assert array.dtype != np.uint8 or array.ndim >= 3, f"{key}: uint8 is for pictures"
