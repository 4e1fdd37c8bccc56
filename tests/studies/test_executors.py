"""Studies by other executors: Dask's workers, of which one is killed; Slurm's jobs, here as processes; and refusals."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import pytest

from conftest import Cli
from sanggar.errors import RecipeError, RunError
from sanggar.studies import engine, executors
from sanggar.studies.engine import State
from sanggar.studies.executors import executor_for
from studies.test_study import SHORT, STUDY, done, values


def one_run(tree: Any) -> None:
    """The study with a single training."""
    del tree["tables"]["width"], tree["claims"], tree["budgets"]
    tree["tables"]["activation"]["grid"] = {"model.activation": ["relu"]}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills processes")
def test_a_dask_worker_that_is_killed_is_replaced_and_the_numbers_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed: Any = pytest.importorskip("distributed")
    killed, seen = list[int](), set[str]()
    monkeypatch.setattr(engine, "PAUSE", 0.05)  # the runs are short
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:

        def kill_one(states: Sequence[State]) -> None:
            seen.update(state.doing for state in states)
            if not killed and any((state.folder / "run.json").is_file() for state in states):
                pid = next(iter(cluster.workers.values())).pid
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

        address = f"dask={cluster.scheduler_address}"
        with monkeypatch.context() as patch:
            patch.setattr(executors, "differing", lambda *_: ["numpy 1 and not 2"])
            with pytest.raises(RecipeError, match=r"the worker tcp://.* has numpy 1 and not 2"):
                executor_for(address, tmp_path)
        findings = done(tmp_path / "dask", budget="quick", executor=address, tell=kill_one)
    assert killed and seen == {"waiting", "running", "done"}
    assert values(findings) == values(done(tmp_path / "here", budget="quick"))


@pytest.mark.slow
def test_jobs_of_slurm_make_runs(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    findings = done(tmp_path / "slurm", one_run, executor="slurm-local:time=5")
    assert values(findings) == values(done(tmp_path / "here", one_run))
    assert list((tmp_path / "slurm" / "slurm").glob("*.out"))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends Slurm's signal")
def test_a_run_whose_job_is_ended_goes_on_in_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local: Any = pytest.importorskip("submitit.local.local")
    jobs, ended = list[Any](), list[str]()
    start = local.start_controller

    def started(*given: Any, **how: Any) -> Any:
        jobs.append(start(*given, **how))
        return jobs[-1]

    monkeypatch.setattr(local, "start_controller", started)

    def longer(tree: Any) -> None:
        one_run(tree)
        tree["tables"]["activation"]["set"] = {**SHORT, "training.epochs": 100}

    def end_one(states: Sequence[State]) -> None:
        begun = [
            s.folder
            for s in states
            if (s.folder / "checkpoint").is_dir() and not (s.folder / "evaluation.json").is_file()
        ]
        if begun and not ended:
            for process in psutil.Process(jobs[0].pid).children():
                process.send_signal(signal.SIGUSR2)
            ended.append(begun[0].name)

    findings = done(tmp_path / "slurm", longer, executor="slurm-local:time=5", tell=end_one)
    assert ended and "Requeued job" in "".join(
        file.read_text(encoding="utf-8") for file in (tmp_path / "slurm" / "slurm").glob("*.out")
    )
    assert values(findings) == values(done(tmp_path / "here", longer))


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("Job (task=0) failed during processing with trace:\n" + "-" * 22 + "\nTraceback\n  at\nKeyError: 'x'\n\n"
         + "-" * 22 + "\nYou can check full logs with 'job.stderr(0)'", "its job of Slurm: KeyError: 'x'"),
        ("Job 3 (task: 0) has not produced any output (state: CANCELLED)\nNo output", "(state: CANCELLED)"),
        ("", "nothing is known of it"),
    ],
)  # fmt: skip
def test_what_a_job_came_to_is_one_line(said: str, line: str) -> None:
    class Gone:
        def result(self) -> None:
            raise RuntimeError(said)

    future: Future[str] = Future()
    executors._settled(future, Gone())
    found = str(future.exception())
    assert line in found and len(found.splitlines()) == 1


def test_a_scheduler_that_takes_no_job_is_one_line() -> None:
    class Away:
        def submit(self, *_: object, **__: object) -> None:
            raise RuntimeError("Could not submit\nsbatch: error: Unable to contact slurm controller\n")

    executor = executors.Submitted(Away())
    with pytest.raises(RunError, match=r"Slurm takes no job: sbatch: error: Unable to contact") as raised:
        executor.submit(int)
    assert len(str(raised.value).splitlines()) == 1
    executor.shutdown()


def test_what_a_job_raised_is_told(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    executor = executor_for("slurm-local:time=5", tmp_path)()
    told = str(executor.submit(int, "much").exception())
    executor.shutdown()
    assert told == "its job of Slurm: ValueError: invalid literal for int() with base 10: 'much'"


REFUSED = {
    "dusk=tcp://127.0.0.1:1": "there is no 'dusk=tcp://127.0.0.1:1'. Known: here, dask=tcp://HOST:PORT, slurm",
    "dask": "there is no 'dask'",
    "dask=tcp://127.0.0.1:1": "no Dask scheduler answers at tcp://127.0.0.1:1",
    "dask=nothing://x": "expected dask=tcp://HOST:PORT, got dask=nothing://x",
    "dask=http://127.0.0.1:80": "expected dask=tcp://HOST:PORT",
    "dask=foo": "expected dask=tcp://HOST:PORT, got dask=foo",
    "slurm:time=soon": "slurm: time: expected minutes, a whole number from 1, got 'soon'",
    "slurm:time=0": "slurm: time: expected minutes",
    "slurm:partition": "slurm: expected KEY=VALUE, got 'partition'",
}


@pytest.mark.parametrize("asked", REFUSED)
def test_an_executor_that_cannot_be_had_is_one_line(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(executors, "WAIT", 1)
    with pytest.raises(RecipeError) as raised:
        executor_for(asked, tmp_path)
    assert REFUSED[asked] in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_the_command_says_it_before_anything_is_trained(run_cli: Cli, tmp_path: Path) -> None:
    from sanggar.plain import to_yaml

    file = tmp_path / "toy.yaml"
    file.write_text(to_yaml({key: value for key, value in STUDY.items() if key != "name"}), encoding="utf-8")
    status, _, err = run_cli("study", file, "--out", tmp_path / "out", "--executor", "dusk")
    assert (status, "there is no 'dusk'" in err) == (2, True)
    assert not (tmp_path / "out").exists()
