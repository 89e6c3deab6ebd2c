"""Enqueuing: writes jobs to Redis."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain, count, groupby
from typing import Any, cast

import msgspec
from saq import Job
from saq.job import TERMINAL_STATUSES, Status
from saq.utils import now

from saqueduct.broker.batch_sizes import batches
from saqueduct.broker.batching import Batches
from saqueduct.broker.outage import answering
from saqueduct.broker.scripts import pack, text
from saqueduct.common.clock import time_now
from saqueduct.common.garbage_collection import listed
from saqueduct.common.time_limits import LAST_SECOND, check_delay
from saqueduct.errors import DuplicateJob, QueueUnavailable
from saqueduct.queue.aborting import BeingAborted, Patience
from saqueduct.queue.core import QueueCore
from saqueduct.queue.debounced import Window, encoded
from saqueduct.queue.reading import Reader
from saqueduct.tasks.job import EngineJob, Enqueued, check, check_names, level_of, mark_of, own_fields
from saqueduct.tasks.job_meta import CLAIM, EXPIRES_AT, LIMITS, REPLACED_BY, ROUND
from saqueduct.tasks.limit_keys import lane_of
from saqueduct.tasks.newest import gate_of
from saqueduct.tasks.unique import Claim

logger = logging.getLogger("saqueduct")

JOBS_PER_CALL = 500
"""Jobs enqueued by one script call: about a millisecond of the server's time."""

Row = tuple[Any, ...]
"""The input of `lua/enqueue.lua` for one job; for a new job that may start immediately only its id and JSON."""

NEW = 2
"""Number of values in the row of a new job."""

CREATED, KNOWN, REPLACED = 1, 2, 3
"""Answers of the scripts: enqueued; already sent by the outbox; enqueued in place of another job."""

ABORTING, STOCK_ABORTING = 4, 5
"""Answers of the scripts: blocked by a job that is being aborted; the same, and a stock worker runs it."""

Answer = Enqueued | DuplicateJob | BeingAborted
"""Which job exists now, the conflict if the job asks for an error, or that the call must try again."""

REPLACE_TRIES = 10
"""How often a unique job tries to replace another one, which others may be replacing at the same time."""


