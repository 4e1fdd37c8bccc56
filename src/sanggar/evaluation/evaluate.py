"""Evaluating a run: every metric that is wanted and whose capabilities the model has, once, on the test split."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from sanggar import recipe
from sanggar.errors import RunError, suggest
from sanggar.evaluation.context import EvaluationContext, Findings, Metric, doubts
from sanggar.evaluation.metrics import (
    anomaly,
    attributes,
    bounds,
    classification,
    denoising,
    edits,
    exploration,
    generation,
    latent,
    reconstruction,
)
from sanggar.locking import alone_in
from sanggar.plan import PLACES, AnyModel, Plan, differing, resolve
from sanggar.results import FORMAT, NETWORK, Evaluation, Json, Measurement
from sanggar.results.stored import save
from sanggar.runs import Arrays, Run
from sanggar.trained import TrainedModel

METRICS: dict[str, Metric] = {
    "reconstruction": reconstruction.METRIC,
    "denoising": denoising.METRIC,
    "latent": latent.METRIC,
    "attributes": attributes.METRIC,
    "edits": edits.METRIC,
    "anomaly": anomaly.METRIC,
    "bounds": bounds.METRIC,
    "exploration": exploration.METRIC,
    "classification": classification.METRIC,
    "generation": generation.METRIC,
}
"""In the order in which they are measured"""


def evaluate(
    run: str | Path | Run,
    overrides: Sequence[str] = (),
    *,
    family: type[AnyModel] | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Measure a run on the test split and write `evaluation.json` into it; `say` is given what is being measured.

    `overrides` are `evaluation.key=value`, or where the data lie by now (`data.path=PLACE`), and become part of the
    run's recipe. The data must be the data that the run was trained on. Raises RecipeError, RunError, DataError.
    """
    run = run if isinstance(run, Run) else Run(run)
    with alone_in(run.path):
        run.refresh()  # another process may have written while this one waited
        return _evaluate(run, overrides, family, say)


def _evaluate(
    run: Run, overrides: Sequence[str], family: type[AnyModel] | None, say: Callable[[str], None] | None
) -> Run:
    model = TrainedModel(run, family)
    if overrides:
        model.plan = measured_otherwise(model.plan, overrides, family)
    dataset = model.plan.data_of(run)
    if overrides:
        model.plan.check()
    context = EvaluationContext(model, dataset, model.plan.evaluation)
    findings, seconds = dict[str, Findings](), dict[str, float]()
    wanted = context.options.metrics or [name for name, metric in METRICS.items() if metric.affordable(model)]
    for name, metric in METRICS.items():
        options = context.metric_options(name, metric)
        if name in wanted and metric.applies(model, options):
            if say:
                say(f"measuring {name}")
            began = time.perf_counter()
            findings[name] = metric.measure(context, options)
            seconds[name] = round(time.perf_counter() - began, 2)
    _save(run, context, findings, seconds)
    if overrides:
        run.extend(model.plan.yaml(), model.plan.identity(dataset.fingerprint))
    return run


def evaluate_on_validation(run: Run, key: str) -> float:
    """Measure one key of the network on validation pictures instead of test, and keep it in `run.json`.

    What a search goes by. Raises RunError for a key that is not measured of this network.
    """
    with alone_in(run.path):
        run.refresh()
        model = TrainedModel(run)
        dataset = model.plan.data_of(run)
        dataset = replace(dataset, test=dataset.validation)
        context = EvaluationContext(model, dataset, model.plan.evaluation)
        name, own = key.partition(".")[0], list[Measurement]()
        if metric := METRICS.get(name):
            options = context.metric_options(name, metric)
            if metric.applies(model, options):
                measurements = metric.measure(context, options).measurements
                own = [m for m in measurements if m.subject == NETWORK and not m.tags]
        values = [m.value for m in own if m.key == key]
        if len(values) != 1:
            known = sorted({m.key for m in own})
            raise RunError(f"{run.path}: {key} is not one number measured of this network. {suggest(key, known)}")
        entry = {"key": key, "step": model.step, "value": values[0]}
        run.update(validated=[*run.info.get("validated", []), entry])
    return values[0]


def _save(run: Run, context: EvaluationContext, findings: dict[str, Findings], seconds: dict[str, float]) -> None:
    """Write what was found: numbers and details as JSON, arrays for the report, and what tools use later."""
    measurements = [m for found in findings.values() for m in found.measurements]
    alarms = [*doubts(context, measurements), *(alarm for found in findings.values() for alarm in found.alarms)]
    evaluation = Evaluation(
        format=FORMAT,
        package=version("sanggar"),
        step=context.model.step,
        weights="averaged" if context.model.plan.training.ema else "final",
        measurements=tuple(measurements),
        alarms=tuple(alarms),
        details={name: found.details for name, found in findings.items() if found.details},
        seconds=seconds,
    )
    arrays, tools, tool_details = Arrays(), Arrays(), dict[str, Json]()
    for name, found in findings.items():
        arrays |= {f"{name}.{key}": array for key, array in found.arrays.items()}
        tools |= found.tools
        tool_details |= found.tool_details
    save(run, evaluation, arrays, tools, {"step": context.model.step, **tool_details})


def measured_otherwise(plan: Plan, overrides: Sequence[str], family: type[AnyModel] | None) -> Plan:
    """A run's plan with other options of its evaluation. Raises RunError when anything else would change."""
    other = resolve(recipe.read(plan.tree(), overrides), family)
    others = [key for key in differing(plan, other) if not (key.startswith("evaluation.") or key in PLACES)]
    if others:
        raise RunError(
            f"Only evaluation.* and {', '.join(PLACES)} can change when a trained run is measured, "
            f"not {', '.join(others)}; train a new run."
        )
    return other
