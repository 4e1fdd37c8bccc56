"""Each operation has PyTorch's value and PyTorch's gradients, and differences of its values show the same gradients."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sanggar.scratch import ops
from sanggar.scratch.activations import ACTIVATIONS
from sanggar.scratch.tensor import Array, Tensor
from scratch.gradients import (
    PEERS,
    SEEDS,
    SHAPES,
    Precision,
    Shape,
    away,
    check,
    check_operation,
    close,
    gradient_of,
    leaf,
    positive,
    spread,
)  # fmt: skip
from typed import there

Numbers = Callable[[Shape, int], Array]

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv]
CONSTANTS: dict[str, Callable[[Shape, int], Any]] = {
    "whole number": lambda shape, seed: 3,
    "fraction": lambda shape, seed: -0.75,
    "array": away,
}
FUNCTIONS: list[tuple[Callable[..., Tensor], Callable[..., torch.Tensor], Numbers]] = [
    (operator.neg, operator.neg, spread),
    (ops.exp, torch.exp, spread),
    (ops.log, torch.log, positive),
    (ops.absolute, torch.abs, spread),
]
REDUCTIONS = {ops.sum: torch.sum, ops.mean: torch.mean, ops.max: torch.amax, ops.logsumexp: torch.logsumexp}

SMOOTH = sorted(set(ACTIVATIONS) - {"relu", "leaky_relu", "elu"})
PAIRS = hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3, max_dims=3)


# -- arithmetic ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ARITHMETIC)
@given(pair=PAIRS, seed=SEEDS)
def test_arithmetic_broadcasts_and_sums_its_gradients_back(sign: Callable[..., Any], pair: Any, seed: int) -> None:
    a, b = pair.input_shapes
    check_operation(sign, sign, away(a, seed), away(b, seed + 1))


@pytest.mark.parametrize("sign", ARITHMETIC)
@pytest.mark.parametrize("make", CONSTANTS.values(), ids=CONSTANTS)
@given(pair=PAIRS, seed=SEEDS)
def test_numbers_and_arrays_stand_on_either_side_of_a_sign(
    sign: Callable[..., Any], make: Callable[[Shape, int], Any], pair: Any, seed: int
) -> None:
    a, b = pair.input_shapes
    constant = make(b, seed + 1)
    peer = torch.from_numpy(constant) if isinstance(constant, np.ndarray) else constant
    check_operation(lambda x: sign(x, constant), lambda x: sign(x, peer), away(a, seed))
    check_operation(lambda x: sign(constant, x), lambda x: sign(peer, x), away(a, seed))


@pytest.mark.parametrize(("mine", "theirs", "numbers"), FUNCTIONS)
@given(shape=SHAPES, seed=SEEDS)
def test_a_function_of_one_number_is_applied_to_each(
    mine: Callable[..., Tensor], theirs: Callable[..., torch.Tensor], numbers: Numbers, shape: Shape, seed: int
) -> None:
    check_operation(mine, theirs, numbers(shape, seed))


@pytest.mark.parametrize(
    ("exponent", "numbers"),
    [(0, spread), (1, spread), (2, spread), (3.0, spread), (-2, away), (0.5, positive), (-1.5, positive)],
)
@given(shape=SHAPES, seed=SEEDS)
def test_a_power_takes_any_exponent(exponent: float, numbers: Numbers, shape: Shape, seed: int) -> None:
    check_operation(lambda x: x**exponent, lambda x: x**exponent, numbers(shape, seed))


@pytest.mark.parametrize(("exponent", "slope"), [(0, 0.0), (1, 1.0), (2, 0.0), (1.5, 0.0), (0.5, np.inf)])
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_a_power_of_0_has_the_slope_of_its_curve(exponent: float, slope: float) -> None:
    x = leaf(np.zeros(2))
    (x**exponent).backward(np.ones(2))
    np.testing.assert_array_equal(x.grad, [slope, slope])


# -- activations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3), seed=SEEDS)
def test_an_activation_is_pytorchs(name: str, shape: Shape, seed: int) -> None:
    check_operation(ACTIVATIONS[name], PEERS[name], 2 * spread(shape, seed))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_has_pytorchs_slope_at_0(name: str) -> None:
    check_operation(ACTIVATIONS[name], PEERS[name], np.zeros((2, 3)), kinks=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.filterwarnings("error")
def test_an_activation_neither_overflows_nor_loses_its_slope_far_from_0(name: str, dtype: Precision) -> None:
    x = leaf(np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]], dtype))
    peer = torch.from_numpy(x.data.copy()).requires_grad_()
    y, expected = ACTIVATIONS[name](x), PEERS[name](peer)
    weights = np.random.default_rng(0).normal(size=y.shape).astype(dtype)
    y.backward(weights)
    torch.autograd.backward(expected, torch.from_numpy(weights))
    assert np.isfinite(y.data).all() and np.isfinite(gradient_of(x)).all()
    close(y.data, expected.detach().numpy(), 10 * np.finfo(dtype).eps)
    close(gradient_of(x), there(peer.grad).numpy(), 10 * np.finfo(dtype).eps)


# -- matrices --------------------------------------------------------------------------------------------------


@st.composite
def factors(draw: st.DrawFn) -> tuple[Shape, Shape]:
    """Shapes that can be multiplied: vectors, matrices and stacks of them, also with nothing in them."""
    n, k, m = (draw(st.integers(0, 3)) for _ in range(3))
    stacks = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=2, max_dims=2)).input_shapes
    left, right = draw(st.sampled_from([(n, k), (k,)])), draw(st.sampled_from([(k, m), (k,)]))
    return (stacks[0] if left == (n, k) else ()) + left, (stacks[1] if right == (k, m) else ()) + right


@given(shapes=factors(), seed=SEEDS)
def test_a_matrix_product_takes_vectors_matrices_and_stacks(shapes: tuple[Shape, Shape], seed: int) -> None:
    a, b = spread(shapes[0], seed), spread(shapes[1], seed + 1)
    check_operation(operator.matmul, torch.matmul, a, b)
    check_operation(lambda x: x @ b, lambda x: x @ torch.from_numpy(b), a)
    check_operation(lambda x: a @ x, lambda x: torch.from_numpy(a) @ x, b)


@given(n=st.integers(0, 3), inputs=st.integers(1, 3), outputs=st.integers(1, 3), seed=SEEDS)
def test_neurons_weigh_their_inputs_and_add_their_bias(n: int, inputs: int, outputs: int, seed: int) -> None:
    check_operation(
        ops.affine,
        lambda x, neurons: torch.nn.functional.linear(x, neurons[:-1].T, neurons[-1]),
        spread((n, inputs), seed),
        spread((inputs + 1, outputs), seed + 1),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "k", "m"),
    [
        (1, 1000, 999),
        (1, 1000, 1000),
        (1, 1000, 2500),
        (2, 1000, 1400),
        (100, 100, 150),
        (101, 150, 190),
        (90, 200, 300),
    ],
)
@pytest.mark.parametrize("small_kernels", [True, False])
def test_a_product_made_in_pieces_is_the_product(
    n: int, k: int, m: int, small_kernels: bool, dtype: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "_has_small_kernels", lambda: small_kernels)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(n, k)).astype(dtype), rng.normal(size=(k, m)).astype(dtype)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    out = np.empty((n, m), dtype)
    for found in (
        ops.product(a, b), ops.product(a, b, out), out, ops.product(np.asfortranarray(a), np.asfortranarray(b)),
        ops.product(b.T, a.T).T,
    ):  # fmt: skip
        assert found.dtype == dtype
        close(found, exact, 100 * np.finfo(dtype).eps)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("size", [60, 130], ids=["in one", "in pieces"])
@pytest.mark.parametrize(("inputs", "weights"), [("f4", "f8"), ("f8", "f4"), ("f4", "f4")])
def test_neurons_take_inputs_of_another_precision_and_arrays_in_either_order(
    inputs: str, weights: str, size: int, order: Any
) -> None:
    rng = np.random.default_rng(0)
    x = leaf(np.asarray(rng.normal(size=(size, size)), inputs, order))
    neurons = leaf(np.asarray(rng.normal(size=(size + 1, size)), weights, order))
    after = Tensor(rng.normal(size=(size, size)))  # and what comes after them may be more precise than both
    (ops.affine(x, neurons) * after).sum().backward()
    precise = [leaf(np.array(tensor.data, np.float64)) for tensor in (x, neurons)]
    (ops.affine(*precise) * after).sum().backward()
    for rough, exact in zip((x, neurons), precise, strict=True):
        assert gradient_of(rough).dtype == rough.dtype
        close(gradient_of(rough), gradient_of(exact), 1e-5)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shifted", [False, True])
@given(n=st.integers(1, 3), width=st.integers(1, 3), seed=SEEDS)
def test_normalizing_divides_by_the_root_of_the_mean_square(
    axis: int, shifted: bool, n: int, width: int, seed: int
) -> None:
    def theirs(x: torch.Tensor, scale: torch.Tensor, *shift: torch.Tensor) -> torch.Tensor:
        x = x - x.mean(axis, keepdim=True) if shift else x
        return sum(shift, x / ((x * x).mean(axis, keepdim=True) + 0.1).sqrt() * scale)

    shift = [spread((width,), seed + 2)] if shifted else []
    check_operation(
        lambda x, scale, shift=None: ops.normalize(x, scale, shift, axis=axis, epsilon=0.1),
        theirs, spread((n, width), seed), spread((width,), seed + 1), *shift,
    )  # fmt: skip


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.3, 0.7)])
@given(inputs=st.integers(1, 3), outputs=st.integers(1, 3), seed=SEEDS)
def test_a_penalty_is_on_weights_and_not_on_biases(l1: float, l2: float, inputs: int, outputs: int, seed: int) -> None:
    check_operation(
        lambda neurons: ops.penalty(neurons, l1, l2),
        lambda neurons: l1 * neurons[:-1].abs().sum() + l2 * (neurons[:-1] ** 2).sum() / 2,
        spread((inputs + 1, outputs), seed),
    )


# -- reductions ------------------------------------------------------------------------------------------------


@st.composite
def reductions(draw: st.DrawFn) -> tuple[Shape, Any]:
    """A shape and some of its axes: none, one, several or all, counted from either end."""
    shape = draw(SHAPES)
    ends = [-len(shape), *range(len(shape))] if shape else []
    several = st.permutations(range(len(shape))).map(tuple)
    kinds = [st.none(), several, several.map(lambda axes: axes[:1]), several.map(lambda axes: axes[::2])]
    return shape, draw(st.one_of(*kinds, *([st.sampled_from(ends)] if ends else [])))


def over(peer: Callable[..., torch.Tensor], axis: Any, keepdims: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """PyTorch's reduction over axes as NumPy names them. Over no axes, PyTorch reduces all of them."""

    def reduced(x: torch.Tensor) -> torch.Tensor:
        axes = tuple(range(x.ndim)) if axis is None else axis
        return x * 1 if axes == () else peer(x, dim=axes, keepdim=keepdims)

    return reduced


