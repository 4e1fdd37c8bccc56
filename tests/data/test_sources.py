"""Data files: found plain or gzipped, verified, fetched from the first mirror that works, split by seed."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import threading
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sanggar.data import sources
from sanggar.data.dataset import DIFFERS, UNKNOWN
from sanggar.data.downloads import IDX_FILES, Download, read_cifar_layout, read_idx, read_mnist_layout
from sanggar.data.emnist import EMNIST, SETS, Emnist, EmnistOptions, emnist_set
from sanggar.data.images import Images, ImageSpec
from sanggar.data.remote import Remote, fetch, find, published, unpack
from sanggar.data.sources import SOURCES, DataOptions, Presence, fingerprint, presence
from sanggar.errors import DataError
from typed import there

Temporary = pytest.TempPathFactory
Small = tuple[Download, dict[str, bytes]]
"""A source, and its files' contents by name."""
FACTS = ImageSpec(4, 3, 1, ("a", "b", "c"))


def idx(array: np.ndarray) -> bytes:
    """The IDX file of an array of bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def mnist_like(place: Path, train: int = 20, test: int = 6) -> dict[str, bytes]:
    """Write four small files in MNIST's layout; their contents by name."""
    draw = np.random.default_rng(0)
    place.mkdir(parents=True, exist_ok=True)
    contents = {}
    for n, images, labels in ((train, *IDX_FILES[:2]), (test, *IDX_FILES[2:])):
        contents[images] = idx(draw.integers(0, 256, (n, 4, 3)))
        contents[labels] = idx(np.arange(n) % 3)
    for name, content in contents.items():
        (place / name).write_bytes(content)
    return contents


# -- IDX -------------------------------------------------------------------------------------------------------


@given(array=hnp.arrays(np.uint8, hnp.array_shapes(max_dims=4, max_side=5, min_side=0)), zipped=st.booleans())
def test_an_idx_file_is_read_as_it_was_written(tmp_path_factory: Temporary, array: np.ndarray, zipped: bool) -> None:
    path = tmp_path_factory.getbasetemp() / ("x.gz" if zipped else "x")
    path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    np.testing.assert_array_equal(read_idx(path), array)


WHOLE = idx(np.arange(24).reshape(2, 4, 3))


