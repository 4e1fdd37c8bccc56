"""The family `vae`: its bound against closed forms, Monte Carlo and probabilistic PCA; what it may be made of."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.distributions import kl_divergence as torchs

from sanggar.data.images import Images, ImageSpec
from sanggar.errors import RecipeError, SanggarError
from sanggar.instruments.judge import open_judge
from sanggar.models.base import Batch, StepContext
from sanggar.models.capabilities import CAPABILITIES
from sanggar.models.classifier import dissimilarity
from sanggar.models.losses import BIN
from sanggar.models.priors import TemperatureSampling
from sanggar.models.vae.kl import Beta, Capacity, kl_divergence, kl_term, log_normal
from sanggar.models.vae.likelihoods import GaussianLikelihood, GaussianOptions
from sanggar.models.vae.model import VAE, VAEOptions
from sanggar.plan import build, resolve
from sanggar.recipe import Recipe
from sanggar.training.learners.torch import TorchLearner
from typed import log_prob, there

CLASSES = tuple("0123456789")
DIGITS, ODD = ImageSpec(8, 8, 1, CLASSES), ImageSpec(13, 9, 3, CLASSES)
HEIGHT, WIDTH = 3, 4
PIXELS = HEIGHT * WIDTH
SMALL: dict[str, Any] = {"widths": [4, 8], "latent_size": 3}
SHARES = st.floats(0, 1)


def made(spec: ImageSpec = DIGITS, **options: Any) -> VAE:
    model = VAE.build(VAEOptions.model_validate({**SMALL, **options}), spec, 0)
    assert isinstance(model, VAE)
    return model


def step_context(step: int = 0, n: int = 4, split: str = "train") -> StepContext:
    return StepContext(0, step, 10, n, slice(n), torch.device("cpu"), split=split)


def batch(spec: ImageSpec = DIGITS, n: int = 4) -> Batch:
    draw = torch.Generator().manual_seed(0)
    pictures = torch.rand((n, spec.channels, spec.height, spec.width), generator=draw) * 2 - 1
    return Batch(pictures, torch.arange(n) % len(spec.classes))


# -- the bound -----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-6, 4)), min_size=1, max_size=6))
def test_the_kl_divergence_is_torchs(dimensions: list[tuple[float, float]]) -> None:
    mean, log_variance = torch.tensor(dimensions).T[:, None]
    expected = torchs(Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_divergence(mean, log_variance), expected, rtol=1e-4, atol=1e-5)
    assert (kl_divergence(mean, log_variance) >= -1e-6).all()


def test_the_kl_divergence_is_the_mean_of_log_ratios() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.tensor([[0.7, -1.2, 0.1]]), torch.tensor([[-0.5, 0.8, -3.0]])
    posterior = Independent(Normal(mean, torch.exp(log_variance / 2)), 1)
    z = posterior.sample((200_000,))
    ratios = log_prob(posterior, z) - log_normal(z[:, 0])[:, None]
    error = ratios.std().item() / len(z) ** 0.5
    assert kl_divergence(mean, log_variance).sum().item() == pytest.approx(ratios.mean().item(), abs=4 * error)


class Line(nn.Module):
    """Pictures to codes, or codes to pictures, by one linear map."""

    def __init__(self, inputs: int, outputs: int, picture: bool) -> None:
        super().__init__()
        self.linear, self.picture = nn.Linear(inputs, outputs), picture

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.linear(x.flatten(1))
        return found.view(-1, 1, HEIGHT, WIDTH) if self.picture else found


class Codes(nn.Module):
    """A linear mean, and a variance that is the same for every picture, as it is in probabilistic PCA."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mean, self.log_variance = Line(PIXELS, size, False), nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.mean(x), self.log_variance.expand(len(x), -1)], dim=1)


