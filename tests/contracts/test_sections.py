"""What every section of the report promises: HTML, or None when it has nothing to say; never an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from sanggar.reporting.page import view
from sanggar.reporting.sections import SECTIONS
from sanggar.reporting.view import View
from sanggar.runs import Run

VOID = {"img", "br", "meta", "link", "hr", "path", "use", "rect"}


class Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def written(section: str, *views: View) -> str | None:
    html = SECTIONS[section][1](list(views))
    if html is not None:
        balance = Balance()
        balance.feed(html)
        assert not balance.open
    return html


def without(part: str) -> Callable[[View], View]:
    """The view of a run that lacks what one metric leaves, or a file."""

    def lack(whole: View) -> View:
        if part == "metrics":
            return replace(whole, metrics=[])
        if part == "pictures":
            return replace(whole, pictures={})
        kept = [n for n in whole.evaluation["numbers"] if part != "numbers" and n["key"].split(".")[0] != part]
        arrays = {key: array for key, array in whole.pictures.items() if key.split(".")[0] != part}
        return replace(whole, evaluation={**whole.evaluation, "numbers": kept}, pictures=arrays)

    return lack


PARTS = ("metrics", "pictures", "numbers", "reconstruction", "denoising", "latent", "strips")


@pytest.mark.parametrize("section", SECTIONS)
def test_of_one_run_and_of_two(section: str, tiny_run: Run) -> None:
    one = view(tiny_run)
    alone = written(section, one)
    both = written(section, one, replace(one, name="<another> & one"))
    assert (alone is None) == (both is None)
    if both is not None:
        assert alone
        assert "<another>" not in both


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("section", SECTIONS)
def test_of_a_run_that_lacks_something(section: str, part: str, tiny_run: Run) -> None:
    written(section, without(part)(view(tiny_run)))


@pytest.mark.parametrize("section", SECTIONS)
def test_of_a_run_beside_one_that_lacks_everything(section: str, tiny_run: Run) -> None:
    whole = view(tiny_run)
    bare = replace(whole, metrics=[], pictures={}, evaluation={**whole.evaluation, "numbers": []})
    written(section, whole, replace(bare, name="bare"))
    written(section, replace(bare, name="bare"), whole)


def test_of_a_run_with_alarms(tiny_run: Run) -> None:
    whole = view(tiny_run)
    html = written("alarms", replace(whole, evaluation={**whole.evaluation, "alarms": ["It <collapsed>."]}))
    assert html is not None
    assert "It &lt;collapsed&gt;." in html