def is_empty(shape: Shape, axis: Any) -> bool:
    """Whether there is nothing along the axes."""
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    return any(shape[i] == 0 for i in axes)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(("mine", "theirs"), REDUCTIONS.items())
@given(reduction=reductions(), seed=SEEDS)
def test_a_reduction_goes_over_any_axes(
    mine: Callable[..., Tensor], theirs: Callable[..., torch.Tensor], keepdims: bool, reduction: Any, seed: int
) -> None:
    shape, axis = reduction
    assume(not (mine is ops.max and is_empty(shape, axis)))
    check_operation(lambda x: mine(x, axis, keepdims), over(theirs, axis, keepdims), spread(shape, seed))


@given(shape=hnp.array_shapes(max_dims=3, max_side=3), keepdims=st.booleans(), data=st.data())
def test_several_largest_entries_share_the_gradient(shape: Shape, keepdims: bool, data: st.DataObject) -> None:
    x = data.draw(hnp.arrays(np.float64, shape, elements=st.sampled_from([-1.0, 0.0, 1.0])))
    axis = data.draw(st.sampled_from([None, 0, -1, tuple(range(len(shape)))]))
    check_operation(lambda x: ops.max(x, axis, keepdims), over(torch.amax, axis, keepdims), x, kinks=True)


