"""Pictures in arrays: pixels of any type as uint8, labels of any type as classes, or in words why not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from sanggar.errors import DataError

SIDES = range(4, 1025)
"""Heights and widths that pictures may have."""
CLASSES = 1000
"""Different labels that are still taken for classes."""
CHUNK = 1 << 24


@dataclass(frozen=True)
class Stacks:
    """What a file holds: training, validation and test pictures, each of which may be none."""

    place: Path
    counts: tuple[int, int, int]
    shape: tuple[int, int, int]
    """height, width and channels of a picture"""
    classes: tuple[str, ...]
    labels: Int64[np.ndarray, "n"] | None
    """of all pictures, one split after the other"""
    read: Callable[[], tuple[list[UInt8[np.ndarray, "_ height width channels"]], str]]
    """the pictures of the splits that are not empty, and what was done to them"""
    note: str = ""


def as_bytes(
    stacks: Sequence[Shaped[np.ndarray, "_ height width channels"]], where: str
) -> tuple[list[UInt8[np.ndarray, "_ height width channels"]], str]:
    """Pixels of any type as uint8, all by one rule, and what was done. Raises DataError where no rule is certain.

    Fractions from 0 to 1 (the largest above a half) are multiplied by 255; values from 0 to 255 (the largest at least
    128) are rounded; uint16 whose largest is in the upper half of its range is divided by 257.
    """
    kinds = sorted({str(array.dtype) for array in stacks})
    if len(kinds) > 1:
        raise DataError(f"{where}: pixels are {' and '.join(kinds)}; expected one type in all splits.")
    kind = stacks[0].dtype
    lowest, highest = (float(f([f(array) for array in stacks])) for f in (np.min, np.max))
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise DataError(f"{where}: some pixels are not finite numbers.")
    if kind == np.uint8:
        dark = f"No pixel is above {highest:g} of 255." if highest < 128 else ""
        return [np.ascontiguousarray(array) for array in stacks], dark
    if kind.kind == "b":
        scale, done = 255.0, "Pixels were truth values: true is white."
    elif lowest >= 0 and 128 <= highest <= 255:
        scale, done = 1.0, f"Pixels were {kind} from {lowest:g} to {highest:g}, rounded to whole numbers."
    elif lowest >= 0 and kind.kind == "f" and 0.5 < highest <= 1:
        scale, done = 255.0, f"Pixels were {kind} from {lowest:g} to {highest:g}, multiplied by 255."
    elif kind.kind == "u" and kind.itemsize == 2 and highest >= 1 << 15:
        scale, done = 1 / 257, "Pixels were of 16 bits, divided by 257."
    else:
        raise DataError(
            f"{where}: pixels are {kind} from {lowest:g} to {highest:g}: nothing says which of them is white. Save "
            "them as uint8, from 0 for black to 255 for white."
        )

    def scaled(array: np.ndarray) -> np.ndarray:
        out = np.empty(array.shape, np.uint8)
        step = max(1, CHUNK // math.prod(array.shape[1:]))
        for start in range(0, len(array), step):
            out[start : start + step] = np.rint(array[start : start + step].astype(np.float64) * scale)
        return out

    return [scaled(array) for array in stacks], done


def classes_of(
    labels: Sequence[Shaped[np.ndarray, "..."]], where: str
) -> tuple[tuple[str, ...], Int64[np.ndarray, "n"]]:
    """The classes that labels name, in order, and the code of each picture. Raises DataError where they name none.

    Labels are whole numbers, truth values or texts, one a picture, or 1 in one of several columns and 0 in the others.
    """
    flat = [_one_each(array, where) for array in labels]
    if len({array.dtype.kind in "US" for array in flat}) > 1:
        raise DataError(f"{where}: some labels are texts and some are numbers.")
    together = np.concatenate(flat)
    if together.dtype.kind == "S":
        together = np.char.decode(together, "utf-8", "replace")
    if together.dtype.kind == "f":
        if not (np.isfinite(together).all() and (np.rint(together) == together).all()):
            raise DataError(f"{where}: labels are fractions, or missing; a class is a whole number or a text.")
        if np.abs(together).max(initial=0) > 1 << 53:
            raise DataError(f"{where}: labels are larger than whole numbers can be told apart.")
        together = together.astype(np.int64)
    names, codes = np.unique(together, return_inverse=True)
    if len(names) > CLASSES:
        raise DataError(f"{where}: {len(names):,} different labels; expected at most {CLASSES:,} classes.")
    classes = tuple(str(name).strip() for name in names.tolist())
    if not all(classes) or len(set(classes)) < len(classes):
        raise DataError(f"{where}: a label is empty, or two differ in nothing but spaces.")
    return classes, codes.reshape(-1).astype(np.int64)


def _one_each(array: Shaped[np.ndarray, "..."], where: str) -> Shaped[np.ndarray, "n"]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "biuf" and array.shape[1] > 1:
        if np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all():
            return np.asarray(np.argmax(array, axis=1))
        raise DataError(
            f"{where}: labels have {array.shape[1]} columns, and not one 1 in each row: not one class each."
        )
    if array.ndim != 1:
        raise DataError(f"{where}: labels have the shape {array.shape}; expected one for each picture.")
    return array
