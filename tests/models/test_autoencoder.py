"""The autoencoder: pictures of any size go through the latent and come back in their size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sanggar.data.images import ImageSpec
from sanggar.errors import RecipeError
from sanggar.models.autoencoder import Autoencoder, AutoencoderOptions
from sanggar.models.base import Batch, StepContext
from sanggar.models.blocks import Activation, Norm, Patch
from sanggar.models.capabilities import capabilities_of
from sanggar.models.losses import PixelLoss

MOMENT = StepContext(0, 0, 1, 3, slice(3), torch.device("cpu"))


def built(spec: ImageSpec, **options: object) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(AutoencoderOptions(**{"widths": (4, 8), "latent_size": 5, **options}), spec)


@given(
    height=st.integers(7, 33), width=st.integers(7, 33), channels=st.sampled_from([1, 3]), latent=st.integers(1, 9),
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=5), blocks=st.integers(0, 1),
    activation=st.sampled_from(get_args(Activation)), loss=st.sampled_from(get_args(PixelLoss)),
)  # fmt: skip
def test_pictures_of_any_size_come_back_in_their_size(
    height: int, width: int, channels: int, latent: int, widths: list[int], blocks: int, activation: str, loss: str
) -> None:
    style = {"blocks": blocks, "activation": activation, "loss": loss}
    model = built(ImageSpec(height, width, channels), widths=widths, latent_size=latent, **style)
    images = torch.rand(3, channels, height, width) * 2 - 1
    latents = model.encode(images)
    assert latents.shape == (3, latent)
    assert model.decode(latents).shape == images.shape
    assert torch.equal(model.reconstruct(images), model.decode(latents))
    terms = model.loss(Batch(images), MOMENT)
    torch.autograd.backward(torch.stack([*terms.values()]).sum())
    assert all(torch.isfinite(term) for term in terms.values())
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("scales", [False, True])
@pytest.mark.parametrize("patch", get_args(Patch))
def test_patches_are_the_same_network_on_fewer_places(patch: int, scales: bool) -> None:
    spec, images = ImageSpec(16, 24, 3), torch.rand(2, 3, 16, 24) * 2 - 1
    model = built(spec, patch=patch, scales=scales)
    beside = built(ImageSpec(16 // patch, 24 // patch, 3 * patch**2), scales=scales)
    beside.load_state_dict(model.state_dict())
    latents = model.encode(images)
    assert torch.equal(latents, beside.encode(F.pixel_unshuffle(images, patch)))
    assert torch.equal(model.decode(latents), F.pixel_shuffle(beside.decode(latents), patch))


def test_patches_that_do_not_fill_a_picture_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.patch: pictures of 28×28 are not filled by squares of 8×8"):
        built(ImageSpec(28, 28, 1), patch=8)


@given(norm=st.sampled_from(get_args(Norm)), width=st.integers(1, 70), blocks=st.integers(0, 1))
@settings(max_examples=30)
def test_every_norm_takes_every_width(norm: str, width: int, blocks: int) -> None:
    images = torch.zeros(3, 1, 8, 8)
    assert built(ImageSpec(8, 8, 1), widths=[width], norm=norm, blocks=blocks).reconstruct(images).shape == images.shape


def test_all_parameters_are_trained_in_one_phase_and_every_capability_is_there() -> None:
    model = built(ImageSpec(8, 8, 1))
    (phase,) = model.phases()
    assert {id(p) for p in phase.parameters} == {id(p) for p in model.parameters()}
    assert capabilities_of(model) == {"encode", "decode", "reconstruct", "disturb"}


@pytest.mark.parametrize(("kind", "loss"), [("mse", F.mse_loss), ("l1", F.l1_loss)])
def test_the_loss_compares_what_comes_of_noise_with_what_was_clean(
    kind: str, loss: Callable[[Tensor, Tensor], Tensor]
) -> None:
    model = built(ImageSpec(8, 8, 1), loss=kind, noise={"level": 0.5})
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    noisy = model.disturb(images, MOMENT)
    assert not torch.equal(noisy, images)
    terms = model.loss(Batch(images), MOMENT)
    assert set(terms) == {kind}
    torch.testing.assert_close(terms[kind], loss(model.reconstruct(noisy), images))


def test_without_noise_it_is_a_plain_autoencoder() -> None:
    model = built(ImageSpec(8, 8, 1), noise={"level": 0})
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(model.disturb(images, MOMENT), images)


def test_nothing_goes_round_the_latent() -> None:
    model = built(ImageSpec(8, 8, 1))
    with torch.no_grad():
        model.encoder.dense.weight.zero_()
        one, other = model.reconstruct(torch.rand(2, 1, 8, 8))
    torch.testing.assert_close(one, other)


def test_residual_blocks_begin_as_the_identity() -> None:
    spec, images = ImageSpec(8, 8, 1), torch.rand(3, 1, 8, 8)
    deep = built(spec, blocks=2, norm="none")
    plain = built(spec, blocks=0, norm="none")
    kept = [value for name, value in deep.state_dict().items() if ".body." not in name]
    plain.load_state_dict(dict(zip(plain.state_dict(), kept, strict=True)))
    with torch.no_grad():
        for block in (m for m in deep.modules() if type(m).__name__ == "ResidualBlock"):
            body: Any = block.body
            body[-1].bias.zero_()
        torch.testing.assert_close(deep.reconstruct(images), plain.reconstruct(images))


@pytest.mark.parametrize("options", [{"residual": False}, {"scales": True}], ids=str)
def test_it_can_be_the_twin_of_any_vae(options: dict[str, bool]) -> None:
    model = built(ImageSpec(9, 8, 3), blocks=1, **options)
    assert model.reconstruct(torch.rand(2, 3, 9, 8)).shape == (2, 3, 9, 8)
    usual = built(ImageSpec(9, 8, 3), blocks=1)
    shapes = [sorted(tuple(p.shape) for p in m.parameters()) for m in (model, usual)]
    assert (shapes[0] != shapes[1]) == options.get("scales", False)


@given(strides=st.lists(st.sampled_from([1, 2]), min_size=1, max_size=4), side=st.integers(7, 20))
@settings(max_examples=20)
def test_strides_of_one_keep_the_size_and_of_two_halve_it(strides: list[int], side: int) -> None:
    model = built(ImageSpec(side, side + 1, 1), widths=[3] * len(strides), strides=strides)
    images = torch.zeros(2, 1, side, side + 1)
    assert model.reconstruct(images).shape == images.shape
    height, width = side, side + 1
    for stride in strides:
        height, width = -(-height // stride), -(-width // stride)
    assert model.encoder.dense.in_features == 3 * height * width


def test_as_many_strides_as_widths_are_asked_for() -> None:
    with pytest.raises(ValueError, match="strides"):
        AutoencoderOptions(widths=(4, 8), strides=(1,))
