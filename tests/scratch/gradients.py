"""One check for all that has a derivative: PyTorch's autograd and differences of values have to agree with the tape.

And arrays for it, of random numbers that stay away from each other and from 0, where some operations have kinks.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional

from sanggar.scratch.tensor import Array, Tensor, no_grad

Shape = tuple[int, ...]
Precision = type[np.floating[Any]]

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
"""from no axis at all to three, some of them of width 1, some empty"""

PEERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda x: torch.softmax(x, -1),
    "gelu": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
}
"""The activations by name."""

STEP = 1e-3
FLOOR = 1e-3
"""Where all of an array is smaller, errors count relative to this."""


def spread(shape: Shape, seed: int) -> Array:
    """Numbers around 0, at least 0.15 from each other and 0.07 from 0, in random order."""
    rng, size = np.random.default_rng(seed), int(np.prod(shape))
    steps = rng.permutation(size) - size // 2 + 0.5
    return (steps / 4 + rng.uniform(-0.05, 0.05, size)).reshape(shape)


def away(shape: Shape, seed: int) -> Array:
    """Numbers of both signs, at least 0.5 from 0."""
    numbers = spread(shape, seed)
    return numbers + 0.5 * np.sign(numbers)


def positive(shape: Shape, seed: int) -> Array:
    """Numbers above 0.5."""
    return np.abs(away(shape, seed))


def leaf(array: Array) -> Tensor:
    """A tensor that asks for its gradient."""
    return Tensor(array, requires_grad=True)


def check_operation(
    mine: Callable[..., Tensor], theirs: Callable[..., torch.Tensor], *operands: Array, kinks: bool = False
) -> None:
    """`check` of a function of its operands."""
    leaves = [leaf(operand) for operand in operands]
    check(lambda: mine(*leaves), theirs, *leaves, kinks=kinks)


def check(
    mine: Callable[[], Tensor], theirs: Callable[..., torch.Tensor], *leaves: Tensor, kinks: bool = False
) -> None:
    """What `mine` computes from the leaves and `theirs` from PyTorch's has one value, and the same gradients.

    Unless the leaves lie on `kinks`, differences of values show these gradients too. Walking back twice gives them
    twice, no gradient shares memory with anything, and nothing that went in is changed.
    """
    before = [tensor.data.copy() for tensor in leaves]
    result = mine()
    weights = np.random.default_rng(0).normal(size=result.shape)
    result.backward(weights)
    once = [gradient_of(tensor).copy() for tensor in leaves]
    result.backward(weights)
    for tensor, gradient in zip(leaves, once, strict=True):
        close(gradient_of(tensor), 2 * gradient, 1e-14)
    arrays = [weights, *(tensor.data for tensor in leaves), *(gradient_of(tensor) for tensor in leaves)]
    assert not any(np.may_share_memory(a, b) for a, b in combinations(arrays, 2))
    np.testing.assert_array_equal(weights, np.random.default_rng(0).normal(size=result.shape))
    for tensor, data in zip(leaves, before, strict=True):
        np.testing.assert_array_equal(tensor.data, data)

    peers = [torch.from_numpy(data).requires_grad_() for data in before]
    expected = theirs(*peers)
    close(result.data, expected.detach().numpy(), 1e-10)
    torch.autograd.backward(expected, torch.from_numpy(weights))
    for gradient, peer in zip(once, peers, strict=True):
        close(gradient, np.zeros(peer.shape) if peer.grad is None else peer.grad.numpy(), 1e-10)

    if not kinks:
        for tensor, gradient in zip(leaves, once, strict=True):
            close(gradient, differences(lambda: float((mine().data * weights).sum()), tensor.data), 1e-7)


def differences(value: Callable[[], float], array: Array) -> Array:
    """The gradient of a value by an array, from central differences of fourth order."""
    found = np.zeros_like(array)

    def at(index: Shape, number: float | Array) -> float:
        array[index] = number
        return value()

    with no_grad():
        for index in np.ndindex(array.shape):
            x, h = array[index], STEP
            inner, outer = (at(index, x + k * h) - at(index, x - k * h) for k in (1, 2))
            found[index] = (8 * inner - outer) / (12 * h)
            array[index] = x
    return found


def close(found: Array, expected: Array, tolerance: float | np.floating[Any]) -> None:
    """Two arrays of one shape, their largest difference relative to their largest entry."""
    assert found.shape == expected.shape
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=FLOOR)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * largest)


def gradient_of(tensor: Tensor) -> Array:
    """The gradient of a leaf, which is an array like the leaf's own."""
    assert type(tensor.grad) is np.ndarray
    assert (tensor.grad.shape, tensor.grad.dtype) == (tensor.shape, tensor.dtype)
    return tensor.grad
