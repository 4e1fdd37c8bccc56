"""Hooks: functions of the user's own that look at a training while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sanggar.plan import Plan
from sanggar.runs import Run
from sanggar.trained import TrainedModel
from sanggar.training.loop import Record

Watcher = Callable[[Record], None]
"""Called with the record of each step"""
Hook = Callable[[Record, TrainedModel], None]
"""Called at the end of each interval, in the first process, with its record (train and validation losses) and the
model as it is by then: averaged weights where there is an average, a copy that the training does not use"""


def call_hooks(hooks: Sequence[Hook], record: Record, run: Run, plan: Plan) -> None:
    """Call hooks with a record that ends an interval. What a hook raises ends the training; its checkpoint is kept."""
    if hooks:
        model = TrainedModel(run, plan.family)
        for hook in hooks:
            hook(record, model)
