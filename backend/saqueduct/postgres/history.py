"""Job records, found and listed."""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from saq import Job
from saq.job import Status
from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.common.moments import EPOCH, milliseconds
from saqueduct.common.text import storable
from saqueduct.errors import InvalidSearch
from saqueduct.postgres.base import in_schema
from saqueduct.postgres.hidden_values import without_hidden
from saqueduct.postgres.index_order import in_index_order
from saqueduct.postgres.local_settings import local_settings
from saqueduct.postgres.models import JobRecord, OutboxJob
from saqueduct.postgres.outage import took_too_long
from saqueduct.postgres.patience import rows_within
from saqueduct.postgres.record_filter import LARGEST_PAGE, PAGE, RecordFilter
from saqueduct.postgres.record_places import PLACE, Place, before, decoded, down_to, encoded
from saqueduct.postgres.search_bounds import indexed_until, is_found, is_found_dead
from saqueduct.queue.redacted_view import RedactedView
from saqueduct.tasks.definition import TaskLookup
from saqueduct.timings import PostgresTimings

if TYPE_CHECKING:
    from saqueduct.queue.queues import Queues

ERROR_END = 2_000
"""Characters of errors that are read to group them."""


class RecordsPage(NamedTuple):
    """Some records, newest first."""

    records: Sequence[JobRecord]
    cursor: str | None
    """Where the next page begins; None: there is none."""
    searched_since: dt.datetime | None = None
    """The page has the records that were enqueued since then, and the search goes on at its cursor; None: it has as
    many as were asked for, or is the last."""


