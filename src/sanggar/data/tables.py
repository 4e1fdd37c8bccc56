"""A table of attributes: a CSV with a row a picture, its columns typed as flag, category or number."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64

from sanggar.data.images import Attribute
from sanggar.errors import DataError, suggest

Kind = Literal["flag", "category", "number"]

FIRST = ("file", "image", "name", "filename")
"""What the column of file names may be called; the latter ones only where it is the first."""
FLAGS = ({0, 1}, {-1, 1})
"""Numbers that are a flag where a column holds no others."""
CLASS = "class"
"""What the label is called wherever attributes are: a column of this name could not be told from it."""
MOST = 200
"""Different texts in a column that are still taken for categories."""
SHOWN = 3


@dataclass(frozen=True)
class Table:
    """Columns of attributes, and their values by picture: a flag 0 or 1, a category its code, a number itself."""

    attributes: tuple[Attribute, ...]
    values: Float32[np.ndarray, "n columns"]


def read_table(content: bytes, where: str, names: Sequence[str], wanted: Mapping[str, Kind] | None) -> Table:
    """The table of the pictures `names`, a row each in any order, in the order of the names.

    A row names its picture by its path in the folder, or by its last name where no two share it. `wanted` says which
    columns are taken, and as what; without it all are, and their kinds are inferred: numbers are numbers, or a flag
    where they are only 0 and 1 or only −1 and 1; two different texts are a flag, of which the alphabetically second
    means yes; more are a category. Among mostly numbers a cell that is none is a mistake. Raises DataError that names
    the row and the column.
    """
    header, rows = _rows(content, where)
    at = _file_column(header, where)
    columns = [name for index, name in enumerate(header) if index != at]
    if CLASS in (columns if wanted is None else wanted):
        raise DataError(
            f"{where}: a column cannot be called {CLASS!r}, as the label is. Call it otherwise (kind, say) and let "
            "data.label name it, or leave it out with data.attributes."
        )
    for name in wanted or ():
        if name not in columns:
            raise DataError(f"data.attributes: {where} has no column {name!r}. {suggest(name, columns)}")
    found = rows_of([row[at] for row in rows], where, names)
    sorted_rows = [rows[index] for index in found]
    places = [f"row {row + 2} ({file})" for row, file in zip(found, names, strict=True)]
    attributes, values = [], []
    for name in columns if wanted is None else wanted:
        cells = [row[header.index(name)].strip() for row in sorted_rows]
        attribute, numbers = _Column(name, cells, places, where).read((wanted or {}).get(name))
        attributes.append(attribute)
        values.append(numbers.astype(np.float32))
    stacked = np.stack(values, axis=1) if values else np.zeros((len(names), 0), np.float32)
    return Table(tuple(attributes), stacked)


def number(name: str, values: Float64[np.ndarray, "n"]) -> Attribute:
    """The attribute of a column of numbers. The deviation of one that never changes is 1: it is divided by."""
    return Attribute(name, "number", (), float(values.mean()), float(values.std()) or 1.0)


def _rows(content: bytes, where: str) -> tuple[list[str], list[list[str]]]:
    """The header, and the rows that are not empty, all of its length."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not a CSV in UTF-8 ({error.reason} at byte {error.start:,}).") from None
    lines = text.splitlines() or [""]
    delimiter = ";" if lines[0].count(";") > lines[0].count(",") else ","  # what spreadsheets write in many countries
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row] or [[""]]
    except csv.Error as error:
        raise DataError(f"{where}: not a CSV that can be read ({error}).") from None
    header = [name.strip() for name in header]
    if doubled := [name for name in header if header.count(name) > 1]:
        raise DataError(f"{where}: two columns are called {doubled[0]!r}.")
    for number_, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise DataError(f"{where}: row {number_} has {len(row)} cells, but there are {len(header)} columns.")
    return header, rows


def _file_column(header: Sequence[str], where: str) -> int:
    lowered = [name.lower() for name in header]
    if "file" in lowered:
        return lowered.index("file")
    if lowered[0] in FIRST:
        return 0
    raise DataError(f"{where}: no column `file` that says which picture a row is about, only {', '.join(header)}.")


