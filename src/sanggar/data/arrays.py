"""The source of arrays: an `.npz` as Keras and MedMNIST have them, an `.npy`, or a table with a column a pixel."""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from io import BufferedReader
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Int64, Shaped, UInt8
from numpy.typing import DTypeLike

from sanggar.data.dataset import DataOptions, Dataset, Part, Presence, Source, amount, fingerprint, root
from sanggar.data.downloads import cut
from sanggar.data.images import Images, ImageSpec
from sanggar.data.npy import MAGIC, TOO_MUCH, ZIP, ArrayFile, Header, open_arrays
from sanggar.data.remote import MOST as MOST_TEXT
from sanggar.data.remote import Place, opened
from sanggar.errors import DataError, suggest
from sanggar.seeding import address

NAMES = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels"), ("x", "y")),
    "validation": (("x_val", "y_val"), ("x_valid", "y_valid"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
"""What an `.npz` calls the pictures and the labels of a split; in capitals or not."""
LABELS = ("label", "labels", "class", "target")
"""What a table may call the column of labels."""
INDEX = ("", "unnamed: 0")
"""What pandas calls the column that numbers the rows."""
SIDES = range(4, 1025)
"""Heights and widths that pictures may have."""
SHOWN = 20
"""Classes that are named."""
CLASSES = 1000
"""Different labels that are still taken for classes."""
LABEL = 100
"""Characters that a label may have."""
LINE = 1 << 20
"""Characters that a row of a table may have."""
TENTH = 0.1
CHUNK = 1 << 24


class ArrayOptions(DataOptions):
    """Pictures that lie in an array or a table."""

    path: str
    """an .npz, an .npy, or a table (CSV, gzipped or not) with a column for each pixel; a relative name is looked for in
    the working directory, then under the data root"""
    labels: str | None = None
    """the file of labels of an .npy, or the column of labels of a table; none: NAME-labels.npy beside NAME.npy, the
    column `label`"""
    validation: Part | None = None  # type: ignore[assignment]  # the file's own split has no number here
    """pictures for validation: how many, or which share of those that are not for test; none: the file's own, or a
    tenth"""
    test: Part | None = None
    """test pictures, drawn from all: how many, or which share; none: the file's own test split, or a tenth"""
    note: str = ""
    """what has to be said wherever these pictures, or figures of them, are shown: their licence, who is on them"""


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


class Arrays(Source):
    """Pictures in an array file or a table of one's own."""

    def spec_for(self, options: DataOptions) -> ImageSpec:
        """Size and classes as the file has them."""
        stacks = list_arrays(cast("ArrayOptions", options))
        return ImageSpec(*stacks.shape, stacks.classes)

    def left(self, options: DataOptions) -> int:
        """Pictures to train on, from the arrays' headers."""
        train, validation, test = list_arrays(cast("ArrayOptions", options)).counts
        if options.test is not None or not (train and test):
            train, validation = train + validation + test, 0
            train -= amount(options.test or TENTH, train)
        if options.validation is not None or not validation:
            train += validation
            train -= amount(options.validation or TENTH, train)
        return train

    def memory(self, options: DataOptions) -> int:
        """A byte for each value of a pixel."""
        stacks = list_arrays(cast("ArrayOptions", options))
        return sum(stacks.counts) * math.prod(stacks.shape)

    def presence(self, name: str, options: DataOptions | None = None) -> Presence:
        """Whether the file can be read."""
        if options is None:
            return Presence("your own", 0, None)
        try:
            place = list_arrays(cast("ArrayOptions", options)).place
        except DataError:
            return Presence("absent", 0, None)
        return Presence("present", place.stat().st_size, place)

    def splits(self, options: DataOptions) -> Dataset:
        """The file's own splits, or what `data.seed` draws where it has none or others are asked for."""
        stacks = list_arrays(cast("ArrayOptions", options))
        pixels, done = stacks.read()
        parts, start, waiting = list[Images | None](), 0, iter(pixels)
        for count in stacks.counts:
            labels = None if stacks.labels is None else stacks.labels[start : start + count]
            parts.append(Images(next(waiting), labels) if count else None)
            start += count
        train, validation, test = parts
        content = fingerprint(*filter(None, parts))
        if options.test is not None or train is None or test is None:
            whole = _joined(train, validation, test)
            chosen = amount(options.test or TENTH, len(whole))
            train, test = cut("test", whole, chosen, address(options.seed, "test"))
            validation = None
        if options.validation is not None or validation is None:
            whole = _joined(train, validation)
            train, validation = cut("validation", whole, amount(options.validation or TENTH, len(whole)), options.seed)
        notes = list(filter(None, [stacks.note, done]))
        note = " ".join(filter(None, [cast("ArrayOptions", options).note, *notes]))
        about = (*_counted(stacks, train, validation, test), *notes)
        return Dataset(train, validation, test, content, note, about)


def _joined(*parts: Images | None) -> Images:
    first, *others = filter(None, parts)
    for other in others:
        first = first.joined(other)
    return first


def _counted(stacks: Stacks, *splits: Images) -> list[str]:
    """Splits, classes and pictures that are there more than once, a line each."""
    sizes = " + ".join(f"{len(split):,}" for split in splits)
    lines = [f"{stacks.place}: {sizes} pictures (train + validation + test)"]
    if stacks.classes:
        rows = [
            np.bincount(split.labels, minlength=len(stacks.classes)) for split in splits if split.labels is not None
        ]
        each = [
            f"{name} {' + '.join(f'{n:,}' for n in row)}"
            for name, row in zip(stacks.classes, np.stack(rows, axis=1), strict=True)
        ]
        more = f" and {len(each) - SHOWN:,} more" if len(each) > SHOWN else ""
        lines.append(f"{len(each):,} classes: {', '.join(each[:SHOWN])}{more}")
    digests = [{blake2b(picture.tobytes(), digest_size=16).digest() for picture in split.pixels} for split in splits]
    repeated = sum(map(len, splits)) - len(set().union(*digests))
    if repeated:
        shared = len(digests[0] & digests[2])
        lines.append(
            f"duplicates: {repeated:,} pictures repeat another pixel by pixel; {shared:,} are for training and for test"
        )
    return lines


def list_arrays(options: ArrayOptions) -> Stacks:
    """What the file holds, known by its first bytes and not by its name. Raises DataError."""
    place = _find(options.path, "data.path")
    try:
        with place.open("rb") as file:
            begin = file.read(len(MAGIC))
        status = place.stat()
        packed = _tables_in(place) if begin[:2] == ZIP else []
    except OSError as error:
        raise DataError(f"{place}: cannot be read ({error.strerror}).") from None
    if begin == MAGIC:
        return _of_npy(place, options.labels)
    if begin[:2] == ZIP and len(packed) != 1:
        if options.labels is not None:
            raise DataError("data.labels: an .npz names its labels itself; leave it out.")
        return _of_npz(place)
    return _of_table(place, "".join(packed), options.labels, (status.st_size, status.st_mtime_ns))


def _tables_in(place: Path) -> list[str]:
    """The tables in a zip that holds no arrays."""
    try:
        with zipfile.ZipFile(place) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
    except (zipfile.BadZipFile, NotImplementedError, ValueError):  # what is wrong is said where arrays are read
        return []
    return [] if any(name.endswith(".npy") for name in names) else [n for n in names if n.lower().endswith(".csv")]


def _find(path: str, key: str, beside: Path | None = None) -> Path:
    places = [Path(path).expanduser(), root() / path, *([] if beside is None else [beside / path])]
    for place in places:
        if place.is_file():
            return place.resolve()
        if place.is_dir():
            raise DataError(f"{key}: {place} is a folder; expected an .npz, an .npy or a table. Pictures as files in a "
                            "folder: source: folder.")  # fmt: skip
    raise DataError(f"{key}: there is no file {path}, neither here nor under {root()}.")


# -- .npz and .npy ---------------------------------------------------------------------------------------------


def _of_npz(place: Path) -> Stacks:
    names = {name for splits in NAMES.values() for pair in splits for name in pair}
    file = open_arrays(place, lambda name: name.lower() in names)
    known = {name.lower(): name for name in file.headers}
    chosen: list[tuple[str, str | None]] = []
    counts = []
    for split, pairs in NAMES.items():
        there = [(known[x], known.get(y)) for x, y in pairs if x in known]
        if len(there) > 1:
            raise DataError(f"{place}: both {there[0][0]} and {there[1][0]} may be the {split} pictures. Keep one.")
        count = file.headers[there[0][0]].shape[0] if there and file.headers[there[0][0]].shape else 0
        counts.append(count)
        chosen += there if count else []
    if not chosen:
        inside = ", ".join([*file.headers, *file.others][:8]) or "none"
        raise DataError(
            f"{place}: no array of pictures is known by its name (x_train, train_images, images, …); there are: "
            f"{inside}. Pictures as files in a zip: source: folder."
        )
    labelled = {y is not None for _, y in chosen}
    if len(labelled) > 1:
        bare = ", ".join(x for x, y in chosen if y is None)
        raise DataError(f"{place}: {bare} has no labels, but other pictures do.")
    used = {name for pair in chosen for name in pair}
    unused = sorted({*file.headers, *file.others} - used)
    note = f"Arrays of {place.name} that are not used: {', '.join(unused[:8])}." if unused else ""
    labels = [file.read(y) for _, y in chosen if y is not None]
    return _stacks(file, [x for x, _ in chosen], (counts[0], counts[1], counts[2]), labels, note)


def _of_npy(place: Path, named: str | None) -> Stacks:
    file = open_arrays(place)
    header = file.headers[""]
    beside = place.with_name(f"{place.stem}-labels.npy")
    labels = []
    if named is not None or beside.is_file():
        path = beside if named is None else _find(named, "data.labels", place.parent)
        labels = [open_arrays(path).read("")]
    return _stacks(file, [""], (header.shape[0] if header.shape else 0, 0, 0), labels, "")


def _stacks(
    file: ArrayFile, names: Sequence[str], counts: tuple[int, int, int], labels: Sequence[np.ndarray], note: str
) -> Stacks:
    if not any(counts):
        raise DataError(f"{file.path}: holds no pictures.")
    headers = [file.headers[name] for name in names]
    arranged = [_arrangement(header) for header in headers]
    for header, other in zip(headers, arranged, strict=True):
        if other != arranged[0]:
            raise DataError(
                f"{header.where} has the shape {header.shape}, unlike {headers[0].where}, {headers[0].shape}."
            )
    shape, how = arranged[0]

    def read() -> tuple[list[np.ndarray], str]:
        pixels = [file.read(name) for name in names]
        if how == "channels first":
            pixels = [array.transpose(0, 2, 3, 1) for array in pixels]
        found, done = as_bytes([array.reshape(len(array), *shape) for array in pixels], str(file.path))
        return found, " ".join(filter(None, [_ARRANGED[how], done]))

    sizes = [count for count in counts if count]
    for array, size, header in zip(labels, sizes, headers, strict=False):
        if array.ndim < 1 or len(array) != size:
            raise DataError(f"{header.where} holds {size:,} pictures, but there are labels of shape {array.shape}.")
    classes, codes = classes_of(labels, str(file.path)) if labels else ((), None)
    return Stacks(file.path, counts, shape, classes, codes, read, note)


_ARRANGED = {
    "plain": "",
    "channels first": "The arrays hold channels before rows and columns.",
    "flat": "The arrays hold a row a picture, which is taken for a grey square.",
}


def _arrangement(header: Header) -> tuple[tuple[int, int, int], str]:
    """Height, width and channels of an array's pictures, and how they lie. Raises DataError where it is not certain."""
    shape, how = header.shape[1:], "plain"
    if len(shape) == 1:
        side = math.isqrt(shape[0])
        shape, how = ((side, side, 1), "flat") if side * side == shape[0] else (shape, how)
    elif len(shape) == 2:
        shape = (*shape, 1)
    elif len(shape) == 3 and shape[2] not in (1, 3) and shape[0] in (1, 3):
        shape, how = (*shape[1:], shape[0]), "channels first"
    if len(shape) != 3 or shape[2] not in (1, 3) or shape[0] not in SIDES or shape[1] not in SIDES:
        raise DataError(
            f"{header.where} has the shape {header.shape}; expected (N, height, width), (N, height, width, 1 or 3) or "
            f"(N, 1 or 3, height, width), height and width from {SIDES[0]} to {SIDES[-1]:,}."
        )
    if header.dtype.kind not in "biuf":
        raise DataError(f"{header.where} holds {header.dtype}; expected pixels as numbers.")
    return (shape[0], shape[1], shape[2]), how


# -- pixels and labels -----------------------------------------------------------------------------------------


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


# -- a table of pixels -----------------------------------------------------------------------------------------


@lru_cache(maxsize=1)  # a command asks for size, classes and pixels in turn, and parsing takes seconds
def _of_table(path: Path, member: str, named: str | None, _stamp: tuple[int, int]) -> Stacks:
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
            if total > MOST_TEXT:
                raise DataError(f"{place}: more than {MOST_TEXT:,} characters. {TOO_MUCH}")
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
