"""Every error a user can cause, each with a message that says what was wrong, what was expected, what to do."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from difflib import get_close_matches


class SanggarError(Exception):
    """Something sanggar can name. Its message is complete; the command line prints it without a traceback."""

    exit_status = 2


class RecipeError(SanggarError):
    """A recipe, an override or a choice in them does not make sense."""


class DataError(SanggarError):
    """A data set or a picture is missing, damaged or of the wrong kind."""


class NetworkError(SanggarError, ValueError):
    """A from-scratch network cannot be built or computed as asked: a name, a width or a shape does not fit."""


class RunError(SanggarError):
    """A run directory is missing, damaged, in the way, or cannot be written."""


class TrainingError(SanggarError):
    """The work itself failed: a loss that is not finite, say. Not a mistake in how sanggar was called."""

    exit_status = 1


class Stopped(KeyboardInterrupt):
    """SIGTERM or SIGHUP, as Ctrl-C is one: nothing but what cleans up goes on."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Interrupted(TrainingError):
    """Work was asked to stop (Ctrl-C, SIGTERM, SIGHUP); what was done is saved, and the message says how to go on."""

    def __init__(self, exit_status: int, message: str) -> None:
        super().__init__(message)
        self.exit_status = exit_status

    @classmethod
    def by(cls, stop: KeyboardInterrupt, message: str) -> Interrupted:
        """What an interrupt becomes where it is known what was saved and how to go on."""
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        return cls(128 + number, f"Stopped by {signal.Signals(number).name}{message}")


def suggest(name: object, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, or all of them when none is near."""
    known = list(known)
    near = get_close_matches(str(name), known, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(known)}." if known else "There are none."


def shown(text: object, most: int = 80) -> str:
    """Text from outside, in a message of one line: what cannot be printed is a space, and what is long is cut."""
    line = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return line if len(line) <= most else f"{line[: most - 3]}..."