def rows_of(files: Sequence[str], where: str, names: Sequence[str], first: int = 2) -> list[int]:
    """For each picture the row about it, of rows that name their pictures, counted from 0.

    A row may give a picture's path or, where no two share it, its last name. Raises DataError where rows and pictures
    do not fit one to one.
    """
    position: dict[str, int | None] = {}
    for index, name in enumerate(names):
        last = name.rpartition("/")[2]
        position[last] = None if last in position else index
    position |= {name: index for index, name in enumerate(names)}
    row_of: dict[int, int] = {}
    missing = []
    for row, file in enumerate(files):
        cleaned = file.strip().replace("\\", "/").removeprefix("./")
        if cleaned not in position:
            missing.append(cleaned)
            continue
        at = position[cleaned]
        if at is None:
            raise DataError(
                f"{where}: row {row + first}: several pictures are called {cleaned}; give their paths in the folder."
            )
        if at in row_of:
            raise DataError(f"{where}: rows {row_of[at] + first} and {row + first} are both about {cleaned}.")
        row_of[at] = row
    if missing:
        raise DataError(f"{where}: names {_some(missing)} that {_are(missing)} not there.")
    without = [name for index, name in enumerate(names) if index not in row_of]
    if without:
        raise DataError(f"{where}: has no row for {_some(without)}. Add rows, or take the pictures away.")
    return [row_of[index] for index in range(len(names))]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{len(names):,} picture{'s' if len(names) > 1 else ''} ({', '.join(names[:SHOWN])}{more})"


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


@dataclass(frozen=True)
class _Column:
    """A column's cells, in the order of the pictures."""

    name: str
    cells: Sequence[str]
    rows: Sequence[str]
    """as people find them: row 7 (00005.jpg)"""
    where: str

    def read(self, kind: Kind | None) -> tuple[Attribute, Float64[np.ndarray, "n"]]:
        """The attribute, and each picture's value. Raises DataError."""
        if "" in self.cells:
            self._refuse(self.cells.index(""), "is empty")
        different = sorted(set(self.cells), key=lambda cell: (_number(cell), cell))
        if kind == "number" or (kind is None and self._numeric(different)):
            values = np.array([_number(cell) for cell in self.cells])
            if not np.isfinite(values).all():
                self._refuse(int(np.argmin(np.isfinite(values))), "is not a number")
            return number(self.name, values), values
        if kind in (None, "flag") and set(map(_number, different)) in FLAGS:
            low, high = sorted(set(map(_number, different)))  # however each is written: 1, 1.0
            values = np.array([float(_number(cell) == high) for cell in self.cells])
            return Attribute(self.name, "flag", (f"{low:g}", f"{high:g}")), values
        if kind is None:
            kind = "flag" if len(different) == 2 else "category"
            if len(different) > MOST:
                raise DataError(
                    f"{self.where}: column {self.name!r} holds {len(different):,} different texts: too many for "
                    "categories. Say with data.attributes which columns to take."
                )
        if kind == "flag" and len(different) != 2:
            raise DataError(
                f"{self.where}: column {self.name!r} is to be a flag, which has two values, but it has "
                f"{len(different):,}: {', '.join(different[:5])}{', …' if len(different) > 5 else ''}."
            )
        code = {cell: float(index) for index, cell in enumerate(different)}
        return Attribute(self.name, kind, tuple(different)), np.array([code[cell] for cell in self.cells])

    def _numeric(self, different: Sequence[str]) -> bool:
        """Whether most cells are numbers, so that another is a mistake, and they are not a flag in numbers."""
        numbers = [_number(cell) for cell in different]
        return set(numbers) not in FLAGS and 2 * sum(map(math.isfinite, numbers)) > len(numbers)

    def _refuse(self, index: int, why: str) -> None:
        raise DataError(
            f"{self.where}: {self.rows[index]}: column {self.name!r}: {self.cells[index]!r} {why}. Correct it, or "
            "leave the column out with data.attributes."
        )


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.inf
