"""Pictures prepared once: decoded in parallel into a file of the user's cache, and opened as a memory map.

A preparation is a folder with `pixels.npy`, uint8 `(N, H, W, C)`, `digests.npy`, uint8 `(N, 32)`, and `about.json`. It
is written beside its place and renamed when it is whole; one process prepares at a time, so that whatever else lies
there is a leftover of a crash. Each file has a checksum, which is compared when it is opened.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Bool, UInt8

from sanggar.data.decoding import Job
from sanggar.data.workers import decode
from sanggar.errors import DataError, suggest
from sanggar.files import Content, cache_folder

FORMAT = 2
"""Version of what is kept; raised when the same pictures would be prepared to other pixels."""


@dataclass(frozen=True)
class Prepared:
    """Pictures in the cache."""

    key: str
    pixels: UInt8[np.ndarray, "n height width channels"]
    """a memory map that can be read alone"""
    digests: UInt8[np.ndarray, "n 32"]
    """of each picture: SHA-256 of its file"""
    digest: str
    """SHA-256 over those, in the order of their names"""
    broken: dict[str, str]
    """what could not be read and is left out: by name, why"""
    remarks: dict[str, str]
    """what was not done as a picture's file says: by name"""
    unread: list[str]
    """the broken ones whose files could not be opened"""
    place: str
    """the folder or zip that it was made from"""
    settings: str
    """as people write them: 128×128 RGB, crop"""

    @property
    def bytes(self) -> int:
        """What it takes on the disk."""
        return self.pixels.nbytes


def folder() -> Path:
    """Where preparations lie."""
    return cache_folder("prepared")


def prepare(place: Path, names: Sequence[str], stamps: Sequence[str], size: int, fit: str, colour: bool) -> Prepared:
    """The pictures of a folder or zip in this order, from the cache or decoded now.

    `stamps` says of each what changes when its content does. Raises DataError when more than 1 % are broken, or when
    they cannot be written.
    """
    # files that have equal sizes and times of change in two folders need not be the same; a zip knows their checksums
    where = str(place) if place.is_dir() else ""
    digest = hashlib.sha256(json.dumps([FORMAT, size, fit, colour, where]).encode())
    for name, stamp in zip(names, stamps, strict=True):
        digest.update(f"{name}\0{stamp}\n".encode(errors="surrogateescape"))  # a name may be no text at all
    key = digest.hexdigest()[:16]
    found = _current(folder() / key)
    if found is not None:
        return found
    settings = f"{size}×{size} {'RGB' if colour else 'grey'}, {fit}"
    job = Job(str(place), size, "crop" if fit == "crop" else "squash", colour, "", 0)
    try:
        with _alone():
            found = _current(folder() / key)  # another process may have made it meanwhile
            if found is None:
                _make(folder() / key, job, names, settings)
    except OSError as error:
        raise DataError(
            f"Cannot write {folder() / key}: {error.strerror or error}. The prepared pictures take "
            f"{job.weight * len(names) / 1e6:,.0f} MB: free some space (`sanggar data --prepared` lists what can be "
            "evicted), or choose another place with SANGGAR_CACHE."
        ) from None
    found = found or opened(folder() / key)
    if found is None:
        raise DataError(f"{folder() / key} cannot be read back. Evict it with `sanggar data --evict {key}`.")
    return found


