"""Sections on what a latent space draws: sources of latents, between pictures, along single dimensions."""

from __future__ import annotations

from html import escape

from sanggar.reporting import labels
from sanggar.reporting.figures import img, number, rows, sheet, table
from sanggar.reporting.view import View, Views, of_each, value
from sanggar.results import FLOOR, PIXELS, Measurement

KEYS = ("exploration.frechet", "exploration.precision", "exploration.recall")
UNITS = {
    "nats": ("nats", "of the prior"),
    "variance_percent": ("% of the variance", "of the latents, around their mean"),
}
"""By what a dimension holds: its unit, and whose deviations a traversal goes by"""


def drawn(views: Views) -> str | None:
    """The same latents of the prior at several temperatures, and draws of a mixture fitted to the latents."""

    def write(view: View) -> str | None:
        if "exploration.drawn" not in view.arrays:
            return None
        short = [f"temperature {level:g}" for level in view.arrays["exploration.temperatures"]]
        pictures = view.arrays["exploration.drawn"]
        # beside a learned prior stands the one that the rate is towards
        short += ["standard normal", "mixture"][2 - (len(pictures) - len(short)) :]
        return rows(dict(zip(short, pictures, strict=True)), f"pictures drawn by {view.name}")

    prior = any(len(view.arrays.get("exploration.temperatures", ())) for view in views)
    of_prior = (
        "Rows of the prior share their latents, times the temperature: at 1 as the prior has them, below it more "
        "typical and less various. What the mixture does better than the prior says how far the latents are from "
        "normally distributed. "
    )
    note = (
        f"<p class=note>{of_prior * prior}The mixture is fitted to the latents of training pictures, and draws where "
        "they lie.</p>"
    )
    return of_each(views, write, "".join(map(_sources, views)) + note)


def _sources(view: View) -> str:
    """Distance, precision and recall by the source of the latents; empty where nothing was measured."""
    measured = view.find("exploration.precision")
    if not measured:
        return ""
    body = []
    for m in measured:
        beside = [next(iter(view.find(key, m.subject, **m.tags)), None) for key in KEYS]
        body.append([escape(_source(m)), *(value(found) if found else "—" for found in beside)])
    caption = f"{escape(view.name)}: {measured[0].protocol.n:,} pictures of each, beside as many test pictures"
    distance = escape(labels.distance(measured[0].protocol.settings))
    return table(["drawn from", distance, *(labels.LABELS[key] for key in KEYS[1:])], body, caption)


def _source(m: Measurement) -> str:
    """What latents were drawn from, in words."""
    if m.subject == FLOOR:
        return labels.subject(FLOOR)
    source = str(m.tags.get("source", ""))
    words = labels.SOURCES.get(source, source)
    if "components" in m.protocol.settings:
        count = m.protocol.settings["components"]
        words += f" of {count} component{'s' * (count != 1)}"
    if "temperature" in m.tags:
        words += f", {labels.tag('temperature', m.tags['temperature'])}"
    return f"{words}: the mean of their pixels" if m.subject == PIXELS else words


def corners(views: Views) -> str | None:
    """A grid between the latents of four test pictures."""

    def write(view: View) -> str | None:
        if "exploration.corners" not in view.arrays:
            return None
        words = f"{view.name}: decoded from a square grid of latents between those of four test pictures"
        mixed = f"<p class=note>Each is given the same mixture of the four pictures' {escape(view.condition)}.</p>"
        corners = view.arrays["exploration.corners"]
        grid = img(sheet(corners), words, corners.shape[2])
        return f'<div class="rows square">{grid}</div>{mixed if view.condition else ""}'

    note = "<p class=note>In the corners: test pictures, reconstructed. Between them: straight lines.</p>"
    return of_each(views, write, note)


def traversals(views: Views) -> str | None:
    """A test picture's latent, moved along one dimension at a time."""
    return of_each(views, _traversals)


def _traversals(view: View) -> str | None:
    if "exploration.traversals" not in view.arrays:
        return None
    order, held = (view.arrays[f"exploration.traversal_{name}"] for name in ("dimensions", "held"))
    unit, deviations = UNITS.get(str(view.detail("exploration", "traversal_unit")), ("", ""))
    reach = float(view.arrays["exploration.traversal_places"].max())
    named = {
        f"dim. {dimension}: {number(held[row], 2)} {unit}": walk
        for row, (dimension, walk) in enumerate(zip(order.tolist(), view.arrays["exploration.traversals"], strict=True))
    }
    return rows(named, f"{view.name}: one dimension moved from −{reach:g} to {reach:g}") + (
        f"<p class=note>The latent of one test picture{escape(view.given)}; in each row a single number of it goes "
        f"from −{reach:g} to {reach:g} deviations {deviations}. The dimensions that hold most come first.</p>"
    )
