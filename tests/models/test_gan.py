"""The family `gan`: its kinds, what it refuses, growth, adaptive augmentation, truncation, and report 4's table."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sanggar
from conftest import quick_first
from gathering import write_pictures
from sanggar.data.images import ImageSpec
from sanggar.data.sources import SOURCES
from sanggar.errors import RecipeError
from sanggar.models.base import Batch, StepContext
from sanggar.models.capabilities import Samples
from sanggar.models.conditions import Conditions
from sanggar.models.gan.critics import ConvCritic
from sanggar.models.gan.generators import ConvGenerator, Stage, Task
from sanggar.models.gan.model import GAN, GANOptions, GANSampling
from sanggar.models.gan.style import EqualConv, StyleGenerator, deviation
from sanggar.plan import resolve
from sanggar.recipe import Recipe, read
from sanggar.training.describe import describe
from sanggar.training.learners.torch import TorchLearner
from typed import there

CLASSES = tuple("0123456789")
GREY, COLOUR, ODD = (
    ImageSpec(28, 28, 1, CLASSES),
    ImageSpec(16, 16, 3, ("a", "b", "c")),
    ImageSpec(13, 9, 3, ("a", "b")),
)
GENERATORS: dict[str, dict[str, Any]] = {
    "dense": {"widths": [8]}, "dcgan": {"widths": [8, 4]}, "resnet": {"widths": [8, 6, 4]},
    "style": {"widths": [8, 6, 4], "style_size": 8},
}  # fmt: skip
CRITICS: dict[str, dict[str, Any]] = {
    "dense": {"widths": [8]}, "dcgan": {"widths": [4, 8], "norm": "none"}, "resnet": {"widths": [4, 6, 8]},
    "style": {"widths": [4, 6, 8]},
}  # fmt: skip


def options(generator: str = "dcgan", critic: str = "dcgan", **more: Any) -> GANOptions:
    return GANOptions.model_validate(
        {
            "latent_size": 5, "generator": {"kind": generator, **GENERATORS[generator]},
            "critic": {"kind": critic, **CRITICS[critic]}, **more,
        }
    )  # fmt: skip


def made(spec: ImageSpec, chosen: GANOptions) -> GAN:
    model = GAN.build(chosen, spec, 0)
    assert isinstance(model, GAN)
    return model.train()


def step_context(step: int = 0, n: int = 4) -> StepContext:
    return StepContext(0, step, 10, n, slice(n), torch.device("cpu"))


def batch(spec: ImageSpec, n: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand((n, spec.channels, spec.height, spec.width), generator=generator) * 2 - 1
    return Batch(pictures, torch.arange(n) % len(spec.classes))


def given(condition: str | None) -> dict[str, Any]:
    """How a network is conditioned on the class."""
    return {} if condition is None else {"condition": ["class"], "conditioning": condition}


def one_hot(spec: ImageSpec, labels: list[int]) -> torch.Tensor:
    """Classes as a condition."""
    return torch.eye(len(spec.classes))[labels]


@pytest.mark.parametrize("spec", quick_first([ODD, GREY, COLOUR]), ids=lambda spec: spec.size)
@pytest.mark.parametrize(("generator", "critic"), sorted(product(GENERATORS, CRITICS)))
def test_every_generator_plays_against_every_critic(generator: str, critic: str, spec: ImageSpec) -> None:
    for condition in (None, "joined", "projection"):
        if condition == "projection" and generator == "dense":
            continue
        model = made(spec, options(generator, critic, **given(condition), penalty={"kind": "r1", "every": 1}))
        for phase in model.phases():
            terms = phase.loss(batch(spec), step_context())
            total = torch.stack([value for name, value in terms.items() if name not in phase.watched]).sum()
            found = torch.autograd.grad(total, list(phase.parameters), allow_unused=True)
            assert sum(g is not None and bool(g.any()) for g in found) > len(found) / 2
        rows = one_hot(spec, [0, 1, 1]) if condition else None
        pictures = model.eval().sample(torch.randn(3, 5), rows, GANSampling(truncation=0.5))
        assert pictures.shape == (3, spec.channels, spec.height, spec.width)
        assert isinstance(model, Samples)


@pytest.mark.parametrize("generator", ["dcgan", "resnet", "style"])
@pytest.mark.parametrize("condition", ["joined", "projection"])
def test_the_class_changes_the_picture_and_the_score(generator: str, condition: str) -> None:
    torch.manual_seed(0)
    model = made(GREY, options(generator, **given(condition)))
    for _, parameter in sorted(model.generator.named_parameters()):
        torch.nn.init.normal_(parameter, std=0.5)
    latents, shown = torch.randn(1, 5).expand(10, -1), batch(GREY, 10)
    drawn = model.eval().sample(latents, torch.eye(10), GANSampling())
    assert len(torch.unique(drawn.flatten(1), dim=0)) == 10
    scores = model.critic(shown.images[:1].expand(10, -1, -1, -1), torch.eye(10))
    assert len(torch.unique(scores)) == 10


REFUSED: dict[str, dict[str, Any]] = {
    "penalty on the gradient": {"critic": {"kind": "dcgan"}, "penalty": {"kind": "gradient"}},
    "penalty on the gradient ": {"critic": {"kind": "dcgan", "norm": "batch"}, "penalty": {"kind": "r1"}},
    "both bound": {
        "objective": {"kind": "wasserstein"}, "critic": {"kind": "dense", "spectral": True}, "penalty": {"kind": "clip"}
    },
    "serves no other objective": {"objective": {"kind": "hinge"}, "penalty": {"kind": "clip"}},
    "nothing bounds": {"objective": {"kind": "wasserstein"}},
    "nothing bounds this wasserstein critic, whose batch norm": {
        "objective": {"kind": "wasserstein"}, "critic": {"kind": "dcgan", "norm": "batch", "spectral": True}
    },
    "nothing bounds this wasserstein critic, whose instance norm": {
        "objective": {"kind": "wasserstein"}, "critic": {"kind": "dcgan", "norm": "instance", "spectral": True}
    },
    "next to nothing is left": {
        "objective": {"kind": "wasserstein"}, "critic": {"kind": "style"}, "penalty": {"kind": "clip"}
    },
    "on which side a score lies": {
        "objective": {"kind": "relativistic"}, "augmentation": {"kind": "adaptive", "translation": 0.1}
    },
    "changes nothing": {"augmentation": {"kind": "fixed"}},
    "one resolution": {"growth": {"first": 8}},
    "takes its condition beside its latent": {"condition": ["class"], "conditioning": "projection"},
    "through batch or instance norms": {
        "condition": ["class"], "conditioning": "projection", "generator": {"kind": "dcgan", "norm": "pixel"}
    },
}  # fmt: skip


@pytest.mark.parametrize("words", sorted(REFUSED))
def test_what_has_no_meaning_is_refused_in_words(words: str) -> None:
    model = {"family": "gan", **REFUSED[words]}
    with pytest.raises(RecipeError, match=words.strip()):
        resolve(Recipe("t", data={"source": "digits"}, model=model, training={"steps": 1}))


def test_a_joined_class_begins_as_a_whisper_beside_noise_and_picture() -> None:
    """Of deviation 1 it drowned both, and a class soon had one picture."""
    model = made(GREY, options(**given("joined")))
    joins: tuple[Any, Any] = (model.generator.join, model.critic.join)
    for join in joins:
        assert 0.02 < join.embedding.weight.std() < 0.05
    with torch.no_grad():
        plane = model.critic.join(batch(GREY).images, one_hot(GREY, [0, 1, 2, 3]))[:, 1]
    assert (plane - plane.mean(dim=0)).std() < 0.1 * batch(GREY).images.std()


def test_spectral_norm_leaves_the_whisper_a_whisper() -> None:
    for kind in ("dense", "dcgan", "resnet"):
        critic = {"kind": kind, "spectral": True, **({} if kind == "dense" else {"norm": "none"})}
        model = made(GREY, GANOptions.model_validate({**given("joined"), "critic": critic}))
        assert there(model.critic.join.embedding).weight.abs().max() <= 0.05


def test_a_critic_with_batch_norm_scores_alike_in_training_and_validation() -> None:
    """By running means, which mix real and drawn pictures, its scores would be of nothing that it was trained on."""
    model = made(GREY, options(critic="dcgan"))
    model.critic = _read("critic", {"kind": "dcgan", "norm": "batch"}).build(Task(GREY, 5, Conditions((), GREY)))
    before = model.train().critic(batch(GREY, 16).images)
    for _ in range(3):
        model.critic(torch.randn(16, 1, 28, 28) * 5)
    torch.testing.assert_close(model.eval().critic(batch(GREY, 16).images), before)


def test_smoothing_belongs_to_objectives_with_targets() -> None:
    with pytest.raises(RecipeError, match="smoothing"):
        resolve(
            Recipe("t", data={"source": "digits"}, training={"steps": 1},
                   model={"family": "gan", "objective": {"kind": "hinge", "smoothing": 0.1}})
        )  # fmt: skip


def test_classes_are_needed_to_be_told_them() -> None:
    with pytest.raises(RecipeError, match="classes"):
        made(ImageSpec(8, 8, 1), options(**given("joined")))


@pytest.mark.parametrize("network", ["generator", "critic"])
def test_an_instance_norm_needs_pixels(network: str) -> None:
    deep = {"kind": "dcgan", "widths": [4, 4, 4, 4, 4], "norm": "instance"}
    with pytest.raises(RecipeError, match="1×1"):
        made(GREY, options().model_copy(update={network: _read(network, deep)}))


def _read(network: str, chosen: dict[str, Any]) -> Any:
    return getattr(GANOptions.model_validate({network: chosen}), network)


def test_growth_needs_resolutions_to_grow_through() -> None:
    with pytest.raises(RecipeError, match="7×7 14×14 28×28"):
        made(GREY, options("style", "dcgan", growth={"first": 28}))


@pytest.mark.parametrize(("generator", "critic"), [("dcgan", "dcgan"), ("resnet", "style"), ("style", "resnet")])
def test_a_network_grows_and_fades_in(generator: str, critic: str) -> None:
    model = made(GREY, options(generator, critic, growth={"first": 4, "until": 0.5}))
    seen = []
    for step in range(10):
        model.critic_loss(batch(GREY), step_context(step))
        stage = model._stage()
        shown = model._drawn(step_context(step), "critic", None, stage)
        assert shown.shape == model._at(stage, batch(GREY).images).shape
        assert model.critic(shown, None, stage).shape == (4,)
        seen.append((-stage.halvings, round(stage.fade, 2)))
    assert seen == sorted(seen)
    assert seen[0][0] < 0
    assert seen[5:] == [(0, 1.0)] * 5
    assert any(0 < fade < 1 for _, fade in seen)
    # a training made longer does not shrink what is grown
    model.critic_loss(batch(GREY), step_context(2))
    assert model._stage() == Stage()
    # drawn before it is grown, pictures have their full size all the same
    model = made(GREY, options(generator, critic, growth={"first": 4, "until": 0.5}))
    assert model._stage().halvings
    assert model.eval().sample(torch.randn(2, 5), None, GANSampling()).shape == (2, 1, 28, 28)


def test_a_fading_level_begins_as_the_level_below() -> None:
    model = made(GREY, options("resnet", "resnet", growth={"first": 4}))
    assert isinstance(model.generator, ConvGenerator)
    model.eval()
    latents = torch.randn(3, 5)
    below, barely = (model.generator(latents, None, stage) for stage in (Stage(1), Stage(0, 0.0)))
    torch.testing.assert_close(barely, below.repeat_interleave(2, 2).repeat_interleave(2, 3))
    shown = torch.rand(3, 1, 28, 28)
    scores = model.critic(shown, None, Stage(0, 0.0))
    small = torch.nn.functional.avg_pool2d(shown, 2)
    torch.testing.assert_close(scores, model.critic(small, None, Stage(1)))


def test_adaptive_augmentation_follows_the_critics_sign() -> None:
    adaptive = {"kind": "adaptive", "translation": 0.2, "target": 0.6, "pictures": 40}
    model = made(GREY, options(augmentation=adaptive))
    (critic, _) = model.phases()
    assert critic.after is not None
    found = []
    for sign in (1.0, 1.0, 0.5, 1.0):
        model.sign.fill_(sign)
        critic.after(step_context())
        found.append(round(model.probability.item(), 6))
    assert found == [0.1, 0.2, 0.1, 0.2]
    for _ in range(20):
        critic.after(step_context())
    assert model.probability.item() == 1
    assert "augmentation" in critic.loss(batch(GREY), step_context())


@pytest.mark.parametrize("objective", ["bce", "least_squares", "hinge"])
def test_adaptive_augmentation_reads_a_score_from_the_objectives_middle(objective: str) -> None:
    adaptive = {"kind": "adaptive", "translation": 0.2}
    model = made(GREY, options(augmentation=adaptive, objective={"kind": objective}))
    middle = model.options.objective.middle
    assert middle is not None
    for score, sign in ((middle + 0.01, 1), (middle - 0.01, -1)):
        for parameter in model.critic.parameters():
            parameter.data.zero_()
        model.critic.verdict.linear.bias.data.fill_(score)
        model.critic_loss(batch(GREY), step_context())
        assert model.sign == sign


def largest_scale(layer: torch.nn.Module) -> float:
    weight: Any = layer.weight
    return float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2))


@pytest.mark.parametrize("critic", ["dense", "dcgan", "resnet"])
def test_spectral_norm_keeps_every_layer_from_stretching(critic: str) -> None:
    shape = {**CRITICS[critic], "kind": critic, "spectral": True}
    network = made(COLOUR, options().model_copy(update={"critic": _read("critic", shape)})).critic
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)]
    for layer in layers:
        parametrizations: Any = layer.parametrizations
        parametrizations.weight.original.data.mul_(7)
    for _ in range(60):  # a step of the power iteration at each call
        network(batch(COLOUR).images)
    assert [largest_scale(layer) for layer in layers] == pytest.approx([1.0] * len(layers), abs=0.02)


@pytest.mark.parametrize("critic", sorted(CRITICS))
def test_projection_adds_the_product_with_the_classs_embedding(critic: str) -> None:
    """Miyato & Koyama 2018, equation 3: the score without a class, and yᵀVφ(x)."""
    verdict = made(GREY, options(critic=critic, **given("projection"))).critic.verdict.eval()
    embedding = there(verdict.embedding)
    features, rows = torch.randn(4, embedding.weight.shape[1]), one_hot(GREY, [0, 3, 3, 9])
    alone = verdict.linear(features).squeeze(1)
    told = torch.stack([row @ learned for row, learned in zip(features, embedding(rows), strict=True)])
    torch.testing.assert_close(verdict(features, rows), alone + told)


def test_a_relativistic_generator_is_told_apart_from_real_pictures() -> None:
    model = made(GREY, options(objective={"kind": "relativistic"})).eval()
    shown = batch(GREY)
    loss = model.generator_loss(shown, step_context())["adversarial"]
    with torch.no_grad():
        fake = model.critic(model.generator(step_context().normal("generator latents", (5,))))
        expected = torch.nn.functional.softplus(model.critic(shown.images) - fake).mean()
    torch.testing.assert_close(loss, expected)


def test_clipped_weights_stay_within_the_limit_after_a_step() -> None:
    clipped: dict[str, Any] = {"objective": {"kind": "wasserstein"}, "penalty": {"kind": "clip", "limit": 0.02}}
    model = made(GREY, options(**clipped))
    critic, generator = model.phases()
    assert critic.after is not None
    critic.after(step_context())
    assert max(p.abs().max().item() for p in critic.parameters) == pytest.approx(0.02)
    assert max(p.abs().max().item() for p in generator.parameters) > 0.02


@pytest.mark.parametrize("critic", ["dense", "dcgan", "resnet"])
def test_dropout_changes_scores_while_training_alone(critic: str) -> None:
    shape = {**CRITICS[critic], "kind": critic, "dropout": 0.5}
    network = made(GREY, options().model_copy(update={"critic": _read("critic", shape)})).critic
    pictures = batch(GREY).images
    assert not torch.equal(network(pictures), network(pictures))
    network.eval()
    assert torch.equal(network(pictures), network(pictures))


def test_a_pixel_norm_makes_every_pixels_channels_of_length_one() -> None:
    """Karras et al. 2018, section 4.2: divided by the root of the mean square over channels."""
    shape = {"kind": "dcgan", "widths": [6, 4], "norm": "pixel"}
    network = made(GREY, options().model_copy(update={"generator": _read("generator", shape)})).generator
    (norm, *_) = [module for module in network.modules() if type(module).__name__ == "PixelNorm"]
    found = norm(torch.randn(2, 6, 5, 5) * 9)
    torch.testing.assert_close(found.square().mean(dim=1), torch.ones(2, 5, 5), atol=1e-4, rtol=0)


def test_styles_draw_pictures_of_64_as_well() -> None:
    spec = ImageSpec(64, 64, 3, ("a", "b"))
    shape = {"kind": "style", "widths": [8, 8, 6, 4, 4], "style_size": 8}
    seen = {"kind": "style", "widths": [4, 4, 6, 8, 8]}
    chosen = options().model_copy(
        update={
            "generator": _read("generator", shape),
            "critic": _read("critic", seen),
            "condition": ("class",),
            "conditioning": "projection",
        }
    )
    model = made(spec, chosen)
    for phase in model.phases():
        assert all(value.isfinite() for value in phase.loss(batch(spec), step_context()).values())
    assert model.eval().sample(torch.randn(2, 5), torch.eye(2), GANSampling()).shape == (2, 3, 64, 64)


def test_a_residual_critics_score_is_the_sum_of_its_places() -> None:
    """Miyato et al. 2018 sum: a verdict with a bounded weight could not make up for a mean."""
    critic = made(COLOUR, options(critic="resnet")).critic.eval()
    assert isinstance(critic, ConvCritic)
    pictures = batch(COLOUR).images
    with torch.no_grad():
        places = critic.last(critic.descent(critic.join(pictures, None), Stage()))
        verdicts = critic.verdict.linear(places.permute(0, 2, 3, 1)).squeeze(3)
        bias = critic.verdict.linear.bias
        torch.testing.assert_close(critic(pictures), (verdicts - bias).sum(dim=(1, 2)) + bias)


def test_instance_noise_ends_with_the_training() -> None:
    model, pictures = made(GREY, options(instance_noise=0.5)), batch(GREY).images
    found = []
    for step in (0, 5):
        model.critic_loss(batch(GREY), step_context(step))
        found.append((model._shown(pictures, step_context(step), "real") - pictures).std().item())
    first, half = found
    assert first == pytest.approx(0.5, rel=0.05)
    assert half == pytest.approx(0.25, rel=0.05)


def test_a_lazy_penalty_comes_at_its_steps_and_weighs_as_much() -> None:
    often, lazy = (made(GREY, options(penalty={"kind": "r1", "every": every})) for every in (1, 4))
    terms = [lazy.phases()[0].loss(batch(GREY), step_context(step)) for step in range(8)]
    assert [step for step, found in enumerate(terms) if "r1" in found] == [0, 4]
    torch.testing.assert_close(terms[0]["r1"], 4 * often.phases()[0].loss(batch(GREY), step_context())["r1"])


@pytest.mark.parametrize("penalty", [{"kind": "gradient"}, {"kind": "r1", "every": 1}, None], ids=str)
@pytest.mark.parametrize(("generator", "critic"), [("style", "style"), ("dcgan", "dcgan"), ("resnet", "resnet")])
def test_a_step_gives_every_weight_its_own_gradient(generator: str, critic: str, penalty: Any) -> None:
    """Second derivatives of convolutions come in another memory order than their weights, and fused optimizers walk
    memory."""
    model = options(generator, critic, penalty=penalty).model_dump()
    descent = {"kind": "sgd", "learning_rate": 0.25}
    training = {"steps": 9, "batch_size": 16, "precision": "fp32", "optimizer": descent}
    plan = resolve(Recipe("t", data={"source": "digits", "validation": 100}, model=model, training=training))
    learner, pictures = TorchLearner(plan, plan.spec), SOURCES["digits"].load(plan.data).train.first(16)
    assert isinstance(learner.model, GAN)
    before = deepcopy(learner.model)
    phase, at = before.phases()[0], replace(learner.context, draw=0)
    terms = phase.loss(learner._batch(pictures), at)
    torch.autograd.backward(torch.stack([value for name, value in terms.items() if name not in phase.watched]).sum())
    learner.step(0, [pictures])
    for (name, old), new in zip(before.critic.named_parameters(), learner.model.critic.parameters(), strict=True):
        slope = torch.zeros_like(old) if old.grad is None else old.grad
        torch.testing.assert_close(new, old - 0.25 * slope, msg=name)


def test_truncation_draws_styles_to_their_mean_and_latents_to_zero() -> None:
    style, conv = (made(GREY, options(kind)) for kind in ("style", "resnet"))
    assert isinstance(style.generator, StyleGenerator)
    style.generator.mean_style.normal_()
    latents = torch.randn(3, 5)
    for model in (style.eval(), conv.eval()):
        pictures = model.sample(latents, None, GANSampling(truncation=1e-6))
        torch.testing.assert_close(pictures, pictures[:1].expand_as(pictures), atol=1e-3, rtol=0)
        torch.testing.assert_close(model.sample(latents, None, GANSampling()), model.generator(latents))
    torch.testing.assert_close(
        style.sample(latents[:1], None, GANSampling(truncation=1e-6)),
        style.generator.draw(style.generator.mean_style),
        atol=1e-3,
        rtol=0,
    )


@pytest.mark.slow
def test_the_mean_style_is_kept_for_each_class() -> None:
    model = made(GREY, options("style", **given("projection")))
    assert isinstance(model.generator, StyleGenerator)
    for _ in range(600):
        model.generator(torch.randn(8, 5), one_hot(GREY, [0, 0, 0, 0, 3, 3, 3, 3]))
    expected = model.generator.mapping(torch.randn(4000, 5), one_hot(GREY, [3] * 4000)).mean(dim=0)
    torch.testing.assert_close(model.generator.mean_style[3], expected, atol=0.1, rtol=0.1)
    assert not model.generator.mean_style[5].any()


def test_modulation_equals_modulated_weights() -> None:
    """Karras et al. 2020, equations 1 and 3, written out for each picture."""
    torch.manual_seed(0)
    layer, x, styles = EqualConv(3, 5, 3), torch.randn(2, 3, 6, 6), torch.randn(2, 3)
    expected = []
    for picture, style in zip(x, styles, strict=True):
        weight = layer.weight * layer.scale * style[None, :, None, None]
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected.append(torch.nn.functional.conv2d(picture[None], weight, layer.bias, padding=1))
    torch.testing.assert_close(layer(x, styles), torch.cat(expected))


@pytest.mark.parametrize(("penalty", "compiled"), [("null", True), ("{kind: r1}", False)])
def test_a_critic_that_is_differentiated_twice_is_not_compiled(penalty: str, compiled: bool) -> None:
    how = [f"model.penalty={penalty}", "model.critic.norm=none", "training.compile=true", "training.device=cpu"]
    plan = resolve(read("mnist-cgan", how))
    model = TorchLearner(plan, plan.spec).model
    assert isinstance(model, GAN)
    assert model.generator._compiled_call_impl is not None
    assert (model.critic._compiled_call_impl is not None) == compiled


def test_deviation_is_taken_within_groups() -> None:
    same = torch.ones(4, 2, 3, 3)
    spread = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 2, 3, 3)
    found = deviation(torch.cat([same, spread]), group=4)
    assert found.shape == (8, 1, 3, 3)
    torch.testing.assert_close(found[:, 0, 0, 0], torch.tensor([1e-4] * 4 + [1.25**0.5] * 4))


def test_where_a_batch_does_not_divide_groups_are_larger_not_smaller() -> None:
    found = deviation(torch.arange(7.0).reshape(7, 1, 1, 1), group=3)
    torch.testing.assert_close(found[:, 0, 0, 0], torch.tensor([1.25**0.5] * 4 + [(2 / 3) ** 0.5] * 3))


def test_report_4s_generator_has_its_table() -> None:
    """The report's layer table, as Keras counts: running means and variances among the parameters."""
    found = describe("cifar10-gan-dense", ["training.batch_size=8"])
    rows = [(x.kind, x.parameters + x.measured) for x in found.layers if x.name.startswith("generator")]
    assert rows == [
        ("Linear", 25_856), ("BatchNorm1d", 1_024), ("LeakyReLU", 0), ("Linear", 131_584), ("BatchNorm1d", 2_048),
        ("LeakyReLU", 0), ("Linear", 525_312), ("BatchNorm1d", 4_096), ("LeakyReLU", 0), ("Linear", 3_148_800),
    ]  # fmt: skip
    assert "generator: 3,838,720 parameters (3,835,136 trained, 3,584 measured)" in str(found)


