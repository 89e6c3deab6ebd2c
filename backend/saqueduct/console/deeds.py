"""Who enqueued a job by hand, and what people did to it since: from the audit, so that no job has to carry it."""

import datetime as dt
from typing import TYPE_CHECKING, Final

from saqueduct.common.moments import CLOCKS
from saqueduct.console.timeline import NONE, Deed, Deeds
from saqueduct.console.view import View
from saqueduct.postgres.job_details import JobDetails

if TYPE_CHECKING:
    from saqueduct.postgres.audit_batches import Action

LATEST: Final = dt.timedelta(minutes=1)
"""After the enqueue, within which its entry is written: the answer to an enqueue does not wait for it."""

PLACES: Final = {"console": "from the console", "http": "over HTTP", "cli": "on the command line"}
"""How each surface of the audit is called in a sentence."""

OF_MANY: Final = ("change_jobs", "replay_dead_letters")
"""Tasks whose jobs change many others: the entry of that action names the job which does it."""


async def deeds_on(view: View, job: JobDetails) -> Deeds:
    """What people did to a job, as far as the audit has it."""
    if not view.keeps_records or job.queued_at is None:
        return NONE
    when = job.queued_at - CLOCKS, job.queued_at + LATEST
    async with view.audit_log() as log:
        actions = await log.of_key(job.key, job.queue, *when)
        # It may have been in another queue.
        replays = await log.of_key(job.replay_of, None, *when) if job.replay_of else ()
    actions = [each for each in actions if not _is_own(each, job)]
    origins = (*(each for each in actions if _is_origin(each, job)), *(each for each in replays if _made(each, job)))
    origin = next(iter(origins), None)
    if origin is not None:
        later = [each for each in actions if each.row.id > origin.row.id]
        return Deeds(_who(origin), [_deed(each) for each in later if _is_of(each, job)])
    later = [each for each in actions if each.at >= job.queued_at]
    return Deeds(await _replayer(view, job), [_deed(each) for each in later if _is_of(each, job)])


async def _replayer(view: View, job: JobDetails) -> str:
    """Who replayed the dead letter of which a job was made, where the audit does not have it: its record does."""
    if not job.replay_of:
        return ""
    async with view.history() as history:
        letters = await history.find(job.replay_of)
    return next((f"by {each.resolved_by}" for each in letters if each.replayed_as == job.key), "")


def _is_own(action: "Action", job: JobDetails) -> bool:
    """True for the entry that a job wrote for what it does to others."""
    return action.row.surface == "job" and not action.in_batch and action.row.targets == [job.key]


def _is_origin(action: "Action", job: JobDetails) -> bool:
    """True for the action that enqueued the job: its key may have been that of other jobs as well."""
    row = action.row
    if not _is_at(action, job):
        return False
    if job.task in OF_MANY and not action.in_batch and row.targets == [job.key]:
        return True
    if row.action == "trigger":
        return row.targets == [job.schedule, job.key]
    return row.action == "enqueue" and _is_of(action, job)


def _made(action: "Action", job: JobDetails) -> bool:
    """True for the action that replayed the dead letter of which the job was made."""
    row = action.row
    replays = row.action == "replay" and row.kind == "dead letter"
    return replays and (action.in_batch or row.targets == [job.replay_of]) and _is_at(action, job)


def _is_at(action: "Action", job: JobDetails) -> bool:
    """True where it was done when the job was enqueued."""
    assert job.queued_at is not None  # noqa: S101
    return job.queued_at - CLOCKS <= action.at <= job.queued_at + LATEST


def _is_of(action: "Action", job: JobDetails) -> bool:
    """True for an action on this job, and not on one of another queue or task, or on a schedule of its key."""
    row = action.row
    if row.kind not in ("job", "dead letter"):
        return False
    return row.queue in (None, job.queue) and row.task in (None, job.task)


def _deed(action: "Action") -> Deed:
    return Deed(action.at, action.row.action, _who(action), action.row.why, action.done)


def _who(action: "Action") -> str:
    row = action.row
    place = f"by the job {row.targets[0]}" if row.surface == "job" else PLACES.get(row.surface, row.surface)
    return f"by {row.person}, {place}"
