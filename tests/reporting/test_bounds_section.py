"""Sections about networks that infer latents, on made-up runs: what is shown is what was measured."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sanggar.reporting.sections.run import SECTIONS
from sanggar.reporting.view import View
from sanggar.runs import Run

MINE = ("drawn", "bound", "dimensions", "reconstructions", "corners", "traversals")
LEVELS = np.array([1.0, 0.5])
WAYS = ("the prior at temperature 1", "the prior at temperature 0.5", "a mixture of 3 normal distributions")
Made = Callable[..., View]


def number(key: str, value: float, unit: str = "nats", subject: str = "network", **protocol: Any) -> dict[str, Any]:
    room = "exploration" if "drawn_from" in protocol else "inference"
    return {
        "key": f"{room}.{key}", "label": f"{key} <i>", "value": value, "unit": unit, "interval": None,
        "better": "higher" if key in ("precision", "recall") else "lower", "subject": subject, "headline": False,
        "protocol": {"n": 500, "split": "test", **protocol},
    }  # fmt: skip


def numbers(rate: float, distortion: float, beta: float, **protocol: Any) -> list[dict[str, Any]]:
    of_each = [
        number(key, value + i, "", drawn_from=way)
        for i, way in enumerate(WAYS) for key, value in (("frechet", 2.0), ("precision", 0.25), ("recall", 0.5))
    ]  # fmt: skip
    return [
        number("bound", rate + distortion, told="nothing", **protocol),
        number("rate", rate, told="nothing", **protocol), number("distortion", distortion, told="nothing", **protocol),
        number("active", 3.0, "of 4", method="its mean varies <a lot>"), number("beta", beta, ""), *of_each,
    ]  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A run of a network that infers latents, as its files would tell of it."""

    def make(name: str = "run & <i>", rate: float = 12.5, distortion: float = 80.0, beta: float = 1.0,
             channels: int = 1, **protocol: Any) -> View:  # fmt: skip
        random = np.random.default_rng(0)

        def noise(*shape: int) -> np.ndarray:
            return random.integers(0, 256, (*shape, 6, 7, channels), dtype=np.uint8)

        data = {"height": 6, "width": 7, "channels": channels, "classes": ["a", "b"]}
        info = {"name": name, "status": "finished", "data": data}
        run = Run.create(tmp_path / str(len(list(tmp_path.iterdir()))), "{}", info)
        arrays = {
            "inference.rates": np.array([0.5, 4.0, 0.0, 1.5]), "inference.active": np.array([True, True, False, True]),
            "inference.reconstructions": noise(3, 5),
            "exploration.drawn": noise(3, 8), "exploration.temperatures": LEVELS,
            "exploration.components": np.array([3]), "exploration.corners": noise(7, 7),
            "exploration.traversals": noise(3, 9), "exploration.traversals.dimensions": np.array([1, 3, 0]),
            "exploration.traversals.places": np.linspace(-2, 2, 9),
            "exploration.traversals.held": np.array([4.0, 1.5, 0.5]),
            "exploration.traversals.unit": np.frombuffer(b"nats", np.uint8),
        }  # fmt: skip
        return View(name, run, [], {"numbers": numbers(rate, distortion, beta, **protocol), "alarms": []}, arrays)

    return make


def written(section: str, *views: View) -> str:
    html = SECTIONS[section][1](list(views))
    assert html is not None
    return html


def said(html: str) -> str:
    """What a reader reads, and what is said of charts and pictures."""
    words = re.findall(r'(?:aria-label|alt)="([^"]*)"', html)
    return unescape(" ".join([re.sub(r"<svg.*?</svg>|<[^>]*>", " ", html, flags=re.DOTALL), *words]))


def pictures(html: str) -> list[np.ndarray]:
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGBA")) for code in found]


@pytest.mark.parametrize("section", MINE)
def test_a_name_is_never_taken_for_html_and_a_run_without_a_posterior_is_silent(section: str, made: Made) -> None:
    view = made()
    for html in (written(section, view), written(section, view, replace(view, name="other <i>"))):
        assert "<i>" not in html
    assert SECTIONS[section][1]([replace(view, evaluation={"numbers": [], "alarms": []}, pictures={})]) is None


