"""`FFNN`: it trains as PyTorch does, learns, is the same for the same seed, and survives its file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch.nn import functional

from sanggar.errors import DataError, RunError
from sanggar.scratch import network as module
from sanggar.scratch.activations import ACTIVATIONS
from sanggar.scratch.initializers import uniform
from sanggar.scratch.layers import Activation, BatchNorm, Dense, Layer, LayerNorm, RMSNorm
from sanggar.scratch.losses import LOSSES
from sanggar.scratch.network import FFNN, LAST, NORMALIZATIONS, Epoch
from sanggar.scratch.optimizers import OPTIMIZERS, SCHEDULES, SGD, Adam, Optimizer
from sanggar.scratch.tensor import Array, Tensor
from scratch.gradients import PEERS, close, leaf
from typed import about, there

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
LABELS = (X @ [1.0, -2.0, 0.5] > 0).astype(int) + (X[:, 0] > 1)
ROWS = np.eye(3)[LABELS]
TARGETS = {"mse": RNG.normal(size=(40, 3)), "binary_cross_entropy": ROWS, "categorical_cross_entropy": LABELS}
"""Something to learn for each loss."""

quiet: dict[str, Any] = {"verbose": False}


def arrays_of(network: FFNN) -> dict[str, Array]:
    """Copies of all that a network consists of."""
    return {name: array.copy() for name, array in network.arrays().items()}


def alike(one: dict[str, Array], other: dict[str, Array]) -> bool:
    """Whether all arrays are the same, bit by bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


# -- against PyTorch -------------------------------------------------------------------------------------------


def peer_loss(network: FFNN, parameters: list[torch.Tensor], x: Array, y: Array) -> torch.Tensor:
    """The loss of a batch in training, penalty included, from PyTorch's own pieces."""
    given, found, penalty = iter(parameters), torch.from_numpy(x), torch.zeros(())
    layers: list[Layer] = [*network.body.layers.values(), network.head]
    for layer in layers:
        mine = [next(given) for _ in layer.parameters]
        match layer:
            case Dense():
                weights = mine[0][:-1]
                found = found @ weights + mine[0][-1]
                penalty = penalty + network.l1 * weights.abs().sum() + network.l2 * (weights**2).sum() / 2
            case RMSNorm():
                (scale,) = mine
                found = functional.rms_norm(found, scale.shape, scale, eps=1e-6)
            case LayerNorm():
                scale, shift = mine
                found = functional.layer_norm(found, scale.shape, scale, shift)
            case BatchNorm():
                scale, shift = mine
                found = functional.batch_norm(found, None, None, scale, shift, training=True)
            case Activation():
                found = PEERS[layer.name](found)
    targets = torch.from_numpy(y)
    if network.loss_name == "categorical_cross_entropy":
        return functional.nll_loss(found.log(), targets) + penalty
    losses: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
        "mse": functional.mse_loss, "binary_cross_entropy": functional.binary_cross_entropy
    }  # fmt: skip
    return losses[network.loss_name](found, targets) + penalty


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
@pytest.mark.parametrize(("optimizer", "peer"), [
    (partial(SGD, 0.1), partial(torch.optim.SGD, lr=0.1)),
    (partial(SGD, 0.1, 0.9), partial(torch.optim.SGD, lr=0.1, momentum=0.9)),
    # a bias before batch norm has a gradient of 0, up to rounding, which a small epsilon would make large
    (partial(Adam, 0.01, epsilon=1e-3), partial(torch.optim.Adam, lr=0.01, eps=1e-3)),
], ids=["sgd", "momentum", "adam"])  # fmt: skip
def test_ten_steps_of_three_layers_are_pytorchs(
    loss: str, normalization: str | None, optimizer: Callable[[], Optimizer], peer: Callable[..., torch.optim.Optimizer]
) -> None:
    network = FFNN(
        [3, 5, 4, 3], "tanh", loss=loss, normalization=normalization, l1=0.01, l2=0.1, seed=3, dtype=np.float64
    )
    parameters = [torch.from_numpy(parameter.data.copy()).requires_grad_() for parameter in network.parameters]
    mine, theirs, rng = optimizer(), peer(parameters), np.random.default_rng(0)
    for step in range(10):
        batch = np.random.default_rng(step).choice(40, 8, replace=False)
        x, y = X[batch], TARGETS[loss][batch]
        found = network.train_step(x, y, mine, rng)
        expected = peer_loss(network, parameters, x, y)
        theirs.zero_grad()
        torch.autograd.backward(expected)
        theirs.step()
        assert found == pytest.approx(expected.item(), rel=1e-9)
        for parameter, tensor in zip(network.parameters, parameters, strict=True):
            close(parameter.data, tensor.detach().numpy(), 1e-9)
        for gradient, tensor in zip(network.gradients.values(), [p for p in parameters if p.ndim == 2], strict=True):
            close(gradient, there(tensor.grad).numpy(), 1e-9)


