"""The section about edits of attributes: strips that show them, how well they work, and what they spare."""

from __future__ import annotations

from html import escape

import numpy as np

from sanggar.reporting import labels
from sanggar.reporting.comparison import cells, comparable, protocols, row_label
from sanggar.reporting.figures import LINES, Series, line_chart, number, rows, table
from sanggar.reporting.view import View, Views, headed, value
from sanggar.results import Measurement

STRENGTH = 2.0
"""The strength that tables are about"""
COLUMNS = {
    "edits.success": "flipped",
    "edits.shift": "shifted",
    "edits.kept": "other attributes kept",
    "edits.psnr": "PSNR with the unedited",
    "edits.perceptual": "perceptual distance",
    "edits.judge": "the judge on real pictures",
}


def edits(views: Views) -> str | None:
    """Edits of each run with measured success and, where there are several runs, their means side by side."""
    having = [v for v in views if "edits.strips" in v.arrays and _listed(v) and v.find("edits.psnr")]
    if not having:
        return None
    parts = [_side_by_side(having)] if len(having) > 1 else []
    for view in having:
        parts += [headed(view, views), _strips(view), _success_table(view), _trade(view)]
    note = (
        "<p class=note>A latent moves along a direction and is decoded, or the decoder is given another condition: "
        "what did best on validation. A strength of 1 is where, on validation, half as many verdicts flip as at the "
        "most; of a number, where the judge sees it shift by a deviation, or half as far as at most. Measured on as "
        "many test pictures without the attribute as with it, each pushed to the other side. The judge sees pixels "
        "alone; how well it tells real pictures stands beside (balanced accuracy, or R² of a number).</p>"
    )
    return "".join(parts) + note


def _listed(view: View) -> list[dict[str, str]]:
    """Name, method and kind of each edit."""
    listed: list[dict[str, str]] = view.detail("edits", "edits", [])
    return listed


def _names(view: View) -> list[str]:
    return [edit["name"] for edit in _listed(view)]


def _strips(view: View) -> str:
    """A picture that lacks each attribute and one that has it, at every strength."""
    strengths, named = view.arrays["edits.strengths"], dict[str, np.ndarray]()
    for edit, strip in zip(_listed(view), view.arrays["edits.strips"], strict=True):
        kinds = ("less of it", "more of it") if edit["kind"] == "number" else ("without", "with it")
        named |= {f"{edit['name']}: {kind}": one for kind, one in zip(kinds, strip, strict=True)}
    ends = f"{strengths[0]:g} to {strengths[-1]:g}".replace("-", "−")
    return rows(named, f"edited by {view.name}, strength {ends}") + (
        f"<p class=note>From left to right strength {ends}; in the middle the unedited reconstruction. Not chosen: the "
        "first test picture without the attribute and the first with it (below and above the median of a number).</p>"
    )


def _success_table(view: View) -> str:
    """A row an attribute, at one strength; a column for what was measured of any."""
    by_name = {name: _at_strength(view, name) for name in _names(view)}
    measured = [key for key in COLUMNS if any(key in by for by in by_name.values())]
    body = []
    for edit in _listed(view):
        by = by_name[edit["name"]]
        written = [value(by[key]) if key in by else "—" for key in measured]
        body.append([escape(edit["name"]), labels.EDIT_METHODS[edit["method"]][0], *written])
    return table([f"at strength {STRENGTH:g}", "by", *(COLUMNS[key] for key in measured)], body, numeric_from=2)


def _at_strength(view: View, attribute: str) -> dict[str, Measurement]:
    """What was measured of an edit at the strength that tables are about, and of its judge, by key."""
    return {
        m.key: m
        for key in COLUMNS
        for m in view.find(key, attribute=attribute)
        if key == "edits.judge" or m.tags.get("strength") == STRENGTH
    }


def _trade(view: View) -> str:
    """Success against what is spared, a line an attribute and a mark a strength."""
    spared = _spared([view])
    lines = {
        key: [(name, *_points(view, key, spared, name)) for name in _names(view)]
        for key in ("edits.success", "edits.shift")
    }
    return "".join(_chart(curves, key, spared, view.name) for key, curves in lines.items())


def _spared(views: Views) -> str:
    """What says that the rest stayed: the other attributes, or the picture where there are none."""
    return "edits.kept" if all(view.find("edits.kept") for view in views) else "edits.psnr"


def _points(view: View, key: str, spared: str, attribute: str) -> tuple[list[float], list[float]]:
    """Spared and success, strength by strength."""
    pairs = [
        (other.value, m.value)
        for m in view.find(key, attribute=attribute)
        for other in view.find(spared, attribute=attribute, strength=m.tags["strength"])
    ]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _chart(curves: list[tuple[str, list[float], list[float]]], key: str, spared: str, name: str) -> str:
    series: Series = [
        (label, x, y, {"color": LINES[i % len(LINES)], "marker": "o", "markersize": 4,
                       "linestyle": ("-", "--", ":")[i // len(LINES) % 3]})
        for i, (label, x, y) in enumerate(curve for curve in curves if curve[1])
    ]  # fmt: skip
    if np.ptp([place for _, x, _, _ in series for place in x] or [0.0]) == 0:
        return ""  # nothing was lost at any strength, or nothing measured
    across = "share of other attributes kept" if spared == "edits.kept" else "PSNR with the unedited, dB"
    up = "share flipped" if key == "edits.success" else "shift in deviations"
    ends = "; ".join(f"{label}: {number(y[-1], 2)} at {number(x[-1], 3)}" for label, x, y, _ in series)
    return line_chart(series, across, up, f"{name}: {up} against {across}, by strength. At the largest, {ends}.")


def _side_by_side(views: Views) -> str:
    """Means over attributes of several runs, in rows of one protocol, and in one chart."""
    means = comparable(views, lambda m: m.key.startswith("edits.mean_"))
    body = [[row_label(row, index), *cells(row, views)] for index, row in enumerate(means, start=1)]
    spared, charts = _spared(views), ""
    for key in ("edits.success", "edits.shift"):
        curves = [(view.name, *_mean_points(view, key, spared)) for view in views]
        charts += _chart(curves, key, spared, "Means over attributes")
    if not body:
        return charts
    return table(["", *(escape(view.name) for view in views)], body) + protocols(means) + charts


def _mean_points(view: View, key: str, spared: str) -> tuple[list[float], list[float]]:
    """Means over attributes of spared and success, strength by strength."""
    points = [_points(view, key, spared, name) for name in _names(view)]
    points = [pair for pair in points if pair[0]]
    if not points:
        return [], []
    x, y = (np.mean([pair[i] for pair in points], axis=0) for i in (0, 1))
    return x.tolist(), y.tolist()
