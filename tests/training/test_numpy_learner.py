"""The NumPy learner: each option of training against what is computed by hand, or by PyTorch on the same weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sanggar
from conftest import Cli
from sanggar.data.batches import Batches
from sanggar.data.images import Images, ImageSpec
from sanggar.data.sources import SOURCES, DataOptions, Dataset
from sanggar.errors import DataError, RecipeError
from sanggar.models.optimizers import OptimizerOptions
from sanggar.plan import TrainingOptions, build, resolve
from sanggar.recipe import Recipe
from sanggar.runs import Arrays, Run, load_arrays
from sanggar.training.learners.numpy import NumpyLearner
from sanggar.training.loop import Record
from typed import there

SOURCE = SOURCES["digits"]
SPEC = SOURCE.spec_for(DataOptions(source="digits"))
BATCH = 40
STEPS = 12
LOSS, ACCURACY, PENALTY = "ffnn/categorical_cross_entropy", "ffnn/accuracy", "ffnn/penalty"
SGD = {"kind": "sgd", "learning_rate": 0.1}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return SOURCE.load(DataOptions(source="digits", validation=700))


def recipe(model: dict[str, Any], **training: Any) -> dict[str, Any]:
    chosen = {"batch_size": BATCH, **training}
    if "epochs" not in chosen:
        chosen.setdefault("steps", STEPS)
    return {
        "name": "t", "data": {"source": "digits", "validation": 237}, "training": chosen,
        "model": {"family": "ffnn", "hidden": [9], **model},
    }  # fmt: skip


def made(model: dict[str, Any] | None = None, **training: Any) -> NumpyLearner:
    learner = NumpyLearner(resolve(Recipe(**recipe(model or {}, **training))), SPEC)
    learner.steps = STEPS
    return learner


def batch(digits: Dataset, step: int) -> Images:
    return Batches(digits.train, BATCH, 0).at(step)[0]


def now(learner: NumpyLearner) -> Arrays:
    """The weights that are trained, copied."""
    return {name: array.copy() for name, array in learner.network.arrays().items()}


def change(learner: NumpyLearner, step: int, images: Images) -> Arrays:
    """What a step does to the weights."""
    before = now(learner)
    learner.step(step, [images])
    return {name: array - before[name] for name, array in now(learner).items()}


def length(arrays: Arrays) -> float:
    return math.sqrt(sum(float((array.astype(np.float64) ** 2).sum()) for array in arrays.values()))


def close(found: Arrays, expected: Arrays, rtol: float = 1e-4, atol: float = 1e-6) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=rtol, atol=atol, err_msg=name)


# -- the optimizers of a recipe: the same as PyTorch's ---------------------------------------------------------------

OPTIMIZERS: list[dict[str, Any]] = [
    {"kind": "adam", "learning_rate": 0.01},
    {"kind": "adam", "learning_rate": 0.01, "betas": [0.5, 0.9]},
    {"kind": "adamw", "learning_rate": 0.01, "weight_decay": 0.5},
    {"kind": "sgd", "learning_rate": 0.3},
    {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.8},
    {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.8, "nesterov": True},
    {"kind": "rmsprop", "learning_rate": 0.003, "smoothing": 0.9},
    {"kind": "rmsprop", "learning_rate": 0.003, "momentum": 0.5},
]


def test_every_optimizer_that_a_recipe_can_name_is_compared() -> None:
    classes = get_args(get_args(OptimizerOptions)[0])
    kinds = {kind for options in classes for kind in get_args(options.model_fields["kind"].annotation)}
    assert {options["kind"] for options in OPTIMIZERS} == kinds


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("options", OPTIMIZERS, ids=lambda o: " ".join(map(str, o.values())))
def test_an_optimizer_steps_as_pytorchs_does(options: dict[str, Any], clip: float | None, digits: Dataset) -> None:
    schedule = {"kind": "cosine", "warmup_steps": 3, "final": 0.1}
    learner = made(optimizer=options, schedule=schedule, clip_gradient=clip)
    layers = nn.Linear(64, 9), nn.Linear(9, 10)
    twin = nn.Sequential(layers[0], nn.ReLU(), layers[1])
    with torch.no_grad():
        for layer, neurons in zip(layers, learner.network.weights.values(), strict=True):
            layer.weight.copy_(torch.from_numpy(neurons[:-1].T))
            layer.bias.copy_(torch.from_numpy(neurons[-1]))
    chosen = TrainingOptions(steps=STEPS, optimizer=options, schedule=schedule)
    theirs = chosen.optimizer.build(list(twin.parameters()), torch.device("cpu"))
    for step in range(STEPS):
        images = batch(digits, step)
        terms = learner.step(step, [images])
        for group in theirs.param_groups:
            group["lr"] = options["learning_rate"] * chosen.schedule.factor(step, STEPS)
        theirs.zero_grad()
        logits = twin(torch.from_numpy(images.pixels.reshape(BATCH, -1) / np.float32(255)))
        loss = F.cross_entropy(logits, torch.from_numpy(images.labels))
        torch.autograd.backward(loss)
        if clip is not None:
            assert nn.utils.clip_grad_norm_(twin.parameters(), clip) > clip
        theirs.step()
        assert terms[LOSS] == pytest.approx(loss.item(), rel=1e-3)
        assert terms[ACCURACY] == pytest.approx(np.mean(logits.argmax(dim=1).numpy() == images.labels), abs=1.5 / BATCH)
    for layer, neurons in zip(layers, learner.network.weights.values(), strict=True):
        np.testing.assert_allclose(neurons[:-1], layer.weight.detach().T, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(neurons[-1], layer.bias.detach(), rtol=2e-3, atol=2e-4)


# -- options of training, by hand ------------------------------------------------------------------------------------


def test_the_average_is_what_is_measured_and_saved(digits: Dataset) -> None:
    model = {"normalization": "layer"}
    learner, plain = made(model, ema=0.2, optimizer=SGD), made(model, optimizer=SGD)
    average: Arrays = {}
    for step in range(4):
        learner.step(step, [batch(digits, step)])
        plain.step(step, [batch(digits, step)])
        d = min(0.2, (1 + step) / (10 + step))  # the decay rises to the one asked for
        average = (
            {n: d * average[n] + (1 - d) * array for n, array in now(learner).items()} if average else now(learner)
        )
    close(now(learner), now(plain), rtol=0, atol=0)
    close(learner.weights(), average)
    close({n.removeprefix("average."): a for n, a in learner.state().items() if n.startswith("average.")}, average)
    assert length({n: average[n] - array for n, array in now(learner).items()}) > 0.01
    measured = made(model).model
    measured.load({n: array.astype(np.float32) for n, array in average.items()})
    images = digits.validation
    loss, accuracy = measured.network.evaluate(measured.inputs(images.pixels), there(images.labels))
    found = learner.evaluate(images)
    assert found == {LOSS: pytest.approx(loss, rel=1e-4), ACCURACY: pytest.approx(accuracy, abs=1.5 / 700)}
    assert plain.evaluate(images)[LOSS] != pytest.approx(loss, rel=1e-4)


def test_the_file_of_weights_holds_the_average(tmp_path: Path) -> None:
    run = sanggar.train(recipe({}, ema=0.9), out=tmp_path / "run", watch=lambda record: None)
    saved, kept = load_arrays(run.weights_file)[0], load_arrays(run.checkpoint_file)[0]
    for name, array in saved.items():
        np.testing.assert_array_equal(array, kept[f"average.{name}"])
        assert (array != kept[f"model.{name}"]).any()


@pytest.mark.parametrize("longest", [0.02, 0.3, 50.0])
def test_a_gradient_is_shortened_to_the_length_asked_for(longest: float, digits: Dataset) -> None:
    free, clipped = (made(optimizer=SGD, clip_gradient=clip) for clip in (None, longest))
    whole, short = (change(learner, 0, batch(digits, 0)) for learner in (free, clipped))
    gradient = length(whole) / 0.1
    assert 0.3 < gradient < 50
    assert length(short) / 0.1 == pytest.approx(min(gradient, longest), rel=1e-3)
    close(short, {name: array * min(1.0, longest / gradient) for name, array in whole.items()})


@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.0), (0.0, 0.2), (0.01, 0.2)])
def test_a_penalty_is_a_term_of_its_own_and_pulls_at_the_weights_alone(l1: float, l2: float, digits: Dataset) -> None:
    plain, punished = made(optimizer=SGD), made({"l1": l1, "l2": l2}, optimizer=SGD)
    weights = [neurons[:-1].astype(np.float64) for neurons in plain.network.weights.values()]
    expected = sum(l1 * np.abs(w).sum() + l2 * (w**2).sum() / 2 for w in weights)
    assert punished.evaluate(digits.validation)[PENALTY] == pytest.approx(expected, rel=1e-5)
    assert PENALTY not in plain.evaluate(digits.validation)
    images = batch(digits, 0)
    free, pulled = change(plain, 0, images), change(punished, 0, images)
    for (name, array), w in zip(pulled.items(), weights, strict=True):
        np.testing.assert_allclose((free[name] - array)[:-1] / 0.1, l1 * np.sign(w) + l2 * w, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(array[-1], free[name][-1], atol=1e-7, err_msg="a bias costs nothing")
    terms = [learner.step(1, [images]) for learner in (plain, punished)]
    assert [list(line) for line in terms] == [[LOSS, ACCURACY], [LOSS, PENALTY, ACCURACY]]


def test_a_penalty_is_part_of_what_is_validated(tmp_path: Path) -> None:
    run = sanggar.train(recipe({"l2": 0.1}), out=tmp_path / "run", watch=lambda record: None)
    assert all(set(line["validation"]) == set(line["train"]) == {LOSS, PENALTY} for line in run.metrics())


def test_the_schedule_scales_each_step(digits: Dataset) -> None:
    cosine = {"kind": "cosine", "warmup_steps": 3, "final": 0.1}
    falling, steady = made(optimizer=SGD, schedule=cosine), made(optimizer=SGD)
    factors = [1 / 4, 2 / 4, 3 / 4, *(0.1 + 0.9 * (1 + math.cos(math.pi * way / 9)) / 2 for way in range(9))]
    for step, factor in enumerate(factors):
        steady.load_state({name: array.copy() for name, array in falling.state().items()})
        whole, part = (change(learner, step, batch(digits, step)) for learner in (steady, falling))
        assert length(part) / length(whole) == pytest.approx(factor, rel=1e-3)


def test_dropout_is_drawn_by_the_step_and_never_while_measuring(digits: Dataset) -> None:
    dropping = {"dropout": 0.5}
    one = made(dropping, optimizer=SGD)
    begin = {name: array.copy() for name, array in one.state().items()}
    images, losses = batch(digits, 0), []
    for step in (0, 1, 2, 0):
        one.load_state(begin)
        losses.append(one.step(step, [images])[LOSS])
    assert losses[3] == losses[0]
    assert len(set(losses)) == 3
    other_seed = made(dropping, optimizer=SGD, seed=1)
    other_seed.load_state(begin)
    assert other_seed.step(0, [images])[LOSS] not in losses
    one.load_state(begin)
    plain = made(optimizer=SGD)
    assert one.evaluate(digits.validation) == plain.evaluate(digits.validation)
    assert plain.step(0, [images])[LOSS] not in losses


def test_a_resumed_run_drops_what_it_would_have_dropped(digits: Dataset) -> None:
    model = {"dropout": 0.5, "normalization": "batch"}
    through, resumed = made(model, ema=0.9), made(model, ema=0.9)
    for step in range(6):
        through.step(step, [batch(digits, step)])
        if step == 2:
            kept = {name: array.copy() for name, array in through.state().items()}
    resumed.load_state(kept)
    for step in range(3, 6):
        resumed.step(step, [batch(digits, step)])
    assert all(resumed.state()[name].tobytes() == array.tobytes() for name, array in through.state().items())


def test_a_split_is_measured_whole_however_it_is_cut(digits: Dataset) -> None:
    learner, images = made({"normalization": "batch", "l2": 0.01}), digits.validation
    learner.step(0, [batch(digits, 0)])
    parts = [learner.evaluate(part) for part in images.chunks(150)]
    sizes = [len(part) for part in images.chunks(150)]
    whole = learner.evaluate(images)  # 500 and 200
    for name, value in whole.items():
        assert np.average([part[name] for part in parts], weights=sizes) == pytest.approx(value, rel=1e-5)


def test_vitals_are_quantiles_of_weights_and_gradients_by_layer(digits: Dataset) -> None:
    learner = made({"hidden": [9, 7]}, optimizer=SGD)
    moved = {name.split(".")[0]: array / -0.1 for name, array in change(learner, 0, batch(digits, 0)).items()}
    weight_stats = learner.weight_stats()
    assert list(weight_stats) == [f"{of}/dense{i}" for of in ("weights", "gradients") for i in (1, 2, 3)]
    for layer, weights in learner.network.weights.items():
        expected = np.percentile(weights, (5, 25, 50, 75, 95))
        np.testing.assert_allclose(weight_stats[f"weights/{layer}"], expected, rtol=1e-5)
        expected = np.percentile(moved[layer], (5, 25, 50, 75, 95))
        np.testing.assert_allclose(weight_stats[f"gradients/{layer}"], expected, rtol=1e-3, atol=1e-5)


# -- whole trainings -------------------------------------------------------------------------------------------------


def trained(out: Path, model: dict[str, Any] | None = None, **training: Any) -> tuple[Run, list[Record]]:
    records: list[Record] = []
    run = sanggar.train(recipe(model or {}, **training), out=out, watch=records.append)
    return run, records


def test_accuracy_is_watched_and_the_network_looked_at(tmp_path: Path) -> None:
    run, records = trained(tmp_path / "run", validate_every=4)
    lines = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12]
    for first, line in zip((0, 4, 8), lines, strict=True):
        steps = records[first : line["step"]]
        assert line["train"] == {LOSS: pytest.approx(np.mean([r.terms[LOSS] for r in steps]))}
        assert line["watched"]["train"] == {ACCURACY: pytest.approx(np.mean([r.terms[ACCURACY] for r in steps]))}
        assert list(line["validation"]) == [LOSS]
        assert list(line["watched"]["validation"]) == [ACCURACY]
        assert {name: len(values) for name, values in line["network"].items()} == dict.fromkeys(
            ("weights/dense1", "weights/dense2", "gradients/dense1", "gradients/dense2"), 5
        )
    model = sanggar.open(run)
    data = SOURCE.load(model.plan.data).validation
    hits = model.classify(data.pixels).argmax(axis=1) == data.labels
    assert lines[-1]["watched"]["validation"][ACCURACY] == pytest.approx(hits.mean())


def test_training_stops_once_patience_is_spent_and_accuracy_is_no_reason_to_go_on(tmp_path: Path) -> None:
    frozen = {"kind": "sgd", "learning_rate": 1e-30}
    patience = {"patience": 3}
    run, records = trained(tmp_path / "run", steps=60, validate_every=5, early_stopping=patience, optimizer=frozen)
    assert records[-1].step == 20
    assert (run.status, run.info["step"], run.info["stopped_early"]) == ("finished", 20, True)
    assert sanggar.resume(run).info["step"] == 20


def test_a_tracker_gets_the_losses_and_what_is_watched(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = trained(tmp_path / "run", validate_every=4, tracker="tensorboard")
    (file,) = run.path.rglob("events.out.tfevents*")
    events = EventAccumulator(str(file)).Reload()
    assert set(events.Tags()["scalars"]) == {
        f"{split}/{name}" for split in ("train", "validation") for name in (LOSS, ACCURACY)
    }
    for split in ("train", "validation"):
        told = [(event.step, event.value) for event in events.Scalars(f"{split}/{LOSS}")]
        watched = [event.value for event in events.Scalars(f"{split}/{ACCURACY}")]
        assert told == [(line["step"], pytest.approx(line[split][LOSS], rel=1e-6)) for line in run.metrics()]
        assert watched == pytest.approx([line["watched"][split][ACCURACY] for line in run.metrics()], rel=1e-6)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    model = {"dropout": 0.2, "normalization": "batch"}
    one, same, other = (trained(tmp_path / name, model, seed=seed)[0] for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert one.metrics_file.read_bytes() == same.metrics_file.read_bytes() != other.metrics_file.read_bytes()
    weights = [load_arrays(run.weights_file)[0] for run in (one, same, other)]
    assert all(weights[0][name].tobytes() == weights[1][name].tobytes() for name in weights[0])
    assert not np.allclose(weights[0]["dense1.neurons"], weights[2]["dense1.neurons"])


@pytest.mark.parametrize("loss", ["mse", "binary_cross_entropy", "categorical_cross_entropy"])
@pytest.mark.parametrize("normalization", [None, "rms", "layer", "batch"])
def test_it_learns_with_every_loss_and_normalization(loss: str, normalization: str | None, tmp_path: Path) -> None:
    model = {"loss": loss, "normalization": normalization, "hidden": [24], "dropout": 0.1}
    optimizer = {"kind": "adam", "learning_rate": 0.01}
    run, records = trained(tmp_path / "run", model, steps=120, optimizer=optimizer)
    assert list(run.metrics()[-1]["train"]) == [f"ffnn/{loss}"]
    assert records[-1].watched["validation"][ACCURACY] > 0.8


# -- what it cannot do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("override", "says"), [
    ("training.device=cuda", "training.device: ffnn computes with NumPy on the processor, not on cuda"),
    ("training.device=mps", "training.device: ffnn computes with NumPy on the processor, not on mps"),
    ("training.precision=bf16", "training.precision: ffnn computes with NumPy in fp32"),
    ("training.compile=true", "training.compile: "),
    ("training.augmentation.flip=true", "training.augmentation: ffnn computes with NumPy"),
    ("model.normalization=batch training.batch_size=1", "training.batch_size: "),
    ("WORLD_SIZE=2", "ffnn trains in one process"),
])  # fmt: skip
def test_what_numpy_cannot_do_is_refused_in_one_line_before_anything_is_written(
    override: str, says: str, run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = override.split()
    if override == "WORLD_SIZE=2":
        monkeypatch.setenv("WORLD_SIZE", "2")
        overrides = []
    status, out, err = run_cli("train", "digits-ffnn", *overrides, "--out", tmp_path / "run")
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("sanggar: ")
    assert says in line
    assert not (tmp_path / "run").exists()
    with pytest.raises(RecipeError):
        sanggar.train("digits-ffnn", overrides, out=tmp_path / "run")


@pytest.mark.parametrize("override", ["device=auto", "device=cpu", "precision=auto", "precision=fp32", "compile=false"])
def test_what_comes_to_the_processor_and_fp32_is_taken(override: str) -> None:
    key, value = override.split("=")
    said = made(None, **{key: value}).describe()["device"]
    assert (said["kind"], said["precision"]) == ("cpu", "fp32")


def test_pictures_without_classes_are_no_task_for_it() -> None:
    plan = resolve(Recipe(**recipe({})))
    with pytest.raises(DataError, match="these pictures have none"):
        build(plan, ImageSpec(8, 8, 1), 0)


@pytest.mark.parametrize("setting", [{}, {"clip_gradient": 1.0}, {"ema": 0.9}])
def test_a_step_on_what_is_not_finite_changes_nothing(setting: dict[str, Any], digits: Dataset) -> None:
    learner = made(optimizer=SGD, **setting)
    learner.step(0, [batch(digits, 0)])
    learner.network.parameters[0].data[:] = np.inf
    before = {name: array.copy() for name, array in learner.state().items()}
    with np.errstate(all="raise"):  # and says nothing on the way: the loop will
        terms = learner.step(1, [batch(digits, 1)])
        measured = made(optimizer=SGD)
        measured.network.load_arrays({k.removeprefix("model."): a for k, a in before.items() if k.startswith("model.")})
        assert not math.isfinite(measured.evaluate(digits.validation)[LOSS])
    assert not math.isfinite(terms[LOSS])
    assert all(learner.state()[name].tobytes() == array.tobytes() for name, array in before.items())
