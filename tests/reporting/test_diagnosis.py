"""Diagnoses: each rule speaks where its number says so, says the number, and is silent elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import Trained
from sanggar.reporting import labels
from sanggar.reporting.diagnosis import FEW, ORDER, RULES, diagnose
from sanggar.reporting.page import view
from sanggar.reporting.sections import SECTIONS
from sanggar.reporting.view import View
from sanggar.results import FORMAT, Evaluation, Measurement, Protocol
from sanggar.runs import Run

Found = tuple[str, float, dict[str, Any]]


def number(key: str, value: float, **how: Any) -> Measurement:
    """A measurement on 1,000 pictures, with an interval of a hundredth to either side."""
    tags, n, settings = how.pop("tags", {}), how.pop("n", 1000), how.pop("settings", {})
    given = {"interval": (value - 0.01, value + 0.01), **how}
    return Measurement(key=key, value=value, tags=tags, protocol=Protocol(n=n, data="d", settings=settings), **given)


@pytest.fixture
def empty(trained: Trained) -> View:
    """A run of which nothing was measured and nothing written down."""
    whole = view(trained("autoencoder"))
    return replace(whole, metrics=[], arrays={}, evaluation=Evaluation(
        format=FORMAT, package="0", step=1, weights="final", measurements=(),
    ))  # fmt: skip


def having(empty: View, *measurements: Measurement, **details: Any) -> View:
    return replace(
        empty, evaluation=empty.evaluation.model_copy(update={"measurements": measurements, "details": details})
    )


def lines(*validation: float, phase: str = "vae", **watched: float) -> list[dict[str, Any]]:
    """A log with these validation losses, an epoch a line."""
    return [
        {
            "step": i + 1, "epoch": i + 1.0, "train": {f"{phase}/loss": loss}, "validation": {f"{phase}/loss": loss},
            "watched": {"train": {f"critic/{k}": v for k, v in watched.items()}, "validation": {}},
        }
        for i, loss in enumerate(validation)
    ]  # fmt: skip


def said(of: View) -> dict[str, str]:
    """By key, what is said."""
    return {d.key: labels.diagnosis(d.key, d.values) for d in diagnose(of)}


PCA, FLOOR = {"subject": "pca"}, {"subject": "floor"}
PRIOR = {"tags": {"source": "prior", "temperature": 1.0}}
CASES: dict[str, tuple[list[Measurement], str | None]] = {
    "above_pca": ([number("reconstruction.psnr", 24.0), number("reconstruction.psnr", 21.0, **PCA)], "3.0 dB above"),
    "below_pca": ([number("reconstruction.psnr", 20.0), number("reconstruction.psnr", 23.5, **PCA)], "3.5 dB worse"),
    "above_filter": ([number("denoising.gain", 2.2, tags={"level": 0.3}, headline=True)], "2.2 dB above"),
    "below_filter": ([number("denoising.gain", -1.2, tags={"level": 0.3}, headline=True)], "noise 0.3"),
    "classifies": ([
        number("classification.accuracy", 0.97), number("classification.accuracy", 0.11, subject="largest_class"),
    ], "97.0% of 1,000"),
    "classifies_badly": ([
        number("classification.accuracy", 0.3), number("classification.accuracy", 0.11, subject="largest_class"),
    ], "30.0%"),
    "drawn_near": ([number("generation.frechet", 0.03), number("generation.frechet", 0.02, **FLOOR)], "1.5 times"),
    "drawn_far": ([number("generation.frechet", 7.48), number("generation.frechet", 0.017, **FLOOR)], "440 times"),
    "little_variety": ([
        number("generation.precision", 0.8), number("generation.precision", 0.85, **FLOOR),
        number("generation.recall", 0.25), number("generation.recall", 0.8, **FLOOR),
    ], "a recall of 0.25"),
    "unlike_real": ([
        number("generation.precision", 0.3), number("generation.precision", 0.85, **FLOOR),
        number("generation.recall", 0.7), number("generation.recall", 0.8, **FLOOR),
    ], "a precision of 0.30"),
    "obeys": ([number("generation.agreement", 0.99), number("generation.agreement", 0.996, **FLOOR)], "99.0%"),
    "disobeys": ([number("generation.agreement", 0.1), number("generation.agreement", 0.996, **FLOOR)], "10%"),
    "memorizes": ([number("generation.memorization", 0.2), number("generation.memorization", 0.01, **FLOOR)], "20.0%"),
    "prior_learned": ([
        number("exploration.frechet", 1.2, **PRIOR), number("exploration.frechet", 7.5, tags={"source": "normal"}),
    ], "7.5"),
    "learn_a_prior": ([
        number("exploration.frechet", 7.5, **PRIOR), number("exploration.frechet", 2.5, tags={"source": "mixture"}),
        number("bounds.rate", 20.0),
    ], "model.prior={kind: mixture}"),
    "unused_dimensions": ([
        number("bounds.active_dimensions", 3, settings={"size": 32}, interval=None),
    ], "3 of 32"),
    "few_pictures": ([
        number("reconstruction.mse", 0.1, n=50, headline=True, interval=None),
    ], "50 test pictures or fewer"),
}  # fmt: skip


@pytest.mark.parametrize("key", CASES)
def test_a_rule_speaks_where_its_number_says_so(key: str, empty: View) -> None:
    measurements, words = CASES[key]
    found = said(having(empty, *measurements))
    assert list(found) == [key]
    assert words is not None and words in found[key]


QUIET: dict[str, list[Measurement]] = {
    "near PCA": [number("reconstruction.psnr", 21.2), number("reconstruction.psnr", 21.0, **PCA)],
    "no PCA": [number("reconstruction.psnr", 21.2)],
    "an untrained level": [number("denoising.gain", 5.0, tags={"level": 0.7})],
    "a middling distance": [number("generation.frechet", 0.06), number("generation.frechet", 0.02, **FLOOR)],
    "no floor": [number("generation.frechet", 0.06)],
    "enough variety": [
        number("generation.precision", 0.8), number("generation.precision", 0.85, **FLOOR),
        number("generation.recall", 0.7), number("generation.recall", 0.8, **FLOOR),
    ],
    "hardly near": [number("generation.memorization", 0.02), number("generation.memorization", 0.01, **FLOOR)],
    "noise that is no prior": [
        number("exploration.frechet", 7.5, **PRIOR), number("exploration.frechet", 2.5, tags={"source": "mixture"}),
    ],
    "a prior that fits": [
        number("exploration.frechet", 2.6, **PRIOR), number("exploration.frechet", 2.5, tags={"source": "mixture"}),
    ],
    "used": [number("bounds.active_dimensions", 30, settings={"size": 32}, interval=None)],
    "no size": [number("bounds.active_dimensions", 3, interval=None)],
    "pictures enough": [number("reconstruction.mse", 0.1, n=500, headline=True)],
    "pictures enough for most": [
        number("reconstruction.mse", 0.1, n=500, headline=True), number("denoising.mse", 0.5, n=60, headline=True),
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", QUIET)
def test_a_rule_is_silent_where_there_is_nothing_to_say(case: str, empty: View) -> None:
    quiet = having(empty, *QUIET[case])
    assert said(quiet) == {}
    assert SECTIONS["short"][1]([quiet]) is None


def falling(*ends: float) -> list[float]:
    return [10 * 0.7**i + 1 for i in range(20)] + list(ends)


@pytest.mark.parametrize(
    ("metrics", "key", "words"),
    [
        (lines(*[20.0 - i for i in range(20)]), "still_falling", "11% of all"),
        (lines(*falling(*[1.5] * 10)), "overfitted", "lowest at epoch 20"),
        (lines(*falling()), None, ""),
        (lines(5, 4, 3, 2), None, ""),  # too few to tell
        (lines(*[3.0] * 20), None, ""),
        (lines(*[3.0] * 20, phase="critic", accuracy=0.99), "critic_wins", "99% of pairs"),
        (lines(*[3.0] * 20, phase="critic", accuracy=0.51), "critic_lost", "51% of pairs"),
        (lines(*[3.0] * 20, phase="critic", accuracy=0.75), None, ""),
        (lines(*[20.0 - i for i in range(20)], phase="critic", accuracy=0.75), None, ""),  # a game's loss says nothing
    ],
)
def test_what_the_training_says(metrics: list[dict[str, Any]], key: str | None, words: str, empty: View) -> None:
    found = said(replace(empty, metrics=metrics))
    assert list(found) == ([] if key is None else [key])
    assert words in "".join(found.values())


@pytest.mark.parametrize(("model", "key"), [
    ("{family: gan, penalty: {kind: r1}}", "critic_wins_penalized"),
    ("{family: gan, penalty: null}", "critic_wins"),
    ("{family: gan, objective: {kind: wasserstein}, penalty: {kind: gradient}}", None),  # wanted
    ("{family: vae, adversarial: {penalty: {kind: r1}}}", "critic_wins_beside"),
    ("{family: vae, adversarial: {objective: {kind: wasserstein}}}", None),
    ("[no, recipe]", "critic_wins"),
    ("{objective: wasserstein, adversarial: much}", "critic_wins"),
])  # fmt: skip
def test_what_a_critic_is_told_goes_by_the_game(
    model: str, key: str | None, empty: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "recipe_text", lambda _: f"model: {model}")
    found = said(replace(empty, metrics=lines(*[3.0] * 20, phase="critic", accuracy=0.99)))
    assert list(found) == ([] if key is None else [key])
    lost = said(replace(empty, metrics=lines(*[3.0] * 20, phase="critic", accuracy=0.5)))
    assert list(lost) == ([] if key in (None, "critic_wins_beside") else ["critic_lost"])


def test_of_a_handful_of_pictures_nothing_else_is_said(empty: View) -> None:
    above = [
        m.model_copy(update={"protocol": Protocol(n=1, data="d"), "headline": True}) for m in CASES["above_pca"][0]
    ]
    assert list(said(having(empty, *above))) == ["too_few_pictures"]


def test_only_the_phase_that_trains_first_is_judged_and_only_while_it_trains(empty: View) -> None:
    before = lines(*[20.0 - i for i in range(14)])
    after = lines(*[5.0 - i for i in range(6)], phase="prior")
    for line in after:  # its validation knows both
        line["validation"]["vae/loss"] = before[-1]["validation"]["vae/loss"]
    (found,) = diagnose(replace(empty, metrics=before + after))
    assert (found.key, found.values["loss"]) == ("still_falling", 7.0)
    assert said(replace(empty, metrics=[{**line, "train": {}} for line in before])) == {}


def test_a_learned_prior_that_is_behind_is_not_asked_to_be_learned(empty: View) -> None:
    measurements, _ = CASES["learn_a_prior"]
    assert list(said(having(empty, *measurements, exploration={"prior": "flow"}))) == ["prior_behind"]
    assert list(said(having(empty, *measurements, exploration={"prior": None}))) == ["learn_a_prior"]


def test_what_is_behind_principal_components_is_told_to_begin_as_they_are_where_it_does_not_yet(empty: View) -> None:
    behind, _ = CASES["below_pca"]
    found = said(having(empty, *behind, reconstruction={"linear": False}))
    assert list(found) == ["below_pca", "begin_linear"] and "`model.linear=true`" in found["begin_linear"]
    for other in (True, None):
        assert list(said(having(empty, *behind, reconstruction={"linear": other}))) == ["below_pca"]
    ahead, _ = CASES["above_pca"]
    assert list(said(having(empty, *ahead, reconstruction={"linear": False}))) == ["above_pca"]


def test_of_each_kind_the_weightiest_is_said_in_their_order(empty: View) -> None:
    of_all = [m for measurements, _ in CASES.values() for m in measurements]
    everything = [m for m in of_all if not m.headline or m.protocol.n < FEW]
    kinds = [d.kind for d in diagnose(having(empty, *everything))]
    assert kinds == list(ORDER)
    above, obeys = CASES["above_pca"][0], CASES["obeys"][0]
    assert list(said(having(empty, *obeys, *above))) == ["above_pca"]


def test_every_word_is_used_and_no_rule_lacks_words(empty: View) -> None:
    known = {*CASES, "still_falling", "overfitted", "critic_wins", "critic_lost", "prior_behind", "begin_linear",
             "critic_wins_penalized", "critic_wins_beside", "too_few_pictures"}  # fmt: skip
    assert known == set(labels.DIAGNOSES)
    assert len(RULES) == 12


def test_the_report_opens_with_them_and_what_comes_from_outside_stays_text(empty: View, tmp_path: Path) -> None:
    hostile = number("denoising.gain", 2.2, tags={"level": 0.3}, headline=True)
    assert next(iter(SECTIONS)) == "short"
    html = SECTIONS["short"][1]([having(empty, *CASES["above_pca"][0], hostile)])
    assert html is not None and html.startswith("<p>It reconstructs well")
    worse = number("denoising.gain", 2.2, tags={"level": "<b>"}, headline=True)
    with pytest.raises(ValueError, match="format"):  # the page says that the parts of the evaluation do not fit
        SECTIONS["short"][1]([having(empty, worse)])
