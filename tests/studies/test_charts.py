"""Charts of studies: what stands along an axis, on which line, and beside it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from sanggar.errors import RecipeError
from sanggar.results import Measurement, Protocol
from sanggar.studies.charts import of_figures, of_table
from sanggar.studies.definition import read
from sanggar.studies.findings import Findings, Row
from sanggar.studies.verdicts import Comparison

LOSS = "train.categorical_cross_entropy"


def quantity(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, **more}


def table(metrics: list[Any], *rows: str, reported: dict[str, Any] | None = None, factor: float = 1.0) -> Findings:
    """What is found of a table: row i has i for the first quantity, i + 0.1 for the next, and so on, times a factor."""
    study = read({
        "name": "toy", "about": "", "report": "a report", "budgets": {"quick": {}, "full": {}},
        "tables": {"how-wide": {
            "base": "digits-ffnn", "rows": {row: {"training.batch_size": i + 1} for i, row in enumerate(rows)},
            "metrics": metrics, "reported": reported or {},
        }},
    })  # fmt: skip
    of, protocol = study.tables["how-wide"].metrics, Protocol(split="test", n=10, data="digits")

    def measured(row: int) -> dict[str, dict[int, Measurement]]:
        return {
            str(q): {0: Measurement(
                key=q.key, subject=q.subject, value=(row + i / 10) * factor, tags=q.each()[0], protocol=protocol
            )} for i, q in enumerate(of)
        }  # fmt: skip

    found = [Row("how-wide", row, measured(i), {}, {}) for i, row in enumerate(rows)]
    told, verdict = study.tables["how-wide"].reported, Comparison("without a verdict")
    figures = {("how-wide", row): [(figure, verdict) for figure in told.get(row, [])] for row in rows}
    return Findings(study, {"how-wide": found}, {}, figures, 0.0)


def told_of(*arguments: Any, **more: Any) -> list[str]:
    """What is said of the charts of a table."""
    findings = table(*arguments, **more)
    html = of_table(findings, "how-wide", findings.rows["how-wide"])
    opened, _, closed = html.partition("<details>")
    assert opened.count("<svg") == min(1, html.count("<svg"))
    assert closed.count("<svg") == max(0, html.count("<svg") - 1)
    return words(html)


def words(html: str) -> list[str]:
    return [unescape(words).removesuffix(".") for words in re.findall(r'aria-label="([^"]*)"', html)]


def test_rows_have_a_place_each_and_what_is_measured_beside_stands_in_their_chart() -> None:
    (said,) = told_of(
        ["reconstruction.psnr", quantity("reconstruction.psnr", subject="pca")], "narrow", "wide", "wider"
    )
    assert said.endswith(
        "reported: network: narrow 0.000, wide 1.000, wider 2.000; PCA: narrow 0.1000, wide 1.100, wider 2.100"
    )


def test_rows_called_by_numbers_stand_along_an_axis() -> None:
    metrics = ["reconstruction.psnr", quantity("reconstruction.psnr", subject="pca"), "reconstruction.ssim"]
    psnr, ssim = told_of(metrics, "2", "16", "4")
    assert " by how wide, " in psnr and psnr.endswith(
        ": network: 2 0.000, 16 1.000, 4 2.000; PCA: 2 0.1000, 16 1.100, 4 2.100"
    )
    assert " by how wide, " in ssim and ssim.endswith(": 2 0.2000, 16 1.200, 4 2.200")


@pytest.mark.parametrize(
    "rows",
    [("2", "4"), ("2", "4", "2.0"), ("2", "4", "more"), ("2", "4", "nan"), ("2", "4", "inf"), ("2", "4", "1e400")],
)
def test_too_few_numbers_or_none_make_no_axis(rows: tuple[str, ...]) -> None:
    (said,) = told_of(["reconstruction.psnr"], *rows)
    assert " by how wide" not in said and said.endswith(", ".join(f"{row} {i}.000" for i, row in enumerate(rows)))


def test_epochs_stand_along_an_axis_a_line_for_each_row_and_come_first() -> None:
    epochs = [quantity(LOSS, tags={"epoch": epoch}) for epoch in ("last", 1, 2, 4)]
    curve, last = told_of(epochs, "narrow", "wide")
    assert " by epoch, " in curve
    assert curve.endswith("narrow: 1 0.1000, 2 0.2000, 4 0.3000; wide: 1 1.100, 2 1.200, 4 1.300")
    assert "epoch last" in last and last.endswith("narrow 0.000, wide 1.000")


def test_a_single_row_has_a_place_for_each_of_its_tags() -> None:
    (said,) = told_of([quantity("classification.recall", tags={"class": digit}) for digit in "385"], "alone")
    assert said.endswith("class 3 0.000, class 8 0.1000, class 5 0.2000")


def test_more_rows_than_colours_have_places_and_not_lines() -> None:
    epochs = [quantity(LOSS, tags={"epoch": epoch}) for epoch in (1, 2, 4)]
    said = told_of(epochs, *(f"row {i}" for i in range(7)))
    assert len(said) == 3 and all(" by epoch" not in each for each in said)


def test_what_was_reported_is_there_whether_or_not_it_was_measured_here() -> None:
    told = {"wide": [{"of": "reconstruction.psnr", "value": 7}], "wider": [{"of": "reconstruction.ssim", "value": 8}]}
    psnr, ssim = told_of(["reconstruction.psnr", "reconstruction.ssim"], "narrow", "wide", "wider", reported=told)
    assert psnr.endswith("narrow 0.000, wide 1.000 (reported 7.000), wider 2.000")
    assert ssim.endswith("narrow 0.1000, wide 1.100, wider 2.100 (reported 8.000)")


def test_figures_of_epochs_stand_along_them_several_of_one_and_those_that_never_came_too() -> None:
    loss = {epoch: quantity(LOSS, tags={"epoch": epoch}) for epoch in (1, 2, 30)}
    figures = [{"of": loss[epoch], "value": value} for epoch, value in ((1, 6), (1, 7), (2, 8), (30, 9))]
    findings = table([loss[1], loss[2]], "alone", reported={"alone": figures})
    html = of_figures(findings, "how-wide", findings.rows["how-wide"])
    (said,) = words(html)
    assert said.endswith(
        "alone: 1 0.000 (reported 6.000) (reported 7.000), 2 0.1000 (reported 8.000), 30 (reported 9.000)"
    )
    assert "mathdefault" not in html


def test_an_axis_of_many_numbers_far_apart_is_written_in_plain_digits() -> None:
    findings = table([quantity(LOSS, tags={"epoch": epoch}) for epoch in range(1, 31)], "alone")
    html = of_table(findings, "how-wide", findings.rows["how-wide"])
    ticks = re.findall(r">([^<>]*)</text>", html)
    assert {"1", "2", "5", "10", "20"} <= set(ticks)
    assert not any("$" in tick or "math" in tick for tick in ticks)


def test_rows_are_called_at_the_axis_as_they_are_called() -> None:
    findings = table(["reconstruction.psnr"], "1000000", "1000001", "1e6", "1000002")
    rows = findings.rows["how-wide"]
    assert " by how wide" not in of_table(findings, "how-wide", rows), "two are one number"
    findings = table(["reconstruction.psnr"], "1000000", "1000001", "1000002")
    html = of_table(findings, "how-wide", findings.rows["how-wide"])
    assert {"1000000", "1000001", "1000002"} <= set(re.findall(r">([^<>]*)</text>", html))


def test_what_is_too_large_to_draw_is_left_out() -> None:
    assert told_of(["reconstruction.psnr"], "narrow", "wide", factor=1e300) == []
    assert told_of(["reconstruction.psnr"], "1", "2", "3", factor=1e300) == []


def test_names_in_a_legend_are_all_there_and_short() -> None:
    epochs = [quantity(LOSS, tags={"epoch": epoch}) for epoch in (1, 2, 4)]
    findings = table(epochs, "_hidden", "x" * 60)
    html = of_table(findings, "how-wide", findings.rows["how-wide"])
    assert ">_hidden</text>" in html and f">{'x' * 39}…</text>" in html


@pytest.mark.parametrize("change", [
    lambda tree: tree["metrics"].append({"key": LOSS, "tags": {"{x}": 1}}),
    lambda tree: tree["rows"].update({"\ud800": {}}),
    lambda tree: tree["reported"].update({"a": [{"of": "reconstruction.psnr", "value": 1.7e308}]}),
], ids=["name of a tag", "half a letter", "reported"])  # fmt: skip
def test_what_no_chart_can_have_is_refused_at_the_door(change: Any) -> None:
    tree: dict[str, Any] = {
        "base": "digits-ffnn", "rows": {"a": {}}, "metrics": ["reconstruction.psnr"], "reported": {}
    }  # fmt: skip
    change(tree)
    with pytest.raises(RecipeError):
        read({"name": "toy", "about": "", "tables": {"t": tree}, "budgets": {"quick": {}, "full": {}}})
