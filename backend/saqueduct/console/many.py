"""One action on all jobs that match: counted first, and carried out by a job."""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Response

from saqueduct.common.clock import time_now
from saqueduct.console.forms import Form
from saqueduct.console.job_rows import COUNTED, bounded
from saqueduct.console.view import View
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.queue.listing import LIVE, JobListing, LiveState

if TYPE_CHECKING:
    from saqueduct.postgres.changes import Change
    from saqueduct.postgres.dead_letters import DeadLetters

TASK: Final = "change_jobs"
"""Name of the task of the library that does it."""

RETRIED: Final = ("failed", "aborted")
"""Statuses of the jobs that are retried where none is chosen."""


async def begun(view: View, form: Form, change: "Change", which: RecordFilter) -> Response[Any]:
    """Enqueue the job that changes all that match, with its entry in the audit; lead to its page.

    The job and the entry are written in one transaction. The job is durable: it survives a closed tab, a restart of
    this process and of workers, and the loss of Redis.
    """
    # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
    from saqueduct.postgres.changes import KINDS

    given = {
        "change": change,
        "which": which,
        "before": dt.datetime.fromtimestamp(time_now(), dt.UTC),
        "by": view.person.name,
        "why": form.reason(),
        "count": _whole(form.text("count")),
    }
    async with view.dead_letters() as letters:
        if (refused := await refusal(view, form, letters)) is not None:
            return refused
        job = await letters.enqueue(TASK, given)
        # The job counts in it.
        filter_, why = which.described(), given["why"]
        await letters.audit.add(view.entry(change, KINDS[change], [job.key], filter=filter_, why=why, count=None))
    page = view.url("job", key=job.key, queue=job.get_queue().name)
    return view.done("A job does it; its progress and result are here.", page)


async def refusal(view: View, form: Form, letters: "DeadLetters") -> Response[Any] | None:
    """The answer while another job changes or replays many; None: none does, and none begins before this transaction
    ends.
    """
    # Here, as above.
    from saqueduct.postgres.changes import under_way

    schema = None if view.queues.store is None else view.queues.store.schema
    if (other := await under_way(letters.session, schema)) is None:
        return None
    text = "Another such job waits or runs: nothing was begun. Wait for it, or abort it."
    return view.done(text, form.text("back"), kind="error", link=view.url("job", key=other), label="See it")


async def counted(view: View, change: "Change", which: RecordFilter) -> int:
    """How many jobs an action would change, COUNTED of each status at most."""
    if change == "abort":
        state = LIVE.get(which.status or "")
        states: Sequence[LiveState] = (state,) if state else ("waiting", "active")
        return sum([await _listed(view, which, each) for each in states])
    statuses = RETRIED if which.status is None else (which.status,)
    async with view.history() as history:
        counts = await history.counts([which], statuses, COUNTED)
    return COUNTED if counts is None else sum(counts.values())


async def searched(view: View, change: "Change", which: RecordFilter) -> tuple[RecordFilter, bool]:
    """The filter of the list, and True where it searches for text among the newest records only."""
    if change == "abort":
        return which, False
    async with view.history() as history:
        return await bounded(view, history, which)


async def _listed(view: View, which: RecordFilter, state: LiveState) -> int:
    queues = list(view.queues) if which.queue is None else [view.queues.look_up(which.queue)]
    wanted = msgspec.structs.replace(which, status=None).matches
    listing = JobListing(queues, state)
    found = await listing.page(lambda job: job.function != TASK and wanted(job), None, COUNTED, which.words)
    # It stops after so many entries: then there may be more.
    return len(found.jobs) if found.cursor is None else COUNTED


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0
