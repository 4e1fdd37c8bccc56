"""Sources of gathered pictures: a folder or a zip of any pictures, which are prepared once and then mapped."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Int64, UInt8
from pydantic import Field

from sanggar.data.cache import Prepared, prepare
from sanggar.data.dataset import DIFFERS, TENTH, DataOptions, Dataset, Part, Presence, Source, amount, root
from sanggar.data.decoding import LARGEST, read_member, square, why
from sanggar.data.images import Images, ImageSpec
from sanggar.data.layout import TEST, TRAIN, VALIDATION, Folders
from sanggar.data.listing import Listing, list_pictures, open_zip
from sanggar.data.masks import read_masks
from sanggar.data.summary import (
    repeated,
    said_of_classes,
    said_of_columns,
    said_of_files,
    said_of_repeated,
    said_of_sizes,
)
from sanggar.data.tables import Kind, read_table
from sanggar.errors import DataError, suggest
from sanggar.seeding import address

TABLE = "attributes.csv"


class ImageFolderOptions(DataOptions):
    """Which pictures, how they become squares of one size, and how they are split."""

    validation: Part | None = None  # type: ignore[assignment]  # the publisher's own split has no number here
    """pictures for validation: how many, or which share of them; none: the publisher's own split, or a tenth"""
    test: Part | None = None
    """the same for test"""
    size: int = Field(default=128, ge=4, le=1024)
    """edge of the squares that pictures become, in pixels"""
    fit: Literal["crop", "squash"] = "crop"
    """crop: the square in the middle of a picture; squash: all of it, whatever its proportions"""
    colour: bool = True
    """RGB; otherwise grey"""
    label: str | None = None
    """the attribute, a category or a flag, that becomes the class; none: sub-folders are classes, where there are"""
    note: str = ""
    """what has to be said wherever these pictures, or figures of them, are shown: their licence, who is on them"""


class FolderOptions(ImageFolderOptions):
    """Pictures of one's own."""

    path: str
    """a folder or a zip, whose .zip may be left out; a relative name is looked for in the working directory, then under
    the data root"""
    table: str | None = None
    """CSV of attributes, in the folder, in one of its sub-folders or beside; none: `attributes.csv` in the folder or in
    a sub-folder, where there is one"""
    attributes: dict[str, Kind] | None = None
    """the columns of the table that are taken, and as what; none: all, their kinds inferred"""
    folders: Folders = "auto"
    """what sub-folders mean. auto: splits where they are called so, else classes, and masks are left out; classes: each
    is a class, whatever it is called; ignored: nothing, all pictures are one set"""
    validation: Part | None = None
    """pictures for validation: how many, or which share of them; none: those in a folder called so, or a tenth"""
    test: Part | None = None
    """the same for test, drawn from all pictures"""


