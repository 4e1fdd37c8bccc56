"""Killed at any moment and resumed, a run ends as if nothing had happened: bit for bit."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from conftest import Cli, quick_first
from sanggar.data.downloads import Download, read_digits
from sanggar.data.images import Images
from sanggar.data.sources import SOURCES
from sanggar.plan import FAMILIES
from sanggar.runs import Run, load_arrays
from training import killing

pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="kills processes that it forks"
)

SMALL = {
    "autoencoder": (
        "digits-denoising-autoencoder", "model.widths=[4,8]", "model.latent_size=6", "training.device=cpu",
        "training.precision=fp32", "training.ema=0.9",
        "training.augmentation={flip: true, translation: 0.2, rotation: 10, colour: 0.5, cutout: 0.2}",
    ),
    "ffnn": (
        "digits-ffnn", "model.hidden=[12,8]", "model.dropout=0.3", "model.normalization=batch", "model.l2=0.001",
        "training.batch_size=64", "training.optimizer={kind: adamw}", "training.clip_gradient=1", "training.ema=0.9",
    ),
    "classifier": (
        "judge-digits", "data.validation=237", "model.widths=[4,8]", "model.blocks=[0,1]", "model.dropout=0.2",
        "training.device=cpu", "training.precision=fp32", "training.batch_size=64", "training.ema=0.9",
    ),
    "vae": (
        "digits-vae", "data.validation=237", "model.widths=[4,8]", "model.latent_size=6", "model.norm=batch",
        "training.device=cpu", "training.precision=fp32", "training.batch_size=64", "training.ema=0.9",
        "model.beta={warm_up: 0.5}", "model.free_bits=0.1", "model.condition=[class]", "model.condition_dropout=0.3",
        "model.perceptual={judge: digits}",
        "model.adversarial.critic={kind: dcgan, widths: [4,8], norm: none, spectral: true}",
        "model.adversarial.penalty={kind: r1, every: 3}",
        "model.prior={kind: flow, width: 6, blocks: 1, share: 0.4, condition: [class]}",
    ),
    "flow": (
        "digits-flow", "training.steps=null", "model.network={kind: unet, widths: [4,6]}", "model.shortcuts.share=0.4",
        "training.device=cpu", "training.precision=fp32", "training.batch_size=64", "training.ema=0.9",
    ),
    "gan": (
        "digits-cgan", "training.steps=null", "model.latent_size=6", "model.critic_steps=2",
        "training.device=cpu", "training.precision=fp32", "training.batch_size=32", "training.ema=0.9",
        "model.objective={kind: bce}", "model.instance_noise=0.1",
        "model.generator={kind: style, widths: [6,4], style_size: 6}", "model.critic={kind: style, widths: [4,6]}",
        "model.penalty={kind: r1, every: 3}", "model.growth={first: 4}",
        "model.augmentation={kind: adaptive, translation: 0.2, rotation: 10, colour: 0.5, pictures: 300}",
        "model.critic_optimizer={kind: rmsprop}",
    ),
}  # fmt: skip
"""By family, with everything that a checkpoint has to hold."""
STEPS = ("training.epochs=null", "training.steps=8", "training.checkpoint_every=3", "training.validate_every=4")
SHORT = {family: (*small, *STEPS) for family, small in SMALL.items()}
LONG = {
    "autoencoder": (
        *SMALL["autoencoder"], "model.norm=batch", "training.precision=bf16", "training.epochs=6",
        "training.checkpoint_every=3", "training.validate_every=7",
    ),
    "ffnn": (*SMALL["ffnn"], "training.epochs=30", "training.checkpoint_every=3", "training.validate_every=7"),
}  # fmt: skip
LONG_STEPS = {"autoencoder": 108, "ffnn": 540}
UNPLANNED = {
    "gan": ("model.growth=null", "model.instance_noise=0", "training.validate_every=null"),
    "vae": ("model.beta.warm_up=0", "model.prior.share=0"),
    "flow": ("training.validate_every=null",),
}  # fmt: skip
"""What else depends on the planned length, as a schedule does, turned off; validation at each epoch."""
CONSTANT = {
    f: (*small, "training.schedule={kind: constant}", "training.checkpoint_every=5", *UNPLANNED.get(f, ()))
    for f, small in SMALL.items()
}

Undisturbed = Callable[[tuple[str, ...]], Path]
OF_EACH_FAMILY = pytest.mark.parametrize("family", SMALL)
QUICKLY_OF_ONE = pytest.mark.parametrize("family", quick_first(SMALL))


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
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A recipe's run that nothing disturbed; `.events` beside it says how many files it flushed and renamed."""
    folder = tmp_path_factory.mktemp("undisturbed")

    @cache
    def run_of(recipe: tuple[str, ...]) -> Path:
        path = folder / str(len(list(folder.iterdir())))
        assert killing.run("train", *recipe, "--out", path, said=path.with_suffix(".said")) == 0
        return path

    return run_of


