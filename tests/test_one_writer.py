"""One writer a run: real processes on one run at once, killed holders, and signals at every stage."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TINY, Cli
from sanggar import files, resources
from sanggar.errors import RunError
from sanggar.locking import alone_in
from sanggar.results.stored import read, read_arrays
from sanggar.runs import Run, claimed_folder, load_arrays
from training import killing

forks = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="runs processes that it forks"
)
LONGER = ("training.epochs=4",)
COMMANDS = {
    "resume": ("train", "--resume", "RUN", *LONGER),
    "evaluate": ("evaluate", "RUN", "evaluation.seed=3"),
    "report": ("report", "RUN"),
}


def intact(path: Path) -> Run:
    """The run, all of whose files can be read and belong together."""
    run = Run(path)
    assert run.recipe_text()
    steps = [line["step"] for line in run.metrics()]
    assert steps == [line["step"] for line in run.timing()] == sorted(set(steps))
    assert load_arrays(run.checkpoint_file)[1]["step"] == load_arrays(run.weights_file)[1]["step"] == run.info["step"]
    read(run)
    read_arrays(run)
    assert not [file for file in path.rglob(".*") if file.name != ".lock"]
    return run


# -- pairs -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@forks
@pytest.mark.parametrize(
    ("one", "other"), [("resume", "resume"), ("resume", "evaluate"), ("evaluate", "evaluate"), ("report", "resume")]
)
def test_two_commands_on_one_run_do_not_harm_it(one: str, other: str, copied_run: Run, tmp_path: Path) -> None:
    path = copied_run.path
    said = [tmp_path / "one.said", tmp_path / "other.said"]
    commands = [[str(path) if word == "RUN" else word for word in COMMANDS[name]] for name in (one, other)]
    processes = [killing.start(*command, said=file) for command, file in zip(commands, said, strict=True)]
    for process in processes:
        process.join()
    ended = [process.exitcode for process in processes]
    assert set(ended) <= {0, 2}
    assert 0 in ended
    for code, file in zip(ended, said, strict=True):
        if code:  # refused in words: in use, or measured at another step by then
            text = file.read_text()
            assert "is in use: `" in text or "was measured at step" in text
            assert len(text.strip().splitlines()) == 1
    run = intact(path)
    assert run.status == "finished"
    if "resume" in (one, other) and ended[(one, other).index("resume")] == 0:
        assert (run.info["step"], "epochs: 4" in run.recipe_text()) == (72, True)
    if "evaluate" in (one, other) and ended[(one, other).index("evaluate")] == 0:
        assert run.recipe_text().count("seed: 3") == 1


@pytest.mark.slow
@forks
def test_trainings_begun_at_once_take_a_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = ("train", "digits-ffnn", "model.hidden=[5]", "training.epochs=1")
    started = [killing.start(*recipe, said=tmp_path / f"{n}.said") for n in range(3)]
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0, 0]
    made = sorted(Path("runs").iterdir())
    assert [path.name for path in made] == ["digits-ffnn", "digits-ffnn-2", "digits-ffnn-3"]
    assert {Run(path).status for path in made} == {"finished"}


def test_a_name_is_claimed_once(tmp_path: Path) -> None:
    assert [claimed_folder("a b", tmp_path / "runs").name for _ in range(3)] == ["a-b", "a-b-2", "a-b-3"]
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="Cannot write"):
        claimed_folder("x", tmp_path / "file")


# -- the lock --------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from sanggar.locking import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_who_holds_a_run_is_said_and_its_death_frees_it(
    copied_run: Run, monkeypatch: pytest.MonkeyPatch, run_cli: Cli
) -> None:
    monkeypatch.setattr(alone_in.__wrapped__, "__defaults__", (0.1,))  # type: ignore[attr-defined]
    path = copied_run.path
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    mine = path / files._beside(path / "mine").name
    mine.touch()
    theirs = path / mine.name.replace(f"-{os.getpid()}-", f"-{holder.pid}-")
    theirs.touch()
    try:
        for command in (("evaluate", path), ("report", path), ("train", "--resume", path)):
            status, _, err = run_cli(*command)
            assert (status, len(err.splitlines())) == (2, 1)
            assert f"{path} is in use: `python" in err and f"(process {holder.pid} on " in err
        assert mine.exists() and theirs.exists()
    finally:
        holder.kill()
        holder.wait()
    with alone_in(path):
        assert json.loads((path / ".writer.json").read_text())["process"] == os.getpid()
        assert mine.exists() and not theirs.exists()
    mine.unlink()
    intact(path)


def test_a_lock_may_be_nested_in_one_process(copied_run: Run) -> None:
    with alone_in(copied_run.path), alone_in(copied_run.path):
        copied_run.update(note="x")
    assert not (copied_run.path / ".writer.json").exists()


def test_what_another_wrote_meanwhile_is_kept(copied_run: Run) -> None:
    other = Run(copied_run.path)
    other.update(note="theirs")
    copied_run.update(message="mine")
    assert (Run(copied_run.path).info["note"], copied_run.info["note"]) == ("theirs", "theirs")


def test_leftovers_go_where_their_writer_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = files._beside(tmp_path / "x")
    dead, far = (mine.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-") for _ in range(2))
    far = far.replace(files._host(), "0" * 8)
    for name in (mine.name, dead, far, ".old.1.new", "kept.new", ".hidden"):
        (tmp_path / name).touch()
    os.utime(tmp_path / far)
    files.write_atomic(tmp_path / "x", b"")
    assert {p.name for p in tmp_path.iterdir()} == {mine.name, far, ".old.1.new", "kept.new", ".hidden", "x"}
    os.utime(tmp_path / far, (0, 0))
    files.sweep(tmp_path, deep=True)
    assert {p.name for p in tmp_path.iterdir()} == {mine.name, "kept.new", ".hidden", "x"}


def test_a_long_name_needs_no_longer_one_beside_it(tmp_path: Path) -> None:
    for name in ("n" * 255, "é" * 127):
        files.write_atomic(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"


# -- signals ---------------------------------------------------------------------------------------------------

STAGES = {
    "preparing": ("sanggar.training.start", "_set_up", "the same command begins again", None),
    "beginning": ("sanggar.training.loop", "Loop.__post_init__", "sanggar train --resume out", "training"),
    "measuring": ("sanggar.evaluation.evaluate", "_evaluate", "sanggar evaluate out", "finished"),
    "reporting": ("sanggar.reporting.page", "render", "sanggar report out", "finished"),
}


def stopped(module: str, name: str, number: int, arguments: list[str], folder: Path) -> None:
    """Run a command in this process, which a signal reaches where it would do `name`."""
    os.chdir(folder)
    with Path("said").open("wb") as file:
        os.dup2(file.fileno(), 2)
    owner = importlib.import_module(module)
    *above, last = name.split(".")
    for part in above:
        owner = getattr(owner, part)

    def stop(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        raise AssertionError("it went on")

    setattr(owner, last, stop)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from sanggar import cli

    cli.main(arguments)


@pytest.mark.slow
@forks
@pytest.mark.parametrize(
    ("stage", "number"),
    [("preparing", "SIGTERM"), ("beginning", "SIGHUP"), ("measuring", "SIGINT"), ("reporting", "SIGTERM")],
)
def test_a_signal_keeps_what_is_done_and_says_how_to_go_on(stage: str, number: str, tmp_path: Path) -> None:
    module, name, words, status = STAGES[stage]
    sent = int(getattr(signal, number))
    command = ["run", "digits-denoising-autoencoder", *TINY, "--out", "out"]
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=stopped, args=(module, name, sent, command, tmp_path))
    process.start()
    process.join()
    said = (tmp_path / "said").read_text()
    assert process.exitcode == 128 + sent, said
    last = said.strip().splitlines()[-1]
    assert f"Stopped by {number}" in last
    assert words in last
    assert (Run(tmp_path / "out").status if (tmp_path / "out").exists() else None) == status
    assert not [file for file in tmp_path.rglob(".*") if file.name != ".lock"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("closed", ["<&- >&- 2>&-"])
def test_closed_streams_do_not_stop_a_training(closed: str, tmp_path: Path) -> None:
    recipe = "digits-ffnn model.hidden=[5] training.epochs=1 --out out"
    shell = f'"{sys.executable}" -m sanggar train {recipe} {closed}'
    assert subprocess.run(shell, shell=True, cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == 0
    assert whole_training(tmp_path / "out")


def whole_training(path: Path) -> bool:
    run = Run(path)
    return run.status == "finished" and len(run.metrics()) == len(run.timing()) > 0


@pytest.mark.parametrize(("environment", "first"), [
    ({}, True),
    ({"RANK": "1"}, True),
    ({"RANK": "1", "WORLD_SIZE": "1"}, True),
    ({"RANK": "0", "WORLD_SIZE": "2"}, True),
    ({"RANK": "1", "WORLD_SIZE": "2"}, False),
    ({"RANK": "3", "WORLD_SIZE": "10"}, False),
])  # fmt: skip
def test_a_rank_counts_among_several_alone(
    environment: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert resources.first_process() == first
