"""Networks with learned priors, measured: what is drawn from which, the bound under the prior, and what is shown."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sanggar
from conftest import BRIEF, Stop
from sanggar.data.batches import Batches
from sanggar.data.dataset import Dataset
from sanggar.errors import RecipeError
from sanggar.plan import resolve
from sanggar.recipe import read
from sanggar.reporting.page import report
from sanggar.results import Evaluation, Measurement
from sanggar.runs import Run
from sanggar.tools.editing import edited, edits_of
from sanggar.tools.interpolation import interpolate
from sanggar.trained import TrainedModel
from sanggar.training.describe import describe
from sanggar.training.learners.base import decay_after
from sanggar.training.learners.torch import TorchLearner
from sanggar.training.loop import Record
from typed import there

pytestmark = pytest.mark.slow

SMALL = ("model.widths=[4,8]", "model.latent_size=6", *BRIEF, "training.epochs=null", "training.steps=12",
         "training.validate_every=6", "evaluation.images=200", "evaluation.samples=150", "evaluation.bounds.images=20",
         "evaluation.anomaly.images=20")  # fmt: skip
PRIOR = "model.prior={kind: flow, width: 8, blocks: 1, share: 0.5, condition: [class]}"


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("priors")
    run = sanggar.train("digits-vae", (*SMALL, PRIOR), out=folder / "vae", watch=lambda _: None)
    return sanggar.evaluate(run)


@pytest.fixture(scope="module")
def evaluation(vae: Run) -> Evaluation:
    return sanggar.evaluation_of(vae)


def vae_dataset() -> Dataset:
    plan = resolve(read("digits-vae"))
    return plan.source.load(plan.data)


def found(evaluation: Evaluation, key: str, **tags: str | float) -> Measurement:
    (m,) = [m for m in evaluation.find(key, "network") if m.tags == tags]
    return m


@pytest.mark.slow
def test_each_phase_writes_its_own_losses_while_it_trains(vae: Run) -> None:
    first, last = vae.metrics()
    assert {"vae/distortion", "vae/divergence"} <= first["train"].keys()
    assert "prior/velocity" not in first["train"]
    assert list(last["train"]) == ["prior/velocity"]
    assert last["validation"]["vae/distortion"] == first["validation"]["vae/distortion"]  # it stands still


def test_every_metric_of_drawn_pictures_is_there_and_so_is_what_the_rate_is_towards(evaluation: Evaluation) -> None:
    drawn = found(evaluation, "exploration.precision", source="prior", temperature=1.0)
    normal = found(evaluation, "exploration.precision", source="normal")
    assert drawn.protocol.n == normal.protocol.n
    assert evaluation.details["exploration"]["prior"] == "flow"
    assert found(evaluation, "generation.recall").value >= 0
    assert found(evaluation, "generation.agreement").protocol.settings.get("condition") is None  # of the class alone


def test_the_bound_is_measured_under_the_learned_prior_too(vae: Run, evaluation: Evaluation) -> None:
    for tags in ({"prior": "flow"}, {"prior": "flow", "condition": "class"}):
        rate, bound = (found(evaluation, f"bounds.{key}", **tags) for key in ("rate", "negative_elbo"))
        distortion = found(evaluation, "bounds.distortion")
        assert bound.value == pytest.approx(rate.value + distortion.value, rel=1e-4)
        assert found(evaluation, "bounds.bits_per_dimension", **tags).value == pytest.approx(
            bound.value / (64 * np.log(2)), rel=1e-6
        )
    # the decoder knows no class: under the class the bound by the standard normal prior would be the same again
    assert not [m for m in evaluation.find("bounds.distortion") if "condition" in m.tags]


def test_samples_depend_on_the_solver_and_the_class_asked_for(vae: Run) -> None:
    model = TrainedModel(vae)
    assert model.solvers == ("euler", "midpoint") and model.learned_prior == "flow"
    assert model.conditions is not None and model.conditions.names == ("class",) and not model.decoder_names
    for parameter in model._model.prior.parameters():  # so little trained, it is next to nothing
        torch.nn.init.normal_(parameter, std=0.5)
    one, other, steps, guided = (
        model.sample(4, {"class": 3}), model.sample(4, {"class": 4}), model.sample(4, {"class": 3}, steps=1),
        model.sample(4, {"class": 3}, guidance=5.0),
    )  # fmt: skip
    assert (one != other).any() and (one != steps).any() and (one != guided).any()
    np.testing.assert_array_equal(one, model.sample(4, {"class": 3}))


def test_what_is_learned_late_is_averaged_from_there_on() -> None:
    plan = resolve(read("digits-vae", [*SMALL, PRIOR, "training.ema=0.9"]))
    dataset = plan.source.load(plan.data)
    learner = TorchLearner(plan, plan.spec)
    learner.steps = 12
    batches, wanted = Batches(dataset.train, 64, 0, learner.draws), None
    for step in range(12):
        learner.step(step, batches.at(step))
        value = learner.model.get_parameter("prior.network.leave.weight").detach().clone()
        if step >= 6:
            decay = decay_after(step - 6, 0.9)
            wanted = value if wanted is None else decay * wanted + (1 - decay) * value
            if step == 6:  # a tenth of what it began with, which is nothing
                wanted = 0.9 * value
    found = there(learner.averaged).module.get_parameter("prior.network.leave.weight")
    assert torch.allclose(found, there(wanted), rtol=1e-4, atol=1e-7) and there(wanted).abs().max() > 0
    buffer = there(learner.averaged).module.get_buffer("prior.scale.mean")
    assert torch.allclose(buffer, learner.model.get_buffer("prior.scale.mean"), atol=0.2)


def test_pictures_are_encoded_once_for_all_the_steps_on_them() -> None:
    plan = resolve(read("digits-vae", [*SMALL, PRIOR, "model.prior.draws=5"]))
    learner, encoded = TorchLearner(plan, plan.spec), list[int]()
    learner.steps = 4
    learner.model.get_submodule("encoder").register_forward_hook(
        lambda module, given, found: encoded.append(len(found))
    )
    batches = Batches(plan.source.load(plan.data).train, 64, 0, learner.draws)
    for step in range(4):
        learner.step(step, batches.at(step))
    assert encoded == [64] * 4
    taken = [{int(state["step"]) for state in optimizer.state.values()} for optimizer in learner.optimizers]
    assert taken == [{2}, {10}]  # the network stands still in the second half


def test_a_walk_by_the_prior_begins_and_ends_with_the_pictures(vae: Run) -> None:
    model = TrainedModel(vae)
    pair = model.plan.data_of(vae).test.pixels[:2]
    walk, ends = interpolate(model, pair[0, ..., 0], pair[1, ..., 0], 5, prior=True), model.reconstruct(pair)
    np.testing.assert_allclose(walk[[0, -1]].astype(float), ends.astype(float), atol=3)


def test_the_priors_density_is_a_score_of_odd_pictures(evaluation: Evaluation) -> None:
    scores = {m.tags["score"] for m in evaluation.find("anomaly.auroc", "network")}
    assert {"prior", "kl", "bound"} <= scores


def test_the_report_shows_the_steps_and_every_source(vae: Run) -> None:
    page = Path(report(vae)).read_text(encoding="utf-8")
    assert "Steps of sampling" in page and "standard normal" in page and "prior: a flow" in page


def test_an_autoencoder_with_a_mixture_draws_and_is_measured(tmp_path: Path) -> None:
    recipe, mixture = "digits-denoising-autoencoder", "model.prior={kind: mixture, components: 3}"
    run = sanggar.evaluate(
        sanggar.train(recipe, (*SMALL, mixture), out=tmp_path / "ae", watch=lambda _: None),
        ["evaluation.metrics=[exploration, generation]"],
    )
    evaluation = sanggar.evaluation_of(run)
    assert found(evaluation, "generation.recall").value >= 0
    assert found(evaluation, "exploration.recall", source="prior", temperature=0.6)
    assert not [m for m in evaluation.find("exploration.recall") if m.tags.get("source") == "normal"]


def test_pictures_may_be_augmented_and_no_loss_says_when_to_stop(tmp_path: Path) -> None:
    turned = "training.augmentation={rotation: 10}"
    run = sanggar.train("digits-vae", [*SMALL, PRIOR, turned], out=tmp_path / "turned", watch=lambda _: None)
    assert run.status == "finished"
    patience = "training.early_stopping={patience: 2}"
    with pytest.raises(RecipeError, match=r"2 phases \(vae, prior\), each with a loss of its own"):
        sanggar.train("digits-vae", [*SMALL, PRIOR, patience], out=tmp_path / "stopped")


def test_the_smallest_share_is_a_step_and_a_length_that_has_none_is_refused(tmp_path: Path) -> None:
    little = "model.prior={kind: flow, width: 8, blocks: 1, share: 0.01}"
    run = sanggar.train("digits-vae", [*SMALL, little, "training.steps=2"], out=tmp_path / "run", watch=lambda _: None)
    assert {"vae", "prior"} == {name.split("/")[0] for name in run.metrics()[-1]["train"]}
    with pytest.raises(RecipeError, match=r"training.steps: 1 is too few: there is none for the phase 'vae'"):
        sanggar.train("digits-vae", [*SMALL, little, "training.steps=1"], out=tmp_path / "one")


def test_any_share_is_described() -> None:
    half = describe("digits-vae", [*SMALL, "model.prior={kind: flow, width: 8, blocks: 1, share: 0.6}"])
    assert half.cost.steps == 12 and half.cost.seconds_a_step > 0


def test_a_lines_losses_are_means_over_the_steps_that_a_phase_took(tmp_path: Path) -> None:
    quarter, records = "model.prior={kind: flow, width: 8, blocks: 1, share: 0.25}", list[sanggar.Record]()
    run = sanggar.train("digits-vae", [*SMALL, quarter], out=tmp_path / "run", watch=records.append)
    last, taken = run.metrics()[-1], [record.terms for record in records[6:]]
    assert [list(terms) == ["prior/velocity"] for terms in taken] == [False] * 3 + [True] * 3
    for name in ("vae/distortion", "prior/velocity"):
        wanted = np.mean([terms[name] for terms in taken if name in terms])
        assert last["train"][name] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("step", [4, 5, 6])
def test_a_run_that_stops_where_its_mixture_begins_goes_on_the_same(step: int, tmp_path: Path) -> None:
    chosen = [
        *SMALL, "training.epochs=null", "training.steps=10", "training.checkpoint_every=1", "training.ema=0.5",
        "model.prior={kind: mixture, components: 3, share: 0.5}",
    ]  # fmt: skip

    def stop(record: Record) -> None:
        if record.step == step:
            raise Stop

    whole = sanggar.train("digits-vae", chosen, out=tmp_path / "whole")
    with pytest.raises(Stop):
        sanggar.train("digits-vae", chosen, out=tmp_path / "stopped", watch=stop)
    again = sanggar.resume(tmp_path / "stopped")
    assert again.weights_file.read_bytes() == whole.weights_file.read_bytes()
    seen = sanggar.open(whole)._model.prior.scale.seen
    assert seen > 5 * 8, "it began with more than the batches that it learned of"


@pytest.mark.parametrize("way", ["noise", "prior"])
def test_an_edit_goes_through_the_noise_of_the_prior(way: str, vae: Run, tmp_path: Path, monkeypatch: Any) -> None:
    tried = list[set[str]]()

    def take(curves: dict[str, Any], kind: str) -> str:
        tried.append(set(curves))
        return way

    monkeypatch.setattr("sanggar.evaluation.edit_trials.better", take)
    run = Run(shutil.copytree(vae.path, tmp_path / "copy"))
    assert sanggar.evaluate(run, ("evaluation.metrics=[edits]",))
    assert set(map(frozenset, tried)) == {frozenset({"means", "probe", "noise", "prior"})}
    model = TrainedModel(run)
    edit, few = edits_of(model)["class=3"], vae_dataset().test.pixels[:2]
    pixels, how = edited(model, few, "class=3", [0.0, -2.0, 2.0])
    assert how.method == edit.method == way
    latents = model.encode(few)
    noise = model.noise_of(latents)
    np.testing.assert_array_equal(pixels[::3], model.decode(model.latent_of(noise)))
    rows = np.tile(2 * edit.above, (2, 1))
    moved = model.latent_of(noise + 2 * edit.vector, rows if way == "prior" else None)
    np.testing.assert_array_equal(pixels[2::3], model.decode(moved))
    assert (edit.vector != 0).any() == (way == "noise") and edit.above.any() == (way == "prior")


def test_an_edit_is_not_tried_where_nothing_could_come_of_it(vae: Run, tmp_path: Path, monkeypatch: Any) -> None:
    tried = list[set[str]]()

    def take(curves: dict[str, Any], kind: str) -> str:
        tried.append(set(curves))
        return "means"

    monkeypatch.setattr("sanggar.evaluation.edit_trials.better", take)
    monkeypatch.setattr("sanggar.evaluation.metrics.edits.NOISE", 1)  # of one picture: nobody has the attribute, or all
    assert TrainedModel(vae).prior_names == ("class",)
    monkeypatch.setattr(TrainedModel, "prior_names", property(lambda self: ()))
    run = Run(shutil.copytree(vae.path, tmp_path / "copy"))
    assert sanggar.evaluate(run, ("evaluation.metrics=[edits]",))
    assert set(map(frozenset, tried)) == {frozenset({"means", "probe"})}
