"""Projection: latents laid out on a plane, near ones near each other."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sanggar.trained import Vectors


def project(latents: Vectors, seed: int) -> Float[np.ndarray, "n 2"]:
    """Place of each latent on a plane by t-SNE, float32 (van der Maaten & Hinton 2008; openTSNE, Policar et al. 2019).

    Perplexity 30, or less of few latents. Distances between far groups mean little.
    """
    from openTSNE import TSNE

    neighbours = "exact" if len(latents) <= 5000 else "auto"
    perplexity = min(30.0, (len(latents) - 1) / 3)
    # one thread: where another process has the second core, two wait for each other thirty times as long as they work
    tsne = TSNE(perplexity=perplexity, neighbors=neighbours, random_state=seed, n_jobs=1)
    return np.asarray(tsne.fit(latents), np.float32)
