"""Pictures of one's own: what is found, how it is split, and what is wrong with it, in words."""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sanggar
from conftest import Cli
from gathering import encoded, load, number, own, write_pictures, zipped
from sanggar.data import cache as prepared
from sanggar.data import decoding
from sanggar.data.decoding import read_member
from sanggar.data.images import Attribute, Images
from sanggar.data.sources import SOURCES, presence
from sanggar.data.tables import Kind, read_table
from sanggar.errors import DataError, RecipeError, RunError
from sanggar.plan import resolve
from sanggar.recipe import Recipe, read
from sanggar.reporting.page import report
from sanggar.results.stored import read_arrays
from sanggar.runs import Run
from sanggar.training.start import resume

Temporary = pytest.TempPathFactory
ATTRIBUTES = (
    Attribute("age", "number", (), 29.5, float(np.arange(60).std())),
    Attribute("odd", "flag", ("no", "yes")),
    Attribute("letter", "category", ("a", "b", "c")),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: Temporary) -> Path:
    """60 pictures with a table."""
    return write_pictures(tmp_path_factory.mktemp("own") / "faces", 60)


def numbers(split: Images) -> list[int]:
    """The numbers of pictures, each of which knows its own attributes."""
    found = [number(picture) for picture in split.pixels]
    assert split.attributes is not None
    assert split.attributes.dtype == np.float32
    np.testing.assert_array_equal(split.attributes, [[i, i % 2, i % 3] for i in found])
    return found


# -- splits ----------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(seed=st.integers(0, 1), test=st.integers(1, 30) | st.floats(0.01, 0.6), validation=st.integers(1, 23))
def test_splits_share_out_the_pictures_and_know_their_attributes(
    place: Path, seed: int, test: float, validation: int
) -> None:
    options = own(place, seed=seed, test=test, validation=validation)
    dataset = SOURCES["folder"].load(options)
    parts = [numbers(split) for split in (dataset.train, dataset.validation, dataset.test)]
    assert sorted([*parts[0], *parts[1], *parts[2]]) == list(range(60))
    assert len(parts[1]) == validation
    assert len(parts[2]) == (test if test >= 1 else max(1, round(60 * test)))
    assert SOURCES["folder"].counted(options) == len(parts[0])
    assert dataset.fingerprint == load(place).fingerprint
    more = SOURCES["folder"].load(own(place, seed=seed, test=test, validation=1))
    assert numbers(more.test) == parts[2]
    assert set(parts[0]) <= set(numbers(more.train))


def test_splits_are_views_of_one_map_and_the_seed_draws_them(place: Path) -> None:
    dataset = load(place)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [48, 6, 6]
    for split in (dataset.train, dataset.validation, dataset.test):
        assert not split.pixels.flags.writeable
        assert not split.pixels.flags.owndata
        assert type(split.pixels) is np.ndarray
    assert numbers(load(place, seed=1).test) != numbers(dataset.test)
    assert dataset.note == ""


def test_a_folder_and_its_zip_are_the_same_data(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path / "faces" / "within")
    (tmp_path / "faces" / "within" / ".hidden.png").write_bytes(b"")
    (tmp_path / "faces" / "__MACOSX").mkdir()
    (tmp_path / "faces" / "__MACOSX" / "x.png").write_bytes(b"")
    (tmp_path / "faces" / "notes.txt").write_text("not a picture")
    archive = zipped(tmp_path / "faces", tmp_path / "faces.zip")
    known = load(place)
    for path in (place, tmp_path / "faces" / "within", archive):
        again = load(path)
        assert again.fingerprint == known.fingerprint
        np.testing.assert_array_equal(again.train.pixels, known.train.pixels)
        np.testing.assert_array_equal(again.test.attributes, known.test.attributes)
    assert SOURCES["folder"].spec_for(own(archive)).attributes == ATTRIBUTES


def test_the_fingerprint_notices_a_picture_a_label_and_a_size(place: Path, tmp_path: Path) -> None:
    known = {load(place).fingerprint, load(place, size=9).fingerprint, load(place, colour=False).fingerprint}
    known |= {load(place, label="odd").fingerprint, load(place, attributes={"age": "number"}).fingerprint}
    other = shutil.copytree(place, tmp_path / "other")
    (other / "007.png").write_bytes(encoded(7_000))
    known.add(load(other).fingerprint)
    assert len(known) == 6


