"""What a run's network makes of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sanggar.cli.group import IMAGES, RUN, cli, into, say
from sanggar.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from sanggar.painter import Painter


@cli.command()
@RUN
@IMAGES
@into("FILE.png (given above reconstructed) or FILE.npz.")
def reconstruct(run: str, images: str, out: Path) -> None:
    """Show IMAGES to a RUN's network and keep what comes back.

    IMAGES is a file, a folder, or an .npz with `images`.
    """
    from sanggar.data.images import above_each_other
    from sanggar.painter import open as open_run

    _check_ending(out, ".png", ".npz")
    painter = open_run(run)
    given = painter.pixels(images)
    columns = min(10, len(given))
    _check_room(out, 2 * len(given), painter)
    came_back = painter.reconstruct(given)
    _write(out, above_each_other(given, came_back, columns) if out.suffix == ".png" else came_back, columns)


@cli.command()
@RUN
@IMAGES
@into("FILE.npz with `latents` and `names`.")
def encode(run: str, images: str, out: Path) -> None:
    """Write the latents of IMAGES.

    IMAGES is a file, a folder, or an .npz with `images`.
    """
    from sanggar.painter import open as open_run

    _check_ending(out, ".npz")
    painter = open_run(run)
    painter.need("encode")
    pixels, names = painter.read(images)
    _save(out, latents=painter.encode(pixels), names=names)


@cli.command()
@RUN
@click.argument("images", nargs=-1, required=True, metavar="IMAGE IMAGE [IMAGE IMAGE]")
@click.option(
    "--steps",
    default=9,
    show_default=True,
    type=click.IntRange(2, 1000),
    help="Pictures, both ends included; of four, along an edge.",
)
@click.option("--arc", is_flag=True, help="On the arc between them (slerp), which keeps the latents' length.")
@into("FILE.png or FILE.npz.")
def interpolate(run: str, images: Sequence[str], steps: int, arc: bool, out: Path) -> None:
    """Walk in a straight line between two pictures' latents, or on an arc; or fill a grid between four."""
    from sanggar.painter import open as open_run

    if len(images) not in (2, 4):
        raise click.UsageError(f"Give two pictures, or four for a grid between them, not {len(images)}.")
    if arc and len(images) == 4:
        raise click.UsageError("--arc is a way between two pictures; between four there is none.")
    if len(images) == 4 and steps > 100:
        raise click.UsageError("--steps: of four pictures at most 100 along an edge, which are 10,000.")
    _check_ending(out, ".png", ".npz")
    painter = open_run(run)
    _check_room(out, steps ** (len(images) // 2), painter)
    if len(images) == 4:
        pixels = painter.between_four(images, steps)
    else:
        pixels = painter.interpolate(images[0], images[1], steps, arc)
    _write(out, pixels, columns=steps)


@cli.command()
@RUN
@IMAGES
@click.option("--attribute", required=True, metavar="NAME", help="What to change; NAME=VALUE of a category or class.")
@click.option(
    "--strength",
    "strengths",
    multiple=True,
    type=click.FloatRange(-20, 20),
    help="How far; below 0 takes it away. Several make a strip; default: -3 to 3.",
)
@into("FILE.png (a row a picture) or FILE.npz.")
def edit(run: str, images: str, attribute: str, strengths: Sequence[float], out: Path) -> None:
    """Change an attribute of IMAGES in the latent space of a RUN, and say how well that works.

    IMAGES is a file, a folder, or an .npz with `images`. A strength of 1 is where about half of what can be changed
    changes.
    """
    from sanggar.evaluation.edits import METHODS, SHOWN, edited, measured
    from sanggar.painter import open as open_run

    _check_ending(out, ".png", ".npz")
    painter, wanted = open_run(run), strengths or SHOWN
    given = painter.pixels(images)
    _check_room(out, len(given) * len(wanted), painter)
    pixels, how = edited(painter, given, attribute, wanted)
    _write(out, pixels, columns=len(wanted))
    click.echo(f"{attribute}: {METHODS[how.method]}.")
    for sentence in measured(painter.run, attribute, wanted):
        click.echo(sentence)


@cli.command()
@RUN
@click.option("--count", required=True, type=click.IntRange(min=1), help="How many pictures.")
@click.option("--label", help="The class to draw, by name or number; default: each in turn.")
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="What else they are to show, of a network that is told such things; may be given several times.",
)
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
    type=click.FloatRange(0, min_open=True),
    help="Below 1: less variety, better pictures. Of a VAE the temperature, which may be above 1.",
)
@click.option(
    "--mixture",
    is_flag=True,
    help="Draw from a Gaussian mixture fitted to the latents of training pictures: for plain autoencoders as well.",
)
@into("FILE.npz with `images` and `labels`, FILE.png with all of them, or a folder for a PNG each.")
def sample(
    run: str, count: int, label: str | None, attributes: Sequence[str], seed: int, truncation: float, mixture: bool,
    out: Path,
) -> None:  # fmt: skip
    """Draw new pictures with a RUN's network."""
    from tqdm.auto import tqdm

    from sanggar.data.stacks import write_stack
    from sanggar.evaluation.exploration import from_mixture
    from sanggar.painter import open as open_run

    if unclear := [text for text in attributes if "=" not in text]:
        raise click.UsageError(f"--attribute {unclear[0]}: expected NAME=VALUE.")
    if mixture and (label is not None or attributes or truncation != 1):
        raise click.UsageError("--mixture: it is told nothing, and has no temperature; leave the others out.")
    painter, wanted = open_run(run), dict(text.split("=", 1) for text in attributes)
    drawn = from_mixture(painter, count, seed) if mixture else painter.samples(count, label, seed, truncation, wanted)
    with tqdm(total=count, desc="sampling", unit="picture", disable=None, leave=False) as bar:

        def chunks() -> Iterator[Any]:
            for pixels, labels in drawn:
                yield pixels, labels
                bar.update(len(pixels))

        write_stack(out, chunks(), count, painter.facts)
    click.echo(out)


