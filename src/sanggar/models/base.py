"""The contract of a model: a module, its phases, and what plan, training and use ask of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from sanggar.data.images import CHUNK, ImageSpec, at_once, to_float, to_uint8
from sanggar.errors import RecipeError
from sanggar.models.optimizers import OptimizerOptions
from sanggar.options import Options
from sanggar.resources import check_memory, free_memory
from sanggar.runs import Arrays
from sanggar.seeding import address

Pictures = Float[Tensor, "batch channels height width"]
Latents = Float[Tensor, "batch latent"]
Posterior = Float[Tensor, "batch 2 latent"]
"""Mean and logarithm of the variance of each dimension"""
Labels = Int64[Tensor, "batch"]
Attributes = Float[Tensor, "batch columns"]
LARGEST_NETWORK = 20_000
"""Arrays of weights that a network has at most"""
Terms = dict[str, Float[Tensor, ""]]


@dataclass(frozen=True)
class Batch:
    """Pictures a phase is given: float32 in [-1, 1], with labels int64 and attributes where the data has them."""

    images: Pictures
    labels: Labels | None = None
    attributes: Attributes | None = None
    encoded: Float[Tensor, "batch numbers"] | None = None
    """what an encoder that stands still made of them, for the phases that are prepared so"""

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class StepContext:
    """Where in the training a loss is computed, and the source of every random draw there.

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
        """Seed for what is drawn for one purpose at this step."""
        return address(self.seed, self.split, self.step, self.draw, purpose)

    def generator(self, purpose: str) -> torch.Generator:
        """Generator for one purpose at this step. It knows nothing of rows: the caller draws for the batch."""
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
    often, each time on fresh pictures, and one with `repeats` > 1 on the same ones.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Callable[[Batch, StepContext], Terms]
    """named scalars in float32 whose sum is minimized"""
    optimizer: OptimizerOptions | None = None
    """None: the recipe's `training.optimizer`"""
    batches: int = 1
    repeats: int = 1
    prepare: Callable[[Batch], Batch] | None = None
    """what is done to a batch once, before its repeats"""
    after: Callable[[StepContext], None] | None = None
    """what follows the optimizer's step: weight clipping, say"""
    watched: Sequence[str] = ()
    """names among the loss terms that are logged and not minimized: an accuracy, say"""
    span: tuple[float, float] = (0.0, 1.0)
    """from which share of the training to which the phase takes its steps; schedules run over them alone, and
    `StepContext.steps` is where they end"""
    begins_with: int = 0
    """training pictures that `begin` is given; 0: it is not called"""
    begin: Callable[[UInt8[np.ndarray, "n height width channels"]], None] | None = None
    """what precedes the phase's first step: its parameters are made of training pictures, spread over the split"""

    def prepared(self, batch: Batch) -> Batch:
        """The batch as the loss takes it."""
        return batch if self.prepare is None else self.prepare(batch)

    def steps(self, planned: int) -> tuple[int, int]:
        """The first of its steps, and the one after its last: however small its share, one of two or more."""
        first, end = (
            round(share * planned) if share in (0, 1) else min(max(round(share * planned), 1), planned - 1)
            for share in self.span
        )
        return first, end


class SamplingOptions(Options):
    """Options of sampling. A model that has any derives its own class."""

    swept: ClassVar[str | None] = None
    """option below whose default pictures become more typical and less various, where there is one"""


