"""Runs that 0.1.0 made: everything that it measured is read, and every command works on them.

The runs are in `tests/fixtures/format-1.zip`, made by `make_format_1.py` with that version installed.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sanggar
from conftest import Cli
from sanggar.evaluation.evaluate import METRICS
from sanggar.reporting import labels
from sanggar.results import FORMAT, Evaluation, Measurement
from sanggar.results.format1 import NEITHER
from sanggar.results.stored import read, read_arrays, read_tools, save
from sanggar.runs import Arrays, Run, load_arrays, save_arrays
from typed import listed

ZIP = Path(__file__).parent / "fixtures" / "format-1.zip"
MEASURED = ("autoencoder", "ffnn", "classifier", "gan", "vae", "held-out", "faces")
STOPPED = ("stopped", "stopped-gan")

Copy = Callable[[str], Run]


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs. Not to be changed: copy a run first."""
    folder = tmp_path_factory.mktemp("format-1")
    with zipfile.ZipFile(ZIP) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(autouse=True)
def of_these_data(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The faces lie beside the runs."""
    monkeypatch.setenv("SANGGAR_DATA", str(unpacked / "data"))


@pytest.fixture
def old(unpacked: Path, tmp_path: Path) -> Copy:
    """A copy of a run that a test may change."""
    return lambda name: Run(shutil.copytree(unpacked / name, tmp_path / name))


@pytest.fixture(params=MEASURED)
def run(request: pytest.FixtureRequest, unpacked: Path) -> Run:
    """Each of the runs that were measured. Not to be changed."""
    return Run(unpacked / request.param)


def stored(run: Run) -> dict[str, Any]:
    """The JSON that 0.1.0 wrote."""
    tree: dict[str, Any] = json.loads(run.evaluation_file.read_text(encoding="utf-8"))
    return tree


def values_of(evaluation: Evaluation) -> list[tuple[float, list[float] | None]]:
    return [(m.value, None if m.interval is None else list(m.interval)) for m in evaluation.measurements]


# -- measurements ----------------------------------------------------------------------------------------------


def test_every_number_is_one_measurement_with_the_same_value_and_interval(run: Run) -> None:
    tree, evaluation = stored(run), read(run)
    assert (tree["format"], evaluation.format) == (1, FORMAT)
    assert values_of(evaluation) == [(n["value"], n["interval"]) for n in tree["numbers"]]
    assert [m.headline for m in evaluation.measurements] == [n["headline"] for n in tree["numbers"]]
    identities = {json.dumps([m.key, m.subject, m.tags], sort_keys=True) for m in evaluation.measurements}
    assert len(identities) == len(tree["numbers"]) > 0
    assert (evaluation.step, evaluation.weights, evaluation.package) == (tree["step"], tree["weights"], "0.1.0")
    assert sorted(evaluation.seconds.values()) == sorted(tree["seconds"].values())
    assert set(evaluation.seconds) <= set(METRICS)


def test_the_number_of_pictures_the_split_and_the_data_are_the_same(run: Run) -> None:
    for m, n in zip(read(run).measurements, stored(run)["numbers"], strict=True):
        assert m.protocol.model_dump(include={"n", "split", "data"}) == {
            name: n["protocol"][name] for name in ("n", "split", "data")
        }


@pytest.mark.parametrize(("name", "before", "given", "after"), [
    ("autoencoder", ("reconstruction.mse", "network"), {"input": "clean"}, ("reconstruction.mse", "network", {})),
    ("autoencoder", ("reconstruction.psnr", "PCA"), {}, ("reconstruction.psnr", "pca", {})),
    ("autoencoder", ("reconstruction.ssim", "network"), {"level": 0.2},
     ("denoising.ssim", "network", {"level": 0.2})),
    ("autoencoder", ("denoising.psnr", "do nothing"), {"level": 0.3},
     ("denoising.compared_psnr", "identity", {"level": 0.3})),
    ("autoencoder", ("denoising.psnr", "non-local means"), {"level": 0.2},
     ("denoising.compared_psnr", "non_local_means", {"level": 0.2})),
    ("autoencoder", ("denoising.gain", "network"), {"level": 0.3}, ("denoising.gain", "network", {"level": 0.3})),
    ("autoencoder", ("latent.knn", "pixels"), {}, ("latent.knn", "pixels", {})),
    ("autoencoder", ("exploration.recall", "training pictures, the floor"), {}, ("exploration.recall", "floor", {})),
    ("autoencoder", ("exploration.precision", "network"), {}, ("exploration.precision", "network",
     {"source": "mixture"})),
    ("vae", ("exploration.recall", "network"), {"drawn_from": "the prior at temperature 1"},
     ("exploration.recall", "network", {"source": "prior", "temperature": 1.0})),
    ("ffnn", ("classification.accuracy", "largest class"), {}, ("classification.accuracy", "largest_class", {})),
    ("ffnn", ("classification.recall", "network"), {"class": "7"}, ("classification.recall", "network",
     {"class": "7"})),
    ("gan", ("generation.coverage", "real test pictures"), {}, ("generation.coverage", "floor", {})),
    ("gan", ("generation.class_agreement", "network"), {"class": "3"}, ("generation.class_agreement", "network",
     {"class": "3"})),
    ("vae", ("inference.bound", "network"), {"told": "nothing"}, ("bounds.negative_elbo", "network", {})),
    ("vae", ("inference.bits", "network"), {"told": "class"}, ("bounds.bits_per_dimension", "network",
     {"condition": "class"})),
    ("faces", ("inference.importance", "network"), {"told": "hair, age", "draws": 10},
     ("bounds.importance_weighted", "network", {"condition": "hair, age", "draws": 10})),
    ("faces", ("inference.importance", "network"), {"told": "nothing", "draws": 100},
     ("bounds.importance_weighted", "network", {"draws": 100})),
    ("vae", ("inference.active", "network"), {}, ("bounds.active_dimensions", "network", {})),
    ("vae", ("inference.beta_squared", "network"), {}, ("bounds.beta_squared", "network", {})),
    ("held-out", ("anomaly.auroc", "kNN"), {"odd": "held-out classes", "score": "distance to training pictures"},
     ("anomaly.auroc", "knn", {"odd": "held_out", "score": "neighbours"})),
    ("held-out", ("anomaly.precision", "network"), {"odd": "small defect", "score": "minus the bound"},
     ("anomaly.average_precision", "network", {"odd": "defect", "score": "bound"})),
    ("vae", ("anomaly.auroc", "PCA"), {"odd": "all four corruptions", "score": "residual in deviations of its pixel"},
     ("anomaly.auroc", "pca", {"odd": "corrupted", "score": "residual"})),
    ("faces", ("attributes.probe", "PCA"), {"attribute": "hair"}, ("attributes.probe", "pca", {"attribute": "hair"})),
    ("faces", ("attributes.mig", "network"), {}, ("attributes.mig", "network", {})),
    ("vae", ("attributes.success", "network"), {"attribute": "class=0", "strength": 2.0},
     ("edits.success", "network", {"attribute": "class=0", "strength": 2.0})),
    ("vae", ("attributes.success_validation", "network"), {"attribute": "class=0"},
     ("edits.success_validation", "network", {"attribute": "class=0", "strength": 2.0})),
    ("vae", ("attributes.judge", "judge"), {"attribute": "class=0"}, ("edits.judge", "judge",
     {"attribute": "class=0"})),
    ("held-out", ("attributes.mean_success_psnr", "network"), {}, ("edits.mean_success_psnr", "network",
     {"strength": 2.0})),
])  # fmt: skip
def test_a_number_is_found_by_its_key_its_subject_and_its_tags(
    unpacked: Path, name: str, before: tuple[str, str], given: dict[str, Any], after: tuple[str, str, dict[str, Any]]
) -> None:
    run = Run(unpacked / name)
    (number,) = [
        n for n in stored(run)["numbers"]
        if (n["key"], n["subject"]) == before and given.items() <= n["protocol"].items()
    ]  # fmt: skip
    key, subject, tags = after
    (m,) = [m for m in read(run).find(key, subject, **tags) if m.tags == tags]
    assert m.value == number["value"]
    assert (None if m.interval is None else list(m.interval)) == number["interval"]


def test_protocols_hold_plain_values(run: Run) -> None:
    for m in read(run).measurements:
        settings = m.protocol.settings
        assert not {"told", "drawn_from", "level", "class", "attribute", "strength", "odd"} & set(settings)
        for name in ("fitted_on", "tuned_on", "among", "size", "bins", "subsets"):
            assert type(settings.get(name, 0)) is int, (m.key, name)
        if m.key in ("reconstruction.ssim", "denoising.ssim"):
            assert (settings["window"], settings["borders"]) == (0.5, "mirrored")
        assert settings.get("output", "uint8") == "uint8"
        assert settings.get("trial", "held_out") in ("held_out", "corrupted", "simpler")
        assert settings.get("score", "R²") in ("R²", "balanced accuracy")
        assert (m.better is None) == (m.key in NEITHER)
        assert m.unit in ("", "dB", "nats", "bits", "deviations", "dimensions", "scale")


def test_units_are_those_of_format_2(unpacked: Path) -> None:
    evaluation = read(Run(unpacked / "vae"))
    units = {m.key: m.unit for m in evaluation.measurements}
    assert {key: units[key] for key in ("reconstruction.mse", "reconstruction.psnr", "bounds.deviation")} == {
        "reconstruction.mse": "scale", "reconstruction.psnr": "dB", "bounds.deviation": "scale",
    }  # fmt: skip
    (active,) = evaluation.find("bounds.active_dimensions")
    assert (active.unit, active.protocol.settings["size"]) == ("dimensions", 3)
    assert labels.unit(active) == "of 3"


def test_alarms_are_told_in_their_words(run: Run) -> None:
    assert [labels.alarm(alarm) for alarm in read(run).alarms] == stored(run)["alarms"]


def test_every_measurement_has_a_label(run: Run) -> None:
    for m in read(run).measurements:
        assert "{" not in labels.label_with_subject(m) + labels.protocol(m)
        assert m.key in labels.LABELS
        assert m.subject in labels.SUBJECTS


ADDED = {"anomaly.pixel_auroc", "anomaly.region_overlap", "denoising.train_mse"}
"""What is measured today and 0.1.0 did not measure"""


def described(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Everything about each measurement but its value and interval."""
    return {
        json.dumps([m.key, m.subject, m.tags], sort_keys=True): m.model_dump(exclude={"value", "interval"})
        for m in measurements
    }


# -- arrays and tools ------------------------------------------------------------------------------------------


def test_every_array_is_an_array_a_tool_or_a_detail(run: Run) -> None:
    given, arrays, (tools, details) = load_arrays(run.arrays_file)[0], read_arrays(run), read_tools(run)
    texts = {"grid.best", "exploration.traversals.unit", "attributes.edits"}
    counts = {"mistakes.count", "generation.columns", "generation.truncation.n"}
    assert len(arrays) + len(tools) == len(set(given) - texts - counts)
    left = [array.tobytes() for name, array in given.items() if name not in texts | counts]
    assert sorted(array.tobytes() for array in (*arrays.values(), *tools.values())) == sorted(left)
    assert {name.split(".")[0] for name in arrays} <= set(METRICS)
    assert details["step"] == stored(run)["step"]


ARRAYS = {
    "autoencoder": {
        "grid.rows": "denoising.grid", "best.rows": "denoising.best", "worst.psnr": "denoising.worst_psnr",
        "map.places": "latent.map_places", "strips.pictures": "latent.strips", "strips.ends": "latent.strip_ends",
        "attributes.strips": "edits.strips", "attributes.strengths": "edits.strengths",
        "exploration.traversals": "exploration.traversals",
        "exploration.traversals.held": "exploration.traversal_held",
    },
    "vae": {
        "best.rows": "reconstruction.best", "worst.rows": "reconstruction.worst", "inference.rates": "bounds.rates",
        "best.psnr": "reconstruction.best_psnr", "inference.active": "bounds.active",
        "anomaly.normal.PCA.latent": "anomaly.normal.pca.latent",
        "anomaly.odd.all four corruptions.kNN.neighbours": "anomaly.odd.corrupted.knn.neighbours",
        "anomaly.odd.small defect.network.regret": "anomaly.odd.defect.network.regret",
        "anomaly.shown.odd": "anomaly.shown_odd", "anomaly.shown.normal.shares": "anomaly.shown_normal_shares",
        "generation.neighbours.distances": "generation.neighbour_distances",
        "generation.truncation.recall": "generation.truncation_recall",
    },
    "ffnn": {
        "classes.confusion": "classification.confusion", "mistakes.pixels": "classification.mistakes",
        "mistakes.labels": "classification.mistake_labels", "neurons.weights.dense1": "classification.weights.dense1",
        "neurons.gradients.dense2": "classification.gradients.dense2",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_called_as_metrics_call_them(unpacked: Path, name: str) -> None:
    run = Run(unpacked / name)
    given, arrays = load_arrays(run.arrays_file)[0], read_arrays(run)
    for before, after in ARRAYS[name].items():
        np.testing.assert_array_equal(arrays[after], given[before])
        assert arrays[after].dtype == given[before].dtype


def test_text_and_counts_that_lay_among_the_arrays_are_details(unpacked: Path) -> None:
    details = {name: read(Run(unpacked / name)).details for name in MEASURED}
    assert details["autoencoder"]["denoising"] == {"best": "non_local_means"}
    assert details["autoencoder"]["exploration"] == {"traversal_unit": "variance_percent"}
    assert details["vae"]["exploration"] == {"traversal_unit": "nats"}
    assert details["gan"]["generation"] == {"columns": 8, "truncation_n": 64}
    assert details["faces"]["generation"] == {"columns": 8}
    given = load_arrays(unpacked / "ffnn" / "evaluation.safetensors")[0]
    wrong, n = given["mistakes.count"].tolist()
    assert details["ffnn"]["classification"] == {"wrong": wrong, "n": n}
    edits = listed(details["vae"]["edits"]["edits"])
    assert [set(edit) for edit in edits] == [{"name", "method", "kind"}] * len(edits)
    assert {edit["kind"] for edit in edits} == {"flag"}
    assert details["classifier"].keys() == {"classification"}


def test_tools_are_what_was_fitted(unpacked: Path) -> None:
    run = Run(unpacked / "vae")
    given, (tools, details) = load_arrays(run.arrays_file)[0], read_tools(run)
    assert details == {"step": run.info["step"], "edits": read(run).details["edits"]["edits"]}
    np.testing.assert_array_equal(tools["edits.vectors"], given["attributes.vectors"])
    np.testing.assert_array_equal(tools["edits.conditions"], given["attributes.told"])
    assert tools["edits.conditions"].shape == (len(details["edits"]), 2, 10)
    np.testing.assert_array_equal(tools["anomaly.normal.kl"], given["anomaly.known.normal.kl"])
    np.testing.assert_array_equal(tools["anomaly.deviations"], given["anomaly.known.deviations"])
    assert not any(name.startswith("mixture.") for name in tools)  # 0.1.0 kept none
    assert read_tools(Run(unpacked / "gan")) == ({}, {"step": 20})


def test_an_edit_by_another_condition_is_called_so(old: Copy) -> None:
    run = old("vae")
    arrays = load_arrays(run.arrays_file)[0]
    edits = json.loads(arrays["attributes.edits"].tobytes())
    edits[1]["method"] = "told"
    text = np.frombuffer(json.dumps(edits).encode(), np.uint8)
    save_arrays(run.arrays_file, {**arrays, "attributes.edits": text})
    assert read_tools(run)[1]["edits"][1]["method"] == "condition"
    assert listed(read(run).details["edits"]["edits"])[1]["method"] == "condition"


def test_what_is_read_of_an_old_run_is_saved_and_read_in_this_format(old: Copy) -> None:
    for name in MEASURED:
        run = old(name)
        evaluation, arrays, (tools, details) = read(run), read_arrays(run), read_tools(run)
        save(run, evaluation, arrays, tools, details)
        assert stored(run)["format"] == FORMAT
        assert read(run).model_copy(update={"files": {}}) == evaluation
        assert set(read(run).files) == {"evaluation", "tools"}
        again, (tools_again, details_again) = read_arrays(run), read_tools(run)
        assert details_again == details
        for one, other in ((arrays, again), (tools, tools_again)):
            assert {name: array.tobytes() for name, array in one.items()} == {
                name: array.tobytes() for name, array in other.items()
            }


# -- what does not fit together --------------------------------------------------------------------------------

MISFITS: dict[str, tuple[str, Callable[[dict[str, Any], Arrays], object]]] = {
    "no number of mistakes": ("ffnn", lambda tree, arrays: tree["details"]["classification"].update(wrong=None)),
    "another number of edits": ("autoencoder", lambda tree, arrays: tree["details"]["edits"]["edits"].pop()),
    "edits that are text": ("autoencoder", lambda tree, arrays: tree["details"]["edits"].update(edits="text")),
    "edits without a name": ("autoencoder", lambda tree, arrays: tree["details"]["edits"]["edits"][0].clear()),
    "no level of noise": ("autoencoder", lambda tree, arrays: [m["tags"].clear() for m in tree["measurements"]
                                                               if (m["key"], m["tags"]) == ("denoising.gain",
                                                                                            {"level": 0.3})]),
    "no class": ("gan", lambda tree, arrays: [m["tags"].clear() for m in tree["measurements"]
                                              if m["subject"] == "floor" and m["tags"] == {"class": "3"}]),
    "no strengths": ("autoencoder", lambda tree, arrays: arrays.pop("edits.strengths")),
    "a map without labels": ("autoencoder", lambda tree, arrays: arrays.pop("latent.map_labels")),
}  # fmt: skip
"""By what is wrong with it: a run, and what makes its evaluation so"""


@pytest.mark.parametrize("wrong", MISFITS)
def test_an_evaluation_whose_parts_do_not_fit_together_is_refused_in_one_line(
    run_cli: Cli, old: Copy, wrong: str
) -> None:
    name, change = MISFITS[wrong]
    run = old(name)
    evaluation, arrays, tools = read(run), read_arrays(run), read_tools(run)
    tree = evaluation.model_dump(mode="json")
    change(tree, arrays)
    save(run, evaluation, arrays, *tools)
    run.evaluation_file.write_text(json.dumps(tree))
    status, _, err = run_cli("report", run.path)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert str(run.path) in err
    assert "sanggar evaluate" in err
    assert not run.report_file.exists()


# -- commands --------------------------------------------------------------------------------------------------


@pytest.fixture
def digits(run_cli: Cli, tmp_path: Path) -> Path:
    """A folder of twelve test pictures."""
    assert run_cli("data", "digits", "--out", tmp_path / "pictures", "--count", "12")[0] == 0
    return tmp_path / "pictures"


@pytest.fixture
def pictures_of(unpacked: Path, digits: Path, tmp_path: Path) -> Callable[[str], list[Path]]:
    """Files of a run's own data."""

    def files(name: str) -> list[Path]:
        if name != "faces":
            return sorted(digits.iterdir())
        with zipfile.ZipFile(unpacked / "data" / "faces.zip") as archive:
            names = [name for name in archive.namelist() if name.endswith(".png")][:12]
            return [Path(archive.extract(name, tmp_path / "faces pictures")) for name in names]

    return files


def succeeds(run_cli: Cli, *command: str | Path) -> str:
    """Standard output of a command that has to succeed."""
    status, out, err = run_cli(*command)
    assert status == 0, err
    return out


def loaded(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("name", [*MEASURED, *STOPPED])
def test_the_recipe_of_an_old_run_is_described(run_cli: Cli, unpacked: Path, name: str) -> None:
    out = succeeds(run_cli, "describe", unpacked / name / "recipe.yaml")
    assert "untold" not in out
    assert "probe_images" not in out
    assert "train_images" in out


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_an_old_run_measured_again_has_the_same_measurements_under_the_same_protocols(
    run_cli: Cli, old: Copy, name: str
) -> None:
    """Two runs compare only where their protocols are equal: one that 0.1.0 measured with one measured today."""
    run = old(name)
    before = read(run)
    out = succeeds(run_cli, "evaluate", run.path)
    after = read(Run(run.path))
    assert stored(run)["format"] == FORMAT
    by_general = [m for m in after.measurements if str(m.protocol.settings.get("network")).startswith("judge general")]
    assert bool(by_general) == (name == "faces"), "of pictures of one's own it says what nothing said before"
    measured = [m for m in after.measurements if m not in by_general]
    assert {m.key for m in measured} - {m.key for m in before.measurements} <= ADDED
    known = [m for m in measured if m.key not in ADDED and m.tags.get("source") != "midpoint"]
    assert described(known) == described(before.measurements)
    assert all(labels.label_with_subject(m) in out for m in after.measurements if m.headline)
    exploring = "exploration" in before.details  # draws at several temperatures, which was swept as truncation as well
    for metric, given in before.details.items():
        left = {"truncation_n"} if exploring else set()
        assert {key: after.details[metric].get(key) for key in given if key not in left} == {
            key: value for key, value in given.items() if key not in left
        }


@pytest.mark.slow
def test_an_old_run_is_measured_by_other_options(run_cli: Cli, old: Copy) -> None:
    run = old("autoencoder")
    succeeds(run_cli, "evaluate", run.path, "evaluation.denoising.noise_levels=[0.5]", "evaluation.images=32")
    assert {m.tags["level"] for m in read(run).find("denoising.compared_psnr")} == {0.3, 0.5}
    assert {m.protocol.n for m in read(run).find("reconstruction.psnr")} == {32}
    assert "format: 2" in run.recipe_text()
    succeeds(run_cli, "evaluate", run.path, "evaluation.noise_levels=[0.6]")  # as it was called in 0.1.0
    assert {m.tags["level"] for m in read(run).find("denoising.compared_psnr")} == {0.3, 0.6}


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_a_report_of_an_old_run(run_cli: Cli, old: Copy, name: str) -> None:
    run = old(name)
    assert succeeds(run_cli, "report", run.path) == f"{run.report_file}\n"
    page = run.report_file.read_text(encoding="utf-8")
    assert f"All {len(stored(run)['numbers'])} numbers" in page
    for alarm in read(run).alarms:
        assert labels.alarm(alarm)[:60].replace("'", "&#x27;") in page


@pytest.mark.slow
def test_a_report_of_all_of_them(run_cli: Cli, unpacked: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.html"
    succeeds(run_cli, "report", *(unpacked / name for name in MEASURED), "--out", out)
    page = out.read_text(encoding="utf-8")
    assert all(name in page for name in MEASURED)


@pytest.mark.slow
def test_an_old_run_and_one_measured_today_share_their_rows(run_cli: Cli, old: Copy, unpacked: Path) -> None:
    run = Run(old("autoencoder").path.rename(unpacked.parent / "today"))
    succeeds(run_cli, "evaluate", run.path)
    out = run.path / "both.html"
    succeeds(run_cli, "report", unpacked / "autoencoder", run.path, "--out", out)
    shown = out.read_text(encoding="utf-8").split("Headline numbers</h2>")[1].split("</table>")[0]
    assert shown.count("<tr>") - 1 == sum(m.headline for m in read(run).measurements)
    assert "—" not in shown
    shutil.rmtree(run.path)


@pytest.mark.parametrize(("name", "options"), [
    ("gan", ()),
    ("gan", ("--label", "3", "--truncation", "0.7")),
    ("vae", ("--label", "3")),
    ("vae", ("--unconditional", "--set", "temperature=0.8")),
    ("vae", ("--mixture",)),
    ("faces", ("--attribute", "hair=red", "--condition", "age=30")),
    ("held-out", ()),
    ("autoencoder", ("--mixture",)),
])  # fmt: skip
def test_an_old_run_draws_pictures(
    run_cli: Cli, unpacked: Path, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    out = tmp_path / "drawn.npz"
    succeeds(run_cli, "sample", unpacked / name, "--count", "5", *options, "--out", out)
    assert len(loaded(out)["images"]) == 5
    again = tmp_path / "again.npz"
    succeeds(run_cli, "sample", unpacked / name, "--count", "5", *options, "--out", again)
    np.testing.assert_array_equal(loaded(again)["images"], loaded(out)["images"])


@pytest.mark.parametrize("name", ["autoencoder", "vae", "held-out"])
def test_pictures_are_edited_as_0_1_0_learned_to(
    run_cli: Cli, unpacked: Path, digits: Path, tmp_path: Path, name: str
) -> None:
    run, out = Run(unpacked / name), tmp_path / "edited.npz"
    edit = read_tools(run)[1]["edits"][0]
    command = ("edit", run.path, digits, "--attribute", edit["name"], "--strength", "2", "--strength", "-1")
    said = succeeds(run_cli, *command, "--out", out)
    assert f"{edit['name']}: along the " in said
    assert "At strength ±2, it flips" in said
    vector = load_arrays(run.arrays_file)[0]["attributes.vectors"][0]
    model = sanggar.open(run)
    latents = model.encode(digits)
    moved = np.repeat(latents, 2, axis=0) + np.tile(np.array([[2], [-1]], np.float32), (len(latents), 1)) * vector
    np.testing.assert_array_equal(loaded(out)["images"].reshape(-1), model.decode(moved).reshape(-1))


def test_an_old_run_without_edits_says_so(run_cli: Cli, unpacked: Path, digits: Path, tmp_path: Path) -> None:
    command = ("edit", unpacked / "faces", "pictures", "--attribute", "age", "--out", tmp_path / "x.npz")
    status, _, err = run_cli(*command)
    assert status == 2
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["vae", "held-out", "faces"])
def test_oddness_is_judged_by_what_0_1_0_learned(
    run_cli: Cli, unpacked: Path, pictures_of: Callable[[str], list[Path]], tmp_path: Path, name: str
) -> None:
    folder, out = pictures_of(name)[0].parent, tmp_path / "odd"
    status, _, err = run_cli("anomaly", unpacked / name, folder, "--out", out)
    assert status == 0, err
    assert "first" not in err  # nothing is learned anew
    rows = (out / "scores.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 12


def test_oddness_is_learned_where_0_1_0_left_nothing(
    run_cli: Cli, unpacked: Path, digits: Path, tmp_path: Path
) -> None:
    status, _, err = run_cli("anomaly", unpacked / "autoencoder", digits, "--out", tmp_path / "odd")
    assert status == 0, err
    assert len((tmp_path / "odd" / "scores.csv").read_text(encoding="utf-8").splitlines()) == 1 + 12


@pytest.mark.parametrize("name", ["ffnn", "classifier"])
def test_an_old_run_classifies(run_cli: Cli, unpacked: Path, digits: Path, name: str) -> None:
    assert len(succeeds(run_cli, "classify", unpacked / name, digits).splitlines()) == 12


@pytest.mark.parametrize("name", ["autoencoder", "vae", "held-out", "faces"])
def test_an_old_run_reconstructs_encodes_and_interpolates(
    run_cli: Cli, unpacked: Path, pictures_of: Callable[[str], list[Path]], tmp_path: Path, name: str
) -> None:
    files, out = pictures_of(name), tmp_path / "out.npz"
    succeeds(run_cli, "reconstruct", unpacked / name, files[0].parent, "--out", out)
    assert len(loaded(out)["images"]) == 12
    succeeds(run_cli, "encode", unpacked / name, files[0].parent, "--out", out)
    latents = loaded(out)["latents"]
    assert latents.shape == (12, 4 if name == "autoencoder" else 3)
    succeeds(run_cli, "interpolate", unpacked / name, *files[:2], "--steps", "5", "--out", out)
    assert len(loaded(out)["images"]) == 5
    succeeds(run_cli, "interpolate", unpacked / name, *files[:4], "--steps", "3", "--out", out)
    assert len(loaded(out)["images"]) == 9


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("stopped", 54), ("stopped-gan", 20)])
def test_an_old_run_that_was_stopped_goes_on_to_its_end(run_cli: Cli, old: Copy, name: str, steps: int) -> None:
    run = old(name)
    assert run.status == "stopped"
    out = succeeds(run_cli, "train", "--resume", run.path)
    assert out == f"Run: {run.path} (finished, step {steps})\n"
    assert Run(run.path).info["format"] == 2
    succeeds(run_cli, "evaluate", run.path)
    succeeds(run_cli, "report", run.path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "longer"), [
    ("autoencoder", "training.epochs=3"),
    ("ffnn", "training.epochs=3"),
    ("classifier", "training.epochs=3"),
    ("vae", "training.epochs=3"),
    ("held-out", "training.epochs=3"),
    ("faces", "training.epochs=3"),
    ("gan", "training.steps=30"),
])  # fmt: skip
def test_an_old_run_is_made_longer(run_cli: Cli, old: Copy, name: str, longer: str) -> None:
    run = old(name)
    before = run.info["step"]
    succeeds(run_cli, "train", "--resume", run.path, longer)
    again = Run(run.path)
    assert again.status == "finished"
    assert again.info["step"] == before * 3 // 2
    assert len(again.info["earlier"]) == 1
    assert "format: 2" in again.recipe_text()
    assert len(again.metrics()) == 3
    status, _, err = run_cli("report", run.path)  # what was measured of the shorter run is of other weights
    assert (status, "`sanggar evaluate" in err) == (2, True)
    if name in ("ffnn", "gan"):  # evaluating and reporting are tested on all of them above
        succeeds(run_cli, "evaluate", run.path)
        succeeds(run_cli, "report", run.path)


def test_old_runs_are_listed(run_cli: Cli, unpacked: Path) -> None:
    out = succeeds(run_cli, "runs", unpacked)
    assert all(f"{name} " in out for name in (*MEASURED, *STOPPED))


@pytest.mark.parametrize("name", STOPPED)
def test_an_old_run_that_goes_on_becomes_what_its_recipe_trains_today(old: Copy, tmp_path: Path, name: str) -> None:
    """Addresses of random draws, names of weights and options mean the same in both versions."""
    run = sanggar.resume(old(name).path)
    today = sanggar.train(run.recipe_file, out=tmp_path / "today")
    resumed, whole = (load_arrays(each.weights_file)[0] for each in (run, today))
    assert resumed.keys() == whole.keys()
    for key, array in whole.items():  # other machines than the one that trained the first half round otherwise
        np.testing.assert_allclose(resumed[key], array, atol=1e-4, err_msg=key)


def test_a_run_that_goes_on_by_another_version_keeps_what_it_was(old: Copy) -> None:
    run = old("stopped")
    sanggar.resume(run.path)
    after = Run(run.path)
    assert after.info["earlier"] == [{"identity": run.info["identity"], "step": run.info["step"]}]
    assert after.info["identity"] != run.info["identity"]
