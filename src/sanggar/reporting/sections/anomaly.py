"""The section on odd pictures: how well each score tells them from normal ones, and where the oddness sits."""

from __future__ import annotations

from html import escape

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context

from sanggar.reporting import labels
from sanggar.reporting.figures import LINES, STYLE, Look, Series, axes, line_chart, number, rows, svg, table
from sanggar.reporting.view import View, Views, of_each, value
from sanggar.results import KNN, NETWORK, PCA, Measurement

Vector = Float[np.ndarray, "_"]
Line = tuple[str, str]
"""Subject and score"""

CURVES: tuple[Line, ...] = (
    (NETWORK, "together"),
    (NETWORK, "residual"),
    (NETWORK, "reconstruction"),
    (NETWORK, "bound"),
    (NETWORK, "regret"),
    (PCA, "together"),
    (PCA, "reconstruction"),
    (KNN, "neighbours"),
)
"""Scores of which there is a ROC curve"""
GREYS = np.array([0, 255, 128], np.uint8)
"""Where a picture is normal, odd, and where nobody says"""
POINTS = 200
"""Points of a ROC curve, at most"""


def odd_pictures(views: Views) -> str | None:
    """Odd pictures told from normal ones: in numbers, as distributions and curves, and on the pictures."""
    return of_each(views, lambda view: _measured(view) + _charts(view) + _heat_maps(view) + _located(view))


def _measured(view: View) -> str:
    """A row a score, a column a trial: AUROC; and the same of average precision to be opened."""
    areas = view.find("anomaly.auroc")
    if not areas:
        return ""
    first = areas[0].protocol
    normal, *fitted = (
        escape(labels.setting(name, first.settings.get(name))) for name in ("normal_classes", "fitted_on", "tuned_on")
    )
    note = (
        f"<p class=note>AUROC: the chance that an odd picture scores higher than a normal one; 0.5 is guessing. "
        f"{first.n:,} normal test pictures (classes: {normal}); in brackets the 95 % interval over the pictures "
        "(DeLong). The network's scores, PCA of as many numbers as the latent, and kNN are fitted on "
        f"{' and '.join(fitted)}, all normal; the network itself has seen all training pictures. "
        "<i>Together</i> adds the logarithms of residual and latent distance, each in deviations of normal "
        "validation pictures.</p>"
    )
    precision = _table(view.find("anomaly.average_precision"))
    more = "".join(f"<li>{escape(labels.protocol(m))}</li>" for m in areas if m.subject == NETWORK)
    return (
        _table(areas) + note + _misled_bound(areas)
        + (f"<details><summary>Average precision</summary>{precision}</details>" if precision else "")
        + f"<details><summary>Protocol of each number of the network</summary><ol>{more}</ol></details>"
    )  # fmt: skip


def _table(measured: list[Measurement]) -> str:
    counts = {_odd(m): _count(m) for m in measured}
    lines: dict[Line, dict[str, Measurement]] = {}
    for m in measured:
        lines.setdefault((m.subject, _score(m)), {})[_odd(m)] = m
    if not lines:
        return ""
    best = {odd: max(line[odd].value for line in lines.values() if odd in line) for odd in counts}
    body = []
    for (subject, score), line in lines.items():
        cells = [_cell(line.get(odd), best[odd]) for odd in counts]
        body.append([escape(_name(subject, score, ": ")), *cells])
    return table(["", *(f"{escape(labels.tag('odd', odd))} <small>({n})</small>" for odd, n in counts.items())], body)


def _cell(m: Measurement | None, best: float) -> str:
    if m is None:
        return "—"
    return f"<b>{value(m)}</b>" if m.value == best else value(m)


def _odd(m: Measurement) -> str:
    """Key of the odd pictures."""
    return str(m.tags.get("odd"))


def _score(m: Measurement) -> str:
    """Key of the score."""
    return str(m.tags.get("score"))


