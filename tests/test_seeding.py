"""One rule for seeds: whole numbers that every library takes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from conftest import Trained
from sanggar.errors import RunError
from sanggar.seeding import SEEDS, checked
from sanggar.trained import TrainedModel


@pytest.mark.parametrize("seed", [0, 7, np.int64(7), np.uint8(7), SEEDS - 1])
def test_a_whole_number_is_a_seed(seed: object) -> None:
    assert checked(seed) == seed
    assert type(checked(seed)) is int


@pytest.mark.parametrize("seed", [-1, SEEDS, 10**20, 1.5, np.float32(2), True, np.True_, "3", None, np.arange(2)])
def test_anything_else_is_refused_in_words(seed: object) -> None:
    with pytest.raises(RunError, match=re.escape("seed: expected a whole number from 0 to 4,294,967,295, got")):
        checked(seed)


@pytest.mark.parametrize("seed", [-1, SEEDS])
def test_pictures_are_neither_drawn_nor_disturbed_by_what_is_no_seed(seed: int, trained: Trained) -> None:
    with pytest.raises(RunError, match="seed: expected"):
        TrainedModel(trained("gan")).sample(3, seed=seed)
    with pytest.raises(RunError, match="seed: expected"):
        TrainedModel(trained("autoencoder")).disturb(np.zeros((2, 8, 8, 1), np.uint8), 0.3, seed)
