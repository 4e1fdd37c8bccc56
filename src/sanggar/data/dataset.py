"""What a data set is: its options, its splits, where it lies, and the contract that every source keeps."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field, WithJsonSchema

from sanggar.data.images import Images, ImageSpec
from sanggar.errors import DataError, suggest
from sanggar.options import Options, Seed


def _part(value: object) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value >= 1 and value == int(value):
            return int(value)
        if 0 < value < 1:
            return value
    raise ValueError(f"expected a number of pictures, or a share of them below 1, got {value!r}")


Part = Annotated[
    int | float,
    BeforeValidator(_part),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            ]
        }
    ),
]
"""So many pictures, or a share of them."""


TENTH = 0.1
"""Share of the pictures of one's own that validation and test take where nothing says another"""


def amount(part: int | float, total: int) -> int:
    """How many of `total` pictures a part is; at least one."""
    return int(part) if part >= 1 else max(1, round(part * total))


class DataOptions(Options):
    """Which pictures, and how the training ones are split."""

    source: str
    """name of a data set; `sanggar data` lists them"""
    validation: Part = 2000
    """pictures cut from the train split for validation: how many, or which share of them"""
    test: Part | None = None
    """test pictures, drawn anew from train and test together; none: the publisher's own test split"""
    only: tuple[str, ...] | None = Field(default=None, min_length=1)
    """classes that training and validation pictures are of, while test stays whole; none: all classes"""
    seed: Seed = 0
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
    about: tuple[str, ...] = ()
    """said before a training: what was found, and what is left out, a line each"""

    def narrowed(self, only: tuple[str, ...], classes: tuple[str, ...]) -> Dataset:
        """Training and validation pictures of some classes alone, copied. Raises DataError where there are none."""
        for name in only:
            if name not in classes:
                there = suggest(name, classes) if classes else "These pictures have no classes."
                raise DataError(f"data.only: there is no class {name!r}. {there}")
        wanted = [classes.index(name) for name in only]

        def kept(split: str, images: Images) -> Images:
            assert images.labels is not None
            found = images.take(np.flatnonzero(np.isin(images.labels, wanted)))
            if not len(found):
                raise DataError(f"data.only: no {split} picture is of class {', '.join(only)}.")
            return found

        return replace(self, train=kept("training", self.train), validation=kept("validation", self.validation))


@dataclass(frozen=True)
class Presence:
    """Whether a source's files are on this machine, and what they weigh."""

    state: Literal["built in", "present", "present, not compared", "differs from the published", "absent", "your own"]
    bytes: int
    place: Path | None


@dataclass(frozen=True)
class Source(ABC):
    """A data set that a recipe can name. What depends on the options is asked with them."""

    about: str
    licence: str
    Options: type[DataOptions] = field(default=DataOptions, kw_only=True)
    """what a recipe may say of it"""

    @abstractmethod
    def spec_for(self, options: DataOptions) -> ImageSpec:
        """What a network has to know of the pictures. Raises DataError where it is asked of files that are missing."""

    @abstractmethod
    def left(self, options: DataOptions) -> int:
        """Pictures in the train split, of all classes, known before any is opened. Raises DataError likewise."""

    @abstractmethod
    def splits(self, options: DataOptions) -> Dataset:
        """The splits as uint8, of all classes. Raises DataError when files are missing or damaged."""

    def counted(self, options: DataOptions) -> int:
        """Pictures to train on, known before any of them is opened: of some classes, as if all were equally large."""
        left = self.left(options)
        return left if options.only is None else left * len(options.only) // max(1, len(self.spec_for(options).classes))

    def load(self, options: DataOptions) -> Dataset:
        """The splits as uint8. Raises DataError when files are missing or damaged."""
        found = self.splits(options)
        return found if options.only is None else found.narrowed(options.only, self.spec_for(options).classes)

    def normal(self, options: DataOptions) -> tuple[str, ...] | None:
        """The classes that are trained on, where test has others as well; none: all."""
        return options.only

    @abstractmethod
    def presence(self, name: str, options: DataOptions | None = None) -> Presence:
        """Whether the files of this source, which the table calls `name`, are on this machine."""

    @abstractmethod
    def memory(self, options: DataOptions) -> int:
        """Bytes of memory that the pictures take."""


DIFFERS = (
    "The files on this machine are not the published ones: figures on them compare with each other, and not with "
    "published figures."
)
"""The note of such data."""
UNKNOWN = (
    "The files on this machine could not be compared with the published ones: only checksums of the packed files are "
    "known."
)
"""The note of data that may be the published."""


def root() -> Path:
    """The data root: `SANGGAR_DATA`, else a folder of the user's cache."""
    import platformdirs

    chosen = os.environ.get("SANGGAR_DATA")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("sanggar", appauthor=False)) / "data"


def fingerprint(*splits: Images) -> str:
    """SHA-256 over shapes, pixels, labels and attributes of the splits, in order."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(str(split.pixels.shape).encode())
        for array in (split.pixels, split.labels, split.attributes):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
