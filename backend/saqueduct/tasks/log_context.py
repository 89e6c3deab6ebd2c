"""What lines of the log say about the job and the trace in which they are written; for structlog and for `logging`."""

import logging
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any

from saq import Job

from saqueduct.tasks import current_job
from saqueduct.tasks.job_meta import TRACE_ID

FIELDS = ("job", "task", "queue", "attempt", "trace_id", "span_id")
"""The names of the fields; those that do not apply are left out."""

events = logging.getLogger("saqueduct.jobs")
"""At DEBUG a line for each job that is enqueued, and at the start and the end of each attempt: successful jobs are not
logged by default."""


def log_fields() -> dict[str, Any]:
    """The fields of a line that is written here."""
    job = current_job.job.get()
    if job is None:
        return _span()
    span = _span()
    fields: dict[str, Any] = {"job": job.key, "task": job.function, "queue": job.get_queue().name}
    fields["attempt"] = job.attempts
    if not span and (trace_id := job.meta.get(TRACE_ID)):
        span = {"trace_id": trace_id}
    return fields | span


def _span() -> dict[str, Any]:
    """Trace and span of OpenTelemetry, if the application uses it and they are sampled."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    context = trace.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def add_job(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor that adds the fields to a line; values that it has already stay."""
    for name, value in log_fields().items():
        event.setdefault(name, value)
    return event


class JobLogFilter(logging.Filter):
    """Gives each record of `logging` the fields as attributes, for a format such as `%(job)s`; "" where there is none.

        handler.addFilter(JobLogFilter())

    Add it to handlers: a filter of a logger does not see the records of other loggers. With a `QueueHandler` add it to
    that one, because its listener works in another thread.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        fields = log_fields()
        for name in FIELDS:
            if name not in record.__dict__:
                record.__dict__[name] = fields.get(name, "")
        return True


def log_enqueued(jobs: Sequence[Job]) -> None:
    """Log at DEBUG that these jobs are enqueued."""
    within = current_job.job.get() is not None
    for job in jobs:
        # The line of a job is the line of the job that runs; another one is named in its text.
        extra = None if within else {"job": job.key, "task": job.function, "queue": job.get_queue().name}
        events.debug("job %s of %s enqueued", job.key, job.function, extra=extra)
