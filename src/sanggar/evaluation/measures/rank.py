"""Effective rank: how many directions a cloud of points really uses."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def effective_rank(table: Float[np.ndarray, "n d"]) -> float:
    """exp of the entropy of the normalized singular values of the centred table (Roy & Vetterli 2007).

    0 where all rows are the same.
    """
    values = np.linalg.svd(table - table.mean(axis=0), compute_uv=False).astype(np.float64)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares)))) if len(shares) else 0.0
