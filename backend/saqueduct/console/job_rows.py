"""Lists of jobs for the pages: live ones from Redis, ended ones from their records."""

import asyncio
import dataclasses
import datetime as dt
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from saqueduct.console.search import Search
from saqueduct.console.view import View
from saqueduct.errors import QueueUnavailable
from saqueduct.postgres.job_details import JobDetails
from saqueduct.postgres.outage import outage_in
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.postgres.search_bounds import indexed_until, is_found
from saqueduct.queue.listing import LIVE, JobListing, LiveState

if TYPE_CHECKING:
    from saqueduct.postgres.history import JobHistory

PAGE: Final = 50
"""Jobs of a page."""

LIVE_FIRST: Final = 10
"""Live jobs of each state above the recorded ones, where no status is chosen."""

LOOKED_AT: Final = 1_000
"""Live jobs of each state that are read for a page: more of them would hold up the event loop."""

COUNTED: Final = 10_000
"""Records of a status that are counted."""

RECORDED: Final = ("complete", "failed", "aborted")
"""Statuses of records that the page counts."""


@dataclasses.dataclass(slots=True)
class ListedJobs:
    """A page of jobs.

    Attributes:
        live: jobs that wait or run.
        recorded: jobs from their records, newest first.
        cursor: of the next page; None: there is none.
        counts: records by status, COUNTED at most; None: it would take too long, or there are none.
        capped: True: only the newest `Sizes.searched_records` records were searched.
        gap: end of the days with indexes, where of later records only the newest were searched; None: all.
        gap_failed: True: and those that failed.
        away: True: PostgreSQL does not answer, and the ended jobs are not shown.
        more_live: True: only the first LOOKED_AT jobs that run, or that wait, were searched.
    """

    live: Sequence[JobDetails] = ()
    recorded: Sequence[JobDetails] = ()
    cursor: str | None = None
    counts: Mapping[str, int] | None = None
    capped: bool = False
    gap: dt.datetime | None = None
    gap_failed: bool = False
    away: bool = False
    more_live: bool = False


async def page_of(
    view: View,
    search: Search,
    cursor: str | None,
    limit: int = PAGE,
    look_at: int = LOOKED_AT,
    *,
    recorded: bool = True,
    whole: bool = False,
) -> ListedJobs:
    """The jobs that a search finds.

    Args:
        view: of the request.
        search: what to find.
        cursor: of the page before; None: the first page.
        limit: jobs at most, of the live and of the recorded ones.
        look_at: live jobs of each state that are read at most.
        recorded: False: without the ended ones, which PostgreSQL has.
        whole: True: no record is left out but by a search for text; a page may then have few jobs, or none, although
            others follow.

    Raises:
        InvalidCursor, InvalidSearch, UnknownQueue, QueueUnavailable: see `JobHistory.page` and `JobListing.page`.
    """
    page = ListedJobs(away=not recorded)
    # Redis and PostgreSQL search at the same time.
    searches = [asyncio.create_task(_add_live(view, page, search.which, cursor, limit, look_at))]
    if view.keeps_records and recorded:
        searches.append(asyncio.create_task(_add_recorded(view, page, search.which, cursor, limit, whole)))
    try:
        await asyncio.gather(*searches)
    finally:
        await _end(*searches)
    return page


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel those that still run, of which nobody needs the results any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def page_without_history(view: View, search: Search, cursor: str | None) -> ListedJobs:
    """As `page_of`; while PostgreSQL does not answer, the live jobs alone.

    Raises:
        InvalidCursor, InvalidSearch, UnknownQueue, QueueUnavailable: as `page_of`.
    """
    # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
    from saqueduct.postgres.outbox import DATABASE_AWAY

    page = asyncio.create_task(page_of(view, search, cursor))
    try:
        if (await view.snapshot()).database.up is not False:
            return await page
    except DATABASE_AWAY as error:
        if not outage_in(error):
            raise
    finally:
        await _end(page)
    return await page_of(view, search, cursor, recorded=False)


async def _add_live(
    view: View, page: ListedJobs, which: RecordFilter, cursor: str | None, limit: int, look_at: int
) -> None:
    if (state := LIVE.get(which.status or "")) is not None:
        page.live, page.cursor = await _live(view, which, state, cursor, limit, look_at)
    elif which.status is None and cursor is None and (await view.snapshot()).redis_up:
        for each in ("active", "waiting"):
            found, following = await _live(view, which, each, None, LIVE_FIRST, look_at)
            page.live = [*page.live, *found]
            page.more_live |= following is not None and len(found) < LIVE_FIRST