# -- learning --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
def test_digits_are_learned_in_a_moment(normalization: str | None) -> None:
    digits, order = load_digits(), np.random.default_rng(0).permutation(1797)
    x, y = digits.data[order] / 16, digits.target[order]
    network = FFNN([64, 32, 10], normalization=normalization, dropout=0.1)
    history = network.fit(x[:1400], y[:1400], epochs=8, optimizer=Adam(0.01), validation=(x[1400:], y[1400:]), **quiet)
    assert (history[-1].validation_accuracy or 0) > 0.93
    assert history[-1].train_loss < history[0].train_loss / 2
    assert sum(epoch.seconds for epoch in history) < 30


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_optimizer_learns_by_every_loss(name: str, loss: str) -> None:
    network = FFNN([3, 16, 3], loss=loss)
    history = network.fit(X, TARGETS[loss], epochs=30, batch_size=8, optimizer=OPTIMIZERS[name](0.02), **quiet)
    assert history[-1].train_loss < 0.8 * history[0].train_loss


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"softmax"}))
def test_a_network_of_any_activation_learns(name: str) -> None:
    network = FFNN([3, 16, 3], name)
    network.fit(X, LABELS, epochs=40, batch_size=8, optimizer=Adam(0.02), **quiet)
    assert (network.evaluate(X, LABELS)[1] or 0) > 0.85


def test_training_again_goes_on() -> None:
    at_once, in_two = FFNN([3, 4, 3]), FFNN([3, 4, 3])
    at_once.fit(X, LABELS, epochs=4, optimizer=Adam(), batch_size=40, **quiet)
    optimizer = Adam()
    for _ in range(2):
        in_two.fit(X, LABELS, epochs=2, optimizer=optimizer, batch_size=40, **quiet)
    for name, array in at_once.arrays().items():  # the order within the one batch is another, and no matter
        close(in_two.arrays()[name], array, 1e-5)


# -- randomness ------------------------------------------------------------------------------------------------


def test_the_same_seeds_give_the_same_network_bit_by_bit() -> None:
    def trained(seed: int = 1, fit_seed: int = 2) -> dict[str, Array]:
        network = FFNN([3, 8, 3], normalization="batch", dropout=0.5, seed=seed)
        network.fit(X, LABELS, epochs=2, seed=fit_seed, **quiet)
        return arrays_of(network)

    first = trained()
    np.random.default_rng()  # nobody else's numbers matter
    assert alike(first, trained())
    assert not alike(first, trained(seed=2))
    assert not alike(first, trained(fit_seed=3))


def test_no_two_layers_begin_alike() -> None:
    one, two = FFNN([4, 4, 4]).weights.values()
    assert not np.array_equal(one, two)


def test_a_generator_goes_on_where_a_seed_begins_anew() -> None:
    rng = np.random.default_rng(5)
    first, second = FFNN([3, 3], seed=rng), FFNN([3, 3], seed=rng)
    assert alike(arrays_of(first), arrays_of(FFNN([3, 3], seed=5)))
    assert not alike(arrays_of(first), arrays_of(second))


