"""CelebA's reader, on a generated folder in the publisher's layout."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sanggar
from gathering import FLAGS, PARTS, POINTS, number, write_celeba, zipped
from sanggar.data import celeba
from sanggar.data.celeba import NOTE
from sanggar.data.dataset import DIFFERS, Dataset
from sanggar.data.image_folder import ImageFolderOptions
from sanggar.data.images import Images
from sanggar.data.remote import checksum
from sanggar.data.sources import SOURCES, presence
from sanggar.errors import DataError
from sanggar.plan import resolve
from sanggar.recipe import Recipe
from typed import there

SOURCE = SOURCES["celeba"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """30 pictures in CelebA's layout under the data root."""
    monkeypatch.setenv("SANGGAR_DATA", str(tmp_path))
    return write_celeba(tmp_path / "celeba")


def load(**options: object) -> Dataset:
    return SOURCE.load(ImageFolderOptions.model_validate({"source": "celeba", "size": 8, **options}))


def numbers(split: Images) -> list[int]:
    """The numbers of pictures, each of which knows its own attributes."""
    found = [number(picture) for picture in split.pixels]
    flags = [[float(i % (k + 2) == 0) for k in range(len(FLAGS))] for i in found]
    expected = [[*row, *[60 + i, i] * len(PARTS), 1000 + i // 2] for i, row in zip(found, flags, strict=True)]
    np.testing.assert_array_equal(split.attributes, np.array(expected, np.float32))
    return found


def test_the_partition_is_the_publishers_and_attributes_are_read(place: Path) -> None:
    dataset = load()
    assert numbers(dataset.test) == [9, 19, 29]
    assert numbers(dataset.validation) == [8, 18, 28]
    assert numbers(dataset.train) == [i for i in range(30) if i % 10 < 8]
    spec = SOURCE.spec_for(ImageFolderOptions(source="celeba"))
    assert [column.name for column in spec.attributes] == [*FLAGS, *POINTS, "identity"]
    assert [column.kind for column in spec.attributes] == ["flag"] * 40 + ["number"] * 11
    assert spec.attributes[0].values == ("no", "yes")
    assert spec.attributes[40].mean == pytest.approx(74.5)
    assert (spec.shape, spec.classes) == ((128, 128, 3), ())
    assert dataset.note == f"{NOTE} {DIFFERS}"
    assert "non-commercial" in SOURCE.licence
    assert presence("celeba").state == "differs from the published"


def test_a_copy_that_is_the_publishers_is_told_from_one_that_is_not(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published files themselves cannot be had here: these stand in for them."""
    monkeypatch.setattr(celeba, "COUNT", 30)
    known = tuple(replace(table, sha256=checksum(place / table.name)) for table in celeba.TABLES)
    monkeypatch.setattr(celeba, "TABLES", known)
    assert presence("celeba").state == "present"
    assert load().note == NOTE
    pictures = zipped(place / "img_align_celeba", place / "img_align_celeba.zip", "img_align_celeba/")
    shutil.rmtree(place / "img_align_celeba")
    assert presence("celeba").state == "differs from the published"
    monkeypatch.setattr(celeba, "PICTURES", replace(celeba.PICTURES, sha256=checksum(pictures)))
    assert presence("celeba").state == "present"
    table = place / "identity_CelebA.txt"
    table.write_text(table.read_text().replace("1003", "1004", 1))
    assert presence("celeba").state == "differs from the published"


@pytest.mark.slow
def test_report_3s_recipe_trains_on_this_layout(place: Path, tmp_path: Path) -> None:
    """All that is known of it here: the pictures cannot be had."""
    short = ["training.epochs=null", "training.steps=2", "training.batch_size=4", "training.device=cpu"]
    run = sanggar.train("celeba-vae", short, out=tmp_path / "run", watch=lambda _: None)
    assert run.status == "finished"
    assert run.info["data"]["note"].startswith(NOTE)
    assert len(run.info["data"]["attributes"]) == 51
    model = sanggar.open(run)
    original = place / "img_align_celeba" / "000001.jpg"  # 178 by 218, and squashed as those for training were
    assert model.pixels(original).shape == (1, 128, 128, 3)
    assert model.reconstruct(original).shape == (1, 128, 128, 3)


def test_the_splits_may_be_drawn_and_the_content_is_the_same(place: Path) -> None:
    known, drawn = load(), load(test=6, validation=0.2)
    parts = [numbers(split) for split in (drawn.train, drawn.validation, drawn.test)]
    assert sorted([*parts[0], *parts[1], *parts[2]]) == list(range(30))
    assert list(map(len, parts)) == [18, 6, 6]
    assert drawn.fingerprint == known.fingerprint
    longer = load(validation=5)
    assert numbers(longer.test) == numbers(known.test)
    assert numbers(longer.validation) == [8, 18, 28, 0, 1]


def test_an_attribute_may_be_the_class_and_the_zip_is_the_folder(place: Path) -> None:
    known = load(label="Male")
    assert known.test.labels is not None
    every = FLAGS.index("Male") + 2
    assert known.test.labels.tolist() == [int(i % every == 0) for i in numbers(known.test)]
    pictures = place / "img_align_celeba"
    zipped(pictures, place / "img_align_celeba.zip", "img_align_celeba/")
    shutil.rmtree(pictures)
    again = load(label="Male")
    np.testing.assert_array_equal(again.train.pixels, known.train.pixels)
    assert again.note == known.note


def test_the_publishers_folders_are_read_as_files_in_one_are(place: Path) -> None:
    known = load()
    for folder, names in {
        "Anno": ("list_attr_celeba.txt", "list_landmarks_align_celeba.txt", "identity_CelebA.txt"),
        "Eval": ("list_eval_partition.txt",), "Img": ("img_align_celeba",),
    }.items():  # fmt: skip
        (place / folder).mkdir()
        for name in names:
            (place / name).rename(place / folder / name)
    assert load().fingerprint == known.fingerprint
    pictures = place / "Img" / "img_align_celeba"
    zipped(pictures, place / "Img" / "img_align_celeba.zip", "img_align_celeba/")
    shutil.rmtree(pictures)
    place.rename(place.with_name("CelebA"))
    np.testing.assert_array_equal(load().train.pixels, known.train.pixels)


def test_identities_may_be_missing(place: Path) -> None:
    known = load()
    (place / "identity_CelebA.txt").unlink()
    dataset = load()
    spec = SOURCE.spec_for(ImageFolderOptions(source="celeba"))
    assert [column.name for column in spec.attributes] == [*FLAGS, *POINTS]
    np.testing.assert_array_equal(dataset.test.attributes, there(known.test.attributes)[:, :-1])


def _edit(name: str, old: str, new: str, count: int = 1) -> object:
    def change(place: Path) -> None:
        path = place / name
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new, count))

    return change


BAD = {
    "nothing": (shutil.rmtree, "Missing data: img_align_celeba.zip, list_eval_partition.txt, list_attr_celeba.txt, "),
    "no pictures": (lambda p: shutil.rmtree(p / "img_align_celeba"), "Missing data: img_align_celeba.zip. CelebA is"),
    "no table": (lambda p: (p / "list_attr_celeba.txt").unlink(), "Missing data: list_attr_celeba.txt. CelebA is not"),
    "not finite": (_edit("list_landmarks_align_celeba.txt", "60", "nan"), "not the publisher's layout (a number is"),
    "a picture less": (lambda p: (p / "img_align_celeba/000007.jpg").unlink(), "1 picture (000007.jpg) that is not"),
    "a row less": (_edit("identity_CelebA.txt", "000007.jpg 1003\n", ""), "has no row for 1 picture (000007.jpg)"),
    "twice": (_edit("identity_CelebA.txt", "000007.jpg", "000006.jpg"), "rows 6 and 7 are both about 000006.jpg"),
    "another part": (_edit("list_eval_partition.txt", "000007.jpg 0", "000007.jpg 3"), "expected 0 (train), 1 (val"),
    "no flag": (_edit("list_attr_celeba.txt", "-1", "0"), "expected 1 or -1 for each of 40 attributes"),
    "no number": (_edit("list_attr_celeba.txt", "-1", "x"), "list_attr_celeba.txt: not the publisher's layout"),
    "a column less": (_edit("list_attr_celeba.txt", "Smiling ", ""), "a picture's name and 39 numbers on each line"),
    "ragged": (_edit("list_landmarks_align_celeba.txt", "65  5", "65"), "not the publisher's layout"),
    "empty": (lambda p: (p / "list_eval_partition.txt").write_text(""), "a picture's name and some numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_copy_that_does_not_fit_is_refused(name: str, place: Path) -> None:
    change, words = BAD[name]
    assert callable(change)
    change(place)
    with pytest.raises(DataError) as raised:
        load()
    assert words in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    if words.startswith("Missing"):
        assert all(word in str(raised.value) for word in ("mmlab.ie.cuhk.edu.hk", str(place), "SANGGAR_DATA"))
        assert presence("celeba").state == "absent"


def test_a_recipe_names_it_and_keeps_the_partition_open(place: Path) -> None:
    plan = resolve(Recipe("x", data={"source": "celeba"}, model={"family": "autoencoder"}, training={"steps": 1}))
    options: Any = plan.data
    assert (options.validation, options.test) == (None, None)
    assert plan.source.counted(plan.data) == 24
    assert plan.source.memory(plan.data) == 0
