"""Every command and every line of Python in the README works, in the order in which a reader meets them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import sanggar
from conftest import DEMOS, TINY, TINY_FFNN, Cli
from sanggar.data.sources import presence
from sanggar.recipe import read, shipped
from sanggar.runs import Run
from sanggar.studies.definition import read as study
from sanggar.studies.space import space
from sanggar.training import start

ROOT = Path(__file__).parent.parent
NEEDS = {"needs Fashion-MNIST": "fashion-mnist", "needs MNIST": "mnist"}
FIRST = {
    "autoencoder": "denoising", "ffnn": "classification", "classifier": "classification", "gan": "generation",
    "vae": "edits", "flow": "generation",
}  # fmt: skip
"""What is measured of a family's networks here: the rest has tests of its own"""
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a Markdown text: language and content."""
    return FENCE.findall(text)


def commands(block: str) -> list[tuple[list[str], str]]:
    """The lines behind a prompt as words, each with its comment; a backslash at the end goes on with the next line."""
    lines = [line.removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
    return [(shlex.split(line, comments=True), line.partition(" # ")[2].strip()) for line in lines]


def lightened(words: list[str]) -> list[str]:
    """The command with any recipe that is trained replaced by the demo of its family, tiny; studies are looked up."""
    if words[0] == "study":
        assert list(study(words[1], words[words.index("--budget") + 1]).cells)
        return ["studies"]
    if words[0] == "tour":
        assert len(study("tour").cells) == 5
        return ["studies"]
    if words[0] == "search":
        assert space(words[1], [word for word in words[2:] if "=" in word]).varied
        return ["studies"]
    if words[0] == "new":
        return ["0.05" if before == "--minutes" else word for before, word in zip(["", *words], words, strict=False)]
    if words[0] not in ("run", "train") or "--resume" in words:
        return words
    (recipe,) = [word for word in words if word in shipped()]
    family = read(recipe).model["family"]
    demo, tiny = DEMOS[family]
    return [demo if word == recipe else word for word in words] + [*tiny, f"evaluation.metrics=[{FIRST[family]}]"]


@pytest.mark.slow
def test_the_readme_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Cli) -> None:
    def lighter(source: str, overrides: Sequence[str] = (), **rest: Any) -> Run:
        return start.train(source, [*overrides, *quick], **rest)

    quick = [override for override in TINY if override.startswith("evaluation.")]
    quick.append("evaluation.metrics=[reconstruction,denoising]")
    monkeypatch.setattr(sanggar, "train", lighter, raising=False)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for language, block in blocks((ROOT / "README.md").read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(block, "README.md", "exec"), namespace)
        if language != "console":
            continue
        for words, comment in commands(block):
            missing = [n for says, n in NEEDS.items() if says in comment and presence(n).state == "absent"]
            if words[:3] == ["python", "-m", "sanggar"]:
                words = words[2:]
            if words[0] == "sanggar" and not missing:
                status, _, err = run_cli(*lightened(words[1:]))
                assert status == 0, f"{shlex.join(words)}: {err}"


def test_make_targets_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [words for language, block in blocks(text) if language == "console" for words, _ in commands(block)]
    asked = {target for words in lines if words[0] == "make" for target in words[1:] if "=" not in target}
    makefile = ROOT / "Makefile"
    known = re.findall(r"^([\w-]+):", makefile.read_text(), re.MULTILINE) if makefile.is_file() else []
    assert asked <= set(known)


def test_blocks_are_read_as_a_reader_would() -> None:
    text = "a\n```console\n$ sanggar run x \\\n    a=1  # needs MNIST\nout\n$ make check\n```\n```python\nx = 1\n```\n"
    (console, shown), (python, code) = blocks(text)
    assert (console, python, code) == ("console", "python", "x = 1\n")
    assert commands(shown) == [(["sanggar", "run", "x", "a=1"], "needs MNIST"), (["make", "check"], "")]
    assert lightened(["train", "fashion-plain-autoencoder"]) == [
        "train",
        "digits-denoising-autoencoder",
        *TINY,
        "evaluation.metrics=[denoising]",
    ]
    fewer = [*TINY_FFNN, "evaluation.metrics=[classification]"]
    assert lightened(["run", "mnist-ffnn", "--out", "x"]) == ["run", "digits-ffnn", "--out", "x", *fewer]
    assert lightened(["train", "--resume", "runs/x"]) == ["train", "--resume", "runs/x"]
