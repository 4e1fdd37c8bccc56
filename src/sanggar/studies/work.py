"""One training of a study, from nothing or from where it was interrupted, until it is measured.

Light to import: a process that works for a study says first how many threads it may have, and imports PyTorch then.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sanggar.runs import Run

PACKAGES = ("sanggar", "numpy", "scipy", "scikit-learn", "torch", "pillow")
"""Whose versions have to be equal wherever a study's runs are made"""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """What a worker is given."""

    folder: str
    recipe: str
    """resolved, as YAML"""
    study: str
    claims: Mapping[str, str]
    """by name of a claim that this run is for, its hash: kept in the run when it begins"""
    versions: Mapping[str, str]
    """that the study began with"""


def versions() -> dict[str, str]:
    """Of Python and what numbers depend on, on this machine."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def alone() -> None:
    """Let this process compute on one thread: to be called before PyTorch or NumPy is imported."""
    for name in ONE_THREAD:
        os.environ[name] = "1"


def work(job: Job) -> str:
    """Train, or go on with, one run of a study, and measure it. What went wrong, or nothing."""
    here = versions()
    others = [f"{name} {here[name]} and not {known}" for name, known in job.versions.items() if here[name] != known]
    if others:
        return f"this worker has {', '.join(others)}: numbers would not compare"
    import torch
    from threadpoolctl import threadpool_limits

    from sanggar.errors import SanggarError

    torch.set_num_threads(1)  # of a worker that somebody else started
    try:
        with threadpool_limits(1, user_api="blas"):
            _train_and_measure(job)
    except SanggarError as error:
        return str(error).splitlines()[0]
    except MemoryError:
        return "memory ran out"
    return ""


def _train_and_measure(job: Job) -> None:
    from sanggar.evaluation.evaluate import evaluate
    from sanggar.plain import STORED, parse
    from sanggar.runs import Run
    from sanggar.training.start import resume, train

    path, recipe = Path(job.folder), parse(job.recipe, job.folder, STORED)
    if not (path / "run.json").is_file():
        shutil.rmtree(path, ignore_errors=True)  # a process was killed before it was a run
        stated = {name: {"hash": hash, "step": 0} for name, hash in job.claims.items()}
        run = train(recipe, out=path, watch=lambda record: None, note={"studies": {job.study: stated}})
    else:
        run = Run(path)
        run.begun_for(job.study, job.claims)
        if run.status != "finished":
            run = resume(run, watch=lambda record: None)
    if not measured(run):
        evaluate(run)


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
