"""Errors that end a command with one line that names the input and the remedy."""

from typing import Any

import click

FAILED, MISCONFIGURED = 1, 2
"""Exit statuses."""


class Failure(click.ClickException):
    """Ends the command with one line on stderr."""

    exit_code = FAILED

    def show(self, file: Any = None) -> None:
        click.echo(f"error: {self.message}", err=True, file=file)


class Misconfigured(Failure):
    """The command cannot run because the process is misconfigured."""

    exit_code = MISCONFIGURED
