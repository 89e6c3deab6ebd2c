"""Job records, found and listed."""

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from saq import Job
from saq.job import Status
from sqlalchemy import ColumnElement, Select, literal, select, text, tuple_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.common.text import storable
from saqueduct.errors import InvalidCursor, InvalidSearch
from saqueduct.postgres.base import in_schema
from saqueduct.postgres.models import STATUSES, JobRecord, OutboxJob
from saqueduct.postgres.outage import took_too_long
from saqueduct.postgres.rows import EPOCH, milliseconds
from saqueduct.queue.listing import LIVE
from saqueduct.queue.redacted_view import shown
from saqueduct.tasks.job_meta import TAGS
from saqueduct.tasks.places import place_of

if TYPE_CHECKING:
    from saqueduct.queue.queues import Queues

PAGE = 50
"""Records of a page, unless a call says otherwise."""

LARGEST_PAGE = 500

LONGEST, DEEPEST = 4096, 50
"""Most characters and opening brackets of a search for arguments: more only costs time."""

SEARCH = 15
"""Seconds that a search may take; a filter without an index reads the whole table."""

PLACE = (JobRecord.queued_at, JobRecord.key, JobRecord.queue)


class RecordFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects records; a field that is left out matches all.

    Attributes:
        task: the task's name.
        status: "queued" (waits for another attempt), "complete", "failed" or "aborted".
        queue: the queue's name.
        arguments: values of arguments, by name; a nested one matches if it contains what is given.
        error: text that the error contains, ignoring case.
        tag: one of the job's tags.
        since: enqueued at that time or later; UTC if it has no offset.
        until: enqueued before that time, likewise.

    Raises:
        InvalidSearch: there is no such status, or PostgreSQL has no such text or time.
    """

    task: str | None = None
    status: str | None = None
    queue: str | None = None
    arguments: Mapping[str, Any] | None = None
    error: str | None = None
    tag: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None

    def __post_init__(self) -> None:
        known = (*STATUSES, *(status for status in LIVE if status not in STATUSES))
        if self.status is not None and self.status not in known:
            raise InvalidSearch(f"there is no status {self.status!r}; there are {', '.join(known)}")
        texts = {"task": self.task, "queue": self.queue, "error": self.error, "tag": self.tag}
        for name, value in (*texts.items(), ("arguments", self.arguments)):
            if value is not None and place_of(value, _is_in_no_record) is not None:
                raise InvalidSearch(f"{name}: no record contains NUL or a lone surrogate; leave it out")
        for name, moment in (("since", self.since), ("until", self.until)):
            try:
                if moment is not None:
                    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
                    msgspec.structs.force_setattr(self, name, aware.astimezone(dt.UTC))
            except OverflowError:
                raise InvalidSearch(f"{name}: {moment} is no time between the years 1 and 9999 in UTC") from None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter in SQL."""
        conditions: list[ColumnElement[bool]] = []
        for column, value in ((JobRecord.task, self.task), (JobRecord.queue, self.queue)):
            if value is not None:
                conditions.append(column == value)
        if self.status is not None:
            # A literal: a planner that does not know the value cannot see that a partial index covers it.
            conditions.append(JobRecord.status == literal(self.status, literal_execute=True))
        if self.arguments is not None:
            conditions.append(JobRecord.arguments.contains(dict(self.arguments)))
        if self.error is not None:
            conditions.append(JobRecord.error.icontains(self.error, autoescape=True))
        if self.tag is not None:
            conditions.append(JobRecord.tags.contains([self.tag]))
        if self.since is not None:
            conditions.append(JobRecord.queued_at >= self.since)
        if self.until is not None:
            conditions.append(JobRecord.queued_at < self.until)
        return conditions

    def matches(self, job: Job) -> bool:
        """True for a job that matches, by what callers may see of it: a filter must not help to guess a redacted
        value."""
        queued, fields = EPOCH + dt.timedelta(milliseconds=job.queued), {"function": job.function, "error": job.error}
        visible = shown(job.get_queue(), {**fields, "kwargs": job.kwargs})
        return (
            self.task in (None, job.function)
            and self.status in (None, job.status.value)
            and self.queue in (None, job.get_queue().name)
            and _holds(visible["kwargs"] or {}, self.arguments or {})
            and (self.error is None or self.error.lower() in (visible["error"] or "").lower())
            and (self.tag is None or self.tag in job.meta.get(TAGS, ()))
            and (self.since is None or queued >= self.since)
            and (self.until is None or queued < self.until)
        )


def _is_in_no_record(leaf: Any) -> bool:
    return isinstance(leaf, str) and storable(leaf) != leaf


