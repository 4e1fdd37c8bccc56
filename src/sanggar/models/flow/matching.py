"""Flow matching (Lipman et al. 2023, arXiv:2210.02747; Liu et al. 2023, arXiv:2209.03003).

Noise x₀ and data x₁ are joined by straight lines x_t = (1 − t) x₀ + t x₁, along which the velocity is x₁ − x₀. A
network v(x, t) learns the mean of these velocities at each place and time; dx/dt = v(x, t) then carries normally
distributed noise at t = 0 into data at t = 1, and data back into noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from pydantic import Field
from torch import Tensor

from sanggar.errors import RunError
from sanggar.models.base import SamplingOptions, StepContext
from sanggar.models.conditions import Condition

Points = Float[Tensor, "batch *shape"]
"""Noise, data, or what lies between"""
Times = Float[Tensor, "batch"]
Nats = Float[Tensor, "batch"]
Velocity = Callable[[Points, Times], Points]
Solver = Literal["euler", "midpoint", "heun", "adaptive", "shortcut"]
METHODS = {"euler": "euler", "midpoint": "midpoint", "heun": "heun2"}
"""Solvers of equal steps, by torchdiffeq's names"""
EXACT: tuple[Solver, int, float] = ("midpoint", 32, 3.0)
"""Solver, steps and crowding of what has to be exact: noise of data, and densities. Pictures lie close to what is none:
near them, velocities change within a hundredth of the way, which even steps jump over"""
EVALUATIONS = {"euler": 1, "midpoint": 2, "heun": 2, "shortcut": 1}
"""Evaluations of the network that a step takes"""
SOLVERS: tuple[Solver, ...] = ("euler", "midpoint")
"""Those that are compared by their steps: of first and of second order"""
TOLERANCE = 1e-4
"""Error of a step of the adaptive solver, absolute and relative"""


@runtime_checkable
class VelocityNetwork(Protocol):
    """A network that knows the velocity at a place and a time, under a condition; None: unconditional."""

    def __call__(self, x: Points, t: Times, condition: Condition | None = None, step: Times | None = None) -> Points:
        """Velocity at each point. A network of shortcuts is told the `step` it is for; None or 0: the velocity."""
        ...


class FlowSampling(SamplingOptions):
    """Options of sampling along a flow."""

    swept: ClassVar[str | None] = "temperature"

    temperature: float = Field(default=1.0, gt=0)
    """factor of the noise's deviation: below 1 more typical pictures and less variety"""
    solver: Solver = "midpoint"
    """how the flow is followed: in equal steps, whose error falls with their number (euler) or its square (midpoint,
    heun: two evaluations of the network a step); in steps as long as an error of 1e-4 allows (adaptive); or in the
    steps that a network of shortcuts has learned"""
    steps: int = Field(default=8, ge=1, le=1000)
    """equal steps from noise to picture; of the adaptive solver nothing"""
    guidance: float = Field(default=1.0, ge=0, le=50)
    """classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598): how far velocities go from the unconditional
    one, 0, to the one under the condition, 1, and beyond"""


# -- learning ----------------------------------------------------------------------------------------------------


def even_times(context: StepContext) -> Times:
    """A time in [0, 1) for each picture of a batch, one in each of as many equal parts: less spread than apart."""
    generator = context.generator("parts of time")
    part = torch.randperm(context.batch, generator=generator, device=context.device)[context.rows]
    return (part + context.uniform("times", ())) / context.batch


def matching_error(velocity: Velocity, x0: Points, x1: Points, t: Times) -> Float[Tensor, "batch"]:
    """Mean squared error of the velocity at x_t, of each pair of noise and data."""
    return mean_square(velocity(between(x0, x1, t), t).float() - (x1 - x0))


def between(x0: Points, x1: Points, t: Times) -> Points:
    """x_t = (1 − t) x₀ + t x₁."""
    return torch.lerp(x0, x1, alike(t, x0))


def alike(t: Shaped[Tensor, "batch"], x: Points) -> Shaped[Tensor, "batch ..."]:
    """A number of each point, in as many axes as points have."""
    return t.reshape(-1, *[1] * (x.ndim - 1))


def mean_square(x: Points) -> Float[Tensor, "batch"]:
    """Mean over each point's numbers."""
    return x.square().flatten(1).mean(dim=1)


# -- following ---------------------------------------------------------------------------------------------------


def guided(network: VelocityNetwork, condition: Condition | None, guidance: float) -> Velocity:
    """The velocity under a condition and guidance; under guidance 1 the network's own."""

    def velocity(x: Points, t: Times) -> Points:
        if condition is None or guidance == 1:
            return network(x, t, condition).float()
        both = network(torch.cat([x, x]), torch.cat([t, t]), torch.cat([torch.zeros_like(condition), condition]))
        without, under = both.float().chunk(2)
        return without + guidance * (under - without)

    return velocity


def follow(
    velocity: Velocity, x: Points, solver: Solver, steps: int, crowding: float = 1.0, *, backwards: bool = False
) -> Points:  # fmt: skip
    """Carry noise into data, or data back into noise, along a velocity.

    Steps end at t = 1 − (1 − s)^crowding of even s: above 1, they are shorter the nearer they are to data.
    """
    ends = torch.tensor([1.0, 0.0] if backwards else [0.0, 1.0], device=x.device)
    found: Points = _integrated(_derivative(velocity), x, ends, solver, steps, crowding)[-1]
    return found