@pytest.mark.parametrize(("method", "operation"), [(Tensor.sum, ops.sum), (Tensor.mean, ops.mean)])
def test_a_method_is_its_operation(method: Callable[..., Tensor], operation: Callable[..., Tensor]) -> None:
    x = Tensor(spread((2, 3), 0))
    for arguments in ((), (0,), ((0, 1),), (1, True)):
        np.testing.assert_array_equal(method(x, *arguments).data, operation(x, *arguments).data)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_logsumexp_does_not_overflow(dtype: Precision) -> None:
    x = leaf(np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]], dtype))
    y = ops.logsumexp(x, 1)
    y.sum().backward()
    close(y.data, np.array([1e4, np.log(3) - 1e4, np.log(3) + 1e4]), np.finfo(dtype).eps)
    close(gradient_of(x), np.array([[1, 0, 0], [1 / 3] * 3, [1 / 3] * 3]), np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_logsumexp_and_softmax_of_infinite_and_far_entries_have_their_limits(dtype: Precision) -> None:
    inf, big = np.inf, float(np.finfo(dtype).max)
    for entries, value, shares in (
        ([inf, 1], inf, [1, 0]),
        ([inf, -inf], inf, [1, 0]),
        ([-inf, 1], 1, [0, 1]),
        ([inf, inf], inf, [0.5, 0.5]),
        ([-inf, -inf], -inf, [0.5, 0.5]),
        ([big, -big], big, [1, 0]),
        ([-big, -big], -big, [0.5, 0.5]),
        ([np.nan, 1], np.nan, [np.nan, np.nan]),
    ):
        x = leaf(np.array(entries, dtype))
        y = ops.logsumexp(x)
        y.backward()
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.data, np.array(value, dtype))
        np.testing.assert_array_equal(gradient_of(x), np.array(shares, dtype))
        np.testing.assert_array_equal(ACTIVATIONS["softmax"](x).data, np.array(shares, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"softmax"}))
