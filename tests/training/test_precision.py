"""bfloat16 is trained in where a network's own convolutions are right and faster in it; float32 everywhere else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from sanggar.models.base import Model
from sanggar.plan import FAMILIES, build, resolve
from sanggar.recipe import read
from sanggar.training import precision
from sanggar.training.precision import Call, convolutions, precision_for, tried
from sanggar.training.start import resume, train

CPU = torch.device("cpu")
TINY = (
    "digits-denoising-autoencoder", "model.widths=[4,8]", "model.latent_size=6", "training.device=cpu",
    "training.epochs=null", "training.steps=2", "training.schedule={kind: constant}",
)  # fmt: skip
RECIPES = {
    "autoencoder": TINY[0],
    "vae": "digits-vae",
    "gan": "digits-cgan",
    "classifier": "judge-digits",
    "flow": "digits-flow",
}


def seconds(monkeypatch: pytest.MonkeyPatch, fp32: float, bf16: float) -> None:
    measured = precision._measured

    def told(call: Call, tensors: list[Tensor], is_bf16: bool) -> tuple[list[Tensor], float]:
        return measured(call, tensors, is_bf16)[0], bf16 if is_bf16 else fp32

    monkeypatch.setattr(precision, "_measured", told)


@pytest.mark.parametrize("family", RECIPES)
def test_every_convolution_of_a_network_is_tried_and_nothing_of_it_changes(family: str) -> None:
    assert set(RECIPES) == {name for name, of in FAMILIES.items() if of.learner == "torch"}
    plan = resolve(read(RECIPES[family]))
    model = cast("Model", build(plan, plan.spec)).place(CPU)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    calls = convolutions(model, plan.spec, 4)
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert not changed
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    assert {call.weight for call in calls} >= {layer.weight.shape for layer in layers}


@pytest.mark.parametrize(("fp32", "bf16", "chosen"), [(2.0, 1.0, "bf16"), (1.0, 2.0, "fp32"), (1.0, 1.0, "fp32")])
def test_the_faster_is_taken(monkeypatch: pytest.MonkeyPatch, fp32: float, bf16: float, chosen: str) -> None:
    seconds(monkeypatch, fp32, bf16)
    monkeypatch.setattr(precision, "computes_bf16", lambda device: True)
    plan = resolve(read(TINY[0], TINY[1:]))
    found, why = precision_for("auto", cast("Model", build(plan, plan.spec)), plan.spec, CPU, 64)
    assert (found, why) == (chosen, f"convolutions in bfloat16 are {fp32 / bf16:.2f} times as fast here")


@pytest.mark.parametrize("is_wrong", ["output", "gradient", "nan"])
def test_what_is_wrong_is_not_taken(monkeypatch: pytest.MonkeyPatch, is_wrong: str) -> None:
    seconds(monkeypatch, 2.0, 1.0)

    def convolve(x: Tensor, w: Tensor, bias: None, *rest: object) -> Tensor:
        found: Tensor = torch.conv2d(x, w, bias, *rest)  # type: ignore[call-overload]
        if not torch.is_autocast_enabled("cpu"):
            return found
        if is_wrong == "output":
            return found * 1.1
        if is_wrong == "nan":
            return found / 0
        return found + (w - w.detach()).sum()

    calls = Counter({Call(convolve, torch.Size((4, 3, 8, 8)), torch.Size((5, 3, 3, 3)), ((1, 1), (1, 1)), ()): 1})
    found, why = tried(calls)
    assert found == "fp32"
    part = "a gradient" if is_wrong == "gradient" else "its output"
    assert why == f"bfloat16 is wrong here: {part} of a convolution of 4×3×8×8 by 5×3×3×3"


def test_right_convolutions_are_found_right() -> None:
    size, rest = torch.Size, ((2, 2), (1, 1))
    forth = Call(torch.conv2d, size((3, 4, 9, 9)), size((6, 4, 3, 3)), rest, ())
    back = Call(torch.conv_transpose2d, size((3, 4, 5, 5)), size((4, 2, 4, 4)), rest, ())
    calls = Counter([forth, back])
    assert "times as fast here" in tried(calls)[1]


def test_a_run_goes_on_in_the_precision_that_it_began_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds(monkeypatch, 2.0, 1.0)
    monkeypatch.setattr(precision, "computes_bf16", lambda device: True)
    run = train(TINY[0], TINY[1:], out=tmp_path / "run")
    device = run.info["device"]
    assert device["precision"] == "bf16"
    assert device["precision_because"] == "convolutions in bfloat16 are 2.00 times as fast here"
    monkeypatch.setattr(precision, "_measured", None)
    assert resume(run.path, ["training.steps=3"]).info["step"] == 3
