"""The ruler of pictures that no judge comes with: a judge trained once on their own classes, tried, and kept.

It lies in the cache under what it was trained on, so that all runs on the same pictures are measured by the same one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sanggar import recipe
from sanggar.data.dataset import Dataset
from sanggar.data.images import Images, ImageSpec
from sanggar.errors import Interrupted
from sanggar.evaluation import evaluate as evaluation
from sanggar.evaluation.ruler_trial import Trial, trials
from sanggar.files import Tree
from sanggar.instruments.judge import GENERAL, JUDGES, Judge, attribute_scores, open_judge, own_file, ship
from sanggar.locking import alone_in
from sanggar.models.conditions import CLASS
from sanggar.plan import AnyModel, Plan, measured_attributes
from sanggar.runs import Run, load_arrays, save_arrays
from sanggar.trained import TrainedModel, plan_of
from sanggar.training.start import train

Say = Callable[[str], None]
JUDGED = ("reconstruction", "edits", "exploration", "generation")
"""Metrics that a judge has a part in"""
FEWEST, OF_EACH = 1000, 50
"""Training pictures that a ruler learns from at least, in all and of each class: fewer would be learnt by heart"""
MOST = 200
"""Classes at most: its last layer would weigh more than all others"""
EDGE = 48
"""Pixels of an edge that it looks at, at most: larger pictures are averaged"""
SHOWN, PASSES = 60_000, (3, 30)
"""Pictures that it is shown, each as often as it comes, within so many epochs: a minute or two on two cores"""
TOLD = 0.5
"""Of what is not right by always naming the most frequent class, the share that has to be told right"""
TRIED = 1500
"""Pictures that the trial spoils, at most, and as many that they are compared with"""


def evaluate(
    run: str | Path | Run,
    overrides: Sequence[str] = (),
    *,
    family: type[AnyModel] | None = None,
    say: Say | None = None,
) -> Run:
    """Measure a run on the test split and write `evaluation.json` into it; `say` is given what is being measured.

    `overrides` are `evaluation.key=value`, or where the data lie by now (`data.path=PLACE`), and become part of the
    run's recipe. The data must be the data that the run was trained on. Pictures that no judge comes with get a ruler
    of their own first, once, where their classes can be told. Raises RecipeError, RunError, DataError.
    """
    run = run if isinstance(run, Run) else Run(run)
    with alone_in(run.path):
        run.refresh()  # another process may have written while this one waited
        prepare(run, overrides, family=family, say=say)
        return evaluation.evaluate(run, overrides, family=family, say=say)


def prepare(
    run: Run, overrides: Sequence[str] = (), *, family: type[AnyModel] | None = None, say: Say | None = None
) -> None:  # fmt: skip
    """Make the ruler of a run's pictures, where it is going to measure, can be made, and is not there yet.

    Raises RecipeError, RunError, DataError, TrainingError.
    """
    plan = plan_of(run, family)
    if overrides:
        plan = evaluation.measured_otherwise(plan, overrides, family)
    wanted = set(plan.evaluation.metrics or JUDGED)
    if plan.evaluation.feature_network != "judge" or plan.data.source in JUDGES or wanted.isdisjoint(JUDGED):
        return
    path = own_file(run.info["data"]["fingerprint"], plan.data)
    if path.exists():
        return
    model = TrainedModel(run, family)
    if not (model.can("sample") or model.can("reconstruct")):
        return
    dataset = plan.data_of(run)
    tree = recipe_of(plan, dataset)
    if tree is not None:
        make(tree, plan.spec, dataset, path, say or (lambda text: None))


def recipe_of(plan: Plan, dataset: Dataset) -> Tree | None:
    """What a ruler is trained by; None where there is too little that it could tell, or no size to look at."""
    spec, labels, count = plan.spec, dataset.train.labels, len(dataset.train)
    attributes = [column.name for column in measured_attributes(spec) if len(column.values) <= MOST]
    factor = _factor(spec.height, spec.width)
    if count < FEWEST or factor is None or not (spec.classes or attributes):
        return None
    if factor > 1 and "size" not in type(plan.data).model_fields:
        return None
    if spec.classes:
        assert labels is not None
        counts = np.bincount(labels, minlength=len(spec.classes))
        if not 2 <= len(counts) <= MOST or counts.min() < OF_EACH:
            return None
    data = plan.data.model_dump(mode="json")
    if factor > 1:
        data["size"] = spec.height // factor
    epochs = min(max(math.ceil(SHOWN / count), PASSES[0]), PASSES[1])
    return {
        "format": recipe.FORMAT,
        "name": f"ruler-{plan.data.source}",
        "about": "A ruler of pictures of one's own, made by sanggar for measuring.",
        "data": data,
        "model": {
            "family": "classifier",
            "widths": [16, 32, 64, 96],
            "blocks": [0, 0, 1, 1],
            "attributes": attributes,
        },
        "training": {
            "epochs": epochs,
            "batch_size": 64,
            "optimizer": {"kind": "adamw", "learning_rate": 0.004, "weight_decay": 0.05},
            "schedule": {"kind": "cosine", "warmup_steps": 50},
            "augmentation": {"translation": 0.1},
        },
    }


def _factor(height: int, width: int) -> int | None:
    """By which pictures are averaged to what a ruler looks at; None where no whole one leaves 8 pixels of an edge."""
    for factor in range(1, min(height, width) // 8 + 1):
        if height % factor == width % factor == 0 and max(height, width) <= factor * EDGE:
            return factor
    return None


def make(tree: Tree, spec: ImageSpec, dataset: Dataset, path: Path, say: Say) -> None:
    """Train a ruler, try it against the general judge, and keep it with what came of it.

    It is trusted where it tells a class or an attribute of validation pictures well, and no fewer of its trials are in
    order.
    """
    say("training a ruler on what these pictures' classes and attributes are, once: a minute or two")
    with TemporaryDirectory(prefix="sanggar-ruler-") as folder:
        try:
            with redirect_stderr(io.StringIO()):  # what these pictures are was said before
                run = train(recipe.read(tree), out=Path(folder) / "run", watch=lambda record: None)
        except Interrupted as stop:
            raise Interrupted(stop.exit_status, f"{str(stop).split('.')[0]} while a ruler was trained.") from None
        kept = Path(folder) / path.name
        ruler = ship(run, kept, name=Path(str(tree["data"].get("path", tree["data"]["source"]))).stem)
        arrays, meta = load_arrays(kept)
    told = skills(ruler, dataset.validation, spec)
    best = max(told, key=lambda name: told[name])
    found, theirs = tried(ruler, dataset), tried(open_judge(GENERAL, "cpu"), dataset)
    passed, passed_by_general = (sum(trial.passed for trial in of) for of in (found, theirs))
    trusted = told[best] >= TOLD and passed >= passed_by_general
    meta |= {"trusted": trusted, "skills": told, "trials": [asdict(trial) for trial in found]}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_arrays(path, arrays, meta)
    say(
        f"{ruler.name}: {best} is told with a skill of {told[best]:.2f} ({TOLD} is asked), {passed} of {len(found)} "
        f"trials are in order ({passed_by_general} with the general judge): measured by "
        f"{'this ruler' if trusted else 'the general judge'}"
    )


def tried(judge: Judge, dataset: Dataset) -> list[Trial]:
    """The trial of a judge on training pictures, a half of them as if for test: validation ones are often too few.

    A ruler has seen both halves, so that neither is the nearer to it. How well it does on others, `skills` says.
    """
    order = np.random.default_rng(0).permutation(len(dataset.train))[: 4 * TRIED]
    middle = len(order) // 2
    return trials(judge.features, dataset.train.take(order[:middle]), dataset.train.take(order[middle:]), 0)


def skills(judge: Judge, images: Images, spec: ImageSpec) -> dict[str, float]:
    """How well a judge tells the class and each attribute of pictures that are as `spec` says.

    0: as well as always saying the same; 1: without an error.
    """
    found = {}
    if judge.spec.classes:
        assert images.labels is not None
        same = float(np.bincount(images.labels).max() / len(images))
        right = float((judge.classify(images.pixels).argmax(axis=1) == images.labels).mean())
        found[CLASS] = _skill(1 - right, 1 - same)
    for name, score in attribute_scores(judge, images, spec).items():
        assert images.attributes is not None
        place = [column.name for column in spec.attributes].index(name)
        column, values = spec.attributes[place], images.attributes[:, place]
        if column.kind == "number":
            found[name] = _skill(score, float(np.abs(values - np.median(values)).mean()))
        else:
            found[name] = _skill(1 - score, 1 - float(np.unique(values, return_counts=True)[1].max() / len(values)))
    return found


def _skill(error: float, of_the_same: float) -> float:
    return 1 - error / of_the_same if of_the_same > 0 else 0.0
