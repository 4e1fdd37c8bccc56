"""Every mistake of a user is named in one line: by an error of the documented kind, and by no warning of NumPy's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from scratch import mistakes
from scratch.mistakes import MISTAKES


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[str, str]]:
    """What each mistake leads to where no types are checked before."""
    said = subprocess.run([sys.executable, mistakes.__file__], capture_output=True, text=True, check=True)
    return json.loads(said.stdout)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(outcomes: dict[str, tuple[str, str]], name: str) -> None:
    _, kind, words = MISTAKES[name]
    found, said = outcomes[name]
    assert found == kind.__name__, said
    assert words in said
    assert "\n" not in said
    assert said.endswith((".", "?"))
