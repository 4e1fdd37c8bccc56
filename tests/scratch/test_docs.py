"""The worked explanation in docs/from-scratch.md: its lines run in order and print what it says, its links lead on.

The lines draw its pictures. To make them anew, run this file as a program, from anywhere.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
from PIL import Image

from sanggar.scratch import FFNN

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "from-scratch.md"
PICTURES = Path("docs/images/from-scratch")
LARGEST = 120_000
"""bytes of a picture: everyone who clones the repository carries them"""
FENCE = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAYS = re.compile(r"# (->|≈) (.*)$")
NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:e[-+]?\d+)?")


def blocks() -> list[tuple[str, str, str]]:
    """Language, what else stands beside it, and content."""
    return FENCE.findall(PAGE.read_text(encoding="utf-8"))


def squeezed(text: str) -> str:
    """The words, whatever blanks and lines are between them."""
    return " ".join(text.split())


def statements(code: str) -> Iterator[tuple[ast.stmt, str, str]]:
    """Each statement, and how ("->" or "≈") and what its last line says that it prints."""
    lines = code.splitlines()
    for statement in ast.parse(code).body:
        assert statement.end_lineno is not None
        found = SAYS.search(lines[statement.end_lineno - 1])
        yield statement, found[1] if found else "", found[2] if found else ""


def agree(printed: str, how: str, said: str) -> bool:
    """Whether a statement printed what the page says; "≈" compares the numbers alone, to a few percent."""
    if how != "≈":
        return squeezed(printed) == squeezed(said)
    mine, theirs = ([float(number) for number in NUMBER.findall(text)] for text in (printed, said))
    return len(mine) == len(theirs) and np.allclose(mine, theirs, rtol=0.04)


def walk() -> list[str]:
    """Run the page in the working directory. What does not print what it should."""
    namespace: dict[str, Any] = {"__name__": "from_scratch"}
    wrong, left = [], ""
    for language, beside, content in blocks():
        if language == "text":
            if squeezed(left) != squeezed(content):
                wrong.append(f"expected:\n{content}\nprinted:\n{left}")
            left = ""
        if language != "python" or beside:
            continue
        if left:
            wrong.append(f"the page does not say that this is printed: {left}")
        left = ""
        for statement, how, said in statements(content):
            with contextlib.redirect_stdout(io.StringIO()) as caught:
                exec(compile(ast.Module([statement], []), str(PAGE), "exec"), namespace)
            if not how:
                left += caught.getvalue()
            elif not agree(caught.getvalue(), how, said):
                wrong.append(f"{ast.unparse(statement)}\n  printed {squeezed(caught.getvalue())}\n  page says {said}")
    return [*wrong, left] if left else wrong


@pytest.fixture
def no_checks_of_types() -> Iterator[None]:
    """As the page is run by who reads it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.slow
@pytest.mark.usefixtures("no_checks_of_types")
def test_the_page_does_what_it_says_and_draws_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = walk()
    assert not wrong, "\n\n".join(wrong)
    drawn = {path.name for path in (tmp_path / PICTURES).iterdir()}
    shown = re.findall(r"!\[[^\]]+\]\(images/from-scratch/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(shown) == len(set(shown)) and set(shown) == drawn
    assert drawn == {path.name for path in (ROOT / PICTURES).iterdir()}
    for name in shown:
        assert (ROOT / PICTURES / name).stat().st_size <= LARGEST
        assert Image.open(ROOT / PICTURES / name).width <= 900


def test_what_is_quoted_stands_in_the_source() -> None:
    quoted = [(file, code) for language, file, code in blocks() if language == "python" and file]
    assert quoted
    for file, code in quoted:
        assert code in (ROOT / "src" / "sanggar" / "scratch" / file).read_text(encoding="utf-8"), file


def test_files_and_sections_that_the_page_names_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in re.findall(r"`(\w+\.py)`", text):
        assert (ROOT / "src" / "sanggar" / "scratch" / name).is_file(), name
    headings = {
        re.sub(r"[^\w -]", "", line).replace(" ", "-").lower() for line in re.findall(r"^## (.*)$", text, re.MULTILINE)
    }
    assert all(hasattr(FFNN, name) for name in re.findall(r"`self\.(\w+)\(", text))
    linked = re.findall(r"\]\(#([^)]+)\)", text)
    assert set(linked) == headings
    assert {int(n) for n in re.findall(r"section (\d+)\b(?!\.)", text)} <= set(range(1, len(headings) + 1))


def test_a_page_that_is_wrong_is_found() -> None:
    assert agree("6.0\n", "->", "6.0") and not agree("6.1\n", "->", "6.0")
    assert agree("[[1. 2.]\n [3. 4.]]\n", "->", "[[1. 2.] [3. 4.]]")
    assert agree("0.9721\n", "≈", "0.96") and not agree("0.9\n", "≈", "0.96") and not agree("", "≈", "0.96")
    (_, how, said), (_, nothing, _) = statements("print(1,\n2)  # -> 1 2\nx = 1  # a comment\n")
    assert (how, said, nothing) == ("->", "1 2", "")


if __name__ == "__main__":
    os.chdir(ROOT)
    print("\n\n".join(walk()) or f"pictures written to {PICTURES}")
    for path in PICTURES.iterdir():
        if path.stat().st_size > LARGEST:  # a palette makes it a third as large
            Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
