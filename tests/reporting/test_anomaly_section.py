"""The section on odd pictures, on a made-up run: what is shown is what was measured, and nothing breaks the page."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sanggar.record import Info
from sanggar.reporting.sections.anomaly import odd_pictures
from sanggar.reporting.view import View
from sanggar.results import FORMAT, KNN, NETWORK, PCA, Evaluation, Measurement, Protocol
from sanggar.runs import Run

SCORES = (
    (NETWORK, "together", 0.9), (NETWORK, "residual", 0.8), (NETWORK, "bound", 0.2), (PCA, "together", 0.7),
    (KNN, "neighbours", 0.85),
)  # fmt: skip
TRIALS = {"held_out": "held_out", "defect": "corrupted", "smooth": "simpler"}
"""By odd pictures, the kind of trial"""


def measured(odd: str, subject: str, score: str, value: float, **changes: Any) -> Measurement:
    settings = {"trial": TRIALS[odd], "odd_pictures": 1234, "normal_classes": "<b>, bag", "fitted_on": 4000,
                "tuned_on": 80, "floor": 0.5}  # fmt: skip
    protocol = Protocol(n=500, data="some data", settings=settings)
    return Measurement.model_validate({
        "key": "anomaly.auroc", "subject": subject, "value": value, "better": "higher", "tags": {"odd": odd,
        "score": score}, "interval": (value - 0.1, value + 0.1), "protocol": protocol,
        "headline": (odd, subject, score) == ("held_out", NETWORK, "together"), **changes,
    })  # fmt: skip


def view(tmp_path: Path, *measurements: Measurement, **arrays: np.ndarray) -> View:
    run = Run.__new__(Run)
    run.path, run.info = tmp_path, Info(tmp_path / "run.json", {"name": "run", "status": "finished"})
    evaluation = Evaluation(format=FORMAT, package="1.0", step=1, weights="final", measurements=measurements)
    return View("run & <i>", run, [], evaluation, {name.replace("__", "."): array for name, array in arrays.items()})


def plain(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


@pytest.fixture
def everything(tmp_path: Path) -> View:
    draw, pictures = np.random.default_rng(0), np.zeros((3, 2, 8, 8, 3), np.uint8)
    areas = [measured(odd, *score) for odd in TRIALS for score in SCORES]
    precisions = [area.model_copy(update={"key": "anomaly.average_precision"}) for area in areas]
    scores = {f"anomaly__normal__{subject}__{score}": draw.normal(0, 1, 500) for subject, score, _ in SCORES}
    scores |= {
        f"anomaly__odd__{odd}__{subject}__{score}": draw.normal(1, 1, 60)
        for odd in TRIALS
        for subject, score, _ in SCORES
    }
    shown = {"anomaly__shown_odd": pictures, "anomaly__shown_odd_shares": np.array([0.5, 0.987]),
             "anomaly__shown_normal": pictures}  # fmt: skip
    return view(tmp_path, *areas, *precisions, **scores, **shown)


def test_a_row_a_score_a_column_a_trial_and_the_best_is_bold(everything: View) -> None:
    html = odd_pictures([everything])
    assert html is not None
    heads = re.findall(r"<th[^>]*>(.*?)</th>", html)[:4]
    assert [plain(head) for head in heads] == [
        "", "held-out classes (1,234)", "small defect (1,234)", "smooth pictures (1,234)",
    ]  # fmt: skip
    lines = re.findall(r"<tr><td>(.*?)</td><td class=n>(<b>)?", html)
    assert [plain(name) for name, _ in lines[: len(SCORES)]] == [
        "residual and latent distance together", "residual in deviations of its pixel", "negative ELBO",
        "residual and latent distance together: PCA", "distance to training pictures: kNN",
    ]  # fmt: skip
    assert [bool(bold) for _, bold in lines[: len(SCORES)]] == [True, False, False, False, False]
    assert "fitted on 4,000 training pictures and 80 validation pictures, all normal" in html
    assert "500 normal test pictures (classes: &lt;b&gt;, bag)" in html
    assert "<summary>Average precision</summary>" in html
    assert len(re.findall("<li>", html)) == 9, "the network's scores in three trials"


@pytest.mark.parametrize(("value", "words"), [
    (0.2, "By its bound the network takes smooth pictures for more normal than test pictures (AUROC 0.20)"),
    (0.5, "By its bound the network cannot tell smooth pictures from test pictures (AUROC 0.50)"),
    (0.8, "By its bound smooth pictures (1,234) are told from test pictures (AUROC 0.80)."),
])  # fmt: skip
def test_what_the_bound_makes_of_simpler_pictures_is_said(tmp_path: Path, value: float, words: str) -> None:
    others = [measured("smooth", NETWORK, "residual", 0.7), measured("smooth", PCA, "residual", 0.6)]
    html = odd_pictures([view(tmp_path, measured("smooth", NETWORK, "bound", value), *others)])
    assert html is not None
    assert words in plain(html)
    assert ("residual in deviations of its pixel 0.70." in plain(html)) == (value < 0.8)
    assert "0.60." not in plain(html), "of the network's scores alone"
    corrupted = odd_pictures([view(tmp_path, measured("defect", NETWORK, "bound", value))])
    assert corrupted is not None
    assert "By its bound" not in corrupted


def test_charts_are_of_the_headline(everything: View) -> None:
    html = odd_pictures([everything])
    assert html is not None
    histogram, curves = re.findall(r'aria-label="([^"]*)"', html)[:2]
    assert "distribution of the score, residual and latent distance together." in histogram
    assert "of odd ones (held-out classes)." in histogram
    assert "ROC curves, held-out classes." in curves
    assert re.findall(r"(?:odd: |; )([^:;]+): \d", curves) == [
        "residual and latent distance together", "residual in deviations of its pixel", "negative ELBO",
        "residual and latent distance together, PCA", "distance to training pictures, kNN",
    ]  # fmt: skip


def test_pictures_stand_with_how_odd_they_are(everything: View) -> None:
    html = odd_pictures([everything])
    assert html is not None
    assert html.count("<img") == 6
    assert "Percentage of normal pictures that score lower, from left to right: 50, 99." in html
    assert html.count("Percentage of normal pictures") == 1, "where shares were kept"


def test_a_run_without_odd_pictures_has_no_section(tmp_path: Path) -> None:
    assert odd_pictures([view(tmp_path)]) is None


def test_keys_that_no_one_knows_are_shown_as_they_are(tmp_path: Path) -> None:
    strange = measured("smooth", NETWORK, "bound", 0.4, tags={"odd": "<odd>", "score": "<score>"}, interval=None)
    html = odd_pictures([view(tmp_path, strange)])
    assert html is not None
    assert "&lt;score&gt;" in html
    assert "&lt;odd&gt;" in html
    assert "<odd>" not in html
