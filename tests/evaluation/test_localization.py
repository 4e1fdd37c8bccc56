"""Heat maps measured by masks, beside scikit-learn and a definition written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label
from sklearn.metrics import roc_auc_score

from sanggar.evaluation.measures.localization import pixel_auroc, region_overlap


def example(seed: int, clearly: float, n: int = 6, edge: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Heat that is hotter where pictures are odd; half of them are normal."""
    draw = np.random.default_rng(seed)
    odd = gaussian_filter(draw.standard_normal((n, edge, edge)), (0, 2, 2)) > 0.25
    odd[n // 2 :] = False
    return (draw.random((n, edge, edge)) + clearly * odd).astype(np.float32), odd


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_auroc_of_pixels_is_scikit_learns(seed: int, clearly: float) -> None:
    heat, odd = example(seed, clearly)
    if odd.any():
        value, interval = pixel_auroc(heat, odd)
        assert value == pytest.approx(roc_auc_score(odd.ravel(), heat.ravel()), abs=2e-4)
        assert interval is None or interval[0] <= value <= interval[1]


def written_out(heat: np.ndarray, odd: np.ndarray) -> float:
    """AU-PRO over every threshold there is, as the paper defines it."""
    regions = []
    for picture, mark in zip(heat, odd, strict=True):
        numbered, count = label(mark, np.ones((3, 3)))
        regions += [picture[numbered == number] for number in range(1, count + 1)]
    normal = heat[~odd]
    rates, overlaps = [], []
    for threshold in np.sort(heat.ravel())[::-1]:
        rates.append(float((normal >= threshold).mean()))
        overlaps.append(float(np.mean([(inside >= threshold).mean() for inside in regions])))
    found = np.interp(grid := np.linspace(0, 0.3, 3001), [0.0, *rates], [0.0, *overlaps])
    return float(np.mean((found[1:] + found[:-1]) / 2) * (grid[-1] / 0.3))


@pytest.mark.slow
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_overlap_with_regions_is_what_its_definition_says(seed: int, clearly: float) -> None:
    heat, odd = example(seed, clearly, n=4, edge=16)
    if odd.any():
        value, interval = region_overlap(heat, odd)
        assert value == pytest.approx(written_out(heat, odd), abs=0.01)
        assert interval is None or interval[0] <= value <= interval[1]


def test_guessing_has_the_floors_and_seeing_all_has_one() -> None:
    heat, odd = example(0, 0, n=60)
    assert pixel_auroc(heat, odd)[0] == pytest.approx(0.5, abs=0.02)
    assert region_overlap(heat, odd)[0] == pytest.approx(0.15, abs=0.02)
    heat, odd = example(0, 2)
    assert pixel_auroc(heat, odd)[0] == pytest.approx(1, abs=1e-9)
    assert region_overlap(heat, odd)[0] == pytest.approx(1, abs=1e-9)


def test_a_small_place_counts_as_much_as_a_large_one() -> None:
    odd = np.zeros((1, 40, 40), bool)
    odd[0, :20], odd[0, 30, 30] = True, True
    heat = np.random.default_rng(0).random(odd.shape).astype(np.float32)
    heat[0, :20] += 2
    assert region_overlap(heat, odd)[0] == pytest.approx(0.5, abs=0.2), "only the large one is found"
    heat[0, 30, 30] += 2
    assert region_overlap(heat, odd)[0] == pytest.approx(1, abs=1e-9)
    corner = np.zeros((1, 8, 8), bool)
    corner[0, 2, 2] = corner[0, 3, 3] = True
    warm = np.where(corner, [[[2.0]]], 0).astype(np.float32)
    warm[0, 3, 3] = -1
    assert region_overlap(warm, corner)[0] == pytest.approx(0.5, abs=0.01), "by their corners they are one place"