class JobHistory:
    """Finds job records.

    Args:
        session: of the caller.
        schema: of the tables; None: what the `search_path` of the session's connection finds.
        timings: how long searches may take.
        tasks: whose redacted values no search must help to guess, also where older records have them; None: any value
            is found.
    """

    def __init__(
        self,
        session: AsyncSession,
        schema: str | None = None,
        timings: PostgresTimings | None = None,
        tasks: TaskLookup | None = None,
    ) -> None:
        self._session = session
        self._tasks = tasks
        self._timings = timings or PostgresTimings()
        self._options = in_schema(schema)

    @property
    def _counting(self) -> int:
        """Milliseconds that the counts of a page may take."""
        return max(1, round(self._timings.count * 1000))

    @property
    def _searching(self) -> int:
        """Milliseconds that a search may take."""
        # 0 would mean no limit.
        return max(1, round(self._timings.search * 1000))

    async def find(self, key: str, limit: int = PAGE, queue: str | None = None) -> Sequence[JobRecord]:
        """The records of the jobs that had this key, in one queue or in any, newest first; empty if there are none."""
        if storable(key) != key:
            return []
        query = select(JobRecord).where(JobRecord.key == key).order_by(JobRecord.queued_at.desc()).limit(limit)
        if queue is not None:
            query = query.where(JobRecord.queue == queue)
        return (await self._session.scalars(query, execution_options=self._options)).all()

    async def latest(self, key: str, queue: str | None = None) -> JobRecord | None:
        """The record of the last job that had this key, in one queue or in any."""
        return next(iter(await self.find(key, 1, queue)), None)

    async def unpublished(self, key: str, queues: "Queues", queue: str | None = None) -> "Job | None":
        """The last job of this key that only PostgreSQL has, as a new one: it waits in the outbox for Redis, or Redis
        has lost it. Ask Redis first.
        """
        if storable(key) != key:
            return None
        query = select(OutboxJob).where(OutboxJob.key == key, OutboxJob.queue.in_(queues.by_name))
        if queue is not None:
            query = query.where(OutboxJob.queue == queue)
        query = query.order_by(OutboxJob.queued.desc()).limit(1)
        row = await self._session.scalar(query, execution_options=self._options)
        record = await self.latest(key, queue) if row is not None else None
        if row is None or (record is not None and _place(row) <= (milliseconds(record.queued_at), record.round)):
            return None
        job = queues.get(row.queue).read(key, row.job)
        job.status = Status.NEW
        return job

    async def replays(self, key: str, queue: str | None = None) -> Sequence[JobRecord]:
        """The records of the jobs that replay a dead letter, one after the other, oldest first."""
        found: list[JobRecord] = []
        record = await self.latest(key, queue)
        while record is not None and record.replayed_as is not None and len(found) < PAGE:
            record = await self.latest(record.replayed_as)
            if record is not None:
                found.append(record)
        return found

    async def page(
        self, which: RecordFilter, cursor: str | None = None, limit: int = PAGE, portion: int | None = None
    ) -> RecordsPage:
        """A page of records, newest first.

        Args:
            which: the filter.
            cursor: of the page before; None: the first page.
            limit: records at most, up to LARGEST_PAGE.
            portion: records that the page reads at most where no index finds what matches: it may then have few, or
                none, although others follow at its cursor. None: it reads on until it is full.

        Raises:
            InvalidCursor: the cursor was not returned by this method.
            InvalidSearch: the search takes longer than `PostgresTimings.search`.
        """
        return await self._bounded(which, cursor, limit, None if is_found(which) else portion)

    async def page_of(
        self,
        parts: Sequence[RecordFilter],
        cursor: str | None = None,
        limit: int = PAGE,
        portion: int | None = None,
    ) -> RecordsPage:
        """A page of the records that match one of several filters. Arguments and errors as `page`.

        Args:
            parts: filters whose times do not overlap, the newest first; `portion` counts where it is only one.
        """
        [first, *more] = parts
        if not more:
            return await self.page(first, cursor, limit, portion)
        after = None if cursor is None else decoded(cursor)
        async with local_settings(self._session, {"statement_timeout": f"{self._searching}ms"}):
            return await self._page([conditions(part, self._tasks) for part in parts], after, limit)

    async def newest(self, which: RecordFilter, most: int) -> dt.datetime | None:
        """The time of enqueue from which on a filter has `most` records before `until`; None: it has fewer in all.

        Args:
            which: whose `until` counts, and nothing else.
            most: records.
        """
        query = select(JobRecord.queued_at).order_by(JobRecord.queued_at.desc()).offset(most).limit(1)
        if which.until is not None:
            query = query.where(JobRecord.queued_at < which.until)
        return await self._session.scalar(query, execution_options=self._options)

    async def counts(
        self, parts: Sequence[RecordFilter], statuses: Sequence[str], most: int, within: int | None = None
    ) -> dict[str, int] | None:
        """How many records with each status match, `most` at most; None: it takes longer than `within`.

        Args:
            parts: filters whose times do not overlap; their own status does not count.
            statuses: of records.
            most: records of a status that are counted.
            within: milliseconds; `PostgresTimings.count` by default.
        """
        others = [conditions(msgspec.structs.replace(part, status=None), self._tasks) for part in parts]
        counts = []
        for status in statuses:
            own = JobRecord.status == literal(status, literal_execute=True)
            matching = [select(literal(1).label("one")).where(*each, own) for each in others]
            some = union_all(*matching).limit(most).subquery()
            counts.append(
                select(literal(status).label("status"), select(func.count()).select_from(some).scalar_subquery())
            )
        within = self._counting if within is None else within
        found = await rows_within(within, self._session, union_all(*counts), options=self._options)
        return None if found is None else {row[0]: row[1] for row in found}

    async def children(self, key: str, since: dt.datetime, until: dt.datetime, most: int) -> Sequence[JobRecord] | None:
        """The records of jobs that a job enqueued, oldest first; None: to find them takes longer than a count may.

        Args:
            key: of the job.
            since, until: times of enqueue to look at; there is no index of parents.
            most: records.
        """
        if storable(key) != key:
            return []
        within = (JobRecord.queued_at >= since, JobRecord.queued_at <= until)
        query = select(JobRecord).where(JobRecord.parent == key, *within).order_by(*PLACE).limit(most)
        found = await rows_within(self._counting, self._session, query, options=self._options)
        return None if found is None else [row[0] for row in found]

    async def dead_letters(
        self, which: RecordFilter, cursor: str | None = None, limit: int = PAGE, portion: int | None = None
    ) -> RecordsPage:
        """A page of dead letters that wait to be replayed or discarded. Arguments and errors as `page`; `portion` is of
        dead letters."""
        return await self._bounded(which, cursor, limit, None if is_found_dead(which) else portion, DEAD)

    async def dead_errors(
        self, which: RecordFilter, most: int
    ) -> Sequence[tuple[str, str | None, dt.datetime, str | None]]:
        """Task, end of the error, time of enqueue and version of the newest dead letters that match, without
        those that have values which their task redacts by now, as no search for an error finds them.

        Args:
            which: the filter.
            most: dead letters.
        """
        view = RedactedView(self._tasks)
        # Its end names the exception. Of a value that is cut the rest would not be found.
        redacting = JobRecord.task.in_(view.redacting)
        error = case((redacting, JobRecord.error), else_=func.right(JobRecord.error, ERROR_END))
        arguments = case((redacting, JobRecord.arguments))
        version = JobRecord.errors[-1]["version"].astext
        query = select(JobRecord.task, error, arguments, JobRecord.queued_at, version)
        # As a search for a part of their error, which finds the dead letters of a group.
        by_error = msgspec.structs.replace(which, error=which.error or "")
        hidden = [] if self._tasks is None else without_hidden(by_error, self._tasks)
        query = query.where(*conditions(which, self._tasks), *hidden, *DEAD)
        query = query.order_by(*(column.desc() for column in PLACE)).limit(most)
        async with in_index_order(self._session, which, self._searching):
            rows = await self._session.execute(query, execution_options=self._options)
        found: list[Any] = list(rows)
        return [(task, view.error_of(task, error, given), at, version) for task, error, given, at, version in found]

    async def _bounded(
        self,
        which: RecordFilter,
        cursor: str | None,
        limit: int,
        portion: int | None,
        among: Sequence[ColumnElement[bool]] = (),
    ) -> RecordsPage:
        """A page of the records among some that have an index; `portion` counts those. Otherwise as `page`."""
        after = None if cursor is None else decoded(cursor)
        async with in_index_order(self._session, which, self._searching):
            last = None if portion is None else await self._last_of(which, after, portion, among)
            page = await self._page([[*conditions(which, self._tasks), *among, *down_to(last)]], after, limit)
        if last is None or page.cursor is not None:
            return page
        return RecordsPage(page.records, encoded(*last), last[0])

    async def _last_of(
        self, which: RecordFilter, after: Place | None, portion: int, among: Sequence[ColumnElement[bool]]
    ) -> Place | None:
        """The place of the last record that a page reads; None: fewer are left that no index finds."""
        query = select(*PLACE).where(*among, *before(after)).order_by(*(column.desc() for column in PLACE))
        if which.until is not None:
            query = query.where(JobRecord.queued_at < which.until)
        # No index has the text of any day, nor the error of the dead letters of any.
        everywhere = which.text is not None or (which.error is not None and bool(among))
        first = which.since if everywhere else max(which.since or EPOCH, indexed_until(self._timings))
        if first is not None:
            query = query.where(JobRecord.queued_at >= first)
        query = query.offset(max(1, portion) - 1).limit(1)
        row = (await self._session.execute(query, execution_options=self._options)).one_or_none()
        return None if row is None else (row[0], row[1], row[2])

    async def _page(self, parts: Sequence[list[ColumnElement[bool]]], after: Place | None, limit: int) -> RecordsPage:
        limit = max(1, min(limit, LARGEST_PAGE))
        records: list[JobRecord] = []
        for part in parts:
            query = select(JobRecord).where(*part, *before(after)).order_by(*(column.desc() for column in PLACE))
            records += await self._searched(query.limit(limit + 1 - len(records)))
            if len(records) > limit:
                break
        more = len(records) > limit
        if not more:
            return RecordsPage(records, None)
        last = records[limit - 1]
        return RecordsPage(records[:limit], encoded(last.queued_at, last.key, last.queue))

    async def _searched(self, query: Select[JobRecord]) -> Sequence[JobRecord]:
        try:
            return (await self._session.scalars(query, execution_options=self._options)).all()
        except DBAPIError as error:
            if not took_too_long(error):
                raise
            raise InvalidSearch(
                f"the search takes longer than {self._timings.search:g} seconds: "
                "narrow it by status, task, since or until"
            ) from None


