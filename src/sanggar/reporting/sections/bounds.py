"""Sections about networks that infer latents: the bound, what the dimensions hold, and what lies between pictures."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from matplotlib import rc_context

from sanggar.reporting.comparison import any_of, cells, comparable, protocols, row_label
from sanggar.reporting.figures import INK, LINES, STYLE, axes, number, rows, svg, table
from sanggar.reporting.view import View, Views, of_each

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
        body.append([row_label(row, index, ranked), *cells(row, having, ranked=ranked)])
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
        named = {
            "test picture": clean, f"from the posterior's mean{view.telling}": mean,
            f"from a draw of it{view.telling}": drawn,
        }  # fmt: skip
        return rows(named, "test pictures and their reconstructions")

    note = (
        "<p class=note>Not chosen: the first test picture of each class. Where mean and draw differ, the posterior is "
        "not sure.</p>"
    )
    return of_each(views, write, note)
