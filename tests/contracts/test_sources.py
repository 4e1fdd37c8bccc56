"""What every data set promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gathering import write_celeba, write_pictures
from sanggar.data.downloads import Download
from sanggar.data.image_folder import ImageFolderOptions
from sanggar.data.sources import SOURCES, DataOptions, Dataset, presence

GENERATED = ("celeba", "folder", "arrays")
"""Sources that are tried on pictures drawn here."""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with 300 pictures of one's own, 300 in an array, and 300 in CelebA's layout."""
    place = tmp_path_factory.mktemp("generated")
    write_celeba(place / "celeba", 300)
    write_pictures(place / "own", 300)
    pixels = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), np.uint8)
    np.savez(
        place / "own.npz",
        x_train=pixels[:240],
        y_train=np.arange(240) % 3,
        x_test=pixels[240:],
        y_test=np.arange(60) % 3,
    )
    return place


@pytest.fixture
def options(generated: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> type[DataOptions]:
    """The options of the source that a test is about, which is there."""
    name = request.node.callspec.params["name"]
    if name in GENERATED:
        monkeypatch.setenv("SANGGAR_DATA", str(generated))
    elif presence(name).state == "absent":
        pytest.skip(f"{name} is not under the data root (SANGGAR_DATA)")
    return SOURCES[name].Options


def asked(name: str, options: type[DataOptions], **values: object) -> DataOptions:
    own = {"path": "own.npz" if name == "arrays" else "own"} if "path" in options.model_fields else {}
    small = {"size": 8} if "size" in options.model_fields else {}
    return options.model_validate({"source": name, **own, **small, **values})


def load(name: str, options: type[DataOptions], **values: object) -> Dataset:
    return SOURCES[name].load(asked(name, options, **values))


@pytest.mark.parametrize("name", SOURCES)
def test_it_says_what_it_is_and_under_which_licence(name: str) -> None:
    source = SOURCES[name]
    assert source.about.strip()
    assert source.licence.strip()
    if isinstance(source, Download):
        assert all(len(file.sha256) == 64 and file.size > 0 for file in source.files)
        assert not source.files or len(source.mirrors) >= 2


@pytest.mark.parametrize("name", SOURCES)
def test_its_facts_are_those_of_its_pictures(name: str, options: type[DataOptions]) -> None:
    data, spec = load(name, options, validation=100), SOURCES[name].spec_for(asked(name, options))
    assert spec.channels in (1, 3)
    assert len(set(spec.classes)) == len(spec.classes)
    assert len(data.validation) == 100
    for split in (data.train, data.validation, data.test):
        assert split.pixels.dtype == np.uint8
        assert split.pixels.shape == (len(split), spec.height, spec.width, spec.channels)
        assert (split.labels is not None) == bool(spec.classes)
        assert (split.attributes is not None) == bool(spec.attributes)
        if split.labels is not None:
            assert split.labels.dtype == np.int64
            found, known = set(split.labels.tolist()), set(range(len(spec.classes)))
            assert found == known or (split is data.validation and found < known), "a hundred may lack one of many"
        if split.attributes is not None:
            assert split.attributes.dtype == np.float32
            assert split.attributes.shape == (len(split), len(spec.attributes))
        if name not in GENERATED:
            assert split.pixels.min() == 0
            assert split.pixels.max() >= 250
    if name not in GENERATED:
        assert (presence(name).state in ("built in", "present")) == (data.note == "")


@pytest.mark.parametrize("test", [None, 0.2])
@pytest.mark.parametrize("name", SOURCES)
def test_its_pictures_are_counted_before_they_are_read(
    name: str, options: type[DataOptions], test: float | None
) -> None:
    chosen = {"validation": 100} if test is None else {"validation": 100, "test": test}
    source, data = SOURCES[name], load(name, options, **chosen)
    assert source.counted(asked(name, options, **chosen)) == len(data.train)
    total = len(data.train) + len(data.validation) + len(data.test)
    assert len(data.validation) == 100
    if test is not None:
        assert len(data.test) == round(test * total)
    if isinstance(source, Download):
        assert total == source.train_count + source.test_count
        assert test is not None or len(data.test) == source.test_count
    if isinstance(source, Download):
        assert source.memory(asked(name, options)) == sum(file.size for file in source.files)
    elif issubclass(options, ImageFolderOptions):
        assert source.memory(asked(name, options)) == 0, "mapped from the disk"
    else:
        assert source.memory(asked(name, options)) >= data.train.pixels.nbytes


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_its_fingerprint_is_of_its_content_alone(name: str, options: type[DataOptions]) -> None:
    one, other = load(name, options, validation=100), load(name, options, validation=101, seed=1)
    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 64
    if name != "folder":  # which has no test split of a publisher's
        np.testing.assert_array_equal(one.test.pixels, other.test.pixels)
    assert load(name, options, validation=100, test=150).fingerprint == one.fingerprint


def test_the_digits_are_always_the_same() -> None:
    assert load("digits", DataOptions, validation=100).fingerprint.startswith("d806e0208c4ca867")