def test_weights_of_examples_come_with_them_and_spread_penalties_are_shared_by_them() -> None:
    weights = np.random.default_rng(0).exponential(size=len(X))
    seen: list[tuple[Array, Array | None, float]] = []
    network = FFNN([3, 3], dtype=np.float64)

    def step(x: Array, y: Array, optimizer: Any, rng: Any, counts: Array | None, times: float) -> float:
        seen.append((x.copy(), counts, times))
        return 0.0

    with mock.patch.object(network, "train_step", step):
        list(network.epochs(X, LABELS, epochs=2, batch_size=16, weights=weights, spread_penalty=True))
        list(network.epochs(X, LABELS, epochs=1, batch_size=16, spread_penalty=True))
    assert len(seen) == 9
    for x, counts, times in seen[:6]:
        assert counts is not None
        np.testing.assert_array_equal(counts, [weights[(row == X).all(axis=1)].item() for row in x])
        assert times == pytest.approx(1 / counts.sum())
    assert [(counts, times) for _, counts, times in seen[6:]] == [(None, 1 / 16), (None, 1 / 16), (None, 1 / 8)]


def test_a_weighted_loss_is_that_of_repeated_examples_and_its_penalty_counts_as_often_as_asked() -> None:
    network = FFNN([3, 4, 3], l1=0.1, l2=0.2, dtype=np.float64)
    times = np.arange(len(X)) % 3
    repeated = network.loss(np.repeat(X, times, axis=0), np.repeat(LABELS, times)).item()
    found = network.loss(X, LABELS, weights=times, times=0.5).item()
    assert found + 0.5 * network.penalty().item() == pytest.approx(repeated)


def test_without_shuffling_batches_come_in_the_order_of_the_examples() -> None:
    seen: list[Array] = []
    network = FFNN([3, 3], dtype=np.float64)

    def step(x: Array, *_: Any) -> float:
        seen.append(x.copy())
        return 0.0

    with mock.patch.object(network, "train_step", step):
        list(network.epochs(X, LABELS, epochs=2, batch_size=16, shuffle=False))
    np.testing.assert_array_equal(np.vstack(seen), np.vstack([X, X]))


