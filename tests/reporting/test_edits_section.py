"""The sections about attributes and their edits, on made-up runs: what is shown is what was measured, and nothing else
is ranked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import JsonValue

from sanggar.reporting.sections.attributes import attributes
from sanggar.reporting.sections.edits import edits
from sanggar.reporting.view import View
from sanggar.results import FORMAT, Evaluation, Measurement, Protocol, Tag
from sanggar.runs import Arrays, Run
from typed import FACTS

NAMES = {"smile <b>": "flag", "hair=red & grey": "flag", "age": "number"}
Made = Callable[..., View]


def measurement(
    key: str, value: float, subject: str = "network", tags: dict[str, Tag] | None = None, **settings: JsonValue
) -> Measurement:
    return Measurement(
        key=key, subject=subject, value=value, better="higher", interval=(value - 0.1, value + 0.1), tags=tags or {},
        protocol=Protocol(n=200, data="made up", settings=settings),
    )  # fmt: skip


def edited(kept: bool, good: float) -> list[Measurement]:
    found = []
    for name, kind in NAMES.items():
        for strength in (0.5, 1.0, 2.0, 3.0):
            tags: dict[str, Tag] = {"attribute": name, "strength": strength}
            key = "edits.success" if kind == "flag" else "edits.shift"
            found.append(measurement(key, good * strength / 3, tags=tags))
            found += [measurement("edits.kept", 1 - strength / 10, tags=tags)] * kept
            found.append(measurement("edits.psnr", 30 - 5 * strength, tags=tags))
        found.append(measurement("edits.judge", 0.97, "judge", {"attribute": name}))
    return [*found, measurement("edits.mean_success", good, tags={"strength": 2.0})]


def probed(good: float, size: int, fitted_on: int = 10_000) -> list[Measurement]:
    found = []
    for name, kind in NAMES.items():
        given: dict[str, Any] = {"kind": kind, "floor": 0.5 if kind == "flag" else 0.0, "fitted_on": fitted_on}
        tags: dict[str, Tag] = {"attribute": name}
        found += [
            measurement("attributes.probe", good, tags=tags, **given),
            measurement("attributes.probe", 0.6, "pca", tags, **given, size=size),
            measurement("attributes.probe", 0.5, "pixels", tags, **given, size=64),
        ]
    found += [measurement("attributes.mig", 0.25), measurement("attributes.mig", 0.125, "pca", size=size)]
    return found


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A run as its files would tell of it."""

    def make(name: str = "vae & <i>", measurements: list[Measurement] | None = None, channels: int = 1) -> View:
        data = FACTS | {"channels": channels}
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        run = Run.create(place, "{}", {"name": name, "status": "finished", "data": data})
        listed: list[JsonValue] = [
            {"name": n, "method": "condition" if n == "age" else "means", "kind": kind} for n, kind in NAMES.items()
        ]
        strips = np.random.default_rng(0).integers(0, 256, (3, 2, 7, 6, 7, channels), dtype=np.uint8)
        arrays: Arrays = {"edits.strips": strips, "edits.strengths": np.linspace(-3, 3, 7)}
        everything = [*edited(True, 0.9), *probed(0.9, 8)] if measurements is None else measurements
        evaluation = Evaluation(
            format=FORMAT, package="0", step=1, weights="final", measurements=tuple(everything),
            details={"edits": {"edits": listed}},
        )  # fmt: skip
        return View(name, run, [], evaluation, arrays)

    return make


def written(section: Callable[[list[View]], str | None], *views: View) -> str:
    html = section(list(views))
    assert html is not None
    return html


def tables(html: str) -> list[list[list[str]]]:
    """Every table: its rows, head first."""
    return [
        [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in found.split("<tr>")[1:]]
        for found in re.findall(r"<table>(.*?)</table>", html)
    ]


