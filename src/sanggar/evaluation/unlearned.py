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

        flat, pca = _flat(train.pixels), components(train.pixels, size, seed)
        near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(flat)), algorithm="brute").fit(flat)
        latents, came_back = through(pca, train.pixels)
        empty = Known(residual_deviations(train.pixels, came_back), *gaussian(latents), {}, 1.0)
        latents, came_back = through(pca, validation.pixels)
        return cls(pca, near, replace(empty, normal=scores(empty, validation.pixels, came_back, latents)))

    def scores(self, pixels: Pixels) -> dict[str, Scores]:
        """By the baseline's name."""
        latents, came_back = through(self.pca, pixels)
        found = scores(self.known, pixels, came_back, latents)
        near = self.near.kneighbors(_flat(pixels))[0].mean(axis=1)
        return {
            "PCA": {"together": together(found, self.known.normal)} | found,
            "kNN": {"neighbours": np.asarray(near, np.float64)},
        }


def _flat(pixels: Pixels) -> Float[np.ndarray, "n d"]:
    return pixels.reshape(len(pixels), -1).astype(np.float32)


def components(pixels: Pixels, size: int, seed: int) -> Any:
    """PCA of pictures' pixels, by scikit-learn, of `size` numbers or as many as there can be."""
    from sklearn.decomposition import PCA

    flat = _flat(pixels)
    return PCA(min(size, *flat.shape), random_state=seed).fit(flat)


def through(pca: Any, pixels: Pixels) -> tuple[Float[np.ndarray, "n d"], Pixels]:
    """PCA's latents, and what comes back through them, clamped and rounded like all else."""
    latents = pca.transform(_flat(pixels))
    came_back = np.clip(pca.inverse_transform(latents), 0, 255)
    return latents, np.rint(came_back).astype(np.uint8).reshape(pixels.shape)