# -- classes and attributes --------------------------------------------------------------------------------------


def test_sub_folders_are_classes_where_there_are_several(tmp_path: Path) -> None:
    write_pictures(tmp_path / "x" / "set", 30, ("cats", "dogs/small", "dogs/large"), table=False)
    dataset = load(tmp_path / "x")
    assert SOURCES["folder"].spec_for(own(tmp_path / "x")).classes == ("cats", "dogs")
    assert dataset.train.labels is not None
    assert dataset.train.attributes is None
    assert dataset.train.labels.tolist() == [int(number(p) % 3 > 0) for p in dataset.train.pixels]
    assert dataset.train.labels.dtype == np.int64
    write_pictures(tmp_path / "x", 1, table=False)
    assert SOURCES["folder"].spec_for(own(tmp_path / "x")).classes == ("cats", "dogs"), "one beside them is left out"
    assert SOURCES["folder"].spec_for(own(tmp_path / "x", folders="ignored")).classes == ()
    write_pictures(tmp_path / "one", 9, ("images",), table=False)
    assert SOURCES["folder"].spec_for(own(tmp_path / "one")).classes == ()


def test_an_attribute_may_be_the_class(place: Path) -> None:
    spec = SOURCES["folder"].spec_for(own(place, label="letter"))
    assert (spec.classes, spec.shape, spec.attributes) == (("a", "b", "c"), (8, 8, 3), ATTRIBUTES)
    test = load(place, label="letter").test
    assert test.labels is not None
    assert test.labels.tolist() == [i % 3 for i in numbers(test)]
    assert SOURCES["folder"].spec_for(own(place, label="odd", colour=False)).classes == ("no", "yes")
    for label, says in (("lettre", "Did you mean 'letter'?"), ("age", "age is a number; a class is a category")):
        with pytest.raises(DataError, match="data") as raised:
            load(place, label=label)
        assert says in str(raised.value)


@given(kinds=st.lists(st.sampled_from(["flag", "signs", "digits", "number", "category", "words"]), max_size=5),
       count=st.integers(5, 30), data=st.data())  # fmt: skip
def test_columns_are_typed_by_what_they_hold(kinds: list[str], count: int, data: st.DataObject) -> None:
    pools = {"flag": ["no", "yes"], "signs": ["-1", "1"], "digits": ["0", "1"], "number": ["1", "2.5", "-3e2", " 7"],
             "category": ["red", "green", "blue"], "words": ["female", "male"]}  # fmt: skip
    columns = [[*pools[kind], *data.draw(st.lists(st.sampled_from(pools[kind]), min_size=count, max_size=count))]
               for kind in kinds]  # fmt: skip
    names = [f"{i}.png" for i in range(count)]
    order = data.draw(st.permutations(range(count)))
    rows = [",".join([f"images/{names[i]}", *(column[i] for column in columns)]) for i in order]
    header = ",".join(["image", *(f"c{k}" for k in range(len(kinds)))])
    table = read_table("\n".join([header, *rows]).encode(), "t", [f"images/{n}" for n in names], None)
    assert [a.kind for a in table.attributes] == [
        {"number": "number", "category": "category"}.get(kind, "flag") for kind in kinds
    ]
    for attribute, column, found in zip(table.attributes, columns, table.values.T, strict=True):
        cells = [cell.strip() for cell in column[:count]]
        if attribute.kind == "number":
            np.testing.assert_array_equal(found, np.array(cells, np.float32))
            assert attribute.mean == pytest.approx(np.mean(np.array(cells, float)))
        else:
            assert [attribute.values[int(code)] for code in found] == cells
            if attribute.kind == "flag":
                assert attribute.values[1] in ("yes", "1", "male")