@pytest.mark.parametrize(("content", "words"), [
    (b"", "0 bytes are too few"),
    (b"\x00\x00\x08", "3 bytes are too few"),
    (b"<html>404</html>", "it begins with 3c68746d"),
    (b"\x00\x00\x0d" + WHOLE[3:], "not an IDX file of unsigned bytes"),
    (WHOLE[:9], "not an IDX file of unsigned bytes"),
    (WHOLE[:-1], "promises 24 bytes for shape (2, 4, 3), but 23 follow"),
    (WHOLE + b"\x00", "but 25 follow"),
    (struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3), "but 0 follow"),
    (struct.pack(">HBB3I", 0, 8, 3, 0, 2**32 - 1, 2**32 - 1), "its header gives 3 axes of sizes 0, 4,294,967,295"),
    (struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 0, 2**32 - 1), "its header gives 3 axes"),
    (b"\x00\x00\x08\xff" + struct.pack(">255I", *[1] * 255) + b"x", "its header gives 255 axes"),
    (WHOLE + bytes(3_000_000), "at least"),
])  # fmt: skip
def test_a_damaged_idx_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, words: str) -> None:
    for name, stored in (("x", content), ("x.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(stored)
        with pytest.raises(DataError) as raised:
            read_idx(tmp_path / name)
        assert str(tmp_path / name) in str(raised.value)
        assert words in str(raised.value)


@pytest.mark.parametrize("code", [9, 11, 12, 13, 14])
def test_an_idx_file_of_other_numbers_is_refused(tmp_path: Path, code: int) -> None:
    (tmp_path / "x").write_bytes(bytes([0, 0, code]) + WHOLE[3:])
    with pytest.raises(DataError, match="not an IDX file of unsigned bytes"):
        read_idx(tmp_path / "x")


def test_of_a_gzip_that_holds_more_than_its_header_says_little_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(WHOLE + bytes(100_000_000), 1))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="promises 24 bytes"):
            read_idx(tmp_path / "x.gz")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
        assert published(tmp_path, [Remote("x", "0" * 64, len(WHOLE))]) is False
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@given(cut=st.integers(0, len(WHOLE)), place=st.integers(0, len(WHOLE) - 1), value=st.integers(0, 255))
def test_any_damage_to_an_idx_file_is_named_or_changes_pixels_alone(
    tmp_path_factory: Temporary, cut: int, place: int, value: int
) -> None:
    content = bytearray(WHOLE)
    content[place] = value
    path = tmp_path_factory.mktemp("damaged") / "file"
    path.write_bytes(content[:cut] if cut % 2 else content)
    try:
        assert read_idx(path).size == 24
    except DataError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["x", "x.gz"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_gzip_is_known_by_its_first_bytes_and_not_by_its_name(tmp_path: Path, name: str, zipped: bool) -> None:
    (tmp_path / name).write_bytes(gzip.compress(WHOLE) if zipped else WHOLE)
    file = Remote("x", hashlib.sha256(WHOLE).hexdigest(), len(WHOLE))
    assert read_idx(tmp_path / name).shape == (2, 4, 3)
    assert published(tmp_path, [file]) is True


@pytest.mark.parametrize("place", [0, 15, -10, -6, -1])
def test_a_corrupted_gzip_is_refused(tmp_path: Path, place: int) -> None:
    content = bytearray(gzip.compress(WHOLE, mtime=0))
    content[place] ^= 0xFF
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.gz.*(damaged|not an IDX)"):
        read_idx(tmp_path / "x.gz")
    (tmp_path / "x.gz").write_bytes(content[:-9])
    with pytest.raises(DataError, match=r"x\.gz.*damaged"):
        read_idx(tmp_path / "x.gz")


def test_a_layout_is_read_plain_and_gzipped_alike(tmp_path: Path) -> None:
    contents = mnist_like(tmp_path)
    plain = read_mnist_layout(tmp_path, spec=FACTS)
    for name, content in contents.items():
        (tmp_path / name).unlink()
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    assert fingerprint(*read_mnist_layout(tmp_path, spec=FACTS)) == fingerprint(*plain)
    assert plain[0].pixels.shape == (20, 4, 3, 1)
    assert there(plain[0].labels).dtype == np.int64


def test_pictures_read_are_handed_to_torch_without_a_complaint(tmp_path: Path) -> None:
    mnist_like(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for split in read_mnist_layout(tmp_path, spec=FACTS):
            torch.from_numpy(np.ascontiguousarray(split.pixels))


@pytest.mark.parametrize(("name", "array", "words"), [
    (IDX_FILES[0], np.zeros((20, 3, 4)), "expected pictures of 4×3 grey, got shape (20, 3, 4)"),
    (IDX_FILES[0], np.zeros((20, 12)), "got shape (20, 12)"),
    (IDX_FILES[1], np.zeros(19), "holds 20 pictures, but train-labels-idx1-ubyte 19 labels"),
    (IDX_FILES[3], np.full(6, 3), "holds label 3, but there are 3 classes"),
    (IDX_FILES[2], np.zeros((0, 4, 3)), "holds 0 pictures"),
])  # fmt: skip
def test_files_that_do_not_fit_together_are_refused(tmp_path: Path, name: str, array: np.ndarray, words: str) -> None:
    mnist_like(tmp_path)
    (tmp_path / name).write_bytes(idx(array))
    with pytest.raises(DataError) as raised:
        read_mnist_layout(tmp_path, spec=FACTS)
    assert words in str(raised.value)


# -- splits ----------------------------------------------------------------------------------------------------


def download(name: str) -> Download:
    """A source that is downloaded."""
    source = SOURCES[name]
    assert isinstance(source, Download)
    return source


WHOLE_DIGITS = download("digits").read(Path())


@given(size=st.integers(1, 400), seed=st.integers(0, 2**32 - 1))
def test_validation_is_cut_from_train_by_seed_and_test_is_left_alone(size: int, seed: int) -> None:
    whole_train, whole_test = WHOLE_DIGITS
    source = replace(download("digits"), read=lambda _: WHOLE_DIGITS)
    dataset = source.load(DataOptions(source="digits", validation=size, seed=seed))
    assert len(dataset.validation) == size
    assert len(dataset.train) + size == len(whole_train) == source.train_count
    both = np.concatenate([dataset.train.pixels, dataset.validation.pixels]).reshape(len(whole_train), -1)
    whole = whole_train.pixels.reshape(len(whole_train), -1)
    np.testing.assert_array_equal(both[np.lexsort(both.T)], whole[np.lexsort(whole.T)])
    np.testing.assert_array_equal(dataset.test.pixels, whole_test.pixels)
    assert dataset.fingerprint == fingerprint(whole_train, whole_test)
    same = source.load(DataOptions(source="digits", validation=size, seed=seed))
    np.testing.assert_array_equal(same.validation.pixels, dataset.validation.pixels)


def test_another_seed_cuts_elsewhere() -> None:
    cuts = [SOURCES["digits"].load(DataOptions(source="digits", validation=50, seed=seed)) for seed in (0, 1)]
    assert (cuts[0].validation.pixels != cuts[1].validation.pixels).any()


def test_more_validation_than_there_is_is_refused() -> None:
    with pytest.raises(DataError, match=r"data\.validation: 1437 pictures cannot be cut from 1437"):
        SOURCES["digits"].load(DataOptions(source="digits", validation=1437))


def test_digits_are_what_they_always_were() -> None:
    train, test = download("digits").read(Path())
    assert (len(train), len(test)) == (1437, 360)
    assert (train.pixels.min(), train.pixels.max()) == (0, 255)
    assert fingerprint(train, test)[:16] == "d806e0208c4ca867"


def test_a_fingerprint_notices_one_pixel_one_label_and_the_order() -> None:
    train, test = download("digits").read(Path())
    known = fingerprint(train, test)
    pixels, labels = train.pixels.copy(), there(train.labels).copy()
    pixels[7, 3, 3, 0] ^= 1
    labels[7] ^= 1
    changed = [(replace(train, pixels=pixels), test), (replace(train, labels=labels), test), (test, train)]
    assert len({known, *(fingerprint(*splits) for splits in changed)}) == 4


# -- a test split drawn anew -------------------------------------------------------------------------------------


def numbered(train: int, test: int) -> Download:
    """A source whose pictures say their number, from 0 over train and then test; the label is its last digit."""
    number = np.arange(train + test)
    pixels = np.stack([number // 256, number % 256], axis=1).astype(np.uint8).reshape(-1, 2, 1, 1)
    whole = Images(pixels, number % 10)
    parts = whole.take(np.arange(train)), whole.take(np.arange(train, train + test))
    return replace(download("digits"), read=lambda _: parts, train_count=train, test_count=test)


def numbers(split: Images) -> list[int]:
    found = split.pixels.reshape(-1, 2).astype(int) @ [256, 1]
    assert split.labels is not None
    assert (found % 10 == split.labels).all()
    return [int(number) for number in found]


@given(
    train=st.integers(3, 700), published=st.integers(1, 300), test=st.none() | st.integers(1, 300),
    validation=st.integers(1, 300), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_splits_share_out_all_pictures_of_train_and_test(
    train: int, published: int, test: int | None, validation: int, seed: int
) -> None:
    source = numbered(train, published)
    options = DataOptions(source="digits", test=test, validation=validation, seed=seed)
    left = train + published - (published if test is None else test) - validation
    if left < 1:
        with pytest.raises(DataError, match="cannot be cut from"):
            source.load(options)
        return
    dataset = source.load(options)
    parts = [numbers(split) for split in (dataset.train, dataset.validation, dataset.test)]
    assert list(map(len, parts)) == [left, validation, published if test is None else test]
    assert source.counted(options) == left
    assert sorted(parts[0] + parts[1] + parts[2]) == list(range(train + published))
    assert all(part == sorted(part) for part in parts), "in the order in which they were published"
    assert (parts[2] == list(range(train, train + published))) or test is not None
    again = source.load(options)
    assert [numbers(split) for split in (again.train, again.validation, again.test)] == parts


def test_a_test_split_is_drawn_from_all_pictures_by_the_seed_of_the_data_alone() -> None:
    source = numbered(6000, 1000)

    def drawn(**options: int) -> list[int]:
        return numbers(source.load(DataOptions(source="digits", **{"test": 1400, "validation": 100, **options})).test)

    one = drawn()
    assert drawn(validation=2000) == one
    assert 150 <= sum(number >= 6000 for number in one) <= 250, "a fifth of what was published as test"
    assert abs(np.mean(one) - 3500) < 200
    shared = len(set(one) & set(drawn(seed=1)))
    assert 220 <= shared <= 340, "a fifth of them by chance"


def test_the_content_is_known_by_its_fingerprint_however_it_is_cut() -> None:
    cuts = [DataOptions(source="digits", validation=50, test=test) for test in (None, 100, 400)]
    assert len({SOURCES["digits"].load(options).fingerprint for options in cuts}) == 1


@pytest.mark.parametrize(("options", "says"), [
    ({"test": 1797}, "data.test: 1797 pictures cannot be cut from 1797."),
    ({"test": 5000}, "data.test: 5000 pictures cannot be cut from 1797."),
    ({"test": 1600, "validation": 197}, "data.validation: 197 pictures cannot be cut from 197."),
])  # fmt: skip
def test_more_test_pictures_than_there_are_are_refused(options: dict[str, int], says: str) -> None:
    with pytest.raises(DataError) as raised:
        SOURCES["digits"].load(DataOptions(source="digits", **options))
    assert str(raised.value) == says


# -- fetching --------------------------------------------------------------------------------------------------

Server = tuple[str, dict[str, bytes], list[str]]


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server on this machine: its address, what it serves by path, what it was asked for."""
    pages: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path not in pages:
                self.send_error(404)
                return
            self.send_response(200)
            cut = self.path.startswith("/cut/")
            self.send_header("Content-Length", str(len(pages[self.path]) + (1000 if cut else 0)))
            self.end_headers()
            self.wfile.write(pages[self.path])

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", pages, asked
    running.shutdown()
    running.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


CONTENT = idx(np.arange(12).reshape(1, 4, 3))
FILE = Remote("x-ubyte", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
BAD_MIRRORS = {
    "down": (b"", "ConnectionError"),
    "404": (b"", "HTTPError"),
    "other content": (gzip.compress(CONTENT + b"!"), "its content has SHA-256"),
    "not gzip": (b"<html>sign in first</html>", "does not decompress"),
    "half": (gzip.compress(CONTENT)[:20], "does not decompress"),
    "cut": (gzip.compress(CONTENT)[:20], ""),
}


def bad_mirror(kind: str, server: Server) -> str:
    address, pages, _ = server
    content, _ = BAD_MIRRORS[kind]
    if kind == "down":
        return "http://127.0.0.1:9/"
    if kind != "404":
        pages[f"/{kind.split()[0]}/x-ubyte.gz"] = content
    return f"{address}/{kind.split()[0]}/"


def left_in(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


@pytest.mark.parametrize("kind", BAD_MIRRORS)
def test_the_second_mirror_serves_when_the_first_fails(tmp_path: Path, server: Server, kind: str) -> None:
    address, pages, _ = server
    pages["/good/x-ubyte.gz"] = gzip.compress(CONTENT)
    fetch(tmp_path / "data", [FILE], (bad_mirror(kind, server), f"{address}/good/"))
    assert left_in(tmp_path / "data") == ["x-ubyte.gz"]
    assert idx(read_idx(tmp_path / "data" / "x-ubyte.gz")) == CONTENT


@pytest.mark.parametrize("kind", BAD_MIRRORS)
def test_when_no_mirror_serves_nothing_is_left_and_all_is_said(tmp_path: Path, server: Server, kind: str) -> None:
    place, mirror = tmp_path / "data", bad_mirror(kind, server)
    with pytest.raises(DataError) as raised:
        fetch(place, [FILE], (mirror, "http://127.0.0.1:9/"))
    message = str(raised.value)
    for word in ("x-ubyte[.gz]", str(place), "SANGGAR_DATA", f"{mirror}x-ubyte.gz", BAD_MIRRORS[kind][1],
                 "http://127.0.0.1:9/x-ubyte.gz (ConnectionError)"):  # fmt: skip
        assert word in message
    assert len(message.splitlines()) == 1
    assert left_in(place) == []


@pytest.fixture
def small_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Small:
    """A source of four small files, in the table as `small`, none of them under the data root yet."""
    contents = mnist_like(tmp_path / "elsewhere")
    files = tuple(Remote(n, hashlib.sha256(c).hexdigest(), len(c)) for n, c in contents.items())
    source = Download(
        "small",
        "none",
        FACTS,
        lambda place: read_mnist_layout(place, spec=FACTS),
        20,
        10,
        files,
        ("http://127.0.0.1:9/",),
    )
    monkeypatch.setitem(sources.SOURCES, "small", source)
    monkeypatch.setenv("SANGGAR_DATA", str(tmp_path / "root"))
    return source, contents


def test_without_network_and_files_one_message_says_what_to_do(small_source: Small, tmp_path: Path) -> None:
    source, contents = small_source
    with pytest.raises(DataError) as raised:
        source.load(DataOptions(source="small", validation=5))
    message = str(raised.value)
    assert all(f"{name}[.gz]" in message for name in contents)
    assert str(tmp_path / "root" / "small") in message
    assert "connect to a network" in message
    assert presence("small").state == "absent"


def test_only_what_is_missing_is_fetched_and_only_once(small_source: Small, tmp_path: Path, server: Server) -> None:
    source, contents = small_source
    address, pages, asked = server
    source = replace(source, mirrors=(f"{address}/",))
    place = tmp_path / "root" / "small"
    place.mkdir(parents=True)
    here, *wanted = contents
    (place / here).write_bytes(contents[here])
    pages.update({f"/{name}.gz": gzip.compress(contents[name]) for name in wanted})
    for _ in range(2):
        dataset = source.load(DataOptions(source="small", validation=5))
    assert asked == [f"/{name}.gz" for name in wanted]
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (15, 5, 6)
    assert presence("small").state == "present"
    assert find(place, source.files[0]) == place / here


def test_files_that_differ_from_the_published_are_noticed_and_said(small_source: Small, tmp_path: Path) -> None:
    source, options = small_source[0], DataOptions(source="small", validation=5)
    mnist_like(tmp_path / "root" / "small")
    assert (presence("small").state, source.load(options).note) == ("present", "")
    mnist_like(tmp_path / "root" / "small", train=21)
    assert presence("small").state == "differs from the published"
    assert "not the published ones" in source.load(options).note


# -- as other libraries leave the files --------------------------------------------------------------------------


@pytest.mark.parametrize(("folder", "change"), [
    ("other/raw", lambda name: name),
    ("other/raw", lambda name: f"{name}.gz"),
    ("small", lambda name: name.replace("-idx", ".idx")),
])  # fmt: skip
def test_files_are_found_where_and_as_other_libraries_leave_them(
    small_source: Small, tmp_path: Path, folder: str, change: Callable[[str], str]
) -> None:
    source, contents = replace(small_source[0], elsewhere=("other/raw",)), small_source[1]
    place = tmp_path / "root" / folder
    place.mkdir(parents=True)
    (tmp_path / "root" / "small").mkdir(exist_ok=True)
    for name, content in contents.items():
        (place / change(name)).write_bytes(content)
    assert source.presence("small") == Presence("present", sum(map(len, contents.values())), place)
    assert len(source.load(DataOptions(source="small", validation=5)).train) == 15


def test_torchvisions_folders_are_known() -> None:
    folders = {name: download(name).elsewhere for name in ("mnist", "fashion-mnist", "kmnist", "qmnist")}
    assert folders == {
        "mnist": ("MNIST/raw",), "fashion-mnist": ("FashionMNIST/raw",), "kmnist": ("KMNIST/raw",),
        "qmnist": ("QMNIST/raw",),
    }  # fmt: skip
    assert all(part.elsewhere == ("EMNIST/raw",) for part in EMNIST.sets.values())


def test_files_whose_packed_checksum_is_known_are_compared_only_as_they_are_packed(
    small_source: Small, tmp_path: Path, server: Server
) -> None:
    address, pages, _ = server
    source, contents = small_source
    packed = {name: gzip.compress(content, mtime=0) for name, content in contents.items()}
    files = tuple(Remote(n, hashlib.sha256(packed[n]).hexdigest(), len(c), True) for n, c in contents.items())
    source = replace(source, files=files, mirrors=(f"{address}/",))
    monkey = DataOptions(source="small", validation=5)
    pages.update({f"/{name}.gz": content for name, content in packed.items()})
    assert source.load(monkey).note == ""
    place, name = tmp_path / "root" / "small", files[0].name
    assert source.presence("small").state == "present"
    (place / name).write_bytes(contents[name])
    assert source.presence("small").state == "present", "the packed one is still there, and is the one that is read"
    (place / f"{name}.gz").unlink()
    assert (source.presence("small").state, source.load(monkey).note) == ("present, not compared", UNKNOWN)
    (place / f"{name}.gz").write_bytes(gzip.compress(contents[name], 1, mtime=1))
    assert (source.presence("small").state, source.load(monkey).note) == ("differs from the published", DIFFERS)


def test_a_damaged_file_does_not_keep_others_from_being_listed(small_source: Small, tmp_path: Path) -> None:
    mnist_like(tmp_path / "root" / "small")
    (tmp_path / "root" / "small" / IDX_FILES[0]).write_bytes(gzip.compress(WHOLE)[:-9])
    assert small_source[0].presence("small").state == "differs from the published"


# -- QMNIST and EMNIST -------------------------------------------------------------------------------------------


def test_the_class_is_the_first_of_eight_columns(tmp_path: Path) -> None:
    pixels = np.arange(6 * 12).reshape(6, 4, 3)
    table = np.arange(48).reshape(6, 8)
    table[:, 0] = [2, 0, 1, 1, 0, 2]
    names = ("a-images-idx3-ubyte", "a-labels-idx2-int", "b-images-idx3-ubyte", "b-labels-idx2-int")
    labels = struct.pack(">HBB2I", 0, 12, 2, 6, 8) + table.astype(">i4").tobytes()
    for name, content in zip(names, [idx(pixels), labels] * 2, strict=True):
        (tmp_path / name).write_bytes(content)
    train, test = read_mnist_layout(tmp_path, spec=FACTS, names=names)
    assert there(train.labels).tolist() == [2, 0, 1, 1, 0, 2]
    np.testing.assert_array_equal(train.pixels[..., 0], pixels)
    assert fingerprint(train) == fingerprint(test)
    table[3, 0] = -1
    (tmp_path / names[1]).write_bytes(labels[:12] + table.astype(">i4").tobytes())
    with pytest.raises(DataError, match=r"a-labels-idx2-int: holds label -1, but there are 3 classes, labels 0 to 2"):
        read_mnist_layout(tmp_path, spec=FACTS, names=names)


def emnist_like(name: str, wrong: int | None = None) -> dict[str, bytes]:
    """The gzipped files of a set of EMNIST with few pictures, each class in train and test, by name."""
    classes, first, draw = len(SETS[name][0]), int(name == "letters"), np.random.default_rng(0)
    contents = {}
    for part in ("train", "test"):
        labels = np.arange(classes) + first
        if wrong is not None:
            labels[-1] = wrong
        contents[f"emnist-{name}-{part}-images-idx3-ubyte.gz"] = idx(draw.integers(0, 256, (classes, 28, 28)))
        contents[f"emnist-{name}-{part}-labels-idx1-ubyte.gz"] = idx(labels)
    return {name: gzip.compress(content, 1) for name, content in contents.items()}


def emnist_zip(path: Path, contents: dict[str, bytes]) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"gzip/{name}", content)
    return path.read_bytes()


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SANGGAR_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", SETS)
def test_a_set_of_emnist_is_read_upright_from_the_publishers_zip(name: str, data_root: Path) -> None:
    contents = emnist_like(name)
    emnist_zip(data_root / "emnist" / "gzip.zip", contents)
    options = EmnistOptions.model_validate({"source": "emnist", "split": name, "validation": 1})
    data, spec = EMNIST.load(options), EMNIST.spec_for(options)
    stored = np.frombuffer(gzip.decompress(contents[f"emnist-{name}-test-images-idx3-ubyte.gz"]), np.uint8, offset=16)
    np.testing.assert_array_equal(data.test.pixels[..., 0], stored.reshape(-1, 28, 28).transpose(0, 2, 1))
    assert there(data.test.labels).tolist() == list(range(len(spec.classes)))
    assert data.note == DIFFERS
    assert presence("emnist", options).state == "differs from the published"


def test_emnists_classes_are_characters_in_the_publishers_order() -> None:
    classes = {name: "".join(part.spec.classes) for name, part in EMNIST.sets.items()}
    assert {name: len(found) for name, found in classes.items()} == {
        "byclass": 62, "bymerge": 47, "balanced": 47, "letters": 26, "digits": 10, "mnist": 10,
    }  # fmt: skip
    assert classes["byclass"] == "".join(sorted(classes["byclass"]))
    assert (classes["byclass"][36], classes["balanced"][36:], classes["letters"][0]) == ("a", "abdefghnqrt", "A")
    whole = {name: part.train_count + part.test_count for name, part in EMNIST.sets.items()}
    assert whole == {
        "byclass": 814_255, "bymerge": 814_255, "balanced": 131_600, "letters": 145_600, "digits": 280_000,
        "mnist": 70_000,
    }  # fmt: skip


@pytest.mark.parametrize("wrong", [0, 27])
def test_a_letter_that_there_is_not_is_refused(wrong: int, data_root: Path) -> None:
    emnist_zip(data_root / "emnist" / "gzip.zip", emnist_like("letters", wrong))
    options = EmnistOptions(source="emnist", split="letters", validation=1)
    with pytest.raises(DataError, match=rf"gzip\.zip.*holds label {wrong}, but .* labels 1 to 26"):
        EMNIST.load(options)


@pytest.mark.parametrize("folder", ["emnist", "emnist/gzip", "EMNIST/raw"])
def test_emnist_is_read_unpacked_and_cannot_be_compared_then(folder: str, data_root: Path) -> None:
    (data_root / folder).mkdir(parents=True)
    for name, content in emnist_like("digits").items():
        (data_root / folder / name.removesuffix(".gz")).write_bytes(gzip.decompress(content))
    options = EmnistOptions(source="emnist", split="digits", validation=1)
    assert EMNIST.load(options).note == DIFFERS, "they are fewer"
    files = [replace(f, size=(data_root / folder / f.name).stat().st_size) for f in EMNIST.sets["digits"].files]
    source = replace(EMNIST, sets={"digits": replace(EMNIST.sets["digits"], files=tuple(files))})
    assert source.load(options).note == UNKNOWN
    assert source.presence("emnist", options).state == "present, not compared"
    assert presence("emnist", EmnistOptions(source="emnist", split="letters")).state == "absent"


def served(content: bytes, *mirrors: str) -> Emnist:
    """EMNIST with a zip of one's own."""
    archive = Remote("gzip.zip", hashlib.sha256(content).hexdigest(), len(content))
    return replace(EMNIST, sets={"digits": replace(emnist_set("digits"), archive=archive, mirrors=mirrors)})


def test_emnists_zip_is_fetched_once_and_kept(data_root: Path, server: Server) -> None:
    address, pages, asked = server
    content = emnist_zip(data_root / "elsewhere" / "gzip.zip", emnist_like("digits"))
    pages["/a/gzip.zip"], pages["/b/gzip.zip"] = content[:-1] + b"!", content
    source = served(content, f"{address}/a/gzip.zip", f"{address}/b/gzip.zip")
    options = EmnistOptions(source="emnist", split="digits", validation=1)
    assert source.presence("emnist", options) == Presence("absent", len(content), data_root / "emnist")
    for _ in range(2):
        assert source.load(options).note == ""
    assert asked == ["/a/gzip.zip", "/b/gzip.zip"]
    assert left_in(data_root / "emnist") == ["gzip.zip"]
    zipped = data_root / "emnist" / "gzip.zip"
    assert source.presence("emnist", options) == Presence("present", len(content), zipped)


def _damaged_member(contents: dict[str, bytes]) -> dict[str, bytes]:
    name = "emnist-digits-test-images-idx3-ubyte.gz"
    return {**contents, name: contents[name][:-30]}


BAD_ZIPS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "no zip": (lambda path: b"<html>sign in first</html>", "not a zip that can be read"),
    "cut short": (lambda path: emnist_zip(path, emnist_like("digits"))[:-40], "not a zip that can be read"),
    "another set": (lambda path: emnist_zip(path, emnist_like("mnist")), "does not hold emnist-digits-train-images"),
    "damaged inside": (lambda path: emnist_zip(path, _damaged_member(emnist_like("digits"))), "does not decompress"),
}


@pytest.mark.parametrize("kind", BAD_ZIPS)
def test_a_zip_of_emnist_that_cannot_be_read_is_named(kind: str, data_root: Path, tmp_path: Path) -> None:
    make, words = BAD_ZIPS[kind]
    path = data_root / "emnist" / "gzip.zip"
    path.parent.mkdir()
    path.write_bytes(make(tmp_path / "x.zip"))
    options = EmnistOptions(source="emnist", split="digits", validation=1)
    with pytest.raises(DataError) as raised:
        served(b"").load(options)
    assert str(path) in str(raised.value)
    assert words in str(raised.value)
    assert served(b"").presence("emnist", options).state in ("differs from the published", "absent")


# -- CIFAR-10's layout -------------------------------------------------------------------------------------------

BATCHES = ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin")


def cifar_like(place: Path) -> dict[str, bytes]:
    """Write three small batches of 4×3 RGB pictures in CIFAR-10's layout; their contents by name."""
    draw = np.random.default_rng(0)
    place.mkdir(parents=True, exist_ok=True)
    contents = {}
    for name in BATCHES:
        records = draw.integers(0, 256, (9, 1 + 4 * 3 * 3), np.uint8)
        records[:, 0] = np.arange(9) % 3
        contents[name] = records.tobytes()
        (place / name).write_bytes(contents[name])
    (place / "batches.meta.txt").write_text("a\nb\nc\n\n")
    return contents


def remotes(contents: dict[str, bytes]) -> tuple[Remote, ...]:
    return tuple(Remote(name, hashlib.sha256(content).hexdigest(), len(content)) for name, content in contents.items())


COLOURS = replace(FACTS, channels=3)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Small:
    """A source of three small batches, in the table as `batches`, none of them under the data root yet."""
    contents = cifar_like(tmp_path / "elsewhere")
    files = remotes(contents)
    source = Download(
        "small", "none", COLOURS, lambda place: read_cifar_layout(place, spec=COLOURS, files=files), 18, 9, files,
        ("http://127.0.0.1:9/x.tar.gz",), folder="batches-bin",
    )  # fmt: skip
    monkeypatch.setitem(sources.SOURCES, "batches", source)
    monkeypatch.setenv("SANGGAR_DATA", str(tmp_path / "root"))
    return source, contents


def test_batches_are_read_in_order_and_channel_by_channel(tmp_path: Path) -> None:
    contents = cifar_like(tmp_path)
    train, test = read_cifar_layout(tmp_path, spec=COLOURS, files=remotes(contents))
    assert (train.pixels.shape, test.pixels.shape) == ((18, 4, 3, 3), (9, 4, 3, 3))
    for number in (0, 8, 9, 17):
        name, within = BATCHES[number // 9], number % 9
        record = contents[name][within * 37 : (within + 1) * 37]
        assert train.labels is not None
        assert train.labels[number] == record[0]
        for channel in range(3):
            assert train.pixels[number, :, :, channel].tobytes() == record[1 + 12 * channel : 13 + 12 * channel]
    assert test.pixels[4, 1, 2, 1] == contents["test_batch.bin"][4 * 37 + 1 + 12 + 3 + 2]
    for name, content in contents.items():
        (tmp_path / name).unlink()
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    (tmp_path / "batches.meta.txt").unlink()
    again = read_cifar_layout(tmp_path, spec=COLOURS, files=remotes(contents))
    assert fingerprint(*again) == fingerprint(train, test)


@pytest.mark.parametrize(("name", "change", "words"), [
    ("data_batch_2.bin", lambda c: c[:-1], "9 pictures in records of 37 bytes make 333, but it holds 332"),
    ("data_batch_1.bin", lambda c: c + c[:37], "but it holds 370"),
    ("test_batch.bin", lambda c: c[:37], "but it holds 37"),
    ("test_batch.bin", lambda c: b"", "but it holds 0"),
    ("data_batch_2.bin", lambda c: b"\x03" + c[1:], "holds label 3, but there are 3 classes"),
    ("test_batch.bin", lambda c: c[:-37] + b"\xff" + c[-36:], "holds label 255"),
    ("batches.meta.txt", lambda c: b"a\nc\nb\n", "expected the classes a, b, c, got a, c, b"),
    ("batches.meta.txt", lambda c: b"a\nb\n", "got a, b"),
    ("batches.meta.txt", lambda c: b"\xff\xfe", "expected the classes a, b, c"),
])  # fmt: skip
def test_damaged_batches_are_refused_with_the_reason(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes], words: str
) -> None:
    contents = cifar_like(tmp_path)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    with pytest.raises(DataError) as raised:
        read_cifar_layout(tmp_path, spec=COLOURS, files=remotes(contents))
    assert str(tmp_path / name) in str(raised.value)
    assert words in str(raised.value)


def test_batches_lie_in_the_publishers_folder(batches: Small, tmp_path: Path) -> None:
    source, contents = batches
    options, place = DataOptions(source="batches", validation=5), tmp_path / "root" / "batches-bin"
    assert presence("batches") == Presence("absent", 999, place)
    cifar_like(place)
    assert presence("batches") == Presence("present", 999, place)
    assert source.load(options).note == ""
    (place / BATCHES[0]).write_bytes(contents[BATCHES[0]][:-1] + b"!")
    assert presence("batches").state == "differs from the published"
    assert "not the published ones" in source.load(options).note
    (place / BATCHES[1]).unlink()
    with pytest.raises(DataError, match=r"Missing data: data_batch_2\.bin\[\.gz\]\. Put it into .*batches-bin"):
        source.load(options)


# -- archives ---------------------------------------------------------------------------------------------------


def packed(members: dict[str, bytes], mode: Literal["w", "w:gz"] = "w:gz") -> bytes:
    """A tar archive of some files; a name that ends in > is a link to what its content says."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name.removesuffix(">"))
            if name.endswith(">"):
                member.type, member.linkname = tarfile.SYMTYPE, content.decode()
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def among_others(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {"bin/readme.html": b"hello", **{f"bin/{name}": content for name, content in contents.items()},
            "../evil": b"evil", "/tmp/sanggar-evil": b"evil", "bin/link>": b"/etc"}  # fmt: skip


def test_an_archive_is_fetched_once_and_gives_what_is_asked_for(batches: Small, tmp_path: Path, server: Server) -> None:
    source, contents = batches
    address, pages, asked = server
    pages["/x.tar.gz"] = packed(among_others(contents))
    source = replace(source, mirrors=(f"{address}/missing.tar.gz", f"{address}/x.tar.gz"))
    for _ in range(2):
        dataset = source.load(DataOptions(source="batches", validation=5))
    assert asked == ["/missing.tar.gz", "/x.tar.gz"]
    assert left_in(tmp_path / "root") == ["batches-bin", *(f"batches-bin/{name}" for name in BATCHES)]
    assert not Path("/tmp/sanggar-evil").exists()
    assert (len(dataset.train), dataset.note) == (13, "")
    (tmp_path / "root" / "batches-bin" / BATCHES[1]).unlink()
    kept = tmp_path / "root" / "batches-bin" / BATCHES[0]
    kept.write_bytes(contents[BATCHES[0]][:-1] + b"!")
    source.load(DataOptions(source="batches", validation=5))
    assert kept.read_bytes() != contents[BATCHES[0]], "what is there already is left alone"


def _without(contents: dict[str, bytes]) -> bytes:
    return packed({name: content for name, content in contents.items() if name != BATCHES[1]})


BAD_ARCHIVES: dict[str, tuple[Callable[[dict[str, bytes]], bytes], str]] = {
    "one pixel differs": (lambda c: packed({**c, BATCHES[1]: c[BATCHES[1]][:-1] + b"!"}), "2.bin: its content"),
    "a file is missing": (_without, "it does not hold data_batch_2.bin of 333 bytes"),
    "a file is short": (lambda c: packed({**c, BATCHES[2]: c[BATCHES[2]][:-1]}), "does not hold test_batch.bin of 333"),
    "a file is a link": (lambda c: packed({f"{n}>": b"/etc/passwd" for n in c}), "it does not hold data_batch_1.bin"),
    "cut short": (lambda c: packed(c)[:600], "it does not unpack"),
    "cut in the tar": (lambda c: gzip.compress(packed(c, "w")[:900]), "it does not"),
    "not an archive": (lambda c: b"<html>sign in first</html>", "it does not unpack"),
    "a gzip of something else": (lambda c: gzip.compress(b"hello"), "it does not unpack"),
    "empty": (lambda c: b"", "it does not"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_of_a_bad_archive_nothing_is_left_and_the_next_mirror_serves(
    kind: str, batches: Small, tmp_path: Path, server: Server
) -> None:
    (source, contents), (address, pages, _), place = batches, server, tmp_path / "root" / "batches-bin"
    make, says = BAD_ARCHIVES[kind]
    pages["/bad.tar.gz"], pages["/good.tar"] = make(contents), packed(contents, "w")
    options = DataOptions(source="batches", validation=5)
    with pytest.raises(DataError) as raised:
        replace(source, mirrors=(f"{address}/bad.tar.gz",)).load(options)
    assert says in str(raised.value)
    assert "data_batch_1.bin[.gz]" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert left_in(place) == []
    replace(source, mirrors=(f"{address}/bad.tar.gz", f"{address}/good.tar")).load(options)
    assert left_in(place) == sorted(BATCHES)


@pytest.mark.parametrize("place", range(0, 400, 37))
def test_an_archive_with_a_flipped_byte_is_never_half_unpacked(place: int, tmp_path: Path) -> None:
    contents = cifar_like(tmp_path / "elsewhere")
    content = bytearray(packed(contents))
    content[place * len(content) // 400] ^= 0xFF
    (tmp_path / "x.tar.gz").write_bytes(content)
    try:
        paths = unpack(tmp_path / "x.tar.gz", remotes(contents))
    except DataError:
        return
    assert sorted(path.name for path in paths) == sorted(BATCHES)
