"""A run directory: the only place that knows the names and the formats of the files inside one.

Everything is written beside its place, flushed and renamed, so that a reader, or whoever comes after a power
cut, finds the old file or the new one and never half of either. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from sanggar.errors import RunError
from sanggar.files import Content, Tree, write_atomic

FORMAT = 2
"""Version of the run directory's layout; raised when an older sanggar could not read a newer run."""

MIGRATIONS: dict[int, Callable[[Tree], Tree]] = {1: lambda info: {**info, "format": 2}}
"""By the format of a stored `run.json`: what brings it to the next one. From 1 to 2 its own keys stayed."""

Arrays = dict[str, np.ndarray]


def save_arrays(path: Path, arrays: Arrays, meta: Content | None = None) -> None:
    """Write named arrays and a JSON-able `meta` as one safetensors file that carries its own checksum."""
    told = json.dumps(dict(meta or {}))
    # one entry: several would come in another order each time, and equal content would be unequal files
    header = {"sanggar": json.dumps({"meta": told, "sha256": _checksum(arrays, told)})}
    write_atomic(path, safetensors.numpy.save({k: np.asarray(v, order="C") for k, v in arrays.items()}, header))


def load_arrays(path: Path) -> tuple[Arrays, Tree]:
    """The arrays and the meta that `save_arrays` wrote. Raises RunError when the content is not what was written."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = _header(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise RunError(f"There is no file {path}.") from None
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{path} is damaged: not a whole safetensors file ({error}).") from None
    told = header.get("meta")
    if not isinstance(told, str):
        raise RunError(f"{path} is damaged: it carries no checksum, as every file that sanggar writes does.")
    found = _checksum(arrays, told)
    if header.get("sha256") != found:
        raise RunError(
            f"{path} is damaged: its content has SHA-256 {found[:16]}…, but {str(header.get('sha256'))[:16]}… "
            "was written. Copy the run again, or train it again."
        )
    try:
        meta = json.loads(told)
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict):
        raise RunError(f"{path} is not a file that sanggar writes.")
    return arrays, meta


def _header(written: Mapping[str, str]) -> Mapping[str, object]:
    """Meta and checksum of a file; 0.1.0 wrote them as two entries."""
    if "sanggar" not in written:
        return written
    found: object = json.loads(written["sanggar"])
    return found if isinstance(found, dict) else {}


def _checksum(arrays: Arrays, meta: str) -> str:
    digest = hashlib.sha256(f"{meta};".encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


class Log:
    """A JSON-lines file open for appending, begun again from a known length in bytes."""

    def __init__(self, path: Path, length: int) -> None:
        try:
            self._file = path.open("r+b" if path.exists() else "w+b")
            self._file.seek(0, os.SEEK_END)
            if self._file.tell() < length:
                raise RunError(f"{path} is shorter than the checkpoint says; it was changed after training.")
            self._file.truncate(length)
            self._file.seek(length)
        except OSError as error:
            raise RunError(f"Cannot write {path}: {error.strerror}.") from None
        self._path = path

    def write(self, line: Content) -> None:
        """Append one line."""
        self._file.write(json.dumps(dict(line)).encode() + b"\n")

    def flush(self) -> int:
        """Make every line so far durable; the file's length in bytes."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunError(f"Cannot write {self._path}: {error.strerror}. Free some space, then resume.") from None
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # a full disk was already reported by flush
            self._file.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Run:
    """One training and all that was made from it, in one directory.

    Raises RunError when `path` is not a run directory, is half-written, or was written by a newer sanggar.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.refresh()

    def refresh(self) -> None:
        """Read `run.json` again."""
        if not self.path.is_dir():
            raise RunError(f"There is no run directory {self.path}. `sanggar runs` lists those that exist.")
        if not self.info_file.is_file():
            raise RunError(f"{self.path} is not a run directory, or was half-written: it has no {self.info_file.name}.")
        try:
            self.info: Tree = json.loads(self.info_file.read_text(encoding="utf-8"))
            written_as = int(self.info["format"])
            if written_as <= FORMAT:
                _ = self.info["name"], self.info["status"]
                for older in range(written_as, FORMAT):
                    self.info = MIGRATIONS[older](self.info)
        except (ValueError, KeyError, TypeError, OverflowError):
            raise RunError(f"{self.info_file} is damaged: not the JSON that sanggar writes.") from None
        if written_as > FORMAT:
            raise RunError(
                f"{self.path} was written by a newer sanggar ({self.info.get('package', 'unknown')}, format "
                f"{written_as}); this one reads format {FORMAT}. Update sanggar to open it."
            )

    @classmethod
    def create(cls, path: Path, recipe: str, info: Content) -> Run:
        """Begin a run at `path`, which must not exist or be empty."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            resumable = (path / "run.json").is_file()
            also = f", or continue the run there with `sanggar train --resume {path}`" if resumable else ""
            raise RunError(f"{path} already exists and is not empty. Choose another place with --out{also}.")
        write_atomic(path / "recipe.yaml", recipe.encode())
        stamped = {"format": FORMAT, **info, "created": datetime.now(UTC).isoformat(timespec="seconds")}
        write_atomic(path / "run.json", _json(stamped))
        return cls(path)

    # -- the files ---------------------------------------------------------------------------------------------

    @property
    def info_file(self) -> Path:
        """What was run, on what, by which versions, and how far it came."""
        return self.path / "run.json"

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe, every default filled in: running it again gives this run again."""
        return self.path / "recipe.yaml"

    @property
    def metrics_file(self) -> Path:
        """Losses as training went: what is the same each time."""
        return self.path / "metrics.jsonl"

    @property
    def timing_file(self) -> Path:
        """Seconds and memory as training went: what is not."""
        return self.path / "timing.jsonl"

    @property
    def checkpoint_file(self) -> Path:
        """All that training needs to go on: weights, optimizer, counters."""
        return self.path / "checkpoint" / "state.safetensors"

    @property
    def weights_file(self) -> Path:
        """The network that everything after the wall uses."""
        return self.path / "weights.safetensors"

    @property
    def samples_folder(self) -> Path:
        """Pictures drawn as training went, one file a step."""
        return self.path / "samples"

    @property
    def evaluation_file(self) -> Path:
        """Every measured number with its protocol."""
        return self.path / "evaluation.json"

    @property
    def arrays_file(self) -> Path:
        """The arrays that the report draws: pictures, maps, curves."""
        return self.path / "evaluation.safetensors"

    @property
    def tools_file(self) -> Path:
        """What evaluation fitted and tools use later: edit directions, detector, mixture."""
        return self.path / "tools.safetensors"

    @property
    def report_file(self) -> Path:
        """The report of this run alone."""
        return self.path / "report.html"

    # -- reading and writing -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the recipe that was run."""
        return str(self.info["name"])

    @property
    def status(self) -> str:
        """training, stopped, failed or finished."""
        return str(self.info["status"])

    def recipe_text(self) -> str:
        """The resolved recipe as YAML."""
        try:
            return self.recipe_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise RunError(f"{self.path} is half-written: {self.recipe_file.name} is missing or unreadable.") from None

    def update(self, **changes: object) -> None:
        """Change entries of `run.json`."""
        self.info = {**self.info, **changes}
        write_atomic(self.info_file, _json(self.info))

    def extend(self, recipe: str, identity: str, **changes: object) -> None:
        """Take note that training goes on, perhaps by a longer recipe; what the run was before is kept."""
        for left in self.path.rglob(".*.new"):  # by a process that was killed while it wrote
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        if identity != self.info["identity"]:
            earlier = [
                *self.info.get("earlier", []),
                {"identity": self.info["identity"], "step": self.info["step"]},
            ]
            write_atomic(self.recipe_file, recipe.encode())
            changes |= {"identity": identity, "earlier": earlier}
        self.update(**changes)

    def metrics(self) -> list[Tree]:
        """The lines of `metrics.jsonl`; a last line cut short by a crash is left out."""
        return list(_read_lines(self.metrics_file))

    def timing(self) -> list[Tree]:
        """The lines of `timing.jsonl`; a last line cut short by a crash is left out."""
        return list(_read_lines(self.timing_file))

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.name}, {self.status} at step {self.info.get('step', 0)})"

    def _repr_html_(self) -> str:
        rows = {
            "recipe": self.name,
            "status": self.status,
            "step": self.info.get("step", 0),
            "folder": self.path,
        }
        cells = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in rows.items())
        return f"<table>{cells}</table>"


def rounded(value: float) -> str:
    """A number in four digits, all of those before the point: 206,720 nats and not 2.067e+05."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def fresh_folder(name: str, root: Path = Path("runs")) -> Path:
    """A folder for a new run of a recipe: `runs/NAME`, or `runs/NAME-2` and so on when that is taken."""
    safe = re.sub(r"[^\w.-]+", "-", name).strip(".-")[:100] or "run"  # a recipe's name may hold anything
    path, count = root / safe, 1
    while path.exists():
        count += 1
        path = root / f"{safe}-{count}"
    return path


def find(root: Path) -> list[Run]:
    """The runs below `root`, newest last; folders that are not runs are passed over."""
    found = []
    for file in root.glob("**/run.json"):
        with contextlib.suppress(RunError):
            found.append(Run(file.parent))
    return sorted(found, key=lambda run: str(run.info.get("created")))


def _json(content: Content) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _read_lines(path: Path) -> Iterator[Tree]:
    if path.is_file():
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                try:
                    yield json.loads(line)
                except ValueError:
                    raise RunError(f"{path} is damaged: {line[:40]!r} is not a line that sanggar writes.") from None
