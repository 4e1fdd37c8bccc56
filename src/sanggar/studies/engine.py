"""Doing a study: its runs go to an executor, are taken up where they were left, and are done once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path

from sanggar.errors import RecipeError, RunError, SanggarError, suggest
from sanggar.evaluation.evaluate import METRICS
from sanggar.locking import WRITER
from sanggar.models.capabilities import capabilities_of
from sanggar.plan import Plan, build
from sanggar.reporting.labels import LABELS, SUBJECTS
from sanggar.runs import Run
from sanggar.studies.definition import Quantity, Study
from sanggar.studies.executors import MakeExecutor
from sanggar.studies.logged import LOGGED
from sanggar.studies.size import parameters
from sanggar.studies.work import Job, done, steps_of, versions, work

RUNS = "runs"
"""Folder of a study's runs, in its own: other studies beside it use the same"""
DEATHS = 3
"""Times that a run is begun again after its worker died"""
PAUSE = 1.0
"""Seconds between two looks at what runs do"""


@dataclass
class State:
    """What became of a run so far."""

    plan: Plan
    folder: Path
    job: Job
    doing: str = "waiting"
    """waiting, running, done, kept (it was done before) or failed"""
    trouble: str = ""
    deaths: int = 0
    labels: list[str] = field(default_factory=list)
    """what it is the run of: table, row and seed; or a trial"""


def states(study: Study, folder: Path) -> dict[Path, State]:
    """The runs that a study needs, each once, in the order of its tables. Raises RecipeError."""
    found: dict[Path, State] = {}
    here = versions()
    for cell in study.cells:
        path = folder / RUNS / cell.run_name
        if path not in found:
            found[path] = State(cell.plan, path, Job(str(path), cell.plan.yaml(), here))
        found[path].labels.append(f"{cell.table}/{cell.row}, seed {cell.seed}")
    for state in found.values():
        rows = {label.rpartition(",")[0] for label in state.labels}
        claims = {name: claim.hash for name, claim in study.claims.items() if rows & {claim.row, claim.than}}
        state.job = replace(state.job, claims={study.name: claims})
    return found


def check(study: Study) -> None:
    """Look at every recipe, and whether its network is measured by what is asked for, before anything is trained.

    Raises RecipeError, DataError.
    """
    able: dict[tuple[str, ...], tuple[frozenset[str], frozenset[str]]] = {}
    for cell in study.cells:
        if cell.seed:  # seeds differ in nothing else
            continue
        plan = cell.plan
        key = plan.family_name, plan.data.model_dump_json(), plan.model.model_dump_json()
        if key not in able:
            plan.check()
            model = build(plan, plan.spec)
            able[key] = capabilities_of(model), getattr(model, "costly", frozenset())
        for where, quantity in study.asked(cell.table, cell.row).items():
            if because := _unmeasured(quantity, plan, *able[key]):
                raise RecipeError(f"{study.name}: {where}: {because}")


def _unmeasured(quantity: Quantity, plan: Plan, able: frozenset[str], costly: frozenset[str]) -> str:
    """Why a quantity cannot be known of a recipe; nothing where it can."""
    if quantity.constant:
        try:
            for tags in quantity.each():
                parameters(plan, tags)
        except RecipeError as error:
            return str(error)
        return ""
    if quantity.logged:
        return ""
    if because := unmeasurable(quantity.key, plan, able):
        return because
    if quantity.subject not in SUBJECTS:
        return f"there is no subject {quantity.subject!r}. {suggest(quantity.subject, list(SUBJECTS))}"
    for tags in quantity.each():
        if (named := tags.get("class")) is not None and str(named) not in plan.spec.classes:
            return f"there is no class {named!r}. {suggest(str(named), list(plan.spec.classes))}"
    name, wanted = quantity.key.partition(".")[0], plan.evaluation.metrics
    if wanted and name not in wanted:
        return f"{quantity.key} is left out by evaluation.metrics."
    if not wanted and not costly.isdisjoint(METRICS[name].needs):
        return f"{quantity.key} takes long to measure of {plan.name}: name {name} in evaluation.metrics."
    return ""