NAMES = ["a/0.png", "a/1.png", "b/1.png", "b/2.png"]
TABLE = "file,age,sex\n0.png,5,m\na/1.png,6,f\nb/1.png,7,f\n2.png,8,m\n"
BAD_TABLES: dict[str, tuple[str | bytes, dict[str, Kind] | None, str]] = {
    "no column file": (TABLE.replace("file", "pic"), None, "no column `file` that says which picture a row is about"),
    "empty": ("", None, "no column `file`"),
    "not text": (b"\xff\xfe\x00", None, "not a CSV in UTF-8"),
    "not in the folder": (TABLE + "9.png,1,m\n", None, "names 1 picture (9.png) that is not there"),
    "climbing": (TABLE + "../0.png,1,m\n", None, "names 1 picture (../0.png) that is not there"),
    "no row": ("file,age\n0.png,1\n", None, "has no row for 3 pictures (a/1.png, b/1.png, b/2.png)"),
    "two rows": (TABLE + "a/0.png,5,m\n", None, "rows 2 and 6 are both about a/0.png"),
    "two pictures": (TABLE.replace("a/1", "1"), None, "row 3: several pictures are called 1.png"),
    "two columns": (TABLE.replace("age", "sex"), None, "two columns are called 'sex'"),
    "ragged": (TABLE + "x\n", None, "row 6 has 1 cells, but there are 3 columns"),
    "unknown column": (TABLE, {"agee": "number"}, "data.attributes: t has no column 'agee'. Did you mean 'age'?"),
    "no number": (TABLE, {"sex": "number"}, "row 2 (a/0.png): column 'sex': 'm' is not a number"),
    "infinite": (TABLE.replace(",7", ",inf"), {"age": "number"}, "row 4 (b/1.png): column 'age': 'inf' is not a"),
    "one is no number": (TABLE.replace(",7", ",n/a"), None, "row 4 (b/1.png): column 'age': 'n/a' is not a number"),
    "empty cell": (TABLE.replace(",7", ", "), None, "row 4 (b/1.png): column 'age': '' is empty"),
    "called class": (TABLE.replace("sex", "class"), None, "a column cannot be called 'class', as the label is"),
    "no flag": (TABLE, {"age": "flag"}, "column 'age' is to be a flag, which has two values, but it has 4: 5, 6, 7, 8"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_is_refused_with_row_and_column(name: str) -> None:
    content, wanted, words = BAD_TABLES[name]
    with pytest.raises(DataError) as raised:
        read_table(content if isinstance(content, bytes) else content.encode(), "t", NAMES, wanted)
    assert words in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_flag_in_numbers_is_one_however_they_are_written() -> None:
    table = read_table(b"file,on\n0.png,0\na/1.png,1\nb/1.png,1.0\n2.png,0\n", "t", NAMES, None)
    assert table.attributes == (Attribute("on", "flag", ("0", "1")),)
    np.testing.assert_array_equal(table.values[:, 0], [0, 1, 1, 0])


def test_a_damaged_table_in_a_zip_is_refused(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(place.iterdir()):
            archive.write(file, file.name)
        head = archive.getinfo("attributes.csv").header_offset
    content = bytearray(path.read_bytes())
    content[head + 60 : head + 90] = bytes(30)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"attributes\.csv cannot be read"):
        load(path)


def test_a_machine_in_trouble_is_no_broken_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, whole, fails = write_pictures(tmp_path / "faces", 120), decoding.read_file, [True]

    def read(where: str, archive: zipfile.ZipFile | None, name: str) -> bytes:
        if fails[0] and name == "050.png":
            raise OSError(errno.EIO, "Input/output error")
        return whole(where, archive, name)

    monkeypatch.setattr(decoding, "read_file", read)
    with pytest.raises(DataError, match=r"050\.png cannot be read now \(Input/output error\)"):
        load(place)
    fails[0] = False
    assert sum(len(split) for split in (lambda d: (d.train, d.validation, d.test))(load(place))) == 120


def test_too_many_texts_are_no_category_and_spreadsheets_are_read() -> None:
    names = [f"{i}.png" for i in range(300)]
    rows = "".join(f"{name};name {i}\r\n" for i, name in enumerate(names))
    with pytest.raises(DataError, match="holds 300 different texts"):
        read_table(f"File;who\r\n{rows}".encode("utf-8-sig"), "t", names, None)
    assert read_table(f"File;who\r\n{rows}".encode("utf-8-sig"), "t", names, {}).attributes == ()
    assert len(read_table(f"File;who\r\n{rows}".encode(), "t", names, {"who": "category"}).attributes[0].values) == 300


def test_the_table_may_lie_elsewhere(place: Path, tmp_path: Path) -> None:
    table = shutil.copy(place / "attributes.csv", tmp_path / "other.csv")
    assert SOURCES["folder"].spec_for(own(place, table=str(table), attributes={"odd": "category"})).attributes == (
        Attribute("odd", "category", ("no", "yes")),
    )
    with pytest.raises(DataError, match=r"data\.table: there is no gone\.csv in"):
        load(place, table="gone.csv")
    bare = write_pictures(tmp_path / "bare", 5, table=False)
    with pytest.raises(DataError, match=r"data\.attributes: .*bare has no table"):
        load(bare, attributes={"odd": "flag"})


def test_a_zip_is_found_without_its_suffix(place: Path, tmp_path: Path) -> None:
    zipped(place, tmp_path / "faces.zip")
    assert SOURCES["folder"].spec_for(own(tmp_path / "faces")).attributes == ATTRIBUTES


def test_the_working_directory_is_a_folder_as_any(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert SOURCES["folder"].spec_for(own(Path())).attributes == ATTRIBUTES


def test_a_table_in_a_sub_folder_is_found_in_a_folder_as_in_a_zip(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path / "set" / "faces")
    zipped(tmp_path / "set", tmp_path / "zipped.zip")
    for where in ("set", "zipped.zip"):
        assert SOURCES["folder"].spec_for(own(tmp_path / where)).attributes == ATTRIBUTES
    (tmp_path / "set" / "others").mkdir()
    shutil.copy(place / "attributes.csv", tmp_path / "set" / "others")
    zipped(tmp_path / "set", tmp_path / "zipped.zip")
    for where in ("set", "zipped.zip"):
        with pytest.raises(DataError, match=r"several tables: faces/attributes.csv, others/attributes.csv. Name one"):
            load(tmp_path / where)
    shutil.copy(place / "attributes.csv", tmp_path / "set")  # the one above them is meant
    assert SOURCES["folder"].spec_for(own(tmp_path / "set")).attributes == ATTRIBUTES


def test_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", 20, table=False)
    strange = os.fsdecode(b"caf\xe9.png")
    try:
        (tmp_path / "set" / "000.png").rename(tmp_path / "set" / strange)
    except OSError:
        pytest.skip("this file system takes no such names")
    assert len(load(tmp_path / "set").train) == 16


# -- bad input ---------------------------------------------------------------------------------------------------


def _empty(place: Path) -> Path:
    place.mkdir()
    (place / "readme.txt").write_text("nothing here")
    return place


def _texts(place: Path) -> Path:
    place.mkdir()
    for index in range(20):
        (place / f"{index:02d}.jpg").write_text("a text")
    return place


def _dangling(place: Path) -> Path:
    write_pictures(place, 20, table=False)
    for index in (3, 4):
        (place / f"{index:02d}.jpg").symlink_to(place / "nowhere.jpg")
    return place


def _cut(place: Path) -> Path:
    write_pictures(place, 20, table=False)
    for index in (3, 4):
        (place / f"{index:03d}.jpg").write_bytes(encoded(index, "JPEG", (300, 300))[:-200])
    return place


def _zip(place: Path, change: Callable[[bytes], bytes] = bytes, members: Mapping[str, bytes] | None = None) -> Path:
    path = zipped(write_pictures(place, 20), place.with_suffix(".zip"))
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in (members or {}).items():
            archive.writestr(name, content)
    path.write_bytes(change(path.read_bytes()))
    return path


def _encrypted(content: bytes) -> bytes:
    return content.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")


def _lying(content: bytes) -> bytes:
    """Members that declare 10 bytes and inflate to more."""
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        parts = content.split(mark)
        content = mark.join([parts[0], *(p[: at - 4] + struct.pack("<I", 10) + p[at:] for p in parts[1:])])
    return content


def _declared(content: bytes) -> bytes:
    at = content.index(b"PK\x01\x02")
    return content[: at + 24] + struct.pack("<I", 2**31) + content[at + 28 :]


BAD_PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda p: p, "data.path: there is no folder or zip"),
    "no pictures": (_empty, "holds no pictures (.png, .jpg"),
    "one picture": (lambda p: write_pictures(p, 1), "holds 1 picture: too few to split"),
    "texts": (_texts, "of 20 pictures more than 1 % cannot be read, which is more than an accident. First: "),
    "cut JPEGs": (_cut, "First: 003.jpg ("),
    "not a zip": (lambda p: _texts(p) / "03.jpg", "neither a folder nor a zip that can be read"),
    "a cut zip": (lambda p: _zip(p, lambda c: c[:-300]), "neither a folder nor a zip that can be read"),
    "damaged pictures": (lambda p: _zip(p, lambda c: c[:60] + bytes(900) + c[960:]), "more than 1 % cannot be read"),
    "encrypted": (lambda p: _zip(p, _encrypted), "is encrypted. Unpack it"),
    "climbing": (lambda p: _zip(p, members={"../up.png": b"x"}), "holds '../up.png', which climbs out of it"),
    "absolute": (lambda p: _zip(p, members={"/etc/x.png": b"x"}), "which climbs out of it"),
    "a drive": (lambda p: _zip(p, members={"C:/x.png": b"x"}), "which climbs out of it"),
    "nameless": (lambda p: _zip(p, lambda c: c.replace(b"003.png", b"\x0003.png")), "holds a file without a name"),
    "twice": (lambda p: _zip(p, members={"003.png": b"x"}), "holds two files called 003.png"),
    "lying": (lambda p: _zip(p, _lying), "attributes.csv cannot be read (Bad CRC-32"),
    "links to nowhere": (_dangling, "of 22 pictures more than 1 % cannot be read, which is more than an accident."),
    "huge": (lambda p: _zip(p, _declared), "declares 2,147,483,648 bytes, more than any picture here has"),
}


@pytest.mark.parametrize("name", BAD_PLACES)
def test_a_bad_folder_or_zip_is_refused_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    make, words = BAD_PLACES[name]
    path = make(tmp_path / "faces")
    before = {p.name for p in prepared.folder().glob("*")}
    with pytest.raises(DataError) as raised:
        load(path)
    assert words in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert {p.name for p in prepared.folder().glob("*")} - before <= {"lock"}


def test_of_a_zip_that_lies_no_more_is_inflated_than_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("000.png", bytes(50_000_000))
    path.write_bytes(_lying(path.read_bytes()))
    tracemalloc.start()
    with zipfile.ZipFile(path) as archive, pytest.raises(zipfile.BadZipFile):
        read_member(archive, "000.png")
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_few_broken_pictures_are_left_out_and_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run_cli: Cli
) -> None:
    place = write_pictures(tmp_path / "faces", 250)
    for index in (7, 100):
        (place / f"{index:03d}.png").write_bytes(encoded(index)[:40])
    dataset = load(place, validation=20, test=30, note="Ours.")
    parts = [numbers(split) for split in (dataset.train, dataset.validation, dataset.test)]
    assert sorted([*parts[0], *parts[1], *parts[2]]) == [i for i in range(250) if i not in (7, 100)]
    assert list(map(len, parts)) == [198, 20, 30]
    assert dataset.note == "Ours. 2 of 250 pictures cannot be read and are left out."
    assert "2 of 250 pictures cannot be read and are left out: 007.png (" in capsys.readouterr().err
    found = next(p for p in prepared.kept() if p.place == str(place))
    about = json.loads((prepared.folder() / found.key / "about.json").read_text())
    assert list(about["broken"]) == ["007.png", "100.png"]
    listed = [line for line in run_cli("data", "--prepared")[1].splitlines() if "left out" in line]
    assert [line.split()[2] for line in listed] == ["007.png", "100.png"]
    assert load(place, validation=20, test=30).fingerprint == dataset.fingerprint
    (place / "200.png").write_bytes(b"")
    with pytest.raises(DataError, match="of 250 pictures more than 1 % cannot be read"):
        load(place)


