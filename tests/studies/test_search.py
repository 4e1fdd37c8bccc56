"""Searches: what is varied, proposals that are the same each time, and test pictures that only the chosen one sees."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sanggar
from conftest import Cli
from sanggar.errors import RecipeError, RunError
from sanggar.runs import Run
from sanggar.studies.engine import Workers
from sanggar.studies.search import SAMPLERS, Found, Runs, Search, Trial, do, noted, proposed
from sanggar.studies.space import Choice, Range, Space, space
from sanggar.studies.work import value_of

SHORT = ["training.epochs=3", "evaluation.images=50", "evaluation.train_images=50"]
RATE, WIDTH = "training.optimizer.learning_rate=1e-4..1e-1:log", "model.hidden=[4],[8],[8,8]"
UNION = ["training.optimizer.kind=adam,sgd", "training.optimizer.momentum=0..0.9"]


def one_at_a_time() -> Executor:
    """An executor of this process."""
    return ThreadPoolExecutor(1)


def digits(*varied: str) -> Space:
    return space("digits-ffnn", [*SHORT, *varied])


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the best, one alone is trained again, by one seed: where something else is looked at."""
    for module in ("sanggar.studies.search", "sanggar.studies.search_page"):
        monkeypatch.setattr(f"{module}.FRESH", 1)
    monkeypatch.setattr("sanggar.studies.search.BEST", 1)


def searched(out: Path, varied: Sequence[str], **how: Any) -> Found:
    options = {"trials": 4, "sampler": "random", "workers": 2, "executor": one_at_a_time, **how}
    return sanggar.search("digits-ffnn", [*SHORT, *varied], out=out, **options)


# -- what is varied --------------------------------------------------------------------------------------------


def test_ranges_choices_and_what_is_fixed_are_told_apart() -> None:
    found = digits(RATE, WIDTH, "model.dropout=0..0.5", "training.batch_size=16..64", "model.activation=tanh")
    assert found.varied == {
        "model.hidden": Choice(([4], [8], [8, 8])), "model.dropout": Range(0.0, 0.5),
        "training.batch_size": Range(16.0, 64.0, whole=True),
        "training.optimizer.learning_rate": Range(1e-4, 1e-1, log=True),
    }  # fmt: skip
    assert found.base.model["activation"] == "tanh"


