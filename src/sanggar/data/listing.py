"""What lies in a folder or a zip of pictures: names, what tells that one has changed, and classes by sub-folder."""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from sanggar.data.decoding import LARGEST
from sanggar.data.images import SUFFIXES, Attribute
from sanggar.data.layout import Folders, parts_of, understand
from sanggar.errors import DataError

SYSTEM = {
    "__macosx", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler",
    "recycled", "system volume information", "lost+found", "found.000", "network trash folder", "temporary items",
    "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "_vti_cnf",
}  # fmt: skip
"""What operating systems and servers leave, in small letters"""
SHOWN = 5

_understood = lru_cache(maxsize=4)(understand)  # a command lists its pictures several times


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
    in_order: bool = True
    """whether the publisher's splits keep the order of the names; else the seed draws it"""
    normal: tuple[str, ...] | None = None
    """the classes that training pictures are of, where those for test are of others as well"""
    masks: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """of pictures, by name: the names of their masks"""
    note: str = ""
    unused: list[str] = field(default_factory=list, repr=False)
    """pictures that are left out: by their folders they are masks, say"""
    about: tuple[str, ...] = ()
    """what the place was taken for, and what was left out of it: a line each"""


@dataclass
class _Scan:
    """What was come across."""

    pictures: list[tuple[str, str]] = field(default_factory=list)
    """names and stamps"""
    others: dict[str, list[str]] = field(default_factory=dict)
    """what is passed over: by reason, names"""

    def pass_over(self, reason: str, name: str) -> None:
        self.others.setdefault(reason, []).append(name)

    def look_at(self, name: str) -> bool:
        """Whether a file is a picture by its name, hidden ones and what systems leave aside."""
        reason = _passed_over(name)
        if reason is None and name.lower().endswith(SUFFIXES):
            return True
        self.pass_over(reason or f"{_suffix(name) or 'suffixless'} files, no pictures by their names", name)
        return False

    def left_out(self, table: str | None) -> list[str]:
        """How many of each kind."""
        lines = []
        for reason, names in sorted(self.others.items()):
            known = [name for name in names if parts_of(name)[-1] != table]
            if known:
                shown = ", ".join(sorted(known)[:SHOWN]) + (", …" if len(known) > SHOWN else "")
                lines.append(f"{reason}: {len(known):,} ({shown})")
        return lines


def _suffix(name: str) -> str:
    last = parts_of(name)[-1]
    return f".{last.rpartition('.')[2].lower()}" if "." in last else ""


def list_pictures(place: Path, folders: Folders = "ignored", classes: bool = True, table: str | None = None) -> Listing:
    """The pictures in a folder or a zip, sub-folders included, and what their folders mean (`layout.understand`).

    Known by their suffix; hidden files and what systems leave (`@eaDir`) are passed over. Links to folders are
    followed, unless what they lead to is in this folder anyway. Files called `table` are used otherwise. Raises
    DataError.
    """
    scan = _Scan()
    (_in_zip if place.is_file() else _in_folder)(place, scan)
    found = sorted(scan.pictures)
    if not found:
        raise DataError(f"{place} holds no pictures ({', '.join(SUFFIXES)}){_instead(scan)}.")
    layout = _understood(tuple(name for name, _ in found), place, folders, classes)
    masks = {found[index][0]: tuple(found[mask][0] for mask in of) for index, of in layout.masks.items()}
    unused = [found[index][0] for index in sorted(set(range(len(found))) - set(layout.used.tolist()))]
    found = [found[index] for index in layout.used]
    if len(found) < 3:
        raise DataError(f"{place} holds {len(found)} picture{'s' * (len(found) > 1)}: too few to split.")
    kinds = Counter(_suffix(name) for name, _ in found)
    about = [
        f"{len(found):,} pictures ({', '.join(f'{count:,} {kind}' for kind, count in kinds.most_common())}); "
        f"{layout.about}",
        *(f"left out: {text}" for text in (*layout.left_out, *scan.left_out(table))),
    ]
    return Listing(
        place, [name for name, _ in found], [stamp for _, stamp in found], layout.classes, layout.labels,
        parts=layout.parts, normal=layout.normal, masks=masks, unused=unused, about=tuple(about),
    )  # fmt: skip


