"""Searching for better settings: Optuna proposes, runs are all that is kept, and test pictures are seen by one alone.

What was tried is read back from the run directories, and a proposal depends on what was tried before it alone. So a
search that was killed goes on with the same proposals, and there is no other store that could be lost.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sanggar.errors import RecipeError, RunError, SanggarError, suggest
from sanggar.models.capabilities import capabilities_of
from sanggar.plan import Plan, build
from sanggar.runs import Run
from sanggar.seeding import address
from sanggar.studies import engine
from sanggar.studies.engine import RUNS, State, Workers
from sanggar.studies.space import Choice, Range, Setting, Space, as_text
from sanggar.studies.work import LOSS, Job, is_written, value_of, versions

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial as OptunaTrial

SAMPLERS = ("tpe", "gp", "random", "sobol", "grid")
ADAPTIVE = ("tpe", "gp")
"""Those whose proposals depend on what was found"""
BEST, FRESH = 3, 3
"""Settings that are trained again, by so many seeds that the search did not use"""
FACTOR, RUNGS = 3, 3
"""Of successive halving: one in three goes on, twice, each time three times as far"""


@dataclass(frozen=True)
class Search:
    """What is searched, by what, and for what."""

    space: Space
    trials: int = 30
    sampler: str = "tpe"
    objective: str = LOSS
    direction: Literal["minimize", "maximize"] = "minimize"
    seed: int = 0
    halving: bool = False

    @cached_property
    def id(self) -> str:
        """Equal for equal searches; how many trials it has does not matter, so that it can be made longer."""
        varied = {key: repr(of) for key, of in self.space.varied.items()}
        told = [self.space.plan({}).identity(""), varied, self.sampler, self.objective, self.direction, self.seed]
        return hashlib.sha256(json.dumps([*told, self.halving]).encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.space.base.name}-search-{self.id}"

    def better(self, values: Iterable[float]) -> float:
        """The best of some values."""
        return (min if self.direction == "minimize" else max)(values)

    def shares(self) -> list[float]:
        """Parts of a training after which worse trials are left."""
        return [float(FACTOR) ** -(RUNGS - 1 - rung) for rung in range(RUNGS)] if self.halving else [1.0]

    def job(self, plan: Plan, folder: Path, share: float = 1.0, trials: Mapping[str, Setting] | None = None) -> Job:
        """What a worker is given for a setting."""
        path = folder / RUNS / f"{plan.name}-{plan.identity('')[:12]}"
        noted = {self.id: {number: as_text(setting) for number, setting in (trials or {}).items()}}
        return Job(str(path), plan.yaml(), versions(), trials=noted, objective=self.objective, share=share)


@dataclass(frozen=True)
class Trial:
    """A setting that was tried, or is to be."""

    number: int
    setting: Setting
    values: tuple[float, ...] = ()
    """of the objective, by rung"""
    trouble: str = ""

    @property
    def value(self) -> float | None:
        """Where it came to last."""
        return self.values[-1] if self.values else None


@dataclass(frozen=True)
class Again:
    """One of the best, trained by seeds that the search did not use."""

    trial: Trial
    values: dict[int, float]
    """of the objective on validation pictures, by seed"""
    folders: dict[int, Path]

    @property
    def mean(self) -> float | None:
        """Over seeds; None where one failed."""
        return float(np.mean(list(self.values.values()))) if len(self.values) == FRESH else None


@dataclass(frozen=True)
class Found:
    """What a search found."""

    search: Search
    trials: tuple[Trial, ...]
    again: tuple[Again, ...]
    """the best, best first as the search found them"""
    chosen: Again | None
    """the best of those by fresh seeds"""
    importance: dict[str, float]
    """of what is varied, as shares of 1 (fANOVA); empty where there were too few trials"""
    tested_before: int = 0
    """settings that were measured on test as well: chosen when the search was shorter"""


@dataclass
class Runs:
    """Where a search's runs lie, who makes them, and what became of them so far."""

    folder: Path
    workers: Workers
    tell: Callable[[Sequence[State]], None] = lambda states: None
    states: list[State] = field(default_factory=list)

    def make(self, jobs: Sequence[Job], plans: Sequence[Plan], labels: Sequence[str]) -> list[str]:
        """Do some jobs; of each, what went wrong. Jobs of one run are one."""
        states: dict[Path, State] = {}
        for job, plan, label in zip(jobs, plans, labels, strict=True):
            path = Path(job.folder)
            if path in states:
                noted = {search: {**states[path].job.trials[search], **of} for search, of in job.trials.items()}
                states[path].job = replace(states[path].job, trials=noted)
            else:
                states[path] = State(plan, path, job)
            states[path].labels.append(label)
        engine.do(states, self.workers, lambda several: self.tell([*self.states, *several]))
        self.states += states.values()
        return [states[Path(job.folder)].trouble for job in jobs]


