"""Features of pictures, by a judge or by the Inception network, and the classes a judge sees in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, UInt8

from sanggar.data.images import Images
from sanggar.instruments.cache import cached
from sanggar.instruments.inception import EDGE, Inception, open_inception
from sanggar.instruments.judge import GENERAL, Judge
from sanggar.results import Json
from sanggar.runs import Arrays


@dataclass(frozen=True)
class Features:
    """Features of pictures."""

    features: Float[np.ndarray, "n d"]
    predicted: Int64[np.ndarray, "n"] | None
    """the judge's class of each; None where there is no judge"""


@dataclass(frozen=True)
class FeatureExtractor:
    """A feature network, and the judge that tells classes apart: often the same."""

    network: Judge | Inception
    judge: Judge | None

    @property
    def settings(self) -> dict[str, Json]:
        """For a protocol: the network, its weights, and how pictures are brought to its size."""
        if isinstance(self.network, Inception):
            resize = f"bilinear, {EDGE}×{EDGE}"
        elif self.network.of == GENERAL:
            resize = f"bilinear, antialiased, {self.network.spec.size}"
        else:
            resize = f"average, {self.network.spec.size}"
        return {"network": self.network.name, "weights": self.network.hash, "resize": resize}

    @property
    def key(self) -> tuple[str, str]:
        """Hashes that tell this extractor from others."""
        return self.network.hash, "" if self.judge is None else self.judge.hash

    def extract(self, pixels: UInt8[np.ndarray, "n height width channels"]) -> Features:
        """Features and classes of pictures, in one pass where one network gives both."""
        if isinstance(self.network, Judge):
            features, probabilities = self.network.both(pixels)
            return Features(features, None if self.judge is None else probabilities.argmax(axis=1))
        predicted = None if self.judge is None else self.judge.classify(pixels).argmax(axis=1)
        return Features(self.network.features(pixels), predicted)

    def extract_cached(self, images: Images, content: str) -> Features:
        """Features and classes of real pictures, from the cache where it has them; `content` is their fingerprint."""

        def compute() -> Arrays:
            found = self.extract(images.pixels)
            return {"features": found.features} | ({} if found.predicted is None else {"predicted": found.predicted})

        arrays = cached(("features", content, *self.key), compute)
        return Features(arrays["features"], arrays.get("predicted"))


def open_extractor(named: str, judge: Judge) -> FeatureExtractor:
    """The extractor that a recipe names: Inception, or the judge of its pictures, which tells classes in any case.

    Raises DataError when Inception's weights cannot be had.
    """
    network = open_inception() if named == "inception" else judge
    return FeatureExtractor(network, judge if judge.names_classes else None)
