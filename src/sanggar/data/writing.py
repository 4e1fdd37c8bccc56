"""Many pictures with their classes, written as they come: one `.npz`, one `.png` of them all, or a file each."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from sanggar.data.images import MAX_PIXELS, ImageSpec, grid, write_png
from sanggar.errors import DataError
from sanggar.files import filled, name_part, vacant, write_atomic, written

Chunk = tuple[UInt8[np.ndarray, "_n height width channels"], Int64[np.ndarray, "_n"] | None]

GAP = 2
WIDEST = 2000
"""Pixels that a sheet of small pictures is enlarged to fill."""


def write_stack(out: Path, chunks: Iterable[Chunk], count: int, spec: ImageSpec) -> None:
    """Write `count` pictures like `spec`, which come in chunks with their labels, to `out`, which appears at once.

    Where it ends in .npz, arrays `images`, uint8 `(N, H, W)` or `(N, H, W, C)`, and `labels`, int64, where there are:
    they are written chunk by chunk and never in memory together. Where it ends in .png, one sheet, each class in
    rows of its own. Otherwise a folder, new or empty, with a PNG each, whose name ends in its class. Raises DataError
    before the first chunk is asked for, RunError where it cannot be written.
    """
    match out.suffix:
        case ".npz":
            _write_npz(out, chunks, count, spec)
        case ".png":
            check_sheet(out, count, spec, "FILE.npz or a folder")
            stack = list(chunks)
            labels = [part for _, part in stack if part is not None]
            pixels = np.concatenate([part for part, _ in stack])
            write_atomic(out, write_png(sheet(pixels, np.concatenate(labels) if labels else None)))
        case "":
            _write_folder(out, chunks, spec)
        case _:
            raise DataError(f"{out}: expected a name ending in .npz or .png, or a folder.")


def sheet(
    pixels: UInt8[np.ndarray, "n height width channels"], labels: Int64[np.ndarray, "n"] | None = None
) -> UInt8[np.ndarray, "..."]:
    """The pictures in a grid; with several of each label, every label has rows of its own, in order."""
    columns = min(len(pixels), max(10, round(len(pixels) ** 0.5)))
    groups = [] if labels is None else [pixels[labels == label] for label in np.unique(labels)]
    longest = max(map(len, groups), default=0)
    if len(groups) > 1 and longest > 1:
        rows = -(-longest // columns)
        columns = -(-longest // rows)
        blocks = np.full((len(groups), rows * columns, *pixels.shape[1:]), 128, np.uint8)
        for block, group in zip(blocks, groups, strict=True):
            block[: len(group)] = group
        pixels = blocks.reshape(-1, *pixels.shape[1:])
    return grid(pixels, columns, GAP, scale=enlarged(columns, pixels.shape[2]))


def enlarged(columns: int, width: int) -> int:
    """How many times as large pictures of this width are shown, so many in a row: small ones four times."""
    return min(4, max(1, WIDEST // (columns * (width + GAP))))


def check_sheet(out: Path, count: int, spec: ImageSpec, instead: str) -> None:
    """Raises DataError where so many pictures make a sheet that is too large to be opened again."""
    if count * (spec.height + GAP) * (spec.width + GAP) > MAX_PIXELS:
        raise DataError(f"{out}: {count:,} pictures are too many for one sheet; write {instead} instead.")


def _write_npz(out: Path, chunks: Iterable[Chunk], count: int, spec: ImageSpec) -> None:
    shape = (count, *spec.shape) if spec.channels > 1 else (count, spec.height, spec.width)
    header: dict[str, object] = {"descr": "|u1", "fortran_order": False, "shape": shape}
    labels = []
    with written(out) as file, zipfile.ZipFile(file, "w") as archive:
        with archive.open(_member("images"), "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for pixels, part in chunks:
                member.write(pixels.tobytes())
                labels += [] if part is None else [part]
        if labels:
            with archive.open(_member("labels"), "w") as member:
                np.lib.format.write_array(member, np.concatenate(labels), allow_pickle=False)


def _member(name: str) -> zipfile.ZipInfo:
    """An array's place in an `.npz`, without the time: the same pictures make the same file."""
    info = zipfile.ZipInfo(f"{name}.npy")
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _write_folder(out: Path, chunks: Iterable[Chunk], spec: ImageSpec) -> None:
    vacant(out)
    number = 0
    with filled(out) as folder:
        for pixels, labels in chunks:
            for i, picture in enumerate(pixels):
                name = "" if labels is None else f"-{name_part(spec.classes[labels[i]])}"
                plain = picture[..., 0] if spec.channels == 1 else picture
                (folder / f"{number:05d}{name}.png").write_bytes(write_png(plain))
                number += 1
