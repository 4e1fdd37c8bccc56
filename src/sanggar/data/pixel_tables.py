"""A table with a row a picture and a column a pixel, as Kaggle has MNIST: CSV, gzipped, or alone in a zip."""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Shaped
from numpy.typing import DTypeLike

from sanggar.data.npy import TOO_MUCH
from sanggar.data.remote import MOST, Place, opened
from sanggar.data.stacks import SIDES, Stacks, as_bytes, classes_of
from sanggar.errors import DataError, suggest

LABELS = ("label", "labels", "class", "target")
"""What a table may call the column of labels."""
INDEX = ("", "unnamed: 0")
"""What pandas calls the column that numbers the rows."""
LABEL = 100
"""Characters that a label may have."""
LINE = 1 << 20
"""Characters that a row of a table may have."""


@lru_cache(maxsize=1)  # a command asks for size, classes and pixels in turn, and parsing takes seconds
def read_pixel_table(path: Path, member: str, named: str | None, _stamp: tuple[int, int]) -> Stacks:
    """A table, or one in a zip, with a row for each picture: its label, and its pixels row by row. Raises DataError."""
    place: Place = zipfile.Path(path, member) if member else path
    first = next(_lines(place), "")
    separator = max(",;\t", key=first.count)
    try:
        cells = [cell.strip() for cell in next(csv.reader([first], delimiter=separator), [])]
    except csv.Error as error:
        raise DataError(f"{place}: not a table of pixels ({error}).") from None
    numbers = [cell for cell in cells if _is_number(cell)]
    names = 2 * len(numbers) < len(cells) or named in cells or any(cell.lower() in LABELS for cell in cells)
    header = names or _in_a_row(numbers)
    label, pixels, note = _columns(cells, names, named, place)
    side = math.isqrt(len(pixels))
    if side * side != len(pixels) or side not in SIDES:
        raise DataError(
            f"{place}: {len(pixels):,} columns of pixels are no grey square with sides from {SIDES[0]} to "
            f"{SIDES[-1]:,}; expected a table as Kaggle has MNIST (label,pixel0,…,pixel783), an .npz or an .npy."
        )
    values = _numbers(place, separator, pixels, header)
    labels = [] if label is None else [_texts(place, separator, label, header)]
    classes, codes = classes_of(labels, str(place)) if labels else ((), None)
    grey, done = as_bytes([values.reshape(len(values), side, side, 1)], str(place))
    return Stacks(path, (len(values), 0, 0), (side, side, 1), classes, codes, lambda: (list(grey), done), note)


def _in_a_row(numbers: Sequence[str]) -> bool:
    """Whether these number columns, as pandas does, and are no picture's pixels."""
    first = numbers[0] if numbers else ""
    return first in ("0", "1") and list(numbers) == [str(int(first) + i) for i in range(len(numbers))]


def _columns(cells: Sequence[str], names: bool, named: str | None, place: Place) -> tuple[int | None, list[int], str]:
    """Which column holds the label, which the pixels, and what is left out. Raises DataError."""
    if not names:
        if named is not None:
            raise DataError(f"data.labels: {place} has no header with names, and no column {named!r}.")
        bare = math.isqrt(len(cells)) ** 2 == len(cells)
        said = "" if bare else f"The first of {len(cells)} columns, which have no names, is taken for the label."
        return (None, list(range(len(cells))), "") if bare else (0, list(range(1, len(cells))), said)
    lower = [cell.lower() for cell in cells]
    if named is not None and named not in cells:
        raise DataError(f"data.labels: {place} has no column {named!r}. {suggest(named, cells[:20])}")
    label = cells.index(named) if named is not None else next((i for i, c in enumerate(lower) if c in LABELS), None)
    index = [i for i, cell in enumerate(lower) if cell in INDEX and i != label]
    pixels = [i for i in range(len(cells)) if i != label and i not in index]
    places = [tuple(map(int, re.findall(r"\d{1,9}", cells[i]))) for i in pixels]
    if all(places) and places != sorted(places):
        raise DataError(f"{place}: the columns of pixels are not in the order of their numbers.")
    return label, pixels, "A column that numbers the rows is left out." if index else ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _lines(place: Place) -> Iterator[str]:
    """A table's lines that are not empty, gzipped or not. Raises DataError for what is no text, or too much of it."""
    total = 0
    with opened(place) as file:
        text = io.TextIOWrapper(cast("BufferedReader", file), "utf-8-sig", "replace")
        while line := text.readline(LINE):
            total += len(line)
            if len(line) == LINE or "\0" in line or "\ufffd" in line:
                raise DataError(f"{place}: no .npz, no .npy, and no table of pixels as text (UTF-8).")
            if total > MOST:
                raise DataError(f"{place}: more than {MOST:,} characters. {TOO_MUCH}")
            if line.strip():
                yield line


def _numbers(place: Place, separator: str, columns: Sequence[int], header: bool) -> Shaped[np.ndarray, "n pixels"]:
    error: Exception | None = None
    for kind in ("u1", "f4"):
        try:
            return _loaded(place, separator, columns, header, kind)
        except (ValueError, IndexError, OverflowError) as caught:
            error = caught
    raise DataError(f"{place}: not a table of pixels ({str(error).splitlines()[0][:200]}).") from None


def _texts(place: Place, separator: str, column: int, header: bool) -> Shaped[np.ndarray, "n"]:
    texts = np.char.strip(_loaded(place, separator, [column], header, f"U{LABEL + 1}")[:, 0])
    if np.char.str_len(texts).max() > LABEL:
        raise DataError(f"{place}: a label has more than {LABEL} characters.")
    try:
        return texts.astype(np.float64)
    except ValueError:
        return texts


def _loaded(place: Place, separator: str, columns: Sequence[int], header: bool, kind: DTypeLike) -> np.ndarray:
    lines = _rows(place, separator)
    if header:
        next(lines)
    found = np.loadtxt(lines, kind, None, separator, usecols=columns, ndmin=2, quotechar='"')
    if not len(found):
        raise DataError(f"{place}: holds no pictures.")
    return found


def _rows(place: Place, separator: str) -> Iterator[str]:
    """Lines with as many cells as the first. Raises DataError."""
    expected = 0
    for number, line in enumerate(_lines(place), 1):
        count = line.count(separator)
        expected = expected if number > 1 else count
        if count != expected and '"' not in line:
            raise DataError(f"{place}: row {number} has {count + 1:,} cells, the first {expected + 1:,}.")
        yield line
