"""What failed is said by its number, in one place; memory that is not there is not asked for."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from conftest import Cli
from sanggar import files, resources
from sanggar.errors import DataError, RecipeError, RunError
from sanggar.plan import build, resolve
from sanggar.recipe import read
from sanggar.runs import Run, find, load_arrays


@pytest.mark.parametrize(("number", "words"), [
    (errno.ENOSPC, "Free some space or choose another place with --out"),
    (errno.EDQUOT, "free some space"),
    (errno.EACCES, "Its permissions forbid it"),
    (errno.EROFS, "can only be read: choose another place with --out"),
    (errno.ENAMETOOLONG, "Choose a shorter name"),
    (errno.EISDIR, "A folder stands there"),
    (errno.ENOTDIR, "A file stands where a folder has to be"),
    (errno.EIO, "Choose another place with --out"),
])  # fmt: skip
def test_what_cannot_be_written_is_said_with_what_to_do(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", refused)
    for write in (write_empty, fill):
        with pytest.raises(RunError) as raised:
            write(tmp_path / "x")
        assert f": {os.strerror(number)}. " in str(raised.value)
        assert words in str(raised.value)
        assert ("space" in str(raised.value)) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert list(tmp_path.iterdir()) == []


def write_empty(file: Path) -> None:
    files.write_atomic(file, b"")


def fill(folder: Path) -> None:
    with files.filled(folder):
        pass


def test_what_cannot_be_read_is_not_called_missing(
    copied_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Cli
) -> None:
    other = copied_run.path.parent / "other"
    copied_run.path.rename(other)
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "run.json").write_text('{"format": 2, "name": "good", "status": "finished"}')
    original = os.open

    def closed(path: str | Path, *arguments: int) -> int:
        if str(path).startswith(str(other)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path, *arguments)

    monkeypatch.setattr(os, "open", closed)
    for file, use in ((other / "run.json", Run), (other / "weights.safetensors", load_arrays)):
        with pytest.raises(RunError, match=r"cannot be read \(Permission denied\)\. Its permissions forbid it"):
            use(other if file.name == "run.json" else file)
    assert [run.name for run in find(tmp_path)] == ["good"]
    status, out, err = run_cli("runs", tmp_path)
    assert (status, len(out.splitlines()), len(err.splitlines())) == (0, 1, 1)
    assert f"{other / 'run.json'}: cannot be read" in err


def test_a_file_is_plain_and_of_a_size(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert files.content(tmp_path / "x", 5) == b"12345"
    for path, largest, words in ((tmp_path / "x", 4, "is read up to"), (tmp_path, 9, "cannot be read"),
                                 (tmp_path / "gone", 9, "There is no file"), (Path("/dev/zero"), 9, "no plain file"),
                                 (tmp_path / "a\0b", 9, "cannot be read")):  # fmt: skip
        if path.drive or path != Path("/dev/zero") or path.exists():
            with pytest.raises(DataError, match=words):
                files.content(path, largest, DataError)


# -- memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "override"), [
    ("digits-denoising-autoencoder", "model.latent_size=1e13"),
    ("digits-vae", "model.latent_size=8e15"),
    ("digits-cgan", "model.latent_size=1e12"),
    ("digits-ffnn", "model.hidden=[1e9]"),
    ("digits-ffnn", "model.hidden=[10, 1e15, 1e15]"),
])  # fmt: skip
def test_a_network_that_no_memory_holds_is_refused_in_words(name: str, override: str) -> None:
    plan = resolve(read(name, [override]))
    with pytest.raises(RecipeError, match=r"model.*: the weights of so large a network"):
        build(plan, plan.spec)


def test_weights_are_counted_before_they_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = resolve(read("digits-denoising-autoencoder"))
    monkeypatch.setattr("sanggar.models.base.free_memory", lambda: 100_000)
    monkeypatch.setattr("sanggar.resources.free_memory", lambda: 100_000)
    with pytest.raises(RecipeError, match="the weights of so large a network would take"):
        build(plan, plan.spec)


@pytest.mark.parametrize("size", ["1e9", "1e15"])
def test_a_batch_that_no_memory_holds_is_refused_in_words(
    size: str, run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("train", "describe"):
        status, _, err = run_cli(command, "digits-ffnn", f"training.batch_size={size}")
        assert (status, len(err.splitlines())) == (2, 1)
        assert "training.batch_size" in err
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_no_memory_holds_are_not_begun(tiny_run: Run, tmp_path: Path, run_cli: Cli) -> None:
    status, _, err = run_cli("sample", tiny_run.path, "--count", 10**12, "--mixture", "--out", tmp_path / "x.npz")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "count: " in err
    assert list(tmp_path.iterdir()) == []


def test_free_memory_is_a_number_of_bytes() -> None:
    free = resources.free_memory()
    assert free is None or 2**20 < free < 2**60
    resources.check_memory(0, "nothing")
    np.testing.assert_raises(RunError, resources.check_memory, 2.0**70, "too much")
