"""Aspects of pictures, such as smiling, age or the class: what the data say of them, and judges that tell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from sanggar.data.images import Attribute, Images, ImageSpec
from sanggar.evaluation.context import EvaluationContext
from sanggar.evaluation.measures.probes import (
    Components,
    Probe,
    Table,
    fit,
    logistic,
    pixel_table,
    principal_components,
    ridge,
)
from sanggar.instruments.judge import Judge
from sanggar.models.conditions import CLASS
from sanggar.plan import measured_attributes
from sanggar.trained import Pixels

COMPONENTS = 100
"""Principal components of the pixels that a fitted judge looks at, at most"""

Verdicts = Float[np.ndarray, "n aspects"]


@dataclass(frozen=True)
class Aspect:
    """One question about a picture, answered by yes or no, or by a number."""

    name: str
    """smiling, age, ethnicity=Asian, class=bag"""
    column: str
    """the attribute it belongs to; `class` where there are classes only"""
    kind: Literal["flag", "number"]
    code: int = 1
    """code of yes among the attribute's values"""
    deviation: float = 1.0
    """standard deviation of a number over the source's pictures"""

    def truth(self, images: Images, spec: ImageSpec) -> Float[np.ndarray, "n"]:
        """What the data say of each picture: 0 or 1, or the number."""
        columns = [column.name for column in spec.attributes]
        if self.column not in columns:
            assert images.labels is not None
            return np.asarray(images.labels == self.code, np.float32)
        assert images.attributes is not None
        values = images.attributes[:, columns.index(self.column)]
        return np.asarray(values, np.float32) if self.kind == "number" else np.asarray(values == self.code, np.float32)


def aspects_of(spec: ImageSpec, wanted: Sequence[str] = ()) -> tuple[Aspect, ...]:
    """Aspects of pictures: their attributes, a category value by value; of pictures without attributes, their class."""
    if not spec.attributes:
        return tuple(Aspect(f"{CLASS}={name}", CLASS, "flag", code) for code, name in enumerate(spec.classes))
    aspects: list[Aspect] = []
    for column in measured_attributes(spec, wanted):
        if column.kind == "category":
            names = enumerate(column.values)
            aspects += [Aspect(f"{column.name}={value}", column.name, "flag", code) for code, value in names]
        else:
            aspects.append(Aspect(column.name, column.name, column.kind, deviation=column.deviation or 1.0))
    return tuple(aspects)


# -- judges ----------------------------------------------------------------------------------------------------


@runtime_checkable
class AttributeJudge(Protocol):
    """Tells aspects from pixels alone. It never sees a latent of the network that is measured."""

    @property
    def name(self) -> str:
        """Name for a protocol."""
        ...

    def judge(self, pixels: Pixels) -> Verdicts:
        """Probability of yes, or the number, for each picture and aspect."""
        ...


@dataclass(frozen=True)
class ShippedJudge:
    """A judge that comes with sanggar, asked for one class against the rest, or for attributes."""

    network: Judge
    aspects: tuple[Aspect, ...]
    of_classes: bool
    """whether the aspects are classes, and not attributes"""

    @property
    def name(self) -> str:
        """The judge and its weights."""
        return f"{self.network.name} {self.network.hash}"

    def judge(self, pixels: Pixels) -> Verdicts:
        """Probability of yes, or the number, for each picture and aspect."""
        if self.of_classes:
            return np.asarray(self.network.classify(pixels)[:, [aspect.code for aspect in self.aspects]])
        answers, verdicts = self.network.tell(pixels), []
        for aspect in self.aspects:
            part = answers[:, self.network.place(aspect.column)]
            verdicts.append(part[:, aspect.code if part.shape[1] > 1 else 0])
        return np.stack(verdicts, axis=1)

    @classmethod
    def that_knows(cls, judge: Judge, spec: ImageSpec, aspects: Sequence[Aspect]) -> ShippedJudge | None:
        """The judge, where it tells these aspects of these pictures."""
        if spec.attributes:
            columns = {aspect.column for aspect in aspects}
            wanted = {_meaning(column) for column in spec.attributes if column.name in columns}
            knows = wanted <= {_meaning(column) for column in judge.spec.attributes}
        else:
            knows = judge.spec.classes == spec.classes
        return cls(judge, tuple(aspects), not spec.attributes) if knows else None


def _meaning(column: Attribute) -> tuple[object, ...]:
    return column.name, column.kind, column.values


@dataclass(frozen=True)
class PixelJudge:
    """A judge fitted on training pictures: principal components of the pixels, and a linear probe for each aspect."""

    name: str
    components: Components = field(repr=False)
    probes: tuple[Probe | float, ...] = field(repr=False)

    @classmethod
    def fit(
        cls, table: Table, truths: Sequence[Float[np.ndarray, "n"]], numbers: Sequence[bool], seed: int
    ) -> PixelJudge:
        """Fit to the pixels of training pictures and the truth of each aspect; `numbers` says which are numbers.

        An aspect that is the same in all pictures is judged to be so always.
        """
        components = principal_components(table, COMPONENTS, seed)
        features, probes = components.transform(table), list[Probe | float]()
        for truth, is_number in zip(truths, numbers, strict=True):
            if len(np.unique(truth)) < 2:
                probes.append(float(truth[0]))
            else:
                probes.append(fit(ridge(len(table)) if is_number else logistic(balanced=True), features, truth))
        name = f"linear probe of {components.n_components_} principal components of {len(table)} training pictures"
        return cls(name, components, tuple(probes))

    def judge(self, pixels: Pixels) -> Verdicts:
        """Probability of yes, or the number, for each picture and aspect."""
        features = self.components.transform(pixel_table(Images(pixels)))
        return np.stack([_verdict(probe, features) for probe in self.probes], axis=1)


def _verdict(probe: Probe | float, features: Table) -> Float[np.ndarray, "n"]:
    if isinstance(probe, float):
        return np.full(len(features), probe, np.float32)
    answers = probe.predict_proba(features)[:, 1] if hasattr(probe, "predict_proba") else probe.predict(features)
    return np.asarray(answers, np.float32)


def judge_of(context: EvaluationContext, aspects: Sequence[Aspect]) -> AttributeJudge:
    """The judge of these pictures where it tells these aspects, else one fitted on training pictures."""
    spec = context.model.spec
    shipped = ShippedJudge.that_knows(context.judge, spec, aspects)
    if shipped is not None:
        return shipped
    truths = [aspect.truth(context.train, spec) for aspect in aspects]
    numbers = [aspect.kind == "number" for aspect in aspects]
    return PixelJudge.fit(context.pixel_table("train"), truths, numbers, context.options.seed)
