"""Studies and searches: many runs for one question."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sanggar.cli.group import cli, going_on

if TYPE_CHECKING:
    from rich.table import Table

    from sanggar.studies.engine import State

EVERY = 30
"""Seconds between two lines where nobody looks at a terminal"""


@cli.command()
def studies() -> None:
    """List the studies that come with sanggar."""
    from sanggar.studies.definition import read_options, shipped

    for name, path in shipped().items():
        options = read_options(path)
        click.echo(f"{name}  ({', '.join(options.budgets) or 'full'})\n  {' '.join(options.about.split())}")


@cli.command()
@click.argument("name")
@click.option("--budget", default="full", show_default=True, help="How much of it: quick, full, or another it has.")
@click.option("--out", type=click.Path(path_type=Path), default="studies", show_default=True, help="Its folder.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes, one thread each; default: one for each core.")
@click.option(
    "--executor", default="here", show_default=True, help="Where: here, dask=tcp://HOST:PORT, slurm[:KEY=VALUE]."
)
def study(name: str, budget: str, out: Path, workers: int | None, executor: str) -> None:
    """Do the study NAME, or what is left of it, and write its page."""
    from sanggar.studies import start

    how = {
        "--budget": budget,
        "--out": out,
        "--workers": workers,
        "--executor": executor if executor != "here" else None,
    }
    given = [str(part) for option, value in how.items() if value is not None for part in (option, value)]
    again = shlex.join(["sanggar", "study", name, *given])
    with going_on(f"What is done is kept. Go on with: {again}"), _shown() as tell:
        findings = start.study(name, budget, out=out, workers=workers, executor=executor, tell=tell)
    for which, judged in findings.claims.items():
        told = "; ".join(filter(None, (judged.verdict.why, judged.changed)))
        click.echo(f"{which}: {judged.verdict.outcome}{f' ({told})' if told else ''}")
    click.echo(f"Study: {start.page_of(findings, out)}")
    troubles = [trouble for rows in findings.rows.values() for row in rows for trouble in row.troubles.values()]
    if troubles:
        raise SystemExit(1)


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), default="tour", show_default=True, help="Its folder.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes, one thread each; default: one for each core.")
def tour(out: Path, workers: int | None) -> None:
    """Train, measure and report all five systems on pictures that come along."""
    from sanggar.studies import start

    with going_on("What is done is kept; the same command goes on."), _shown() as tell:
        made = start.tour(out=out, workers=workers, tell=tell)
    click.echo(f"Tour: {made.path}")


@cli.command()
@click.argument("recipe")
@click.argument("settings", nargs=-1, required=True, metavar="KEY=RANGE|VALUES...")
@click.option("--trials", type=click.IntRange(min=1), default=30, show_default=True, help="Settings that are tried.")
@click.option("--sampler", default="tpe", show_default=True, help="Who proposes them: tpe, gp, random, sobol, grid.")
@click.option("--minimize", metavar="KEY", help="Objective on validation pictures; default: loss.")
@click.option("--maximize", metavar="KEY", help="The same, where more is better.")
@click.option("--halving", is_flag=True, help="Leave worse trials early: successive halving.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the proposals.")
@click.option("--out", type=click.Path(path_type=Path), default="searches", show_default=True, help="Its folder.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes, one thread each; default: one for each core.")
@click.option(
    "--executor", default="here", show_default=True, help="Where: here, dask=tcp://HOST:PORT, slurm[:KEY=VALUE]."
)
def search(recipe: str, settings: tuple[str, ...], out: Path, **how: Any) -> None:
    """Search for better settings of RECIPE: KEY=1e-4..1e-2:log is a range, KEY=32,64,128 are values."""
    from sanggar.studies import start

    with going_on("What is done is kept; the same command goes on."), _shown() as tell:
        found = start.search(recipe, settings, out=out, tell=tell, **how)
    for again in found.again:
        found_at, mean = again.trial.value, again.mean
        worth = "could not be trained again" if mean is None else f"{mean:.4g} by fresh seeds"
        click.echo(
            f"trial {again.trial.number}: found at {found_at:.4g}, {worth}{' (chosen)' * (again is found.chosen)}"
        )
    click.echo(f"Search: {out / found.search.name}.html")
    if found.chosen is None:
        raise SystemExit(1)
    click.echo(f"Best recipe: {out / found.search.name}.yaml")


@contextmanager
def _shown() -> Iterator[Callable[[Sequence[State]], None]]:
    """Show what runs do: a table that is drawn anew on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), refresh_per_second=2) as live:
        yield lambda states: live.update(_table(states))


def _table(states: Sequence[State]) -> Table:
    """Runs that are going on and those that failed, and how many others there are."""
    from rich.table import Table

    table = Table(*("run", "for", "", "steps", "left"), title=_counted(states), title_justify="left", box=None)
    for state in states:
        if state.doing in ("running", "failed"):
            steps, left = _going(state) if state.doing == "running" else (state.trouble, "")
            if state.doing == "failed" or steps:
                table.add_row(state.folder.name, state.labels[0], state.doing, steps, left)
    return table


def _going(state: State) -> tuple[str, str]:
    """Steps of how many, and minutes that are left; nothing of a run that waits for a worker."""
    from sanggar.studies.engine import progress

    known = progress(state)
    if known is None:
        return "", ""
    done, steps, seconds = known
    if done >= steps:
        return "measuring", ""
    left = f"{seconds / done * (steps - done) / 60:.1f} min" if done else ""
    return f"{done:,} of {steps:,}", left


class _Lines:
    """A line when something changed, and every now and then."""

    def __init__(self) -> None:
        self.said, self.when = "", 0.0
        self.failed: set[Path] = set()

    def __call__(self, states: Sequence[State]) -> None:
        for state in states:
            if state.doing == "failed" and state.folder not in self.failed:
                self.failed.add(state.folder)
                click.echo(f"FAILED {state.labels[0]}: {state.trouble}", err=True)
        said = _counted(states)
        if said != self.said or time.monotonic() - self.when > EVERY:
            self.said, self.when = said, time.monotonic()
            click.echo(said, err=True)


def _counted(states: Sequence[State]) -> str:
    counts = Counter(state.doing for state in states)
    return f"{len(states)} run{'s' * (len(states) != 1)}: " + ", ".join(f"{counts[doing]} {doing}" for doing in counts)
