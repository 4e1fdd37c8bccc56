"""How a training looks while it goes on: a bar on a terminal or in a notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, TextIO

from sanggar.training.loop import Loop, Record


def shown(loop: Loop, name: str, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Record]:
    """The loop's records, passed on as they come; what they say goes to `stream` (standard error)."""
    out = _Screen(stream or sys.stderr)
    if quiet or out.stream is None:  # closed by who started it
        yield from loop
    elif out.stream.isatty() or "ipykernel" in sys.modules:
        from tqdm.auto import tqdm

        with tqdm(total=loop.steps, initial=loop.progress.step, desc=name, unit="step", file=out) as bar:
            for record in loop:
                bar.update()
                if record.validation is not None:
                    bar.write(_line(record), file=out)
                yield record
    else:
        for record in loop:
            if record.validation is not None:
                print(_line(record), file=out, flush=True)
            yield record


class _Screen:
    """Where progress is shown. What shows it may go away, a terminal or the end of a pipe, and the training goes on."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Show text, where somebody sees it."""
        with suppress(OSError, ValueError):
            return self.stream.write(text) if self.stream is not None else 0
        return 0

    def flush(self) -> None:
        """Show it now."""
        with suppress(OSError, ValueError):
            if self.stream is not None:
                self.stream.flush()

    def __getattr__(self, name: str) -> object:
        """What else a bar asks: its width, its encoding."""
        return getattr(self.stream, name)


def _line(record: Record) -> str:
    """One interval in words: where, losses, speed."""
    watched = "".join(
        f"{name.split('/')[-1]} {value:.4f}  " for name, value in record.watched.get("validation", {}).items()
    )
    return (
        f"epoch {record.epoch:6.2f}  step {record.step:>7,}/{record.steps:,}  train {_losses(record.train)}  "
        f"validation {_losses(record.validation)}  {watched}{record.images_per_second:,.0f} images/s"
    )


def _losses(terms: Mapping[str, float] | None) -> str:
    """The sum of the terms, or where there are several phases, whose sum would mean nothing, that of each."""
    sums: dict[str, float] = {}
    for name, value in (terms or {}).items():
        phase = name.split("/")[0]
        sums[phase] = sums.get(phase, 0.0) + value
    if len(sums) < 2:
        return f"{sum(sums.values()):.4f}"
    return ", ".join(f"{phase} {total:.4f}" for phase, total in sums.items())
