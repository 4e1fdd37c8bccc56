"""The files of an evaluation in a run: read and checked, written, and brought to this format."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from sanggar.errors import RunError, shown
from sanggar.files import Tree, content, failure, write_atomic
from sanggar.record import LARGEST, parsed
from sanggar.results import FORMAT, Evaluation, Json, format1
from sanggar.runs import Arrays, Run, checksum_of, load_arrays, save_arrays

MIGRATIONS: dict[int, Callable[[Tree], Tree]] = {1: format1.evaluation}
"""By the format of a stored evaluation: what brings it to the next one"""


def read(run: Run) -> Evaluation:
    """Read what `evaluate` measured. Raises RunError when the run was not evaluated, or its files cannot be read."""
    tree = _tree(run)
    try:
        evaluation = Evaluation.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise _damaged(run, run.evaluation_file, f"{where}: {problem['msg']}") from None
    known = set()
    for m in evaluation.measurements:
        identity = (m.key, m.subject, tuple(sorted(m.tags.items())))
        if identity in known:
            raise _damaged(run, run.evaluation_file, f"measurements: {m.key} of {m.subject} stands there twice")
        known.add(identity)
    return evaluation


def read_arrays(run: Run) -> Arrays:
    """Read the arrays that belong to an evaluation, by metric and name. Raises RunError as `read` does."""
    tree = _read_json(run)
    arrays = load_arrays(_belonging(run, run.arrays_file, tree))[0]
    if _format_of(run, tree) > 1:
        return arrays
    with _as_format(1, run, run.arrays_file):
        return format1.arrays(arrays)


def read_tools(run: Run) -> tuple[Arrays, Tree]:
    """Read what `evaluate` fitted for later use: arrays by tool and name, details by tool; empty where there is none.

    Among the details, `step` is the step of the weights it was fitted for. Raises RunError as `read` does.
    """
    tree = _read_json(run)
    if _format_of(run, tree) == 1:
        step, arrays = read(run).step, load_arrays(run.arrays_file)[0]
        with _as_format(1, run, run.arrays_file):
            return format1.tools(arrays, step)
    file = _belonging(run, run.tools_file, tree)
    if not file.is_file():
        return {}, {}
    arrays, details = load_arrays(file)
    if not isinstance(details, dict) or type(details.get("step")) is not int:
        raise _damaged(run, run.tools_file)
    return arrays, details


def save(run: Run, evaluation: Evaluation, arrays: Arrays, tools: Arrays, tool_details: Mapping[str, Json]) -> None:
    """Write an evaluation. Until the file that names its arrays is written, they lie beside those of the last one.

    So whoever reads finds all of the last one or all of this one, whenever this process is killed.
    """
    settle(run)
    save_arrays(_coming(run.arrays_file), arrays)
    save_arrays(_coming(run.tools_file), tools, tool_details)
    files = {file.stem: checksum_of(_coming(file)) for file in (run.arrays_file, run.tools_file)}
    tree = evaluation.model_dump(mode="json") | {"files": files}
    text = json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(run.evaluation_file, text.encode() + b"\n")
    settle(run)


def settle(run: Run) -> None:
    """Put arrays into their place where the evaluation names them, and remove what a killed process left of another.

    To be called by the run's one writer. Raises RunError where the disk forbids it.
    """
    coming = {file: _coming(file) for file in (run.arrays_file, run.tools_file) if _coming(file).is_file()}
    if not coming:
        return
    try:
        tree = _read_json(run)
    except RunError:  # none, or none that can be read: it names nothing
        tree = {}
    for file, beside in coming.items():
        try:
            if _named(tree, file) in (None, checksum_of(file)):
                beside.unlink()
            else:
                beside.replace(file)
        except OSError as error:
            raise RunError(f"Cannot write {file}: {failure(error)}.") from None


def _coming(file: Path) -> Path:
    """Where arrays lie until the evaluation that names them is written."""
    return file.with_name(f"{file.stem}.next{file.suffix}")


def _named(tree: Tree, file: Path) -> str | None:
    """The checksum that a stored evaluation has of one of its files; None where it has none, as earlier ones."""
    files = tree.get("files")
    known = files.get(file.stem) if isinstance(files, dict) else None
    return known if isinstance(known, str) else None


def _belonging(run: Run, file: Path, tree: Tree) -> Path:
    """Where the arrays lie that belong to a stored evaluation. Raises RunError where others lie there."""
    known = _named(tree, file)
    there = None if known is None else checksum_of(file)
    if known is not None and there != known:
        if checksum_of(_coming(file)) == known:
            return _coming(file)
        if there is not None:
            raise _damaged(run, file, "it belongs to another evaluation")
    return file


def _tree(run: Run) -> Tree:
    """The stored evaluation in this format, not yet checked."""
    tree = _read_json(run)
    written = _format_of(run, tree)
    for earlier in range(written, FORMAT):
        with _as_format(earlier, run, run.evaluation_file):
            tree = MIGRATIONS[earlier](tree)
    if written == 1:
        arrays = load_arrays(run.arrays_file)[0]
        with _as_format(1, run, run.arrays_file):
            tree["details"] = format1.details(arrays)
    return tree


def _format_of(run: Run, tree: Tree) -> int:
    written = tree.get("format")
    if isinstance(written, bool) or not isinstance(written, int) or written < 1:
        raise _damaged(run, run.evaluation_file)
    if written > FORMAT:
        raise RunError(
            f"{run.evaluation_file} was written by a newer sanggar (format {written}); this one reads format {FORMAT}. "
            "Update sanggar to open it."
        )
    return written


def _read_json(run: Run) -> Tree:
    if not os.path.lexists(run.evaluation_file):
        raise RunError(f"{run.path} was not evaluated yet; `sanggar evaluate {run.path}` does it.")
    try:
        tree = parsed(content(run.evaluation_file, LARGEST[".json"]))
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        raise _damaged(run, run.evaluation_file)
    return tree


@contextmanager
def _as_format(written: int, run: Run, file: Path) -> Iterator[None]:
    """Turn what goes wrong with content of an earlier format into a RunError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        raise _damaged(run, file, f"it is not what sanggar wrote in format {written}") from None


def _damaged(run: Run, file: Path, reason: str = "") -> RunError:
    """A file that holds something else than what was written, in one line."""
    said = shown(reason, 200)
    if said:
        return RunError(f"{file} is damaged: {said}. `sanggar evaluate {run.path}` makes it anew.")
    return RunError(f"{file} is damaged; `sanggar evaluate {run.path}` makes it anew.")
