"""The loop: walks steps, writes what happened, keeps checkpoints. One loop trains every family."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType, TracebackType

import numpy as np

from sanggar.data.batches import Batches
from sanggar.data.images import Images, grid, write_png
from sanggar.errors import Interrupted, TrainingError
from sanggar.files import Content, write_atomic
from sanggar.plan import Plan
from sanggar.runs import Log, Run, save_arrays
from sanggar.training import checkpoint
from sanggar.training.checkpoint import Progress
from sanggar.training.learners.base import Learner, Pending, Values

LONGEST_UNSAVED = 120.0
"""seconds after which a checkpoint is kept, however far the next validation is: what a power cut can cost"""


@dataclass(frozen=True)
class Record:
    """What one step did."""

    step: int
    """steps done, this one included"""
    steps: int
    epoch: float
    terms: Values
    """loss terms of this step, named `phase/term`, and what is watched beside them"""
    validation: Values | None = None
    """loss terms on the validation split, where this step ended an interval"""
    train: Values | None = None
    """loss terms averaged over the interval that this step ended"""
    watched: dict[str, Values] = field(default_factory=dict)
    """by split, averaged likewise: what is watched and not minimized"""
    images_per_second: float = 0.0


class StopRequest:
    """Remembers that Ctrl-C, SIGTERM or SIGHUP asked the training to stop, so that it stops between two steps."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def _ask(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._before[number])  # a second one does what it always did

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # only there can Python set handlers
            numbers = [signal.SIGINT, signal.SIGTERM]
            hangup = getattr(signal, "SIGHUP", None)  # Windows has none
            if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # which nohup asks for
                numbers.append(hangup)
            for number in numbers:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@dataclass
