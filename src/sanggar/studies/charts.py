"""The charts of a study: a dot for each run, a ring for what was reported, and what stands beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sanggar.reporting import labels
from sanggar.reporting.figures import LINES, STYLE, Look, axes, number, svg
from sanggar.studies.definition import Quantity
from sanggar.studies.findings import Findings, Row

FEWEST = 3
"""Numbers that are joined by a line, at least"""
TICKS = 8
"""Numbers that stand at an axis each, at most"""
WIDE = 20.0
"""From the smallest to the largest number: from here on an axis is logarithmic"""
LARGEST = 1e100
"""What is larger can't be drawn"""
DOT: Look = {"alpha": 0.6, "markersize": 5}
RING: Look = {"fillstyle": "none", "markersize": 8}
LETTERS = 40
"""of a name in a legend, at most"""


@dataclass(frozen=True)
class Mark:
    """What was found at one place of a chart."""

    values: list[float]
    """of each run"""
    reported: list[float]

    @property
    def mean(self) -> float | None:
        """Of the runs, where there are any."""
        return sum(self.values) / len(self.values) if self.values else None

    def __str__(self) -> str:
        told = [number(self.mean)] if self.mean is not None else []
        return " ".join(told + [f"(reported {number(value)})" for value in self.reported])

    def __add__(self, other: Mark) -> Mark:
        return Mark(self.values or other.values, self.reported + other.reported)


Marks = Mapping[str, Mark]
"""By place"""


def of_table(findings: Findings, name: str, rows: Sequence[Row]) -> str:
    """The quantities of a table as charts, the first one open, and of these curves before dots.

    A quantity of several epochs, or of several levels, is a line for each row along these; of a single row with other
    tags it has a place for each. Else each row has a place, along an axis where all are called by numbers, and what is
    measured of something else beside the quantity, PCA or real pictures, stands in its chart.
    """
    left, curves, others = list(findings.study.tables[name].metrics), list[str](), list[str]()

    def mark(row: Row, of: Quantity) -> Mark:
        return Mark(
            row.values(of), [figure.value for figure, _ in findings.reported[name, row.name] if figure.of == of]
        )

    while left:
        first = left[0]
        tag, along = _along(first, left)
        alike = [of for of in left if (of.key, of.subject) == (first.key, first.subject)]
        taken = [of for of in left if (of.key, of.tags) == (first.key, first.tags)]
        if tag and len(rows) <= len(LINES):
            by_row = {row.name: {_told(of.tags[tag]): mark(row, of) for of in along} for row in rows}
            curves.append(_curves(_axis(tag), headed(first, rows, tag), by_row))
            taken = along
        elif len(rows) == 1 and len(alike) > 1:
            by_tags = {tags_of(of): mark(rows[0], of) for of in alike}
            others.append(_dots(headed(first, rows, *first.tags), {"": by_tags}))
            taken = alike
        else:
            every = {
                labels.subject(of.subject) if len(taken) > 1 else "": {row.name: mark(row, of) for row in rows}
                for of in taken
            }
            head = headed(first, rows)
            along_axis = _numbers(row.name for row in rows) and len(every) <= len(LINES)
            others.append(_curves(name.replace("-", " "), head, every) if along_axis else _dots(head, every))
        left = [of for of in left if of not in taken]
    opened, *more = [chart for chart in curves + others if chart] or [""]
    return opened + (f"<details><summary>Charts of the others</summary>{''.join(more)}</details>" if more else "")


def of_figures(findings: Findings, name: str, rows: Sequence[Row]) -> str:
    """Reported figures of one row and key as a chart beside what was measured: of losses, along the epochs."""
    figures = [(row, figure) for row in rows for figure, _ in findings.reported[name, row.name]]
    if len({(row.name, figure.of.key) for row, figure in figures}) > 1:
        return ""
    row, first = figures[0]
    tag, along = _along(first.of, [figure.of for _, figure in figures])
    on_axis = bool(tag) and len(along) == len(figures)
    marks: dict[str, Mark] = {}
    for _, figure in figures:  # there may be several of one epoch
        place = _told(figure.of.tags[tag]) if on_axis else tags_of(figure.of)
        marks[place] = marks.get(place, Mark([], [])) + Mark(row.values(figure.of), [figure.value])
    if on_axis:
        return _curves(_axis(tag), headed(first.of, [row], tag), {row.name: marks})
    return _dots(headed(first.of, [row], *first.of.tags), {"": marks})


def headed(quantity: Quantity, rows: Iterable[Row], *leaving_out: str) -> str:
    """What a quantity is in words, as what was measured says it; but for the tags that are left out."""
    m = next((m for row in rows for m in row.measured.get(str(quantity), {}).values()), None)
    if m is None:
        label = labels.LABELS.get(quantity.key, quantity.key)
        return str(quantity) if "{" in label else str(quantity).replace(quantity.key, label, 1)
    arrow = {"higher": " ↑", "lower": " ↓", None: ""}[m.better]
    return f"{labels.label_with_subject(m, *leaving_out)}{arrow}"


def tags_of(quantity: Quantity) -> str:
    """A quantity's tags in words."""
    return ", ".join(labels.tag(*tag) for tag in quantity.tags.items())


