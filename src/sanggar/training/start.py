"""Starting a training, and going on with one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from sanggar import recipe as recipes
from sanggar.data.batches import Batches
from sanggar.data.images import ImageSpec
from sanggar.data.sources import Dataset
from sanggar.errors import Interrupted, RecipeError, RunError
from sanggar.files import Content, Tree
from sanggar.locking import alone_in
from sanggar.plan import PLACES, AnyModel, Plan, TrainingOptions, differing, resolve
from sanggar.recipe import Recipe
from sanggar.resources import check_memory, first_process, several_processes
from sanggar.runs import (
    Run,
    check_vacant,
    claimed_folder,
    fresh_folder,
    save_arrays,
)
from sanggar.trained import plan_of
from sanggar.training import checkpoint
from sanggar.training.checkpoint import Progress
from sanggar.training.hooks import Hook, Watcher, call_hooks
from sanggar.training.learners.base import Learner
from sanggar.training.learners.numpy import NumpyLearner
from sanggar.training.learners.torch import TorchLearner
from sanggar.training.loop import Loop
from sanggar.training.progress import shown

MakeLearner = Callable[[Plan, ImageSpec, Path | None, Tree | None], Learner]
LEARNERS: dict[str, MakeLearner] = {"torch": TorchLearner, "numpy": NumpyLearner}

EXTENDABLE = ("epochs", "steps")
"""What may change when a run is resumed, and only upwards: anything else would make it another run."""


def train(
    source: str | Path | Content | Recipe,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    family: type[AnyModel] | None = None,
    watch: Watcher | None = None,
    hooks: Sequence[Hook] = (),
    note: Content | None = None,
) -> Run:
    """Train a recipe from its first step into a new run directory.

    `source` is a recipe's name, file, mapping or `Recipe`; `overrides` are `part.key=value`; `out` is a folder
    that does not exist yet (default: `runs/` and the recipe's name); `family` is a class of the caller's own, instead
    of the one the recipe names; `watch` is called with the record of each step, instead of the progress display;
    `hooks` are called at the end of each interval, see `training.hooks`; `note` has further entries of `run.json`.
    Raises RecipeError, DataError, RunError, TrainingError, Interrupted.
    """
    plan = resolve(recipes.read(source, overrides), family)
    plan.check()  # before pictures are prepared, which may take minutes
    dataset = plan.source.load(plan.data)
    if first_process():
        for said in dataset.about:
            print(said, file=sys.stderr, flush=True)
    with ExitStack() as stack:
        if out is not None:
            folder = Path(out)
            check_vacant(folder)
        elif several_processes():  # they have to agree on it before one of them can make it
            folder = fresh_folder(plan.name)
        else:
            made = [] if Path("runs").exists() else [Path("runs")]
            folder = claimed_folder(plan.name)
            stack.callback(_without_run, [folder, *made])
        learner, batches = _set_up(plan, dataset, folder)
        run = None
        if learner.rank == 0:
            check_vacant(folder)
            stack.enter_context(alone_in(folder))
            run = Run.create(folder, plan.yaml(), {**_info(plan, dataset, learner), **(note or {})})
        return _walk(plan, learner, batches, dataset, Progress(), run, watch, hooks) or Run(folder)


def _without_run(folders: Sequence[Path]) -> None:
    """Remove folders that were made for a run, where it never began."""
    with suppress(OSError):  # there is something in it
        for folder in folders:
            folder.rmdir()


def resume(
    path: str | Path | Run,
    overrides: Sequence[str] = (),
    *,
    family: type[AnyModel] | None = None,
    watch: Watcher | None = None,
    hooks: Sequence[Hook] = (),
) -> Run:
    """Go on with a run from its last checkpoint.

    `overrides` may only make the training longer, or say where its data lie and where it computes by now. On the same
    machine, build and thread count the result equals an uninterrupted training bit for bit. Raises RunError when the
    run is damaged, or when recipe or data are not the run's.
    """
    run = path if isinstance(path, Run) else Run(path)
    with alone_in(run.path) if first_process() else nullcontext():
        run.refresh()  # another process may have written while this one waited
        return _resume(run, overrides, family, watch, hooks)


def _resume(
    run: Run, overrides: Sequence[str], family: type[AnyModel] | None, watch: Watcher | None, hooks: Sequence[Hook]
) -> Run:
    before = plan_of(run, family)
    plan = resolve(recipes.read(before.tree(), overrides), family)
    _only_longer(before, plan)
    dataset = plan.data_of(run)
    plan.check()
    kept = checkpoint.load(run)
    learner, batches = _set_up(plan, dataset, run.path, run.info["device"])
    progress = Progress()
    if kept is not None:
        arrays, progress = kept
        learner.load_state(arrays)
    if learner.rank == 0:
        run.extend(plan.yaml(), plan.identity(dataset.fingerprint), status="training")
    return _walk(plan, learner, batches, dataset, progress, run if learner.rank == 0 else None, watch, hooks) or run


def learner_of(plan: Plan, spec: ImageSpec, folder: Path | None = None, begun: Tree | None = None) -> Learner:
    """The learner that a plan's family needs; `begun` is the device as its run describes it, where there is one."""
    return LEARNERS[plan.family.learner](plan, spec, folder, begun)


def _set_up(plan: Plan, dataset: Dataset, folder: Path, begun: Tree | None = None) -> tuple[Learner, Batches]:
    spec, size = plan.spec, plan.training.batch_size
    batch = 5 * size * spec.height * spec.width * spec.channels  # as bytes, and as float32
    check_memory(batch, f"training.batch_size: a batch of {size:,} pictures", RecipeError)
    learner = learner_of(plan, spec, folder, begun)
    if learner.describe()["device"]["kind"] == "cpu":
        weights = sum(array.nbytes for array in learner.weights().values())
        check_memory(2 * weights, "model: gradients and an optimizer's state of so large a network", RecipeError)
    if len(phases := learner.phases()) > 1:
        _check_phases(plan.training, [phase.split()[0] for phase in phases])
    learner.learns_from(dataset.train)
    return learner, Batches(dataset.train, size, plan.training.seed, learner.draws, learner.rank, learner.world)


def _check_phases(training: TrainingOptions, phases: Sequence[str]) -> None:
    """Raises RecipeError for what has no meaning where networks are trained against, or after, each other."""
    game = "critic" in phases
    if training.early_stopping is not None:
        how = "against each other; their losses do not say when it is best"
        if not game:
            how = f"({', '.join(phases)}), each with a loss of its own: none says when all are at their best"
        raise RecipeError(
            f"training.early_stopping: this network trains in {len(phases)} phases {how}. Leave it out, and set "
            "training.steps."
        )
    if not game:
        return
    augmentation = training.augmentation
    if augmentation is not None and augmentation.model_copy(update={"flip": False}).active:
        raise RecipeError(
            "training.augmentation: it changes real pictures alone, and what draws would learn to draw them so; only "
            "flip does no harm. In family gan, model.augmentation changes all that the critic sees, real and drawn."
        )


def _walk(
    plan: Plan, learner: Learner, batches: Batches, dataset: Dataset, progress: Progress, run: Run | None,
    watch: Watcher | None, hooks: Sequence[Hook],
) -> Run | None:  # fmt: skip
    try:
        loop = Loop(plan, learner, batches, dataset.validation, progress, run)
        for record in loop if watch is not None else shown(loop, plan.name, quiet=run is None):
            if watch is not None:
                watch(record)
            if run is not None and record.validation is not None:
                call_hooks(hooks, record, run, plan)
        if run is not None:
            save_arrays(run.weights_file, learner.weights(), {"step": progress.step})
            totals = {"seconds": progress.seconds, "learner_seconds": progress.learner_seconds}
            run.update(status="finished", step=progress.step, stopped_early=progress.stopped_early, totals=totals)
    except KeyboardInterrupt as stop:  # before the first step, after the last, or a second time: at once
        if run is None:
            raise
        raise Interrupted.by(
            stop, f" at once; the last checkpoint is kept. Go on with: sanggar train --resume {run.path}"
        ) from None
    finally:
        learner.close()
    learner.wait()  # so that no process reads the run before the first has written it
    return run


def _info(plan: Plan, dataset: Dataset, learner: Learner) -> Tree:
    spec = plan.spec
    return {
        "name": plan.name,
        "about": plan.about,
        "identity": plan.identity(dataset.fingerprint),
        "package": version("sanggar"),
        "status": "training",
        "step": 0,
        "data": {
            "source": plan.data.source, "about": plan.source.about, "licence": plan.source.licence,
            "note": dataset.note, "fingerprint": dataset.fingerprint, "height": spec.height,
            "width": spec.width, "channels": spec.channels, "classes": list(spec.classes),
            "attributes": [asdict(column) for column in spec.attributes],
            "train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test),
        },
        **learner.describe(),
    }  # fmt: skip


def _only_longer(before: Plan, after: Plan) -> None:
    """Raises RunError when `after` is anything but `before` with more steps or epochs."""
    for key in EXTENDABLE:
        was, now = getattr(before.training, key), getattr(after.training, key)
        if was is None and now is not None:
            other = next(other for other in EXTENDABLE if other != key)
            raise RunError(
                f"This run counts training.{other}, {getattr(before.training, other)} of them; give training.{other} "
                f"rather than training.{key} to make it longer."
            )
        if (was is None) != (now is None) or (was is not None and now < was):
            raise RunError(
                f"A run can only be made longer: training.{key} is {was} and cannot become {now}. Train a new run "
                "for another length."
            )
    changed = [
        key for key in differing(before, after) if key.removeprefix("training.") not in EXTENDABLE and key not in PLACES
    ]
    if changed:
        raise RunError(
            f"A run goes on with its own recipe, but {', '.join(changed)} would change. Only training.epochs or "
            f"training.steps may grow, and {', '.join(PLACES)} change; train a new run for anything else. (`sanggar "
            "evaluate` changes evaluation.*.)"
        )