@cli.command()
@RUN
@IMAGES
@into("A new folder for scores.csv and a heat map of each picture.")
def anomaly(run: str, images: str, out: Path) -> None:
    """Say how odd IMAGES are to a RUN's network, and where.

    IMAGES is a file, a folder, or an .npz with `images`. Beside each score stands the share of normal validation
    pictures that score lower.
    """
    from sanggar.evaluation.inspection import inspect
    from sanggar.painter import open as open_run

    click.echo(inspect(open_run(run), images, out, say=say))


@cli.command()
@RUN
@IMAGES
@into("FILE.npz with `probabilities`, `classes` and `names`, instead of a line each.", required=False)
def classify(run: str, images: str, out: Path | None) -> None:
    """Say what a RUN's network takes IMAGES for, and how sure it is.

    IMAGES is a file, a folder, or an .npz with `images`.
    """
    from sanggar.painter import open as open_run

    if out is not None:
        _check_ending(out, ".npz")
    painter = open_run(run)
    painter.need("classify")
    pixels, names = painter.read(images)
    shares = painter.classify(pixels)
    if out is not None:
        _save(out, probabilities=shares, classes=painter.facts.classes, names=names)
        return
    width = max(len(name) for name in names)
    for name, row in zip(names, shares, strict=True):
        click.echo(f"{name:<{width}}  {painter.facts.classes[row.argmax()]}  {row.max():.3f}")


def _check_ending(out: Path, *endings: str) -> None:
    if out.suffix not in endings:
        raise DataError(f"{out}: expected a name ending in {' or '.join(endings)}.")


def _check_room(out: Path, count: int, painter: Painter) -> None:
    """Raises DataError where so many pictures are too many for one sheet."""
    from sanggar.data.stacks import check_sheet

    if out.suffix == ".png":
        check_sheet(out, count, painter.facts, "FILE.npz")


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
    from sanggar.data.stacks import enlarged
    from sanggar.files import write_atomic

    if out.suffix == ".png":
        write_atomic(out, write_png(grid(pixels, columns, scale=enlarged(columns, pixels.shape[2]))))
    else:
        write_atomic(out, write_images(out, pixels))
    click.echo(out)
