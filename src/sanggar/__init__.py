"""sanggar: a studio for small networks that see and draw, each trained, measured and reported from one recipe.

The public names are loaded on first use; importing sanggar does not import PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sanggar.errors import DataError, RecipeError, RunError, SanggarError, TrainingError
    from sanggar.evaluation.measure import evaluate
    from sanggar.models.family import Family
    from sanggar.options import Options
    from sanggar.painter import Painter, open
    from sanggar.recipe import Recipe
    from sanggar.reporting.page import report
    from sanggar.runs import Run
    from sanggar.training.start import resume, train

_HOMES = {
    "DataError": "errors",
    "Family": "models.family",
    "Options": "options",
    "Painter": "painter",
    "Recipe": "recipe",
    "RecipeError": "errors",
    "Run": "runs",
    "RunError": "errors",
    "SanggarError": "errors",
    "TrainingError": "errors",
    "evaluate": "evaluation.measure",
    "open": "painter",
    "report": "reporting.page",
    "resume": "training.start",
    "train": "training.start",
}

__all__ = [
    "DataError",
    "Family",
    "Options",
    "Painter",
    "Recipe",
    "RecipeError",
    "Run",
    "RunError",
    "SanggarError",
    "TrainingError",
    "evaluate",
    "open",
    "report",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sanggar' has no attribute {name!r}")
    return getattr(import_module(f"sanggar.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
