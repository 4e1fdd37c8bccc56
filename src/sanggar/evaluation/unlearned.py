"""What stands beside a network without being one: PCA, and the nearest training pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from sanggar.data.images import Images
from sanggar.evaluation.anomaly import Known, Scores, gaussian, residual_deviations, scores, together
from sanggar.evaluation.protocol import Pixels

NEIGHBOURS = 5
"""Training pictures that the distance to them is the mean over."""

VALUES = 2**28
"""Pixel values that there are floats of at a time: a gigabyte."""


@dataclass(frozen=True)
class Baselines:
    """PCA of the network's latent size and the nearest training pictures, fitted on the same training pictures."""

    pca: Any
    near: Any
    known: Known

    @classmethod
    def fitted(cls, train: Images, validation: Images, size: int, seed: int) -> Baselines:
        """Both by scikit-learn."""
        from sklearn.neighbors import NearestNeighbors

        flat = flattened(train.pixels)
        pca = components(train.pixels, size, seed)
        near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(flat)), algorithm="brute").fit(flat)
        latents, came_back = through(pca, train.pixels)
        empty = Known(residual_deviations(train.pixels, came_back), *gaussian(latents), {}, 1.0)
        latents, came_back = through(pca, validation.pixels)
        return cls(pca, near, replace(empty, normal=scores(empty, validation.pixels, came_back, latents)))

    def scores(self, pixels: Pixels) -> dict[str, Scores]:
        """By the baseline's name."""
        latents, came_back = through(self.pca, pixels)
        found = scores(self.known, pixels, came_back, latents)
        near = self.near.kneighbors(flattened(pixels))[0].mean(axis=1)
        return {
            "PCA": {"together": together(found, self.known.normal)} | found,
            "kNN": {"neighbours": np.asarray(near, np.float64)},
        }


def flattened(pixels: Pixels) -> Float[np.ndarray, "n d"]:
    """A row a picture, float32 from 0 to 255."""
    return pixels.reshape(len(pixels), -1).astype(np.float32)


def components(pixels: Pixels, size: int, seed: int) -> Any:
    """PCA of pictures, by scikit-learn, of `size` numbers or as many as there can be.

    Where they would be more than a gigabyte of floats, some at a time (Ross et al. 2008; twice `size` of them, which
    takes least time).
    """
    from sklearn.decomposition import PCA, IncrementalPCA

    size = min(size, len(pixels), pixels[0].size)
    if pixels.size <= VALUES:
        return PCA(size, random_state=seed).fit(flattened(pixels))
    pca = IncrementalPCA(size)
    for part in np.array_split(np.arange(len(pixels)), max(1, len(pixels) // (2 * size))):
        pca.partial_fit(flattened(pixels[part[0] : part[-1] + 1]))
    return pca


def through(pca: Any, pixels: Pixels) -> tuple[Float[np.ndarray, "n d"], Pixels]:
    """PCA's latents, and what comes back through them, clamped and rounded like all else."""
    latents = pca.transform(flattened(pixels))
    came_back = np.clip(pca.inverse_transform(latents), 0, 255)
    return latents, np.rint(came_back).astype(np.uint8).reshape(pixels.shape)
