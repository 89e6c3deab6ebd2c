"""Errors as the user sees them: one line that names the input and the remedy, never a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from saqueduct.broker.outage import REDIS_AWAY
from saqueduct.cli.output import clean
from saqueduct.common.near_names import did_you_mean
from saqueduct.errors import (
    DeadLetterNotFound,
    JobConflict,
    JobFailed,
    JobNotFound,
    NoJobRecords,
    QueueError,
    QueueUnavailable,
    StartError,
    UnknownTask,
)
from saqueduct.postgres.outage import is_database_error
from saqueduct.queue.redacted_view import error_summary

FAILED, MISCONFIGURED = 1, 2
"""Exit statuses."""

REMEDIES: tuple[tuple[type[QueueError], str], ...] = (
    (UnknownTask, "`tasks list` lists them"),
    (DeadLetterNotFound, "`dead list` lists them"),
    (JobNotFound, "`jobs show KEY` reads its records, `dead replay KEY` runs a failed job again"),
    (JobConflict, "see `jobs show KEY`"),
    (NoJobRecords, "waiting and running jobs: `jobs list --status queued` or `active`"),
)
"""What to do, if the error's own message does not say."""

SETTINGS = {"Redis": "REDIS_URL (redis_url)", "PostgreSQL": "DATABASE_URL (database_url)"}
"""Of each server."""


class Failure(click.ClickException):
    """Ends the command with one line on stderr."""

    exit_code = FAILED

    def show(self, file: Any = None) -> None:
        click.echo(f"error: {self.message}", err=True, file=file)


class Misconfigured(Failure):
    """The command cannot run because the process is misconfigured."""

    exit_code = MISCONFIGURED


class Nouns(click.Group):
    """A group that names the commands it has when it is asked for another one, and whose help shows the whole first
    sentence of each command; click cuts it to one line."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it."""
        known = self.get_command(ctx, args[0]) is not None or args[0].startswith("-")
        if not known and not ctx.resilient_parsing:
            ctx.fail(f"there is no command {args[0]!r}: {did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, command.get_short_help_str(limit=1000)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Reporting(Nouns):
    """A group of commands that shows expected errors without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        with reporting():
            return super().invoke(ctx)


@contextmanager
def reporting() -> Iterator[None]:
    """Show expected errors of a block without a traceback, and end the command."""
    try:
        yield
    except BrokenPipeError:
        # A broken pipe of standard output, as with `| head`; click ends the command.
        raise
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
    """The failure to show; None for an unexpected error."""
    match error:
        case Failure():
            return error
        case StartError():
            return Misconfigured(str(error))
        case QueueError():
            return Failure(in_one_line(error))
        case _ if is_database_error(error):
            reason = _one_line(error.orig or error)
            named = reason if reason.startswith("PostgreSQL") else f"PostgreSQL: {reason}"
            return Failure(f"{named}; check the server and {SETTINGS['PostgreSQL']}")
        case _ if isinstance(error, REDIS_AWAY):
            return Failure(f"a server does not answer: {_one_line(error)}; see REDIS_URL and DATABASE_URL")
        case _:
            return None


def in_one_line(error: Exception) -> str:
    """An error in one line, with the remedy."""
    if isinstance(error, JobFailed):
        return clean(f"the job {error.key!r} of {error.task} failed: {error_summary(error.traceback)}", one_line=True)
    remedy = _remedy(error)
    return f"{_one_line(error).removesuffix('.')}; {remedy}" if remedy else _one_line(error)


def _remedy(error: Exception) -> str:
    if isinstance(error, QueueUnavailable):
        return f"check that {error.server} is running, and {SETTINGS[error.server]}"
    return next((remedy for kind, remedy in REMEDIES if isinstance(error, kind)), "")


def _one_line(error: BaseException) -> str:
    return clean(str(error).strip() or type(error).__name__, one_line=True)
