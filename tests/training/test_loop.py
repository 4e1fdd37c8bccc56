"""What one loop does with any family: families of the test's own, small enough to be followed by hand."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sanggar
from sanggar.data.images import ImageSpec
from sanggar.data.sources import SOURCES, DataOptions
from sanggar.errors import TrainingError
from sanggar.models.base import Batch, Model, Phase, StepContext, Terms
from sanggar.models.losses import pixel_loss
from sanggar.models.noise import NoiseOptions, disturb
from sanggar.models.optimizers import SGD
from sanggar.options import Options
from sanggar.plan import resolve
from sanggar.recipe import Recipe
from sanggar.runs import Arrays, Run, load_arrays
from sanggar.training import checkpoint, loop
from sanggar.training.checkpoint import Progress
from sanggar.training.learners.torch import TorchLearner
from sanggar.training.loop import Record
from typed import about


class NoOptions(Options):
    """A family without choices."""


class Line(Model):
    """Pictures of 64 pixels through one linear layer."""

    Options = NoOptions

    def __init__(self, options: NoOptions, spec: ImageSpec) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def phases(self) -> list[Phase]:
        return [Phase("line", list(self.parameters()), self.loss)]

    def loss(self, batch: Batch, moment: StepContext) -> Terms:
        flat = batch.images.flatten(1)
        return {"mse": F.mse_loss(self.layer(flat).float(), flat)}


class Clock(Model):
    """One number whose gradient is always 1: with plain SGD it falls by the learning rate each step."""

    Options = NoOptions

    def __init__(self, options: NoOptions, spec: ImageSpec) -> None:
        super().__init__()
        self.time = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def phases(self) -> list[Phase]:
        return [Phase("clock", list(self.parameters()), lambda batch, moment: {"time": self.time.sum()})]


class Pair(Model):
    """A critic that steps five times while its generator steps once; `log` notes what each of them sees."""

    Options = NoOptions
    log: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, options: NoOptions, spec: ImageSpec) -> None:
        super().__init__()
        self.critic, self.generator = nn.Linear(64, 1), nn.Linear(4, 64)

    def phases(self) -> list[Phase]:
        critic, generator = list(self.critic.parameters()), list(self.generator.parameters())
        return [
            Phase("critic", critic, self._critic, SGD(kind="sgd", learning_rate=0.1), batches=5, after=self._after),
            Phase("generator", generator, self._generator, after=self._after),
        ]

    def _fakes(self, batch: Batch, moment: StepContext) -> torch.Tensor:
        pictures: torch.Tensor = self.generator(moment.normal("code", (4,)))
        return pictures

    def _critic(self, batch: Batch, moment: StepContext) -> Terms:
        self._note("critic", batch, moment)
        fakes = self._fakes(batch, moment)
        return {"difference": self.critic(fakes).mean() - self.critic(batch.images.flatten(1)).mean()}

    def _generator(self, batch: Batch, moment: StepContext) -> Terms:
        self._note("generator", batch, moment)
        return {"fooled": -self.critic(self._fakes(batch, moment)).mean()}

    def _note(self, phase: str, batch: Batch, moment: StepContext) -> None:
        if moment.split == "train":
            self.log.append({"phase": phase, "moment": moment, "batch": batch.images.clone(), "before": self._now()})

    def _after(self, moment: StepContext) -> None:
        self.log[-1] |= {"after": self._now(), "after_moment": moment}

    def _now(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.state_dict().items()}


@pytest.fixture
def pair() -> Iterator[type[Pair]]:
    Pair.log.clear()
    yield Pair
    Pair.log.clear()


def recipe(**training: Any) -> dict[str, Any]:
    chosen = {"batch_size": 100, "device": "cpu", "precision": "fp32", **training}
    if "epochs" not in chosen:
        chosen.setdefault("steps", 8)
    return {"name": "own", "data": {"source": "digits", "validation": 237}, "training": chosen}


def train(
    out: Path, family: type[Model] | None = None, *, change: dict[str, Any] | None = None, **training: Any
) -> tuple[Run, list[Record]]:
    records: list[Record] = []
    run = sanggar.train({**recipe(**training), **(change or {})}, out=out, family=family, watch=records.append)
    return run, records


def weights(run: Run) -> dict[str, np.ndarray]:
    return load_arrays(run.weights_file)[0]


# -- losses that go wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_named(value: float, tmp_path: Path) -> None:
    class Breaks(Line):
        def loss(self, batch: Batch, moment: StepContext) -> Terms:
            mse = super().loss(batch, moment)["mse"]
            return {"mse": mse, "extra": mse * (value if moment.step == 5 else 1.0)}

    seen: list[Record] = []
    with pytest.raises(TrainingError) as failure:
        sanggar.train(recipe(checkpoint_every=2), out=tmp_path / "run", family=Breaks, watch=seen.append)
    words = str(failure.value)
    assert f"line/extra became {value} at step 6 (phase line)" in words
    for name, last in seen[-1].terms.items():
        assert f"{name} {last:.6g}" in words
    assert "checkpoint: of step 4 in" in words
    run = Run(tmp_path / "run")
    assert run.status == "failed"
    assert run.info["message"] == words
    arrays, meta = load_arrays(run.checkpoint_file)
    assert meta["step"] == 4
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert sanggar.resume(run, family=Line).status == "finished"


class BreaksWeights(Line):
    """Its loss is finite at the fourth step, the loss's gradient is not."""

    def loss(self, batch: Batch, moment: StepContext) -> Terms:
        mse = super().loss(batch, moment)["mse"]
        wrong = torch.sqrt((self.layer.weight * 0).sum()) if moment.step == 3 else 0.0
        return {"mse": mse + wrong}


