"""Sections about models that infer latents, on made-up runs: what is shown is what was measured."""

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

from sanggar.reporting.sections import SECTIONS
from sanggar.reporting.view import View
from sanggar.results import FLOOR, FORMAT, NETWORK, PIXELS, Evaluation, Measurement, Protocol
from sanggar.runs import Run
from typed import FACTS

MINE = ("drawn", "bound", "dimensions", "reconstructions", "corners", "traversals")
LEVELS = np.array([1.0, 0.5])
SOURCES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "the prior, temperature 1": (NETWORK, {"source": "prior", "temperature": 1.0}, {}),
    "the prior, temperature 0.5": (NETWORK, {"source": "prior", "temperature": 0.5}, {}),
    "a Gaussian mixture of 3 components": (NETWORK, {"source": "mixture"}, {"components": 3}),
    "midpoints of training pictures": (NETWORK, {"source": "midpoint"}, {"among": 9}),
    "midpoints of training pictures: the mean of their pixels": (
        PIXELS,
        {"source": "midpoint"},
        {"among": 9},
    ),
    "real pictures \\(floor\\)": (FLOOR, {}, {}),
}
"""By what is written of them: subject, tags, settings"""
Made = Callable[..., View]


def measurement(key: str, value: float, unit: Any = "nats", subject: str = NETWORK, *, tags: Any = None,
                **settings: Any) -> Measurement:  # fmt: skip
    better = "higher" if key.endswith(("precision", "recall")) else "lower"
    protocol = Protocol(n=500, data="some <i> data", settings=settings)
    return Measurement(
        key=key, subject=subject, value=value, unit=unit, better=better, tags=tags or {}, protocol=protocol
    )  # fmt: skip


def measurements(rate: float, distortion: float, beta: float, **settings: Any) -> list[Measurement]:
    drawn = [
        measurement(f"exploration.{quantity}", value + i, "", subject, tags=tags, **own)
        for i, (subject, tags, own) in enumerate(SOURCES.values())
        for quantity, value in (("frechet", 2.0), ("precision", 0.25), ("recall", 0.5))
    ]  # fmt: skip
    return [
        measurement("bounds.negative_elbo", rate + distortion, **settings),
        measurement("bounds.rate", rate, **settings), measurement("bounds.distortion", distortion, **settings),
        measurement("bounds.active_dimensions", 3.0, "dimensions", size=4, threshold=0.01, method="Burda <et al.>"),
        measurement("bounds.beta", beta, ""), *drawn,
    ]  # fmt: skip