def test_the_bound_stands_beside_its_parts_and_is_ranked_but_they_are_not(made: Made) -> None:
    html = written("bound", made("one"), made("two", rate=5.0, distortion=90.0, beta=4.0))
    assert re.findall(r"<b>([^<]*)", html) == ["92.50 nats"]
    assert "3 of\xa04" in said(html)
    assert "4.000" in said(html)


def test_several_runs_stand_between_rate_and_distortion_where_they_were_measured_alike(made: Made) -> None:
    assert "<svg" not in written("bound", made("alone"))
    html = written("bound", made("one"), made("two", rate=5.0, distortion=90.0, beta=4.0))
    assert html.count("<svg") == 1
    assert "one: rate 12.50, distortion 80.00; two: rate 5.000, distortion 90.00" in said(html)
    assert "two, beta 4" in html
    assert "<svg" not in written("bound", made("one"), made("two", pixels="others"))
    same = written("bound", made("one"), made("two"), made("three"))  # one point for all: a line, and no range
    assert same.count("<svg") == 1


def test_bars_are_in_the_order_of_what_they_hold(made: Made) -> None:
    html = written("dimensions", made())
    assert "3 of 4 dimensions are active" in said(html)
    assert "hold 6.000 nats of a picture, and 1 of them hold half" in said(html)
    assert "its mean varies <a lot>" in said(html)
    names = re.findall(r"<text[^>]*>(\d+)</text>", html)
    assert names[:4] == ["1", "3", "0", "2"]


@pytest.mark.parametrize("size", [1, 70])
def test_any_number_of_dimensions_has_its_bars(size: int, made: Made) -> None:
    view = made()
    arrays = {**view.pictures, "inference.rates": np.zeros(size), "inference.active": np.zeros(size, bool)}
    assert f"0 of {size} dimensions" in said(written("dimensions", replace(view, pictures=arrays)))


def test_ways_to_draw_have_their_pictures_and_their_numbers(made: Made) -> None:
    html = written("drawn", made())
    assert len(pictures(html)) == len(WAYS)
    for i, way in enumerate(WAYS):
        assert re.search(rf"{way}\s+{2 + i:.3f}\s+{0.25 + i:#.4g}\s+{0.5 + i:#.4g}", said(html)), way
    without = made()
    bare = replace(without, evaluation={"numbers": [], "alarms": []})
    assert "<table" not in written("drawn", bare)  # there was no judge to measure with


def test_a_network_that_draws_in_several_ways_is_not_shown_truncated_as_well(made: Made) -> None:
    view = made()
    truncated = {"generation.truncation.pictures": view.pictures["exploration.drawn"][:2],
                 "generation.truncation.levels": LEVELS}  # fmt: skip
    assert SECTIONS["truncation"][1]([replace(view, pictures={**view.pictures, **truncated})]) is None
    assert SECTIONS["truncation"][1]([replace(view, pictures=truncated)]) is not None


@pytest.mark.parametrize("channels", [1, 3])
def test_grids_hold_the_pictures_that_were_decoded(channels: int, made: Made) -> None:
    view = made(channels=channels)
    (grid,) = pictures(written("corners", view))
    assert grid.shape == (7 * 7 - 1, 7 * 8 - 1, 4)
    corner = view.pictures["exploration.corners"][6, 6]
    np.testing.assert_array_equal(grid[-6:, -7:, :3], np.broadcast_to(corner, (6, 7, 3)))
    walks = pictures(written("traversals", view))
    assert len(walks) == 3
    assert "dim. 1: 4.0 nats" in said(written("traversals", view))
    assert "from −2 to 2" in said(written("traversals", view))
    assert len(pictures(written("reconstructions", view))) == 3


@pytest.mark.parametrize("section", ["reconstructions", "corners", "traversals"])
def test_what_a_decoder_is_told_stands_beside_what_it_paints(section: str, made: Made) -> None:
    view = made()
    assert "told" not in said(written(section, view))
    view.evaluation["numbers"].append(number("distortion", 1.0, told="class, <age>"))
    text = written(section, view)
    assert ("told the same mixture of the four pictures' class" if section == "corners" else ", told class") in text
    assert "class, &lt;age&gt;" in text
    assert "<age>" not in text
