"""The section about attributes: strips that edit them, how well that works, and what latents tell of them."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import numpy as np

from sanggar.reporting.comparison import Number, cells, comparable, protocols, row_label
from sanggar.reporting.figures import LINES, Series, line_chart, number, rows, table
from sanggar.reporting.view import View, Views, prefix, value

METHODS = {"means": "difference of means", "probe": "normal of a probe", "told": "told another value"}
STRENGTH = 2.0
"""The strength that tables are about."""
COLUMNS = {
    "success": "flipped", "shift": "shifted", "kept": "other attributes kept", "psnr": "PSNR with the unedited",
    "perceptual": "perceptual distance", "judge": "the judge on real pictures",
}  # fmt: skip
SCORES = {
    "mig": "mutual information gap", "disentanglement": "DCI disentanglement", "completeness": "DCI completeness"
}  # fmt: skip


def attributes(views: Views) -> str | None:
    """Editing strips with measured success, success against what is spared, and the table of probes."""
    parts = [part for part in (_probes(views), _scores(views), _edits(views)) if part]
    return "".join(parts) or None


# -- edits -------------------------------------------------------------------------------------------------------


def _edits(views: Views) -> str:
    """Of each run its edits, and where there are several, their means side by side."""
    having = [view for view in views if "attributes.strips" in view.pictures and view.numbers("attributes.psnr")]
    if not having:
        return ""
    parts = [_side_by_side(having)] if len(having) > 1 else []
    for view in having:
        parts += [f"<h3>{prefix(view, views)}edited</h3>", _strips(view), _success_table(view), _trade(view)]
    note = (
        "<p class=note>A latent moves along a direction and is decoded, or the decoder is told another value: whatever "
        "did best on validation. A strength of 1 is where, on validation, half as many verdicts flip as at the most; "
        "of a number, where the judge sees it shift by a deviation, or half as far as at the most. Measured on as "
        "many test pictures without the attribute as with it, each pushed to the other side. The judge sees pixels "
        "alone; how well it tells real pictures stands beside (balanced accuracy, or R² of a number).</p>"
    )
    return "".join(parts) + note


def _said(view: View) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(view.pictures["attributes.edits"].tobytes())
    return found


def _strips(view: View) -> str:
    """A picture that lacks each attribute and one that has it, at every strength."""
    strengths, named = view.pictures["attributes.strengths"], dict[str, np.ndarray]()
    for said, strip in zip(_said(view), view.pictures["attributes.strips"], strict=True):
        kinds = ("less of it", "more of it") if said["kind"] == "number" else ("without", "with it")
        named |= {f"{said['name']}: {kind}": one for kind, one in zip(kinds, strip, strict=True)}
    ends = f"{strengths[0]:g} to {strengths[-1]:g}".replace("-", "−")
    return rows(named, f"edited by {view.name}, strength {ends}") + (
        f"<p class=note>From left to right strength {ends}; in the middle the unedited reconstruction. Not chosen: the "
        "first test picture without the attribute and the first with it (below and above the median of a number).</p>"
    )


def _success_table(view: View) -> str:
    """A row an attribute, at one strength; a column for what was measured of any."""
    found = {said["name"]: _at(view, said["name"]) for said in _said(view)}
    measured = [key for key in COLUMNS if any(key in by for by in found.values())]
    body = []
    for said in _said(view):
        by = found[said["name"]]
        written = [value(by[key]) if key in by else "—" for key in measured]
        body.append([escape(said["name"]), METHODS[said["method"]], *written])
    return table([f"at strength {STRENGTH:g}", "by", *(COLUMNS[key] for key in measured)], body, numeric_from=2)


def _at(view: View, attribute: str) -> dict[str, Number]:
    """What was measured of an edit at the strength that tables are about, and of its judge."""
    about = [n for n in view.evaluation["numbers"] if n["protocol"].get("attribute") == attribute]
    return {
        n["key"].removeprefix("attributes."): n
        for n in about
        if n["key"] == "attributes.judge" or n["protocol"].get("strength") == STRENGTH
    }


def _trade(view: View) -> str:
    """Success against what is spared, a line an attribute and a mark a strength."""
    spared = _spared([view])
    lines = {
        key: [(said["name"], *_points(view, key, spared, said["name"])) for said in _said(view)]
        for key in ("success", "shift")
    }
    return "".join(_chart(curves, key, spared, view.name) for key, curves in lines.items())


def _spared(views: Views) -> str:
    """What says that the rest stayed: the other attributes, or the picture where there are none."""
    return "kept" if all(view.numbers("attributes.kept") for view in views) else "psnr"


def _points(view: View, key: str, spared: str, attribute: str) -> tuple[list[float], list[float]]:
    """Spared and success, strength by strength."""
    pairs = [
        (other["value"], n["value"])
        for n in view.numbers(f"attributes.{key}", attribute=attribute)
        for other in view.numbers(f"attributes.{spared}", attribute=attribute, strength=n["protocol"]["strength"])
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
    across = "share of other attributes kept" if spared == "kept" else "PSNR with the unedited, dB"
    up = "share flipped" if key == "success" else "shift in deviations"
    ends = "; ".join(f"{label}: {number(y[-1], 2)} at {number(x[-1], 3)}" for label, x, y, _ in series)
    return line_chart(series, across, up, f"{name}: {up} against {across}, by strength. At the largest, {ends}.")


def _side_by_side(views: Views) -> str:
    """Means over attributes of several runs, in rows of one protocol, and in one chart."""
    found = comparable(views, lambda n: n["key"].startswith("attributes.mean_"))
    body = [[row_label(row, index), *cells(row, views)] for index, row in enumerate(found, start=1)]
    spared, charts = _spared(views), ""
    for key in ("success", "shift"):
        curves = [(view.name, *_mean_points(view, key, spared)) for view in views]
        charts += _chart(curves, key, spared, "Means over attributes")
    if not body:
        return charts
    return table(["", *(escape(view.name) for view in views)], body) + protocols(found) + charts


def _mean_points(view: View, key: str, spared: str) -> tuple[list[float], list[float]]:
    points = [_points(view, key, spared, said["name"]) for said in _said(view)]
    points = [pair for pair in points if pair[0]]
    if not points:
        return [], []
    x, y = (np.mean([pair[i] for pair in points], axis=0) for i in (0, 1))
    return x.tolist(), y.tolist()


# -- probes ------------------------------------------------------------------------------------------------------


def _probes(views: Views) -> str:
    """What a linear probe tells of each attribute: of each network, of PCA of its size, of pixels."""
    having = [view for view in views if view.numbers("attributes.probe")]
    if not having:
        return ""
    names = list(dict.fromkeys(n["protocol"]["attribute"] for v in having for n in v.numbers("attributes.probe")))
    beside: dict[str, dict[str, str]] = {}
    for view in having:
        for n in view.numbers("attributes.probe"):
            if n["subject"] != "network":
                size = f" of {n['protocol']['size']}" if n["subject"] == "PCA" else ""
                beside.setdefault(f"{escape(n['subject'])}{size}", {})[n["protocol"]["attribute"]] = value(n)
    body = []
    for name in names:
        best = _best_probes(having, name)
        networks = [best.get(view.name, "—") for view in having]
        others = [cells_of.get(name, "—") for cells_of in beside.values()]
        body.append([f"{escape(name)} <small>{_scale(having, name)}</small>", *networks, *others])
    own = [escape(view.name) if len(views) > 1 else "the network" for view in having]
    ranked = " The best network of a row is bold, where their protocols are one." if len(having) > 1 else ""
    return table(["a linear probe of", *own, *beside], body) + (
        "<p class=note>Fitted on training pictures, measured on test. Balanced accuracy counts every value of an "
        "attribute alike; R² is the share of a number's variance that is explained. PCA stands beside at the size of "
        f"the latent space. In brackets: 95 % interval over the pictures; it says nothing of other seeds.{ranked}</p>"
    )


def _best_probes(views: Views, attribute: str) -> dict[str, str]:
    """A cell a run of what its network tells, the best of one protocol bold."""
    found = dict[str, str]()
    for row in comparable(views, lambda n: _is_probe(n, attribute, "network")):
        shown = zip(views, cells(row, views), strict=True)
        found |= {view.name: cell for view, cell in shown if view.name in row}
    return found


def _is_probe(n: Number, attribute: str, subject: str) -> bool:
    probe = n["key"] == "attributes.probe" and n["subject"] == subject
    return probe and bool(n["protocol"]["attribute"] == attribute)


def _scale(views: Views, name: str) -> str:
    n = next(n for view in views for n in view.numbers("attributes.probe", attribute=name))
    if n["protocol"]["kind"] == "number":
        return "R²; 0 is the mean"
    return f"balanced accuracy; {number(n['protocol']['floor'], 2)} is chance"


def _scores(views: Views) -> str:
    """Disentanglement of each network, beside PCA."""
    body = []
    for view in views:
        for subject in ("network", "PCA"):
            found = {key: [n for n in view.numbers(f"attributes.{key}") if n["subject"] == subject] for key in SCORES}
            if any(found.values()):
                own = escape(view.name) if len(views) > 1 else "the network"
                name = own if subject == "network" else f"PCA{f' (beside {own})' if len(views) > 1 else ''}"
                body.append([name, *(value(n[0]) if n else "—" for n in found.values())])
    if not body:
        return ""
    return table(["attributes as single dimensions", *SCORES.values()], body) + (
        "<p class=note>1 where every attribute is a dimension of its own, 0 where no dimension says more of one than "
        "any other. Attributes that go together in the data keep even a perfect space below 1.</p>"
    )