class Enqueuer:
    """Enqueues jobs of one queue in Redis.

    Args:
        core: of the queue.
        reader: of the queue.
    """

    def __init__(self, core: QueueCore, reader: Reader) -> None:
        self._core = core
        self._reader = reader
        self._singles = Batches(self._send_in_time, JOBS_PER_CALL, sizes, most_bytes=core.batch_bytes)
        """Batches jobs that are enqueued one by one into the same round trip."""

    async def one(self, job: Job) -> Enqueued | DuplicateJob:
        """Enqueue a prepared job, together with jobs that are enqueued at the same time."""
        # Encode its row here: a job that cannot be encoded must not fail others in the same round trip.
        sent = job, self.row_to_send(job)
        answer = await self._singles.add(sent)
        return await self._outlast(sent) if isinstance(answer, BeingAborted) else answer

    async def unless_stock_aborts(self, job: Job) -> Enqueued | DuplicateJob | None:
        """Like `one`; None while a stock worker aborts a job with its key, which SAQ holds meanwhile."""
        sent = job, self.row_to_send(job)
        answer = await self._singles.add(sent)
        if not isinstance(answer, BeingAborted):
            return answer
        return None if answer.by_stock else await self._outlast(sent)

    async def many(self, jobs: Sequence[Job], report: Callable[[int], None] | None) -> list[Enqueued | DuplicateJob]:
        """Enqueue prepared jobs, many in one round trip; `report` is called after each with the number sent so far."""
        rows = listed((job, self.row_to_send(job)) for job in jobs)
        answers: list[Answer] = []
        # Sequentially: on several connections they would overtake each other.
        for batch in batches(rows, JOBS_PER_CALL, sizes, self._core.batch_bytes):
            answers += await self._send_in_time(batch)
            if report:
                report(len(answers))
        if BeingAborted in map(type, answers):
            places = [place for place, answer in enumerate(answers) if isinstance(answer, BeingAborted)]
            later = await asyncio.gather(*(self._outlast(rows[place]) for place in places))
            for place, answer in zip(places, later, strict=True):
                answers[place] = answer
        return cast("list[Enqueued | DuplicateJob]", answers)

    async def _outlast(self, sent: tuple[Job, Row]) -> Enqueued | DuplicateJob:
        """Enqueue a job as soon as the job that blocks it, which is being aborted, has ended."""
        patience = Patience(self._core.timings)
        while True:
            await patience.wait(sent[0].key)
            answer = await self._singles.add(sent)
            if not isinstance(answer, BeingAborted):
                return answer

    async def _send_in_time(self, jobs: Sequence[tuple[Job, Row]]) -> list[Answer]:
        async with answering(self._core.timings.answer):
            return await self.send(jobs)

    async def prepare(self, jobs: Sequence[Job]) -> None:
        """Prepare jobs for this queue, as SAQ's `enqueue` does.

        Raises:
            ValueError: a job of SAQ's own class has a field of a wrong type, a key does not fit into the tables, or a
                hook adds an entry with a reserved name to `meta`.
        """
        current, saq = int(time_now() * 1000), self._core.saq
        for job in jobs:
            # A job that is queued again keeps its time: tasks use it to recognize the same job.
            job.queue, job.queued, job.status = saq, job.queued or current, Status.QUEUED
            if type(job) is Job:
                check(job)
            elif isinstance(job, EngineJob) and job.expires is not None:
                await self._set_expiry(job, job.expires)
            if saq._before_enqueues:
                await saq._before_enqueue(job)
            else:
                check_names(job)

    async def _set_expiry(self, job: EngineJob, expires: float) -> None:
        """Set the expiry by the clock of Redis; if it does not answer, as for a transaction, by the local clock."""
        try:
            async with answering(self._core.timings.answer):
                job.meta[EXPIRES_AT] = await self._core.time_about() + expires
        except QueueUnavailable:
            logger.debug("the job %s expires by the clock of this machine: Redis did not answer", job.key)

    def row_to_send(self, job: Job) -> Row:
        """The row of one job for `send`; raises as `row_of`."""
        if not isinstance(job, EngineJob) or job.new_key != job.key:
            return self.row_of(job)
        if job.scheduled or job.priority or job.delay or job.claim or job.limited:
            row = self.row_of(job, new=True)
        else:
            row = self._core.job_id(job.key), text(self._core.serialize(job))
        job.new_key = ""
        return row

    def row_of(
        self, job: Job, yields: EngineJob | str | None = None, *, new: bool = False, forgotten: bool = False
    ) -> Row:
        """The row of one job for `lua/admit.lua`.

        Args:
            job: the job.
            yields: the job that it replaces; the key of one that cannot be read, and only loses its claim.
            new: True for a random key that was never sent before.
            forgotten: True for a job that Redis may have lost, and that must not cancel a newer one.

        Raises:
            TypeError, ValueError: the job cannot be encoded, or `scheduled` is not a time.
        """
        ttl = 0
        given_way: str | msgspec.Raw = ""
        own = own_fields(job)
        claim = own.claim
        if claim is not None and claim.ends_with_the_job:
            job.meta[CLAIM] = claim.id
        if claim is not None and claim.debounce is not None and isinstance(job, EngineJob):
            payload, window = encoded(self._core, job, claim.debounce)
        else:
            payload, window = text(self._core.serialize(job)), None
        if yields is not None and isinstance(yields, EngineJob):
            ttl = yields.ttl
            yields.status, yields.completed = Status.ABORTED, now()
            yields.error = f"replaced by {job.key}"
            if window is not None:
                yields.meta[REPLACED_BY] = job.key
            given_way = text(self._core.serialize(yields))
        spec = () if claim is None else self._spec(job, claim, yields, window, forgotten=forgotten)
        row = job.key, payload, _start(job, own.delay), level_of(job), spec, given_way, ttl, new
        ended_at = own.ended_at
        limits = job.meta.get(LIMITS) if job.meta else None
        if limits is None:
            return row if ended_at is None else (*row, ended_at)
        return *row, False if ended_at is None else ended_at, _limits(job, limits)

    def _spec(
        self, job: Job, claim: Claim, yields: EngineJob | str | None, window: Window | None, *, forgotten: bool
    ) -> Row:
        """A claim in the form that `lua/admit.lua` expects."""
        unique = claim.unique
        conflict = "ignore" if forgotten and unique.on_conflict == "cancel" else unique.on_conflict
        spec = (
            conflict,
            int((unique.period or 0) * 1000),
            f",{','.join(unique.states)},",
            self._core.namespace(f"unique:{claim.id}"),
            yields.key if isinstance(yields, EngineJob) else yields or "",
            self._core.mark_to_keep(yields) if isinstance(yields, EngineJob) else "",
            ROUND in job.meta,
        )
        if conflict == "cancel":
            return *spec, gate_of(job)
        return spec if window is None else (*spec, window)

    async def send(self, jobs: Sequence[tuple[Job, Row]]) -> list[Answer]:
        """Enqueue jobs, each with its row, in one script call; a unique job that replaces another needs two or more.

        Returns:
            For each job which one exists now, or the conflict if the job asks for an error.
        """
        meter = self._core.meter
        begun = time.perf_counter() if meter is not None else 0.0
        raw = await self._core.scripts.run("enqueue", _packed([row for _, row in jobs]))
        took = time.perf_counter() - begun if meter is not None else 0.0
        answers: list[Answer] = []
        for (job, _), answer in zip(jobs, raw, strict=True):
            if answer == CREATED:
                answers.append(Enqueued(job.key, True))
            elif isinstance(answer, int | list):
                answers.append(_answer(job, answer))
            else:
                answers.append(await self.conflict(job, answer.decode()))
        if meter is not None:
            new = [job for job, _ in jobs]
            meter.enqueued(new if raw.count(CREATED) == len(raw) else created_of(new, answers), took)
        return answers

    async def publish(self, jobs: Sequence[Job], deadline: float, *, again: bool = False) -> list[Answer | None]:
        """Enqueue jobs from the outbox, see `lua/publish.lua`.

        Args:
            jobs: the jobs, with their claims.
            deadline: epoch seconds by the clock of Redis after which nothing is enqueued.
            again: True for jobs that Redis had, and may have lost.

        Returns:
            For each job which one exists now, or the conflict if the job asks for an error; None for a job that Redis
            already had.

        Raises:
            QueueUnavailable: the deadline has passed.
        """
        rows = [
            (mark_of(job), job.queued, int(job.meta.get(ROUND, 0)), str(int(again)), self.row_of(job, forgotten=again))
            for job in jobs
        ]
        raw: list[Any] = []
        begun = time.perf_counter()
        for batch in batches(rows, JOBS_PER_CALL, _sizes_of_rows, self._core.batch_bytes):
            answer = await self._core.scripts.run("publish", repr(deadline), pack(batch))
            if answer == b"late":
                raise QueueUnavailable("Redis received the call too late")
            raw += answer
        took = time.perf_counter() - begun
        answers: list[Answer | None] = []
        for job, answer in zip(jobs, raw, strict=True):
            if isinstance(answer, int | list):
                answers.append(None if answer == KNOWN else _answer(job, answer))
            else:
                answers.append(await self.conflict(job, answer.decode(), forgotten=again))
        if self._core.meter is not None and not again:
            self._core.meter.enqueued(created_of(jobs, answers), took)
        return answers

    async def conflict(self, job: Job, existing: str, *, forgotten: bool = False) -> Answer:
        """Resolve a conflict with an existing job; a unique job that Redis lost does not replace a newer one."""
        claim = job.claim if isinstance(job, EngineJob) else None
        if claim is None or claim.unique.on_conflict == "ignore":
            return Enqueued(existing, created=False)
        if claim.unique.on_conflict == "raise":
            return DuplicateJob(job.function, existing)
        # The newest call is never dropped: each try that fails is the success of another call.
        newest = claim.debounce is not None or claim.unique.on_conflict == "cancel"
        for _ in count() if newest else range(REPLACE_TRIES):
            other = await self._reader.job(existing)
            if forgotten and other is not None and other.queued > job.queued:
                break
            yields = other if other is not None and other.status not in TERMINAL_STATUSES else None
            [answer] = await self._core.scripts.run("enqueue", _packed([self.row_of(job, yields or existing)]))
            if isinstance(answer, int | list):
                if answer == REPLACED and yields is not None:
                    self._core.note_end(yields)
                return _answer(job, answer)
            holder = answer.decode()
            if holder == existing and yields is not None and claim.unique.on_conflict == "cancel":
                # It does not wait: a stock worker runs it, whose end no script sees.
                await self._core.saq.abort(yields, f"replaced by {job.key}")
                return BeingAborted(by_stock=False)
            existing = holder
        return Enqueued(existing, created=False)


