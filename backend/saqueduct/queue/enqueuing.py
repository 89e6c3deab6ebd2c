"""Enqueue: from a call to jobs that stand in Redis."""

import logging
from collections.abc import Mapping, Sequence
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, cast

import msgspec
from saq import Job
from saq.job import TERMINAL_STATUSES, Status
from saq.utils import now

from saqueduct.broker.outage import answering
from saqueduct.broker.scripts import pack, text
from saqueduct.broker.sizes import batches
from saqueduct.common.clock import time_now
from saqueduct.common.text import check_text
from saqueduct.common.time_limits import LAST_SECOND, check_delay
from saqueduct.errors import DuplicateJob, QueueUnavailable
from saqueduct.queue.aborting import BeingAborted
from saqueduct.queue.unrecorded import mark_to_keep
from saqueduct.tasks.job import EngineJob, Enqueued, check, level_of, mark_of
from saqueduct.tasks.job_meta import CLAIM, EXPIRES_AT, ROUND, checked, engine_entries
from saqueduct.tasks.options import Claim, check_meta

if TYPE_CHECKING:
    from saqueduct.queue.queue import EngineQueue

logger = logging.getLogger("saqueduct")

CHUNK = 500
"""Jobs enqueued by one script call: about a millisecond of the server's time."""

LONGEST_KEY = 512
"""Characters of a job's key, up to four bytes each: an entry of PostgreSQL's index has 2,704 at most, the queue's name
among them."""

Row = tuple[Any, ...]
"""What `scripts/enqueue.lua` takes of one job: of a new one that may start at once only its id and JSON."""

NEW = 2
"""Values in the row of a new job."""

CREATED, KNOWN, REPLACED = 1, 2, 3
"""Answers of the scripts: it is enqueued; the outbox had sent it before; another has given way to it."""

ABORTING, STOCK_ABORTING = 4, 5
"""Answers of the scripts: a job is in the way that is being aborted; a stock worker runs it."""

Answer = Enqueued | DuplicateJob | BeingAborted
"""Which job there is now, the conflict of one that asks for an error, or that it is to be tried again."""

REPLACE_TRIES = 10
"""Times that a unique job tries to take the place of another, which others may be replacing at the same time."""


def validated(queue: "EngineQueue", job_or_func: str | Job, keywords: dict[str, Any]) -> Job:
    """The job of SAQ's `enqueue(job_or_func, **keywords)`, validated if the queue knows tasks.

    Raises:
        UnknownTask, InvalidArguments, PayloadTooLarge: see `Task.job`.
        ValueError: a field has a wrong type, or `meta` an entry of the engine's name.
    """
    if queue.tasks is None:
        job = _as_saq_makes_it(job_or_func, keywords)
        check(job)
        return job
    if isinstance(job_or_func, Job):
        job = _with_fields(job_or_func, keywords)
        check(job)
        task = queue.tasks.get(job.function)
        job.kwargs = task.signature.encode(job.kwargs or {}, queue.max_payload_bytes)
        return job
    task = queue.tasks.get(job_or_func)
    arguments, fields = task.split(keywords)
    _check_meta(fields)
    return task.job(arguments, limit=queue.max_payload_bytes, **fields)


async def prepare(queue: "EngineQueue", jobs: Sequence[Job]) -> None:
    """Make jobs the queue's, as SAQ's `enqueue` does.

    Raises:
        ValueError: a job that SAQ's class made has a field of a wrong type, a key is none that a table can hold, or
            a hook gives `meta` an entry of the engine's name.
    """
    current = int(time_now() * 1000)
    for job in jobs:
        # A job that is queued once more keeps its time: tasks tell by it that it is the same.
        job.queue, job.queued, job.status = queue, job.queued or current, Status.QUEUED
        if type(job) is Job:
            check(job)
        elif isinstance(job, EngineJob) and job.expires is not None:
            await _set_expiry(queue, job)
        if queue._before_enqueues:
            await queue._before_enqueue(job)
        else:
            check_names(job)


async def _set_expiry(queue: "EngineQueue", job: EngineJob) -> None:
    """Let a job expire by the clock of Redis; where it does not answer, as for a transaction, by this machine's."""
    try:
        async with answering():
            job.meta[EXPIRES_AT] = await queue.time_about() + cast("float", job.expires)
    except QueueUnavailable:
        logger.debug("the job %s expires by the clock of this machine: Redis did not answer", job.key)


