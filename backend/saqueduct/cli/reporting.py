"""Errors as the user sees them: one line, never a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from saqueduct.cli.failures import Failure, Misconfigured
from saqueduct.errors import StartError


@contextmanager
def reporting() -> Iterator[None]:
    """Show expected errors of a block without a traceback, and end the command."""
    try:
        yield
    except Exception as error:
        failure = _failure(error)
        if failure is None:
            raise
    else:
        return
    # Not with click: rich_click, which Litestar's command line uses, would wrap the line to fit into a box.
    failure.show()
    raise click.exceptions.Exit(failure.exit_code)


def _failure(error: Exception) -> Failure | None:
    """The failure to show; None for an unexpected error, and for what click shows."""
    match error:
        case Failure():
            return error
        # Some are errors of click as well: Litestar's command line shows them so.
        case StartError():
            return Misconfigured(str(error))
        # A broken pipe of standard output, as with `| head`, ends the command, too.
        case BrokenPipeError() | click.ClickException() | click.exceptions.Exit() | click.Abort():
            return None
        case _:
            # Here: it imports the errors of Redis and PostgreSQL.
            from saqueduct.cli.errors import failure_of

            return failure_of(error)