def test_the_kept_checkpoint_is_good_when_a_gradient_went_wrong_first(tmp_path: Path) -> None:
    with pytest.raises(TrainingError):
        train(tmp_path / "run", BreaksWeights, checkpoint_every=1)
    arrays, meta = load_arrays(Run(tmp_path / "run").checkpoint_file)
    assert all(np.isfinite(array).all() for array in arrays.values()), f"step {meta['step']}"


def test_a_checkpoint_is_kept_between_validations_that_are_far_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaks(Line):
        def loss(self, batch: Batch, moment: StepContext) -> Terms:
            return {"mse": super().loss(batch, moment)["mse"] * (math.nan if moment.step == 6 else 1.0)}

    saved, clock, save = [], [0.0], checkpoint.save

    def ticking() -> float:
        clock[0] += 10.0
        return clock[0]

    def counted(run: Run, arrays: Arrays, progress: Progress) -> None:
        saved.append(progress.step)
        save(run, arrays, progress)

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=ticking))  # three looks at it, 30 s, a step
    monkeypatch.setattr(checkpoint, "save", counted)
    with pytest.raises(TrainingError, match="checkpoint: of step 4 in"):
        train(tmp_path / "run", Breaks)
    assert saved == [4], "after two minutes, and not at each step from then on"
    sanggar.resume(tmp_path / "run", family=Line)
    monkeypatch.undo()
    train(tmp_path / "whole", Line)
    one, other = weights(Run(tmp_path / "run")), weights(Run(tmp_path / "whole"))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_the_pace_is_of_this_sitting_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError):  # at the fourth step: the first three are in the checkpoint, and in the sums
        train(tmp_path / "run", BreaksWeights, steps=5, checkpoint_every=3, validate_every=8)
    clock = [0.0]

    class Slow(Line):
        """A step takes a second, and nothing else takes any."""

        def loss(self, batch: Batch, moment: StepContext) -> Terms:
            clock[0] += moment.split == "train"
            return super().loss(batch, moment)

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    (timing,) = sanggar.resume(tmp_path / "run", family=Slow).timing()
    assert (timing["step"], timing["images_per_second"]) == (5, 100)


def test_weights_broken_by_the_last_step_are_not_called_finished(tmp_path: Path) -> None:
    with pytest.raises(TrainingError):
        train(tmp_path / "run", BreaksWeights, steps=4)
    assert Run(tmp_path / "run").status == "failed"


# -- what is written ---------------------------------------------------------------------------------------------


