"""Putting the sections on one page: a single HTML file that needs no network and runs no script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from jinja2 import Environment, PackageLoader

from sanggar.errors import RunError
from sanggar.files import write_atomic
from sanggar.locking import alone_in
from sanggar.reporting.sections import SECTIONS
from sanggar.reporting.view import View, Views
from sanggar.results.stored import read, read_arrays, settle
from sanggar.runs import Run

MISFITS = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What a section raises of a file that was changed"""


@dataclass(frozen=True)
class Report:
    """A written report: a path, which in a notebook shows the page itself."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        page = escape(self.path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 80vh; border: 0" title="Report"></iframe>'


def report(*runs: str | Path | Run, out: str | Path | None = None) -> Report:
    """Write the report of one run, or of several side by side.

    The default place is `report.html` in the only run, or `report.html` here for several. Raises RunError when a
    run is missing, damaged, or was not evaluated.
    """
    if not runs:
        raise RunError("A report needs at least one run.")
    opened = [run if isinstance(run, Run) else Run(run) for run in runs]
    place = Path(out) if out is not None else (opened[0].report_file if len(opened) == 1 else Path("report.html"))
    with ExitStack() as stack:
        if out is None and len(opened) == 1:
            stack.enter_context(alone_in(opened[0].path))
            opened[0].refresh()
            settle(opened[0])
        write_atomic(place, render([view(run) for run in opened]).encode())
    return Report(place)


def view(run: Run) -> View:
    """What the report needs of a run."""
    evaluation, arrays = read(run), read_arrays(run)
    while evaluation != (again := read(run)):  # it was measured anew meanwhile: numbers and pictures belong together
        evaluation, arrays = again, read_arrays(run)
    if evaluation.step != run.info["step"]:
        raise RunError(
            f"{run.path} was measured at step {evaluation.step:,} and has come to step {run.info['step']:,} since; "
            f"`sanggar evaluate {run.path}` measures it anew."
        )
    return View(run.path.resolve().name, run, run.metrics(), evaluation, arrays)


def _told_apart(views: Views) -> Views:
    """Runs are called by their folders, and where these have the same name, by as much of their paths as it takes.

    A study's runs lie in folders called by recipe and identity: they are called by their recipes, where that suffices.
    """
    recipes = [view.run.name for view in views if re.fullmatch(r"-[0-9a-f]{12}", view.name.removeprefix(view.run.name))]
    if len(set(recipes)) == len(views):
        return [replace(view, name=name) for view, name in zip(views, recipes, strict=True)]
    paths = [view.run.path.resolve() for view in views]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return [replace(view, name=name) for view, name in zip(views, names, strict=True)]


def render(views: Views) -> str:
    """The page as HTML."""
    views, sections = _told_apart(views), []
    for key, (title, write) in SECTIONS.items():
        try:
            html = write(views)
        except MISFITS as error:
            runs = " ".join(str(view.run.path) for view in views)
            raise RunError(
                f"The parts of an evaluation do not fit together (section {title!r}: {type(error).__name__}). "
                f"`sanggar evaluate` makes it anew: {runs}"
            ) from error
        if html is not None:
            sections.append({"key": key, "title": title, "html": html})
    title = views[0].run.name if len(views) == 1 else " · ".join(view.name for view in views)
    # sections are HTML that escaped what came from outside; the template escapes everything else
    template = Environment(loader=PackageLoader("sanggar.reporting", "."), autoescape=True).get_template("page.html")
    packages: Sequence[str] = sorted({view.info["package"] for view in views})
    return template.render(title=title, sections=sections, packages=packages)
