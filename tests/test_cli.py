"""Every command, as a user types it: what it writes, and how it says no."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import TINY
from sanggar.data.sources import SOURCES
from sanggar.recipe import shipped
from sanggar.runs import Run, load_arrays, save_arrays

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pictures(run_cli: Cli, tmp_path: Path) -> Path:
    """A folder of twelve test pictures."""
    assert run_cli("data", "digits", "--out", tmp_path / "pictures", "--count", "12")[0] == 0
    return tmp_path / "pictures"


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


# -- what the commands do ----------------------------------------------------------------------------------------


def test_run_trains_evaluates_and_reports(run_cli: Cli, tmp_path: Path) -> None:
    status, out, err = run_cli("run", "digits-denoising-autoencoder", *TINY, "--out", tmp_path / "run")
    assert status == 0
    assert "PSNR above" in out
    assert out.splitlines()[-1] == f"Report: {tmp_path / 'run' / 'report.html'}"
    assert "step      36/36" in err
    assert "measuring latent" in err
    run = Run(tmp_path / "run")
    assert run.status == "finished"
    assert run.evaluation()["step"] == 36
    assert run.report_file.read_text().startswith("<!doctype html>")


def test_train_names_its_folder_by_the_recipe(run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("train", "digits-denoising-autoencoder", *TINY, "training.epochs=1")
    assert run_cli(*command)[1] == "Run: runs/digits-denoising-autoencoder (finished, step 18)\n"
    assert run_cli(*command)[1] == "Run: runs/digits-denoising-autoencoder-2 (finished, step 18)\n"
    status, out, _ = run_cli("train", "--resume", "runs/digits-denoising-autoencoder", "training.epochs=2")
    assert (status, out) == (0, "Run: runs/digits-denoising-autoencoder (finished, step 36)\n")
    lines = run_cli("runs")[1].splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["runs/digits-denoising-autoencoder", "finished", "step", "36"],
        ["runs/digits-denoising-autoencoder-2", "finished", "step", "18"],
    ]


def test_evaluate_says_the_headlines(run_cli: Cli, copied_run: Run) -> None:
    before = copied_run.evaluation()
    copied_run.evaluation_file.unlink()
    status, out, err = run_cli("evaluate", copied_run.path)
    assert status == 0
    assert copied_run.evaluation()["numbers"] == before["numbers"]
    headlines = [n["label"] for n in before["numbers"] if n["headline"]]
    assert [label in line for label, line in zip(headlines, out.splitlines(), strict=False)] == [True] * len(headlines)
    assert "measuring denoising" in err


def test_numbers_of_fewer_epochs_are_not_shown_for_more(run_cli: Cli, copied_run: Run) -> None:
    assert run_cli("train", "--resume", copied_run.path, "training.epochs=3")[0] == 0
    status, _, err = run_cli("report", copied_run.path)
    assert status == 2
    assert "sanggar evaluate" in err


def test_measuring_says_the_step_of_the_weights_that_it_measured(run_cli: Cli, copied_run: Run) -> None:
    copied_run.update(status="stopped", step=40)  # made longer, stopped again: the weights are still the shorter run's
    run_cli("evaluate", copied_run.path)
    assert copied_run.evaluation()["step"] == 36


def test_report_of_one_run_and_of_two(run_cli: Cli, copied_run: Run, tiny_run: Run, tmp_path: Path) -> None:
    assert run_cli("report", copied_run.path) == (0, f"{copied_run.report_file}\n", "")
    both = tmp_path / "both.html"
    assert run_cli("report", copied_run.path, tiny_run.path, "--out", both) == (0, f"{both}\n", "")
    assert "copied" in both.read_text()


def test_reconstruct_gives_back_as_many_pictures(run_cli: Cli, tiny_run: Run, pictures: Path, tmp_path: Path) -> None:
    out, again, sheet = tmp_path / "out.npz", tmp_path / "again.npz", tmp_path / "sheet.png"
    assert run_cli("reconstruct", tiny_run.path, pictures, "--out", out) == (0, f"{out}\n", "")
    assert list(arrays(out)) == ["images"]
    assert (arrays(out)["images"].dtype, arrays(out)["images"].shape) == (np.uint8, (12, 8, 8))
    first = min(pictures.iterdir())
    assert run_cli("reconstruct", tiny_run.path, first, "--out", again)[0] == 0
    np.testing.assert_array_equal(arrays(again)["images"], arrays(out)["images"][:1])
    assert run_cli("reconstruct", tiny_run.path, out, "--out", sheet)[0] == 0
    with Image.open(sheet) as image:  # ten given, ten back, two given, two back; 8 pixels and a gap of 2, fourfold
        assert (image.mode, image.size) == ("L", (4 * 98, 4 * 38))
        shown = np.asarray(image)[::4, ::4]
    np.testing.assert_array_equal(shown[:8, :8], arrays(out)["images"][0])


def test_encode_names_what_it_encodes(run_cli: Cli, tiny_run: Run, pictures: Path, tmp_path: Path) -> None:
    stack, out = tmp_path / "stack.npz", tmp_path / "out.npz"
    assert run_cli("encode", tiny_run.path, pictures, "--out", out)[0] == 0
    found = arrays(out)
    assert sorted(found) == ["latents", "names"]
    assert (found["latents"].dtype, found["latents"].shape) == (np.float32, (12, 6))
    assert found["names"].tolist() == sorted(path.name for path in pictures.iterdir())
    assert run_cli("data", "digits", "--count", "12", "--out", stack)[0] == 0
    assert run_cli("encode", tiny_run.path, stack, "--out", out)[0] == 0
    np.testing.assert_allclose(arrays(out)["latents"], found["latents"], rtol=1e-5)
    assert arrays(out)["names"][0] == "stack.npz[0]"


def test_interpolate_walks_between_two_pictures(run_cli: Cli, tiny_run: Run, pictures: Path, tmp_path: Path) -> None:
    ends = sorted(pictures.iterdir())[:2]
    out, sheet, back = tmp_path / "walk.npz", tmp_path / "walk.png", tmp_path / "back.npz"
    assert run_cli("interpolate", tiny_run.path, *ends, "--steps", "5", "--out", out)[0] == 0
    walk = arrays(out)["images"]
    assert (walk.dtype, walk.shape) == (np.uint8, (5, 8, 8))
    assert run_cli("reconstruct", tiny_run.path, pictures, "--out", back)[0] == 0
    np.testing.assert_array_equal(walk[[0, -1]], arrays(back)["images"][:2])
    assert run_cli("interpolate", tiny_run.path, *ends, "--out", sheet)[0] == 0
    with Image.open(sheet) as image:
        assert image.size == (4 * (9 * 10 - 2), 4 * 8)


def test_data_lists_the_sets_and_writes_labelled_pictures(run_cli: Cli, tmp_path: Path) -> None:
    lines = run_cli("data")[1].splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(SOURCES)
    out = tmp_path / "some.npz"
    assert run_cli("data", "digits", "--out", out)[0] == 0
    found = arrays(out)
    assert (found["images"].dtype, found["images"].shape) == (np.uint8, (10, 8, 8))
    assert (found["labels"].dtype, found["labels"].shape) == (np.int64, (10,))
    folder = tmp_path / "some"
    assert run_cli("data", "digits", "--out", folder)[0] == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{i:05d}-{label}.png" for i, label in enumerate(found["labels"])]
    with Image.open(folder / names[3]) as image:
        np.testing.assert_array_equal(np.asarray(image), found["images"][3])


def test_describe_says_layers_cost_and_options(run_cli: Cli) -> None:
    status, out, _ = run_cli("describe", "digits-denoising-autoencoder", *TINY)
    assert status == 0
    for expected in ("encoder.", "Conv2d", "decoder.", " parameters", "36 steps", "latent_size: 6"):
        assert expected in out
    schema = json.loads(run_cli("describe", "--schema")[1])
    assert set(schema["properties"]) >= {"data", "model", "training", "evaluation", "base"}


def test_recipes_are_listed_with_what_they_are(run_cli: Cli) -> None:
    _, out, _ = run_cli("recipes")
    assert out.splitlines()[::2] == list(shipped())
    assert all(line.startswith("    ") and line.endswith(".") for line in out.splitlines()[1::2])


# -- how it says no ----------------------------------------------------------------------------------------------

D = "digits-denoising-autoencoder"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("trian RECIPE", "Did you mean 'train'?"),
        ("train", "Give a recipe"),
        ("evaluate", "Missing argument 'RUN'"),
        ("report", "Missing argument 'RUN...'"),
        ("encode RUN", "Missing argument 'IMAGES'"),
        ("encode RUN PICTURES", "Missing option '--out'"),
        ("describe", "Give a recipe"),
        ("train digits-denoising-autoencodr", "Did you mean 'digits-denoising-autoencoder'?"),
        ("train no/such.yaml", "There is no recipe file no/such.yaml"),
        (f"train {D} trainin.epochs=1", "Did you mean 'training'?"),
        (f"train {D} training.epoch=1", "Did you mean 'epochs'?"),
        (f"train {D} training.epochs", "is not an override"),
        (f"train {D} training.epochs=many", "training.epochs: expected"),
        (f"train {D} training.epochs=[1", "not YAML"),
        (f"train {D} training.epochs=many training.batch_size=few", "training.batch_size"),
        (f"train {D} model.noise.kind=gausian", "Did you mean 'gaussian'?"),
        (f"train {D} training.batch_size=5000", "training.batch_size"),
        (f"train {D} data.validation=1437", "data.validation"),
        (f"train {D} --out RUN", "already exists and is not empty"),
        (f"train {D} --out FILE/below", "Cannot write"),
        (f"train {D} --epochs 3", "No such option"),
        ("train --resume RUN --out elsewhere", "--out has no meaning with --resume"),
        ("train --resume nowhere", "There is no run directory nowhere"),
        ("evaluate nowhere", "There is no run directory nowhere"),
        ("evaluate PICTURES", "is not a run directory"),
        ("report RUN nowhere", "There is no run directory nowhere"),
        ("report RUN --out FILE/below.html", "Cannot write"),
        ("encode RUN FILE --out x.npz", "not a picture"),
        ("encode RUN nothing.png --out x.npz", "There is no file or folder nothing.png"),
        ("encode RUN EMPTY --out x.npz", "holds no pictures"),
        ("encode RUN EMPTY.npz --out x.npz", "not an .npz"),
        ("encode RUN NONE.npz --out x.npz", "no pictures"),
        ("encode RUN BARE.npz --out x.npz", "not an .npz"),
        ("encode RUN PICTURES --out x.png", "expected a name ending in .npz"),
        ("encode RUN PICTURES --out FILE/x.npz", "Cannot write"),
        ("reconstruct RUN BIG.png --out x.png", "16×16 pixels, but this network takes 8×8 grey"),
        ("reconstruct RUN PICTURES --out x.jpg", "expected a name ending in .png or .npz"),
        ("reconstruct RUN PICTURES --out FILE/x.png", "Cannot write"),
        ("interpolate RUN FILE FILE --out x.png", "not a picture"),
        ("interpolate RUN PICTURES PICTURES --steps 1 --out x.png", "--steps"),
        ("interpolate RUN PICTURES PICTURES --out x", "expected a name ending in .png or .npz"),
        ("data digit", "Did you mean 'digits'?"),
        ("data digits", "--out"),
        ("data digits --out x.png", "expected a folder, or a name ending in .npz"),
        ("data digits --out FILE/x", "Cannot write"),
        ("runs --all", "No such option"),
    ],
)  # fmt: skip
def test_a_mistake_ends_with_one_line(
    command: str, says: str, run_cli: Cli, tiny_run: Run, pictures: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("words")
    Path("EMPTY").mkdir()
    Path("EMPTY.npz").touch()
    np.savez("NONE.npz", images=np.zeros((0, 8, 8), np.uint8))
    np.save("BARE", np.zeros((1, 8, 8), np.uint8))
    Path("BARE.npy").rename("BARE.npz")
    Image.new("L", (16, 16)).save("BIG.png")
    named = {"RUN": tiny_run.path, "PICTURES": pictures}
    before = sorted(tmp_path.rglob("*"))
    status, out, err = run_cli(*(named.get(word, word) for word in command.split()))
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("sanggar: ")
    assert says in line
    assert sorted(tmp_path.rglob("*")) == before


def test_no_command_shows_the_help(run_cli: Cli) -> None:
    _, out, err = run_cli()
    assert (out + err).startswith("Usage: sanggar")


@pytest.mark.parametrize("command", ["evaluate", "encode"])
def test_a_run_without_weights_is_told_how_to_go_on(
    command: str, run_cli: Cli, copied_run: Run, pictures: Path, tmp_path: Path
) -> None:
    copied_run.weights_file.unlink()
    rest = (pictures, "--out", tmp_path / "x.npz") if command == "encode" else ()
    status, _, err = run_cli(command, copied_run.path, *rest)
    assert (status, len(err.splitlines())) == (2, 1)
    assert f"sanggar train --resume {copied_run.path}" in err


def test_weights_of_another_network_are_refused_in_one_line(run_cli: Cli, copied_run: Run) -> None:
    kept, meta = load_arrays(copied_run.weights_file)
    save_arrays(copied_run.weights_file, {name: array[:1] for name, array in kept.items()}, meta)
    status, _, err = run_cli("evaluate", copied_run.path)
    assert (status, len(err.splitlines())) == (2, 1)
    assert "does not fit the recipe" in err


def test_a_failure_of_the_work_ends_with_1(run_cli: Cli, tmp_path: Path) -> None:
    optimizer = "training.optimizer={kind: sgd, learning_rate: 1e18}"
    status, _, err = run_cli("train", D, *TINY, optimizer, "--out", tmp_path / "run")
    assert status == 1
    assert err.splitlines()[-1].startswith("sanggar: autoencoder/mse became ")
    assert "Traceback" not in err


# -- how fast it answers -----------------------------------------------------------------------------------------


def test_help_is_quick() -> None:
    console = shutil.which("sanggar", path=Path(sys.executable).parent)
    assert console is not None
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        done = subprocess.run([console, "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - began)
    assert "Start with: sanggar run" in done.stdout
    assert min(seconds) < 0.4


@pytest.mark.parametrize(
    "work", ["import sanggar", "import sanggar; sanggar.Run", "from sanggar.cli import main; main(['--help'])"]
)
def test_nothing_heavy_is_imported_before_it_is_needed(work: str) -> None:
    check = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {work}"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, env=os.environ)
    loaded = set(done.stderr.split())
    assert "sanggar" in loaded
    heavy = {"torch", "accelerate", "sklearn", "skimage", "scipy", "matplotlib", "PIL"}
    if "Run" not in work:
        heavy |= {"numpy", "pydantic", "ruamel.yaml"}
    assert not loaded & heavy