@pytest.mark.filterwarnings("error")
def test_an_activation_far_out_has_its_limit(name: str, dtype: Precision) -> None:
    far = leaf(np.array([-np.inf, -np.finfo(dtype).max, np.finfo(dtype).max, np.inf], dtype))
    y = ACTIVATIONS[name](far)
    y.backward(np.ones(4))
    below: dict[str, Any] = {
        "linear": far.data[:2],
        "leaky_relu": far.data[:2] * dtype(0.01),
        "elu": [-1, -1],
        "tanh": [-1, -1],
    }
    above = {"sigmoid": [1, 1], "tanh": [1, 1]}
    np.testing.assert_allclose(y.data, [*below.get(name, [0, 0]), *above.get(name, far.data[2:])], rtol=1e-6)
    slopes: dict[str, list[float]] = {"linear": [1, 1], "leaky_relu": [0.01, 1], "sigmoid": [0, 0], "tanh": [0, 0]}
    np.testing.assert_allclose(gradient_of(far), np.repeat(slopes.get(name, [0, 1]), 2), rtol=1e-6)


def test_an_axis_may_be_a_number_of_numpys() -> None:
    x = Tensor(spread((2, 3), 0))
    first: Any = np.int64(0)  # NumPy's types do not say that these are numbers like Python's
    last: Any = np.int64(-1)
    np.testing.assert_array_equal(x.sum(last).data, x.sum(1).data)
    np.testing.assert_array_equal(x.mean((first,)).data, x.mean(0).data)


# -- shapes ----------------------------------------------------------------------------------------------------


@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_a_reshaped_tensor_has_its_entries_in_order(shape: Shape, seed: int, data: st.DataObject) -> None:
    size = int(np.prod(shape))
    kinds = [(-1,), (size,), (1, *shape), (*shape, 1), shape[::-1], *([()] if size == 1 else [])]
    wanted = data.draw(st.sampled_from(kinds))
    check_operation(lambda x: x.reshape(*wanted), lambda x: x.reshape(wanted), spread(shape, seed))


@given(shape=SHAPES, seed=SEEDS, data=st.data())
def test_axes_are_put_in_any_order(shape: Shape, seed: int, data: st.DataObject) -> None:
    order = [
        axis - data.draw(st.sampled_from([0, len(shape)])) for axis in data.draw(st.permutations(range(len(shape))))
    ]
    check_operation(lambda x: ops.transpose(x, order), lambda x: x.permute(tuple(order)), spread(shape, seed))
    check_operation(lambda x: x.T, lambda x: x.permute(tuple(reversed(range(x.ndim)))), spread(shape, seed))


