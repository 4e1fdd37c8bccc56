"""An evaluation: finite numbers, each with its protocol, the same each time, and only on the run's own data."""

from __future__ import annotations

import math

import numpy as np
import pytest

import sanggar
from sanggar.errors import RunError
from sanggar.evaluation.classical import DENOISERS
from sanggar.runs import Run, load_arrays, save_arrays


def test_every_number_is_finite_and_carries_its_protocol(tiny_run: Run) -> None:
    numbers = tiny_run.evaluation()["numbers"]
    assert numbers
    for n in numbers:
        assert math.isfinite(n["value"]), n["label"]
        assert n["label"]
        assert n["better"] in ("higher", "lower")
        assert n["protocol"]["split"] == "test"
        assert 0 < n["protocol"]["n"] <= 40
        assert n["protocol"]["data"] == f"digits {tiny_run.info['data']['fingerprint'][:12]}"
        if n["interval"] is not None:
            assert n["interval"][0] <= n["value"] <= n["interval"][1]


def test_no_two_numbers_are_of_the_same_thing(tiny_run: Run) -> None:
    things = [str((n["key"], n["subject"], n["protocol"])) for n in tiny_run.evaluation()["numbers"]]
    assert len(set(things)) == len(things)


def test_what_was_promised_is_measured(tiny_run: Run) -> None:
    numbers = tiny_run.evaluation()["numbers"]
    headlines = {n["key"] for n in numbers if n["headline"]}
    assert headlines >= {
        "reconstruction.mse",
        "reconstruction.psnr",
        "reconstruction.ssim",
        "denoising.gain",
        "latent.probe",
    }
    levels = {n["protocol"]["level"] for n in numbers if n["key"] == "denoising.psnr"}
    assert levels == {0.2, 0.3}
    for level in levels:
        subjects = {n["subject"] for n in numbers if n["key"] == "denoising.psnr" and n["protocol"]["level"] == level}
        assert subjects == {"network", *DENOISERS}
    assert {n["subject"] for n in numbers if n["key"] == "latent.knn"} == {"network", "PCA", "pixels"}


def test_the_gain_is_the_difference_to_the_best(tiny_run: Run) -> None:
    numbers = tiny_run.evaluation()["numbers"]
    for gain in (n for n in numbers if n["key"] == "denoising.gain"):
        level = gain["protocol"]["level"]
        ratios = {
            n["subject"]: n["value"]
            for n in numbers
            if n["key"] == "denoising.psnr" and n["protocol"]["level"] == level
        }
        network = ratios.pop("network")
        assert gain["protocol"]["against"] == max(ratios, key=ratios.__getitem__)
        assert gain["value"] == pytest.approx(network - max(ratios.values()))


def test_measuring_again_gives_the_same_numbers_and_pictures(copied_run: Run) -> None:
    before, pictures = copied_run.evaluation(), copied_run.pictures()
    copied_run.evaluation_file.unlink()
    copied_run.pictures_file.unlink()
    said: list[str] = []
    after = sanggar.evaluate(copied_run.path, say=said.append).evaluation()
    assert {**after, "seconds": None} == {**before, "seconds": None}
    assert len(said) == len(after["seconds"])
    again = copied_run.pictures()
    assert set(again) == set(pictures)
    for name in pictures:
        np.testing.assert_array_equal(again[name], pictures[name], err_msg=name)


def test_other_data_than_the_runs_is_refused_and_what_was_measured_is_kept(copied_run: Run) -> None:
    before = copied_run.evaluation_file.read_bytes()
    copied_run.update(data={**copied_run.info["data"], "fingerprint": "0" * 64})
    with pytest.raises(RunError, match="was trained on other data than digits holds now"):
        sanggar.evaluate(copied_run)
    assert copied_run.evaluation_file.read_bytes() == before


def test_missing_or_foreign_weights_are_refused(copied_run: Run) -> None:
    arrays, meta = load_arrays(copied_run.weights_file)
    arrays.popitem()
    save_arrays(copied_run.weights_file, arrays, meta)
    with pytest.raises(RunError, match="does not fit the recipe beside it"):
        sanggar.evaluate(copied_run)
    copied_run.weights_file.unlink()
    with pytest.raises(RunError, match=r"has no weights yet: .*--resume"):
        sanggar.evaluate(copied_run)
