"""Learned priors: densities beside closed forms, what they learn of latents, conditions, and when they are learned."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture
from torch import Tensor

from sanggar.data.images import ImageSpec, to_float
from sanggar.errors import RecipeError, RunError
from sanggar.models.autoencoder import Autoencoder, AutoencoderOptions
from sanggar.models.base import Batch, StepContext
from sanggar.models.capabilities import capabilities_of
from sanggar.models.conditions import Conditions
from sanggar.models.flow.matching import FlowSampling, gradients, guided, log_density
from sanggar.models.priors import (
    SMALLEST,
    FlowPrior,
    FlowPriorOptions,
    MixtureOptions,
    MixturePrior,
    TemperatureSampling,
    Whitened,
)
from sanggar.models.vae.model import VAE, VAEOptions
from typed import log_prob, there

SPEC = ImageSpec(8, 8, 1, tuple("abc"))


def context(count: int, step: int = 0, split: str = "train") -> StepContext:
    return StepContext(0, step, 100, count, slice(count), torch.device("cpu"), split=split)


def flow_prior(size: int = 2, **options: object) -> FlowPrior:
    torch.manual_seed(0)
    given = FlowPriorOptions.model_validate({"kind": "flow", "width": 32, "blocks": 2, **options})
    return FlowPrior(given, size, Conditions(given.condition, SPEC))


def mixture_prior(size: int = 2, components: int = 3, **options: object) -> MixturePrior:
    torch.manual_seed(0)
    given = MixtureOptions.model_validate({"kind": "mixture", "components": components, **options})
    return MixturePrior(given, size, Conditions(given.condition, SPEC))


def learn(prior: MixturePrior | FlowPrior, latents: Tensor, steps: int, rate: float) -> None:
    """Train a prior on latents, all of them at each step."""
    prior.train()
    optimizer = torch.optim.Adam(prior.parameters(), lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        loss = prior.loss(latents, None, context(len(latents), step))[1].mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    prior.eval()


# -- moments -----------------------------------------------------------------------------------------------------


def test_moments_are_those_of_all_that_was_seen_first_and_follow_later() -> None:
    scale = Whitened(3, FlowPriorOptions(kind="flow", share=0, draws=1))
    lasting = Whitened(3, FlowPriorOptions(kind="flow", share=0.3))
    draw = torch.Generator().manual_seed(0)
    together = torch.tensor([[2.0, 0.0, 0.0], [1.5, 0.5, 0.0], [0.0, -1.0, 1.0]])
    batches = [5 + torch.randn(64, 3, generator=draw) @ together.T for _ in range(100)]
    for batch in batches:
        scale.see(batch)
    whole = torch.cat(batches)
    assert torch.allclose(scale.mean, whole.mean(dim=0), atol=1e-4)
    assert torch.allclose(scale.factor @ scale.factor.T, torch.cov(whole.T), atol=0.06)
    assert torch.allclose(torch.cov(scale.inward(whole).T), torch.eye(3), atol=0.03)
    latents = batches[0]
    assert torch.allclose(scale.outward(scale.inward(latents)), latents, atol=1e-4)
    for _ in range(600):
        scale.see(torch.full((4, 3), -1.0) + torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]))
    for value in (1.0, 2.0, 3.0) * 200:
        lasting.see(torch.full((4, 3), value))
    assert torch.allclose(lasting.mean, torch.full((3,), 2.0), atol=1e-4), "of latents that stay all batches are alike"
    assert torch.allclose(scale.mean, torch.full((3,), -1.0), atol=0.05)
    assert torch.allclose(scale.factor[:, 0], torch.ones(3), atol=0.1), "all of one mind"
    assert torch.isfinite(scale.inward(latents)).all()


# -- densities ---------------------------------------------------------------------------------------------------


def test_the_density_of_a_mixture_is_that_of_its_gaussians() -> None:
    prior = mixture_prior()
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.0, 1.0, -1.0]))
        prior.factors.copy_(torch.randn(3, 2, 2))
    prior.scale.mean.copy_(torch.tensor([1.0, -2.0]))
    prior.scale.second.copy_(torch.tensor([[4.0, 0.0], [0.0, 0.25]]) + torch.tensor([[1.0, -2.0], [-2.0, 4.0]]))
    latents = torch.randn(20, 2)
    with torch.no_grad():
        found = prior.log_density(latents, torch.ones_like(latents))
        factors = prior._triangles().double().numpy()
    weights = torch.tensor([0.0, 1.0, -1.0]).softmax(dim=0).numpy()
    stretch = np.diag([2.0, 0.5])
    wanted = sum(
        weight * multivariate_normal(
            stretch @ mean + np.array([1.0, -2.0]), stretch @ factor @ factor.T @ stretch.T
        ).pdf(latents.numpy())
        for weight, mean, factor in zip(weights, prior.means.detach().numpy(), factors, strict=True)
    )  # fmt: skip
    np.testing.assert_allclose(found.numpy(), np.log(wanted), rtol=1e-3, atol=1e-3)


def test_a_mixture_draws_what_its_density_says() -> None:
    prior = mixture_prior(1, 2)
    with torch.no_grad():
        prior.logits.copy_(torch.log(torch.tensor([0.25, 0.75])))
        prior.means.copy_(torch.tensor([[-3.0], [3.0]]))
        drawn = prior.draw(torch.randn(40_000, 2), None, TemperatureSampling())[:, 0]
        cooler = prior.draw(torch.randn(40_000, 2), None, TemperatureSampling(temperature=0.1))[:, 0]
    assert (drawn < 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert drawn[drawn < 0].std().item() == pytest.approx(1.0, abs=0.05)
    assert cooler[cooler < 0].std().item() == pytest.approx(0.1, abs=0.01)


def test_a_mixture_under_a_condition_weighs_its_components_anew() -> None:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (600,), generator=draw)
    latents = torch.tensor([[-4.0], [0.0], [4.0]])[labels] + 0.5 * torch.randn(600, 1, generator=draw)
    rows = torch.nn.functional.one_hot(labels, 3).float()
    told = rows * (torch.rand(600, 1, generator=draw) > 0.3)
    prior = mixture_prior(1, 6, condition=["class"])
    prior.begin(latents[:6])
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.05)
    for step in range(200):
        loss = prior.loss(latents, told, context(600, step))[1].mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    prior.eval()
    noise, asked = torch.randn(600, 2, generator=draw), torch.eye(3)[torch.arange(600) % 3]
    with torch.no_grad():
        under, free = (prior.draw(noise, condition, TemperatureSampling())[:, 0] for condition in (asked, None))
        near = [
            prior.log_density(latents, latents, condition).mean().item() for condition in (rows, None, rows.roll(1, 1))
        ]
    assert (under / 4).round().clamp(-1, 1).add(1).eq(asked.argmax(dim=1)).float().mean() > 0.95
    assert abs(free.mean().item()) < 0.5 and free.std().item() > 2.5
    assert near[0] > near[1] + 0.8 > near[2] + 1.6  # of three classes alike, log 3 apart


def exact(prior: FlowPrior, factor: Tensor, mean: Tensor) -> None:
    """Have a prior follow the exact velocity from N(0, 1) to N(mean, factor factorᵀ), as a trained one would."""
    covariance = factor @ factor.T

    def velocity(x: Tensor, t: Tensor, condition: object = None, step: object = None) -> Tensor:
        time = t[0]
        of_xt = (1 - time) ** 2 * torch.eye(len(mean)) + time**2 * covariance
        gain = (time * covariance - (1 - time) * torch.eye(len(mean))) @ torch.linalg.inv(of_xt)
        moved: Tensor = mean + (x - time * mean) @ gain.T
        return moved

    prior.network = velocity  # type: ignore[assignment]


def test_with_a_linear_gaussian_model_the_latent_flow_gives_the_exact_marginal() -> None:
    prior, draw = flow_prior(), torch.Generator().manual_seed(0)
    del prior.network
    factor, mean = torch.tensor([[0.9, 0.0], [0.5, 0.4]]), torch.tensor([0.3, -1.0])
    exact(prior, factor, mean)
    covariance = factor @ factor.T
    # x = A z + b, of four numbers: the posterior of z and the marginal of x are known
    a, deviation = torch.randn(4, 2, generator=draw), 0.7
    x = a @ mean + (a @ factor @ torch.randn(2, 1, generator=draw))[:, 0] + deviation * torch.randn(4, generator=draw)
    precision = torch.linalg.inv(covariance) + a.T @ a / deviation**2
    posterior_covariance = torch.linalg.inv(precision)
    centre = posterior_covariance @ (torch.linalg.inv(covariance) @ mean + a.T @ x / deviation**2)
    z = torch.distributions.MultivariateNormal(centre, posterior_covariance).sample((10,))
    given = log_prob(torch.distributions.Normal(z @ a.T, deviation), x).sum(dim=1)
    inferred = log_prob(torch.distributions.MultivariateNormal(centre, posterior_covariance), z)
    with gradients():
        of_prior = log_density(guided(prior.network, None, 1.0), z, None)
    of_x = torch.distributions.MultivariateNormal(a @ mean, a @ covariance @ a.T + deviation**2 * torch.eye(4))
    marginal = log_prob(of_x, x)
    # p(x) = p(x | z) p(z) / p(z | x) for every z
    assert torch.allclose(given + of_prior - inferred, marginal.expand(10), atol=2e-3)


# -- learning ----------------------------------------------------------------------------------------------------


def ring(count: int) -> Tensor:
    """Latents on a ring, which no Gaussian is like."""
    draw = torch.Generator().manual_seed(0)
    angle = 2 * math.pi * torch.rand(count, generator=draw)
    return 10 + 3 * torch.stack([angle.cos(), angle.sin()], dim=1) + 0.1 * torch.randn(count, 2, generator=draw)


@pytest.mark.slow
def test_a_learned_prior_draws_latents_where_pictures_have_theirs() -> None:
    for prior, steps, rate in ((flow_prior(), 600, 5e-3), (mixture_prior(2, 12), 400, 5e-2)):
        learn(prior, ring(512), steps, rate)
        noise = torch.randn(500, prior.noise_size)
        with torch.no_grad():
            options = FlowSampling() if isinstance(prior, FlowPrior) else TemperatureSampling()
            drawn = prior.draw(noise, None, options)
        radius = (drawn - 10).norm(dim=1)
        assert radius.mean().item() == pytest.approx(3, abs=0.15)
        assert radius.std().item() < 0.6  # of a Gaussian with these moments it is above 1.3


def test_the_way_back_leads_from_a_latent_to_its_noise() -> None:
    prior = flow_prior()
    learn(prior, ring(256), 60, 5e-3)
    latents = ring(20)
    with torch.no_grad():
        back = prior.draw(prior.noise_of(latents), None, FlowSampling(steps=16))
    assert torch.allclose(back, latents, atol=0.05)


# -- in a model --------------------------------------------------------------------------------------------------


def vae(**options: object) -> VAE:
    torch.manual_seed(0)
    return VAE(VAEOptions.model_validate({"widths": (4, 8), "latent_size": 3, "norm": "none", **options}), SPEC)


FLOW = {"kind": "flow", "width": 8, "blocks": 1}


def test_the_network_is_trained_first_and_stands_still_while_its_prior_is_learned() -> None:
    network, prior = vae(prior={**FLOW, "share": 0.25}).phases()
    assert (network.name, network.steps(40), prior.name, prior.steps(40)) == ("vae", (0, 30), "prior", (30, 40))
    beside, learned = vae(prior={**FLOW, "share": 0}).phases()
    assert beside.steps(40) == learned.steps(40) == (0, 40)
    assert not {id(p) for p in network.parameters} & {id(p) for p in prior.parameters}
    (alone,) = vae().phases()
    assert alone.steps(40) == (0, 40)


def test_a_prior_leaves_no_trace_in_what_it_is_learned_from() -> None:
    model = vae(prior=FLOW, norm="batch").train()
    phase = model.phases()[-1]
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    batch = Batch(torch.rand(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64))
    terms = phase.loss(phase.prepared(batch), context(8))
    terms["velocity"].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in [*model.encoder.parameters(), *model.decoder.parameters()])
    assert all(torch.equal(value, before[name]) for name, value in model.encoder.state_dict().items())
    assert model.encoder.training


def test_a_mixture_begins_as_expectation_maximization_leaves_it() -> None:
    draw = torch.Generator().manual_seed(0)
    centres = torch.tensor([[-3.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    latents = centres[torch.randint(3, (900,), generator=draw)] + torch.randn(900, 2, generator=draw)
    prior = mixture_prior(2, 3)
    prior.begin(latents)
    fitted = GaussianMixture(3, reg_covar=SMALLEST, random_state=0).fit(prior.scale.inward(latents).double().numpy())
    found = prior.log_density(latents, torch.ones(900, 2)) + prior.scale.log_scale
    wanted = fitted.score_samples(prior.scale.inward(latents).double().numpy())
    assert found.detach().numpy() == pytest.approx(wanted, abs=1e-2)
    begun = {name: value.clone() for name, value in prior.state_dict().items()}
    for nothing in (latents[:0], latents[:1], latents * math.nan):
        prior.begin(nothing)
    assert all(torch.equal(value, begun[name]) for name, value in prior.state_dict().items())
    prior.begin(latents + 10)
    moved = prior.scale.mean - begun["scale.mean"]
    assert torch.allclose(moved, torch.full((2,), 10.0), atol=1e-4), "what latents were before is forgotten"


@pytest.mark.parametrize("count", [1, 2, 9])
def test_of_few_latents_few_components_are_made(count: int) -> None:
    latents = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    prior = mixture_prior(3, 6)
    prior.begin(latents)
    drawn = prior.draw(torch.randn(500, 4), None, TemperatureSampling())
    assert drawn.isfinite().all()
    if count > 1:
        assert (drawn.std(dim=0) < 2 * latents.std(dim=0) + 0.1).all()
        assert (prior.logits.softmax(dim=0) > 1e-6).sum() == 1
    same = mixture_prior(3, 6)
    same.begin(latents[:1].repeat(40, 1))
    near = same.draw(torch.randn(500, 4), None, TemperatureSampling())
    assert torch.allclose(near, latents[:1].expand(500, 3), atol=1e-3)


def test_a_mixture_is_begun_with_draws_from_posteriors_when_its_phase_begins() -> None:
    model = vae(prior={"kind": "mixture", "components": 2, "share": 0.5}).train()
    *_, phase = model.phases()
    prior = there(model.prior)
    assert phase.begin is not None and phase.steps(10)[0] == 5
    pixels = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    phase.begin(pixels)
    assert all(torch.equal(value, before[name]) for name, value in model.encoder.state_dict().items())
    with torch.no_grad():
        mean, log_variance = model.eval()._posterior(to_float(torch.from_numpy(pixels)))
    assert prior.scale.mean.numpy() == pytest.approx(mean.mean(dim=0).numpy(), abs=0.3)
    variance = prior.scale.second - prior.scale.mean[:, None] * prior.scale.mean
    assert variance.diagonal().numpy() == pytest.approx(
        (mean.var(dim=0) + log_variance.exp().mean(dim=0)).numpy(), rel=0.25
    )


def test_a_prior_may_know_the_class_where_the_decoder_does_not() -> None:
    mixture = vae(prior={"kind": "mixture", "components": 3, "condition": ["class"]})
    assert (mixture.conditions.names, mixture.decoder_names) == (("class",), ())
    model = vae(prior={**FLOW, "condition": ["class"]}).eval()
    assert model.conditions.names == ("class",)
    assert not model.decoder_names
    latents, rows = torch.randn(3, 3), torch.eye(3)
    with torch.no_grad():
        assert torch.equal(model.decode(latents, rows), model.decode(latents))
        for parameter in there(model.prior).parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        asked = [model.sample(latents, condition, FlowSampling()) for condition in (None, rows)]
    assert not torch.allclose(asked[0], asked[1], atol=1e-3)


def test_decoder_and_prior_are_each_given_their_own_of_a_models_conditions() -> None:
    from sanggar.data.images import Attribute

    spec = ImageSpec(8, 8, 1, tuple("abc"), (Attribute("smile", "flag", ("no", "yes")),))
    options = VAEOptions.model_validate({
        "widths": (4,), "latent_size": 3, "norm": "none", "condition": ("smile",),
        "prior": {**FLOW, "condition": ("class", "smile")},
    })  # fmt: skip
    model = VAE(options, spec).eval()
    prior = model.prior
    assert isinstance(prior, FlowPrior)
    assert model.conditions.names == ("smile", "class")
    rows = torch.tensor([[1.0, 0, 0, 1]])
    assert there(prior.of_model(rows)).tolist() == [[0.0, 0, 1, 1]]
    with torch.no_grad():
        one = model.decode(torch.zeros(1, 3), rows)
        assert torch.equal(one, model.decode(torch.zeros(1, 3), torch.tensor([[1.0, 1, 0, 0]])))
        assert not torch.equal(one, model.decode(torch.zeros(1, 3), torch.tensor([[-1.0, 0, 0, 1]])))


def test_an_autoencoder_samples_where_it_has_a_prior() -> None:
    plain = Autoencoder(AutoencoderOptions(widths=(4,), latent_size=3), SPEC)
    assert {"sample", "prior_density"} & capabilities_of(plain) == set()
    options = AutoencoderOptions.model_validate({"widths": (4,), "latent_size": 3, "prior": FLOW})
    model = Autoencoder(options, SPEC).eval()
    assert {"sample", "prior_density"} <= capabilities_of(model)
    with torch.no_grad():
        assert model.sample(torch.randn(2, 3), None, FlowSampling()).shape == (2, 1, 8, 8)


def test_what_a_prior_cannot_be_asked_is_said() -> None:
    with pytest.raises(RecipeError, match=r"model\.prior\.condition: there is no 'smile'"):
        vae(prior={**FLOW, "condition": ["smile"]})
    model = vae(prior={**FLOW, "condition": ["class"]}).eval()
    with pytest.raises(RunError, match="guidance"):
        model.sample(torch.randn(1, 3), None, FlowSampling(guidance=2))
    with pytest.raises(RunError, match="no shortcuts"):
        model.sample(torch.randn(1, 3), None, FlowSampling(solver="shortcut"))
