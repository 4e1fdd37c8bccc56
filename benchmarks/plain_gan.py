"""The scripts that a user would write for reports 2 and 4: Dataset and DataLoader over PIL pictures, eager, float32.

They import nothing of sanggar. The networks are those of `mnist-cgan` and `cifar10-dcgan`, layer by layer; the step is
the one of the common tutorials: the pictures drawn for the critic serve the generator too.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class Pictures(Dataset[tuple[Tensor, int]]):
    """A PIL picture an item, turned into a tensor in [-1, 1], and its label."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.pixels, self.labels = pixels, labels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = np.array(Image.fromarray(self.pixels[index]))
        tensor = torch.from_numpy(picture.reshape(*picture.shape[:2], -1)).permute(2, 0, 1).float().div(255)
        return (tensor - 0.5) / 0.5, int(self.labels[index])


def mnist(root: Path) -> Pictures:
    """The training digits."""
    pixels, labels = (
        np.frombuffer(gzip.decompress((root / "mnist" / f"{name}.gz").read_bytes()), np.uint8, offset=start)
        for name, start in (("train-images-idx3-ubyte", 16), ("train-labels-idx1-ubyte", 8))
    )
    return Pictures(pixels.reshape(-1, 28, 28), labels)


def cifar10(root: Path) -> Pictures:
    """The training pictures of CIFAR-10."""
    files = [root / "cifar-10-batches-bin" / f"data_batch_{i}.bin" for i in range(1, 6)]
    rows = np.concatenate([np.fromfile(file, np.uint8) for file in files]).reshape(-1, 3073)
    return Pictures(np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), rows[:, 0])


def begin(module: nn.Module) -> None:
    """Convolutions begin at deviation 0.02, embeddings within 0.05."""
    if isinstance(module, nn.Embedding):
        nn.init.uniform_(module.weight, -0.05, 0.05)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]


class Cropped(nn.ConvTranspose2d):
    """7 of the 8 rows and columns that doubling 4 gives."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(x)[:, :, :7, :7]


class ConditionalGenerator(nn.Module):
    """Report 2: a dense layer and three transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 50)
        self.dense = nn.Linear(150, 128 * 4 * 4)
        self.body = nn.Sequential(
            nn.BatchNorm2d(128), nn.LeakyReLU(0.2), Cropped(128, 64, 4, 2, 1),
            nn.BatchNorm2d(64), nn.LeakyReLU(0.2), nn.ConvTranspose2d(64, 32, 4, 2, 1),
            nn.BatchNorm2d(32), nn.LeakyReLU(0.2), nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        x = self.dense(torch.cat([latents, self.embedding(labels)], 1)).view(-1, 128, 4, 4)
        found: Tensor = 2 * self.body(x) - 1
        return found


class ConditionalCritic(nn.Module):
    """Report 2: three convolutions over the picture and a plane made of the class."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.plane = nn.Embedding(10, 50), nn.Linear(50, 784)
        self.body = nn.Sequential(
            nn.Conv2d(2, 32, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.LeakyReLU(0.2), nn.ZeroPad2d((0, 1, 0, 1)),
            nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(2048, 1),
        )  # fmt: skip

    def forward(self, pictures: Tensor, labels: Tensor) -> Tensor:
        plane = self.plane(self.embedding(labels)).view(-1, 1, 28, 28)
        found: Tensor = self.body(torch.cat([pictures, plane], 1))
        return found


class Generator(nn.Sequential):
    """DCGAN's, as in `cifar10-dcgan`."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(100, 256 * 16), nn.Unflatten(1, (256, 4, 4)),
            nn.BatchNorm2d(256), nn.ReLU(), nn.ConvTranspose2d(256, 128, 4, 2, 1),
            nn.BatchNorm2d(128), nn.ReLU(), nn.ConvTranspose2d(128, 64, 4, 2, 1),
            nn.BatchNorm2d(64), nn.ReLU(), nn.ConvTranspose2d(64, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        for layer in self:
            latents = layer(latents)
        return latents


class Critic(nn.Sequential):
    """DCGAN's, as in `cifar10-dcgan`."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 64, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
            nn.Conv2d(128, 256, 4, 2, 1), nn.BatchNorm2d(256), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(4096, 1),
        )  # fmt: skip

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        for layer in self:
            pictures = layer(pictures)
        return pictures


def train(
    pictures: Pictures, generator: nn.Module, critic: nn.Module, batch: int, workers: int, seed: int = 0
) -> Iterator[tuple[float, float]]:
    """Train for ever; after each step: the critic's loss and the generator's."""
    torch.manual_seed(seed)
    loader = DataLoader(pictures, batch_size=batch, shuffle=True, num_workers=workers, drop_last=True)
    generator.apply(begin)
    critic.apply(begin)
    optimizers = [torch.optim.Adam(net.parameters(), lr=0.0002, betas=(0.5, 0.999)) for net in (critic, generator)]
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(batch, 1), torch.zeros(batch, 1)
    while True:
        for real, labels in loader:
            fake = generator(torch.randn(batch, 100), labels)
            optimizers[0].zero_grad()
            loss = criterion(critic(real, labels), ones) + criterion(critic(fake.detach(), labels), zeros)
            loss.backward()
            optimizers[0].step()
            optimizers[1].zero_grad()
            own = criterion(critic(fake, labels), ones)
            own.backward()
            optimizers[1].step()
            yield loss.item(), own.item()