def test_a_row_an_attribute_with_what_probes_tell(made: Made) -> None:
    probes, scores = tables(written(attributes, made()))
    assert [row[0].split(" <small>")[0] for row in probes[1:]] == ["smile &lt;b&gt;", "hair=red &amp; grey", "age"]
    assert probes[0] == ["a linear probe of", "the network", "PCA of 8", "pixels"]
    assert "balanced accuracy; 0.50 is chance" in probes[1][0]
    assert "R²; 0 is the mean" in probes[3][0]
    assert [cell.split(" ")[0] for cell in probes[1][1:]] == ["0.9000", "0.6000", "0.5000"]
    assert scores[1][:2] == ["the network", "0.2500 <small>[0.1500, 0.3500]</small>"]
    assert scores[2][0] == "PCA"


def test_a_row_an_attribute_with_what_was_measured_of_its_edit_at_strength_2(made: Made) -> None:
    (shown,) = tables(written(edits, made()))
    head, smile, _, age = shown
    assert head[2:] == [
        "flipped", "shifted", "other attributes kept", "PSNR with the unedited", "the judge on real pictures"
    ]  # fmt: skip
    assert [cell.split(" ")[0] for cell in smile[2:]] == ["0.6000", "—", "0.8000", "20.00", "0.9700"]
    assert [age[1], age[2], age[3].split(" ")[0]] == ["another condition", "—", "0.6000"]


def test_strips_and_charts_are_said_in_words_and_names_are_shown_as_they_are(made: Made) -> None:
    view = made(channels=3)
    html = written(edits, view)
    assert html.count("<img ") == 6
    assert 'alt="smile &lt;b&gt;: without: edited by vae &amp; &lt;i&gt;, strength −3 to 3"' in html
    assert "age: more of it" in html
    assert "share flipped against share of other attributes kept" in html
    for shown in (html, written(attributes, view)):
        assert "<b>:" not in shown
        assert "<i>" not in shown


def test_without_other_attributes_success_stands_against_the_picture(made: Made) -> None:
    html = written(edits, made(measurements=edited(False, 0.9)))
    assert "share flipped against PSNR with the unedited, dB" in html
    assert "other attributes kept" not in html


def test_runs_side_by_side_rank_networks_of_one_protocol_only(made: Made) -> None:
    vae, ae = made("vae", [*edited(True, 0.9), *probed(0.9, 8)]), made("ae", [*edited(True, 0.6), *probed(0.7, 8)])
    html = written(edits, vae, ae)
    assert "Means over attributes" in html
    means = tables(html)[0]
    assert means[0] == ["", "vae", "ae"]
    assert [cell[:4] for cell in means[1][1:]] == ["<b>0", "0.60"]
    probes, scores = tables(written(attributes, vae, ae))
    assert probes[0] == ["a linear probe of", "vae", "ae", "PCA of 8", "pixels"]
    assert probes[1][1].startswith("<b>0.9000")
    assert probes[1][2].startswith("0.7000")
    assert [row[0] for row in scores[1:]] == ["vae", "PCA (beside vae)", "ae", "PCA (beside ae)"]
    other = made("ae", probed(0.7, 16, 500))
    probes = tables(written(attributes, vae, other))[0]
    assert probes[0] == ["a linear probe of", "vae", "ae", "PCA of 8", "pixels", "PCA of 16"]
    assert [cell[:3] for cell in probes[1][1:3]] == ["0.9", "0.7"]


def test_without_any_of_it_there_is_no_section_and_each_stands_alone(made: Made) -> None:
    whole = made()
    bare = replace(whole, arrays={}, evaluation=whole.evaluation.model_copy(update={"measurements": ()}))
    assert attributes([bare]) is None
    assert edits([bare]) is None
    assert len(tables(written(attributes, replace(whole, arrays={})))) == 2, "probes and scores"
    assert edits([replace(whole, arrays={})]) is None
    assert len(tables(written(edits, made(measurements=edited(True, 0.5))))) == 1
    assert attributes([made(measurements=edited(True, 0.5))]) is None
    assert edits([made(measurements=probed(0.5, 4))]) is None
    assert len(tables(written(attributes, made(measurements=probed(0.5, 4))))) == 2
