"""The data sets that a recipe can name, one function each: found under the data root, or fetched and verified."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from pydantic import Field

from sanggar.data.batches import address
from sanggar.data.images import Facts, Images
from sanggar.data.remote import Remote, fetch, find, published, read_file
from sanggar.errors import DataError
from sanggar.recipe import Options


class DataOptions(Options):
    """Which pictures, and how the training ones are split."""

    source: str
    """name of a data set; `sanggar data` lists them"""
    validation: int = Field(default=2000, ge=1)
    """pictures cut from the train split for validation"""
    test: int | None = Field(default=None, ge=1)
    """test pictures, drawn anew from train and test together; none: the publisher's own test split"""
    seed: int = Field(default=0, ge=0)
    """seed of those cuts; independent of the training's seed, so that seeds can be compared"""


@dataclass(frozen=True)
class Dataset:
    """The three splits of a source, and a fingerprint of their content."""

    train: Images
    validation: Images
    test: Images
    fingerprint: str
    note: str = ""
    """said wherever a figure on this data is shown"""


@dataclass(frozen=True)
class Source:
    """A data set: what it is, and how its train and test splits are read from a folder."""

    about: str
    licence: str
    facts: Facts
    read: Callable[[Path], tuple[Images, Images]]
    train_count: int
    """pictures in its train split, validation included: known before the files are"""
    test_count: int
    files: tuple[Remote, ...] = ()
    mirrors: tuple[str, ...] = ()
    """addresses: a folder (ends in /) that has each file gzipped, or a tar archive that holds them all"""
    folder: str = ""
    """where they lie under the data root, when publishers call it otherwise than the source is called here"""

    @property
    def bytes(self) -> int:
        """What the decompressed files weigh, which is what they take in memory."""
        return sum(file.size for file in self.files)

    def load(self, options: DataOptions) -> Dataset:
        """The splits in memory as uint8. Raises DataError when files are missing or damaged."""
        place = folder(options.source, self)
        train, test = self.read(place)
        content = fingerprint(train, test)
        if options.test is not None:
            train, test = cut("test", train.joined(test), options.test, address(options.seed, "test"))
        train, validation = cut("validation", train, options.validation, options.seed)
        return Dataset(train, validation, test, content, "" if published(place, self.files) else DIFFERS)

    def counted(self, options: DataOptions) -> int:
        """Pictures to train on, known before the files are."""
        test = self.test_count if options.test is None else options.test
        return self.train_count + self.test_count - test - options.validation


DIFFERS = (
    "The files on this machine are not the published ones: figures on them compare with each other, and not with "
    "published figures."
)
"""The note of such data."""


def cut(split: str, images: Images, count: int, seed: int) -> tuple[Images, Images]:
    """What is left of the pictures, and `count` of them drawn by `seed`. Raises DataError when nothing is left."""
    if count >= len(images):
        raise DataError(f"data.{split}: {count} pictures cannot be cut from {len(images)}.")
    order = np.random.default_rng(seed).permutation(len(images))
    return images.take(np.sort(order[count:])), images.take(np.sort(order[:count]))


def root() -> Path:
    """The data root: `SANGGAR_DATA`, else a folder of the user's cache."""
    import platformdirs

    chosen = os.environ.get("SANGGAR_DATA")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("sanggar", appauthor=False)) / "data"


def fingerprint(*splits: Images) -> str:
    """SHA-256 over shapes, pixels and labels of the splits, in order."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(str(split.pixels.shape).encode())
        digest.update(np.ascontiguousarray(split.pixels).data)
        if split.labels is not None:
            digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()


def place_of(name: str, source: Source) -> Path:
    """The folder that a source's files lie in, or would."""
    return root() / (source.folder or name)


def folder(name: str, source: Source) -> Path:
    """The folder that holds a source's files, after fetching those that are missing."""
    place = place_of(name, source)
    missing = [file for file in source.files if find(place, file) is None]
    if missing:
        fetch(place, missing, source.mirrors)
    return place


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


def read_mnist_layout(place: Path, *, facts: Facts) -> tuple[Images, Images]:
    """Train and test splits from the four IDX files of MNIST's layout."""

    def split(images_name: str, labels_name: str) -> Images:
        images_path, labels_path = (find(place, Remote(n, "", 0)) or place / n for n in (images_name, labels_name))
        pixels, labels = read_idx(images_path), read_idx(labels_path)
        if pixels.ndim != 3 or pixels.shape[1:] != (facts.height, facts.width) or labels.ndim != 1:
            raise DataError(f"{images_path}: expected pictures of {facts.size}, got shape {pixels.shape}.")
        if len(pixels) != len(labels) or len(pixels) == 0:
            raise DataError(
                f"{place}: {images_path.name} holds {len(pixels):,} pictures, but {labels_path.name} "
                f"{len(labels):,} labels."
            )
        if labels.max() >= len(facts.classes):
            raise DataError(f"{labels_path}: holds label {labels.max()}, but there are {len(facts.classes)} classes.")
        return Images(pixels[..., None], labels.astype(np.int64))

    return split(*IDX_FILES[:2]), split(*IDX_FILES[2:])


