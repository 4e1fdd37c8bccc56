"""The source of arrays, and the door that array files come through."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import sanggar
from conftest import Cli
from sanggar.data import npy
from sanggar.data.arrays import ArrayOptions
from sanggar.data.dataset import Dataset, Presence
from sanggar.data.images import write_images
from sanggar.data.sources import SOURCES, presence
from sanggar.data.stacks import as_bytes
from sanggar.errors import DataError
from typed import there

SOURCE = SOURCES["arrays"]


def options(path: Path, **given: object) -> ArrayOptions:
    return ArrayOptions.model_validate({"source": "arrays", "path": str(path), **given})


def load(path: Path, **given: object) -> Dataset:
    return SOURCE.load(options(path, **given))


def refused(path: Path, **given: object) -> str:
    """What is said of a file that is not taken."""
    with pytest.raises(DataError) as raised:
        load(path, **given)
    assert len(str(raised.value).splitlines()) == 1
    assert presence("arrays", options(path, **given)).state in ("absent", "present")
    return str(raised.value)


def pictures(count: int, *shape: int) -> np.ndarray:
    """Pictures of random pixels, of which one is black and one white."""
    found = np.random.default_rng(count).integers(0, 256, (count, *(shape or (6, 5))), np.uint8)
    found.flat[0], found.flat[-1] = 0, 255
    return found


def keras(place: Path, **arrays: Any) -> Path:
    """A file as Keras has it, 40 pictures to train on and 10 for test, or with other arrays in their place."""
    whole: dict[str, Any] = {
        "x_train": pictures(40),
        "y_train": np.arange(40) % 4,
        "x_test": pictures(10),
        "y_test": np.arange(10) % 4,
    }
    np.savez(place / "k.npz", **{**whole, **arrays})
    return place / "k.npz"


def medmnist(place: Path) -> Path:
    """A file as MedMNIST has it: RGB, labels in a column, a validation split."""
    parts: dict[str, Any] = {
        f"{part}_images": pictures(n, 6, 5, 3) for part, n in (("train", 40), ("val", 8), ("test", 10))
    }
    for name, array in list(parts.items()):
        parts[name.replace("images", "labels")] = (np.arange(len(array), dtype=np.uint8) % 2)[:, None]
    np.savez_compressed(place / "m.npz", **parts)
    return place / "m.npz"


def table(place: Path, pixels: np.ndarray, labels: np.ndarray | None, head: str | None = None, sep: str = ",") -> Path:
    """A table as Kaggle has MNIST."""
    flat = pixels.reshape(len(pixels), -1)
    names = ["label"] * (labels is not None) + [f"pixel{i}" for i in range(flat.shape[1])]
    rows = [[*([] if labels is None else [labels[i]]), *row] for i, row in enumerate(flat.tolist())]
    lines = [sep.join(names) if head is None else head, *(sep.join(map(str, row)) for row in rows)]
    path = place / "t.csv"
    path.write_text("\n".join(line for line in lines if line) + "\n")
    return path


# -- what is read ------------------------------------------------------------------------------------------------


def test_kerass_file_has_its_own_test_split(tmp_path: Path) -> None:
    path = keras(tmp_path)
    data, spec = load(path), SOURCE.spec_for(options(path))
    assert (spec.shape, spec.classes) == ((6, 5, 1), ("0", "1", "2", "3"))
    np.testing.assert_array_equal(data.test.pixels[..., 0], pictures(10))
    assert there(data.test.labels).tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert (len(data.train), len(data.validation), data.note) == (36, 4, "")
    both = data.train.joined(data.validation)
    order = np.lexsort(both.pixels.reshape(40, -1).T)
    known = np.lexsort(pictures(40).reshape(40, -1).T)
    np.testing.assert_array_equal(both.pixels[order][..., 0], pictures(40)[known])
    np.testing.assert_array_equal(there(both.labels)[order], known % 4)
    assert SOURCE.presence("arrays", options(path)) == Presence("present", path.stat().st_size, path)
    assert SOURCE.presence("arrays") == Presence("your own", 0, None)


def test_what_was_found_is_said_before_a_training(tmp_path: Path) -> None:
    train, test = pictures(40), pictures(10)
    train[3], train[5], test[0] = train[4], train[4], train[4]
    path = keras(tmp_path, x_train=train / 255, x_test=test / 255)
    assert load(path, validation=1).about == (
        f"{path}: 39 to train on, 1 for validation, 10 for test",
        "4 classes (train + validation + test): 0 10 + 0 + 3, 1 10 + 0 + 3, 2 10 + 0 + 2, 3 9 + 1 + 2",
        "duplicates: 3 pictures repeat another pixel by pixel; 1 are for training and for test",
        "Pixels were float64 from 0 to 1, multiplied by 255.",
    )


def test_medmnists_file_has_all_its_splits(tmp_path: Path) -> None:
    path = medmnist(tmp_path)
    data = load(path)
    for split, count in ((data.train, 40), (data.validation, 8), (data.test, 10)):
        np.testing.assert_array_equal(split.pixels, pictures(count, 6, 5, 3))
        assert there(split.labels).tolist() == [i % 2 for i in range(count)]
    assert load(path, validation=12).fingerprint == data.fingerprint == load(path, test=0.5, seed=3).fingerprint
    assert len(load(path, validation=12).train) == 36


@pytest.mark.parametrize("given", [{}, {"validation": 5}, {"test": 7}, {"test": 0.3, "validation": 0.1, "seed": 4}])
@pytest.mark.parametrize("make", [keras, medmnist])
def test_pictures_are_counted_from_headers(make: Callable[[Path], Path], given: dict[str, Any], tmp_path: Path) -> None:
    path = make(tmp_path)
    data = load(path, **given)
    assert SOURCE.counted(options(path, **given)) == len(data.train)
    assert SOURCE.memory(options(path)) == sum(s.pixels.nbytes for s in (data.train, data.validation, data.test))


def test_an_npy_has_its_labels_beside_or_where_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "own.npy"
    np.save(path, pictures(30, 8, 8, 3))
    assert (SOURCE.spec_for(options(path)).classes, load(path).train.labels) == ((), None)
    names = np.array(["cat", "dog", "eel"])[np.arange(30) % 3]
    np.save(tmp_path / "other.npy", names)
    assert SOURCE.spec_for(options(path, labels="other.npy")).classes == ("cat", "dog", "eel")
    (tmp_path / "other.npy").rename(tmp_path / "own-labels.npy")
    data = load(path)
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 3, 3)
    known = {picture.tobytes(): i % 3 for i, picture in enumerate(pictures(30, 8, 8, 3))}
    assert [known[picture.tobytes()] for picture in data.train.pixels] == there(data.train.labels).tolist()


def test_what_sanggar_writes_it_reads(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(write_images(tmp_path / "x.npz", pictures(20)[..., None], np.arange(20) % 2))
    assert SOURCE.spec_for(options(tmp_path / "x.npz")).classes == ("0", "1")


@pytest.mark.parametrize("how", ["plain", "gzipped", "semicolons", "tabs", "no header", "pandas", "numbered",
                                 "named and numbered", "zipped", "quoted"])  # fmt: skip
def test_a_table_of_pixels_is_the_array(how: str, tmp_path: Path) -> None:
    pixels, labels = pictures(30, 6, 6), np.arange(30) % 3
    np.save(tmp_path / "a.npy", pixels)
    np.save(tmp_path / "a-labels.npy", labels)
    path = table(tmp_path, pixels, labels, sep={"semicolons": ";", "tabs": "\t"}.get(how, ","))
    text = path.read_text()
    note = ""
    if how == "gzipped":
        path.write_bytes(gzip.compress(text.encode()))
    elif how == "no header":
        path.write_text(text.split("\n", 1)[1])
        note = "The first of 37 columns, which have no names, is taken for the label."
    elif how == "pandas":
        lines = text.splitlines()
        path.write_text("\n".join([f",{lines[0]}", *(f"{i},{line}" for i, line in enumerate(lines[1:]))]))
        note = "A column that numbers the rows is left out."
    elif how == "numbered":
        path.write_text("\n".join([",".join(map(str, range(37))), text.split("\n", 1)[1]]))
        note = "The first of 37 columns, which have no names, is taken for the label."
    elif how == "named and numbered":
        path.write_text(text.replace("pixel", ""))
    elif how == "zipped":
        path = _zip(tmp_path / "t.csv.zip", {"t.csv": path.read_bytes(), "__MACOSX/t.csv": b"x"})
    elif how == "quoted":
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("label", '"label"').replace("\n", "\r\n").encode())
    assert load(path).fingerprint == load(tmp_path / "a.npy").fingerprint
    assert load(path).note == note
    assert SOURCE.spec_for(options(path)).classes == ("0", "1", "2")


def test_a_table_may_have_no_labels_or_texts_anywhere(tmp_path: Path) -> None:
    assert load(table(tmp_path, pictures(30, 4, 4), None)).train.labels is None
    rows = [f"{','.join(map(str, p.ravel().tolist()))},{'ab'[i % 2]}" for i, p in enumerate(pictures(30, 4, 4))]
    path = tmp_path / "last.csv"
    path.write_text("\n".join([",".join([*(f"p{i}" for i in range(16)), "kind"]), *rows]))
    assert SOURCE.spec_for(options(path, labels="kind")).classes == ("a", "b")


def test_the_file_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    known = load(keras(tmp_path)).fingerprint
    (tmp_path / "k.npz").rename(tmp_path / "k.csv")
    assert load(tmp_path / "k.csv").fingerprint == known


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("change", "note"), [
    (lambda x: x.astype(np.int64), "Pixels were int64 from 0 to 255, rounded to whole numbers."),
    (lambda x: x.astype(">f4"), "Pixels were >f4 from 0 to 255, rounded"),
    (lambda x: x / np.float32(255), "Pixels were float32 from 0 to 1, multiplied by 255."),
    (lambda x: x.astype(np.float64) / 255, "Pixels were float64 from 0 to 1, multiplied by 255."),
    (lambda x: x.astype(np.uint16) * 257, "Pixels were of 16 bits, divided by 257."),
    (lambda x: x[:, None], "The arrays hold channels before rows and columns."),
    (lambda x: x[..., None], ""),
])  # fmt: skip
def test_other_types_and_orders_become_the_same_pixels_and_this_is_said(
    order: Any, change: Callable[[np.ndarray], np.ndarray], note: str, tmp_path: Path
) -> None:
    parts = {name: np.asarray(change(pictures(n)), order=order) for name, n in (("x_train", 40), ("x_test", 10))}
    data = load(keras(tmp_path, **parts))
    assert data.fingerprint == load(keras(tmp_path)).fingerprint
    assert data.note.startswith(note)


def test_truth_values_are_black_and_white_and_rows_are_squares(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pictures(30, 16) > 127)
    data = load(tmp_path / "x.npy")
    assert (data.train.pixels.shape[1:], set(data.train.pixels.ravel())) == ((4, 4, 1), {0, 255})
    said = "The arrays hold a row a picture, which is taken for a grey square. Pixels were truth values: true is white."
    assert data.note == said


@pytest.mark.parametrize("labels", [
    np.arange(40) % 4, (np.arange(40) % 4)[:, None], np.eye(4)[np.arange(40) % 4], (np.arange(40) % 4) * 1.0,
    np.array([b"0", b"1", b"2", b"3"])[np.arange(40) % 4], np.eye(4, dtype=bool)[np.arange(40) % 4],
])  # fmt: skip
def test_labels_of_any_kind_name_the_same_classes(labels: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=pictures(40), labels=labels)
    known = load(keras(tmp_path))
    assert SOURCE.spec_for(options(tmp_path / "x.npz")).classes == ("0", "1", "2", "3")
    assert sorted(there(load(tmp_path / "x.npz").train.labels)) == [0] * 8 + [1] * 8 + [2] * 8 + [3] * 8
    assert there(known.test.labels).max() == 3


def test_classes_are_those_of_all_splits_and_need_not_be_in_a_row(tmp_path: Path) -> None:
    path = keras(tmp_path, y_train=np.repeat([3, 11], 20), y_test=np.full(10, 100))
    assert SOURCE.spec_for(options(path)).classes == ("3", "11", "100")
    assert set(there(load(path).test.labels)) == {2}


# -- what is refused ---------------------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "one size": ({"x_test": pictures(10, 7, 5)}, "'x_test' has the shape (10, 7, 5), unlike"),
    "labels missing": ({"y_test": np.arange(9)}, "holds 10 pictures, but there are labels of shape (9,)"),
    "no label": ({"y_train": np.float32(3)}, "there are labels of shape ()"),
    "fractions": ({"y_test": np.arange(10) / 4}, "labels are fractions"),
    "not a number": ({"y_test": np.full(10, np.nan)}, "labels are fractions, or missing"),
    "several flags": ({"y_train": np.ones((40, 3)), "y_test": np.ones((10, 3))}, "labels have 3 columns"),
    "texts and numbers": ({"y_test": np.array(["a"] * 10)}, "some labels are texts and some are numbers"),
    "empty text": ({"y_train": np.array(["", "b"] * 20), "y_test": np.array(["b"] * 10)}, "a label is empty"),
    "types": ({"x_test": pictures(10) / 255}, "pixels are float64 and uint8"),
    "below zero": ({"x_train": pictures(40) / 127.5 - 1, "x_test": pictures(10) / 127.5 - 1}, "from -1 to 1: nothing"),
    "sixteen": ({"x_train": pictures(40) / 16, "x_test": pictures(10) / 16}, "nothing says which of them is white"),
    "12 bits": ({n: pictures(c).astype("u2") * 16 for n, c in (("x_train", 40), ("x_test", 10))}, "from 0 to 4080"),
    "not finite": ({"x_train": np.full((40, 6, 5), np.inf), "x_test": pictures(10) * 1.0}, "not finite"),
    "volumes": ({"x_train": pictures(40, 8, 8, 8), "x_test": pictures(10, 8, 8, 8)}, "has the shape (40, 8, 8, 8)"),
    "alpha": ({"x_train": pictures(40, 8, 8, 4), "x_test": pictures(10, 8, 8, 4)}, "expected (N, height, width)"),
    "one picture": ({"x_train": pictures(64, 3)}, "has the shape (64, 3)"),
    "narrow": ({"x_train": pictures(64, 64, 3)}, "from 4 to 1,024"),
    "objects": ({"x_train": np.array([{}] * 40)}, "'x_train' holds Python objects"),
    "object labels": ({"y_train": np.array([{}] * 40)}, "'y_train' holds Python objects"),
    "complex": ({"x_train": np.zeros((40, 6, 5), complex)}, "holds complex128"),
    "times": ({"y_train": np.zeros(40, "M8[s]")}, "holds datetime64[s]"),
    "records": ({"y_train": np.zeros(40, [("a", "u1")])}, "expected numbers or texts"),
    "texts as pixels": ({"x_train": np.full((40, 6, 5), "a")}, "expected pixels as numbers"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_arrays_that_are_not_certain_are_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    arrays, words = BAD[kind]
    said = refused(keras(tmp_path, **arrays))
    assert words in said
    assert str(tmp_path / "k.npz") in said


def test_names_that_are_not_known_are_listed_and_unused_arrays_are_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", photos=pictures(20), what=np.arange(20))
    assert "there are: photos, what" in refused(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", x_train=pictures(20), train_images=pictures(20))
    assert "both x_train and train_images may be the train pictures" in refused(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", x_train=pictures(20), y_train=np.arange(20) % 2, x_test=pictures(20))
    assert "x_test has no labels" in refused(tmp_path / "x.npz")
    assert load(keras(tmp_path, extra=np.array([{}]))).note == "Arrays of k.npz that are not used: extra."
    np.savez(tmp_path / "x.npz", x_test=pictures(20))
    assert (len(load(tmp_path / "x.npz").train), SOURCE.left(options(tmp_path / "x.npz"))) == (16, 16)
    np.savez(tmp_path / "x.npz", x_train=np.zeros((0, 6, 5), np.uint8))
    assert "x.npz" in refused(tmp_path / "x.npz")


def test_a_place_that_is_no_such_file_is_named(tmp_path: Path) -> None:
    assert "is a folder; expected an .npz" in refused(tmp_path)
    assert "there is no file" in refused(tmp_path / "none.npz")
    assert "source: folder" in refused(_zip(tmp_path / "p.zip", {"a.png": b""}))
    assert "an .npz names its labels itself" in refused(keras(tmp_path), labels="y")


TABLES: dict[str, tuple[Callable[[str], str], str]] = {
    "no square": (lambda t: t.replace("pixel15", "pixel15,more", 1), "17 columns of pixels are no grey square"),
    "a cell less": (lambda t: t[: t.rstrip().rindex(",")] + "\n", "row 31 has 16 cells, the first 17"),
    "a cell more": (lambda t: t.rstrip() + ",3\n", "row 31 has 18 cells"),
    "no number": (lambda t: t.rstrip() + "x\n", "not a table of pixels"),
    "above 255": (lambda t: t.rstrip() + "000\n", "nothing says which of them is white"),
    "below 0": (lambda t: t[: t.rstrip().rindex(",")] + ",-1\n", "from -1 to"),
    "an empty cell": (lambda t: t[: t.rstrip().rindex(",")] + ",\n", "not a table of pixels"),
    "out of order": (lambda t: t.replace("pixel3,pixel4", "pixel4,pixel3", 1), "not in the order of their numbers"),
    "no rows": (lambda t: t.split("\n")[0] + "\n", "holds no pictures"),
    "a long cell": (lambda t: '"' + "x" * 200_000 + '",' + t, "not a table of pixels"),
    "nothing": (lambda t: "", "0 columns of pixels"),
    "prose": (lambda t: "Dear all,\nhere is nothing to see.\n", "columns of pixels are no grey square"),
    "a long line": (lambda t: "1," * 600_000, "no table of pixels as text"),
    "a long label": (lambda t: t.replace("\n0,", "\n" + "9" * 101 + ",", 1), "more than 100 characters"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:loadtxt")
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_that_holds_something_else_is_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    change, words = TABLES[kind]
    path = table(tmp_path, pictures(30, 4, 4), np.zeros(30, int))
    path.write_text(change(path.read_text()))
    assert words in refused(path)


# -- hostile files -----------------------------------------------------------------------------------------------


def _npy(shape: str, descr: str = "'|u1'", content: bytes = b"", version: bytes = b"\x01\x00", more: str = "") -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, {more}}}".encode()
    return npy.MAGIC + version + len(head).to_bytes(2 if version[0] == 1 else 4, "little") + head + content


def _zip(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


HOSTILE = {
    "huge": (_npy("(99999999999, 28, 28)"), "more than 2,000,000,000 bytes"),
    "zero times huge": (_npy("(0, 99999999999, 28)"), "more than 2,000,000,000 bytes"),
    "huge numbers": (_npy("(1" + "0" * 3000 + ",)"), "more than 2,000,000,000 bytes"),
    "negative": (_npy("(-1, 28, 28)"), "expected at most 4 axes"),
    "truth": (_npy("(True, 28, 28)"), "expected at most 4 axes"),
    "no tuple": (_npy("28"), "header is not NumPy's"),
    "axes": (_npy("(1,) * 40"), "header is not NumPy's"),
    "many axes": (_npy("(" + "1, " * 40 + ")"), "expected at most 4 axes"),
    "objects": (_npy("(2,)", "'|O'", b"\x80\x04"), "holds Python objects"),
    "objects inside": (_npy("(2,)", "[('a', '|O')]", b"\x80\x04"), "holds Python objects"),
    "call": (_npy("(2,)", "__import__('os').system('true')"), "header is not NumPy's"),
    "brackets": (_npy("(" * 1500), "header is not NumPy's"),
    "more keys": (_npy("(2,)", more="'x': 1"), "header is not NumPy's"),
    "no bytes": (_npy("(2, 28, 28)"), "1,568 bytes are promised for (2, 28, 28) of uint8, 0 follow"),
    "too many": (_npy("(1,)", content=b"xx"), "1 bytes are promised for (1,) of uint8, 2 follow"),
    "no size": (_npy("(9,)", "'|V0'"), "expected numbers or texts"),
    "empty texts": (_npy("(99999999,)", "'<U0'"), "expected numbers or texts"),
    "version": (_npy("(1,)", content=b"x", version=b"\x09\x00"), "no array in NumPy's format"),
    "long header": (npy.MAGIC + b"\x02\x00" + b"\xff" * 4 + b" " * 99, "no array in NumPy's format"),
    "no header": (npy.MAGIC + b"\x02\x00" + bytes(99), "no array in NumPy's format"),
    "short": (npy.MAGIC, "no array in NumPy's format"),
    "only a header": (_npy("(1,)")[:40], "header is not NumPy's"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_header_is_refused_before_anything_is_read(kind: str, packed: bool, tmp_path: Path) -> None:
    content, words = HOSTILE[kind]
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    if packed:
        path = _zip(tmp_path / "x.npz", {"x_train.npy": content})
    tracemalloc.start()
    try:
        assert words in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_zip_that_lies_or_bombs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = io.BytesIO()
    np.save(array, np.zeros((40, 100, 100), np.uint8))
    path = _zip(tmp_path / "x.npz", {"x_train.npy": array.getvalue()})
    assert load(path).note == "No pixel is above 0 of 255."
    with monkeypatch.context() as patch:
        patch.setattr(npy, "MOST", 300_000)
        assert "more than 300,000 bytes" in refused(path)
    content = path.read_bytes()
    size = len(array.getvalue()).to_bytes(4, "little")
    for lie in (b"\xff\xff\xff\x7f", b"\x10\x00\x00\x00"):
        path.write_bytes(content.replace(size, lie))
        assert "x_train" in refused(path)
    with pytest.warns(UserWarning, match="Duplicate"):
        _zip_twice(path, array.getvalue())
    assert "two arrays called 'x_train'" in refused(path)
    whole = keras(tmp_path).read_bytes()
    (tmp_path / "k.npz").write_bytes(whole[: len(whole) // 2])
    assert "not an .npz file that can be read" in refused(tmp_path / "k.npz")


def _zip_twice(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", content)
        archive.writestr("x_train.npy", content)


def test_a_gzipped_table_that_bombs_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv.gz"
    for content in (b"0" * 50_000_000, b"\0" * 50_000_000):
        path.write_bytes(gzip.compress(content, 1))
        tracemalloc.start()
        assert "no table of pixels as text" in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
        tracemalloc.stop()
    monkeypatch.setattr("sanggar.data.pixel_tables.MOST", 1000)
    assert "more than 1,000 characters" in refused(table(tmp_path, pictures(30, 4, 4), None))


def _bytes_of(make: Callable[[Path], Path], place: Path) -> bytes:
    return make(place).read_bytes()


@given(data=st.data())
def test_damaged_files_give_pictures_or_one_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.getbasetemp()
    make = data.draw(st.sampled_from([keras, medmnist, lambda p: table(p, pictures(12, 4, 4), np.arange(12) % 2)]))
    content = bytearray(_bytes_of(make, place))
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    path = place / "mutated"
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        assert load(path).train.pixels.dtype == np.uint8
    except DataError as error:
        assert "\n" not in str(error)


def test_pixels_are_scaled_alike_in_all_splits() -> None:
    dark, light = np.full((2, 4, 4, 1), 0.25), np.ones((2, 4, 4, 1))
    found, _ = as_bytes([dark, light], "x")
    assert (found[0].max(), found[1].max()) == (64, 255)
    with pytest.raises(DataError, match="nothing says"):
        as_bytes([dark], "x")


# -- in use ------------------------------------------------------------------------------------------------------


def test_a_recipe_names_it(tmp_path: Path) -> None:
    path = keras(tmp_path)
    given = ["data.source=arrays", f"data.path={path}", "data.validation=4", "training.epochs=1"]
    given += ["training.device=cpu", "training.batch_size=8"]
    run = sanggar.train("digits-denoising-autoencoder", given, out=tmp_path / "run", watch=lambda _: None)
    assert run.status == "finished"
    assert run.info["data"]["fingerprint"] == load(path).fingerprint


def test_it_is_listed_and_not_exported(run_cli: Cli, tmp_path: Path) -> None:
    status, _, said = run_cli("data", "arrays", "--out", tmp_path / "x")
    assert (status, "lie there as files already" in said) == (2, True)
    assert any(line.startswith("arrays ") for line in run_cli("data")[1].splitlines())


def test_what_a_file_is_taken_for_is_said_without_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    keras(tmp_path)
    status, out, err = run_cli("data", keras(tmp_path).name, "data.validation=1", "--out", "sheet.png", "--count", "2")
    assert (status, err) == (0, "")
    assert "39 to train on, 1 for validation, 10 for test" in out
    assert Image.open(tmp_path / "sheet.png").height > 0
    status, out, err = run_cli("data", keras(tmp_path).name, "data.lables=x")
    assert (status, out) == (2, "")
    assert "data.lables: there is no such key. Did you mean 'labels'?" in err
