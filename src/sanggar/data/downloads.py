"""Sources of published files: read from the data root, fetched and verified where they are missing."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from sanggar.data.dataset import DIFFERS, DataOptions, Dataset, Presence, Source, amount, fingerprint, root
from sanggar.data.images import Images, ImageSpec
from sanggar.data.remote import Remote, fetch, find, published, read_file
from sanggar.errors import DataError
from sanggar.seeding import address


@dataclass(frozen=True)
class Download(Source):
    """A data set of published files, which holds the same pictures everywhere."""

    spec: ImageSpec
    read: Callable[[Path], tuple[Images, Images]]
    """its train and test splits, from a folder"""
    train_count: int
    """pictures in its train split, validation included: known before the files are"""
    test_count: int
    files: tuple[Remote, ...] = ()
    mirrors: tuple[str, ...] = ()
    """addresses: a folder (ends in /) that has each file gzipped, or a tar archive that holds them all"""
    folder: str = ""
    """where they lie under the data root, when publishers call it otherwise than the source is called here"""

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
        return Dataset(train, validation, test, content, "" if published(place, self.files) else DIFFERS)

    def left(self, options: DataOptions) -> int:
        """Pictures to train on, known before the files are."""
        total = self.train_count + self.test_count
        left = total - (self.test_count if options.test is None else amount(options.test, total))
        return left - amount(options.validation, left)

    def presence(self, name: str, options: DataOptions | None = None) -> Presence:
        """Look for the files under the data root; their content is compared with the published checksums."""
        place = self._place(name)
        if not self.files:
            return Presence("built in", 0, None)
        paths = [path for file in self.files if (path := find(place, file)) is not None]
        if len(paths) < len(self.files):
            return Presence("absent", sum(file.size for file in self.files), place)
        weight = sum(path.stat().st_size for path in paths)
        return Presence("present" if published(place, self.files) else "differs from the published", weight, place)

    def _place(self, name: str) -> Path:
        """The folder that the files lie in, or would."""
        return root() / (self.folder or name)

    def _fetched(self, name: str) -> Path:
        """The folder that holds the files, after fetching those that are missing."""
        place = self._place(name)
        missing = [file for file in self.files if find(place, file) is None]
        if missing:
            fetch(place, missing, self.mirrors)
        return place


def cut(split: str, images: Images, count: int, seed: int) -> tuple[Images, Images]:
    """What is left of the pictures, and `count` of them drawn by `seed`. Raises DataError when nothing is left."""
    if count >= len(images):
        raise DataError(f"data.{split}: {count} pictures cannot be cut from {len(images)}.")
    order = np.random.default_rng(seed).permutation(len(images))
    return images.take(np.sort(order[count:])), images.take(np.sort(order[:count]))


# -- digits ----------------------------------------------------------------------------------------------------


def read_digits(_: Path) -> tuple[Images, Images]:
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


def read_idx(path: Path) -> UInt8[np.ndarray, ...]:
    """An IDX file of unsigned bytes (format: http://yann.lecun.com/exdb/mnist/). Raises DataError."""
    content = read_file(path)
    if len(content) < 4:
        raise DataError(f"{path} is damaged: {len(content)} bytes are too few for an IDX file.")
    zeros, kind, dimensions = struct.unpack(">HBB", content[:4])
    start = 4 + 4 * dimensions
    if zeros != 0 or kind != 8 or len(content) < start:
        raise DataError(f"{path} is not an IDX file of unsigned bytes: it begins with {content[:4].hex()}.")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    expected = int(np.prod(shape, dtype=object))
    if len(content) - start != expected:
        raise DataError(
            f"{path} is damaged: its header promises {expected:,} bytes for shape {shape}, but "
            f"{len(content) - start:,} follow."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()  # writable, as torch wants it


def read_mnist_layout(place: Path, *, spec: ImageSpec) -> tuple[Images, Images]:
    """Train and test splits from the four IDX files of MNIST's layout."""

    def split(images_name: str, labels_name: str) -> Images:
        images_path, labels_path = (find(place, Remote(n, "", 0)) or place / n for n in (images_name, labels_name))
        pixels, labels = read_idx(images_path), read_idx(labels_path)
        if pixels.ndim != 3 or pixels.shape[1:] != (spec.height, spec.width) or labels.ndim != 1:
            raise DataError(f"{images_path}: expected pictures of {spec.size}, got shape {pixels.shape}.")
        if len(pixels) != len(labels) or len(pixels) == 0:
            raise DataError(
                f"{place}: {images_path.name} holds {len(pixels):,} pictures, but {labels_path.name} "
                f"{len(labels):,} labels."
            )
        if labels.max() >= len(spec.classes):
            raise DataError(f"{labels_path}: holds label {labels.max()}, but there are {len(spec.classes)} classes.")
        return Images(pixels[..., None], labels.astype(np.int64))

    return split(*IDX_FILES[:2]), split(*IDX_FILES[2:])


# -- CIFAR-10: batches of records ------------------------------------------------------------------------------


def read_cifar_layout(place: Path, *, spec: ImageSpec, files: Sequence[Remote]) -> tuple[Images, Images]:
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
