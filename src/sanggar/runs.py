"""A run directory: the only place that knows the names and the formats of the files inside one.

Everything is written beside its place, flushed and renamed, so that a reader, or whoever comes after a power
cut, finds the old file or the new one and never half of either. Nothing is pickled. One process at a time writes
(`alone_in`). A run may come from anybody: nothing of it is followed out of it, and what its JSON holds is checked
against types when it is opened, so that everything behind this door can rely on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from html import escape
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from sanggar.errors import RunError, shown
from sanggar.files import Content, Tree, content, failure, opened, unreadable, write_atomic
from sanggar.locking import OWN, alone_in, check_inside
from sanggar.record import LARGEST, Info, Metrics, Timing, as_json, now, parsed, read_lines

FORMAT = 2
"""Version of the run directory's layout; raised when an older sanggar could not read a newer run."""

MIGRATIONS: dict[int, Callable[[Tree], Tree]] = {1: lambda info: {**info, "format": 2}}
"""By the format of a stored `run.json`: what brings it to the next one. From 1 to 2 its own keys stayed."""

Arrays = dict[str, np.ndarray]


# -- arrays ----------------------------------------------------------------------------------------------------


def save_arrays(path: Path, arrays: Arrays, meta: Content | None = None) -> None:
    """Write named arrays and a JSON-able `meta` as one safetensors file that carries its own checksum."""
    told = json.dumps(dict(meta or {}))
    # one entry: several would come in another order each time, and equal content would be unequal files
    header = {"sanggar": json.dumps({"meta": told, "sha256": _checksum(arrays, told)})}
    write_atomic(path, safetensors.numpy.save({k: np.asarray(v, order="C") for k, v in arrays.items()}, header))


