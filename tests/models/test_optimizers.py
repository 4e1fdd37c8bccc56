"""Optimizers are torch's with the recipe's settings; schedules have the values their formulas promise."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sanggar.models.optimizers import (
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    OptimizerOptions,
    RMSProp,
    ScheduleOptions,
    betas_at,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(("options", "kind", "settings"), [
    (Adam(learning_rate=0.1, betas=(0.5, 0.9)), torch.optim.Adam, {"lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0}),
    (AdamW(kind="adamw", weight_decay=0.3), torch.optim.AdamW, {"lr": 1e-3, "weight_decay": 0.3}),
    (SGD(kind="sgd", momentum=0.9, nesterov=True), torch.optim.SGD, {"lr": 1e-2, "momentum": 0.9, "nesterov": True}),
    (RMSProp(kind="rmsprop", smoothing=0.9, momentum=0.1), torch.optim.RMSprop, {"alpha": 0.9, "momentum": 0.1}),
])  # fmt: skip
def test_an_optimizer_is_torchs_with_the_settings_asked_for(
    options: OptimizerOptions, kind: type[torch.optim.Optimizer], settings: dict[str, float]
) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = options.build([parameter], CPU)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert {key: group[key] for key in settings} == settings
    parameter.grad = torch.ones(3)
    optimizer.step()
    assert (parameter < 1).all()


def test_the_kind_chooses_the_options() -> None:
    read = TypeAdapter(OptimizerOptions).validate_python
    for kind, options in (("adam", Adam), ("adamw", AdamW), ("sgd", SGD), ("rmsprop", RMSProp)):
        assert type(read({"kind": kind})) is options
    assert type(TypeAdapter(ScheduleOptions).validate_python({"kind": "cosine"})) is Cosine


def test_a_cosine_goes_from_all_to_the_final_share() -> None:
    schedule = Cosine(kind="cosine", final=0.1)
    assert schedule.factor(0, 100) == 1
    assert schedule.factor(50, 100) == pytest.approx(0.55)
    assert schedule.factor(100, 100) == pytest.approx(0.1)
    assert schedule.factor(150, 100) == pytest.approx(0.1)
    assert schedule.factor(25, 100) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)


@pytest.mark.parametrize("schedule", [Constant(warmup_steps=4), Cosine(kind="cosine", warmup_steps=4)])
def test_a_warm_up_climbs_in_equal_steps_to_the_full_rate(schedule: ScheduleOptions) -> None:
    assert [schedule.factor(step, 100) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_without_a_warm_up_a_constant_is_constant() -> None:
    assert {Constant().factor(step, 10) for step in range(20)} == {1.0}


@given(warmup=st.integers(0, 50), steps=st.integers(1, 100), final=st.floats(0, 1))
def test_a_rate_is_a_share_that_rises_then_falls(warmup: int, steps: int, final: float) -> None:
    schedule = Cosine(kind="cosine", warmup_steps=warmup, final=final)
    factors = [schedule.factor(step, steps) for step in range(steps + 1)]
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors)
    rising, falling = factors[: warmup + 1], factors[warmup:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)


@given(st.floats(0, 2))
def test_the_second_decay_rises_from_its_start_to_its_end(done: float) -> None:
    changing = Adam(betas=(0.0, 0.99), second_start=0.9)
    first, second = betas_at(changing, done) or (math.nan, math.nan)
    assert first == 0.0
    assert 0.9 <= second <= 0.99 + 1e-12
    assert second == pytest.approx(0.9 + 0.09 * (1 - math.cos(math.pi * min(1.0, done))) / 2)
    assert betas_at(Adam(), done) is None and betas_at(SGD(kind="sgd"), done) is None