DEAD = (JobRecord.status == literal("failed", literal_execute=True), JobRecord.resolution.is_(None))
"""What makes a record a dead letter."""


def conditions(which: RecordFilter, tasks: TaskLookup | None = None) -> list[ColumnElement[bool]]:
    """A filter in SQL; with `tasks` it does not help to guess what they redact."""
    found = [] if tasks is None else list(without_hidden(which, tasks))
    for column, value in ((JobRecord.task, which.task), (JobRecord.queue, which.queue)):
        if value is not None:
            found.append(column == value)
    if which.status is not None:
        # A literal: a planner that does not know the value cannot see that a partial index covers it.
        found.append(JobRecord.status == literal(which.status, literal_execute=True))
    if which.arguments is not None:
        found.append(JobRecord.arguments.contains(dict(which.arguments)))
    if which.error is not None:
        found.append(JobRecord.error.icontains(which.error, autoescape=True))
        if which.status is None:
            # Complete jobs have no error; the others have an index.
            found.append(JobRecord.status != literal("complete", literal_execute=True))
    if which.tag is not None:
        found.append(JobRecord.tags.contains([which.tag]))
    if which.trace is not None:
        # Attempts have traces of their own, unless they are children of what enqueued them.
        of_attempt = func.substr(JobRecord.attempt_trace, 4, 32, type_=Text) == which.trace
        # Where no attempt has a trace, only the first of the two lets the planner know that the second finds nothing.
        found.append(or_(JobRecord.trace_id == which.trace, and_(JobRecord.attempt_trace.is_not(None), of_attempt)))
    if which.text is not None:
        in_arguments = cast(JobRecord.arguments, Text).icontains(which.text, autoescape=True)
        found.append(or_(in_arguments, JobRecord.error.icontains(which.text, autoescape=True)))
    if which.since is not None:
        found.append(JobRecord.queued_at >= which.since)
    if which.until is not None:
        found.append(JobRecord.queued_at < which.until)
    return found


def _place(row: OutboxJob) -> tuple[int, int]:
    return row.queued, row.round