def test_no_family_is_spared() -> None:
    assert set(SMALL) == set(FAMILIES)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "every", "most"), [("autoencoder", 5, 5), ("ffnn", 5, 4)])
def test_killed_at_stages_of_writes(
    family: str, every: int, most: int, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    expected = result(undisturbed(SHORT[family]))
    events = range(1, int(undisturbed(SHORT[family]).with_suffix(".events").read_text()) + 1, every)
    resumed = unstarted = 0
    for number in events:
        path, said = tmp_path / str(number), tmp_path / f"{number}.said"
        when: killing.When = "before" if number % 2 else "after"
        assert killing.run("train", *SHORT[family], "--out", path, said=said, kill_at=(number, when)) == -signal.SIGKILL
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
    assert resumed == len(events) - unstarted > most


@pytest.mark.slow
@pytest.mark.parametrize(("family", "longest"), [("autoencoder", 0.6), ("ffnn", 0.3)])
def test_killed_again_and_again_at_random_moments(
    family: str, longest: float, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    path, said, delays = tmp_path / "run", tmp_path / "said", random.Random(7)
    process = killing.start("train", *LONG[family], "--out", path, said=said)
    while not (path / "run.json").is_file():
        time.sleep(0.002)
    kills = 0
    for _ in range(12):
        process.join(delays.uniform(0.02, longest))
        if process.exitcode is None:
            process.kill()
            kills += 1
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), said.read_text()
        process = killing.start("train", "--resume", path, said=said)
    process.join()
    assert process.exitcode == 0, said.read_text()
    assert kills >= 4
    assert result(path) == result(undisturbed(LONG[family]))


@QUICKLY_OF_ONE
def test_killed_after_a_checkpoint_it_goes_on_and_leaves_nothing_lying_about(
    family: str, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    path, said = tmp_path / "run", tmp_path / "said"
    assert killing.run("train", *SHORT[family], "--out", path, said=said, kill_at=(15, "before")) == -signal.SIGKILL
    assert Run(path).checkpoint_file.exists()
    assert killing.run("train", "--resume", path, said=said) == 0
    assert result(path) == result(undisturbed(SHORT[family]))
    assert [file.name for file in path.rglob(".*")] == [".lock"], "which nobody holds, and who holds it next keeps"


def test_a_line_cut_short_is_written_anew(undisturbed: Undisturbed, tmp_path: Path) -> None:
    path, said = tmp_path / "run", tmp_path / "said"
    assert (
        killing.run("train", *SHORT["autoencoder"], "--out", path, said=said, kill_at=(30, "after")) == -signal.SIGKILL
    )
    for name in ("metrics.jsonl", "timing.jsonl"):
        with (path / name).open("ab") as file:
            file.write(b'{"step": 4, "epo')
    assert killing.run("train", "--resume", path, said=said) == 0
    assert result(path) == result(undisturbed(SHORT["autoencoder"]))
    assert [line["step"] for line in Run(path).timing()] == [4, 8]


@QUICKLY_OF_ONE
def test_killed_before_the_first_checkpoint_it_starts_over(
    family: str, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    path, said = tmp_path / "run", tmp_path / "said"
    assert killing.run("train", *SHORT[family], "--out", path, said=said, kill_at=(9, "after")) == -signal.SIGKILL
    assert not Run(path).checkpoint_file.exists()
    assert killing.run("train", "--resume", path, said=said) == 0
    assert result(path) == result(undisturbed(SHORT[family]))


@QUICKLY_OF_ONE
def test_a_finished_run_without_weights_gets_them(family: str, undisturbed: Undisturbed, tmp_path: Path) -> None:
    path = shutil.copytree(undisturbed(SHORT[family]), tmp_path / "run")
    Run(path).weights_file.unlink()
    assert killing.run("train", "--resume", path, said=tmp_path / "said") == 0
    assert result(path) == result(undisturbed(SHORT[family]))


@pytest.mark.slow
def test_a_process_started_from_a_shell_survives_a_kill(undisturbed: Undisturbed, tmp_path: Path) -> None:
    path = tmp_path / "run"
    command = [sys.executable, "-m", "sanggar", "train"]
    process = subprocess.Popen([*command, *LONG["autoencoder"], "--out", path], stderr=subprocess.DEVNULL)
    while not (path / "checkpoint" / "state.safetensors").is_file():
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert Run(path).status == "training"
    subprocess.run([*command, "--resume", path], check=True, stderr=subprocess.DEVNULL)
    assert result(path) == result(undisturbed(LONG["autoencoder"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "number", "status"),
    [
        ("autoencoder", signal.SIGTERM, 143),
        ("autoencoder", signal.SIGINT, 130),
        ("ffnn", signal.SIGHUP, 129),
        ("ffnn", signal.SIGTERM, 143),
    ],
)
def test_asked_to_stop_it_stops_between_two_steps(
    family: str, number: int, status: int, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    path, said = tmp_path / "run", tmp_path / "said"
    process = killing.start("train", *LONG[family], "--out", path, said=said)
    while not (path / "checkpoint" / "state.safetensors").is_file():
        time.sleep(0.002)
    os.kill(process.pid or 0, number)
    process.join()
    assert process.exitcode == status, said.read_text()
    stopped = Run(path)
    assert stopped.status == "stopped"
    last = said.read_text().splitlines()[-1]
    assert f"Stopped by {signal.Signals(number).name} at step {stopped.info['step']} of {LONG_STEPS[family]}" in last
    assert last.endswith(f"Go on with: sanggar train --resume {path}")
    assert killing.run("train", "--resume", path, said=said) == 0
    assert result(path) == result(undisturbed(LONG[family]))


@pytest.mark.slow
@OF_EACH_FAMILY
def test_made_longer_it_equals_one_trained_that_long_at_once(family: str, tmp_path: Path) -> None:
    said, once, later = tmp_path / "said", tmp_path / "once", tmp_path / "later"
    assert killing.run("train", *CONSTANT[family], "training.epochs=2", "--out", once, said=said) == 0
    assert killing.run("train", *CONSTANT[family], "training.epochs=1", "--out", later, said=said) == 0
    short = Run(later).info
    assert killing.run("train", "--resume", later, "training.epochs=2", said=said) == 0
    assert result(later) == result(once)
    extended = Run(later).info
    assert extended["identity"] == Run(once).info["identity"]
    assert extended["earlier"] == [{"identity": short["identity"], "step": 18}]
    assert (later / "recipe.yaml").read_text() == (once / "recipe.yaml").read_text()


@QUICKLY_OF_ONE
def test_a_rate_that_explodes_ends_in_one_line_that_names_the_last_good_checkpoint(family: str, tmp_path: Path) -> None:
    path, said = tmp_path / "run", tmp_path / "said"
    too_fast = ("training.optimizer={kind: sgd, learning_rate: 1e18}", "training.clip_gradient=null")
    command: tuple[str | Path, ...] = ("train", *SHORT[family], *too_fast, "training.checkpoint_every=1", "--out", path)
    assert killing.run(*command, said=said) == 1
    (line,) = said.read_text().splitlines()
    told = re.fullmatch(r"sanggar: \S+ became \S+ at step (\d+) .* checkpoint: of step (\d+) in (.*)\.", line)
    assert told is not None, line
    arrays, meta = load_arrays(Run(path).checkpoint_file)
    assert (int(told[2]), told[3]) == (meta["step"], str(path))
    assert int(told[1]) == meta["step"] + 1 > 1
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert Run(path).status == "failed"
    assert f"sanggar: {Run(path).info['message']}" == line
    again = killing.run("train", "--resume", path, said=said)
    assert (again, Run(path).status) == (1, "failed")


def test_where_a_run_computes_may_change(undisturbed: Undisturbed, tmp_path: Path) -> None:
    path, said = undisturbed(SHORT["autoencoder"]), tmp_path / "said"
    before = Run(path).info
    assert killing.run("train", "--resume", path, "training.device=auto", said=said) == 0
    assert (Run(path).info["step"], Run(path).info["identity"]) == (before["step"], before["identity"])
    assert "device: auto" in (path / "recipe.yaml").read_text()


@pytest.mark.parametrize(
    "asked",
    [
        ["training.steps=4"],
        ["training.steps=null", "training.epochs=1"],
        ["training.epochs=9"],
        ["training.seed=1"],
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
    asked: list[str], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    path, said = undisturbed(SHORT["autoencoder"]), tmp_path / "said"
    before = content(path)
    status = killing.run("train", "--resume", path, *asked, said=said)
    (line,) = said.read_text().splitlines()
    assert line.startswith("sanggar: ")
    assert status == 2
    assert content(path) == before


def test_other_data_is_refused_and_changes_nothing(
    undisturbed: Undisturbed,
    monkeypatch: pytest.MonkeyPatch,
    run_cli: Cli,
) -> None:
    def one_pixel_differs(place: Path) -> tuple[Images, Images]:
        train, test = read_digits(place)
        train.pixels[0, 0, 0] ^= 1
        return train, test

    path = undisturbed(SHORT["autoencoder"])
    before = content(path)
    digits = SOURCES["digits"]
    assert isinstance(digits, Download)
    monkeypatch.setitem(SOURCES, "digits", replace(digits, read=one_pixel_differs))
    status, _, err = run_cli("train", "--resume", path, "training.steps=9")
    assert status == 2
    assert "trained on other data" in err
    assert content(path) == before