def _holds(value: Any, part: Any) -> bool:
    """True when a JSON value contains another one, as PostgreSQL's `@>` defines it."""
    if isinstance(part, Mapping):
        return isinstance(value, Mapping) and all(name in value and _holds(value[name], part[name]) for name in part)
    if isinstance(part, list):
        return isinstance(value, list) and all(any(_holds(each, wanted) for each in value) for wanted in part)
    # 1 and True are equal in Python, and not in JSON.
    return isinstance(value, bool) == isinstance(part, bool) and bool(value == part)


def arguments_of(search: str | None) -> dict[str, Any] | None:
    """The arguments of a search: a JSON object, or `name=value` pairs separated by commas.

    >>> arguments_of('user_id=7,city=Bonn')
    {'user_id': 7, 'city': 'Bonn'}

    Raises:
        InvalidSearch: it is neither of the two.
    """
    if search is None or not search.strip():
        return None
    if len(search) > LONGEST or search.count("[") + search.count("{") > DEEPEST:
        raise InvalidSearch(f"the arguments take at most {LONGEST} characters and {DEEPEST} brackets: search for fewer")
    try:
        found = msgspec.json.decode(search)
        if isinstance(found, dict):
            return found
    except msgspec.DecodeError:
        pass
    pairs = [part.partition("=") for part in search.split(",")]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise InvalidSearch(
            f'cannot read the arguments {search!r}: give a JSON object, {{"user_id": 7}}, or pairs, user_id=7,city=Bonn'
        )
    names = [name.strip() for name, _, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidSearch(f"the arguments name {', '.join(twice)} more than once: search for one value of each")
    return {name: _value(value) for name, (_, _, value) in zip(names, pairs, strict=True)}


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


class Page(NamedTuple):
    """Some records, newest first, and where the next page begins (None: there is none)."""

    records: Sequence[JobRecord]
    cursor: str | None


class JobHistory:
    """Finds job records.

    Args:
        session: of the caller.
        schema: of the tables; None: what the `search_path` of the session's connection finds.
    """

    def __init__(self, session: AsyncSession, schema: str | None = None) -> None:
        self._session = session
        self._options = in_schema(schema)

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

    async def page(self, which: RecordFilter, cursor: str | None = None, limit: int = PAGE) -> Page:
        """A page of records, newest first.

        Args:
            which: the filter.
            cursor: of the page before; None: the first page.
            limit: records at most, up to LARGEST_PAGE.

        Raises:
            InvalidCursor: the cursor was not returned by this method.
            InvalidSearch: the search takes longer than SEARCH.
        """
        return await self._page(which.conditions(), cursor, limit)

    async def dead_letters(self, which: RecordFilter, cursor: str | None = None, limit: int = PAGE) -> Page:
        """A page of dead letters that wait to be replayed or discarded. Arguments and errors as `page`."""
        return await self._page([*which.conditions(), *DEAD], cursor, limit)

    async def _page(self, conditions: list[ColumnElement[bool]], cursor: str | None, limit: int) -> Page:
        limit = max(1, min(limit, LARGEST_PAGE))
        query = select(JobRecord).where(*conditions)
        if cursor is not None:
            query = query.where(tuple_(*PLACE) < tuple_(*_decoded(cursor)))
        query = query.order_by(*(column.desc() for column in PLACE)).limit(limit + 1)
        records = await self._searched(query)
        more = len(records) > limit
        return Page(records[:limit], _encoded(records[limit - 1]) if more else None)

    async def _searched(self, query: Select[JobRecord]) -> Sequence[JobRecord]:
        await self._session.execute(text(f"SET LOCAL statement_timeout TO '{SEARCH}s'"))
        try:
            return (await self._session.scalars(query, execution_options=self._options)).all()
        except DBAPIError as error:
            if not took_too_long(error):
                raise
            raise InvalidSearch(
                f"the search takes longer than {SEARCH} seconds: narrow it by status, task, since or until"
            ) from None


DEAD = (JobRecord.status == literal("failed", literal_execute=True), JobRecord.resolution.is_(None))
"""What makes a record a dead letter."""


def _place(row: OutboxJob) -> tuple[int, int]:
    return row.queued, row.round


def _encoded(record: JobRecord) -> str:
    place = (milliseconds(record.queued_at), record.key, record.queue)
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[dt.datetime, str, str]:
    try:
        encoded = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        queued, key, queue = msgspec.json.decode(encoded, type=tuple[int, str, str])
        if "\x00" not in key + queue:
            return EPOCH + dt.timedelta(milliseconds=queued), key, queue
    except (ValueError, OverflowError, msgspec.DecodeError):
        pass
    raise InvalidCursor(cursor)
