"""Optimizers take PyTorch's steps, with the same settings, and schedules have the values of their formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sanggar.scratch.optimizers import CHUNK, OPTIMIZERS, SCHEDULES, SGD, Adam, AdamW, Optimizer, RMSProp
from sanggar.scratch.tensor import Tensor
from scratch.gradients import close, gradient_of, leaf

SHAPES = [(3, 4), (), (1,), (CHUNK,), (CHUNK + 1,), (301, 300), (0, 2)]
"""of which one fills a chunk, one is a little more, and one needs three"""

PAIRS: dict[str, tuple[Callable[[], Optimizer], Callable[..., torch.optim.Optimizer]]] = {
    "sgd": (partial(SGD, 0.1), partial(torch.optim.SGD, lr=0.1)),
    "momentum": (partial(SGD, 0.1, 0.9), partial(torch.optim.SGD, lr=0.1, momentum=0.9)),
    "nesterov": (partial(SGD, 0.1, 0.5, True), partial(torch.optim.SGD, lr=0.1, momentum=0.5, nesterov=True)),
    "adam": (partial(Adam, 0.1), partial(torch.optim.Adam, lr=0.1)),
    "adam of other settings": (
        partial(Adam, 0.1, (0.5, 0.7), 0.1), partial(torch.optim.Adam, lr=0.1, betas=(0.5, 0.7), eps=0.1)
    ),
    "adam without memory": (
        partial(Adam, 0.1, (0.0, 0.0), 0.1), partial(torch.optim.Adam, lr=0.1, betas=(0.0, 0.0), eps=0.1)
    ),
    "adamw": (partial(AdamW, 0.1), partial(torch.optim.AdamW, lr=0.1)),
    "adamw of other settings": (
        partial(AdamW, 0.1, weight_decay=0.5), partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5)
    ),
    "rmsprop": (partial(RMSProp, 0.1), partial(torch.optim.RMSprop, lr=0.1)),
    "rmsprop of other settings": (
        partial(RMSProp, 0.1, 0.5, 0.9, 0.1), partial(torch.optim.RMSprop, lr=0.1, alpha=0.5, momentum=0.9, eps=0.1)
    ),
}  # fmt: skip


def parameters(seed: int, dtype: Any = np.float64) -> list[Tensor]:
    """Random parameters of all shapes."""
    rng = np.random.default_rng(seed)
    return [leaf(np.asarray(rng.normal(size=shape), dtype)) for shape in SHAPES]


def give_gradients(tensors: list[Tensor], seed: int) -> None:
    """Random gradients, not those of anything."""
    rng = np.random.default_rng(seed)
    for tensor in tensors:
        tensor.grad = np.asarray(rng.normal(size=tensor.shape), tensor.dtype)


@pytest.mark.parametrize("name", PAIRS)
def test_ten_steps_are_pytorchs(name: str) -> None:
    make, make_peer = PAIRS[name]
    mine, tensors = make(), parameters(0)
    peers = [torch.from_numpy(tensor.data.copy()).requires_grad_() for tensor in tensors]
    theirs = make_peer(peers)
    for step in range(10):
        mine.rate = theirs.param_groups[0]["lr"] = 0.1 * SCHEDULES["linear"](step, 12)
        give_gradients(tensors, step)
        for tensor, peer in zip(tensors, peers, strict=True):
            peer.grad = torch.from_numpy(np.array(tensor.grad))
        mine.step(tensors)
        theirs.step()
        for tensor, peer in zip(tensors, peers, strict=True):
            close(tensor.data, peer.detach().numpy(), 1e-9)
    assert mine.steps == 10


@pytest.mark.parametrize("name", PAIRS)
def test_a_step_down_a_loss_is_a_step_by_its_gradients(name: str) -> None:
    make, _ = PAIRS[name]
    down, by = make(), make()
    one, two = parameters(0), parameters(0)
    for step in range(3):
        rate = 0.1 * SCHEDULES["linear"](step, 2)  # 0 at last
        for optimizer, tensors in ((down, one), (by, two)):
            optimizer.rate = rate
            loss = sum((((tensor - 1) ** 2 * tensor).sum() for tensor in tensors), Tensor(0.0))
            if optimizer is down:
                optimizer.minimize(loss, tensors)
            else:
                for tensor in tensors:
                    tensor.zero_grad()
                loss.backward()
                optimizer.step(tensors)
        for first, second in zip(one, two, strict=True):
            close(first.data, second.data, 1e-12)
            close(gradient_of(first) / down.gradient_scale, gradient_of(second), 1e-12)
    assert down.steps == by.steps == 3


@pytest.mark.parametrize("name", PAIRS)
def test_a_parameter_without_a_gradient_stays(name: str) -> None:
    optimizer = PAIRS[name][0]()
    used, unused = leaf(np.ones(3)), leaf(np.ones(3))
    for _ in range(3):
        optimizer.minimize((used * used).sum(), [used, unused])
    assert (used.data < 1).all()
    np.testing.assert_array_equal(unused.data, np.ones(3))


@pytest.mark.parametrize("name", PAIRS)
def test_float32_stays_float32_and_near_float64(name: str) -> None:
    found = []
    for dtype in (np.float32, np.float64):
        optimizer, tensors = PAIRS[name][0](), parameters(0, dtype)
        for step in range(10):
            give_gradients(tensors, step)
            optimizer.step(tensors)
        found.append(tensors)
        kept = [array for key, array in optimizer.arrays().items() if key != "steps"]
        assert {array.dtype for array in [*kept, *(tensor.data for tensor in tensors)]} == {np.dtype(dtype)}
    for rough, precise in zip(*found, strict=True):
        close(rough.data, precise.data, 1e-4)


@pytest.mark.parametrize("name", PAIRS)
def test_a_parameter_that_is_not_in_cs_order_is_changed_as_any_other(name: str) -> None:
    found = []
    for array in (np.ones((4, 3)).T, np.ones((3, 8))[:, ::2], np.ones((3, 4))):
        optimizer, tensor = PAIRS[name][0](), leaf(array)
        for step in range(3):
            give_gradients([tensor], step)
            optimizer.step([tensor])
        assert tensor.data is array  # changed in place
        found.append(tensor.data)
    assert (found[2] != 1).all()
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])


@pytest.mark.parametrize("name", PAIRS)
def test_what_an_optimizer_remembers_can_be_given_to_another(name: str) -> None:
    make, _ = PAIRS[name]
    first, second, tensors = make(), make(), parameters(0)
    for step in range(3):
        give_gradients(tensors, step)
        first.step(tensors)
    memory = {key: array.copy() for key, array in first.arrays().items()}
    copies = [leaf(tensor.data.copy()) for tensor in tensors]
    second.load(first.arrays(), copies)
    for optimizer, group in (
        (first, tensors),
        (second, copies),
    ):  # what is loaded is a copy: one does not move the other
        give_gradients(group, 9)
        optimizer.step(group)
    for one, other in zip(tensors, copies, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    assert first.steps == second.steps == 4
    assert memory.keys() == second.arrays().keys()
    assert memory["steps"] == 3
    for key, array in second.arrays().items():
        np.testing.assert_array_equal(array, first.arrays()[key])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_finds_the_bottom_of_a_bowl(name: str) -> None:
    optimizer, x = OPTIMIZERS[name](learning_rate=0.05), leaf(np.array([3.0, -2.0]))
    for step in range(500):
        optimizer.rate = 0.05 * SCHEDULES["cosine"](step, 500)
        optimizer.minimize(((x - 1) ** 2 * [1, 4]).sum(), [x])
    np.testing.assert_allclose(x.data, [1, 1], atol=0.02)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_down_takes_no_notice_of_gradients_from_before(name: str) -> None:
    found = []
    for before in (None, np.full(2, 1e6)):
        optimizer, x = OPTIMIZERS[name](), leaf(np.ones(2))
        x.grad = before
        optimizer.minimize((x * x).sum(), [x])
        found.append(x.data)
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_velocity_that_holds_the_rate_differs_only_while_the_rate_changes(nesterov: bool) -> None:
    """scikit-learn's v ← m v − rate · gradient, by hand."""
    for rates, same in (([0.1] * 5, True), ([0.1, 0.1, 0.02, 0.02, 0.01], False)):
        found = []
        for rate_in_velocity in (False, True):
            optimizer, x = SGD(0.1, 0.9, nesterov, rate_in_velocity), leaf(np.ones(3))
            for step, rate in enumerate(rates):
                optimizer.rate = rate
                x.grad = np.array([1.0, -2.0, 0.5]) * (step + 1)
                optimizer.step([x])
            found.append(x.data)
        assert np.allclose(found[0], found[1]) == same
        weight, velocity = np.ones(3), np.zeros(3)
        for step, rate in enumerate(rates):
            gradient = np.array([1.0, -2.0, 0.5]) * (step + 1)
            velocity = 0.9 * velocity - rate * gradient
            weight += 0.9 * velocity - rate * gradient if nesterov else velocity
        close(found[1], weight, 1e-12)