def _instead(scan: _Scan) -> str:
    lines = scan.left_out(None)
    return f", only {'; '.join(lines)}" if lines else ""


def _passed_over(name: str) -> str | None:
    """Why a file or a folder is none of the user's, where it is none."""
    for part in parts_of(name):
        if part.lower() in SYSTEM or re.fullmatch(r"\.(trash.*|spotlight-v100|thumbnails|ds_store|_.*)", part.lower()):
            return "left there by systems"
        if part.startswith("."):
            return "hidden"
    return None


def _in_folder(place: Path, scan: _Scan) -> None:
    """Names, and sizes with times of change."""
    waiting, followed = [""], {os.path.realpath(place)}
    while waiting:
        within = waiting.pop()
        count = 0
        try:
            with os.scandir(place / within) as entries:
                for entry in entries:
                    count += 1
                    name = f"{within}{entry.name}"
                    if not entry.is_dir():
                        if entry.is_symlink() and not os.path.exists(entry.path) and not _suffix(name):  # noqa: PTH110
                            scan.pass_over("links to nowhere", name)
                        elif scan.look_at(name):
                            scan.pictures.append((name, _stamp(entry)))
                    elif reason := _passed_over(name):
                        scan.pass_over(reason, f"{name}/")
                    elif entry.is_symlink() and not _leads_out(entry, followed):
                        scan.pass_over("links to folders that are in it already", name)
                    else:
                        waiting.append(f"{name}/")
        except OSError as error:
            raise DataError(f"{place / within}: cannot be read ({error.strerror}).") from None
        if not count:
            scan.pass_over("empty folders", within)


def _leads_out(link: os.DirEntry[str], followed: set[str]) -> bool:
    """Whether a link leads to a folder that holds, and is held by, none that is gone through: else there is no end."""
    target = os.path.realpath(link.path)
    if any(os.path.commonpath([target, known]) in (target, known) for known in followed if _same_drive(target, known)):
        return False
    followed.add(target)
    return True


def _same_drive(one: str, other: str) -> bool:
    return os.path.splitdrive(one)[0] == os.path.splitdrive(other)[0]


def _stamp(entry: os.DirEntry[str]) -> str:
    try:
        status = entry.stat()
    except OSError:  # a link to nowhere, or gone meanwhile: a picture that cannot be read, like others
        return "gone"
    return f"{status.st_size} {status.st_mtime_ns}"


def _in_zip(place: Path, scan: _Scan) -> None:
    """Names, and sizes with checksums. Raises DataError where the zip is not to be trusted."""
    with open_zip(place) as archive:
        seen = set()
        for member in archive.infolist():
            name = member.filename
            if not name:
                raise DataError(f"{place}: holds a file without a name. Such a zip is not opened.")
            if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in parts_of(name):
                raise DataError(f"{place}: holds {name!r}, which climbs out of it. Such a zip is not opened.")
            if member.is_dir() or name.endswith("\\") or not scan.look_at(name):
                continue
            if member.flag_bits & 1:
                raise DataError(f"{place}: is encrypted. Unpack it, and name the folder.")
            if member.file_size > LARGEST:
                raise DataError(f"{place}: {name} declares {member.file_size:,} bytes, more than any picture here has.")
            if parts_of(name) in seen:
                raise DataError(f"{place}: holds two files called {name}.")
            seen.add(parts_of(name))
            scan.pictures.append((name, f"{member.file_size} {member.CRC:08x}"))


def open_zip(place: Path) -> zipfile.ZipFile:
    """A zip to read. Raises DataError where it is none."""
    try:
        return zipfile.ZipFile(place)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise DataError(f"{place}: neither a folder nor a zip that can be read ({error}).") from None