def load_arrays(path: Path) -> tuple[Arrays, Tree]:
    """The arrays and the meta that `save_arrays` wrote. Raises RunError when the content is not what was written."""
    with opened(path):  # said in words here, where it cannot be read
        pass
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = _header(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
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


def checksum_of(path: Path) -> str | None:
    """The checksum that an array file carries, without a look at its content; None where it carries none."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            found = _header(file.metadata() or {}).get("sha256")
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


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
            if path.exists() and path.stat().st_nlink > 1:
                write_atomic(path, path.read_bytes())  # what else is linked to it, a backup say, stays as it is
            self._file = path.open("r+b" if path.exists() else "w+b")
            self._file.seek(0, os.SEEK_END)
            if self._file.tell() < length:
                raise RunError(f"{path} is shorter than the checkpoint says; it was changed after training.")
            self._file.truncate(length)
            self._file.seek(length)
        except OSError as error:
            raise RunError(f"Cannot write {path}: {failure(error)}.") from None
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
            raise RunError(f"Cannot write {self._path}: {failure(error)}, then resume.") from None
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
        try:
            there = stat.S_ISDIR(self.path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            there = False
        except (OSError, ValueError) as error:
            said = error if isinstance(error, OSError) else OSError(0, str(error))
            raise RunError(unreadable(self.path, said)) from None
        if not there:
            raise RunError(f"There is no run directory {self.path}. `sanggar runs` lists those that exist.")
        check_inside(self.path)
        if not os.path.lexists(self.info_file):
            raise RunError(f"{self.path} is not a run directory, or was half-written: it has no {self.info_file.name}.")
        given = content(self.info_file, LARGEST[".json"])
        try:
            tree: Tree = parsed(given)
            written_as = tree["format"]
            if isinstance(written_as, bool) or not isinstance(written_as, int) or written_as < 1:
                raise ValueError
            for older in range(written_as, FORMAT):
                tree = MIGRATIONS[older](tree)
        except (ValueError, KeyError, TypeError):
            raise RunError(f"{self.info_file} is damaged: not the JSON that sanggar writes.") from None
        if written_as > FORMAT:
            raise RunError(
                f"{self.path} was written by a newer sanggar ({shown(tree.get('package', 'unknown'), 200)}, format "
                f"{written_as}); this one reads format {FORMAT}. Update sanggar to open it."
            )
        self.info: Tree = Info(self.info_file, tree)

    @classmethod
    def create(cls, path: Path, recipe: str, info: Content) -> Run:
        """Begin a run at `path`, which must not exist or be empty. Who goes on writing there does so `alone_in` it."""
        check_vacant(path)
        with alone_in(path):
            check_vacant(path)  # another one may have begun there while this one waited
            write_atomic(path / "recipe.yaml", recipe.encode())
            write_atomic(path / "run.json", as_json({"format": FORMAT, **info, "created": now()}))
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
        if not os.path.lexists(self.recipe_file):
            raise RunError(f"{self.path} is half-written: {self.recipe_file.name} is missing.")
        try:
            return content(self.recipe_file, LARGEST[".yaml"]).decode("utf-8")
        except UnicodeDecodeError:
            raise RunError(f"{self.recipe_file} is damaged: not text in UTF-8.") from None

    def update(self, **changes: object) -> None:
        """Change entries of `run.json`, and leave the others as they are there by now."""
        self.refresh()
        changed = {**self.info, **changes}
        text, info = as_json(changed), Info(self.info_file, changed)
        write_atomic(self.info_file, text)
        self.info = info

    def extend(self, recipe: str, identity: str, **changes: object) -> None:
        """Take note that training goes on, perhaps by a longer recipe; what the run was before is kept."""
        with alone_in(self.path):
            if identity != self.info["identity"]:
                earlier = [
                    *self.info.get("earlier", []),
                    {"identity": self.info["identity"], "step": self.info["step"]},
                ]
                changes |= {"identity": identity, "earlier": earlier}
            if recipe != self.recipe_text():  # another length, other measurements, or another place of the same data
                write_atomic(self.recipe_file, recipe.encode())
            self.update(**changes)

    def begun_for(
        self,
        claims: Mapping[str, Mapping[str, str]],
        trials: Mapping[str, Mapping[str, Mapping[str, str]]] | None = None,
    ) -> None:
        """Keep what a run is for: by study, its claims' hashes as they are the first time; by search, its trials."""
        with alone_in(self.path):
            self.refresh()
            studies, searches = self.info.get("studies", {}), self.info.get("searches", {})
            for study, of in claims.items():
                stated = {name: {"hash": hash, "step": self.info["step"]} for name, hash in of.items()}
                studies = {**studies, study: {**stated, **studies.get(study, {})}}
            for search, tried in (trials or {}).items():
                searches = {**searches, search: {**searches.get(search, {}), **tried}}
            if studies != self.info.get("studies", {}) or searches != self.info.get("searches", {}):
                self.update(studies=studies, searches=searches)

    def metrics(self) -> list[Tree]:
        """The lines of `metrics.jsonl`; a last line cut short by a crash is left out."""
        return list(read_lines(self.metrics_file, Metrics))

    def timing(self) -> list[Tree]:
        """The lines of `timing.jsonl`; a last line cut short by a crash is left out."""
        return list(read_lines(self.timing_file, Timing))

    def samples(self) -> list[tuple[int, Path]]:
        """The pictures drawn as training went, each with its step, in their order."""
        if not self.samples_folder.is_dir():
            return []
        named = ((_SAMPLE.fullmatch(file.name), file) for file in self.samples_folder.iterdir())
        return sorted((int(name[1]), file) for name, file in named if name)

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


def check_vacant(path: Path) -> None:
    """Raises RunError where something other than an empty folder stands there already."""
    try:
        vacant = not os.path.lexists(path) or all(entry.name in OWN for entry in path.iterdir())
    except OSError as error:
        raise RunError(f"{path} already exists and is not empty, or not a folder ({failure(error)}).") from None
    if not vacant:
        resumable = (path / "run.json").is_file()
        also = f", or continue the run there with `sanggar train --resume {path}`" if resumable else ""
        raise RunError(f"{path} already exists and is not empty. Choose another place with --out{also}.")


def rounded(value: float) -> str:
    """A number in four digits, all of those before the point: 206,720 nats and not 2.067e+05."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def fresh_folder(name: str, root: Path = Path("runs")) -> Path:
    """A folder for a new run of a recipe: `runs/NAME`, or `runs/NAME-2` and so on when that is taken."""
    return next(path for path in _folders(name, root) if not os.path.lexists(path))


def claimed_folder(name: str, root: Path = Path("runs")) -> Path:
    """The same, made: whoever else looks for one at the same moment gets another. Raises RunError."""
    for path in _folders(name, root):
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not os.path.lexists(path):
                raise RunError(f"Cannot write {path}: a file stands where a folder has to be.") from None
        except OSError as error:
            raise RunError(f"Cannot write {path}: {failure(error)}.") from None
        else:
            return path
    raise AssertionError  # there is always another number


def _folders(name: str, root: Path) -> Iterator[Path]:
    safe = re.sub(r"[^\w.-]+", "-", name).strip(".-")[:60] or "run"  # a recipe's name may hold anything
    yield root / safe
    count = 1
    while True:
        count += 1
        yield root / f"{safe}-{count}"


def find(root: Path, say: Callable[[str], None] | None = None) -> list[Run]:
    """The runs below `root`, newest last; of those that cannot be opened, `say` is told why."""
    found = []
    for folder in _holding(root):
        try:
            found.append(Run(folder))
        except RunError as error:
            if say:
                say(str(error))
    return sorted(found, key=lambda run: str(run.info.get("created")))


def _holding(root: Path) -> Iterable[Path]:
    """The folders below `root` that hold a run.json; links are not followed, what may not be listed is passed over."""
    for folder, below, names in os.walk(root):
        below.sort()
        if "run.json" in names:
            yield Path(folder)


_SAMPLE = re.compile(r"step-([0-9]{1,15})\.png")
