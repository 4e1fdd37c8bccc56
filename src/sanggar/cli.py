"""The commands, each a few lines over the library. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from sanggar import __version__
from sanggar.errors import DataError, SanggarError, suggest

if TYPE_CHECKING:
    import numpy as np

OUT = click.option("--out", type=click.Path(path_type=Path), help="Where to write; nothing that exists is overwritten.")


class Commands(click.Group):
    """A group that offers the nearest command for a misspelt one, and lists its commands as they are written."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of a session."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a suggestion."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(f"There is no command {args[0]!r}. {suggest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sanggar")
def cli() -> None:
    """A studio for small neural networks that see and draw.

    Start with: sanggar run digits-denoising-autoencoder
    """


@cli.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@OUT
def run(recipe: str, overrides: Sequence[str], out: Path | None) -> None:
    """Train, evaluate and report a RECIPE: the main job."""
    from sanggar.evaluation.measure import evaluate
    from sanggar.reporting.page import report
    from sanggar.training.start import train

    done = train(recipe, overrides, out=out)
    if not _is_first():
        return
    _headlines(evaluate(done, say=_say))
    click.echo(f"Report: {report(done)}")


@cli.command()
@click.argument("recipe", required=False)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--resume", "resumed", metavar="RUN", help="Go on with a run; only its length may grow.")
@OUT
def train(recipe: str | None, overrides: Sequence[str], resumed: str | None, out: Path | None) -> None:
    """Train a RECIPE, or go on with a run."""
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
    if _is_first():
        click.echo(f"Run: {done.path} ({done.status}, step {done.info['step']:,})")


@cli.command()
@click.argument("run", metavar="RUN")
def evaluate(run: str) -> None:
    """Measure a RUN on the test split."""
    from sanggar.evaluation.measure import evaluate as measure

    _headlines(measure(run, say=_say))


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; default: report.html in the run.")
def report(runs: Sequence[str], out: Path | None) -> None:
    """Write the report of one RUN, or of several."""
    from sanggar.reporting.page import report as write

    click.echo(write(*runs, out=out))


@cli.command()
@click.argument("run", metavar="RUN")
@click.argument("images", metavar="IMAGES")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="FILE.png (given above reconstructed) or FILE.npz.",
)
def reconstruct(run: str, images: str, out: Path) -> None:
    """Show IMAGES to a RUN's network and keep what comes back.

    IMAGES is a file, a folder, or an .npz with `images`.
    """
    from sanggar.data.images import above_each_other
    from sanggar.painter import open as open_run

    _check_ending(out, ".png", ".npz")
    painter = open_run(run)
    given = painter.pixels(images)
    came_back = painter.reconstruct(given)
    columns = min(10, len(given))
    _write(out, above_each_other(given, came_back, columns) if out.suffix == ".png" else came_back, columns)


@cli.command()
@click.argument("run", metavar="RUN")
@click.argument("images", metavar="IMAGES")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="FILE.npz with `latents` and `names`.")
def encode(run: str, images: str, out: Path) -> None:
    """Write the latents of IMAGES.

    IMAGES is a file, a folder, or an .npz with `images`.
    """
    from sanggar.data.images import read_images
    from sanggar.painter import open as open_run

    _check_ending(out, ".npz")
    painter = open_run(run)
    pixels, names = read_images(images, painter.facts)
    _save(out, latents=painter.encode(pixels), names=names)


