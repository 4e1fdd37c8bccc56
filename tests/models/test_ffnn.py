"""The family ffnn: a picture's pixels through a from-scratch network to the probability of each class."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from sanggar.data.images import ImageSpec
from sanggar.models.capabilities import CAPABILITIES
from sanggar.models.feed_forward import Activation, FeedForward, FeedForwardOptions
from sanggar.scratch.activations import ACTIVATIONS
from sanggar.scratch.initializers import INITIALIZERS
from sanggar.scratch.losses import LOSSES
from sanggar.scratch.network import NORMALIZATIONS

FACTS = ImageSpec(3, 4, 1, ("a", "b", "c"))
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 1), np.uint8)
LABELS = np.arange(7) % 3
LOSS = FeedForwardOptions.model_fields["loss"].annotation
NORMALIZATION = get_args(FeedForwardOptions.model_fields["normalization"].annotation)[0]


def built(spec: ImageSpec = FACTS, seed: int = 0, **options: Any) -> FeedForward:
    return FeedForward.build(FeedForwardOptions(**{"hidden": (5,), **options}), spec, seed)


def kinds(options: type[BaseModel]) -> set[str]:
    return set(get_args(options.model_fields["kind"].annotation))


def test_a_recipe_can_name_all_that_the_engine_has() -> None:
    assert set(get_args(Activation)) == set(ACTIVATIONS)
    assert set(get_args(LOSS)) == set(LOSSES)
    assert set(get_args(NORMALIZATION)) == set(NORMALIZATIONS)
    union = get_args(FeedForwardOptions.model_fields["initializer"].annotation)
    assert set().union(*(kinds(options) for options in union)) == set(INITIALIZERS)


def test_it_classifies_and_shows_its_neurons_and_can_do_nothing_else() -> None:
    assert {name for name, protocol in CAPABILITIES.items() if isinstance(built(), protocol)} == {"classify", "neurons"}


@given(
    hidden=st.lists(st.integers(1, 9), max_size=3), loss=st.sampled_from(get_args(LOSS)), dropout=st.floats(0, 0.9),
    normalization=st.none() | st.sampled_from(get_args(NORMALIZATION)),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3])),
    each=st.booleans(), names=st.lists(st.sampled_from(get_args(Activation)), min_size=3, max_size=3),
)  # fmt: skip
@settings(max_examples=60)
def test_its_rows_are_probabilities_whatever_its_options(
    hidden: list[int], loss: str, dropout: float, normalization: str | None, size: tuple[int, int, int], each: bool,
    names: list[str],
) -> None:  # fmt: skip
    spec = ImageSpec(*size, ("x", "y", "z"))
    activation = tuple(names[: len(hidden)]) if each else names[0]
    model = built(spec, hidden=hidden, activation=activation, loss=loss, normalization=normalization, dropout=dropout)
    pixels = np.random.default_rng(0).integers(0, 256, (6, spec.height, spec.width, spec.channels), np.uint8)
    shares = model.compute("classify", pixels)
    assert (shares.shape, shares.dtype) == ((6, 3), np.dtype(np.float32))
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    widths = [spec.height * spec.width * spec.channels, *hidden, 3]
    assert [a.shape for a in model.neurons().values()] == [(i + 1, o) for i, o in pairwise(widths)]


def test_pixels_are_shown_from_0_to_1_in_reading_order() -> None:
    colour = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3) * 10
    shown = built(ImageSpec(2, 4, 3, ("a", "b"))).inputs(colour)
    np.testing.assert_allclose(shown, [np.arange(24) / 25.5], rtol=1e-6, atol=1e-6)
    ends = built().inputs(np.array([0, 255] * 6, np.uint8).reshape(1, 3, 4, 1))
    assert (ends.min(), ends.max(), ends.dtype) == (0, 1, np.dtype(np.float32))


@pytest.mark.parametrize("level", [-300.0, -30.0, 0.0, 30.0, 300.0])
def test_probabilities_of_classes_by_themselves_are_shared_out_however_small_or_large(level: float) -> None:
    """σ(z) of each class over their sum: of logits far below 0 it is a softmax, far above 0 all are alike."""
    model = built(hidden=(), loss="binary_cross_entropy")
    model.neurons()["dense1"][:] = 0
    model.neurons()["dense1"][-1] = level + np.array([0.0, 1.0, 2.0])
    logits = np.float64(level) + np.arange(3)
    single = np.exp(np.minimum(logits, 0)) / (1 + np.exp(-np.abs(logits)))
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        shares = model.classify(PIXELS)
    np.testing.assert_allclose(shares, np.tile(single / single.sum(), (7, 1)), rtol=1e-4)


def test_many_pictures_are_classified_as_few_are_also_by_sigmoids() -> None:
    model = built(loss="binary_cross_entropy")
    many = np.tile(PIXELS, (1200, 1, 1, 1))
    np.testing.assert_allclose(model.classify(many)[-7:], model.classify(PIXELS), rtol=1e-5)


@pytest.mark.parametrize("options", [
    {}, {"loss": "mse"}, {"loss": "binary_cross_entropy"}, {"l1": 0.01, "l2": 0.1}, {"normalization": "batch"},
    {"normalization": "rms", "dropout": 0.5}, {"hidden": (4, 3), "activation": ("tanh", "silu")},
], ids=str)  # fmt: skip
def test_the_gradients_by_its_neurons_are_the_slopes_of_the_mean_loss(options: dict[str, Any]) -> None:
    model = built(**{"activation": "tanh", **options})
    for parameter in model.network.parameters:  # in float64, or no slope can be measured
        parameter.data = parameter.data.astype(np.float64)
    x, y = model.inputs(PIXELS).astype(np.float64), model.targets(LABELS).astype(np.float64)
    found = model.neuron_gradients(PIXELS, LABELS)
    draw = np.random.default_rng(0)
    for name, array in model.neurons().items():
        for _ in range(6):
            place = tuple(draw.integers(0, side) for side in array.shape)
            kept, losses = array[place], []
            for way in (1e-5, -1e-5):
                array[place] = kept + way
                losses.append(float(model.network.loss(x, y).data))
            array[place] = kept
            slope = (losses[0] - losses[1]) / 2e-5
            assert found[name][place] == pytest.approx(slope, rel=1e-3, abs=1e-5), (name, place)


def test_each_hidden_layer_has_the_activation_of_its_place() -> None:
    assert built(hidden=(4, 3), activation=("tanh", "relu")).network.activations == ["tanh", "relu", "softmax"]
    assert built(hidden=(4, 3), activation="elu").network.activations == ["elu", "elu", "softmax"]
    assert built(hidden=(), loss="binary_cross_entropy").network.activations == ["sigmoid"]


@pytest.mark.parametrize(("initializer", "mean", "deviation"), [
    ({"kind": "zero"}, 0, 0), ({"kind": "uniform", "low": 1.0, "high": 3.0}, 2, 2 / 12**0.5),
    ({"kind": "normal", "mean": -1.0, "variance": 4.0}, -1, 2), ({"kind": "he_uniform"}, 0, (2 / 300) ** 0.5),
    ({"kind": "he_normal"}, 0, (2 / 300) ** 0.5), ({"kind": "xavier_uniform"}, 0, (2 / 500) ** 0.5),
    ({"kind": "xavier_normal"}, 0, (2 / 500) ** 0.5),
], ids=str)  # fmt: skip
def test_an_initializer_of_the_recipe_makes_the_weights(
    initializer: dict[str, Any], mean: float, deviation: float
) -> None:
    neurons = built(ImageSpec(15, 20, 1, ("a", "b")), hidden=(200,), initializer=initializer).neurons()["dense1"]
    assert neurons[:-1].mean() == pytest.approx(mean, abs=0.02 * deviation + 1e-9)
    assert neurons[:-1].std() == pytest.approx(deviation, rel=0.02)
    assert not neurons[-1].any()
