"""Measurements of several runs side by side: only those of one protocol share a row, and only they are ranked."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape

from sanggar.reporting import labels
from sanggar.reporting.view import View, Views, value
from sanggar.results import Measurement

Row = dict[str, Measurement]
"""By the name of the run, measurements of one quantity and one protocol"""

ARROWS = {"higher": "&nbsp;↑", "lower": "&nbsp;↓", None: ""}


def comparable(views: Views, wanted: Callable[[Measurement], bool]) -> list[Row]:
    """The wanted measurements, in rows of those that compare."""
    rows: dict[str, Row] = {}
    for view in views:
        for m in view.evaluation.measurements:
            if wanted(m):
                rows.setdefault(identity(m), {})[view.name] = m
    return list(rows.values())


def identity(m: Measurement) -> str:
    """What two measurements have in common that compare: quantity, subject, tags and protocol."""
    return json.dumps([m.key, m.subject, m.tags, m.protocol.model_dump()], sort_keys=True)


def any_of(row: Row) -> Measurement:
    """One of a row's measurements, for what they have in common."""
    return next(iter(row.values()))


def row_label(row: Row, index: int, ranked: bool = True) -> str:
    """Label of a row as HTML, with an arrow to where better lies and the number of its protocol."""
    m = any_of(row)
    return f"{escape(labels.label_with_subject(m))}{ARROWS[m.better] if ranked else ''}&nbsp;<sup>{index}</sup>"


def _plainly(m: Measurement, view: View) -> str:
    return value(m)


def cells(
    row: Row, views: Views, write: Callable[[Measurement, View], str] = _plainly, ranked: bool = True
) -> list[str]:
    """A cell a run as HTML, the best of the row bold where there are several and they are ranked."""
    best = _best(row) if ranked and len(views) > 1 else []
    written = [write(row[view.name], view) if view.name in row else "—" for view in views]
    return [f"<b>{cell}</b>" if view.name in best else cell for view, cell in zip(views, written, strict=True)]


def protocols(rows: list[Row]) -> str:
    """What the arrows say, and the protocol of each row, numbered, to be opened."""
    items = "".join(f"<li>{escape(labels.protocol(any_of(row)))}</li>" for row in rows)
    arrows = "<p class=note>↑ higher is better, ↓ lower is better.</p>"
    return f"{arrows}<details><summary>Protocol of each number</summary><ol>{items}</ol></details>"


def _best(row: Row) -> list[str]:
    """The runs with the best value; none where all are equal, or where better means nothing."""
    better = any_of(row).better
    if better is None:
        return []
    values = [m.value for m in row.values()]
    best = max(values) if better == "higher" else min(values)
    return [name for name, m in row.items() if m.value == best] if len(set(values)) > 1 else []