@cli.command()
@click.argument("run", metavar="RUN")
@click.argument("first", metavar="IMAGE")
@click.argument("second", metavar="IMAGE")
@click.option(
    "--steps",
    default=9,
    show_default=True,
    type=click.IntRange(2, 1000),
    help="Pictures, both ends included.",
)
@click.option("--arc", is_flag=True, help="On the arc between them (slerp), which keeps the latents' length.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="FILE.png or FILE.npz.")
def interpolate(run: str, first: str, second: str, steps: int, arc: bool, out: Path) -> None:
    """Walk in a straight line between two pictures' latents, or on an arc."""
    from sanggar.painter import open as open_run

    _check_ending(out, ".png", ".npz")
    _write(out, open_run(run).interpolate(first, second, steps, arc), columns=steps)


@cli.command()
@click.argument("run", metavar="RUN")
@click.argument("images", metavar="IMAGES")
@click.option("--attribute", required=True, metavar="NAME", help="What to change; NAME=VALUE of a category or class.")
@click.option(
    "--strength",
    "strengths",
    multiple=True,
    type=click.FloatRange(-20, 20),
    help="How far; below 0 takes it away. Several make a strip; default: -3 to 3.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="FILE.png (a row a picture) or FILE.npz.")
def edit(run: str, images: str, attribute: str, strengths: Sequence[float], out: Path) -> None:
    """Change an attribute of IMAGES in the latent space of a RUN, and say how well that works.

    IMAGES is a file, a folder, or an .npz with `images`. A strength of 1 is where about half of what can be changed
    changes.
    """
    from sanggar.evaluation.edits import METHODS, SHOWN, edited, measured
    from sanggar.painter import open as open_run

    _check_ending(out, ".png", ".npz")
    painter, wanted = open_run(run), strengths or SHOWN
    pixels, how = edited(painter, images, attribute, wanted)
    _write(out, pixels, columns=len(wanted))
    click.echo(f"{attribute}: {METHODS[how.method]}.")
    for sentence in measured(painter.run, attribute, wanted):
        click.echo(sentence)


@cli.command()
@click.argument("run", metavar="RUN")
@click.option("--count", required=True, type=click.IntRange(min=1), help="How many pictures.")
@click.option("--label", help="The class to draw, by name or number; default: each in turn.")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="The same seed gives the same pictures.",
)
@click.option(
    "--truncation",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Below 1: less variety, better pictures.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="FILE.npz with `images` and `labels`, FILE.png with all of them, or a folder for a PNG each.",
)
def sample(run: str, count: int, label: str | None, seed: int, truncation: float, out: Path) -> None:
    """Draw new pictures with a RUN's network."""
    from tqdm.auto import tqdm

    from sanggar.data.stacks import write_stack
    from sanggar.painter import open as open_run

    painter = open_run(run)
    with tqdm(total=count, desc="sampling", unit="picture", disable=None, leave=False) as bar:

        def chunks() -> Iterator[Any]:
            for pixels, labels in painter.samples(count, label, seed, truncation):
                yield pixels, labels
                bar.update(len(pixels))

        write_stack(out, chunks(), count, painter.facts)
    click.echo(out)


@cli.command()
@click.argument("run", metavar="RUN")
@click.argument("images", metavar="IMAGES")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="A new folder for scores.csv and a heat map of each picture.",
)
def anomaly(run: str, images: str, out: Path) -> None:
    """Say how odd IMAGES are to a RUN's network, and where.

    IMAGES is a file, a folder, or an .npz with `images`. Beside each score stands the share of normal validation
    pictures that score lower.
    """
    from sanggar.evaluation.inspection import inspect
    from sanggar.painter import open as open_run

    click.echo(inspect(open_run(run), images, out, say=_say))


@cli.command()
@click.argument("run", metavar="RUN")
@click.argument("images", metavar="IMAGES")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="FILE.npz with `probabilities`, `classes` and `names`, instead of a line each.",
)
def classify(run: str, images: str, out: Path | None) -> None:
    """Say what a RUN's network takes IMAGES for, and how sure it is.

    IMAGES is a file, a folder, or an .npz with `images`.
    """
    from sanggar.data.images import read_images
    from sanggar.painter import open as open_run

    if out is not None:
        _check_ending(out, ".npz")
    painter = open_run(run)
    pixels, names = read_images(images, painter.facts)
    shares = painter.classify(pixels)
    if out is not None:
        _save(out, probabilities=shares, classes=painter.facts.classes, names=names)
        return
    width = max(len(name) for name in names)
    for name, row in zip(names, shares, strict=True):
        click.echo(f"{name:<{width}}  {painter.facts.classes[row.argmax()]}  {row.max():.3f}")


@cli.command()
@click.argument("recipe", required=False)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of recipes, for editors, and nothing else.")
def describe(recipe: str | None, overrides: Sequence[str], schema: bool) -> None:
    """Say what a RECIPE is and would cost here.

    Layers, shapes, parameters, phases, every option, and an estimate of time, memory and disk.
    """
    if schema:
        import json

        from sanggar.plan import schema as recipe_schema

        click.echo(json.dumps(recipe_schema(), indent=1))
        return
    if recipe is None:
        raise click.UsageError("Give a recipe; `sanggar recipes` lists them.")
    from sanggar.training.describe import describe as describe_recipe

    click.echo(str(describe_recipe(recipe, overrides)))


@cli.command()
def recipes() -> None:
    """List the recipes that come with sanggar."""
    from sanggar.recipe import read, shipped

    for name in shipped():
        about = read(name).about.split(". ")[0].rstrip(".")
        click.echo(f"{click.style(name, bold=True)}\n    {about}.")


@cli.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
def runs(folder: Path) -> None:
    """List the runs below FOLDER (default: runs)."""
    from sanggar.runs import find

    found = find(folder)
    if not found:
        click.echo(f"No runs in {folder}. `sanggar run digits-denoising-autoencoder` makes one.")
        return
    width = max(len(str(run.path)) for run in found)
    for run in found:
        done = "measured" if run.evaluation_file.is_file() else "not measured"
        step, created = run.info.get("step", 0), run.info.get("created", "")
        click.echo(f"{run.path!s:<{width}}  {run.status:<9} step {step:>8,}  {done:<12}  {created}")


