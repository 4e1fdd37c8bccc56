"""The commands, each a few lines over the library. Nothing heavy is imported before a command needs it."""

from sanggar.cli import pipeline, study, apply, catalog  # noqa: I001  # in the order in which the commands are listed
from sanggar.cli.group import main

__all__ = ["apply", "catalog", "main", "pipeline", "study"]
