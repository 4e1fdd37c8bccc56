"""Sections about networks that infer latents: the bound, what the dimensions hold, and what lies between pictures."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from matplotlib import rc_context

from sanggar.reporting.comparison import Number, any_of, cells, comparable, named, protocols
from sanggar.reporting.figures import INK, LINES, STYLE, axes, number, png, rows, sheet, svg, table
from sanggar.reporting.view import View, Views, of_each, value

SHOWN = ("bound", "bits", "importance", "distortion", "rate", "active", "beta", "deviation", "beta_squared")
NAMED = 60
"""Dimensions up to which each has its number below its bar."""


# -- the bound -----------------------------------------------------------------------------------------------------


def bound(views: Views) -> str | None:
    """The bound, its two parts and its weights; of several runs, where each stands between the two."""
    places = {f"inference.{key}": place for place, key in enumerate(SHOWN)}
    found = comparable(views, lambda n: n["key"] in places)
    if not found:
        return None
    found.sort(key=lambda row: places[any_of(row)["key"]])
    having = [view for view in views if any(view.name in row for row in found)]
    body = []
    for index, row in enumerate(found, start=1):
        n = any_of(row)
        ranked = n["key"] in ("inference.bound", "inference.bits", "inference.importance")
        written = cells(row, having) if ranked else [value(row[v.name]) if v.name in row else "—" for v in having]
        body.append([named(row, index, ranked), *written])
    note = (
        "<p class=note>The negative bound is rate + distortion: what a picture costs to be told, in nats, first its "
        "latent and then its pixels. Importance-weighted, it comes nearer to −log p(x) with every "
        "draw. Rate and distortion are two ends of a trade, and neither is better lower for itself. beta is the weight "
        "of the rate where both terms are summed over a picture: what other conventions call beta differs by a factor."
        f"</p>{protocols(found)}"
    )
    charts = "".join(_trade(group) for group in _parts(having))
    return table(["", *(escape(view.name) for view in having)], body) + charts + note


def _parts(views: Views) -> list[dict[str, tuple[float, float, float | None]]]:
    """Rate, distortion and beta by run, in groups of those that were measured alike."""
    groups = dict[str, dict[str, tuple[float, float, float | None]]]()
    for view in views:
        for n in view.numbers("inference.distortion", told="nothing"):
            rates, betas = view.numbers("inference.rate"), view.numbers("inference.beta")
            if rates:
                place = (rates[0]["value"], n["value"], betas[0]["value"] if betas else None)
                groups.setdefault(str(sorted(n["protocol"].items(), key=str)), {})[view.name] = place
    return [group for group in groups.values() if len(group) > 1]


def _trade(places: dict[str, tuple[float, float, float | None]]) -> str:
    """Distortion against rate, a point a run, on lines of equal bound."""
    figure, ax = axes()
    with rc_context(STYLE):
        for i, (name, (rate, distortion, beta)) in enumerate(places.items()):
            label = name if beta is None else f"{name}, beta {beta:g}"
            short = label if len(label) <= 40 else f"{label[:39]}…"
            ax.plot(
                [rate], [distortion], label=short, linestyle="", marker="osD^vP"[i % 6], color=LINES[i % len(LINES)]
            )
        ax.margins(0.15)
        across, down = (max(ax.get_xlim()[0], 0.0), ax.get_xlim()[1]), ax.get_ylim()
        sums = [rate + distortion for rate, distortion, _ in places.values()]
        for total in np.linspace(min(sums), max(sums), 3) if max(sums) > min(sums) else sums[:1]:
            look: Any = {"color": INK, "alpha": 0.35, "linewidth": 0.8, "linestyle": "--"}
            ax.plot(across, [total - x for x in across], **look)
        ax.set(xlim=across, ylim=down, xlabel="rate in nats", ylabel="distortion in nats")
        figure.legend(loc="outside lower center", ncols=2)
    said = "; ".join(f"{name}: rate {number(r)}, distortion {number(d)}" for name, (r, d, _) in places.items())
    note = "<p class=note>Dashed: lines on which the bound is the same; lower left is better.</p>"
    return svg(figure, f"Distortion against rate. {said}.") + note


# -- dimensions ----------------------------------------------------------------------------------------------------


def dimensions(views: Views) -> str | None:
    """The KL divergence of each dimension, the largest first."""
    return of_each(views, lambda view: _bars(view) if "inference.rates" in view.pictures else None)


def _bars(view: View) -> str:
    rates = view.pictures["inference.rates"]
    order = np.argsort(-rates, kind="stable")
    counted = view.numbers("inference.active")
    active = view.pictures["inference.active"][order].astype(bool)
    figure, ax = axes(height=2.8)
    with rc_context(STYLE):
        places = np.arange(len(order))
        for mine, colour, label in ((active, LINES[0], "active"), (~active, LINES[1], "not active")):
            if mine.any():
                ax.bar(places[mine], rates[order][mine], width=0.8, color=colour, label=label)
        if len(order) <= NAMED:
            ax.set_xticks(places, [str(d) for d in order], fontsize=9 if len(order) <= 20 else 5)
        else:
            ax.set_xticks([])
        ax.set(xlabel="dimension, the one that holds most first", ylabel="KL divergence in nats")
        ax.grid(axis="x", visible=False)
        ax.legend()
    total, half = rates.sum(), int(np.searchsorted(np.cumsum(rates[order]), rates.sum() / 2)) + 1
    said = (
        f"{int(active.sum())} of {len(order)} dimensions are active; together the dimensions hold {number(total)} nats "
        f"of a picture, and {half} of them hold half of that."
    )
    rule = f" Active: {escape(counted[0]['protocol']['method'])}." if counted else ""
    return svg(figure, f"{view.name}: KL divergence of each dimension. {said}") + f"<p class=note>{said}{rule}</p>"


# -- pictures ------------------------------------------------------------------------------------------------------


def reconstructions(views: Views) -> str | None:
    """Test pictures, and what comes back from the mean of the posterior and from a draw of it."""

    def write(view: View) -> str | None:
        if "inference.reconstructions" not in view.pictures:
            return None
        clean, mean, drawn = view.pictures["inference.reconstructions"]
        named = {"test picture": clean, "from the posterior's mean": mean, "from a draw of it": drawn}
        return rows(named, "test pictures and their reconstructions")

    note = (
        "<p class=note>Not chosen: the first test picture of each class. Where mean and draw differ, the posterior is "
        "not sure.</p>"
    )
    return of_each(views, write, note)


def drawn(views: Views) -> str | None:
    """The same latents of the prior at several temperatures, and draws of a mixture fitted to the latents."""

    def write(view: View) -> str | None:
        if "inference.drawn" not in view.pictures:
            return None
        short = [f"temperature {level:g}" for level in view.pictures["inference.temperatures"]] + ["mixture"]
        return rows(dict(zip(short, view.pictures["inference.drawn"], strict=True)), f"pictures drawn by {view.name}")

    note = (
        "<p class=note>Rows of the prior share their latents, times the temperature: at 1 as the prior has them, below "
        "it more typical and less various. The mixture is fitted to the latents of training pictures, and draws where "
        "they lie: what it does better than the prior says how far the latents are from normally distributed.</p>"
    )
    return of_each(views, write, _ways([view for view in views if view.numbers("inference.precision")]) + note)


def _ways(having: Views) -> str:
    """Distance, precision and recall of each way to draw, a table a run."""
    parts, keys = [], ("frechet", "precision", "recall")
    for view in having:
        ways = dict.fromkeys(n["protocol"]["drawn_from"] for n in view.numbers("inference.precision"))
        found = [[_one(view, key, way) for key in keys] for way in ways]
        distance = next((n["label"].split(", from")[0] for line in found for n in line[:1] if n), "Fréchet distance")
        body = [[escape(way), *(value(n) if n else "—" for n in line)] for way, line in zip(ways, found, strict=True)]
        n = view.numbers("inference.precision")[0]["protocol"]["n"]
        caption = f"{escape(view.name)}: {n:,} pictures drawn from each, beside as many test pictures"
        parts.append(table(["drawn from", escape(distance), *keys[1:]], body, caption))
    return "".join(parts)


def _one(view: View, key: str, way: str) -> Number | None:
    return next(iter(view.numbers(f"inference.{key}", drawn_from=way)), None)


def corners(views: Views) -> str | None:
    """A grid between the latents of four test pictures."""

    def write(view: View) -> str | None:
        if "inference.corners" not in view.pictures:
            return None
        words = f"{view.name}: decoded from a square grid of latents between those of four test pictures"
        return f'<div class="rows square">{png(sheet(view.pictures["inference.corners"]), words)}</div>'

    note = "<p class=note>In the corners: test pictures as they come back. Between them: straight lines.</p>"
    return of_each(views, write, note)


def traversals(views: Views) -> str | None:
    """A test picture's latent, moved along one dimension at a time."""
    return of_each(views, _traversals)


def _traversals(view: View) -> str | None:
    if "inference.traversals" not in view.pictures:
        return None
    held, order = view.pictures["inference.rates"], view.pictures["inference.traversals.dimensions"]
    reach = float(view.pictures["inference.traversals.places"].max())
    named = {
        f"dim. {dimension}: {number(held[dimension], 2)} nats": walk
        for dimension, walk in zip(order.tolist(), view.pictures["inference.traversals"], strict=True)
    }
    return rows(named, f"{view.name}: one dimension moved from −{reach:g} to {reach:g}") + (
        f"<p class=note>The latent of one test picture; in each row a single number of it goes from −{reach:g} to "
        f"{reach:g} deviations of the prior. The dimensions that hold most come first.</p>"
    )
