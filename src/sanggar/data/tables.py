"""A table of attributes: a CSV with a row a picture, its columns typed as flag, category or number."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Literal, NoReturn

import numpy as np
from jaxtyping import Float32, Float64

from sanggar.data.images import SUFFIXES, Attribute
from sanggar.data.numerals import AmbiguousError, Numerals, has_decimal_commas, is_date, way_of_writing
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
NEAR = 5_000
"""Names among which the nearest are looked for"""
SEVERAL = -1
LARGEST = 1e18
"""What a number may be: its square has to fit into float32"""
DELIMITERS = (",", ";", "\t", "|")
SEPARATOR = re.compile(r'"?sep=([,;\t|])"?[^\S\n]*\r?\n', re.IGNORECASE)
"""A line above the header, which spreadsheets write and read"""
NAMELESS = re.compile(r"|Unnamed: \d+")
"""What the index is called that pandas writes, and when it has read that again"""
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
"""What a text may begin with, the longer before the shorter"""


@dataclass(frozen=True)
class Table:
    """Columns of attributes, and their values by picture: a flag 0 or 1, a category its code, a number itself."""

    attributes: tuple[Attribute, ...]
    values: Float32[np.ndarray, "n columns"]
    about: tuple[str, ...] = ()
    """what has to be said of how it was read"""


def read_table(
    content: bytes,
    where: str,
    names: Sequence[str],
    wanted: Mapping[str, Kind] | None,
    unused: Sequence[str] = (),
) -> Table:
    """The table of the pictures `names`, a row each in any order, in the order of the names.

    A row names its picture as `rows_of` says; rows about `unused` pictures are passed over. `wanted` says which columns
    are taken, and as what; without it all are, and their kinds are inferred: numbers are numbers, or a flag where they
    are only 0 and 1 or only −1 and 1; two different texts are a flag, of which the alphabetically second means yes;
    more are a category; running numbers without a name, and days, are none of these. Among mostly numbers a cell that
    is none is a mistake. Raises DataError that names the row and the column.
    """
    sheet = _sheet(content, where)
    header, rows, about = sheet.header, sheet.rows, list(sheet.about)
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
    found = rows_of([row[at] for row in rows], where, names, sheet.first, unused)
    sorted_rows = [rows[index] for index in found]
    places = [f"row {row + sheet.first} ({file})" for row, file in zip(found, names, strict=True)]
    commas = has_decimal_commas(cell for row in sorted_rows for k, cell in enumerate(row) if k != at)
    attributes, values = [], []
    for name in columns if wanted is None else wanted:
        cells = [row[header.index(name)].strip() for row in sorted_rows]
        if wanted is None and (why := _left_out(cells)):
            about.append(f"column {name} of {where} is left out: {why} (data.attributes names what is taken)")
            continue
        column = _Column(name, cells, places, where, sheet.delimiter, commas)
        attribute, numbers = column.read((wanted or {}).get(name))
        attributes.append(attribute)
        values.append(numbers.astype(np.float32))
        if attribute.kind == "number" and (how := column.how()):
            about.append(f"column {name} of {where} is read with {how}")
    stacked = np.stack(values, axis=1) if values else np.zeros((len(names), 0), np.float32)
    return Table(tuple(attributes), stacked, tuple(about))


def _left_out(cells: Sequence[str]) -> str | None:
    """Why a column says nothing that can be learned, where it does not."""
    if not any(cells):
        return "it is empty"
    return "it holds days, which are neither numbers nor categories" if all(map(is_date, cells)) else None


def number(name: str, values: Float64[np.ndarray, "n"]) -> Attribute:
    """The attribute of a column of numbers. The deviation of one that never changes is 1: it is divided by."""
    return Attribute(name, "number", (), float(values.mean()), float(values.std()) or 1.0)


@dataclass(frozen=True)
class _Sheet:
    """A table as text, without what programs add to it."""

    header: list[str]
    rows: list[list[str]]
    """those that are not empty, all of the header's length"""
    first: int
    """the number of the first of them, as people count"""
    delimiter: str
    about: tuple[str, ...] = ()


