"""Augmentation: exact where it can be, as often as was asked for, the same at the same moment, differentiable."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from sanggar.models.augment import AugmentationOptions, augment, cut_out, move, recolour, rotate
from sanggar.models.base import StepContext

ALL = {"flip": True, "rotation": 20, "translation": 0.25, "colour": 1, "cutout": 0.5}
EACH = [{name: value} for name, value in ALL.items()]
Shape = tuple[int, ...]
SHAPES = st.tuples(st.integers(1, 6), st.sampled_from([1, 3]), st.integers(2, 9), st.integers(2, 9))


def step_context(n: int, **changes: Any) -> StepContext:
    return replace(StepContext(0, 5, 10, n, slice(n), torch.device("cpu")), **changes)


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def changed(images: Tensor, options: dict[str, Any], probability: float | Tensor = 1.0, **at: Any) -> Tensor:
    return augment(images, AugmentationOptions(**options), step_context(len(images), **at), "test", probability)


# -- when nothing is to be done -----------------------------------------------------------------------------------


@given(shape=SHAPES, tensor=st.booleans())
def test_with_probability_0_and_with_everything_off_pictures_stay_as_they_are(shape: Shape, tensor: bool) -> None:
    images = pictures(*shape)
    assert changed(images, {}) is images
    assert torch.equal(changed(images, ALL, torch.tensor(0.0) if tensor else 0.0), images)


def test_what_is_off_is_not_active() -> None:
    assert not AugmentationOptions().active
    assert all(AugmentationOptions(**one).active for one in EACH)


@pytest.mark.parametrize("options", [
    {"rotation": -1}, {"rotation": 181}, {"translation": 0.6}, {"cutout": 1.1}, {"colour": -0.1}, {"colour": 2},
    {"zoom": 1},
])  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AugmentationOptions(**options)


# -- each of them, by hand ------------------------------------------------------------------------------------------


@given(shape=SHAPES, down=st.integers(-9, 9), right=st.integers(-9, 9), flip=st.booleans())
def test_moving_copies_pixels_and_mirrors_them_at_the_border(shape: Shape, down: int, right: int, flip: bool) -> None:
    images, n, (height, width) = pictures(*shape), shape[0], shape[2:]
    moved = move(images, torch.full((n,), flip), torch.full((n,), down), torch.full((n,), right))
    mirrored = torch.cat([images, images.flip(2)], dim=2)
    mirrored = torch.cat([mirrored, mirrored.flip(3)], dim=3)  # an endless tiling of it is the mirrored plane
    source = mirrored.roll((down, right), dims=(2, 3))[:, :, :height, :width]
    if flip:
        mirrored = torch.cat([images.flip(3), images.flip(3).flip(2)], dim=2)
        mirrored = torch.cat([mirrored, mirrored.flip(3)], dim=3)
        source = mirrored.roll((down, right), dims=(2, 3))[:, :, :height, :width]
    assert torch.equal(moved, source)


def test_each_picture_is_moved_in_its_own_way() -> None:
    images = pictures(3, 2, 6, 5)
    moved = move(images, torch.tensor([True, False, False]), torch.tensor([0, 2, -1]), torch.tensor([0, 0, 3]))
    assert torch.equal(moved[0], images[0].flip(2))
    assert torch.equal(moved[1, :, 2:], images[1, :, :4])
    assert torch.equal(moved[2, :, :5, 3:], images[2, :, 1:, :2])


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2])
@pytest.mark.parametrize("shape", [(2, 3, 7, 7), (2, 1, 8, 8)])
def test_quarter_turns_are_exact(shape: Shape, quarters: int) -> None:
    images = pictures(*shape)
    turned = rotate(images, torch.full((len(images),), 90.0 * quarters))
    torch.testing.assert_close(turned, torch.rot90(images, quarters, (2, 3)), atol=1e-5, rtol=0)


def test_half_a_turn_of_a_picture_that_is_not_square() -> None:
    images = pictures(2, 3, 4, 9)
    torch.testing.assert_close(rotate(images, torch.full((2,), 180.0)), images.flip(2, 3), atol=1e-5, rtol=0)


def test_a_turn_keeps_shapes_in_pictures_that_are_not_square() -> None:
    down, right = torch.meshgrid(torch.arange(41) - 20.0, torch.arange(61) - 30.0, indexing="ij")
    round_ = torch.exp(-(down.square() + right.square()) / 60)[None, None]
    middle = (..., slice(8, 33), slice(18, 43))  # in the corners it is seen again, mirrored
    torch.testing.assert_close(rotate(round_, torch.tensor([37.0]))[middle], round_[middle], atol=0.01, rtol=0)
    bar = ((down.abs() < 1) & (right.abs() < 8)).float()[None, None]
    upright = ((right.abs() < 1) & (down.abs() < 8)).float()[None, None]
    torch.testing.assert_close(rotate(bar, torch.tensor([90.0])), upright, atol=1e-4, rtol=0)


def step_by_step(x: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """The three of Zhao et al. 2020, one after the other, as their supplement lists them."""
    b, s, c = (value[:, None, None, None] for value in (brightness, saturation, contrast))
    x = x + b
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * s + grey
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * c + mean


@given(shape=SHAPES, seed=st.integers(0, 2**40))
def test_colours_change_as_step_by_step(shape: Shape, seed: int) -> None:
    images = pictures(*shape)
    draws = torch.rand((3, shape[0]), generator=torch.Generator().manual_seed(seed))
    how = draws[0] - 0.5, draws[1] * 2, draws[2] + 0.5
    torch.testing.assert_close(recolour(images, *how), step_by_step(images, *how), atol=1e-5, rtol=1e-5)


def test_strengths_of_colour_are_those_published() -> None:
    flat = torch.zeros(4000, 1, 2, 2)
    added = changed(flat, {"colour": 1})[:, 0, 0, 0]
    assert (added.min().item(), added.max().item()) == pytest.approx((-0.5, 0.5), abs=0.01)
    halves = torch.tensor([-1.0, 1.0]).expand(4000, 1, 2, 2)
    spread = changed(halves, {"colour": 1}).std(dim=(1, 2, 3), unbiased=False)
    assert (spread.min().item(), spread.max().item()) == pytest.approx((0.5, 1.5), abs=0.01)
    red = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(4000, 3, 2, 2)
    image = changed(red, {"colour": 1})
    depth = (image[:, 0] - image[:, 1])[:, 0, 0]
    assert depth.min().item() == pytest.approx(0, abs=0.01)
    assert depth.max().item() > 2.5


def test_a_cutout_is_a_square_of_grey_that_may_hang_over_the_border() -> None:
    options, images = {"cutout": 0.5}, torch.ones(400, 2, 8, 8)
    cut = changed(images, options)
    assert sorted(torch.unique(cut).tolist()) == [0, 1]
    assert torch.equal(cut[:, 0], cut[:, 1]), "all channels alike"
    sides = {(rows, columns) for rows, columns in _sides(cut)}
    assert sides == {(a, b) for a in (2, 3, 4) for b in (2, 3, 4)}


def test_a_cutout_lies_where_it_is_asked_to() -> None:
    cut = cut_out(torch.ones(2, 1, 8, 8), 0.5, torch.tensor([[0.5, 0.5], [0.0, 0.99]]), torch.tensor([True, True]))
    expected = torch.ones(2, 1, 8, 8)
    expected[0, :, 2:6, 2:6] = 0
    expected[1, :, :2, 6:] = 0
    assert torch.equal(cut, expected)


def _sides(cut: Tensor) -> list[tuple[int, int]]:
    missing = cut[:, 0] == 0
    return [(int(m.any(1).sum()), int(m.any(0).sum())) for m in missing]


# -- how often -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", EACH, ids=lambda options: next(iter(options)))
@pytest.mark.parametrize("probability", [0.3, torch.tensor(0.3), 1.0])
def test_as_many_pictures_are_changed_as_was_asked_for(options: dict[str, Any], probability: float | Tensor) -> None:
    images = pictures(4000, 3, 8, 8)
    touched = (changed(images, options, probability) != images).flatten(1).any(dim=1).float().mean().item()
    share = {"flip": 0.5, "translation": 24 / 25, "colour": 1, "cutout": 1, "rotation": 1}[next(iter(options))]
    expected = float(probability) * share
    if "colour" in options:  # three that are drawn apart
        expected = 1 - (1 - float(probability)) ** 3
    assert touched == pytest.approx(expected, abs=0.025)


def test_what_is_not_changed_is_left_exactly_as_it_was() -> None:
    images = pictures(500, 3, 7, 6)
    for options in EACH:
        same = (changed(images, options, 0.5) - images).abs().flatten(1).amax(dim=1)
        assert not ((same > 0) & (same < 1e-3)).any(), "no picture is changed by rounding alone"


def test_transformations_are_drawn_apart() -> None:
    images = pictures(4000, 1, 8, 8)
    flips = (changed(images, {"flip": True}) != images).flatten(1).any(1).float()
    cuts = (changed(images, {"cutout": 0.5}, 0.5) != images).flatten(1).any(1).float()
    moves = (changed(images, {"translation": 0.25}, 0.5) != images).flatten(1).any(1).float()
    together = torch.corrcoef(torch.stack([flips, cuts, moves])) - torch.eye(3)
    assert together.abs().max().item() < 0.06


def test_translations_are_whole_pixels_evenly_spread() -> None:
    column = torch.arange(16.0).expand(6000, 1, 16, 16) / 16
    moved = changed(column, {"translation": 0.125})
    right = ((column - moved)[:, 0, 8, 8] * 16).round()
    assert sorted(torch.unique(right).tolist()) == [-2, -1, 0, 1, 2]
    assert torch.histc(right, 5, -2, 2).std().item() / 1200 < 0.06
    down = ((column.mT - changed(column.mT, {"translation": 0.125}))[:, 0, 8, 8] * 16).round()
    assert abs(torch.corrcoef(torch.stack([right, down]))[0, 1].item()) < 0.05


# -- addressed randomness ------------------------------------------------------------------------------------------


def test_the_same_moment_and_purpose_give_the_same_and_every_other_another() -> None:
    images = pictures(4, 3, 8, 8)
    known = changed(images, ALL)
    assert torch.equal(changed(images, ALL), known)
    for change in ({"seed": 1}, {"step": 6}, {"draw": 1}, {"split": "validation"}):
        assert not torch.equal(changed(images, ALL, **change), known)
    assert not torch.equal(augment(images, AugmentationOptions(**ALL), step_context(4), "another"), known)


@pytest.mark.slow
@given(world=st.sampled_from([2, 3, 6]), probability=st.floats(0, 1))
def test_processes_together_do_what_one_would(world: int, probability: float) -> None:
    images, share = pictures(6, 3, 8, 8), 6 // world
    parts = [slice(rank * share, (rank + 1) * share) for rank in range(world)]
    options = AugmentationOptions(**ALL)
    together = [augment(images[rows], options, step_context(6, rows=rows), "test", probability) for rows in parts]
    torch.testing.assert_close(torch.cat(together), changed(images, ALL, probability), atol=1e-6, rtol=0)


# -- as a function that is learned through ----------------------------------------------------------------------------

EXACT = {"flip": True, "translation": 0.25, "cutout": 0.5}
WAYS: dict[str, dict[str, Any]] = {"exact": EXACT, "rotation": {"rotation": 20}, "colour": {"colour": 1}, "all": ALL}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_gradients_flow(way: str) -> None:
    images = pictures(2, 3, 4, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: changed(x, WAYS[way], 0.7), images)


@given(shape=SHAPES, channels_last=st.booleans(), low=st.booleans(), seed=st.integers(0, 2**40))
def test_the_result_is_finite_float32_lies_as_given_and_the_source_is_unchanged(
    shape: Shape, channels_last: bool, low: bool, seed: int
) -> None:
    lies = torch.channels_last if channels_last else torch.contiguous_format
    images = pictures(*shape).contiguous(memory_format=lies)
    before = images.clone()
    with torch.autocast("cpu", torch.bfloat16):
        result = changed(images.bfloat16() if low else images, ALL, seed=seed)
    assert result.dtype == torch.float32
    assert result.isfinite().all()
    assert result.is_contiguous(memory_format=lies)
    assert torch.equal(images, before)
    if not low:
        assert torch.equal(result, changed(images, ALL, seed=seed)), "autocast changes nothing"
