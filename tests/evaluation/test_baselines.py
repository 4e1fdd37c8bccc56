"""Baselines that are no networks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sanggar.evaluation import baselines
from sanggar.evaluation.baselines import fit_pca, reconstruct_by_pca


def test_pca_of_more_than_fits_into_memory_is_nearly_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = load_digits().images[:1000, :, :, None].astype(np.uint8)
    whole = fit_pca(pixels, 8, 0)
    monkeypatch.setattr(baselines, "VALUES", pixels.size - 1)
    parts = fit_pca(pixels, 8, 0)
    assert type(parts) is not type(whole)
    errors = [np.square(reconstruct_by_pca(pca, pixels)[1] - pixels.astype(float)).mean() for pca in (whole, parts)]
    assert errors[0] <= errors[1] < 1.02 * errors[0]
