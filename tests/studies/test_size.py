"""Sizes of networks: as whoever reported them counted."""

from __future__ import annotations

import pytest

from sanggar import recipe
from sanggar.errors import RecipeError
from sanggar.plan import Plan, resolve
from sanggar.studies.size import parameters


def plan_of(name: str, *overrides: str) -> Plan:
    return resolve(recipe.read(name, list(overrides)))


def counts(plan: Plan, part: str) -> tuple[float, ...]:
    return tuple(
        parameters(plan, {"part": part, "counted": counted}).value for counted in ("all", "trained", "running")
    )


def test_a_generator_has_what_keras_counts() -> None:
    plan = plan_of("cifar10-gan-dense")
    assert counts(plan, "generator") == (3_838_720, 3_835_136, 3_584)
    dense, norms = (0, 3, 6, 9), (1, 4, 7)
    assert [counts(plan, f"generator.layers.{i}")[0] for i in dense] == [25_856, 131_584, 525_312, 3_148_800]
    assert [counts(plan, f"generator.layers.{i}") for i in norms] == [
        (1_024, 512, 512), (2_048, 1_024, 1_024), (4_096, 2_048, 2_048),
    ]  # fmt: skip
    assert parameters(plan, {}).value == sum(counts(plan, part)[0] for part in ("generator", "critic"))


def test_spectral_norm_adds_nothing() -> None:
    with_, without = (plan_of("cifar10-gan-dense", f"model.critic.spectral={on}") for on in ("true", "false"))
    assert counts(with_, "critic") == counts(without, "critic")


def test_the_engine_of_its_own_is_counted_alike() -> None:
    plan = plan_of("digits-ffnn", "model.hidden=[8]", "model.normalization=batch")
    assert counts(plan, "whole") == (65 * 8 + 4 * 8 + 9 * 10, 65 * 8 + 2 * 8 + 9 * 10, 2 * 8)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"part": "genrator"}, "cifar10-gan-dense has no part 'genrator'. Did you mean 'generator'?"),
        ({"counted": "traned"}, "there is no 'traned'. Did you mean 'trained'?"),
        ({"prat": "generator"}, "there is no tag 'prat'. Did you mean 'part'?"),
    ],
)
def test_what_is_not_there_is_named(tags: dict[str, str], words: str) -> None:
    with pytest.raises(RecipeError, match=words.replace("?", r"\?")):
        parameters(plan_of("cifar10-gan-dense"), tags)
