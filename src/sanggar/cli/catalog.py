"""What there is: recipes, runs and data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sanggar.cli.group import cli, into, say
from sanggar.errors import DataError, suggest

if TYPE_CHECKING:
    from sanggar.data.images import Images

LISTED = 20
"""Broken pictures that are named."""


@cli.command()
@click.argument("recipe", required=False)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of recipes, for editors, and nothing else.")
@click.option("--explain", metavar="KEY", help="Say what a key of a recipe means, its default and allowed values.")
def describe(recipe: str | None, overrides: Sequence[str], schema: bool, explain: str | None) -> None:
    """Say what a RECIPE is and would cost here.

    Layers, shapes, parameters, phases, every option, and an estimate of time, memory and disk.
    """
    if schema:
        import json

        from sanggar.plan import schema as recipe_schema

        click.echo(json.dumps(recipe_schema(), indent=1))
        return
    if explain is not None:
        from sanggar.keys import explained, find

        click.echo(explained(find(explain)))
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

    found = find(folder, say)
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
@click.argument("overrides", nargs=-1, metavar="[data.KEY=VALUE]...")
@into("Write test pictures of SOURCE: a folder of PNGs, or FILE.npz; of your own, a contact sheet FILE.png.", False)
@click.option(
    "--count",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many pictures --out writes; of your own, how many of each class.",
)
@click.option("--prepared", is_flag=True, help="List the pictures that lie prepared in the cache.")
@click.option("--evict", metavar="KEY|all", help="Remove prepared pictures from the cache.")
def data(
    source: str | None, overrides: Sequence[str], out: Path | None, count: int, prepared: bool, evict: str | None
) -> None:
    """List the data sets, say what pictures of your own are taken for, or write some pictures.

    With SOURCE and --out, some of its test pictures are written, to try things on. Where SOURCE is a folder, a zip or
    an array file of your own, its pictures are read as for a training, and what they are taken for is said: kinds,
    splits, classes, columns of the table, duplicates, and what is left out. data.KEY=VALUE is as in a recipe.
    """
    from sanggar.data.arrays import ArrayOptions
    from sanggar.data.image_folder import ImageFolderOptions, find_place
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
        place = find_place(source)
        if place is None:
            raise DataError(f"There is no data set, folder or file {source!r}. {suggest(source, SOURCES)}")
        kind = "folder" if place.is_dir() or place.suffix.lower() == ".zip" else "arrays"
        _look_through(kind, source, overrides, out, count)
        return
    if overrides:
        raise click.UsageError(f"{source}: {overrides[0]} has a meaning for pictures of one's own alone.")
    if issubclass(SOURCES[source].Options, ImageFolderOptions | ArrayOptions):
        raise click.UsageError(f"{source}: its pictures lie there as files already; name one of them, or a folder.")
    if out is None:
        raise click.UsageError("Say with --out where the pictures should go: a folder, or FILE.npz.")
    _export(source, out, count)


def _look_through(kind: str, path: str, overrides: Sequence[str], out: Path | None, count: int) -> None:
    """Say what pictures of one's own are taken for, by the source of this kind, and write a contact sheet."""
    from sanggar.data.images import write_png
    from sanggar.data.sources import SOURCES
    from sanggar.data.writing import check_sheet, sheet
    from sanggar.files import write_atomic
    from sanggar.options import validated
    from sanggar.recipe import read

    if out is not None and out.suffix != ".png":
        raise DataError(f"{out}: expected a name ending in .png, for a contact sheet.")
    source = SOURCES[kind]
    recipe = read({"name": path, "data": {"source": kind, "path": path}}, overrides)
    options = validated(path, "data", source.Options, recipe.data)
    spec, dataset = source.spec_for(options), source.load(options)
    for line in dataset.about:
        click.echo(line)
    if dataset.note:
        click.echo(f"Note: {dataset.note}")
    if out is None:
        return
    few = [_few(split, count) for split in (dataset.train, dataset.validation, dataset.test)]
    images = _few(few[0].joined(few[1]).joined(few[2]), count)
    check_sheet(out, len(images), spec, "fewer (--count)")
    write_atomic(out, write_png(sheet(images.pixels, images.labels)))
    click.echo(out)


def _few(images: Images, count: int) -> Images:
    """The first pictures of each class; ten times as many where there are no classes."""
    import numpy as np

    if images.labels is None:
        return images.first(10 * count)
    first = [np.flatnonzero(images.labels == label)[:count] for label in np.unique(images.labels)]
    return images.take(np.concatenate(first))


def _cache(key: str | None) -> None:
    """List what is prepared, or evict some of it."""
    from sanggar.data.cache import evict, folder, kept

    if key is not None:
        click.echo(f"{evict(key) / 1e6:,.1f} MB freed in {folder()}")
        return
    click.echo(f"Prepared pictures: {folder()}")
    for found in kept():
        size = f"{found.bytes / 1e6:,.1f} MB"
        click.echo(f"{found.key}  {size:>12}  {len(found.pixels):>9,} pictures  {found.settings:<22}  {found.place}")
        for name, why in list(found.broken.items())[:LISTED]:
            click.echo(f"    left out: {name} ({why})")
        if len(found.broken) > LISTED:
            click.echo(f"    … and {len(found.broken) - LISTED:,} more: {folder() / found.key / 'about.json'}")


def _export(source: str, out: Path, count: int) -> None:
    from sanggar.data.sources import SOURCES
    from sanggar.data.writing import write_stack

    if out.suffix not in ("", ".npz"):
        raise DataError(f"{out}: expected a folder, or a name ending in .npz.")
    options = SOURCES[source].Options(source=source, validation=1)
    test = SOURCES[source].load(options).test.first(count)
    write_stack(out, [(test.pixels, test.labels)], len(test), SOURCES[source].spec_for(options))
    click.echo(out)
