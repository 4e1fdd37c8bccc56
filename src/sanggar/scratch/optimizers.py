"""Optimizers, which change parameters by their gradients, and schedules of the learning rate.

An optimizer is made without parameters and remembers, for each that it is given, what it needs: give it the same
ones, in the same order, each time. `rate` is the learning rate of the next step; a schedule sets it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from sanggar.errors import NetworkError, suggest
from sanggar.scratch.tensor import Array, Tensor

CHUNK = 1 << 15
"""Entries that are updated at a time: few enough to stay in a processor's cache from one pass to the next."""


class Optimizer:
    """Base of the optimizers: what does not depend on the rule."""

    remembers: tuple[str, ...] = ()
    """names of the arrays kept for each parameter"""

    def __init__(self, learning_rate: float) -> None:
        if not (learning_rate > 0 and math.isfinite(learning_rate)):
            raise NetworkError(f"a learning rate is a number above 0, got {learning_rate!r}.")
        self.learning_rate = self.rate = learning_rate
        self.steps = 0
        self.gradient_scale = 1.0
        """what the gradients that the last `minimize` left were multiplied by"""
        self._kept: list[dict[str, Array]] = []

    def minimize(self, loss: Tensor, parameters: Sequence[Tensor]) -> None:
        """Gradients anew, and one step."""
        _forget(loss, parameters)
        loss.backward()
        self.step(parameters)

    def step(self, parameters: Sequence[Tensor]) -> None:
        """Change each parameter by its gradient; one without a gradient stays."""
        if not self._kept:
            self._kept = [{name: np.zeros(p.shape, p.dtype) for name in self.remembers} for p in parameters]
        if len(self._kept) != len(parameters):
            raise NetworkError(f"this optimizer knows {len(self._kept)} parameters, and was given {len(parameters)}.")
        self.steps += 1
        for parameter, kept in zip(parameters, self._kept, strict=True):
            for array in kept.values():
                if array.shape != parameter.shape:
                    raise NetworkError(
                        f"this optimizer knows a parameter of {array.shape} where {parameter.shape} is given."
                    )
            if parameter.grad is not None:
                flat = [a.reshape(-1) for a in (parameter.data, parameter.grad, *kept.values())]
                for start in range(0, parameter.size, CHUNK):
                    self._update(*(a[start : start + CHUNK] for a in flat))
                if not parameter.data.flags.c_contiguous:  # then what was changed is a copy
                    parameter.data[...] = flat[0].reshape(parameter.shape)

    def _update(self, weight: Array, gradient: Array, *kept: Array) -> None:
        raise NotImplementedError

    def arrays(self) -> dict[str, Array]:
        """What is remembered, by number of the parameter and name, and the number of steps."""
        kept = {f"{i}.{name}": array for i, arrays in enumerate(self._kept) for name, array in arrays.items()}
        return kept | {"steps": np.array(self.steps)}

    def load(self, arrays: dict[str, Array], parameters: Sequence[Tensor]) -> None:
        """Go back to what `arrays` gave. Raises NetworkError when it belongs to other parameters."""
        steps = arrays.get("steps", np.array(-1))
        remembered = enumerate(parameters) if np.array_equal(steps > 0, True) else ()
        expected = {f"{i}.{name}": (p.shape, p.dtype) for i, p in remembered for name in self.remembers}
        given = {name: (array.shape, array.dtype) for name, array in arrays.items() if name != "steps"}
        if steps.shape != () or steps.dtype.kind != "i" or steps < 0 or given != expected:
            raise NetworkError("the optimizer's memory does not fit these parameters.")
        self.steps = int(steps)
        self._kept = [
            {name: arrays[f"{i}.{name}"].copy() for name in self.remembers} for i in range(len(parameters)) if expected
        ]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum where it is above 0, Nesterov's (1983) where asked for.

    The velocity is a sum of gradients, and a step is the rate times it, as in PyTorch. With `rate_in_velocity` the
    velocity is a sum of steps, each at the rate of its time, as in scikit-learn (and Sutskever et al. 2013). Both are
    the same while the rate is.
    """

    remembers: tuple[str, ...] = ("velocity",)

    def __init__(
        self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False, rate_in_velocity: bool = False
    ) -> None:
        super().__init__(learning_rate)
        self.momentum, self.nesterov = _share("momentum", momentum), nesterov
        self.rate_in_velocity = rate_in_velocity
        if nesterov and not momentum:
            raise NetworkError("nesterov needs a momentum above 0.")
        if not momentum:
            self.remembers = ()

    def minimize(self, loss: Tensor, parameters: Sequence[Tensor]) -> None:
        """Gradients anew, and one step.

        Without momentum the step is −rate · gradient. The chain rule is linear: going back from −rate instead of 1
        gives that product for nothing, and saves two passes over all weights.
        """
        self.gradient_scale = 1.0
        if self.momentum or not self.rate:
            super().minimize(loss, parameters)
            return
        self.gradient_scale = -self.rate
        _forget(loss, parameters)
        loss.backward(-self.rate)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.data += parameter.grad
        self.steps += 1

    def _update(self, weight: Array, gradient: Array, *kept: Array) -> None:
        if not kept:
            weight -= self.rate * gradient
            return
        (velocity,) = kept
        if self.rate_in_velocity:
            gradient, rate = self.rate * gradient, 1.0
        else:
            rate = self.rate
        velocity *= self.momentum
        velocity += gradient
        if self.nesterov:
            weight -= rate * (gradient + self.momentum * velocity)
        else:
            weight -= rate * velocity


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980); with `weight_decay`, AdamW (Loshchilov & Hutter 2019).

    `epsilon` is that of the paper's algorithm 1, as in PyTorch; with `epsilon_hat` it is the ε̂ of the reordered one at
    the end of the paper's section 2, as in scikit-learn: added before the correction for the first steps, not after.
    """

    remembers = ("mean", "square")

    def __init__(
        self, learning_rate: float = 0.001, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8,
        weight_decay: float = 0.0, epsilon_hat: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate)
        self.betas = _share("beta", betas[0]), _share("beta", betas[1])
        self.epsilon, self.weight_decay, self.epsilon_hat = epsilon, weight_decay, epsilon_hat

    def _update(self, weight: Array, gradient: Array, *kept: Array) -> None:
        # the running sums are kept without their factors (1 - beta), which the last lines make up for
        mean, square = kept
        (one, two), t = self.betas, self.steps
        mean *= one
        mean += gradient
        work = gradient * gradient
        square *= two
        square += work
        if self.weight_decay:
            weight *= 1 - self.rate * self.weight_decay
        root = math.sqrt((1 - two**t) / (1 - two))
        np.sqrt(square, out=work)
        work += self.epsilon * (1 / math.sqrt(1 - two) if self.epsilon_hat else root)
        np.divide(mean, work, out=work)
        work *= self.rate * root * (1 - one) / (1 - one**t)
        weight -= work


