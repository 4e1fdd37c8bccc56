"""Real processes without the seconds of a start: forked, for one command each, from one that has imported sanggar."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

When = Literal["before", "after"]
ROOMS = ["__main__", "sanggar.cli", "sanggar.training.start", "training.killing"]
SLOW = ["sklearn.datasets", "torch._dynamo", "torch._inductor", "torch.onnx"]
"""imported by the first load and the first step: what a forked process need not do again"""


def start(
    *arguments: str | Path, said: Path, kill_at: tuple[int, When] | None = None, cache: Path | None = None
) -> BaseProcess:
    """A process that runs `sanggar` with these arguments and writes both its streams into the file `said`.

    With `kill_at` it kills itself before or after the n-th time (from 1) that it flushes or renames a file. `cache` is
    where it keeps what it prepares, where that is not where others do.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*ROOMS, *SLOW])
    process = context.Process(target=_command, args=([str(a) for a in arguments], said, kill_at, cache))
    process.start()
    return process


def run(*arguments: str | Path, said: Path, kill_at: tuple[int, When] | None = None) -> int:
    """As `start`, then wait: the exit status, negative for the signal that killed it."""
    process = start(*arguments, said=said, kill_at=kill_at)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _command(arguments: list[str], said: Path, kill_at: tuple[int, When] | None, cache: Path | None) -> None:
    if cache is not None:
        os.environ["SANGGAR_CACHE"] = str(cache)
    with said.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which who runs the tests may have ignored
    events = _Events(kill_at)
    os.fsync = events.watched(os.fsync)
    Path.replace = events.watched(Path.replace)  # type: ignore[method-assign]
    from sanggar.cli import main

    try:
        main(arguments)
    finally:
        said.with_suffix(".events").write_text(str(events.seen))


class _Events:
    def __init__(self, kill_at: tuple[int, When] | None) -> None:
        self.seen, self.kill_at = 0, kill_at

    def watched(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.seen += 1
            self._die_if("before")
            result = original(*arguments)
            self._die_if("after")
            return result

        return call

    def _die_if(self, when: When) -> None:
        if (self.seen, when) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