@pytest.mark.parametrize(("options", "words"), [
    ({"validation": 40, "test": 20}, "60 pictures cannot be split into 20 for test, 40 for validation"),
    ({"test": 0.99}, "60 pictures cannot be split into 59 for test, 6 for validation"),
])  # fmt: skip
def test_splits_that_leave_nothing_are_refused(place: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(place, **options)


# -- recipes -----------------------------------------------------------------------------------------------------


def recipe(**data: object) -> Recipe:
    return Recipe("own", data={"source": "folder", **data}, model={"family": "autoencoder"}, training={"steps": 2})


def test_a_recipe_is_resolved_without_looking_at_the_disk(place: Path) -> None:
    plan = resolve(recipe(path="nowhere", size=16, fit="squash"))
    assert plan.tree()["data"] == {
        "source": "folder", "validation": None, "test": None, "only": None, "seed": 0, "size": 16, "fit": "squash",
        "colour": True, "label": None, "note": "", "path": "nowhere", "table": None, "attributes": None,
        "folders": "auto",
    }  # fmt: skip
    assert resolve(read(plan.tree())) == plan
    with pytest.raises(DataError, match="there is no folder or zip nowhere"):
        _ = plan.spec
    assert (presence("folder").state, presence("folder", plan.data).state) == ("your own", "absent")
    assert presence("folder", own(place)).state == "present"


@pytest.mark.parametrize(("data", "words"), [
    ({}, "data.path: missing"),
    ({"path": "x", "fit": "crp"}, "data.fit: there is no 'crp'. Did you mean 'crop'?"),
    ({"path": "x", "sise": 3}, "data.sise: there is no such key. Did you mean 'size'?"),
    ({"path": "x", "test": 0}, "data.test: expected a number of pictures, or a share of them below 1, got 0"),
    ({"path": "x", "test": 1.5}, "data.test: expected a number of pictures, or a share of them below 1, got 1.5"),
    ({"path": "x", "validation": "a"}, "data.validation: expected a number of pictures, or a share"),
    ({"path": "x", "attributes": {"age": "numbr"}}, "data.attributes: there is no 'numbr'. Did you mean 'number'?"),
])  # fmt: skip
def test_a_mistake_in_a_recipe_is_said_in_its_words(data: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as raised:
        resolve(recipe(**data))
    assert words in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_an_unknown_attribute_is_refused_before_pictures_are_prepared(place: Path, tmp_path: Path) -> None:
    wanted = recipe(path=str(place), size=11)
    before = len(prepared.kept())
    with pytest.raises(RecipeError, match=r"there is no attribute 'agee'\. Did you mean 'age'"):
        sanggar.train(wanted, ["evaluation.attributes=[agee]"], out=tmp_path / "run")
    assert len(prepared.kept()) == before
    assert load(place, size=11).test.pixels.shape[1] == 11
    assert len(prepared.kept()) == before + 1


def test_it_trains_from_a_map_that_nothing_writes_to(place: Path, tmp_path: Path) -> None:
    larger = write_pictures(tmp_path / "larger", 300)
    plain = {
        "name": "own", "data": {"source": "folder", "path": str(larger), "size": 8, "label": "odd"},
        "model": {"family": "autoencoder", "widths": [4, 8], "latent_size": 4},
        "training": {"steps": 2, "batch_size": 8, "device": "cpu", "precision": "fp32"},
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not writable.*")
        run = sanggar.train(plain, out=tmp_path / "run", watch=lambda _: None)
        found = sanggar.open(run).reconstruct(load(larger).test.pixels)
    assert found.shape == (30, 8, 8, 3)
    data = run.info["data"]
    assert (data["train"], data["validation"], data["test"]) == (240, 30, 30)
    assert [column["name"] for column in data["attributes"]] == ["age", "odd", "letter"]
    assert data["classes"] == ["no", "yes"]
    (larger / "000.png").write_bytes(encoded(9_000))
    with pytest.raises(RunError, match="was trained on other data"):
        resume(run, ["training.steps=3"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Temporary) -> Callable[..., Run]:
    """Networks that have learned next to nothing of 60 pictures, with and without what is known of these."""
    place = write_pictures(tmp_path_factory.mktemp("known") / "faces", 60)
    unknown = write_pictures(tmp_path_factory.mktemp("unknown") / "faces", 60, table=False)

    def train(family: str, known: bool = True, **model: object) -> Run:
        tree: dict[str, Any] = {
            "name": "own", "data": {"source": "folder", "path": str(place if known else unknown), "size": 8},
            "model": {"family": family, "widths": [4, 8], "latent_size": 4, "norm": "none", **model},
            "training": {"steps": 2, "batch_size": 8, "device": "cpu", "precision": "fp32"},
            "evaluation": {"classical_images": 10, "tuning_images": 5, "noise_levels": [0.3], "bound_images": 20,
                           "regret_steps": 0},
        }  # fmt: skip
        if model.get("condition"):
            tree["data"]["label"] = "letter"
        return sanggar.train(tree, out=tmp_path_factory.mktemp("run") / "run", watch=lambda _: None)

    return train


def test_a_picture_of_any_size_becomes_what_the_network_was_shown(trained: Callable[..., Run], tmp_path: Path) -> None:
    model = sanggar.open(trained("autoencoder", noise={"level": 0}))
    path = tmp_path / "mine.png"
    path.write_bytes(encoded(7, size=(300, 200)))
    small = tmp_path / "small.png"
    small.write_bytes(encoded(7, size=(8, 8)))
    np.testing.assert_array_equal(model.pixels(path), model.pixels(small))
    np.testing.assert_array_equal(model.pixels([path, small])[0], model.pixels(small)[0])
    (tmp_path / "words.jpg").write_text("words")
    with pytest.raises(DataError, match=r"words\.jpg: not a picture that can be read \(no picture that is known"):
        model.pixels(tmp_path / "words.jpg")


def test_pictures_are_drawn_with_the_attributes_that_are_asked_for(
    trained: Callable[..., Run], run_cli: Cli, tmp_path: Path
) -> None:
    run = trained("vae", condition=["class", "age", "odd"])
    model = sanggar.open(run)
    drawn = model.sample(2, {"class": "b", "age": "40", "odd": "yes"}, seed=3, temperature=1.5)
    conditions = model.conditions
    assert conditions is not None
    told = conditions.row({"age": "40", "odd": "yes"}).numpy()[None].repeat(2, axis=0)
    told[:, conditions.place("class")] = [0, 1, 0]
    np.testing.assert_array_equal(drawn, model.decode(model.noise(2, 3) * np.float32(1.5), told))
    asked = ("--label", "b", "--attribute", "age=40", "--attribute", "odd=yes")
    out = tmp_path / "x.npz"
    status, _, err = run_cli(
        "sample", run.path, "--count", "2", "--seed", "3", "--set", "temperature=1.5", *asked, "--out", out
    )
    assert status == 0, err
    with np.load(out) as file:
        np.testing.assert_array_equal(file["images"], drawn)
    status, _, err = run_cli("sample", run.path, "--count", "2", "--attribute", "odd=ys", "--out", tmp_path / "y.npz")
    assert (status, "there is no 'ys'. Did you mean 'yes'" in err) == (2, True)


def test_a_plain_autoencoder_draws_from_a_mixture(trained: Callable[..., Run], run_cli: Cli, tmp_path: Path) -> None:
    run = trained("autoencoder", noise={"level": 0})
    status, _, err = run_cli("sample", run.path, "--count", "3", "--out", tmp_path / "x.npz")
    assert (status, "cannot sample" in err) == (2, True)
    files = [tmp_path / f"{i}.npz" for i in range(3)]
    for path, seed in zip(files, "001", strict=True):
        status, _, err = run_cli("sample", run.path, "--count", "3", "--mixture", "--seed", seed, "--out", path)
        assert status == 0, err
    first, again, other = (np.load(path)["images"] for path in files)
    assert first.shape == (3, 8, 8, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.slow
def test_hardly_any_test_pictures_are_measured_as_far_as_they_go(tmp_path: Path) -> None:
    place = write_pictures(tmp_path / "few", 40, [f"class {i:02d}" for i in range(40)], table=False)
    run = sanggar.train(
        {
            "name": "few", "data": {"source": "folder", "path": str(place), "size": 8},
            "model": {"family": "vae", "widths": [4], "latent_size": 2},
            "training": {"steps": 2, "batch_size": 8, "device": "cpu"},
            "evaluation": {"bound_images": 20, "anomaly_images": 20, "regret_steps": 1},
        },
        out=tmp_path / "run", watch=lambda _: None,
    )  # fmt: skip
    keys = {m.key for m in sanggar.evaluation_of(sanggar.evaluate(run)).measurements}
    assert {"reconstruction.psnr", "latent.probe", "bounds.negative_elbo"} <= keys
    assert "latent.silhouette" not in keys
    report(run)


@pytest.mark.slow
def test_the_latent_space_of_pictures_of_which_nothing_is_known_is_measured_as_well(
    trained: Callable[..., Run],
) -> None:
    run = sanggar.evaluate(trained("autoencoder", known=False, noise={"level": 0}))
    keys = [m.key for m in sanggar.evaluation_of(run).measurements]
    assert keys.count("latent.rank") == 3
    assert "latent.probe" not in keys
    assert read_arrays(run)["latent.strips"].shape[:2] == (3, 9)
    report(run)
    assert "effective rank" in run.report_file.read_text()
