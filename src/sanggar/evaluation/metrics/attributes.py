"""What is known of pictures beside their class: what can be asked, who judges it, and what latents tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from sanggar.data.images import Attribute, Images, ImageSpec
from sanggar.evaluation.context import Number, Pixels, Subject
from sanggar.evaluation.measures.disentanglement import (
    BINS,
    TREES,
    codes_of,
    disentangled,
    importances,
    mutual_information_gap,
)
from sanggar.evaluation.measures.probes import (
    Table,
    balanced_accuracy,
    explained,
    fitted,
    logistic,
    pixel_table,
    ridge,
    shrunk,
)
from sanggar.instruments.judge import Judge
from sanggar.models.conditions import CLASS
from sanggar.plan import measured_attributes

COMPONENTS = 100
"""Of the pixels' principal components, that a fitted judge looks at."""
FEW = 2000
"""Pictures that disentanglement is measured on, at most."""

Verdicts = Float[np.ndarray, "n aspects"]


@dataclass(frozen=True)
class Aspect:
    """Something that can be asked of a picture: whether it has it, or how much of it."""

    name: str
    """smiling, age, ethnicity=Asian, class=bag"""
    column: str
    """the attribute that it is of; `class` where there are classes only"""
    kind: Literal["flag", "number"]
    """answered by yes or no, or by a number"""
    code: int = 1
    """of yes, among the attribute's values"""
    deviation: float = 1.0
    """of a number, over the source's pictures"""

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
    """What can be asked of pictures: their attributes, a category value by value; of pictures without, their class."""
    if not spec.attributes:
        return tuple(Aspect(f"{CLASS}={name}", CLASS, "flag", code) for code, name in enumerate(spec.classes))
    found: list[Aspect] = []
    for column in measured_attributes(spec, wanted):
        if column.kind == "category":
            names = enumerate(column.values)
            found += [Aspect(f"{column.name}={value}", column.name, "flag", code) for code, value in names]
        else:
            found.append(Aspect(column.name, column.name, column.kind, deviation=column.deviation or 1.0))
    return tuple(found)


# -- judges ----------------------------------------------------------------------------------------------------


@runtime_checkable
class AttributeJudge(Protocol):
    """Tells attributes from pixels alone. It never sees a latent of the network that is measured."""

    @property
    def name(self) -> str:
        """As a protocol names it."""
        ...

    def judge(self, pixels: Pixels) -> Verdicts:
        """Of each picture and aspect, the probability of yes, or the number."""
        ...


@dataclass(frozen=True)
class OfJudge:
    """A judge that comes with sanggar, asked for one class against the rest, or for attributes."""

    known: Judge
    aspects: tuple[Aspect, ...]
    of_classes: bool
    """whether the aspects are classes, and not attributes"""

    @property
    def name(self) -> str:
        """The judge and its weights."""
        return f"{self.known.name} {self.known.hash}"

    def judge(self, pixels: Pixels) -> Verdicts:
        """The probability of yes, or the number."""
        if self.of_classes:
            return np.asarray(self.known.classify(pixels)[:, [aspect.code for aspect in self.aspects]])
        told, found = self.known.tell(pixels), []
        for aspect in self.aspects:
            part = told[:, self.known.place(aspect.column)]
            found.append(part[:, aspect.code if part.shape[1] > 1 else 0])
        return np.stack(found, axis=1)

    @classmethod
    def that_knows(cls, judge: Judge | None, spec: ImageSpec, aspects: Sequence[Aspect]) -> OfJudge | None:
        """The judge, where it tells what is asked of these pictures."""
        if judge is None:
            return None
        if spec.attributes:
            columns = {aspect.column for aspect in aspects}
            asked = {_meaning(column) for column in spec.attributes if column.name in columns}
            knows = asked <= {_meaning(column) for column in judge.spec.attributes}
        else:
            knows = judge.spec.classes == spec.classes
        return cls(judge, tuple(aspects), not spec.attributes) if knows else None


def _meaning(column: Attribute) -> tuple[object, ...]:
    return column.name, column.kind, column.values


@dataclass(frozen=True)
class OfPixels:
    """A judge fitted on training pictures: principal components of the pixels, and a linear probe for each aspect."""

    name: str
    components: Any = field(repr=False)
    probes: tuple[Any, ...] = field(repr=False)

    @classmethod
    def fit(cls, train: Images, spec: ImageSpec, aspects: Sequence[Aspect], seed: int) -> OfPixels:
        """Fitted on pictures with attributes; an aspect that is the same in all of them is judged to be so always."""
        from sklearn.decomposition import PCA

        table = pixel_table(train)
        components = PCA(min(COMPONENTS, *table.shape), random_state=seed).fit(table)
        features, probes = components.transform(table), []
        for aspect in aspects:
            truth = aspect.truth(train, spec)
            if len(np.unique(truth)) < 2:
                probes.append(float(truth[0]))
            elif aspect.kind == "number":
                probes.append(fitted(ridge(len(train)), features, truth))
            else:
                probes.append(fitted(logistic(balanced=True), features, truth))
        name = f"linear probe of {components.n_components_} principal components of {len(train)} training pictures"
        return cls(name, components, tuple(probes))

    def judge(self, pixels: Pixels) -> Verdicts:
        """The probability of yes, or the number."""
        features = self.components.transform(pixel_table(Images(pixels)))
        return np.stack([_verdict(probe, features) for probe in self.probes], axis=1)


