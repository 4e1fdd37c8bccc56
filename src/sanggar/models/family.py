"""The contract of a family: a module, a list of phases, and the capabilities that a built model has."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sanggar.data.batches import address
from sanggar.data.images import Facts, to_float, to_uint8
from sanggar.models.optimizers import OptimizerOptions
from sanggar.options import Options
from sanggar.runs import Arrays

CHUNK = 512
"""Pictures that go through a network at a time, at most."""
PIXELS = 1 << 19
"""Their pixels, at most: memory for larger tensors is asked of the system anew each time, which takes longer than
computing with it."""

Pictures = Float[Tensor, "batch channels height width"]
Latents = Float[Tensor, "batch latent"]
Labels = Int64[Tensor, "batch"]
Attributes = Float[Tensor, "batch columns"]
Terms = dict[str, Float[Tensor, ""]]


def at_once(height: int, width: int) -> int:
    """How many pictures of this size are computed on at a time where nobody shall notice how many."""
    return max(1, min(CHUNK, PIXELS // (height * width)))


@dataclass(frozen=True)
class Batch:
    """What a phase is shown: pictures float32 in [-1, 1], labels int64 and attributes where the data has them."""

    images: Pictures
    labels: Labels | None = None
    attributes: Attributes | None = None

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
    watched: Sequence[str] = ()
    """names among the loss's that are looked at and not minimized: an accuracy, say"""


class Family(nn.Module):
    """Base of every PyTorch family: a module that says what its options are and what one step of training does.

    Constructed as `family(options, facts)` with an instance of its own `Options`.
    """

    Options: ClassVar[type[Options]]
    learner: ClassVar[str] = "torch"
    """which learner trains it"""
    averages: ClassVar[tuple[str, ...] | None] = None
    """children that `training.ema` averages; none: everything"""
    taught_by: str | None = None
    """the judge whose features its loss looks at"""
    at_once: int = CHUNK
    """pictures or latents that `compute` hands to a capability at a time; `build` fits it to the pictures' size"""
    uncompiled: tuple[str, ...] = ()
    """children that `training.compile` leaves alone: torch.compile takes no second derivatives"""

    def phases(self) -> list[Phase]:
        """What one step of training does, in order."""
        raise NotImplementedError

    # -- the model from outside: NumPy in, NumPy out -------------------------------------------------------------

    @classmethod
    def build(cls, options: Any, facts: Facts, seed: int) -> Family:
        """A new network for pictures like `facts`, its first weights drawn from `seed`; nothing else draws from it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = cls(options, facts)
        network.at_once = at_once(facts.height, facts.width)
        return network

    def load(self, arrays: Arrays) -> None:
        """Take over saved weights. Raises ValueError when they are another network's."""
        try:
            self.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        except RuntimeError as error:
            # PyTorch names every array that is amiss; the first ones tell enough
            raise ValueError(textwrap.shorten(str(error), 300, placeholder=" …")) from None

    def place(self, device: torch.device) -> Family:
        """Move to a device, the weights in the memory order that pictures have."""
        return self.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def ready(self, device: str | None) -> None:
        """Be ready to compute on a device, on the best one where none is named, as in use and not as in training."""
        self.place(torch.device(device or best_device())).eval()

    def compute(self, capability: str, *arrays: np.ndarray, **how: float) -> np.ndarray:
        """A capability on many pictures or latents, in float32; `how` is handed on as it is.

        Takes uint8 pixels `(N, H, W, C)`, float latents, integer labels, all equally many; pictures come back as
        uint8, anything else as float32.
        """
        work: Callable[..., Tensor] = getattr(self, capability)
        device = next(self.parameters()).device
        parts = []
        # TensorFloat-32, a GPU's default for convolutions, would measure otherwise than a processor
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for start in range(0, len(arrays[0]), self.at_once):
                found = work(*(_given(array[start : start + self.at_once], device) for array in arrays), **how)
                parts.append(to_uint8(found) if found.ndim == 4 else found.float().cpu().numpy())
        return np.concatenate(parts)


def _given(array: np.ndarray, device: torch.device) -> Tensor:
    """Pixels and latents as float32, labels as they are."""
    chunk = torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device)
    if chunk.dtype == torch.uint8:
        return to_float(chunk)
    return chunk.float() if chunk.is_floating_point() else chunk


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
class Infers(Protocol):
    """Holds a picture to come from a latent, and says how likely: a bound on the probability of a picture."""

    latent_size: int
    likelihood: Any
    """what the decoder says of `pixels`, as a protocol has it; `discrete` where its nats make bits per dimension"""
    conditions: Any
    """what the decoder is told beside the latent"""

    def posterior(self, images: Pictures) -> Float[Tensor, "batch 2 latent"]:
        """Mean and logarithm of the variance of each dimension."""
        ...

    def weigh(self, images: Pictures, noise: Latents, told: Any = None) -> Float[Tensor, "batch 3"]:
        """With z = μ + σ · noise: log p(x | z), log p(z) and log q(z | x), in nats."""
        ...


@runtime_checkable
class Regrets(Protocol):
    """Can give a single picture a posterior of its own, and say what that gains."""

    def regret(
        self, images: Pictures, noise: Float[Tensor, "batch draws latent"], told: Any = None
    ) -> Float[Tensor, "batch 2"]:
        """The bound in nats with the encoder's posterior, and with one fitted to each picture, never lower."""
        ...


@runtime_checkable
class Samples(Protocol):
    """Draws pictures from standard normal latents."""

    latent_size: int
    conditional: bool
    """whether it is told the class to draw"""

    def sample(self, latents: Latents, labels: Labels | None = None, truncation: float = 1.0) -> Pictures:
        """The picture of each latent, of the class asked for; `truncation` below 1 trades variety for quality."""
        ...


@runtime_checkable
class Disturbs(Protocol):
    """Is trained on disturbed pictures and can say how."""

    def disturb(self, images: Pictures, moment: Moment, level: float | None = None) -> Pictures:
        """The pictures as training shows them, at the trained level of noise or another."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """Tells classes apart."""

    def classify(self, images: Any) -> Any:
        """The probability of each class, `(n, classes)`."""
        ...


@runtime_checkable
class HasNeurons(Protocol):
    """Is made of layers of neurons that can be looked at one by one."""

    def neurons(self) -> dict[str, np.ndarray]:
        """By layer, `(inputs + 1, outputs)`: a column is a neuron, its weights and, in the last row, its bias."""
        ...

    def neuron_gradients(self, pixels: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """The gradients by them of the mean loss on some pictures, in the same shape."""
        ...


CAPABILITIES: dict[str, type] = {
    "encode": Encodes,
    "decode": Decodes,
    "reconstruct": Reconstructs,
    "posterior": Infers,
    "regret": Regrets,
    "sample": Samples,
    "disturb": Disturbs,
    "classify": Classifies,
    "neurons": HasNeurons,
}


def best_device() -> str:
    """The fastest kind of device on this machine: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
