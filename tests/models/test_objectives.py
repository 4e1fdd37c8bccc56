"""Objectives and penalties on cases worked by hand, and against autograd on critics whose gradient is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sanggar.models.base import StepContext
from sanggar.models.gan.objectives import (
    BCE,
    R1,
    Hinge,
    LeastSquares,
    ObjectiveOptions,
    Relativistic,
    Wasserstein,
    clip_weights,
    gradient_penalty,
    penalty_terms,
    r1_penalty,
)

REAL, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("objective", "critic", "generator"),
    [
        (BCE(), (softplus(-2) + softplus(1)) / 2 + (softplus(0.5) + softplus(-3)) / 2,
         (softplus(-0.5) + softplus(3)) / 2),
        # the target 0.9 adds a tenth of each real score
        (BCE(smoothing=0.1), (softplus(-2) + 0.2 + softplus(1) - 0.1) / 2 + (softplus(0.5) + softplus(-3)) / 2,
         (softplus(-0.5) + softplus(3)) / 2),
        (LeastSquares(kind="least_squares"), (1 + 4) / 4 + (0.25 + 9) / 4, (0.25 + 16) / 4),
        (LeastSquares(kind="least_squares", smoothing=0.2), (1.44 + 3.24) / 4 + (0.25 + 9) / 4, (0.25 + 16) / 4),
        (Hinge(kind="hinge"), (0 + 2) / 2 + (1.5 + 0) / 2, (-0.5 + 3) / 2),
        (Wasserstein(kind="wasserstein"), -1.25 - 0.5, 1.25),
        (Relativistic(kind="relativistic"), (softplus(-1.5) + softplus(-2)) / 2, (softplus(1.5) + softplus(2)) / 2),
    ],
    ids=["bce", "bce smoothed", "least squares", "least squares smoothed", "hinge", "wasserstein", "relativistic"],
)  # fmt: skip
def test_worked_by_hand(objective: ObjectiveOptions, critic: float, generator: float) -> None:
    assert objective.critic(REAL, FAKE).item() == pytest.approx(critic, rel=1e-6)
    assert objective.generator(REAL, FAKE).item() == pytest.approx(generator, rel=1e-6)


@pytest.mark.parametrize(
    "objective",
    [BCE(), LeastSquares(kind="least_squares"), Hinge(kind="hinge"), Wasserstein(kind="wasserstein"),
     Relativistic(kind="relativistic")],
    ids=lambda o: o.kind,
)  # fmt: skip
@given(scores=st.lists(st.floats(-0.9, 0.9), min_size=2, max_size=6), size=st.floats(1, 1e4))
def test_the_critic_wants_real_up_and_the_generator_its_own(
    objective: ObjectiveOptions, scores: list[float], size: float
) -> None:
    real, fake = (torch.tensor(values, requires_grad=True) for values in (scores, scores[::-1]))
    by_real, by_fake = torch.autograd.grad(objective.critic(real, fake), (real, fake))
    assert (by_real < 0).all() or objective.kind == "least_squares"
    assert (by_fake > 0).all() or objective.kind == "least_squares"
    (by_own,) = torch.autograd.grad(objective.generator(real, fake), fake)
    assert (by_own < 0).all()
    far = torch.tensor([size, -size])
    assert torch.isfinite(objective.critic(far, -far)) and torch.isfinite(objective.generator(far, -far))


def scored(weights: Tensor) -> nn.Module:
    """score = Σ w x²: its gradient at x is 2 w x."""

    class Quadratic(nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            return (weights * pictures.square()).sum(dim=(1, 2, 3))

    return Quadratic()


def test_r1_is_half_the_squared_gradient_at_real_pictures() -> None:
    generator = torch.Generator().manual_seed(0)
    real, weights = torch.randn((5, 3, 4, 4), generator=generator), torch.randn((3, 4, 4), generator=generator)
    expected = (2 * weights * real).square().sum(dim=(1, 2, 3)).mean() / 2
    torch.testing.assert_close(r1_penalty(scored(weights), real), expected)


def test_r2_is_the_same_at_drawn_pictures_and_the_weight_falls_along_a_cosine() -> None:
    generator = torch.Generator().manual_seed(2)
    real, fake = (torch.randn((5, 1, 4, 4), generator=generator) for _ in range(2))
    critic = scored(torch.randn((1, 4, 4), generator=generator).requires_grad_())

    def terms(step: int, **options: object) -> dict[str, float]:
        context = StepContext(0, step, 100, 5, slice(5), torch.device("cpu"))
        penalty = R1.model_validate({"kind": "r1", "weight": 3.0, "every": 2, **options})
        return {name: term.item() for name, term in penalty_terms(penalty, critic, real, fake, context).items()}

    r1, r2 = (r1_penalty(critic, pictures).item() for pictures in (real, fake))
    assert terms(0) == about_each({"r1": 6 * r1})
    assert terms(0, drawn=True) == about_each({"r1": 6 * r1, "r2": 6 * r2})
    assert terms(1, drawn=True) == {}
    assert terms(50, drawn=True, final=0.2) == about_each({"r1": 0.6 * 6 * r1, "r2": 0.6 * 6 * r2})
    assert R1(kind="r1", final=0.2).weight_at(1.0) == pytest.approx(0.2)


def about_each(values: dict[str, float]) -> Any:
    return pytest.approx(values, rel=1e-5)


def test_the_gradient_penalty_is_taken_between_the_pictures() -> None:
    generator = torch.Generator().manual_seed(1)
    real, fake = (torch.randn((5, 1, 4, 4), generator=generator) for _ in range(2))
    weights, way = torch.randn((1, 4, 4), generator=generator), torch.rand((5, 1, 1, 1), generator=generator)
    between = way * real + (1 - way) * fake
    slopes = (2 * weights * between).square().sum(dim=(1, 2, 3)).sqrt()
    found = gradient_penalty(scored(weights), real, fake, way)
    torch.testing.assert_close(found, (slopes - 1).square().mean())


def test_penalties_reach_the_critic_and_not_the_pictures() -> None:
    weights = torch.ones((1, 2, 2), requires_grad=True)
    pictures = torch.ones((2, 1, 2, 2), requires_grad=True)
    value = r1_penalty(scored(weights), pictures) + gradient_penalty(
        scored(weights), pictures, pictures, torch.zeros(2, 1, 1, 1)
    )
    by_weights, by_pictures = torch.autograd.grad(value, (weights, pictures), allow_unused=True)
    assert by_weights.abs().sum() > 0
    assert by_pictures is None


def test_clipped_weights_lie_within() -> None:
    layer = nn.Linear(50, 50)
    clip_weights(layer, 0.02)
    assert max(p.abs().max().item() for p in layer.parameters()) == pytest.approx(0.02)


def test_a_wasserstein_critic_finds_the_distance_of_two_gaussians() -> None:
    """Of two normal distributions that differ by their means alone, the distance is the length between the means.

    A penalty of weight w leaves the best critic a slope of 1 + distance / 2 w, here 1.0125.
    """
    torch.manual_seed(0)
    shift = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1) / 2  # 2.5 apart
    critic = nn.Sequential(nn.Flatten(), nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 1), nn.Flatten(0))
    optimizer, objective = torch.optim.Adam(critic.parameters(), 0.003, (0.5, 0.9)), Wasserstein(kind="wasserstein")
    for _ in range(500):
        fake = torch.randn(256, 2, 1, 1)
        real = torch.randn(256, 2, 1, 1) + shift
        penalty = gradient_penalty(critic, real, fake, torch.rand(256, 1, 1, 1))
        loss = objective.critic(critic(real), critic(fake)) + 100 * penalty
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.no_grad():
        real, fake = torch.randn(20_000, 2, 1, 1) + shift, torch.randn(20_000, 2, 1, 1)
        distance = -objective.critic(critic(real), critic(fake)).item()
    assert distance == pytest.approx(2.5, rel=0.05)
