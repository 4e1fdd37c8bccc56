"""Published files: found under the data root, plain, gzipped or in a zip, or fetched from a mirror and verified."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BufferedReader
from pathlib import Path, PurePosixPath
from typing import cast

from sanggar.errors import DataError

MOST = 1 << 30
"""Bytes of content that are read of one file, at most."""
CHUNK = 1 << 20
GZIP = b"\x1f\x8b"
"""What a gzip begins with."""

Place = Path | zipfile.Path
"""A folder or a file, or one in a zip."""


@dataclass(frozen=True)
class Remote:
    """A file that a publisher offers: its name once decompressed, and the checksum and bytes of that content.

    It is known by its content however it was packed, in a file of its own or in an archive.
    """

    name: str
    sha256: str
    size: int
    packed: bool = False
    """the checksum is of the gzip that is offered, since its content's is not known"""


def find(place: Place, file: Remote) -> Place | None:
    """The file in a folder or a zip, plain or gzipped, or None; some write a dot before `idx`.

    Where the checksum is of the gzip, that is looked for first.
    """
    names = [file.name, f"{file.name}.gz"]
    names = names[::-1] if file.packed else names
    names += [name.replace("-idx", ".idx") for name in names if "-idx" in name]
    return next((path for name in names if (path := place / name).is_file()), None)


def published(place: Place, files: Sequence[Remote]) -> bool | None:
    """Whether the files under `place` are what their publisher offers; None where that cannot be told.

    It cannot where the publisher's checksum is of a packed file, and the file here is not packed, or has no checksum.
    """
    known: list[bool | None] = []
    for file in files:
        path = find(place, file)
        if path is None:
            return False
        plain = not _gzipped(path)
        if not file.sha256 or (file.packed and plain):
            shorter_or_longer = plain and isinstance(path, Path) and path.stat().st_size != file.size
            known.append(False if shorter_or_longer else None)
        else:
            known.append(_digest(path, file.packed, file.size) == file.sha256)
    return False if False in known else None if None in known else True


def checksum(path: Path) -> str:
    """SHA-256 of a file's content, once decompressed; never in memory whole. Raises DataError as `read_file`."""
    return _digest(path, packed=False, size=0)


def _digest(path: Place, packed: bool, size: int) -> str:
    """SHA-256 of a file as it lies there, or of its content; nothing where that is longer than the size, if known."""
    digest, length = hashlib.sha256(), 0
    with opened(path, unpack=not packed) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            length += len(chunk)
            if size and not packed and length > size:  # a small file may decompress to anything
                return ""
    return digest.hexdigest()


def fetch(place: Path, files: Sequence[Remote], mirrors: Sequence[str]) -> None:
    """Download files from the first mirror that has them, verify their content, and only then put them in place."""
    missing, tried = list(files), []
    for mirror in mirrors:
        offers = {f"{mirror}{f.name}.gz": [f] for f in missing} if mirror.endswith("/") else {mirror: list(missing)}
        for url, offered in offers.items():
            try:
                download(url, offered, place)
            except (OSError, ValueError, DataError) as error:  # requests' errors are OSErrors
                reason = str(error) if isinstance(error, DataError) else type(error).__name__
                tried.append(f"{url} ({reason})")
                break
            missing = [file for file in missing if file not in offered]
    if missing:
        names = ", ".join(f.name if f.name.endswith(".zip") else f"{f.name}[.gz]" for f in missing)
        raise DataError(
            f"Missing data: {names}. Put {'it' if len(missing) == 1 else 'them'} into {place} (SANGGAR_DATA "
            f"chooses another data root), or connect to a network. Tried: {'; '.join(tried)}."
        )


def download(url: str, files: Sequence[Remote], place: Path) -> None:
    """Fetch a gzipped file, or an archive of several, and put those that are asked for in place once all are verified.

    Raises DataError, OSError or ValueError; nothing is in place then.
    """
    import pooch

    pooch.get_logger().setLevel("ERROR")
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".download-") as scratch:
        way = pooch.HTTPDownloader(progressbar=True, timeout=30)
        got = Path(pooch.retrieve(url, None, PurePosixPath(url).name, scratch, downloader=way))
        paths = unpack(got, files) if ".tar" in got.suffixes else [got]
        for path, file in zip(paths, files, strict=True):
            if (digest := _digest(path, file.packed, 0)) != file.sha256:
                if path.suffix == ".gz" and not _gzipped(path):
                    raise DataError(f"{file.name}: it does not decompress: what came is no gzip")
                raise DataError(f"{file.name}: its content has SHA-256 {digest[:16]}…, expected {file.sha256[:16]}…")
        for path in paths:
            path.replace(place / path.name)


def unpack(archive: Path, files: Sequence[Remote]) -> list[Path]:
    """The named files out of a tar archive, written beside it. Raises DataError.

    Files are known by their last name; where the archive would put them, and all else in it, is passed over.
    """
    wanted = {file.name: file for file in files}
    try:
        with tarfile.open(archive, "r|*") as members:  # from front to back: an archive is decompressed once
            for member in members:
                file = wanted.get(PurePosixPath(member.name).name)
                content = members.extractfile(member) if file and member.size == file.size else None
                if file and content is not None:
                    archive.with_name(file.name).write_bytes(content.read())
                    del wanted[file.name]
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"it does not unpack ({error})") from None
    if wanted:
        raise DataError(f"it does not hold {', '.join(f'{f.name} of {f.size:,} bytes' for f in wanted.values())}")
    return [archive.with_name(file.name) for file in files]


def read_file(path: Place) -> bytearray:
    """A file's content, decompressed. Raises DataError where it is damaged, too large, or cannot be read."""
    with opened(path) as file:
        content = read_up_to(file, MOST + 1)
    if len(content) > MOST:
        raise DataError(f"{path}: holds more than the {MOST:,} bytes that sanggar reads of one file.")
    return content


def read_up_to(file: BufferedIOBase, count: int) -> bytearray:
    """The next bytes of a file, `count` at most, in memory that grows with what there is."""
    content = bytearray()
    while len(content) < count and (chunk := file.read(min(CHUNK, count - len(content)))):
        content += chunk
    return content


@contextmanager
def opened(path: Place, unpack: bool = True) -> Iterator[BufferedIOBase]:
    """A file to read; where its first bytes are a gzip's, whatever its name, what that holds. Raises DataError."""
    try:
        with path.open("rb") as raw:
            # what a zip opens can be peeked into as well
            packed = cast("BufferedReader", raw).peek(2)[:2] == GZIP
            if unpack and packed:
                with gzip.GzipFile(fileobj=cast("BufferedReader", raw)) as file:
                    yield cast("BufferedIOBase", file)
            else:
                yield cast("BufferedIOBase", raw)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{path} is damaged: it does not decompress ({str(error)[:100]}). Delete it; what is published is fetched "
            "anew."
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None


def _gzipped(path: Place) -> bool:
    with opened(path, unpack=False) as file:
        return file.read(2) == GZIP


def in_zip(path: Path) -> Place:
    """What lies in a zip, below the one folder that holds it all, if there is one. Raises DataError."""
    try:
        top = zipfile.Path(path)
        inside = [entry for entry in top.iterdir() if entry.name != "__MACOSX"]
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise DataError(f"{path}: not a zip that can be read ({str(error)[:100]}).") from None
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else top
