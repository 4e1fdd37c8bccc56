"""What probes tell of blobs of known making, beside PCA and pixels, and whether single dimensions stand for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA

from blobs import ATTRIBUTES, DATASET, SPEC, changed, context_of, known_families, of, run_at
from sanggar.evaluation.aspects import PixelJudge, aspects_of
from sanggar.evaluation.context import Findings
from sanggar.evaluation.measures.probes import pixel_table
from sanggar.evaluation.metrics.attributes import columns_of, disentanglement, measure
from sanggar.instruments.cache import cache_folder
from sanggar.options import Options
from sanggar.runs import Run
from typed import there


@pytest.fixture(scope="module", autouse=True)
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with known_families():
        yield run_at(tmp_path_factory.mktemp("blobs") / "run")


@pytest.fixture(scope="module")
def found(run: Run) -> Findings:
    return measure(context_of(run), Options())


def test_a_fitted_judge_tells_pictures_it_has_not_seen() -> None:
    aspects = aspects_of(SPEC)
    assert [aspect.name for aspect in aspects] == ["right", "size=small", "size=middle", "size=large", "brightness"]
    truths = [aspect.truth(DATASET.train, SPEC) for aspect in aspects]
    judge = PixelJudge.fit(pixel_table(DATASET.train), truths, [aspect.kind == "number" for aspect in aspects], 0)
    verdicts = judge.judge(DATASET.test.pixels)
    known = there(DATASET.test.attributes)
    right, brightness = known[:, 0], known[:, 2]
    assert ((verdicts[:, 0] > 0.5) == right).mean() > 0.98
    assert ((verdicts[:, 3] > 0.5) == (known[:, 1] == 2)).mean() > 0.9
    assert np.corrcoef(verdicts[:, 4], brightness)[0, 1] > 0.9
    assert verdicts[:, :4].min() >= 0
    assert verdicts[:, :4].max() <= 1


def test_probes_stand_beside_pca_and_pixels_and_carry_their_floor(found: Findings) -> None:
    probes = {(m.tags["attribute"], m.subject): m for m in of(found, "attributes.probe")}
    assert set(probes) == {(a.name, s) for a in ATTRIBUTES for s in ("network", "pca", "pixels")}
    assert len(probes) == len(of(found, "attributes.probe"))
    for (name, subject), m in probes.items():
        assert m.interval is not None
        assert m.interval[0] <= m.value <= m.interval[1]
        assert m.protocol.settings["floor"] == {"right": 0.5, "size": 1 / 3, "brightness": 0}[str(name)]
        assert m.protocol.settings["score"] == ("R²" if name == "brightness" else "balanced accuracy")
        assert m.headline == (subject == "network")
    for column in ATTRIBUTES:  # the network is principal components: what PCA tells, it tells
        assert probes[column.name, "network"].value == pytest.approx(probes[column.name, "pca"].value, abs=0.02)
    assert probes["right", "network"].value > 0.98


def test_pca_and_pixels_are_measured_once_for_all_runs_of_the_same_data(found: Findings, run: Run) -> None:
    kept = set(cache_folder().iterdir())
    context = context_of(run)
    assert measure(context, Options()) == found
    assert set(cache_folder().iterdir()) == kept
    assert ("principal components",) not in context._known
    other = measure(context_of(run, changed(lambda train: train.first(300), "train")), Options())
    assert len(set(cache_folder().iterdir())) == len(kept) + 3
    one, another = (
        [m.value for m in of(f, "attributes.probe") if (m.subject, m.tags["attribute"]) == ("pixels", "brightness")]
        for f in (found, other)
    )
    assert one != another


def test_disentanglement_is_measured_of_the_network_and_of_pca(found: Findings) -> None:
    for key in ("mig", "disentanglement", "completeness"):
        by_subject = {m.subject: m.value for m in of(found, f"attributes.{key}")}
        assert set(by_subject) == {"network", "pca"}
        assert all(-0.05 <= value <= 1 for value in by_subject.values())


def test_a_network_whose_dimensions_are_the_factors_is_disentangled_and_pca_of_pixels_is_not() -> None:
    columns = columns_of(SPEC, DATASET.train, DATASET.test)
    size, pixels = 3, DATASET.test.pixels.reshape(300, -1).astype(np.float32)
    factors = disentanglement(columns, there(DATASET.test.attributes), 0)
    pca = disentanglement(columns, PCA(size, random_state=0).fit_transform(pixels), 0)
    for key in ("mig", "disentanglement", "completeness"):
        assert factors[key] > 0.9
        assert pca[key] < factors[key] - 0.2


def test_attributes_that_never_vary_are_not_probed() -> None:
    still = replace(DATASET.train, attributes=there(DATASET.train.attributes) * np.array([0, 1, 1], np.float32))
    assert [column.attribute.name for column in columns_of(SPEC, still, DATASET.test)] == ["size", "brightness"]
    assert columns_of(SPEC, replace(still, attributes=None), DATASET.test) == []
    wanted = ("brightness", "right")
    assert [aspect.name for aspect in aspects_of(SPEC, wanted)] == list(wanted)
    (column,) = columns_of(SPEC, still, DATASET.test, wanted)
    np.testing.assert_array_equal(column.train, there(still.attributes)[:, 2])