def sizes(jobs: Sequence[tuple[Job, Row]]) -> list[int]:
    """The sizes of jobs, for `sizes.fitting`."""
    return [len(row[1]) for _, row in jobs]


def created_of(jobs: Sequence[Job], answers: Sequence[Answer | None]) -> list[Job]:
    """The jobs that these answers have created."""
    both = zip(jobs, answers, strict=True)
    return [job for job, answer in both if type(answer) is Enqueued and answer.created]


def _answer(job: Job, answer: int | list[bytes]) -> Enqueued | BeingAborted:
    if isinstance(answer, list):
        return Enqueued(answer[0].decode(), created=False)
    if answer in (ABORTING, STOCK_ABORTING):
        return BeingAborted(by_stock=answer == STOCK_ABORTING)
    return Enqueued(job.key, answer in (CREATED, REPLACED))


def without_conflicts(answers: Sequence[Enqueued | DuplicateJob]) -> list[Enqueued]:
    """The answers; raises the first conflict.

    Raises:
        DuplicateJob: there is a conflict.
    """
    enqueued: list[Enqueued] = []
    for answer in answers:
        if isinstance(answer, DuplicateJob):
            raise answer
        enqueued.append(answer)
    return enqueued


def _packed(rows: Sequence[Row]) -> bytes:
    """Rows for `lua/enqueue.lua`, in the order of the calls: new jobs in groups, other jobs one by one."""
    if set(map(len, rows)) == {NEW}:
        return pack([(True, list(chain.from_iterable(rows)))])
    groups = groupby(rows, lambda row: len(row) == NEW)
    return pack([(new, list(chain.from_iterable(some) if new else some)) for new, some in groups])


def _limits(job: Job, limits: Sequence[Sequence[str]]) -> Row:
    """The limits of a job in the form that `lua/admit.lua` expects."""
    rules = [part for name, _, rule in limits if rule for part in (name, rule)]
    expires = job.meta.get(EXPIRES_AT)
    return lane_of(level_of(job), limits), rules, "" if expires is None else repr(expires)


def _start(job: Job, delay: float) -> str:
    """When a job may start, in the form that `lua/admit.lua` expects: a delay counts by the clock of Redis."""
    if delay:
        check_delay("delay", delay)
        return f"+{delay}"
    if not job.scheduled <= LAST_SECOND:
        raise ValueError(f"scheduled must be epoch seconds before the year 10000, not {job.scheduled!r}")
    # A time before 1970 means immediately, which is 0: the score of a job that waits in its list.
    return repr(job.scheduled) if job.scheduled > 0 else "0"


def _sizes_of_rows(rows: Sequence[Any]) -> list[int]:
    return [len(row[-1][1]) for row in rows]
