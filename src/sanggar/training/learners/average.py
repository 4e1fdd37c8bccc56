"""The average of a network's weights over its training, which is what is measured and saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sanggar.models.base import Model, Phase
from sanggar.training.learners.base import decay_after


def averaging(decay: float) -> Callable[..., None]:
    """What AveragedModel does at an update."""

    def update(averages: Sequence[Tensor], values: Sequence[Tensor], updates: int | Tensor) -> None:
        now = decay_after(int(updates), decay)
        get_ema_multi_avg_fn(now)(averages, values, updates)  # type: ignore[no-untyped-call]

    return update


@torch.no_grad()
def forget_beginnings(
    averaged: AveragedModel, model: Model, phases: Sequence[Phase], step: int, steps: int, decay: float
) -> None:
    """What is learned from a later step on is averaged from there on: not with what it was while it waited.

    Called after each update of the average; of phases that begin with the training there is nothing to do.
    """
    for phase in phases:
        first = phase.steps(steps)[0]
        if not 0 < first <= step:
            continue
        given, wanted = (decay_after(count, decay) for count in (step, step - first))
        if wanted == given:
            continue
        learned = {id(parameter) for parameter in phase.parameters}
        for name, child in model.named_children():
            if learned.isdisjoint(map(id, child.parameters())):
                continue
            kept = averaged.module.get_submodule(name).state_dict()
            values = {key: value for key, value in child.state_dict().items() if value.is_floating_point()}
            # the average is v + given · (before − v) by now; with this it is v + wanted · (before − v)
            torch._foreach_lerp_([kept[key] for key in values], [*values.values()], 1 - wanted / given)
