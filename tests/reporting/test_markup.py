"""Nothing that a run's files hold becomes markup in its report: every leaf of them, and every name, is tried.

`SANGGAR_LEAVES=all` tries every leaf of every measurement of every family, numbers too, and each by itself where
together they are refused; otherwise texts and names of one measurement of a kind stand for the others.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import pytest

from conftest import Trained
from doors import FIXTURES
from sanggar.errors import SanggarError
from sanggar.reporting.page import report
from sanggar.reporting.view import marked
from sanggar.results.stored import read, read_arrays, read_tools, save
from sanggar.runs import Run
from sanggar.trained import plan_of

EVIL = "<img src=x onerror=alert(1)>&quot;'\"--><script>alert(2)</script>"
FILES = ("run.json", "evaluation.json", "metrics.jsonl", "timing.jsonl")
ALL = os.environ.get("SANGGAR_LEAVES") == "all"
RUNS = ("autoencoder", "ffnn", "classifier", "gan", "vae", "faces") if ALL else ("classifier", "gan", "faces")
"""Runs of 0.1.0"""
NEWER = ("flow",) if ALL else ()
"""Families that came later: runs of today"""

Place = tuple[str, tuple[str | int, ...], bool]
"""A file, the way to a leaf, and whether its name is meant and not its value"""


def leaves(tree: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], bool]]:
    """The way to every leaf, and to every name; of numbers only where all are wanted, or no schema refuses texts."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield (*way, name), True
            yield from leaves(value, (*way, name))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from leaves(value, (*way, number))
    elif ALL or isinstance(tree, str) or "settings" in way:
        yield way, False


def kind(place: Place, good: dict[str, Any]) -> str:
    """The way without numbers, and of what kind of measurement: leaves of one kind are read by the same lines."""
    file, way, is_name = place
    of = good[file]["measurements"][way[1]] if way[0] == "measurements" and "settings" in way else {}
    of_measurement = f"{of.get('key')} of {of.get('subject')}"
    return f"{file} {'.'.join('*' if isinstance(step, int) else step for step in way)} {is_name} {of_measurement}"


def changed(tree: Any, way: tuple[str | int, ...], is_name: bool) -> None:
    for step in way[:-1]:
        tree = tree[step]
    if is_name:
        tree[f"{way[-1]}{EVIL}"] = tree.pop(way[-1])
    else:
        tree[way[-1]] = f"{tree[way[-1]]}{EVIL}" if isinstance(tree[way[-1]], str) else EVIL


class Files:
    """The JSON of a run, as it is and changed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.good = folder, dict[str, Any]()
        for name in FILES:
            lines = (folder / name).read_text().splitlines()
            self.good[name] = [json.loads(line) for line in lines] if name.endswith("l") else json.loads("".join(lines))

    def write(self, places: list[Place], alone: bool = False) -> None:
        """The files with these leaves changed; `alone`: of measurements, the changed one by itself."""
        trees = copy.deepcopy(self.good)
        for file, way, is_name in sorted(places, key=lambda place: (-len(place[1]), place[2])):  # leaves before names
            changed(trees[file], way, is_name)
        (_, way, _), *_ = places
        if alone and way[0] == "measurements" and len(way) > 1:
            trees["evaluation.json"]["measurements"] = [trees["evaluation.json"]["measurements"][int(way[1])]]
        for name, tree in trees.items():
            lines = tree if name.endswith("l") else [tree]
            (self.folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))

    def opens(self, place: Place) -> bool:
        """Whether the run is opened and read with this leaf changed."""
        self.write([place], alone=True)
        try:
            run = Run(self.folder)
            if place[0] == "evaluation.json":
                read(run)
            else:
                plan_of(run)
                run.metrics()
        except SanggarError:
            return False
        return True

    def shown(self, places: list[Place], splits: int) -> int:
        """Render the report with these leaves changed, and look at it; how many of them were shown."""
        self.write(places)
        try:
            html = report(self.folder, out=self.folder / "report.html").path.read_text()
        except SanggarError:
            if splits == 0 or len(places) == 1:
                return 0
            middle = len(places) // 2
            return sum(self.shown(half, splits - 1) for half in (places[:middle], places[middle:]))
        assert "<img src=x" not in html, places
        assert "<script" not in html, places
        assert "'\"-->" not in re.sub(r"<!--.*?-->", "", html), places
        return len(places)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*RUNS, *NEWER])
def test_no_leaf_of_a_run_becomes_markup(name: str, trained: Trained, tmp_path: Path) -> None:
    if name in NEWER:
        shutil.copytree(trained(name).path, tmp_path / name)
    else:
        with zipfile.ZipFile(FIXTURES) as archive:
            archive.extractall(tmp_path)
    folder = Path(shutil.move(tmp_path / name, tmp_path / "run"))
    run = Run(folder)
    tools, details = read_tools(run)
    save(run, read(run), read_arrays(run), tools, details)  # as this version writes it
    files = Files(folder)
    every = [(file, way, is_name) for file, tree in files.good.items() for way, is_name in leaves(tree)]
    chosen = every if ALL else list({kind(place, files.good): place for place in every}.values())
    opened = [place for place in chosen if files.opens(place)]
    assert opened
    assert files.shown(opened, 99 if ALL else 3), "some of what is opened has to be shown"


def test_what_stands_between_backticks_is_code_and_nothing_else_is_markup() -> None:
    assert marked("set `a.b=<c>` & `d`") == "set <code>a.b=&lt;c&gt;</code> &amp; <code>d</code>"
    assert marked(f"`{EVIL}`") == f"<code>{escape(EVIL)}</code>"
    assert marked("a ` alone") == "a ` alone"
