"""The section about attributes, on made-up runs: what is shown is what was measured, and nothing else is ranked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sanggar.reporting.sections.run import SECTIONS
from sanggar.reporting.view import View
from sanggar.runs import Run

NAMES = {"smile <b>": "flag", "hair=red & grey": "flag", "age": "number"}
Made = Callable[..., View]


def number(key: str, value: float, subject: str = "network", **protocol: Any) -> dict[str, Any]:
    return {
        "key": f"attributes.{key}", "label": f"{key} of {protocol.get('attribute', 'all')}: {subject}", "value": value,
        "unit": "", "interval": [value - 0.1, value + 0.1], "better": "higher", "subject": subject,
        "protocol": {"n": 200, "split": "test", **protocol}, "headline": False,
    }  # fmt: skip


def edits(kept: bool, good: float) -> list[dict[str, Any]]:
    found = []
    for name, kind in NAMES.items():
        for strength in (0.5, 1.0, 2.0, 3.0):
            given = {"attribute": name, "strength": strength}
            found.append(number("success" if kind == "flag" else "shift", good * strength / 3, **given))
            found += [number("kept", 1 - strength / 10, **given)] * kept
            found.append(number("psnr", 30 - 5 * strength, **given))
        found.append(number("judge", 0.97, "judge", attribute=name))
    return [*found, number("mean_success", good, strength=2.0)]


def probes(good: float, size: int, fitted_on: str = "") -> list[dict[str, Any]]:
    found = []
    for name, kind in NAMES.items():
        given = {"attribute": name, "kind": kind, "floor": 0.5 if kind == "flag" else 0.0, "fitted_on": fitted_on}
        found.append(number("probe", good, **given))
        found += [number("probe", 0.6, "PCA", **given, size=size), number("probe", 0.5, "pixels", **given, size=64)]
    found += [number("mig", 0.25), number("mig", 0.125, "PCA", size=size)]
    return found


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A run as its files would tell of it."""

    def make(name: str = "vae & <i>", numbers: list[dict[str, Any]] | None = None, channels: int = 1) -> View:
        data = {"height": 6, "width": 7, "channels": channels, "classes": []}
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        run = Run.create(place, "{}", {"name": name, "status": "finished", "data": data})
        said = [{"name": n, "method": "told" if n == "age" else "means", "kind": kind} for n, kind in NAMES.items()]
        strips = np.random.default_rng(0).integers(0, 256, (3, 2, 7, 6, 7, channels), dtype=np.uint8)
        arrays = {
            "attributes.edits": np.frombuffer(json.dumps(said).encode(), np.uint8), "attributes.strips": strips,
            "attributes.strengths": np.linspace(-3, 3, 7),
        }  # fmt: skip
        everything = [*edits(True, 0.9), *probes(0.9, 8)] if numbers is None else numbers
        return View(name, run, [], {"numbers": everything, "alarms": []}, arrays)

    return make


def written(*views: View) -> str:
    html = SECTIONS["attributes"][1](list(views))
    assert html is not None
    return html


def tables(html: str) -> list[list[list[str]]]:
    """Every table: its rows, head first."""
    return [
        [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in found.split("<tr>")[1:]]
        for found in re.findall(r"<table>(.*?)</table>", html)
    ]


def test_a_row_an_attribute_with_what_was_measured_at_strength_2(made: Made) -> None:
    probed, scored, edited = tables(written(made()))
    assert [row[0].split(" <small>")[0] for row in probed[1:]] == ["smile &lt;b&gt;", "hair=red &amp; grey", "age"]
    assert probed[0] == ["a linear probe of", "the network", "PCA of 8", "pixels"]
    assert [cell.split(" ")[0] for cell in probed[1][1:]] == ["0.9000", "0.6000", "0.5000"]
    assert scored[1][:2] == ["the network", "0.2500 <small>[0.1500, 0.3500]</small>"]
    head, smile, _, age = edited
    assert head[2:] == [
        "flipped", "shifted", "other attributes kept", "PSNR with the unedited", "the judge on real pictures"
    ]  # fmt: skip
    assert [cell.split(" ")[0] for cell in smile[2:]] == ["0.6000", "—", "0.8000", "20.00", "0.9700"]
    assert [age[1], age[2], age[3].split(" ")[0]] == ["told another value", "—", "0.6000"]


def test_strips_and_charts_are_said_in_words_and_names_are_shown_as_they_are(made: Made) -> None:
    html = written(made(channels=3))
    assert html.count("<img ") == 6
    assert 'alt="smile &lt;b&gt;: without: edited by vae &amp; &lt;i&gt;, strength −3 to 3"' in html
    assert "age: more of it" in html
    assert "share flipped against share of other attributes kept" in html
    assert "<b>:" not in html
    assert "<i>" not in html


def test_without_other_attributes_success_stands_against_the_picture(made: Made) -> None:
    html = written(made(numbers=edits(False, 0.9)))
    assert "share flipped against PSNR with the unedited, dB" in html
    assert "other attributes kept" not in html


def test_runs_side_by_side_rank_networks_of_one_protocol_only(made: Made) -> None:
    vae, ae = made("vae", [*edits(True, 0.9), *probes(0.9, 8)]), made("ae", [*edits(True, 0.6), *probes(0.7, 8)])
    html = written(vae, ae)
    assert "Means over attributes" in html
    probed, _, means, *_ = tables(html)
    assert probed[0] == ["a linear probe of", "vae", "ae", "PCA of 8", "pixels"]
    assert probed[1][1].startswith("<b>0.9000")
    assert probed[1][2].startswith("0.7000")
    assert means[0] == ["", "vae", "ae"]
    assert [cell[:4] for cell in means[1][1:]] == ["<b>0", "0.60"]
    other = made("ae", probes(0.7, 16, "fewer pictures"))
    probed = tables(written(vae, other))[0]
    assert probed[0] == ["a linear probe of", "vae", "ae", "PCA of 8", "pixels", "PCA of 16"]
    assert [cell[:3] for cell in probed[1][1:3]] == ["0.9", "0.7"]


def test_without_any_of_it_there_is_no_section_and_each_part_stands_alone(made: Made) -> None:
    whole = made()
    bare = replace(whole, pictures={}, evaluation={"numbers": [], "alarms": []})
    assert SECTIONS["attributes"][1]([bare]) is None
    assert len(tables(written(replace(whole, pictures={})))) == 2, "probes and scores"
    assert len(tables(written(made(numbers=edits(True, 0.5))))) == 1
    assert len(tables(written(made(numbers=probes(0.5, 4))))) == 2