def test_ema_averages_the_generator_and_not_the_critic() -> None:
    from sanggar.training.start import learner_of

    plan = resolve(read("digits-cgan", ["training.ema=0.999", "training.precision=fp32", "training.batch_size=8"]))
    data = plan.source.load(plan.data).train.first(8)
    learner = learner_of(plan, plan.spec)
    learner.steps = 3
    for step in range(3):
        learner.step(step, [data])
    state, shown = learner.state(), learner.weights()
    for name in sorted(shown):
        raw = state[f"model.{name}"]
        same = (raw == shown[name]).all()
        if name.startswith("critic"):
            assert same, name
    moved = [n for n in shown if n.startswith("generator") and (state[f"model.{n}"] != shown[n]).any()]
    assert any(name.endswith("weight") for name in moved)
    # what norms measured under the live weights is not what they would measure under the averaged ones
    assert any(name.endswith("running_mean") for name in moved)
    assert shown["trained"] == state["model.trained"]


def test_losses_of_networks_against_each_other_do_not_say_when_to_stop(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="early_stopping: this network trains in 2 phases against each other"):
        sanggar.train("digits-cgan", ["training.early_stopping={patience: 3}"], out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_what_changes_real_pictures_alone_would_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"training.augmentation: .* model.augmentation"):
        sanggar.train("digits-cgan", ["training.augmentation={flip: true, cutout: 0.5}"], out=tmp_path / "run")
    harmless = ["training.augmentation={flip: true}", "training.steps=1", "training.validate_every=1"]
    assert sanggar.train("digits-cgan", harmless, out=tmp_path / "run", watch=lambda _: None).status == "finished"


