"""The trial of a ruler: a good one passes it, and one that sees nothing of a fault fails that fault."""

from __future__ import annotations

import numpy as np
import pytest

from sanggar.data.dataset import Dataset
from sanggar.data.images import Images
from sanggar.data.sources import SOURCES
from sanggar.evaluation.ruler_trial import SPOILED, Trial, blurred, noisy, shifted, trials
from sanggar.instruments.judge import open_judge


@pytest.fixture(scope="module")
def glyphs() -> Dataset:
    return SOURCES["glyphs"].load(SOURCES["glyphs"].Options(source="glyphs"))


@pytest.fixture(scope="module")
def by_judge(glyphs: Dataset) -> list[Trial]:
    judge = open_judge("mnist", "cpu")  # of pictures of the same size; what is on them is another thing
    return trials(judge.features, glyphs.train.first(1500), glyphs.test.first(800), 0)


@pytest.mark.slow
def test_a_judge_passes_on_pictures_that_it_never_saw(by_judge: list[Trial]) -> None:
    assert {trial.fault: trial.passed for trial in by_judge} == {
        "blur": True, "noise": True, "palette": True, "dropped classes": True, "copies": True,
    }  # fmt: skip
    assert [t.quantity for t in by_judge].count("frechet") == 4


def test_what_sees_nothing_fails(glyphs: Dataset) -> None:
    def brightness(pixels: np.ndarray) -> np.ndarray:
        """Two numbers that no class and no blur changes in order: the mean, and noise of the content."""
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        return np.stack([np.full(len(flat), 1.0), flat[:, 0] * 0 + np.arange(len(flat)) % 7], axis=1)

    blind = trials(brightness, glyphs.train.first(600), glyphs.test.first(300), 0)
    assert not any(trial.passed for trial in blind if trial.fault in SPOILED)


def test_steps_have_to_be_in_order() -> None:
    def of(grows: bool, *values: float) -> bool:
        return Trial("blur", "frechet", grows, tuple(map(float, range(len(values)))), values).passed

    assert of(True, 0.0, 1.0, 2.0) and of(False, 2.0, 1.0, 0.0)
    assert not of(True, 0.0, 2.0, 1.0) and not of(True, 0.0, 0.0, 1.0) and not of(False, 0.0, 1.0, 2.0)


def test_spoiling_begins_with_the_pictures_as_they_are() -> None:
    draw = np.random.default_rng(0)
    for channels in (1, 3):
        pixels = draw.integers(0, 256, (3, 8, 8, channels), np.uint8)
        for spoil, levels in SPOILED.values():
            assert levels[0] == 0
            np.testing.assert_array_equal(spoil(pixels, 0.0, draw), pixels)
    assert blurred(pixels, 8.0, draw).std() < pixels.std()
    assert (noisy(pixels, 20.0, draw) != pixels).mean() > 0.5
    np.testing.assert_array_equal(shifted(pixels, 100.0, draw), pixels[..., ::-1])


@pytest.mark.slow
def test_without_classes_groups_of_alike_pictures_are_dropped(glyphs: Dataset) -> None:
    train, test = (Images(split.first(n).pixels) for split, n in ((glyphs.train, 1500), (glyphs.test, 800)))
    judge = open_judge("mnist", "cpu")
    dropped = [t for t in trials(judge.features, train, test, 0) if t.fault == "dropped classes"]
    assert all(trial.passed for trial in dropped)
