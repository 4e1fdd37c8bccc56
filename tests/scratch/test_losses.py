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

from sanggar.errors import DataError
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


INF = np.inf
BIG = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("logits", "label", "expected", "gradient"),
    [
        ([0, -INF, 1], 0, np.log1p(np.e), [1 / (1 + np.e) - 1, 0, np.e / (1 + np.e)]),
        ([0, -INF, -INF], 0, 0, [0, 0, 0]),
        ([0, -INF, -INF], 1, INF, [1, -1, 0]),
        ([INF, 1, -INF], 0, 0, [0, 0, 0]),
        ([INF, 1, -INF], 1, INF, [1, -1, 0]),
        ([INF, INF, 0], 1, np.log(2), [0.5, -0.5, 0]),
        ([-INF, -INF, -INF], 2, np.log(3), [1 / 3, 1 / 3, -2 / 3]),
        ([BIG, -BIG, 0], 0, 0, [0, 0, 0]),
        ([BIG, -BIG, 0], 2, BIG, [1, 0, -1]),
        ([BIG, -BIG, 0], 1, 2 * BIG, [1, -1, 0]),
        ([-BIG, -BIG, -BIG], 0, np.log(3), [-2 / 3, 1 / 3, 1 / 3]),
        ([np.nan, 0, 0], 1, np.nan, [np.nan] * 3),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_cross_entropy_of_infinite_logits_and_such_far_apart_has_its_limit(
    logits: list[float], label: int, expected: float, gradient: list[float], dtype: Precision
) -> None:
    categorical = FROM_LOGITS["softmax", "categorical_cross_entropy"]
    tensor = leaf(np.array([logits], dtype))
    found = categorical(tensor, [label])
    found.backward()
    assert found.dtype == dtype
    with np.errstate(over="ignore"):  # twice the largest float32 is infinite there
        np.testing.assert_allclose(found.item(), dtype(expected), rtol=1e-6)
    np.testing.assert_allclose(gradient_of(tensor), [gradient], rtol=1e-6)
    # in a batch, among others, weighted or not: what counts 0 may be infinite
    others = np.array([logits, [0, 0, 0], [0, 0, 0], [0, 0, 0]], dtype)
    for weights, mean in ((None, expected / 4 + 0.75 * np.log(3)), (np.array([0, 1, 1, 2]), np.log(3))):
        if weights is None or not np.isnan(expected):
            found = categorical(Tensor(others), [label, 1, 1, 1], weights=weights)
            np.testing.assert_allclose(found.item(), mean, rtol=1e-6)


@pytest.mark.parametrize(
    ("logit", "target", "expected", "gradient"),
    [
        (INF, 1, 0, 0),
        (INF, 0, INF, 1),
        (INF, 0.5, INF, 0.5),
        (-INF, 0, 0, 0),
        (-INF, 1, INF, -1),
        (BIG, 1, 0, 0),
        (BIG, 0, BIG, 1),
        (BIG, 0.75, BIG / 4, 0.25),
        (-BIG, 0.75, BIG / 4 * 3, -0.75),
        (np.nan, 0, np.nan, np.nan),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_sigmoid_cross_entropy_of_infinite_logits_has_its_limit(
    logit: float, target: float, expected: float, gradient: float, dtype: Precision
) -> None:
    binary, tensor = FROM_LOGITS["sigmoid", "binary_cross_entropy"], leaf(np.array([[logit]], dtype))
    found = binary(tensor, [[target]])
    found.backward()
    np.testing.assert_allclose(found.item(), expected, rtol=1e-6)
    np.testing.assert_allclose(gradient_of(tensor), [[gradient]], rtol=1e-6)
    if not np.isnan(expected):
        found = binary(Tensor(np.array([[logit], [0]], dtype)), [[target], [1.0]], weights=np.array([0, 2]))
        np.testing.assert_allclose(found.item(), np.log(2), rtol=1e-6)


@given(shape=ROWS, seed=SEEDS, data=st.data())
def test_a_logit_of_minus_infinity_is_as_if_its_class_were_not_there(
    shape: Shape, seed: int, data: st.DataObject
) -> None:
    logits, where = spread(shape, seed), data.draw(st.integers(0, shape[1]))
    labels = np.random.default_rng(seed).integers(0, shape[1], shape[0])
    more = np.insert(logits, where, -INF, axis=1)
    categorical = FROM_LOGITS["softmax", "categorical_cross_entropy"]
    one, two = leaf(logits), leaf(more)
    first, second = categorical(one, labels), categorical(two, labels + (labels >= where))
    for value in (first, second):
        value.backward()
    close(second.data, first.data, 1e-12)
    close(gradient_of(two), np.insert(gradient_of(one), where, 0, axis=1), 1e-12)
    np.testing.assert_allclose(shares(more), np.insert(shares(logits), where, 0, axis=1))


# -- weights -----------------------------------------------------------------------------------------------------

WEIGHED = {**LOSSES, **{f"{name} from logits": made for (_, name), made in FROM_LOGITS.items()}}


@pytest.mark.parametrize("name", WEIGHED)
@given(shape=ROWS, seed=SEEDS, data=st.data())
def test_an_example_of_weight_k_is_k_equal_examples(name: str, shape: Shape, seed: int, data: st.DataObject) -> None:
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=shape[0], max_size=shape[0]).filter(any)))
    made = WEIGHED[name]
    outputs, targets = outputs_for(name, shape, seed), targets_for(name.removesuffix(" from logits"), shape, seed)
    one, two = leaf(outputs), leaf(np.repeat(outputs, times, axis=0))
    first, second = made(one, targets, weights=times), made(two, np.repeat(targets, times, axis=0))
    for value in (first, second):
        value.backward()
    close(first.data, second.data, 1e-12)
    ends = np.cumsum(times)
    summed = [gradient_of(two)[end - k : end].sum(axis=0) for end, k in zip(ends, times, strict=True)]
    close(gradient_of(one), np.array(summed), 1e-12)


@pytest.mark.parametrize("name", WEIGHED)
def test_a_weighted_loss_has_the_precision_of_the_outputs(name: str) -> None:
    outputs = leaf(np.array([[0.25, 0.75], [0.5, 0.5]], np.float32))
    value = WEIGHED[name](outputs, np.eye(2), weights=np.array([0.3, 0.7]))
    value.backward()
    assert value.dtype == gradient_of(outputs).dtype == np.float32


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [np.nan, 1.0], [0.0, 0.0], [np.inf, 1.0]])
@pytest.mark.parametrize("name", WEIGHED)
def test_weights_that_make_no_sense_are_refused(name: str, weights: list[float]) -> None:
    with pytest.raises(DataError, match="weights: expected"):
        WEIGHED[name](Tensor(np.full((2, 2), 0.5)), np.eye(2), weights=np.array(weights))


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
