"""The charts of a study: a dot for each run, a ring for what was reported, a line or a stroke beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from matplotlib import rc_context

from sanggar.reporting import labels
from sanggar.reporting.figures import LINES, STYLE, axes, number, svg
from sanggar.studies.definition import Quantity
from sanggar.studies.findings import Findings, Row

FEWEST, MOST = 3, 8
"""Numbers that are joined by a line, at least; lines of a chart, at most"""
WIDE = 20.0
"""From the smallest to the largest number: from here on an axis is logarithmic"""


@dataclass(frozen=True)
class Mark:
    """What was found at one place of a chart."""

    values: list[float]
    """of each run"""
    reported: list[float]

    @property
    def mean(self) -> float:
        """Of the runs, of which there is one at least."""
        return sum(self.values) / len(self.values)


Marks = Mapping[str, Mapping[float, Mark]]
"""By line and number along the axis"""


def of_table(findings: Findings, name: str, rows: Sequence[Row]) -> str:
    """The quantities of a table as charts, the first one open, and of these curves before dots.

    A quantity of several epochs, or of several levels, is a line for each row along these; where rows are called by
    numbers, it is a line along them. Else a row has its own place. What is measured of something else beside a
    quantity, PCA or real pictures, stands in its chart.
    """
    left, curves, others = list(findings.study.tables[name].metrics), list[str](), list[str]()

    def mark(row: Row, of: Quantity) -> Mark:
        told = [figure.value for figure, _ in findings.reported[name, row.name] if figure.of == of]
        return Mark(row.values(of), told)

    while left:
        first = left[0]
        tag, along = _along(first, left)
        alike = [of for of in left if (of.key, of.subject) == (first.key, first.subject)]
        if tag and len(rows) <= MOST:
            lines = {row.name: {float(str(of.tags[tag])): mark(row, of) for of in along} for row in rows}
            curves.append(_curves(labels.tag(tag, "").strip(), headed(first, rows, tag), lines))
            taken = along
        elif len(rows) == 1 and len(alike) > 1:
            (row,) = rows
            places = {tags_of(of): mark(row, of) for of in alike}
            others.append(_dots(headed(first, rows, *first.tags), places))
            taken = alike
        else:
            taken = [of for of in left if (of.key, of.tags) == (first.key, first.tags)]
            of_others = {labels.subject(of.subject): {row.name: mark(row, of) for row in rows} for of in taken[1:]}
            places, head = {row.name: mark(row, first) for row in rows}, headed(first, rows)
            if (numbers := _numbers(places)) is not None:
                every = {"": places, **of_others}
                lines = {of: dict(zip(numbers, marks.values(), strict=True)) for of, marks in every.items()}
                others.append(_curves(name.replace("-", " "), head, lines))
            else:
                others.append(_dots(head, places, of_others))
        left = [of for of in left if of not in taken]
    opened, *more = [chart for chart in curves + others if chart] or [""]
    return opened + (f"<details><summary>Charts of the others</summary>{''.join(more)}</details>" if more else "")


def of_figures(findings: Findings, name: str, rows: Sequence[Row]) -> str:
    """Reported figures of one row and key as a chart beside what was measured: of losses, along the epochs."""
    figures = [(row, figure) for row in rows for figure, _ in findings.reported[name, row.name]]
    if len({(row.name, figure.of.key) for row, figure in figures}) > 1:
        return ""
    row, first = figures[0]
    marks = [(figure.of, Mark(row.values(figure.of), [figure.value])) for _, figure in figures]
    tag, along = _along(first.of, [of for of, _ in marks])
    if tag and len(along) == len(marks):
        return _curves(
            labels.tag(tag, "").strip(), headed(first.of, [row], tag),
            {row.name: {float(str(of.tags[tag])): mark for of, mark in marks}},
        )  # fmt: skip
    return _dots(headed(first.of, [row], *first.of.tags), {tags_of(of): mark for of, mark in marks})


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
    for tag, value in first.tags.items():
        if isinstance(value, int | float):
            others = {name: told for name, told in first.tags.items() if name != tag}
            alike = [
                of for of in quantities
                if (of.key, of.subject) == (first.key, first.subject) and isinstance(of.tags.get(tag), int | float)
                and {name: told for name, told in of.tags.items() if name != tag} == others
            ]  # fmt: skip
            if len(alike) >= FEWEST:
                return tag, alike
    return "", []


def _numbers(names: Iterable[str]) -> list[float] | None:
    """The numbers that rows are called by; None where one is not, or there are too few."""
    try:
        found = [float(name) for name in names]
    except ValueError:
        return None
    return found if len(set(found)) == len(found) >= FEWEST else None


def _dots(quantity: str, places: Mapping[str, Mark], beside: Mapping[str, Mapping[str, Mark]] | None = None) -> str:
    """A line for each place, one below the other; what is `beside` has its mean there."""
    if not any(mark.values for mark in places.values()):
        return ""
    figure, ax = axes(height=0.8 + 0.3 * len(places))
    with rc_context(STYLE):
        for line, mark in enumerate(places.values()):
            ax.plot(mark.values, [line] * len(mark.values), "o", color=LINES[0], alpha=0.6, markersize=5)
            ax.plot(mark.reported, [line] * len(mark.reported), "o", color=LINES[1], fillstyle="none", markersize=8)
        for color, (other, marks) in zip(cycle(LINES[2:]), (beside or {}).items()):
            there = [(marks[place].mean, line) for line, place in enumerate(places) if marks[place].values]
            if there:
                ax.plot(*zip(*there, strict=True), "|", color=color, markersize=14, markeredgewidth=2, label=other)
                ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
        ax.set_yticks(range(len(places)), list(places))
        ax.set_ylim(len(places) - 0.5, -0.5)
        ax.set(xlabel=quantity)
        ax.locator_params(axis="x", nbins=6)
    said = [f"{place} {number(mark.mean)}" for place, mark in places.items() if mark.values]
    return svg(figure, f"{quantity}, a dot for each run, a ring for what was reported: {'; '.join(said)}.")


def _curves(along: str, quantity: str, lines: Marks) -> str:
    """A line through the means of each, along numbers."""
    lines = {name: {x: mark for x, mark in marks.items() if mark.values} for name, marks in lines.items()}
    lines = {name: marks for name, marks in lines.items() if marks}
    if not lines:
        return ""
    figure, ax = axes(height=3.2 if len(lines) <= 4 else 3.2 + 0.1 * len(lines))
    with rc_context(STYLE):
        for color, (name, marks) in zip(cycle(LINES), lines.items()):
            means = sorted((x, mark.mean) for x, mark in marks.items())
            ax.plot(*zip(*means, strict=True), color=color, linewidth=1, label=name or "the network")
            for x, mark in marks.items():
                ax.plot([x] * len(mark.values), mark.values, "o", color=color, alpha=0.6, markersize=5)
                ax.plot([x] * len(mark.reported), mark.reported, "o", color=color, fillstyle="none", markersize=9)
        ax.set(xlabel=along, ylabel=quantity)
        numbers = sorted({x for marks in lines.values() for x in marks})
        if numbers[0] > 0 and numbers[-1] / numbers[0] >= WIDE:
            ax.set_xscale("log")
        if len(numbers) <= MOST:
            ax.set_xticks(numbers, [f"{x:g}" for x in numbers])
            ax.minorticks_off()
        if len(lines) > 1:
            figure.legend(loc="outside lower center", ncols=2)
    said = [
        f"{name}{': ' * bool(name)}{', '.join(f'{x:g} {number(mark.mean)}' for x, mark in marks.items())}"
        for name, marks in lines.items()
    ]
    return svg(figure, f"{quantity} by {along}, a dot for each run, a ring for what was reported: {'; '.join(said)}.")
