"""The family classifier: pictures of any size to features, and to the probability of each class."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sanggar.data.images import Attribute, ImageSpec
from sanggar.errors import DataError, RecipeError
from sanggar.models.base import Batch, StepContext
from sanggar.models.blocks import Activation
from sanggar.models.capabilities import CAPABILITIES
from sanggar.models.classifier import Block, Classifier, ClassifierOptions, Norm

ABC = ("a", "b", "c")
GREY = ImageSpec(8, 8, 1, ABC)
MOMENT = StepContext(0, 0, 10, 6, slice(6), torch.device("cpu"))
LABELS = torch.arange(6) % 3


def built(spec: ImageSpec = GREY, seed: int = 0, **options: Any) -> Classifier:
    given = {"widths": (4, 6), "blocks": (0, 1), **options}
    model = Classifier.build(ClassifierOptions(**given), spec, seed)
    assert isinstance(model, Classifier)
    return model


def shown(spec: ImageSpec = GREY, count: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((count, spec.channels, spec.height, spec.width), generator=generator) * 2 - 1


@given(
    height=st.integers(8, 33), width=st.integers(8, 33), channels=st.sampled_from([1, 3]),
    stages=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 1)), min_size=1, max_size=6),
    norm=st.sampled_from(get_args(Norm)), activation=st.sampled_from(get_args(Activation)), dropout=st.floats(0, 0.9),
)  # fmt: skip
@settings(max_examples=25)
def test_pictures_of_any_size_become_features_and_probabilities(
    height: int, width: int, channels: int, stages: list[tuple[int, int]], norm: str, activation: str, dropout: float
) -> None:
    spec = ImageSpec(height, width, channels, ABC)
    widths, blocks = zip(*stages, strict=True)
    model = built(spec, widths=widths, blocks=blocks, norm=norm, activation=activation, dropout=dropout)
    terms = model.loss(Batch(shown(spec), LABELS), MOMENT)
    torch.autograd.backward(terms["cross_entropy"])
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    features, shares = model.features(shown(spec)), model.classify(shown(spec))
    assert (features.shape, features.dtype) == ((6, widths[-1]), torch.float32)
    assert model.size == widths[-1]
    assert activation != "relu" or (features >= 0).all()
    assert (shares.shape, shares.dtype) == ((6, 3), torch.float32)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(6))


def test_it_classifies_and_can_do_nothing_else() -> None:
    assert {name for name, protocol in CAPABILITIES.items() if isinstance(built(), protocol)} == {"classify"}


@pytest.mark.parametrize("autocast", [False, True])
def test_the_loss_is_the_mean_surprise_and_the_accuracy_the_share_told_right(autocast: bool) -> None:
    model = built().eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        terms = model.loss(Batch(shown(), LABELS), MOMENT)
    assert {term.dtype for term in terms.values()} == {torch.float32}
    shares = model.classify(shown())
    rtol, atol = (0.05, 0.05) if autocast else (1e-5, 1e-6)
    torch.testing.assert_close(terms["cross_entropy"], -shares[range(6), LABELS].log().mean(), rtol=rtol, atol=atol)
    if not autocast:
        assert terms["accuracy"] == (shares.argmax(dim=1) == LABELS).float().mean()


def test_accuracy_is_watched_and_not_minimized() -> None:
    (phase,) = built().phases()
    assert tuple(phase.watched) == ("accuracy",)
    assert not phase.loss(Batch(shown(), LABELS), MOMENT)["accuracy"].requires_grad


def test_labels_are_smoothed_while_training_alone() -> None:
    """With smoothing ε, the target is 1 − ε on the label and ε over all classes: worked out by hand."""
    sharp, smooth = built(), built(label_smoothing=0.3)
    batch = Batch(shown(), LABELS)
    surprise = -torch.log_softmax(sharp.logits(sharp.features(batch.images)), dim=1)
    expected = (0.7 * surprise[range(6), LABELS] + 0.3 * surprise.mean(dim=1)).mean()
    torch.testing.assert_close(smooth.loss(batch, MOMENT)["cross_entropy"], expected)
    sharp, smooth = built().eval(), built(label_smoothing=0.3).eval()
    assert smooth.loss(batch, MOMENT)["cross_entropy"] == sharp.loss(batch, MOMENT)["cross_entropy"]


@given(width=st.integers(1, 20), norm=st.sampled_from(["batch", "group"]))
@settings(max_examples=10)
def test_a_block_begins_as_the_identity(width: int, norm: Any) -> None:
    x = torch.rand(2, width, 5, 5)
    torch.testing.assert_close(Block(width, norm, "relu")(x), x)


def test_without_a_norm_a_block_begins_as_the_identity_too() -> None:
    block = Block(3, "none", "relu")
    last: Any = block.body[-1]
    nn.init.zeros_(last.bias)
    torch.testing.assert_close(block(torch.ones(2, 3, 5, 5)), torch.ones(2, 3, 5, 5))


def test_dropout_hides_features_while_training_alone() -> None:
    model = built(widths=(401,), blocks=(0,), dropout=0.5)
    ones = torch.ones(1, 401)
    model.linear.weight.data.fill_(1)
    model.linear.bias.data.zero_()
    assert float(model.eval().logits(ones)[0, 0].detach()) == 401
    torch.manual_seed(0)
    seen = float(model.train().logits(ones)[0, 0].detach())
    assert seen % 2 == 0, "each feature that is seen counts twice"
    assert seen == pytest.approx(401, abs=120)  # six deviations of 2 · Binomial(401, 1/2)


def test_it_learns_to_tell_bright_from_dark() -> None:
    pixels = np.random.default_rng(0).integers(0, 100, (60, 8, 8, 1)).astype(np.uint8)
    labels = torch.arange(60) % 2
    pixels[labels == 1] += 100
    model = built(ImageSpec(8, 8, 1, ("dark", "bright")))
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        torch.autograd.backward(model.loss(Batch(images, labels), MOMENT)["cross_entropy"])
        optimizer.step()
    model.eval_on("cpu")
    assert (model.compute("classify", pixels).argmax(axis=1) == labels.numpy()).mean() > 0.95


COLUMNS = (Attribute("old", "flag", ("no", "yes")), Attribute("hue", "category", ABC),
           Attribute("age", "number", mean=30.0, deviation=10.0))  # fmt: skip


def test_attributes_are_told_in_their_own_units_and_learned_by_their_own_losses() -> None:
    model = built(ImageSpec(8, 8, 1, (), COLUMNS), attributes=("age", "old", "hue"))
    model.eval()
    known = torch.tensor([[1.0, 2.0, 40.0], [0.0, 0.0, 30.0]])
    with torch.no_grad():
        model.heads.weight.zero_()
        model.heads.bias.copy_(torch.tensor([0.5, 2.0, 1.0, 0.0, -1.0]))
        told = model.tell(shown(count=2))
        terms = model.loss(Batch(shown(count=2), None, known), MOMENT)
    shares = torch.softmax(torch.tensor([1.0, 0.0, -1.0]), dim=0)
    expected = torch.cat([torch.tensor([35.0, 1 / (1 + math.exp(-2))]), shares]).expand(2, 5)
    torch.testing.assert_close(told, expected)
    assert set(terms) == {"age", "old", "hue"}
    # ages 1 and 0 deviations above the mean, where 0.5 is said
    assert terms["age"].item() == pytest.approx(0.125)
    assert terms["old"].item() == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(2))) / 2)
    assert terms["hue"].item() == pytest.approx(-(math.log(shares[2]) + math.log(shares[0])) / 2)


def test_an_unknown_attribute_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"model\.attributes: there is no 'aeg'.*Did you mean 'age'"):
        built(ImageSpec(8, 8, 1, (), COLUMNS), attributes=("aeg",))


def test_as_many_blocks_as_widths_are_asked_for() -> None:
    with pytest.raises(ValueError, match="blocks: 3 counts for 2 widths"):
        ClassifierOptions(widths=(4, 8), blocks=(1, 1, 1))


def test_pictures_without_classes_or_labels_are_refused() -> None:
    with pytest.raises(DataError, match="have none"):
        built(ImageSpec(8, 8, 1))
    with pytest.raises(DataError, match="labels"):
        built().loss(Batch(shown()), MOMENT)
