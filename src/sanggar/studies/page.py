"""A study in Markdown and as a page: its tables, the figures that were reported, and the verdicts."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from html import escape

from jinja2 import Environment, PackageLoader

from sanggar import __version__
from sanggar.reporting.figures import number, table
from sanggar.reporting.figures import rows as pictures
from sanggar.studies import charts
from sanggar.studies.charts import headed
from sanggar.studies.definition import Quantity, Reported, Study, Table
from sanggar.studies.findings import Findings, Judged, Row, spread
from sanggar.studies.verdicts import FEWEST, Comparison
from sanggar.trained import Pixels

Lines = list[list[str]]
"""A table: its head, and a line each"""

DRAWN = "The first pictures that each network drew, not chosen; where it was told the class, one of each"
EACH = re.compile(r"^([^()]+) (\([−\d.,e –-]+\)|\(each of \d+\))$")
"""A mean, and the runs' numbers behind it"""
NOTE = (
    "Charts: a dot for each run, a line through their means, a ring for what was reported, a stroke for the mean of "
    "what stands beside. A single run is shown as it is; of several, mean ± standard deviation over seeds, and the "
    "values. A reported figure is reproduced where it falls in the 95 % prediction interval for one run, from at "
    "least three seeds."
)


def markdown(findings: Findings) -> str:
    """The whole study as Markdown."""
    study = findings.study
    parts = [f"## {study.name}", study.options.about.strip(), _budget(findings), _in_short(findings)]
    for name, rows in findings.rows.items():
        table_of = study.tables[name]
        parts += [f"### {name}", table_of.about.strip(), piped(_lines(findings, name, rows))]
        parts += [piped(_figures(findings, name, rows)) if _apart(findings, name) else "", _because(table_of)]
        if sheet := sheets(findings).get(name):
            rows_of = re.sub(r"([\[\]])", r"\\\1", ", ".join(sheet))
            parts.append(f"![{DRAWN}, from above: {rows_of}]({picture_of(findings, name)})")
    if findings.claims:
        parts += ["### Claims", piped(_claims(findings))]
    parts += [f"`{command}`" for command in _commands(study)]
    # a study may be somebody else's, and Markdown may hold HTML
    return "\n\n".join(part.replace("<", "&lt;") for part in parts if part) + "\n"


def sheets(findings: Findings) -> dict[str, dict[str, Pixels]]:
    """By table and row, pictures that networks drew, where a table shows them."""
    found = {
        name: {row.name: row.samples for row in rows if row.samples is not None} for name, rows in findings.rows.items()
    }
    return {name: sheet for name, sheet in found.items() if sheet and len({s.shape for s in sheet.values()}) == 1}


def picture_of(findings: Findings, name: str) -> str:
    """The name of the file with a table's pictures, beside the Markdown that shows it."""
    return f"{findings.study.name}-{findings.study.budget_name}-{name}.png"


def page(findings: Findings) -> str:
    """The whole study as HTML."""
    study = findings.study
    opening = paragraphs(study.options.about, _budget(findings), _in_short(findings), NOTE)
    sections = [
        {"key": "study", "title": "The study", "html": opening
         + "".join(f"<p><code>{escape(command)}</code></p>" for command in _commands(study))}
    ]  # fmt: skip
    for name, rows in findings.rows.items():
        html = (
            paragraphs(study.tables[name].about)
            + charts.of_table(findings, name, rows)
            + as_table(_lines(findings, name, rows))
        )
        if _apart(findings, name):
            html += charts.of_figures(findings, name, rows) + as_table(_figures(findings, name, rows))
        html += paragraphs(_because(study.tables[name]))
        if sheet := sheets(findings).get(name):
            html += f"<p class=note>{DRAWN}.</p>" + pictures(sheet, "pictures that it draws")
        sections.append({"key": f"table-{name}", "title": name, "html": html})
    if findings.claims:
        sections.append({"key": "claims", "title": "Claims", "html": as_table(_claims(findings))})
    return rendered(f"{study.name} ({study.budget_name})", sections)