class Model(nn.Module):
    """Base of every PyTorch model: a module with its options, and the phases of a training step.

    Constructed as `model(options, spec)` with an instance of its own `Options`. Its methods are its capabilities, see
    `models.capabilities`.
    """

    Options: ClassVar[type[Options]]
    learner: ClassVar[str] = "torch"
    """learner that trains it"""
    averages: ClassVar[tuple[str, ...] | None] = None
    """children that `training.ema` averages; none: everything"""
    SamplingOptions: type[SamplingOptions] = SamplingOptions
    """what can be chosen when sampling; by default nothing"""
    learned_prior: str | None = None
    """kind of the prior that was learned, where there is one"""
    lacks: frozenset[str] = frozenset()
    """names of capabilities that its methods promise and this instance does not have"""
    conditions: Any = None
    """its Conditions, where it is conditional"""
    latent_size: int | None = None
    """numbers in a latent, where it has a latent space"""
    solvers: tuple[str, ...] = ()
    """values of the sampling option `solver` that are compared by their `steps`, where sampling takes steps"""
    decoder_names: tuple[str, ...] | None = None
    """what its decoder is conditioned on, where that is not all that the model is; the rest is its prior's"""
    unconditional: bool = True
    """whether a conditional model can be sampled without (some of) its condition"""
    perceptual_judge: str | None = None
    """name of the judge whose features its loss uses; `plan.build` hands it to `use_judge`"""
    costly: frozenset[str] = frozenset()
    """names of capabilities that take too long for all pictures of a split: metrics that need one are measured where
    the recipe names them"""
    at_once: int = CHUNK
    """pictures or latents that `compute` hands to a capability at a time; `build` fits it to the pictures' size"""
    divisible: bool = False
    """whether the loss of a batch is the mean over its pictures, and draws from the step's context alone: then parts of
    a batch may be computed apart, see `training.parts`"""
    uncompiled: tuple[str, ...] = ()
    """children that `training.compile` leaves alone: torch.compile takes no second derivatives"""

    def phases(self) -> list[Phase]:
        """What one step of training does, in order."""
        raise NotImplementedError

    # -- the model from outside: NumPy in, NumPy out -------------------------------------------------------------

    @classmethod
    def build(cls, options: Any, spec: ImageSpec, seed: int) -> Model:
        """A new network for pictures like `spec`, its first weights drawn from `seed`; nothing else draws from it.

        Raises RecipeError where its weights do not fit in memory.
        """
        with torch.random.fork_rng(devices=[]), _fitting():
            torch.manual_seed(seed)
            network = cls(options, spec)
        network.at_once = at_once(spec.height, spec.width)
        return network

    def load(self, arrays: Arrays) -> None:
        """Take over saved weights. Raises ValueError when they are another network's."""
        try:
            self.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        except RuntimeError as error:
            # PyTorch names every array that is amiss; the first ones tell enough
            raise ValueError(textwrap.shorten(str(error), 300, placeholder=" …")) from None

    def place(self, device: torch.device) -> Model:
        """Move to a device, the weights in the memory order that pictures have."""
        return self.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def use_judge(self, judge: Any) -> None:
        """Take the instrument that `perceptual_judge` names: no part of the network, neither trained nor saved."""
        raise NotImplementedError

    def eval_on(self, device: str | None) -> None:
        """Move to a device, the best one where none is named, and compute as in use, not as in training."""
        self.place(torch.device(device or best_device())).eval()

    def compute(self, capability: str, *arrays: np.ndarray | None, **how: object) -> np.ndarray:
        """Compute a capability on many pictures or latents, in float32; `how` and None are handed on as they are.

        Takes uint8 pixels `(N, H, W, C)`, float latents, integer labels, all equally many; pictures come back as
        uint8, anything else as float32.
        """
        work: Callable[..., Tensor] = getattr(self, capability)
        device = next(self.parameters()).device
        parts, count = [], next(len(array) for array in arrays if array is not None)
        # TensorFloat-32, a GPU's default for convolutions, would measure otherwise than a processor
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for start in range(0, count, self.at_once):
                chunk = slice(start, start + self.at_once)
                found = work(*(None if a is None else _given(a[chunk], device) for a in arrays), **how)
                parts.append(to_uint8(found) if found.ndim == 4 else found.float().cpu().numpy())
        return np.concatenate(parts)


@contextmanager
def _fitting() -> Iterator[None]:
    """While a network is built: raise RecipeError as soon as its weights are more than memory holds.

    PyTorch reserves memory for weights when they are made and takes it when they are filled: they are counted between.
    """
    free, bytes_, arrays = free_memory(), 0, 0

    def note(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal bytes_, arrays
        arrays += 1
        bytes_ += 0 if parameter is None else parameter.numel() * parameter.element_size()
        if arrays > LARGEST_NETWORK:
            raise RecipeError(f"model: more than {LARGEST_NETWORK:,} arrays of weights. Make the network smaller.")
        if bytes_ > free:
            check_memory(bytes_, "model: the weights of so large a network", RecipeError)

    handle = register_module_parameter_registration_hook(note)
    try:
        yield
    except (MemoryError, OverflowError, RuntimeError) as error:
        if not any(word in str(error).lower() for word in ("memory", "overflow", "too large")):
            raise
        raise RecipeError(
            f"model: the weights of so large a network do not fit in memory ({' '.join(str(error).split())[:150]}). "
            "Make it smaller."
        ) from None
    finally:
        handle.remove()


def _given(array: np.ndarray, device: torch.device) -> Tensor:
    """Pixels and latents as float32, labels as they are."""
    chunk = torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device)
    if chunk.dtype == torch.uint8:
        return to_float(chunk)
    return chunk.float() if chunk.is_floating_point() else chunk


def alone(network: nn.Module) -> bool:
    """Whether no layer looks beyond one picture or draws: no batch norm, no dropout."""
    shared = (nn.BatchNorm1d, nn.BatchNorm2d)
    return not any(isinstance(m, shared) or (isinstance(m, nn.Dropout) and m.p) for m in network.modules())


def best_device() -> str:
    """The fastest kind of device on this machine: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
