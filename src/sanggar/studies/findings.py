"""What the runs of a study found: rows of its tables, claims judged, reported figures beside measured ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sanggar.errors import SanggarError
from sanggar.evaluation import generated_pictures
from sanggar.results import Measurement, Tag
from sanggar.results.stored import read, read_arrays
from sanggar.runs import Run
from sanggar.studies.definition import Cell, Claim, Quantity, Reported, Study, listed
from sanggar.studies.engine import State
from sanggar.studies.logged import logged
from sanggar.studies.size import parameters
from sanggar.studies.verdicts import Comparison, Difference, Verdict, compared, verdicts
from sanggar.trained import Pixels, spec_of

SAMPLES = "generation.samples"
"""Where an evaluation keeps the first pictures that were drawn"""
COUNTS = ("n", "of")
"""Of a protocol, numbers of pictures: of one class there are more than of another, and they compare all the same"""


@dataclass(frozen=True)
class Row:
    """A row of a table: of each quantity, what each seed's run found, or why there is nothing."""

    table: str
    name: str
    measured: dict[str, dict[int, Measurement]]
    """by quantity and seed"""
    troubles: dict[int, str]
    """by seed: why its run failed"""
    missing: dict[str, str]
    """by quantity: why it was not found"""
    samples: Pixels | None = None
    """pictures that the first of its networks drew, where they are asked for"""

    def values(self, quantity: Quantity) -> list[float]:
        """Of a quantity, in the order of seeds."""
        return [m.value for _, m in sorted(self.measured.get(str(quantity), {}).items())]


@dataclass(frozen=True)
class Judged:
    """A claim with what is said to it."""

    claim: Claim
    verdict: Verdict
    changed: str = ""
    """what is to be said of when it was stated"""


@dataclass(frozen=True)
class Findings:
    """All that a study found."""

    study: Study
    rows: dict[str, list[Row]]
    """by table"""
    claims: dict[str, Judged]
    reported: dict[tuple[str, str], list[tuple[Reported, Comparison]]]
    """by table and row"""
    seconds: float
    """spent training in its runs"""


def found(study: Study, states: Mapping[Path, State]) -> Findings:
    """Read what the runs of a study measured."""
    evaluations = {path.name: _evaluation(state) for path, state in states.items()}
    rows: dict[str, list[Row]] = {name: [] for name in study.tables}
    runs: dict[str, list[Run]] = {}
    for cell in study.cells:
        if not rows[cell.table] or rows[cell.table][-1].name != cell.row:
            rows[cell.table].append(Row(cell.table, cell.row, {}, {}, {}))
        row = rows[cell.table][-1]
        evaluation = evaluations[cell.run_name]
        asked = {str(q): q for q in study.asked(cell.table, cell.row).values()}
        measurements: list[Measurement] = []
        if isinstance(evaluation, str):
            row.troubles[cell.seed] = evaluation
            asked = {name: quantity for name, quantity in asked.items() if quantity.constant}
        else:
            run, measurements = evaluation
            runs.setdefault(f"{cell.table}/{cell.row}", []).append(run)
            if study.tables[cell.table].samples and row.samples is None:
                row = rows[cell.table][-1] = replace(row, samples=_samples(run))
        for quantity in asked.values():
            m = _of(quantity, cell, measurements)
            if isinstance(m, str):
                row.missing[str(quantity)] = m
            else:
                row.measured.setdefault(str(quantity), {})[cell.seed] = m
    by_name = {f"{row.table}/{row.name}": row for table in rows.values() for row in table}
    claims = study.claims
    judged = verdicts({name: difference(claim, by_name) for name, claim in claims.items()})
    reported = {
        (row.table, row.name): [
            (figure, _beside(figure, row, study.tables[row.table].not_comparable))
            for figure in study.tables[row.table].reported.get(row.name, ())
        ]
        for row in by_name.values()
    }
    every = {run.path: run for several in runs.values() for run in several}
    return Findings(
        study, rows,
        {name: Judged(claim, judged[name], _stated(study, name, claim, runs)) for name, claim in claims.items()},
        reported, sum((float(run.info["totals"]["seconds"]) for run in every.values()), 0.0),
    )  # fmt: skip