def test_batch_norm_needs_more_than_a_picture(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="batch of one picture"):
        sanggar.train(
            "cifar10-gan-dense",
            ["data={source: digits, validation: 20}", "training.batch_size=1"],
            out=tmp_path / "run",
        )


def test_what_a_grown_network_has_no_use_for_is_counted_as_well() -> None:
    found = describe("digits-cgan", ["model.growth={first: 4}", "training.batch_size=8"])
    trained = sum(x.parameters for x in found.layers if x.name.startswith("generator"))
    assert f"{trained:,} parameters" in found.phases[1]
    assert {x.name.split(".")[2] for x in found.layers if x.name.startswith("generator.heads") and not x.shape} == {"0"}


def test_the_same_seed_draws_the_same_pictures(trained: Any) -> None:
    model = sanggar.open(trained("gan").path)
    few, many = model.sample(5, seed=3), model.sample(700, seed=3)
    assert (few == many[:5]).all()
    assert (few != model.sample(5, seed=4)).any()
    seven = model.sample(3, {"class": "7"}, seed=1)
    assert (seven == model.sample(3, {"class": 7}, seed=1)).all()
    assert (seven == model.draw(model.noise(3, 1), model.rows_of_class(np.full(3, 7)))).all()
    for label, words in (("x", "no class 'x'"), (11, "no class 11"), (-1, "no class -1")):
        with pytest.raises(sanggar.errors.RunError, match=words):
            model.sample(2, {"class": label})
    with pytest.raises(sanggar.errors.RunError, match="count"):
        model.sample(0)
    with pytest.raises(sanggar.errors.RunError, match="truncation"):
        model.sample(2, truncation=0.0)
    with pytest.raises(sanggar.errors.RunError, match="no option 'temperature'"):
        model.sample(2, temperature=0.5)
    with pytest.raises(sanggar.errors.RunError, match="say what class shall be"):
        model.sample(2, {})  # it was trained with a class always given


