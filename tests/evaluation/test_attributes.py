"""Editing attributes on pictures of known making: a blob's place, size and brightness, and a network that is exactly
linear in them, so that success has to rise with strength."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA
from torch import Tensor, nn

import sanggar
from conftest import Cli
from sanggar.data.images import Attribute, Images, ImageSpec
from sanggar.data.sources import Dataset
from sanggar.evaluation.context import Findings, Subject
from sanggar.evaluation.edit_trials import Curve, better, half
from sanggar.evaluation.metrics.attributes import OfPixels, aspects_of, columns_of, disentanglement
from sanggar.evaluation.metrics.edits import STRENGTHS, measure_edits
from sanggar.evaluation.metrics.latent import measure_latent
from sanggar.models.base import Batch, Model, Phase, StepContext, Terms
from sanggar.models.conditions import Conditions
from sanggar.options import Options
from sanggar.plan import FAMILIES, EvaluationOptions
from sanggar.runs import Run, save_arrays
from sanggar.tools.editing import SHOWN, edited, edits_of
from sanggar.trained import TrainedModel

ATTRIBUTES = (
    Attribute("right", "flag", ("left", "right")),
    Attribute("size", "category", ("small", "middle", "large")),
    Attribute("brightness", "number", mean=170.0, deviation=40.0),
)
FACTS = ImageSpec(8, 8, 1, (), ATTRIBUTES)
SIZES = (0.8, 1.5, 2.4)


def blobs(n: int, seed: int) -> Images:
    """Blobs of known place, size and brightness on black, with a little noise."""
    random = np.random.default_rng(seed)
    right, size, brightness = random.integers(0, 2, n), random.integers(0, 3, n), random.uniform(100, 240, n)
    y, x = np.mgrid[:8, :8]
    far = (x[None] - (2 + 3 * right)[:, None, None]) ** 2 + (y[None] - 3.5) ** 2
    shapes = np.exp(-far / np.array(SIZES)[size][:, None, None] ** 2)
    pixels = np.clip(brightness[:, None, None] * shapes + random.normal(0, 4, shapes.shape), 0, 255).round()
    return Images(
        pixels.astype(np.uint8)[..., None], None, np.stack([right, size, brightness], axis=1).astype(np.float32)
    )


DATASET = Dataset(blobs(600, 0), blobs(200, 1), blobs(300, 2), "0" * 64)


class LineOptions(Options):
    """What the decoder is told."""

    family: Literal["line", "eye"] = "line"
    condition: tuple[str, ...] = ()


class Line(Model):
    """Principal components; where it is told the place, a picture of that place is added."""

    Options = LineOptions
    latent_size = 8

    def __init__(self, options: LineOptions, spec: ImageSpec) -> None:
        super().__init__()
        self.conditions = Conditions(options.condition, spec)
        pixels = spec.height * spec.width * spec.channels
        self.mean, self.basis = nn.Parameter(torch.zeros(pixels)), nn.Parameter(torch.zeros(8, pixels))
        self.right = nn.Parameter(torch.zeros(pixels))

    def phases(self) -> list[Phase]:
        return [Phase("line", list(self.parameters()), self.loss)]

    def loss(self, batch: Batch, moment: StepContext) -> Terms:
        return {"none": 0.0 * self.mean.sum()}

    def encode(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - self.mean) @ self.basis.T

    def decode(self, latents: Tensor, told: Tensor | None = None) -> Tensor:
        flat = latents @ self.basis + self.mean
        if told is not None:
            flat = flat + told[:, :1] * self.right
        return flat.view(-1, 1, 8, 8)


class Eye(Line):
    """The same without a decoder."""

    decode = None


@pytest.fixture(scope="module", autouse=True)
def line() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "line", Line)
        patch.setitem(FAMILIES, "eye", Eye)
        yield


def run_at(
    path: Path, spec: ImageSpec = FACTS, condition: str = "", family: str = "line", *, blind: bool = False
) -> Run:
    """A run of principal components, as training would have left it; a blind one learns the place by being told."""
    told = f", condition: [{condition}]" if condition else ""
    recipe = f"name: lines\ndata: {{source: digits}}\nmodel: {{family: {family}{told}}}\ntraining: {{steps: 1}}\n"
    data = {
        "source": "digits", "about": "blobs", "licence": "none", "note": "", "fingerprint": "0" * 64,
        "height": spec.height, "width": spec.width, "channels": spec.channels, "classes": list(spec.classes),
        "attributes": [asdict(column) for column in spec.attributes], "train": 600, "validation": 200, "test": 300,
    }  # fmt: skip
    info = {
        "name": "lines", "about": "", "identity": "0" * 64, "package": "0", "status": "finished", "step": 1,
        "data": data, "versions": {}, "platform": "here",
        "device": {"name": "here", "kind": "cpu", "threads": 1, "processes": 1, "precision": "fp32"},
    }  # fmt: skip
    run = Run.create(path, recipe, info)
    flat = DATASET.train.pixels.reshape(600, -1) / 127.5 - 1
    found = PCA(8, random_state=0).fit(flat)
    right = DATASET.train.attributes[:, 0] > 0
    between = (flat[right].mean(axis=0) - flat[~right].mean(axis=0)) / 2
    basis = found.components_
    if blind:  # latents know nothing of the place
        across = between / np.linalg.norm(between)
        basis = basis - np.outer(basis @ across, across)
    arrays = {"mean": found.mean_, "basis": basis, "right": 2 * between * blind}
    save_arrays(run.weights_file, {k: v.astype(np.float32) for k, v in arrays.items()}, {"step": 1})
    return run


def measured(run: Run, dataset: Dataset = DATASET, **options: int) -> Findings:
    """A run's edits and probes, written into it."""
    subject = Subject(TrainedModel(run), dataset, EvaluationOptions(**{"map_images": 40, **options}))
    edits, latent = measure_edits(subject), measure_latent(subject)
    found = Findings(edits.numbers + latent.numbers, edits.pictures | latent.pictures, edits.alarms + latent.alarms)
    numbers = [asdict(number) for number in found.numbers]
    run.save_evaluation({"step": 1, "numbers": numbers, "alarms": found.alarms}, found.pictures)
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, line: None) -> tuple[Run, Findings]:
    run = run_at(tmp_path_factory.mktemp("plain") / "run")
    return run, measured(run)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, line: None) -> tuple[Run, Findings]:
    run = run_at(tmp_path_factory.mktemp("told") / "run", condition="right", blind=True)
    return run, measured(run)


