"""Studies by other executors: Dask's workers, of which one is killed; Slurm's jobs, here as processes; and refusals."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from conftest import Cli
from sanggar.errors import RecipeError
from sanggar.studies import executors
from sanggar.studies.engine import State
from sanggar.studies.executors import executor_for
from studies.test_study import STUDY, done, values


def one_run(tree: Any) -> None:
    """The study with a single training."""
    del tree["tables"]["width"], tree["claims"], tree["budgets"]
    tree["tables"]["activation"]["grid"] = {"model.activation": ["relu"]}


@pytest.mark.skipif(os.name != "posix", reason="kills processes")
def test_a_dask_worker_that_is_killed_is_replaced_and_the_numbers_are_the_same(tmp_path: Path) -> None:
    distributed: Any = pytest.importorskip("distributed")
    killed: list[int] = []
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:

        def kill_one(states: Sequence[State]) -> None:
            if not killed and any((state.folder / "run.json").is_file() for state in states):
                pid = next(iter(cluster.workers.values())).pid
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

        address = f"dask={cluster.scheduler_address}"
        findings = done(tmp_path / "dask", budget="quick", executor=address, tell=kill_one)
    assert killed
    assert values(findings) == values(done(tmp_path / "here", budget="quick"))


def test_jobs_of_slurm_make_runs(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    findings = done(tmp_path / "slurm", one_run, executor="slurm-local:time=5")
    assert values(findings) == values(done(tmp_path / "here", one_run))
    assert list((tmp_path / "slurm" / "slurm").glob("*.out"))


REFUSED = {
    "dusk=tcp://127.0.0.1:1": "there is no 'dusk=tcp://127.0.0.1:1'. Known: here, dask=tcp://HOST:PORT, slurm",
    "dask": "there is no 'dask'",
    "dask=tcp://127.0.0.1:1": "no Dask scheduler answers at tcp://127.0.0.1:1",
    "dask=nothing://x": "no Dask scheduler answers at nothing://x",
    "slurm:time=soon": "slurm: invalid literal",
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