async def _add_recorded(
    view: View, page: ListedJobs, which: RecordFilter, cursor: str | None, limit: int, whole: bool
) -> None:
    parts = await _parts(view, which, whole)
    page.capped, page.gap, page.gap_failed = parts.capped, parts.gap, parts.failed is not None
    if which.status in LIVE:
        page.counts = await _counts(view, parts)
        return
    if which.text is None:
        page.counts, recorded = await asyncio.gather(_counts(view, parts), _recorded(view, parts, cursor, limit))
        page.recorded, page.cursor = recorded
        return
    # Both would read the same records: where all that match are on the page, it says how many those are.
    page.recorded, page.cursor = await _recorded(view, parts, cursor, limit)
    if which.status is None and cursor is None and page.cursor is None:
        found = Counter(job.status for job in page.recorded)
        page.counts = {status: found[status] for status in RECORDED}
    else:
        page.counts = await _counts(view, parts)


async def _counts(view: View, parts: "Parts") -> Mapping[str, int] | None:
    within = round(view.timings.count * 1000)
    async with view.history() as history:
        counts = await history.counts(parts.filters, RECORDED, COUNTED, within)
        if counts is None or parts.failed is None:
            return counts
        further = await history.counts([parts.failed], ["failed"], COUNTED, within)
    if further is None:
        return None
    return {**counts, "failed": min(COUNTED, counts["failed"] + further["failed"])}


async def _recorded(view: View, parts: "Parts", cursor: str | None, limit: int) -> tuple[list[JobDetails], str | None]:
    async with view.history() as history:
        page = await history.page_of(parts.listed, cursor, limit, parts.portion)
        return [JobDetails.of_record(view.queues, record) for record in page.records], page.cursor


class Parts(NamedTuple):
    """What of the records is searched, and what that leaves out, see `ListedJobs`."""

    filters: Sequence[RecordFilter]
    capped: bool = False
    gap: dt.datetime | None = None
    failed: RecordFilter | None = None
    """Those that failed of what the others leave out."""
    portion: int | None = None
    """Records that one page reads, see `JobHistory.page`; None: all that there are."""

    @property
    def listed(self) -> list[RecordFilter]:
        """All filters, the newest first."""
        first, *older = self.filters
        return [first, *([self.failed] if self.failed else []), *older]


async def _parts(view: View, which: RecordFilter, whole: bool) -> Parts:
    """A filter, or several of them that leave out records which no index helps to find; see `page_of` for `whole`."""
    if is_found(which):
        return Parts([which])
    if whole and which.text is None:
        return Parts([which], portion=view.sizes.searched_records)
    since = await newest_of(view, which)
    if since is None or (which.since is not None and which.since >= since):
        return Parts([which])
    newest = msgspec.structs.replace(which, since=since)
    if which.text is not None:
        return Parts([newest], capped=True)
    end = indexed_until(view.saqueduct.config.timings.postgres)
    if since <= end:
        return Parts([which])
    older = msgspec.structs.replace(which, until=end if which.until is None else min(which.until, end))
    failed = None
    if which.task is not None and which.status is None and is_found(msgspec.structs.replace(which, status="failed")):
        begin = end if which.since is None else max(which.since, end)
        failed = msgspec.structs.replace(which, status="failed", since=begin, until=since)
    return Parts([newest, older], gap=end, failed=failed)


async def newest_of(view: View, which: RecordFilter) -> dt.datetime | None:
    """As `JobHistory.newest`; without an end remembered for all viewers, so that some more are searched."""
    now, remembered = time.monotonic(), view.console.newest
    if which.until is None and remembered is not None and remembered[0] >= now - view.timings.newest_kept:
        return remembered[1]
    async with view.history() as history:
        found = await history.newest(which, view.sizes.searched_records)
    if which.until is None:
        view.console.newest = (now, found)
    return found


async def _live(
    view: View, which: RecordFilter, state: LiveState, cursor: str | None, limit: int, look_at: int
) -> tuple[list[JobDetails], str | None]:
    queues = list(view.queues) if which.queue is None else [view.queues.look_up(which.queue)]
    if not (await view.snapshot()).redis_up:
        raise QueueUnavailable("Redis does not answer")
    # The status is that of the listing: a job that waits for another attempt is queued.
    listing = JobListing(queues, state, look_at=look_at)
    found = await listing.page(msgspec.structs.replace(which, status=None).matches, cursor, limit, which.words)
    return [JobDetails.of_job(job) for job in found.jobs], found.cursor


async def bounded(view: View, history: "JobHistory", which: RecordFilter) -> tuple[RecordFilter, bool]:
    """The filter, and True where it searches for text: then only among the newest records."""
    if which.text is None:
        return which, False
    since = await history.newest(which, view.sizes.searched_records)
    if since is None or (which.since is not None and which.since >= since):
        return which, False
    return msgspec.structs.replace(which, since=since), True
