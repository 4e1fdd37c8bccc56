"""What a metric is given to measure, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import UInt8

from sanggar.data.dataset import Dataset
from sanggar.data.images import Images
from sanggar.instruments.judge import Judge, judge_for, own_file
from sanggar.options import Options as _Options
from sanggar.plan import EvaluationOptions
from sanggar.results import Alarm, Json, Measurement, Protocol
from sanggar.runs import Arrays
from sanggar.trained import Pixels, TrainedModel, Vectors

Split = Literal["train", "test"]
T = TypeVar("T")


@dataclass(frozen=True)
class Findings:
    """What a metric found."""

    measurements: list[Measurement] = field(default_factory=list)
    arrays: Arrays = field(default_factory=dict)
    """pictures and curves for the report, by name; the metric's name is put before each"""
    alarms: list[Alarm] = field(default_factory=list)
    details: dict[str, Json] = field(default_factory=dict)
    """what belongs to the arrays and is no number"""
    tools: Arrays = field(default_factory=dict)
    """what was fitted and is used later, by a tool's name and a dot"""
    tool_details: dict[str, Json] = field(default_factory=dict)
    """what belongs to those, by the tool's name"""


@dataclass(frozen=True)
class Metric:
    """An entry of the table of metrics."""

    measure: Callable[[EvaluationContext, Any], Findings]
    """called with the context and the metric's own options"""
    needs: tuple[str, ...]
    """capabilities that a model must have"""
    Options: type[_Options] = _Options
    """options of its own, a part of the recipe's `evaluation`"""
    when: Callable[[TrainedModel, Any], bool] = lambda model, options: True
    """further condition, of the model and the metric's own options"""
    either: tuple[str, ...] = ()
    """capabilities of which it must have one, where there are any"""

    def applies(self, model: TrainedModel, options: _Options) -> bool:
        """Whether a model is measured by it."""
        one = not self.either or any(map(model.can, self.either))
        return one and all(map(model.can, self.needs)) and self.when(model, options)

    def affordable(self, model: TrainedModel) -> bool:
        """Whether it is measured where the recipe does not name it: what it needs is not costly to the model."""
        return model.costly.isdisjoint(self.needs)