def _verdict(probe: Any, features: Table) -> Float[np.ndarray, "n"]:
    if isinstance(probe, float):
        return np.full(len(features), probe, np.float32)
    told = probe.predict_proba(features)[:, 1] if hasattr(probe, "predict_proba") else probe.predict(features)
    return np.asarray(told, np.float32)


def judge_of(subject: Subject, train: Images, aspects: Sequence[Aspect]) -> AttributeJudge:
    """Who tells these aspects from pixels: the judge of these pictures where it knows them, else one fitted here."""
    spec = subject.painter.spec
    known = OfJudge.that_knows(subject.judge, spec, aspects)
    return known or OfPixels.fit(train, spec, aspects, subject.options.seed)


# -- what latents tell -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """An attribute in training and test pictures."""

    what: Attribute
    train: Float[np.ndarray, "n"]
    test: Float[np.ndarray, "m"]

    @cached_property
    def varies(self) -> bool:
        """Whether there is anything to tell, in both splits."""
        return len(np.unique(self.train)) > 1 and len(np.unique(self.test)) > 1


def columns_of(spec: ImageSpec, train: Images, test: Images, wanted: Sequence[str] = ()) -> list[Column]:
    """The attributes that are measured, in training and test pictures, where they vary."""
    if train.attributes is None or test.attributes is None:
        return []
    places = [spec.attributes.index(what) for what in measured_attributes(spec, wanted)]
    found = [
        Column(spec.attributes[place], np.asarray(train.attributes[:, place]), np.asarray(test.attributes[:, place]))
        for place in places
    ]
    return [column for column in found if column.varies]


def attribute_probes(
    columns: Sequence[Column], tables: dict[str, tuple[Table, Table]], protocol: dict[str, Any], subject: Subject
) -> list[Number]:
    """What a linear probe tells of each attribute from each representation: balanced accuracy, or R² of a number."""
    numbers: list[Number] = []
    spec = subject.painter.spec
    blocks = shrunk(spec.height, spec.width)
    for column in columns:
        what = column.what
        given = protocol | {"attribute": what.name, "kind": what.kind}
        for name, (train, test) in tables.items():
            of: dict[str, Any] = {} if name == "network" else {"size": train.shape[1]}
            of |= {"pixels": blocks} if blocks and name != "network" else {}
            if what.kind == "number":
                predicted = fitted(ridge(len(train)), train, column.train).predict(test)
                value, interval = explained(predicted, column.test, subject.options.seed)
                how, floor, label = "ridge regression on standardized features", 0.0, f"R² of {what.name}"
            else:
                right = fitted(logistic(balanced=True), train, column.train).predict(test) == column.test
                value, interval = balanced_accuracy(right, column.test)
                how = "logistic regression on standardized features, values weighed alike"
                floor, label = 1 / len(np.unique(column.test)), f"balanced accuracy of {what.name}"
            of |= {"method": how, "floor": floor}
            number = Number(
                "attributes.probe", f"linear probe, {label}: {name}", value, "", "higher", given | of, name, interval
            )
            numbers.append(replace(number, headline=name == "network" and len(columns) <= 4))
    return numbers


def disentanglement(columns: Sequence[Column], tables: dict[str, tuple[Table, Table]], protocol: dict[str, Any],
                    seed: int) -> list[Number]:  # fmt: skip
    """Whether single dimensions stand for attributes: of the network's latents, and of PCA of the same size."""
    numbers: list[Number] = []
    for name in ("network", "PCA"):
        latents = tables[name][1][:FEW]
        kinds = [column.what.kind == "number" for column in columns]
        given = {**protocol, "n": len(latents), "attributes": ", ".join(column.what.name for column in columns)}
        given |= {} if name == "network" else {"size": latents.shape[1]}
        values = [column.test[:FEW] for column in columns]
        if latents.shape[1] < 2 or not columns:
            continue
        coded = [codes_of(v) if n else v.astype(np.int64) for v, n in zip(values, kinds, strict=True)]
        gap = float(np.mean([mutual_information_gap(latents, factor) for factor in coded]))
        how = given | {"method": f"Chen et al. 2018, {BINS} bins of equal counts"}
        numbers.append(Number("attributes.mig", f"mutual information gap: {name}", gap, "", "higher", how, name))
        if len(columns) > 1:
            matters = importances(latents, list(zip(values, kinds, strict=True)), seed)
            how = given | {"method": f"Eastwood & Williams 2018, importance in {TREES} trees"}
            for key, label, value in zip(
                ("disentanglement", "completeness"), ("DCI disentanglement", "DCI completeness"),
                disentangled(matters), strict=True,
            ):  # fmt: skip
                numbers.append(Number(f"attributes.{key}", f"{label}: {name}", value, "", "higher", how, name))
    return numbers