def _count(m: Measurement) -> str:
    """Number of the odd pictures, as HTML."""
    count = m.protocol.settings.get("odd_pictures")
    return f"{count:,}" if isinstance(count, int) else escape(str(count))


def _name(subject: str, score: str, between: str) -> str:
    """A score in words, with the subject where it is not the network."""
    return labels.tag("score", score) + ("" if subject == NETWORK else f"{between}{labels.subject(subject)}")


def _misled_bound(areas: list[Measurement]) -> str:
    """What the bound makes of pictures that are simpler than normal ones, in words."""
    sentences = []
    for m in areas:
        if m.protocol.settings.get("trial") != "simpler" or _score(m) != "bound" or m.interval is None:
            continue
        odd, area = escape(labels.tag("odd", _odd(m))), f"{m.value:.2f}"
        if m.interval[0] > 0.5:
            sentences.append(f"By its bound {odd} ({_count(m)}) are told from test pictures (AUROC {area}).")
            continue
        verdict = f"takes {odd} for <b>more normal</b> than" if m.interval[1] < 0.5 else f"cannot tell {odd} from"
        others = [
            f"{escape(labels.tag('score', _score(other)))} {other.value:.2f}" for other in areas
            if other.subject == NETWORK and _odd(other) == _odd(m) and other is not m
        ]  # fmt: skip
        sentences.append(
            f"By its bound the network {verdict} test pictures (AUROC {area}). The other scores of the same: "
            f"{', '.join(others)}."
        )
    if not sentences:
        return ""
    return (
        f"<p>{' '.join(sentences)}</p><p class=note>A likelihood says how cheaply a picture is described, not whether "
        "it is of the kind that was learned: what is simpler than the training pictures is often the more likely "
        "(Nalisnick et al. 2019).</p>"
    )


# -- charts ----------------------------------------------------------------------------------------------------


def _charts(view: View) -> str:
    """The distribution of the score that stands first, and ROC curves, on the first trial."""
    areas = view.find("anomaly.auroc")
    headlines = [m for m in areas if m.headline]
    for trial in dict.fromkeys(_odd(m) for m in (*headlines, *areas)):
        pairs: dict[Line, tuple[Vector, Vector]] = {}
        for subject, score in CURVES:
            names = f"anomaly.normal.{subject}.{score}", f"anomaly.odd.{trial}.{subject}.{score}"
            if all(name in view.arrays for name in names):
                pairs[subject, score] = view.arrays[names[0]], view.arrays[names[1]]
        if pairs:
            main = [(NETWORK, _score(m)) for m in headlines if _odd(m) == trial]
            line = main[0] if main and main[0] in pairs else next(iter(pairs))
            return _histogram(view, trial, line, *pairs[line]) + _roc(view, trial, pairs)
    return ""


def _histogram(view: View, trial: str, line: Line, normal: Vector, odd: Vector) -> str:
    odd_name, score = labels.tag("odd", trial), _name(*line, ", ")
    low, high = np.percentile(np.concatenate([normal, odd]), [0.5, 99.5])
    edges = np.linspace(low, max(high, low + 1e-6), 41)
    figure, ax = axes(height=2.8)
    with rc_context(STYLE):
        for values, name, colour in ((normal, "normal", LINES[0]), (odd, odd_name, LINES[1])):
            counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
            ax.stairs(counts, edges, fill=True, color=colour, alpha=0.55, label=name)
        ax.set(xlabel=f"score ({score}), higher is odder", ylabel="share of pictures")
        ax.legend()
    usual, unusual = (number(float(np.median(values)), 3) for values in (normal, odd))
    medians = f"The median is {usual} of normal pictures, {unusual} of odd ones ({odd_name})."
    return svg(figure, f"{view.name}: distribution of the score, {score}. {medians}")