def test_metrics_are_the_mean_of_the_steps_since_the_line_before(tmp_path: Path) -> None:
    run, records = train(tmp_path / "run", Line, steps=10, validate_every=4)
    lines = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    assert [record.step for record in records] == list(range(1, 11))
    assert [line["step"] for line in lines] == [4, 8, 10]
    for first, line in zip((0, 4, 8), lines, strict=True):
        of_interval = records[first : line["step"]]
        assert line["train"] == {"line/mse": pytest.approx(np.mean([r.terms["line/mse"] for r in of_interval]))}
        assert of_interval[-1].train == line["train"]
        assert of_interval[-1].validation == line["validation"]
        assert line["epoch"] == line["step"] / 12
        assert all(record.validation is None for record in of_interval[:-1])


def test_training_stops_once_patience_is_spent(tmp_path: Path) -> None:
    class Worsens(Line):
        def loss(self, batch: Batch, moment: StepContext) -> Terms:
            sign = 1 if moment.split == "train" else -1
            return {"mse": sign * super().loss(batch, moment)["mse"]}

    run, records = train(tmp_path / "run", Worsens, steps=60, validate_every=5, early_stopping={"patience": 3})
    assert records[-1].step == 20
    assert run.info["stopped_early"]
    assert (run.status, run.info["step"]) == ("finished", 20)
    assert sanggar.resume(run, family=Worsens, watch=records.append).info["step"] == 20
    assert records[-1].step == 20


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    model = {"family": "autoencoder", "widths": [4], "latent_size": 3, "norm": "batch"}
    runs = {
        name: train(tmp_path / name, change={"model": model}, seed=seed)[0]
        for name, seed in (("one", 3), ("same", 3), ("other", 4))
    }
    assert runs["one"].metrics_file.read_bytes() == runs["same"].metrics_file.read_bytes()
    assert runs["one"].metrics_file.read_bytes() != runs["other"].metrics_file.read_bytes()
    one, same, other = (weights(runs[name]) for name in ("one", "same", "other"))
    assert all(one[name].tobytes() == same[name].tobytes() for name in one)
    assert not np.allclose(one["encoder.convolutions.0.weight"], other["encoder.convolutions.0.weight"])


# -- phases ------------------------------------------------------------------------------------------------------


def test_each_phase_changes_its_own_parameters_and_no_others(pair: type[Pair], tmp_path: Path) -> None:
    train(tmp_path / "run", pair, batch_size=40, steps=3)
    assert [entry["phase"] for entry in pair.log] == 3 * (5 * ["critic"] + ["generator"])
    for entry in pair.log:
        before, after = entry["before"], entry["after"]
        changed = {name.split(".")[0] for name in before if (before[name] != after[name]).any()}
        assert changed == {entry["phase"]}
        assert entry["after_moment"] == entry["moment"]


def test_a_phase_of_five_batches_sees_five_fresh_ones_a_step(pair: type[Pair], tmp_path: Path) -> None:
    train(tmp_path / "run", pair, batch_size=40, epochs=1)
    critic = [entry for entry in pair.log if entry["phase"] == "critic"]
    assert [(e["moment"].step, e["moment"].draw) for e in critic] == [(s, d) for s in range(6) for d in range(5)]
    seen = torch.cat([entry["batch"] for entry in critic]).flatten(1)
    assert seen.shape == (1200, 64)
    everything = SOURCES["digits"].load(DataOptions(**recipe()["data"])).train.pixels
    shown = ((seen + 1) * 127.5).round().to(torch.uint8).numpy()
    assert sorted(map(bytes, shown)) == sorted(map(bytes, everything.reshape(1200, 64)))


def test_pictures_are_augmented_anew_each_time_and_in_training_alone(pair: type[Pair]) -> None:
    images = SOURCES["digits"].load(DataOptions(**recipe()["data"])).train.first(100)
    shown, validation = [], []
    for augmentation in (None, {"translation": 0.125}):
        pair.log.clear()
        learner = TorchLearner(
            resolve(Recipe(**recipe(augmentation=augmentation)), pair),
            SOURCES["digits"].spec_for(DataOptions(source="digits")),
        )
        validation.append(learner.evaluate(images))
        learner.step(0, [images] * 5)
        shown.append(torch.cat([entry["batch"] for entry in pair.log if entry["phase"] == "critic"]))
    assert torch.equal(pair.log[0]["batch"], pair.log[5]["batch"]), "both phases see a picture in the same way"
    assert validation[0] == validation[1]
    ways = [(shown[0][:, :, :, 1:-1] == shown[1][:, :, :, way : way + 6]).flatten(1).all(1) for way in (0, 1, 2)]
    assert [way.float().mean().item() for way in ways] == pytest.approx([1 / 9] * 3, abs=0.05), "nor up nor down"


