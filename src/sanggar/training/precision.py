"""The precision that a network trains in here: bfloat16 on a processor only where its convolutions were tried.

PyTorch's kernels for it are wrong for some shapes and slower than float32's for others, by version and processor.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sanggar.data.images import ImageSpec
from sanggar.models.base import Batch, Model, StepContext
from sanggar.training.machine import computes_bf16

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Call:
    """A convolution that a network computes."""

    work: Callable[..., Tensor]
    given: torch.Size
    weight: torch.Size
    rest: tuple[object, ...]
    """what it is given behind weight and bias"""
    named: tuple[tuple[str, object], ...]


PICTURES = 32
"""Pictures that convolutions are tried on, at most"""
OFF = 0.03
"""Relative error from which a result is wrong; rounding to eight binary digits explains 0.005"""
ROUNDS = 3
CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv_transpose2d)


def precision_for(
    wanted: Literal["auto", "fp32", "bf16"], model: Model, spec: ImageSpec, device: torch.device, batch: int
) -> tuple[Precision, str]:
    """Precision to train in, and why where the recipe leaves it open."""
    if wanted != "auto":
        return wanted, "as the recipe says"
    if not computes_bf16(device):
        return "fp32", "no native bfloat16 here"
    if device.type != "cpu":
        return "bf16", "native here"
    return tried(convolutions(model, spec, min(batch, PICTURES)))


class _Noted(TorchFunctionMode):
    """Notes every convolution that is computed within."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = Counter[Call]()

    def __torch_function__(
        self, func: Any, types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in CONVOLUTIONS:
            named = tuple((name, _fixed(value)) for name, value in (kwargs or {}).items() if name != "bias")
            self.calls[Call(func, args[0].shape, args[1].shape, tuple(map(_fixed, args[3:])), named)] += 1
        return func(*args, **(kwargs or {}))


def _fixed(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def convolutions(model: Model, spec: ImageSpec, count: int) -> Counter[Call]:
    """Distinct convolutions of a step's losses on `count` pictures, and how often each is computed."""
    device = next(model.parameters()).device
    images = torch.zeros(count, spec.channels, spec.height, spec.width, device=device)
    labels = torch.zeros(count, dtype=torch.int64, device=device) if spec.classes else None
    attributes = torch.zeros(count, len(spec.attributes), device=device) if spec.attributes else None
    context = StepContext(0, 0, 1, count, slice(count), device)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    noted = _Noted()
    with noted, torch.random.fork_rng(devices=[]):
        for phase in model.train().phases():
            phase.loss(Batch(images, labels, attributes), context)
    model.load_state_dict(kept)  # a loss may change what a norm has measured
    return noted.calls


def tried(calls: Counter[Call]) -> tuple[Precision, str]:
    """Whether convolutions are right and faster in bfloat16, forward and backward; and in words, what was found."""
    spent = {"fp32": 0.0, "bf16": 0.0}
    generator = torch.Generator().manual_seed(0)
    for call, times in calls.items():
        tensors = [torch.randn(shape, generator=generator) for shape in (call.given, call.weight)]
        (exact, seconds), (rounded, faster) = (_measured(call, tensors, is_bf16) for is_bf16 in (False, True))
        for name, one, other in zip(("its output", "a gradient", "a gradient"), exact, rounded, strict=True):
            if not float((one - other).norm()) <= OFF * float(one.norm()):
                shapes = f"{'×'.join(map(str, call.given))} by {'×'.join(map(str, call.weight))}"
                return "fp32", f"bfloat16 is wrong here: {name} of a convolution of {shapes}"
        spent["fp32"] += times * seconds
        spent["bf16"] += times * faster
    gain = spent["fp32"] / max(spent["bf16"], 1e-9)
    return ("bf16" if gain > 1 else "fp32"), f"convolutions in bfloat16 are {gain:.2f} times as fast here"


def _measured(call: Call, tensors: Sequence[Tensor], is_bf16: bool) -> tuple[list[Tensor], float]:
    """Output and both gradients as float32, and the least seconds of a few tries, after one that does not count."""
    seconds = []
    for _ in range(1 + ROUNDS):
        x, w = (tensor.clone().contiguous(memory_format=_order(tensor)).requires_grad_() for tensor in tensors)
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            found = call.work(x, w, None, *call.rest, **dict(call.named))
        gradients = torch.autograd.grad(found, (x, w), torch.ones_like(found))
        seconds.append(time.perf_counter() - began)
    return [tensor.detach().float() for tensor in (found, *gradients)], min(seconds[1:])


def _order(tensor: Tensor) -> torch.memory_format:
    return torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
