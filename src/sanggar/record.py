"""What the JSON of a run may hold: types of `run.json` and of both logs, which are checked when they are read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sanggar.errors import RunError, shown
from sanggar.files import Content, Tree, content

LARGEST_EDGE = 4096
"""Pixels that a picture of a run may be high or wide"""
LARGEST = {".json": 64_000_000, ".jsonl": 512_000_000, ".yaml": 1_000_000}
"""Bytes up to which a file of a run is read, by its suffix"""

Count = Annotated[int, Field(ge=0, le=2**53)]
Edge = Annotated[int, Field(ge=1, le=LARGEST_EDGE)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Terms = dict[str, Finite]


class Stored(BaseModel):
    """Base of what is stored: what is known has its type; what is not may be a later version's, and is left alone."""

    model_config = ConfigDict(strict=True, extra="allow")


class Column(Stored):
    """A column of what is known of pictures."""

    name: str
    kind: Literal["number", "flag", "category"]
    values: list[str] = []
    mean: Finite = 0.0
    deviation: Finite = 1.0


class Data(Stored):
    """What a run was trained on."""

    source: str
    about: str
    licence: str
    note: str
    fingerprint: str
    height: Edge
    width: Edge
    channels: Literal[1, 3]
    classes: list[str]
    attributes: list[Column] = []
    train: Count
    validation: Count
    test: Count


class Device(Stored):
    """What a run computes on."""

    kind: str
    name: str
    threads: Count
    parts: Annotated[int, Field(ge=1, le=4096)] = 1
    processes: Count
    precision: str
    precision_because: str = ""


class Totals(Stored):
    """What a finished training took."""

    seconds: Finite
    learner_seconds: Finite


class Earlier(Stored):
    """What a run was before it was made longer."""

    identity: str
    step: Count


class Stated(Stored):
    """A claim of a study as it was when a run came to it."""

    hash: str
    step: Count
    """of the run at that moment: 0 where the claim was stated before the run began"""


class Validated(Stored):
    """A measurement on validation pictures, which a search goes by."""

    key: str
    step: Count
    value: Finite


class Record(Stored):
    """The content of `run.json`. What may be missing here is refused where it is asked for, see `Info`."""

    name: str
    status: Literal["training", "stopped", "failed", "finished"]
    about: str = ""
    identity: str = ""
    package: str = ""
    step: Count = 0
    created: str = ""
    data: Data | None = None
    device: Device | None = None
    versions: dict[str, str] = {}
    platform: str = ""
    totals: Totals | None = None
    stopped_early: bool = False
    message: str = ""
    earlier: list[Earlier] = []
    studies: dict[str, dict[str, Stated]] = {}
    """by study and claim: what the run was begun for"""
    searches: dict[str, dict[str, dict[str, str]]] = {}
    """by search and number of a trial: what it varies, as JSON"""
    validated: list[Validated] = []


class Watched(Stored):
    """Terms that are only looked at."""

    train: Terms = {}
    validation: Terms = {}


class Metrics(Stored):
    """A line of `metrics.jsonl`."""

    step: Count
    epoch: Finite
    train: Terms
    validation: Terms
    watched: Watched = Watched()
    network: dict[str, list[float]] = {}


class Timing(Stored):
    """A line of `timing.jsonl`."""

    step: Count
    seconds: Finite


class Info(dict[str, Any]):
    """The content of a `run.json`, checked: what is there has its type, and asking for what is missing is a RunError.

    None stands for nothing: a key of that value is as good as missing.
    """

    def __init__(self, file: Path, given: Content) -> None:
        fits(Record, given, file)
        known = Record.model_fields
        super().__init__({key: value for key, value in given.items() if value is not None or key not in known})
        self.file = file

    def __missing__(self, key: str) -> NoReturn:
        raise RunError(f"{self.file} is damaged: it has no {key!r}. Copy the run again, or train it again.")


def fits(kind: type[BaseModel], given: object, file: Path) -> None:
    """Raises RunError where what a file holds is not of this kind."""
    try:
        kind.model_validate(given)
    except (ValidationError, RecursionError) as error:
        said = "nested too deeply"
        if isinstance(error, ValidationError):
            problem = error.errors(include_url=False)[0]
            said = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        raise RunError(f"{file} is damaged: {shown(said, 200)}. Copy the run again, or train it again.") from None


def parsed(given: bytes) -> Any:
    """What JSON says. Raises ValueError for anything else, and for numbers that are none."""

    def refused(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(given.decode("utf-8"), parse_constant=refused)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_lines(path: Path, kind: type[BaseModel]) -> Iterator[Tree]:
    """The lines of a log, each of this kind; a last one that was cut short is left out. Raises RunError."""
    if os.path.lexists(path):
        for line in content(path, LARGEST[".jsonl"]).splitlines(keepends=True):
            if line.endswith(b"\n"):
                try:
                    tree: Tree = parsed(line)
                except ValueError:
                    raise RunError(f"{path} is damaged: {line[:40]!r} is not a line that sanggar writes.") from None
                fits(kind, tree, path)
                yield tree


def now() -> str:
    """The time, as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def as_json(content: Content) -> bytes:
    """A record as it is written."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
