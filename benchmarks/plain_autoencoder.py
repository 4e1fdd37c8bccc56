"""The script that a user would write for report 1: Dataset and DataLoader over PIL pictures, float32, eager Adam.

It imports nothing of sanggar. Its network is `fashion-denoising-autoencoder`'s, layer by layer.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class Pictures(Dataset[Tensor]):
    """Fashion-MNIST as most tutorials read it: a PIL picture an item, turned into a tensor in [-1, 1]."""

    def __init__(self, folder: Path) -> None:
        content = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
        self.pixels = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        picture = Image.fromarray(self.pixels[index])
        tensor = torch.from_numpy(np.array(picture)).unsqueeze(0).float().div(255)
        return (tensor - 0.5) / 0.5


def network() -> nn.Sequential:
    """Three convolutions, a latent of 128, and the same in reverse."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, stride=1, padding=1), nn.ReLU(),
        nn.Conv2d(24, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 128),
        nn.Linear(128, 64 * 7 * 7), nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 64, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(64, 24, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(24, 1, 3, stride=1, padding=1),
    )  # fmt: skip


def train(folder: Path, workers: int, seed: int = 0) -> Iterator[tuple[int, float, float]]:
    """Train for ever; after each step: pictures seen, loss, seconds since the first step began."""
    torch.manual_seed(seed)
    loader = DataLoader(Pictures(folder), batch_size=128, shuffle=True, num_workers=workers, drop_last=True)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    criterion = nn.MSELoss()
    seen, began = 0, time.perf_counter()
    while True:
        for clean in loader:
            noisy = (clean + 0.3 * torch.randn_like(clean)).clamp(-1, 1)
            loss = criterion(model(noisy), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(clean)
            yield seen, loss.item(), time.perf_counter() - began