@pytest.mark.slow
def test_a_network_is_conditioned_on_attributes_as_on_the_class(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 60)
    recipe = {
        "name": "t", "data": {"source": "folder", "path": str(tmp_path / "pictures"), "size": 8, "label": "letter"},
        "model": {
            "family": "gan", "latent_size": 4, "condition": ["class", "odd", "age"], "conditioning": "projection",
            "generator": {"kind": "dcgan", "widths": [8, 4]},
            "critic": {"kind": "dcgan", "widths": [4], "norm": "none"},
        },
        "training": {
            "steps": 30, "batch_size": 16, "device": "cpu", "precision": "fp32",
            "optimizer": {"kind": "adam", "learning_rate": 0.03},
        },
    }  # fmt: skip
    model = sanggar.open(sanggar.train(recipe, out=tmp_path / "always"))
    asked = {"class": "b", "odd": "yes", "age": "12"}
    pictures = model.sample(6, asked, seed=2)
    assert pictures.shape == (6, 8, 8, 3)
    for name, other in (("class", "c"), ("odd", "no"), ("age", "50")):
        assert (model.sample(6, {**asked, name: other}, seed=2) != pictures).any()
    with pytest.raises(sanggar.errors.RunError, match="say what odd, age shall be"):
        model.sample(2, {"class": "a"})
    with pytest.raises(sanggar.errors.RunError, match="not conditioned on 'size'"):
        model.sample(2, {**asked, "size": "3"})
    some = sanggar.open(sanggar.train(recipe, ["model.condition_dropout=0.2"], out=tmp_path / "sometimes"))
    assert some.sample(3, {}).shape == some.sample(3, {"odd": "yes"}).shape == (3, 8, 8, 3)
