"""What pictures of one's own were taken for, in lines that are said before a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from sanggar.data.cache import Prepared
from sanggar.data.images import Images
from sanggar.data.layout import SHOWN
from sanggar.data.listing import Listing

CLASSES = 20
"""Classes that are named"""


@dataclass(frozen=True)
class Repeated:
    """Pictures that are there more than once, byte for byte."""

    groups: list[list[str]]
    """the names of each"""
    several: int
    """how many of these groups lie in several splits"""
    leaked: int
    """test pictures that are for training or validation as well"""


def repeated(digests: UInt8[np.ndarray, "n 32"], names: Sequence[str], split: Int64[np.ndarray, "n"]) -> Repeated:
    """Equal pictures by their files' digests; `split` is 0 of a training picture, 2 of one for test."""
    same: dict[bytes, list[int]] = {}
    for index, digest in enumerate(digests):
        same.setdefault(digest.tobytes(), []).append(index)
    groups = [group for group in same.values() if len(group) > 1]
    splits = [split[group] for group in groups]
    return Repeated(
        [sorted(names[i] for i in group) for group in groups],
        sum(len(set(found.tolist())) > 1 for found in splits),
        sum(int((found == 2).sum()) for found in splits if (found < 2).any()),
    )


def said_of_repeated(found: Repeated, of: int) -> list[str]:
    """A line, where there is any, `of` so many pictures."""
    if not found.groups:
        return []
    shown = "; ".join(" = ".join(group[:SHOWN]) for group in found.groups[:SHOWN])
    more = "; …" if len(found.groups) > SHOWN else ""
    count = sum(map(len, found.groups))
    if len(found.groups) == 1 and count == of:
        return [f"duplicates: all {of:,} pictures are one by their bytes: there is nothing to learn"]
    return [
        f"duplicates: {count:,} pictures are {len(found.groups):,} by their bytes, {found.several:,} of these in "
        f"several splits ({shown}{more})"
    ]


def said_of_files(prepared: Prepared) -> list[str]:
    """What could not be read, and what was not done as a file says, a line each."""
    lines = []
    for what, found in (("left out, since it cannot be read", prepared.broken), ("remark", prepared.remarks)):
        shown = list(found.items())
        lines += [f"{what}: {name} ({text})" for name, text in shown[:SHOWN]]
        if len(shown) > SHOWN:
            lines.append(f"{what}: {len(shown) - SHOWN:,} more")
    return lines


def said_of_sizes(place: Path, train: Images, validation: Images, test: Images) -> str:
    """How many pictures each split has."""
    return f"{place}: {len(train):,} to train on, {len(validation):,} for validation, {len(test):,} for test"


def said_of_classes(classes: Sequence[str], *splits: Images) -> list[str]:
    """Classes and how many pictures of each the splits have: a line, where there are classes."""
    if not classes:
        return []
    counts = np.stack([np.bincount(_labels(split), minlength=len(classes)) for split in splits], axis=1)
    each = [f"{name} {' + '.join(f'{n:,}' for n in row)}" for name, row in zip(classes, counts, strict=True)]
    more = f" and {len(each) - CLASSES:,} more" if len(each) > CLASSES else ""
    return [f"{len(each):,} classes (train + validation + test): {', '.join(each[:CLASSES])}{more}"]


def said_of_columns(found: Listing) -> list[str]:
    """Columns of the table as they were understood, a line each."""
    lines = []
    for column in found.attributes:
        values = ", ".join(column.values[:SHOWN]) + (", …" if len(column.values) > SHOWN else "")
        about = values or f"mean {column.mean:.4g}, deviation {column.deviation:.4g}"
        lines.append(f"column {column.name}: {column.kind} ({about})")
    return lines


def _labels(split: Images) -> Int64[np.ndarray, "n"]:
    return split.labels if split.labels is not None else np.zeros(0, np.int64)