def sizes(jobs: Sequence[tuple[Job, Row]]) -> list[int]:
    """How large jobs are, for `sizes.fitting`."""
    return [len(row[1]) for _, row in jobs]


async def send(queue: "EngineQueue", jobs: Sequence[tuple[Job, Row]]) -> list[Answer]:
    """Enqueue jobs, each with its row, in one script call; a unique job that replaces another takes two or more.

    Returns:
        For each job which one stands, or the conflict of one that asks for an error.
    """
    raw = await queue.scripts.run("enqueue", _packed([row for _, row in jobs]))
    answers: list[Answer] = []
    for (job, _), answer in zip(jobs, raw, strict=True):
        if answer == CREATED:
            answers.append(Enqueued(job.key, True))
        elif isinstance(answer, int):
            answers.append(_answer(job, answer))
        else:
            answers.append(await conflict(queue, job, answer.decode()))
    return answers


async def publish(
    queue: "EngineQueue", jobs: Sequence[Job], deadline: float, *, again: bool = False
) -> list[Answer | None]:
    """Enqueue jobs out of the outbox, see `scripts/publish.lua`.

    Args:
        queue: the queue.
        jobs: with their claims.
        deadline: epoch seconds by the clock of Redis after which nothing is enqueued.
        again: True for jobs that Redis had, and may have forgotten.

    Returns:
        For each job which one stands, or the conflict of one that asks for an error; None for one that Redis has had.

    Raises:
        QueueUnavailable: the deadline has passed.
    """
    rows = [
        (mark_of(job), job.queued, int(job.meta.get(ROUND, 0)), str(int(again)), row_of(queue, job)) for job in jobs
    ]
    raw: list[Any] = []
    for batch in batches(rows, CHUNK, lambda some: [len(row[-1][1]) for row in some]):
        answer = await queue.scripts.run("publish", repr(deadline), pack(batch))
        if answer == b"late":
            raise QueueUnavailable("the call came too late")
        raw += answer
    standing: list[Answer | None] = []
    for job, answer in zip(jobs, raw, strict=True):
        if isinstance(answer, int):
            standing.append(None if answer == KNOWN else _answer(job, answer))
        else:
            standing.append(await conflict(queue, job, answer.decode(), forgotten=again))
    return standing


def _answer(job: Job, answer: int) -> Enqueued | BeingAborted:
    if answer in (ABORTING, STOCK_ABORTING):
        return BeingAborted(by_stock=answer == STOCK_ABORTING)
    return Enqueued(job.key, answer in (CREATED, REPLACED))


def without_conflicts(answers: Sequence[Enqueued | DuplicateJob]) -> list[Enqueued]:
    """The answers, or the first conflict raised.

    Raises:
        DuplicateJob: there is one.
    """
    enqueued: list[Enqueued] = []
    for answer in answers:
        if isinstance(answer, DuplicateJob):
            raise answer
        enqueued.append(answer)
    return enqueued


async def conflict(queue: "EngineQueue", job: Job, standing: str, *, forgotten: bool = False) -> Answer:
    """What becomes of a unique job that finds another; one that was forgotten meanwhile does not replace a newer."""
    claim = getattr(job, "claim", None)
    if claim is None or claim.unique.on_conflict == "ignore":
        return Enqueued(standing, created=False)
    if claim.unique.on_conflict == "raise":
        return DuplicateJob(job.function, standing)
    for _ in range(REPLACE_TRIES):
        other = await queue.job(standing)
        if forgotten and other is not None and other.queued > job.queued:
            break
        yields = other if other is not None and other.status not in TERMINAL_STATUSES else None
        [answer] = await queue.scripts.run("enqueue", _packed([row_of(queue, job, yields)]))
        if isinstance(answer, int):
            if answer == REPLACED and yields is not None:
                queue.record(yields)
            return _answer(job, answer)
        standing = answer.decode()
    return Enqueued(standing, created=False)


def _packed(rows: Sequence[Row]) -> bytes:
    """Rows for `scripts/enqueue.lua`, in the order of the calls: new jobs together, others each by itself."""
    if set(map(len, rows)) == {NEW}:
        return pack([(True, list(chain.from_iterable(rows)))])
    groups = groupby(rows, lambda row: len(row) == NEW)
    return pack([(new, list(chain.from_iterable(some) if new else some)) for new, some in groups])


