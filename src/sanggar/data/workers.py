"""Many pictures decoded in parallel, each by one of several processes, and what could not be read."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict
from pathlib import Path

from sanggar.data.decoding import Decoder, Done, Job
from sanggar.errors import DataError

FEW = 400
"""Pictures that are decoded here: for these a process of its own takes longer to start than to work."""
CHUNK = 64
"""Pictures that a process is asked for at a time."""
TOLERATED = 0.01
"""The share of pictures that may be broken."""


START = """
import importlib.util, json, sys
places, home = json.loads(sys.argv[1])
sys.path += [place for place in places if place not in sys.path]
spec = importlib.util.spec_from_file_location("sanggar", home + "/__init__.py", submodule_search_locations=[home])
sys.modules["sanggar"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from sanggar.data.decoding import serve
serve()
"""
"""What a process begins with: this very sanggar, and nothing that lies where it is started or is shadowed elsewhere"""


class Worker:
    """A process that decodes. Plain text goes to and fro: a script needs no `__main__`, and a kill ends both sides.

    It is isolated (`-I`): modules are Python's own and the installed ones first, then those of this process's path,
    and never those of the working folder or of the folder that a script lies in, where pictures may lie too.
    """

    def __init__(self, job: Job) -> None:
        unsafe = {os.path.realpath(place) for place in (os.curdir, *([] if sys.flags.safe_path else sys.path[:1]))}
        places = [place for place in sys.path if place and os.path.realpath(place) not in unsafe]
        home = str(Path(__file__).resolve().parents[1])
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", START, json.dumps([places, home])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._say(asdict(job))

    def _say(self, what: object) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # its end is noticed where its answer is missing
            self.process.stdin.write(json.dumps(what).encode() + b"\n")
            self.process.stdin.flush()

    def ask(self, start: int, names: Sequence[str]) -> Done:
        """Have pictures decoded. Raises OSError where they cannot be written, DataError where not read now."""
        assert self.process.stdout is not None
        self._say({"start": start, "names": list(names)})
        line = self.process.stdout.readline()
        if not line:
            raise DataError(
                f"A process that decodes pictures ended (status {self.process.wait()}) between {names[0]} and "
                f"{names[-1]}. It may have run out of memory."
            )
        answer = json.loads(line)
        if "error" in answer:
            raise OSError(0, answer["error"])
        if "trouble" in answer:
            raise DataError(answer["trouble"])
        return Done(**answer)

    def close(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.communicate()


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode(job: Job, names: Sequence[str]) -> Done:
    """Decode all pictures, and what became of them.

    Raises OSError where they cannot be written, DataError where more than 1 % are broken: as soon as that is known.
    """
    whole = Done(0, [""] * len(names), {})
    count = 1 if len(names) <= FEW else processors()
    with ExitStack() as stack:
        makers: list[Decoder | Worker] = [Decoder(job)] if count == 1 else [Worker(job) for _ in range(count)]
        for maker in makers:
            stack.callback(maker.close)
        answers = stack.enter_context(closing(_answers(makers, names)))  # closed before those who answer
        for done in _shown(answers, len(names)):
            whole.digests[done.start : done.start + len(done.digests)] = done.digests
            whole.broken.update(done.broken)
            whole.remarks.update(done.remarks)
            whole.unread.extend(done.unread)
            if len(whole.broken) > TOLERATED * len(names):
                raise DataError(
                    f"{job.place}: of {len(names):,} pictures more than 1 % cannot be read, which is more than an "
                    f"accident. First: {_first(whole.broken)}. Remove or replace them."
                )
    if whole.broken:
        print(
            f"{len(whole.broken):,} of {len(names):,} pictures cannot be read and are left out: "
            f"{_first(whole.broken)}.", file=sys.stderr,
        )  # fmt: skip
    if whole.remarks:
        print(f"Of {len(whole.remarks):,} of {len(names):,} pictures: {_first(whole.remarks)}.", file=sys.stderr)
    return whole


def _first(broken: dict[str, str]) -> str:
    return "; ".join(f"{name} ({why})" for name, why in sorted(broken.items())[:5])


def _answers(makers: Sequence[Decoder | Worker], names: Sequence[str]) -> Generator[Done, None, None]:
    """What becomes of the pictures, some at a time, as they are done."""
    idle: queue.SimpleQueue[Decoder | Worker] = queue.SimpleQueue()
    for maker in makers:
        idle.put(maker)

    def ask(start: int) -> Done:
        maker = idle.get()
        try:
            return maker.ask(start, names[start : start + CHUNK])
        finally:
            idle.put(maker)

    with ThreadPoolExecutor(len(makers)) as pool:
        waiting = [pool.submit(ask, start) for start in range(0, len(names), CHUNK)]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _shown(answers: Iterator[Done], total: int) -> Iterator[Done]:
    """The answers, with a bar on a terminal or in a notebook."""
    if not (sys.stderr.isatty() or "ipykernel" in sys.modules):
        yield from answers
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc="preparing", unit="picture", file=sys.stderr) as bar:
        for done in answers:
            bar.update(len(done.digests))
            yield done
