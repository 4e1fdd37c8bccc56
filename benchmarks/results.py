"""Puts what full studies found into docs/results.md: `python -m benchmarks.results FOLDER`, the `--out` of the studies.

Each study has its place there, between two comments. A study whose Markdown is not in the folder stays as it is. The
verdicts at a glance are gathered from all of them.
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
GLANCE = re.compile(r"(<!-- verdicts -->\n)(.*?)(<!-- end of the verdicts -->)", re.DOTALL)
REPORT = re.compile(r"^## Report (\d)", re.MULTILINE)
CLAIM = re.compile(
    r"^\| (?P<says>.+) \([a-z0-9][a-z0-9.-]*/.* (?:higher|lower) than .*\) \| [^|]* \| [^|]* \| (?P<verdict>[^|]*) \|$",
    re.MULTILINE,
)
"""A line of a study's claims: what is said, without the rows that are compared, and the verdict"""


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


def at_a_glance(text: str) -> str:
    """The page with a table of all claims and their verdicts; of a report those that are undecided in one line."""
    lines = ["| report | claim | verdict |", "|---|---|---|"]
    for place in PLACE.finditer(text):
        number = REPORT.findall(text, 0, place.start())[-1]
        table = place[3].partition("### Claims")[2]
        claims = [(claim["says"], claim["verdict"]) for claim in CLAIM.finditer(table)]
        assert len(claims) == table.count("\n|") - 2, f"a claim of {place['name']} is not read"
        undecided = [says for says, verdict in claims if verdict.startswith("undecided")]
        decided = [(verdict, says) for says, verdict in claims if says not in undecided]
        lines += [f"| {number} | {says} | {verdict} |" for verdict, says in sorted(decided)]
        if undecided:
            lines.append(f"| {number} | {'; '.join(undecided)} | undecided |")
    return GLANCE.sub(lambda place: place[1] + "\n" + "\n".join(lines) + "\n\n" + place[3], text)


def main() -> None:
    """Fill the page."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "studies")
    text, taken = filled(RESULTS.read_text(encoding="utf-8"), folder)
    RESULTS.write_text(at_a_glance(text), encoding="utf-8")
    print(f"  {', '.join(taken) or 'no study'} of {folder} put into {RESULTS}, and the verdicts at a glance")


if __name__ == "__main__":
    main()
