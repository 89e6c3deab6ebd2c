"""What the errors of all parts of the library say to the user of a command."""

from saqueduct.broker.outage import REDIS_AWAY
from saqueduct.cli.addresses import at
from saqueduct.cli.failures import Failure
from saqueduct.cli.output import clean
from saqueduct.errors import (
    DeadLetterNotFound,
    JobConflict,
    JobFailed,
    JobNotFound,
    NoJobRecords,
    QueueError,
    QueueUnavailable,
    UnknownTask,
)
from saqueduct.postgres.outage import is_database_error
from saqueduct.queue.redacted_view import error_summary

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


def failure_of(error: Exception) -> Failure | None:
    """The failure to show; None for an unexpected error."""
    match error:
        case QueueError():
            return Failure(in_one_line(error))
        case _ if is_database_error(error):
            reason = _one_line(error.orig or error)
            named = reason if reason.startswith("PostgreSQL") else f"PostgreSQL: {reason}"
            return Failure(f"{named}; check the server{at('PostgreSQL')} and {SETTINGS['PostgreSQL']}")
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
        return f"check that {error.server}{at(error.server)} is running, and {SETTINGS[error.server]}"
    return next((remedy for kind, remedy in REMEDIES if isinstance(error, kind)), "")


def _one_line(error: BaseException) -> str:
    return clean(str(error).strip() or type(error).__name__, one_line=True)
