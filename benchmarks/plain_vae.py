"""The script that a user would write for report 3: a folder of JPEGs read through PIL item by item, eager, float32.

It imports nothing of sanggar. The network is that of `faces-vae`, layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

WIDTHS, LATENT = (16, 32, 64, 128, 256), 128


class Faces(Dataset[Tensor]):
    """A picture an item, opened, squashed to 128×128 and turned into a tensor in [-1, 1]."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.rglob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        picture = Image.open(self.paths[index]).convert("RGB").resize((128, 128), Image.Resampling.BICUBIC)
        tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(255)
        return (tensor - 0.5) / 0.5


class Block(nn.Module):
    """x + f(x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.body(x)
        return found


class ResidualVAE(nn.Module):
    """Five halvings with a block after each, a Gaussian latent, and the same in reverse."""

    def __init__(self) -> None:
        super().__init__()
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS), WIDTHS, strict=False):
            down += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU(), Block(after)]
        for before, after in zip(WIDTHS[::-1], (*WIDTHS[-2::-1], 3), strict=True):
            up += [Block(before), nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1)]
            up += [] if after == 3 else [nn.BatchNorm2d(after), nn.ReLU()]
        self.down, self.up = nn.Sequential(*down), nn.Sequential(*up)
        self.code, self.start = nn.Linear(256 * 16, 2 * LATENT), nn.Linear(LATENT, 256 * 16)
        self.log_deviation = nn.Parameter(torch.tensor(math.log(0.2)))

    def forward(self, images: Tensor) -> Tensor:
        """The mean negative bound."""
        mean, log_variance = self.code(self.down(images).flatten(1)).chunk(2, dim=1)
        latents = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        painted = self.up(self.start(latents).view(-1, 256, 4, 4))
        error = (painted - images) / self.log_deviation.exp()
        distortion = (error.square() / 2 + self.log_deviation).flatten(1).sum(1)
        rate = (mean.square() + log_variance.exp() - log_variance - 1).sum(1) / 2
        bound: Tensor = (distortion + rate).mean()
        return bound


def train(folder: Path, batch: int, workers: int) -> Iterator[float]:
    """The loss of each step."""
    model = ResidualVAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loader = DataLoader(Faces(folder), batch, shuffle=True, num_workers=workers, drop_last=True)
    while True:
        for images in loader:
            loss = model(images)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()
