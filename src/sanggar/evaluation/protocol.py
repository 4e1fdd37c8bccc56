"""Numbers and the protocol that each of them carries, and what a metric is given to measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from sanggar.data.images import Images
from sanggar.data.sources import Dataset
from sanggar.models.family import at_once
from sanggar.models.judge import Judge, judge_for
from sanggar.painter import Painter
from sanggar.plan import EvaluationOptions
from sanggar.runs import Arrays

Interval = tuple[float, float]
Better = Literal["higher", "lower"]
Pixels = UInt8[np.ndarray, "n height width channels"]


@dataclass(frozen=True)
class Number:
    """One measured value. Two numbers compare only when their protocols are equal."""

    key: str
    """what was measured, dotted: reconstruction.psnr"""
    label: str
    value: float
    unit: str
    better: Better
    protocol: dict[str, Any]
    """n, split, and whatever else the value depends on besides the model"""
    subject: str = "network"
    """what was measured: the run's network, or a named alternative beside it"""
    interval: Interval | None = None
    """95 % interval over the pictures"""
    headline: bool = False


@dataclass(frozen=True)
class Findings:
    """What a metric found: numbers, arrays of pictures for the report, alarms in words."""

    numbers: list[Number] = field(default_factory=list)
    pictures: Arrays = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Subject:
    """What is measured, on what, and how."""

    painter: Painter
    dataset: Dataset
    options: EvaluationOptions

    @property
    def test(self) -> Images:
        """The test pictures that this evaluation looks at: where training saw some classes alone, those of them."""
        classes = normal_classes(self.painter)
        return (self.dataset.test if classes is None else self._of(classes, True)).first(self.options.images)

    @cached_property
    def judge(self) -> Judge | None:
        """Who looks at these pictures: see `models.judge.judge_for`."""
        painter = self.painter
        return judge_for(self.options.feature_network, painter.plan.data.source, painter.facts)

    @property
    def told(self) -> dict[str, str]:
        """For the protocol of what is made without telling the network of a picture, where it could be told."""
        return {} if self.painter.conditions is None else {"told": "nothing"}

    @property
    def held_out(self) -> Images | None:
        """Test pictures of the classes that training never saw; None where it saw all."""
        classes = normal_classes(self.painter)
        return None if classes is None else self._of(classes, False).first(self.options.images)

    def _of(self, classes: list[int], wanted: bool) -> Images:
        """Test pictures of some classes, or of all others."""
        test = self.dataset.test
        assert test.labels is not None
        return test.take(np.flatnonzero(np.isin(test.labels, classes) == wanted))


def doubts(subject: Subject, numbers: Sequence[Number]) -> list[str]:
    """What has to be said of numbers that a judge measured, where it learned from what is for test here."""
    judge = subject.judge
    if judge is None or not judge.learned_from(subject.painter.plan.data):
        return []
    if not any(judge.name in str(number.protocol) for number in numbers):
        return []
    return [
        f"The {judge.name} learned from pictures that are for test here, since it split the same data otherwise: what "
        "it says of them is too good, its floors included."
    ]


def taught(painter: Painter, network: object) -> dict[str, str]:
    """For the protocol of what a network's features measure, where the model was trained to please them."""
    if isinstance(network, Judge) and network.of == painter.model.taught_by:
        return {"trained_on": "features of the same network"}
    return {}


def normal_classes(painter: Painter) -> list[int] | None:
    """The classes that training saw, by number, where the recipe keeps some alone (`data.only`); None where all."""
    only = painter.plan.data.only
    return None if only is None else sorted(painter.facts.classes.index(name) for name in only)


def averaged(
    key: str, label: str, values: Float[np.ndarray, "n"], protocol: dict[str, Any], *, unit: str = "",
    better: Better = "higher", subject: str = "network", headline: bool = False,
) -> Number:  # fmt: skip
    """The mean over pictures as a number, with its interval."""
    mean, interval = float(values.mean()), mean_interval(values)
    return Number(key, label, mean, unit, better, protocol, subject, interval, headline)


def mean_interval(values: Float[np.ndarray, "n"]) -> Interval:
    """95 % interval of a mean over pictures, by the normal approximation."""
    centre = float(np.mean(values))
    margin = 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return centre - margin, centre + margin


def share_interval(hits: Bool[np.ndarray, "n"]) -> Interval:
    """95 % interval of a share, Wilson's (1927)."""
    from scipy.stats import binomtest

    found = binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def mean_squared_errors(pixels: Pixels, target: Pixels) -> Float[np.ndarray, "n"]:
    """Mean squared error of each picture on the scale [-1, 1]."""
    return _by_chunks(_squared_errors, pixels, target)


def peak_ratios(pixels: Pixels, target: Pixels) -> Float[np.ndarray, "n"]:
    """Peak signal-to-noise ratio of each picture in dB, at most 100: a picture without any error has no ratio."""
    return _by_chunks(_peak_ratios, pixels, target)


def similarities(pixels: Pixels, target: Pixels) -> Float[np.ndarray, "n"]:
    """Structural similarity (Wang et al. 2004) of each picture, in a Gaussian window as `window` says."""
    return _by_chunks(_similarities, pixels, target)


def _squared_errors(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    difference = (one.astype(np.float32) - other.astype(np.float32)) / 127.5
    return np.asarray(np.mean(difference**2, axis=(1, 2, 3), dtype=np.float64))


def _peak_ratios(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    import torch
    from torchmetrics.functional.image import peak_signal_noise_ratio

    a, b = (torch.from_numpy(p.astype(np.float32)) for p in (one, other))
    found = peak_signal_noise_ratio(a, b, data_range=255.0, reduction="none", dim=(1, 2, 3))
    return found.clamp(max=100).double().numpy()


def _similarities(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, b = (torch.from_numpy(p.astype(np.float32)).permute(0, 3, 1, 2) for p in (one, other))
    found = structural_similarity_index_measure(a, b, sigma=window(one), data_range=255.0, reduction="none")
    return np.asarray(found, np.float64)


def _by_chunks(
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray], pixels: Pixels, target: Pixels
) -> Float[np.ndarray, "n"]:
    """A measure of each pair of pictures: a whole split as floats would not fit into memory."""
    few = at_once(*pixels.shape[1:3])
    starts = range(0, len(pixels), few)
    return np.concatenate([measure(pixels[i : i + few], target[i : i + few]) for i in starts])


def window(pixels: Pixels) -> float:
    """Deviation of the window of the structural similarity: the paper's 1.5, smaller where pictures are tiny."""
    return 1.5 if min(pixels.shape[1:3]) >= 16 else 0.5


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