# -- CIFAR-10: batches of records ------------------------------------------------------------------------------


def read_cifar_layout(place: Path, *, facts: Facts, files: Sequence[Remote]) -> tuple[Images, Images]:
    """Train and test splits from CIFAR-10's binary batches, of which the last is the test split.

    A record is a byte for the label, and the pixels channel by channel (https://www.cs.toronto.edu/~kriz/cifar.html).
    Where there is a `batches.meta.txt`, it must name the classes that are known here. Raises DataError.
    """
    names = place / "batches.meta.txt"
    if names.is_file() and (said := read_file(names).decode(errors="replace").split()) != list(facts.classes):
        raise DataError(f"{names}: expected the classes {', '.join(facts.classes)}, got {', '.join(said)}.")
    plane = facts.height * facts.width
    record = 1 + facts.channels * plane

    def records(file: Remote) -> UInt8[np.ndarray, "n record"]:
        path = find(place, file) or place / file.name
        content = read_file(path)
        if len(content) != file.size:
            raise DataError(
                f"{path} is damaged: {file.size // record:,} pictures in records of {record:,} bytes make "
                f"{file.size:,}, but it holds {len(content):,}."
            )
        found = np.frombuffer(content, np.uint8).reshape(-1, record)
        if (most := found[:, 0].max()) >= len(facts.classes):
            raise DataError(f"{path}: holds label {most}, but there are {len(facts.classes)} classes.")
        return found

    def split(chosen: Sequence[Remote]) -> Images:
        n = sum(file.size // record for file in chosen)
        pixels, labels, done = np.empty((n, plane, facts.channels), np.uint8), np.empty(n, np.int64), 0
        for found in map(records, chosen):
            part = slice(done, done + len(found))
            labels[part], done = found[:, 0], part.stop
            for channel in range(facts.channels):
                pixels[part, :, channel] = found[:, 1 + channel * plane : 1 + (channel + 1) * plane]
        return Images(pixels.reshape(n, *facts.shape), labels)

    return split(files[:-1]), split(files[-1:])


DIGITS = Facts(8, 8, 1, tuple("0123456789"))
MNIST = Facts(28, 28, 1, tuple("0123456789"))
FASHION = Facts(
    28, 28, 1, ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
)  # fmt: skip

CIFAR = Facts(
    32, 32, 3, ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
)  # fmt: skip
CIFAR_FILES = (
    Remote("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5", 30_730_000),
    Remote("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed", 30_730_000),
    Remote("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67", 30_730_000),
    Remote("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48", 30_730_000),
    Remote("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add", 30_730_000),
    Remote("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b", 30_730_000),
)

SOURCES: dict[str, Source] = {
    "digits": Source(
        about="1,797 scanned digits, 8×8 grey, part of scikit-learn",
        licence="CC BY 4.0 (UCI)",
        facts=DIGITS,
        read=read_digits,
        train_count=1437,
        test_count=360,
    ),
    "mnist": Source(
        about="70,000 handwritten digits, 28×28 grey",
        licence="CC BY-SA 3.0",
        facts=MNIST,
        read=partial(read_mnist_layout, facts=MNIST),
        train_count=60_000,
        test_count=10_000,
        files=(
            Remote(IDX_FILES[0], "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47_040_016),
            Remote(IDX_FILES[1], "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_008),
            Remote(IDX_FILES[2], "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7_840_016),
            Remote(IDX_FILES[3], "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_008),
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    "fashion-mnist": Source(
        about="70,000 articles of clothing, 28×28 grey",
        licence="MIT",
        facts=FASHION,
        read=partial(read_mnist_layout, facts=FASHION),
        train_count=60_000,
        test_count=10_000,
        files=(
            Remote(IDX_FILES[0], "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", 47_040_016),
            Remote(IDX_FILES[1], "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", 60_008),
            Remote(IDX_FILES[2], "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", 7_840_016),
            Remote(IDX_FILES[3], "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", 10_008),
        ),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
    ),
    "cifar-10": Source(
        about="60,000 photographs of animals and vehicles, 32×32 RGB",
        licence="as published by its authors (Krizhevsky 2009)",
        facts=CIFAR,
        read=partial(read_cifar_layout, facts=CIFAR, files=CIFAR_FILES),
        train_count=50_000,
        test_count=10_000,
        files=CIFAR_FILES,
        mirrors=(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
        ),
        folder="cifar-10-batches-bin",
    ),
}


@dataclass(frozen=True)
class Presence:
    """Whether a source's files are on this machine, and what they weigh."""

    state: Literal["built in", "present", "differs from the published", "absent"]
    bytes: int
    place: Path | None


def presence(name: str) -> Presence:
    """Look for a source's files under the data root; their content is compared with the published checksums."""
    source = SOURCES[name]
    place = place_of(name, source)
    if not source.files:
        return Presence("built in", 0, None)
    paths = [path for file in source.files if (path := find(place, file)) is not None]
    if len(paths) < len(source.files):
        return Presence("absent", source.bytes, place)
    weight = sum(path.stat().st_size for path in paths)
    return Presence("present" if published(place, source.files) else "differs from the published", weight, place)
