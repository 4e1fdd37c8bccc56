"""The judges: each shipped file is the instrument that it says it is, and nothing else is taken for one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sanggar
from conftest import Trained
from sanggar import recipe
from sanggar.data.downloads import Download
from sanggar.data.image_folder import FolderOptions, ImageFolder, _order, folder_picture
from sanggar.data.images import Images, ImageSpec, to_float
from sanggar.data.sources import SOURCES, DataOptions
from sanggar.errors import DataError, RecipeError, RunError
from sanggar.evaluation.aspects import ShippedJudge, aspects_of
from sanggar.instruments.features import open_extractor
from sanggar.instruments.judge import CHUNK, FOLDER, GENERAL, JUDGES, LIMIT, brought, open_judge, read_judge, ship
from sanggar.models.classifier import dissimilarity
from sanggar.plain import parse
from sanggar.plan import Plan, resolve
from sanggar.runs import load_arrays, save_arrays
from sanggar.trained import TrainedModel

EVERY = pytest.mark.parametrize("name", JUDGES)
DIGITS = FOLDER / "digits.safetensors"


def pictures(name: str, count: int, times: int = 1) -> np.ndarray:
    spec, draw = open_judge(name, "cpu").spec, np.random.default_rng(0)
    return draw.integers(0, 256, (count, times * spec.height, times * spec.width, spec.channels), np.uint8)


def changed(path: Path, arrays: dict[str, Any] | None = None, **meta: Any) -> Path:
    """The digits' judge with some of its content changed, checksum and all."""
    kept, said = load_arrays(DIGITS)
    save_arrays(path, kept | (arrays or {}), said | meta)
    return path


# -- what is shipped ---------------------------------------------------------------------------------------------


@EVERY
def test_a_shipped_judge_is_small_and_says_what_it_is(name: str) -> None:
    assert (FOLDER / f"{name}.safetensors").stat().st_size <= LIMIT
    judge = open_judge(name, "cpu")
    spec = judge.spec
    if name in SOURCES:
        source = SOURCES[name]
        assert isinstance(source, Download)
        assert (spec, judge.test_count) == (replace(source.spec, attributes=()), source.test_count)
    assert (judge.of, judge.name) == (name, f"judge {name} v{judge.version}")
    assert set(judge.attribute_scores) == {column.name for column in spec.attributes}
    assert 64 <= judge.size <= 256
    features, shares = judge.both(pictures(name, 3))
    assert (features.shape, features.dtype) == ((3, judge.size), np.dtype(np.float32))
    assert (shares.shape, shares.dtype) == ((3, len(spec.classes)), np.dtype(np.float32))
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)


@EVERY
def test_the_recipe_that_made_it_is_the_shipped_one(name: str) -> None:
    """But for options that came after it, and what is measured."""
    kept = resolve(recipe.read(parse(open_judge(name, "cpu").recipe, name)))
    now = resolve(recipe.read(f"judge-{name}"))
    assert (kept.name, kept.data, kept.model, kept.training) == (now.name, now.data, now.model, now.training)


def for_test(plan: Plan, count: int) -> Images:
    """Some test pictures of a recipe, of all of them; where they are files, the first, so that no others are decoded.

    Skips where there are none.
    """
    source, data = plan.source, plan.data
    if not (isinstance(source, ImageFolder) and isinstance(data, FolderOptions)):
        if source.presence(data.source, data).state == "absent":
            pytest.skip(f"{data.source} is not under the data root (SANGGAR_DATA)")
        test = source.load(data).test
        return test.take(np.linspace(0, len(test) - 1, min(count, len(test))).astype(int))
    try:
        _, found = source._listed(data)
    except DataError:
        pytest.skip(f"{data.path} is not under the data root (SANGGAR_DATA)")
    first = _order(data, found)[:count]
    assert found.labels is not None and len(first) == count
    pixels = np.stack([folder_picture(found.place / found.names[i], data) for i in first])
    return Images(pixels, found.labels[first])


