"""Masks: whose they are, and where they say that a picture is odd; a bad one is left out in words."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gathering import own
from sanggar.data.dataset import Dataset
from sanggar.data.layout import understand
from sanggar.data.masks import NORMAL, ODD, UNKNOWN
from sanggar.data.sources import SOURCES

EDGE = 32
"""Of the pictures; own() makes squares of 8"""


def belonging(*names: str) -> dict[str, set[str]]:
    """Masks by picture, as folders say."""
    listed = sorted(names)
    found = understand(listed, Path("place"), "auto").masks
    return {listed[picture]: {listed[mask] for mask in masks} for picture, masks in found.items()}


def test_a_mask_belongs_to_the_picture_of_its_name_in_the_same_folders() -> None:
    train = [f"train/good/{i:03d}.png" for i in range(3)]
    test = ["test/good/000.png", "test/crack/000.png", "test/crack/001.png", "test/hole/000.png"]
    masks = ["ground_truth/crack/000_mask.png", "ground_truth/crack/001_mask.png", "ground_truth/hole/000_mask.png"]
    assert belonging(*train, *test, *masks) == {
        "test/crack/000.png": {masks[0]}, "test/crack/001.png": {masks[1]}, "test/hole/000.png": {masks[2]},
    }  # fmt: skip
    within = [f"mvtec\\bottle\\{name}".replace("/", "\\") for name in (*train, *test, *masks)]
    assert len(belonging(*within)) == 3


def test_several_masks_of_a_picture_lie_in_a_folder_called_after_it() -> None:
    """As MVTec LOCO AD has them."""
    train = [f"train/good/{i:03d}.png" for i in range(3)]
    test = ["test/good/000.png", "test/logical_anomalies/000.png", "test/logical_anomalies/001.png"]
    masks = [f"ground_truth/logical_anomalies/{i}.png" for i in ("000/000", "000/001", "001/000")]
    assert belonging(*train, *test, *masks) == {test[1]: set(masks[:2]), test[2]: {masks[2]}}


def test_masks_beside_pictures_and_beside_folders_of_pictures_belong_to_them() -> None:
    assert belonging("a.png", "a_mask.png", "a_mask_1.png", "b.png", "b_mask.png", "sub/a.png") == {
        "a.png": {"a_mask.png", "a_mask_1.png"}, "b.png": {"b_mask.png"},
    }  # fmt: skip
    pairs = [f"{split}/{kind}/{i}.png" for split in ("train", "test") for kind in ("images", "masks") for i in range(3)]
    assert belonging(*pairs) == {
        f"{split}/images/{i}.png": {f"{split}/masks/{i}.png"} for split in ("train", "test") for i in range(3)
    }


def test_a_mask_that_two_pictures_could_have_is_of_none() -> None:
    pairs = [*(f"images/{kind}/{i}.png" for kind in "ab" for i in range(3)), *(f"masks/{i}.png" for i in range(3))]
    assert belonging(*pairs) == {}


def encoded(values: np.ndarray, kind: str = "PNG", **how: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(buffer, format=kind, **how)
    return buffer.getvalue()


def square_at(top: int, left: int, edge: int, value: int = 255) -> np.ndarray:
    mask = np.zeros((EDGE, EDGE), np.uint8)
    mask[top : top + edge, left : left + edge] = value
    return mask


def bottle(place: Path, **masks: bytes | None) -> Path:
    """MVTec's layout: normal pictures, and a cracked one for each mask, or for None one without."""
    generator = np.random.default_rng(0)

    def picture() -> bytes:
        return encoded(generator.integers(0, 256, (EDGE, EDGE)))

    files = {f"train/good/{i:03d}.png": picture() for i in range(6)} | {"test/good/000.png": picture()}
    for name, mask in masks.items():
        files[f"test/crack/{name}.png"] = picture()
        if mask is not None:
            files[f"ground_truth/crack/{name}_mask.png"] = mask
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def loaded(place: Path, **options: object) -> Dataset:
    return SOURCES["folder"].load(own(place, colour=False, **options))


def mask_of(dataset: Dataset) -> np.ndarray:
    """The mask of the one cracked picture."""
    assert dataset.test.masks is not None
    assert dataset.test.labels is not None
    (found,) = dataset.test.masks[dataset.test.labels == 0]
    return np.asarray(found)


