"""Layers have PyTorch's outputs and gradients, and the parameters and buffers that they say."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from sanggar.scratch.initializers import uniform
from sanggar.scratch.layers import Activation, BatchNorm, Dense, Dropout, Layer, LayerNorm, RMSNorm, Sequential
from sanggar.scratch.network import NORMALIZATIONS
from sanggar.scratch.optimizers import SGD, Adam, Optimizer, RMSProp
from sanggar.scratch.tensor import Array, Tensor
from scratch.gradients import SEEDS, Precision, Shape, check, close, leaf, spread
from typed import there

EPSILON = 0.1
"""large, so that it shows"""

NORMS: dict[Callable[..., Layer], Callable[..., torch.Tensor]] = {
    RMSNorm: lambda x, scale: functional.rms_norm(x, scale.shape, scale, EPSILON),
    LayerNorm: lambda x, scale, shift: functional.layer_norm(x, scale.shape, scale, shift, EPSILON),
    BatchNorm: lambda x, scale, shift: functional.batch_norm(x, None, None, scale, shift, True, eps=EPSILON),
}


def made(layer: Layer, seed: int) -> Layer:
    """The layer with other parameters than it begins with, which would hide half of what it does."""
    for number, parameter in enumerate(layer.parameters.values()):
        parameter.data[...] = spread(parameter.shape, seed + number)
    return layer


# -- against PyTorch -------------------------------------------------------------------------------------------


@given(n=st.integers(0, 3), inputs=st.integers(1, 3), outputs=st.integers(1, 3), seed=SEEDS)
def test_a_layer_of_neurons_is_pytorchs(n: int, inputs: int, outputs: int, seed: int) -> None:
    layer, x = made(Dense(inputs, outputs, dtype=np.float64), seed), leaf(spread((n, inputs), seed + 9))
    check(lambda: layer(x), lambda x, w: functional.linear(x, w[:-1].T, w[-1]), x, *layer.parameters.values())


@pytest.mark.parametrize("kind", NORMALIZATIONS.values())
@given(n=st.integers(2, 4), width=st.integers(1, 4), seed=SEEDS)
def test_a_normalization_is_pytorchs(kind: Callable[..., Layer], n: int, width: int, seed: int) -> None:
    layer = made(kind(width, epsilon=EPSILON, dtype=np.float64), seed)
    x = leaf(spread((n, width), seed + 9))
    check(lambda: layer(x, np.random.default_rng(0)), NORMS[kind], x, *layer.parameters.values())


@given(n=st.integers(0, 3), width=st.integers(1, 3), seed=SEEDS)
def test_batch_norm_in_use_takes_what_it_measured_before(n: int, width: int, seed: int) -> None:
    layer = made(BatchNorm(width, EPSILON, dtype=np.float64), seed)
    layer.buffers["mean"][...] = spread((width,), seed + 5)
    layer.buffers["variance"][...] = np.abs(spread((width,), seed + 6))
    mean, variance = (torch.from_numpy(buffer.copy()) for buffer in layer.buffers.values())
    x = leaf(spread((n, width), seed + 9))
    check(
        lambda: layer(x),
        # PyTorch's own refuses a batch without examples
        lambda x, scale, shift: (x - mean) / (variance + EPSILON).sqrt() * scale + shift,
        x, *layer.parameters.values(),
    )  # fmt: skip
    np.testing.assert_array_equal(layer.buffers["mean"], mean)


def test_batch_norm_measures_as_pytorchs_does() -> None:
    mine, theirs = BatchNorm(4, momentum=0.3, dtype=np.float64), torch.nn.BatchNorm1d(4, momentum=0.3).double()
    rng = np.random.default_rng(0)
    for size in (2, 7, 3, 10):
        batch = rng.normal(3, 2, (size, 4))
        found, expected = mine(Tensor(batch), rng).data, theirs(torch.from_numpy(batch))
        close(found, expected.detach().numpy(), 1e-10)
    close(mine.buffers["mean"], there(theirs.running_mean).numpy(), 1e-12)
    close(mine.buffers["variance"], there(theirs.running_var).numpy(), 1e-12)
    close(mine(Tensor(batch)).data, theirs.eval()(torch.from_numpy(batch)).detach().numpy(), 1e-10)


@pytest.mark.parametrize("kind", NORMALIZATIONS.values())
def test_a_normalization_begins_with_pytorchs_settings(kind: Callable[..., Layer]) -> None:
    peers: dict[Callable[..., Layer], Callable[[int], torch.nn.Module]] = {
        RMSNorm: partial(torch.nn.RMSNorm, eps=1e-6),
        LayerNorm: torch.nn.LayerNorm,
        BatchNorm: torch.nn.BatchNorm1d,
    }
    x = spread((5, 3), 0) / 100  # small, so that the epsilon counts
    found = kind(3, dtype=np.float64)(Tensor(x), np.random.default_rng(0)).data
    close(found, peers[kind](3).double()(torch.from_numpy(x)).detach().numpy(), 1e-10)


@given(n=st.integers(0, 5), width=st.integers(0, 5), rate=st.sampled_from([0.0, 0.25, 0.9]), seed=SEEDS)
def test_dropout_drops_and_scales_with_the_same_mask_back_and_forth(n: int, width: int, rate: float, seed: int) -> None:
    layer, x = Dropout(rate), leaf(spread((n, width), seed))
    mask = layer(Tensor(np.ones((n, width))), np.random.default_rng(seed)).data
    assert set(mask.flat) <= {0.0, 1 / (1 - rate)}
    check(lambda: layer(x, np.random.default_rng(seed)), lambda x: x * torch.from_numpy(mask), x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_one_after_another_are_pytorchs_and_of_one_precision(dtype: Precision) -> None:
    layers = Sequential(
        Dense(3, 4, dtype=dtype), BatchNorm(4, dtype=dtype), Activation("tanh"), Dense(4, 4, seed=1, dtype=dtype),
        LayerNorm(4, dtype=dtype), RMSNorm(4, dtype=dtype), Activation("gelu"), Dropout(0.5),
    )  # fmt: skip
    x, rng = leaf(spread((5, 3), 0).astype(dtype)), np.random.default_rng
    mask = torch.from_numpy(Dropout(0.5)(Tensor(np.ones((5, 4), dtype)), rng(0)).data)

    def theirs(x: torch.Tensor, w1: torch.Tensor, a: torch.Tensor, b: torch.Tensor, w2: torch.Tensor,
               c: torch.Tensor, d: torch.Tensor, e: torch.Tensor) -> torch.Tensor:  # fmt: skip
        x = torch.tanh(functional.batch_norm(x @ w1[:-1] + w1[-1], None, None, a, b, True))
        x = functional.rms_norm(functional.layer_norm(x @ w2[:-1] + w2[-1], (4,), c, d), (4,), e, 1e-6)
        return functional.gelu(x, approximate="tanh") * mask

    if dtype is np.float64:
        check(lambda: layers(x, rng(0)), theirs, x, *layers.parameters.values())
    for y in (layers(x, rng(0)), layers(x)):
        y.sum().backward()
        assert {y.dtype, *(array.dtype for array in layers.arrays().values())} == {np.dtype(dtype)}
        assert {there(x.grad).dtype, *(there(p.grad).dtype for p in layers.parameters.values())} == {np.dtype(dtype)}


# -- what they are ---------------------------------------------------------------------------------------------


def test_neurons_begin_with_their_initializers_weights_and_no_bias() -> None:
    layer = Dense(3, 2, partial(uniform, low=2.0, high=3.0), seed=7)
    expected = np.random.default_rng(7).uniform(2, 3, (3, 2)).astype(np.float32)
    np.testing.assert_array_equal(layer.neurons.data, np.vstack([expected, [[0, 0]]]).astype(np.float32), strict=True)
    assert layer.neurons.requires_grad
    assert not np.array_equal(layer.neurons.data, Dense(3, 2, partial(uniform, low=2.0, high=3.0), seed=8).neurons.data)


def test_layers_that_share_a_generator_begin_with_weights_of_their_own() -> None:
    rng = np.random.default_rng(0)
    first, second = Dense(3, 3, seed=rng), Dense(3, 3, seed=rng)
    assert not np.array_equal(first.neurons.data, second.neurons.data)


@pytest.mark.parametrize("make", [lambda: SGD(), lambda: SGD(momentum=0.5), lambda: Adam(), lambda: RMSProp()])
def test_weights_that_an_initializer_gives_in_any_order_are_trained(make: Callable[[], Optimizer]) -> None:
    def transposed(shape: Shape, rng: np.random.Generator) -> Array:
        return np.ones(shape[::-1]).T

    weights = []
    for start in (lambda shape, rng: np.ones(shape), transposed):
        layer, optimizer = Dense(3, 2, start), make()
        optimizer.minimize(layer(Tensor(np.ones((4, 3), np.float32))).sum(), [layer.neurons])
        weights.append(layer.neurons.data)
    assert (weights[0] < 1).all()
    np.testing.assert_array_equal(weights[0], weights[1])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    dropped = Dropout(rate)(Tensor(np.ones((500, 400), np.float32)), np.random.default_rng(0)).data
    assert (dropped == 0).mean() == pytest.approx(rate, abs=0.005)
    assert dropped.mean() == pytest.approx(1, abs=0.02)


def test_dropout_does_nothing_in_use_or_at_rate_0() -> None:
    x = Tensor(np.ones((2, 3)))
    assert Dropout(0.5)(x) is x
    assert Dropout(0.0)(x, np.random.default_rng(0)) is x


def test_dropout_draws_anew_each_time() -> None:
    layer, x, rng = Dropout(0.5), Tensor(np.ones((20, 20))), np.random.default_rng(0)
    assert not np.array_equal(layer(x, rng).data, layer(x, rng).data)


def test_layers_one_after_another_are_numbered_by_kind() -> None:
    inner = Sequential(Dense(2, 2), BatchNorm(2))
    layers = Sequential(Dense(3, 2), Activation("relu"), Dense(2, 2), inner, RMSNorm(2))
    assert list(layers.layers) == ["dense1", "activation1", "dense2", "sequential1", "rmsnorm1"]
    assert list(layers.parameters) == [
        "dense1.neurons", "dense2.neurons", "sequential1.dense1.neurons", "sequential1.batchnorm1.scale",
        "sequential1.batchnorm1.shift", "rmsnorm1.scale",
    ]  # fmt: skip
    assert list(layers.buffers) == ["sequential1.batchnorm1.mean", "sequential1.batchnorm1.variance"]
    arrays = layers.arrays()
    assert list(arrays) == [*layers.parameters, *layers.buffers]
    assert arrays["sequential1.dense1.neurons"] is inner.parameters["dense1.neurons"].data
    layers(Tensor(np.ones((2, 3), np.float32)), np.random.default_rng(0))
    assert arrays["sequential1.batchnorm1.mean"] is inner.buffers["batchnorm1.mean"]
    assert arrays["sequential1.batchnorm1.variance"][0] == pytest.approx(0.9)


def test_no_layers_are_the_inputs_themselves() -> None:
    x = Tensor(np.ones((2, 3)))
    assert Sequential()(x) is x
    assert Sequential().arrays() == {}


def test_a_layer_of_ones_own_says_what_it_computes() -> None:
    with pytest.raises(NotImplementedError):
        Layer()(Tensor([1.0]))
