"""Charts of studies: what stands along an axis, on which line, and beside it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from sanggar.results import Measurement, Protocol
from sanggar.studies.charts import of_table
from sanggar.studies.definition import read
from sanggar.studies.findings import Findings, Row

LOSS = "train.categorical_cross_entropy"


def quantity(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, **more}


def told_of(metrics: list[Any], *rows: str, reported: dict[str, float] | None = None) -> list[str]:
    """What is said of the charts of a table; row i has i for the first quantity, i + 0.1 for the next, and so on."""
    study = read({
        "name": "toy", "about": "", "report": "a report", "budgets": {"quick": {}, "full": {}},
        "tables": {"how-wide": {
            "base": "digits-ffnn", "rows": {row: {"training.batch_size": i + 1} for i, row in enumerate(rows)},
            "metrics": metrics,
        }},
    })  # fmt: skip
    of = study.tables["how-wide"].metrics
    protocol = Protocol(split="test", n=10, data="digits")

    def measured(row: int) -> dict[str, dict[int, Measurement]]:
        return {
            str(q): {0: Measurement(key=q.key, subject=q.subject, value=row + i / 10, tags=q.tags, protocol=protocol)}
            for i, q in enumerate(of)
        }

    found = [Row("how-wide", row, measured(i), {}, {}) for i, row in enumerate(rows)]
    findings = Findings(study, {"how-wide": found}, {}, {("how-wide", row): [] for row in rows}, 0.0)
    html = of_table(findings, "how-wide", found)
    opened, _, closed = html.partition("<details>")
    assert opened.count("<svg") == 1
    assert closed.count("<svg") == html.count("<svg") - 1
    return [unescape(words).removesuffix(".") for words in re.findall(r'aria-label="([^"]*)"', html)]


def test_rows_have_a_place_each_and_what_is_measured_beside_stands_in_their_chart() -> None:
    (words,) = told_of(
        ["reconstruction.psnr", quantity("reconstruction.psnr", subject="pca")], "narrow", "wide", "wider"
    )
    assert words.endswith("reported: narrow 0.000; wide 1.000; wider 2.000")


def test_rows_called_by_numbers_stand_along_an_axis() -> None:
    metrics = ["reconstruction.psnr", quantity("reconstruction.psnr", subject="pca"), "reconstruction.ssim"]
    psnr, ssim = told_of(metrics, "2", "16", "4")
    assert " by how wide, " in psnr and psnr.endswith(": 2 0.000, 16 1.000, 4 2.000; PCA: 2 0.1000, 16 1.100, 4 2.100")
    assert " by how wide, " in ssim and ssim.endswith(": 2 0.2000, 16 1.200, 4 2.200")


@pytest.mark.parametrize("rows", [("2", "4"), ("2", "4", "2.0"), ("2", "4", "more")])
def test_too_few_numbers_or_none_make_no_axis(rows: tuple[str, ...]) -> None:
    (words,) = told_of(["reconstruction.psnr"], *rows)
    assert " by how wide" not in words and words.endswith("; ".join(f"{row} {i}.000" for i, row in enumerate(rows)))


def test_epochs_stand_along_an_axis_a_line_for_each_row_and_come_first() -> None:
    epochs = [quantity(LOSS, tags={"epoch": epoch}) for epoch in ("last", 1, 2, 4)]
    curve, last = told_of(epochs, "narrow", "wide")
    assert " by epoch, " in curve
    assert curve.endswith("narrow: 1 0.1000, 2 0.2000, 4 0.3000; wide: 1 1.100, 2 1.200, 4 1.300")
    assert "epoch last" in last and last.endswith("narrow 0.000; wide 1.000")


def test_a_single_row_has_a_place_for_each_of_its_tags() -> None:
    (words,) = told_of([quantity("classification.recall", tags={"class": digit}) for digit in "385"], "alone")
    assert words.endswith("class 3 0.000; class 8 0.1000; class 5 0.2000")


def test_more_rows_than_colours_have_places_and_not_lines() -> None:
    epochs = [quantity(LOSS, tags={"epoch": epoch}) for epoch in (1, 2, 4)]
    words = told_of(epochs, *(f"row {i}" for i in range(9)))
    assert len(words) == 3 and all(" by epoch" not in each for each in words)
