"""Tables as people and programs write them: separators, encodings, numbers, and names of pictures."""

from __future__ import annotations

import csv
import io
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanggar.data.images import Attribute
from sanggar.data.tables import Kind, Table, read_table
from sanggar.errors import DataError

NAMES = [f"{i}.png" for i in range(4)]


def written(cells: list[str], delimiter: str = ";", name: str = "x") -> bytes:
    """A table of one column."""
    text = io.StringIO()
    rows = [["file", name], *([file, cell] for file, cell in zip(NAMES, cells, strict=True))]
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def read(content: bytes, wanted: dict[str, Kind] | None = None) -> Table:
    return read_table(content, "t", NAMES, wanted)


NUMBERS: dict[str, tuple[list[str], str, list[float], str]] = {
    "plain": (["3.5", "-2", "1e3", "+.5"], ";", [3.5, -2, 1000, 0.5], ""),
    "decimal commas": (["3,5", "-2", "1e3", ",5"], ";", [3.5, -2, 1000, 0.5], "decimal commas"),
    "decimal commas, quoted": (["3,5", "-2,25", "1", "0,1"], ",", [3.5, -2.25, 1, 0.1], "decimal commas"),
    "decimal commas, tabs": (["0,125", "0,250", "1,375", "0,500"], "\t", [0.125, 0.25, 1.375, 0.5], "decimal commas"),
    "both, in German": (["1.234,5", "12", "1.000", "1.000.000,25"], ";", [1234.5, 12, 1000, 1000000.25], "decimal"),
    "both, in English": (["1,234.5", "12", "1,000", "1,000,000.25"], ";", [1234.5, 12, 1000, 1000000.25], "thousands"),
    "both, in French": (["1 234,5", "12", "1\u00a0000", "1\u202f000,5"], ";", [1234.5, 12, 1000, 1000.5], "decimal"),
    "both, in Swiss": (["1'234.5", "12", "1’000", "7"], ";", [1234.5, 12, 1000, 7], "thousands by spaces"),
    "thousands, quoted": (["1,000", "2,500", "3,000", "4,000"], ",", [1000, 2500, 3000, 4000], "thousands by commas"),
    "thousands and less": (["1,000", "999", "3,000", "5"], ";", [1000, 999, 3000, 5], "thousands by commas"),
    "per cent": (["5 %", "7%", "10 %", "2.5 %"], ",", [5, 7, 10, 2.5], "per cent as the unit"),
    "per cent with commas": (["5,5 %", "7%", "10 %", "2,5 %"], ";", [5.5, 7, 10, 2.5], "decimal commas and per cent"),
    "a real minus": (["\u22125", "7", "\u221210.5", "2"], ",", [-5, 7, -10.5, 2], ""),
    "large": (["1e18", "7", "-1e18", "2"], ",", [1e18, 7, -1e18, 2], ""),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_read_as_people_write_them(name: str) -> None:
    cells, delimiter, expected, how = NUMBERS[name]
    table = read(written(cells, delimiter))
    assert table.attributes[0].kind == "number"
    np.testing.assert_allclose(table.values[:, 0], expected, rtol=1e-6)
    assert (f"column x of t is read with {how}" in "\n".join(table.about)) == bool(how), table.about


def test_a_comma_elsewhere_in_the_table_tells_what_one_means() -> None:
    content = b"file;a;b\n0.png;1,000;3,5\n1.png;2,500;1\n2.png;1,250;7\n3.png;3,000;2,25\n"
    table = read(content)
    np.testing.assert_allclose(table.values, [[1, 3.5], [2.5, 1], [1.25, 7], [3, 2.25]])
    dots = read(content.replace(b"1,000", b"1.000").replace(b"2,500", b"2.500").replace(b"1,250", b"1.250"))
    np.testing.assert_allclose(dots.values[:3, 0], [1000, 2500, 1250])


TEXTS: dict[str, tuple[list[str], Attribute]] = {
    "underscores": (["1_0", "2_0", "3_0", "1_0"], Attribute("x", "category", ("1_0", "2_0", "3_0"))),
    "other digits": (["١", "٢", "٣", "١"], Attribute("x", "category", ("١", "٢", "٣"))),
    "with a comma": (["a,b", "c", "a,b", "d"], Attribute("x", "category", ("a,b", "c", "d"))),
    "versions": (["1.2.3", "1.2.4", "1.10.0", "1.2.3"], Attribute("x", "category", ("1.10.0", "1.2.3", "1.2.4"))),
    "flags of numbers": (["1,0", "0", "1", "0,0"], Attribute("x", "flag", ("0", "1"))),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_number_is_a_text(name: str) -> None:
    cells, attribute = TEXTS[name]
    assert read(written(cells)).attributes == (attribute,)


@pytest.mark.parametrize(("cells", "words"), [
    (["1,000", "2,500", "1,250", "3,000"], "'1,000' may be written with a decimal comma, or with one for thousands"),
    (["1e39", "2", "3", "4"], "row 2 (0.png): column 'x': '1e39' is too large: numbers reach to 1e+18"),
    (["1", "2", "3", "1e999"], "row 5 (3.png): column 'x': '1e999' is not a number"),
    (["1", "inf", "3", "4"], "row 3 (1.png): column 'x': 'inf' is not a number"),
    (["1", "2", "nan", "4"], "row 4 (2.png): column 'x': 'nan' is not a number"),
    (["1", "2", "1_0", "4"], "row 4 (2.png): column 'x': '1_0' is not a number"),
    (["5 %", "6 %", "7", "8 %"], "row 4 (2.png): column 'x': '7' is not a number"),
])  # fmt: skip
def test_a_cell_that_is_no_number_among_numbers_is_named(cells: list[str], words: str) -> None:
    with pytest.raises(DataError) as raised:
        read(written(cells))
    assert words in str(raised.value)


@given(values=st.lists(st.integers(-(10**9), 10**9), min_size=4, max_size=4), places=st.integers(1, 3),
       group=st.sampled_from(["", ".", " ", "\u202f"]))  # fmt: skip
def test_a_decimal_comma_is_read_in_any_table_of_semicolons(values: list[int], places: int, group: str) -> None:
    if places == 3:
        values = [value * 10 + 1 for value in values]
    exact = [value / 10**places for value in values]
    cells = [f"{v:,.{places}f}".replace(".", "!").replace(",", group).replace("!", ",") for v in exact]
    content = written(cells).replace(b"file;x", b"file;x;y").replace(b"\n", b";0,5\n").replace(b"y;0,5", b"y")
    np.testing.assert_allclose(read(content).values[:, 0], exact, rtol=1e-6)


PLAIN = "file,age,sex\n0.png,5,m\n1.png,6,f\n2.png,7,f\n3.png,9,mä\n"
KINDS = ["number", "category"]


@pytest.mark.parametrize("content", [
    PLAIN.encode(), PLAIN.encode("utf-8-sig"), PLAIN.encode("utf-16"), PLAIN.encode("utf-32"),
    b"\xfe\xff" + PLAIN.encode("utf-16-be"), PLAIN.replace("\n", "\r\n").encode(), PLAIN.replace("\n", "\r").encode(),
    PLAIN.replace(",", "\t").encode(), PLAIN.replace(",", ";").encode(), PLAIN.replace(",", "|").encode(),
    ("sep=;\n" + PLAIN.replace(",", ";")).encode(), ("SEP=,\r\n" + PLAIN).encode("utf-8-sig"),
    ('"sep=\t"\n' + PLAIN.replace(",", "\t")).encode("utf-16"),
    b'"file","age","sex"\n"0.png","5","m"\n"1.png","6","f"\n"2.png","7","f"\n\n"3.png","9","m\xc3\xa4"\n',
])  # fmt: skip
def test_tables_of_many_programs_are_the_same_table(content: bytes) -> None:
    table = read(content)
    assert [a.kind for a in table.attributes] == KINDS
    np.testing.assert_array_equal(table.values, [[5, 1], [6, 0], [7, 0], [9, 2]])
    assert table.attributes[1].values == ("f", "m", "mä")
    assert table.about == ()


def test_a_guessed_encoding_is_said_and_none_is_refused() -> None:
    table = read(PLAIN.encode("cp1252"))
    assert table.attributes[1].values == ("f", "m", "mä")
    assert table.about == ("t is no UTF-8 and is read as Windows-1252: look at its letters",)
    for content, words in ((b"file,x\n\x81", "not a CSV in UTF-8, nor in UTF-16"),
                           (PLAIN.encode("utf-16-le"), "it holds zeros, as UTF-16 does")):  # fmt: skip
        with pytest.raises(DataError, match=words):
            read(content)


@pytest.mark.parametrize("header", ["", "Unnamed: 0"])
@pytest.mark.parametrize("last", [False, True])
def test_the_index_of_a_data_frame_is_no_attribute(header: str, last: bool) -> None:
    rows = [["7", *PLAIN.splitlines()[k].split(",")] for k in range(1, 5)]
    for k, row in enumerate(rows):
        row[0] = str(3 - k)
    cells = [[header, "name", "age", "sex"], *rows]
    text = "\n".join(",".join([*row[1:], row[0]] if last else row) for row in cells)
    table = read(text.encode())
    assert [a.name for a in table.attributes] == ["age", "sex"]
    assert table.about == (
        f"column {4 if last else 1} of t has no name and is left out: it only counts rows, or is empty",
    )
    with pytest.raises(DataError, match="column 3 has no name"):
        read(b"file,age,\n0.png,1,x\n1.png,1,y\n2.png,1,x\n3.png,1,z\n")


def test_days_and_empty_columns_are_left_out_and_said() -> None:
    rows = "\n".join(f"{i}.png,2024-0{i + 1}-0{i + 1},{i}.{i + 1}.2020,,{i}" for i in range(1, 4))
    content = f"file,taken,born,nothing,age\n0.png,2024-01-31 10:00,1/2/20,,3\n{rows}\n".encode()
    table = read(content)
    assert [a.name for a in table.attributes] == ["age"]
    assert [line.split(" is left out")[0] for line in table.about] == [
        f"column {name} of t" for name in ("taken", "born", "nothing")
    ]
    assert read(content, {"taken": "category"}).attributes[0].kind == "category"


THERE = ["a/One.png", "a/b/two.JPG", "three.x.png", "ä.png"]
MATCHED = {
    "without a suffix": ["a/One", "a/b/two", "three.x", "ä"],
    "in another case": ["A/ONE.PNG", "a/b/TWO.JPG", "Three.X.png", "Ä.PNG"],
    "in another form": [unicodedata.normalize("NFD", name) for name in THERE],
    "by their last names": ["One.png", "two.JPG", "three.x.png", "ä.png"],
    "with backslashes": ["a\\One.png", "a\\b\\two.JPG", ".\\three.x.png", "ä.png"],
    "below a folder that is not here": ["C:\\data\\own\\" + name.replace("/", "\\") for name in THERE],
    "below one, by the ends": [f"images/{n}" for n in ("a/One.png", "b/two.JPG", "three.x.png", "ä.png")],
    "with another suffix": ["One.jpg", "two.png", "three.x.tif", "ä.gif"],
}  # fmt: skip


@pytest.mark.parametrize("name", MATCHED)
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_names_are_matched_where_it_is_certain(name: str, order: list[int]) -> None:
    rows = "".join(f"{MATCHED[name][k]};{k}\n" for k in order)
    for names in (THERE, [n.replace("/", "\\") for n in THERE], [unicodedata.normalize("NFD", n) for n in THERE]):
        table = read_table(f"file;n\n{rows}".encode(), "t", names, {"n": "number"}, ["left/out.png"])
        np.testing.assert_array_equal(table.values[:, 0], range(4))
    table = read_table(f"file;n\n{rows}out;9\n".encode(), "t", THERE, {"n": "number"}, ["left/out.png"])
    np.testing.assert_array_equal(table.values[:, 0], range(4))


@pytest.mark.parametrize(("files", "words"), [
    (["0", "1", "2", "33"], "names 1 picture (33) that is not there. There is, most like the first: 3.png"),
    (["0", "1", "x/y/3.gif", "z/4"], "names 2 pictures (x/y/3.gif, z/4) that are not there"),
    (["0.png", "0", "1", "2"], "rows 2 and 3 are both about 0.png"),
    (["a/0.png", "b/1.png", "a/2.png", "b/3.png"], "names 4 pictures"),
])  # fmt: skip
def test_names_that_are_not_certain_are_refused(files: list[str], words: str) -> None:
    with pytest.raises(DataError) as raised:
        read("\n".join(["file", *files]).encode())
    assert words in str(raised.value)


def test_a_name_that_two_pictures_may_have_is_refused() -> None:
    with pytest.raises(DataError, match="row 2: several pictures are called x"):
        read_table(b"file,n\nx,1\ny,2\n", "t", ["x.png", "x.jpg", "y.png"], None)
    with pytest.raises(DataError, match=r"row 2: several pictures are called A\.PNG"):
        read_table(b"file,n\nA.PNG,1\ny,2\n", "t", ["a.png", "A.png", "y.png"], None)
    exact = read_table(b"file,n\na.png,1\nA.png,2\ny,3\n", "t", ["a.png", "A.png", "y.png"], None)
    np.testing.assert_array_equal(exact.values[:, 0], [1, 2, 3])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_a_reason(content: bytes) -> None:
    for whole in (content, b"file;a\n" + content, b"file,a\n0.png,1\n1.png,2\n2.png,3\n3.png," + content):
        try:
            read(whole)
        except DataError as error:
            assert str(error).startswith("t: ")
