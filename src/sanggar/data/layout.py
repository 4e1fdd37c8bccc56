"""What folders of pictures mean: classes, a publisher's splits, masks; and what is left out of them, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
from jaxtyping import Int64

from sanggar.errors import DataError

Folders = Literal["auto", "classes", "ignored"]

TRAIN, VALIDATION, TEST = range(3)
SPLITS = ("train", "validation", "test")
ROLES = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "trainval"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev", "valset"), VALIDATION),
    **dict.fromkeys(("test", "testing", "tst", "testset", "eval", "evaluation", "holdout"), TEST),
}
"""Words for a split. One that is for evaluation is for validation where another is for test."""
FILLERS = {"set", "data", "dataset", "images", "image", "imgs", "img", "pictures", "photos", "split"}
"""Words that a split's folder may be called by as well"""
IMAGES = {"images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "rgb"}
"""Folders that hold pictures where one beside them holds what is true of them"""
MASKS = {
    "masks", "mask", "labels", "label", "annotations", "annotation", "gt", "groundtruth", "segmentation",
    "segmentations", "segmentationclass", "segmentationobject",
}  # fmt: skip
MASK = re.compile(r"[ _-](masks?|gt|groundtruth|seg|segmentation|labels?)([ _-]?\d+)?$", re.IGNORECASE)
"""How the name of a picture's mask ends"""
SHOWN = 5


@dataclass(frozen=True)
class Layout:
    """Which of some pictures are used, and what their folders say of them."""

    used: Int64[np.ndarray, "n"]
    """positions"""
    classes: tuple[str, ...] = ()
    labels: Int64[np.ndarray, "n"] | None = None
    parts: Int64[np.ndarray, "n"] | None = None
    """splits: 0 train, 1 validation, 2 test"""
    normal: tuple[str, ...] | None = None
    """the classes of training pictures, where those for test are of others as well"""
    masks: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """positions of masks, by that of the picture that they are of, where it can be one only"""
    left_out: tuple[str, ...] = ()
    """how many, and why, and what changes it"""
    about: str = "no classes by folder"


@dataclass(frozen=True)
class _Picture:
    """A picture's position among all, and its path below the folders that are understood already."""

    index: int
    path: tuple[str, ...] = field(repr=False)

    @property
    def top(self) -> str | None:
        """The folder it lies in, or None."""
        return self.path[0] if len(self.path) > 1 else None

    def below(self) -> _Picture:
        return replace(self, path=self.path[1:])


def parts_of(name: str) -> tuple[str, ...]:
    """A path's folders and its last name. Zips made on Windows have backslashes, and so has what some unpack."""
    return tuple(re.split(r"[/\\]", name))


def understand(names: Sequence[str], place: Path, folders: Folders, classes: bool = True) -> Layout:
    """What the folders of these pictures mean, where that is certain. Raises DataError where it is not.

    `folders` says so beforehand: sub-folders are `classes`, whatever they are called, or are `ignored`. Without
    `classes` none are looked for: something else says them.
    """
    pictures = [_Picture(index, parts_of(name)) for index, name in enumerate(names)]
    if folders == "ignored":
        return Layout(_positions(pictures), about="folders say nothing")
    if folders == "classes":
        return _by_folders(pictures, place, folders, classes, [])
    left: list[str] = []
    masks = _masks(pictures, place, left)
    others = {mask.index for mask in masks}
    rest = [p for p in pictures if p.index not in others]
    return replace(_by_folders(rest, place, folders, classes, left), masks=_belonging(masks, rest))


def _by_folders(pictures: list[_Picture], place: Path, folders: Folders, classes: bool, left: list[str]) -> Layout:
    """What the folders of pictures mean that are no masks."""
    pictures, strays = _down(pictures)
    if folders == "auto" and (roles := _roles({p.top for p in pictures if p.top}, place)):
        _leave(strays, pictures, place, left, "folders of splits")
        return _splits(pictures, roles, place, left, classes)
    tops = {p.top for p in pictures if p.top}
    if not tops or not classes:
        return Layout(_positions([*pictures, *strays]), left_out=tuple(left))
    if folders == "auto" and (parts := _roles_below(pictures, place)) is not None:
        _leave(strays, pictures, place, left, "class folders")
        found = _classes(pictures, left)
        return replace(found, parts=parts, about=f"{found.about}; splits by the folders in these")
    _leave(strays, pictures, place, left, "class folders", sure=folders == "classes")
    return _classes(pictures, left)


def _positions(pictures: Iterable[_Picture]) -> Int64[np.ndarray, "n"]:
    return np.array(sorted(p.index for p in pictures), np.int64)


def _down(pictures: list[_Picture]) -> tuple[list[_Picture], list[_Picture]]:
    """Pictures below the highest folder that has several, and those beside the folders on the way."""
    strays: list[_Picture] = []
    while True:
        deeper = [p for p in pictures if p.top]
        tops = {p.top for p in deeper}
        if not tops:
            return [], [*strays, *pictures]
        strays += [p for p in pictures if not p.top]
        if len(tops) > 1:
            return deeper, strays
        pictures = [p.below() for p in deeper]


def _leave(
    strays: list[_Picture], pictures: list[_Picture], place: Path, left: list[str], what: str, sure: bool = False
) -> None:
    """Leave out pictures that lie beside folders. Raises DataError where they are too many to lie there by accident."""
    if not strays:
        return
    fewest = min(Counter(p.top for p in pictures).values())
    if not sure and len(strays) >= fewest:
        _refuse(place, f"{_pictures(len(strays))} beside {what} ({_names(p.top for p in pictures)}), too many to be "
                "there by accident")  # fmt: skip
    left.append(
        f"{_pictures(len(strays))} beside {what} ({_names(p.path[-1] for p in strays)}; data.folders=ignored takes "
        "all, without classes)"
    )


def _classes(pictures: list[_Picture], left: list[str]) -> Layout:
    tops = [str(p.top) for p in sorted(pictures, key=lambda p: p.index)]
    classes = tuple(sorted(set(tops)))
    code = {name: index for index, name in enumerate(classes)}
    labels = np.array([code[top] for top in tops], np.int64)
    return Layout(_positions(pictures), classes, labels, left_out=tuple(left), about="classes by folder")


# -- splits ------------------------------------------------------------------------------------------------------


def _role(name: str) -> tuple[int | None, tuple[str, ...]]:
    """Which split a folder is called after, and what else it is called."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", name)]
    found = [word for word in words if word in ROLES]
    if len(found) != 1 or not name.isascii():
        return None, ()
    return ROLES[found[0]], tuple(word for word in words if word not in FILLERS and word not in ROLES)


def _roles(tops: set[str], place: Path) -> dict[str, int] | None:
    """The splits that folders are, or None. Raises DataError where some look like splits and some do not."""
    roles = {top: _role(top) for top in tops}
    known = {role for role, _ in roles.values() if role is not None}
    if len(known) < 2 and not (len(tops) > 1 and all(role is not None for role, _ in roles.values())):
        return None
    if TRAIN not in known or len(known) < 2:
        if all(role is not None for role, _ in roles.values()):
            _refuse(place, f"the folders {_names(tops)} look like splits, but not one for training beside another")
        return None
    if others := [top for top, (role, _) in roles.items() if role is None]:
        _refuse(place, f"the folders {_names(tops - set(others))} look like splits, but {_names(others)} "
                f"beside {'it' if len(tops) - len(others) == 1 else 'them'} does not")  # fmt: skip
    if len({rest for _, rest in roles.values()}) > 1:
        _refuse(place, f"the folders {_names(tops)} look like splits of several sets")
    found = {top: int(role or 0) for top, (role, _) in roles.items()}
    tests = {top for top, role in found.items() if role == TEST}
    extra = {top for top in tests if top.lower().startswith("eval")}
    if extra and extra != tests:
        if VALIDATION in found.values():
            _refuse(place, f"several of the folders {_names(tops)} look like the same split")
        found |= dict.fromkeys(extra, VALIDATION)
    for role in range(3):
        if len({top.lower() for top, found_role in found.items() if found_role == role}) > 1:
            _refuse(place, f"several of the folders {_names(tops)} look like the same split")
    return found


def _roles_below(pictures: list[_Picture], place: Path) -> Int64[np.ndarray, "n"] | None:
    """Splits where each class folder has folders for them, in the order of the pictures."""
    found: dict[int, int] = {}
    split, deeper = set[str](), set[str]()
    for top in sorted({str(p.top) for p in pictures}):
        inside = [p.below() for p in pictures if p.top == top]
        tops = {p.top for p in inside}
        roles = None if None in tops else _roles({str(t) for t in tops}, place / top)
        if roles:
            split.add(top)
            found |= {p.index: roles[str(p.top)] for p in inside}
            deeper |= {str(p.below().top) for p in inside}
    if not split:
        return None
    if whole := {str(p.top) for p in pictures} - split:
        _refuse(place, f"the folders in {_names(split)} look like splits, but there are none in {_names(whole)}")
    if deeper - {"None"}:
        _refuse(place, f"{_names(split)} look like data sets of their own, each with splits", f"Name one: data.path="
                f"{place / min(split)}.")  # fmt: skip
    return np.array([found[index] for index in sorted(found)], np.int64)


def _splits(pictures: list[_Picture], roles: dict[str, int], place: Path, left: list[str], classes: bool) -> Layout:
    """Pictures by split and, below these, by class."""
    part = {p.index: roles[str(p.top)] for p in pictures}
    inside = [p.below() for p in pictures]
    while classes and _one_folder(_tops(inside, part)):
        inside = [p.below() for p in inside]
    tops = _tops(inside, part)
    trained = {top for top in tops[TRAIN] if top}
    about = f"splits by folder ({', '.join(sorted(roles))})"
    if not classes or not any(top for found in tops.values() for top in found):
        used = sorted(inside, key=lambda p: p.index)
        parts = np.array([part[p.index] for p in used], np.int64)
        return Layout(_positions(used), parts=parts, left_out=tuple(left), about=f"{about}, without classes")
    if not trained:
        _refuse(place, "pictures for test lie in folders of classes, and those to train on do not")
    kept = [p for p in inside if p.top]
    for split, found in tops.items():
        strays = [p for p in inside if not p.top and part[p.index] == split]
        if strays and split != TRAIN and found == {None}:
            left.append(f"{_pictures(len(strays))} of the folder for {SPLITS[split]}, which are of no class "
                        "(data.folders=ignored takes all, without classes)")  # fmt: skip
        elif strays:
            _leave(strays, [p for p in kept if part[p.index] == split], place, left, "class folders")
    shown = {str(top) for split, found in tops.items() if split != TRAIN for top in found if top}
    normal = None
    if unknown := shown - trained:
        if len(trained) > 1 or not trained <= shown:
            _refuse(place, f"no picture to train on is of the classes {_names(unknown)}, which others are of")
        normal = tuple(str(top) for top in trained)
        about += f", normal pictures ({normal[0]}) train, others are for test only"
    layout = _classes(kept, left)
    parts = np.array([part[index] for index in layout.used.tolist()], np.int64)
    return replace(layout, parts=parts, normal=normal, about=f"{about}, classes by the folders in these")


def _one_folder(tops: dict[int, set[str | None]]) -> bool:
    """Whether all splits lie in a folder that says nothing: the same in each, or called after the split again."""
    found = [top for split in tops.values() for top in split]
    if None in found or any(len(split) > 1 for split in tops.values()):
        return False
    return len(set(found)) == 1 or all(_role(str(top))[0] is not None for top in found)


def _tops(pictures: list[_Picture], part: dict[int, int]) -> dict[int, set[str | None]]:
    found: dict[int, set[str | None]] = {}
    for p in pictures:
        found.setdefault(part[p.index], set()).add(p.top)
    return found


# -- masks -------------------------------------------------------------------------------------------------------


def _plain(word: str) -> str:
    return re.sub(r"[ _-]", "", word).lower()


def _masks(pictures: list[_Picture], place: Path, left: list[str]) -> list[_Picture]:
    """Pictures that are masks of others. Raises DataError where a folder may hold masks or a class."""
    beside: dict[tuple[str, ...], set[str]] = {}
    for p in pictures:
        for depth in range(len(p.path) - 1):
            beside.setdefault(p.path[:depth], set()).add(p.path[depth])
    stems = {(*p.path[:-1], _stem(p)) for p in pictures}
    anywhere = {_stem(p) for p in pictures if not MASK.search(_stem(p))}
    certain, unsure = list[_Picture](), list[_Picture]()
    for p in pictures:
        base = MASK.sub("", _stem(p))
        at = _folder_of_masks(p)
        if base != _stem(p) and (*p.path[:-1], base) in stems:
            certain.append(p)
        elif at is not None:
            around = beside[p.path[:at]]
            pairs = any(_plain(other) in IMAGES for other in around)
            splits = len({role for role, _ in map(_role, around) if role is not None}) > 1
            named = base != _stem(p) and base in anywhere
            (certain if pairs or splits or named else unsure).append(p)
    if doubtful := {(*p.path[:i], f) for p in unsure for i, f in enumerate(p.path[:-1]) if _plain(f) in MASKS}:
        plural = {
            p for p in doubtful if _plain(p[-1]) not in ("mask", "label", "annotation") and len(beside[p[:-1]]) > 1
        }
        if plural:
            _refuse(place, f"the folder {_names('/'.join(p) for p in plural)} may hold masks of pictures, or a class")
    if certain:
        left.append(
            f"{len(certain):,} mask{'s' * (len(certain) > 1)} of pictures ({_names(p.path[-1] for p in certain)}; "
            "data.folders=classes or ignored takes them for pictures)"
        )
    if len(certain) == len(pictures):
        _refuse(place, "all pictures look like masks of others")
    return certain


def _folder_of_masks(picture: _Picture) -> int | None:
    """Which of the folders it lies in is called after masks."""
    return next((i for i, folder in enumerate(picture.path[:-1]) if _plain(folder) in MASKS), None)


def _belonging(masks: list[_Picture], pictures: list[_Picture]) -> dict[int, tuple[int, ...]]:
    """Masks by the picture that each is of, where it can be one only.

    It has the same name, the mask's ending aside, in the same folders below the one of masks; or the mask lies in a
    folder called after it, as several of one picture do.
    """
    by_stem: dict[str, list[_Picture]] = {}
    for p in pictures:
        by_stem.setdefault(_stem(p), []).append(p)
    found: dict[int, tuple[int, ...]] = {}
    for mask in masks:
        at = _folder_of_masks(mask)
        before, below = (mask.path[:-1], ()) if at is None else (mask.path[:at], mask.path[at + 1 : -1])
        names = [(below, MASK.sub("", _stem(mask)))]
        if below:
            names.append((below[:-1], below[-1]))
        for folders, stem in names:
            fits = [p for p in by_stem.get(stem, []) if _lies(p.path[:-1], before, folders, beside=at is None)]
            if len(fits) == 1:
                found[fits[0].index] = (*found.get(fits[0].index, ()), mask.index)
                break
    return found


def _stem(picture: _Picture) -> str:
    return picture.path[-1].rpartition(".")[0]


def _lies(path: tuple[str, ...], before: tuple[str, ...], last: tuple[str, ...], beside: bool) -> bool:
    """Whether folders begin with some and end with others; `beside`: are the first and no more."""
    if beside:
        return path == before
    return path[: len(before)] == before and (not last or path[-len(last) :] == last)


# -- words -------------------------------------------------------------------------------------------------------


def _refuse(place: Path, what: str, instead: str = "") -> NoReturn:
    raise DataError(
        f"{place}: {what}. "
        + (
            instead
            or "Name one folder (data.path), take away what is not meant, or say what folders are: "
            "data.folders=classes (each is a class) or ignored (all pictures are one set)."
        )
    )


def _pictures(count: int) -> str:
    return f"{count:,} picture{'s' * (count > 1)}"


def _names(names: Iterable[str | None]) -> str:
    known = sorted({str(name) for name in names})
    return ", ".join(known[:SHOWN]) + (f" and {len(known) - SHOWN:,} more" if len(known) > SHOWN else "")
