"""The trial of a ruler: real pictures are spoiled step by step, and its numbers have to follow, each in its direction.

A ruler is whatever gives features of pictures, by which drawn ones are compared with real ones. Whether its numbers
mean anything is not seen from them; what they say of known faults is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int64

from sanggar.data.images import Images
from sanggar.evaluation.measures.distances import Moments, cloud, frechet_of, nearest, neighbourhoods
from sanggar.trained import Pixels

Extract = Callable[[Pixels], Float[np.ndarray, "n d"]]
"""Features of pictures"""
Spoil = Callable[[Pixels, float, np.random.Generator], Pixels]
GROUPS, FEWEST = 8, 4
"""Groups of alike pictures, where there are too few classes to drop: fewer than would differ at each step"""
RARE = 0.01
"""Share of test pictures that are as near to a training picture as what counts as a copy"""


@dataclass(frozen=True)
class Trial:
    """One fault, growing, and what a number says of it."""

    fault: str
    quantity: str
    grows: bool
    """whether the number has to grow with the fault"""
    levels: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def passed(self) -> bool:
        """Whether every step of the fault moves the number, in its direction."""
        steps = [other - one for one, other in pairwise(self.values)]
        return all(step > 0 for step in steps) if self.grows else all(step < 0 for step in steps)


def blurred(pixels: Pixels, sigma: float, draw: np.random.Generator) -> Pixels:
    """Blurred by a Gaussian of `sigma` in hundredths of the shorter edge."""
    from scipy.ndimage import gaussian_filter

    width = sigma / 100 * min(pixels.shape[1:3])
    return np.asarray(gaussian_filter(pixels.astype(np.float32), (0, width, width, 0)).round(), np.uint8)


def noisy(pixels: Pixels, deviation: float, draw: np.random.Generator) -> Pixels:
    """With normal noise of a deviation in hundredths of the scale."""
    noise = draw.standard_normal(pixels.shape, np.float32) * (2.55 * deviation)
    return np.asarray((pixels + noise).clip(0, 255).round(), np.uint8)


def shifted(pixels: Pixels, share: float, draw: np.random.Generator) -> Pixels:
    """With another palette: towards the colours in another order, or the negative where there is one channel."""
    other = pixels[..., ::-1] if pixels.shape[3] > 1 else 255 - pixels
    return np.asarray(((1 - share / 100) * pixels + share / 100 * other).round(), np.uint8)


SPOILED: dict[str, tuple[Spoil, tuple[float, ...]]] = {
    "blur": (blurred, (0.0, 2.0, 4.0, 8.0)),
    "noise": (noisy, (0.0, 5.0, 10.0, 20.0)),
    "palette": (shifted, (0.0, 10.0, 30.0, 60.0)),
}
DROPPED = (0.0, 25.0, 50.0, 75.0)
"""Per cent of the classes that are left out"""
COPIED = (0.0, 25.0, 50.0, 100.0)
"""Per cent of the pictures that are training pictures"""


def trials(extract: Extract, train: Images, test: Images, seed: int) -> list[Trial]:
    """Try a ruler on real pictures: training ones stand in for drawn ones, and are spoiled."""
    n = min(len(train), len(test)) // 2
    draw = np.random.default_rng(seed)
    stand_ins, others = train.take(np.arange(n)), train.take(np.arange(n, len(train)))
    real = extract(test.first(n).pixels)
    moments, around = Moments.of(real), cloud(real)
    found = []
    for fault, (spoil, levels) in SPOILED.items():
        distances = [frechet_of(Moments.of(extract(spoil(stand_ins.pixels, level, draw))), moments) for level in levels]
        found.append(Trial(fault, "frechet", True, levels, tuple(distances)))
    of_train, groups = extract(stand_ins.pixels), _groups(stand_ins, seed)
    distances, recalls = [], []
    for level in DROPPED:
        kept = groups < groups.max() + 1 - round(level / 100 * (groups.max() + 1))
        features = of_train[np.resize(np.flatnonzero(kept), n)]  # as many again: the number of pictures tells too
        distances.append(frechet_of(Moments.of(features), moments))
        recalls.append(float(neighbourhoods(around, cloud(of_train[kept])).recall.mean()))
    found.append(Trial("dropped classes", "frechet", True, DROPPED, tuple(distances)))
    found.append(Trial("dropped classes", "recall", False, DROPPED, tuple(recalls)))
    found.append(Trial("copies", "memorization", True, COPIED, _memorized(extract, test, others, n)))
    return found


def _groups(images: Images, seed: int) -> Int64[np.ndarray, "n"]:
    """Classes, or groups of pictures that are alike by their pixels."""
    if images.labels is not None and len(np.unique(images.labels)) >= FEWEST:
        return np.asarray(np.unique(images.labels, return_inverse=True)[1], np.int64)
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    flat = images.pixels.reshape(len(images), -1).astype(np.float32)
    few = PCA(min(16, *flat.shape), random_state=seed).fit_transform(flat)
    return np.asarray(KMeans(GROUPS, n_init=4, random_state=seed).fit(few).labels_, np.int64)


def _memorized(extract: Extract, test: Images, train: Images, n: int) -> tuple[float, ...]:
    """Share of pictures that are nearer to a training picture than all but a few of other test pictures are."""
    own = test.take(np.arange(n, len(test)))
    count = min(n, len(own), len(train))
    copies, new = extract(train.first(count).pixels), extract(own.first(count).pixels)
    all_of_train = extract(train.pixels)
    near = float(np.quantile(nearest(extract(test.first(n).pixels), all_of_train)[0][:, 0], RARE))
    to_copies, to_new = (nearest(features, all_of_train)[0][:, 0] <= near for features in (copies, new))
    return tuple(
        float(np.concatenate([to_copies[: round(level / 100 * count)], to_new[round(level / 100 * count) :]]).mean())
        for level in COPIED
    )
