"""Writing a file or a folder at once: what stood there before is whole until the new is. And a cache's place."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sanggar.errors import DataError, RunError

Tree = dict[str, Any]
"""A mapping as JSON or YAML gives it: plain values, nested"""
Content = Mapping[str, Any]
"""The same, where it is only read and may be any kind of mapping"""


def write_atomic(path: Path, content: bytes) -> None:
    """Put `content` at `path` at once and durably. Raises RunError; what stood at `path` is then untouched."""
    with written(path) as file:
        file.write(content)


@contextlib.contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file to write bit by bit, which takes its place at `path` at once and durably when the block ends.

    Raises RunError; what stood at `path` is then untouched, as it is when the block raises.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            raise RunError(
                f"Cannot write {path}: {error.strerror or error}. Free some space or choose another place with "
                f"--out; what was saved before is unchanged."
            ) from None
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
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    try:
        beside.mkdir(parents=True)
        yield beside
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()
        beside.replace(folder)
    except OSError as error:
        raise RunError(
            f"Cannot write {folder}: {error.strerror or error}. Free some space or choose another place with --out."
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


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
