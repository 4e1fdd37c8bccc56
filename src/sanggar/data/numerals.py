"""Numbers as people write them in tables: decimal commas, thousands in groups, per cent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

SPACES = "\u0020\u00a0\u2009\u202f'\u2019"
"""What stands between groups of three digits beside a comma or a dot"""
END = r"([eE][+-]?[0-9]+)?"
PLAIN = re.compile(rf"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+){END}")
DATE = re.compile(
    r"[0-9]{4}([-/.])[0-9]{1,2}\1[0-9]{1,2}([T ].*)?|[0-9]{1,2}([-/.])[0-9]{1,2}\3([0-9]{4}|[0-9]{2})([T ].*)?"
)


@dataclass(frozen=True)
class Numerals:
    """A way of writing numbers. Plain ones, as Python has them, are among the numbers of most ways."""

    pattern: re.Pattern[str]
    groups: str
    """what is between groups of digits, and means nothing"""
    decimal: str
    about: str = ""
    """what to say of it, unless it is the plain way"""
    percent: bool = False
    """whether each number is followed by %, which is its unit: 5 % is 5"""

    def value(self, cell: str) -> float:
        """The number that a cell is; infinite where it is none."""
        text = _cleaned(cell)
        if self.percent:
            if not text.endswith("%"):
                return math.inf
            text = text.removesuffix("%").strip()
        if not self.pattern.fullmatch(text):
            return math.inf
        return float(text.translate(dict.fromkeys(map(ord, self.groups))).replace(self.decimal, "."))


AS_PYTHON = Numerals(PLAIN, "", ".")
COMMA_GROUPS = Numerals(
    re.compile(rf"{PLAIN.pattern}|[+-]?[0-9]{{1,3}}(,[0-9]{{3}})+(\.[0-9]+)?"), ",", ".", "thousands by commas"
)
SPACE_GROUPS = Numerals(
    re.compile(rf"{PLAIN.pattern}|[+-]?[0-9]{{1,3}}([{SPACES}][0-9]{{3}})+(\.[0-9]+)?"), SPACES, ".",
    "thousands by spaces",
)  # fmt: skip
DECIMAL_COMMA = Numerals(
    re.compile(rf"[+-]?(([0-9]+|[0-9]{{1,3}}([.{SPACES}][0-9]{{3}})+)(,[0-9]*)?|,[0-9]+){END}"), f".{SPACES}", ",",
    "decimal commas",
)  # fmt: skip
WAYS = (AS_PYTHON, COMMA_GROUPS, SPACE_GROUPS, DECIMAL_COMMA)


class AmbiguousError(ValueError):
    """Numbers that two ways of writing read differently."""


def way_of_writing(cells: Sequence[str], delimiter: str, decimal_commas: bool) -> Numerals:
    """The way in which different cells of a column are written that reads most of them.

    `decimal_commas` says that cells of the same table have some for certain. Raises AmbiguousError, with a cell, where
    1,000 may be a thousand or one.
    """
    percent = any(_cleaned(cell).endswith("%") for cell in cells)
    ways = [replace(way, percent=percent) for way in WAYS]
    read = [sum(math.isfinite(way.value(cell)) for cell in cells) for way in ways]
    best = [way for way, count in zip(ways, read, strict=True) if count == max(read)]
    plain, groups, _, decimals = ways
    grouped = any(re.search(r"\.[0-9]{3}", cell) for cell in cells)
    if plain in best and not (decimal_commas and grouped and decimals in best):
        return plain
    if groups in best and decimals in best and not decimal_commas:
        bare = [abs(number) for cell in cells if math.isfinite(number := plain.value(cell))]
        if delimiter == "," or (bare and max(bare) < 1000):  # so would 999,000 be written, were the comma a decimal one
            return groups
        raise AmbiguousError(next(cell for cell in cells if "," in cell))
    return decimals if decimal_commas and decimals in best else best[0]


def has_decimal_commas(cells: Iterable[str]) -> bool:
    """Whether some cells have a decimal comma that separates no thousands, and none a comma that does."""
    found = False
    for cell in cells:
        text = _cleaned(cell).removesuffix("%").strip()
        if "," in text:
            as_groups, as_decimal = COMMA_GROUPS.pattern.fullmatch(text), DECIMAL_COMMA.pattern.fullmatch(text)
            if as_groups and not as_decimal:
                return False
            found |= bool(as_decimal and (not as_groups or re.match(r"[+-]?0,", text)))
    return found


def is_date(cell: str) -> bool:
    """Whether a cell is a day as people write it."""
    return bool(DATE.fullmatch(cell.strip()))


def _cleaned(cell: str) -> str:
    return cell.strip().replace("\u2212", "-")
