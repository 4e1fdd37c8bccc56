"""Doing a study, or a search, from its first run to its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sanggar.data.images import grid, write_png
from sanggar.errors import RecipeError, RunError
from sanggar.files import Content, write_atomic
from sanggar.recipe import Recipe
from sanggar.reporting.page import Report, report
from sanggar.studies import engine
from sanggar.studies.definition import Study, read
from sanggar.studies.engine import State, Workers
from sanggar.studies.executors import MakeExecutor, cores, executor_for
from sanggar.studies.findings import Findings
from sanggar.studies.findings import found as findings_of
from sanggar.studies.page import markdown, page, picture_of, sheets
from sanggar.studies.search import Found, Runs, Search, check, do
from sanggar.studies.search_page import written
from sanggar.studies.space import space
from sanggar.studies.work import LOSS

EDGE = 64
"""Pixels that a picture is at most enlarged to"""


def study(
    source: str | Path | Content,
    budget: str = "full",
    *,
    out: str | Path = "studies",
    workers: int | None = None,
    executor: str | MakeExecutor = "here",
    tell: Callable[[Sequence[State]], None] = lambda states: None,
) -> Findings:
    """Do what a study lacks, and write what it found: `NAME-BUDGET.html` and `.md` in the folder `out`, and
    pictures that networks drew where a table shows them.

    `source` is the name of a shipped study, a file, or a mapping. Its runs lie in `out/runs`: those that are there are
    used, and those that were interrupted go on, so that a study can be stopped and begun again at any moment. They go
    through processes of this machine, as many as `workers`, or through another `executor`: `dask=ADDRESS`,
    `slurm[:key=value,…]`, or what makes one of `concurrent.futures`. `tell` is given the state of all runs now and
    then. Raises RecipeError and DataError before anything is trained, and RunError. A run that fails fails its cells
    alone.
    """
    asked = read(source, budget)
    folder = Path(out).resolve()  # workers may have begun elsewhere
    needed = _done(asked, folder, workers, executor, tell)
    findings = findings_of(asked, needed)
    write_atomic(page_of(findings, folder), page(findings).encode())
    write_atomic(page_of(findings, folder).with_suffix(".md"), markdown(findings).encode())
    for name, sheet in sheets(findings).items():
        drawn = np.concatenate(list(sheet.values()))
        together = grid(drawn, len(drawn) // len(sheet), scale=max(1, EDGE // drawn.shape[1]))
        write_atomic(folder / picture_of(findings, name), write_png(together))
    return findings


def tour(
    *,
    out: str | Path = "tour",
    workers: int | None = None,
    tell: Callable[[Sequence[State]], None] = lambda states: None,
) -> Report:
    """Train and measure all five systems on pictures that come with sanggar, and report them on one page.

    It is the study `tour`, and can be stopped and begun again likewise. Raises RunError where one of them fails.
    """
    folder = Path(out).resolve()
    needed = _done(read("tour"), folder, workers, "here", tell)
    if troubles := [f"{state.labels[0]}: {state.trouble}" for state in needed.values() if state.trouble]:
        raise RunError(troubles[0])
    return report(*needed, out=folder / "tour.html")


def _done(
    asked: Study, folder: Path, workers: int | None, executor: str | MakeExecutor,
    tell: Callable[[Sequence[State]], None],
) -> dict[Path, State]:  # fmt: skip
    """Do what a study lacks."""
    engine.check(asked)
    needed = engine.states(asked, folder)
    with _workers(folder, workers, executor) as several:
        engine.do(needed, several, tell)
    return needed


def search(
    source: str | Content | Recipe,
    settings: Sequence[str],
    *,
    trials: int = 30,
    sampler: str = "tpe",
    minimize: str | None = None,
    maximize: str | None = None,
    seed: int = 0,
    halving: bool = False,
    out: str | Path = "searches",
    workers: int | None = None,
    executor: str | MakeExecutor = "here",
    tell: Callable[[Sequence[State]], None] = lambda states: None,
) -> Found:
    """Search for better settings of a recipe, and write what was found: `.html`, `.md` and the best recipe, `.yaml`.

    `settings` are `key=LOW..HIGH`, `key=LOW..HIGH:log`, `key=VALUE,VALUE,…`, and `key=VALUE` for what all trials have.
    The objective is of validation pictures: what training writes down there (`loss`, or one of its terms), or the key
    of a measurement. `sampler` is tpe, gp, random, sobol or grid. With `halving` all trials are trained a ninth of the
    way, the best third of them a third, and the best ninth wholly. At the end the best three are trained by three
    fresh seeds, and the best of those is measured on test. What was tried lies in `out/runs`: a search that is begun
    again, or with more trials, goes on from it. The rest is as for `study`. Raises RecipeError, DataError, RunError.
    """
    if minimize is not None and maximize is not None:
        raise RecipeError("give either an objective to minimize or one to maximize.")
    asked = Search(
        space(source, settings), trials, sampler, minimize or maximize or LOSS,
        "maximize" if maximize else "minimize", seed, halving,
    )  # fmt: skip
    check(asked)
    folder = Path(out).resolve()
    with _workers(folder, workers, executor) as several:
        found = do(asked, Runs(folder, several, tell), workers or cores())
    for suffix, content in written(found):
        write_atomic(folder / f"{asked.name}{suffix}", content.encode())
    return found


def _workers(folder: Path, workers: int | None, executor: str | MakeExecutor) -> Workers:
    """Who makes the runs, in a folder that is made for them. Raises RecipeError, RunError."""
    if (folder / "run.json").exists():
        raise RunError(f"{folder} is a run: give a folder of its own, which runs are made in.")
    make = executor_for(executor, folder, workers) if isinstance(executor, str) else executor
    try:
        (folder / engine.RUNS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot write {error.filename or folder}: {error.strerror}.") from None
    return Workers(make)


def page_of(findings: Findings, folder: Path) -> Path:
    """Where the page of a study lies."""
    return folder / f"{findings.study.name}-{findings.study.budget_name}.html"