@cli.command()
@click.argument("source", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write test pictures of SOURCE: a folder of PNGs, or FILE.npz.",
)
@click.option(
    "--count",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many pictures --out writes.",
)
@click.option("--prepared", is_flag=True, help="List the pictures that lie prepared in the cache.")
@click.option("--evict", metavar="KEY|all", help="Remove prepared pictures from the cache.")
def data(source: str | None, out: Path | None, count: int, prepared: bool, evict: str | None) -> None:
    """List the data sets, or write some pictures.

    With SOURCE and --out, some of its test pictures are written, to try things on.
    """
    from sanggar.data.sources import SOURCES, presence, root

    if prepared or evict is not None:
        _cache(evict)
        return
    if source is None:
        click.echo(f"Data root: {root()}")
        width = max(len(entry.licence) for entry in SOURCES.values())
        for name, entry in SOURCES.items():
            found = presence(name)
            size = f"{found.bytes / 1e6:.1f} MB" if found.bytes else ""
            click.echo(f"{name:<15} {found.state:<26} {size:>9}  {entry.licence:<{width}}  {entry.about}")
        return
    if source not in SOURCES:
        raise DataError(f"There is no data set {source!r}. {suggest(source, SOURCES)}")
    if presence(source).state == "your own":
        raise click.UsageError(f"{source}: these pictures are your own; there are none to write.")
    if out is None:
        raise click.UsageError("Say with --out where the pictures should go: a folder, or FILE.npz.")
    _export(source, out, count)


def _cache(key: str | None) -> None:
    """List what is prepared, or evict some of it."""
    from sanggar.data.prepared import evict, folder, kept

    if key is not None:
        click.echo(f"{evict(key) / 1e6:,.1f} MB freed in {folder()}")
        return
    click.echo(f"Prepared pictures: {folder()}")
    for found in kept():
        size = f"{found.bytes / 1e6:,.1f} MB"
        click.echo(f"{found.key}  {size:>12}  {len(found.pixels):>9,} pictures  {found.settings:<22}  {found.place}")


def _export(source: str, out: Path, count: int) -> None:
    from sanggar.data.sources import SOURCES
    from sanggar.data.stacks import write_stack

    if out.suffix not in ("", ".npz"):
        raise DataError(f"{out}: expected a folder, or a name ending in .npz.")
    options = SOURCES[source].Options(source=source, validation=1)
    test = SOURCES[source].load(options).test.first(count)
    write_stack(out, [(test.pixels, test.labels)], len(test), SOURCES[source].facts_for(options))
    click.echo(out)


def _check_ending(out: Path, *endings: str) -> None:
    if out.suffix not in endings:
        raise DataError(f"{out}: expected a name ending in {' or '.join(endings)}.")


def _save(out: Path, **arrays: Any) -> None:
    import io

    import numpy as np

    from sanggar.files import write_atomic

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(out, buffer.getvalue())
    click.echo(out)


def _write(out: Path, pixels: np.ndarray, columns: int) -> None:
    from sanggar.data.images import grid, write_images, write_png
    from sanggar.files import write_atomic

    if out.suffix == ".png":
        write_atomic(out, write_png(grid(pixels, columns, scale=4)))
    else:
        write_atomic(out, write_images(out, pixels))
    click.echo(out)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _headlines(run: Any) -> None:
    """The headline numbers of an evaluated run, and its alarms."""
    evaluation = run.evaluation()
    for n in evaluation["numbers"]:
        if n["headline"]:
            interval = "[{:.4g}, {:.4g}]  ".format(*n["interval"]) if n["interval"] else ""
            click.echo(f"{n['label']:<44} {n['value']:>9.4g} {n['unit']:<11} {interval}n={n['protocol']['n']:,}")
    for alarm in evaluation["alarms"]:
        click.echo(f"ALARM: {alarm}")
    if note := run.info["data"]["note"]:
        click.echo(f"Note: {note}")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command. A user's mistake ends with status 2 and one line, failed work with 1."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Windows consoles may not know ×
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        cli.main(arguments, prog_name="sanggar", standalone_mode=False)
    except click.exceptions.Abort:
        _fail("stopped.", 128 + signal.SIGINT)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except SanggarError as error:
        _fail(str(error), error.exit_status)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}. Nothing that was saved is changed.", 2)
    sys.exit(0)


def _is_first() -> bool:
    """Of several processes under a launcher, one measures and speaks."""
    return os.environ.get("RANK", "0") == "0"


def _fail(message: str, status: int) -> NoReturn:
    if _is_first():
        click.echo(f"sanggar: {' '.join(line.strip() for line in message.splitlines())}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
