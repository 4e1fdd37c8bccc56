"""What a section is given: the content of a run's files; and what sections share in saying it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from sanggar.reporting.figures import number
from sanggar.runs import Arrays, Run


@dataclass(frozen=True)
class View:
    """What a report knows of a run: the content of its files."""

    name: str
    run: Run
    metrics: list[dict[str, Any]]
    evaluation: dict[str, Any]
    pictures: Arrays

    @property
    def info(self) -> dict[str, Any]:
        """The run's record."""
        return self.run.info

    @property
    def told(self) -> str:
        """What the decoder is told of a picture that it paints again; empty where that is nothing."""
        named = [n["protocol"]["told"] for n in self.numbers("inference.distortion")]
        return " and ".join(name for name in dict.fromkeys(named) if name != "nothing")

    @property
    def telling(self) -> str:
        """The same behind a comma, to stand after what is decoded; neither is escaped."""
        return f", told {self.told}" if self.told else ""

    def numbers(self, key: str, **protocol: Any) -> list[dict[str, Any]]:
        """The measured numbers with this key whose protocol has these entries."""
        return [
            n for n in self.evaluation["numbers"]
            if n["key"] == key and all(n["protocol"].get(k) == v for k, v in protocol.items())
        ]  # fmt: skip


Views = list[View]
Section = Callable[[Views], str | None]


def value(n: dict[str, Any]) -> str:
    """A measured number with interval and unit, as HTML."""
    digits = 4
    text = f"{n['value']:.0f}" if n["unit"].startswith("of ") else number(n["value"], digits)  # counted
    if n["interval"]:
        text += f" <small>[{number(n['interval'][0], digits)}, {number(n['interval'][1], digits)}]</small>"
    unit = escape(n["unit"]).replace(" ", "&nbsp;")
    return f"{text} {unit}".strip()


def protocol(n: dict[str, Any]) -> str:
    """What a number depends on, in words."""
    return "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in n["protocol"].items())


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
