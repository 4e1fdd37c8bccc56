"""Two processes do what one does: each takes its half of every batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed

from conftest import Cli
from sanggar.runs import Run

LAUNCH = (
    "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "sanggar",
)  # fmt: skip
"""`--multi_gpu` starts several processes whatever the device; `--cpu` starts one unless there is an MPI."""
RECIPE = (
    "train", "digits-denoising-autoencoder", "model.widths=[4,8]", "model.latent_size=6", "model.linear=true",
    "model.prior={kind: mixture, components: 3, share: 0.5}", "training.device=cpu",
    "training.precision=fp32", "data.validation=700", "training.epochs=2",
    "training.validate_every=4",
    "training.augmentation={flip: true, translation: 0.2, rotation: 10}",
)  # fmt: skip

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")


def sanggar(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=180)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that two processes trained in, and what they said."""
    folder = tmp_path_factory.mktemp("two")
    done = sanggar(folder, *LAUNCH, *RECIPE, "training.batch_size=64")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(two: tuple[Path, str], tmp_path: Path, run_cli: Cli) -> None:
    status, _, err = run_cli(*RECIPE, "training.batch_size=64", "--out", tmp_path / "alone")
    assert status == 0, err
    both, one = Run(two[0] / "runs" / "digits-denoising-autoencoder"), Run(tmp_path / "alone")
    assert (both.info["device"]["processes"], one.info["device"]["processes"]) == (2, 1)
    assert [line["step"] for line in both.metrics()] == [4, 8, 12, 16, 20, 22]
    for a, b in zip(both.metrics(), one.metrics(), strict=True):
        assert a["train"] == pytest.approx(b["train"], rel=1e-4)
        assert a["validation"] == pytest.approx(b["validation"], rel=1e-4)


@pytest.mark.slow
def test_two_processes_play_one_game(tmp_path: Path, run_cli: Cli) -> None:
    """Without batch norm, which goes by each process's own pictures; critic, penalty and augmentation steer alike."""
    recipe = (
        "train", "digits-cgan", "training.device=cpu", "training.precision=fp32", "training.steps=12",
        "training.validate_every=4", "training.batch_size=32", "training.ema=0.9", "data.validation=700",
        "model.condition=joined", "model.generator={kind: dcgan, widths: [8, 4], norm: pixel}",
        "model.critic={kind: dcgan, widths: [4, 8], norm: none}", "model.critic_steps=2",
        "model.penalty={kind: r1, every: 2}",
        "model.augmentation={kind: adaptive, translation: 0.2, pictures: 100}",
    )  # fmt: skip
    done = sanggar(tmp_path, *LAUNCH, *recipe, "--out", "both")
    assert done.returncode == 0, done.stderr
    status, _, err = run_cli(*recipe, "--out", tmp_path / "one")
    assert status == 0, err
    both, one = Run(tmp_path / "both"), Run(tmp_path / "one")
    assert len(both.metrics()) == 3
    for a, b in zip(both.metrics(), one.metrics(), strict=True):
        assert a["train"] == pytest.approx(b["train"], rel=1e-3)
        assert a["validation"] == pytest.approx(b["validation"], rel=1e-3)
        assert a["watched"]["train"]["critic/augmentation"] == b["watched"]["train"]["critic/augmentation"]
    assert both.metrics()[-1]["watched"]["train"]["critic/augmentation"] > 0


@pytest.mark.slow
def test_two_processes_write_one_run_and_say_so_once(two: tuple[Path, str]) -> None:
    folder, said = two
    assert [path.name for path in (folder / "runs").iterdir()] == ["digits-denoising-autoencoder"]
    assert Run(folder / "runs" / "digits-denoising-autoencoder").weights_file.is_file()
    assert said == "Run: runs/digits-denoising-autoencoder (finished, step 22)\n"


@pytest.mark.slow
def test_a_batch_that_cannot_be_halved_is_refused_in_one_line(tmp_path: Path) -> None:
    done = sanggar(tmp_path, *LAUNCH, *RECIPE, "training.batch_size=33")
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("sanggar: ")]
    assert said == ["sanggar: training.batch_size: 33 pictures cannot be shared evenly by 2 processes."]
    assert not (tmp_path / "runs").exists()
