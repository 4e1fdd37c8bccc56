"""What folders of pictures mean: taken where it is certain, refused in words where not, and always said."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import sanggar
from conftest import Cli
from gathering import encoded, load, own, write_pictures
from sanggar.data.dataset import Dataset
from sanggar.data.layout import Folders, understand
from sanggar.data.sources import SOURCES
from sanggar.errors import DataError

PLACE = Path("place")


def tree(**counts: int) -> list[str]:
    """Paths of pictures: `a__b=2` is a/b/0.png and a/b/1.png."""
    return sorted(f"{folder.replace('__', '/')}/{i}.png" for folder, n in counts.items() for i in range(n))


def described(names: Sequence[str], folders: Folders = "auto") -> dict[str, tuple[int | None, str | None]]:
    """Of each picture that is used: its split and its class."""
    found = understand(names, PLACE, folders)
    return {
        names[i]: (
            None if found.parts is None else int(found.parts[k]),
            None if found.labels is None else found.classes[found.labels[k]],
        )
        for k, i in enumerate(found.used.tolist())
    }


@pytest.mark.parametrize(("train", "validation", "test"), [
    ("train", "val", "test"), ("Train", "Valid", "TEST"), ("training", "validation", "testing"),
    ("train", "val", "eval"), ("train", "eval", "test"), ("training_set", "val_set", "test_set"),
    ("train2017", "val2017", "test2017"), ("seg_train/seg_train", "seg_val/seg_val", "seg_test/seg_test"),
    ("train_images", "dev-images", "Test Images"), ("within/train/images", "within/val/images", "within/test/images"),
])  # fmt: skip
def test_splits_are_known_in_many_words(train: str, validation: str, test: str) -> None:
    splits = (train, validation, test)
    flat = [f"{split}/{i}.png" for split in splits for i in range(3)]
    assert described(flat) == {f"{s}/{i}.png": (k, None) for k, s in enumerate(splits) for i in range(3)}
    classed = [f"{split}/{name}/{i}.png" for split in splits for name in ("cats", "dogs") for i in range(2)]
    expected = {n: (next(k for k, s in enumerate(splits) if n.startswith(s)), n.split("/")[-2]) for n in classed}
    assert described(classed) == expected
    windows = {name.replace("/", "\\"): known for name, known in expected.items()}
    assert described(sorted(windows)) == windows


def test_splits_below_classes_are_splits() -> None:
    names = tree(cats__train=3, cats__test=2, dogs__train=3, dogs__test=2)
    assert described(names) == {n: (0 if "train" in n else 2, n.split("/")[0]) for n in names}


MVTEC = tree(train__good=5, test__good=2, test__crack=2, test__hole=1) + [
    f"ground_truth/{kind}/{i}_mask.png" for kind in ("crack", "hole") for i in range(2)
]


@pytest.mark.parametrize("within", ["", "bottle/", "mvtec/bottle/"])
def test_of_mvtecs_layout_masks_are_never_pictures(within: str) -> None:
    names = sorted(within + name for name in MVTEC)
    found = understand(names, PLACE, "auto")
    assert found.classes == ("crack", "good", "hole")
    assert found.normal == ("good",)
    assert found.left_out[0].startswith("4 masks of pictures")
    used = [names[i].removeprefix(within) for i in found.used]
    assert used == [name for name in sorted(MVTEC) if not name.startswith("ground")]
    assert found.parts is not None
    assert found.parts.tolist() == [0 if name.startswith("train") else 2 for name in used]


TAKEN: dict[str, tuple[list[str], Folders, set[str | None], int, str]] = {
    "classes": (tree(cats=2, dogs=2), "auto", {"cats", "dogs"}, 4, ""),
    "images and masks": (tree(images=4, masks=4), "auto", {None}, 4, "4 masks of pictures"),
    "JPEGs of VOC": (tree(VOC__JPEGImages=4, VOC__SegmentationClass=3), "auto", {None}, 4, "3 masks"),
    "pairs in splits": (tree(train__images=4, train__labels=4, test__images=2, test__labels=2), "auto", {None}, 6,
                        "6 masks"),
    "masks beside their pictures": ([f"{c}/b ({i}){m}.png" for c in ("benign", "normal") for i in range(3)
                                     for m in ("", "_mask", "_mask_1")], "auto", {"benign", "normal"}, 6, "12 masks"),
    "with and without a mask": (tree(with_mask=2, without_mask=2), "auto", {"with_mask", "without_mask"}, 4, ""),
    "a mask or none": (tree(mask=2, no_mask=2), "auto", {"mask", "no_mask"}, 4, ""),
    "one stray": ([*tree(cats=2, dogs=3), "cover.png"], "auto", {"cats", "dogs"}, 5,
                  "1 picture beside class folders (cover.png; data.folders=ignored"),
    "one stray above": ([*tree(set__cats=2, set__dogs=3), "cover.png"], "auto", {"cats", "dogs"}, 5, "1 picture"),
    "strays that are meant": ([*tree(cats=2, dogs=3), "cover.png"], "ignored", {None}, 6, ""),
    "a train among vehicles": (tree(bus=2, car=2, train=2), "auto", {"bus", "car", "train"}, 6, ""),
    "splits that are classes": (tree(train=2, test=2), "classes", {"train", "test"}, 4, ""),
    "no splits": (tree(train=2, test=2), "ignored", {None}, 4, ""),
    "a test without classes": (tree(train__cats=3, train__dogs=3, test=4), "auto", {"cats", "dogs"}, 6,
                               "4 pictures of the folder for test, which are of no class"),
    "one folder": (tree(pictures=4), "auto", {None}, 4, ""),
    "another one": ([*tree(pictures=4), "x.png"], "auto", {None}, 5, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_certain_is_taken_and_the_rest_is_said(name: str) -> None:
    names, folders, classes, count, words = TAKEN[name]
    found = described(sorted(names), folders)
    assert {known for _, known in found.values()} == classes
    assert len(found) == count
    left_out = understand(sorted(names), PLACE, folders).left_out
    assert left_out[0].startswith(words) if words else left_out == ()


REFUSED = {
    "something beside splits": (tree(train=2, test=2, extras=2), "test, train look like splits, but extras beside"),
    "no training": (tree(val=2, test=2), "test, val look like splits, but not one for training"),
    "two sets of splits": (tree(trainA=2, testA=2, trainB=2, testB=2), "look like splits of several sets"),
    "two for validation": (tree(train=2, val=2, valid=2, test=2), "look like the same split"),
    "unknown classes": (tree(train__a=2, train__b=2, test__a=2, test__c=2), "of the classes c, which others are of"),
    "no normal ones": (tree(train__good=2, test__bad=2), "of the classes bad, which others are of"),
    "flat training": (tree(train=2, test__a=2, test__b=2), "those to train on do not"),
    "many strays": ([*tree(cats=2, dogs=2), *"abc"], "3 pictures beside class folders (cats, dogs), too many"),
    "several sets": (tree(a__train__x=2, a__train__y=1, a__test__x=2, b__train__x=1, b__test__y=2), "Name one: data"),
    "splits in one class": (tree(cats__train=2, cats__test=2, dogs=2), "but there are none in dogs"),
    "masks or a class": (tree(cats=2, dogs=2, masks=2), "the folder masks may hold masks of pictures, or a class"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_certain_is_refused_in_words(name: str) -> None:
    names, words = REFUSED[name]
    with pytest.raises(DataError) as raised:
        understand(sorted(names), PLACE, "auto")
    assert words in str(raised.value)
    assert "data." in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert len(described(sorted(names), "ignored")) == len(names)


WORDS = st.sampled_from(["train", "test", "Val", "masks", "images", "good", "cats", "x", "ground_truth", "eval_2"])


@given(
    st.lists(st.tuples(st.lists(WORDS, max_size=3), st.sampled_from(["0", "1", "0_mask"])), min_size=3, unique_by=str)
)
def test_any_tree_is_understood_or_refused(paths: list[tuple[list[str], str]]) -> None:
    names = sorted({"/".join([*folders, f"{stem}.png"]) for folders, stem in paths})
    try:
        found = understand(names, PLACE, "auto")
    except DataError:
        return
    assert sorted(set(found.used.tolist())) == found.used.tolist()
    for array in (found.labels, found.parts):
        assert array is None or len(array) == len(found.used)
    assert len(found.used) == len(names) or found.left_out
    assert found.labels is None or len(set(found.labels.tolist())) == len(found.classes) > 1


def said(dataset: Dataset) -> str:
    return "\n".join(dataset.about)


SYSTEM = ["@eaDir", "$RECYCLE.BIN", "__MACOSX", ".git", "System Volume Information", ".thumbnails", "lost+found",
          ".ipynb_checkpoints", "#recycle"]  # fmt: skip


def test_what_systems_leave_is_no_class_and_is_said(tmp_path: Path) -> None:
    place = write_pictures(tmp_path / "own", 20, ("cats", "dogs"), table=False)
    for name in SYSTEM:
        write_pictures(place / name, 1, table=False)
        write_pictures(place / "cats" / name, 1, table=False)
    (place / "notes.txt").write_text("x")
    (place / "cats" / "raw.HEIC").write_text("x")
    (place / "birds").mkdir()
    dataset = load(place)
    assert SOURCES["folder"].spec_for(own(place)).classes == ("cats", "dogs")
    assert sum(map(len, (dataset.train, dataset.validation, dataset.test))) == 20
    lines = said(dataset)
    for words in (
        "20 pictures (20 .png); classes by folder", "2 classes (train + validation + test): cats",
        "left there by systems: 14 (",
        "hidden: 4 (.git/", ".txt files, no pictures by their names: 1 (notes.txt)", "left out: .heic files",
        "empty folders: 1 (birds/)",
    ):  # fmt: skip
        assert words in lines, lines


def test_a_publishers_split_is_the_split_unless_another_is_asked_for(tmp_path: Path) -> None:
    folders = ("train/a", "train/b", "train/a", "train/b", "test/a", "test/b")
    place = write_pictures(tmp_path / "own", 60, folders, table=False)

    def found(**options: object) -> list[set[int]]:
        dataset = load(place, **options)
        return [{int(p[0, 0, 0]) for p in split.pixels} for split in (dataset.train, dataset.validation, dataset.test)]

    train, validation, test = found()
    assert test == {i for i in range(60) if i % 6 > 3}
    assert len(validation) == 4
    assert {i % 2 for i in validation} == {0, 1}, "drawn from both classes"
    assert train | validation == set(range(60)) - test
    assert found(seed=1)[1] != validation
    assert found(seed=1)[2] == test
    assert len(found(test=0.5)[2]) == 30
    assert found(test=0.5)[2] != test
    assert SOURCES["folder"].counted(own(place)) == len(train)


def test_mvtecs_layout_trains_on_normal_pictures_and_tests_on_all(tmp_path: Path) -> None:
    place = tmp_path / "bottle"
    for index, name in enumerate(sorted(MVTEC)):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(encoded(index))
    options = own(place)
    dataset = SOURCES["folder"].load(options)
    assert SOURCES["folder"].normal(options) == ("good",)
    assert [len(s) for s in (dataset.train, dataset.validation, dataset.test)] == [4, 1, 5]
    assert dataset.train.labels is not None
    assert dataset.test.labels is not None
    assert set(dataset.train.labels) == {1}
    assert set(dataset.test.labels) == {0, 1, 2}
    with pytest.raises(DataError, match=r"data\.test: .* has normal pictures to train on"):
        load(place, test=3)


@pytest.mark.skipif(os.name != "posix", reason="makes links")
def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    place = write_pictures(tmp_path / "own", 10, ("cats",), table=False)
    elsewhere = write_pictures(tmp_path / "elsewhere", 6, table=False)
    (place / "dogs").symlink_to(elsewhere)
    (place / "dogs again").symlink_to(elsewhere)
    (place / "cats" / "up").symlink_to(place)
    (place / "cats" / "all").symlink_to(tmp_path)
    (place / "nowhere").symlink_to(tmp_path / "gone")
    found = SOURCES["folder"].spec_for(own(place)).classes
    assert len(found) == 2
    assert found[0] == "cats"
    dataset = load(place)
    assert sum(map(len, (dataset.train, dataset.validation, dataset.test))) == 16
    assert "links to folders that are in it already: 3" in said(dataset)
    assert "links to nowhere: 1 (nowhere)" in said(dataset)


def test_a_zip_made_on_windows_keeps_its_classes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for index in range(10):
            archive.writestr(f"set\\{'cats' if index % 2 else 'dogs'}\\{index}.png", encoded(index))
        archive.writestr("set\\__MACOSX\\x.png", b"")
        archive.writestr("set\\", b"")
    dataset = load(tmp_path / "own.zip")
    assert SOURCES["folder"].spec_for(own(tmp_path / "own.zip")).classes == ("cats", "dogs")
    assert dataset.train.labels is not None
    assert [int(p[0, 0, 0]) % 2 for p in dataset.train.pixels] == [1 - label for label in dataset.train.labels]
    with zipfile.ZipFile(tmp_path / "own.zip", "a") as archive:
        archive.writestr("set/cats/1.png", b"x")
    with pytest.raises(DataError, match=r"holds two files called set/cats/1\.png"):
        load(tmp_path / "own.zip")


def test_duplicates_are_said_and_those_that_flatter_a_test_stand_with_its_figures(tmp_path: Path) -> None:
    place = write_pictures(tmp_path / "own", 20, ("train", "train", "train", "test"), table=False)
    assert "duplicates:" not in said(load(place))
    (place / "train" / "again.png").write_bytes((place / "train" / "000.png").read_bytes())
    (place / "test" / "again.png").write_bytes((place / "train" / "001.png").read_bytes())
    dataset = load(place, validation=1)
    assert "duplicates: 4 pictures are 2 by their bytes, " in said(dataset)
    assert "train/000.png = train/again.png" in said(dataset)
    assert dataset.note == "1 of 6 test pictures are, byte for byte, for training or validation as well."


def test_the_command_says_what_a_folder_was_taken_for(tmp_path: Path, run_cli: Cli) -> None:
    place = write_pictures(tmp_path / "own", 20, ("cats", "dogs"))
    (place / "attributes.csv").rename(tmp_path / "table.csv")
    (place / "notes.txt").write_text("x")
    sheet = tmp_path / "sheet.png"
    status, out, err = run_cli("data", place, "data.size=8", f"data.table={tmp_path / 'table.csv'}", "--out", sheet,
                               "--count", "3")  # fmt: skip
    assert status == 0, err
    for words in ("20 pictures (20 .png); classes by folder", "2 classes (train + validation + test): cats ",
                  "column age: number (mean 9.5, deviation 5.766)",
                  "column odd: flag (no, yes)", "column letter: category (a, b, c)", "notes.txt"):  # fmt: skip
        assert words in out
    with Image.open(sheet) as picture:
        assert (picture.mode, picture.height) == ("RGB", 72)
    assert load(place, table=str(tmp_path / "table.csv")).about == tuple(out.splitlines()[:-1])
    for arguments, words in (
        (("data", place, "data.foldrs=x"), "data.foldrs: there is no such key. Did you mean 'folders'"),
        (("data", place, "--out", tmp_path / "x.jpg"), "expected a name ending in .png, for a contact sheet"),
        (("data", "digits", "data.size=8"), "has a meaning for pictures of one's own alone"),
        (("data", tmp_path / "gone"), "There is no data set, folder or file"),
    ):  # fmt: skip
        status, _, err = run_cli(*arguments)
        assert (status, words in err) == (2, True), err


def test_it_is_said_before_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = write_pictures(tmp_path / "own", 20, ("cats", "dogs"), table=False)
    (place / "cover.jpg").write_bytes(encoded(1))
    plain = {
        "name": "own", "data": {"source": "folder", "path": str(place), "size": 8},
        "model": {"family": "autoencoder", "widths": [4], "latent_size": 2},
        "training": {"steps": 1, "batch_size": 8, "device": "cpu"},
    }  # fmt: skip
    sanggar.train(plain, out=tmp_path / "run", watch=lambda _: None)
    lines = capsys.readouterr().err
    assert "left out: 1 picture beside class folders (cover.jpg; data.folders=ignored takes all" in lines
    assert "2 classes (train + validation + test): cats " in lines