def values(found: Findings, key: str, attribute: str) -> list[float]:
    """By strength."""
    numbers = [n for n in found.numbers if n.key == f"attributes.{key}" and n.protocol["attribute"] == attribute]
    assert [n.protocol.get("strength") for n in numbers] == list(STRENGTHS)
    return [n.value for n in numbers]


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
    found = {n.protocol["attribute"]: n for n in plain[1].numbers if n.key == "attributes.success_validation"}
    assert {"right", "size=small", "size=large"} <= set(found)
    for name, number in found.items():
        assert (number.protocol["split"], number.protocol["strength"]) == ("validation", 2)
        (tested,) = [
            n for n in plain[1].numbers
            if n.key == "attributes.success" and n.protocol["attribute"] == name and n.protocol["strength"] == 2
        ]  # fmt: skip
        assert number.value == pytest.approx(tested.value, abs=0.3)
    assert [n for n in plain[1].numbers if n.key == "attributes.shift_validation"]


def test_test_pictures_choose_nothing(plain: tuple[Run, Findings], tmp_path: Path) -> None:
    other = run_at(tmp_path / "run")
    test = replace(DATASET.test, attributes=DATASET.test.attributes[::-1].copy())
    measured(other, replace(DATASET, test=test))
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
    said = {n.protocol["attribute"]: n.protocol["others"] for n in plain[1].numbers if n.key == "attributes.kept"}
    assert said["right"] == "brightness, size"
    assert said["size=small"] == "brightness, right"


def test_a_number_shifts_with_strength_by_deviations(plain: tuple[Run, Findings]) -> None:
    shift = values(plain[1], "shift", "brightness")
    assert shift == sorted(shift)
    assert shift[1] == pytest.approx(1, abs=0.35), "a strength of 1 is a deviation, in the judge's eyes"
    assert not [n for n in plain[1].numbers if n.key == "attributes.success" and "brightness" in n.label]


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
    ceiling = {n.protocol["attribute"]: n.value for n in plain[1].numbers if n.key == "attributes.judge"}
    assert set(ceiling) == {"right", "size=small", "size=middle", "size=large", "brightness"} - set(left(plain[1]))
    assert ceiling["right"] > 0.98
    assert ceiling["brightness"] > 0.8


def left(found: Findings) -> list[str]:
    """The attributes that were not edited."""
    said = [alarm for alarm in found.alarms if alarm.startswith("Edits of")]
    return said[0].removeprefix("Edits of ").split(" are not")[0].split(", ") if said else []


def test_headlines_hold_the_mean_over_attributes(plain: tuple[Run, Findings]) -> None:
    shown = {n.key: n for n in plain[1].numbers if n.headline}
    flags = [n for n in plain[1].numbers if n.key == "attributes.success" and n.protocol["strength"] == 2]
    assert shown["attributes.mean_success"].value == pytest.approx(np.mean([n.value for n in flags]))
    assert {"attributes.mean_success_kept", "attributes.mean_shift", "attributes.probe"} <= set(shown)


