"""The machine that trains: its devices and processes as Accelerate sees them, and what its processor can do."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from sanggar.errors import RecipeError
from sanggar.files import Tree
from sanggar.plan import TrainingOptions


def accelerator(options: TrainingOptions, folder: Path | None) -> Accelerator:
    """Accelerate's view of this machine, for this recipe.

    Accelerate keeps one state a process; a second training in one process (a notebook, a test) begins afresh.
    """
    if PartialState._shared_state and PartialState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)
    for kind, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if options.device == kind and not there:
            raise RecipeError(f"training.device: this machine has no {kind}; expected auto or cpu.")
    PartialState(cpu=options.device == "cpu")
    try:
        return Accelerator(
            cpu=options.device == "cpu",
            log_with=options.tracker,
            project_dir=folder,
        )
    except (ValueError, ImportError) as error:
        raise RecipeError(f"training: cannot be set up on this machine: {error}") from None


def computes_bf16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 natively; emulation is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # PyTorch answers this under private names that differ by version; silence means no
        checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(check() for check in checks if check is not None)
    return False


def described(device: Tree, *packages: str) -> Tree:
    """What a run's record says of the machine: its device, and the versions of Python and of some packages."""
    versions = {name: version(name) for name in packages}
    return {
        "device": device,
        "versions": {"python": platform.python_version(), **versions},
        "platform": platform.platform(),
    }


def processor() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