@given(shape=hnp.array_shapes(max_dims=3, min_side=0, max_side=2), seed=SEEDS, data=st.data())
def test_tensors_are_joined_along_any_axis(shape: Shape, seed: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    widths = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    parts = []
    for number, width in enumerate(widths):
        sides = [*shape]
        sides[axis] = width
        parts.append(spread(tuple(sides), seed + number))
    check_operation(
        lambda *parts: ops.concatenate(parts, axis), lambda *parts: torch.concatenate(parts, dim=axis), *parts
    )


def test_a_tensor_joined_to_itself_collects_both_gradients() -> None:
    check_operation(lambda x: ops.concatenate([x, x]), lambda x: torch.concatenate([x, x]), spread((2, 2), 0))


@given(shape=hnp.array_shapes(max_dims=3, min_side=0, max_side=3), seed=SEEDS, data=st.data())
def test_any_index_of_numpys_takes_its_entries(shape: Shape, seed: int, data: st.DataObject) -> None:
    kinds: list[st.SearchStrategy[Any]] = [
        hnp.basic_indices(shape, allow_newaxis=True),  # whole numbers and slices from either end, …, new axes
        hnp.arrays(bool, shape),
        hnp.arrays(bool, shape[:1]),
    ]
    if 0 not in shape:
        kinds.append(hnp.integer_array_indices(shape))  # entries from either end, some of them several times
        rows = st.lists(st.integers(-shape[0], shape[0] - 1), max_size=4)
        kinds += [rows, st.tuples(rows, st.just(...)), st.integers(0, shape[0] - 1).map(np.int64)]
    index = data.draw(st.one_of(kinds))
    # which entries these are, by number: PyTorch does not know all of NumPy's indices
    numbers = torch.from_numpy(np.array(np.arange(int(np.prod(shape))).reshape(shape)[index]))
    check_operation(lambda x: x[index], lambda x: x.reshape(-1)[numbers], spread(shape, seed))


# -- all of them -----------------------------------------------------------------------------------------------

EVERY: dict[str, Callable[[Tensor], Tensor]] = {
    **ACTIVATIONS,
    **{f"{sign.__name__} {side}": function for sign in ARITHMETIC for side, function in {
        "number": lambda x, sign=sign: sign(x, 2.5), "integer": lambda x, sign=sign: sign(3, x),
        "array": lambda x, sign=sign: sign(np.full((3, 3), 2.0), x), "tensor": lambda x, sign=sign: sign(x, x),
        "numpy number": lambda x, sign=sign: sign(np.float64(2), x),
    }.items()},
    "square": lambda x: x**2,
    "square root": lambda x: x**0.5,
    "power of 0": lambda x: x**0,
    "power with NumPy's number": lambda x: x ** np.float64(1.5),
    "negative": operator.neg,
    "exp": ops.exp,
    "log": ops.log,
    "absolute": ops.absolute,
    "@": lambda x: x @ x,
    "@ array": lambda x: x @ np.ones((3, 3)),
    "array @": lambda x: operator.matmul(np.ones((2, 3, 3)), x),
    "@ list": lambda x: x @ [1, 2, 3],
    "affine": lambda x: ops.affine(x[:2, :2], x),
    "normalize": lambda x: ops.normalize(x, x[0], x[1], axis=0, epsilon=1e-5),
    "penalty": lambda x: ops.penalty(x, 0.1, 0.2),
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(0),
    "max": lambda x: ops.max(x, 1, keepdims=True),
    "logsumexp": lambda x: ops.logsumexp(x, 1),
    "reshape": lambda x: x.reshape(-1),
    "transpose": lambda x: x.T,
    "concatenate": lambda x: ops.concatenate([x, x]),
    "getitem": lambda x: x[[0, 0, 2]],
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_float32_stays_float32_whatever_it_meets(name: str) -> None:
    x = leaf(positive((3, 3), 0).astype(np.float32))
    y = EVERY[name](x)
    assert y.dtype == np.float32
    y.sum().backward()
    assert gradient_of(x).dtype == np.float32
    precise = leaf(x.data.astype(np.float64))
    EVERY[name](precise).sum().backward()
    close(gradient_of(x), gradient_of(precise), 1e-4)


@given(seed=SEEDS, names=st.lists(st.sampled_from(SMOOTH), min_size=1, max_size=3))
def test_a_chain_of_operations_with_branches_obeys_the_chain_rule(seed: int, names: list[str]) -> None:
    def chain(functions: Any, x: Any, w: Any) -> Any:
        first = x
        for name in names:
            x = functions[name](x @ w) + first * x
        return (x * x).mean() + x[0].sum() / 3

    check_operation(
        lambda x, w: chain(ACTIVATIONS, x, w), lambda x, w: chain(PEERS, x, w),
        spread((2, 3), seed) / 4, spread((3, 3), seed + 1) / 4,
    )  # fmt: skip


def test_a_check_would_find_a_wrong_gradient() -> None:
    from sanggar.scratch.tensor import record

    x = leaf(spread((3,), 0))
    with pytest.raises(AssertionError):
        check(lambda: record(x.data**2, (x, lambda g: g * x.data)), lambda x: x**2, x)