def rendered(title: str, sections: Sequence[dict[str, str]]) -> str:
    """A page of sections, each with its key, title and HTML."""
    template = Environment(loader=PackageLoader("sanggar.reporting", "."), autoescape=True).get_template("page.html")
    return template.render(title=title, sections=sections, packages=[__version__])


def _commands(study: Study) -> list[str]:
    """The command that makes the page, where a command can."""
    return [shlex.join(["sanggar", "study", study.source, "--budget", study.budget_name])] if study.source else []


def _budget(findings: Findings) -> str:
    study = findings.study
    runs = sum(len(row.troubles) + _seeds(row) for rows in findings.rows.values() for row in rows)
    about = f" {study.budget.about.strip()}" if study.budget.about else ""
    source = f" Reported figures: {study.options.report}." if study.options.report else ""
    return f"Budget {study.budget_name}: {runs} cells, {findings.seconds / 60:.1f} minutes of training.{about}{source}"


def _in_short(findings: Findings) -> str:
    """How many claims and reported figures came to what."""
    outcomes: dict[str, Counter[str]] = {
        "Claims": Counter(judged.verdict.outcome for judged in findings.claims.values()),
        "Reported figures": Counter(said.outcome for found in findings.reported.values() for _, said in found),
    }
    return " ".join(
        f"{what}: {', '.join(f'{count} {outcome}' for outcome, count in counts.most_common())}."
        for what, counts in outcomes.items()
        if counts
    )


def _seeds(row: Row) -> int:
    return max((len(by_seed) for by_seed in row.measured.values()), default=0)


def _lines(findings: Findings, name: str, rows: Sequence[Row]) -> Lines:
    """A table of a study: a line a row, a column a quantity, then what was reported and what is said to it.

    Where there is one row, a line a quantity: many columns are hard to read.
    """
    metrics = findings.study.tables[name].metrics
    any_reported = any(findings.reported[name, row.name] for row in rows) and not _apart(findings, name)
    if len(rows) == 1 and not any_reported:
        (row,) = rows
        return [["", row.name], *([headed(quantity, rows), _cell(row, quantity)] for quantity in metrics)]
    head = ["", *(headed(quantity, rows) for quantity in metrics)]
    lines = [head + ["reported", "verdict"] * any_reported]
    for row in rows:
        line = [row.name, *(_cell(row, quantity) for quantity in metrics)]
        if any_reported:
            figures = findings.reported[name, row.name]
            line.append("; ".join(_reported(f, metrics[0], row) for f, _ in figures))
            line.append("; ".join(_said(comparison, f.of) for f, comparison in figures))
        lines.append(line)
    return lines


def _apart(findings: Findings, name: str) -> bool:
    """Whether a row has reported figures of several quantities: they stand in a table of their own."""
    figures = [found for (table_of, _), found in findings.reported.items() if table_of == name]
    return any(len({str(figure.of) for figure, _ in found}) > 1 for found in figures)


def _figures(findings: Findings, name: str, rows: Sequence[Row]) -> Lines:
    """The reported figures of a table, a line each."""
    lines = [["", "quantity", "measured", "reported", "verdict"]]
    for row in rows:
        for figure, comparison in findings.reported[name, row.name]:
            measured, told = _cell(row, figure.of), f"{'> ' * figure.at_least}{_shown(figure.value, figure.of)}"
            lines.append([row.name, headed(figure.of, [row]), measured, told, _said(comparison, figure.of)])
    return lines


def _reported(figure: Reported, first: Quantity, row: Row) -> str:
    """A figure of the report, with what it is of where that is not the table's first column."""
    of = "" if figure.of == first else f"{headed(figure.of, [row])}: "
    return f"{of}{'> ' * figure.at_least}{_shown(figure.value, figure.of)}"


