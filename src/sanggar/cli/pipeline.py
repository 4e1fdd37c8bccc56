"""Training, measuring and reporting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from sanggar.cli.group import OUT, RUN, cli, going_on, into, say

if TYPE_CHECKING:
    from sanggar.runs import Run


@cli.command()
@click.argument("folder")
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(min=0, min_open=True),
              help="How long its training may take on this machine.")  # fmt: skip
@click.option(
    "--family",
    default="vae",
    show_default=True,
    type=click.Choice(("vae", "autoencoder", "gan", "flow")),
    help="What kind of network.",
)
@into("FILE.yaml; printed where it is left out.", required=False)
def new(folder: str, minutes: float, family: Literal["vae", "autoencoder", "gan", "flow"], out: Path | None) -> None:
    """Choose a recipe for the pictures of a FOLDER or a zip.

    It looks at the pictures, times networks on this machine, and writes a recipe that is sized to both, saying why
    each value is what it is.
    """
    from sanggar.files import write_atomic
    from sanggar.training.configure import configure

    if out is not None and out.suffix not in (".yaml", ".yml"):
        raise click.UsageError(f"--out {out}: expected a name ending in .yaml.")
    if out is not None and out.exists():
        raise click.UsageError(f"--out {out}: it exists already; choose another name, or remove it.")
    chosen = configure(folder, minutes, family, say)
    if out is None:
        click.echo(chosen.yaml(), nl=False)
        return
    write_atomic(out, chosen.yaml().encode())
    click.echo(f"{out}: about {chosen.minutes:.1f} minutes of training. Go on with: sanggar run {out}")


@cli.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@OUT
def run(recipe: str, overrides: Sequence[str], out: Path | None) -> None:
    """Train, evaluate and report a RECIPE: the main job."""
    from sanggar.locking import alone_in
    from sanggar.reporting.page import report
    from sanggar.resources import first_process
    from sanggar.rulers import evaluate
    from sanggar.training.start import train

    done = train(recipe, overrides, out=out)
    if not first_process():
        return
    with alone_in(done.path):
        with going_on(f"The training is done and kept. Go on with: sanggar evaluate {done.path}"):
            _headlines(evaluate(done, say=say))
        with going_on(f"Training and measurements are kept. Go on with: sanggar report {done.path}"):
            click.echo(f"Report: {report(done)}")


@cli.command()
@click.argument("recipe", required=False)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--resume", "resumed", metavar="RUN", help="Go on with a run; only its length may grow.")
@OUT
def train(recipe: str | None, overrides: Sequence[str], resumed: str | None, out: Path | None) -> None:
    """Train a RECIPE, or go on with a run."""
    from sanggar.resources import first_process
    from sanggar.training import start

    if resumed is None:
        if recipe is None:
            raise click.UsageError("Give a recipe (`sanggar recipes` lists them) or --resume RUN.")
        done = start.train(recipe, overrides, out=out)
    else:
        if out is not None:
            raise click.UsageError("--out has no meaning with --resume: the run goes on where it is.")
        if recipe is not None and "=" not in recipe:
            raise click.UsageError(f"--resume goes on with the run's own recipe; {recipe!r} cannot be given beside it.")
        done = start.resume(resumed, (*([recipe] if recipe else []), *overrides))
    if first_process():
        click.echo(f"Run: {done.path} ({done.status}, step {done.info['step']:,})")


@cli.command()
@RUN
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def evaluate(run: str, overrides: Sequence[str]) -> None:
    """Measure a RUN on the test split, by other options where `evaluation.key=value` are given."""
    from sanggar.rulers import evaluate as measure

    with going_on(f"What was measured before is as it was. Begin again with: sanggar evaluate {run}"):
        _headlines(measure(run, overrides, say=say))


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@into("The file to write; default: report.html in the run.", required=False)
def report(runs: Sequence[str], out: Path | None) -> None:
    """Write the report of one RUN, or of several."""
    from sanggar.reporting.page import report as write

    with going_on(f"Nothing was written. Begin again with: sanggar report {' '.join(runs)}"):
        click.echo(write(*runs, out=out))


def _headlines(run: Run) -> None:
    """Print the headline numbers of an evaluated run, and its alarms."""
    from sanggar.reporting import labels
    from sanggar.results import headlines
    from sanggar.results.stored import read
    from sanggar.runs import rounded

    evaluation = read(run)
    for m in headlines(evaluation):
        interval = "[{}, {}]  ".format(*map(rounded, m.interval)) if m.interval else ""
        name, unit = labels.label_with_subject(m), labels.unit(m)
        click.echo(f"{name:<44} {rounded(m.value):>9} {unit:<11} {interval}n={m.protocol.n:,}")
    for alarm in evaluation.alarms:
        click.echo(f"ALARM: {labels.alarm(alarm)}")
    if note := run.info["data"]["note"]:
        click.echo(f"Note: {note}")
