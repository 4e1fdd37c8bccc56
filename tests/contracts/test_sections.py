"""What every section of the report promises: HTML, or None when it has nothing to say; never an error."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from conftest import Trained, quick_first
from sanggar.plan import FAMILIES
from sanggar.reporting.figures import line_chart
from sanggar.reporting.page import view
from sanggar.reporting.sections import SECTIONS
from sanggar.reporting.view import View
from sanggar.results import Alarm, Evaluation, Measurement
from sanggar.runs import Run

VOID = {"img", "br", "meta", "link", "hr", "path", "use", "rect", "source"}
NO_NUMBER = re.compile(r"\b(nan|inf|none)\b", re.IGNORECASE)


class Reader(HTMLParser):
    """Follows a section's tags, and wants everything in words and nothing that is not a number."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "svg":
            assert given["role"] == "img"
            assert len(given["aria-label"]) > 20
        if tag == "img":
            assert given["alt"].strip()
        for name in {"alt", "aria-label", "d", "x", "y", "points", "transform"} & given.keys():
            assert not NO_NUMBER.search(given[name]), f"{tag} {name}={given[name]}"

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["pre"]):  # a recipe may hold such words
            assert not NO_NUMBER.search(data), data


def written(section: str, *views: View) -> str | None:
    html = SECTIONS[section][1](list(views))
    if html is not None:
        reader = Reader()
        reader.feed(html)
        assert not reader.open
    return html


def of(evaluation: Evaluation, **changes: Any) -> Evaluation:
    return evaluation.model_copy(update=changes)


def without(part: str) -> Callable[[View], View]:
    """The view of a run that lacks what one metric leaves, or a file."""

    def lack(whole: View) -> View:
        if part == "metrics":
            return replace(whole, metrics=[])
        if part == "arrays":
            return replace(whole, arrays={})
        if part == "details":
            return replace(whole, evaluation=of(whole.evaluation, details={}))
        kept = tuple(m for m in whole.evaluation.measurements if part not in ("numbers", m.metric))
        arrays = {key: array for key, array in whole.arrays.items() if key.split(".")[0] != part}
        return replace(whole, evaluation=of(whole.evaluation, measurements=kept), arrays=arrays)

    return lack


@pytest.fixture(autouse=True, scope="module")
def same_lines_are_drawn_once() -> Iterator[None]:
    """A chart of lines depends on nothing but what it is given; of a run that lacks a part most are as before."""
    drawn: dict[str, str] = {}

    def remembered(*given: Any, **how: Any) -> str:
        key = repr((given, how))
        if key not in drawn:
            drawn[key] = line_chart(*given, **how)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in {sys.modules[write.__module__] for _, write in SECTIONS.values()}:
            if hasattr(module, "line_chart"):
                patch.setattr(module, "line_chart", remembered)
        yield


FILES = ("metrics", "arrays", "details", "numbers")
EVERY = pytest.mark.parametrize("section", SECTIONS)
OF_EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)
QUICKLY_OF_ONE = pytest.mark.parametrize("family", quick_first(FAMILIES))
PAIRS = [*pairwise([*FAMILIES, next(iter(FAMILIES))])]


@pytest.fixture(scope="module")
def viewed(trained: Trained) -> Callable[[str], View]:
    """What a report has of a family's tiny run, read once. Not to be changed."""
    return cache(lambda family: view(trained(family)))


@pytest.fixture
def whole(family: str, viewed: Callable[[str], View]) -> View:
    """A family's tiny run."""
    return viewed(family)


def parts(section: str, whole: View) -> list[str]:
    """What a run may lack and a section needs: a file, or all that its metric left; of the run itself, any metric."""
    own = SECTIONS[section][1].__module__.rpartition(".")[2]
    keys = (*whole.arrays, *(m.key for m in whole.evaluation.measurements))
    metrics = dict.fromkeys(key.split(".")[0] for key in keys)
    return [*FILES, *(metric for metric in metrics if own in (metric, "run"))]


@pytest.fixture(scope="module")
def alone(viewed: Callable[[str], View]) -> Callable[[str, str], str | None]:
    """A section of a family's tiny run, written once."""
    return cache(lambda section, family: written(section, viewed(family)))


@pytest.mark.slow
def test_every_section_has_something_to_say(alone: Callable[[str, str], str | None], copied: Trained) -> None:
    silent = {section for section in SECTIONS if not any(alone(section, family) for family in FAMILIES)}
    run = copied("autoencoder")
    shutil.copy(max(run.samples_folder.iterdir()), run.samples_folder / "step-00000099.png")
    longer = view(run)
    longer = replace(longer, evaluation=of(longer.evaluation, alarms=(ALARM,)))
    assert silent <= {"training", "alarms", "attributes"}
    assert all(written(section, longer) for section in silent - {"attributes"})  # digits have none


@OF_EACH_FAMILY
@EVERY
def test_of_one_run_and_of_two(section: str, family: str, whole: View, alone: Callable[[str, str], str | None]) -> None:
    both = written(section, whole, replace(whole, name="<another> & one"))
    assert (alone(section, family) is None) == (both is None)
    if both is not None:
        assert alone(section, family)
        assert "<another>" not in both


@pytest.mark.parametrize("families", quick_first(PAIRS), ids=" beside ".join)
@EVERY
def test_of_runs_of_two_families(
    section: str, families: tuple[str, str], viewed: Callable[[str], View], alone: Callable[[str, str], str | None]
) -> None:
    both = written(section, *(replace(viewed(family), name=f"of-{family}") for family in families))
    speaking = [family for family in families if alone(section, family) is not None]
    assert (both is None) == (speaking == [])
    for family in speaking:
        assert both is not None
        assert f"of-{family}" in both, "each is called by its name"


@QUICKLY_OF_ONE
@EVERY
def test_of_a_run_that_lacks_something(section: str, whole: View) -> None:
    for part in parts(section, whole):
        written(section, without(part)(whole))


@QUICKLY_OF_ONE
@EVERY
def test_of_a_run_beside_one_that_lacks_everything(section: str, whole: View) -> None:
    bare = replace(whole, metrics=[], arrays={}, evaluation=of(whole.evaluation, measurements=(), details={}))
    written(section, whole, replace(bare, name="bare"))
    written(section, replace(bare, name="bare"), whole)


ALARM = Alarm(key="format1.alarm", values={"text": "It <collapsed>."})


def test_of_a_run_with_alarms(tiny_run: Run) -> None:
    whole = view(tiny_run)
    unknown = Alarm(key="my_metric.broken", values={"names": ["<b>", 3]})
    html = written("alarms", replace(whole, evaluation=of(whole.evaluation, alarms=(ALARM, unknown))))
    assert html is not None
    assert "It &lt;collapsed&gt;." in html
    assert "my_metric.broken: names [&#x27;&lt;b&gt;&#x27;, 3]" in html


def test_a_key_that_no_catalogue_knows_is_shown_as_it_is(tiny_run: Run) -> None:
    whole = view(tiny_run)
    first = whole.evaluation.measurements[0]
    own = first.model_copy(update={"key": "my_metric.my_value", "subject": "my_rival", "tags": {"my_tag": "<x>"}})
    evaluation = of(whole.evaluation, measurements=(own, *whole.evaluation.measurements))
    html = written("everything", replace(whole, evaluation=evaluation))
    assert html is not None
    assert "my metric: my value, my tag &lt;x&gt;: my rival" in html
    assert isinstance(own, Measurement)
