"""Sources of published files: read from the data root, fetched and verified where they are missing."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from sanggar.data.dataset import DIFFERS, UNKNOWN, DataOptions, Dataset, Presence, Source, amount, fingerprint, root
from sanggar.data.images import Images, ImageSpec
from sanggar.data.remote import (
    CHUNK,
    MOST,
    Place,
    Remote,
    fetch,
    find,
    in_zip,
    opened,
    published,
    read_file,
    read_up_to,
)
from sanggar.errors import DataError
from sanggar.seeding import address

_NOTES = {"present": "", "present, not compared": UNKNOWN, "differs from the published": DIFFERS}


@dataclass(frozen=True)
class Download(Source):
    """A data set of published files, which holds the same pictures everywhere."""

    spec: ImageSpec
    read: Callable[..., tuple[Images, Images]]
    """its train and test splits, from a folder or a zip"""
    train_count: int
    """pictures in its train split, validation included: known before the files are"""
    test_count: int
    files: tuple[Remote, ...] = ()
    mirrors: tuple[str, ...] = ()
    """addresses: a folder (ends in /) that has each file gzipped, or a tar archive that holds them all"""
    folder: str = ""
    """where they lie under the data root, when publishers call it otherwise than the source is called here"""
    elsewhere: tuple[str, ...] = ()
    """other folders that they may lie in, as other libraries leave them"""
    archive: Remote | None = None
    """zip that holds all files: it is fetched in their place, and read where it lies"""

    def spec_for(self, options: DataOptions) -> ImageSpec:
        """Always the same, and known before the files are."""
        return self.spec

    def memory(self, options: DataOptions) -> int:
        """What the decompressed files weigh."""
        return sum(file.size for file in self.files)

    def splits(self, options: DataOptions) -> Dataset:
        """The splits in memory. Raises DataError when files are missing or damaged."""
        place = self._fetched(options.source)
        train, test = self.read(place)
        content = fingerprint(train, test)
        if options.test is not None:
            together = train.joined(test)
            count = amount(options.test, len(together))
            train, test = cut("test", together, count, address(options.seed, "test"))
        train, validation = cut("validation", train, amount(options.validation, len(train)), options.seed)
        return Dataset(train, validation, test, content, _NOTES[self._state(place)])

    def left(self, options: DataOptions) -> int:
        """Pictures to train on, known before the files are."""
        total = self.train_count + self.test_count
        left = total - (self.test_count if options.test is None else amount(options.test, total))
        return left - amount(options.validation, left)

    def presence(self, name: str, options: DataOptions | None = None) -> Presence:
        """Look for the files under the data root; their content is compared with the published checksums."""
        if not self.files:
            return Presence("built in", 0, None)
        folder = self._folder(name)
        try:
            place = self._place(name)
        except DataError:
            return Presence("differs from the published", 0, folder)
        if place is None:
            return Presence("absent", sum(f.size for f in ([self.archive] if self.archive else self.files)), folder)
        if isinstance(place, Path):
            paths = [path for file in self.files if isinstance(path := find(place, file), Path)]
            return Presence(self._state(place), sum(path.stat().st_size for path in paths), place)
        archive = _zip_of(place)
        return Presence(self._state(place), archive.stat().st_size, archive)

    def _folder(self, name: str) -> Path:
        """The folder that the files are put into."""
        return root() / (self.folder or name)

    def _places(self, name: str) -> Iterator[Place]:
        """Where the files may lie: folders, the one in each that the archive unpacks to, or the archive itself."""
        folders = [self._folder(name), *(root() / other for other in self.elsewhere)]
        yield from folders
        if self.archive is not None:
            yield from (folder / Path(self.archive.name).stem for folder in folders)
            yield from (in_zip(path) for folder in folders if (path := folder / self.archive.name).is_file())

    def _place(self, name: str) -> Place | None:
        """The first place that holds all files. Raises DataError where an archive cannot be read."""
        return next((p for p in self._places(name) if all(find(p, file) is not None for file in self.files)), None)

    def _fetched(self, name: str) -> Place:
        """The place that holds the files, after fetching those that are missing."""
        folder, place = self._folder(name), self._place(name)
        if place is not None or not self.files:
            return place or folder
        missing = [file for file in self.files if find(folder, file) is None]
        if self.archive is not None:
            if (path := folder / self.archive.name).is_file():
                raise DataError(f"{path}: does not hold {missing[0].name}.gz. Delete it, and it is fetched anew.")
            missing = [self.archive]
        fetch(folder, missing, self.mirrors)
        return self._place(name) or folder

    def _state(self, place: Place) -> Literal["present", "present, not compared", "differs from the published"]:
        """How the files at a place compare with the published ones; damaged ones differ."""
        try:
            if self.archive is None or isinstance(place, Path):
                same = published(place, self.files)
            else:
                same = published(_zip_of(place).parent, [self.archive])
        except DataError:
            same = False
        return "present, not compared" if same is None else "present" if same else "differs from the published"


def _zip_of(place: zipfile.Path) -> Path:
    """The zip that a place is in."""
    return Path(str(place.root.filename))


def cut(split: str, images: Images, count: int, seed: int) -> tuple[Images, Images]:
    """What is left of the pictures, and `count` of them drawn by `seed`. Raises DataError when nothing is left."""
    if count >= len(images):
        raise DataError(f"data.{split}: {count} pictures cannot be cut from {len(images)}.")
    order = np.random.default_rng(seed).permutation(len(images))
    return images.take(np.sort(order[count:])), images.take(np.sort(order[:count]))


# -- digits ----------------------------------------------------------------------------------------------------


def read_digits(_: Place) -> tuple[Images, Images]:
    """scikit-learn's digits: 1,797 scans of 8×8; 0…16 stretched to 0…255; a fixed 360 of them are the test split."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    order = np.random.default_rng(1797).permutation(len(pixels))  # part of what this source is: never changed
    everything = Images(pixels, labels)
    return everything.take(np.sort(order[360:])), everything.take(np.sort(order[:360]))


