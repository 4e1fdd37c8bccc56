"""What a network is told of a picture: names in their order, each as its numbers, and nothing as zeros."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sanggar.data.images import Attribute, Facts
from sanggar.errors import RecipeError, RunError
from sanggar.models.conditions import Conditions
from sanggar.models.family import Batch, Moment
from sanggar.models.vae import VAE, VAEOptions
from sanggar.plan import resolve
from sanggar.recipe import Recipe

FACTS = Facts(
    8, 8, 1, ("cat", "dog", "owl"),
    (
        Attribute("glasses", "flag", ("no", "yes")), Attribute("eyes", "category", ("blue", "brown", "green", "grey")),
        Attribute("age", "number", mean=30.0, deviation=10.0),
    ),
)  # fmt: skip
LABELS = torch.tensor([2, 0])
KNOWN = torch.tensor([[1.0, 3.0, 45.0], [0.0, 1.0, 20.0]])
AS_NUMBERS = {
    "class": [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], "glasses": [[1.0], [-1.0]],
    "eyes": [[0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]], "age": [[1.5], [-1.0]],
}  # fmt: skip


@given(st.permutations(sorted(AS_NUMBERS)), st.integers(1, 4))
def test_each_name_has_its_numbers_at_its_place_in_the_order_asked_for(names: list[str], count: int) -> None:
    names = names[:count]
    conditions = Conditions(tuple(names), FACTS)
    told = conditions.told(LABELS, KNOWN)
    assert told.shape == (2, conditions.width)
    torch.testing.assert_close(told, torch.cat([torch.tensor(AS_NUMBERS[name]) for name in names], dim=1))
    for name in names:
        torch.testing.assert_close(told[:, conditions.place(name)], torch.tensor(AS_NUMBERS[name]))
        assert conditions.numbers(name) == len(AS_NUMBERS[name][0])


@pytest.mark.parametrize(
    ("facts", "name", "words"),
    [
        (FACTS, "glases", "Did you mean 'glasses'"), (FACTS, "height", "Known: class, glasses, eyes, age"),
        (Facts(8, 8, 1), "class", "neither classes nor attributes"),
    ],
)  # fmt: skip
def test_what_the_pictures_do_not_have_is_refused_in_words(facts: Facts, name: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Conditions((name,), facts)


def test_attributes_asked_for_in_words_are_those_of_a_picture_that_has_them() -> None:
    conditions = Conditions(("class", "age", "eyes", "glasses"), FACTS)
    told = conditions.told(LABELS, KNOWN)
    told[:, conditions.place("class")] = 0
    for row, (age, eyes, glasses) in zip(told, (("45", "grey", "yes"), ("20", "brown", "no")), strict=True):
        torch.testing.assert_close(conditions.asked({"age": age, "eyes": eyes, "glasses": glasses}), row)
    assert conditions.asked({"eyes": "blue"}).count_nonzero() == 1
    for wanted, words in (
        ({"age": "old"}, "age: expected a number, got 'old'"), ({"age": "nan"}, "expected a number, got 'nan'"),
        ({"eyes": "gray"}, "there is no 'gray'. Did you mean"),
        ({"glasses": "1"}, "there is no '1'. Known: no, yes"), ({"ages": "3"}, "not told 'ages'. Did you mean 'age'"),
        ({"class": "cat"}, "not told 'class'"),
    ):  # fmt: skip
        with pytest.raises(RunError, match=words):
            conditions.asked(wanted)


@pytest.mark.parametrize("more", [{"condition": ["class", "class"]}, {"condition": ["class"], "untold": 0}], ids=str)
def test_what_has_no_meaning_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"condition|untold"):
        resolve(Recipe("t", data={"source": "digits"}, model={"family": "vae", **more}, training={"steps": 1}))


def built(**more: Any) -> VAE:
    options = {"widths": [4], "latent_size": 3, "condition": ["eyes", "class"], **more}
    model = VAE.build(VAEOptions.model_validate(options), FACTS, 0)
    assert isinstance(model, VAE)
    return model


def moment(n: int, split: str = "train") -> Moment:
    return Moment(0, 3, 10, n, slice(n), torch.device("cpu"), split=split)


def test_of_a_share_of_training_pictures_nothing_is_told_of_others_not_all_and_of_validation_pictures_all() -> None:
    model, n = built(untold=0.25), 4000
    batch = Batch(torch.zeros(n, 1, 8, 8), LABELS.repeat(n // 2), KNOWN.repeat(n // 2, 1))
    whole = model.conditions.told(batch.labels, batch.attributes)
    told = model._told(batch, moment(n))
    assert told is not None
    parts = [(told[:, model.conditions.place(name)] == 0).all(dim=1) for name in model.conditions.names]
    eyes, kind = parts
    # a quarter all at once, of the others a quarter of each
    assert (eyes & kind).float().mean().item() == pytest.approx(0.25 + 0.75 / 16, abs=0.03)
    for alone in (eyes & ~kind, kind & ~eyes):
        assert alone.float().mean().item() == pytest.approx(0.75 * 3 / 16, abs=0.03)
    kept = ~torch.cat([part[:, None].expand(-1, model.conditions.numbers(name))
                       for part, name in zip(parts, model.conditions.names, strict=True)], dim=1)  # fmt: skip
    assert torch.equal(told[kept], whole[kept])
    assert torch.equal(model._told(batch, moment(n, "validation")), whole)


def test_a_single_thing_is_left_out_as_often_as_asked_for() -> None:
    model, n = built(untold=0.25, condition=["class"]), 4000
    told = model._told(Batch(torch.zeros(n, 1, 8, 8), LABELS.repeat(n // 2), KNOWN.repeat(n // 2, 1)), moment(n))
    assert told is not None
    assert (told == 0).all(dim=1).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_untold_is_zeros_and_what_is_told_changes_the_picture() -> None:
    model = built().eval()
    latents, told = torch.randn(2, 3), model.conditions.told(LABELS, KNOWN)
    assert torch.equal(model.decode(latents), model.decode(latents, torch.zeros_like(told)))
    assert not torch.equal(model.decode(latents), model.decode(latents, told))
    images, noise = torch.rand(2, 1, 8, 8) * 2 - 1, torch.randn(2, 3)
    assert not torch.equal(model.weigh(images, noise), model.weigh(images, noise, told))
    assert not torch.equal(model.reconstruct(images), model.reconstruct(images, told))


def test_a_class_that_is_asked_for_is_told_and_the_rest_is_not() -> None:
    model, latents = built().eval(), torch.randn(2, 3)
    told = torch.zeros(2, 7)
    told[:, model.conditions.place("class")] = torch.eye(3)[LABELS]
    assert model.conditional
    assert torch.equal(model.sample(latents, LABELS), model.decode(latents, told))
    assert torch.equal(model.sample(latents), model.decode(latents))
    assert not built(condition=["eyes"]).conditional
