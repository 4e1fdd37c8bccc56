"""Every key of a recipe in words: complete, current on the page, and said one by one on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Cli
from sanggar import keys
from sanggar.plan import resolve
from sanggar.recipe import read, shipped

PAGE = Path(__file__).parent.parent / "docs" / "recipes.md"


def paths(tree: Any, place: str = "") -> Iterator[str]:
    for name, value in tree.items():
        yield f"{place}{name}"
        if isinstance(value, dict):
            yield from paths(value, f"{place}{name}.")


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == keys.page(), "make keys writes it anew"


@pytest.fixture(scope="module")
def known() -> set[str]:
    return {key.path for key in keys.all_keys()}


@pytest.mark.parametrize("name", shipped())
def test_every_key_of_a_resolved_recipe_is_explained(name: str, known: set[str]) -> None:
    written = set(paths(resolve(read(name)).tree())) - {"data", "model", "training", "evaluation"}
    assert written <= known | {path.rsplit(".", 1)[0] for path in known}


def test_every_key_has_an_explanation_and_its_values() -> None:
    for key in keys.all_keys():
        assert key.about, key.path
        assert key.type != "any value", key.path


def test_a_key_is_explained_on_the_command_line(run_cli: Cli) -> None:
    status, out, _ = run_cli("describe", "--explain", "training.ema")
    assert status == 0
    assert "default null" in out
    assert "decay of the averaged weights" in out
    status, out, _ = run_cli("describe", "--explain", "evaluation.generation.samples")
    assert (status, "evaluation.generation.samples" in out) == (0, True)
    for wrong, words in (("ema", "Did you mean training.ema?"), ("training.emma", "Did you mean 'training.ema'?")):
        status, _, err = run_cli("describe", "--explain", wrong)
        assert status == 2
        assert words in err
