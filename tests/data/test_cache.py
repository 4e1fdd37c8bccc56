"""The cache of prepared pictures: the same however it is made, whole or not there, and evicted when asked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from conftest import Cli
from gathering import encoded, load, write_pictures
from sanggar.data import cache as prepared
from sanggar.data import decoding, workers
from sanggar.data.cache import evict, kept
from sanggar.data.decoding import Done
from sanggar.errors import DataError

SOURCE = Path(workers.__file__).parents[2]
"""where sanggar lies"""
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("SANGGAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prepared"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "faces", 130)


def left(cache: Path) -> list[str]:
    """What lies in the cache, beside the lock."""
    return sorted(path.name for path in cache.glob("*") if path.name != "lock")


def test_processes_of_their_own_make_the_same(
    place: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "050.png").write_bytes(b"")
    here = load(place)
    said = capsys.readouterr().err
    assert f"Preparing 130 pictures of {place} at 8×8 RGB, crop: 0 MB in {cache}" in said
    (key,) = left(cache)
    first = (cache / key / "pixels.npy").read_bytes()
    about = (cache / key / "about.json").read_text()
    prepared.evict("all")
    monkeypatch.setattr(workers, "FEW", 0)
    monkeypatch.setattr(workers, "processors", lambda: 2)
    there = load(place)
    assert (cache / key / "pixels.npy").read_bytes() == first
    assert (cache / key / "about.json").read_text() == about
    assert there.fingerprint == here.fingerprint
    assert len(there.train) + len(there.validation) + len(there.test) == 129


def test_it_is_made_once_and_anew_only_for_other_pictures(place: Path, cache: Path) -> None:
    known = load(place)
    made = (cache / left(cache)[0] / "pixels.npy").stat().st_mtime_ns
    for options in ({"validation": 5}, {"test": 40}, {"label": "odd"}, {"attributes": {"age": "number"}}):
        load(place, **options)
    assert len(left(cache)) == 1
    assert (cache / left(cache)[0] / "pixels.npy").stat().st_mtime_ns == made
    (place / "003.png").write_bytes(encoded(3))  # the same content at another time
    assert load(place).fingerprint == known.fingerprint
    assert len(left(cache)) == 2
    changes: list[dict[str, object]] = [{"seed": 1}, {"size": 9}, {"fit": "squash"}, {"colour": False}]
    for change in changes:
        load(place, **change)
    assert len(left(cache)) == 6


@pytest.mark.parametrize("damage", [
    lambda p: (p / "pixels.npy").write_bytes((p / "pixels.npy").read_bytes()[:-1]),
    lambda p: (p / "pixels.npy").write_bytes(b""),
    lambda p: (p / "pixels.npy").unlink(),
    lambda p: (p / "about.json").write_text("{"),
    lambda p: (p / "about.json").write_text("{}"),
    lambda p: (p / "about.json").unlink(),
])  # fmt: skip
def test_what_is_not_whole_is_made_anew(damage: object, place: Path, cache: Path) -> None:
    known = load(place)
    pixels = known.train.pixels.copy()  # the map shows the damage
    (key,) = left(cache)
    assert callable(damage)
    damage(cache / key)
    assert prepared.kept() == []
    again = load(place)
    assert again.fingerprint == known.fingerprint
    np.testing.assert_array_equal(again.train.pixels, pixels)
    assert left(cache) == [key]


def flip(path: Path, byte: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[byte % len(content)] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["pixels.npy", "digests.npy", "about.json"])
def test_a_flipped_bit_is_found_wherever_it_is(name: str, place: Path, cache: Path) -> None:
    known = load(place)
    pixels = known.train.pixels.copy()
    (key,) = left(cache)
    file = cache / key / name
    whole = file.read_bytes()
    for byte in np.random.default_rng(0).integers(0, len(whole), 25).tolist():
        flip(file, byte, byte % 8)
        assert prepared.opened(cache / key) is None, f"byte {byte}"
        file.write_bytes(whole)
    assert prepared.opened(cache / key) is not None
    flip(file, len(whole) // 2, 3)
    again = load(place)
    assert again.fingerprint == known.fingerprint
    np.testing.assert_array_equal(again.train.pixels, pixels)
    assert file.read_bytes() == whole


def test_a_file_that_could_not_be_opened_is_tried_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, read, locked = write_pictures(tmp_path / "many", 120), decoding.read_file, [True]

    def refuse(name: str) -> None:
        if locked[0] and name.endswith("050.png"):
            raise PermissionError(13, "Permission denied")

    def guarded(where: str, archive: zipfile.ZipFile | None, name: str) -> bytes:
        refuse(name)
        return read(where, archive, name)

    def opens(path: Path) -> bool:
        return not (locked[0] and path.name == "050.png")

    monkeypatch.setattr(decoding, "read_file", guarded)
    monkeypatch.setattr(prepared, "_opens", opens)
    first = load(place)
    assert len(first.train) + len(first.validation) + len(first.test) == 119
    assert "left out, since it cannot be read: 050.png ([Errno 13] Permission denied)" in first.about
    made = (cache / left(cache)[0] / "pixels.npy").stat().st_mtime_ns
    load(place)
    assert (cache / left(cache)[0] / "pixels.npy").stat().st_mtime_ns == made
    locked[0] = False
    again = load(place)
    assert len(again.train) + len(again.validation) + len(again.test) == 120
    assert again.note == ""
    assert len(left(cache)) == 1


PLANTED = "from pathlib import Path\nPath({mark!r}).write_text(__name__)\nraise SystemExit(3)\n"


@pytest.mark.parametrize("module", [
    "random", "types", "numpy", "json", "sitecustomize", "usercustomize", "defusedxml", "PIL/__init__",
    "sanggar/__init__", "importlib/util",
])  # fmt: skip
def test_processes_import_nothing_that_lies_beside_the_pictures(
    module: str, place: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "was run"
    for folder in (tmp_path, place):
        (folder / module).parent.mkdir(exist_ok=True)
        (folder / f"{module}.py").write_text(PLANTED.format(mark=str(mark)))
    monkeypatch.setattr(workers, "FEW", 0)
    monkeypatch.setattr(workers, "processors", lambda: 1)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((".", str(place), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setattr(sys, "path", [str(place), "", str(tmp_path), *sys.path])
    monkeypatch.chdir(tmp_path)
    assert len(load(place).train) == 104
    assert not mark.exists()


def test_the_command_as_a_module_leaves_the_working_folder_alone(tmp_path: Path) -> None:
    for module in ("random", "numpy", "click"):
        (tmp_path / f"{module}.py").write_text(PLANTED.format(mark=str(tmp_path / "was run")))
    done = subprocess.run([sys.executable, "-m", "sanggar", "recipes"], cwd=tmp_path, capture_output=True, text=True,
                          check=False, env={**os.environ, "PYTHONPATH": str(SOURCE)})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "was run").exists()


CHILD = """
import os, resource, signal, sys, time
sys.path.insert(0, {tests!r})
from gathering import load
from pathlib import Path
from sanggar.data import cache as prepared
from sanggar.data import workers
from sanggar.data.cache import evict, kept
from sanggar.errors import DataError