WRONG = {
    "no such key": ("training.optimizer.learning_rat=1e-4..1e-2", "learning_rat: there is no such key. Did you mean"),
    "inverted": ("model.dropout=0.5..0.1", "model.dropout: expected a range from a number to a larger one"),
    "empty": ("model.dropout=0.1..0.1", "model.dropout: expected a range from a number to a larger one"),
    "logarithms of 0": ("model.dropout=0..0.5:log", "model.dropout: a range in logarithms begins above 0"),
    "beyond what is allowed": ("model.dropout=0..1.5", "model.dropout: expected less than 1, got 1.5"),
    "a value of no meaning": ("model.activation=relu,rellu", "model.activation"),
    "no numbers": ("model.dropout=a..b", "model.dropout: expected LOW..HIGH"),
    "half a setting": ("model.dropout", "expected KEY=LOW..HIGH or KEY=VALUE,VALUE, got 'model.dropout'"),
    "twice": ("model.activation=relu,relu", "model.activation: a value is given twice"),
    "nothing": ("model.activation=relu", "nothing is varied"),
    "not YAML": ("model.hidden=[4,[8", "model.hidden"),
    "another optimizer's": ("training.optimizer.momentum=0..0.9", "there is no such key"),
    "a seed": ("training.seed=0..5", "training.seed is no setting"),
    "infinite": ("model.dropout=0..1e999", "model.dropout: expected a range"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_sense_is_one_line_before_anything_is_trained(name: str, run_cli: Cli, tmp_path: Path) -> None:
    setting, expected = WRONG[name]
    code, _, said = run_cli("search", "digits-ffnn", setting, "--out", str(tmp_path / "out"))
    assert code == 2
    assert expected in said and "Traceback" not in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"sampler": "tpo"}, "there is no 'tpo'. Did you mean 'tpe'?"),
        ({"maximize": "clasification.accuracy"}, "there is no metric 'clasification'. Did you mean"),
        ({"maximize": "classification.acuracy"}, "there is no measurement 'classification.acuracy'. Did you mean"),
        ({"minimize": "validation.loss"}, "to a search it is loss, or PHASE/TERM"),
        ({"maximize": "reconstruction.psnr"}, "reconstruction.psnr is not measured of digits-ffnn: its network cannot"),
        ({"maximize": "a", "minimize": "b"}, "either an objective to minimize or one to maximize"),
        ({"sampler": "grid"}, "a grid takes values"),
        ({"trials": 0}, "--trials: expected a number from 1"),
    ],
)
def test_so_is_what_is_asked_of_it(how: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        searched(tmp_path / "out", [RATE], **how)
    assert expected in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_without_validation_pictures_there_is_nothing_to_go_by(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.validation"):
        searched(tmp_path / "out", [RATE, "data.validation=0"])


def test_a_key_is_varied_where_another_choice_has_it_alone() -> None:
    varied = digits(*UNION)
    assert list(varied.varied) == ["training.optimizer.kind", "training.optimizer.momentum"]
    for number in range(20):
        setting = proposed(Search(varied, sampler="random"), number, [])
        assert ("training.optimizer.momentum" in setting) == (setting["training.optimizer.kind"] == "sgd")
        assert varied.plan(setting).training.optimizer.kind == setting["training.optimizer.kind"]


def test_a_grid_is_every_combination_once() -> None:
    settings = digits(UNION[0], "training.optimizer.momentum=0,0.9", "model.hidden=[4],[8]").grid
    assert len(settings) == 2 * (1 + 2)
    assert len({json.dumps(setting) for setting in settings}) == len(settings)


# -- proposals -------------------------------------------------------------------------------------------------


@cache
def wide() -> Space:
    """With whole numbers, logarithms, choices, and a key that depends on another."""
    return digits(RATE, WIDTH, "training.batch_size=16..64:log", *UNION)


known = st.lists(st.floats(-5, 5), min_size=0, max_size=14)


@pytest.mark.parametrize("sampler", ["tpe", "random", "sobol"])
@settings(max_examples=5, deadline=None)
@given(values=known, seed=st.integers(0, 5))
def test_the_same_trials_lead_to_the_same_proposal_which_is_allowed(
    sampler: str, values: list[float], seed: int
) -> None:
    search = Search(wide(), sampler=sampler, seed=seed)
    before: list[Trial] = []
    for value in values:
        before.append(Trial(len(before), proposed(search, len(before), ()), (value,)))
    number = len(before)
    setting = proposed(search, number, before)
    assert setting == proposed(Search(wide(), sampler=sampler, seed=seed), number, list(before))
    wide().plan(setting)
    assert 1e-4 <= setting["training.optimizer.learning_rate"] <= 1e-1
    assert isinstance(setting["training.batch_size"], int) and 16 <= setting["training.batch_size"] <= 64


def test_a_gaussian_process_proposes_the_same_too() -> None:
    search = Search(digits(RATE, "model.dropout=0..0.5"), sampler="gp")
    before = [Trial(n, proposed(search, n, ()), (math.sin(n),)) for n in range(12)]
    assert proposed(search, 12, before) == proposed(search, 12, before)
    assert proposed(search, 12, before) != proposed(search, 12, before[:6])


def test_sobols_points_fill_the_space_evenly() -> None:
    search = Search(digits("model.dropout=0..0.8", "model.l2=0..1e-1"), sampler="sobol")
    points = [proposed(search, number, ()) for number in range(8)]
    for key, width in (("model.dropout", 0.8), ("model.l2", 0.1)):
        assert sorted(int(8 * point[key] / width) for point in points) == list(range(8))  # one in each eighth


def test_what_was_found_guides_tpe() -> None:
    search = Search(digits("model.dropout=0..0.8"), sampler="tpe")
    before: list[Trial] = []
    for number in range(40):
        setting = proposed(search, number, before)
        before.append(Trial(number, setting, ((setting["model.dropout"] - 0.6) ** 2,)))
    late = [trial.setting["model.dropout"] for trial in before[20:]]
    assert sum(abs(value - 0.6) < 0.1 for value in late) > len(late) / 2


# -- the whole -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Found]:
    out = tmp_path_factory.mktemp("search")
    return out, searched(out, [RATE, WIDTH], sampler="tpe", trials=4)


@pytest.mark.slow
def test_one_that_is_made_longer_or_begun_again_goes_on_the_same(whole: tuple[Path, Found], tmp_path: Path) -> None:
    short = searched(tmp_path, [RATE, WIDTH], sampler="tpe", trials=2)
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/weights.safetensors")}
    found = searched(tmp_path, [RATE, WIDTH], sampler="tpe", trials=4)
    assert [(t.setting, t.values) for t in found.trials] == [(t.setting, t.values) for t in whole[1].trials]
    assert found.trials[:2] == short.trials
    assert short.tested_before == 0
    assert short.chosen is not None and found.chosen is not None
    assert found.tested_before == (short.chosen.trial.setting != found.chosen.trial.setting)
    assert all(path.stat().st_mtime_ns == when for path, when in trained.items())
    name = f"{found.search.name}.md"
    assert (tmp_path / name).read_text() == (whole[0] / name).read_text()


NOTED = {
    "no number": {"x": {"model.hidden": "[4]"}}, "no JSON": {"0": {"model.hidden": "[4"}},
    "nested too deep": {"0": {"model.hidden": "[" * 100_000}}, "out of range": {"0": {"model.dropout": "0.9"}},
    "another key": {"0": {"model.dropout": "0.1", "data.source": '"images"'}}, "nothing": {"0": {}},
    "true for a number": {"0": {"model.dropout": "true"}},
}  # fmt: skip


@pytest.mark.parametrize("name", NOTED)
def test_what_a_run_says_of_a_search_is_not_taken_on_trust(name: str, tmp_path: Path) -> None:
    search = Search(digits("model.dropout=0..0.5"))
    (tmp_path / "runs" / "odd").mkdir(parents=True)
    info = {"format": 2, "name": "odd", "status": "finished", "searches": {search.id: NOTED[name]}}
    (tmp_path / "runs" / "odd" / "run.json").write_text(json.dumps(info))
    assert noted(search, tmp_path) == {}
    good = {"0": {"model.dropout": "0.25"}}
    (tmp_path / "runs" / "odd" / "run.json").write_text(json.dumps({**info, "searches": {search.id: good}}))
    assert noted(search, tmp_path) == {0: {"model.dropout": 0.25}}


def test_test_pictures_are_measured_for_the_chosen_one_alone(whole: tuple[Path, Found]) -> None:
    out, found = whole
    assert found.chosen is not None
    measured = {path.parent for path in out.glob("runs/*/evaluation.json")}
    assert measured == set(found.chosen.folders.values())
    means = [again.mean for again in found.again]
    assert found.chosen.mean == min(mean for mean in means if mean is not None)
    assert len(found.again) == 3 and set(found.chosen.values) == {1, 2, 3}


def test_the_page_has_it_all_and_the_recipe_runs(whole: tuple[Path, Found], run_cli: Cli, tmp_path: Path) -> None:
    out, found = whole
    assert found.chosen is not None
    text = (out / f"{found.search.name}.md").read_text()
    html = (out / f"{found.search.name}.html").read_text()
    for told in ("The best, trained again", "3 fresh seeds", "On test", "digits-ffnn-best"):
        assert told in text and told in html
    assert "a line a trial" in html.lower() or "A line for each trial" in html
    best = sanggar.train(out / f"{found.search.name}.yaml", out=tmp_path / "best", watch=lambda record: None)
    trial = found.chosen.trial
    job = found.search.job(found.search.space.plan(trial.setting), out)
    assert value_of(best, job) == trial.value  # the same training, bit for bit


@pytest.mark.usefixtures("little")
def test_a_measurement_on_validation_pictures_can_be_what_it_goes_by(tmp_path: Path) -> None:
    found = searched(tmp_path, ["model.hidden=[4],[16]"], sampler="grid", maximize="classification.accuracy")
    assert len(found.trials) == 2
    for trial in found.trials:
        job = found.search.job(found.search.space.plan(trial.setting), tmp_path)
        run = Run(Path(job.folder))
        (entry,) = run.info["validated"]
        line = run.metrics()[-1]
        assert entry == {"key": "classification.accuracy", "step": line["step"], "value": trial.value}
    values = [trial.value for trial in found.trials]
    assert found.again[0].trial.value == max(value for value in values if value is not None)


@pytest.mark.slow
@pytest.mark.usefixtures("little")
def test_halving_trains_the_best_on_exactly(tmp_path: Path) -> None:
    options = [*SHORT[1:], "training.epochs=9", RATE]
    found = sanggar.search("digits-ffnn", options, trials=9, sampler="random", halving=True, out=tmp_path, workers=1,
                           executor=one_at_a_time)  # fmt: skip
    assert sorted(len(trial.values) for trial in found.trials) == [1] * 6 + [2] * 2 + [3]
    at = [trial.values[0] for trial in found.trials]
    gone_on = {trial.number for trial in found.trials if len(trial.values) > 1}
    assert gone_on == set(sorted(range(9), key=lambda number: at[number])[:3])
    last = next(trial for trial in found.trials if len(trial.values) == 3)
    plan = found.search.space.plan(last.setting)
    alone = sanggar.train(plan.tree(), out=tmp_path / "alone", watch=lambda record: None)
    assert sum(alone.metrics()[-1]["validation"].values()) == last.values[-1]
    weights = Path(found.search.job(plan, tmp_path).folder) / "weights.safetensors"
    assert weights.read_bytes() == alone.weights_file.read_bytes()
    again = sanggar.search("digits-ffnn", options, trials=9, sampler="random", halving=True, out=tmp_path, workers=1,
                           executor=one_at_a_time)  # fmt: skip
    assert again.trials == found.trials


@pytest.mark.usefixtures("little")
def test_a_trial_that_fails_is_told_and_others_go_on(tmp_path: Path) -> None:
    varied = ["training.optimizer.kind=sgd", "training.optimizer.learning_rate=0.01,1e30"]
    found = searched(tmp_path, varied, sampler="grid")
    assert found.trials[0].values and not found.trials[1].values
    assert "learning rate" in found.trials[1].trouble
    assert found.chosen is not None and found.chosen.trial.number == 0


def test_where_all_fail_it_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none of the first 2 trials could be trained: .*ffnn/accurasy"):
        searched(tmp_path, [RATE], maximize="ffnn/accurasy")


@pytest.mark.slow
@pytest.mark.usefixtures("little")
def test_the_command(run_cli: Cli, tmp_path: Path) -> None:
    code, told, said = run_cli(
        "search", "digits-ffnn", *SHORT, "model.hidden=[4],[8]", "--sampler", "grid", "--maximize", "ffnn/accuracy",
        "--out", str(tmp_path), "--workers", "1",
    )  # fmt: skip
    assert code == 0, said
    assert "fresh seeds (chosen)" in told
    assert told.count(".html") == told.count(".yaml") == 1


def test_every_sampler_is_one() -> None:
    for sampler in SAMPLERS:
        assert proposed(Search(digits(UNION[0]), sampler=sampler), 0, ())["training.optimizer.kind"] in ("adam", "sgd")


@pytest.mark.usefixtures("little")
def test_an_interrupted_one_keeps_what_is_done(tmp_path: Path) -> None:
    search = Search(digits(RATE), trials=3, sampler="random")

    def stop(states: Sequence[Any]) -> None:
        if sum(state.doing == "done" for state in states) == 1:
            raise KeyboardInterrupt

    with Workers(one_at_a_time) as workers, pytest.raises(KeyboardInterrupt):
        do(search, Runs(tmp_path, workers, stop), 1)
    with Workers(one_at_a_time) as workers:
        found = do(search, Runs(tmp_path, workers), 1)
    assert len(found.trials) == 3 and all(trial.values for trial in found.trials)