def _sheet(content: bytes, where: str) -> _Sheet:
    text, encoding = _text(content, where)
    about = [] if encoding is None else [f"{where} is no UTF-8 and is read as {encoding}: look at its letters"]
    first = 2
    if told := SEPARATOR.match(text):
        text, delimiter, first = text[told.end() :], told[1], 3
    else:
        head = re.sub(r'"[^"]*"', "", (text.splitlines() or [""])[0])
        delimiter = max(DELIMITERS, key=head.count)  # the first where there is none
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row] or [[""]]
    except csv.Error as error:
        raise DataError(f"{where}: not a CSV that can be read ({error}).") from None
    header = [name.strip() for name in header]
    for number_, row in enumerate(rows, first):
        if len(row) != len(header):
            raise DataError(f"{where}: row {number_} has {len(row)} cells, but there are {len(header)} columns.")
    kept = []
    for index, name in enumerate(header):
        if NAMELESS.fullmatch(name) and len(header) > 1 and _says_nothing([row[index].strip() for row in rows]):
            about.append(f"column {index + 1} of {where} has no name and is left out: it only counts rows, or is empty")
        else:
            kept.append(index)
    header, rows = [header[k] for k in kept], [[row[k] for k in kept] for row in rows]
    if doubled := [name for name in header if header.count(name) > 1]:
        raise DataError(f"{where}: two columns are called {doubled[0]!r}.")
    if "" in header and len(header) > 1:
        raise DataError(f"{where}: column {kept[header.index('')] + 1} has no name. Give it one, or take it away.")
    return _Sheet(header, rows, first, delimiter, tuple(about))


def _says_nothing(cells: Sequence[str]) -> bool:
    return not any(cells) or (all(map(str.isdecimal, cells)) and len(set(cells)) == len(cells))


def _text(content: bytes, where: str) -> tuple[str, str | None]:
    """A table's text, and its encoding where that is a guess. Raises DataError where it is none."""
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    try:
        text, guess = content.decode(marked or "utf-8"), None
    except UnicodeDecodeError as error:
        try:
            text, guess = ("", None) if marked else (content.decode("cp1252"), "Windows-1252")
        except UnicodeDecodeError:
            text = ""
        if not text:
            raise DataError(
                f"{where}: not a CSV in UTF-8, nor in UTF-16 with its mark, nor in Windows-1252 ({error.reason} at "
                f"byte {error.start:,})."
            ) from None
    if "\0" in text:
        raise DataError(f"{where}: not a CSV in UTF-8 (it holds zeros, as UTF-16 does). Save it as CSV in UTF-8.")
    return text, guess


def _file_column(header: Sequence[str], where: str) -> int:
    lowered = [name.lower() for name in header]
    if "file" in lowered:
        return lowered.index("file")
    if lowered and lowered[0] in FIRST:
        return 0
    raise DataError(f"{where}: no column `file` that says which picture a row is about, only {', '.join(header)}.")


def rows_of(
    files: Sequence[str], where: str, names: Sequence[str], first: int = 2, unused: Sequence[str] = ()
) -> list[int]:
    """For each picture the row about it, of rows that name their pictures, counted from 0.

    A row may give a picture's path or, where no two share it, the end of it: its last name, say. Where there is none of
    that name, letters may be of another case or Unicode form, the suffix may be missing or another picture's, and a
    folder that all such rows begin with is passed over: as long as exactly one picture can be meant. Rows about
    `unused` pictures are passed over. Raises DataError where rows and pictures do not fit one to one.
    """
    cleaned = [file.strip().replace("\\", "/").removeprefix("./") for file in files]
    meant = _meant(cleaned, [*names, *unused])
    missing = [file for file, at in zip(cleaned, meant, strict=True) if at is None]
    row_of: dict[int, int] = {}
    for row, (file, at) in enumerate(zip(cleaned, meant, strict=True)):
        if at is None:
            continue
        if at == SEVERAL:
            raise DataError(
                f"{where}: row {row + first}: several pictures are called {file}; give their paths in the folder."
            )
        if at in row_of:
            raise DataError(
                f"{where}: rows {row_of[at] + first} and {row + first} are both about {[*names, *unused][at]}."
            )
        row_of[at] = row
    if missing:
        stems = {_stem(name): name for name in names[:NEAR]}
        near = [stems[stem] for stem in get_close_matches(_stem(missing[0]), stems, SHOWN, 0.5)] or names[:SHOWN]
        raise DataError(
            f"{where}: names {_some(missing)} that {_are(missing)} not there. There is, most like the first: "
            f"{', '.join(near)}."
        )
    without = [name for index, name in enumerate(names) if index not in row_of]
    if without:
        raise DataError(f"{where}: has no row for {_some(without)}. Add rows, or take the pictures away.")
    return [row_of[index] for index in range(len(names))]