def expected(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    found = np.full((8, 8), NORMAL, np.uint8)
    found[top:bottom, left:right] = ODD
    return found


@pytest.mark.parametrize("mask", [
    encoded(square_at(8, 16, 8)), encoded(square_at(8, 16, 8, 1)), encoded(square_at(8, 16, 8, 3)),
    encoded(np.stack([square_at(8, 16, 8, 9)] * 3, axis=2)),
    encoded(square_at(8, 16, 8), "JPEG", quality=60),
    encoded(np.dstack([square_at(8, 16, 8)] * 3 + [np.full((EDGE, EDGE), 255)])),
], ids=["255", "1", "3", "colour", "jpeg", "alpha"])  # fmt: skip
def test_what_is_not_black_is_odd_whatever_the_kind_of_mask(mask: bytes, tmp_path: Path) -> None:
    found = loaded(bottle(tmp_path / "bottle", crack=mask))
    np.testing.assert_array_equal(mask_of(found), expected(2, 4, 4, 6))
    assert found.test.masks is not None
    assert not found.test.masks[found.test.labels == 1].any(), "normal pictures are normal everywhere"
    assert found.train.masks is None
    assert "masks say of 1 of 1 odd test pictures where they are odd" in found.about


def test_a_palette_and_a_bitmap_are_masks_as_well(tmp_path: Path) -> None:
    for name, mode in (("p", "P"), ("1", "1")):
        buffer, image = io.BytesIO(), Image.fromarray(square_at(8, 16, 8, 1 if mode == "P" else 255))
        if mode == "P":
            image.putpalette([10, 10, 10, 0, 0, 0])  # what is odd is black in it, and its number is not 0
        else:
            image = image.convert("1")
        image.save(buffer, format="PNG")
        found = loaded(bottle(tmp_path / name, crack=buffer.getvalue()))
        np.testing.assert_array_equal(mask_of(found), expected(2, 4, 4, 6))


def test_a_mark_smaller_than_a_pixel_is_not_lost(tmp_path: Path) -> None:
    found = loaded(bottle(tmp_path / "bottle", crack=encoded(square_at(9, 17, 1))))
    np.testing.assert_array_equal(mask_of(found), expected(2, 4, 3, 5))


def test_masks_lie_on_the_square_that_is_cut_out(tmp_path: Path) -> None:
    place = bottle(tmp_path / "bottle", crack=encoded(square_at(8, 16, 8)))
    for path in (place / "test/crack/crack.png", place / "ground_truth/crack/crack_mask.png"):
        wide = np.asarray(Image.open(path))
        path.write_bytes(encoded(np.pad(wide, ((0, 0), (16, 16)))))
    np.testing.assert_array_equal(mask_of(loaded(place)), expected(2, 4, 4, 6))
    squashed = expected(2, 4, 4, 5)
    np.testing.assert_array_equal(mask_of(loaded(place, fit="squash")), squashed)


def test_a_zip_has_masks_as_well_and_the_fingerprint_knows_them(tmp_path: Path) -> None:
    place = bottle(tmp_path / "bottle", crack=encoded(square_at(8, 16, 8)))
    shutil.make_archive(str(tmp_path / "packed"), "zip", place)
    found = loaded(tmp_path / "packed.zip")
    np.testing.assert_array_equal(mask_of(found), expected(2, 4, 4, 6))
    assert found.fingerprint == loaded(place).fingerprint
    (place / "ground_truth/crack/crack_mask.png").write_bytes(encoded(square_at(0, 0, 8)))
    assert loaded(place).fingerprint != found.fingerprint


BAD: dict[str, tuple[bytes | None, str]] = {
    "none": (None, ""),
    "no picture": (b"none", "a mask of test/crack/crack.png cannot be used: no picture that is known"),
    "another size": (encoded(square_at(0, 0, 8)[:16]), r"crack_mask.png has 32×16 pixels, and the picture 32×32"),
    "torn": (encoded(np.random.default_rng(0).integers(0, 256, (EDGE, EDGE)))[:-60], "cannot be used"),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "no picture that is known"),
}


@pytest.mark.parametrize("kind", BAD)
def test_of_a_bad_mask_nobody_knows_and_that_is_said(kind: str, tmp_path: Path) -> None:
    mask, message = BAD[kind]
    found = loaded(bottle(tmp_path / "bottle", crack=mask, whole=encoded(square_at(8, 16, 8))))
    assert found.test.masks is not None
    marks = found.test.masks[found.test.labels == 0]
    assert {int(one[0, 0]) for one in marks} == {UNKNOWN, NORMAL}
    assert (marks == UNKNOWN).all(axis=(1, 2)).sum() == 1
    assert "masks say of 1 of 2 odd test pictures where they are odd" in found.about
    assert not message or any(message in line for line in found.about), found.about


def test_masks_of_data_without_odd_pictures_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("images", "masks"):
        for i in range(20):
            path = tmp_path / "pairs" / kind / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(np.full((EDGE, EDGE), 12 * i)))
    assert loaded(tmp_path / "pairs").test.masks is None


def test_pictures_keep_their_masks_when_some_are_taken_or_joined(tmp_path: Path) -> None:
    masks = {f"c{i}": encoded(square_at(4 * i, 0, 4)) for i in range(3)}
    test = loaded(bottle(tmp_path / "bottle", **masks)).test
    assert test.masks is not None
    way: list[Callable[[], np.ndarray | None]] = [
        lambda: test.take(np.array([2, 0])).masks,
        lambda: test.first(3).joined(test.first(1)).masks,
    ]
    np.testing.assert_array_equal(way[0](), test.masks[[2, 0]])
    np.testing.assert_array_equal(way[1](), test.masks[[0, 1, 2, 0]])
