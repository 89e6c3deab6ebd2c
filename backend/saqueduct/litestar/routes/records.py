"""Job records and dead letters over HTTP."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency, Provide
from litestar.exceptions import ValidationException
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from saq import Job

from saqueduct.errors import DuplicateJob, JobNotFound
from saqueduct.litestar.audit import audit_entry
from saqueduct.litestar.routes.answers import OPERATOR, VIEWER, EnqueuedJob, Words, asker
from saqueduct.litestar.routes.times import Time, moment
from saqueduct.litestar.services import QueueServices
from saqueduct.postgres.job_details import JobDetails
from saqueduct.postgres.record_filter import PAGE, WHICH, DeadLetterFilter, RecordFilter, arguments_of
from saqueduct.queue.listing import LIVE, JobListing

if TYPE_CHECKING:
    from saqueduct.postgres.history import RecordsPage

Limit = Annotated[int, QueryParameter(ge=1, le=500, description="jobs of a page")]
Search = Annotated[
    str | None, QueryParameter(description='arguments: a JSON object, {"user_id": 7}, or user_id=7,status="new"')
]


class RecordPage(msgspec.Struct):
    """Some jobs, newest first. A page may have fewer than asked for, or none, while others follow."""

    jobs: list[JobDetails]
    cursor: str | None
    """Of the next page; null: there is none."""
    searched_since: dt.datetime | None = None
    """Only jobs that were enqueued since then were searched, and the next page searches on; null: the page is full, or
    the last, or of live jobs."""


def _page(services: QueueServices, found: "RecordsPage") -> RecordPage:
    jobs = [JobDetails.of_record(services.queues, record) for record in found.records]
    return RecordPage(jobs, found.cursor, found.searched_since)


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a request that replays a dead letter; all of it may be left out."""

    arguments: dict[str, Any] | None = None
    """Replace the job's own arguments, by name."""
    queue: str | None = None
    why: Words = ""
    by: Words = ""
    """Counts only where nobody is signed in."""


class Which(msgspec.Struct, forbid_unknown_fields=True):
    """Selects dead letters: those that match all fields."""

    task: str | None = None
    queue: str | None = None
    arguments: dict[str, Any] | None = None
    """Values of arguments, by name; a nested one matches if it contains what is given."""
    error: str | None = None
    """Text that the error contains, ignoring case."""
    tag: str | None = None
    trace: str | None = None
    """Its trace id, or that of its last attempt."""
    since: str | None = None
    """Enqueued then or later: a time in ISO 8601, in UTC where it has no offset, or a duration before now: 2h, 7d."""
    until: str | None = None
    """Enqueued before then, likewise."""

    def __post_init__(self) -> None:
        self.filter()

    def filter(self) -> DeadLetterFilter:
        """The filter that it makes.

        Raises:
            InvalidSearch: it cannot be read, or leaves no dead letter out.
        """
        times = {name: moment(name, getattr(self, name)) for name in ("since", "until")}
        return DeadLetterFilter(**{**msgspec.structs.asdict(self), **times})


