"""A batch in parts is the batch: the same losses, gradients and buffers up to rounding, in any number of parts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from conftest import quick_first
from sanggar.data.batches import Batches
from sanggar.data.sources import SOURCES, DataOptions
from sanggar.errors import RecipeError
from sanggar.files import Tree
from sanggar.plan import resolve
from sanggar.recipe import read
from sanggar.resources import free_threads
from sanggar.runs import Arrays, Run, load_arrays
from sanggar.training.learners.base import Values
from sanggar.training.learners.parts import LEAST, MOST, parts_for
from sanggar.training.learners.torch import TorchLearner
from sanggar.training.start import resume, train

COMMON = ("training.device=cpu", "training.precision=fp32", "training.ema=0.9", "training.clip_gradient=1")
DIVISIBLE = {
    "autoencoder": ("digits-denoising-autoencoder", "model.widths=[4,8]", "model.latent_size=6"),
    "vae": (
        "digits-vae", "model.widths=[4,8]", "model.latent_size=6", "model.condition=[class]",
        "model.condition_dropout=0.3", "model.perceptual={judge: digits}",
    ),
    "gan": (
        "digits-cgan", "model.latent_size=6", "model.critic_steps=2", "model.conditioning=joined",
        "model.generator={kind: dcgan, widths: [6,4], norm: none}",
        "model.critic={kind: dcgan, widths: [4,6], norm: none, spectral: true}", "model.penalty={kind: r1, every: 2}",
        "model.augmentation={kind: adaptive, translation: 0.2, pictures: 300}",
    ),
    "flow": ("digits-flow", "model.network={kind: unet, widths: [4,6]}"),
    "a prior": (
        "digits-vae", "model.widths=[4,8]", "model.latent_size=6",
        "model.prior={kind: flow, width: 6, blocks: 1, share: 0, condition: [class]}",
    ),
    "a mixture": (
        "digits-vae", "model.widths=[4,8]", "model.latent_size=6",
        "model.prior={kind: mixture, components: 5, share: 0, condition: [class]}",
    ),
    "classifier": ("judge-digits", "model.widths=[4,8]", "model.blocks=[0,1]", "model.norm=none", "model.dropout=0"),
}  # fmt: skip
NOT_DIVISIBLE = {
    "batch norm": ("digits-denoising-autoencoder", "model.norm=batch"),
    "dropout": ("judge-digits", "model.norm=none", "model.dropout=0.1"),
    "free bits": ("digits-vae", "model.free_bits=0.1"),
    "capacity": ("digits-vae", "model.capacity={nats: 5}"),
    "halves for a critic": (
        "digits-vae", "model.adversarial.critic={kind: dcgan, widths: [4,8], norm: none}",
    ),
    "noise of its own": (
        "digits-cgan", "model.generator={kind: style, widths: [6,4], style_size: 6}",
        "model.critic={kind: dcgan, widths: [4,6], norm: none}",
    ),
    "a deviation over the batch": (
        "digits-cgan", "model.generator={kind: dcgan, widths: [6,4], norm: none}", "model.conditioning=joined",
        "model.critic={kind: style, widths: [4,6]}",
    ),
    "torch.compile": (*DIVISIBLE["autoencoder"], "training.compile=true"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def learner_for(recipe: tuple[str, ...], *more: str) -> TorchLearner:
    plan = resolve(read(recipe[0], [*recipe[1:], *COMMON, *more]))
    return TorchLearner(plan, plan.spec)


def walked(
    recipe: tuple[str, ...], parts: int, steps: int = 1, first: int = 0, state: Arrays | None = None
) -> tuple[list[Values], TorchLearner]:
    """Loss terms of the steps from the first on, and the learner, which may go on from a state."""
    learner = learner_for(recipe, f"training.parts={parts}", "training.batch_size=25")
    learner.steps = 4
    if state is not None:
        learner.load_state(state)
    data = SOURCES["digits"].load(DataOptions(source="digits", validation=237))
    batches = Batches(data.train, 25, 0, learner.draws)
    return [learner.read([learner.step(step, batches.at(step))])[0] for step in range(first, steps)], learner


@pytest.mark.parametrize("family", quick_first(DIVISIBLE))
def test_a_batch_in_parts_is_the_batch(family: str) -> None:
    (terms,), whole = walked(DIVISIBLE[family], 1)
    for count in (2, 3):
        (found,), parts = walked(DIVISIBLE[family], count)
        assert found == pytest.approx(terms, rel=1e-5, abs=1e-6)
        for (name, one), other in zip(whole.model.named_parameters(), parts.model.parameters(), strict=True):
            if one.grad is not None:
                assert other.grad is not None
                torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-6, msg=name)
        for (name, kept), buffer in zip(whole.model.named_buffers(), parts.model.buffers(), strict=True):
            torch.testing.assert_close(buffer, kept, rtol=1e-4, atol=1e-5, msg=name)


def test_a_checkpoint_is_gone_on_from_in_parts_bit_for_bit() -> None:
    _, whole = walked(DIVISIBLE["gan"], 2, steps=3)
    _, before = walked(DIVISIBLE["gan"], 2, steps=2)
    kept = before.state()
    assert any("._u" in name for name in kept), "with what spectral norms keep"
    _, after = walked(DIVISIBLE["gan"], 2, steps=3, first=2, state=kept)
    one, other = whole.state(), after.state()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_equal_parts_give_equal_bits() -> None:
    (one, first), (other, second) = (walked(DIVISIBLE["gan"], 2, steps=3) for _ in range(2))
    assert one == other
    states = first.state(), second.state()
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("why", quick_first(NOT_DIVISIBLE))
def test_a_batch_that_belongs_together_stays_together(why: str) -> None:
    torch.set_num_threads(2)
    assert len(learner_for(NOT_DIVISIBLE[why], "training.batch_size=1024")._parts.models) == 1
    with pytest.raises(RecipeError, match=r"training\.parts: a batch is divided on a processor alone"):
        learner_for(NOT_DIVISIBLE[why], "training.parts=2")


def test_there_are_as_many_parts_as_threads_where_a_batch_is_large() -> None:
    found = {}
    for threads in (1, 2, 3, 64):
        torch.set_num_threads(threads)
        found[threads] = [parts_for(batch, pixels) for batch, pixels in ((128, 784), (64, 64), (2, LEAST))]
    assert found == {1: [1, 1, 1], 2: [2, 1, 1], 3: [3, 1, 1], 64: [MOST, 1, 1]}


def test_a_run_keeps_its_number_of_parts_and_its_bits_on_other_threads(tmp_path: Path) -> None:
    recipe = [*DIVISIBLE["autoencoder"][1:], *COMMON, "training.epochs=null", "training.schedule={kind: constant}"]
    recipe.append("training.batch_size=1024")
    torch.set_num_threads(2)
    whole = train(DIVISIBLE["autoencoder"][0], [*recipe, "training.steps=6"], out=tmp_path / "whole")
    assert whole.info["device"]["parts"] == 2
    part = train(DIVISIBLE["autoencoder"][0], [*recipe, "training.steps=3"], out=tmp_path / "part")
    torch.set_num_threads(1)
    resume(part.path, ["training.steps=6"])
    assert torch.get_num_threads() == 1
    one, other = (load_arrays(run.weights_file)[0] for run in (whole, Run(part.path)))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_threads_wait_as_sanggar_says_unless_the_user_says_otherwise() -> None:
    code = "import os, sanggar; print(os.environ['GOMP_SPINCOUNT'], os.environ['OPENBLAS_THREAD_TIMEOUT'])"
    names = ("GOMP_SPINCOUNT", "OPENBLAS_THREAD_TIMEOUT")
    bare = {name: value for name, value in os.environ.items() if name not in names}
    found = [
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        for env in (bare, bare | {names[0]: "7"})
    ]
    assert found == ["1000 4\n", "7 4\n"]


# -- beside others -----------------------------------------------------------------------------------------------


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def taken_by(monkeypatch: pytest.MonkeyPatch, busy: float, *overrides: str, begun: Tree | None = None) -> int:
    """That a training takes on two cores of which so much is busy."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: busy)
    plan = resolve(read("digits-denoising-autoencoder", ["training.device=cpu", *overrides]))
    learner = TorchLearner(plan, plan.spec, begun=begun)
    taken: int = learner.describe()["device"]["threads"]
    learner.close()
    assert torch.get_num_threads() == 2, "others have as many as before"
    return taken


def test_a_small_network_takes_the_cores_that_are_free(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [taken_by(monkeypatch, busy) for busy in (0.0, 20.0, 55.0, 100.0)] == [2, 2, 1, 1]


def test_it_takes_as_many_as_it_is_told(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 100.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert free_threads(2) == 2


def test_a_large_batch_takes_all(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken_by(monkeypatch, 100.0, "training.batch_size=1024", "training.parts=1") == 2


def test_a_run_goes_on_with_as_many_as_it_began_with(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = {"kind": "cpu", "precision": "fp32", "precision_because": "", "parts": 1}
    assert taken_by(monkeypatch, 0.0, begun={**begun, "threads": 1}) == 1
    assert taken_by(monkeypatch, 100.0, begun={**begun, "threads": 2}) == 2