@pytest.mark.slow
@EVERY
def test_it_is_as_good_as_it_says(name: str) -> None:
    judge = open_judge(name, "cpu")
    test = for_test(resolve(recipe.read(parse(judge.recipe, name))), 500)
    right = judge.classify(test.pixels).argmax(axis=1) == test.labels
    spread = (judge.accuracy * (1 - judge.accuracy) / len(test)) ** 0.5
    assert right.mean() == pytest.approx(judge.accuracy, abs=4 * spread)


@EVERY
def test_its_hash_and_its_answers_stay(name: str, tmp_path: Path) -> None:
    judge = open_judge(name, "cpu")
    copy = read_judge(Path(shutil.copy(FOLDER / f"{name}.safetensors", tmp_path / "copy")), "cpu")
    assert copy == judge
    assert len(judge.hash) == 12
    given = pictures(name, 5)
    np.testing.assert_array_equal(copy.features(given), judge.features(given))


@pytest.mark.parametrize("name", sorted({*JUDGES} - {GENERAL}))
def test_larger_pictures_are_averaged_to_its_size(name: str) -> None:
    judge, given = open_judge(name, "cpu"), pictures(name, 4)
    larger = given.repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_allclose(judge.features(larger), judge.features(given), rtol=1e-3, atol=1e-4)
    spec = judge.spec
    assert judge.factor(replace(spec, height=3 * spec.height, width=3 * spec.width)) == 3
    for height, width in ((spec.height + 1, spec.width + 1), (2 * spec.height, spec.width), (2, 2)):
        assert judge.factor(replace(spec, height=height, width=width)) is None
    assert judge.factor(replace(spec, channels=4 - spec.channels)) is None


def test_two_pictures_differ_as_its_network_sees_them() -> None:
    judge, (one, other) = open_judge("digits", "cpu"), np.split(pictures("digits", 2 * (CHUNK + 2)), 2)
    found = judge.dissimilarity(one, other)
    shown = [to_float(torch.from_numpy(pixels)) for pixels in (one, other)]
    with torch.no_grad():
        np.testing.assert_allclose(found, dissimilarity(judge.network, *shown), rtol=1e-4)
    assert not judge.dissimilarity(one, one).any()


@pytest.mark.parametrize(("name", "data", "seen"), [
    ("digits", {"source": "digits", "seed": 3}, False), ("digits", {"source": "digits", "test": 300}, True),
    ("digits", {"source": "mnist", "test": 300}, False),
    ("faces", {"source": "folder", "path": "/elsewhere/utkface-128.zip"}, False),
    ("faces", {"source": "folder", "path": "utkface-128", "seed": 1}, True),
    ("faces", {"source": "folder", "path": "utkface-128", "test": 0.2}, True),
    ("faces", {"source": "folder", "path": "mine", "seed": 1}, False),
])  # fmt: skip
def test_it_knows_when_its_pictures_are_for_test_elsewhere(name: str, data: dict[str, Any], seen: bool) -> None:
    options = SOURCES[data["source"]].Options.model_validate(data)
    assert open_judge(name).learned_from(options) is seen


def test_a_picture_is_judged_alone_as_among_many() -> None:
    judge, given = open_judge("digits", "cpu"), pictures("digits", CHUNK + 3)
    features, shares = judge.both(given)
    np.testing.assert_array_equal(judge.features(given), features)
    np.testing.assert_array_equal(judge.classify(given), shares)
    for i in (0, CHUNK - 1, CHUNK, CHUNK + 2):
        np.testing.assert_allclose(features[i], judge.features(given[i : i + 1])[0], rtol=1e-4, atol=1e-5)


def test_it_draws_nothing_and_changes_nothing() -> None:
    judge, given = open_judge("digits", "cpu"), pictures("digits", 4)
    before, state = given.copy(), torch.get_rng_state()
    judge.both(given)
    np.testing.assert_array_equal(given, before)
    assert torch.equal(torch.get_rng_state(), state)


# -- making one --------------------------------------------------------------------------------------------------


