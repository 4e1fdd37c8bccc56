"""One picture file of any size, mode and orientation as a small square of 8 bits; and a process that does many."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from sanggar.data.colour import OddProfileError, shallow, to_srgb
from sanggar.data.images import FORMATS, MAX_PIXELS
from sanggar.errors import DataError

PASSING = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)
"""Of the machine, not of a picture: a disk or a share that fails, too many open files."""
LARGEST = 6 * MAX_PIXELS
"""Bytes that a picture's file may have: those of the largest picture with 16 bits a channel, not compressed."""


def square(
    content: bytes,
    size: int,
    fit: Literal["crop", "squash"],
    colour: bool,
    say: Callable[[str], None] = lambda _: None,
) -> UInt8[np.ndarray, "size size channels"]:
    """The content of a picture file as uint8 `(size, size, 3)`, or `(size, size, 1)` where `colour` is off.

    Turned as its EXIF says; brought to sRGB by its colour profile, which is passed over, and said so, where it cannot
    be used; laid on white where it is transparent; more than 8 bits are scaled to 8; grey is ITU-R 601's. Cut to the
    square in its middle (`crop`) or squashed to one, then scaled by Pillow's antialiased bicubic filter. Raises
    ValueError where it is too large or its range is not known, and whatever Pillow raises where it is damaged.
    """
    mode, channels = ("RGB", 3) if colour else ("L", 1)
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}×{image.height} pixels are more than sanggar opens ({MAX_PIXELS:,})")
        if min(image.size) >= 4 * size:
            image.draft("RGB", (2 * size, 2 * size))  # a large JPEG is decoded at a half, a quarter or an eighth
        raw = str(image.tile[0].args) if image.tile else ""
        if image.format != "JPEG" or not image.info.keys().isdisjoint(("exif", "xmp")):  # looking costs a tenth
            ImageOps.exif_transpose(image, in_place=True)
        plain: Image.Image = image
        if image.format == "TIFF" or image.mode != mode or "transparency" in image.info or "icc_profile" in image.info:
            plain = _plain(image, raw, say).convert(mode)
        if plain.size != (size, size):
            plain = plain.resize((size, size), Image.Resampling.BICUBIC, shown(plain, fit))
        return np.frombuffer(plain.tobytes(), np.uint8).reshape(size, size, channels)


def shown(image: Image.Image, fit: Literal["crop", "squash"]) -> tuple[float, float, float, float] | None:
    """The box of a picture that becomes the square: left, top, right, bottom; none: all of it."""
    edge = min(image.size)
    left, top = (image.width - edge) / 2, (image.height - edge) / 2
    return (left, top, left + edge, top + edge) if fit == "crop" else None


def _plain(image: Image.Image, raw: str, say: Callable[[str], None]) -> Image.Image:
    """The picture in sRGB, without transparency, with 8 bits a channel. Raises ValueError."""
    found = shallow(image, raw)
    try:
        found = to_srgb(found)
    except OddProfileError as error:
        say(f"its colour profile cannot be used ({error}), and it is taken for sRGB")
    if found.mode == "LAB":
        found = found.convert("RGB")
    if found.has_transparency_data:
        clear = found.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    return found


@dataclass(frozen=True)
class Job:
    """Pictures of a folder or a zip, and the file that they go into."""

    place: str
    size: int
    fit: Literal["crop", "squash"]
    colour: bool
    out: str
    offset: int
    """where in the file the first picture's pixels begin"""

    @property
    def weight(self) -> int:
        """Bytes of a picture."""
        return self.size * self.size * (3 if self.colour else 1)


@dataclass(frozen=True)
class Done:
    """What became of some pictures."""

    start: int
    digests: list[str]
    """SHA-256 of each one's file; nothing for one that could not be read"""
    broken: dict[str, str]
    """by name: why it could not be read"""
    remarks: dict[str, str] = field(default_factory=dict)
    """by name: what was not done as its file says, though it was read"""
    unread: list[str] = field(default_factory=list)
    """the broken ones whose files could not be opened: they may be whole"""


class Decoder:
    """Decodes pictures of a job, some at a time."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.archive = None if Path(job.place).is_dir() else zipfile.ZipFile(job.place)
        self.out = Path(job.out).open("r+b")  # noqa: SIM115 - open as long as this lives

    def ask(self, start: int, names: Sequence[str]) -> Done:
        """Decode pictures and write them as the job's number `start` and following.

        Raises OSError where they cannot be written, DataError where the disk they are read from fails.
        """
        job, done = self.job, Done(start, [], {})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on metadata, and on sizes that are checked here
            for number, name in enumerate(names, start):
                try:
                    content = read_file(job.place, self.archive, name)
                    picture = square(content, job.size, job.fit, job.colour, partial(done.remarks.__setitem__, name))
                except Exception as error:  # a damaged file makes Pillow raise anything
                    if isinstance(error, MemoryError):
                        raise
                    if isinstance(error, OSError) and error.errno in PASSING:  # else it would be left out for good
                        raise DataError(f"{job.place}: {name} cannot be read now ({error.strerror}).") from None
                    done.broken[name] = why(error)
                    done.digests.append("")
                    if isinstance(error, OSError) and error.errno is not None:  # the system's, not Pillow's
                        done.unread.append(name)
                    continue
                self.out.seek(job.offset + number * job.weight)
                self.out.write(picture.data)
                done.digests.append(hashlib.sha256(content).hexdigest())
        self.out.flush()
        return done

    def close(self) -> None:
        """Let go of the files."""
        self.out.close()
        if self.archive is not None:
            self.archive.close()


def read_file(place: str, archive: zipfile.ZipFile | None, name: str) -> bytes:
    """A file's content, of a folder or of the zip that `place` is. Raises ValueError where no picture has so much."""
    if archive is not None:
        return read_member(archive, name)
    with open(f"{place}/{name}", "rb") as file:  # noqa: PTH123 - a path object takes as long as reading
        if os.fstat(file.fileno()).st_size > LARGEST:
            raise ValueError(f"more than {LARGEST:,} bytes")
        return file.read()


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's content, no more of it than it declares: `ZipFile.read` inflates it all, whatever it declares.

    Raises BadZipFile where that is not all of it.
    """
    member = archive.getinfo(name)
    with archive.open(member) as file:
        return file.read(member.file_size)


def why(error: Exception) -> str:
    """In a line: what Pillow says names an object of Python's where it knows no format."""
    if isinstance(error, UnidentifiedImageError):
        return f"no picture that is known ({', '.join(FORMATS)})"
    return " ".join(str(error).split()) or type(error).__name__


def main(lines: io.BufferedIOBase, answers: io.BufferedIOBase) -> None:
    """A process that decodes: a job in JSON on the first line, some names on each other one, an answer to each."""

    def answer(what: Mapping[str, object]) -> None:
        answers.write(json.dumps(what).encode() + b"\n")
        answers.flush()

    decoder = Decoder(Job(**json.loads(lines.readline())))
    for line in lines:
        try:
            answer(asdict(decoder.ask(**json.loads(line))))
        except OSError as error:
            answer({"error": error.strerror or str(error)})
        except DataError as error:
            answer({"trouble": str(error)})


def serve() -> None:
    """Be such a process, until nobody asks any more."""
    try:
        main(cast("io.BufferedIOBase", sys.stdin.buffer), cast("io.BufferedIOBase", sys.stdout.buffer))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(1)
