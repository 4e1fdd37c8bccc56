"""A checkpoint: one file that holds the learner's state and the loop's counters, replaced at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from sanggar.errors import RunError
from sanggar.runs import Arrays, Run, load_arrays, save_arrays


@dataclass
class Progress:
    """What the loop remembers between steps. All of it is in a checkpoint; nothing else is needed to go on."""

    step: int = 0
    """steps done"""
    sums: dict[str, float] = field(default_factory=dict)
    """loss terms summed since the last line of metrics.jsonl"""
    summed: int = 0
    """steps in `sums`"""
    last: dict[str, float] = field(default_factory=dict)
    """terms of the last step, all finite"""
    lowest: float | None = None
    """lowest validation loss so far"""
    waited: int = 0
    """validations since then"""
    stopped_early: bool = False
    metrics_bytes: int = 0
    """length of metrics.jsonl at this step: whatever follows is cut when training goes on from here"""
    timing_bytes: int = 0
    seconds: float = 0.0
    """spent training, over all sittings"""
    learner_seconds: float = 0.0
    """spent in the learner's steps"""


def save(run: Run, arrays: Arrays, progress: Progress) -> None:
    """Replace the run's checkpoint; a crash at any moment leaves the old one or the new one."""
    save_arrays(run.checkpoint_file, arrays, asdict(progress))


def load(run: Run) -> tuple[Arrays, Progress] | None:
    """The run's checkpoint, or None when it has none yet. Raises RunError when it is damaged."""
    if not run.checkpoint_file.is_file():
        return None
    arrays, meta = load_arrays(run.checkpoint_file)
    try:
        return arrays, Progress(**meta)
    except TypeError:
        raise RunError(
            f"{run.checkpoint_file} was written by another version of sanggar and cannot be continued."
        ) from None