def test_a_run_is_made_a_judge(trained: Trained, tmp_path: Path) -> None:
    run = trained("classifier")
    judge = ship(run, tmp_path / "tiny.safetensors", number=3)
    assert (judge.name, judge.size, judge.test_count, judge.attribute_scores) == ("judge tiny v3", 8, 360, {})
    assert judge == read_judge(tmp_path / "tiny.safetensors")
    model, test = (
        TrainedModel(run, device="cpu"),
        SOURCES["digits"].load(DataOptions(source="digits", validation=1)).test,
    )
    shares = judge.classify(test.pixels)
    # kernels of half precision, norms folded into them: the same network but for rounding
    np.testing.assert_allclose(shares, model.classify(test.pixels), atol=5e-3)
    assert judge.accuracy == (shares.argmax(axis=1) == test.labels).mean()


def test_a_judge_of_attributes_says_how_well_it_tells_each(tmp_path: Path) -> None:
    """Pictures that are dark or bright on one side, a frame thicker or thinner: what is asked is on the picture."""
    draw, rows = np.random.default_rng(0), ["file,bright,frame,level"]
    for i in range(160):
        bright, frame, level = int(draw.integers(2)), int(draw.integers(3)), int(draw.integers(0, 200))
        picture = np.full((16, 16), level, np.uint8)
        picture[:, 8:] = 255 * bright
        for edge in range(frame):
            picture[edge], picture[-1 - edge] = 255, 0
        (tmp_path / "faces").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "faces" / f"{i}.png")
        rows.append(f"{i}.png,{bright},{['none', 'thin', 'thick'][frame]},{level}.5")
    (tmp_path / "faces" / "attributes.csv").write_text("\n".join(rows))
    run = sanggar.train({
        "data": {"source": "folder", "path": str(tmp_path / "faces"), "size": 16, "label": "bright"},
        "model": {"family": "classifier", "widths": [8, 8], "blocks": [0, 0],
                  "attributes": ["level", "bright", "frame"]},
        "training": {
            "epochs": 10, "batch_size": 16, "device": "cpu", "optimizer": {"kind": "adam", "learning_rate": 0.01},
        },
    }, out=tmp_path / "run")  # fmt: skip
    judge = ship(run, tmp_path / "sides.safetensors")
    model = TrainedModel(run, device="cpu")
    test = model.plan.source.load(model.plan.data).test
    assert test.attributes is not None
    truth = dict(zip([column.name for column in model.spec.attributes], test.attributes.T, strict=True))
    predicted = {name: judge.tell(test.pixels)[:, judge.place(name)] for name in ("level", "bright", "frame")}
    assert judge.attribute_scores == pytest.approx({
        "level": np.abs(predicted["level"][:, 0] - truth["level"]).mean(),
        "bright": ((predicted["bright"][:, 0] > 0.5) == truth["bright"]).mean(),
        "frame": (predicted["frame"].argmax(axis=1) == truth["frame"]).mean(),
    })  # fmt: skip
    assert judge.attribute_scores["level"] < 40  # its mean is 50 away on average
    assert judge.attribute_scores["bright"] > 0.9
    np.testing.assert_allclose(predicted["frame"].sum(axis=1), 1, atol=1e-5)
    assert judge == read_judge(tmp_path / "sides.safetensors")
    asked = aspects_of(model.spec)[0]
    known = ShippedJudge.that_knows(judge, model.spec, [asked])
    assert known is not None and known.name.startswith("judge sides v1")
    np.testing.assert_array_equal(known.judge(test.pixels)[:, 0], predicted[asked.column][:, 0])
    strangers = replace(model.spec, attributes=(replace(model.spec.attributes[0], values=("low", "high")),))
    assert ShippedJudge.that_knows(judge, strangers, [asked]) is None


def test_only_a_finished_classifier_is_made_a_judge(trained: Trained, copied: Trained, tmp_path: Path) -> None:
    run = copied("classifier")
    run.update(status="stopped")
    for wrong in (run, trained("ffnn")):
        with pytest.raises(RunError, match="no finished run of family classifier"):
            ship(wrong, tmp_path / "judge")
    run.update(status="finished", data={**run.info["data"], "fingerprint": "0" * 64})
    with pytest.raises(RunError, match="other data"):
        ship(run, tmp_path / "judge")
    assert not (tmp_path / "judge").exists()