# -- the MNIST family: IDX files -------------------------------------------------------------------------------

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


NUMBERS: dict[int, np.dtype] = {8: np.dtype(np.uint8), 12: np.dtype(">i4")}
"""What IDX files hold, by the code in their header: of those that the format knows, the ones in use here."""
AXES = 4
"""An IDX file's, at most."""


def read_idx(path: Place, code: int = 8) -> Shaped[np.ndarray, "..."]:
    """An IDX file of unsigned bytes, or of another code (format: http://yann.lecun.com/exdb/mnist/). Raises DataError.

    No more is read than its header promises, and what it promises is looked at first.
    """
    kind = NUMBERS[code]
    what = "an IDX file of unsigned bytes" if code == 8 else f"an IDX file of numbers of {kind.itemsize} bytes"
    with opened(path) as file:
        head = read_up_to(file, 4)
        if len(head) < 4:
            raise DataError(f"{path} is damaged: {len(head)} bytes are too few for an IDX file.")
        zeros, found, axes = struct.unpack(">HBB", head)
        sizes = read_up_to(file, 4 * axes) if (zeros, found) == (0, code) else bytearray()
        if (zeros, found) != (0, code) or len(sizes) < 4 * axes:
            raise DataError(f"{path} is damaged, or not {what}: it begins with {head.hex()}.")
        shape = struct.unpack(f">{axes}I", sizes)
        if axes > AXES or (0 in shape and math.prod(filter(None, shape)) > MOST):
            raise DataError(f"{path} is damaged: its header gives {axes} axes of sizes {_short(shape)}.")
        expected = math.prod(shape) * kind.itemsize
        content = read_up_to(file, min(expected, MOST) + CHUNK)
    if len(content) != expected:
        least = "at least " if len(content) == min(expected, MOST) + CHUNK else ""
        raise DataError(
            f"{path} is damaged: its header promises {expected:,} bytes for shape {shape}, but {least}{len(content):,} "
            f"follow{f'; {MOST:,} are read at most' if expected > MOST else ''}."
        )
    return np.frombuffer(content, kind).reshape(shape)


