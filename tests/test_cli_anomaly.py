"""`sanggar anomaly`: a line and a heat map a picture, calibrated; what cannot be done costs one line."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Cli, Trained
from sanggar.data.images import write_images


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two pictures of digits' size, the second all white."""
    from sklearn.datasets import load_digits

    folder = tmp_path / "in"
    folder.mkdir()
    digit = np.rint(load_digits().images[3] * (255 / 16)).astype(np.uint8)
    white = np.full((8, 8), 255, np.uint8)
    for name, pixels in (("a digit.png", digit), ("b=white.png", white)):
        Image.fromarray(pixels).save(folder / name)
    return folder


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_scores_and_heat_maps(images: Path, trained: Trained, run_cli: Cli, tmp_path: Path) -> None:
    status, out, err = run_cli("anomaly", trained("vae").path, images, "--out", tmp_path / "found")
    assert (status, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'found' / 'scores.csv'}: 2 pictures, ")
    found = lines(tmp_path / "found" / "scores.csv")
    assert [line["file"] for line in found] == ["a digit.png", "b=white.png"]
    assert [line["heat_map"] for line in found] == ["00000-a-digit.png", "00001-b-white.png"]
    for name in ("together", "reconstruction", "residual", "latent", "kl", "bound", "regret"):
        assert all(0 <= float(line[f"{name}_share"]) <= 1 for line in found)
        assert all(np.isfinite(float(line[name])) for line in found)
    assert float(found[1]["reconstruction_share"]) == 1
    assert float(found[0]["reconstruction_share"]) < 1
    for line in found:
        with Image.open(tmp_path / "found" / line["heat_map"]) as picture:
            assert (picture.mode, picture.size) == ("RGB", (224, 224))
    assert len(list((tmp_path / "found").iterdir())) == 3


@pytest.mark.parametrize("name", ["x" * 251, "ä" * 125, "caf\udce9"])
def test_a_picture_may_be_called_anything(
    name: str, images: Path, trained: Trained, run_cli: Cli, tmp_path: Path
) -> None:
    try:
        (images / "a digit.png").rename(images / f"{name}.png")
    except OSError:
        pytest.skip("this file system takes no such names")
    status, _, err = run_cli("anomaly", trained("autoencoder").path, images, "--out", tmp_path / "found")
    assert status == 0, err
    files = [line["heat_map"] for line in lines(tmp_path / "found" / "scores.csv")]
    assert all((tmp_path / "found" / file).is_file() for file in files)


def test_a_run_whose_evaluation_left_nothing_looks_at_normal_pictures_first(
    images: Path, trained: Trained, run_cli: Cli, tmp_path: Path
) -> None:
    stack = tmp_path / "x.npz"
    stack.write_bytes(write_images(stack, np.zeros((3, 8, 8, 1), np.uint8)))
    status, _, err = run_cli("anomaly", trained("autoencoder").path, stack, "--out", tmp_path / "found")
    assert status == 0
    assert "normal ones are looked at first" in err
    found = lines(tmp_path / "found" / "scores.csv")
    assert [line["file"] for line in found] == ["x.npz[0]", "x.npz[1]", "x.npz[2]"]
    assert "kl" not in found[0]


def test_a_network_that_cannot_reconstruct_says_so(
    images: Path, trained: Trained, run_cli: Cli, tmp_path: Path
) -> None:
    status, out, err = run_cli("anomaly", trained("ffnn").path, images, "--out", tmp_path / "found")
    assert (status, out) == (2, "")
    assert "cannot reconstruct: its model (FeedForward) can classify" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "found").exists()


def test_mistakes_cost_one_line_and_write_nothing(images: Path, trained: Trained, run_cli: Cli, tmp_path: Path) -> None:
    run = trained("vae").path
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "large.png")
    cases = {
        ("nowhere", "found"): "There is no file or folder nowhere.",
        (tmp_path / "large.png", "found"): "9×9 pixels, but this network takes 8×8 grey.",
        (images, "in"): "already exists and is not an empty folder",
        (images, "found.csv"): "expected a folder",
    }
    for (given, out), said in cases.items():
        status, text, err = run_cli("anomaly", run, given, "--out", tmp_path / out)
        assert (status, text) == (2, ""), said
        assert said in err
        assert len(err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "large.png"]
    assert len(list(images.iterdir())) == 2
