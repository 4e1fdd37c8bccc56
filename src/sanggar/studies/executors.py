"""Where a study's runs are made: processes of this machine, Dask's workers, or jobs of Slurm."""

from __future__ import annotations

import multiprocessing
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from sanggar.errors import RecipeError, RunError
from sanggar.studies.work import alone, differing, versions

MakeExecutor = Callable[[], Executor]

RULE = "-" * 22
"""Around the trace of a job, in what submitit says"""

WAIT = 15
"""Seconds that a scheduler has to answer"""
LOOK = 2.0
"""Seconds between two looks at Slurm's jobs"""
JOBS = 100
"""Jobs of Slurm, one after another, that a run may take where the time of one does not suffice"""
MINUTES = 24 * 60
"""Of a job of Slurm's, where nothing is said"""


def here(workers: int | None = None) -> MakeExecutor:
    """Processes of this machine, as many as there are cores, with one thread each."""
    context = multiprocessing.get_context("spawn")
    return lambda: ProcessPoolExecutor(workers or cores(), context, alone)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def executor_for(asked: str, folder: Path, workers: int | None = None) -> MakeExecutor:
    """What makes the executor of this name: `here`, `dask=ADDRESS` or `slurm[:key=value,…]`. Raises RecipeError."""
    kind, _, rest = asked.partition(":" if asked.startswith("slurm") else "=")
    if kind == "here" and not rest:
        return here(workers)
    if kind == "dask" and rest:
        return _dask(rest)
    if kind in ("slurm", "slurm-local"):
        return _slurm(kind, rest, folder)
    raise RecipeError(
        f"--executor: there is no {asked!r}. Known: here, dask=tcp://HOST:PORT, slurm, "
        "slurm:partition=NAME,time=MINUTES."
    )


def _dask(address: str) -> MakeExecutor:
    """Workers of a Dask scheduler, on desks, in Kubernetes, or of dask-jobqueue. Raises RecipeError."""
    try:
        import distributed
    except ImportError:
        raise RecipeError("--executor: Dask is not installed. Install it by: pip install 'sanggar[dask]'") from None
    dask: Any = distributed  # which has no types
    if not re.fullmatch(r"(tcp|tls|ws|wss|ucx)://\S+:\d+", address):
        raise RecipeError(f"--executor: expected dask=tcp://HOST:PORT, got dask={address}.")
    try:
        client = dask.Client(address, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError, RuntimeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RecipeError(f"--executor: no Dask scheduler answers at {address} ({said}).") from None
    try:
        workers = client.run(versions)  # one that refuses would be done at once, and take all jobs
    except Exception as error:  # whatever a worker raised: that it has no sanggar, say
        client.close()
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RecipeError(f"--executor: a worker cannot say its versions ({said}).") from None
    for worker, there in workers.items():
        if others := differing(versions(), there):
            client.close()
            raise RecipeError(f"--executor: the worker {worker} has {', '.join(others)}: numbers would not compare.")
    # a job is given to another worker where its own died; each comes to the same, so that none is taken for another
    return lambda: client.get_executor(pure=False, retries=2)


def _slurm(cluster: str, rest: str, folder: Path) -> MakeExecutor:
    """Jobs of Slurm, one a run; `slurm-local` starts them as processes of this machine. Raises RecipeError."""
    try:
        import submitit
    except ImportError:
        raise RecipeError(
            "--executor: submitit is not installed. Install it by: pip install 'sanggar[slurm]'"
        ) from None
    given = dict(part.partition("=")[::2] for part in rest.split(",") if part)
    if empty := [key for key, value in given.items() if not value]:
        raise RecipeError(f"--executor: {cluster}: expected KEY=VALUE, got {empty[0]!r}.")
    told = given.pop("time", str(MINUTES))
    if not re.fullmatch("[1-9][0-9]{0,6}", told):
        raise RecipeError(f"--executor: {cluster}: time: expected minutes, a whole number from 1, got {told!r}.")
    minutes = int(told)
    try:
        kind = "local" if cluster == "slurm-local" else "slurm"
        executor = submitit.AutoExecutor(folder / "slurm", cluster=kind, slurm_max_num_timeout=JOBS)
        executor.update_parameters(
            name="sanggar", timeout_min=minutes, cpus_per_task=1, tasks_per_node=1, nodes=1,
            **{f"slurm_{key}": value for key, value in given.items()},
        )  # fmt: skip
    except (ValueError, RuntimeError, NameError, AssertionError) as error:
        raise RecipeError(f"--executor: {cluster}: {str(error).splitlines()[0]}.") from None
    return lambda: Submitted(executor)


class GoingOn:
    """Work that is handed to Slurm again where it ends its job: out of time, or for one that comes first.

    By `checkpoint` submitit knows. What was trained is in the run's folder, where the next job goes on.
    """

    def __init__(self, work: Callable[..., Any]) -> None:
        self._work = work

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do it."""
        return self._work(*args, **kwargs)

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """The same once more."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *args, **kwargs)


class Submitted(Executor):
    """Jobs of submitit as futures: it has objects of its own, which are looked at now and then."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._jobs: dict[Future[Any], Any] = {}
        self._open = True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand a job to the cluster."""
        future: Future[Any] = Future()
        try:
            self._jobs[future] = self._executor.submit(GoingOn(fn), *args, **kwargs)
        except Exception as error:  # of submitit: no scheduler answers, a partition that is not there
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise RunError(f"--executor: Slurm takes no job: {said[-1]}") from None
        return future

    def _watch(self) -> None:
        while self._open or self._jobs:
            for future, job in list(self._jobs.items()):
                if future.cancelled() or job.done():
                    self._jobs.pop(future, None)
                    _settled(future, job)
                elif job.state.upper() == "RUNNING" and not future.running():
                    future.set_running_or_notify_cancel()
            time.sleep(LOOK)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; who does not wait for the jobs that are there ends them, as with Dask."""
        self._open = False
        if cancel_futures or not wait:
            for job in list(self._jobs.values()):
                with suppress(Exception):
                    job.cancel()
            self._jobs.clear()
        if wait:
            self._thread.join()


def _settled(future: Future[Any], job: Any) -> None:
    """Give a future what its job came to, or end the job of one that nobody waits for."""
    if future.cancelled():
        job.cancel()
        return
    try:
        future.set_result(job.result())
    except Exception as error:  # of the cluster: cancelled, out of time or memory
        future.set_exception(RunError(_in_a_line(str(error))))


def _in_a_line(said: str) -> str:
    """What submitit says of a job: its first line, or of what a job raised the last line of its trace."""
    _, begun, trace = said.partition(f"{RULE}\n")
    lines = (trace.partition(f"\n{RULE}")[0] if begun else said).strip().splitlines()
    return "its job of Slurm: " + (lines[-1 if begun else 0] if lines else "nothing is known of it")