def test_adams_epsilon_hat_is_added_before_the_correction() -> None:
    """The paper's reordered algorithm, at the end of its section 2, by hand."""
    (one, two), rate, epsilon = (0.9, 0.99), 0.1, 0.5
    optimizer, x = Adam(rate, (one, two), epsilon, epsilon_hat=True), leaf(np.ones(3))
    weight, mean, square = np.ones(3), np.zeros(3), np.zeros(3)
    for t in range(1, 6):
        x.grad = np.array([1.0, -2.0, 0.5]) * t
        optimizer.step([x])
        mean = one * mean + (1 - one) * x.grad
        square = two * square + (1 - two) * x.grad**2
        weight -= rate * np.sqrt(1 - two**t) / (1 - one**t) * mean / (np.sqrt(square) + epsilon)
        close(x.data, weight, 1e-12)


# -- schedules -------------------------------------------------------------------------------------------------

HALF_WAY = {"constant": 1.0, "cosine": 0.5, "linear": 0.5, "exponential": 0.1}
AT_LAST = {"constant": 1.0, "cosine": 0.0, "linear": 0.0, "exponential": 0.01}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_has_its_formulas_values(name: str) -> None:
    factor = SCHEDULES[name]
    assert [factor(step, 100) for step in (0, 50, 100, 150)] == pytest.approx(
        [1, HALF_WAY[name], AT_LAST[name], AT_LAST[name]]
    )
    assert factor(0, 0) == 1


@pytest.mark.parametrize("name", SCHEDULES)
@given(steps=st.integers(1, 50))
def test_a_schedule_falls_from_1_to_its_end_and_stays_there(name: str, steps: int) -> None:
    factors = [SCHEDULES[name](step, steps) for step in range(steps + 2)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == 1
    assert factors[-2:] == pytest.approx([AT_LAST[name]] * 2)


def test_a_cosine_is_slow_at_both_ends_and_an_exponential_loses_the_same_share_each_step() -> None:
    assert SCHEDULES["cosine"](25, 100) == pytest.approx((1 + np.sqrt(0.5)) / 2)
    factors = [SCHEDULES["exponential"](step, 10) for step in range(11)]
    assert np.diff(np.log(factors)) == pytest.approx([np.log(0.01) / 10] * 10)
