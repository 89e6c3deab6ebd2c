"""What the worker logs about failed attempts."""

import logging
from types import TracebackType

from saq import Job

from saqueduct.common.exception_groups import consists_of, find
from saqueduct.common.text import printable
from saqueduct.errors import GiveUp, Retry
from saqueduct.tasks.redaction import scrub

logger = logging.getLogger("saqueduct.worker")

DECISIONS = (Retry, GiveUp)
"""Exceptions with which a task decides what happens to its job."""


def log_failure(job: Job, error: BaseException, *, again: bool) -> None:
    """Log a failure with its traceback; a `Retry` or `GiveUp` in one line, unless it was raised from another error.

    Args:
        job: as it ran.
        error: what its task raised.
        again: True when the job gets another attempt.
    """
    if not consists_of(error, DECISIONS):
        end = ", tried again" if again else ""
        # `again` for Sentry, which leaves out attempts that another one follows.
        extra = {"again": True} if again else None
        logger.error("job %s of %s failed%s", job.key, job.function, end, exc_info=info(error), extra=extra)
        return
    decisions = find(error, DECISIONS)
    said = printable(scrub("; ".join(map(str, decisions))))
    end = "is tried again" if again else "gives up" if find(error, GiveUp) else "failed, no attempt is left"
    caused = any(each.__cause__ is not None for each in decisions)
    logger.log(
        logging.INFO if again else logging.WARNING,
        "job %s of %s %s: %s", job.key, job.function, end, said, exc_info=info(error) if caused else None,
    )  # fmt: skip


def info(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """An error in the form that logging takes without evaluating its truth value, which would run code of its class."""
    return type(error), error, error.__traceback__
