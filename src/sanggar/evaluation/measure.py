"""Evaluating a run: every metric whose capabilities the model has, once, on the test split."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from sanggar import recipe
from sanggar.errors import RunError
from sanggar.evaluation.classification import measure_classification
from sanggar.evaluation.detection import looked_for, measure_anomaly
from sanggar.evaluation.editing import measure_edits
from sanggar.evaluation.exploration import measure_exploration
from sanggar.evaluation.generation import measure_generation
from sanggar.evaluation.inference import measure_inference
from sanggar.evaluation.latent import measure_latent
from sanggar.evaluation.protocol import Findings, Subject, doubts
from sanggar.evaluation.reconstruction import disturbed, measure_denoising, measure_reconstruction
from sanggar.painter import Painter
from sanggar.plan import Model, Plan, differing, resolve
from sanggar.runs import Arrays, Run

FORMAT = 1


@dataclass(frozen=True)
class Metric:
    """Something to measure, and the capabilities that a model must have for it."""

    measure: Callable[[Subject], Findings]
    needs: tuple[str, ...]
    when: Callable[[Painter], bool] = lambda painter: True
    """what else must be so"""

    def applies(self, painter: Painter) -> bool:
        """Whether a run's network is measured by it."""
        return all(painter.can(need) for need in self.needs) and self.when(painter)


METRICS: dict[str, Metric] = {
    "reconstruction": Metric(measure_reconstruction, ("reconstruct",)),
    "denoising": Metric(measure_denoising, ("reconstruct", "disturb"), disturbed),
    "latent": Metric(measure_latent, ("encode",)),
    "edits": Metric(measure_edits, ("encode", "decode")),
    "anomaly": Metric(measure_anomaly, ("reconstruct",), looked_for),
    "inference": Metric(measure_inference, ("posterior",)),
    "exploration": Metric(measure_exploration, ("encode", "decode")),
    "classification": Metric(measure_classification, ("classify",)),
    "generation": Metric(measure_generation, ("sample",)),
}


def evaluate(
    run: str | Path | Run,
    overrides: Sequence[str] = (),
    *,
    family: type[Model] | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Measure a run on the test split and write `evaluation.json` into it; `say` is told what is being measured.

    `overrides` are `evaluation.key=value`, and become part of the run's recipe. The data must be the data that the run
    was trained on. Raises RecipeError, RunError, DataError.
    """
    run = run if isinstance(run, Run) else Run(run)
    painter = Painter(run, family)
    if overrides:
        painter.plan = _measured_otherwise(painter.plan, overrides, family)
    dataset = painter.plan.data_of(run)
    subject = Subject(painter, dataset, painter.plan.evaluation)
    found, pictures, seconds = [], Arrays(), {}
    for name, metric in METRICS.items():
        if metric.applies(painter):
            if say:
                say(f"measuring {name}")
            began = time.perf_counter()
            findings = metric.measure(subject)
            found.append(findings)
            pictures |= findings.pictures
            seconds[name] = round(time.perf_counter() - began, 2)
    numbers = [number for findings in found for number in findings.numbers]
    run.save_evaluation(
        {
            "format": FORMAT,
            "package": version("sanggar"),
            "step": painter.step,
            "weights": "averaged" if painter.plan.training.ema else "final",
            "numbers": [asdict(number) for number in numbers],
            "alarms": [*doubts(subject, numbers), *(alarm for findings in found for alarm in findings.alarms)],
            "seconds": seconds,
        },
        pictures,
    )
    if overrides:
        run.extend(painter.plan.yaml(), painter.plan.identity(dataset.fingerprint))
    return run


def _measured_otherwise(plan: Plan, overrides: Sequence[str], family: type[Model] | None) -> Plan:
    """A run's plan with other options of its evaluation. Raises RunError when anything else would change."""
    other = resolve(recipe.read(plan.tree(), overrides), family)
    others = [key for key in differing(plan, other) if not key.startswith("evaluation.")]
    if others:
        raise RunError(
            f"Only evaluation.* can change when a trained run is measured, not {', '.join(others)}; train a new run."
        )
    other.check()
    return other
