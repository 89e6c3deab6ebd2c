"""Everything that is known about the jobs with a key: from Redis, the outbox and the records."""

from collections.abc import Sequence

import msgspec
from saq import Job

from saqueduct.application import Saqueduct
from saqueduct.broker.outage import answering
from saqueduct.errors import JobNotFound, QueueUnavailable
from saqueduct.postgres.job_details import JobDetails


class KnownJobs(msgspec.Struct, frozen=True):
    """The jobs with a key; false if there is none."""

    redis: JobDetails | None
    outbox: JobDetails | None = None
    """A job that only the outbox has."""
    records: Sequence[JobDetails] = ()
    """Newest first."""
    replays: Sequence[JobDetails] = ()
    """The jobs that replay the last one, oldest first."""
    live: Job | None = None
    """The newest job with all that it carries, while Redis or the outbox has it."""
    redis_away: bool = False
    """True: Redis did not answer, and these are the records alone."""

    def __bool__(self) -> bool:
        """True when at least one is known."""
        return self.redis is not None or self.outbox is not None or bool(self.records)

    @property
    def jobs(self) -> list[tuple[JobDetails, str]]:
        """Each job, newest first, with where it is."""
        return _merged(self.redis, self.outbox, self.records)


async def look_up(
    saqueduct: Saqueduct, key: str, queue: str | None = None, *, answer: float | None = None
) -> KnownJobs:
    """The jobs with a key, in one queue or in any.

    Args:
        saqueduct: queues and PostgreSQL of the application.
        key: of the jobs.
        queue: name of the only queue to look in.
        answer: seconds that Redis has to answer; if it does not, a job that has a record is shown as that has it.
            None: as long as any call waits, and no job is shown without Redis.

    Raises:
        UnknownQueue: there is no such queue.
        QueueUnavailable: Redis did not answer, and with `answer` no record has the key either.
    """
    if answer is None or saqueduct.store is None:
        return await _known(saqueduct, key, queue)
    try:
        async with answering(answer):
            live = await _in_redis(saqueduct, key, queue)
            present = await _shown(saqueduct, live)
    except QueueUnavailable:
        known = await _without_redis(saqueduct, key, queue)
        if not known:
            raise
        return known
    return await _with_records(saqueduct, key, queue, live, present)


async def _known(saqueduct: Saqueduct, key: str, queue: str | None) -> KnownJobs:
    live = await _in_redis(saqueduct, key, queue)
    present = await _shown(saqueduct, live)
    if saqueduct.store is None:
        return KnownJobs(present, live=live)
    return await _with_records(saqueduct, key, queue, live, present)


async def _without_redis(saqueduct: Saqueduct, key: str, queue: str | None) -> KnownJobs:
    """What the records have; a job of the outbox may be in Redis as well."""
    # Here, as below.
    from saqueduct.record_sessions import history

    async with history(saqueduct) as found:
        records = [JobDetails.of_record(saqueduct.queues, record) for record in await found.find(key, queue=queue)]
        return KnownJobs(None, records=records, redis_away=True)


async def _with_records(
    saqueduct: Saqueduct, key: str, queue: str | None, live: Job | None, present: JobDetails | None
) -> KnownJobs:
    # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
    from saqueduct.record_sessions import history

    queues = saqueduct.queues
    async with history(saqueduct) as found:
        waiting = await found.unpublished(key, queues, queue) if present is None else None
        known = KnownJobs(
            present,
            None if waiting is None else JobDetails.of_job(waiting),
            [JobDetails.of_record(queues, record) for record in await found.find(key, queue=queue)],
            [JobDetails.of_record(queues, record) for record in await found.replays(key, queue)],
            live or waiting,
        )
    if known:
        return known
    # It may have moved from the outbox to Redis meanwhile.
    live = await _in_redis(saqueduct, key, queue)
    return msgspec.structs.replace(known, redis=await _shown(saqueduct, live), live=live)


async def _in_redis(saqueduct: Saqueduct, key: str, queue: str | None) -> Job | None:
    try:
        return await saqueduct.queues.find(key, queue)
    except JobNotFound:
        return None


async def _shown(saqueduct: Saqueduct, job: Job | None) -> JobDetails | None:
    return None if job is None else await JobDetails.of_waiting(saqueduct.queues, job)


def _merged(
    present: JobDetails | None, waiting: JobDetails | None, records: Sequence[JobDetails]
) -> list[tuple[JobDetails, str]]:
    """What Redis and the records know about the jobs with a key, each with its source.

    Args:
        present: as Redis has it; None: it does not.
        waiting: as the outbox has it, where Redis does not; None: it does not either.
        records: newest first.
    """
    recorded = [(record, "recorded") for record in records]
    if waiting is not None:
        return [(waiting, "in the outbox"), *recorded]
    if present is None:
        return recorded
    if records and (records[0].status, records[0].ended_at) == (present.status, present.ended_at):
        # The same end twice: the record has more, except for the number of allowed attempts.
        both = msgspec.structs.replace(records[0], retries=present.retries)
        return [(both, "in Redis, recorded"), *recorded[1:]]
    return [(present, "in Redis"), *recorded]
