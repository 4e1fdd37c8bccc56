"""What the loop may expect of every family's learner: a step, a look, a state to go on from bit for bit."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import SLIM, quick_first
from sanggar.data.batches import Batches
from sanggar.data.images import Images
from sanggar.data.sources import SOURCES, DataOptions, Dataset
from sanggar.errors import RunError
from sanggar.plan import FAMILIES, Plan, build, resolve
from sanggar.recipe import Recipe
from sanggar.runs import Arrays, load_arrays, save_arrays
from sanggar.training.learners.base import Layer, Learner, Values
from sanggar.training.start import learner_of

SOURCE = SOURCES["digits"]
SPEC = SOURCE.spec_for(DataOptions(source="digits"))
BATCH = 24
PLAIN: dict[str, Any] = {}
RICH: dict[str, Any] = {
    "optimizer": {"kind": "adamw", "learning_rate": 0.003}, "schedule": {"kind": "cosine", "warmup_steps": 2},
    "clip_gradient": 1.0, "ema": 0.8,
}  # fmt: skip

pytestmark = pytest.mark.parametrize("name", FAMILIES)
PLAIN_AND_RICH = pytest.mark.parametrize("training", quick_first([RICH, PLAIN]), ids=["rich", "plain"])


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return SOURCE.load(DataOptions(source="digits", validation=700))


def planned(name: str, **training: Any) -> Plan:
    chosen = {"steps": 20, "batch_size": BATCH, "device": "cpu", "precision": "fp32", **training}
    model = {"family": name, **SLIM.get(name, {})}
    return resolve(Recipe("t", data={"source": "digits"}, model=model, training=chosen))


def made(name: str, **training: Any) -> Learner:
    learner = learner_of(planned(name, **training), SPEC)
    learner.steps = 20
    return learner


def batches(learner: Learner, digits: Dataset, step: int) -> list[Images]:
    return Batches(digits.train, BATCH, 0, learner.draws).at(step)


def walked(learner: Learner, digits: Dataset, first: int, last: int) -> list[Values]:
    """The terms of the steps from `first` to before `last`."""
    return [learner.read([learner.step(step, batches(learner, digits, step))])[0] for step in range(first, last)]


def frozen(learner: Learner) -> Arrays:
    """All that a learner is, as it is now: a state may be the very arrays that the next step changes."""
    kept = {"state": learner.state(), "weights": learner.weights()}
    return {f"{of} {name}": array.copy() for of, arrays in kept.items() for name, array in arrays.items()}


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(
        (one[name].dtype, one[name].tobytes()) == (other[name].dtype, other[name].tobytes()) for name in one
    )


# -- steps -------------------------------------------------------------------------------------------------------


@PLAIN_AND_RICH
def test_its_steps_give_finite_terms_of_the_same_names(name: str, training: dict[str, Any], digits: Dataset) -> None:
    learner = made(name, **training)
    before = frozen(learner)
    terms = learner.read([learner.step(step, batches(learner, digits, step)) for step in range(4)])
    assert len(terms) == 4, "read one by one or many at once"
    assert {tuple(line) for line in terms} == {tuple(terms[0])}
    assert len(terms[0]) > len(learner.watched), "something is minimized"
    for line in terms:
        assert all(re.fullmatch(r"[^/]+/[^/]+", key) for key in line), "phase/term"
        assert all(type(value) is float and math.isfinite(value) for value in line.values())
    assert not same(frozen(learner), before)


@pytest.mark.slow
@PLAIN_AND_RICH
def test_what_it_minimizes_falls(name: str, training: dict[str, Any], digits: Dataset) -> None:
    learner = made(name, **training)
    before = learner.evaluate(digits.validation)
    walked(learner, digits, 0, 20)
    after = learner.evaluate(digits.validation)
    minimized = before.keys() - learner.watched
    if len(learner.phases()) == 1:
        assert any(after[key] < before[key] for key in minimized)
    else:  # of those who play against each other, neither loss need fall
        assert all(after[key] != before[key] for key in minimized)


def test_what_it_watches_is_among_its_terms(name: str, digits: Dataset) -> None:
    learner = made(name)
    (terms,) = walked(learner, digits, 0, 1)
    assert learner.watched < terms.keys()
    assert learner.evaluate(digits.validation).keys() == terms.keys()


def test_what_it_draws_is_addressed_and_its_pictures_stay_as_they_are(name: str, digits: Dataset) -> None:
    one, other, third = made(name), made(name), made(name, seed=1)
    shown = batches(one, digits, 0)
    pixels = [images.pixels.copy() for images in shown]
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = one.read([one.step(0, shown)])
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert walked(other, digits, 0, 1) == first
    assert same(frozen(one), frozen(other))
    assert walked(third, digits, 0, 1) != first
    for images, before in zip(shown, pixels, strict=True):
        np.testing.assert_array_equal(images.pixels, before)


# -- looking at the network --------------------------------------------------------------------------------------


@pytest.mark.slow
@PLAIN_AND_RICH
def test_to_evaluate_is_the_same_twice_and_changes_nothing(
    name: str, training: dict[str, Any], digits: Dataset
) -> None:
    learner, undisturbed = made(name, **training), made(name, **training)
    assert walked(learner, digits, 0, 3) == walked(undisturbed, digits, 0, 3)
    before, weight_stats = frozen(learner), learner.weight_stats()
    first = learner.evaluate(digits.validation)
    assert all(math.isfinite(value) for value in first.values())
    assert learner.evaluate(digits.validation) == first
    assert learner.evaluate(digits.validation.first(BATCH)) != first
    assert learner.evaluate(digits.validation) == first, "whatever was looked at in between"
    assert same(frozen(learner), before)
    assert learner.weight_stats() == weight_stats
    assert walked(learner, digits, 3, 5) == walked(undisturbed, digits, 3, 5)
    assert same(frozen(learner), frozen(undisturbed))


def test_its_preview_is_rows_of_pictures_and_changes_nothing(name: str, digits: Dataset) -> None:
    learner, shown = made(name), digits.validation.first(5)
    walked(learner, digits, 0, 1)
    before = frozen(learner)
    rows = learner.preview(shown)
    assert isinstance(rows, list)
    assert len({len(row) for row in rows}) <= 1
    for row in rows:
        assert (row.dtype, row.shape[1:]) == (np.dtype(np.uint8), shown.pixels.shape[1:])
    assert [row.tobytes() for row in learner.preview(shown)] == [row.tobytes() for row in rows]
    assert same(frozen(learner), before)


def test_its_vitals_are_a_few_finite_numbers_each_and_the_same_ones_each_time(name: str, digits: Dataset) -> None:
    learner = made(name)
    seen = [learner.weight_stats()]
    for step in range(2):
        walked(learner, digits, step, step + 1)
        seen.append(learner.weight_stats())
    for line in seen:
        assert {key: len(values) for key, values in line.items()} == {key: len(v) for key, v in seen[0].items()}
        assert all(math.isfinite(value) for values in line.values() for value in values)
        assert json.loads(json.dumps(line)) == line
    assert not seen[0] or seen[1] != seen[2]


# -- state -------------------------------------------------------------------------------------------------------


@PLAIN_AND_RICH
@pytest.mark.parametrize("done", [0, 3])
def test_a_fresh_learner_goes_on_from_a_state_bit_for_bit(
    name: str, training: dict[str, Any], done: int, digits: Dataset, tmp_path: Path
) -> None:
    one, other = made(name, **training), made(name, **training)
    walked(one, digits, 0, done)
    save_arrays(tmp_path / "state", one.state())
    read = load_arrays(tmp_path / "state")[0]
    other.load_state(read)
    assert same(frozen(other), frozen(one))
    assert other.evaluate(digits.validation) == one.evaluate(digits.validation)
    assert walked(other, digits, done, done + 3) == walked(one, digits, done, done + 3)
    assert same(frozen(other), frozen(one))
    assert other.weight_stats() == one.weight_stats()
    assert same(read, load_arrays(tmp_path / "state")[0]), "what was read is not what training writes into"


@PLAIN_AND_RICH
def test_a_state_of_another_network_is_refused(name: str, training: dict[str, Any], digits: Dataset) -> None:
    learner = made(name, **training)
    walked(learner, digits, 0, 1)
    state = {key: array.copy() for key, array in learner.state().items()}
    first = next(key for key, array in state.items() if key.startswith("model.") and array.ndim)
    for wrong in ({}, {**state, first: state[first][:-1]}, {**state, f"{first}.more": state[first]}):
        with pytest.raises(RunError, match="The checkpoint does not fit this recipe's network"):
            made(name, **training).load_state(wrong)


@PLAIN_AND_RICH
def test_its_weights_are_those_of_a_model_that_can_be_loaded(
    name: str, training: dict[str, Any], digits: Dataset, tmp_path: Path
) -> None:
    learner = made(name, **training)
    walked(learner, digits, 0, 3)
    save_arrays(tmp_path / "weights", learner.weights())
    model = build(planned(name, **training), SPEC, 9)
    model.load(load_arrays(tmp_path / "weights")[0])
    now = {key.removeprefix("model."): array for key, array in learner.state().items() if key.startswith("model.")}
    begun = made(name, **training).weights()
    assert set(learner.weights()) == set(now) == set(begun)
    assert not same(learner.weights(), begun)
    assert same(learner.weights(), now) != ("ema" in training), "the average, where there is one"


# -- the rest ----------------------------------------------------------------------------------------------------


def test_its_layers_are_told_apart_and_hold_all_that_its_phases_train(name: str, digits: Dataset) -> None:
    learner = made(name)
    phases, layers = learner.phases(), learner.layers(batches(learner, digits, 0)[0])
    assert all(isinstance(layer, Layer) for layer in layers)
    assert len({layer.name for layer in layers}) == len(layers) > 1
    for layer in layers:
        assert layer.kind
        assert layer.shape
        assert layer.output_bytes in [n * 4 * BATCH * math.prod(layer.shape) for n in (1, 2)], layer
    counted = [int(count.replace(",", "")) for line in phases for count in re.findall(r"([\d,]+) parameters", line)]
    assert len(counted) == len(phases) > 0
    assert sum(layer.parameters for layer in layers) == sum(counted)
    assert all("adam" in line and "0.001" in line for line in phases)


def test_it_says_what_it_computes_on(name: str) -> None:
    said = made(name).describe()
    assert set(said) == {"device", "versions", "platform"}
    assert {"kind", "name", "threads", "processes", "precision"} <= set(said["device"])
    assert (said["device"]["kind"], said["device"]["precision"], said["device"]["processes"]) == ("cpu", "fp32", 1)
    assert said["device"]["threads"] >= 1
    assert {"python", "numpy"} <= set(said["versions"])
    assert json.loads(json.dumps(said)) == said


def test_it_is_alone_and_agrees_with_itself(name: str) -> None:
    learner = made(name)
    assert isinstance(learner, Learner)
    assert (learner.rank, learner.world) == (0, 1)
    assert min(learner.draws, learner.sync_every) >= 1
    assert learner.any_process(True, False) == [True, False]
    learner.track({"train/x": 1.0}, 1)
    learner.wait()
    learner.close()