@given(n=st.integers(1, 30), size=st.integers(1, 10), block=st.integers(1, 400), rows=st.booleans(), data=st.data())
def test_batches_hold_every_example_once_with_its_target(
    n: int, size: int, block: int, rows: bool, data: st.DataObject
) -> None:
    x = np.arange(n, dtype=np.float32)[:, None] + [0, 100]
    labels = np.arange(n) % 3
    order = np.array(data.draw(st.permutations(range(n))))
    network = FFNN([2, 3])
    with mock.patch.object(module, "BLOCK_BYTES", block):  # also blocks of less than a batch, and several of them
        batches = network._batches(x, np.eye(3)[labels] if rows else labels, order, size)
        found = [(examples.copy(), targets.copy()) for examples, targets in batches]
    assert [len(examples) for examples, _ in found] == [size] * (n // size) + [n % size] * (n % size > 0)
    np.testing.assert_array_equal(np.vstack([examples for examples, _ in found]), x[order])
    np.testing.assert_array_equal(np.vstack([targets for _, targets in found]), np.eye(3)[labels[order]])


# -- what an epoch is ------------------------------------------------------------------------------------------


def test_an_epoch_tells_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    network = FFNN([3, 4, 3], l2=0.1)
    before = network.loss(X, LABELS).item()
    history = network.fit(X, LABELS, epochs=3, batch_size=40, optimizer=SGD(0.5), validation=(X, LABELS))
    assert [epoch.number for epoch in history] == [1, 2, 3]
    first, last = history[0], history[-1]
    assert first.train_loss == pytest.approx(before, rel=1e-5)  # penalty included, of the network as it was
    assert (last.validation_loss, last.validation_accuracy) == network.evaluate(X, LABELS)  # of the network as it is
    assert last.validation_loss == pytest.approx(network.loss(X, LABELS).item() - network.penalty().item(), rel=1e-5)
    assert all(epoch.seconds > 0 for epoch in history)
    for found, arrays in ((last.weights, network.weights), (last.gradients, network.gradients)):
        assert found == {
            name: np.quantile(array, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist() for name, array in arrays.items()
        }
        assert list(found) == ["dense1", "dense2"]
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(" s ")[0] for line in err.splitlines()] == [str(epoch)[:-2] for epoch in history]
    assert str(last).startswith(
        f"epoch   3  train {last.train_loss:.4f}  validation {last.validation_loss:.4f}  accuracy "
    )


def test_an_epoch_without_validation_says_nothing_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    (epoch,) = FFNN([3, 3]).fit(X, LABELS, epochs=1, **quiet)
    assert (epoch.validation_loss, epoch.validation_accuracy) == (None, None)
    assert "validation" not in str(epoch) and "accuracy" not in str(epoch)
    assert capsys.readouterr() == ("", "")


def test_an_epoch_may_leave_out_its_distributions() -> None:
    (epoch,) = FFNN([3, 3]).epochs(X, LABELS, epochs=1, distributions=False)
    assert (epoch.weights, epoch.gradients) == ({}, {})


def test_the_loss_of_an_epoch_is_the_mean_over_its_examples() -> None:
    network = FFNN([3, 3])
    losses = iter([3.0, 1.0, 5.0])
    with mock.patch.object(network, "train_step", lambda *_: next(losses)):
        (epoch,) = network.epochs(X, LABELS, epochs=1, batch_size=16)  # 16, 16 and 8
    assert epoch.train_loss == (16 * 3 + 16 * 1 + 8 * 5) / 40


def test_whoever_walks_the_epochs_may_stop() -> None:
    network, optimizer = FFNN([3, 3]), SGD()
    epochs = list(islice(network.epochs(X, LABELS, epochs=1000, batch_size=20, optimizer=optimizer), 2))
    assert [type(epoch) for epoch in epochs] == [Epoch, Epoch]
    assert optimizer.steps == 4


def test_no_epochs_change_nothing() -> None:
    network = FFNN([3, 3])
    before = arrays_of(network)
    assert network.fit(X, LABELS, epochs=0) == []
    assert alike(before, arrays_of(network))


@pytest.mark.parametrize(("examples", "size", "normalization", "steps"), [
    (33, 32, None, 2), (33, 32, "rms", 2), (33, 32, "batch", 1), (34, 32, "batch", 2), (40, 100, "batch", 1),
    (32, 32, None, 1), (3, 2, "batch", 1), (40, 1, None, 40),
])  # fmt: skip
def test_only_batch_norm_leaves_out_a_last_batch_of_one(
    examples: int, size: int, normalization: str | None, steps: int
) -> None:
    seen: list[tuple[int, int]] = []

    def schedule(step: int, steps: int) -> float:
        seen.append((step, steps))
        return 1.0

    network, optimizer = FFNN([3, 4, 3], normalization=normalization), SGD()
    history = network.fit(
        X[:examples], LABELS[:examples], epochs=2, batch_size=size, optimizer=optimizer, schedule=schedule, **quiet
    )
    assert optimizer.steps == 2 * steps
    assert seen == [(step, 2 * steps) for step in range(2 * steps)]
    assert all(np.isfinite(epoch.train_loss) for epoch in history)


def test_a_schedule_sets_the_rate_of_each_step() -> None:
    optimizer, rates = SGD(0.5), []

    def schedule(step: int, steps: int) -> float:
        rates.append(0.5 * SCHEDULES["linear"](step, steps))
        return SCHEDULES["linear"](step, steps)

    FFNN([3, 3]).fit(X, LABELS, epochs=2, batch_size=20, optimizer=optimizer, schedule=schedule, **quiet)
    assert rates == [0.5, 0.375, 0.25, 0.125]
    assert (optimizer.rate, optimizer.learning_rate) == (0.125, 0.5)


def test_sgd_is_taken_where_no_optimizer_is_given() -> None:
    default, explicit = FFNN([3, 3]), FFNN([3, 3])
    default.fit(X, LABELS, epochs=2, **quiet)
    explicit.fit(X, LABELS, epochs=2, optimizer=SGD(0.01), **quiet)
    assert alike(arrays_of(default), arrays_of(explicit))


# -- weights, gradients, penalties -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_and_gradients_have_a_column_for_each_neuron(dtype: type) -> None:
    network = FFNN([3, 5, 4, 2], dtype=dtype)
    for arrays in (network.weights, network.gradients):
        assert {name: array.shape for name, array in arrays.items()} == {
            "dense1": (4, 5), "dense2": (6, 4), "dense3": (5, 2)
        }  # fmt: skip
        assert {array.dtype for array in arrays.values()} == {np.dtype(dtype)}
    assert not any(gradient.any() for gradient in network.gradients.values())
    assert not any(weights[-1].any() for weights in network.weights.values())
    network.weights["dense1"][0, 0] = 7
    assert network.parameters[0].data[0, 0] == 7


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("rate", [0.05, 1e-6])
def test_gradients_are_those_of_the_last_step_whatever_the_optimizer_made_of_them(name: str, rate: float) -> None:
    network, same = FFNN([3, 4, 3], l2=0.1, dtype=np.float64), FFNN([3, 4, 3], l2=0.1, dtype=np.float64)
    optimizer = OPTIMIZERS[name](rate)
    for step in range(2):
        same.load_arrays(network.arrays())
        same.backward(same.loss(X, LABELS))
        network.train_step(X, LABELS, optimizer, np.random.default_rng(step))
        for layer, gradient in network.gradients.items():
            close(gradient, same.gradients[layer], 1e-12)
    network.backward(network.loss(X, LABELS))
    same.load_arrays(network.arrays())
    same.backward(same.loss(X, LABELS))
    assert alike(network.gradients, same.gradients)


def test_a_penalty_by_hand() -> None:
    plain, penalized = FFNN([1, 1, 1], loss="mse"), FFNN([1, 1, 1], loss="mse", l1=0.5, l2=4.0)
    for network in (plain, penalized):
        network.weights["dense1"][:] = [[2.0], [10.0]]  # a weight, and a bias that goes free
        network.weights["dense2"][:] = [[-3.0], [20.0]]
    difference = penalized.loss([[1.0]], [[0.0]]).item() - plain.loss([[1.0]], [[0.0]]).item()
    assert difference == 0.5 * (2 + 3) + 4 * (4 + 9) / 2 == penalized.penalty().item()
    assert penalized.evaluate([[1.0]], [[0.0]]) == plain.evaluate([[1.0]], [[0.0]])
    penalized.backward(penalized.penalty())
    np.testing.assert_array_equal(penalized.gradients["dense1"], [[0.5 + 4 * 2], [0]])
    np.testing.assert_array_equal(penalized.gradients["dense2"], [[-0.5 - 4 * 3], [0]])


def test_an_initializer_may_be_a_function() -> None:
    network = FFNN([3, 4, 2], initializer=partial(uniform, low=1.0, high=2.0), seed=1)
    weights = np.concatenate([array[:-1].ravel() for array in network.weights.values()])
    assert ((weights >= 1) & (weights < 2)).all()
    assert network.initializer == "custom"
    assert FFNN([3, 2], initializer=uniform).initializer == FFNN([3, 2], initializer="uniform").initializer == "uniform"


# -- use -------------------------------------------------------------------------------------------------------


def test_predictions_are_made_in_pieces_as_in_one() -> None:
    network = FFNN([3, 8, 3], normalization="batch", dropout=0.5)
    network.fit(X, LABELS, epochs=2, **quiet)
    whole, loss = network.predict(X), network.evaluate(X, LABELS)
    assert whole.shape == (40, 3)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(whole, network.forward(X).data)
    np.testing.assert_array_equal(whole, network.predict(X))  # nothing is dropped, nothing measured
    with mock.patch.object(module, "CHUNK", 7):
        np.testing.assert_allclose(network.predict(X), whole, rtol=1e-5)
        assert network.evaluate(X, LABELS) == (about(loss[0], rel=1e-5), loss[1])


def test_inputs_come_as_lists_and_as_any_kind_of_number() -> None:
    network = FFNN([3, 2])
    expected = network.predict(np.array([[1.0, 2.0, 0.0]]))
    for x in ([[1, 2, 0]], np.array([[1, 2, 0]], np.uint8), np.array([[1, 2, 0]], np.float16)):
        np.testing.assert_array_equal(network.predict(x), expected)
    assert len(network.fit([[1, 2, 0], [True, False, 1]], [0, 1], epochs=1, **quiet)) == 1


def test_a_network_can_be_asked_for_the_gradient_by_its_inputs() -> None:
    network, x = FFNN([3, 4, 2], loss="mse", dtype=np.float64), leaf(X)
    network.forward(x).sum().backward()
    shifted = X.copy()
    shifted[:, 1] += 1e-6
    slope = (network.predict(shifted) - network.predict(X)).sum(axis=1) / 1e-6
    np.testing.assert_allclose(there(x.grad)[:, 1], slope, rtol=1e-5, atol=1e-6)


def test_predicting_leaves_gradients_as_they_are() -> None:
    network = FFNN([3, 2])
    network.backward(network.loss(X, LABELS % 2))
    before = {name: array.copy() for name, array in network.gradients.items()}
    network.predict(X)
    network.evaluate(X, LABELS % 2)
    assert alike(before, network.gradients)


def fixed(outputs: Array, loss: str) -> FFNN:
    """A network that gives these outputs for the examples of an identity."""
    network = FFNN([len(outputs), outputs.shape[1]], ["linear"], loss=loss, dtype=np.float64)
    network.weights["dense1"][:-1] = outputs
    return network


def test_loss_and_accuracy_by_hand() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.3, 0.5], [0.4, 0.3, 0.3]])
    labels = np.array([0, 1, 1, 2])
    expected = -np.log([0.7, 0.6, 0.3, 0.3]).mean()
    network = fixed(p, "categorical_cross_entropy")
    assert network.evaluate(np.eye(4), labels) == (about(expected), 0.5)
    assert network.evaluate(np.eye(4), np.eye(3)[labels]) == (about(expected), 0.5)
    answers = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0]])  # right are the first, second and last
    assert fixed(p, "binary_cross_entropy").evaluate(np.eye(4), answers)[1] == 0.75
    assert fixed(p[:, :1], "binary_cross_entropy").evaluate(np.eye(4), [1, 0, 1, 0])[1] == 0.75
    assert fixed(p, "mse").evaluate(np.eye(4), p + 2) == (about(4), None)
    assert fixed(p[:, :1], "mse").evaluate(np.eye(4), p[:, 0] + 3) == (about(9), None)


