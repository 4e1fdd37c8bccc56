"""Puts what full studies found into docs/results.md: `python -m benchmarks.results FOLDER`, the `--out` of the studies.

Each study has its place there, between two comments. A study whose Markdown is not in the folder stays as it is.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

RESULTS = Path("docs/results.md")
PLACE = re.compile(r"(<!-- study: (?P<name>[a-z0-9-]+) -->\n)(.*?)(<!-- end of the study -->)", re.DOTALL)
KEPT = RESULTS.parent / "images" / "studies"
PICTURE = re.compile(r"\]\(([\w.-]+\.png)\)")
SINGLE = re.compile(r"((?:± \S+|\])) \([^()|]*\)| \(each of \d+\)")
"""What was measured of each run, behind a mean and its deviation or a difference and its interval"""
HEADING = re.compile(r"^### ([a-z-]+)$", re.MULTILINE)


def filled(text: str, folder: Path) -> tuple[str, list[str]]:
    """The page with what the studies in a folder found, and which of them it found there."""
    taken = []

    def put(place: re.Match[str]) -> str:
        file = folder / f"{place['name']}-full.md"
        if not file.is_file():
            return place[0]
        taken.append(place["name"])
        body = PICTURE.sub(lambda found: f"]({_kept(folder / found[1])})", file.read_text(encoding="utf-8"))
        return f"{place[1]}\n{shortened(body)}\n{place[4]}"

    return PLACE.sub(put, text), taken


def _kept(picture: Path) -> str:
    """A picture of a study, brought to where the page has its pictures; its address there."""
    KEPT.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(picture, KEPT / picture.name)
    return (KEPT / picture.name).relative_to(RESULTS.parent).as_posix()


def shortened(markdown: str) -> str:
    """Without its own heading, which the page has, and without each single run's number, which the study's page has."""
    lines = markdown.split("\n", 2)
    body = lines[2] if lines[0].startswith("## ") else markdown
    body = SINGLE.sub(lambda found: found[1] or "", body)
    return HEADING.sub(lambda found: f"### {found[1].replace('-', ' ').capitalize()}", body).strip() + "\n"


def main() -> None:
    """Fill the page."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "studies")
    text, taken = filled(RESULTS.read_text(encoding="utf-8"), folder)
    RESULTS.write_text(text, encoding="utf-8")
    print(f"  {', '.join(taken) or 'no study'} of {folder} put into {RESULTS}")


if __name__ == "__main__":
    main()
