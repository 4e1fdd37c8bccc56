"""What a run's network makes of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sanggar.cli.group import IMAGES, RUN, cli, into, say
from sanggar.errors import DataError
from sanggar.seeding import SEEDS

if TYPE_CHECKING:
    import numpy as np

    from sanggar.data.writing import Chunk
    from sanggar.trained import TrainedModel


@cli.command()
@RUN
@IMAGES
@into("FILE.png (given above reconstructed) or FILE.npz.")
def reconstruct(run: str, images: str, out: Path) -> None:
    """Show IMAGES to a RUN's network and keep what comes back.

    IMAGES is a file, a folder, or an .npz with `images`.
    """
    from sanggar.data.images import above_each_other
    from sanggar.trained import open as open_run

    _check_ending(out, ".png", ".npz")
    model = open_run(run)
    given = model.pixels(images)
    columns = min(10, len(given))
    _check_room(out, 2 * len(given), model)
    came_back = model.reconstruct(given)
    _write(out, above_each_other(given, came_back, columns) if out.suffix == ".png" else came_back, columns)


@cli.command()
@RUN
@IMAGES
@into("FILE.npz with `latents` and `names`.")
def encode(run: str, images: str, out: Path) -> None:
    """Write the latents of IMAGES.

    IMAGES is a file, a folder, or an .npz with `images`.
    """
    from sanggar.trained import open as open_run

    _check_ending(out, ".npz")
    model = open_run(run)
    model.need("encode")
    pixels, names = model.read(images)
    _save(out, latents=model.encode(pixels), names=names)


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
@click.option(
    "--prior", is_flag=True, help="On the arc between the noise that a learned prior (a flow) draws them from."
)
@into("FILE.png or FILE.npz.")
def interpolate(run: str, images: Sequence[str], steps: int, arc: bool, prior: bool, out: Path) -> None:
    """Walk in a straight line between two pictures' latents, or on an arc; or fill a grid between four."""
    from sanggar.tools.interpolation import between_four
    from sanggar.tools.interpolation import interpolate as line_between
    from sanggar.trained import open as open_run

    if len(images) not in (2, 4):
        raise click.UsageError(f"Give two pictures, or four for a grid between them, not {len(images)}.")
    if arc and prior:
        raise click.UsageError("--arc and --prior are two ways between two pictures; give one of them.")
    if (arc or prior) and len(images) == 4:
        raise click.UsageError(
            f"--{'arc' if arc else 'prior'} is a way between two pictures; between four there is none."
        )
    if len(images) == 4 and steps > 100:
        raise click.UsageError("--steps: of four pictures at most 100 along an edge, which are 10,000.")
    _check_ending(out, ".png", ".npz")
    model = open_run(run)
    _check_room(out, steps ** (len(images) // 2), model)
    if len(images) == 4:
        pixels = between_four(model, images, steps)
    else:
        pixels = line_between(model, images[0], images[1], steps, arc, prior)
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
    from sanggar.reporting import labels
    from sanggar.tools.editing import SHOWN, edited, measured
    from sanggar.trained import open as open_run

    _check_ending(out, ".png", ".npz")
    model, wanted = open_run(run), strengths or SHOWN
    given = model.pixels(images)
    _check_room(out, len(given) * len(wanted), model)
    pixels, how = edited(model, given, attribute, wanted)
    _write(out, pixels, columns=len(wanted))
    click.echo(f"{attribute}: {labels.EDIT_METHODS[how.method][1]}.")
    for measurements in measured(model.run, attribute, wanted):
        click.echo(labels.edit(measurements))


@cli.command()
@RUN
@click.option("--count", required=True, type=click.IntRange(min=1), help="How many pictures.")
@click.option("--label", help="The class to draw, by name or number; short for --condition class=LABEL.")
@click.option(
    "--condition",
    "--attribute",
    "conditions",
    multiple=True,
    metavar="NAME=VALUE",
    help="What the pictures shall show, of a conditional network: `class` or an attribute; may be given several times. "
    "Without it, each class in turn.",
)
@click.option("--unconditional", is_flag=True, help="Condition on nothing, not even on each class in turn.")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, SEEDS - 1),
    help="The same seed gives the same pictures.",
)
@click.option(
    "--set",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="A sampling option of the network: truncation=0.7 of a GAN, temperature=0.8 of a VAE.",
)
@click.option("--truncation", type=float, help="Short for --set truncation=...")
@click.option(
    "--mixture",
    is_flag=True,
    help="Draw from a Gaussian mixture fitted to the latents of training pictures: for plain autoencoders as well.",
)
@into("FILE.npz with `images` and `labels`, FILE.png with all of them, or a folder for a PNG each.")
def sample(
    run: str, count: int, label: str | None, conditions: Sequence[str], unconditional: bool, seed: int,
    options: Sequence[str], truncation: float | None, mixture: bool, out: Path,
) -> None:  # fmt: skip
    """Draw new pictures with a RUN's network."""
    from tqdm.auto import tqdm

    from sanggar.data.writing import write_stack
    from sanggar.tools.mixture import from_mixture
    from sanggar.trained import open as open_run

    wanted = _pairs("--condition", conditions) | ({} if label is None else {"class": label})
    chosen = {name: _plain(value) for name, value in _pairs("--set", options).items()}
    chosen |= {} if truncation is None else {"truncation": truncation}
    if unconditional and wanted:
        raise click.UsageError("--unconditional: a condition is given beside it; leave one of them out.")
    if mixture and (wanted or unconditional or chosen):
        raise click.UsageError("--mixture: it has neither conditions nor options; leave the others out.")
    model = open_run(run)
    drawn: Iterator[Chunk]
    if mixture:
        drawn = from_mixture(model, count, seed)
    else:
        drawn = model.samples(count, wanted if wanted or unconditional else None, seed, **chosen)
    with tqdm(total=count, desc="sampling", unit="picture", disable=None, leave=False) as bar:

        def chunks() -> Iterator[Chunk]:
            for pixels, labels in drawn:
                yield pixels, labels
                bar.update(len(pixels))

        write_stack(out, chunks(), count, model.spec)
    click.echo(out)


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE texts as a dictionary."""
    for text in texts:
        if "=" not in text:
            raise click.UsageError(f"{option} {text}: expected NAME=VALUE.")
    return dict(text.split("=", 1) for text in texts)


def _plain(text: str) -> object:
    """A value as YAML has it: a number, true or false, text."""
    from sanggar.plain import parse

    return parse(text, f"--set ...={text}")


@cli.command()
@RUN
@IMAGES
@into("A new folder for scores.csv and a heat map of each picture.")
def anomaly(run: str, images: str, out: Path) -> None:
    """Say how odd IMAGES are to a RUN's network, and where.

    IMAGES is a file, a folder, or an .npz with `images`. Beside each score stands the share of normal validation
    pictures that score lower.
    """
    from sanggar.tools.anomaly import inspect
    from sanggar.trained import open as open_run

    click.echo(inspect(open_run(run), images, out, say=say))


@cli.command()
@RUN
@IMAGES
@into("FILE.npz with `probabilities`, `classes` and `names`, instead of a line each.", required=False)
def classify(run: str, images: str, out: Path | None) -> None:
    """Say what a RUN's network takes IMAGES for, and how sure it is.

    IMAGES is a file, a folder, or an .npz with `images`.
    """
    from sanggar.trained import open as open_run

    if out is not None:
        _check_ending(out, ".npz")
    model = open_run(run)
    model.need("classify")
    pixels, names = model.read(images)
    shares = model.classify(pixels)
    if out is not None:
        _save(out, probabilities=shares, classes=model.spec.classes, names=names)
        return
    width = max(len(name) for name in names)
    for name, row in zip(names, shares, strict=True):
        click.echo(f"{name:<{width}}  {model.spec.classes[row.argmax()]}  {row.max():.3f}")


def _check_ending(out: Path, *endings: str) -> None:
    if out.suffix not in endings:
        raise DataError(f"{out}: expected a name ending in {' or '.join(endings)}.")


def _check_room(out: Path, count: int, model: TrainedModel) -> None:
    """Raises DataError where so many pictures are too many for one sheet."""
    from sanggar.data.writing import check_sheet

    if out.suffix == ".png":
        check_sheet(out, count, model.spec, "FILE.npz")


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
    from sanggar.data.writing import enlarged
    from sanggar.files import write_atomic

    if out.suffix == ".png":
        write_atomic(out, write_png(grid(pixels, columns, scale=enlarged(columns, pixels.shape[2]))))
    else:
        write_atomic(out, write_images(out, pixels))
    click.echo(out)
