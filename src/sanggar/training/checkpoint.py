"""A checkpoint: one file that holds the learner's state and the loop's counters, replaced at once."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sanggar.errors import RunError, shown
from sanggar.record import Count, Finite
from sanggar.runs import Arrays, Run, load_arrays, save_arrays


@dataclass
class Progress:
    """What the loop remembers between steps. All of it is in a checkpoint; nothing else is needed to go on."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    step: Count = 0
    """steps done"""
    sums: dict[str, Finite] = field(default_factory=dict)
    """loss terms summed since the last line of metrics.jsonl"""
    summed: dict[str, Count] = field(default_factory=dict)
    """by phase, steps in `sums`: a phase may begin or end between two lines"""
    last: dict[str, Finite] = field(default_factory=dict)
    """terms of the last step, all finite"""
    lowest: Finite | None = None
    """lowest validation loss so far"""
    waited: Count = 0
    """validations since then"""
    stopped_early: bool = False
    metrics_bytes: Count = 0
    """length of metrics.jsonl at this step: whatever follows is cut when training goes on from here"""
    timing_bytes: Count = 0
    seconds: Finite = 0.0
    """spent training, over all sittings"""
    learner_seconds: Finite = 0.0
    """spent in the learner's steps"""


_PROGRESS = TypeAdapter(Progress)


def save(run: Run, arrays: Arrays, progress: Progress) -> None:
    """Replace the run's checkpoint; a crash at any moment leaves the old one or the new one."""
    save_arrays(run.checkpoint_file, arrays, asdict(progress))


def load(run: Run) -> tuple[Arrays, Progress] | None:
    """The run's checkpoint, or None when it has none yet. Raises RunError when it is damaged."""
    if not os.path.lexists(run.checkpoint_file):
        return None
    arrays, meta = load_arrays(run.checkpoint_file)
    if type(meta.get("summed")) is int and isinstance(meta.get("sums"), dict):  # until 0.1.0 all phases took all steps
        meta["summed"] = {name.partition("/")[0]: meta["summed"] for name in meta["sums"]}
    try:
        return arrays, _PROGRESS.validate_json(json.dumps(meta), strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = shown(".".join(map(str, problem["loc"])))
        raise RunError(
            f"{run.checkpoint_file} was written by another version of sanggar, or is damaged, and cannot be continued "
            f"({where}: {shown(problem['msg'])})."
        ) from None
