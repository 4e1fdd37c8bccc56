"""Hardly any pictures: what they do not allow is left out and said, and the rest is measured and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sanggar
from gathering import write_pictures
from sanggar.reporting.page import report
from sanggar.runs import Run

MODELS: dict[str, dict[str, Any]] = {
    "autoencoder": {"family": "autoencoder", "widths": [4], "latent_size": 3, "noise": {"level": 0}},
    "vae": {"family": "vae", "widths": [4], "latent_size": 3},
    "gan": {"family": "gan", "latent_size": 3, "generator": {"kind": "dcgan", "widths": [8, 4]},
            "critic": {"kind": "dcgan", "widths": [4, 8]}},
}  # fmt: skip


def run_of(place: Path, family: str, out: Path, **data: object) -> Run:
    plain = {
        "name": "few", "data": {"source": "folder", "path": str(place), "size": 8, **data}, "model": MODELS[family],
        "training": {"steps": 2, "batch_size": 2, "device": "cpu", "precision": "fp32"},
        "evaluation": {"bound_images": 20, "classical_images": 10, "tuning_images": 5, "regret_steps": 1, "samples": 50,
                       "noise_levels": [0.3]},
    }  # fmt: skip
    return sanggar.evaluate(sanggar.train(plain, out=out, watch=lambda _: None))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "count", "folders", "alarms"), [
    ("autoencoder", 4, ("a", "b"), {"latent.no_map"}),
    ("vae", 12, ("a", "b"), {"anomaly.not_measured", "latent.no_map"}),
    ("gan", 4, ("",), {"generation.not_measured"}),
])  # fmt: skip
def test_one_test_picture_is_measured_as_far_as_it_goes(
    family: str, count: int, folders: tuple[str, ...], alarms: set[str], tmp_path: Path
) -> None:
    place = write_pictures(tmp_path / "few", count, folders, table=len(folders) == 1)
    run = run_of(place, family, tmp_path / "run")
    evaluation = sanggar.evaluation_of(run)
    assert run.info["data"]["test"] == 1
    assert alarms <= {alarm.key for alarm in evaluation.alarms}
    assert "latent.idle" not in {alarm.key for alarm in evaluation.alarms}, "one picture tells nothing of it"
    keys = {m.key for m in evaluation.measurements}
    assert ("reconstruction.psnr" in keys) == (family != "gan")
    assert "latent.rank" not in keys
    report(run)
    assert "are too few" in run.report_file.read_text(encoding="utf-8") or not alarms - {"generation.not_measured"}


def test_mvtecs_layout_measures_how_odd_the_pictures_for_test_are(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for folder, count in (("train/good", 6), ("test/good", 2), ("test/crack", 3), ("ground_truth/crack", 3)):
        for index in range(count):
            path = tmp_path / "bottle" / folder / f"{index:03d}{'_mask' * ('truth' in folder)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (8, 8), np.uint8)).save(path)
    (tmp_path / "bottle" / "ground_truth" / "crack" / "002_mask.png").unlink()
    run = run_of(tmp_path / "bottle", "autoencoder", tmp_path / "run")
    found = [m for m in sanggar.evaluation_of(run).measurements if m.key == "anomaly.auroc" and m.headline]
    assert [m.tags["odd"] for m in found] == ["held_out"]
    assert found[0].protocol.settings["normal_classes"] == "good"
    assert (found[0].protocol.n, found[0].protocol.settings["odd_pictures"]) == (2, 3)
    for key in ("pixel_auroc", "region_overlap"):
        places = [m for m in sanggar.evaluation_of(run).find(f"anomaly.{key}") if m.tags["odd"] == "held_out"]
        assert [m.subject for m in places] == ["network", "pca"]
        assert [m.protocol.settings["odd_pictures"] for m in places] == [2, 2], "of the third nobody says where"
    report(run)
    assert "hotter than a normal one" in run.report_file.read_text(encoding="utf-8")
    reconstructed = next(m for m in sanggar.evaluation_of(run).measurements if m.key == "reconstruction.psnr")
    assert reconstructed.protocol.n == 2, "of normal pictures"


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_pictures_that_are_all_the_same_are_measured_without_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write_pictures(tmp_path / "same", 60, ("",), table=False)
    first, *others = sorted(place.rglob("*.png"))
    for file in others:
        file.write_bytes(first.read_bytes())
    run = run_of(place, "vae", tmp_path / "run")
    assert "all 60 pictures are one by their bytes: there is nothing to learn" in capsys.readouterr().err
    assert sanggar.evaluation_of(run).find("reconstruction.psnr")
