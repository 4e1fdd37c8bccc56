"""The contract of a family: a module, a list of phases, and the capabilities that a built model has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sanggar.data.batches import address
from sanggar.models.optimizers import OptimizerOptions
from sanggar.recipe import Options

Pictures = Float[Tensor, "batch channels height width"]
Latents = Float[Tensor, "batch latent"]
Terms = dict[str, Float[Tensor, ""]]


@dataclass(frozen=True)
class Batch:
    """What a phase is shown: pictures float32 in [-1, 1], labels int64 where the data has them."""

    images: Pictures
    labels: Int64[Tensor, "batch"] | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Moment:
    """Where in the training a loss is computed, and the source of every random draw made there.

    A draw is a function of (seed, split, step, draw, purpose) and of the position in the batch over all
    processes: each process draws for the whole batch and keeps its `rows`.
    """

    seed: int
    step: int
    """steps done before this one; for validation, the number of the batch"""
    steps: int
    """steps planned in all; `step / steps` is how far training has come"""
    batch: int
    """pictures in the batch over all processes"""
    rows: slice
    """which of them are this process's"""
    device: torch.device
    draw: int = 0
    """which of the step's batches this is"""
    split: str = "train"

    def address(self, purpose: str) -> int:
        """The seed of what is drawn for one purpose at this moment."""
        return address(self.seed, self.split, self.step, self.draw, purpose)

    def generator(self, purpose: str) -> torch.Generator:
        """A generator for one purpose at this moment. It knows nothing of rows: the caller draws for the batch."""
        return torch.Generator(self.device).manual_seed(self.address(purpose))

    def normal(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """Standard normal draws float32 `(len(rows), *shape)`."""
        whole = torch.randn((self.batch, *shape), generator=self.generator(purpose), device=self.device)
        return whole[self.rows]

    def uniform(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """Uniform draws in [0, 1), float32 `(len(rows), *shape)`."""
        whole = torch.rand((self.batch, *shape), generator=self.generator(purpose), device=self.device)
        return whole[self.rows]


@dataclass(frozen=True)
class Phase:
    """One optimizer step on some of a model's parameters.

    A step of the loop walks the phases in order; a phase with `batches` > 1 repeats its optimizer step that
    often, each time on fresh pictures.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Callable[[Batch, Moment], Terms]
    """named scalars in float32 whose sum is minimized"""
    optimizer: OptimizerOptions | None = None
    """None: the recipe's `training.optimizer`"""
    batches: int = 1
    after: Callable[[Moment], None] | None = None
    """what follows the optimizer's step: weight clipping, say"""


class Family(nn.Module):
    """Base of every family: a module that says what its options are and what one step of training does.

    Constructed as `family(options, facts)` with an instance of its own `Options`.
    """

    Options: ClassVar[type[Options]]

    def phases(self) -> list[Phase]:
        """What one step of training does, in order."""
        raise NotImplementedError


# -- capabilities: what is asked of a built model, instead of its family's name ---------------------------------


@runtime_checkable
class Encodes(Protocol):
    """Has a latent space that pictures can be brought into."""

    def encode(self, images: Pictures) -> Latents:
        """The latent of each picture (float32 in [-1, 1])."""
        ...


@runtime_checkable
class Decodes(Protocol):
    """Makes pictures from latents."""

    def decode(self, latents: Latents) -> Pictures:
        """The picture of each latent, in [-1, 1] or a little beyond."""
        ...


@runtime_checkable
class Reconstructs(Protocol):
    """Makes of a picture what it holds to be that picture, undisturbed."""

    def reconstruct(self, images: Pictures) -> Pictures:
        """Each picture as the model sees it."""
        ...


@runtime_checkable
class Disturbs(Protocol):
    """Is trained on disturbed pictures and can say how."""

    def disturb(self, images: Pictures, moment: Moment, level: float | None = None) -> Pictures:
        """The pictures as training shows them, at the trained level of noise or another."""
        ...


CAPABILITIES: dict[str, type] = {
    "encode": Encodes,
    "decode": Decodes,
    "reconstruct": Reconstructs,
    "disturb": Disturbs,
}
