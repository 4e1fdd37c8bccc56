"""`fashion-anomaly` with each class normal in turn: AUROC of every score beside PCA and nearest neighbours."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

import sanggar
from benchmarks.machine import silent
from sanggar import recipe
from sanggar.data.sources import presence
from sanggar.evaluation.context import EvaluationContext
from sanggar.evaluation.metrics.anomaly import METRIC
from sanggar.plan import resolve
from sanggar.reporting import labels

RECIPE = "fashion-anomaly"
CLASSES = "SANGGAR_CLASSES"
"""Names of the classes to be normal, separated by commas, where not all are wanted."""


def look_for_other_classes(name: str) -> tuple[dict[str, float], float, float]:
    """AUROC of each score when one class is normal, on the whole test split; seconds of training, of measuring."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run = sanggar.train(RECIPE, [f"data.only=['{name}']"], out=Path(folder) / "run", watch=silent)
        trained = time.perf_counter()
        model = sanggar.open(run)
        context = EvaluationContext(model, model.plan.source.load(model.plan.data), model.plan.evaluation)
        measurements = METRIC.measure(context, context.metric_options("anomaly", METRIC)).measurements
    areas = {
        f"{labels.SCORES[str(m.tags['score'])]}: {labels.subject(m.subject)}": m.value
        for m in measurements
        if m.key == "anomaly.auroc" and m.tags["odd"] == "held_out"
    }
    return areas, trained - began, time.perf_counter() - trained


def main() -> None:
    """A training a class, then the means."""
    plan = resolve(recipe.read(RECIPE))
    if presence(plan.data.source).state == "absent":
        print(f"  {plan.data.source} is not under the data root; `sanggar train {RECIPE}` fetches it.")
        return
    wanted = os.environ.get(CLASSES, "").split(",") if CLASSES in os.environ else plan.spec.classes
    found = {}
    for name in wanted:
        found[name], training, measuring = look_for_other_classes(name)
        print(f"    {name}: trained in {training:.0f} s, measured in {measuring:.0f} s", flush=True)
    print(f"    {'mean':>8}  " + "  ".join(f"{name[:8]:>8}" for name in found))
    for score in next(iter(found.values())):
        areas = [found[name][score] for name in found]
        print(f"    {np.mean(areas):>8.4f}  " + "  ".join(f"{area:>8.4f}" for area in areas) + f"  {score}")
