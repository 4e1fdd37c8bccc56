"""Conditions: names in their order, each as its numbers, and the unconditional case as zeros."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sanggar.data.images import Attribute, ImageSpec
from sanggar.errors import RecipeError, RunError
from sanggar.models.base import Batch, StepContext
from sanggar.models.conditions import ConditionEmbedding, Conditions
from sanggar.models.priors import TemperatureSampling
from sanggar.models.vae.model import VAE, VAEOptions
from sanggar.plan import resolve
from sanggar.recipe import Recipe
from typed import there

FACTS = ImageSpec(
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
    told = conditions.encode(LABELS, KNOWN)
    assert told.shape == (2, conditions.width)
    torch.testing.assert_close(told, torch.cat([torch.tensor(AS_NUMBERS[name]) for name in names], dim=1))
    for name in names:
        torch.testing.assert_close(told[:, conditions.place(name)], torch.tensor(AS_NUMBERS[name]))
        assert conditions.size(name) == len(AS_NUMBERS[name][0])


@pytest.mark.parametrize(
    ("spec", "name", "words"),
    [
        (FACTS, "glases", "Did you mean 'glasses'"), (FACTS, "height", "Known: class, glasses, eyes, age"),
        (ImageSpec(8, 8, 1), "class", "neither classes .two folders or more. nor a table"),
    ],
)  # fmt: skip
def test_what_the_pictures_do_not_have_is_refused_in_words(spec: ImageSpec, name: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Conditions((name,), spec)


def test_attributes_asked_for_in_words_are_those_of_a_picture_that_has_them() -> None:
    conditions = Conditions(("class", "age", "eyes", "glasses"), FACTS)
    told = conditions.encode(LABELS, KNOWN)
    told[:, conditions.place("class")] = 0
    for row, (age, eyes, glasses) in zip(told, (("45", "grey", "yes"), ("20", "brown", "no")), strict=True):
        torch.testing.assert_close(conditions.row({"age": age, "eyes": eyes, "glasses": glasses}), row)
    assert conditions.row({"eyes": "blue"}).count_nonzero() == 1
    for named in ("owl", "2", 2):
        assert conditions.row({"class": named})[conditions.place("class")].tolist() == [0, 0, 1]
    for wanted, words in (
        ({"age": "old"}, "age: expected a number, got 'old'"), ({"age": "nan"}, "expected a number, got 'nan'"),
        ({"eyes": "gray"}, "there is no 'gray'. Did you mean"),
        ({"glasses": "1"}, "there is no '1'. Known: no, yes"),
        ({"ages": "3"}, "not conditioned on 'ages'. Did you mean 'age'"), ({"class": "cow"}, "There is no class 'cow'"),
        ({"class": 3}, "There is no class 3. Known: 0 cat, 1 dog, 2 owl"),
        ({"class": 1.7}, "There is no class 1.7"), ({"class": True}, "There is no class True"),
        ({"class": None}, "There is no class None"),
    ):  # fmt: skip
        with pytest.raises(RunError, match=words):
            conditions.row(wanted)


@pytest.mark.parametrize(
    "more", [{"condition": ["class", "class"]}, {"condition": ["class"], "condition_dropout": 0}], ids=str
)
def test_what_has_no_meaning_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"condition|condition_dropout"):
        resolve(Recipe("t", data={"source": "digits"}, model={"family": "vae", **more}, training={"steps": 1}))


def built(**more: Any) -> VAE:
    options = {"widths": [4], "latent_size": 3, "condition": ["eyes", "class"], **more}
    model = VAE.build(VAEOptions.model_validate(options), FACTS, 0)
    assert isinstance(model, VAE)
    return model


def step_context(n: int, split: str = "train") -> StepContext:
    return StepContext(0, 3, 10, n, slice(n), torch.device("cpu"), split=split)


def test_of_a_share_of_training_pictures_nothing_is_told_of_others_not_all_and_of_validation_pictures_all() -> None:
    model, n = built(condition_dropout=0.25), 4000
    batch = Batch(torch.zeros(n, 1, 8, 8), LABELS.repeat(n // 2), KNOWN.repeat(n // 2, 1))
    whole = model.conditions.encode(batch.labels, batch.attributes)
    told = model.conditions.of_batch(batch, step_context(n), 0.25)
    assert told is not None
    parts = [(told[:, model.conditions.place(name)] == 0).all(dim=1) for name in model.conditions.names]
    eyes, kind = parts
    # a quarter all at once, of the others a quarter of each
    assert (eyes & kind).float().mean().item() == pytest.approx(0.25 + 0.75 / 16, abs=0.03)
    for alone in (eyes & ~kind, kind & ~eyes):
        assert alone.float().mean().item() == pytest.approx(0.75 * 3 / 16, abs=0.03)
    kept = ~torch.cat([part[:, None].expand(-1, model.conditions.size(name))
                       for part, name in zip(parts, model.conditions.names, strict=True)], dim=1)  # fmt: skip
    assert torch.equal(told[kept], whole[kept])
    assert torch.equal(there(model.conditions.of_batch(batch, step_context(n, "validation"), 0.25)), whole)


def test_a_single_thing_is_left_out_as_often_as_asked_for() -> None:
    model, n = built(condition_dropout=0.25, condition=["class"]), 4000
    batch = Batch(torch.zeros(n, 1, 8, 8), LABELS.repeat(n // 2), KNOWN.repeat(n // 2, 1))
    told = model.conditions.of_batch(batch, step_context(n), 0.25)
    assert told is not None
    assert (told == 0).all(dim=1).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_untold_is_zeros_and_what_is_told_changes_the_picture() -> None:
    model = built().eval()
    latents, told = torch.randn(2, 3), model.conditions.encode(LABELS, KNOWN)
    assert torch.equal(model.decode(latents), model.decode(latents, torch.zeros_like(told)))
    assert not torch.equal(model.decode(latents), model.decode(latents, told))
    images, noise = torch.rand(2, 1, 8, 8) * 2 - 1, torch.randn(2, 3)
    posterior = model.posterior(images)
    untold, given = (model.log_weight_terms(images, posterior, noise, condition) for condition in (None, told))
    assert not torch.equal(untold, given)
    assert not torch.equal(model.reconstruct(images), model.reconstruct(images, told))


def test_a_class_that_is_asked_for_is_told_and_the_rest_is_not() -> None:
    model, latents = built().eval(), torch.randn(2, 3)
    told = torch.zeros(2, 7)
    told[:, model.conditions.place("class")] = torch.eye(3)[LABELS]
    row = model.conditions.row({"class": "owl"})
    assert torch.equal(row, told[0])
    options = TemperatureSampling()
    assert torch.equal(model.sample(latents, told, options), model.decode(latents, told))
    assert torch.equal(model.sample(latents, None, options), model.decode(latents))


def test_an_embedding_of_a_class_is_its_row_to_the_bit_and_of_several_names_their_sum() -> None:
    one = ConditionEmbedding(Conditions(("class",), FACTS), 5)
    rows = torch.eye(3)[[2, 0, 2]]
    assert torch.equal(one(rows), one.weight[[2, 0, 2]])
    gradient = torch.autograd.grad((one(rows) * torch.arange(15.0).view(3, 5)).sum(), one.weight)[0]
    plain = torch.nn.functional.embedding(torch.tensor([2, 0, 2]), one.weight)
    assert torch.equal(gradient, torch.autograd.grad((plain * torch.arange(15.0).view(3, 5)).sum(), one.weight)[0])
    conditions = Conditions(("age", "class", "glasses"), FACTS)
    several, told = ConditionEmbedding(conditions, 4), conditions.encode(LABELS, KNOWN)
    torch.testing.assert_close(several(told), told @ several.weight)
    assert not several(torch.zeros(2, conditions.width)).any()