def evaluation(*found: Measurement, **details: Any) -> Evaluation:
    return Evaluation(
        format=FORMAT, package="1.0", step=1, weights="final", measurements=found, details=details
    )  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A run of a model that infers latents, as its files would tell of it."""

    def make(name: str = "run & <i>", rate: float = 12.5, distortion: float = 80.0, beta: float = 1.0,
             channels: int = 1, unit: str = "nats", **settings: Any) -> View:  # fmt: skip
        random = np.random.default_rng(0)

        def noise(*shape: int) -> np.ndarray:
            return random.integers(0, 256, (*shape, 6, 7, channels), dtype=np.uint8)

        data = FACTS | {"channels": channels, "classes": ["a", "b"]}
        info = {"name": name, "status": "finished", "data": data}
        run = Run.create(tmp_path / str(len(list(tmp_path.iterdir()))), "{}", info)
        arrays = {
            "bounds.rates": np.array([0.5, 4.0, 0.0, 1.5]), "bounds.active": np.array([True, True, False, True]),
            "bounds.reconstructions": noise(3, 5),
            "exploration.drawn": noise(3, 8), "exploration.temperatures": LEVELS,
            "exploration.components": np.array([3]), "exploration.corners": noise(7, 7),
            "exploration.traversals": noise(3, 9), "exploration.traversal_dimensions": np.array([1, 3, 0]),
            "exploration.traversal_places": np.linspace(-2, 2, 9),
            "exploration.traversal_held": np.array([4.0, 1.5, 0.5]),
        }  # fmt: skip
        found = measurements(rate, distortion, beta, **settings)
        return View(name, run, [], evaluation(*found, exploration={"traversal_unit": unit}), arrays)

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
    assert SECTIONS[section][1]([replace(view, evaluation=evaluation(), arrays={})]) is None


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
    assert "a variance above 0.01 over the pictures (Burda <et al.>)" in said(html)
    names = re.findall(r"<text[^>]*>(\d+)</text>", html)
    assert names[:4] == ["1", "3", "0", "2"]


@pytest.mark.parametrize("size", [1, 70])
def test_any_number_of_dimensions_has_its_bars(size: int, made: Made) -> None:
    view = made()
    arrays = {**view.arrays, "bounds.rates": np.zeros(size), "bounds.active": np.zeros(size, bool)}
    assert f"0 of {size} dimensions" in said(written("dimensions", replace(view, arrays=arrays)))


def test_sources_have_their_pictures_and_their_numbers(made: Made) -> None:
    html = written("drawn", made())
    assert len(pictures(html)) == len(made().arrays["exploration.drawn"])
    for i, source in enumerate(SOURCES):
        assert re.search(rf"{source}\s+{2 + i:.3f}\s+{0.25 + i:#.4g}\s+{0.5 + i:#.4g}", said(html)), source
    bare = replace(made(), evaluation=evaluation())
    assert "<table" not in written("drawn", bare)  # there was no judge to measure with


def test_a_source_without_a_distance_has_a_dash(made: Made) -> None:
    view = made()
    few = [m for m in view.evaluation.measurements if m.key != "exploration.frechet"]
    text = said(written("drawn", replace(view, evaluation=evaluation(*few))))
    assert re.search(r"the prior, temperature 1\s+—\s+0\.2500\s+0\.5000", text)


def test_a_network_that_draws_in_several_ways_is_not_shown_truncated_as_well(made: Made) -> None:
    view = made()
    truncated = {"generation.truncation_pictures": view.arrays["exploration.drawn"][:2],
                 "generation.truncation_levels": LEVELS}  # fmt: skip
    assert SECTIONS["truncation"][1]([replace(view, arrays={**view.arrays, **truncated})]) is None
    assert SECTIONS["truncation"][1]([replace(view, arrays=truncated)]) is not None


@pytest.mark.parametrize("channels", [1, 3])
def test_grids_hold_the_pictures_that_were_decoded(channels: int, made: Made) -> None:
    view = made(channels=channels)
    (grid,) = pictures(written("corners", view))
    assert grid.shape == (7 * 7 - 1, 7 * 8 - 1, 4)
    corner = view.arrays["exploration.corners"][6, 6]
    np.testing.assert_array_equal(grid[-6:, -7:, :3], np.broadcast_to(corner, (6, 7, 3)))
    walks = pictures(written("traversals", view))
    assert len(walks) == 3
    assert "dim. 1: 4.0 nats" in said(written("traversals", view))
    assert "from −2 to 2 deviations of the prior" in said(written("traversals", view))
    of_latents = said(written("traversals", made(channels=channels, unit="variance_percent")))
    assert "dim. 1: 4.0 % of the variance" in of_latents
    assert "deviations of the latents, around their mean" in of_latents
    assert len(pictures(written("reconstructions", view))) == 3


@pytest.mark.parametrize("section", ["reconstructions", "corners", "traversals"])
def test_what_a_decoder_is_conditioned_on_stands_beside_what_it_decodes(section: str, made: Made) -> None:
    view = made()
    assert "given" not in said(written(section, view))
    conditional = measurement("bounds.distortion", 1.0, tags={"condition": "class, <age>"})
    text = written(section, replace(view, evaluation=evaluation(*view.evaluation.measurements, conditional)))
    assert ("given the same mixture of the four pictures' class" if section == "corners" else ", given class") in text
    assert "class, &lt;age&gt;" in text
    assert "<age>" not in text


@pytest.mark.parametrize(("components", "words"), [(1, "a Gaussian mixture of 1 component"), (3, "of 3 components")])
def test_components_of_a_mixture_are_counted_in_words(components: int, words: str, made: Made) -> None:
    view = made()
    counted = tuple(
        m.model_copy(update={"protocol": m.protocol.having(components=components)})
        if m.tags.get("source") == "mixture"
        else m
        for m in view.evaluation.measurements
    )
    found = view.evaluation.model_copy(update={"measurements": counted})
    html = SECTIONS["drawn"][1]([replace(view, evaluation=found)])
    assert html is not None
    assert f"{words}<" in html
