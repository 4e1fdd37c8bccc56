"""What a section is given: the content of a run's files; and what sections share in writing it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from sanggar.files import Tree
from sanggar.reporting import labels
from sanggar.reporting.figures import number
from sanggar.results import Evaluation, Json, Measurement, Tag
from sanggar.runs import Arrays, Run


@dataclass(frozen=True)
class View:
    """What a report knows of a run: the content of its files."""

    name: str
    run: Run
    metrics: list[Tree]
    evaluation: Evaluation
    arrays: Arrays

    @property
    def info(self) -> Tree:
        """The run's record."""
        return self.run.info

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return [str(name) for name in self.info["data"]["classes"]]

    @property
    def condition(self) -> str:
        """What reconstructions are conditioned on; empty where on nothing."""
        named = [str(m.tags["condition"]) for m in self.find("bounds.distortion") if "condition" in m.tags]
        return " and ".join(dict.fromkeys(named))

    @property
    def given(self) -> str:
        """The same behind a comma, to stand after what is decoded; neither is escaped."""
        return f", given {self.condition}" if self.condition else ""

    def find(self, key: str, subject: str | None = None, **tags: Tag) -> list[Measurement]:
        """Measurements with this key, of this subject where one is given, with at least these tags."""
        return self.evaluation.find(key, subject, **tags)

    def detail(self, metric: str, name: str, default: Json = None) -> Any:
        """A detail of a metric."""
        return self.evaluation.details.get(metric, {}).get(name, default)


Views = list[View]
Section = Callable[[Views], str | None]


def value(m: Measurement) -> str:
    """A measurement's value with interval and unit, as HTML."""
    text = f"{m.value:.0f}" if m.key == "bounds.active_dimensions" else number(m.value, 4)  # counted
    if m.interval:
        text += f" <small>[{number(m.interval[0], 4)}, {number(m.interval[1], 4)}]</small>"
    return f"{text} {escape(labels.unit(m)).replace(' ', '&nbsp;')}".strip()


def marked(text: str) -> str:
    """A text as HTML: what stands between backticks as code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))


def prefix(view: View, views: Views) -> str:
    """The run's name, where the page holds several."""
    return f"{escape(view.name)}: " if len(views) > 1 else ""


def of_each(views: Views, write: Callable[[View], str | None], note: str = "") -> str | None:
    """What is written of each run that it can be written of, under its name, and a note below; None where of none."""
    parts = [headed(view, views) + said for view in views if (said := write(view))]
    return "".join(parts) + note if parts else None


def headed(view: View, views: Views) -> str:
    """A heading with the run's name, where the page holds several."""
    return f"<h3>{escape(view.name)}</h3>" if len(views) > 1 else ""