def check(search: Search) -> None:
    """Look at what is asked before anything is trained. Raises RecipeError, DataError."""
    if search.sampler not in SAMPLERS:
        raise RecipeError(f"--sampler: there is no {search.sampler!r}. {suggest(search.sampler, SAMPLERS)}")
    if find_spec("optuna") is None:
        raise RecipeError("a search takes Optuna. Install it by: pip install 'sanggar[search]'")
    if search.trials < 1:
        raise RecipeError(f"--trials: expected a number from 1, got {search.trials}.")
    plan = search.space.plan({})
    plan.check()
    if plan.data.validation == 0:
        raise RecipeError(f"{plan.name}: data.validation is 0: a search goes by validation pictures, never by test.")
    if search.sampler == "grid":
        _ = search.space.grid  # which says what is wrong with it
    if is_written(search.objective):
        return
    able = frozenset(capabilities_of(build(plan, plan.spec)))
    if because := engine.unmeasurable(search.objective, plan, able):
        raise RecipeError(because)


def do(search: Search, runs: Runs, width: int) -> Found:
    """Try what was not tried yet, train the best again, and measure the chosen one on test.

    `width` trials are proposed and made at a time where proposals depend on what was found.
    """
    trials = tried(search, runs, width)
    again = _trained_again(search, trials, runs)
    chosen = _chosen(search, again)
    if chosen is not None:
        plans = _fresh(search, chosen.trial)
        jobs = [replace(search.job(plan, runs.folder), objective=None) for plan in plans.values()]
        runs.make(jobs, list(plans.values()), [f"the chosen one, seed {seed}, on test" for seed in plans])
    before = 0 if chosen is None else _tested(search, runs.folder) - len(chosen.folders)
    return Found(search, tuple(trials), again, chosen, importance(search, trials), -(-before // FRESH))


def _tested(search: Search, folder: Path) -> int:
    """How many runs of a search were measured on test."""
    found = 0
    for place in sorted((folder / RUNS).iterdir()):
        with suppress(SanggarError):
            run = Run(place)
            found += search.id in run.info.get("searches", {}) and run.evaluation_file.is_file()
    return found


def tried(search: Search, runs: Runs, width: int) -> list[Trial]:
    """All trials. Raises RunError where none of the first could be trained."""
    first, *later = search.shares()
    count = min(search.trials, len(search.space.grid)) if search.sampler == "grid" else search.trials
    known = noted(search, runs.folder)
    trials: list[Trial] = []
    while len(trials) < count:
        # a few come first in any case: whether the objective is there is known when one is done
        several = min(width if search.sampler in ADAPTIVE or not trials else count, count - len(trials))
        begun = list(trials)
        for number in range(len(begun), len(begun) + several):
            setting = known.get(number) or proposed(search, number, trials)
            trials.append(Trial(number, setting))
        trials[len(begun) :] = _tried(search, trials[len(begun) :], runs, first)
        if trials and all(trial.trouble for trial in trials):
            raise RunError(f"none of the first {len(trials)} trials could be trained: {trials[0].trouble}")
    for share in later:
        ranked = _ranked(search, [trial for trial in trials if trial.value is not None and not trial.trouble])
        reached = max(len(trial.values) for trial in ranked)
        ranked = [trial for trial in ranked if len(trial.values) == reached]
        for trial in _tried(search, ranked[: -(-len(ranked) // FACTOR)], runs, share):
            trials[trial.number] = trial
    return trials


def _tried(search: Search, trials: Sequence[Trial], runs: Runs, share: float) -> list[Trial]:
    """Train some trials so far, and look what they came to."""
    plans = [search.space.plan(trial.setting) for trial in trials]
    jobs = [
        search.job(plan, runs.folder, share, {str(trial.number): trial.setting})
        for plan, trial in zip(plans, trials, strict=True)
    ]
    troubles = runs.make(jobs, plans, [f"trial {trial.number}" for trial in trials])
    found = []
    for trial, job, trouble in zip(trials, jobs, troubles, strict=True):
        value = None if trouble else value_of(Run(Path(job.folder)), job)
        found.append(replace(trial, values=(*trial.values, value) if value is not None else trial.values,
                             trouble=trouble))  # fmt: skip
    return found


def noted(search: Search, folder: Path) -> dict[int, Setting]:
    """What a search tried by now, by number, read from the runs."""
    found: dict[int, Setting] = {}
    for file in sorted((folder / RUNS).glob("*/run.json")):
        try:
            of = Run(file.parent).info.get("searches", {}).get(search.id, {})
            settings = {int(n): {key: json.loads(value) for key, value in told.items()} for n, told in of.items()}
        except (RunError, ValueError, RecursionError):
            continue  # damaged, or not of ours: what is missing is proposed anew
        found |= {number: setting for number, setting in settings.items() if search.space.allows(setting)}
    return found


def _ranked(search: Search, trials: Iterable[Trial]) -> list[Trial]:
    """The best first; who came further before who did not."""
    sign = 1 if search.direction == "minimize" else -1

    def rank(trial: Trial) -> tuple[int, float, int]:
        assert trial.value is not None
        return -len(trial.values), sign * trial.value, trial.number

    return sorted(trials, key=rank)


# -- proposals -------------------------------------------------------------------------------------------------


def proposed(search: Search, number: int, before: Sequence[Trial]) -> Setting:
    """The setting of a trial by those before it: found, failed, or not found yet. The same each time."""
    if search.sampler == "grid":
        return search.space.grid[number]
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Optuna calls experimental
        study = optuna.create_study(direction=search.direction, sampler=_sampler(search, number))
        if search.sampler == "sobol":
            _walked(study, search.space, number)
        elif search.sampler in ADAPTIVE:
            for trial in before:
                study.add_trial(_told(search, trial))
        asked = study.ask()
        setting: Setting = {}
        for key, of in search.space.varied.items():
            if search.space.has(key, setting):
                setting[key] = _suggested(asked, key, of)
    return setting


def _sampler(search: Search, number: int) -> BaseSampler:
    from optuna import samplers

    seed = address(search.seed, "trial", number) % 2**32
    match search.sampler:
        case "random":
            return samplers.RandomSampler(seed=seed)
        case "sobol":  # one sequence, of which each trial takes its own element
            free = samplers.RandomSampler(seed=seed)
            return samplers.QMCSampler(scramble=True, seed=search.seed, independent_sampler=free)
        case "gp":
            return samplers.GPSampler(seed=seed)
        case _:
            return samplers.TPESampler(seed=seed, multivariate=True, group=True)


def _walked(study: OptunaStudy, space: Space, number: int) -> None:
    """Take what comes before a trial from a Sobol sequence over all that is varied."""
    from optuna.trial import create_trial

    distributions = {key: _distribution(of) for key, of in space.varied.items()}
    first = {key: _known(of.samples[0], of) for key, of in space.varied.items()}
    study.add_trial(create_trial(value=0.0, params=first, distributions=distributions))  # says what the space is
    for _ in range(number):
        study.ask(distributions)


def _told(search: Search, trial: Trial) -> Any:
    """A trial as Optuna knows it: one that failed is worse than any other; one that is not done yet is running."""
    from optuna.trial import TrialState, create_trial

    spaces = {key: search.space.varied[key] for key in trial.setting}
    state = TrialState.PRUNED if trial.trouble else TrialState.COMPLETE if trial.values else TrialState.RUNNING
    return create_trial(
        state=state,
        value=trial.values[0] if state == TrialState.COMPLETE else None,
        params={key: _known(trial.setting[key], of) for key, of in spaces.items()},
        distributions={key: _distribution(of) for key, of in spaces.items()},
    )


def _distribution(of: Range | Choice) -> BaseDistribution:
    from optuna import distributions

    if isinstance(of, Choice):
        return distributions.CategoricalDistribution([json.dumps(value) for value in of.values])
    if of.whole:
        return distributions.IntDistribution(int(of.low), int(of.high), log=of.log)
    return distributions.FloatDistribution(of.low, of.high, log=of.log)


def _known(value: Any, of: Range | Choice) -> Any:
    return json.dumps(value) if isinstance(of, Choice) else value


def _suggested(trial: OptunaTrial, key: str, of: Range | Choice) -> Any:
    if isinstance(of, Choice):
        return json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in of.values]))
    if of.whole:
        return trial.suggest_int(key, int(of.low), int(of.high), log=of.log)
    return trial.suggest_float(key, of.low, of.high, log=of.log)


def importance(search: Search, trials: Sequence[Trial]) -> dict[str, float]:
    """How much of the objective's variance each varied key explains (fANOVA, Hutter et al. 2014).

    Of keys that every trial has; empty where fewer than two of them vary, or there are fewer than ten trials.
    """
    whole = [trial for trial in trials if trial.values and not trial.trouble]
    shared = [key for key in search.space.varied if all(key in trial.setting for trial in whole)]
    if len(whole) < 10 or len(shared) < 2 or len({trial.values[0] for trial in whole}) < 2:
        return {}
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(direction=search.direction)
        for trial in whole:
            study.add_trial(_told(search, trial))
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator, params=shared))


