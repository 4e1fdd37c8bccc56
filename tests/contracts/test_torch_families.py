"""What a PyTorch family promises beside what every family does, at each size of picture it may be built for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from conftest import SLIM, quick_first
from sanggar.data.images import ImageSpec
from sanggar.models.base import Batch, Model, StepContext
from sanggar.models.capabilities import Decodes, Disturbs, Encodes, Reconstructs
from sanggar.plan import FAMILIES, build, resolve
from sanggar.recipe import Recipe
from sanggar.runs import load_arrays, save_arrays

CLASSES = tuple("0123456789")
SIZES = [ImageSpec(8, 8, 1, CLASSES), ImageSpec(28, 28, 1, CLASSES), ImageSpec(32, 32, 3, CLASSES)]
N = 6

TORCH = [name for name, family in FAMILIES.items() if issubclass(family, Model)]

pytestmark = [
    pytest.mark.usefixtures("few_steps"),
    pytest.mark.parametrize("name", TORCH),
    pytest.mark.parametrize("spec", quick_first(SIZES), ids=lambda spec: spec.size),
]


def made(name: str, spec: ImageSpec, seed: int = 0) -> Model:
    plan = resolve(
        Recipe("t", data={"source": "digits"}, model={"family": name, **SLIM.get(name, {})}, training={"steps": 1})
    )
    model = build(plan, spec, seed)
    assert isinstance(model, Model)
    return model


def shown(spec: ImageSpec) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand((N, spec.channels, spec.height, spec.width), generator=generator) * 2 - 1
    return Batch(pictures.contiguous(memory_format=torch.channels_last), torch.arange(N))


def step_context(step: int = 0) -> StepContext:
    return StepContext(0, step, 10, N, slice(N), torch.device("cpu"))


def test_its_phases_share_out_all_parameters(name: str, spec: ImageSpec) -> None:
    model = made(name, spec)
    phases = model.phases()
    covered = [id(parameter) for phase in phases for parameter in phase.parameters]
    assert sorted(covered) == sorted(id(parameter) for parameter in model.parameters())
    assert len({phase.name for phase in phases}) == len(phases)


def test_its_losses_are_finite_and_reach_every_parameter(name: str, spec: ImageSpec) -> None:
    for phase in made(name, spec).phases():
        terms = phase.loss(shown(spec), step_context())
        assert terms
        for term in terms.values():
            assert (term.shape, term.dtype) == ((), torch.float32)
            assert term.isfinite()
        gradients = torch.autograd.grad(torch.stack(list(terms.values())).sum(), list(phase.parameters))
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.any() for gradient in gradients)


def test_its_draws_are_a_function_of_the_moment(name: str, spec: ImageSpec) -> None:
    model = made(name, spec).eval()
    for phase in model.phases():
        first, again, later = (phase.loss(shown(spec), step_context(step)) for step in (3, 3, 4))
        assert all(first[term].equal(again[term]) for term in first)
        assert later.keys() == first.keys()


def test_its_capabilities_keep_their_word(name: str, spec: ImageSpec) -> None:
    model, pictures = made(name, spec).eval(), shown(spec).images
    with torch.inference_mode():
        made_pictures = []
        if isinstance(model, Encodes):
            latents = model.encode(pictures)
            assert (latents.ndim, len(latents), latents.dtype) == (2, N, torch.float32)
            assert latents.isfinite().all()
            assert latents.equal(model.encode(pictures))
            if isinstance(model, Decodes):
                made_pictures.append(model.decode(latents))
        if isinstance(model, Reconstructs):
            made_pictures.append(model.reconstruct(pictures))
        if isinstance(model, Disturbs):
            noisy = model.disturb(pictures, step_context(), 0.5)
            made_pictures.append(noisy)
            assert not noisy.equal(pictures)
            assert noisy.equal(model.disturb(pictures, step_context(), 0.5))
            assert model.disturb(pictures, step_context(), 0.0).equal(pictures)
        for result in made_pictures:
            assert (result.shape, result.dtype) == (pictures.shape, torch.float32)
            assert result.abs().max() <= 1.01


def test_its_weights_survive_a_file(name: str, spec: ImageSpec, tmp_path: Path) -> None:
    model, other = made(name, spec), made(name, spec, seed=1)
    save_arrays(tmp_path / "weights", {key: value.numpy() for key, value in model.state_dict().items()})
    arrays, _ = load_arrays(tmp_path / "weights")
    other.load_state_dict({key: torch.from_numpy(array) for key, array in arrays.items()})
    for phase, same in zip(model.eval().phases(), other.eval().phases(), strict=True):
        terms, found = (p.loss(shown(spec), step_context()) for p in (phase, same))
        assert {key: float(value.detach()) for key, value in found.items()} == pytest.approx(
            {key: float(value.detach()) for key, value in terms.items()}, rel=1e-5
        )