def take_shortcuts(network: VelocityNetwork, x: Points, condition: Condition | None, steps: int) -> Points:
    """Carry noise into data in steps that the network has learned (Frans et al. 2025, arXiv:2410.12557, algorithm 2).

    Those that it has seen are 1/64 to 1, each half of the next; between them it goes between, and shorter ones are the
    velocity itself.
    """
    step = torch.full((len(x),), 1 / steps, device=x.device)
    told = step if steps <= 64 else torch.zeros_like(step)
    for number in range(steps):
        x = x + network(x, number * step, condition, told).float() / steps
    return x


def log_density(
    velocity: Velocity, x: Points, probe: Points | None,
    solver: Solver = EXACT[0], steps: int = EXACT[1], crowding: float = EXACT[2],
) -> Nats:  # fmt: skip
    """Logarithm of the density that the flow gives each point, in nats, by the instantaneous change of variables.

    log p₁(x) = log N(x₀; 0, 1) − ∫ div v dt, with x₀ where the flow comes from (Chen et al. 2018, arXiv:1806.07366).
    The divergence is estimated without bias by a `probe` of signs of the points' shape (Hutchinson; Grathwohl et al.
    2019, arXiv:1810.01367); without one it is exact, and takes a derivative for each of a point's numbers. What is left
    is the error of the steps, of either sign. Called within `gradients`.
    """

    def both(t: Float[Tensor, ""], state: tuple[Points, Nats]) -> tuple[Points, Nats]:
        return with_divergence(velocity, state[0], t.expand(len(x)), probe)

    start, ends = (x, torch.zeros(len(x), device=x.device)), torch.tensor([1.0, 0.0], device=x.device)
    path: tuple[Points, Nats] = _integrated(both, start, ends, solver, steps, crowding)
    noise, change = path[0][-1], path[1][-1]
    normal = -0.5 * (noise.square().flatten(1).sum(dim=1) + noise[0].numel() * math.log(2 * math.pi))
    return normal + change  # integrated from 1 to 0: minus the integral from 0 to 1


def with_divergence(velocity: Velocity, x: Points, t: Times, probe: Points | None) -> tuple[Points, Nats]:
    """The velocity at each point, and its divergence there: by a probe, or exact."""
    x = x.detach().requires_grad_()
    v = velocity(x, t)
    if probe is not None:
        (slope,) = torch.autograd.grad((v * probe).sum(), x)
        return v.detach(), (slope * probe).flatten(1).sum(dim=1)
    divergence, flat = torch.zeros(len(x), device=x.device), v.flatten(1)
    for place in range(flat.shape[1]):
        (slope,) = torch.autograd.grad(flat[:, place].sum(), x, retain_graph=True)
        divergence = divergence + slope.flatten(1)[:, place]
    return v.detach(), divergence


@contextmanager
def gradients() -> Iterator[None]:
    """Gradients are taken even where a model is in use; what comes from outside has to be cloned first."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def check_sampling(options: FlowSampling, condition: Condition | None, *, unconditional: bool, shortcuts: bool) -> None:
    """Raises RunError for options that mean nothing to a network, or to what it is asked for."""
    nothing = condition is None or not condition.any()
    if options.guidance != 1 and (nothing or not unconditional):
        reason = "it is asked for nothing" if nothing else "it was trained with a condition always given"
        raise RunError(
            f"guidance: the network goes from unconditional pictures towards a condition, and {reason}. Leave it at 1, "
            f"or {'ask for a class or an attribute' if nothing else 'train with model.condition_dropout above 0'}."
        )
    if options.solver == "shortcut" and not shortcuts:
        raise RunError("solver: this network has learned no shortcuts; choose euler, midpoint, heun or adaptive.")
    if options.solver == "shortcut" and options.guidance != 1:
        raise RunError("guidance: shortcuts are learned without it; leave it at 1, or choose another solver.")


def _derivative(velocity: Velocity) -> Callable[[Float[Tensor, ""], Points], Points]:
    return lambda t, x: velocity(x, t.expand(len(x)))


def _integrated(
    change: Callable[..., Any], start: Any, ends: Float[Tensor, "2"], solver: Solver, steps: int, crowding: float
) -> Any:
    """The states at both ends of the way that begins at the first."""
    from torchdiffeq import odeint  # here: it takes SciPy's integrators along, and most commands need neither

    return odeint(change, start, ends, **_how(solver, steps, crowding))


def _how(solver: Solver, steps: int, crowding: float) -> dict[str, Any]:
    """What torchdiffeq calls a solver."""
    if solver == "adaptive":
        return {"method": "dopri5", "rtol": TOLERANCE, "atol": TOLERANCE, "options": {"norm": _worst}}
    if solver not in METHODS:
        raise ValueError(f"{solver} follows no velocity")

    def grid(_: object, __: object, ends: Float[Tensor, "2"]) -> Float[Tensor, "times"]:
        return 1 - (1 - torch.linspace(float(ends[0]), float(ends[1]), steps + 1, device=ends.device)) ** crowding

    return {"method": METHODS[solver], "options": {"grid_constructor": grid}}


def _worst(error: Tensor) -> Float[Tensor, ""]:
    """The largest error of a point, so that none is less exact for its company."""
    return error.flatten(1).square().mean(dim=1).sqrt().max() if error.ndim > 1 else error.abs().max()
