"""The tape: what a tensor holds, and how gradients reach it, whatever was computed of it and how often."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sanggar.errors import NetworkError
from sanggar.scratch import ops
from sanggar.scratch.tensor import Tensor, no_grad
from scratch.gradients import Precision, gradient_of, leaf

# -- the array -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_array_of_floats_is_kept_as_it_is(dtype: Precision) -> None:
    array = np.ones((2, 3), dtype)
    assert Tensor(array).data is array


@pytest.mark.parametrize("value", [3, True, [1, 2], np.arange(3), np.float16(2), np.ones(2, bool), np.ones(2, ">f4")])
def test_other_numbers_become_float64(value: Any) -> None:
    tensor = Tensor(value)
    assert tensor.dtype == np.float64
    np.testing.assert_array_equal(tensor.data, np.asarray(value, float))


def test_a_tensor_has_the_measures_of_its_array() -> None:
    tensor = Tensor(np.zeros((4, 2), np.float32))
    assert (tensor.shape, tensor.ndim, tensor.size, len(tensor), tensor.dtype) == (
        (4, 2),
        2,
        8,
        4,
        np.dtype(np.float32),
    )


def test_a_tensor_shows_itself_as_it_was_written() -> None:
    assert repr(Tensor([1.0, 2.5])) == "Tensor([1.  2.5], float64)"
    assert repr(leaf(np.ones(1, np.float32))) == "Tensor([1.], float32, requires_grad=True)"
    assert len(repr(Tensor(np.zeros((1000, 1000))))) < 1000


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)])
def test_the_one_number_of_a_tensor_is_a_float_of_pythons(shape: tuple[int, ...]) -> None:
    item = Tensor(np.full(shape, 2.5, np.float32)).item()
    assert type(item) is float
    assert item == 2.5


def test_walking_over_a_tensor_gives_its_rows_and_their_gradients() -> None:
    x = leaf(np.array([[1.0, 2.0], [3.0, 4.0]]))
    first, second = x
    (first * 2 + second * 5).sum().backward()
    np.testing.assert_array_equal(x.grad, [[2, 2], [5, 5]])
    assert [row.data.tolist() for row in x] == x.data.tolist()


def test_a_tensor_counts_as_its_array_where_an_array_is_wanted() -> None:
    x = leaf(np.array([1.0, 2.0], np.float32))
    np.testing.assert_array_equal(np.asarray(x), [1, 2])
    assert Tensor(x).dtype == np.float32


# -- gradients -------------------------------------------------------------------------------------------------


def test_each_backward_adds_to_the_gradient_until_it_is_forgotten() -> None:
    x = leaf(np.array([1.0, 2.0]))
    for times in (1, 2, 3):
        (x * x).sum().backward()
        np.testing.assert_array_equal(x.grad, times * 2 * x.data)
    x.zero_grad()
    assert x.grad is None
    (x * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_a_tensor_used_several_times_collects_all_its_gradients() -> None:
    x = leaf(np.array(3.0))
    y = x * x  # used three times itself, once behind another use
    (y + y * x + y * y).backward()
    assert x.grad == 2 * 3 + 3 * 3**2 + 4 * 3**3


@pytest.mark.parametrize("operation", [
    lambda a, b: a + b,
    lambda a, b: (a + b) + (a - b),
    lambda a, b: ops.concatenate([a, b])[:2] + b,
    lambda a, b: a.reshape(1, 2).T.reshape(2) + b.T,
    lambda a, b: (a.sum() + b.sum()) * np.ones(2),
    lambda a, b: ops.max(ops.concatenate([a + b, b + a]).reshape(2, 2), 0),
])  # fmt: skip
def test_no_two_gradients_are_one_array(operation: Callable[[Tensor, Tensor], Tensor]) -> None:
    a, b = leaf(np.array([1.0, 2.0])), leaf(np.array([3.0, 4.0]))
    given = np.ones(2)
    operation(a, b).backward(given)
    before = gradient_of(b).copy()
    gradient_of(a)[...] = np.nan
    np.testing.assert_array_equal(b.grad, before)
    np.testing.assert_array_equal(given, [1, 1])


def test_a_gradient_is_given_whole_or_as_one_number() -> None:
    x = leaf(np.array([1.0, 2.0]))
    (x * 3).backward(np.array([1.0, 10.0]))
    np.testing.assert_array_equal(x.grad, [3, 30])
    x.zero_grad()
    (x * 3).backward(-2)
    np.testing.assert_array_equal(x.grad, [-6, -6])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_number_is_its_own_end(shape: tuple[int, ...]) -> None:
    x = leaf(np.full(shape, 2.0))
    (x * x).backward()
    np.testing.assert_array_equal(x.grad, np.full(shape, 4.0), strict=True)


def test_a_number_without_axes_has_an_array_for_a_gradient() -> None:
    x, y = leaf(np.array(2.0)), leaf(np.array([1.0, 2.0, 3.0]))
    (x * y).sum().backward()
    assert type(x.grad) is np.ndarray
    np.testing.assert_array_equal(x.grad, np.array(6.0), strict=True)
    np.testing.assert_array_equal(y.grad, [2, 2, 2])


def test_a_leaf_can_be_its_own_end() -> None:
    x, given = leaf(np.array([1.0, 2.0])), np.array([3.0, 4.0])
    x.backward(given)
    given[0] = 0
    x.backward(1)
    np.testing.assert_array_equal(x.grad, [4, 5])


def test_only_what_asked_for_a_gradient_gets_one() -> None:
    x, constant = leaf(np.ones(2)), Tensor(np.ones(2))
    middle = x * constant
    end = (middle + constant).sum()
    end.backward()
    assert x.grad is not None
    assert (constant.grad, middle.grad, end.grad) == (None, None, None)
    assert middle.requires_grad and not (constant + 1).requires_grad


def test_there_are_gradients_by_all_ends_of_one_graph() -> None:
    x = leaf(np.array([1.0, 2.0]))
    shared = x * x
    shared.sum().backward()
    (shared * 10).sum().backward()
    np.testing.assert_array_equal(x.grad, 11 * 2 * x.data)


def test_a_wide_graph_adds_up_thousands_of_gradients() -> None:
    x = leaf(np.array([1.0, 2.0]))
    total: Any = 0
    for factor in range(2000):
        total = total + x * factor
    total.sum().backward()
    np.testing.assert_array_equal(x.grad, [1999 * 1000] * 2)


def test_a_ladder_of_two_ways_at_each_step_is_walked_once_and_not_along_every_way() -> None:
    x = leaf(np.array(1.0))
    y = x
    for _ in range(60):  # 2⁶⁰ ways lead back
        y = y + y
    y.backward()
    assert x.grad == 2.0**60


def test_what_is_older_waits_for_all_that_was_made_of_it() -> None:
    x = leaf(np.array(2.0))
    old = x * x
    late = ops.exp(old * 0) * x
    (late * old + old).backward()  # old is reached at once, and again by ways of different lengths
    assert x.grad == 2 * 2 + 3 * 2**2


def test_a_gradient_of_another_precision_becomes_the_tensors() -> None:
    x = leaf(np.ones(2, np.float32))
    for _ in range(2):
        (x * Tensor(np.full(2, 1 / 3))).sum().backward()
    assert gradient_of(x).dtype == np.float32
    np.testing.assert_allclose(gradient_of(x), 2 / 3, rtol=1e-7)


@pytest.mark.parametrize("depth", [10_000, 100_000])
def test_a_deep_graph_is_walked_and_freed_without_recursion(depth: int) -> None:
    x = leaf(np.array([1.0]))
    y = x
    for _ in range(depth):
        y = y + x
    y.backward()
    assert x.grad == depth + 1
    kept = len(gc.get_objects())
    del y
    assert len(gc.get_objects()) < kept - depth


# -- recording -------------------------------------------------------------------------------------------------


def test_nothing_is_recorded_within_no_grad() -> None:
    x = leaf(np.ones(2))
    with no_grad():
        with no_grad():
            assert not (x * 2).requires_grad
        y = x * 2
    assert not y.requires_grad
    assert (x * 2).requires_grad
    with pytest.raises(NetworkError, match="requires_grad=True, outside no_grad"):
        y.backward(1)


def test_recording_goes_on_after_an_error_within_no_grad() -> None:
    x = leaf(np.ones(2))
    with pytest.raises(NetworkError), no_grad():
        x + np.ones(3)
    assert (x * 2).requires_grad


def test_backward_works_within_no_grad() -> None:
    x = leaf(np.ones(2))
    y = (x * 2).sum()
    with no_grad():
        y.backward()
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_a_thread_records_whatever_another_does() -> None:
    x, found = leaf(np.ones(2)), []
    with no_grad():
        thread = threading.Thread(target=lambda: found.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert found == [True]


def test_a_detached_tensor_has_the_array_and_no_past() -> None:
    x = leaf(np.ones(2))
    y = (x * 2).detach()
    assert not y.requires_grad
    (x * y).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2])
    assert x.detach().data is x.data


def test_a_tensor_changes_in_place_by_being_replaced() -> None:
    x = leaf(np.ones(2))
    y = x
    y += 1
    y *= x
    assert y is not x
    y.sum().backward()
    np.testing.assert_array_equal(x.data, [1, 1])
    np.testing.assert_array_equal(x.grad, [3, 3])


@pytest.mark.parametrize("array", [np.ones((2, 2)), np.float64(1), np.float32(1), [[1, 1], [1, 1]], 1, True])
def test_an_array_on_the_left_leaves_the_operation_to_the_tensor(array: Any) -> None:
    x = leaf(np.full((2, 2), 4.0, np.float32))
    for result, expected in ((array + x, 5), (array - x, -3), (array * x, 4), (array / x, 0.25)):
        assert type(result) is Tensor
        np.testing.assert_array_equal(result.data, np.full((2, 2), expected, np.float32), strict=True)


# -- mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gradient", "words"), [
    (None, r"without a gradient needs one number; this has shape \(2,\)"),
    (np.ones(3), r"the gradient has shape \(3,\), the tensor \(2,\)"),
    (np.ones((1, 2)), r"the gradient has shape \(1, 2\), the tensor \(2,\)"),
])  # fmt: skip
def test_a_gradient_that_does_not_fit_is_refused(gradient: Any, words: str) -> None:
    x = leaf(np.ones(2))
    with pytest.raises(NetworkError, match=words):
        (x * 2).backward(gradient)
    assert x.grad is None