def stop(*_):
    print("here", flush=True)
    time.sleep(60)

{change}
try:
    print(load(Path({place!r})).fingerprint)
except DataError as error:
    print(error)
"""


def child(place: Path, change: str = "") -> subprocess.Popen[str]:
    """A process that loads the pictures, once `change` was done to it."""
    text = CHILD.format(tests=str(Path(__file__).parent.parent), place=str(place), change=change)
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", text], stdout=pipe, stderr=pipe, text=True, env=dict(os.environ))


@pytest.mark.skipif(os.name != "posix", reason="kills processes")
@pytest.mark.parametrize("change", [
    "prepared._close_gaps = stop",
    "Path.replace = stop",
    "workers.FEW, workers.processors = 0, lambda: 2; prepared.os.fsync = stop",
])  # fmt: skip
def test_what_a_killed_process_leaves_is_not_taken_and_goes(change: str, place: Path, cache: Path) -> None:
    (place / "050.png").write_bytes(b"")
    process = child(place, change)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    assert [name[0] for name in left(cache)] == ["."], "written beside its place"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(left(cache)) == 1
    assert prepared.kept() == []
    dataset = load(place)
    assert len(left(cache)) == len(prepared.kept()) == 1
    assert dataset.fingerprint == load(place).fingerprint


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
@pytest.mark.parametrize("few", [0, 400])
def test_a_disk_that_fills_is_said_and_leaves_nothing(few: int, place: Path, cache: Path) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))"
    out, err = child(place, f"workers.FEW, workers.processors = {few}, lambda: 2; {limit}").communicate()
    assert f"Cannot write {cache}" in out, err
    assert "choose another place with SANGGAR_CACHE" in out
    assert left(cache) == []


def test_a_disk_without_room_is_noticed_before(
    place: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=20_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"the disk has 0 MB left. The prepared pictures take 0 MB: free some space"):
        load(place)
    assert left(cache) == []
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SANGGAR_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="Cannot write"):
        load(place)


def test_two_processes_at_once_prepare_once(place: Path, cache: Path) -> None:
    both = [child(place), child(place)]
    said = [process.communicate() for process in both]
    assert said[0][0] == said[1][0]
    assert len(said[0][0]) == 65, said
    assert sum("Preparing 130" in err for _, err in said) == 1
    assert len(left(cache)) == 1


def test_two_folders_whose_files_look_alike_from_outside_are_two(place: Path, cache: Path, tmp_path: Path) -> None:
    for name, index in (("one", 1), ("other", 2)):
        for i in range(5):
            path = tmp_path / name / f"{i}.bmp"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encoded(index, "BMP"))
            os.utime(path, (0, 0))
    first, second = (load(tmp_path / name, validation=1, test=1) for name in ("one", "other"))
    assert (first.train.pixels != second.train.pixels).any()
    assert len(left(cache)) == 2


def test_a_preparation_that_cannot_be_read_is_evicted_like_any(place: Path, cache: Path) -> None:
    load(place)
    (key,) = left(cache)
    (cache / key / "about.json").write_text("{")
    assert kept() == []
    assert evict(key) > 0
    assert left(cache) == []


def test_a_worker_that_dies_is_reported(place: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying(workers.Worker):
        def ask(self, start: int, names: Sequence[str]) -> Done:
            self.process.kill()
            return super().ask(start, names)

    monkeypatch.setattr(workers, "FEW", 0)
    monkeypatch.setattr(workers, "processors", lambda: 2)
    monkeypatch.setattr(workers, "Worker", Dying)
    with pytest.raises(DataError, match=r"A process that decodes pictures ended \(status -9\) between"):
        load(place)
    assert left(cache) == []


def test_the_command_lists_and_evicts(place: Path, cache: Path, run_cli: Cli) -> None:
    load(place)
    load(place, seed=1)
    lines = run_cli("data", "--prepared")[1].splitlines()
    assert lines[0] == f"Prepared pictures: {cache}"
    assert sorted(line.split()[0] for line in lines[1:]) == left(cache)
    assert all("130 pictures  8×8 RGB, crop" in line and line.endswith(f"  {place}") for line in lines[1:]), lines
    status, _, err = run_cli("data", "--evict", "0000")
    assert status == 2
    assert "There is no preparation '0000'. Known: " in err
    gone, stays = left(cache)
    assert run_cli("data", "--evict", gone)[1] == f"0.0 MB freed in {cache}\n"
    assert left(cache) == [stays]
    (cache / ".x.new").mkdir()
    assert run_cli("data", "--evict", "all")[0] == 0
    assert left(cache) == []
    status, _, err = run_cli("data", "--evict", gone)
    assert (status, err) == (2, f"sanggar: There is no preparation {gone!r}. There are none.\n")
    status, _, err = run_cli("data", "folder", "--out", "x")
    assert (status, "its pictures lie there as files already" in err) == (2, True)
