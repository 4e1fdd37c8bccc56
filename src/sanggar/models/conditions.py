"""What a network is conditioned on: the class and attributes of a picture, as a row of numbers.

One system for all families. A class is a 1 among zeros, a flag −1 or 1, a category a 1 among zeros, a number its
distance from the mean in deviations. All zeros is the unconditional case: a network trained with condition dropout
(Ho & Salimans 2022, arXiv:2207.12598) can be asked either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from pydantic import AfterValidator
from torch import Tensor, nn
from torch.nn import functional as F

from sanggar.data.images import Attribute, ImageSpec
from sanggar.errors import RecipeError, RunError, suggest
from sanggar.models.base import Attributes, Batch, Labels, StepContext


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"{', '.join(names)}: a name stands there twice")
    return names


Names = Annotated[tuple[str, ...], AfterValidator(_distinct)]
"""An option: names of what a network is conditioned on, `class` or attributes"""
Condition = Float[Tensor, "batch condition"]
Kind = Literal["flag", "category", "number"]
CLASS = "class"
"""Name of the class among the attributes"""


class Conditions:
    """The names a network is conditioned on, and how their values become numbers.

    Raises RecipeError when the pictures have no such attribute, or no classes.
    """

    def __init__(self, names: tuple[str, ...], spec: ImageSpec, key: str = "model.condition") -> None:
        known = [CLASS] * bool(spec.classes) + [column.name for column in spec.attributes]
        for name in names:
            if name not in known:
                nothing = "These pictures have neither classes (two folders or more) nor a table of attributes."
                there = suggest(name, known) if known else nothing
                raise RecipeError(f"{key}: there is no {name!r} among the attributes. {there}")
        self.names, self.spec = names, spec
        self.columns = {column.name: (place, column) for place, column in enumerate(spec.attributes)}
        self.width = sum(self.size(name) for name in names)

    def size(self, name: str) -> int:
        """Numbers that encode a name."""
        if name == CLASS:
            return len(self.spec.classes)
        column = self.columns[name][1]
        return len(column.values) if column.kind == "category" else 1

    def kind(self, name: str) -> Kind:
        """Kind of a name; the class is a category."""
        return "category" if name == CLASS else self.columns[name][1].kind

    def place(self, name: str) -> slice:
        """Position of a name's numbers in a row."""
        before = self.names[: self.names.index(name)]
        start = sum(map(self.size, before))
        return slice(start, start + self.size(name))

    def encode(self, labels: Labels | None, attributes: Attributes | None) -> Condition:
        """Rows of numbers for pictures whose class and attributes are known."""
        parts = []
        for name in self.names:
            if name == CLASS:
                assert labels is not None
                parts.append(F.one_hot(labels, len(self.spec.classes)).float())
                continue
            assert attributes is not None
            place, column = self.columns[name]
            parts.append(encode_attribute(column, attributes[:, place]))
        return torch.cat(parts, dim=1)

    def of_batch(self, batch: Batch, context: StepContext, dropout: float) -> Condition | None:
        """Condition of a batch in a loss; None without names.

        In training a share `dropout` of the pictures is left unconditional, and where there are several names each of
        them is left out of a share `dropout` of the others.
        """
        if not self.names:
            return None
        rows = self.encode(batch.labels, batch.attributes)
        if context.split != "train" or not dropout:
            return rows
        some = context.uniform("untold", (1,)) >= dropout
        each = context.uniform("untold one by one", (len(self.names),)) >= (dropout if len(self.names) > 1 else 0.0)
        sizes = torch.tensor([self.size(name) for name in self.names], device=rows.device)
        return rows * (some & each).repeat_interleave(sizes, dim=1)

    def classes_of(self, rows: Condition) -> Int64[Tensor, "batch"]:
        """The class each row asks for; 0 where it asks for none."""
        return rows[:, self.place(CLASS)].argmax(dim=1)

    def row(self, wanted: Mapping[str, object]) -> Float[Tensor, "condition"]:
        """A row that asks for values by name: that of a class or category, yes or no of a flag, a number.

        Zeros for the names not given. Raises RunError for a name or a value that does not exist.
        """
        row = torch.zeros(self.width)
        for name, value in wanted.items():
            if name not in self.names:
                raise RunError(f"The network is not conditioned on {name!r}. {suggest(name, self.names)}")
            row[self.place(name)] = self._one_hot_class(value) if name == CLASS else self._value(name, str(value))
        return row

    def class_index(self, value: object) -> int:
        """Number of a class given by name or whole number. Raises RunError for one that does not exist."""
        classes = self.spec.classes
        if isinstance(value, str):
            if value in classes:
                return classes.index(value)
            if not value.isdecimal():
                raise RunError(f"There is no class {value!r}. {suggest(value, classes)}")
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < len(classes):
            known = ", ".join(f"{i} {name}" if name != str(i) else name for i, name in enumerate(classes))
            raise RunError(f"There is no class {value!r}. Known: {known}.")
        return int(value)

    def _one_hot_class(self, value: object) -> Float[Tensor, "classes"]:
        return F.one_hot(torch.tensor(self.class_index(value)), len(self.spec.classes)).float()

    def _value(self, name: str, value: str) -> Float[Tensor, "numbers"]:
        column = self.columns[name][1]
        if column.kind != "number" and value not in column.values:
            raise RunError(f"{name}: there is no {value!r}. {suggest(value, column.values)}")
        try:
            number = float(value) if column.kind == "number" else float(column.values.index(value))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise RunError(f"{name}: expected a number, got {value!r}.")
        return encode_attribute(column, torch.tensor([number]))[0]


class ConditionEmbedding(nn.Embedding):
    """A learned vector for a condition: the sum over its names of a row a category, or a number times a row.

    The unconditional case is the zero vector.
    """

    def __init__(
        self, conditions: Conditions, width: int, initialize: Callable[[Tensor], object] = nn.init.normal_
    ) -> None:
        self._initialize = initialize
        self._parts = tuple((conditions.kind(name), conditions.place(name)) for name in conditions.names)
        super().__init__(conditions.width, width)

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        self._initialize(self.weight)

    def forward(self, condition: Condition) -> Float[Tensor, "batch width"]:
        """The vector of each row."""
        weight, parts = self.weight, []  # read once: spectral norm takes a step of its power iteration at each reading
        for kind, place in self._parts:
            numbers = condition[:, place]
            if kind == "category":
                index = numbers.argmax(dim=1) + place.start
                parts.append(F.embedding(index, weight) * numbers.sum(dim=1, keepdim=True))
            else:
                parts.append(numbers * weight[place])
        total: Tensor = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


def encode_attribute(column: Attribute, values: Float[Tensor, "batch"]) -> Condition:
    """Values of an attribute as numbers: `(batch, 1)`, or a column a category."""
    if column.kind == "category":
        return F.one_hot(values.long(), len(column.values)).float()
    if column.kind == "flag":
        return values[:, None] * 2 - 1
    return (values[:, None] - column.mean) / column.deviation