def opened(place: Path, check: bool = True) -> Prepared | None:
    """A preparation as it lies in the cache; none where it is missing, not whole or, if `check`, a bit has changed."""
    try:
        about = json.loads((place / "about.json").read_text(encoding="utf-8"))
        known = about.pop("checksum")
        if known != zlib.crc32(_text(about)) or about["format"] != FORMAT:
            return None
        for name, checksum in about["checksums"].items():
            if check and checksum != _checksum(place / name):
                print(f"{place / name} is damaged: the pictures are prepared anew.", file=sys.stderr, flush=True)
                return None
        shape = tuple(about["shape"])
        return Prepared(
            place.name, _mapped(place / "pixels.npy", shape), _mapped(place / "digests.npy", (shape[0], 32)),
            about["digest"], about["broken"], about["remarks"], about["unread"], about["place"], about["settings"],
        )  # fmt: skip
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _mapped(path: Path, shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
    """An `.npy` of bytes as it is written here, as a memory map. Raises ValueError where it is another."""
    head = _head(shape)
    with path.open("rb") as file:
        if file.read(len(head)) != head:
            raise ValueError("it begins otherwise")
    return np.memmap(path, np.uint8, "r", len(head), shape).view(np.ndarray)


def _current(place: Path) -> Prepared | None:
    """A preparation, unless a file that could not be opened for it can be by now."""
    found = opened(place)
    return None if found is not None and any(map(_opens, (Path(found.place) / n for n in found.unread))) else found


def _opens(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError:
        return False
    return True


def _text(about: Content) -> bytes:
    return json.dumps(about, indent=1, sort_keys=True).encode()  # in ASCII: a name may be no text at all


def _checksum(path: Path) -> int:
    """CRC-32 of a file: any bit that changed is noticed, at the speed of memory."""
    found = 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            found = zlib.crc32(part, found)
    return found


def kept() -> list[Prepared]:
    """All preparations in the cache."""
    return [found for place in sorted(folder().glob("[!.]*")) if (found := opened(place, check=False)) is not None]


def evict(key: str) -> int:
    """Remove the preparation of this key, or `all` of them; the bytes that were freed. Raises DataError.

    One that cannot be read any more goes as well.
    """
    there = [place for place in sorted(folder().glob("[!.]*")) if place.is_dir()]
    chosen = [place for place in there if key in ("all", place.name)]
    if not chosen and key != "all":
        raise DataError(f"There is no preparation {key!r}. {suggest(key, [place.name for place in there])}")
    freed = 0
    try:
        with _alone():
            for place in chosen:
                freed += sum(file.stat().st_size for file in place.iterdir())
                shutil.rmtree(place)
            _sweep()
    except OSError as error:
        raise DataError(f"Cannot remove {folder()}: {error.strerror or error}.") from None
    return freed


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time; whoever dies lets go."""
    folder().mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder() / "lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print("Another process is preparing pictures: waiting for it.", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _sweep() -> None:
    """Remove what others left when they were killed."""
    for place in folder().glob(".*.new"):
        shutil.rmtree(place, ignore_errors=True)


def _make(target: Path, job: Job, names: Sequence[str], settings: str) -> None:
    """Prepare into a folder beside, and rename it. Raises OSError, DataError; nothing is left then."""
    _sweep()
    if target.exists():
        shutil.rmtree(target)  # not whole, or it would have been opened
    weight = job.weight * len(names)
    free = shutil.disk_usage(target.parent).free
    if free < weight:
        raise OSError(0, f"the disk has {free / 1e6:,.0f} MB left")
    print(
        f"Preparing {len(names):,} pictures of {job.place} at {settings}: {weight / 1e6:,.0f} MB in {target}, kept "
        f"until `sanggar data --evict {target.name}`.", file=sys.stderr, flush=True,
    )  # fmt: skip
    beside = target.with_name(f".{target.name}.new")
    try:
        beside.mkdir()
        out = beside / "pixels.npy"
        shape = (len(names), job.size, job.size, 3 if job.colour else 1)
        head = _head(shape)
        with out.open("wb") as file:
            file.write(head)
            file.truncate(len(head) + weight)
        job = replace(job, out=str(out), offset=len(head))
        done = decode(job, names)
        whole = np.array([bool(digest) for digest in done.digests])
        with out.open("r+b") as file:
            if done.broken:
                shape = (int(whole.sum()), *shape[1:])
                _close_gaps(file, job, whole)
                file.seek(0)
                file.write(_head(shape))
            file.flush()
            os.fsync(file.fileno())
        digests = _bytes([digest for digest in done.digests if digest])
        (beside / "digests.npy").write_bytes(_head(digests.shape) + digests.tobytes())
        by_name = [done.digests[i] for i in sorted(range(len(names)), key=names.__getitem__) if whole[i]]
        about = {
            "format": FORMAT, "place": job.place, "settings": settings, "shape": list(shape),
            "digest": hashlib.sha256(_bytes(by_name).tobytes()).hexdigest(),
            "broken": dict(sorted(done.broken.items())),
            "remarks": dict(sorted(done.remarks.items())), "unread": sorted(done.unread),
            "checksums": {name: _checksum(beside / name) for name in ("pixels.npy", "digests.npy")},
        }  # fmt: skip
        with (beside / "about.json").open("wb") as text:
            text.write(_text({**about, "checksum": zlib.crc32(_text(about))}))
            text.flush()
            os.fsync(text.fileno())
        beside.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _bytes(digests: Sequence[str]) -> UInt8[np.ndarray, "n 32"]:
    return np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32)


def _head(shape: tuple[int, ...]) -> bytes:
    """The header of an `.npy` of bytes: equally long for any number of pictures."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _close_gaps(file: BinaryIO, job: Job, whole: Bool[np.ndarray, "n"]) -> None:
    """Move pictures up to where broken ones would lie."""
    for to, at in enumerate(np.flatnonzero(whole).tolist()):
        if to != at:
            file.seek(job.offset + at * job.weight)
            picture = file.read(job.weight)
            file.seek(job.offset + to * job.weight)
            file.write(picture)
    file.truncate(job.offset + int(whole.sum()) * job.weight)