def test_telling_the_decoder_is_the_method_where_its_latents_know_nothing(told: tuple[Run, Findings]) -> None:
    edits = edits_of(TrainedModel(told[0]))
    assert edits["right"].method == "told"
    assert {edits[name].method for name in edits if name != "right"} <= {"means", "probe"}
    # a latent that does not know the place is decoded to both: the judge sees one side already in half of the pictures
    success = values(told[1], "success", "right")
    assert success == sorted(success)
    assert 0.35 < success[-1] < 0.65
    painter = TrainedModel(told[0])
    few = DATASET.test.pixels[:3]
    pixels, _ = edited(painter, few, "right", [-1.0, 0.0, 1.0])
    np.testing.assert_array_equal(pixels[1::3], painter.decode(painter.encode(few)))
    for way, part in ((-1, pixels[0::3]), (1, pixels[2::3])):
        given = np.full((3, 1), way, np.float32) * edits["right"].above
        np.testing.assert_array_equal(part, painter.decode(painter.encode(few), given))


def test_telling_is_not_the_method_where_the_decoder_does_not_listen(tmp_path: Path) -> None:
    run = run_at(tmp_path / "run", condition="right")
    found = measured(run)
    assert edits_of(TrainedModel(run))["right"].method in ("means", "probe")
    assert values(found, "success", "right")[-1] > 0.9


def test_what_is_kept_in_the_run_needs_no_data_and_moves_latents_straight(
    plain: tuple[Run, Findings],
) -> None:
    run, _ = plain
    painter, edit = TrainedModel(run), edits_of(TrainedModel(run))["size=large"]
    few = DATASET.test.pixels[:2]
    pixels, how = edited(painter, few, "size=large", SHOWN)
    assert how.method == edit.method
    for picture, latent in zip(pixels.reshape(2, 7, 8, 8, 1), painter.encode(few), strict=True):
        np.testing.assert_array_equal(picture, painter.decode(latent + np.outer(SHOWN, edit.vector).astype(np.float32)))
    strips = run.pictures()["attributes.strips"]
    assert strips.shape[1:] == (2, 7, 8, 8, 1)


def test_the_same_is_measured_again(plain: tuple[Run, Findings]) -> None:
    subject = Subject(TrainedModel(plain[0]), DATASET, EvaluationOptions(map_images=40))
    again = measure_edits(subject)
    assert again.numbers == plain[1].numbers[: len(again.numbers)]


def test_what_a_judge_cannot_tell_or_hardly_any_picture_has_is_left_out_and_said(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)

    def spoiled(images: Images) -> Images:
        columns = images.attributes.copy()
        columns[:, 0] = chance.integers(0, 2, len(columns))
        columns[:, 1] = 0
        columns[:2, 1] = 2
        return replace(images, attributes=columns)

    dataset = replace(DATASET, **{k: spoiled(getattr(DATASET, k)) for k in ("train", "validation", "test")})
    found = measured(run_at(tmp_path / "run"), dataset)
    assert set(left(found)) == {"right", "size=small", "size=large"}
    assert values(found, "shift", "brightness")


@pytest.mark.parametrize("same", [True, False])
def test_of_pictures_with_classes_only_the_class_is_edited(same: bool, tmp_path: Path) -> None:
    spec = replace(FACTS, attributes=(), classes=("left", "right"))

    def labelled(images: Images) -> Images:
        labels = images.attributes[:, 0].astype(np.int64) * (not same)
        return Images(images.pixels, labels, None)

    dataset = replace(DATASET, **{k: labelled(getattr(DATASET, k)) for k in ("train", "validation", "test")})
    found = measure_edits(Subject(TrainedModel(run_at(tmp_path / "run", spec)), dataset, EvaluationOptions()))
    if same:
        assert found == Findings(), "one class is none"
    else:
        assert values(found, "success", "class=right")[-1] > 0.9
        assert not any(n.key == "attributes.kept" for n in found.numbers)


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
    assert better({"told": weak, "probe": fast}, "flag") == "probe", "it hardly ever succeeds"
    assert better({"means": curve([0, 0, 0], [1, 1, 1]), "probe": fast}, "flag") == "probe"
    assert better({"means": curve([0, 0, 0], [1, 1, 1]), "probe": curve([0, 0, 0], [1, 1, 1])}, "flag") == "means"


# -- judges and probes -----------------------------------------------------------------------------------------------


