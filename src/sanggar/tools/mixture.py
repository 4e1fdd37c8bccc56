"""Sampling from a Gaussian mixture fitted to latents: for every model that encodes and decodes.

A plain autoencoder has no prior to draw from (Ghosh et al. 2020, arXiv:1903.12436).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sanggar.data.images import CHUNK
from sanggar.errors import RunError
from sanggar.resources import check_memory
from sanggar.results.stored import read_tools
from sanggar.runs import Arrays
from sanggar.seeding import checked
from sanggar.trained import Pixels, TrainedModel, Vectors

COMPONENTS = 10
"""Components of a mixture, as Ghosh et al. 2020 chose"""
TOOL = "mixture"
"""What the arrays of a stored mixture are named after"""


@dataclass(frozen=True)
class Mixture:
    """Parameters of a Gaussian mixture, in float64."""

    weights: Float[np.ndarray, "components"]
    means: Float[np.ndarray, "components latent"]
    covariances: Float[np.ndarray, "components latent latent"]

    def __len__(self) -> int:
        """Number of components."""
        return len(self.weights)

    def arrays(self) -> Arrays:
        """The parameters by the names they are stored under."""
        return {f"{TOOL}.{name}": getattr(self, name) for name in ("weights", "means", "covariances")}

    @classmethod
    def of(cls, arrays: Arrays) -> Mixture:
        """The mixture that `arrays` gave."""
        return cls(*(arrays[f"{TOOL}.{name}"] for name in ("weights", "means", "covariances")))


def fit_mixture(latents: Float[np.ndarray, "many latent"], seed: int) -> Mixture:
    """Fit a Gaussian mixture to latents, by scikit-learn: fewer components where there are few latents."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    components = max(1, min(COMPONENTS, len(latents) // (2 * latents.shape[1])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of a mixture that is nearly there, or of equal latents
        fitted = GaussianMixture(components, random_state=seed).fit(latents.astype(np.float64))
    return Mixture(fitted.weights_, fitted.means_, fitted.covariances_)


def sample_mixture(mixture: Mixture, count: int, seed: int) -> Vectors:
    """Draw `count` latents from a mixture, in mixed order."""
    from sklearn.mixture import GaussianMixture

    # an integer seeds fitting and sampling each anew: stored parameters give the same draws as the fitted estimator
    estimator = GaussianMixture(len(mixture), random_state=seed)
    estimator.weights_, estimator.means_, estimator.covariances_ = mixture.weights, mixture.means, mixture.covariances
    drawn, _ = estimator.sample(count)
    return np.random.default_rng(seed).permutation(drawn).astype(np.float32)


def mixture_of(model: TrainedModel) -> Mixture:
    """The mixture that the run keeps for these weights; where it keeps none, the same fitted to its training pictures.

    Raises RunError where the data are no longer the run's, DataError where they are missing.
    """
    with suppress(RunError):  # not evaluated yet
        arrays, details = read_tools(model.run)
        if details.get("step") == model.step and f"{TOOL}.weights" in arrays:
            return Mixture.of(arrays)
    train = model.plan.data_of(model.run).train.first(model.plan.evaluation.train_images)
    return fit_mixture(model.encode(train.pixels), model.plan.evaluation.seed)


def from_mixture(model: TrainedModel, count: int, seed: int) -> Iterator[tuple[Pixels, None]]:
    """Sample `count` pictures of latents drawn from a mixture, a chunk at a time; none is of a class asked for.

    Raises RunError where the model does not encode and decode; see `mixture_of` for the rest.
    """
    model.need("encode", "decode")
    check_memory(16 * count * model.latent_size, f"count: the latents of {count:,} pictures")
    latents = sample_mixture(mixture_of(model), count, checked(seed))
    for start in range(0, count, CHUNK):
        yield model.decode(latents[start : start + CHUNK]), None
