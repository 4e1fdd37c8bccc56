"""Doing a study from its first run to its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sanggar.errors import RunError
from sanggar.files import Content, write_atomic
from sanggar.studies import engine
from sanggar.studies.definition import read
from sanggar.studies.engine import State
from sanggar.studies.executors import MakeExecutor, executor_for
from sanggar.studies.findings import Findings, found
from sanggar.studies.page import markdown, page


def study(
    source: str | Path | Content,
    budget: str = "full",
    *,
    out: str | Path = "studies",
    workers: int | None = None,
    executor: str | MakeExecutor = "here",
    tell: Callable[[Sequence[State]], None] = lambda states: None,
) -> Findings:
    """Do what a study lacks, and write what it found: `NAME-BUDGET.html` and `.md` in the folder `out`.

    `source` is the name of a shipped study, a file, or a mapping. Its runs lie in `out/runs`: those that are there are
    used, and those that were interrupted go on, so that a study can be stopped and begun again at any moment. They go
    through processes of this machine, as many as `workers`, or through another `executor`: `dask=ADDRESS`,
    `slurm[:key=value,…]`, or what makes one of `concurrent.futures`. `tell` is given the state of all runs now and
    then. Raises RecipeError and DataError before anything is trained, and RunError. A run that fails fails its cells
    alone.
    """
    asked = read(source, budget)
    engine.check(asked)
    folder = Path(out).resolve()  # workers may have begun elsewhere
    make = executor_for(executor, folder, workers) if isinstance(executor, str) else executor
    needed = engine.states(asked, folder)
    try:
        (folder / engine.RUNS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot write {folder}: {error.strerror}.") from None
    engine.do(needed, make, tell)
    findings = found(asked, needed)
    write_atomic(page_of(findings, folder), page(findings).encode())
    write_atomic(page_of(findings, folder).with_suffix(".md"), markdown(findings).encode())
    return findings


def page_of(findings: Findings, folder: Path) -> Path:
    """Where the page of a study lies."""
    return folder / f"{findings.study.name}-{findings.study.budget_name}.html"
