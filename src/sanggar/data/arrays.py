"""The source of arrays: an `.npz` as Keras and MedMNIST have them, an `.npy`, or a table with a column a pixel."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import cast

import numpy as np

from sanggar.data.dataset import TENTH, DataOptions, Dataset, Part, Presence, Source, amount, fingerprint, root
from sanggar.data.downloads import cut
from sanggar.data.images import Images, ImageSpec
from sanggar.data.npy import MAGIC, ZIP, ArrayFile, Header, open_arrays
from sanggar.data.pixel_tables import read_pixel_table
from sanggar.data.stacks import SIDES, Stacks, as_bytes, classes_of
from sanggar.data.summary import said_of_classes, said_of_sizes
from sanggar.errors import DataError
from sanggar.seeding import address

NAMES = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels"), ("x", "y")),
    "validation": (("x_val", "y_val"), ("x_valid", "y_valid"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
"""What an `.npz` calls the pictures and the labels of a split; in capitals or not."""


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
        splits = (train, validation, test)
        about = (
            said_of_sizes(stacks.place, *splits), *said_of_classes(stacks.classes, *splits), *_repeated(*splits), *notes
        )  # fmt: skip
        return Dataset(train, validation, test, content, note, about)


def _joined(*parts: Images | None) -> Images:
    first, *others = filter(None, parts)
    for other in others:
        first = first.joined(other)
    return first


def _repeated(train: Images, validation: Images, test: Images) -> list[str]:
    """Pictures that are there more than once, pixel by pixel: a line, where there are any."""
    splits = (train, validation, test)
    digests = [{blake2b(picture.tobytes(), digest_size=16).digest() for picture in split.pixels} for split in splits]
    repeated = sum(map(len, splits)) - len(set().union(*digests))
    if not repeated:
        return []
    shared = len(digests[0] & digests[2])
    return [
        f"duplicates: {repeated:,} pictures repeat another pixel by pixel; {shared:,} are for training and for test"
    ]


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
    return read_pixel_table(place, "".join(packed), options.labels, (status.st_size, status.st_mtime_ns))


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
