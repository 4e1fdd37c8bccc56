"""What lies in a folder or a zip of pictures: names, what tells that one has changed, and classes by sub-folder."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float32, Int64

from sanggar.data.decoding import LARGEST
from sanggar.data.images import SUFFIXES, Attribute
from sanggar.errors import DataError

SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}
"""What no class is called."""


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder or a zip, and what is known of them before one is opened."""

    place: Path
    names: list[str]
    """paths in it, in order"""
    stamps: list[str] = field(repr=False)
    """of each: what changes when its content does"""
    classes: tuple[str, ...] = ()
    labels: Int64[np.ndarray, "n"] | None = None
    attributes: tuple[Attribute, ...] = ()
    values: Float32[np.ndarray, "n columns"] | None = None
    parts: Int64[np.ndarray, "n"] | None = None
    """the publisher's own splits: 0 train, 1 validation, 2 test"""
    note: str = ""


def list_pictures(place: Path) -> Listing:
    """The pictures in a folder or a zip, sub-folders included, and their classes where sub-folders tell any.

    Known by their suffix; hidden files and what some systems add (`__MACOSX`) are passed over. Where all pictures lie
    in at least two sub-folders, these are classes. Raises DataError.
    """
    found = sorted(_in_zip(place) if place.is_file() else _in_folder(place))
    if not found:
        raise DataError(f"{place} holds no pictures ({', '.join(SUFFIXES)}).")
    if len(found) < 3:
        raise DataError(f"{place} holds {len(found)} picture{'s' * (len(found) > 1)}: too few to split.")
    names = [name for name, _ in found]
    classes, labels = _by_folder(names, place)
    return Listing(place, names, [stamp for _, stamp in found], classes, labels)


def _passed_over(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not _passed_over(name)


def _in_folder(place: Path) -> Iterator[tuple[str, str]]:
    """Names, and sizes with times of change."""
    waiting = [""]
    while waiting:
        within = waiting.pop()
        try:
            with os.scandir(place / within) as entries:
                for entry in entries:
                    name = f"{within}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        if not _passed_over(name):
                            waiting.append(f"{name}/")
                    elif _is_picture(name):
                        yield name, _stamp(entry)
        except OSError as error:
            raise DataError(f"{place / within}: cannot be read ({error.strerror}).") from None


def _stamp(entry: os.DirEntry[str]) -> str:
    try:
        status = entry.stat()
    except OSError:  # a link to nowhere, or gone meanwhile: a picture that cannot be read, like others
        return "gone"
    return f"{status.st_size} {status.st_mtime_ns}"


def _in_zip(place: Path) -> Iterator[tuple[str, str]]:
    """Names, and sizes with checksums. Raises DataError where the zip is not to be trusted."""
    with open_zip(place) as archive:
        seen = set()
        for member in archive.infolist():
            name = member.filename
            if member.is_dir():
                continue
            if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name):
                raise DataError(f"{place}: holds {name!r}, which climbs out of it. Such a zip is not opened.")
            if not _is_picture(name):
                continue
            if member.flag_bits & 1:
                raise DataError(f"{place}: is encrypted. Unpack it, and name the folder.")
            if member.file_size > LARGEST:
                raise DataError(f"{place}: {name} declares {member.file_size:,} bytes, more than any picture here has.")
            if name in seen:
                raise DataError(f"{place}: holds two files called {name}.")
            seen.add(name)
            yield name, f"{member.file_size} {member.CRC:08x}"


def open_zip(place: Path) -> zipfile.ZipFile:
    """A zip to read. Raises DataError where it is none."""
    try:
        return zipfile.ZipFile(place)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise DataError(f"{place}: neither a folder nor a zip that can be read ({error}).") from None


def _by_folder(names: list[str], place: Path) -> tuple[tuple[str, ...], Int64[np.ndarray, "n"] | None]:
    """Classes by the folders that all pictures lie in, and each picture's, if there are at least two."""
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    lowest, highest = min(folders), max(folders)  # what these two share, all do
    depth = next((i for i, (a, b) in enumerate(zip(lowest, highest, strict=False)) if a != b), len(lowest))
    if any(len(parts) == depth for parts in folders):
        return (), None
    classes = tuple(sorted({parts[depth] for parts in folders}))
    if {name.lower() for name in classes} <= SPLITS:
        raise DataError(
            f"{place}: the sub-folders {', '.join(classes)} look like splits, not like classes. sanggar draws splits "
            "itself: name one of these folders, or put all pictures into one."
        )
    code = {name: index for index, name in enumerate(classes)}
    return classes, np.array([code[parts[depth]] for parts in folders], np.int64)