class Loop:
    """Steps from where `progress` stands to `steps`; iterate to make them happen.

    Only the first process has a `run` to write to. Raises TrainingError when a loss is not finite, Interrupted
    when it was asked to stop: the checkpoint of the step it reached is then saved.
    """

    plan: Plan
    learner: Learner
    batches: Batches
    validation: Images
    progress: Progress
    run: Run | None

    def __post_init__(self) -> None:
        per_epoch = self.batches.steps_per_epoch
        self.steps = self.learner.steps = self.plan.training.total_steps(per_epoch)
        self.learner.stretches(self.steps)  # refuses a length that leaves a phase no step
        self.interval = self.plan.training.validation_interval(per_epoch)
        self.checkpoint_interval = self.plan.training.checkpoint_every or self.interval

    def __iter__(self) -> Iterator[Record]:
        with StopRequest() as stop, self._logs() as logs:
            yield from self._walk(stop, logs)

    def _walk(self, stop: StopRequest, logs: _Logs) -> Iterator[Record]:
        progress, learner = self.progress, self.learner
        pending: list[Pending] = []
        begun = kept = time.perf_counter()
        while progress.step < self.steps and not progress.stopped_early:
            step = progress.step
            batches = self.batches.at(step)
            started = time.perf_counter()
            pending.append(learner.step(step, batches))
            progress.learner_seconds += time.perf_counter() - started
            progress.step += 1

            ends_interval = progress.step % self.interval == 0 or progress.step == self.steps
            keeps = progress.step % self.checkpoint_interval == 0 or progress.step == self.steps
            # several processes must settle at the same steps: a signal to one of them waits until the next
            asked = stop.signal is not None and learner.world == 1
            if not (ends_interval or keeps or asked or len(pending) >= learner.sync_every):
                continue
            records = self._settle(pending)
            logs.settled += len(records)
            pending = []
            now = time.perf_counter()
            progress.seconds, begun = progress.seconds + now - begun, now
            if ends_interval:
                records[-1] = self._end_interval(records[-1], logs)
            stopping, late = learner.any_process(stop.signal is not None, now - kept >= LONGEST_UNSAVED)
            if keeps or late or stopping or progress.stopped_early:
                self._checkpoint(logs)
                kept = now
            elif ends_interval:
                self._keep_weights()
            yield from records
            if stopping:
                raise self._interrupted(stop)
        progress.seconds += time.perf_counter() - begun  # the last validation and checkpoint

    # -- what happens at the end of steps ------------------------------------------------------------------------

    def _settle(self, pending: list[Pending]) -> list[Record]:
        """The pending steps' terms as numbers, each checked, each added to the interval's sums."""
        progress, records = self.progress, []
        first = progress.step - len(pending) + 1
        for step, terms in enumerate(self.learner.read(pending), start=first):
            wrong = [name for name, value in terms.items() if not math.isfinite(value)]
            if wrong:
                self._fail(step, wrong[0], terms[wrong[0]])
            for name, value in terms.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + value
            for phase in {name.partition("/")[0] for name in terms}:
                progress.summed[phase] = progress.summed.get(phase, 0) + 1
            progress.last = terms
            records.append(Record(step, self.steps, step / self.batches.steps_per_epoch, terms))
        return records

    def _fail(self, step: int, name: str, value: float) -> None:
        phase = name.split("/")[0]
        before = ", ".join(f"{k} {v:.6g}" for k, v in self.progress.last.items()) or "none: this was the first step"
        message = (
            f"{name} became {value} at step {step} (phase {phase}). Last finite values: {before}. The learning rate "
            "may be too high, or clip_gradient may be wanted."
        )
        if self.run is not None:
            kept = checkpoint.load(self.run)
            at = f"of step {kept[1].step} in {self.run.path}" if kept else "none was written yet"
            message += f" Last good checkpoint: {at}."
            self.run.update(status="failed", message=message)
        raise TrainingError(message)

    def _end_interval(self, record: Record, logs: _Logs) -> Record:
        """Validate, write a line of metrics, draw a preview, decide whether to stop early."""
        progress, began = self.progress, time.perf_counter()
        train = {name: total / progress.summed[name.partition("/")[0]] for name, total in progress.sums.items()}
        validation = self.learner.evaluate(self.validation)
        for name, value in validation.items():
            if not math.isfinite(value):
                self._fail(record.step, f"validation {name}", value)
        watched = {"train": self._watched_in(train), "validation": self._watched_in(validation)}
        total = sum(validation.values())
        if progress.lowest is None or total < progress.lowest:
            progress.lowest, progress.waited = total, 0
        else:
            progress.waited += 1
        patience = self.plan.training.early_stopping
        progress.stopped_early = patience is not None and progress.waited >= patience.patience
        rate = logs.rate() * self.batches.batch_size * self.batches.draws
        line = {"step": record.step, "epoch": record.epoch, "train": train, "validation": validation}
        logs.metrics({**line, "watched": watched, "network": self.learner.weight_stats()})
        logs.timing(
            {
                "step": record.step, "seconds": progress.seconds, "learner_seconds": progress.learner_seconds,
                "images_per_second": rate, "validation_seconds": time.perf_counter() - began,
            }
        )  # fmt: skip
        progress.sums, progress.summed = {}, {}
        if self.run is not None:
            self._preview(self.run, record.step)
            told = {"train": train | watched["train"], "validation": validation | watched["validation"]}
            self.learner.track({f"{split}/{k}": v for split, of in told.items() for k, v in of.items()}, record.step)
        return replace(record, validation=validation, train=train, watched=watched, images_per_second=rate)

    def _watched_in(self, values: Values) -> Values:
        """Takes what is only watched out of `values`."""
        return {name: values.pop(name) for name in sorted(self.learner.watched & values.keys())}

    def _preview(self, run: Run, step: int) -> None:
        rows = self.learner.preview(self.validation.first(8))
        if rows:
            sheet = grid(np.concatenate(rows), columns=len(rows[0]), scale=2)
            write_atomic(run.samples_folder / f"step-{step:08d}.png", write_png(sheet))

    def _checkpoint(self, logs: _Logs) -> None:
        """First the lines up to here, then the checkpoint that vouches for them."""
        arrays = self.learner.state()
        for name, array in arrays.items():  # a finite loss can have an infinite gradient
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                self._fail(self.progress.step, name, math.nan)
        self.progress.metrics_bytes, self.progress.timing_bytes = logs.flush()
        if self.run is not None:
            checkpoint.save(self.run, arrays, self.progress)
            self._keep_weights()
            self.run.update(step=self.progress.step)

    def _keep_weights(self) -> None:
        """Write the network as it is now, so that a run in training can be opened."""
        if self.run is not None:
            save_arrays(self.run.weights_file, self.learner.weights(), {"step": self.progress.step})

    def _interrupted(self, stop: StopRequest) -> Interrupted:
        name = signal.Signals(stop.signal).name if stop.signal is not None else "a signal to another process"
        place = self.run.path if self.run is not None else "RUN"
        if self.run is not None:
            self.run.update(status="stopped")
        status = 128 + (stop.signal or signal.SIGINT)
        return Interrupted(
            status,
            f"Stopped by {name} at step {self.progress.step} of {self.steps}; everything is saved. "
            f"Go on with: sanggar train --resume {place}",
        )

    @contextmanager
    def _logs(self) -> Iterator[_Logs]:
        if self.run is None:
            yield _Logs(None, None)
            return
        with (
            Log(self.run.metrics_file, self.progress.metrics_bytes) as metrics,
            Log(self.run.timing_file, self.progress.timing_bytes) as timing,
        ):
            yield _Logs(metrics, timing)


@dataclass
class _Logs:
    """The two logs of a run, or nowhere to write for a process that is not the first."""

    _metrics: Log | None
    _timing: Log | None

    def __post_init__(self) -> None:
        self._last = time.perf_counter()
        self.settled = 0
        """steps since `rate` was asked last: those of an earlier sitting took other seconds"""

    def rate(self) -> float:
        """Steps a second since this was asked last."""
        before, self._last = self._last, time.perf_counter()
        settled, self.settled = self.settled, 0
        return settled / max(self._last - before, 1e-9)

    def metrics(self, line: Content) -> None:
        if self._metrics is not None:
            self._metrics.write(line)

    def timing(self, line: Content) -> None:
        if self._timing is not None:
            self._timing.write(line)

    def flush(self) -> tuple[int, int]:
        if self._metrics is None or self._timing is None:
            return 0, 0
        return self._metrics.flush(), self._timing.flush()
