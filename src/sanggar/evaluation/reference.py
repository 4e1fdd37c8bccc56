"""What generated pictures are compared with: features of real pictures, and training pictures as the floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int64, UInt8

from sanggar.data.dataset import fingerprint
from sanggar.data.images import CHUNK, Images
from sanggar.errors import RunError
from sanggar.evaluation.context import EvaluationContext
from sanggar.evaluation.measures.distances import COVER, Cloud, cloud
from sanggar.instruments.features import FeatureExtractor, Features, open_extractor
from sanggar.results import Json
from sanggar.trained import Labels, Noise, Pixels, Rows, TrainedModel

Few = UInt8[np.ndarray, "few height width channels"]

SHOWN = 8
"""Generated pictures that are kept to be shown"""


@dataclass(frozen=True)
class Reference:
    """Real pictures that generated ones are compared with, and their features."""

    train: Images
    test: Images
    """as many as are generated"""
    of_train: Features
    of_test: Features
    drawn: Int64[np.ndarray, "n"]
    """positions of as many training pictures, their classes as often as in the test pictures"""
    cloud: Cloud
    """of the test pictures"""
    key: tuple[object, ...]
    """what tells this comparison from others"""

    @property
    def stand_ins(self) -> Float[np.ndarray, "n d"]:
        """Features of the training pictures that stand in for generated ones: the floor."""
        return np.asarray(self.of_train.features[self.drawn])

    @classmethod
    def of(cls, extractor: FeatureExtractor, train: Images, test: Images, seed: int) -> Reference:
        """Features of both, and training pictures drawn by `seed`."""
        drawn = drawn_like(train.labels, test.labels, len(train), len(test), seed)
        contents = fingerprint(train), fingerprint(test)
        of_train, of_test = (
            extractor.extract_cached(images, content) for images, content in zip((train, test), contents, strict=True)
        )
        points = cloud(of_test.features)
        return cls(train, test, of_train, of_test, drawn, points, (*contents, seed, *extractor.key))


class NotComparable(RunError):
    """Generated pictures cannot be compared with real ones; `values` say why, as the values of an alarm."""

    def __init__(self, reason: str, **values: Json) -> None:
        super().__init__(f"generated pictures cannot be compared with real ones: {reason}")
        self.values: dict[str, Json] = {"reason": reason, **values}


def extractor_of(context: EvaluationContext) -> FeatureExtractor:
    """The feature extractor of an evaluation, opened once.

    Raises NotComparable when there is hardly a picture to measure on; DataError when Inception's weights cannot be had.
    """
    if (n := min(len(context.test), len(context.dataset.train))) <= COVER:
        raise NotComparable("few_pictures", n=n)
    named = context.options.feature_network
    extractor: FeatureExtractor = context.once("extractor", compute=lambda: open_extractor(named, context.judge))
    return extractor


def drawn_like(
    labels: Int64[np.ndarray, "many"] | None, wanted: Labels | None, many: int, n: int, seed: int
) -> Int64[np.ndarray, "n"]:
    """Positions of `n` of `many` pictures drawn by `seed`, each class as often as it is wanted, as far as it goes."""
    order = np.random.default_rng(seed).permutation(many)
    if labels is None or wanted is None:
        return np.asarray(np.sort(order[:n]))
    counts = np.bincount(wanted, minlength=int(labels.max()) + 1)
    chosen = np.concatenate([order[labels[order] == index][:count] for index, count in enumerate(counts)])
    others = order[~np.isin(order, chosen)]
    return np.asarray(np.sort(np.concatenate([chosen, others[: n - len(chosen)]])))


def wanted_like(model: TrainedModel, images: Images) -> Images:
    """The pictures whose conditions generated ones are given.

    Where the model is conditioned on the class and they have none, each class comes in turn.
    """
    if not model.by_class or images.labels is not None:
        return images
    return replace(images, labels=np.arange(len(images), dtype=np.int64) % len(model.spec.classes))


def draw_and_extract(
    model: TrainedModel, extractor: FeatureExtractor, noise: Noise, rows: Rows | None, **options: object
) -> tuple[Few, Features]:
    """Draw a picture of each noise, a chunk at a time: the first few, and the features of all."""

    def draw(part: slice) -> Pixels:
        return model.draw(noise[part], None if rows is None else rows[part], **options)

    return extract_chunks(extractor, len(noise), draw)


def extract_chunks(extractor: FeatureExtractor, count: int, draw: Callable[[slice], Pixels]) -> tuple[Few, Features]:
    """Extract features of `count` pictures that `draw` gives chunk by chunk; the first few pictures come with them."""
    first, parts = None, []
    for start in range(0, count, CHUNK):
        pixels = draw(slice(start, min(count, start + CHUNK)))
        first = pixels[:SHOWN] if first is None else first
        parts.append(extractor.extract(pixels))
    assert first is not None
    classes = [part.predicted for part in parts if part.predicted is not None]
    features = np.concatenate([part.features for part in parts])
    return first, Features(features, np.concatenate(classes) if classes else None)
