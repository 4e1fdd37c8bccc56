"""Numbers of several runs side by side: only those of one protocol share a row, and only they are ranked."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from sanggar.reporting.view import View, Views, protocol, value

Number = dict[str, Any]
Row = dict[str, Number]
"""By the name of the run, numbers of one label and one protocol."""

ARROWS = {"higher": "↑", "lower": "↓"}


def comparable(views: Views, wanted: Callable[[Number], bool]) -> list[Row]:
    """The wanted numbers, in rows of those that compare."""
    found: dict[str, Row] = {}
    for view in views:
        for n in view.evaluation["numbers"]:
            if wanted(n):
                said = sorted((key, str(entry)) for key, entry in n["protocol"].items())
                found.setdefault(f"{n['label']} {said}", {})[view.name] = n
    return list(found.values())


def any_of(row: Row) -> Number:
    """One of a row's numbers, for what they have in common."""
    return next(iter(row.values()))


def row_label(row: Row, index: int, ranked: bool = True) -> str:
    """What a row holds, as HTML: its label, an arrow to where better lies, the number of its protocol."""
    n = any_of(row)
    arrow = f"&nbsp;{ARROWS[n['better']]}" if ranked else ""
    return f"{escape(n['label'])}{arrow}&nbsp;<sup>{index}</sup>"


def _plainly(n: Number, view: View) -> str:
    return value(n)


def cells(row: Row, views: Views, write: Callable[[Number, View], str] = _plainly, ranked: bool = True) -> list[str]:
    """A cell a run as HTML, the best of the row bold where there are several and they are ranked."""
    best = _best(row) if ranked and len(views) > 1 else []
    written = [write(row[view.name], view) if view.name in row else "—" for view in views]
    return [f"<b>{cell}</b>" if view.name in best else cell for view, cell in zip(views, written, strict=True)]


def protocols(rows: list[Row]) -> str:
    """What the arrows say, and the protocol of each row, numbered, to be opened."""
    items = "".join(f"<li>{escape(protocol(any_of(row)))}</li>" for row in rows)
    arrows = "<p class=note>↑ higher is better, ↓ lower is better.</p>"
    return f"{arrows}<details><summary>Protocol of each number</summary><ol>{items}</ol></details>"


def _best(row: Row) -> list[str]:
    """The runs with the best value; none where all are equal."""
    values = [n["value"] for n in row.values()]
    best = max(values) if any_of(row)["better"] == "higher" else min(values)
    return [name for name, n in row.items() if n["value"] == best] if len(set(values)) > 1 else []
