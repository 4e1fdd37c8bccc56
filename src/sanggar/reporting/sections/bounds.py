"""Sections about models that infer latents: the bound, what the dimensions hold, and reconstructions."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib import rc_context

from sanggar.reporting.comparison import any_of, cells, comparable, identity, protocols, row_label
from sanggar.reporting.figures import INK, LINES, STYLE, axes, number, rows, svg, table
from sanggar.reporting.view import View, Views, of_each

RANKED = ("bounds.negative_elbo", "bounds.bits_per_dimension", "bounds.importance_weighted")
"""Quantities by which runs are ranked"""
OTHERS = (
    "bounds.distortion", "bounds.rate", "bounds.active_dimensions", "bounds.beta", "bounds.deviation",
    "bounds.beta_squared",
)  # fmt: skip
NAMED = 60
"""Dimensions up to which each has its number below its bar"""


# -- the bound -----------------------------------------------------------------------------------------------------


def bound(views: Views) -> str | None:
    """The bound, its two parts and its weights; of several runs, where each stands between the two."""
    places = {key: place for place, key in enumerate((*RANKED, *OTHERS))}
    found = comparable(views, lambda m: m.key in places)
    if not found:
        return None
    found.sort(key=lambda row: places[any_of(row).key])
    having = [view for view in views if any(view.name in row for row in found)]
    body = []
    for index, row in enumerate(found, start=1):
        ranked = any_of(row).key in RANKED
        body.append([row_label(row, index, ranked), *cells(row, having, ranked=ranked)])
    note = (
        "<p class=note>The negative ELBO is rate + distortion: the nats that a picture takes to encode, first its "
        "latent and then its pixels. Importance-weighted over k draws, the bound comes nearer to −log p(x) with every "
        "draw. Rate and distortion are two ends of a trade, and neither is better lower for itself. beta is the weight "
        "of the rate where both terms are summed over a picture: what other conventions call beta differs by a factor."
        f"</p>{protocols(found)}"
    )
    charts = "".join(_trade(group) for group in _measured_alike(having))
    return table(["", *(escape(view.name) for view in having)], body) + charts + note


@dataclass(frozen=True)
class Place:
    """Where a run stands in the trade of rate against distortion."""

    rate: float
    distortion: float
    beta: float | None


def _measured_alike(views: Views) -> list[dict[str, Place]]:
    """Unconditional rate and distortion by run, in groups of several that compare."""
    groups: dict[str, dict[str, Place]] = {}
    for view in views:
        rates, betas = view.find("bounds.rate"), view.find("bounds.beta")
        for m in view.find("bounds.distortion"):
            if "condition" not in m.tags and rates:
                place = Place(rates[0].value, m.value, betas[0].value if betas else None)
                groups.setdefault(identity(m), {})[view.name] = place
    return [group for group in groups.values() if len(group) > 1]


def _trade(places: dict[str, Place]) -> str:
    """Distortion against rate, a point a run, on lines of equal bound."""
    figure, ax = axes()
    with rc_context(STYLE):
        for i, (name, place) in enumerate(places.items()):
            label = name if place.beta is None else f"{name}, beta {place.beta:g}"
            ax.plot(
                [place.rate], [place.distortion], label=label if len(label) <= 40 else f"{label[:39]}…", linestyle="",
                marker="osD^vP"[i % 6], color=LINES[i % len(LINES)],
            )  # fmt: skip
        ax.margins(0.15)
        across, down = (max(ax.get_xlim()[0], 0.0), ax.get_xlim()[1]), ax.get_ylim()
        sums = [place.rate + place.distortion for place in places.values()]
        for total in np.linspace(min(sums), max(sums), 3) if max(sums) > min(sums) else sums[:1]:
            ax.plot(across, [total - x for x in across], color=INK, alpha=0.35, linewidth=0.8, linestyle="--")
        ax.set(xlim=across, ylim=down, xlabel="rate in nats", ylabel="distortion in nats")
        figure.legend(loc="outside lower center", ncols=2)
    words = "; ".join(
        f"{name}: rate {number(place.rate)}, distortion {number(place.distortion)}" for name, place in places.items()
    )
    note = "<p class=note>Dashed: lines on which the bound is the same; lower left is better.</p>"
    return svg(figure, f"Distortion against rate. {words}.") + note


# -- dimensions ----------------------------------------------------------------------------------------------------


def dimensions(views: Views) -> str | None:
    """The KL divergence of each dimension, the largest first."""
    return of_each(views, lambda view: _bars(view) if "bounds.rates" in view.arrays else None)


def _bars(view: View) -> str:
    rates = view.arrays["bounds.rates"]
    order = np.argsort(-rates, kind="stable")
    active = view.arrays["bounds.active"][order].astype(bool)
    figure, ax = axes(height=2.8)
    with rc_context(STYLE):
        places = np.arange(len(order))
        for these, colour, label in ((active, LINES[0], "active"), (~active, LINES[1], "not active")):
            if these.any():
                ax.bar(places[these], rates[order][these], width=0.8, color=colour, label=label)
        if len(order) <= NAMED:
            ax.set_xticks(places, [str(d) for d in order], fontsize=9 if len(order) <= 20 else 5)
        else:
            ax.set_xticks([])
        ax.set(xlabel="dimension, the one that holds most first", ylabel="KL divergence in nats")
        ax.grid(axis="x", visible=False)
        ax.legend()
    total, half = rates.sum(), int(np.searchsorted(np.cumsum(rates[order]), rates.sum() / 2)) + 1
    words = (
        f"{int(active.sum())} of {len(order)} dimensions are active; together the dimensions hold {number(total)} nats "
        f"of a picture, and {half} of them hold half of that."
    )
    chart = svg(figure, f"{view.name}: KL divergence of each dimension. {words}")
    return chart + f"<p class=note>{words}{_rule(view)}</p>"


def _rule(view: View) -> str:
    """What makes a dimension active, as HTML; empty where it is not said."""
    for m in view.find("bounds.active_dimensions"):
        given = m.protocol.settings
        if "threshold" in given and "method" in given:
            threshold, method = escape(str(given["threshold"])), escape(str(given["method"]))
            return f" Active: the posterior's mean has a variance above {threshold} over the pictures ({method})."
    return ""


# -- pictures ------------------------------------------------------------------------------------------------------


def reconstructions(views: Views) -> str | None:
    """Test pictures, and what comes back from the mean of the posterior and from a draw of it."""

    def write(view: View) -> str | None:
        if "bounds.reconstructions" not in view.arrays:
            return None
        clean, mean, drawn = view.arrays["bounds.reconstructions"]
        named = {
            "test picture": clean, f"from the posterior's mean{view.given}": mean,
            f"from a draw of it{view.given}": drawn,
        }  # fmt: skip
        return rows(named, "test pictures and their reconstructions")

    note = (
        "<p class=note>Not chosen: the first test picture of each class. Where mean and draw differ, the posterior is "
        "not sure.</p>"
    )
    return of_each(views, write, note)
