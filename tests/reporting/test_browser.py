"""The report in a browser: it fits a phone, reads on light and on dark, and asks the network for nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sanggar.reporting.page import report
from sanggar.runs import Run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")]

PHONE = {"width": 390, "height": 844}
Open = Callable[..., Any]
ON_THEIR_OWN = {"rgb(255, 255, 255)"}
"""The names of classes on a map, which stand on the colour of their class."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield running
        running.close()


@pytest.fixture(scope="module")
def files(tiny_run: Run, ffnn_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of one run, of two of which one has a long name, and of a network that tells classes apart."""
    folder = tmp_path_factory.mktemp("pages")
    long = Run(shutil.copytree(tiny_run.path, folder / ("a-run-with-a-long-name-" * 4)))
    return {
        "one": Path(report(tiny_run, out=folder / "one.html")),
        "two": Path(report(tiny_run, long, out=folder / "two.html")),
        "classes": Path(report(ffnn_run, out=folder / "classes.html")),
    }


@pytest.fixture
def open_page(browser: Any, files: dict[str, Path]) -> Iterator[Open]:
    """Open a report; whatever it asks for or complains about fails the test."""
    contexts, troubles = [], []

    def call(name: str = "one", **options: Any) -> Any:
        contexts.append(browser.new_context(viewport=PHONE, **options))
        page = contexts[-1].new_page()
        address = files[name].as_uri()
        page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("data:", address)) else troubles.append(r.url))
        page.goto(address)
        return page

    yield call
    for context in contexts:
        context.close()
    assert troubles == []


def luminance(colour: str) -> float:
    """Relative luminance of a CSS colour `rgb(r, g, b)`, as WCAG 2 defines it."""
    channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one", "two", "classes"])
def test_the_page_fits_a_phone(open_page: Open, name: str) -> None:
    page = open_page(name)
    for opened in (False, True):
        if opened:
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        needed, there = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert there == PHONE["width"]
        assert needed <= there


@pytest.mark.parametrize("name", ["one", "classes"])
def test_light_and_dark_differ_and_both_can_be_read(open_page: Open, name: str) -> None:
    papers = []
    for scheme in ("light", "dark"):
        page = open_page(name, color_scheme=scheme)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        papers.append(luminance(paper))
        for selector, kind in (("p, .note, caption, nav a, summary, td", "color"), (".chart svg text", "fill")):
            colours = page.eval_on_selector_all(selector, f"all => all.map(e => getComputedStyle(e).{kind})")
            for colour in set(colours) - ON_THEIR_OWN:
                assert contrast(colour, paper) >= 4.5, f"{selector} in {scheme}: {colour} on {paper}"
    assert papers[0] > 0.8
    assert papers[1] < 0.1


def test_details_open_on_a_click(open_page: Open) -> None:
    page = open_page()
    for details in page.query_selector_all("details"):
        assert not details.evaluate("d => d.open")
        details.query_selector("summary").click()
        assert details.evaluate("d => d.open")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one", "classes"])
def test_every_picture_is_shown_and_every_link_leads_somewhere(open_page: Open, name: str) -> None:
    page = open_page(name)
    page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    page.wait_for_function("[...document.images].every(i => i.complete)")
    assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