def _along(first: Quantity, quantities: Sequence[Quantity]) -> tuple[str, list[Quantity]]:
    """The tag whose numbers tell quantities apart that are the first one but for it, and these; else no tag."""

    def but(of: Quantity, tag: str) -> tuple[str, str, dict[str, object]]:
        return of.key, of.subject, {name: told for name, told in of.tags.items() if name != tag}

    for tag in first.tags:
        there = [of for of in quantities if isinstance(of.tags.get(tag), int | float)]
        alike = [of for of in there if but(of, tag) == but(first, tag)]
        if first in alike and len({of.tags[tag] for of in alike}) >= FEWEST:
            return tag, alike
    return "", []


def _axis(tag: str) -> str:
    """What an axis of a tag's numbers is called."""
    return labels.tag(tag, "").strip(" =") or tag


def _told(value: object) -> str:
    """A number as an axis has it."""
    return f"{value:.12g}" if isinstance(value, int | float) else str(value)


def _numbers(names: Iterable[str]) -> list[float]:
    """The numbers that rows are called by; none where one is not, or there are too few."""
    try:
        found = [float(name) for name in names]
    except ValueError:
        return []
    whole = all(abs(value) < LARGEST for value in found) and len(set(found)) == len(found)
    return found if whole and len(found) >= FEWEST else []


def _drawable(lines: Mapping[str, Marks]) -> bool:
    """Whether there is something to draw, and nothing that can't be."""
    every = list(chain.from_iterable(marks.values() for marks in lines.values()))
    values = [value for mark in every for value in mark.values + mark.reported]
    return any(mark.values for mark in every) and all(math.isfinite(v) and abs(v) < LARGEST for v in values)


def _put(ax: Axes, x: float | int, mark: Mark, color: str, *, across: bool) -> None:
    """A dot for each run and a ring for what was reported, at one place: values go up, or `across`."""
    for values, look in ((mark.values, DOT), (mark.reported, RING)):
        places = [x] * len(values)
        ax.plot(*((values, places) if across else (places, values)), "o", color=color, **look)


def _dots(quantity: str, lines: Mapping[str, Marks]) -> str:
    """Places one below the other: of the first line a dot for each run, of those beside it a stroke for the mean."""
    if not _drawable(lines):
        return ""
    (_, places), *beside = lines.items()
    figure, ax = axes(height=0.8 + 0.3 * len(places))
    with rc_context(STYLE):
        for line, mark in enumerate(places.values()):
            _put(ax, line, Mark(mark.values, []), LINES[0], across=True)
            _put(ax, line, Mark([], mark.reported), LINES[1], across=True)
        strokes = []
        for i, (_, marks) in enumerate(beside):
            color, shape = LINES[2 + i % (len(LINES) - 2)], "|x+1"[i // (len(LINES) - 2) % 4]
            there = [(mark.mean, line) for line, mark in enumerate(marks.values()) if mark.mean is not None]
            strokes += ax.plot(
                [x for x, _ in there], [y for _, y in there], shape, color=color, markersize=14, markeredgewidth=2
            )
            for line, mark in enumerate(marks.values()):
                _put(ax, line, Mark([], mark.reported), color, across=True)
        if beside:
            ax.legend(strokes, [_cut(name) for name, _ in beside], loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
        ax.set_yticks(range(len(places)), list(places))
        ax.set_ylim(len(places) - 0.5, -0.5)
        ax.set(xlabel=quantity)
        ax.locator_params(axis="x", nbins=6)
    return svg(figure, _words(quantity, lines))


def _curves(along: str, quantity: str, lines: Mapping[str, Marks]) -> str:
    """A line through the means of each, along numbers."""
    if not _drawable(lines):
        return ""
    figure, ax = axes(height=3.2 if len(lines) <= 4 else 3.2 + 0.1 * len(lines))
    numbers = dict(sorted({float(place): place for marks in lines.values() for place in marks}.items()))
    with rc_context(STYLE):
        drawn = []
        for color, marks in zip(LINES, lines.values(), strict=False):
            means = sorted((float(place), mark.mean) for place, mark in marks.items() if mark.mean is not None)
            drawn += ax.plot([x for x, _ in means], [y for _, y in means], color=color, linewidth=1)
            for place, mark in marks.items():
                _put(ax, float(place), mark, color, across=False)
        ax.set(xlabel=along, ylabel=quantity)
        least, most = min(numbers), max(numbers)
        if least > 0 and most / least >= WIDE:
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.xaxis.set_minor_formatter(NullFormatter())
        if len(numbers) <= TICKS:
            ax.set_xticks(list(numbers), list(numbers.values()))
            ax.minorticks_off()
        if len(lines) > 1:
            figure.legend(drawn, [_cut(name) for name in lines], loc="outside lower center", ncols=2)
    return svg(figure, _words(f"{quantity} by {along}", lines))


def _cut(name: str) -> str:
    """A name in a legend."""
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"


def _words(what: str, lines: Mapping[str, Marks]) -> str:
    """What a chart shows, for who does not see it: means, and what was reported."""
    said = [
        f"{name}{': ' * bool(name)}{', '.join(f'{place} {mark}'.strip() for place, mark in marks.items())}"
        for name, marks in lines.items()
    ]
    return f"{what}, a dot for each run, a ring for what was reported: {'; '.join(said)}."
