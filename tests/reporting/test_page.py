"""The report: one file that loads nothing, says everything in words too, and ranks only what compares."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import sanggar
from conftest import Trained
from hostile import POSTSCRIPT
from sanggar.errors import RunError
from sanggar.reporting.figures import axes, svg
from sanggar.reporting.page import render, report, view
from sanggar.runs import Run

Element = tuple[str, dict[str, str]]


class Page(HTMLParser):
    """Every element of a page, and the text of it outside style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.elements, self.text, self._open = html, list[Element](), "", ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def section(self, key: str) -> str:
        return self.html.split(f'<section id="{key}">')[1].split("</section>")[0]


def page_of(*runs: Run) -> Page:
    return Page(render([view(run) for run in runs]))


@pytest.fixture(scope="session")
def one(tiny_run: Run) -> Page:
    return page_of(tiny_run)


@pytest.fixture(scope="session")
def other_run(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the tiny run under another name. Not to be changed."""
    return Run(shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("other") / "other"))


@pytest.fixture(scope="session")
def two(tiny_run: Run, other_run: Run) -> Page:
    return page_of(tiny_run, other_run)


@pytest.fixture(scope="session")
def of_classes(ffnn_run: Run) -> Page:
    return page_of(ffnn_run)


@pytest.fixture(scope="session")
def of_two_families(tiny_run: Run, ffnn_run: Run) -> Page:
    return page_of(tiny_run, ffnn_run)


@pytest.fixture(params=["one", "two", "of_classes", "of_two_families"])
def page(request: pytest.FixtureRequest) -> Page:
    found: Page = request.getfixturevalue(request.param)
    return found


def changed(run: Run, change: Callable[[dict[str, Any]], None]) -> Run:
    """The run with every headline number changed."""
    evaluation = json.loads(run.evaluation_file.read_text())
    for n in evaluation["measurements"]:
        if n["headline"]:
            change(n)
    run.evaluation_file.write_text(json.dumps(evaluation))
    return run


# -- one file that loads nothing -------------------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        for key, value in attributes.items():
            assert not key.startswith("on"), f"{tag} {key}"
            if key.split(":")[-1] in ("src", "href", "srcset", "action", "poster", "data"):
                assert value.startswith(("#", "data:")), f"{tag} {key}={value[:60]}"
            assert "url(http" not in value
    for target in re.findall(r"url\(\s*['\"]?([^)'\"]*)", page.html):
        assert target.startswith(("#", "data:")), target
    assert "@import" not in page.html


PICTURES = {
    "denoised",
    "noise",
    "latent",
    "interpolation",
    "edits",
    "extremes",
    "fidelity",
    "drawn",
    "corners",
    "traversals",
}
CLASSES = {"watched", "classes", "mistakes", "network", "neurons"}


@pytest.mark.slow
def test_a_page_is_whole(page: Page, request: pytest.FixtureRequest) -> None:
    assert page.html.lower().startswith("<!doctype html>")
    assert page.all("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in page.all("meta")
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert len(page.all("h1")) == len(page.all("title")) == len(page.all("main")) == 1
    keys = {section["id"] for section in page.all("section")}
    told = {"one": PICTURES, "two": PICTURES, "of_classes": CLASSES, "of_two_families": PICTURES | CLASSES}
    kind = request.node.callspec.params["page"]
    assert keys - {"alarms"} == {"short", "run", "numbers", "loss", "everything"} | told[kind]
    assert {link["href"] for link in page.all("a")} == {f"#{key}" for key in keys}


def test_every_tag_that_is_opened_is_closed(page: Page) -> None:
    void = {"meta", "link", "img", "br", "hr", "input", "col"}

    class Balance(HTMLParser):
        stack: list[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in void:
                self.stack.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.stack.pop() == tag, self.getpos()

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            pass

    balance = Balance()
    balance.stack = []
    balance.feed(page.html)
    assert balance.stack == []


# -- for everyone ----------------------------------------------------------------------------------------------


def test_every_picture_and_chart_is_there_in_words(page: Page) -> None:
    charts = page.all("svg")
    assert len(charts) >= 3
    assert all(chart["role"] == "img" and len(chart["aria-label"]) > 20 for chart in charts)
    assert page.all("img")
    assert all(image["alt"].strip() for image in page.all("img"))


@pytest.mark.slow
def test_no_two_elements_have_the_same_id_and_every_reference_has_its_own(page: Page) -> None:
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    for _, attributes in page.elements:
        for key, value in attributes.items():
            if key.split(":")[-1] == "href" and value.startswith("#"):
                assert value[1:] in ids
            for name in re.findall(r"url\(#([^)]+)\)", value):
                assert name in ids


@pytest.mark.slow
def test_a_network_that_was_shown_clean_pictures_has_no_row_of_them_twice(trained: Trained) -> None:
    rows = {family: page_of(trained(family)).section("extremes") for family in ("autoencoder", "vae")}
    shown = {family: section.count("<span>shown</span>") for family, section in rows.items()}
    assert shown == {"autoencoder": 2, "vae": 0}


# -- names that are not ours -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ['<script>alert("x")<', "a&amp;b'\"><i>", r"$\frac$ 5$ 6$", "_under", "{{ 7*7 }}"])
def test_names_are_shown_as_they_are(tiny_run: Run, tmp_path: Path, name: str) -> None:
    run = Run(shutil.copytree(tiny_run.path, tmp_path / name))
    run.update(name=f"recipe {name}", about=f"about {name}")
    for page in (page_of(run), page_of(run, tiny_run)):
        assert f"recipe {name}" in page.text
        assert f"about {name}" in page.text
        assert not page.all("script")
        assert not page.all("i")
    assert page.text.count(f"{name}, train") == 2, "in the legend of the losses and in the table below"


def test_what_names_a_run_and_its_data_never_becomes_markup(copied_run: Run) -> None:
    copied_run.update(identity="<i>mine</i>", data={**copied_run.info["data"], "fingerprint": "<b>f</b>"})
    page = page_of(copied_run)
    assert not page.all("i")
    assert "<b>f</b>" not in page.html
    assert "<i>mine</i>" in page.text


def test_a_preview_that_is_no_picture_starts_nothing(copied_run: Run) -> None:
    for step in (1, 2):  # of a training that has a section of its own
        (copied_run.samples_folder / f"step-0000000{step}.png").write_bytes(POSTSCRIPT)
    with pytest.raises(RunError, match=r"step-00000001\.png is no preview that can be read"):
        page_of(copied_run)


def test_a_dollar_is_a_dollar_in_every_text_of_a_figure() -> None:
    figure, place = axes()
    place.set_xticks([0, 1], [r"$\frac$", "$5 bill$"])  # set outside of the style's context, as sections do
    place.annotate(r"$\nope$", (0, 0))
    drawn = svg(figure, "a figure of names that are not ours")
    assert all(name in drawn for name in (r"$\frac$", "$5 bill$", r"$\nope$"))


# -- comparing -------------------------------------------------------------------------------------------------


def headline_rows(page: Page) -> list[str]:
    return page.section("numbers").split("<tbody>")[1].split("</tbody>")[0].split("<tr>")[1:]


def test_several_runs_stand_side_by_side_and_the_best_of_a_row_is_bold(tiny_run: Run, copied_run: Run) -> None:
    def better(n: dict[str, Any]) -> None:
        n["value"] += 1 if n["better"] == "higher" else -1
        n["interval"] = None

    page = page_of(tiny_run, changed(copied_run, better))
    assert [t for t in ("run", "copied") if f"<th class=n>{t}</th>" in page.section("numbers")] == ["run", "copied"]
    for row in headline_rows(page):
        cells = row.split("<td")[1:]
        assert ["<b>" in cell for cell in cells] == [False, False, True]


@pytest.mark.slow
def test_numbers_of_different_protocols_are_never_ranked(tiny_run: Run, copied_run: Run) -> None:
    alone = len(headline_rows(page_of(tiny_run)))
    page = page_of(tiny_run, changed(copied_run, lambda n: n["protocol"].update(n=n["protocol"]["n"] + 1)))
    rows = headline_rows(page)
    assert len(rows) == 2 * alone
    assert all(row.count("—") == 1 and "<b>" not in row for row in rows)


def test_equal_numbers_are_not_told_apart(two: Page) -> None:
    for row in headline_rows(two):
        assert row.count("<b>") in (0, 2)


def test_runs_in_folders_of_the_same_name_keep_their_own_numbers(tiny_run: Run, tmp_path: Path) -> None:
    twin = Run(shutil.copytree(tiny_run.path, tmp_path / tiny_run.path.name))

    def mark(n: dict[str, Any]) -> None:
        n["value"], n["interval"] = 0.1234, None

    for row in headline_rows(page_of(tiny_run, changed(twin, mark))):
        assert row.count("0.1234") == 1


# -- without anything but the run ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_moved_run_is_reported_without_data_and_without_torch(copied_run: Run, tmp_path: Path) -> None:
    moved = copied_run.path.rename(tmp_path / "elsewhere")
    here = Path(report(moved, out=tmp_path / "here.html")).read_text()
    (tmp_path / "no data").mkdir()
    script = "import sys; sys.modules['torch'] = None; import sanggar; print(sanggar.report(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(moved)],
        env={**os.environ, "SANGGAR_DATA": str(tmp_path / "no data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(moved / "report.html")
    assert (moved / "report.html").read_text() == here, "the same run gives the same page"


def test_a_report_shows_itself_in_a_notebook(copied_run: Run) -> None:
    written = report(copied_run)
    (frame,) = Page(written._repr_html_()).elements
    assert frame[1]["srcdoc"] == copied_run.report_file.read_text()


def test_the_public_function_can_be_called_more_than_once(tiny_run: Run, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        sanggar.report(tiny_run, out=tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_what_cannot_be_reported_is_refused(copied_run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="at least one run"):
        report()
    with pytest.raises(RunError, match="There is no run directory"):
        report(tmp_path / "gone")
    copied_run.evaluation_file.unlink()
    with pytest.raises(RunError, match="was not evaluated yet"):
        report(copied_run)
    assert not copied_run.report_file.exists()


def test_an_alarm_is_shown(copied_run: Run) -> None:
    evaluation = json.loads(copied_run.evaluation_file.read_text())
    alarm = {"key": "generation.no_judge", "values": {"data": "<latent>"}}
    copied_run.evaluation_file.write_text(json.dumps({**evaluation, "alarms": [alarm]}))
    assert "no judge knows the classes of &lt;latent&gt;." in page_of(copied_run).section("alarms")
    copied_run.evaluation_file.write_text(json.dumps({**evaluation, "alarms": []}))
    assert 'id="alarms"' not in page_of(copied_run).html
