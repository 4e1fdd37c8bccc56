"""What a process has: others beside it, in one training or not, and memory. Asked before it is taken."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sanggar.errors import RunError, SanggarError


def several_processes() -> bool:
    """Whether a launcher started several processes for one training."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1")


def first_process() -> bool:
    """Whether this is the only process, or the first of several: that one writes and speaks."""
    return not several_processes() or os.environ.get("RANK", "0") == "0"  # a RANK alone is some other program's


def free_threads(threads: int) -> int:
    """Of so many threads, as many as have a core to themselves beside what other processes compute just now.

    All of them where `OMP_NUM_THREADS` says how many.
    """
    import psutil

    if threads == 1 or "OMP_NUM_THREADS" in os.environ:
        return threads
    cores: int = psutil.cpu_count() or threads
    busy: float = cores * psutil.cpu_percent(interval=0.1) / 100
    return max(1, min(threads, round(cores - busy)))


def check_memory(needed: int | float, what: str, kind: type[SanggarError] = RunError) -> None:
    """Raises `kind` where `what` would take more bytes of memory than are free, before it takes any."""
    free = free_memory()
    if needed > free:
        raise kind(
            f"{what} would take {needed / 1e9:,.1f} GB of memory or more, and {free / 1e9:,.1f} GB are free. "
            "Ask for less, or use a larger machine."
        )


def free_memory() -> int:
    """Bytes of memory that can be had, swap included, and the limits on this process minded."""
    import psutil

    found: list[int] = [psutil.virtual_memory().available + psutil.swap_memory().free]
    with contextlib.suppress(OSError, ValueError):  # a container's limit; "max" is none
        limits = Path("/sys/fs/cgroup")
        found.append(int((limits / "memory.max").read_text()) - int((limits / "memory.current").read_text()))
    with contextlib.suppress(ImportError, OSError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            found.append(limit)
    return max(0, min(found))
