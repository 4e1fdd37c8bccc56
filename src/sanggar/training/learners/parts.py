"""A step's batch in parts, each on a thread of its own: weights are shared, gradients and what is kept are added up.

Where the loss of a batch is the mean over its pictures, this is the same arithmetic up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from sanggar.models.base import Batch, Model, Phase, StepContext, Terms

LEAST = 1 << 16
"""Pixels of a batch from which it is divided: Python has one thread at a time, and parts of less wait for it"""
MOST = 8
"""Parts that are chosen, at most"""


def parts_for(batch: int, pixels: int) -> int:
    """Parts of a batch of pictures of so many pixels: one for each thread, 1 where the batch is small."""
    return max(1, min(torch.get_num_threads(), batch // 2, MOST)) if batch * pixels >= LEAST else 1


def sharing(model: Model) -> Model:
    """A copy of a model whose parameters are the same memory, with gradients of their own."""
    shared = {id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in model.parameters()}
    return deepcopy(model, shared)


class Parts:
    """A model in training, and its copies: one for each further part of a batch."""

    def __init__(self, model: Model, count: int, autocast: Callable[[], AbstractContextManager[object]]) -> None:
        self.models = [model, *(sharing(model) for _ in range(count - 1))]
        self.phases = [{phase.name: phase for phase in part.phases()} for part in self.models]
        self._autocast = autocast
        # every thread is told for itself that an operation takes one: PyTorch keeps the number by thread
        self._threads = ThreadPoolExecutor(count - 1, "part", torch.set_num_threads, (1,)) if count > 1 else None

    def backward(self, name: str, batch: Batch, context: StepContext) -> Terms:
        """Loss terms of a phase, by its name; their sum's gradient is left in the first model's parameters."""
        parts = list(_divided(batch, context, len(self.models)))
        work = [
            partial(self._backward, model, phases[name], *part)
            for model, phases, part in zip(self.models, self.phases, parts, strict=False)
        ]
        if self._threads is None or len(work) == 1:
            return work[0]()
        self._share()
        with _one_thread_each():
            begun = [self._threads.submit(part) for part in work[1:]]
            found = [work[0](), *(part.result() for part in begun)]
        self._add_up(name, [share for _, _, share in parts])
        return {term: torch.stack([terms[term] for terms in found]).sum(dim=0) for term in found[0]}

    def _backward(self, model: Model, phase: Phase, batch: Batch, context: StepContext, share: float) -> Terms:
        model.train()
        with self._autocast():
            losses = phase.loss(batch, context)
        total = torch.stack([value.float() for name, value in losses.items() if name not in phase.watched]).sum()
        for parameter in phase.parameters:
            parameter.grad = None
        # for this phase's parameters alone: a generator's step leaves the critic's untouched. And accumulated, which
        # lays a gradient out as its parameter: `grad` gives it as a convolution's second derivative came, channels
        # first, and the fused optimizer then pairs every weight with another's gradient
        torch.autograd.backward(share * total, inputs=list(phase.parameters))
        return {name: share * value.detach() for name, value in losses.items()}

    def _add_up(self, name: str, shares: list[float]) -> None:
        """Gradients summed into the first model's, and buffers, which a loss may change, brought to their mean."""
        count = len(shares)
        with torch.no_grad():
            for mine, *others in zip(*(phases[name].parameters for phases in self.phases[:count]), strict=True):
                for other in others:
                    if mine.grad is not None and other.grad is not None:
                        mine.grad.add_(other.grad)
            for mine, *others in zip(*(model.buffers() for model in self.models[:count]), strict=True):
                if mine.is_floating_point():
                    # as differences: where all are equal, nothing is rounded
                    apart = [share * (other - mine) for share, other in zip(shares[1:], others, strict=True)]
                    mine.add_(torch.stack(apart).sum(dim=0))

    def _share(self) -> None:
        """Bring the copies' buffers to the first model's, which a checkpoint or an `after` may change."""
        with torch.no_grad():
            for mine, *others in zip(*(model.buffers() for model in self.models), strict=True):
                for other in others:
                    other.copy_(mine)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Every operation takes one thread in here."""
    allowed = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(allowed)


def _divided(batch: Batch, context: StepContext, count: int) -> Iterator[tuple[Batch, StepContext, float]]:
    """Parts of a batch, none empty, each with the place of its pictures in the whole, and its share of them."""
    first, count = context.rows.start, min(count, len(batch))
    for start, end in pairwise(len(batch) * part // count for part in range(count + 1)):
        arrays = (batch.images, batch.labels, batch.attributes, batch.encoded)
        part = Batch(*(None if array is None else array[start:end] for array in arrays))  # type: ignore[arg-type]
        yield part, replace(context, rows=slice(first + start, first + end)), (end - start) / len(batch)