def linear(size: int = 2, deviation: float | Literal["learned"] = 0.5) -> VAE:
    """A VAE of one linear map each way: p(x) is a normal distribution, so everything is known of it."""
    torch.manual_seed(1)
    model = made(ImageSpec(HEIGHT, WIDTH, 1), widths=[1], latent_size=size)
    model.encoder, model.decoder = Codes(size), Line(size, PIXELS, True)  # type: ignore[assignment]
    model.likelihood = GaussianLikelihood(GaussianOptions(deviation=deviation))
    return model


def log_density(model: VAE, pictures: Tensor) -> Tensor:
    """The exact log p(x) of a linear VAE, in nats of bins."""
    assert isinstance(model.decoder, Line) and isinstance(model.likelihood, GaussianLikelihood)
    map_ = model.decoder.linear
    covariance = map_.weight @ map_.weight.T + model.likelihood.deviation**2 * torch.eye(PIXELS)
    normal = torch.distributions.MultivariateNormal(map_.bias.double(), covariance.double())
    return log_prob(normal, pictures.flatten(1).double()) + PIXELS * math.log(BIN)


def drawn_bounds(model: VAE, pictures: Tensor, draws: int) -> Tensor:
    """The logarithms of the weights, `(draws, pictures)`."""
    with torch.no_grad():
        many, noise = pictures.repeat(draws, 1, 1, 1), torch.randn(draws * len(pictures), model.latent_size)
        found = model.log_weight_terms(many, model.posterior(many), noise)
    given, prior, posterior = found.double().view(draws, len(pictures), 3).unbind(dim=2)
    return given + prior - posterior


@torch.no_grad()
def test_the_bound_lies_below_log_p_and_more_draws_bring_it_there() -> None:
    """Burda et al. 2016, theorem 1: in expectation the bound rises with the draws, up to log p(x)."""
    model, pictures = linear(), batch(ImageSpec(HEIGHT, WIDTH, 1, CLASSES), 5).images
    log_weights, exact = drawn_bounds(model, pictures, 4000), log_density(model, pictures)
    bounds = [
        (log_weights.view(-1, k, 5).logsumexp(dim=1) - math.log(k)).mean(dim=0) for k in (1, 2, 4, 8, 20, 100, 4000)
    ]
    for fewer, more in pairwise(bounds):
        assert (more >= fewer - 1e-9).all()  # the same draws in larger groups: certain for each picture
    assert (bounds[0] < exact).all()
    torch.testing.assert_close(bounds[-1], exact, rtol=0, atol=0.1)
    # the mean of the weights themselves is unbiased
    weights = (log_weights - exact).exp()
    assert ((weights.mean(dim=0) - 1).abs() < 4 * weights.std(dim=0) / len(weights) ** 0.5).all()


@torch.no_grad()
def test_the_loss_is_the_mean_of_minus_the_drawn_bounds() -> None:
    """Of the KL divergence the loss takes the closed form, `weigh` a draw: in the mean they are one."""
    model = linear()
    shown = batch(ImageSpec(HEIGHT, WIDTH, 1, CLASSES), 5).images
    terms = model.loss(Batch(shown.repeat(4000, 1, 1, 1)), step_context(1, 5 * 4000))
    drawn = -drawn_bounds(model, shown, 4000)
    error = drawn.std(dim=0).mean().item() / drawn.numel() ** 0.5  # of the loss it is smaller
    loss = float(terms["distortion"] + terms["divergence"])
    assert loss == pytest.approx(drawn.mean().item(), abs=8 * error)
    assert terms["beta"] == 1