def test_a_phase_knows_how_far_training_has_come(pair: type[Pair], tmp_path: Path) -> None:
    _, records = train(tmp_path / "run", pair, batch_size=40, epochs=2)
    assert records[-1].step == records[-1].steps == 12
    assert {entry["moment"].steps for entry in pair.log} == {12}


def test_the_terms_of_repeated_batches_are_averaged(pair: type[Pair], tmp_path: Path) -> None:
    _, (record, *_) = train(tmp_path / "run", pair, batch_size=40, steps=1)
    before = [entry for entry in pair.log if entry["phase"] == "critic"]
    terms = []
    for entry in before:
        model = pair(NoOptions(), ImageSpec(8, 8, 1))
        model.load_state_dict(entry["before"])
        fakes = model.generator(entry["moment"].normal("code", (4,)))
        terms.append((model.critic(fakes).mean() - model.critic(entry["batch"].flatten(1)).mean()).item())
    assert record.terms["critic/difference"] == pytest.approx(np.mean(terms), rel=1e-4)


class Lazy(Line):
    """Its penalty is computed at every third step only."""

    def loss(self, batch: Batch, moment: StepContext) -> Terms:
        terms = super().loss(batch, moment)
        return terms if moment.step % 3 else {**terms, "penalty": self.layer.weight.square().mean()}


def test_a_term_may_appear_at_every_third_step_only(tmp_path: Path) -> None:
    _, records = train(tmp_path / "run", Lazy, steps=7, validate_every=7)
    assert [r.step for r in records if "line/penalty" in r.terms] == [1, 4, 7]
    assert records[-1].train is not None
    expected = sum(r.terms.get("line/penalty", 0.0) for r in records) / 7
    assert records[-1].train["line/penalty"] == pytest.approx(expected)


def test_a_lazy_term_survives_being_read_a_few_steps_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, at_once = train(tmp_path / "once", Lazy, steps=7, validate_every=7)
    begin = TorchLearner.__init__

    def as_on_a_gpu(self: TorchLearner, *arguments: Any) -> None:
        begin(self, *arguments)
        self.sync_every = 20

    monkeypatch.setattr(TorchLearner, "__init__", as_on_a_gpu)
    _, later = train(tmp_path / "later", Lazy, steps=7, validate_every=7)
    assert [r.terms for r in later] == [r.terms for r in at_once]


def test_a_lazy_term_leaves_the_others_on_validation_alone(tmp_path: Path) -> None:
    two_chunks = {"data": {"source": "digits", "validation": 700}}
    plain, lazy = (train(tmp_path / f.__name__, f, change=two_chunks, steps=1)[1][-1] for f in (Line, Lazy))
    assert plain.validation is not None
    assert lazy.validation is not None
    assert lazy.validation["line/mse"] == pytest.approx(plain.validation["line/mse"], rel=0.05)


# -- what is watched and not minimized ---------------------------------------------------------------------------


class Looked(Line):
    """A line whose largest weight is watched, and a number that rises by 1000 with each step."""

    def phases(self) -> list[Phase]:
        return [Phase("line", list(self.parameters()), self.loss, watched=("largest", "steps"))]

    def loss(self, batch: Batch, moment: StepContext) -> Terms:
        largest, steps = self.layer.weight.abs().max(), torch.tensor(1000.0 * moment.step)
        return {"largest": largest, **super().loss(batch, moment), "steps": steps}


