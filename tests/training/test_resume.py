"""Killed at any moment and resumed, a run ends as if nothing had happened: bit for bit."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sanggar.data.images import Images
from sanggar.data.sources import SOURCES, read_digits
from sanggar.runs import Run, load_arrays
from training import killing

pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="kills processes that it forks"
)

SMALL = (
    "digits-denoising-autoencoder", "model.widths=[4,8]", "model.latent_size=6", "training.device=cpu",
    "training.precision=fp32", "training.ema=0.9",
)  # fmt: skip
SHORT = (*SMALL, "training.epochs=null", "training.steps=8", "training.checkpoint_every=3", "training.validate_every=4")
LONG = (
    *SMALL, "model.norm=batch", "training.precision=bf16", "training.epochs=6", "training.checkpoint_every=3",
    "training.validate_every=7",
)  # fmt: skip
CONSTANT = (*SMALL, "training.schedule={kind: constant}", "training.checkpoint_every=5")


def result(path: Path) -> dict[str, bytes]:
    """What must be the same: weights, checkpoint (model, average, optimizer), metrics; names to bytes."""
    run = Run(path)
    assert run.status == "finished"
    kept = {"metrics": run.metrics_file.read_bytes()}
    for file in (run.weights_file, run.checkpoint_file):
        arrays, meta = load_arrays(file)
        kept |= {f"{file.stem} {name}": array.tobytes() for name, array in arrays.items()}
        kept[f"{file.stem} step"] = str(meta["step"]).encode()
    assert len({name.split(".")[0] for name in kept if name.startswith("state ")} & {
        "state model", "state average", "state optimizer"}) == 3  # fmt: skip
    return kept


def content(path: Path) -> dict[str, str]:
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    """Recipe to a run that nothing disturbed; `.events` beside it says how many files it flushed and renamed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    runs = {SHORT: folder / "short", LONG: folder / "long"}
    for recipe, path in runs.items():
        assert killing.run("train", *recipe, "--out", path, said=path.with_suffix(".said")) == 0
    return runs


