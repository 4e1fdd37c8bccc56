"""Glyphs: drawn by factors that can be read off the pictures again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import features

from sanggar.data import glyphs
from sanggar.data.dataset import DataOptions, fingerprint
from sanggar.data.glyphs import CHARACTERS, FAMILIES, RANGES, SPEC, drawn, drawn_factors
from sanggar.data.sources import SOURCES
from sanggar.errors import DataError

PLAIN = {"family": 1.0, "weight": 0.0, "slant": 0.0, "size": 14.0, "rotation": 0.0, "x": 0.0, "y": 0.0, "ink": 1.0}
DRAWN_BY = {"2.14.3": "bff51418fe0d2ce0"}
"""By the version of FreeType: how the fingerprint of all of them begins"""


def one(character: str, **factors: float) -> np.ndarray:
    """A character by its factors, in 0…1."""
    row = np.array([list({**PLAIN, **factors}.values())], np.float32)
    return drawn(np.array([CHARACTERS.index(character)]), row)[0, ..., 0] / 255


def centre(picture: np.ndarray) -> tuple[float, float]:
    """Of the ink, in pixels to the right and down."""
    rows, columns = np.indices(picture.shape)
    return float((columns * picture).sum() / picture.sum()), float((rows * picture).sum() / picture.sum())


def test_the_plain_values_are_in_the_order_of_the_attributes() -> None:
    assert [column.name for column in SPEC.attributes] == list(PLAIN)


def test_position_moves_and_ink_darkens_what_size_and_weight_make_larger() -> None:
    middle = centre(one("H"))
    assert middle == pytest.approx((13.5, 13.5), abs=0.1)
    assert centre(one("H", x=2, y=-1)) == pytest.approx((middle[0] + 2, middle[1] - 1), abs=0.1)
    assert one("H", ink=0.5).max() == pytest.approx(0.5, abs=0.01)
    assert one("H").max() == 1
    tall = [np.flatnonzero(one("H", size=size).max(axis=1) > 0.3) for size in (10, 16)]
    assert [rows[-1] - rows[0] + 1 for rows in tall] == [10, 16]
    assert one("H", weight=1).sum() > 1.3 * one("H").sum()


def test_rotation_turns_to_the_left_and_slant_leans_to_the_right() -> None:
    def leaning(picture: np.ndarray) -> float:
        """How far the upper half of the ink lies to the right of the lower."""
        return centre(picture[:14])[0] - centre(picture[14:])[0]

    assert leaning(one("I")) == pytest.approx(0, abs=0.1)
    assert leaning(one("I", rotation=20)) < -1
    assert leaning(one("I", rotation=-20)) > 1
    assert leaning(one("I", slant=1)) > 0.5


def test_families_weights_and_slants_are_all_different_pictures() -> None:
    seen = {
        one("R", family=family, weight=weight, slant=slant).tobytes()
        for family in range(len(FAMILIES)) for weight in range(2) for slant in range(2)
    }  # fmt: skip
    assert len(seen) == 16
    assert len({one(character).tobytes() for character in CHARACTERS}) == 36


def test_nothing_is_cut_off() -> None:
    for character in "WMQ":
        for corner in (-2.5, 2.5):
            whole = one(character, family=1, weight=1, size=16, rotation=20)
            moved = one(character, family=1, weight=1, size=16, rotation=20, x=corner, y=corner)
            assert moved.sum() > 0.96 * whole.sum(), character


def test_factors_are_drawn_evenly_and_apart() -> None:
    labels, factors = drawn_factors(20_000)
    assert np.bincount(labels).min() > 450
    for column, (name, (low, high)) in zip(factors.T[3:], RANGES.items(), strict=True):
        (known,) = (a for a in SPEC.attributes if a.name == name)
        assert low <= column.min() < column.max() <= high
        assert column.mean() == pytest.approx(known.mean, abs=0.03 * known.deviation)
        assert column.std() == pytest.approx(known.deviation, rel=0.02)
    related = np.corrcoef(np.column_stack([labels, factors]).T) - np.eye(9)
    assert abs(related).max() < 0.03


def test_the_glyphs_are_always_the_same() -> None:
    found = SOURCES["glyphs"].load(DataOptions(source="glyphs"))
    assert (len(found.train), len(found.validation), len(found.test)) == (14_000, 2000, 4000)
    some = drawn(*(array[:300] for array in drawn_factors(20_000)))
    np.testing.assert_array_equal(some, drawn(*(array[:300] for array in drawn_factors(20_000))))
    expected = DRAWN_BY.get(features.version("freetype2") or "")
    if expected is None:
        pytest.skip("drawn by another version of FreeType")
    assert found.fingerprint.startswith(expected), fingerprint(found.test)


def test_fonts_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("matplotlib.get_data_path", lambda: str(tmp_path))
    glyphs._font.cache_clear()
    with pytest.raises(DataError, match=r"DejaVuSans\.ttf is missing: Matplotlib is installed without its fonts"):
        glyphs._font("DejaVuSans")
    glyphs._font.cache_clear()
