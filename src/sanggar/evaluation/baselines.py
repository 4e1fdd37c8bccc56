"""Baselines that are no networks: PCA, and the nearest training pictures. What they give is kept for all runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from sanggar.data.dataset import fingerprint
from sanggar.data.images import CHUNK, Images
from sanggar.evaluation.context import EvaluationContext
from sanggar.evaluation.measures.localization import BINS, RATES, Located, localization
from sanggar.evaluation.measures.probes import Components, principal_components
from sanggar.instruments.cache import cached
from sanggar.results import KNN, PCA, Better, Unit
from sanggar.runs import Arrays
from sanggar.tools.detector import SLACK, Known, Scores, gaussian, heat, residual_deviations, scores, together

Pixels = UInt8[np.ndarray, "n height width channels"]

NEIGHBOURS = 5
"""Nearest training pictures; a picture's distance to them is the mean"""
SCORES = (
    (PCA, "together"), (PCA, "reconstruction"), (PCA, "residual"), (PCA, "latent"), (KNN, "neighbours"),
)  # fmt: skip
"""Baselines and what they score pictures by, see `tools.detector.scores`"""
VALUES = 2**28
"""Pixel values that there are floats of at a time: a gigabyte"""


def pca_reconstructions(
    context: EvaluationContext, measures: dict[str, tuple[Unit, Better, Callable[[Pixels, Pixels], np.ndarray]]]
) -> tuple[int, Arrays]:
    """Measure test pictures reconstructed by PCA of the latent's size: its size, and each measure picture by picture.

    With the judge's perceptual distance.
    """
    model, test, judge, seed = context.model, context.test, context.judge, context.options.seed
    size = model.latent_size
    train = context.dataset.train.first(max(size, context.options.train_images))

    def compute() -> Arrays:
        pca = fit_pca(train.pixels, size, seed)
        parts = range(0, len(test), CHUNK)
        pixels = np.concatenate([reconstruct_by_pca(pca, test.pixels[i : i + CHUNK])[1] for i in parts])
        arrays = {name: measure(pixels, test.pixels) for name, (_, _, measure) in measures.items()}
        arrays["perceptual"] = judge.dissimilarity(pixels, test.pixels)
        return arrays | {"size": np.array([pca.n_components_])}

    key = ("pca reconstruction", *context.data_key, size, len(train), len(test), seed, judge.hash)
    arrays = dict(cached((*key, *measures), compute))
    return int(arrays.pop("size")[0]), arrays


@dataclass(frozen=True)
class Baselines:
    """PCA of a latent's size and the nearest training pictures as detectors of odd pictures.

    Their scores are kept for all runs; both are fitted when pictures come that were not scored yet.
    """

    train: Images
    validation: Images
    size: int
    seed: int

    def scores(self, pixels: Pixels) -> dict[str, Scores]:
        """Score pictures: by baseline and score, a number a picture, higher for odder ones."""

        def compute() -> Arrays:
            by_baseline = self._fitted.scores(pixels)
            return {f"{name}.{score}": by_baseline[name][score] for name, score in SCORES}

        arrays = cached((*self._key, fingerprint(Images(pixels))), compute)
        found: dict[str, Scores] = {}
        for name, score in SCORES:
            found.setdefault(name, {})[score] = arrays[f"{name}.{score}"]
        return found

    def localization(self, pixels: Pixels, marks: Bool[np.ndarray, "n height width"]) -> dict[str, Located]:
        """How well heat maps of PCA say where pictures are odd, see `measures.localization`."""

        def compute() -> Arrays:
            found = localization(heat(pixels, reconstruct_by_pca(self._fitted.pca, pixels)[1]), marks)
            return {key: np.array([place.value, *(place.interval or ())]) for key, place in found.items()}

        where = sha256(np.packbits(marks).data).hexdigest()
        kept = cached((*self._key, "localization", fingerprint(Images(pixels)), where, BINS, RATES[-1]), compute)
        return {
            key: Located(float(value), (float(limits[0]), float(limits[1])) if limits else None)
            for key, (value, *limits) in kept.items()
        }

    @cached_property
    def _fitted(self) -> FittedBaselines:
        return FittedBaselines.fit(self.train, self.validation, self.size, self.seed)

    @cached_property
    def _key(self) -> tuple[object, ...]:
        contents = fingerprint(self.train), fingerprint(self.validation)
        return "anomaly baselines", *contents, self.size, self.seed, NEIGHBOURS, SLACK


@runtime_checkable
class Neighbours(Protocol):
    """Training pictures among which scikit-learn finds the nearest."""

    def kneighbors(self, X: Float[np.ndarray, "n d"]) -> tuple[np.ndarray, np.ndarray]:
        """Distances to the nearest of them, and which they are, a row a picture."""
        ...


@dataclass(frozen=True)
class FittedBaselines:
    """Both baselines, fitted on the same training pictures."""

    pca: Components
    near: Neighbours
    known: Known

    @classmethod
    def fit(cls, train: Images, validation: Images, size: int, seed: int) -> FittedBaselines:
        """Fit both, by scikit-learn."""
        from sklearn.neighbors import NearestNeighbors

        flat = flattened(train.pixels)
        pca = fit_pca(train.pixels, size, seed)
        near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(flat)), algorithm="brute").fit(flat)
        latents, pixels = reconstruct_by_pca(pca, train.pixels)
        empty = Known(residual_deviations(train.pixels, pixels), *gaussian(latents), {}, 1.0)
        latents, pixels = reconstruct_by_pca(pca, validation.pixels)
        return cls(pca, near, replace(empty, normal=scores(empty, validation.pixels, pixels, latents)))

    def scores(self, pixels: Pixels) -> dict[str, Scores]:
        """Scores by baseline and score."""
        latents, back = reconstruct_by_pca(self.pca, pixels)
        of_pca = scores(self.known, pixels, back, latents)
        near = self.near.kneighbors(flattened(pixels))[0].mean(axis=1)
        return {
            PCA: {"together": together(of_pca, self.known.normal)} | of_pca,
            KNN: {"neighbours": np.asarray(near, np.float64)},
        }


def flattened(pixels: Pixels) -> Float[np.ndarray, "n d"]:
    """Pictures as rows, float32 from 0 to 255."""
    return pixels.reshape(len(pixels), -1).astype(np.float32)


def fit_pca(pixels: Pixels, size: int, seed: int) -> Components:
    """Fit PCA to pictures, by scikit-learn, with `size` components or as many as there can be.

    Where they would be more than a gigabyte of floats, some at a time (Ross et al. 2008; twice `size` of them, which
    takes least time).
    """
    if pixels.size <= VALUES:
        return principal_components(flattened(pixels), size, seed)
    from sklearn.decomposition import IncrementalPCA

    size = min(size, len(pixels), pixels[0].size)
    pca = IncrementalPCA(size)
    for part in np.array_split(np.arange(len(pixels)), max(1, len(pixels) // (2 * size))):
        pca.partial_fit(flattened(pixels[part[0] : part[-1] + 1]))
    fitted: Components = pca
    return fitted


def reconstruct_by_pca(pca: Components, pixels: Pixels) -> tuple[Float[np.ndarray, "n d"], Pixels]:
    """Latents of PCA, and the pictures reconstructed from them, clamped and rounded like all else."""
    latents = pca.transform(flattened(pixels))
    back = np.clip(pca.inverse_transform(latents), 0, 255)
    return latents, np.rint(back).astype(np.uint8).reshape(pixels.shape)
