"""The machine that a ratio was taken on, and what it can do at most."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import torch

from sanggar.training.machine import computes_bf16, processor


def describe() -> str:
    """One line: processor, cores, threads, versions."""
    native = "native bf16" if computes_bf16(torch.device("cpu")) else "no native bf16"
    return f"{processor()}, {torch.get_num_threads()} threads, {native}, PyTorch {torch.__version__}"


def median_seconds(work: Callable[[], object], repeats: int = 9) -> float:
    """Median time of a call, after one that does not count."""
    work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def rate(steps: Iterator[object], count: int, batch: int) -> float:
    """Pictures a second over the next steps."""
    began = time.perf_counter()
    for _ in islice(steps, count):
        pass
    return count * batch / (time.perf_counter() - began)


def in_turns(works: Mapping[str, Callable[[], float]], rounds: int = 5) -> None:
    """Pictures a second of each piece of work, in turns, so that what else the machine does falls on all alike.

    The first is sanggar's; it is compared with the fastest of the others.
    """
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            rates[name].append(work())
    for name, values in rates.items():
        each = ", ".join(f"{value:,.0f}" for value in values)
        print(f"    {name:<20} {statistics.median(values):7,.0f} pictures/s   ({each})")
    ours, *others = (statistics.median(values) for values in rates.values())
    print(f"    sanggar is {ours / max(others):.2f} times the fastest of the others", flush=True)


def convolution_rate(dtype: torch.dtype) -> float:
    """Multiply-adds a second of the kindest convolution: 128 to 128 channels, 3×3, 28×28, batch 64."""
    layer = torch.nn.Conv2d(128, 128, 3, padding=1, dtype=dtype)
    pictures = torch.randn(64, 128, 28, 28, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = median_seconds(lambda: layer(pictures))
    return 64 * 28 * 28 * 128 * 128 * 9 / seconds


def multiply_adds(model: torch.nn.Module, pictures: torch.Tensor) -> int:
    """Multiply-adds of one forward pass over `pictures`, counted layer by layer."""
    total = 0

    def count(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, torch.nn.Conv2d):
            total += output.numel() * layer.weight[0].numel()
        elif isinstance(layer, torch.nn.ConvTranspose2d):
            total += inputs[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, torch.nn.Linear):
            total += output.numel() * layer.in_features

    hooks = [layer.register_forward_hook(count) for layer in model.modules()]
    with torch.inference_mode():
        model(pictures)
    for hook in hooks:
        hook.remove()
    return total


def silent(_: object) -> None:
    """Watches a training, and says nothing."""
