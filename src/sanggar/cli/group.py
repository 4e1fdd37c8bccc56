"""What the commands stand in, and how they end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import click

from sanggar import __version__
from sanggar.errors import SanggarError, suggest

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
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Windows consoles may not know ×
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        cli.main(arguments, prog_name="sanggar", standalone_mode=False)
    except click.exceptions.Abort:
        _fail("stopped.", 128 + signal.SIGINT)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except SanggarError as error:
        _fail(str(error), error.exit_status)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}. Nothing that was saved is changed.", 2)
    sys.exit(0)


def say(text: str) -> None:
    """To the person at work, beside what a command gives."""
    click.echo(text, err=True)


def is_first() -> bool:
    """Of several processes under a launcher, one measures and speaks."""
    return os.environ.get("RANK", "0") == "0"


def _fail(message: str, status: int) -> NoReturn:
    if is_first():
        click.echo(f"sanggar: {' '.join(line.strip() for line in message.splitlines())}", err=True)
    sys.exit(status)