def _because(options: Table) -> str:
    """Why reported figures do not compare, where somebody said so."""
    return f"Not comparable, because {options.not_comparable}." if options.not_comparable else ""


def _cell(row: Row, quantity: Quantity) -> str:
    """Mean, spread and each seed's value; or why there is none."""
    values = row.values(quantity)
    troubles = [f"failed: {trouble}" for trouble in dict.fromkeys(row.troubles.values())]
    troubles += [row.missing[str(quantity)]] if str(quantity) in row.missing else []
    lacking = "; ".join(troubles) or "—"
    if not values:
        return lacking
    if quantity.constant:
        return _shown(values[0], quantity)
    deviation = spread(values)
    if deviation is None:
        return _number(values[0]) + (f" ({lacking})" if troubles else "")
    more = f"; {lacking}" if troubles else ""
    if len(set(values)) == 1:  # of the data, or of a network that learned nothing: there is no spread to speak of
        return f"{_number(values[0])} (each of {len(values)}{more})"
    each = ", ".join(map(_number, values))
    return f"{_number(sum(values) / len(values))} ± {number(deviation, 2)} ({each}{more})"


def _said(found: Comparison, of: Quantity) -> str:
    """A comparison in words."""
    if found.outcome == "not measured" or (of.constant and found.outcome == "reproduced"):
        return found.outcome
    apart = f"{'+' if (found.difference or 0) >= 0 else ''}{number(found.difference or 0.0, 2)}"
    if found.outcome == "without a verdict":
        return f"{apart}; fewer than {FEWEST} seeds, no verdict"
    if found.outcome == "not comparable":
        return f"{apart}; not comparable"
    assert found.interval is not None
    return f"{found.outcome} ({apart}; one run in [{_number(found.interval[0])}, {_number(found.interval[1])}])"


def _claims(findings: Findings) -> Lines:
    lines = [["claim", "difference", "matters from", "verdict"]]
    for judged in findings.claims.values():
        claim = judged.claim
        one, other = claim.row, claim.than
        if claim.than_metric is not None:
            one, other = (f"{place}, {quantity}" for place, quantity in claim.sides)
        says = f"{claim.says} ({one} {claim.direction} than {other})"
        lines.append([says, _difference(judged), f"{claim.margin:g}", _verdict(judged)])
    return lines


def _difference(judged: Judged) -> str:
    difference, interval = judged.verdict.difference, judged.verdict.interval
    if difference is None:
        return "—"
    each = ", ".join(number(value, 2) for value in difference.values)
    if interval is None:
        return each
    limits = f"[{number(interval[0], 2)}, {number(interval[1], 2)}]"
    return f"{number(difference.mean, 2)} {limits} ({each})"


def _verdict(judged: Judged) -> str:
    verdict = judged.verdict
    why = f": {verdict.why}" if verdict.why else ""
    return f"{verdict.outcome}{why}" + (f" ({judged.changed})" if judged.changed else "")


def _number(value: float) -> str:
    return number(value, 4)


def _shown(value: float, of: Quantity) -> str:
    """A value of a quantity: a size is a whole number."""
    return f"{value:,.0f}" if of.constant else _number(value)


def piped(lines: Lines) -> str:
    """Markdown; a bar in a cell is escaped."""
    rows = ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines]
    return "\n".join([rows[0], "|" + "---|" * len(lines[0]), *rows[1:]])


def as_table(lines: Lines) -> str:
    """Lines as a table of HTML; each run's number is written smaller than their mean."""
    head, *body = ([escape(cell) for cell in line] for line in lines)
    return table(head, [[name, *(EACH.sub(r"\1 <small>\2</small>", cell) for cell in line)] for name, *line in body])


def paragraphs(*texts: str) -> str:
    """Texts as paragraphs of HTML."""
    return "".join(f"<p>{escape(text.strip())}</p>" for text in texts if text.strip())
