"""What the commands stand in, and how they end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

import click

from sanggar import __version__
from sanggar.errors import Interrupted, SanggarError, Stopped, suggest
from sanggar.files import failure
from sanggar.resources import first_process

SMALLER = "a smaller batch, a smaller network, fewer pictures"

F = TypeVar("F", bound=Callable[..., object])

RUN = click.argument("run", metavar="RUN")
IMAGES = click.argument("images", metavar="IMAGES")


def into(text: str, required: bool = True) -> Callable[[F], F]:
    """The option `--out`, and what it names."""
    return click.option("--out", type=click.Path(path_type=Path), required=required, help=text)


OUT = into("Where to write; nothing that exists is overwritten.", required=False)


class Commands(click.Group):
    """A group that offers the nearest command for a misspelt one, and lists its commands as they are written."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of a session."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a suggestion."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(f"There is no command {args[0]!r}. {suggest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sanggar")
def cli() -> None:
    """A studio for small neural networks that see and draw.

    Start with: sanggar run digits-denoising-autoencoder
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command. A user's mistake ends with status 2 and one line, failed work with 1."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Windows consoles may not know ×
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        with _interruptible():
            cli.main(arguments, prog_name="sanggar", standalone_mode=False)
    except click.exceptions.Abort as abort:
        stop = abort.__cause__ if isinstance(abort.__cause__, KeyboardInterrupt) else KeyboardInterrupt()
        stopped = Interrupted.by(stop, ". What was saved before is kept; the same command begins again.")
        _fail(str(stopped), stopped.exit_status)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except SanggarError as error:
        _fail(str(error), error.exit_status)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {failure(error)}. Nothing that was saved is changed.", 2)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or "memory" in str(error).lower()):  # PyTorch has no class for it
            raise
        _fail(f"There is not enough memory ({' '.join(str(error).split())[:200]}). Ask for less: {SMALLER}.", 2)
    sys.exit(0)


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does: helpers are ended, and what is half-written is removed.

    A training handles all three itself; a signal that was ignored, as nohup has it, stays so.
    """

    def stop(number: int, _: FrameType | None) -> NoReturn:
        raise Stopped(number)

    named = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]  # Windows has no SIGHUP
    before = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [number for number in named if number is not None and signal.getsignal(number) is signal.SIG_DFL]
        before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def going_on(how: str) -> Iterator[None]:
    """Say what is kept and how to go on, where the block is interrupted."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted.by(stop, f". {how}") from None


def _open_streams() -> None:
    """Point streams that were closed (`2>&-`) nowhere: the next file opened would take their place otherwise."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for good


def say(text: str) -> None:
    """To the person at work, beside what a command gives."""
    click.echo(text, err=True)


def _fail(message: str, status: int) -> NoReturn:
    if first_process():
        click.echo(f"sanggar: {' '.join(line.strip() for line in message.splitlines())}", err=True)
    sys.exit(status)