def test_trained_a_linear_vae_recovers_the_likelihood_of_probabilistic_pca() -> None:
    """Its bound is tight where the posterior's axes are the latent's (Lucas et al. 2019, arXiv:1911.02469), so the best
    one is the maximum likelihood of Tipping & Bishop 1999, equations 7 and 8; here to 0.1 nats of about 63."""
    size, n = 2, 600
    draw = np.random.default_rng(0)
    latents = draw.standard_normal((n, size)) @ draw.normal(0, 0.25, (size, PIXELS))
    table = latents + draw.normal(0.1, 0.3, (n, PIXELS))
    values, vectors = np.linalg.eigh(np.cov(table.T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = values[size:].mean()
    covariance = vectors[:, :size] * (values[:size] - noise) @ vectors[:, :size].T + noise * np.eye(PIXELS)
    trace = np.trace(np.linalg.solve(covariance, np.cov(table.T, bias=True)))
    best = -0.5 * (PIXELS * math.log(2 * math.pi) + np.linalg.slogdet(covariance)[1] + trace) + PIXELS * math.log(BIN)
    model, pictures = linear(size, "learned"), torch.tensor(table.reshape(n, 1, HEIGHT, WIDTH), dtype=torch.float32)
    (phase,) = model.phases()
    steps = 300
    optimizer = torch.optim.Adam(phase.parameters, 0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        optimizer.zero_grad()
        terms = model.loss(Batch(pictures), step_context(step, n))
        torch.autograd.backward(terms["distortion"] + terms["divergence"])
        optimizer.step()
        schedule.step()
    assert log_density(model, pictures).mean().item() == pytest.approx(best, abs=0.1)
    assert drawn_bounds(model, pictures, 30).mean().item() == pytest.approx(best, abs=0.1)
    assert model.likelihood.deviation == pytest.approx(noise**0.5, rel=0.05)


# -- beta, free bits, capacity -------------------------------------------------------------------------------------


class Says(nn.Module):
    """Gives the same numbers, whatever it is given."""

    def __init__(self, *numbers: list[float]) -> None:
        super().__init__()
        self.numbers = torch.tensor(numbers)

    def forward(self, x: Tensor) -> Tensor:
        return self.numbers


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_beta_in_the_designs_convention_by_hand(beta: float) -> None:
    """Two pictures of two pixels, two dimensions: summed over pixels and dimensions, averaged over the pictures."""
    model = made(ImageSpec(1, 2, 1), widths=[1], latent_size=2, beta={"weight": beta},
                 likelihood={"kind": "gaussian", "deviation": 0.5})  # fmt: skip
    # means (2, 0) and (0, 1), variances 1: KL of 2 + 0 and 0 + 1/2
    model.encoder = Says([2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0])  # type: ignore[assignment]
    model.decoder = Says([[[0.0, 0.0]]], [[[0.0, 0.0]]])  # type: ignore[assignment,list-item]
    pictures = torch.tensor([[[[1.0, 0.0]]], [[[-0.5, 0.5]]]])
    terms = model.loss(Batch(pictures), step_context(3, 2))
    each_pixel = math.log(0.5) + 0.5 * math.log(2 * math.pi) - math.log(2 / 255)
    # squared errors over twice the variance: 1 / 0.5 and 0.5 / 0.5
    assert terms["distortion"].item() == pytest.approx((2 + 1) / 2 + 2 * each_pixel)
    assert terms["divergence"].item() == pytest.approx(beta * (2 + 0.5) / 2)
    assert terms["rate"].item() == pytest.approx(1.25)
    assert model.beta == beta


@given(SHARES, st.floats(0, 8), st.floats(0.01, 1), st.integers(1, 5))
def test_beta_rises_in_each_cycle_and_ends_at_its_weight(
    done: float, weight: float, warm_up: float, cycles: int
) -> None:
    beta = Beta(weight=weight, warm_up=warm_up, cycles=cycles)
    assert 0 <= beta.at(done) <= weight
    assert beta.at(1.0) == weight
    assert Beta(weight=weight).at(done) == weight
    start = min(int(done * cycles), cycles - 1) / cycles
    assert beta.at(start) == pytest.approx(0, abs=1e-6 * (1 + weight) / warm_up)
    half = start + warm_up / cycles / 2
    assert beta.at(half) == pytest.approx(weight / 2, abs=1e-6 * (1 + weight) / warm_up)


@given(st.lists(st.floats(0, 5), min_size=3, max_size=3), st.floats(0.01, 4), st.floats(0, 3))
def test_free_bits_are_what_a_dimension_costs_at_least_and_have_no_slope(
    nats: list[float], free: float, weight: float
) -> None:
    divergences = torch.tensor([nats, [0.0, 0.0, 0.0]]).requires_grad_()  # in the mean over a batch of two: half of it
    price, beta = kl_term(divergences, 0.5, Beta(weight=weight), free)
    assert beta == weight
    assert price.item() == pytest.approx(weight * sum(max(free, each / 2) for each in nats), rel=1e-5, abs=1e-6)
    (slope,) = torch.autograd.grad(price, divergences)
    for each, found in zip(nats, slope[0].tolist(), strict=True):
        if abs(each / 2 - free) > 1e-3:
            assert found == pytest.approx(weight / 2 if each / 2 > free else 0)


@given(SHARES, st.floats(0.1, 50), st.floats(0.05, 1), st.floats(0.1, 20), st.floats(0, 40))
def test_capacity_asks_for_a_divergence_that_rises(
    done: float, nats: float, rise: float, weight: float, rate: float
) -> None:
    capacity = Capacity(nats=nats, rise=rise, weight=weight)
    price, said = kl_term(torch.tensor([[rate, 0.0, 0.0]]), done, capacity)
    target = nats * min(1.0, done / rise)
    assert said == weight
    assert price.item() == pytest.approx(weight * abs(rate - target), rel=1e-4, abs=1e-3)
    assert made(capacity={}).beta is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beta": {"cycles": 3}}, "warm_up"), ({"capacity": {}, "free_bits": 1}, "capacity"),
        ({"capacity": {}, "beta": {"weight": 2}}, "capacity"), ({"widths": [4, 8], "strides": [1]}, "strides"),
        ({"adversarial": {"objective": {"kind": "wasserstein"}, "penalty": None}}, "nothing bounds"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused_in_words(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        resolve(Recipe("t", data={"source": "digits"}, model={"family": "vae", **options}, training={"steps": 1}))


def test_a_capacity_has_its_defaults() -> None:
    assert made(capacity={}).options.capacity == Capacity()


def test_validation_counts_the_divergence_with_its_last_weight() -> None:
    model = made(beta={"warm_up": 1.0})
    assert model.loss(batch(), step_context(0))["divergence"] == 0
    terms = model.loss(batch(), step_context(0, split="validation"))
    torch.testing.assert_close(terms["divergence"], terms["rate"])


# -- what it is made of --------------------------------------------------------------------------------------------


@given(
    st.integers(5, 20), st.integers(5, 20), st.sampled_from([1, 3]),
    st.lists(st.integers(1, 9), min_size=1, max_size=4), st.booleans(), st.booleans(),
    st.sampled_from(["gaussian", "bernoulli", "logistic"]), st.integers(0, 1),
)  # fmt: skip
def test_pictures_of_any_size_go_through_every_kind(
    height: int, width: int, channels: int, widths: list[int], residual: bool, scales: bool, kind: str, blocks: int
) -> None:
    spec = ImageSpec(height, width, channels)
    model = made(spec, widths=widths, residual=residual, scales=scales, blocks=blocks, likelihood={"kind": kind})
    shown = Batch(torch.rand(3, channels, height, width) * 2 - 1)
    terms = model.loss(shown, step_context(1, 3))
    (phase,) = model.phases()
    torch.autograd.backward(torch.stack([value for name, value in terms.items() if name not in phase.watched]).sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in phase.parameters)
    assert model.reconstruct(shown.images).shape == shown.images.shape
    posterior = model.posterior(shown.images)
    assert model.log_weight_terms(shown.images, posterior, torch.randn(3, 3)).isfinite().all()


def test_the_plain_twin_has_the_same_layers_and_between_any_two_convolutions_an_activation() -> None:
    for scales in (False, True):
        residual, plain = (made(ODD, residual=kind, scales=scales, blocks=2) for kind in (True, False))
        for part in ("encoder", "decoder"):
            layers = [
                [m for m in model.get_submodule(f"{part}.convolutions").modules() if not [*m.children()]]
                for model in (residual, plain)
            ]
            assert sorted(map(str, layers[0])) == sorted(map(str, layers[1]))
            convolves = [isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d) for layer in layers[1]]
            assert not any(one and other for one, other in pairwise(convolves))


def test_what_it_can() -> None:
    able = {name for name, protocol in CAPABILITIES.items() if isinstance(made(), protocol)}
    assert able >= {"encode", "decode", "reconstruct", "posterior", "sample"}
    assert not able & {"disturb", "classify"}


@torch.no_grad()
def test_latents_are_the_posteriors_mean_and_samples_are_cooled() -> None:
    model, images = made().eval(), batch().images
    posterior = model.posterior(images)
    mean, log_variance = posterior.unbind(dim=1)
    assert torch.equal(model.encode(images), mean)
    assert torch.equal(model.reconstruct(images), model.decode(mean))
    assert torch.equal(model.sample(mean, None, TemperatureSampling(temperature=0.5)), model.decode(mean / 2))
    noise = torch.randn(4, 3)
    z = mean + torch.exp(log_variance / 2) * noise
    density = log_prob(Normal(mean, torch.exp(log_variance / 2)), z).sum(dim=1)
    terms = model.log_weight_terms(images, posterior, noise)
    torch.testing.assert_close(terms[:, 1], log_prob(Normal(0.0, 1.0), z).sum(dim=1))
    torch.testing.assert_close(terms[:, 2], density)


# -- a judge's eye and a critic's ----------------------------------------------------------------------------------


def learner(**options: Any) -> TorchLearner:
    training = {"steps": 4, "batch_size": 8, "device": "cpu", "precision": "fp32"}
    model = {"family": "vae", **SMALL, **options}
    found = TorchLearner(resolve(Recipe("t", data={"source": "digits"}, model=model, training=training)), DIGITS)
    found.steps = 4
    return found


def shown() -> Images:
    return Images(np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), np.uint8), np.arange(8))


def changed(learner: TorchLearner, before: dict[str, Tensor]) -> set[str]:
    """The parts of the network that are not what they were."""
    after = learner.model.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def copied(learner: TorchLearner) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in learner.model.state_dict().items()}


def test_equal_pictures_look_the_same_to_a_judge_and_others_do_not() -> None:
    network, images = open_judge("digits", "cpu").network, batch().images
    assert torch.equal(dissimilarity(network, images, images), torch.zeros(4))
    assert (dissimilarity(network, images, images.flip(0)) > 0).all()
    shown = images.clone().requires_grad_()
    torch.autograd.backward(dissimilarity(network, shown, images).sum())
    assert shown.grad is not None
    assert shown.grad.isfinite().all()


def test_the_judge_is_neither_trained_nor_saved() -> None:
    seeing = learner(perceptual={"judge": "digits", "weight": 5})
    assert isinstance(seeing.model, VAE)
    assert seeing.model._judge is not None
    judge = seeing.model._judge.network
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    terms = [seeing.step(step, [shown()]) for step in range(3)]
    assert all(line["vae/perceptual"] > 0 for line in terms)
    assert all(torch.equal(before[name], value) for name, value in judge.state_dict().items())
    assert not judge.training
    assert seeing.weights().keys() == learner().weights().keys()
    assert not any(p is q for p in judge.parameters() for phase in seeing.model.phases() for q in phase.parameters)


def test_a_judge_of_smaller_pictures_looks_at_means() -> None:
    spec = ImageSpec(16, 16, 1, ("a", "b"))
    model = VAE.build(VAEOptions(widths=(4, 8), latent_size=3, perceptual={"judge": "digits"}), spec, 0)
    assert isinstance(model, VAE)
    model.use_judge(open_judge("digits", "cpu"))
    small = batch().images
    images = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert model.loss(Batch(images), step_context())["perceptual"] > 0


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        ("mnist", "looks at pictures of 28×28 grey, or larger by a whole factor; these are 8×8 grey"),
        ("digit", "Did you mean"),
    ],
)
def test_a_judge_of_other_pictures_is_refused(judge: str, words: str) -> None:
    recipe = Recipe(
        "t", data={"source": "digits"}, training={"steps": 1},
        model={"family": "vae", **SMALL, "perceptual": {"judge": judge}},
    )  # fmt: skip
    with pytest.raises(SanggarError, match=words):
        build(resolve(recipe), ImageSpec(8, 8, 1))