def test_a_fitted_judge_tells_pictures_it_has_not_seen() -> None:
    aspects = aspects_of(FACTS)
    assert [aspect.name for aspect in aspects] == ["right", "size=small", "size=middle", "size=large", "brightness"]
    verdicts = OfPixels.fit(DATASET.train, FACTS, aspects, 0).judge(DATASET.test.pixels)
    right, brightness = DATASET.test.attributes[:, 0], DATASET.test.attributes[:, 2]
    assert ((verdicts[:, 0] > 0.5) == right).mean() > 0.98
    assert ((verdicts[:, 3] > 0.5) == (DATASET.test.attributes[:, 1] == 2)).mean() > 0.9
    assert np.corrcoef(verdicts[:, 4], brightness)[0, 1] > 0.9
    assert verdicts[:, :4].min() >= 0
    assert verdicts[:, :4].max() <= 1


def test_probes_stand_beside_pca_and_pixels_and_carry_their_floor(plain: tuple[Run, Findings]) -> None:
    found = {
        (n.protocol["attribute"], n.subject): n for n in plain[1].numbers if n.key == "attributes.probe"
    }  # fmt: skip
    assert set(found) == {(a.name, s) for a in ATTRIBUTES for s in ("network", "PCA", "pixels")}
    for (name, subject), number in found.items():
        assert number.interval[0] <= number.value <= number.interval[1]
        assert number.protocol["floor"] == {"right": 0.5, "size": 1 / 3, "brightness": 0}[name]
        assert number.headline == (subject == "network")
    for column in ATTRIBUTES:  # the network is principal components: what PCA tells, it tells
        assert found[column.name, "network"].value == pytest.approx(found[column.name, "PCA"].value, abs=0.02)
    assert found["right", "network"].value > 0.98


def test_disentanglement_is_measured_of_the_network_and_of_pca(plain: tuple[Run, Findings]) -> None:
    for key in ("mig", "disentanglement", "completeness"):
        found = {n.subject: n.value for n in plain[1].numbers if n.key == f"attributes.{key}"}
        assert set(found) == {"network", "PCA"}
        assert all(-0.05 <= value <= 1 for value in found.values())


def test_a_network_whose_dimensions_are_the_factors_is_disentangled_and_pca_of_pixels_is_not() -> None:
    columns = columns_of(FACTS, DATASET.train, DATASET.test)
    size, pixels = 3, DATASET.test.pixels.reshape(300, -1).astype(np.float32)
    tables = {"network": DATASET.test.attributes, "PCA": PCA(size, random_state=0).fit_transform(pixels)}
    numbers = disentanglement(columns, {name: (table, table) for name, table in tables.items()}, {}, 0)
    for key in ("mig", "disentanglement", "completeness"):
        found = {n.subject: n.value for n in numbers if n.key == f"attributes.{key}"}
        assert found["network"] > 0.9
        assert found["PCA"] < found["network"] - 0.2


def test_attributes_that_never_vary_are_not_probed() -> None:
    still = replace(DATASET.train, attributes=DATASET.train.attributes * np.array([0, 1, 1], np.float32))
    assert [column.what.name for column in columns_of(FACTS, still, DATASET.test)] == ["size", "brightness"]
    assert columns_of(FACTS, replace(still, attributes=None), DATASET.test) == []
    wanted = ("brightness", "right")
    assert [aspect.name for aspect in aspects_of(FACTS, wanted)] == list(wanted)
    (column,) = columns_of(FACTS, still, DATASET.test, wanted)
    np.testing.assert_array_equal(column.train, still.attributes[:, 2])


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


def test_edit_says_how_it_tells(told: tuple[Run, Findings], pictures: Path, run_cli: Cli, tmp_path: Path) -> None:
    status, out, _ = run_cli("edit", told[0].path, pictures, "--attribute", "right", "--out", tmp_path / "x.png")
    assert status == 0
    assert "right: by telling the decoder another value." in out


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
    old.save_evaluation(old.evaluation(), {})
    assert "holds no edits" in edit(old, "right")
    old.save_evaluation({**old.evaluation(), "step": 0}, {})
    assert "measures it anew" in edit(old, "right")
    old.evaluation_file.unlink()
    assert "was not evaluated yet" in edit(old, "right")


def test_a_walk_on_the_arc_keeps_the_latents_length_and_ends_where_the_line_does(
    plain: tuple[Run, Findings], run_cli: Cli, pictures: Path, tmp_path: Path
) -> None:
    painter = sanggar.open(plain[0].path)
    ends = DATASET.test.pixels[[0]], DATASET.test.pixels[[1]]
    line, arc = painter.interpolate(*ends, 5), painter.interpolate(*ends, 5, arc=True)
    np.testing.assert_array_equal(line[[0, -1]], arc[[0, -1]])
    assert (line != arc).any()
    given = pictures / "0.png", pictures / "1.png"
    assert run_cli("interpolate", plain[0].path, *given, "--steps", 5, "--arc", "--out", tmp_path / "w.npz")[0] == 0
    with np.load(tmp_path / "w.npz") as file:
        np.testing.assert_array_equal(file["images"][..., None], arc)