@dataclass(frozen=True)
class EvaluationContext:
    """A model and the data it is measured on; what several metrics need is computed once."""

    model: TrainedModel
    dataset: Dataset
    options: EvaluationOptions
    _known: dict[tuple[Hashable, ...], Any] = field(default_factory=dict, repr=False)

    # -- data --------------------------------------------------------------------------------------------------

    @cached_property
    def test(self) -> Images:
        """Test pictures of this evaluation: where training saw some classes alone, those of them."""
        classes = self.normal_classes
        return (self.dataset.test if classes is None else self._of(classes, True)).first(self.options.images)

    @cached_property
    def train(self) -> Images:
        """Training pictures that probes, PCA and the like are fitted on."""
        return self.dataset.train.first(self.options.train_images)

    @cached_property
    def held_out(self) -> Images | None:
        """Test pictures of the classes that training never saw; None where it saw all."""
        classes = self.normal_classes
        return None if classes is None else self._of(classes, False).first(self.options.images)

    @property
    def normal_classes(self) -> list[int] | None:
        """Numbers of the classes that training saw, where the recipe keeps some alone (`data.only`); None: all."""
        return normal_classes(self.model)

    def _of(self, classes: list[int], wanted: bool) -> Images:
        """Test pictures of some classes, or of all others."""
        test = self.dataset.test
        assert test.labels is not None
        return test.take(np.flatnonzero(np.isin(test.labels, classes) == wanted))

    @cached_property
    def data_key(self) -> tuple[str, ...]:
        """What tells the data and its splits from others, for a cache: the place and the note aside."""
        apart = self.model.plan.data.model_dump_json(exclude={"path", "note"})
        # where validation pictures stand in for test ones, no cache may take one split's floors for another's
        split = " validation" if self.dataset.test is self.dataset.validation else ""
        return f"{self.dataset.fingerprint}{split}", apart

    # -- instruments and protocol ------------------------------------------------------------------------------

    @cached_property
    def judge(self) -> Judge:
        """Judge of these pictures: see `instruments.judge.judge_for`."""
        data = self.model.plan.data
        own = own_file(self.dataset.fingerprint, data)
        return judge_for(self.options.feature_network, data.source, self.model.spec, own)

    def protocol(self, n: int, **settings: Json) -> Protocol:
        """A protocol on test pictures of the run's data."""
        return Protocol(n=n, data=self.model.data_name, settings=settings)

    @property
    def unconditionally(self) -> dict[str, Json]:
        """For the protocol of what is made without the condition of a model that has one."""
        return {} if self.model.conditions is None else {"condition": "none"}

    def trained_on(self, network: object) -> dict[str, Json]:
        """For the protocol of what a judge's features measure, where the model was trained to please them."""
        if isinstance(network, Judge) and network.of == self.model.perceptual_judge:
            return {"trained_on": "features of the same network"}
        return {}

    def metric_options(self, name: str, metric: Metric) -> _Options:
        """A metric's own options in the recipe; of a metric without any, none."""
        if not metric.Options.model_fields:
            return metric.Options()
        options: _Options = getattr(self.options, name)
        return options

    # -- computed once -----------------------------------------------------------------------------------------

    def once(self, *key: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed the first time this key is asked for."""
        if key not in self._known:
            self._known[key] = compute()
        found: T = self._known[key]
        return found

    def images(self, split: Split) -> Images:
        """Pictures of a split that this evaluation looks at."""
        return self.train if split == "train" else self.test

    def latents(self, split: Split) -> Vectors:
        """Latents of a split; of a model with a posterior, its means."""
        return self.once("latents", split, compute=lambda: self.model.encode(self.images(split).pixels))

    def posterior(self) -> np.ndarray:
        """Mean and log variance of each test picture's latent, float32 `(n, 2, latent)`."""
        return self.once("posterior", compute=lambda: self.model.posterior(self.test.pixels))

    def reconstructions(self, split: Split) -> Pixels:
        """Unconditional reconstructions of a split."""
        images = self.images(split)
        return self.once("reconstructions", split, compute=lambda: self.model.reconstruct(images.pixels))

    def pixel_table(self, split: Split) -> np.ndarray:
        """Pixels of a split as features, see `measures.probes.pixel_table`."""
        from sanggar.evaluation.measures.probes import pixel_table

        return self.once("pixels", split, compute=lambda: pixel_table(self.images(split)))


def doubts(context: EvaluationContext, measurements: Sequence[Measurement]) -> list[Alarm]:
    """Alarm where a judge measured that learned from what is for test here."""
    judge = context.judge
    if not judge.learned_from(context.model.plan.data):
        return []
    named = (value for m in measurements for value in m.protocol.settings.values())
    if not any(isinstance(value, str) and judge.name in value for value in named):
        return []
    return [Alarm(key="evaluation.judge_saw_test", values={"judge": judge.name})]


def normal_classes(model: TrainedModel) -> list[int] | None:
    """Numbers of the classes that training saw, where test has others as well; None where all."""
    only = model.plan.source.normal(model.plan.data)
    return None if only is None else sorted(model.spec.classes.index(name) for name in only)


def first_of_each_class(images: Images, count: int) -> Sequence[int]:
    """Positions of the first picture of each class, `count` in all, then of the second, and so on."""
    if images.labels is None:
        return range(min(count, len(images)))
    seen: dict[int, int] = {}
    rank = []
    for position, label in enumerate(images.labels.tolist()):
        rank.append((seen.get(label, 0), label, position))
        seen[label] = seen.get(label, 0) + 1
    return [position for _, _, position in sorted(rank)[:count]]


Stack = UInt8[np.ndarray, "rows n height width channels"]