def test_a_judge_that_is_too_heavy_is_not_made(copied: Trained, tmp_path: Path) -> None:
    run = copied("classifier")
    arrays, meta = load_arrays(run.weights_file)
    save_arrays(run.weights_file, arrays | {"ballast": np.zeros((800, 800), np.float32)}, meta)
    with pytest.raises(RunError, match="at most 1,000,000"):
        ship(run, tmp_path / "judge")


# -- bad input ---------------------------------------------------------------------------------------------------


def test_an_unknown_judge_is_answered_with_the_nearest() -> None:
    with pytest.raises(RunError, match="Did you mean 'digits'"):
        open_judge("digit")
    with pytest.raises(RunError, match=r"Known: .*digits"):
        open_judge("../../etc/passwd")


def test_a_recipe_that_names_a_judge_of_other_pictures_is_refused_before_it_trains(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"feature_network: the judge mnist v1 looks at pictures of 28×28 grey"):
        sanggar.train("digits-vae", ["evaluation.feature_network=mnist"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", [
    np.zeros((2, 8, 9, 1), np.uint8), np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 1), np.float32),
    np.zeros((0, 8, 8, 1), np.uint8), np.zeros((8, 8), np.uint8),
], ids=lambda given: f"{given.dtype} {given.shape}")  # fmt: skip
def test_pictures_of_another_kind_are_refused(given: np.ndarray) -> None:
    with pytest.raises(DataError, match="judge digits v"):
        open_judge("digits", "cpu").both(given)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(DIGITS.read_bytes())
    content[-1000] ^= 1
    for kept in (bytes(content), bytes(content[:5000]), b""):
        (tmp_path / "judge").write_bytes(kept)
        with pytest.raises(RunError, match="damaged"):
            read_judge(tmp_path / "judge")
    with pytest.raises(RunError, match="no file"):
        read_judge(tmp_path / "absent")


def test_a_file_that_is_no_judge_of_ours_is_refused(tmp_path: Path) -> None:
    save_arrays(tmp_path / "other", {"x": np.zeros(3)})
    with pytest.raises(RunError, match="no judge"):
        read_judge(tmp_path / "other")
    with pytest.raises(RunError, match="newer sanggar"):
        read_judge(changed(tmp_path / "newer", judge=99))
    with pytest.raises(RunError, match="do not fit"):
        read_judge(changed(tmp_path / "stranger", {"stranger": np.zeros(3)}))


def test_the_general_judge_looks_at_any_picture_and_names_nothing() -> None:
    digits = open_judge("digits", "cpu")
    general = replace(digits, of=GENERAL)
    draw = np.random.default_rng(0)
    for shape in ((3, 8, 8, 1), (3, 28, 31, 1), (3, 5, 64, 1)):
        pixels = draw.integers(0, 256, shape, np.uint8)
        np.testing.assert_array_equal(general.features(pixels), digits.features(brought(pixels, digits.spec)))
    assert general.factor(ImageSpec(37, 41, 3)) == 1
    extractor = open_extractor("judge", general)
    assert extractor.judge is None
    assert extractor.extract(pixels).predicted is None
    assert extractor.settings["resize"] == "bilinear, antialiased, 8×8 grey"


def test_pictures_are_brought_to_a_size_and_to_colour() -> None:
    grey = np.arange(2 * 64, dtype=np.uint8).reshape(2, 8, 8, 1)
    spec = ImageSpec(4, 4, 3)
    small = brought(grey, spec)
    assert small.shape == (2, 4, 4, 3)
    assert (small[..., :1] == small).all()
    same = np.full((1, 16, 16, 3), (10, 200, 30), np.uint8)
    np.testing.assert_array_equal(brought(same, spec), same[:, :4, :4])
    assert brought(grey[:0], spec).shape == (0, 4, 4, 3)
    colours = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    np.testing.assert_array_equal(brought(colours, spec), colours)
