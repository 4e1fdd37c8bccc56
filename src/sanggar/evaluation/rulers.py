"""What generated pictures are measured by: a network's features, and a cache of what it saw in real pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, UInt8

from sanggar import files
from sanggar.data.dataset import fingerprint
from sanggar.data.images import Images
from sanggar.errors import RunError
from sanggar.evaluation.distances import COVER, Cloud, cloud
from sanggar.evaluation.protocol import Subject
from sanggar.models.family import CHUNK
from sanggar.models.inception import EDGE, Inception, open_inception
from sanggar.models.judge import JUDGES, Judge
from sanggar.painter import Painter
from sanggar.runs import Arrays, load_arrays, save_arrays

Pixels = UInt8[np.ndarray, "n height width channels"]
Latents = Float[np.ndarray, "n latent"]
Labels = Int64[np.ndarray, "n"]

FIRST = 8
"""Generated pictures that are kept to be shown."""
FORMAT = 1
"""Version of what is kept in the cache; raised when what is computed from the same pictures changes."""


@dataclass(frozen=True)
class Seen:
    """What a ruler makes of pictures."""

    features: Float[np.ndarray, "n d"]
    predicted: Int64[np.ndarray, "n"] | None
    """the judge's class of each; none where there is no judge"""


@dataclass(frozen=True)
class Ruler:
    """A feature network, and the judge that tells classes apart: often the same."""

    network: Judge | Inception
    judge: Judge | None

    @property
    def distance(self) -> str:
        """What the Fréchet distance on these features is called: FID only on Inception's."""
        if isinstance(self.network, Inception):
            return "FID"
        return f"Fréchet distance ({self.network.name})"

    @property
    def protocol(self) -> dict[str, str]:
        """The network, its weights, and how pictures are brought to its size."""
        if isinstance(self.network, Inception):
            resize = f"bilinear to {EDGE}×{EDGE}, half-pixel centres, no antialiasing"
        else:
            resize = f"larger ones averaged to {self.network.facts.size}"
        return {"network": self.network.name, "weights": self.network.hash, "resize": resize}

    def look(self, pixels: Pixels) -> Seen:
        """Features and classes of pictures, in one pass where one network gives both."""
        if isinstance(self.network, Judge):
            features, shares = self.network.both(pixels)
            return Seen(features, shares.argmax(axis=1))
        predicted = None if self.judge is None else self.judge.classify(pixels).argmax(axis=1)
        return Seen(self.network.features(pixels), predicted)

    def known(self, images: Images, content: str) -> Seen:
        """The same of real pictures, from the cache where it holds them; `content` is their fingerprint."""
        found = remembered(("seen", content, *self.key), lambda: _arrays(self.look(images.pixels)))
        return Seen(found["features"], found.get("predicted"))

    @property
    def key(self) -> tuple[str, str]:
        """What tells this ruler from others."""
        return self.network.hash, "" if self.judge is None else self.judge.hash


def open_ruler(subject: Subject) -> Ruler:
    """The ruler that a recipe names.

    Raises RunError when there is no judge to measure with, or hardly a picture to measure on; DataError when
    Inception's weights cannot be had.
    """
    if (n := min(len(subject.test), len(subject.dataset.train))) <= COVER:
        raise RunError(f"{n} pictures are too few to compare generated ones with.")
    if subject.options.feature_network == "inception":
        return Ruler(open_inception(), subject.judge)
    if subject.judge is None:
        raise RunError(
            f"there is no judge for {subject.painter.plan.data.source} (for {', '.join(JUDGES)} there is one). "
            "`evaluation.feature_network=inception` measures with the FID network, and a judge's name with that judge."
        )
    return Ruler(subject.judge, subject.judge)


def _arrays(seen: Seen) -> Arrays:
    return {"features": seen.features} | ({} if seen.predicted is None else {"predicted": seen.predicted})


# -- what is compared ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Real:
    """What the generated pictures are compared with."""

    train: Images
    test: Images
    """as many as are generated"""
    of_train: Seen
    of_test: Seen
    drawn: Int64[np.ndarray, "n"]
    """positions of as many training pictures, their classes as often as in the test pictures"""
    cloud: Cloud
    """of the test pictures"""
    key: tuple[object, ...]
    """what tells this comparison from others"""

    @property
    def stand_ins(self) -> Float[np.ndarray, "n d"]:
        """Features of the training pictures that stand in for generated ones."""
        return np.asarray(self.of_train.features[self.drawn])

    @classmethod
    def of(cls, ruler: Ruler, train: Images, test: Images, seed: int) -> Real:
        """What a ruler makes of them, and training pictures drawn by `seed`."""
        drawn = drawn_like(train.labels, test.labels, len(train), len(test), seed)
        contents = fingerprint(train), fingerprint(test)
        of_train, of_test = (ruler.known(*pair) for pair in zip((train, test), contents, strict=True))
        return cls(train, test, of_train, of_test, drawn, cloud(of_test.features), (*contents, seed, *ruler.key))


def drawn_like(labels: Int64[np.ndarray, "many"] | None, wanted: Labels | None, many: int, n: int, seed: int) -> Labels:
    """Positions of `n` of `many` pictures drawn by `seed`, each class as often as it is wanted, as far as it goes."""
    order = np.random.default_rng(seed).permutation(many)
    if labels is None or wanted is None:
        return np.asarray(np.sort(order[:n]))
    counts = np.bincount(wanted, minlength=int(labels.max()) + 1)
    chosen = np.concatenate([order[labels[order] == index][:count] for index, count in enumerate(counts)])
    others = order[~np.isin(order, chosen)]
    return np.asarray(np.sort(np.concatenate([chosen, others[: n - len(chosen)]])))


def asked_of(painter: Painter, test: Images) -> Labels | None:
    """The classes that pictures are asked to be of: those of the test pictures, so that both hold each as often."""
    if not painter.conditional:
        return None
    return painter.labels(len(test)) if test.labels is None else test.labels


def look_at(
    painter: Painter, ruler: Ruler, latents: Latents, asked: Labels | None, truncation: float = 1.0
) -> tuple[UInt8[np.ndarray, "few height width channels"], Seen]:
    """The first few generated pictures, and what the ruler makes of all of them, some at a time."""
    first, features, predicted = None, [], []
    for start in range(0, len(latents), CHUNK):
        part = slice(start, start + CHUNK)
        pixels = painter.paint(latents[part], None if asked is None else asked[part], truncation)
        first = pixels[:FIRST] if first is None else first
        seen = ruler.look(pixels)
        features.append(seen.features)
        predicted.append(seen.predicted)
    classes = None if predicted[0] is None else np.concatenate([c for c in predicted if c is not None])
    assert first is not None
    return first, Seen(np.concatenate(features), classes)


# -- cache -----------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where features of real pictures are kept: in the user's cache. What lies there may be deleted at any time."""
    return files.cache_folder("features")


def remembered(key: Sequence[object], compute: Callable[[], Arrays]) -> Arrays:
    """What `compute` gives, kept under `key`. A file that is missing or damaged is computed and written anew."""
    name = hashlib.sha256("/".join(map(str, (FORMAT, *key))).encode()).hexdigest()[:32]
    path = cache_folder() / f"{name}.safetensors"
    with suppress(RunError):
        return load_arrays(path)[0]
    arrays = compute()
    with suppress(RunError):  # a full or locked disk costs time at the next measurement, nothing else
        save_arrays(path, arrays, {"key": [str(part) for part in key]})
    return arrays
