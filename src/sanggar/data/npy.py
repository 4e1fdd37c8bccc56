"""Array files, `.npy` and `.npz`: what they hold is known from their headers, and checked before it is read.

The one door for arrays from elsewhere. Nothing in them is ever unpickled. A header is at most 4 kB long, names numbers,
truth values or texts, and promises as many bytes as the file holds and no more than `MOST`.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Shaped

from sanggar.errors import DataError

MAGIC = b"\x93NUMPY"
ZIP = b"PK"
"""What the files begin with."""
MOST = 2 * 10**9
"""Bytes that an array may have, and all arrays that are read of a file together."""
HEADER = 1 << 12
AXES = 4
RATIO = 1032
"""How much deflate can make of a byte."""
CHUNK = 1 << 20
TOO_MUCH = "That is more than sanggar holds in memory: save the pictures as files in a folder (source: folder)."


@dataclass(frozen=True)
class Header:
    """What an array's header says."""

    where: str
    """the file, and the array in it, as messages call it"""
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    start: int
    """bytes before the first number"""

    @property
    def bytes(self) -> int:
        """Of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class ArrayFile:
    """An `.npy`, whose array is called nothing, or an `.npz` by the names of its arrays: headers, until one is read."""

    path: Path
    headers: Mapping[str, Header]
    others: tuple[str, ...] = ()
    """names of arrays that were not asked for"""

    def read(self, name: str) -> Shaped[np.ndarray, "..."]:
        """One array. Raises DataError where the file is damaged."""
        header = self.headers[name]
        with _stream(self.path, name) as file:
            file.read(header.start)
            content = bytearray()
            while len(content) <= header.bytes and (chunk := file.read(CHUNK)):  # to the end, where a checksum is
                content += chunk
        if len(content) != header.bytes:
            raise DataError(f"{header.where} is damaged: {header.bytes:,} bytes are promised, {len(content):,} follow.")
        array = np.frombuffer(content, header.dtype)
        return array.reshape(header.shape, order="F" if header.fortran else "C")


def open_arrays(path: Path, wanted: Callable[[str], bool] = lambda _: True) -> ArrayFile:
    """The headers of an `.npy` or `.npz`, told apart by their first bytes; of an `.npz` those that are wanted by name.

    Raises DataError where a header is damaged, promises what the file cannot hold, or asks for Python objects.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            npz = file.read(2) == ZIP
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    if not npz:
        with _stream(path, "") as stream:
            return ArrayFile(path, {"": _header(stream, str(path), size)})
    headers, members = {}, _members(path)
    for name, member in members.items():
        if wanted(name):
            where = f"{path}: its array {name!r}"
            if member.file_size > RATIO * member.compress_size + HEADER or member.compress_size > size:
                raise DataError(f"{where} declares {member.file_size:,} bytes, more than it can hold.")
            with _stream(path, name) as stream:
                headers[name] = _header(stream, where, member.file_size)
    if sum(header.bytes for header in headers.values()) > MOST:
        raise DataError(f"{path}: its arrays have more than {MOST:,} bytes together. {TOO_MUCH}")
    return ArrayFile(path, headers, tuple(name for name in members if name not in headers))


def _members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """What an `.npz` holds, by the names of the arrays. Raises DataError where it is no zip, or not to be trusted."""
    members: dict[str, zipfile.ZipInfo] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise DataError(f"{path}: not an .npz file that can be read ({str(error)[:100]}).") from None
    for member in listed:
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            continue
        if name in members:
            raise DataError(f"{path}: holds two arrays called {name!r}.")
        if member.flag_bits & 1:
            raise DataError(f"{path}: is encrypted.")
        members[name] = member
    return members


@contextmanager
def _stream(path: Path, name: str) -> Iterator[BufferedIOBase]:
    """The bytes of an array, header included. Raises DataError where they are damaged."""
    try:
        if not name:
            with path.open("rb") as file:
                yield cast("BufferedIOBase", file)
        else:
            with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
                yield cast("BufferedIOBase", member)
    except (EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path} is damaged: {name or 'it'} does not decompress ({str(error)[:100]}).") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None


def _header(file: BufferedIOBase, where: str, size: int) -> Header:
    """The header at the beginning of a file of `size` bytes. Raises DataError."""
    begin = file.read(12)
    version = tuple(begin[6:8])
    length = int.from_bytes(begin[8:10] if version == (1, 0) else begin[8:12], "little")
    if len(begin) < 12 or begin[:6] != MAGIC or version not in ((1, 0), (2, 0)) or not 2 <= length <= HEADER:
        raise DataError(f"{where} is no array in NumPy's format: it begins with {begin.hex() or 'nothing'}.")
    start = (10 if version == (1, 0) else 12) + length
    head = io.BytesIO(begin[8:] + file.read(start - 12))
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(head)
    except Exception as error:  # it parses Python literals, and raises what their parser does
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise DataError(f"{where}: its header is not NumPy's ({reason}).") from None
    if dtype.hasobject:
        raise DataError(f"{where} holds Python objects, which can run code when they are read. Save numbers instead.")
    if dtype.kind not in "biufUS" or dtype.itemsize == 0:
        raise DataError(f"{where} holds {dtype}; expected numbers or texts.")
    if len(shape) > AXES or any(type(n) is not int or n < 0 for n in shape):
        raise DataError(f"{where} has the shape {str(shape)[:60]}; expected at most {AXES} axes.")
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > MOST:
        raise DataError(f"{where} promises {str(shape)[:60]} of {dtype}, more than {MOST:,} bytes. {TOO_MUCH}")
    header = Header(where, shape, dtype, fortran, start)
    if start + header.bytes != size:
        raise DataError(
            f"{where} is damaged: {header.bytes:,} bytes are promised for {shape} of {dtype}, "
            f"{max(0, size - start):,} follow."
        )
    return header
