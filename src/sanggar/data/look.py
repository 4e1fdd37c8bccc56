"""A look at some pictures of a folder or a zip: their sizes and modes, whether they are coloured and differ."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from PIL import Image

from sanggar.data.decoding import read_file, square
from sanggar.data.image_folder import FolderOptions, find_place, list_folder
from sanggar.data.listing import Listing, open_zip
from sanggar.data.workers import TOLERATED
from sanggar.errors import DataError

FEWEST = 50
"""Pictures below which no network learns anything that could be measured"""
LOOKED_AT = 300
"""Pictures that are opened, evenly over all"""


@dataclass(frozen=True)
class Look:
    """What some pictures of a folder are like."""

    listing: Listing
    opened: int
    broken: tuple[str, ...]
    edges: tuple[int, ...]
    """the shorter edge of each picture"""
    ratios: tuple[float, ...]
    """the longer edge over the shorter"""
    modes: Counter[str]
    colour: bool
    different: int
    """pictures that differ, of those that were opened"""

    @property
    def count(self) -> int:
        """Pictures that are there."""
        return len(self.listing.names)


def look(path: str) -> Look:
    """Open some pictures of a folder or a zip. Raises DataError where there are too few to learn from."""
    place = find_place(path)
    if place is None:
        raise DataError(f"There is no folder or zip {path!r}.")
    listing = list_folder(FolderOptions(source="folder", path=path))
    names = listing.names
    if len(names) < FEWEST:
        raise DataError(
            f"{place}: {len(names):,} pictures are too few to learn from; a network takes {FEWEST} at least, better "
            "some thousands."
        )
    archive = open_zip(place) if place.is_file() else None
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, LOOKED_AT).round().astype(int))]
    edges, ratios, modes, digests, coloured, broken = list[int](), list[float](), Counter[str](), set(), 0, list[str]()
    for name in chosen:
        try:
            content = read_file(str(place), archive, name)
            with Image.open(io.BytesIO(content)) as image:
                size, mode = image.size, image.mode
            small = square(content, 32, "squash", colour=True).astype(np.int16)
        except Exception:  # a damaged file makes Pillow raise anything
            broken.append(name)
            continue
        edges.append(min(size))
        ratios.append(max(size) / min(size))
        modes[mode] += 1
        digests.add(sha256(small.tobytes()).digest())
        coloured += int((small.max(axis=2) - small.min(axis=2)).mean() > 4)
    if len(broken) > TOLERATED * len(chosen):
        raise DataError(
            f"{place}: of {len(chosen):,} pictures that were opened, {len(broken):,} cannot be read: "
            f"{', '.join(broken[:5])}{', …' if len(broken) > 5 else ''}. A training refuses a folder with more than "
            f"{TOLERATED:.0%} of such: remove or replace them."
        )
    if len(digests) == 1:
        raise DataError(
            f"{place}: all {len(edges):,} pictures that were opened are the same: there is nothing to learn."
        )
    colour = coloured > len(edges) / 20
    return Look(
        listing, len(chosen), tuple(broken), tuple(edges), tuple(ratios), modes, colour, len(digests)
    )  # fmt: skip
