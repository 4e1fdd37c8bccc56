"""sanggar: a studio for small networks that see and draw, each trained, measured and reported from one recipe.

The public names are loaded on first use; importing sanggar does not import PyTorch.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# Threads that share an operation wait for each other, and spin while they wait: PyTorch's for 300,000 rounds,
# NumPy's for 2²⁶ ticks of the clock. Beside anything else that computes, they spin for a thread that has no
# processor, on the one that it could have. Read when those libraries are loaded; what a user has set stays
# (docs/performance.md).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

if TYPE_CHECKING:
    from sanggar.data.images import Attribute, Images, ImageSpec
    from sanggar.errors import DataError, RecipeError, RunError, SanggarError, TrainingError
    from sanggar.models.base import Batch, Model, Phase, SamplingOptions, StepContext
    from sanggar.models.conditions import Conditions
    from sanggar.models.noise import NoiseOptions
    from sanggar.models.optimizers import OptimizerOptions
    from sanggar.options import Options
    from sanggar.recipe import Recipe
    from sanggar.reporting.page import report
    from sanggar.results import Alarm, Evaluation, Measurement, Protocol
    from sanggar.results.stored import read as evaluation_of
    from sanggar.rulers import evaluate
    from sanggar.runs import Run
    from sanggar.studies.start import search, study, tour
    from sanggar.trained import TrainedModel, open
    from sanggar.training.configure import configure
    from sanggar.training.loop import Record
    from sanggar.training.start import resume, train

_HOMES = {
    "Alarm": "results:Alarm",
    "Attribute": "data.images:Attribute",
    "Batch": "models.base:Batch",
    "Conditions": "models.conditions:Conditions",
    "DataError": "errors:DataError",
    "Evaluation": "results:Evaluation",
    "ImageSpec": "data.images:ImageSpec",
    "Images": "data.images:Images",
    "Measurement": "results:Measurement",
    "Model": "models.base:Model",
    "NoiseOptions": "models.noise:NoiseOptions",
    "OptimizerOptions": "models.optimizers:OptimizerOptions",
    "Options": "options:Options",
    "Phase": "models.base:Phase",
    "Protocol": "results:Protocol",
    "Recipe": "recipe:Recipe",
    "RecipeError": "errors:RecipeError",
    "Record": "training.loop:Record",
    "Run": "runs:Run",
    "RunError": "errors:RunError",
    "SamplingOptions": "models.base:SamplingOptions",
    "SanggarError": "errors:SanggarError",
    "StepContext": "models.base:StepContext",
    "TrainedModel": "trained:TrainedModel",
    "TrainingError": "errors:TrainingError",
    "configure": "training.configure:configure",
    "evaluate": "rulers:evaluate",
    "evaluation_of": "results.stored:read",
    "open": "trained:open",
    "report": "reporting.page:report",
    "resume": "training.start:resume",
    "search": "studies.start:search",
    "study": "studies.start:study",
    "tour": "studies.start:tour",
    "train": "training.start:train",
}

__all__ = [
    "Alarm",
    "Attribute",
    "Batch",
    "Conditions",
    "DataError",
    "Evaluation",
    "ImageSpec",
    "Images",
    "Measurement",
    "Model",
    "NoiseOptions",
    "OptimizerOptions",
    "Options",
    "Phase",
    "Protocol",
    "Recipe",
    "RecipeError",
    "Record",
    "Run",
    "RunError",
    "SamplingOptions",
    "SanggarError",
    "StepContext",
    "TrainedModel",
    "TrainingError",
    "configure",
    "evaluate",
    "evaluation_of",
    "open",
    "report",
    "resume",
    "search",
    "study",
    "tour",
    "train",
]

_RENAMED = {"Family": "Model", "Painter": "TrainedModel"}
"""Names of 0.1.0 that go with 0.3.0"""


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        new = _RENAMED[name]
        warnings.warn(f"sanggar.{name} is called sanggar.{new} now; 0.3.0 drops the old name.", DeprecationWarning, 2)
        name = new
    if name not in _HOMES:
        raise AttributeError(f"module 'sanggar' has no attribute {name!r}")
    module, attribute = _HOMES[name].split(":")
    return getattr(import_module(f"sanggar.{module}"), attribute)


def __dir__() -> list[str]:
    return __all__
