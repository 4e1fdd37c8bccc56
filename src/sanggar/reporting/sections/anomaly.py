"""The section on odd pictures: how well each score tells them from normal ones, and where the oddness sits."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context

from sanggar.reporting.comparison import Number
from sanggar.reporting.figures import LINES, STYLE, Series, axes, line_chart, number, rows, svg, table
from sanggar.reporting.view import View, Views, of_each, protocol, value

Vector = Float[np.ndarray, "n"]

CURVES = {
    "network.together": "residual and latent distance together",
    "network.residual": "residual in deviations of its pixel",
    "network.reconstruction": "reconstruction error",
    "network.bound": "minus the bound",
    "network.regret": "likelihood regret",
    "PCA.together": "residual and latent distance together, PCA",
    "PCA.reconstruction": "reconstruction error, PCA",
    "kNN.neighbours": "distance to training pictures, kNN",
}
"""Scores, as they are kept and as they are called, of which there is a ROC curve."""
SIMPLE = "simpler pictures"
POINTS = 200
"""Of a ROC curve, at most."""


def odd_pictures(views: Views) -> str | None:
    """Odd pictures told from normal ones: in numbers, as distributions and curves, and on the pictures."""
    return of_each(views, lambda view: _measured(view) + _charts(view) + _heat_maps(view))


def _measured(view: View) -> str:
    """A row a score, a column a trial: AUROC; and the same of average precision to be opened."""
    found = view.numbers("anomaly.auroc")
    if not found:
        return ""
    first = found[0]["protocol"]
    note = (
        f"<p class=note>AUROC: the chance that an odd picture scores higher than a normal one; 0.5 is guessing. "
        f"{first['n']:,} normal test pictures (classes: {escape(first['normal_classes'])}); in brackets the 95 % "
        f"interval over the pictures (DeLong). The network's scores, PCA of as many numbers as the latent, and kNN are "
        f"fitted on {escape(first['fitted_on'])}; the network itself has seen all training pictures. "
        "<i>Together</i> adds the logarithms of residual and latent distance, each in deviations of normal "
        "validation pictures.</p>"
    )
    precision = _table(view.numbers("anomaly.precision"))
    more = "".join(f"<li>{escape(protocol(n))}</li>" for n in found if n["subject"] == "network")
    return (
        _table(found) + note + _trap(found)
        + (f"<details><summary>Average precision</summary>{precision}</details>" if precision else "")
        + f"<details><summary>Protocol of each number of the network</summary><ol>{more}</ol></details>"
    )  # fmt: skip


def _table(found: list[Number]) -> str:
    trials = list(dict.fromkeys((n["protocol"]["odd"], n["protocol"]["odd_pictures"]) for n in found))
    lines: dict[tuple[str, str], dict[str, Number]] = {}
    for n in found:
        lines.setdefault((n["protocol"]["score"], n["subject"]), {})[n["protocol"]["odd"]] = n
    if not lines:
        return ""
    best = {odd: max(line[odd]["value"] for line in lines.values() if odd in line) for odd, _ in trials}
    body = []
    for (score, who), line in lines.items():
        cells = [_cell(line.get(odd), best[odd]) for odd, _ in trials]
        body.append([escape(score if who == "network" else f"{score}: {who}"), *cells])
    return table(["", *(f"{escape(odd)} <small>({count:,})</small>" for odd, count in trials)], body)


def _cell(n: Number | None, best: float) -> str:
    if n is None:
        return "—"
    return f"<b>{value(n)}</b>" if n["value"] == best else value(n)


def _trap(found: list[Number]) -> str:
    """What the bound makes of pictures that are simpler than normal ones, in words."""
    said = []
    for n in found:
        if n["protocol"]["trial"] != SIMPLE or n["protocol"]["score"] != "minus the bound":
            continue
        odd, count, area = escape(n["protocol"]["odd"]), n["protocol"]["odd_pictures"], f"{n['value']:.2f}"
        if n["interval"][0] > 0.5:
            said.append(f"By its bound {odd} ({count:,}) are told from test pictures (AUROC {area}).")
            continue
        verdict = "takes {} for <b>more normal</b> than" if n["interval"][1] < 0.5 else "cannot tell {} from"
        others = [
            f"{escape(other['protocol']['score'])} {other['value']:.2f}" for other in found
            if other["subject"] == "network" and other["protocol"]["odd"] == n["protocol"]["odd"] and other is not n
        ]  # fmt: skip
        said.append(
            f"By its bound the network {verdict.format(odd)} test pictures (AUROC {area}). The other scores "
            f"of the same: {', '.join(others)}."
        )
    if not said:
        return ""
    return (
        f"<p>{' '.join(said)}</p><p class=note>A likelihood says how cheaply a picture is described, not whether it is "
        "of the kind that was learned: what is simpler than the training pictures is often the more likely (Nalisnick "
        "et al. 2019).</p>"
    )


# -- charts ------------------------------------------------------------------------------------------------------


def _charts(view: View) -> str:
    """The distribution of the score that stands first, and ROC curves, on the first trial."""
    trials = dict.fromkeys(name.removeprefix(ODD).rsplit(".", 2)[0] for name in view.pictures if name.startswith(ODD))
    if not trials:
        return ""
    headline = [n["protocol"]["odd"] for n in view.numbers("anomaly.auroc") if n["headline"]]
    trial = headline[0] if headline and headline[0] in trials else next(iter(trials))
    pairs = {}
    for name, label in CURVES.items():
        normal, odd = view.pictures.get(NORMAL + name), view.pictures.get(f"{ODD}{trial}.{name}")
        if normal is not None and odd is not None:
            pairs[label] = (normal, odd)
    if not pairs:
        return ""
    main = [n["protocol"]["score"] for n in view.numbers("anomaly.auroc", odd=trial) if n["headline"]]
    label = main[0] if main and main[0] in pairs else next(iter(pairs))
    return _histogram(view, trial, label, *pairs[label]) + _roc(view, trial, pairs)


NORMAL, ODD = "anomaly.normal.", "anomaly.odd."


def _histogram(view: View, trial: str, label: str, normal: Vector, odd: Vector) -> str:
    low, high = np.percentile(np.concatenate([normal, odd]), [0.5, 99.5])
    edges = np.linspace(low, max(high, low + 1e-6), 41)
    figure, ax = axes(height=2.8)
    with rc_context(STYLE):
        for values, name, colour in ((normal, "normal", LINES[0]), (odd, trial, LINES[1])):
            counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
            ax.stairs(counts, edges, fill=True, color=colour, alpha=0.55, label=name)
        ax.set(xlabel=f"score ({label}), higher is odder", ylabel="share of pictures")
        ax.legend()
    usual, unusual = (number(float(np.median(values)), 3) for values in (normal, odd))
    medians = f"The median is {usual} of normal pictures, {unusual} of odd ones ({trial})."
    return svg(figure, f"{view.name}: distribution of the score, {label}. {medians}")


def _roc(view: View, trial: str, pairs: dict[str, tuple[Vector, Vector]]) -> str:
    from sklearn.metrics import roc_curve

    series: Series = []
    for label, (normal, odd) in pairs.items():
        false, true, _ = roc_curve(np.repeat([0, 1], [len(normal), len(odd)]), np.concatenate([normal, odd]))
        kept = np.unique(np.linspace(0, len(false) - 1, min(POINTS, len(false))).astype(np.int64))
        beside = "," in label
        look: dict[str, Any] = {
            "color": LINES[len(series) % len(LINES)], "linewidth": 1.1 if beside else 1.8,
            "linestyle": "--" if beside else "-",
        }  # fmt: skip
        series.append((label, false[kept].tolist(), true[kept].tolist(), look))
    said = "; ".join(f"{label}: {number(_at(x, y, 0.1), 2)}" for label, x, y, _ in series)
    return line_chart(
        series, "share of normal pictures taken for odd", "share of odd pictures found",
        f"{view.name}: ROC curves, {trial}. Odd pictures found where a tenth of the normal are taken for odd: {said}.",
    )  # fmt: skip


def _at(x: list[float], y: list[float], place: float) -> float:
    return float(np.interp(place, x, y))


# -- on the pictures ---------------------------------------------------------------------------------------------


def _heat_maps(view: View) -> str:
    parts = []
    for name in ("odd", "normal"):
        if f"anomaly.shown.{name}" not in view.pictures:
            continue
        given, back, warm = view.pictures[f"anomaly.shown.{name}"]
        parts.append(rows({f"{name}: shown": given, "came back": back, "error": warm}, f"{name} test pictures"))
        if (shares := view.pictures.get(f"anomaly.shown.{name}.shares")) is not None:
            told = ", ".join(f"{100 * share:.0f}" for share in shares)
            parts.append(
                f"<p class=note>Percentage of normal pictures that score lower, from left to right: {told}.</p>"
            )
    note = (
        "<p class=note>Not chosen by their scores. Error: squared, smoothed by a Gaussian of a 28th of the edge, from "
        "black to yellow; at its brightest where it reaches what the worst place of 99 % of the normal validation "
        "pictures stays below.</p>"
    )
    return "".join(parts) + note if parts else ""