@dataclass(frozen=True)
class ImageFolder(Source):
    """Pictures of any size, listed each time and prepared once."""

    listed: Callable[[Any], Listing]
    """the pictures, from this source's own options"""

    def spec_for(self, options: DataOptions) -> ImageSpec:
        """Size and colour as asked for; classes and attributes from the listing."""
        options, found = self._listed(options)
        channels = 3 if options.colour else 1
        return ImageSpec(options.size, options.size, channels, found.classes, found.attributes)

    def left(self, options: DataOptions) -> int:
        """Pictures to train on, where none is broken."""
        options, found = self._listed(options)
        test, validation = _sizes(options, found.parts, len(found.names))
        return len(found.names) - test - validation

    def memory(self, options: DataOptions) -> int:
        """None: the pictures are mapped from the disk."""
        return 0

    def presence(self, name: str, options: DataOptions | None = None) -> Presence:
        """Whether the pictures can be listed."""
        if options is None and self.Options.model_fields.get("path") is not None:
            return Presence("your own", 0, None)
        try:
            found = self.listed(options or self.Options(source=name))
        except DataError:
            return Presence("absent", 0, None)
        return Presence("differs from the published" if DIFFERS in found.note else "present", 0, found.place)

    def splits(self, options: DataOptions) -> Dataset:
        """The splits as views of one memory map, prepared now if they are not yet. Raises DataError.

        They lie there in the order test, validation, train, drawn by `data.seed`, so that each is one piece; another
        number of pictures in a split needs no new preparation, another seed does.
        """
        options, found = self._listed(options)
        order = _order(options, found)
        prepared = prepare(
            found.place, [found.names[i] for i in order], [found.stamps[i] for i in order],
            options.size, options.fit, options.colour,
        )  # fmt: skip
        if prepared.broken:
            order = order[[found.names[i] not in prepared.broken for i in order]]
        whole = Images(
            prepared.pixels,
            None if found.labels is None else found.labels[order],
            None if found.values is None else found.values[order],
        )
        parts = None if found.parts is None else found.parts[order]
        test, validation = _sizes(options, parts, len(order))
        bounds = (0, test, test + validation, len(order))
        splits = [_piece(whole, *pair) for pair in pairwise(bounds)]
        splits[0], said_of_masks = self._marked(options, found, splits[0], [found.names[i] for i in order[:test]])
        names = [found.names[i] for i in order]
        again = repeated(prepared.digests, names, np.repeat([2, 1, 0], np.diff(bounds)))
        about = (
            said_of_sizes(found.place, *splits[::-1]), *said_of_classes(found.classes, *splits[::-1]),
            *said_of_columns(found), *found.about, *said_of_files(prepared), *said_of_masks,
            *said_of_repeated(again, len(names)),
        )  # fmt: skip
        leaked = f"{again.leaked:,} of {test:,} test pictures are, byte for byte, for training or validation as well."
        said = [options.note, found.note, _left_out(prepared, len(found.names)), leaked if again.leaked else ""]
        note = " ".join(filter(None, said))
        fingerprint = _fingerprint(prepared, whole, order, splits[0].masks)
        return Dataset(splits[2], splits[1], splits[0], fingerprint, note, about)

    def _marked(
        self, options: ImageFolderOptions, found: Listing, test: Images, names: list[str]
    ) -> tuple[Images, list[str]]:
        """Test pictures with their masks, where some of them are odd and have any; and what is said of these."""
        normal = options.only or found.normal
        if not found.masks or normal is None or test.labels is None:
            return test, []
        odd = ~np.isin(test.labels, [found.classes.index(name) for name in normal if name in found.classes])
        masks, said = read_masks(found.place, names, odd, found.masks, options.size, options.fit)
        return replace(test, masks=masks), said

    def normal(self, options: DataOptions) -> tuple[str, ...] | None:
        """Classes that are trained on, where folders for test hold others as well."""
        return options.only or self._listed(options)[1].normal

    def _listed(self, options: DataOptions) -> tuple[ImageFolderOptions, Listing]:
        known = cast("ImageFolderOptions", options)
        found = labelled(self.listed(known), known.label)
        found = replace(found, parts=None if known.test is not None else _complete(found, known.seed))
        if found.parts is None and found.normal is not None:
            raise DataError(
                f"data.test: {found.place} has normal pictures to train on and others for test; no other split can be "
                "drawn. Leave data.test out."
            )
        _sizes(known, found.parts, len(found.names))
        return known, found


def _drawn(seed: int, count: int) -> Int64[np.ndarray, "n"]:
    """Positions of all pictures in the order in which splits take them."""
    return np.random.Generator(np.random.Philox(address(seed, "splits"))).permutation(count)


def _complete(found: Listing, seed: int) -> Int64[np.ndarray, "n"] | None:
    """The publisher's splits, with a tenth of the training pictures for each that the publisher has not."""
    if found.parts is None:
        return None
    parts = found.parts.copy()
    drawn = _drawn(seed, len(parts))
    trained = drawn[parts[drawn] == TRAIN]
    for part in (TEST, VALIDATION):
        if len(trained) and not (parts == part).any():
            taken, trained = np.split(trained, [amount(TENTH, len(trained))])
            parts[taken] = part
    return parts


def _order(options: ImageFolderOptions, found: Listing) -> Int64[np.ndarray, "n"]:
    """Test, validation, train: the publisher's own, or else drawn by the seed."""
    drawn = _drawn(options.seed, len(found.names))
    if found.parts is None:
        return drawn
    order = np.arange(len(drawn)) if found.in_order else drawn
    return order[np.argsort(-found.parts[order], kind="stable")]


def _sizes(options: ImageFolderOptions, parts: Int64[np.ndarray, "n"] | None, n: int) -> tuple[int, int]:
    """How many pictures are for test and for validation. Raises DataError where none is left to train on."""
    tested = (parts == TEST).sum() if parts is not None else amount(options.test or TENTH, n)
    validated = (parts == VALIDATION).sum() if parts is not None else amount(TENTH, n)
    if options.validation is not None:
        validated = amount(options.validation, n)
    if tested + validated >= n or not (tested and validated):
        raise DataError(
            f"data: {n:,} picture{'s' if n != 1 else ''} cannot be split into {tested:,} for test, {validated:,} for "
            "validation, and some to train on."
        )
    return int(tested), int(validated)


def _piece(whole: Images, start: int, stop: int) -> Images:
    """Pictures one after the other, without a copy."""
    cut = (None if array is None else array[start:stop] for array in (whole.labels, whole.attributes))
    return Images(whole.pixels[start:stop], *cut)