def test_killed_at_every_stage_of_every_write(uninterrupted: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    expected = result(uninterrupted[SHORT])
    events = int(uninterrupted[SHORT].with_suffix(".events").read_text())
    resumed = unstarted = 0
    for number in range(1, events + 1):
        path, said = tmp_path / str(number), tmp_path / f"{number}.said"
        when: killing.When = "before" if number % 2 else "after"
        assert killing.run("train", *SHORT, "--out", path, said=said, kill_at=(number, when)) == -signal.SIGKILL
        status = killing.run("train", "--resume", path, said=said)
        if (path / "run.json").is_file():
            resumed += 1
            assert status == 0, said.read_text()
            assert result(path) == expected, f"killed {when} event {number}"
        else:
            unstarted += 1
            assert status == 2
            assert "half-written" in said.read_text()
    assert unstarted <= 5
    assert resumed == events - unstarted > 30


def test_killed_again_and_again_at_random_moments(uninterrupted: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    path, said, delays = tmp_path / "run", tmp_path / "said", random.Random(7)
    process = killing.start("train", *LONG, "--out", path, said=said)
    while not (path / "run.json").is_file():
        time.sleep(0.002)
    kills = 0
    for _ in range(12):
        process.join(delays.uniform(0.02, 0.6))
        if process.exitcode is None:
            process.kill()
            kills += 1
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), said.read_text()
        process = killing.start("train", "--resume", path, said=said)
    process.join()
    assert process.exitcode == 0, said.read_text()
    assert kills >= 4
    assert result(path) == result(uninterrupted[LONG])


def test_nothing_is_left_lying_about_after_a_kill(tmp_path: Path) -> None:
    path, said = tmp_path / "run", tmp_path / "said"
    assert killing.run("train", *SHORT, "--out", path, said=said, kill_at=(12, "before")) == -signal.SIGKILL
    killing.run("train", "--resume", path, said=said)
    assert not [file.name for file in path.rglob(".*")]


def test_a_line_cut_short_is_written_anew(uninterrupted: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    path, said = tmp_path / "run", tmp_path / "said"
    assert killing.run("train", *SHORT, "--out", path, said=said, kill_at=(30, "after")) == -signal.SIGKILL
    for name in ("metrics.jsonl", "timing.jsonl"):
        with (path / name).open("ab") as file:
            file.write(b'{"step": 4, "epo')
    assert killing.run("train", "--resume", path, said=said) == 0
    assert result(path) == result(uninterrupted[SHORT])
    assert [line["step"] for line in Run(path).timing()] == [4, 8]


def test_killed_before_the_first_checkpoint_it_starts_over(
    uninterrupted: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    path, said = tmp_path / "run", tmp_path / "said"
    assert killing.run("train", *SHORT, "--out", path, said=said, kill_at=(7, "after")) == -signal.SIGKILL
    assert not Run(path).checkpoint_file.exists()
    assert killing.run("train", "--resume", path, said=said) == 0
    assert result(path) == result(uninterrupted[SHORT])


def test_a_finished_run_without_weights_gets_them(uninterrupted: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    path = shutil.copytree(uninterrupted[SHORT], tmp_path / "run")
    Run(path).weights_file.unlink()
    assert killing.run("train", "--resume", path, said=tmp_path / "said") == 0
    assert result(path) == result(uninterrupted[SHORT])


def test_a_process_started_from_a_shell_survives_a_kill(
    uninterrupted: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    path = tmp_path / "run"
    command = [sys.executable, "-m", "sanggar", "train"]
    process = subprocess.Popen([*command, *LONG, "--out", path], stderr=subprocess.DEVNULL)
    while not (path / "checkpoint" / "state.safetensors").is_file():
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert Run(path).status == "training"
    subprocess.run([*command, "--resume", path], check=True, stderr=subprocess.DEVNULL)
    assert result(path) == result(uninterrupted[LONG])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop_it_stops_between_two_steps(
    number: int, status: int, uninterrupted: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    path, said = tmp_path / "run", tmp_path / "said"
    process = killing.start("train", *LONG, "--out", path, said=said)
    while not (path / "checkpoint" / "state.safetensors").is_file():
        time.sleep(0.002)
    os.kill(process.pid or 0, number)
    process.join()
    assert process.exitcode == status, said.read_text()
    stopped = Run(path)
    assert stopped.status == "stopped"
    last = said.read_text().splitlines()[-1]
    assert f"Stopped by {signal.Signals(number).name} at step {stopped.info['step']} of 108" in last
    assert last.endswith(f"Go on with: sanggar train --resume {path}")
    assert killing.run("train", "--resume", path, said=said) == 0
    assert result(path) == result(uninterrupted[LONG])


def test_made_longer_it_equals_one_trained_that_long_at_once(tmp_path: Path) -> None:
    said, once, later = tmp_path / "said", tmp_path / "once", tmp_path / "later"
    assert killing.run("train", *CONSTANT, "training.epochs=4", "--out", once, said=said) == 0
    assert killing.run("train", *CONSTANT, "training.epochs=2", "--out", later, said=said) == 0
    short = Run(later).info
    assert killing.run("train", "--resume", later, "training.epochs=4", said=said) == 0
    assert result(later) == result(once)
    extended = Run(later).info
    assert extended["identity"] == Run(once).info["identity"]
    assert extended["earlier"] == [{"identity": short["identity"], "step": 36}]
    assert (later / "recipe.yaml").read_text() == (once / "recipe.yaml").read_text()


@pytest.mark.parametrize(
    "asked",
    [
        ["training.steps=4"],
        ["training.steps=null", "training.epochs=1"],
        ["training.epochs=9"],
        ["training.seed=1"],
        ["training.device=auto"],
        ["model.latent_size=7"],
        ["data.validation=100"],
        ["evaluation.images=10"],
        ["training.steps=9", "training.batch_size=32"],
        ["name=another"],
        ["about=other words"],
        ["fashion-denoising-autoencoder"],
        ["fashion-denoising-autoencoder", "training.steps=9"],
        ["training.stepps=9"],
        ["--out", "elsewhere"],
    ],
    ids=" ".join,
)
def test_anything_but_longer_is_refused_and_changes_nothing(
    asked: list[str], uninterrupted: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    path, said = uninterrupted[SHORT], tmp_path / "said"
    before = content(path)
    status = killing.run("train", "--resume", path, *asked, said=said)
    (line,) = said.read_text().splitlines()
    assert line.startswith("sanggar: ")
    assert status == 2
    assert content(path) == before


def test_other_data_is_refused_and_changes_nothing(
    uninterrupted: dict[tuple[str, ...], Path],
    monkeypatch: pytest.MonkeyPatch,
    run_cli: Callable[..., tuple[int, str, str]],
) -> None:
    def one_pixel_differs(place: Path) -> tuple[Images, Images]:
        train, test = read_digits(place)
        train.pixels[0, 0, 0] ^= 1
        return train, test

    path = uninterrupted[SHORT]
    before = content(path)
    monkeypatch.setitem(SOURCES, "digits", replace(SOURCES["digits"], read=one_pixel_differs))
    status, _, err = run_cli("train", "--resume", path, "training.steps=9")
    assert status == 2
    assert "trained on other data" in err
    assert content(path) == before
