"""The files of an evaluation in a run: read and checked, written, and brought to this format."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from sanggar.errors import RunError, shown
from sanggar.files import Tree, content, write_atomic
from sanggar.record import LARGEST, parsed
from sanggar.results import FORMAT, Evaluation, Json, format1
from sanggar.runs import Arrays, Run, load_arrays, save_arrays

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
    written, arrays = _format_of(run, _read_json(run)), load_arrays(run.arrays_file)[0]
    if written > 1:
        return arrays
    with _as_format(1, run, run.arrays_file):
        return format1.arrays(arrays)


def read_tools(run: Run) -> tuple[Arrays, Tree]:
    """Read what `evaluate` fitted for later use: arrays by tool and name, details by tool; empty where there is none.

    Among the details, `step` is the step of the weights it was fitted for. Raises RunError as `read` does.
    """
    if _format_of(run, _read_json(run)) == 1:
        step, arrays = read(run).step, load_arrays(run.arrays_file)[0]
        with _as_format(1, run, run.arrays_file):
            return format1.tools(arrays, step)
    if not run.tools_file.is_file():
        return {}, {}
    arrays, details = load_arrays(run.tools_file)
    if not isinstance(details, dict) or type(details.get("step")) is not int:
        raise _damaged(run, run.tools_file)
    return arrays, details


def save(run: Run, evaluation: Evaluation, arrays: Arrays, tools: Arrays, tool_details: Mapping[str, Json]) -> None:
    """Write an evaluation: its arrays first, so that the file that names them comes last."""
    save_arrays(run.arrays_file, arrays)
    save_arrays(run.tools_file, tools, tool_details)
    text = json.dumps(evaluation.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(run.evaluation_file, text.encode() + b"\n")


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
