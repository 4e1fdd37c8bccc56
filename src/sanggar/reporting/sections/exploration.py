"""Sections on what a latent space draws: ways to draw from it, between pictures, along single dimensions."""

from __future__ import annotations

from html import escape

from sanggar.reporting.comparison import Number
from sanggar.reporting.figures import number, png, rows, sheet, table
from sanggar.reporting.view import View, Views, of_each, value


def drawn(views: Views) -> str | None:
    """The same latents of the prior at several temperatures, and draws of a mixture fitted to the latents."""

    def write(view: View) -> str | None:
        if "exploration.drawn" not in view.pictures:
            return None
        short = [*(f"temperature {level:g}" for level in view.pictures["exploration.temperatures"]), "mixture"]
        return rows(dict(zip(short, view.pictures["exploration.drawn"], strict=True)), f"pictures drawn by {view.name}")

    prior = any(len(view.pictures.get("exploration.temperatures", ())) for view in views)
    of_prior = (
        "Rows of the prior share their latents, times the temperature: at 1 as the prior has them, below it more "
        "typical and less various. What the mixture does better than the prior says how far the latents are from "
        "normally distributed. "
    )
    note = (
        f"<p class=note>{of_prior * prior}The mixture is fitted to the latents of training pictures, and draws where "
        "they lie.</p>"
    )
    return of_each(views, write, _ways([view for view in views if view.numbers("exploration.precision")]) + note)


def _ways(having: Views) -> str:
    """Distance, precision and recall of each way to draw, a table a run."""
    parts, keys = [], ("frechet", "precision", "recall")
    for view in having:
        ways = dict.fromkeys(n["protocol"]["drawn_from"] for n in view.numbers("exploration.precision"))
        found = [[_one(view, key, way) for key in keys] for way in ways]
        distance = next((n["label"].split(", from")[0] for line in found for n in line[:1] if n), "Fréchet distance")
        body = [[escape(way), *(value(n) if n else "—" for n in line)] for way, line in zip(ways, found, strict=True)]
        n = view.numbers("exploration.precision")[0]["protocol"]["n"]
        caption = f"{escape(view.name)}: {n:,} pictures drawn from each, beside as many test pictures"
        parts.append(table(["drawn from", escape(distance), *keys[1:]], body, caption))
    return "".join(parts)


def _one(view: View, key: str, way: str) -> Number | None:
    return next(iter(view.numbers(f"exploration.{key}", drawn_from=way)), None)


def corners(views: Views) -> str | None:
    """A grid between the latents of four test pictures."""

    def write(view: View) -> str | None:
        if "exploration.corners" not in view.pictures:
            return None
        words = f"{view.name}: decoded from a square grid of latents between those of four test pictures"
        mixed = f"<p class=note>The decoder is told the same mixture of the four pictures' {escape(view.told)}.</p>"
        grid = png(sheet(view.pictures["exploration.corners"]), words)
        return f'<div class="rows square">{grid}</div>{mixed if view.told else ""}'

    note = "<p class=note>In the corners: test pictures as they come back. Between them: straight lines.</p>"
    return of_each(views, write, note)


def traversals(views: Views) -> str | None:
    """A test picture's latent, moved along one dimension at a time."""
    return of_each(views, _traversals)


def _traversals(view: View) -> str | None:
    if "exploration.traversals" not in view.pictures:
        return None
    order, held = (view.pictures[f"exploration.traversals.{key}"] for key in ("dimensions", "held"))
    unit = view.pictures["exploration.traversals.unit"].tobytes().decode()
    reach = float(view.pictures["exploration.traversals.places"].max())
    named = {
        f"dim. {dimension}: {number(held[row], 2)} {unit}": walk
        for row, (dimension, walk) in enumerate(
            zip(order.tolist(), view.pictures["exploration.traversals"], strict=True)
        )
    }
    of = "of the prior" if unit == "nats" else "of the latents, around their mean"
    return rows(named, f"{view.name}: one dimension moved from −{reach:g} to {reach:g}") + (
        f"<p class=note>The latent of one test picture{escape(view.telling)}; in each row a single number of it goes "
        f"from −{reach:g} to {reach:g} deviations {of}. The dimensions that hold most come first.</p>"
    )