# -- the best, again -------------------------------------------------------------------------------------------


def _fresh(search: Search, trial: Trial) -> dict[int, Plan]:
    """A setting's plans by seeds that the search did not use."""
    used = search.space.plan({}).training.seed
    return {
        seed: search.space.plan(trial.setting, **{"training.seed": seed}) for seed in range(used + 1, used + 1 + FRESH)
    }


def _trained_again(search: Search, trials: Sequence[Trial], runs: Runs) -> tuple[Again, ...]:
    whole = [trial for trial in trials if not trial.trouble and len(trial.values) == len(search.shares())]
    best: dict[str, Trial] = {}
    for trial in _ranked(search, whole):
        best.setdefault(json.dumps(trial.setting), trial)
    chosen = list(best.values())[:BEST]
    plans = {(trial.number, seed): plan for trial in chosen for seed, plan in _fresh(search, trial).items()}
    jobs = {key: search.job(plan, runs.folder) for key, plan in plans.items()}
    labels = [f"trial {number} again, seed {seed}" for number, seed in plans]
    troubles = dict(zip(plans, runs.make(list(jobs.values()), list(plans.values()), labels), strict=True))
    found = []
    for trial in chosen:
        mine = {seed: job for (number, seed), job in jobs.items() if number == trial.number}
        fine = {seed: Path(job.folder) for seed, job in mine.items() if not troubles[trial.number, seed]}
        values = {seed: value_of(Run(path), mine[seed]) for seed, path in fine.items()}
        found.append(Again(trial, {seed: value for seed, value in values.items() if value is not None}, fine))
    return tuple(found)


def _chosen(search: Search, again: Sequence[Again]) -> Again | None:
    """The best by fresh seeds."""
    whole = {each.mean: each for each in again if each.mean is not None}
    return whole[search.better(whole)] if whole else None