@pytest.mark.parametrize("loss", LAST)
def test_the_last_activation_follows_the_loss(loss: str) -> None:
    network = FFNN([3, 4, 4, 3], "gelu", loss=loss)
    assert network.activations == ["gelu", "gelu", LAST[loss]]
    same = FFNN([3, 4, 4, 3], ["gelu", "gelu", LAST[loss]], loss=loss)
    np.testing.assert_array_equal(network.predict(X), same.predict(X))


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "categorical_cross_entropy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_a_network_that_is_sure_and_wrong_has_a_finite_loss_and_gradient(loss: str, dtype: type) -> None:
    network = FFNN([2, 2], loss=loss, dtype=dtype)
    network.weights["dense1"][:] = [[1e4, -1e4], [-1e4, 1e4], [0, 0]]
    for right in (True, False):
        targets = np.eye(2)[:: 1 if right else -1]
        value = network.loss(np.eye(2), targets)
        network.backward(value)
        assert value.item() == pytest.approx(0 if right else {"b": 1e4, "c": 2e4}[loss[0]], rel=1e-6)
        assert network.gradients["dense1"].any() != right
        assert np.isfinite(network.gradients["dense1"]).all()


def test_a_summary_shows_each_layer_and_counts_parameters() -> None:
    network = FFNN([784, 100, 10], normalization="rms", dropout=0.2)
    assert network.summary().splitlines() == [
        "layer               output  parameters",
        "input                  784            ",
        "dense1                 100      78,500",
        "rmsnorm1               100         100",
        "activation1 (relu)     100            ",
        "dropout1               100            ",
        "dense2                  10       1,010",
        "output (softmax)        10            ",
        "79,610 parameters, float32; loss categorical_cross_entropy",
    ]
    assert "dense1" in FFNN([2, 1], loss="mse", dtype=np.float64).summary()


