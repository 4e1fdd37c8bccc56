"""Files: reading one whole, writing one at once, and in words what the system refused."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sanggar.errors import DataError, RunError, SanggarError

Tree = dict[str, Any]
"""A mapping as JSON or YAML gives it: plain values, nested"""
Content = Mapping[str, Any]
"""The same, where it is only read and may be any kind of mapping"""

ABANDONED = 24 * 3600.0
"""Seconds after which what a process of another machine was writing is taken for a leftover"""

_PLACE = "choose another place with --out"
_ADVICE = {
    errno.ENOSPC: f"Free some space or {_PLACE}",
    errno.EDQUOT: f"Your share of the disk is full: free some space or {_PLACE}",
    errno.EFBIG: f"It is larger than the disk or a limit of the system allows: {_PLACE}",
    errno.EACCES: f"Its permissions forbid it: change them, or {_PLACE}",
    errno.EPERM: f"The system forbids it: {_PLACE}",
    errno.EROFS: f"The disk can only be read: {_PLACE}",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.EISDIR: "A folder stands there: choose another name",
    errno.ENOTDIR: f"A file stands where a folder has to be: {_PLACE}",
    errno.EEXIST: f"Something stands there already: {_PLACE}",
    errno.EMFILE: "Too many files are open: close other programs",
}
"""What to do by what went wrong; everywhere the same."""


def failure(error: OSError) -> str:
    """What the system refused to write, and what to do about it: two sentences, without the last full stop."""
    return f"{error.strerror or error}. {_ADVICE.get(error.errno or 0, _PLACE.capitalize())}"


def unreadable(path: object, error: OSError) -> str:
    """What is said of a file or folder that is there and cannot be read."""
    advice = {
        errno.EACCES: " Its permissions forbid it: change them.",
        errno.EPERM: " Its permissions forbid it: change them.",
        errno.EIO: " The disk, or the connection to it, fails.",
    }.get(error.errno or 0, "")
    return f"{path}: cannot be read ({error.strerror or error}).{advice}"


def content(path: Path, largest: int, kind: type[SanggarError] = RunError) -> bytes:
    """The bytes of a file. Raises `kind` where there is none, or it is larger than `largest` bytes or no plain file."""
    with opened(path, kind) as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise kind(f"{path} has {size / 1e6:,.1f} MB; such a file is read up to {largest / 1e6:,.1f} MB.")
        return file.read(largest)


@contextlib.contextmanager
def opened(path: Path, kind: type[SanggarError] = RunError) -> Iterator[BinaryIO]:
    """A plain file, to be read. Raises `kind` where there is none, or it cannot be read."""
    try:
        # what never ends (a pipe, a device) is opened without waiting, and refused
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise kind(f"{path} is no plain file.")
            yield file
    except FileNotFoundError:
        raise kind(f"There is no file {path}.") from None
    except (OSError, ValueError) as error:  # ValueError: a name that holds a zero byte
        said = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
        raise kind(unreadable(path, said)) from None


def write_atomic(path: Path, content: bytes) -> None:
    """Put `content` at `path` at once and durably. Raises RunError; what stood at `path` is then untouched."""
    with written(path) as file:
        file.write(content)


@contextlib.contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file to write bit by bit, which takes its place at `path` at once and durably when the block ends.

    Raises RunError; what stood at `path` is then untouched, as it is when the block raises.
    """
    beside = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            raise RunError(f"Cannot write {path}: {failure(error)}; what was saved before is unchanged.") from None
        raise


def vacant(folder: Path) -> None:
    """Raises DataError where something other than an empty folder stands there already."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder} already exists and is not an empty folder; choose another name.")


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[Path]:
    """A folder to fill, which is at its place as a whole when the block ends, and not at all when it raises.

    Raises RunError, also where something other than an empty folder stands there already.
    """
    beside = _beside(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent)
        beside.mkdir()
        yield beside
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()
        beside.replace(folder)
    except OSError as error:
        raise RunError(f"Cannot write {folder}: {failure(error)}.") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _host() -> str:
    """This machine, in eight letters that a file's name can hold."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _beside(path: Path) -> Path:
    """A name beside `path` that nobody else has and that says who is writing; as short where the other is long."""
    return path.with_name(f".{path.name[:40]}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.new")


_BESIDE = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.new", re.DOTALL)


def sweep(folder: Path, deep: bool = False) -> None:
    """Remove what writers that were killed left in a folder, or below it as well; what others write now is let be."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            path, whole = Path(entry.path), entry.is_dir(follow_symlinks=False)
            if entry.name.endswith(".new") and entry.name.startswith(".") and _left(entry, deep):
                if whole:
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
            elif deep and whole:
                sweep(path, deep)


def _left(entry: os.DirEntry[str], alone: bool) -> bool:
    """Whether its writer is no more. 0.1.0 did not note the machine: its leftovers go where one is `alone`."""
    writer = _BESIDE.fullmatch(entry.name)
    if writer is None:
        return alone
    host, process = writer[1], int(writer[2])
    if host != _host():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED
    import psutil

    return not psutil.pid_exists(process)


def name_part(text: str, most: int = 100) -> str:
    """What a file may be called of any text: letters, digits, - and _, so many bytes at most."""
    safe = re.sub(r"[^\w-]+", "-", text)
    return safe.encode()[:most].decode(errors="ignore")


def cache_folder(name: str) -> Path:
    """A folder of the user's cache, or of `SANGGAR_CACHE`. What lies there can be made anew and deleted."""
    import platformdirs

    chosen = os.environ.get("SANGGAR_CACHE")
    return Path(chosen or platformdirs.user_cache_dir("sanggar", appauthor=False)) / name


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows can neither open nor flush a folder; its rename is durable enough
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
