"""What is measured of latents of blobs whose place is their class, beside PCA and pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blobs import DATASET, SPEC, changed, context_of, known_families, of, run_at
from sanggar.data.images import Images
from sanggar.evaluation.context import EvaluationContext, Findings
from sanggar.evaluation.metrics.latent import LatentOptions, _alarms, measure
from sanggar.files import Tree
from sanggar.instruments import cache
from sanggar.reporting import labels
from sanggar.runs import Arrays, save_arrays
from sanggar.tools.interpolation import interpolate
from sanggar.tools.projection import project
from typed import there


def labelled(images: Images) -> Images:
    return Images(images.pixels, there(images.attributes)[:, 0].astype(np.int64), None)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvaluationContext]:
    spec = replace(SPEC, attributes=(), classes=("left", "right"))
    with known_families():
        yield context_of(run_at(tmp_path_factory.mktemp("blobs") / "run", spec), changed(labelled))


@pytest.fixture(scope="module")
def found(context: EvaluationContext) -> Findings:
    return measure(context, LatentOptions(map_images=40))


def test_each_representation_is_measured_and_the_network_that_is_pca_as_pca_is(found: Findings) -> None:
    for key in ("probe", "knn", "silhouette", "rank"):
        by_subject = {m.subject: m for m in of(found, f"latent.{key}")}
        assert list(by_subject) == ["network", "pca", "pixels"]
        assert by_subject["network"].value == pytest.approx(by_subject["pca"].value, rel=0.02)
    (shown,) = [m for m in found.measurements if m.headline]
    assert (shown.key, shown.subject, shown.protocol.n) == ("latent.probe", "network", 300)
    assert shown.value > 0.98
    assert {m.protocol.n for m in of(found, "latent.silhouette")} == {40}
    assert {m.subject: m.protocol.settings["size"] for m in of(found, "latent.rank")} == {
        "network": 8, "pca": 8, "pixels": 64,
    }  # fmt: skip


def test_what_is_drawn_is_the_first_test_pictures(context: EvaluationContext, found: Findings) -> None:
    test, arrays = context.test, found.arrays
    assert arrays["map_places"].shape == (40, 2)
    np.testing.assert_array_equal(arrays["map_places"], project(context.model.encode(test.pixels[:40]), 0))
    np.testing.assert_array_equal(arrays["map_labels"], there(test.labels)[:40])
    np.testing.assert_array_equal(arrays["map_thumbnails"], test.pixels[arrays["map_chosen"]])
    assert arrays["strips"].shape == (4, 9, 8, 8, 1)
    first, last = arrays["strip_ends"][:, 0]
    np.testing.assert_array_equal(arrays["strips"][0], interpolate(context.model, first[None], last[None], 9))


def test_pca_and_pixels_come_from_the_cache_with_the_same_bits(
    context: EvaluationContext, found: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Path] = []  # by this process: others share the folder

    def keep(path: Path, arrays: Arrays, meta: Tree) -> None:
        kept.append(path)
        save_arrays(path, arrays, meta)

    monkeypatch.setattr(cache, "save_arrays", keep)
    again = EvaluationContext(context.model, context.dataset, context.options)
    assert measure(again, LatentOptions(map_images=40)).measurements == found.measurements
    assert ("principal components",) not in again._known
    measure(again, LatentOptions(map_images=50))
    assert len(set(kept)) == len(kept) == 2


def test_pictures_without_classes_have_a_rank_and_no_map(context: EvaluationContext) -> None:
    plain = EvaluationContext(context.model, DATASET, context.options)
    findings = measure(plain, LatentOptions())
    assert {m.key for m in findings.measurements} == {"latent.rank"}
    assert set(findings.arrays) == {"strips", "strip_ends"}


def test_idle_dimensions_are_alarming(found: Findings) -> None:
    assert not found.alarms
    (alarm,) = _alarms({"rank": np.array([3.14]), "size": np.array([64])})
    assert labels.alarm(alarm).startswith("The latent space uses about 3.1 of its 64 dimensions")