def AdamW(
    learning_rate: float = 0.001, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> Adam:  # fmt: skip
    """Adam with decoupled weight decay of all parameters (Loshchilov & Hutter 2019, arXiv:1711.05101)."""
    return Adam(learning_rate, betas, epsilon, weight_decay)


class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton 2012, lecture 6.5), with momentum where it is above 0."""

    remembers = ("square", "velocity")

    def __init__(
        self, learning_rate: float = 0.001, smoothing: float = 0.99, momentum: float = 0.0, epsilon: float = 1e-8
    ) -> None:
        super().__init__(learning_rate)
        self.smoothing, self.momentum = _share("smoothing", smoothing), _share("momentum", momentum)
        self.epsilon = epsilon

    def _update(self, weight: Array, gradient: Array, *kept: Array) -> None:
        square, velocity = kept
        square *= self.smoothing
        square += (1 - self.smoothing) * gradient * gradient
        velocity *= self.momentum
        velocity += gradient / (np.sqrt(square) + self.epsilon)
        weight -= self.rate * velocity


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSProp}


def optimizer(name: str) -> Callable[..., Optimizer]:
    """The optimizer of a name. Raises NetworkError, with the nearest known name."""
    if name not in OPTIMIZERS:
        raise NetworkError(f"there is no optimizer {name!r}. {suggest(name, OPTIMIZERS)}")
    return OPTIMIZERS[name]


def _forget(loss: Tensor, parameters: Sequence[Tensor]) -> None:
    """The gradients of before. Raises NetworkError for a loss that cannot be minimized."""
    if loss.data.size != 1:
        raise NetworkError(f"minimize needs one number; this loss has shape {loss.shape}.")
    for parameter in parameters:
        parameter.grad = None


def _share(what: str, value: float) -> float:
    if not 0 <= value < 1:
        raise NetworkError(f"{what} is at least 0 and below 1, got {value!r}.")
    return value


# -- schedules: factor(step, steps) of the learning rate, step counted from 0 ------------------------------------

Schedule = Callable[[int, int], float]


def constant(step: int, steps: int) -> float:
    """Always 1."""
    return 1.0


def cosine(step: int, steps: int) -> float:
    """Half a cosine from 1 to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    return (1 + math.cos(math.pi * min(1.0, step / max(1, steps)))) / 2


def linear(step: int, steps: int) -> float:
    """A straight line from 1 to 0."""
    return 1 - min(1.0, step / max(1, steps))


def exponential(step: int, steps: int, last: float = 0.01) -> float:
    """From 1 to `last`, falling by the same share each step."""
    return last ** min(1.0, step / max(1, steps))


SCHEDULES: dict[str, Schedule] = {
    "constant": constant, "cosine": cosine, "linear": linear, "exponential": exponential
}  # fmt: skip
