"""What a run wrote down while it trained, as measurements: its losses epoch by epoch, and how long it took."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sanggar.files import Tree
from sanggar.results import Measurement, Protocol, Tag
from sanggar.runs import Run

TRAIN, VALIDATION, TRAINING = "train", "validation", "training"
LOGGED = (TRAIN, VALIDATION, TRAINING)
"""What their keys begin with, where a metric's name stands in others: `train.mse`, `validation.mse`,
`training.seconds`"""
LAST = "last"
"""Value of the tag `epoch`, beside the number: what was written at the end"""


def logged(run: Run) -> list[Measurement]:
    """The losses of each epoch, and of each step at which it was validated between, and the seconds until then.

    Their tags are `epoch`, a number or `last`, and, where a step has several phases, `phase`. The train loss is the
    mean over the steps since the line before: the network learned meanwhile.
    """
    losses, seconds = run.metrics(), {line["step"]: line["seconds"] for line in run.timing()}
    found = list[Measurement]()
    phases = {name.partition("/")[0] for line in losses for name in line[TRAIN]}
    for line in losses:
        epochs: list[Tag] = [_plain(line["epoch"]), *([LAST] if line is losses[-1] else [])]
        for epoch in epochs:
            found += _of_line(run, line, epoch, len(phases) > 1)
            if line["step"] in seconds:
                found.append(_measurement(run, TRAIN, f"{TRAINING}.seconds", seconds[line["step"]], {"epoch": epoch}))
    return found


def _of_line(run: Run, line: Tree, epoch: Tag, several: bool) -> Iterator[Measurement]:
    for split in (TRAIN, VALIDATION):
        watched = line.get("watched", {}).get(split, {})
        for name, value in {**line[split], **watched}.items():
            phase, _, term = name.partition("/")
            tags: dict[str, Tag] = {"epoch": epoch, **({"phase": phase} if several else {})}
            yield _measurement(run, split, f"{split}.{_word(term)}", value, tags, name not in watched)


def _measurement(
    run: Run, split: str, key: str, value: float, tags: dict[str, Tag], minimized: bool = True
) -> Measurement:
    data = run.info["data"]
    taken = "mean over steps, the network learning" if key.startswith(f"{TRAIN}.") else "at the end of the step"
    protocol = Protocol(
        split=split, n=data[split], data=f"{data['source']} {data['fingerprint'][:12]}", settings={"taken": taken}
    )
    return Measurement(key=key, value=value, better="lower" if minimized else None, tags=tags, protocol=protocol)


def _plain(epoch: float) -> Tag:
    return int(epoch) if epoch == int(epoch) else round(epoch, 4)


def _word(term: str) -> str:
    """A term of somebody's own loss as keys are written."""
    return re.sub(r"[^a-z0-9_]", "_", term.lower())