class ReplaySome(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a request that replays the dead letters that match, or with `all` every one."""

    which: Which | None = None
    all: bool = False
    """True instead of `which`: replaying every one must be requested explicitly."""
    arguments: dict[str, Any] | None = None
    queue: str | None = None
    why: Words = ""
    by: Words = ""
    """Counts only where nobody is signed in."""
    rate: Annotated[float, msgspec.Meta(gt=0)] = 50.0
    """Jobs to start per second."""


class Discard(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a request that discards a dead letter; all of it may be left out."""

    why: Words = ""
    by: Words = ""
    """Counts only where nobody is signed in."""


async def record_filter(
    task: FromQuery[str | None] = None,
    status: FromQuery[str | None] = None,
    queue: FromQuery[str | None] = None,
    q: Search = None,
    error: FromQuery[str | None] = None,
    tag: FromQuery[str | None] = None,
    trace: FromQuery[str | None] = None,
    since: Time = None,
    until: Time = None,
) -> RecordFilter:
    """The filter that the query of a request makes."""
    return RecordFilter(
        task=task, status=status, queue=queue, arguments=arguments_of(q), error=error, tag=tag, trace=trace,
        since=moment("since", since), until=moment("until", until),
    )  # fmt: skip


async def dead_letter_filter(
    task: FromQuery[str | None] = None,
    queue: FromQuery[str | None] = None,
    q: Search = None,
    error: FromQuery[str | None] = None,
    tag: FromQuery[str | None] = None,
    trace: FromQuery[str | None] = None,
    since: Time = None,
    until: Time = None,
) -> RecordFilter:
    """As `record_filter`, without the status: all have failed."""
    return await record_filter(task, None, queue, q, error, tag, trace, since, until)


# Not named like a field of a body: Litestar would answer an error in such a field with 500, as an error of the
# dependency.
FILTER = {"wanted": Provide(record_filter)}
DEAD_LETTER_FILTER = {"wanted": Provide(dead_letter_filter)}


class RecordController(Controller):
    """Jobs and their outcomes."""

    path = "/jobs"
    tags = ("Jobs",)
    dependencies = FILTER

    @get(**VIEWER, operation_id="list_jobs")
    async def page(
        self,
        services: NamedDependency[QueueServices],
        wanted: NamedDependency[RecordFilter],
        cursor: FromQuery[str | None] = None,
        limit: Limit = PAGE,
    ) -> RecordPage:
        """Jobs newest first: those that have ended from their records, live ones (`queued`, `active`...) from Redis."""
        if (state := LIVE.get(wanted.status or "")) is not None:
            queues = services.queues
            searched = [queues.look_up(wanted.queue)] if wanted.queue is not None else list(queues)
            found = await JobListing(searched, state).page(wanted.matches, cursor, limit, wanted.words)
            return RecordPage([JobDetails.of_job(job) for job in found.jobs], found.cursor)
        async with services.history() as history:
            return _page(services, await history.page(wanted, cursor, limit, services.searched_records))

    @get("/{key:str}/history", **VIEWER, operation_id="list_job_records")
    async def show(self, key: FromPath[str], services: NamedDependency[QueueServices]) -> list[JobDetails]:
        """All records of a key, newest first, and those of the jobs that replay it."""
        key, queue = services.queues.locate(key)
        async with services.history() as history:
            records = [*await history.replays(key, queue), *await history.find(key, queue=queue)]
            if not records:
                raise JobNotFound(key)
            return [JobDetails.of_record(services.queues, record) for record in records]


class DeadLetterController(Controller):
    """Jobs that failed for good and wait to be replayed or discarded."""

    path = "/dead-letters"
    tags = ("Dead letters",)
    dependencies = DEAD_LETTER_FILTER

    @get(**VIEWER, operation_id="list_dead_letters")
    async def page(
        self,
        services: NamedDependency[QueueServices],
        wanted: NamedDependency[RecordFilter],
        cursor: FromQuery[str | None] = None,
        limit: Limit = PAGE,
    ) -> RecordPage:
        """Dead letters that wait, newest first."""
        async with services.history() as history:
            return _page(services, await history.dead_letters(wanted, cursor, limit, services.searched_records))

    @post("/{key:str}/replay", **OPERATOR, status_code=201, operation_id="replay_dead_letter")
    async def replay(
        self,
        key: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
        data: JSONBody[Replay | None] = None,
    ) -> Response[EnqueuedJob]:
        """Enqueue the job again, with its arguments or changed ones; a dead letter is replayed once."""
        asked = data or Replay()
        async with services.dead_letters() as dead_letters:
            again = await dead_letters.replay(
                key, by=asker(request).by(asked.by), why=asked.why, arguments=asked.arguments, queue=asked.queue
            )
            entry = audit_entry(request, "replay", "dead letter", [key], by=asked.by, why=asked.why)
            await dead_letters.audit.add(entry)
        return Response(EnqueuedJob(again), status_code=201, headers={"Location": services.links.plain(again)})

    @post("/replay", **OPERATOR, status_code=202, operation_id="replay_dead_letters")
    async def replay_some(
        self,
        data: JSONBody[ReplaySome],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
    ) -> Response[EnqueuedJob]:
        """Replay all that match, at a limited rate, by a job; its result says how many, and which could not be
        replayed."""
        if data.all == (data.which is not None):
            raise ValidationException(WHICH)
        if data.queue is not None:
            services.queues.look_up(data.queue)
        given = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not None}
        del given["all"]
        given["by"] = asker(request).by(data.by)
        given["which"] = DeadLetterFilter(all=True) if data.which is None else data.which.filter()
        job = await _enqueue_replay(request, services, data, given)
        return Response(EnqueuedJob(job.key), status_code=202, headers={"Location": services.links.plain(job.key)})

    @delete("/{key:str}", **OPERATOR, operation_id="discard_dead_letter")
    async def discard(
        self,
        key: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
        data: JSONBody[Discard | None] = None,
    ) -> None:
        """Discard the dead letter; the body may say why: {"why": "...", "by": "..."}."""
        asked = data or Discard()
        async with services.dead_letters() as dead_letters:
            await dead_letters.discard(key, by=asker(request).by(asked.by), why=asked.why)
            entry = audit_entry(request, "discard", "dead letter", [key], by=asked.by, why=asked.why)
            await dead_letters.audit.add(entry)


async def _enqueue_replay(
    request: Request[Any, Any, Any], services: QueueServices, data: ReplaySome, given: dict[str, Any]
) -> Job:
    """The job and its entry in the audit commit together; the job then counts in it.

    Raises:
        DuplicateJob: another one replays or changes many.
    """
    # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
    from saqueduct.postgres.changes import REPLAY, under_way

    schema = None if services.queues.store is None else services.queues.store.schema
    which = {"all": True} if data.which is None else msgspec.structs.asdict(data.which)
    which = {name: value for name, value in which.items() if value is not None}
    async with services.dead_letters() as dead_letters:
        if (other := await under_way(dead_letters.session, schema)) is not None:
            raise DuplicateJob(REPLAY, other)
        job = await dead_letters.enqueue(REPLAY, given)
        entry = audit_entry(
            request, "replay", "dead letter", [job.key], by=data.by, why=data.why, filter=which, count=None
        )
        await dead_letters.audit.add(entry)
    return job
