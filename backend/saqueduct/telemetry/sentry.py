"""Sentry: errors of jobs with their context, and check-ins of schedules.

Used where the application has called `sentry_sdk.init` before its workers are built. Each attempt has a scope of its
own, which names the job and never its arguments. A job's failure is reported when no attempt is left.
"""

import math
import re
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from saq.job import Status

from saqueduct.schedules.schedule import Schedule
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.job_meta import SCHEDULE

LONGEST_SLUG = 50
"""Characters of the name of a monitor, see Sentry's documentation of Crons."""

_SCOPE = "saqueduct.sentry_scope"
"""Entry of a job's context: what leaves its scope."""


def is_used() -> bool:
    """True when the application has initialized Sentry."""
    # Not imported for its sake: an application that has not imported it cannot have initialized it.
    sdk = sys.modules.get("sentry_sdk")
    return sdk is not None and sdk.is_initialized()


class SentryReporter:
    """Reports the jobs of the workers of this process.

    Args:
        tasks: of the workers; their schedules are monitored.
        timezone: IANA name of the time zone of crons without one.
    """

    def __init__(self, tasks: Iterable[TaskDefinition], timezone: str) -> None:
        self._monitors = {
            schedule.key: (slug(schedule.key), monitor_of(schedule, timezone, task.defaults.timeout))
            for task in tasks
            for schedule in task.schedules
        }

    def before(self) -> Callable[[Any], Awaitable[None]]:
        """The hook before an attempt: its scope, and the check-in of its schedule."""
        import sentry_sdk

        async def started(ctx: Any) -> None:
            job = ctx["job"]
            leave = sentry_sdk.isolation_scope()
            scope = leave.__enter__()
            ctx[_SCOPE] = leave
            scope.set_transaction_name(job.function)
            scope.set_tag("saqueduct.task", job.function)
            scope.set_tag("saqueduct.queue", job.get_queue().name)
            scope.set_tag("saqueduct.job", job.key)
            scope.set_context(
                "job", {"key": job.key, "task": job.function, "attempt": job.attempts, "attempts_allowed": job.retries}
            )
            scope.add_event_processor(_without_retried)
            if job.attempts == 1:
                self._check_in(job, "in_progress")

        return started

    def after(self) -> Callable[[Any], Awaitable[None]]:
        """The hook after an attempt: its failure, if no attempt is left."""
        import sentry_sdk

        async def ended(ctx: Any) -> None:
            job, error, leave = ctx["job"], ctx.get("exception"), ctx.pop(_SCOPE, None)
            try:
                if error is not None and job.status == Status.FAILED:
                    sentry_sdk.capture_exception(error)
                if job.status in (Status.COMPLETE, Status.FAILED, Status.ABORTED):
                    self._check_in(job, "ok" if job.status == Status.COMPLETE else "error")
            finally:
                if leave is not None:
                    leave.__exit__(None, None, None)

        return ended

    def _check_in(self, job: Any, status: str) -> None:
        monitor = self._monitors.get(job.meta.get(SCHEDULE)) if job.meta else None
        if monitor is None:
            return
        from sentry_sdk.crons import capture_checkin

        duration = (job.completed - job.started) / 1000 if status != "in_progress" and job.started else None
        capture_checkin(
            monitor_slug=monitor[0],
            check_in_id=uuid.uuid5(uuid.NAMESPACE_URL, f"{job.key}|{job.queued}").hex,
            status=status,
            duration=duration,
            monitor_config=monitor[1],  # type: ignore[arg-type]
        )


def slug(key: str) -> str:
    """The name of a schedule's monitor.

    >>> slug("Weekly report: Berlin")
    'weekly-report-berlin'
    """
    return re.sub(r"[^a-z0-9_-]+", "-", key.lower()).strip("-")[:LONGEST_SLUG]


def monitor_of(schedule: Schedule, timezone: str, timeout: float | None) -> dict[str, Any] | None:
    """The configuration with which Sentry makes the monitor; None: it has no such schedules, with seconds.

    >>> monitor_of(Schedule(cron="0 3 * * *"), "UTC", 600)
    {'schedule': {'type': 'crontab', 'value': '0 3 * * *'}, 'timezone': 'UTC', 'max_runtime': 10}
    """
    limit = {"max_runtime": math.ceil(timeout / 60)} if timeout else {}
    if schedule.cron is not None:
        if len(schedule.cron.split()) != 5:
            return None
        timing: dict[str, Any] = {"type": "crontab", "value": schedule.cron}
        return {"schedule": timing, "timezone": schedule.timezone or timezone, **limit}
    minutes = (schedule.interval or 0) / 60
    if minutes < 1 or minutes != int(minutes):
        return None
    return {"schedule": {"type": "interval", "value": int(minutes), "unit": "minute"}, **limit}


def _without_retried(event: Any, hint: Any) -> Any:
    """Leave out what the worker logs about attempts that another one follows."""
    return None if getattr(hint.get("log_record"), "again", False) else event