def _roc(view: View, trial: str, pairs: dict[Line, tuple[Vector, Vector]]) -> str:
    from sklearn.metrics import roc_curve

    series: Series = []
    for (subject, score), (normal, odd) in pairs.items():
        false, true, _ = roc_curve(np.repeat([0, 1], [len(normal), len(odd)]), np.concatenate([normal, odd]))
        kept = np.unique(np.linspace(0, len(false) - 1, min(POINTS, len(false))).astype(np.int64))
        look: Look = {
            "color": LINES[len(series) % len(LINES)], "linewidth": 1.8 if subject == NETWORK else 1.1,
            "linestyle": "-" if subject == NETWORK else "--",
        }  # fmt: skip
        series.append((_name(subject, score, ", "), false[kept].tolist(), true[kept].tolist(), look))
    found = "; ".join(f"{name}: {number(_at(x, y, 0.1), 2)}" for name, x, y, _ in series)
    return line_chart(
        series, "share of normal pictures taken for odd", "share of odd pictures found",
        f"{view.name}: ROC curves, {labels.tag('odd', trial)}. "
        f"Odd pictures found where a tenth of the normal are taken for odd: {found}.",
    )  # fmt: skip


def _at(x: list[float], y: list[float], place: float) -> float:
    return float(np.interp(place, x, y))


# -- on the pictures -------------------------------------------------------------------------------------------


def _heat_maps(view: View) -> str:
    """Odd and normal pictures, their reconstructions and the error, and how odd each is."""
    parts = []
    for name in ("odd", "normal"):
        if f"anomaly.shown_{name}" not in view.arrays:
            continue
        shown, reconstructed, error = view.arrays[f"anomaly.shown_{name}"]
        named = {f"{name}: shown": shown, "reconstructed": reconstructed, "error": error}
        if (masks := view.arrays.get(f"anomaly.shown_{name}_masks")) is not None:
            named["odd places"] = GREYS[np.minimum(masks, 2)][..., None]
        parts.append(rows(named, f"{name} test pictures"))
        if (shares := view.arrays.get(f"anomaly.shown_{name}_shares")) is not None:
            listed = ", ".join(f"{100 * share:.0f}" for share in shares)
            parts.append(
                f"<p class=note>Percentage of normal pictures that score lower, from left to right: {listed}.</p>"
            )
    note = (
        "<p class=note>Not chosen by their scores. Error: squared, smoothed by a Gaussian of a 28th of the edge, from "
        "black to yellow; at its brightest where it reaches what the worst place of 99 % of the normal validation "
        "pictures stays below.</p>"
    )
    return "".join(parts) + note if parts else ""


def _located(view: View) -> str:
    """How well the heat maps say where pictures are odd: two rows a trial, a column a subject."""
    measured = [m for key in ("anomaly.pixel_auroc", "anomaly.region_overlap") for m in view.find(key)]
    if not measured:
        return ""
    by = {(_odd(m), m.key, m.subject): m for m in measured}
    subjects = list(dict.fromkeys(m.subject for m in measured))
    body = []
    for odd in dict.fromkeys(map(_odd, measured)):
        for key in dict.fromkeys(m.key for m in measured):
            line = [by.get((odd, key, subject)) for subject in subjects]
            best = max(m.value for m in line if m is not None)
            name = f"{labels.LABELS[key]}, {labels.tag('odd', odd)}"
            body.append([escape(name), *(_cell(m, best) for m in line)])
    note = (
        "<p class=note>How well the heat maps say <i>where</i> pictures are odd. AUROC: the chance that an odd pixel "
        "is hotter than a normal one, 0.5 is guessing; in brackets the 95 % interval (bootstrap of pictures). Overlap: "
        "of each odd place, the share that is hotter than a threshold, averaged over thresholds that up to 0.3 of the "
        "normal pixels are above; guessing gives 0.15; in brackets the interval over places.</p>"
    )
    return table(["heat maps of", *map(escape, map(labels.subject, subjects))], body) + note
