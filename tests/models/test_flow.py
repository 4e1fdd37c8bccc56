"""Flows: solvers beside closed forms, densities, learning a distribution, conditions, shortcuts, networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sanggar.data.images import ImageSpec
from sanggar.errors import RecipeError, RunError
from sanggar.models.base import Batch, StepContext
from sanggar.models.conditions import Conditions
from sanggar.models.flow.matching import (
    FlowSampling,
    Solver,
    even_times,
    follow,
    gradients,
    guided,
    log_density,
    matching_error,
    take_shortcuts,
)
from sanggar.models.flow.model import Flow, FlowOptions, Shortcuts
from sanggar.models.flow.networks import UNetOptions, VectorNetwork
from sanggar.models.losses import BIN
from typed import there

NOTHING = Conditions((), ImageSpec(4, 4, 1))
MEAN, DEVIATION = 0.7, 0.3


def context(count: int, step: int = 0, split: str = "train") -> StepContext:
    return StepContext(0, step, 100, count, slice(count), torch.device("cpu"), split=split)


def of_gaussian(x: Tensor, t: Tensor, deviation: float = DEVIATION) -> Tensor:
    """The velocity from N(0, 1) to N(MEAN, deviation²): the mean of x₁ − x₀ where x_t is known."""
    t = t[:, None]
    variance = (1 - t) ** 2 + (t * deviation) ** 2
    return MEAN + (t * deviation**2 - (1 - t)) / variance * (x - t * MEAN)


def gaussian(deviation: float) -> tuple[Tensor, Tensor]:
    """Draws from N(MEAN, deviation²), three numbers each, and the logarithms of their densities."""
    x = MEAN + deviation * torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x, -0.5 * (((x - MEAN) / deviation) ** 2).sum(dim=1) - 3 * math.log(deviation * math.sqrt(2 * math.pi))


def swirl(x: Tensor, t: Tensor) -> Tensor:
    """A velocity without any symmetry, of two numbers."""
    return torch.stack([x[:, 1] * torch.cos(3 * t), torch.sin(2 * x[:, 0]) + t**2], dim=1)


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_solvers_converge_at_their_order(solver: Solver, order: int) -> None:
    x = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = follow(swirl, x, "midpoint", 4000)
    errors = [float((follow(swirl, x, solver, steps) - exact).abs().mean()) for steps in (20, 40, 80)]
    orders = [math.log2(one / other) for one, other in pairwise(errors)]
    assert all(abs(found - order) < 0.15 for found in orders)


def test_the_adaptive_solver_is_as_exact_for_each_picture_as_it_is_alone() -> None:
    x = torch.randn(30, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = follow(swirl, x, "midpoint", 4000)
    for count in (30, 1):
        error = (follow(swirl, x[:count], "adaptive", 1) - exact[:count]).abs() / (1 + exact[:count].abs())
        assert 0 < error.max().item() < 2e-3


@pytest.mark.parametrize("solver", ["midpoint", "adaptive"])
def test_the_way_back_leads_to_where_one_came_from(solver: Solver) -> None:
    x = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    there_and_back = follow(swirl, follow(swirl, x, solver, 200), solver, 200, backwards=True)
    assert torch.allclose(there_and_back, x, atol=2e-3 if solver == "adaptive" else 1e-5)


def test_the_density_of_a_gaussian_flow_is_the_closed_form() -> None:
    x, wanted = gaussian(DEVIATION)
    with gradients():
        found = log_density(of_gaussian, x, None, "midpoint", 64, 1.0)
        # each number's slope is the same everywhere and none depends on another: every probe of signs is exact
        probe = torch.where(torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) < 0.5, -1.0, 1.0).double()
        estimated = log_density(of_gaussian, x, probe, "midpoint", 64, 1.0)
    assert float((found - wanted).abs().max()) < 1e-3
    assert torch.allclose(estimated, found)


@pytest.mark.parametrize("deviation", [DEVIATION, 0.03, 0.6 * BIN])
def test_a_density_is_exact_where_data_lie_close_together(deviation: float) -> None:
    x, wanted = gaussian(deviation)
    with gradients():
        found = log_density(lambda x, t: of_gaussian(x, t, deviation), x, None)
    assert float((found - wanted).abs().max()) / 3 < 0.01, "nats a number, as it is measured"


def test_hutchinsons_estimate_has_no_bias() -> None:
    x = torch.randn(1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).expand(4000, 2)
    probe = torch.where(torch.rand(4000, 2, generator=torch.Generator().manual_seed(1)) < 0.5, -1.0, 1.0).double()

    def mixing(x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(x @ torch.tensor([[0.5, 1.0], [-0.4, 0.3]], dtype=torch.float64)) * (1 - t[:, None])

    with gradients():
        exact = float(log_density(mixing, x[:1], None)[0])
        estimates = log_density(mixing, x, probe)
    spread = float(estimates.std()) / math.sqrt(len(estimates))
    assert spread > 0
    assert abs(float(estimates.mean()) - exact) < 4 * spread


def test_times_are_spread_evenly_over_a_batch_and_the_same_for_each_of_its_parts() -> None:
    whole = even_times(context(64))
    assert (whole.sort()[0] * 64).floor().tolist() == list(range(64))
    assert (whole.diff() < 0).any(), "which picture has which is drawn: a batch may be shown again"
    part = even_times(StepContext(0, 0, 100, 64, slice(16, 40), torch.device("cpu")))
    assert torch.equal(part, whole[16:40])


def sliced(one: Tensor, other: Tensor) -> float:
    """Mean over directions of the Wasserstein distance of the projections: as many points of each."""
    angles = torch.linspace(0, math.pi, 32)
    directions = torch.stack([angles.cos(), angles.sin()])
    sorted_ = [(points @ directions).sort(dim=0)[0] for points in (one, other)]
    return float((sorted_[0] - sorted_[1]).abs().mean())


@pytest.mark.slow
def test_a_mixture_in_the_plane_is_recovered() -> None:
    draw = torch.Generator().manual_seed(0)
    centres = torch.tensor([[-2.0, 0.0], [1.0, 1.7], [1.0, -1.7]])

    def mixture(count: int) -> Tensor:
        chosen = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), count, replacement=True, generator=draw)
        return centres[chosen] + 0.3 * torch.randn(count, 2, generator=draw)

    torch.manual_seed(0)
    network = VectorNetwork(2, 32, 3, NOTHING)
    steps = 1500
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        x1 = mixture(512)
        loss = matching_error(
            network, torch.randn(512, 2, generator=draw), x1, even_times(context(512, step))
        ).mean()  # fmt: skip
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        drawn = follow(network, torch.randn(40_000, 2, generator=draw), "midpoint", 8)
    real, others = mixture(40_000), mixture(40_000)
    spread = float((real - real.mean(dim=0)).norm(dim=1).mean())
    assert sliced(real, others) < 0.01 * spread > sliced(drawn, real)


# -- conditions and guidance -------------------------------------------------------------------------------------

SPEC = ImageSpec(8, 8, 1, tuple("abc"))


def flow(**options: object) -> Flow:
    torch.manual_seed(0)
    given = {"network": {"kind": "unet", "widths": (4, 8)}, "condition": ("class",), **options}
    model = Flow(FlowOptions(**given), SPEC).eval()
    for parameter in model.parameters():  # what begins at 0 would answer everything alike
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def rows(*classes: int) -> Tensor:
    return torch.eye(3)[list(classes)]


def test_guidance_of_1_is_the_conditional_network_and_of_0_the_unconditional_one() -> None:
    model, noise, condition = flow(), torch.randn(4, 1, 8, 8), rows(0, 1, 2, 0)
    t = torch.rand(4)
    with torch.no_grad():
        under, without = model.network(noise, t, condition), model.network(noise, t, None)
        assert torch.equal(guided(model.network, condition, 1.0)(noise, t), under)
        assert torch.allclose(guided(model.network, condition, 0.0)(noise, t), without, atol=1e-5)
        assert torch.allclose(
            guided(model.network, condition, 3.0)(noise, t), without + 3 * (under - without), atol=1e-4
        )
    assert not torch.allclose(under, without, atol=1e-3)


def test_what_means_nothing_is_refused_in_words() -> None:
    noise, condition = torch.randn(2, 1, 8, 8), rows(0, 1)
    with pytest.raises(RunError, match="asked for nothing"):
        flow().sample(noise, None, FlowSampling(guidance=2))
    with pytest.raises(RunError, match="a condition always given"):
        flow(condition_dropout=0.0).sample(noise, condition, FlowSampling(guidance=2))
    with pytest.raises(RunError, match="no shortcuts"):
        flow().sample(noise, condition, FlowSampling(solver="shortcut"))
    with pytest.raises(RunError, match="learned without it"):
        flow(shortcuts=Shortcuts()).sample(noise, condition, FlowSampling(solver="shortcut", guidance=2))


def test_a_flow_that_always_had_a_condition_cannot_do_without() -> None:
    assert flow(condition_dropout=0.0).lacks == {"encode", "decode", "reconstruct", "log_density"}
    assert not flow().lacks


def test_pictures_come_back_from_the_noise_they_are_encoded_as() -> None:
    model = flow()
    images = torch.rand(3, 1, 8, 8) - 0.5
    with torch.no_grad():
        latents = model.encode(images)
        assert latents.shape == (3, 64)
        assert torch.allclose(model.reconstruct(images), images, atol=0.02)
        assert not torch.allclose(latents.reshape(images.shape), images, atol=0.1)


def test_the_bound_of_a_flow_that_does_nothing_is_that_of_the_noise() -> None:
    model = flow()
    for parameter in model.network.leave.parameters():
        torch.nn.init.zeros_(parameter)
    images, noise = torch.zeros(2, 1, 8, 8), torch.full((2, 1, 8, 8), 0.25)
    with torch.inference_mode():
        found = model.log_density(images, noise)
    wanted = 64 * (math.log(BIN) - 0.5 * math.log(2 * math.pi))  # 0.25 places a picture in the middle of its bins
    assert torch.allclose(found, torch.full((2,), wanted), atol=1e-3)


# -- learning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shortcuts", [None, Shortcuts(share=0.5)])
def test_the_loss_of_a_batch_is_the_mean_over_its_pictures(shortcuts: Shortcuts | None) -> None:
    model = flow(shortcuts=shortcuts).train()
    images, labels = torch.rand(16, 1, 8, 8) * 2 - 1, torch.arange(16) % 3
    whole = model.loss(Batch(images, labels), context(16))
    parts = [
        model.loss(
            Batch(images[part], labels[part]), StepContext(0, 0, 100, 16, part, torch.device("cpu"))
        )
        for part in (slice(0, 4), slice(4, 16))
    ]  # fmt: skip
    for name, value in whole.items():
        assert value.item() > 0
        assert torch.allclose(value, parts[0][name] * 4 / 16 + parts[1][name] * 12 / 16, rtol=1e-4)


def test_a_shortcut_is_learned_as_two_of_half_its_length() -> None:
    model = flow(shortcuts=Shortcuts(share=0.5)).train()
    x, t, half = torch.randn(4, 1, 8, 8), torch.tensor([0.0, 0.5, 0.25, 0.0]), torch.tensor([0.5, 0.25, 2**-7, 0.0])
    chosen, condition = torch.tensor([True, True, True, False]), rows(0, 1, 2, 0)
    found = model._of_two_halves(x, t, half, condition, chosen)
    with torch.no_grad():
        for place in range(3):
            one = slice(place, place + 1)
            told = half[one] if place < 2 else torch.zeros(1)  # the shortest is the velocity itself
            first = model.network(x[one], t[one], condition[one], told)
            second = model.network(x[one] + half[place] * first, t[one] + half[one], condition[one], told)
            assert torch.allclose(found[one], (first + second) / 2, atol=1e-5)
    assert not found[3].any()


def test_shortcuts_are_taken_as_they_were_learned() -> None:
    model, noise, condition = flow(shortcuts=Shortcuts()), torch.randn(2, 1, 8, 8), rows(0, 1)
    step = torch.full((2,), 0.5)
    with torch.no_grad():
        middle = noise + 0.5 * model.network(noise, torch.zeros(2), condition, step)
        end = middle + 0.5 * model.network(middle, step, condition, step)
        assert torch.allclose(take_shortcuts(model.network, noise, condition, 2), end, atol=1e-5)
        sampled = model.sample(noise, condition, FlowSampling(solver="shortcut", steps=2))
    assert torch.allclose(sampled, end.clamp(-1, 1), atol=1e-5)


# -- the U-Net ---------------------------------------------------------------------------------------------------


@given(
    height=st.integers(8, 33), width=st.integers(8, 33), channels=st.sampled_from([1, 3, 4]),
    widths=st.lists(st.integers(1, 20), min_size=1, max_size=3), blocks=st.integers(1, 2), attention=st.booleans(),
)  # fmt: skip
@settings(max_examples=10)
def test_velocities_have_the_size_of_pictures(
    height: int, width: int, channels: int, widths: list[int], blocks: int, attention: bool
) -> None:
    spec = ImageSpec(height, width, channels)
    network = UNetOptions(widths=tuple(widths), blocks=blocks, attention=attention).build(
        spec, Conditions((), spec), shortcuts=False
    )
    x = torch.randn(2, channels, height, width)
    velocity = network(x, torch.rand(2))
    assert velocity.shape == x.shape
    assert not velocity.any()  # it begins at 0
    velocity.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    ("options", "size", "said"),
    [
        ({"patch": 4}, (10, 12), "not filled by squares of 4×4"),
        ({"patch": 4, "widths": (4, 4, 4)}, (8, 8), "3 resolutions are more"),
        ({"widths": (8, 65)}, (8, 8), "do not divide by 2"),
    ],
)
def test_networks_that_do_not_fit_pictures_are_refused(
    options: dict[str, Any], size: tuple[int, int], said: str
) -> None:
    spec = ImageSpec(*size, 1)
    with pytest.raises(RecipeError, match=said):
        UNetOptions(**options).build(spec, Conditions((), spec), shortcuts=False)


def test_a_patch_is_the_same_network_on_fewer_places() -> None:
    spec = ImageSpec(8, 8, 1)
    network = UNetOptions(widths=(8,), patch=2).build(spec, Conditions((), spec), shortcuts=False)
    shapes = list[tuple[int, ...]]()
    hook: Callable[..., None] = lambda module, given, found: shapes.append(tuple(found.shape))  # noqa: E731
    there(network.enter).register_forward_hook(hook)
    network(torch.zeros(1, 1, 8, 8), torch.zeros(1))
    assert shapes == [(1, 8, 4, 4)]


def test_time_matters_and_condition_matters() -> None:
    model, x = flow(), torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        found = [model.network(x, torch.tensor([t]), rows(c)) for t, c in ((0.1, 0), (0.9, 0), (0.1, 1))]
    assert np.ptp([float(f.sum()) for f in found]) > 0.1
