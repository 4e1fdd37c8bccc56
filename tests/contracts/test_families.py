"""What every family promises, whatever computes it: uint8 pictures in, NumPy out, at each size it may be built for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from conftest import SLIM, quick_first
from sanggar.data.images import CHUNK, ImageSpec, at_once
from sanggar.models.base import Model
from sanggar.models.capabilities import CAPABILITIES, HasDensity, HasNeurons, Reconstructs, Samples, capabilities_of
from sanggar.plan import FAMILIES, AnyModel, Plan, build, resolve
from sanggar.recipe import Recipe
from sanggar.runs import Arrays, load_arrays, save_arrays
from sanggar.training.learners.base import Learner
from sanggar.training.start import LEARNERS, learner_of

CLASSES = tuple("0123456789")
SIZES = [ImageSpec(8, 8, 1, CLASSES), ImageSpec(28, 28, 1, CLASSES), ImageSpec(32, 32, 3, CLASSES)]
SMALL = SIZES[0]
N = 6

WITH_PRIORS = [*FAMILIES, *(f"{name} with a learned prior" for name in ("autoencoder", "vae"))]
EVERY = pytest.mark.parametrize("name", WITH_PRIORS)
pytestmark = pytest.mark.usefixtures("few_steps")
AT_EACH_SIZE = pytest.mark.parametrize("spec", quick_first(SIZES), ids=lambda spec: spec.size)


PRIORS = {
    "vae": {"kind": "flow", "width": 8, "blocks": 1},
    "autoencoder": {"kind": "mixture", "components": 3},
}
"""A family with a learned prior is held to its word as well"""


def planned(name: str, seed: int = 0) -> Plan:
    family, _, prior = name.partition(" with ")
    training = {"steps": 1, "seed": seed, "device": "cpu", "precision": "fp32"}
    return resolve(
        Recipe(
            "t",
            data={"source": "digits"},
            model={"family": family, **SLIM.get(family, {}), **({"prior": PRIORS[family]} if prior else {})},
            training=training,
        )
    )


def made(name: str, spec: ImageSpec, seed: int = 0) -> AnyModel:
    model = build(planned(name), spec, seed)
    model.eval_on("cpu")
    return model


def weights(name: str, spec: ImageSpec, seed: int = 0) -> Arrays:
    return learner_of(planned(name, seed), spec).weights()


def pictures(spec: ImageSpec, count: int = N) -> np.ndarray:
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (count, spec.height, spec.width, spec.channels), np.uint8)


# -- capabilities: what each of them gives for pictures ----------------------------------------------------------


def encoded(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    latents = model.compute("encode", given)
    assert (latents.ndim, len(latents), latents.dtype) == (2, len(given), np.dtype(np.float32))
    assert np.isfinite(latents).all()
    return {"encode": latents}


def decoded(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    if not isinstance(model, CAPABILITIES["encode"]):
        return {}  # where its latents come from, its own test knows
    found = model.compute("decode", model.compute("encode", given))
    assert (found.dtype, found.shape) == (np.dtype(np.uint8), given.shape)
    return {"decode": found}


def reconstructed(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    found = model.compute("reconstruct", given)
    assert (found.dtype, found.shape) == (np.dtype(np.uint8), given.shape)
    return {"reconstruct": found}


def inferred(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    assert isinstance(model, CAPABILITIES["posterior"])
    assert isinstance(model, Model) and model.latent_size is not None
    posterior = model.compute("posterior", given)
    assert (posterior.dtype, posterior.shape) == (np.dtype(np.float32), (len(given), 2, model.latent_size))
    np.testing.assert_array_equal(posterior[:, 0], model.compute("encode", given))
    noise = np.random.default_rng(0).standard_normal((len(given), model.latent_size)).astype(np.float32)
    weighed = model.compute("log_weight_terms", given, posterior, noise)
    assert (weighed.dtype, weighed.shape) == (np.dtype(np.float32), (len(given), 3))
    assert np.isfinite(weighed).all()
    return {"posterior": posterior, "log_weight_terms": weighed}


def classified(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    shares = model.compute("classify", given)
    assert (shares.dtype, shares.shape) == (np.dtype(np.float32), (len(given), len(spec.classes)))
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    return {"classify": shares}


def drawn(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    assert isinstance(model, Model) and isinstance(model, Samples)
    latents = np.random.default_rng(0).standard_normal((len(given), *model.noise_shape)).astype(np.float32)
    rows = None  # each of the shipped families is unconditional by default
    chosen = [model.SamplingOptions.model_validate({model.SamplingOptions.swept: t}) for t in (1.0, 0.5)]
    found = {f"sample {o}": model.compute("sample", latents, rows, options=o) for o in chosen}
    for array in found.values():
        assert (array.dtype, array.shape) == (np.dtype(np.uint8), given.shape)
    one, other = found.values()
    assert (one != other).any()
    return found


def refitted(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    assert isinstance(model, CAPABILITIES["posterior"])
    assert isinstance(model, Model) and model.latent_size is not None
    noise = np.random.default_rng(1).standard_normal((len(given), 10, model.latent_size)).astype(np.float32)
    posterior = model.compute("posterior", given)
    weighed = [model.compute("log_weight_terms", given, posterior, noise[:, draw])[:, :1] for draw in range(8)]
    bounds = model.compute("regret", given, posterior, np.concatenate(weighed, axis=1), noise)
    assert bounds.shape == (len(given), 2)
    assert (bounds[:, 1] >= bounds[:, 0]).all()
    return {"regret": bounds}


def looked_into(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    assert isinstance(model, CAPABILITIES["neurons"])
    assert isinstance(model, HasNeurons)
    neurons = {name: array.copy() for name, array in model.neurons().items()}
    gradients = model.neuron_gradients(given, np.arange(len(given)) % len(spec.classes))
    assert neurons
    assert {name: array.shape for name, array in gradients.items()} == {n: a.shape for n, a in neurons.items()}
    for name, array in gradients.items():
        assert array.ndim == 2
        assert np.isfinite(array).all()
        assert array.any()
        np.testing.assert_array_equal(model.neurons()[name], neurons[name], err_msg="looking changes nothing")
    return {f"neurons.{name}": array for name, array in (neurons | gradients).items()}


def weighed(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    assert isinstance(model, Model) and isinstance(model, HasDensity)
    noise = np.random.default_rng(0).random((len(given), *model.noise_shape), np.float32)
    found = model.compute("log_density", given, noise)
    assert (found.dtype, found.shape) == (np.dtype(np.float32), (len(given),))
    assert np.isfinite(found).all()
    return {"log_density": found}


def under_prior(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    assert isinstance(model, Model) and model.latent_size is not None
    latents = model.compute("encode", given)
    probe = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), latents.shape)
    found = model.compute("prior_density", latents, probe)
    assert (found.dtype, found.shape) == (np.dtype(np.float32), (len(given),))
    assert np.isfinite(found).all()
    return {"prior_density": found}


def led_back(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    latents = model.compute("encode", given)
    noise = model.compute("noise_of", latents)
    assert (noise.dtype, noise.shape) == (latents.dtype, latents.shape)
    np.testing.assert_allclose(model.compute("latent_of", noise), latents, atol=1e-2)
    return {"noise_of": noise}


WORDS: dict[str, Callable[[AnyModel, np.ndarray, ImageSpec], Arrays]] = {
    "encode": encoded, "decode": decoded, "reconstruct": reconstructed, "sample": drawn, "classify": classified,
    "neurons": looked_into, "posterior": inferred, "regret": refitted,
    "log_density": weighed, "prior_density": under_prior, "noise_of": led_back,
}  # fmt: skip
ON_TENSORS = {"disturb"}
"""Held to their word in test_torch_families.py."""


def answers(model: AnyModel, given: np.ndarray, spec: ImageSpec) -> Arrays:
    """All that a model says of pictures, by capability, checked."""
    able = [name for name in WORDS if name in capabilities_of(model)]
    return {key: array for name in able for key, array in WORDS[name](model, given, spec).items()}


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_every_capability_is_held_to_its_word() -> None:
    assert {*WORDS, *ON_TENSORS} == set(CAPABILITIES)


@EVERY
@AT_EACH_SIZE
def test_its_capabilities_keep_their_word_again_and_again(name: str, spec: ImageSpec) -> None:
    model, given = made(name, spec), pictures(spec)
    before = given.copy()
    first = answers(model, given, spec)
    assert first, "nobody could ask it for anything"
    assert same(answers(model, given, spec), first)
    np.testing.assert_array_equal(given, before)


@EVERY
def test_a_picture_is_answered_alone_as_among_many(name: str) -> None:
    model, given = made(name, SMALL), pictures(SMALL, CHUNK + 3)
    for capability in ("encode", "reconstruct", "classify"):
        if not isinstance(model, CAPABILITIES[capability]):
            continue
        whole = model.compute(capability, given).astype(np.float64)
        for i in (0, CHUNK - 1, CHUNK, CHUNK + 2):
            (alone,) = model.compute(capability, given[i : i + 1]).astype(np.float64)
            # a pixel may be rounded to its neighbour
            np.testing.assert_allclose(whole[i], alone, atol=1 if capability == "reconstruct" else 1e-5)


def test_large_pictures_go_through_a_network_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [at_once(edge, edge) for edge in (8, 32, 128, 4096)] == [CHUNK, CHUNK, 32, 1]
    large = ImageSpec(128, 128, 3, CLASSES)
    model, given = made("autoencoder", large), pictures(large, 34)
    assert isinstance(model, Model) and isinstance(model, Reconstructs)
    reconstruct, sizes = model.reconstruct, []

    def watched(shown: torch.Tensor) -> torch.Tensor:
        sizes.append(len(shown))
        return reconstruct(shown)

    monkeypatch.setattr(model, "reconstruct", watched, raising=False)
    in_parts = model.compute("reconstruct", given)
    model.at_once = len(given)
    np.testing.assert_allclose(model.compute("reconstruct", given), in_parts, atol=1)
    assert sizes == [32, 2, 34]


# -- building, loading, training ---------------------------------------------------------------------------------


@EVERY
def test_a_recipe_calls_it_by_its_name(name: str) -> None:
    name = name.partition(" with ")[0]
    family = FAMILIES[name]
    assert get_args(family.Options.model_fields["family"].annotation) == (name,)
    assert planned(name).family is family
    assert planned(name).tree()["model"]["family"] == name


def numpys_state() -> bytes:
    """Of the generator that NumPy shares."""
    state = np.random.get_state()  # noqa: NPY002
    assert isinstance(state, tuple)
    return state[1].tobytes()


@EVERY
@AT_EACH_SIZE
def test_a_seed_decides_its_first_weights_and_nothing_else_is_drawn_from(name: str, spec: ImageSpec) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = torch.get_rng_state(), numpys_state()
    one, other = (answers(made(name, spec, seed), pictures(spec), spec) for seed in (3, 4))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert numpys_state() == before[1]
    torch.manual_seed(2)
    assert same(answers(made(name, spec, 3), pictures(spec), spec), one)
    # answers may begin alike, where a network begins by doing nothing
    assert not same(one | weights(name, spec, 3), other | weights(name, spec, 4))


@EVERY
@AT_EACH_SIZE
def test_a_learner_trains_it_and_its_weights_survive_a_file(name: str, spec: ImageSpec, tmp_path: Path) -> None:
    assert planned(name).family.learner in LEARNERS
    learner = learner_of(planned(name, seed=3), spec)
    assert isinstance(learner, Learner)
    save_arrays(tmp_path / "weights", learner.weights())
    model = build(planned(name), spec, 4)
    model.load(load_arrays(tmp_path / "weights")[0])
    model.eval_on("cpu")
    assert same(answers(model, pictures(spec), spec), answers(made(name, spec, 3), pictures(spec), spec))


@EVERY
def test_it_finds_a_device_where_none_is_named(name: str) -> None:
    model = build(planned(name), SMALL, 0)
    model.eval_on(None)
    assert answers(model, pictures(SMALL), SMALL)


@EVERY
def test_another_networks_weights_are_refused(name: str) -> None:
    kept = weights(name, SMALL)
    first = next(name for name, array in kept.items() if array.ndim)
    for wrong in ({}, {**kept, first: kept[first][:-1]}, {**kept, "stranger": kept[first]}, weights(name, SIZES[2])):
        with pytest.raises(ValueError):
            made(name, SMALL).load(wrong)
