"""Every command, as a user types it: what it writes, and how it says no."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sanggar
from conftest import TINY, TINY_FFNN, Cli
from sanggar.data.sources import SOURCES
from sanggar.plan import FAMILIES
from sanggar.recipe import shipped
from sanggar.reporting import labels
from sanggar.results import headlines
from sanggar.results.stored import read
from sanggar.runs import Run, load_arrays, save_arrays


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
    assert read(run).step == 36
    assert run.report_file.read_text().startswith("<!doctype html>")


@pytest.mark.slow
def test_run_of_a_network_that_tells_classes_apart(run_cli: Cli, tmp_path: Path) -> None:
    status, out, err = run_cli("run", "digits-ffnn", *TINY_FFNN, "--out", tmp_path / "run")
    assert status == 0
    headlines = [line.split("  ")[0] for line in out.splitlines() if not line.startswith("ALARM: ")]
    assert headlines[:-1] == ["accuracy", "cross-entropy", "expected calibration error"]
    assert headlines[-1] == f"Report: {tmp_path / 'run' / 'report.html'}"
    told = [line for line in err.splitlines() if line.startswith("epoch")]
    accuracies = [line["watched"]["validation"]["ffnn/accuracy"] for line in Run(tmp_path / "run").metrics()]
    assert [f"  accuracy {accuracy:.4f}  " in line for accuracy, line in zip(accuracies, told, strict=True)] == [
        True
    ] * 2
    assert "measuring classification" in err
    assert "measuring latent" not in err


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


@pytest.mark.slow
def test_evaluate_says_the_headlines(run_cli: Cli, copied_run: Run) -> None:
    before = read(copied_run)
    copied_run.evaluation_file.unlink()
    status, out, err = run_cli("evaluate", copied_run.path)
    assert status == 0
    assert read(copied_run).measurements == before.measurements
    first = [labels.label_with_subject(m) for m in headlines(before)]
    assert first
    assert [label in line for label, line in zip(first, out.splitlines(), strict=False)] == [True] * len(first)
    assert "measuring denoising" in err


def test_numbers_of_fewer_epochs_are_not_shown_for_more(run_cli: Cli, copied_run: Run) -> None:
    assert run_cli("train", "--resume", copied_run.path, "training.epochs=3")[0] == 0
    status, _, err = run_cli("report", copied_run.path)
    assert status == 2
    assert "sanggar evaluate" in err


@pytest.mark.slow
def test_measuring_says_the_step_of_the_weights_that_it_measured(run_cli: Cli, copied_run: Run) -> None:
    copied_run.update(status="stopped", step=40)  # made longer, stopped again: the weights are still the shorter run's
    run_cli("evaluate", copied_run.path)
    assert read(copied_run).step == 36


@pytest.mark.slow
def test_report_of_one_run_and_of_two(run_cli: Cli, copied_run: Run, tiny_run: Run, tmp_path: Path) -> None:
    assert run_cli("report", copied_run.path) == (0, f"{copied_run.report_file}\n", "")
    both = tmp_path / "both.html"
    assert run_cli("report", copied_run.path, tiny_run.path, "--out", both) == (0, f"{both}\n", "")
    assert "copied" in both.read_text()


def test_reconstruct_gives_back_as_many_pictures(run_cli: Cli, tiny_run: Run, pictures: Path, tmp_path: Path) -> None:
    out, again, sheet = tmp_path / "out.npz", tmp_path / "again.npz", tmp_path / "sheet.png"
    assert run_cli("reconstruct", tiny_run.path, pictures, "--out", out) == (0, f"{out}\n", "")
    assert list(arrays(out)) == ["images"]
    assert (arrays(out)["images"].dtype, arrays(out)["images"].shape) == (np.dtype(np.uint8), (12, 8, 8))
    first = min(pictures.iterdir())
    assert run_cli("reconstruct", tiny_run.path, first, "--out", again)[0] == 0
    np.testing.assert_array_equal(arrays(again)["images"], arrays(out)["images"][:1])
    assert run_cli("reconstruct", tiny_run.path, out, "--out", sheet)[0] == 0
    with Image.open(sheet) as image:  # ten given, ten back, two given, two back; 8 pixels and a gap of 2, fourfold
        assert (image.mode, image.size) == ("L", (4 * 98, 4 * 38))
        shown = np.asarray(image)[::4, ::4]
    np.testing.assert_array_equal(shown[:8, :8], arrays(out)["images"][0])


def test_more_pictures_than_a_sheet_holds_or_a_grid_needs_are_refused_before_any_is_made(
    run_cli: Cli, tiny_run: Run, pictures: Path, tmp_path: Path
) -> None:
    many, four = tmp_path / "many.npz", sorted(pictures.iterdir())[:4]
    np.savez_compressed(many, images=np.zeros((400_000, 8, 8), np.uint8))
    status, _, err = run_cli("reconstruct", tiny_run.path, many, "--out", tmp_path / "sheet.png")
    assert (status, "800,000 pictures are too many for one sheet; write FILE.npz instead" in err) == (2, True)
    status, _, err = run_cli("interpolate", tiny_run.path, *four, "--steps", 101, "--out", tmp_path / "walk.npz")
    assert (status, "of four pictures at most 100 along an edge" in err) == (2, True)
    assert not list(tmp_path.glob("sheet*")) + list(tmp_path.glob("walk*"))


def test_encode_names_what_it_encodes(run_cli: Cli, tiny_run: Run, pictures: Path, tmp_path: Path) -> None:
    stack, out = tmp_path / "stack.npz", tmp_path / "out.npz"
    assert run_cli("encode", tiny_run.path, pictures, "--out", out)[0] == 0
    found = arrays(out)
    assert sorted(found) == ["latents", "names"]
    assert (found["latents"].dtype, found["latents"].shape) == (np.dtype(np.float32), (12, 6))
    assert found["names"].tolist() == sorted(path.name for path in pictures.iterdir())
    assert run_cli("data", "digits", "--count", "12", "--out", stack)[0] == 0
    assert run_cli("encode", tiny_run.path, stack, "--out", out)[0] == 0
    np.testing.assert_allclose(arrays(out)["latents"], found["latents"], rtol=1e-5)
    assert arrays(out)["names"][0] == "stack.npz[0]"


def test_classify_says_a_class_for_each_picture_and_how_sure_it_is(
    run_cli: Cli, ffnn_run: Run, pictures: Path, tmp_path: Path
) -> None:
    painter = sanggar.open(ffnn_run)
    files = sorted(pictures.iterdir())
    shares = painter.classify(files)
    status, out, err = run_cli("classify", ffnn_run.path, pictures)
    assert (status, err) == (0, "")
    expected = [
        (f.name, painter.spec.classes[row.argmax()], f"{row.max():.3f}") for f, row in zip(files, shares, strict=True)
    ]
    assert [tuple(line.split()) for line in out.splitlines()] == expected
    assert len({line.index("  ") for line in out.splitlines()}) == 1, "in columns"
    (alone,) = run_cli("classify", ffnn_run.path, files[3])[1].splitlines()
    assert tuple(alone.split()) == expected[3]
    stack = tmp_path / "stack.npz"
    assert run_cli("data", "digits", "--count", "12", "--out", stack)[0] == 0
    lines = run_cli("classify", ffnn_run.path, stack)[1].splitlines()
    assert [tuple(line.split()) for line in lines] == [(f"stack.npz[{i}]", *e[1:]) for i, e in enumerate(expected)]


def test_classify_writes_the_probability_of_every_class(
    run_cli: Cli, ffnn_run: Run, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.npz"
    assert run_cli("classify", ffnn_run.path, pictures, "--out", out) == (0, f"{out}\n", "")
    found = arrays(out)
    assert sorted(found) == ["classes", "names", "probabilities"]
    assert found["classes"].tolist() == ffnn_run.info["data"]["classes"]
    assert found["names"].tolist() == sorted(path.name for path in pictures.iterdir())
    assert (found["probabilities"].dtype, found["probabilities"].shape) == (np.dtype(np.float32), (12, 10))
    np.testing.assert_array_equal(found["probabilities"], sanggar.open(ffnn_run).classify(pictures))


def test_interpolate_walks_between_two_pictures(run_cli: Cli, tiny_run: Run, pictures: Path, tmp_path: Path) -> None:
    ends = sorted(pictures.iterdir())[:2]
    out, sheet, back = tmp_path / "walk.npz", tmp_path / "walk.png", tmp_path / "back.npz"
    assert run_cli("interpolate", tiny_run.path, *ends, "--steps", "5", "--out", out)[0] == 0
    walk = arrays(out)["images"]
    assert (walk.dtype, walk.shape) == (np.dtype(np.uint8), (5, 8, 8))
    assert run_cli("reconstruct", tiny_run.path, pictures, "--out", back)[0] == 0
    np.testing.assert_array_equal(walk[[0, -1]], arrays(back)["images"][:2])
    assert run_cli("interpolate", tiny_run.path, *ends, "--out", sheet)[0] == 0
    with Image.open(sheet) as image:
        assert image.size == (4 * (9 * 10 - 2), 4 * 8)
    square = run_cli("interpolate", tiny_run.path, *ends, *ends[::-1], "--steps", "3", "--out", tmp_path / "grid.npz")
    assert square[0] == 0
    grid, came_back = arrays(tmp_path / "grid.npz")["images"], arrays(back)["images"]
    assert grid.shape == (9, 8, 8)
    assert np.abs(grid[[0, 2, 6, 8]].astype(int) - came_back[[0, 1, 1, 0]]).max() <= 1
    many = run_cli("interpolate", tiny_run.path, pictures, ends[0], "--out", tmp_path / "many.png")
    assert many[0] == 2 and "expected one" in many[2] and not (tmp_path / "many.png").exists()


def test_data_lists_the_sets_and_writes_labelled_pictures(run_cli: Cli, tmp_path: Path) -> None:
    lines = run_cli("data")[1].splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(SOURCES)
    out = tmp_path / "some.npz"
    assert run_cli("data", "digits", "--out", out)[0] == 0
    found = arrays(out)
    assert (found["images"].dtype, found["images"].shape) == (np.dtype(np.uint8), (10, 8, 8))
    assert (found["labels"].dtype, found["labels"].shape) == (np.dtype(np.int64), (10,))
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


@pytest.mark.parametrize(("recipe", "overrides", "table", "says"), [
    (
        "digits-ffnn", [],
        [("dense1", "Dense", 64, 65 * 64), ("activation1", "relu", 64, 0), ("dense2", "Dense", 10, 650),
         ("output", "softmax", 10, 0)],
        ["4,810 parameters", "ffnn (adam, learning rate 0.003, 4,810 parameters)", "1,110 steps", "hidden: [64]"],
    ),
    (
        "mnist-ffnn-plus", ["model.hidden=[64]", "model.dropout=0.1", "model.loss=binary_cross_entropy"],
        [("dense1", "Dense", 64, 785 * 64), ("batchnorm1", "BatchNorm", 64, 128), ("activation1", "relu", 64, 0),
         ("dropout1", "Dropout", 64, 0), ("dense2", "Dense", 10, 650), ("output", "sigmoid", 10, 0)],
        ["51,018 parameters", "ffnn (adamw, learning rate 0.005, 51,018 parameters)", "8,430 steps", "test: 14000"],
    ),
])  # fmt: skip
def test_describe_says_layers_cost_and_options_of_a_network_from_scratch(
    recipe: str, overrides: list[str], table: list[tuple[str, str, int, int]], says: list[str], run_cli: Cli,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("SANGGAR_DATA", str(tmp_path / "no data"))
    status, out, err = run_cli("describe", recipe, *overrides)
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    head = lines.index(["layer", "kind", "output", "parameters"])
    shown = lines[head + 1 : head + 1 + len(table)]
    assert shown == [[name, kind, str(width), f"{count:,}"] for name, kind, width, count in table]
    for expected in (*says, "(cpu, fp32)", "of memory beside Python's own", "family: ffnn"):
        assert expected in out


def test_the_schema_knows_the_options_of_every_family(run_cli: Cli) -> None:
    definitions = json.loads(run_cli("describe", "--schema")[1])["$defs"]
    for name, family in FAMILIES.items():
        known = definitions[f"model_{name}"]
        assert set(known["properties"]) == set(family.Options.model_fields)
        assert known["properties"]["family"]["const"] == name
        assert known["additionalProperties"] is False


def test_recipes_are_listed_with_what_they_are(run_cli: Cli) -> None:
    _, out, _ = run_cli("recipes")
    assert out.splitlines()[::2] == list(shipped())
    assert all(line.startswith("    ") and line.endswith(".") for line in out.splitlines()[1::2])


# -- how it says no ----------------------------------------------------------------------------------------------

D = "digits-denoising-autoencoder"
F = "digits-ffnn"


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
        ("interpolate RUN FILE FILE FILE --out x.png", "Give two pictures, or four for a grid between them, not 3"),
        ("interpolate RUN FILE FILE FILE FILE --arc --out x.png", "between four there is none"),
        ("interpolate RUN PICTURES PICTURES --steps 1 --out x.png", "--steps"),
        ("interpolate RUN PICTURES PICTURES --out x", "expected a name ending in .png or .npz"),
        ("encode CLASSES PICTURES --out x.npz", "cannot encode: its model (FeedForward) can classify, neurons"),
        ("reconstruct CLASSES PICTURES --out x.png", "cannot reconstruct: its model (FeedForward) can classify"),
        ("interpolate CLASSES PICTURES PICTURES --out x.png", "(FeedForward) can classify, neurons"),
        ("encode CLASSES BIG.png --out x.npz", "cannot encode: its model (FeedForward)"),
        ("interpolate CLASSES BIG.png BIG.png --out x.png", "cannot encode: its model (FeedForward)"),
        ("classify RUN PICTURES", "cannot classify: its model (Autoencoder) can encode, decode, reconstruct, disturb"),
        ("classify CLASSES", "Missing argument 'IMAGES'"),
        ("classify CLASSES PICTURES --out x.png", "expected a name ending in .npz"),
        ("classify CLASSES PICTURES --out FILE/x.npz", "Cannot write"),
        ("classify CLASSES BIG.png", "16×16 pixels, but this network takes 8×8 grey"),
        ("classify CLASSES EMPTY", "holds no pictures"),
        ("classify CLASSES NONE.npz", "no pictures"),
        ("classify nowhere PICTURES", "There is no run directory nowhere"),
        (f"train {F} model.hiden=[3]", "Did you mean 'hidden'?"),
        (f"train {F} model.widths=[3]", "model.widths: there is no such key. Known: family, hidden, activation"),
        (f"train {F} model.normalization=bach", "Did you mean 'batch'?"),
        (f"train {F} model.loss=cross_entropy", "Did you mean 'binary_cross_entropy'?"),
        (f"train {F} model.family=fnn", "Did you mean 'ffnn'?"),
        (f"train {F} model.initializer.kind=he", "model.initializer.kind: there is no 'he'. Known: zero, xavier"),
        (f"train {F} model.initializer.kind=he_norml", "Did you mean 'he_normal'?"),
        (f"train {F} model.initializer.low=3", "model.initializer.kind: missing; the options beside it depend on it"),
        (f"train {F} model.dropout=1", "model.dropout: expected less than 1, got 1"),
        (f"train {F} data.test=1797", "data.test: 1797 pictures cannot be cut from 1797"),
        (f"train {F} data.test=1600", "data.validation: 237 pictures cannot be cut from 197"),
        (f"train {F} training.batch_size=5000", "training.batch_size: a step takes 5000 pictures"),
        ("data digit", "Did you mean 'digits'?"),
        ("data digits", "--out"),
        ("data digits --out x.png", "expected a folder, or a name ending in .npz"),
        ("data digits --out FILE/x", "Cannot write"),
        ("runs --all", "No such option"),
    ],
)  # fmt: skip
def test_a_mistake_ends_with_one_line(
    command: str, says: str, run_cli: Cli, tiny_run: Run, ffnn_run: Run, pictures: Path, tmp_path: Path,
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
    named = {"RUN": tiny_run.path, "CLASSES": ffnn_run.path, "PICTURES": pictures}
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
    "work",
    [
        "import sanggar",
        "import sanggar; sanggar.Run",
        "from sanggar.cli import main; main(['--help'])",
        "import sanggar.training.start",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(work: str) -> None:
    check = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {work}"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, env=os.environ)
    loaded = set(done.stderr.split())
    assert "sanggar" in loaded
    heavy = {"sklearn", "skimage", "scipy", "matplotlib"}
    if "training" not in work:
        heavy |= {"torch", "accelerate", "PIL"}
    if "Run" not in work and "training" not in work:
        heavy |= {"numpy", "pydantic", "ruamel.yaml"}
    assert not loaded & heavy