# -- files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
def test_a_network_comes_back_from_its_file_and_goes_on(
    tmp_path: Path, normalization: str | None, loss: str, dtype: type
) -> None:
    network = FFNN(
        [3, 5, 4, 3], ["gelu", "tanh", LAST[loss]], loss=loss, normalization=normalization, dropout=0.25, l1=0.001,
        l2=0.01, dtype=dtype, seed=4,
    )  # fmt: skip
    network.fit(X, TARGETS[loss], epochs=2, optimizer=Adam(), **quiet)
    network.save(tmp_path / "network")
    loaded = FFNN.load(str(tmp_path / "network"))
    assert alike(arrays_of(loaded), arrays_of(network))
    assert {array.dtype for array in loaded.arrays().values()} == {np.dtype(dtype)}
    assert loaded.summary() == network.summary()
    np.testing.assert_array_equal(loaded.predict(X), network.predict(X))
    assert loaded.evaluate(X, TARGETS[loss]) == network.evaluate(X, TARGETS[loss])
    histories = [
        [epoch.train_loss for epoch in each.fit(X, TARGETS[loss], epochs=2, optimizer=Adam(), seed=5, **quiet)]
        for each in (network, loaded)
    ]
    assert histories[0] == histories[1]
    assert alike(arrays_of(loaded), arrays_of(network))