def _fingerprint(
    prepared: Prepared, whole: Images, order: Int64[np.ndarray, "n"], masks: UInt8[np.ndarray, "m height width"] | None
) -> str:
    """SHA-256 over pictures' files, how they were prepared, labels, attributes and masks, in the order of the names.

    The files and not the pixels: these differ a little between versions of what decodes, and a run that was copied to
    another machine would not know its data.
    """
    digest = sha256(f"{whole.pixels.shape} {prepared.settings} {prepared.digest}".encode())
    by_name = np.argsort(order)
    for array in (whole.labels, whole.attributes):
        if array is not None:
            digest.update(np.ascontiguousarray(array[by_name]).data)
    if masks is not None:  # of the first pictures, those for test
        digest.update(np.ascontiguousarray(masks[np.argsort(order[: len(masks)])]).data)
    return digest.hexdigest()


def _left_out(prepared: Prepared, total: int) -> str:
    count = len(prepared.broken)
    if not count:
        return ""
    return f"{count:,} of {total:,} pictures cannot be read and are left out."


def folder_picture(path: Path, options: ImageFolderOptions) -> UInt8[np.ndarray, "height width channels"]:
    """A picture file of any size, mode and orientation as the options make one of it. Raises DataError."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"more than {LARGEST:,} bytes")
        return square(path.read_bytes(), options.size, options.fit, options.colour)
    except Exception as error:  # a damaged file makes Pillow raise anything
        raise DataError(f"{path}: not a picture that can be read ({why(error)}).") from None


# -- pictures of one's own, and their table --------------------------------------------------------------------


def list_folder(options: FolderOptions) -> Listing:
    """The pictures of `options.path`, their classes by sub-folder, and their table. Raises DataError."""
    place = find_place(options.path)
    if place is None:
        raise DataError(f"data.path: there is no folder or zip {options.path}, neither here nor under {root()}.")
    found = list_pictures(place, options.folders, options.label is None, Path(options.table or TABLE).name)
    found = replace(found, in_order=False)
    table = _table(place, options)
    if table is not None:
        content, where = table
        read = read_table(content, where, found.names, options.attributes, found.unused)
        values = read.values if read.attributes else None
        found = replace(found, attributes=read.attributes, values=values, about=(*found.about, *read.about))
    elif options.attributes:
        raise DataError(f"data.attributes: {place} has no table. Put an attributes.csv there, or name it: data.table.")
    return found


def labelled(found: Listing, label: str | None) -> Listing:
    """The listing with an attribute as its class. Raises DataError where there is no such category or flag."""
    if label is None:
        return found
    names = [column.name for column in found.attributes]
    if label not in names:
        raise DataError(
            f"data.label: there is no attribute {label!r}. {suggest(label, names) if names else ''}".strip()
        )
    column = found.attributes[names.index(label)]
    if column.kind == "number":
        raise DataError(f"data.label: {label} is a number; a class is a category or a flag.")
    assert found.values is not None
    return replace(found, classes=column.values, labels=found.values[:, names.index(label)].astype(np.int64))


def find_place(path: str) -> Path | None:
    """The folder or zip of this name, here or under the data root, where there is one."""
    for place in (Path(path).expanduser(), root() / path):
        for found in (place, Path(f"{place}.zip")):
            if found.is_dir() or found.is_file():
                return found.resolve()
    return None


def _only(found: list[str], place: Path) -> str | None:
    """The one that lies highest. Raises DataError where several lie as high."""
    if not found:
        return None
    highest = min(path.count("/") for path in found)
    first = [path for path in found if path.count("/") == highest]
    if len(first) > 1:
        raise DataError(f"{place} holds several tables: {', '.join(first[:3])}. Name one of them: data.table.")
    return first[0]


def _table(place: Path, options: FolderOptions) -> tuple[bytes, str] | None:
    """The content of the table, and what it is called in a message. Raises DataError where one is asked for in vain."""
    name = options.table or TABLE
    if place.is_file():
        with open_zip(place) as archive:
            members = {m.filename: m for m in archive.infolist() if f"/{m.filename}".endswith(f"/{name}")}
            if inside := _only(sorted(members), place):
                if members[inside].file_size > LARGEST:
                    raise DataError(f"{place}: its {inside} has {members[inside].file_size:,} bytes: too many.")
                try:
                    return read_member(archive, inside), f"{place}/{inside}"
                except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
                    raise DataError(f"{place}: its {inside} cannot be read ({error}).") from None
    elif not Path(name).is_absolute():
        below = sorted(path for path in (place / name, *place.glob(f"*/{name}")) if path.is_file())
        if inside := _only([path.relative_to(place).as_posix() for path in below], place):
            return (place / inside).read_bytes(), str(place / inside)
    for path in [] if options.table is None else [Path(name), root() / name]:
        if path.is_file():
            return path.read_bytes(), str(path)
    if options.table is not None:
        raise DataError(f"data.table: there is no {name} in {place}, nor here.")
    return None