def unmeasurable(key: str, plan: Plan, able: frozenset[str]) -> str:
    """Why a key is measured of no network, or not of a recipe's; nothing where it is."""
    name = key.partition(".")[0]
    if name in LOGGED:
        return f"{key} is what a study calls it; to a search it is loss, or PHASE/TERM as metrics.jsonl has it."
    if name not in METRICS:
        return f"there is no metric {name!r}. {suggest(name, list(METRICS))}"
    if key not in LABELS:
        of_it = [known for known in LABELS if known.startswith(f"{name}.")]
        return f"there is no measurement {key!r}. {suggest(key, of_it)}"
    if lacking := [need for need in METRICS[name].needs if need not in able]:
        return f"{key} is not measured of {plan.name}: its network cannot {lacking[0]}."
    if METRICS[name].either and able.isdisjoint(METRICS[name].either):
        return f"{key} is not measured of {plan.name}: its network can neither {' nor '.join(METRICS[name].either)}."
    return ""


class Workers:
    """An executor that outlives what it is given, and is made anew where it broke."""

    def __init__(self, make: MakeExecutor) -> None:
        self._make = make
        self._now: Executor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def executor(self) -> Executor:
        """The one there is, made where there is none."""
        if self._now is None:
            self._now = self._make()
        return self._now

    def end(self, at_once: bool = False) -> None:
        """End it, when it is done, or at once, with what it does: that is kept."""
        executor, self._now = self._now, None
        if executor is None:
            return
        if at_once and isinstance(executor, ProcessPoolExecutor):
            # the pool's own way: it has an error for each future that is cancelled behind its back
            executor.shutdown(wait=False, cancel_futures=True)
        else:
            executor.shutdown(wait=not at_once)
        if at_once:
            for child in multiprocessing.active_children():
                child.terminate()


def do(
    needed: Mapping[Path, State], workers: Workers, tell: Callable[[Sequence[State]], None] = lambda states: None
) -> None:
    """Do what is not done yet; `tell` is called now and then, and when something changed.

    A run that fails is told of and leaves the others alone. One whose worker died is taken up by another.
    """
    for state in needed.values():
        if done(state.job):
            state.doing = "kept"
    waiting = [state for state in needed.values() if state.doing == "waiting"]
    everything = list(needed.values())
    tell(everything)
    while waiting:
        executor = workers.executor()
        futures = {executor.submit(work, state.job): state for state in waiting}
        try:
            tells = isinstance(executor, ProcessPoolExecutor)
            for future in _as_they_come(futures, lambda: tell(everything), tells):
                _take(futures[future], future)
        except KeyboardInterrupt:
            workers.end(at_once=True)
            raise
        # a pool goes with the worker that died: who was running may have been the cause, and else anybody
        left = [state for state in waiting if state.doing in ("waiting", "running")]
        for state in [state for state in left if state.doing == "running"] or left:
            state.deaths += 1
            state.doing = "failed" if state.deaths > DEATHS else "waiting"
            state.trouble = "its process died again and again: does memory suffice?" if state.doing == "failed" else ""
        waiting = [state for state in waiting if state.doing == "waiting"]
        if left:
            workers.end()
        tell(everything)


def _take(state: State, future: Future[str]) -> None:
    try:
        trouble = future.result()
    except BrokenProcessPool:
        return
    except Exception as error:  # of the executor: a scheduler that went away, a job that was cancelled
        said = (str(error).splitlines() or [""])[0]
        state.doing = "failed"
        state.trouble = said if isinstance(error, SanggarError) else f"{type(error).__name__}: {said}"
        return
    state.doing, state.trouble = "failed" if trouble else "done", trouble


def _as_they_come(
    futures: Mapping[Future[str], State], look: Callable[[], None], tells: bool
) -> Iterator[Future[str]]:  # fmt: skip
    """Futures as they end; meanwhile `look` is called. `tells`: an executor knows what it does, as Dask's does not."""
    left = set(futures)
    while left:
        ended, left = wait(left, PAUSE, FIRST_COMPLETED)
        yield from ended
        for future in left:  # a pool calls what it will take next running as well
            state = futures[future]
            begun = (state.folder / "run.json").exists() and (state.folder / WRITER).exists()
            state.doing = "running" if begun and (future.running() or not tells) else "waiting"
        look()


def progress(state: State) -> tuple[int, int, float] | None:
    """Steps that a run has done, as far as it has written them down, how many there are, and the seconds of those."""
    try:
        lines = Run(state.folder).timing()
    except RunError:
        return None
    last = lines[-1] if lines else {"step": 0, "seconds": 0.0}
    return int(last["step"]), steps_of(state.plan), float(last["seconds"])