def _meant(files: Sequence[str], names: Sequence[str]) -> list[int | None]:
    """The number of the picture that each row means, SEVERAL where it may mean more than one, None where none."""
    found: list[int | None] = [None] * len(files)
    levels: tuple[Callable[[str], str], ...] = (str, _composed, _caseless, _stem)
    for alike in levels:
        waiting = [row for row, at in enumerate(found) if at is None]
        if not waiting:
            return found
        ends = _ends([alike(name.replace("\\", "/")) for name in names])
        for row in waiting:
            found[row] = ends.get(alike(files[row]))
        waiting = [row for row in waiting if found[row] is None and ".." not in files[row].split("/")]
        folders = [files[row].split("/")[:-1] for row in waiting]
        levels_shared = [len(set(parts)) == 1 for parts in zip(*folders, strict=False)]
        for depth in range(1, [*levels_shared, False].index(False) + 1):  # below a folder that is not here
            ways = [ends.get(alike("/".join(files[row].split("/")[depth:]))) for row in waiting]
            if None not in ways and SEVERAL not in ways:
                for row, at in zip(waiting, ways, strict=True):
                    found[row] = at
                break
    return found


def _ends(paths: Sequence[str]) -> dict[str, int]:
    """Number of the path that ends in some folders and a name, SEVERAL where two do; whole paths are themselves."""
    found: dict[str, int] = {}
    for index, path in enumerate(paths):
        parts = path.split("/")
        for start in range(1, len(parts)):
            end = "/".join(parts[start:])
            found[end] = SEVERAL if end in found else index
    whole: dict[str, int] = {}
    for index, path in enumerate(paths):
        whole[path] = SEVERAL if path in whole else index
    return found | whole


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _caseless(name: str) -> str:
    return _composed(_composed(name).casefold())


def _stem(name: str) -> str:
    name = _caseless(name)
    return name.rpartition(".")[0] if name.endswith(SUFFIXES) else name


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
    delimiter: str
    decimal_commas: bool
    """whether some cell of the table has one for certain"""

    @cached_property
    def numerals(self) -> Numerals:
        """How its numbers are written. Raises DataError where that is not certain."""
        try:
            return way_of_writing(sorted(set(self.cells)), self.delimiter, self.decimal_commas)
        except AmbiguousError as error:
            raise DataError(
                f"{self.where}: column {self.name!r}: {str(error)!r} may be written with a decimal comma, or with one "
                "for thousands. Write its numbers without commas, or leave the column out with data.attributes."
            ) from None

    def how(self) -> str:
        """How its numbers are written, in words; nothing where as usual."""
        return " and ".join(filter(None, (self.numerals.about, "per cent as the unit" * self.numerals.percent)))

    def read(self, kind: Kind | None) -> tuple[Attribute, Float64[np.ndarray, "n"]]:
        """The attribute, and each picture's value. Raises DataError."""
        if "" in self.cells:
            self._refuse(self.cells.index(""), "is empty")
        value = self.numerals.value
        different = sorted(set(self.cells), key=lambda cell: (value(cell), cell))
        if kind == "number" or (kind is None and self._numeric(different)):
            values = np.array([value(cell) for cell in self.cells])
            if not np.isfinite(values).all():
                self._refuse(int(np.argmin(np.isfinite(values))), "is not a number")
            if (large := np.abs(values) > LARGEST).any():
                self._refuse(int(np.argmax(large)), f"is too large: numbers reach to {LARGEST:g}")
            return number(self.name, values), values
        if kind in (None, "flag") and set(map(value, different)) in FLAGS:
            low, high = sorted(set(map(value, different)))  # however each is written: 1, 1.0
            values = np.array([float(value(cell) == high) for cell in self.cells])
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
        numbers = [self.numerals.value(cell) for cell in different]
        return set(numbers) not in FLAGS and 2 * sum(map(math.isfinite, numbers)) > len(numbers)

    def _refuse(self, index: int, why: str) -> NoReturn:
        raise DataError(
            f"{self.where}: {self.rows[index]}: column {self.name!r}: {self.cells[index]!r} {why}. Correct it, or "
            "leave the column out with data.attributes."
        )
