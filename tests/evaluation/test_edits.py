"""Editing attributes of blobs in the latents of a network that is linear in them: success has to rise with strength."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sanggar
from blobs import DATASET, SPEC, changed, context_of, known_families, measured, of, run_at, write
from conftest import Cli
from sanggar.data.images import Images
from sanggar.errors import RunError
from sanggar.evaluation.context import Findings
from sanggar.evaluation.edit_trials import Curve, better, half
from sanggar.evaluation.metrics.edits import STRENGTHS, measure
from sanggar.options import Options
from sanggar.reporting import labels
from sanggar.results.stored import read_arrays
from sanggar.runs import Run
from sanggar.tools import editing
from sanggar.tools.editing import SHOWN, edited, edits_of
from sanggar.tools.interpolation import interpolate
from sanggar.trained import TrainedModel
from typed import listed, there


@pytest.fixture(scope="module", autouse=True)
def line() -> Iterator[None]:
    with known_families():
        yield


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, line: None) -> tuple[Run, Findings]:
    run = run_at(tmp_path_factory.mktemp("plain") / "run")
    return run, measured(run)


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory, line: None) -> tuple[Run, Findings]:
    run = run_at(tmp_path_factory.mktemp("conditional") / "run", condition="right", blind=True)
    return run, measured(run)


def values(found: Findings, key: str, attribute: str) -> list[float]:
    """By strength."""
    measurements = [m for m in of(found, f"edits.{key}") if m.tags["attribute"] == attribute]
    assert [m.tags.get("strength") for m in measurements] == list(STRENGTHS)
    return [m.value for m in measurements]


# -- edits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["right", "size=small", "size=large"])
def test_success_rises_with_strength_and_the_picture_moves_away(name: str, plain: tuple[Run, Findings]) -> None:
    success, psnr = values(plain[1], "success", name), values(plain[1], "psnr", name)
    assert success == sorted(success)
    assert success[0] < 0.5 < 0.8 < success[-1]
    assert psnr == sorted(psnr, reverse=True)
    far = values(plain[1], "perceptual", name)
    assert far == sorted(far)


def test_what_was_chosen_on_validation_is_said_of_validation_too(plain: tuple[Run, Findings]) -> None:
    found = {m.tags["attribute"]: m for m in of(plain[1], "edits.success_validation")}
    assert {"right", "size=small", "size=large"} <= set(found)
    for name, m in found.items():
        assert (m.protocol.split, m.tags["strength"]) == ("validation", 2)
        (tested,) = [
            m for m in of(plain[1], "edits.success") if m.tags["attribute"] == name and m.tags["strength"] == 2
        ]
        assert m.value == pytest.approx(tested.value, abs=0.3)
    assert of(plain[1], "edits.shift_validation")


@pytest.mark.slow
def test_no_two_measurements_have_one_name(plain: tuple[Run, Findings], conditional: tuple[Run, Findings]) -> None:
    for _, found in (plain, conditional):
        names = [(m.key, m.subject, *sorted(m.tags.items())) for m in found.measurements]
        assert len(set(names)) == len(names)


@pytest.mark.slow
def test_test_pictures_choose_nothing(plain: tuple[Run, Findings], tmp_path: Path) -> None:
    other = run_at(tmp_path / "run")
    measured(other, changed(lambda test: replace(test, attributes=there(test.attributes)[::-1].copy()), "test"))
    ours, theirs = edits_of(TrainedModel(plain[0])), edits_of(TrainedModel(other))
    for name in ours.keys() & theirs.keys():
        assert ours[name].method == theirs[name].method
        np.testing.assert_array_equal(ours[name].vector, theirs[name].vector)
    assert "right" in ours.keys() & theirs.keys()


def test_edits_stay_in_use_while_a_finished_run_is_made_longer(plain: tuple[Run, Findings], tmp_path: Path) -> None:
    run = Run(shutil.copytree(plain[0].path, tmp_path / "longer"))
    run.update(step=7, status="stopped")  # the weights are still those of step 1
    assert edits_of(TrainedModel(run)).keys() == edits_of(TrainedModel(plain[0])).keys()


def test_kept_says_of_which_attributes(plain: tuple[Run, Findings]) -> None:
    others = {m.tags["attribute"]: m.protocol.settings["others"] for m in of(plain[1], "edits.kept")}
    assert others["right"] == "brightness, size"
    assert others["size=small"] == "brightness, right"


def test_a_number_shifts_with_strength_by_deviations(plain: tuple[Run, Findings]) -> None:
    shift = values(plain[1], "shift", "brightness")
    assert shift == sorted(shift)
    assert shift[1] == pytest.approx(1, abs=0.35), "a strength of 1 is a deviation, in the judge's eyes"
    assert not [m for m in of(plain[1], "edits.success") if m.tags["attribute"] == "brightness"]


def test_a_small_edit_leaves_other_attributes_and_none_is_counted_against_itself(plain: tuple[Run, Findings]) -> None:
    for name in ("right", "size=small", "brightness"):
        kept = values(plain[1], "kept", name)
        assert kept[0] > 0.85
        assert all(0 <= share <= 1 for share in kept)
    # place and brightness are the others of a size; were the size itself counted, a full success would cost a third
    small, large = (values(plain[1], "kept", f"size={size}")[1] for size in ("small", "large"))
    assert min(small, large) > 0.7


def test_the_judge_is_judged_on_real_pictures_and_edits_never_seen_to_exceed_it_by_much(
    plain: tuple[Run, Findings],
) -> None:
    ceiling = {m.tags["attribute"]: m.value for m in of(plain[1], "edits.judge")}
    assert set(ceiling) == {"right", "size=small", "size=middle", "size=large", "brightness"} - set(left(plain[1]))
    assert ceiling["right"] > 0.98
    assert ceiling["brightness"] > 0.8


def left(found: Findings) -> list[str]:
    """The attributes that were not edited."""
    alarms = [alarm for alarm in found.alarms if alarm.key == "edits.left_out"]
    for alarm in alarms:
        assert labels.alarm(alarm).startswith(
            f"Edits of {', '.join(map(str, listed(alarm.values['names'])))} are not measured"
        )
    return [str(name) for alarm in alarms for name in listed(alarm.values["names"])]


def test_headlines_hold_the_mean_over_attributes(plain: tuple[Run, Findings]) -> None:
    shown = {m.key: m for m in plain[1].measurements if m.headline}
    flags = [m for m in of(plain[1], "edits.success") if m.tags["strength"] == 2]
    assert shown["edits.mean_success"].value == pytest.approx(np.mean([m.value for m in flags]))
    assert {"edits.mean_success_kept", "edits.mean_shift", "attributes.probe"} <= set(shown)


def test_another_condition_is_the_method_where_latents_know_nothing(conditional: tuple[Run, Findings]) -> None:
    edits = edits_of(TrainedModel(conditional[0]))
    assert edits["right"].method == "condition"
    assert {edits[name].method for name in edits if name != "right"} <= {"means", "probe"}
    # a latent that does not know the place is decoded to both: the judge sees one side already in half of the pictures
    success = values(conditional[1], "success", "right")
    assert success == sorted(success)
    assert 0.35 < success[-1] < 0.65
    model = TrainedModel(conditional[0])
    few = DATASET.test.pixels[:3]
    pixels, _ = edited(model, few, "right", [-1.0, 0.0, 1.0])
    np.testing.assert_array_equal(pixels[1::3], model.decode(model.encode(few)))
    for way, part in ((-1, pixels[0::3]), (1, pixels[2::3])):
        given = np.full((3, 1), way, np.float32) * edits["right"].above
        np.testing.assert_array_equal(part, model.decode(model.encode(few), given))


@pytest.mark.slow
def test_another_condition_is_not_the_method_where_the_decoder_does_not_heed_it(tmp_path: Path) -> None:
    run = run_at(tmp_path / "run", condition="right")
    found = measured(run)
    assert edits_of(TrainedModel(run))["right"].method in ("means", "probe")
    assert values(found, "success", "right")[-1] > 0.9


def test_what_is_kept_in_the_run_needs_no_data_and_moves_latents_straight(
    plain: tuple[Run, Findings],
) -> None:
    run, _ = plain
    model, edit = TrainedModel(run), edits_of(TrainedModel(run))["size=large"]
    few = DATASET.test.pixels[:2]
    pixels, how = edited(model, few, "size=large", SHOWN)
    assert how.method == edit.method
    for picture, latent in zip(pixels.reshape(2, 7, 8, 8, 1), model.encode(few), strict=True):
        np.testing.assert_array_equal(picture, model.decode(latent + np.outer(SHOWN, edit.vector).astype(np.float32)))
    strips = read_arrays(run)["edits.strips"]
    assert strips.shape[1:] == (2, 7, 8, 8, 1)


def test_the_same_is_measured_again(plain: tuple[Run, Findings]) -> None:
    again = measure(context_of(plain[0]), Options())
    assert again.measurements == plain[1].measurements[: len(again.measurements)]


def test_what_a_judge_cannot_tell_or_hardly_any_picture_has_is_left_out_and_said(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)

    def spoiled(images: Images) -> Images:
        columns = there(images.attributes).copy()
        columns[:, 0] = chance.integers(0, 2, len(columns))
        columns[:, 1] = 0
        columns[:2, 1] = 2
        return replace(images, attributes=columns)

    found = measured(run_at(tmp_path / "run"), changed(spoiled))
    assert set(left(found)) == {"right", "size=small", "size=large"}
    assert values(found, "shift", "brightness")


@pytest.mark.parametrize("same", [True, False])
def test_of_pictures_with_classes_only_the_class_is_edited(same: bool, tmp_path: Path) -> None:
    spec = replace(SPEC, attributes=(), classes=("left", "right"))

    def labelled(images: Images) -> Images:
        labels = there(images.attributes)[:, 0].astype(np.int64) * (not same)
        return Images(images.pixels, labels, None)

    found = measure(context_of(run_at(tmp_path / "run", spec), changed(labelled)), Options())
    if same:
        assert found == Findings(), "one class is none"
    else:
        assert values(found, "success", "class=right")[-1] > 0.9
        assert not of(found, "edits.kept")


# -- choosing --------------------------------------------------------------------------------------------------------


def curve(success: list[float], spared: list[float]) -> Curve:
    return Curve(np.arange(4.0), np.array([0.0, *success]), np.array([1.0, *spared]))


def test_strength_1_is_where_half_of_the_most_is_reached() -> None:
    found = curve([0.2, 0.6, 0.8], [0.9, 0.8, 0.5])
    assert half(found, "flag") == pytest.approx(0.4)
    assert found.step_for(0.4) == pytest.approx(1.5)
    assert found.spared_at(0.4) == pytest.approx(0.85)
    assert found.step_for(2.0) == 3
    assert half(curve([1, 3, 5], [1, 1, 1]), "number") == 1


def test_the_better_direction_spares_more_at_equal_success_however_far_it_goes() -> None:
    slow, fast = curve([0.1, 0.4, 0.9], [1, 0.99, 0.9]), curve([0.8, 1, 1], [0.5, 0.4, 0.3])
    assert better({"means": slow, "probe": fast}, "flag") == "means"
    weak = curve([0.1, 0.2, 0.4], [1, 1, 1])
    assert better({"condition": weak, "probe": fast}, "flag") == "probe", "it hardly ever succeeds"
    assert better({"means": curve([0, 0, 0], [1, 1, 1]), "probe": fast}, "flag") == "probe"
    assert better({"means": curve([0, 0, 0], [1, 1, 1]), "probe": curve([0, 0, 0], [1, 1, 1])}, "flag") == "means"


# -- in use ----------------------------------------------------------------------------------------------------------


def test_what_was_measured_of_an_edit_stands_by_strength_the_nearest_to_those_asked_for(
    plain: tuple[Run, Findings],
) -> None:
    run, found = plain
    (one, two) = editing.measured(run, "right", [-1.0, 2.2, 0.0])
    assert [m.tags["strength"] for m in (one[0], two[0])] == [1, 2]
    assert {m.key for m in two} == {"edits.success", "edits.kept", "edits.psnr", "edits.perceptual"}
    assert {m.protocol.split for m in two} == {"test"}
    assert labels.edit(two).startswith(f"At strength ±2, it flips {values(found, 'success', 'right')[2]:.0%} [")
    (number,) = editing.measured(run, "brightness", [9.0])
    assert labels.edit(number).startswith("At strength ±3, it shifts the number by ")
    assert editing.measured(run, "right", [0.0]) == editing.measured(run, "nothing", [1.0]) == []


def test_edits_of_other_weights_are_refused(plain: tuple[Run, Findings], tmp_path: Path) -> None:
    run = Run(shutil.copytree(plain[0].path, tmp_path / "other"))
    write(run, plain[1], step=0)
    with pytest.raises(RunError, match="was measured at step 0 and has come to step 1 since"):
        edits_of(TrainedModel(run))


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, picture in enumerate(DATASET.test.pixels[:2]):
        Image.fromarray(picture[..., 0]).save(folder / f"{i}.png")
    return folder


def test_edit_writes_a_strip_and_says_what_was_measured(
    plain: tuple[Run, Findings], pictures: Path, run_cli: Cli, tmp_path: Path
) -> None:
    run, found = plain
    status, out, err = run_cli(
        "edit", run.path, pictures, "--attribute", "right", "--strength", "-1", "--strength", "2", "--out",
        tmp_path / "x.npz",
    )  # fmt: skip
    assert (status, err) == (0, "")
    with np.load(tmp_path / "x.npz") as file:
        np.testing.assert_array_equal(
            file["images"][..., None], edited(TrainedModel(run), DATASET.test.pixels[:2], "right", [-1.0, 2.0])[0]
        )
    share = values(found, "success", "right")[2]
    assert f"At strength ±2, it flips {share:.0%} [" in out
    assert "At strength ±1" in out
    assert "other attributes stay in" in out
    status, out, _ = run_cli(
        "edit", run.path, pictures / "0.png", "--attribute", "brightness", "--out", tmp_path / "x.png"
    )
    assert status == 0
    assert "deviations" in out
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == ((7 * 8 + 6 * 2) * 4, 8 * 4)


def test_edit_says_how_it_edits(
    conditional: tuple[Run, Findings], pictures: Path, run_cli: Cli, tmp_path: Path
) -> None:
    status, out, _ = run_cli("edit", conditional[0].path, pictures, "--attribute", "right", "--out", tmp_path / "x.png")
    assert status == 0
    assert "right: by giving the decoder another condition." in out


def test_mistakes_cost_one_line(plain: tuple[Run, Findings], pictures: Path, run_cli: Cli, tmp_path: Path) -> None:
    def edit(run: Run, name: str, images: Path = pictures, out: str = "x.png") -> str:
        status, _, err = run_cli("edit", run.path, images, "--attribute", name, "--out", tmp_path / out)
        assert status == 2
        assert err.count("\n") == 1
        assert not (tmp_path / out).exists()
        return err

    assert "There is no attribute 'rihgt' to edit. Did you mean 'right'?" in edit(plain[0], "rihgt")
    assert "no attribute 'size' to edit" in edit(plain[0], "size")
    assert ".png or .npz" in edit(plain[0], "right", out="x.jpg")
    big = tmp_path / "big.png"
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(big)
    assert "this network takes 8×8 grey" in edit(plain[0], "right", big)
    blind = run_at(tmp_path / "eye", family="eye")
    assert "cannot edit pictures: its model (Eye) does not both encode and decode" in edit(blind, "right")
    old = Run(shutil.copytree(plain[0].path, tmp_path / "old"))
    write(old, replace(plain[1], tools={}, tool_details={}))
    assert "holds no edits" in edit(old, "right")
    write(old, replace(plain[1], tools={}, tool_details={}), step=0)
    assert "measures it anew" in edit(old, "right")
    old.evaluation_file.unlink()
    assert "was not evaluated yet" in edit(old, "right")


def test_a_walk_on_the_arc_keeps_the_latents_length_and_ends_where_the_line_does(
    plain: tuple[Run, Findings], run_cli: Cli, pictures: Path, tmp_path: Path
) -> None:
    model = sanggar.open(plain[0].path)
    ends = DATASET.test.pixels[[0]], DATASET.test.pixels[[1]]
    line, arc = interpolate(model, *ends, 5), interpolate(model, *ends, 5, arc=True)
    np.testing.assert_array_equal(line[[0, -1]], arc[[0, -1]])
    assert (line != arc).any()
    given = pictures / "0.png", pictures / "1.png"
    assert run_cli("interpolate", plain[0].path, *given, "--steps", 5, "--arc", "--out", tmp_path / "w.npz")[0] == 0
    with np.load(tmp_path / "w.npz") as file:
        np.testing.assert_array_equal(file["images"][..., None], arc)
