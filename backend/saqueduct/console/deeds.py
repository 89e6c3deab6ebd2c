"""Who enqueued a job by hand, and what people did to it since: from the audit, so that no job has to carry it."""

import datetime as dt
from typing import TYPE_CHECKING, Final

from saqueduct.console.timeline import NONE, Deed, Deeds
from saqueduct.console.view import View
from saqueduct.postgres.job_details import JobDetails

if TYPE_CHECKING:
    from saqueduct.postgres.models import AuditRow

CLOCKS: Final = dt.timedelta(seconds=10)
"""By how much the clocks of Redis and PostgreSQL may differ."""

LATEST: Final = dt.timedelta(minutes=1)
"""After the enqueue, within which its entry is written: the answer to an enqueue does not wait for it."""

PLACES: Final = {"console": "from the console", "http": "over HTTP", "cli": "on the command line"}
"""How each surface of the audit is called in a sentence."""


async def deeds_on(view: View, job: JobDetails) -> Deeds:
    """What people did to a job, as far as the audit has it."""
    if not view.keeps_records or job.queued_at is None:
        return NONE
    async with view.audit_log() as log:
        rows = await log.of_key(job.key, job.queued_at - CLOCKS)
        replays = await log.of_key(job.replay_of, job.queued_at - CLOCKS) if job.replay_of else ()
    origin = next((row for row in (*rows, *replays) if _is_origin(row, job)), None)
    if origin is not None:
        later = [row for row in rows if row.id > origin.id]
        return Deeds(_who(origin), [_deed(row) for row in later if _is_of(row, job)])
    later = [row for row in rows if row.at >= job.queued_at]
    return Deeds(await _replayer(view, job), [_deed(row) for row in later if _is_of(row, job)])


async def _replayer(view: View, job: JobDetails) -> str:
    """Who replayed the dead letter of which a job was made, among others: the record of the dead letter has it."""
    if not job.replay_of:
        return ""
    async with view.history() as history:
        letters = await history.find(job.replay_of)
    return next((f"by {each.resolved_by}" for each in letters if each.replayed_as == job.key), "")


def _is_origin(row: "AuditRow", job: JobDetails) -> bool:
    """True for the entry of the action that enqueued the job: its key may have been that of other jobs as well."""
    assert job.queued_at is not None  # noqa: S101
    if not job.queued_at - CLOCKS <= row.at <= job.queued_at + LATEST:
        return False
    if row.action == "replay":
        return row.targets == [job.replay_of] and _is_of(row, job, kind="dead letter")
    if row.action == "trigger":
        return row.targets == [job.schedule, job.key]
    return row.action == "enqueue" and job.key in row.targets and _is_of(row, job)


def _is_of(row: "AuditRow", job: JobDetails, kind: str = "") -> bool:
    """True for an entry about this job, and not about one of another queue or task, or a schedule of its key."""
    if row.kind not in ((kind,) if kind else ("job", "dead letter")):
        return False
    return row.queue in (None, job.queue) and row.task in (None, job.task)


def _deed(row: "AuditRow") -> Deed:
    return Deed(row.at, row.action, _who(row), row.why)


def _who(row: "AuditRow") -> str:
    return f"by {row.person}, {PLACES.get(row.surface, row.surface)}"
