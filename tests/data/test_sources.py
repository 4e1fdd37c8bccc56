"""Data files: found plain or gzipped, verified, fetched from the first mirror that works, split by seed."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import threading
import warnings
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
from sanggar.data.downloads import IDX_FILES, Download, read_cifar_layout, read_idx, read_mnist_layout
from sanggar.data.images import Images, ImageSpec
from sanggar.data.remote import Remote, fetch, find, unpack
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
])  # fmt: skip
def test_a_damaged_idx_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, words: str) -> None:
    for name, stored in (("x", content), ("x.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(stored)
        with pytest.raises(DataError) as raised:
            read_idx(tmp_path / name)
        assert str(tmp_path / name) in str(raised.value)
        assert words in str(raised.value)


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
