"""The loops that a user would write for report 5's network: by hand in NumPy, and eagerly in PyTorch.

They import nothing of sanggar. The one in NumPy knows the one network it trains: ReLU, softmax, SGD, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn

Floats = np.ndarray
Epoch = Callable[[], float]
"""One pass over the training examples; its mean loss"""


def by_hand(x: Floats, y: Floats, hidden: tuple[int, ...], rate: float = 0.01, size: int = 32) -> Epoch:
    """NumPy by hand, in place wherever that is possible."""
    rng = np.random.default_rng(0)
    widths = [x.shape[1], *hidden, 10]
    weights = [rng.normal(0, np.sqrt(2 / a), (a, b)).astype(np.float32) for a, b in pairwise(widths)]
    biases = [np.zeros(b, np.float32) for b in widths[1:]]
    last = len(weights) - 1

    def epoch() -> float:
        order, total = rng.permutation(len(x)), 0.0
        for start in range(0, len(x), size):
            index = order[start : start + size]
            layers, labels, rows = [x[index]], y[index], np.arange(len(index))
            for i in range(last + 1):
                z = layers[-1] @ weights[i]
                z += biases[i]
                if i < last:
                    np.maximum(z, 0, out=z)
                layers.append(z)
            z = layers.pop()
            z -= z.max(axis=1, keepdims=True)
            e = np.exp(z)
            sums = e.sum(axis=1, keepdims=True)
            total += float((np.log(sums[:, 0]) - z[rows, labels]).sum())
            delta = e / sums
            delta[rows, labels] -= 1
            delta /= len(index)
            for i in range(last, -1, -1):
                by_weights, by_biases = layers[i].T @ delta, delta.sum(axis=0)
                if i:
                    delta = delta @ weights[i].T
                    delta *= layers[i] > 0
                by_weights *= rate
                weights[i] -= by_weights
                by_biases *= rate
                biases[i] -= by_biases
        return total / len(x)

    return epoch


def eager_pytorch(x: Floats, y: Floats, hidden: tuple[int, ...], rate: float = 0.01, size: int = 32) -> Epoch:
    """PyTorch's layers, loss and SGD; batches indexed from tensors in memory, without a DataLoader."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for a, b in pairwise([x.shape[1], *hidden]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(hidden[-1], 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)

    def epoch() -> float:
        order, total = torch.randperm(len(inputs)), 0.0
        for index in torch.split(order, size):
            loss = nn.functional.cross_entropy(model(inputs[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(index)
        return total / len(inputs)

    return epoch
