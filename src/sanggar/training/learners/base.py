"""What the loop asks of a learner: the only seam between PyTorch and anything else.

The loop knows a learner by its methods alone and hands it uint8 pictures. `torch_learner` drives PyTorch modules,
`numpy_learner` the from-scratch network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sanggar.data.images import Images
from sanggar.files import Tree
from sanggar.runs import Arrays

Values = dict[str, float]
Pending = dict[str, Any]
"""The terms of a step by name: numbers, or what a learner makes numbers of later"""

CHUNK = 500
"""Pictures of a split that are evaluated at a time; part of what the validation noise depends on."""


def decay_after(updates: int, decay: float) -> float:
    """The decay of averaged weights after so many updates: it rises to `decay` as (1 + n) / (10 + n).

    Otherwise the weights that training began with would still count for a third after 1 / (1 − decay) steps.
    """
    return min(decay, (1 + updates) / (10 + updates))


@dataclass(frozen=True)
class Layer:
    """One layer as a batch goes through it."""

    name: str
    kind: str
    shape: tuple[int, ...]
    """of its output for one picture; (1,) for a single number, () for what a training's last step does not use"""
    parameters: int
    output_bytes: int
    """of its output for all that it is given at once: a batch, or a critic's real and drawn pictures together"""
    measured: int = 0
    """numbers that training measures and does not learn: running means and variances"""


@runtime_checkable
class Learner(Protocol):
    """What the loop asks of a learner."""

    steps: int
    """steps planned, which schedules and moments depend on; the loop's owner sets it before the first step"""
    draws: int
    """fresh batches that a step takes"""
    rank: int
    world: int
    sync_every: int
    """steps after which the loop reads the terms; reading makes a GPU wait, and a CPU not"""
    watched: frozenset[str]
    """names among the terms that are looked at and not minimized"""

    def learns_from(self, images: Images) -> None:
        """Before the first step that is taken: these are the training pictures, which weights may begin with."""
        ...

    def step(self, step: int, batches: Sequence[Images]) -> Pending:
        """One step of every phase; its loss terms, named `phase/term`, perhaps still being computed."""
        ...

    def read(self, terms: Sequence[Pending]) -> list[Values]:
        """Terms as numbers, averaged over the processes."""
        ...

    def evaluate(self, images: Images) -> Values:
        """Mean loss terms over a split, with the same noise each time."""
        ...

    def stretches(self, steps: int) -> list[tuple[int, int]]:
        """Parts of a training of so many steps, from a step to the one before which they end, whose steps are alike."""
        ...

    def weight_stats(self) -> dict[str, list[float]]:
        """What is worth knowing of the network itself as training goes: by name, a few numbers each."""
        ...

    def preview(self, images: Images) -> list[np.ndarray]:
        """Rows of pictures that show what the network can do by now: uint8 `(N, H, W, C)` each."""
        ...

    def any_process(self, *flags: bool) -> list[bool]:
        """Of each, whether any process says yes."""
        ...

    def state(self) -> Arrays:
        """All that a step changes, as named arrays."""
        ...

    def load_state(self, arrays: Arrays) -> None:
        """Go back to a state."""
        ...

    def weights(self) -> Arrays:
        """The network that is measured and saved."""
        ...

    def layers(self, images: Images) -> list[Layer]:
        """The layers in the order in which a batch goes through them; takes a step."""
        ...

    def phases(self) -> list[str]:
        """What a step does, in words."""
        ...

    def describe(self) -> Tree:
        """Device, precision and versions, for the run's record."""
        ...

    def track(self, values: Values, step: int) -> None:
        """Send numbers to the recipe's tracker, where it names one."""
        ...

    def wait(self) -> None:
        """Until every process is here."""
        ...

    def close(self) -> None:
        """End the tracker."""
        ...