CRITIC = {"kind": "dcgan", "widths": [4, 8], "norm": "none"}


@pytest.mark.parametrize("objective", ["bce", "hinge", "relativistic"])
def test_each_of_two_phases_trains_its_own_parameters(objective: str) -> None:
    game = {"critic": CRITIC, "objective": {"kind": objective}, "penalty": {"kind": "r1", "every": 2}}
    playing = learner(adversarial=game, condition=["class"])
    critic, vae = playing.model.phases()
    assert [critic.name, vae.name] == ["critic", "vae"]
    both = list(zip(playing._phases, playing.optimizers, strict=True))
    for (phase, optimizer), parts in zip(
        both, ({"critic"}, {"encoder", "decoder", "likelihood", "trained"}), strict=True
    ):
        playing._phases, playing.optimizers = [phase], [optimizer]
        before = copied(playing)
        terms = playing.step(2, [shown()])
        assert all(value.isfinite() for value in terms.values())
        assert changed(playing, before) == parts
    assert "vae/adversarial" in terms
    validated = playing.evaluate(shown())
    assert all(math.isfinite(value) for value in validated.values())


def test_pictures_for_the_critic_leave_what_norms_remember_alone() -> None:
    """In use, norms go by what they measured of reconstructions, whether a critic was there or not."""
    model = made(adversarial={"critic": CRITIC}, norm="batch")
    alone = made(norm="batch")
    alone.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("critic")})
    for phase in model.train().phases():
        phase.loss(batch(), step_context(1))
    alone.train().loss(batch(), step_context(1))
    kept, wanted = model.state_dict(), alone.state_dict()
    names = [name for name in wanted if "running" in name]
    assert names
    for name in names:
        torch.testing.assert_close(kept[name], wanted[name])


