"""What every data set promises."""

from __future__ import annotations

import numpy as np
import pytest

from sanggar.data.sources import SOURCES, DataOptions, Dataset, presence


def load(name: str, **options: int | None) -> Dataset:
    if presence(name).state == "absent":
        pytest.skip(f"{name} is not under the data root (SANGGAR_DATA)")
    return SOURCES[name].load(DataOptions(source=name, **options))


@pytest.mark.parametrize("name", SOURCES)
def test_it_says_what_it_is_and_under_which_licence(name: str) -> None:
    source = SOURCES[name]
    assert source.about.strip()
    assert source.licence.strip()
    assert source.facts.channels in (1, 3)
    assert len(set(source.facts.classes)) == len(source.facts.classes)
    assert all(len(file.sha256) == 64 and file.size > 0 for file in source.files)
    assert bool(source.files) <= bool(source.mirrors)


@pytest.mark.parametrize("name", SOURCES)
def test_its_facts_are_those_of_its_pictures(name: str) -> None:
    source, data = SOURCES[name], load(name, validation=100)
    facts = source.facts
    assert (presence(name).state in ("built in", "present")) == (data.note == "")
    assert len(data.train) + len(data.validation) == source.train_count
    assert len(data.validation) == 100
    for split in (data.train, data.validation, data.test):
        assert split.pixels.dtype == np.uint8
        assert split.pixels.shape == (len(split), facts.height, facts.width, facts.channels)
        assert split.pixels.min() == 0
        assert split.pixels.max() == 255
        if facts.classes:
            assert split.labels is not None
            assert split.labels.dtype == np.int64
            assert set(split.labels.tolist()) == set(range(len(facts.classes)))


@pytest.mark.parametrize("test", [None, 150])
@pytest.mark.parametrize("name", SOURCES)
def test_its_pictures_are_counted_before_they_are_read(name: str, test: int | None) -> None:
    source, data = SOURCES[name], load(name, validation=100, test=test)
    assert source.counted(DataOptions(source=name, validation=100, test=test)) == len(data.train)
    assert len(data.test) == (source.test_count if test is None else test)
    assert len(data.validation) == 100
    assert len(data.train) + len(data.validation) + len(data.test) == source.train_count + source.test_count


@pytest.mark.parametrize("name", SOURCES)
def test_its_fingerprint_is_of_its_content_alone(name: str) -> None:
    one, other = load(name, validation=100), load(name, validation=101, seed=1)
    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 64
    np.testing.assert_array_equal(one.test.pixels, other.test.pixels)
    assert load(name, validation=100, test=150).fingerprint == one.fingerprint


def test_the_digits_are_always_the_same() -> None:
    assert load("digits", validation=100).fingerprint.startswith("d806e0208c4ca867")
