"""Losses are PyTorch's, in value and gradient, and stay finite where probabilities are 0 or 1 and logits far out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional

from sanggar.scratch.activations import ACTIVATIONS, shares
from sanggar.scratch.losses import FROM_LOGITS, LOSSES, loss, one_hot
from sanggar.scratch.tensor import Array, Tensor
from scratch.gradients import PEERS, SEEDS, Precision, Shape, check_operation, close, gradient_of, leaf, spread
from typed import there

THEIRS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mse": functional.mse_loss,
    "binary_cross_entropy": functional.binary_cross_entropy,
    "categorical_cross_entropy": lambda p, t: -(t * p.log()).sum(1).mean(),
}
THEIRS_FROM_LOGITS: dict[tuple[str, str], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    ("sigmoid", "binary_cross_entropy"): functional.binary_cross_entropy_with_logits,
    ("softmax", "categorical_cross_entropy"): functional.cross_entropy,
}
ROWS = st.tuples(st.integers(1, 4), st.integers(2, 4))


def outputs_for(name: str, shape: Shape, seed: int) -> Array:
    """What a network could give to a loss: numbers, probabilities, or distributions."""
    numbers = spread(shape, seed) / 8  # no probability so close to 0 that differences of its logarithm are rough
    made: dict[str, Callable[[Array], Array]] = {
        "mse": lambda x: x,
        "binary_cross_entropy": lambda x: 1 / (1 + np.exp(-x)),
    }
    return made.get(name, shares)(numbers)


def targets_for(name: str, shape: Shape, seed: int) -> Array:
    """What examples could have for targets, some of them certain."""
    targets = outputs_for(name, shape, seed)
    certain = np.random.default_rng(seed).random(len(targets)) < 0.5
    sure = {"mse": targets, "binary_cross_entropy": targets.round()}.get(name)
    targets[certain] = (np.eye(shape[-1])[targets.argmax(-1)] if sure is None else sure)[certain]
    return targets


@pytest.mark.parametrize("name", LOSSES)
@given(shape=ROWS, seed=SEEDS)
def test_a_loss_is_pytorchs(name: str, shape: Shape, seed: int) -> None:
    targets = targets_for(name, shape, seed + 1)
    check_operation(
        lambda outputs: LOSSES[name](outputs, targets),
        lambda outputs: THEIRS[name](outputs, torch.from_numpy(targets)),
        outputs_for(name, shape, seed),
    )


@pytest.mark.parametrize("pair", FROM_LOGITS)
@given(shape=ROWS, seed=SEEDS)
def test_a_loss_from_logits_is_pytorchs(pair: tuple[str, str], shape: Shape, seed: int) -> None:
    targets = targets_for(pair[1], shape, seed + 1)
    check_operation(
        lambda logits: FROM_LOGITS[pair](logits, targets),
        lambda logits: THEIRS_FROM_LOGITS[pair](logits, torch.from_numpy(targets)),
        spread(shape, seed),
    )


@given(shape=ROWS, seed=SEEDS, dtype=st.sampled_from([np.int64, np.int8, np.uint8, np.uint64]))
def test_class_numbers_are_pytorchs_too(shape: Shape, seed: int, dtype: type[np.integer[Any]]) -> None:
    labels = np.random.default_rng(seed).integers(0, shape[1], shape[0]).astype(dtype)
    peers = torch.from_numpy(labels.astype(np.int64))
    check_operation(
        lambda logits: FROM_LOGITS["softmax", "categorical_cross_entropy"](logits, labels),
        lambda logits: functional.cross_entropy(logits, peers),
        spread(shape, seed),
    )
    check_operation(
        lambda outputs: LOSSES["categorical_cross_entropy"](outputs, labels),
        lambda outputs: functional.nll_loss(outputs.log(), peers),
        outputs_for("categorical_cross_entropy", shape, seed),
    )


@pytest.mark.parametrize("pair", FROM_LOGITS)
@given(shape=ROWS, seed=SEEDS)
def test_a_loss_from_logits_is_the_loss_of_the_activation(pair: tuple[str, str], shape: Shape, seed: int) -> None:
    activation, name = pair
    targets, logits, same = targets_for(name, shape, seed), leaf(spread(shape, seed)), leaf(spread(shape, seed))
    one, two = FROM_LOGITS[pair](logits, targets), LOSSES[name](ACTIVATIONS[activation](same), targets)
    one.backward()
    two.backward()
    close(one.data, two.data, 1e-10)
    close(gradient_of(logits), gradient_of(same), 1e-10)


@given(shape=hnp.array_shapes(max_dims=3, max_side=3), seed=SEEDS)
def test_entries_that_are_judged_alone_come_in_any_shape(shape: Shape, seed: int) -> None:
    outputs = outputs_for("binary_cross_entropy", shape, seed)
    targets = np.random.default_rng(seed).random(shape)
    for name in ("mse", "binary_cross_entropy"):
        check_operation(
            lambda outputs, name=name: LOSSES[name](outputs, targets),
            lambda outputs, name=name: THEIRS[name](outputs, torch.from_numpy(targets)),
            outputs,
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pair", FROM_LOGITS)
@pytest.mark.filterwarnings("error")
def test_logits_far_out_give_pytorchs_loss_and_gradient(pair: tuple[str, str], dtype: Precision) -> None:
    logits = leaf(np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [-1e4, -1e4], [0, 1e4]], dtype))
    peer = torch.from_numpy(logits.data.copy()).requires_grad_()
    for number in (0, 1):
        targets = np.eye(2, dtype=dtype)[[number] * 5]
        found, expected = FROM_LOGITS[pair](logits, targets), THEIRS_FROM_LOGITS[pair](peer, torch.from_numpy(targets))
        assert found.dtype == dtype
        found.backward()
        torch.autograd.backward(expected)
        close(found.data, expected.detach().numpy(), 10 * np.finfo(dtype).eps)
        close(gradient_of(logits), there(peer.grad).numpy(), 10 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["binary_cross_entropy", "categorical_cross_entropy"])
@pytest.mark.filterwarnings("error")
def test_a_certain_answer_has_a_finite_loss_that_points_the_right_way(name: str, dtype: type) -> None:
    for right in (True, False):
        outputs = leaf(np.array([[1.0, 0.0]], dtype))
        value = LOSSES[name](outputs, np.array([[1, 0] if right else [0, 1]]))
        value.backward()
        assert value.dtype == dtype
        gradient = gradient_of(outputs)
        assert np.isfinite(gradient).all()
        if right:
            assert 0 <= value.item() < 1e-6
        else:
            assert value.item() == pytest.approx(-np.log(np.finfo(dtype).eps), rel=1e-6)
            assert gradient[0, 1] < -1e5  # raises the probability of what was right
            assert gradient[0, 0] > 1e5 if name == "binary_cross_entropy" else gradient[0, 0] == 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("targets", [np.float64, np.float32, np.int64, bool])
def test_a_loss_has_the_precision_of_the_outputs(name: str, targets: type) -> None:
    outputs = leaf(np.array([[0.25, 0.75], [0.5, 0.5]], np.float32))
    value = LOSSES[name](outputs, np.eye(2).astype(targets))
    value.backward()
    assert value.dtype == gradient_of(outputs).dtype == np.float32
    assert value.item() == pytest.approx(LOSSES[name](Tensor(outputs.data.astype(float)), np.eye(2)).item())


def test_losses_by_hand() -> None:
    assert loss("mse")(Tensor([[1.0, 2.0], [3.0, 4.0]]), [[1, 0], [0, 0]]).item() == (4 + 9 + 16) / 4
    p = Tensor([[0.5, 0.25, 0.25]])
    assert loss("categorical_cross_entropy")(p, [1]).item() == pytest.approx(np.log(4))
    assert loss("categorical_cross_entropy")(p, [[0.5, 0.5, 0.0]]).item() == pytest.approx(np.log(8) / 2)
    assert loss("binary_cross_entropy")(p, [[1, 0, 0]]).item() == pytest.approx((np.log(2) - 2 * np.log(0.75)) / 3)


def test_class_numbers_become_rows() -> None:
    rows = one_hot([2, 0], 3)
    np.testing.assert_array_equal(rows, np.array([[0, 0, 1], [1, 0, 0]], np.float32), strict=True)
    assert one_hot(np.array([], int), 3, np.float64).shape == (0, 3)


@pytest.mark.parametrize("name", LOSSES)
def test_targets_are_not_changed(name: str) -> None:
    targets = np.eye(2)
    outputs = leaf(np.full((2, 2), 0.5))
    LOSSES[name](outputs, targets).backward()
    np.testing.assert_array_equal(targets, np.eye(2))
    for activation in PEERS:
        if (activation, name) in FROM_LOGITS:
            FROM_LOGITS[activation, name](outputs, targets).backward()
            np.testing.assert_array_equal(targets, np.eye(2))