def row_to_send(queue: "EngineQueue", job: Job) -> Row:
    """One job for `send`; raises as `row_of`."""
    if not isinstance(job, EngineJob) or job.new_key != job.key:
        return row_of(queue, job)
    if job.scheduled or job.priority or job.delay or job.claim:
        row = row_of(queue, job, new=True)
    else:
        row = queue.job_id(job.key), text(queue.serialize(job))
    job.new_key = ""
    return row


def row_of(queue: "EngineQueue", job: Job, yields: EngineJob | None = None, *, new: bool = False) -> Row:
    """One job for `scripts/admit.lua`.

    Args:
        queue: the queue.
        job: the job.
        yields: the one that gives way to it.
        new: True for a random key that nothing was sent with before.

    Raises:
        TypeError, ValueError: the job cannot be encoded, or `scheduled` is no time.
    """
    ttl = 0
    given_way: str | msgspec.Raw = ""
    claim = getattr(job, "claim", None)
    if claim is not None and claim.ends_with_the_job:
        job.meta[CLAIM] = claim.id
    payload = text(queue.serialize(job))
    if yields is not None:
        ttl = yields.ttl
        yields.status, yields.completed = Status.ABORTED, now()
        yields.error = f"replaced by {job.key}"
        given_way = text(queue.serialize(yields))
    spec = () if claim is None else _spec(queue, job, claim, yields)
    row = job.key, payload, _start(job), level_of(job), spec, given_way, ttl, new
    ended_at = getattr(job, "ended_at", None)
    return row if ended_at is None else (*row, ended_at)


def _spec(queue: "EngineQueue", job: Job, claim: Claim, yields: EngineJob | None) -> Row:
    """A unique claim as `scripts/admit.lua` takes it."""
    unique = claim.unique
    return (
        unique.on_conflict,
        int((unique.period or 0) * 1000),
        f",{','.join(unique.states)},",
        queue.namespace(f"unique:{claim.id}"),
        yields.key if yields else "",
        mark_to_keep(queue, yields) if yields else "",
        ROUND in job.meta,
    )


def _start(job: Job) -> str:
    """When a job may start, as `scripts/admit.lua` takes it: a delay counts by the clock of Redis."""
    if delay := getattr(job, "delay", 0.0):
        check_delay("delay", delay)
        return f"+{delay}"
    if not job.scheduled <= LAST_SECOND:
        raise ValueError(f"scheduled must be epoch seconds before the year 10000, not {job.scheduled!r}")
    # What was due before 1970 is due: a job that waits in line stands with 0.
    return repr(job.scheduled) if job.scheduled > 0 else "0"


def _as_saq_makes_it(job_or_func: str | Job, keywords: dict[str, Any]) -> Job:
    """SAQ's rule: keywords named like fields of a job are fields, the others are arguments."""
    fields = {name: value for name, value in keywords.items() if name in Job.__dataclass_fields__}
    if others := {name: value for name, value in keywords.items() if name not in fields}:
        fields["kwargs"] = {**(fields.get("kwargs") or {}), **others}
    if isinstance(job_or_func, str):
        _check_meta(fields)
        return EngineJob(function=job_or_func, **fields)
    return _with_fields(job_or_func, fields)


def check_names(job: Job) -> None:
    """See that tables can hold the names of a job.

    Raises:
        ValueError: they cannot; says which.
    """
    key = job.key
    if getattr(job, "new_key", "") != key:
        if len(key) > LONGEST_KEY:
            raise ValueError(f"key: {key[:40]!r}... has {len(key)} characters; it has {LONGEST_KEY} at most")
        check_text("key", key)
    if job.group_key:
        check_text("group_key", job.group_key)


def _check_meta(fields: Mapping[str, Any]) -> None:
    if fields.get("meta") is not None:
        check_meta(fields["meta"])


def _with_fields(job: Job, fields: dict[str, Any]) -> Job:
    if "meta" in fields:
        fields = {**fields, "meta": checked(fields["meta"] or {}, engine_entries(job.meta))}
    for name, value in fields.items():
        setattr(job, name, value)
    return job