def test_a_network_is_saved_over_another_at_once(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "network.npz"
    FFNN([3, 2]).save(path)
    network = FFNN([3, 4, 2], initializer="zero")
    network.save(path)
    assert FFNN.load(path).widths == [3, 4, 2]
    assert [file.name for file in path.parent.iterdir()] == ["network.npz"]
    with pytest.raises(RunError, match=f"Cannot write {tmp_path}"):
        network.save(tmp_path)


def test_numpys_numbers_are_as_good_as_pythons(tmp_path: Path) -> None:
    three: Any = np.int64(3)  # NumPy's types do not say that these are numbers like Python's
    four: Any = np.uint8(4)
    half: Any = np.float32(0.5)
    network = FFNN([three, four, 3], l1=half, l2=np.float64(0.25), dropout=half)
    one: Any = np.int64(1)
    twenty: Any = np.int32(20)
    tenth: Any = np.float32(0.1)
    network.fit(X, LABELS, epochs=one, batch_size=twenty, optimizer=SGD(tenth), **quiet)
    assert {array.dtype for array in network.arrays().values()} == {np.dtype(np.float32)}
    network.save(tmp_path / "network.npz")
    loaded = FFNN.load(tmp_path / "network.npz")
    assert (loaded.widths, loaded.l1, loaded.l2, loaded.dropout) == ([3, 4, 3], 0.5, 0.25, 0.5)


def test_arrays_are_taken_over_and_not_shared() -> None:
    one, other = FFNN([3, 4, 2], normalization="batch"), FFNN([3, 4, 2], normalization="batch", seed=1)
    other.load_arrays(one.arrays())
    assert alike(arrays_of(one), arrays_of(other))
    before = arrays_of(one)
    other.fit(X, LABELS % 2, epochs=1, **quiet)
    assert alike(before, arrays_of(one))
    assert not alike(before, arrays_of(other))


@given(data=st.data())
def test_a_damaged_file_is_refused_unless_no_harm_is_done(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    network, path = FFNN([3, 2], normalization="batch"), tmp_path_factory.mktemp("damaged") / "network.npz"
    network.save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.none() | st.integers(0, len(content) - 1))])
    try:
        loaded = FFNN.load(path)
    except DataError as error:
        assert str(error).startswith(str(path))
    else:  # a date of the archive's, say
        assert alike(arrays_of(loaded), arrays_of(network))
        assert loaded.summary() == network.summary()


def test_a_tensor_may_be_given_where_an_array_is() -> None:
    network = FFNN([3, 2])
    x = X.astype(np.float32)
    np.testing.assert_array_equal(network.predict(Tensor(x)), network.predict(x))
    history: Any = [network.fit(each, LABELS % 2, epochs=1, **quiet) for each in (x, Tensor(x))]
    assert len(history[0]) == len(history[1]) == 1