def _short(shape: Sequence[int]) -> str:
    return ", ".join(f"{size:,}" for size in shape[:AXES]) + (", …" if len(shape) > AXES else "")


def read_mnist_layout(
    place: Place, *, spec: ImageSpec, names: Sequence[str] = IDX_FILES, first: int = 0, transposed: bool = False
) -> tuple[Images, Images]:
    """Train and test splits from the four IDX files of MNIST's layout, pictures and labels of each. Raises DataError.

    Labels count from `first`. Where they have several columns, as QMNIST's, the first is the class. Pictures may lie
    `transposed`, column by column.
    """

    def split(images_name: str, labels_name: str) -> Images:
        images_path, labels_path = (find(place, Remote(n, "", 0)) or place / n for n in (images_name, labels_name))
        pixels, labels = read_idx(images_path), _read_labels(labels_path)
        if pixels.ndim != 3 or pixels.shape[1:] != (spec.height, spec.width) or labels.ndim != 1:
            raise DataError(f"{images_path}: expected pictures of {spec.size}, got shape {pixels.shape}.")
        if len(pixels) != len(labels) or len(pixels) == 0:
            raise DataError(
                f"{place}: {images_path.name} holds {len(pixels):,} pictures, but {labels_path.name} "
                f"{len(labels):,} labels."
            )
        last = first + len(spec.classes) - 1
        for label in (labels.min(), labels.max()):
            if not first <= label <= last:
                count = len(spec.classes)
                raise DataError(
                    f"{labels_path}: holds label {label}, but there are {count} classes, labels {first} to {last}."
                )
        if transposed:
            pixels = np.ascontiguousarray(pixels.transpose(0, 2, 1))
        return Images(pixels[..., None], labels - first)

    return split(*names[:2]), split(*names[2:])


def _read_labels(path: Place) -> Int64[np.ndarray, "..."]:
    """Labels of an IDX file of bytes, or of the first of several columns of integers."""
    if "-int" in path.name:
        table = read_idx(path, 12)
        return (table[:, 0] if table.ndim == 2 and table.shape[1] else table).astype(np.int64)
    return read_idx(path).astype(np.int64)


# -- CIFAR-10: batches of records ------------------------------------------------------------------------------


def read_cifar_layout(place: Place, *, spec: ImageSpec, files: Sequence[Remote]) -> tuple[Images, Images]:
    """Train and test splits from CIFAR-10's binary batches, of which the last is the test split.

    A record is a byte for the label, and the pixels channel by channel (https://www.cs.toronto.edu/~kriz/cifar.html).
    Where there is a `batches.meta.txt`, it must name the classes that are known here. Raises DataError.
    """
    names = place / "batches.meta.txt"
    if names.is_file() and (said := read_file(names).decode(errors="replace").split()) != list(spec.classes):
        raise DataError(f"{names}: expected the classes {', '.join(spec.classes)}, got {', '.join(said)}.")
    plane = spec.height * spec.width
    record = 1 + spec.channels * plane

    def records(file: Remote) -> UInt8[np.ndarray, "n record"]:
        path = find(place, file) or place / file.name
        content = read_file(path)
        if len(content) != file.size:
            raise DataError(
                f"{path} is damaged: {file.size // record:,} pictures in records of {record:,} bytes make "
                f"{file.size:,}, but it holds {len(content):,}."
            )
        found = np.frombuffer(content, np.uint8).reshape(-1, record)
        if (most := found[:, 0].max()) >= len(spec.classes):
            raise DataError(f"{path}: holds label {most}, but there are {len(spec.classes)} classes.")
        return found

    def split(chosen: Sequence[Remote]) -> Images:
        n = sum(file.size // record for file in chosen)
        pixels, labels, done = np.empty((n, plane, spec.channels), np.uint8), np.empty(n, np.int64), 0
        for found in map(records, chosen):
            part = slice(done, done + len(found))
            labels[part], done = found[:, 0], part.stop
            for channel in range(spec.channels):
                pixels[part, :, channel] = found[:, 1 + channel * plane : 1 + (channel + 1) * plane]
        return Images(pixels.reshape(n, *spec.shape), labels)

    return split(files[:-1]), split(files[-1:])