def difference(claim: Claim, rows: Mapping[str, Row]) -> Difference | str:
    """A claim's difference seed by seed, or why there is none: numbers are paired where their protocols are equal."""
    sides = [rows[name].measured.get(str(quantity), {}) for name, quantity in claim.sides]
    seeds = sorted(set(sides[0]) & set(sides[1]))
    if not seeds:
        lacking = next(((rows[name], q) for (name, q), side in zip(claim.sides, sides, strict=True) if not side), None)
        if lacking is None:
            return "no seed has both sides"
        row, quantity = lacking
        because = row.missing.get(str(quantity)) or next(iter(row.troubles.values()), "not measured")
        return f"{row.table}/{row.name}, {quantity}: {because}"
    one, other = ([side[seed] for seed in seeds] for side in sides)
    for a, b in zip(one, other, strict=True):
        if differing := differs(a, b, (*COUNTS, "split") if claim.than_metric else ()):
            return f"the two do not compare: {differing}"
    sign = 1 if claim.direction == "higher" else -1
    return Difference(tuple(sign * (a.value - b.value) for a, b in zip(one, other, strict=True)), claim.margin)


def differs(one: Measurement, other: Measurement, but: Sequence[str] = ()) -> str:
    """Where two protocols differ, in a few words, `but` in some; nothing where two measurements compare."""
    a, b = ({**m.protocol.model_dump(exclude={"settings"}), **m.protocol.settings} for m in (one, other))
    names = [name for name in {**a, **b} if name not in but and a.get(name) != b.get(name)]
    return ", ".join(f"{name} {a.get(name)} and {b.get(name)}" for name in names)


def _evaluation(state: State) -> tuple[Run, list[Measurement]] | str:
    if state.trouble:
        return state.trouble
    try:
        run = Run(state.folder)
        return run, [*read(run).measurements, *logged(run)]
    except SanggarError:
        return "not done yet"


def _samples(run: Run) -> Pixels | None:
    """The first picture of each class that its evaluation drew, or of each eight, up to ten; None: it drew none."""
    try:
        drawn = read_arrays(run).get(SAMPLES)
    except SanggarError:
        return None
    if drawn is None or drawn.dtype != np.uint8 or drawn.shape[1:] != spec_of(run).shape or not drawn.size:
        return None
    return drawn[:: generated_pictures.COLUMNS][:10]


def _of(quantity: Quantity, cell: Cell, measurements: Sequence[Measurement]) -> Measurement | str:
    """What a run measured of a quantity, the mean where it has several; or why there is nothing."""
    found = []
    for tags in quantity.each():
        hits = (
            [parameters(cell.plan, tags)] if quantity.constant else [m for m in measurements if _is(m, quantity, tags)]
        )
        if len(hits) != 1:
            nothing = "not in the log of its training" if quantity.logged else "not measured of this network"
            return f"is any of {len(hits)}" if hits else nothing
        found += hits
    first = found[0]
    if len(found) == 1:
        return first
    if differing := next(filter(None, (differs(first, m, COUNTS) for m in found)), ""):
        return f"these do not compare: {differing}"
    together = first.protocol.on(sum(m.protocol.n for m in found))
    shown = {name: listed(value) for name, value in quantity.tags.items()}
    changes = {"value": float(np.mean([m.value for m in found])), "interval": None, "tags": shown, "protocol": together}
    return first.model_copy(update=changes)


def _is(m: Measurement, quantity: Quantity, tags: Mapping[str, Tag]) -> bool:
    return m.key == quantity.key and m.subject == quantity.subject and tags.items() <= m.tags.items()


def _beside(figure: Reported, row: Row, because: str) -> Comparison:
    measured = row.measured.get(str(figure.of), {})
    better = next(iter(measured.values())).better if measured else None
    return compared(figure.value, row.values(figure.of), better, figure.at_least, because, figure.of.constant)


def _stated(study: Study, name: str, claim: Claim, runs: Mapping[str, list[Run]]) -> str:
    """What is to be said of a claim that was changed, or stated when its runs had begun."""
    of_claim = [run for side in (claim.row, claim.than) for run in runs.get(side, [])]
    stated = [run.info.get("studies", {}).get(study.name, {}).get(name) for run in of_claim]
    others = sum(entry is not None and entry["hash"] != claim.hash for entry in stated)
    late = sum(entry is None or entry["step"] > 0 for entry in stated)
    if others:
        return f"changed after {others} of its {len(of_claim)} runs had begun"
    return f"stated after {late} of its {len(of_claim)} runs had begun" if late else ""


def spread(values: list[float]) -> float | None:
    """Standard deviation over seeds; None of fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
