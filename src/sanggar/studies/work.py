"""One training of a study, from nothing or from where it was interrupted, until it is measured.

Light to import: a process that works for a study says first how many threads it may have, and imports PyTorch then.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from sanggar.files import Tree

if TYPE_CHECKING:
    from sanggar.plan import Plan
    from sanggar.runs import Run

PACKAGES = ("sanggar", "numpy", "scipy", "scikit-learn", "torch", "pillow")
"""Whose versions have to be equal wherever a study's runs are made"""
GRACE = 30.0
"""Seconds that a worker has to stop in when its parent is gone"""
PATIENCE = 24 * 3600.0
"""Seconds that a worker waits for whoever else is at its run"""
LOSS = "loss"
"""Objective: the whole loss on validation pictures"""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """What a worker is given."""

    folder: str
    recipe: str
    """resolved, as YAML"""
    versions: Mapping[str, str]
    """that the study began with"""
    claims: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """by study and claim that this run is for, its hash: kept in the run when it begins"""
    trials: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    """by search and number of its trials that this run is, what is varied, as JSON: kept likewise"""
    objective: str | None = None
    """what is asked of validation pictures, see `is_written`; None: everything is measured on test"""
    share: float = 1.0
    """of the training, after which it pauses"""


class Paused(Exception):
    """A training came as far as it was to go for now."""


def versions() -> dict[str, str]:
    """Of Python and what numbers depend on, on this machine."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


_of_a_pool = False
"""Whether this process is one of a pool of ours"""


def alone() -> None:
    """Let this process compute on one thread, and end with its parent: before PyTorch or NumPy is imported."""
    global _of_a_pool
    _of_a_pool = True
    for name in ONE_THREAD:
        os.environ[name] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its children: they would train on, unseen, and then wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    while True:
        os.kill(os.getpid(), signal.SIGTERM)  # the first stops a training, which keeps what is done; another ends all
        time.sleep(GRACE)


def work(job: Job) -> str:
    """Train, or go on with, one run of a study, and measure it. What went wrong, or nothing."""
    if others := differing(job.versions, versions()):
        return f"this worker has {', '.join(others)}: numbers would not compare"
    import torch
    from threadpoolctl import threadpool_limits

    from sanggar.errors import Interrupted, SanggarError
    from sanggar.files import failure

    torch.set_num_threads(1)  # of a worker that somebody else started
    try:
        with threadpool_limits(1, user_api="blas"):
            _train_and_measure(job)
    except Interrupted as stop:
        if _of_a_pool:  # a pool would go on with the next job; without this process, it knows that it ends
            os._exit(stop.exit_status)
        return str(stop).splitlines()[0]
    except SanggarError as error:
        return str(error).splitlines()[0]
    except MemoryError:
        return "memory ran out"
    except OSError as error:
        return f"{error.filename or job.folder}: {failure(error)}"
    return ""


def _train_and_measure(job: Job) -> None:
    from sanggar.errors import RunError
    from sanggar.evaluation.evaluate import evaluate_on_validation
    from sanggar.locking import OWN, alone_in
    from sanggar.plain import STORED, parse
    from sanggar.rulers import evaluate, prepare
    from sanggar.runs import Run
    from sanggar.training.loop import Record
    from sanggar.training.start import resume, train

    def watch(record: Record) -> None:
        if record.validation is not None and record.step < record.steps and reached(record.step, record.steps, job):
            raise Paused

    path, recipe = Path(job.folder), parse(job.recipe, job.folder, STORED)
    with alone_in(path, PATIENCE), suppress(Paused):  # whoever else trains it may be about to be done
        if not (path / "run.json").is_file():
            for left in path.iterdir():  # by a process that was killed before it was a run
                if left.name not in OWN:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            stated = {study: {n: {"hash": h, "step": 0} for n, h in of.items()} for study, of in job.claims.items()}
            run = train(recipe, out=path, watch=watch, note={"studies": stated, "searches": job.trials})
        else:
            run = Run(path)
            if other := of_another(run, job):
                raise RunError(other)
            run.begun_for(job.claims, job.trials)
            if run.status != "finished" and not far_enough(run, job):
                run = resume(run, watch=watch)
    run = Run(path)
    if job.objective is None:
        if not measured(run):
            evaluate(run)
    elif value_of(run, job) is None:
        if is_written(job.objective):
            known = ", ".join(_terms(run.metrics()[-1]))
            raise RunError(f"training writes down no {job.objective} of validation pictures; it has: {known}")
        prepare(run)
        evaluate_on_validation(run, job.objective)


def done(job: Job) -> bool:
    """Whether there is nothing left to do; a run that is done learns what it is for."""
    from sanggar.errors import SanggarError
    from sanggar.runs import Run

    try:
        run = Run(Path(job.folder))
        if of_another(run, job) or (run.status != "finished" and (job.share == 1 or not far_enough(run, job))):
            return False
        if not measured(run) if job.objective is None else value_of(run, job) is None:
            return False
        run.begun_for(job.claims, job.trials)
    except SanggarError:  # missing, damaged, or in use: a worker sees to it
        return False
    return True


def of_another(run: Run, job: Job) -> str:
    """Why the run in a job's folder is not the job's: of another recipe, or by other versions; nothing where it is."""
    from sanggar import recipe
    from sanggar.plan import differing as keys_of
    from sanggar.plan import resolve
    from sanggar.trained import plan_of

    apart = ""
    if run.recipe_text() != job.recipe:
        found, wanted = plan_of(run), resolve(recipe.read_stored(job.recipe, job.folder))
        if found.identity("") != wanted.identity(""):
            keys = [key for key in keys_of(found, wanted) if "." in key]
            apart = f"of another recipe ({', '.join(keys)})"
    made = {"sanggar": run.info.get("package", "none"), **run.info.get("versions", {})}
    if not apart and (others := differing(job.versions, made)):
        apart = f"by other versions ({', '.join(others)}), so that numbers would not compare"
    return f"{run.path} holds a run {apart}: move it away, and it is made anew" if apart else ""


def differing(wanted: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Versions that differ, of what both tell of."""
    return [
        f"{name} {there[name]} and not {known}" for name, known in wanted.items() if there.get(name, known) != known
    ]


