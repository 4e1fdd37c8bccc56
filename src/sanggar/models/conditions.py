"""What a network is told of a picture beside the picture: its class, or some of its attributes, as numbers.

Nothing told is all zeros: a class is one 1 among zeros, a flag −1 or 1, a category one 1 among zeros, and a number its
distance from the mean in deviations. A network that is told nothing now and then while training can later be asked
either way (Ho & Salimans 2022, arXiv:2207.12598).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from sanggar.data.images import Attribute, Facts
from sanggar.errors import RecipeError, RunError, suggest
from sanggar.models.family import Attributes, Labels

Told = Float[Tensor, "batch told"]
Kind = Literal["flag", "category", "number"]
CLASS = "class"
"""What the class is called among the attributes."""


class Conditions:
    """The names that a network is told, and how they become numbers.

    Raises RecipeError when the pictures have no such attribute, or no classes.
    """

    def __init__(self, names: tuple[str, ...], facts: Facts, key: str = "model.condition") -> None:
        known = [CLASS] * bool(facts.classes) + [column.name for column in facts.attributes]
        for name in names:
            if name not in known:
                there = suggest(name, known) if known else "These pictures have neither classes nor attributes."
                raise RecipeError(f"{key}: there is no {name!r} among the attributes. {there}")
        self.names, self.facts = names, facts
        self.columns = {column.name: (place, column) for place, column in enumerate(facts.attributes)}
        self.width = sum(self.numbers(name) for name in names)

    def numbers(self, name: str) -> int:
        """How many numbers a name takes."""
        if name == CLASS:
            return len(self.facts.classes)
        column = self.columns[name][1]
        return len(column.values) if column.kind == "category" else 1

    def kind(self, name: str) -> Kind:
        """What a name is; a class is a category."""
        return "category" if name == CLASS else self.columns[name][1].kind

    def place(self, name: str) -> slice:
        """Where a name's numbers lie."""
        before = self.names[: self.names.index(name)]
        start = sum(map(self.numbers, before))
        return slice(start, start + self.numbers(name))

    def told(self, labels: Labels | None, attributes: Attributes | None) -> Told:
        """What there is to be told of each picture."""
        parts = []
        for name in self.names:
            if name == CLASS:
                assert labels is not None
                parts.append(F.one_hot(labels, len(self.facts.classes)).float())
                continue
            assert attributes is not None
            place, column = self.columns[name]
            parts.append(as_numbers(column, attributes[:, place]))
        return torch.cat(parts, dim=1)

    def spread(self, named: Bool[Tensor, "batch names"]) -> Bool[Tensor, "batch told"]:
        """What is so of a name, of each of its numbers."""
        counts = torch.tensor([self.numbers(name) for name in self.names], device=named.device)
        return named.repeat_interleave(counts, dim=1)

    def asked(self, wanted: Mapping[str, str]) -> Float[Tensor, "told"]:
        """What is told of a picture whose attributes are asked for: a value's name, or a number. Of others, nothing.

        Raises RunError for an attribute that is not told, and for a value that there is not.
        """
        known, row = [name for name in self.names if name != CLASS], torch.zeros(self.width)
        for name, value in wanted.items():
            if name not in known:
                raise RunError(f"The network is not told {name!r}. {suggest(name, known)}")
            column = self.columns[name][1]
            if column.kind != "number" and value not in column.values:
                raise RunError(f"{name}: there is no {value!r}. {suggest(value, column.values)}")
            try:
                number = float(value) if column.kind == "number" else float(column.values.index(value))
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise RunError(f"{name}: expected a number, got {value!r}.")
            row[self.place(name)] = as_numbers(column, torch.tensor([number]))[0]
        return row


def as_numbers(column: Attribute, values: Float[Tensor, "batch"]) -> Told:
    """A column's values as a network is told them: `(batch, 1)`, or a number a category."""
    if column.kind == "category":
        return F.one_hot(values.long(), len(column.values)).float()
    if column.kind == "flag":
        return values[:, None] * 2 - 1
    return (values[:, None] - column.mean) / column.deviation
