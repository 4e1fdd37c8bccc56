"""Download files: found under the data root, plain or gzipped, or fetched from a mirror and verified."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import cast

from sanggar.errors import DataError


@dataclass(frozen=True)
class Remote:
    """A file that a publisher offers: its name once decompressed, and the checksum and bytes of that content.

    It is known by its content however it was packed, in a file of its own or in an archive.
    """

    name: str
    sha256: str
    size: int


def find(place: Path, file: Remote) -> Path | None:
    """The file under `place`, plain or gzipped, or None."""
    candidates = (place / file.name, place / f"{file.name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def published(place: Path, files: Sequence[Remote]) -> bool:
    """Whether the files under `place` hold what their publisher offers."""
    return all((path := find(place, file)) is not None and checksum(path) == file.sha256 for file in files)


def checksum(path: Path) -> str:
    """SHA-256 of a file's content, once decompressed; never in memory whole. Raises DataError as `read_file`."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        names = ", ".join(f"{f.name}[.gz]" for f in missing)
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
            if (found := checksum(path)) != file.sha256:
                raise DataError(f"{file.name}: its content has SHA-256 {found[:16]}…, expected {file.sha256[:16]}…")
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


def read_file(path: Path) -> bytes:
    """A file's content, decompressed when it ends in .gz. Raises DataError where it is damaged or cannot be read."""
    with _opened(path) as file:
        return file.read()


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield cast("BufferedIOBase", file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} is damaged: it does not decompress ({error}). Delete it, and it is fetched anew."
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