def test_what_is_watched_is_written_apart_from_the_losses(tmp_path: Path) -> None:
    run, records = train(tmp_path / "run", Looked, steps=10, validate_every=4)
    plain, _ = train(tmp_path / "plain", Line, steps=10, validate_every=4)
    for first, line, alone in zip((0, 4, 8), run.metrics(), plain.metrics(), strict=True):
        steps = records[first : line["step"]]
        assert set(steps[-1].terms) == {"line/mse", "line/largest", "line/steps"}
        for split in ("train", "validation"):
            assert line[split] == alone[split], "only the loss, and the same as without looking"
            assert set(line["watched"][split]) == {"line/largest", "line/steps"}
        assert line["watched"]["train"] == {
            name: pytest.approx(np.mean([record.terms[name] for record in steps]))
            for name in ("line/largest", "line/steps")
        }
        assert (steps[-1].train, steps[-1].validation) == (line["train"], line["validation"])
        assert steps[-1].watched == line["watched"]
        assert all(record.watched == {} for record in steps[:-1])
        assert alone["watched"] == {"train": {}, "validation": {}}


def test_what_is_watched_is_not_minimized(tmp_path: Path) -> None:
    looked, plain = (train(tmp_path / f.__name__, f, clip_gradient=0.1)[0] for f in (Looked, Line))
    for name, array in weights(plain).items():
        np.testing.assert_array_equal(weights(looked)[name], array)


def test_what_is_watched_says_nothing_of_when_to_stop(tmp_path: Path) -> None:
    class Worsens(Line):
        """Its loss on validation rises, what is watched there falls, and falls further than the loss rises."""

        def phases(self) -> list[Phase]:
            return [Phase("line", list(self.parameters()), self.loss, watched=("falls",))]

        def loss(self, batch: Batch, moment: StepContext) -> Terms:
            mse = super().loss(batch, moment)["mse"]
            return {"mse": mse if moment.split == "train" else -mse, "falls": 100 * mse}

    run, records = train(tmp_path / "run", Worsens, steps=60, validate_every=5, early_stopping={"patience": 3})
    falls = [line["watched"]["validation"]["line/falls"] for line in run.metrics()]
    assert falls == sorted(falls, reverse=True)
    assert records[-1].step == 20
    assert load_arrays(run.checkpoint_file)[1]["lowest"] == run.metrics()[0]["validation"]["line/mse"]


@pytest.mark.parametrize(("split", "step"), [("train", 6), ("validation", 8)])
def test_what_is_watched_has_to_be_finite_too(split: str, step: int, tmp_path: Path) -> None:
    class Breaks(Looked):
        def loss(self, batch: Batch, moment: StepContext) -> Terms:
            terms = super().loss(batch, moment)
            wrong = moment.split == split and (moment.step == 5 or split == "validation")
            return {**terms, "steps": terms["steps"] * math.nan} if wrong else terms

    with pytest.raises(TrainingError, match=rf"line/steps became nan at step {step}"):
        train(tmp_path / "run", Breaks)


def test_what_is_watched_is_told_as_training_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = sanggar.train(recipe(steps=8, validate_every=4), out=tmp_path / "run", family=Looked)
    lines = capsys.readouterr().err.splitlines()
    for line, said in zip(run.metrics(), lines, strict=True):
        assert f"train {line['train']['line/mse']:.4f}  validation {line['validation']['line/mse']:.4f}  " in said
        watched = line["watched"]["validation"]
        assert f"largest {watched['line/largest']:.4f}  steps {watched['line/steps']:.4f}  " in said
        assert said.endswith(" images/s")