def far_enough(run: Run, job: Job) -> bool:
    """Whether a run came to where its job pauses it."""
    return job.share < 1 and _line(run, job) is not None


def _line(run: Run, job: Job) -> Tree | None:
    """What training wrote down where a job ends, or pauses; None before."""
    from sanggar.trained import plan_of

    lines = run.metrics()
    if job.share == 1:
        return lines[-1] if lines and run.status == "finished" else None
    training = plan_of(run).training
    whole, key = (training.steps, "step") if training.steps is not None else (training.epochs or 1, "epoch")
    return next((line for line in lines if reached(line[key], whole, job)), None)


def reached(done: int | float, whole: int | float, job: Job) -> bool:
    """Whether so much of a training is the share that a job does, rounding aside."""
    return done >= job.share * whole * (1 - 1e-9)


def steps_of(plan: Plan) -> int:
    """Steps of a training, as far as they can be known before its data are there."""
    if plan.training.steps is not None:
        return plan.training.steps
    return plan.training.total_steps(max(1, plan.source.counted(plan.data) // plan.training.batch_size))


def is_written(objective: str) -> bool:
    """Whether training writes an objective down as it goes: the loss, or a term of it. Else it is to be measured."""
    return objective == LOSS or "/" in objective


def value_of(run: Run, job: Job) -> float | None:
    """A job's objective on validation pictures, where its run has it by now."""
    line = _line(run, job)
    if line is None or job.objective is None:
        return None
    if is_written(job.objective):
        value = _terms(line).get(job.objective)
    else:
        known = [entry for entry in run.info.get("validated", []) if entry["key"] == job.objective]
        value = next((entry["value"] for entry in known if entry["step"] == line["step"]), None)
    return None if value is None else float(value)


def _terms(line: Tree) -> dict[str, float]:
    """What a line of metrics has of validation pictures: the loss, its terms, and what is watched beside them."""
    return {LOSS: sum(line["validation"].values()), **line["watched"]["validation"], **line["validation"]}


def measured(run: Run) -> bool:
    """Whether a run's evaluation is of the weights it has now."""
    from sanggar.errors import RunError
    from sanggar.results.stored import read, read_arrays

    if not run.evaluation_file.is_file():
        return False
    try:
        read_arrays(run)
        return bool(read(run).step == run.info["step"])
    except RunError:
        return False
