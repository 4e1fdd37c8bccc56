"""One writer a run, and nothing of a run that leads out of it."""

from __future__ import annotations

import contextlib
import os
import platform
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from sanggar.errors import RunError, shown
from sanggar.files import content, failure, sweep, unreadable, write_atomic
from sanggar.record import as_json, now, parsed

PATIENCE = 3.0
"""Seconds that a command waits for another one to be done with a run"""
LOCK, WRITER = ".lock", ".writer.json"
OWN = (LOCK, WRITER)
"""What `alone_in` puts beside the files of a run: the lock, and who holds it"""


@contextlib.contextmanager
def alone_in(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Be the only process that writes into a run, for the length of the block; in one process it may be nested.

    Raises RunError that says who writes where another one does not let go within `patience` seconds. The lock is the
    system's (flock; msvcrt on Windows): it ends with its process, however that ends, and holds between machines where
    a network file system passes locks on, as NFS and SMB do. Where a file system knows none, filelock falls back to a
    file that notes machine and process, and breaks that of a dead one. What killed writers left is swept.
    """
    check_inside(folder)
    file, writer = folder / LOCK, folder / WRITER
    lock = FileLock(file, is_singleton=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except Timeout:
        raise RunError(f"{folder} is in use: {_writer(writer)}. Wait for it, or stop it, and try again.") from None
    except (OSError, NotImplementedError) as error:
        said = failure(error) if isinstance(error, OSError) else str(error)
        raise RunError(f"Cannot write {file}: {said}.") from None
    try:
        if lock.lock_counter == 1:
            sweep(folder, deep=True)
            about = {"process": os.getpid(), "host": platform.node(), "command": _command(), "since": now()}
            write_atomic(writer, as_json(about))
        yield
    finally:
        if lock.lock_counter == 1:
            with contextlib.suppress(OSError):
                writer.unlink()
        lock.release()


def _writer(file: Path) -> str:
    """Who writes, as far as it says so."""
    try:
        about = parsed(content(file, 100_000))
        words = {key: shown(about[key], 200) for key in ("command", "process", "host", "since")}
        return "`{command}` (process {process} on {host}) writes into it since {since}".format(**words)
    except (RunError, ValueError, TypeError, KeyError):
        return "another process writes into it"


def _command() -> str:
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c") else "python"
    return shown(" ".join(["sanggar" if name == "__main__.py" else name, *sys.argv[1:]]), 200)


def check_inside(folder: Path) -> None:
    """Raises RunError for a link, a pipe or a device anywhere in a run: nothing of one is followed out of it."""
    waiting = [folder]
    while waiting:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # removed meanwhile, or said by who opens it
            try:
                for entry in os.scandir(waiting.pop()):
                    if entry.is_dir(follow_symlinks=False) and not Path(entry.path).is_symlink():
                        waiting.append(Path(entry.path))
                    elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                        what = "a link, and nothing of a run is followed out of it" if entry.is_symlink() else "no file"
                        raise RunError(f"{entry.path} is {what}. Put a copy there, or remove it.")
            except PermissionError as error:
                raise RunError(unreadable(error.filename, error)) from None