def test_beta_is_what_it_was_where_training_ended() -> None:
    model = made(beta={"weight": 4.0, "warm_up": 1.0})
    model.train().loss(batch(), step_context(3))
    assert model.beta == pytest.approx(4.0 * 4 / 10)
    model.loss(batch(), step_context(9))
    assert model.beta == 4.0


def test_a_batch_of_one_plays_as_well() -> None:
    model = made(adversarial={"critic": CRITIC}, condition=["class"])
    for phase in model.phases():
        assert all(value.isfinite() for value in phase.loss(batch(n=1), step_context(1, 1)).values())


@pytest.mark.parametrize(("prior", "count", "decoded"), [
    ("normal", 5, {3, 2}), ("mixture", 5, {5}), ("flow", 4, {4}),
])  # fmt: skip
def test_the_critic_sees_draws_of_a_prior_that_is_drawn_from(
    prior: str, count: int, decoded: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = made(adversarial={"critic": CRITIC}, prior={"kind": prior}), list[int]()
    forward = model.decoder.forward

    def noted(latents: Tensor) -> Tensor:
        seen.append(len(latents))
        return forward(latents)

    monkeypatch.setattr(model.decoder, "forward", noted)
    critic = next(phase for phase in model.phases() if phase.name == "critic")
    critic.loss(batch(n=count), step_context(1, count))
    assert set(seen) == decoded, "reconstructions, and as many from the prior where it is the standard one"


def test_clipped_a_critic_stays_within_its_limit() -> None:
    game = {"critic": CRITIC, "objective": {"kind": "wasserstein"}, "penalty": {"kind": "clip", "limit": 0.01}}
    playing = learner(adversarial=game)
    playing.step(0, [shown()])
    assert isinstance(playing.model, VAE)
    assert max(p.abs().max().item() for p in there(playing.model.critic).parameters()) <= 0.01