def test_a_tracker_gets_what_is_watched(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = train(tmp_path / "run", Looked, steps=4, validate_every=2, tracker="tensorboard")
    (file,) = run.path.rglob("events.out.tfevents*")
    events = EventAccumulator(str(file)).Reload()
    for split in ("train", "validation"):
        found = [event.value for event in events.Scalars(f"{split}/line/largest")]
        assert found == pytest.approx([line["watched"][split]["line/largest"] for line in run.metrics()], rel=1e-6)


# -- options of training -----------------------------------------------------------------------------------------


def test_the_schedule_sets_the_learning_rate_of_each_step(tmp_path: Path) -> None:
    sgd = {"kind": "sgd", "learning_rate": 0.5}
    schedule = {"kind": "cosine", "warmup_steps": 3, "final": 0.1}
    _, records = train(tmp_path / "run", Clock, steps=11, optimizer=sgd, schedule=schedule)
    times = [record.terms["clock/time"] for record in records]
    rates = -np.diff(times)
    warm = [0.5 * (step + 1) / 4 for step in range(3)]
    falling = [0.5 * (0.1 + 0.9 * (1 + math.cos(math.pi * step / 8)) / 2) for step in range(7)]
    assert rates == pytest.approx([*warm, *falling], rel=1e-5)


def test_averaged_weights_are_the_ones_saved_and_measured(tmp_path: Path) -> None:
    sgd = {"kind": "sgd", "learning_rate": 0.5}
    run, records = train(tmp_path / "run", Clock, steps=4, optimizer=sgd, ema=0.8)
    average, now = -0.5, -0.5  # the average begins as the weights after the first step
    for updates in (1, 2, 3):
        now -= 0.5
        decay = (1 + updates) / (10 + updates)  # still rising to 0.8
        average = decay * average + (1 - decay) * now
    assert weights(run)["time"] == pytest.approx(average)
    assert load_arrays(run.checkpoint_file)[0]["model.time"] == pytest.approx(now)
    assert records[-1].validation == {"clock/time": about(average)}


def test_gradients_are_clipped_to_the_norm_asked_for(tmp_path: Path) -> None:
    norms: list[float] = []

    class Steep(Line):
        def phases(self) -> list[Phase]:
            return [Phase("line", list(self.parameters()), self.loss, after=self._after)]

        def loss(self, batch: Batch, moment: StepContext) -> Terms:
            return {"mse": 100 * super().loss(batch, moment)["mse"]}

        def _after(self, moment: StepContext) -> None:
            norms.append(float(torch.stack([p.grad.norm() for p in self.parameters() if p.grad is not None]).norm()))

    train(tmp_path / "free", Steep, steps=3)
    free, norms[:] = list(norms), []
    train(tmp_path / "clipped", Steep, steps=3, clip_gradient=0.25)
    assert min(free) > 1
    assert norms == pytest.approx([0.25] * 3, rel=1e-3)


class Observed(Line):
    """Notes the precision that its parts compute in."""

    seen: ClassVar[set[tuple[str, torch.dtype]]] = set()

    def loss(self, batch: Batch, moment: StepContext) -> Terms:
        noisy = disturb(batch.images, NoiseOptions(), moment)
        raw = self.layer(noisy.flatten(1))
        loss = pixel_loss("mse", raw.view_as(batch.images), batch.images)
        parts = {"images": batch.images, "draw": moment.normal("d", (2,)), "noisy": noisy, "raw": raw, "loss": loss}
        self.seen.update((name, tensor.dtype) for name, tensor in parts.items())
        return {"mse": loss}


def test_in_bf16_noise_and_losses_stay_float32_and_precision_is_chosen_anew(tmp_path: Path) -> None:
    full = {(name, torch.float32) for name in ("images", "draw", "noisy", "loss")}
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32), ("bf16", torch.bfloat16)):
        Observed.seen.clear()
        run, records = train(tmp_path / f"{len(list(tmp_path.iterdir()))}", Observed, precision=precision)
        assert Observed.seen == full | {("raw", dtype)}
        assert run.info["device"]["precision"] == precision
        assert records[-1].terms["line/mse"] < records[0].terms["line/mse"]
        assert {array.dtype for array in weights(run).values()} == {np.dtype(np.float32)}


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_learns_what_the_plain_one_learns(tmp_path: Path) -> None:
    plain, compiled = (train(tmp_path / str(c), Line, steps=3, compile=c)[0] for c in (False, True))
    assert list(weights(compiled)) == list(weights(plain))
    for name, array in weights(plain).items():
        assert weights(compiled)[name] == pytest.approx(array, abs=1e-5)


def test_a_tracker_gets_the_metrics(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = train(tmp_path / "run", Line, steps=4, validate_every=2, tracker="tensorboard")
    (file,) = run.path.rglob("events.out.tfevents*")
    events = EventAccumulator(str(file)).Reload()
    found = [event.value for event in events.Scalars("validation/line/mse")]
    assert found == pytest.approx([line["validation"]["line/mse"] for line in run.metrics()], rel=1e-6)
