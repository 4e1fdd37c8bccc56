"""Files of strangers are read or refused in words: at each door, good files and the same ones changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Trained
from doors import DOORS, TODAYS, kept_in, through

CHANGED = 60
FEW = ("run", "old run", "table", "zip", "prepared", "state")
"""Doors whose files take long to open"""
TOKENS = (
    b"\x00",
    b"\xff\xff\xff\xff",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"{}",
    b"[",
    b"\n",
    b"../",
    b"9" * 40,
    b": ",
    b",",
)


def changed(content: bytes, draw: random.Random) -> bytes:
    """A file with a few things done to it that damage, transfer and malice do."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5))):
        at, size = draw.randrange(len(found) + 1), draw.choice((1, 2, 4, 16, 64))
        match draw.randrange(6):
            case 0 if at < len(found):
                found[at] ^= 1 << draw.randrange(8)
            case 1:
                del found[at : at + size]
            case 2:
                found[at:at] = draw.choice(TOKENS)
            case 3:
                found[at : at + size] = draw.choice(TOKENS)
            case 4:
                found[at:at] = found[at : at + size]
            case 5 if draw.random() < 0.3:
                del found[at:]
    return bytes(found)


MENDED = ("prepared", "features", "mask")
"""What is wrong behind these doors is not refused: it is made anew, or left out and said so"""


@pytest.fixture(autouse=True, scope="module")
def todays_run(trained: Trained) -> Iterator[None]:
    """The run of today that doors change files of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TODAYS, str(trained("vae").path))
        yield


@pytest.mark.parametrize("name", DOORS)
def test_good_files_are_read(name: str, tmp_path: Path) -> None:
    for number, content in enumerate(DOORS[name].good()):
        said = through(DOORS[name], content, tmp_path / str(number))
        assert not said or name in ("picture", "arrays"), said  # of which some are of another mode, or no archive


@pytest.mark.slow
@pytest.mark.parametrize("name", DOORS)
def test_changed_files_are_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    door, draw = DOORS[name], random.Random(name)
    refused = 0
    for number in range(CHANGED if not name.startswith(FEW) else CHANGED // 6):
        content = changed(draw.choice(door.good()), draw)
        said = through(door, content, tmp_path / str(number))  # where the file lies afterwards
        refused += bool(said)
        assert "Traceback" not in said
        assert said.count("\n") < 20
    assert refused or name.startswith(MENDED)


def test_what_is_written_outside_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    with kept_in(tmp_path / "inside"):
        (tmp_path / "inside" / "a.txt").write_text("a")
        with pytest.raises(AssertionError, match="open outside"):
            (tmp_path / "b.txt").write_text("b")
    (tmp_path / "b.txt").write_text("b")
