"""Jobs that no worker can read, settle or end: each harms nobody but itself."""

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from dishka import AsyncContainer
from saq import Job
from saq.job import Status

from app.settings import Settings
from saqueduct import Context, EngineQueue, Queues, get_registry, task
from saqueduct.broker.connections import Connections
from saqueduct.queue.listing import JobListing
from saqueduct.queue.outcomes import Outcome
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import AT_MOST_ONCE, CLAIM, EXPIRES_AT, RECOVERIES, ROUND
from saqueduct.tasks.options import TaskOptions
from saqueduct.tasks.rules import TaskRules, attach
from saqueduct.testing import JobKit
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.poll import eventually
from tests.queue.kit import working

pytestmark = pytest.mark.usefixtures("only_own_tasks")


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    return queues.get("default")


@pytest.fixture
def runs() -> list[str]:
    """The keys of the jobs whose body began, in order; registers the task `harmless`."""
    runs: list[str] = []

    @task
    async def harmless(ctx: Context) -> None:
        runs.append(ctx["job"].key)

    return runs


impatient = pytest.mark.timings(recovery_wait=0.0)
"""An expired lease is taken at the first look."""


async def put(queue: EngineQueue, key: str, stored: str | bytes) -> str:
    """Let something wait in line as another producer might write it; returns its id."""
    job_id = queue.job_id(key)
    await queue.redis.set(job_id, stored)
    await queue.redis.zadd(queue.namespace("incomplete"), {job_id: 0})
    await queue.redis.rpush(queue.namespace("queued"), job_id)
    return job_id


def wire(**fields: Any) -> str:
    """A waiting job in SAQ's wire format."""
    job = {"queue": "default", "key": "poison", "function": "harmless", "status": "queued"}
    return json.dumps(job | {"queued": int(time.time() * 1000)} | fields)


POISON = {
    "nothing": "",
    "no JSON": "{",
    "a number": "5",
    "a list": "[]",
    "another key": wire(key="other"),
    "another queue": wire(queue="other"),
    "kwargs": wire(kwargs=[1]),
    "a number that is none": wire(kwargs={"x": float("nan")}),
    "half of a surrogate pair": wire(kwargs={"x": "\udce9"}),
}
SPOILT = {
    "an unknown field": wire(colour="red"),
    "an unknown status": wire(status="sleeping"),
    "timeout": wire(timeout="10"),
    "timeout below 0": wire(timeout=-1),
    "heartbeat": wire(heartbeat="5"),
    "retries": wire(retries="3"),
    "ttl": wire(ttl=None),
    "queued": wire(queued=10**18),
    "retry_delay": wire(retry_delay=10**20),
    "scheduled": wire(scheduled=10**12),
    "progress of NaN": wire(progress=float("nan")),
    "progress of nothing": wire(progress=None),
    "progress of text": wire(progress="x"),
    "progress without end": wire(progress=float("inf")),
    "error": wire(error="caf\udce9"),
    "result": wire(result="caf\udce9"),
    "meta": wire(meta=[]),
    "expires_at": wire(meta={EXPIRES_AT: "soon"}),
    "recoveries": wire(meta={RECOVERIES: "many"}),
    "round": wire(meta={ROUND: [1]}),
}
poisoned = pytest.mark.parametrize("poison", POISON.values(), ids=POISON)


@poisoned
async def test_a_job_that_cannot_be_read_harms_no_other_of_its_batch(
    settings: Settings, queue: EngineQueue, queues: Queues, container: AsyncContainer, runs: list[str], poison: str
) -> None:
    for number in range(3):
        await queue.enqueue("harmless", key=f"before {number}")
    job_id = await put(queue, "poison", poison)
    for number in range(3):
        await queue.enqueue("harmless", key=f"behind {number}")
    async with working(settings, queues, container):
        await eventually(lambda: len(runs) == 6)
        await queue.enqueue("harmless", key="later")
        await eventually(lambda: "later" in runs)
        await eventually(lambda: _is_empty(queue))
    assert len(runs) == len(set(runs)) == 7
    # Kept for a day, to be looked at.
    assert await queue.redis.get(job_id) == poison.encode()
    assert await queue.redis.ttl(job_id) > 80_000


@poisoned
@pytest.mark.timings(recovery_wait=0.0)
async def test_a_job_that_cannot_be_read_keeps_none_from_being_recovered(
    queue: EngineQueue, runs: list[str], poison: str
) -> None:
    await put(queue, "poison", poison)
    good = await queue.enqueue("harmless", key="good")
    assert good is not None
    await queue.scripts.run("lease", 10, "killed", -1)
    assert await queue.recover() == [good.id]
    assert await queue.count("incomplete") == 1
    assert await queue.redis.zcard(queue.namespace("leases")) == 0


spoilt = pytest.mark.parametrize("stored", SPOILT.values(), ids=SPOILT)


@spoilt
async def test_a_field_that_cannot_be_read_costs_no_job(queue: EngineQueue, runs: list[str], stored: str) -> None:
    await put(queue, "poison", stored)
    shown = await queue.fetch("poison")
    assert shown is not None
    assert (shown.function, shown.status, shown.unreadable) == ("harmless", Status.QUEUED, "")
    [listed] = (await JobListing([queue], "queued").page(lambda job: True, None, 10)).jobs
    assert listed.key == "poison"
    async with one_slot(queue, get_registry().get("harmless").runner):
        await eventually(lambda: _is_empty(queue))
    done = await queue.fetch("poison")
    assert done is not None
    assert (runs, done.status) == (["poison"], Status.COMPLETE)


@spoilt
@impatient
async def test_a_field_that_cannot_be_read_costs_no_recovery(queue: EngineQueue, runs: list[str], stored: str) -> None:
    job_id = await put(queue, "poison", stored)
    await queue.scripts.run("lease", 10, "killed", -1)
    assert await queue.recover() == [job_id]
    job = await queue.fetch("poison")
    assert job is not None
    assert (job.status, job.meta) == (Status.QUEUED, {RECOVERIES: 1})


@poisoned
async def test_a_job_that_cannot_be_read_is_shown_as_that(
    client: httpx.AsyncClient, queue: EngineQueue, runs: list[str], poison: str
) -> None:
    await put(queue, "poison", poison)
    answer = await client.get("/jobs/poison")
    assert (answer.status_code, answer.json()["task"]) == (200, "(unreadable)")
    assert "the job poison cannot be read" in answer.json()["error"]
    [listed] = (await JobListing([queue], "queued").page(lambda job: True, None, 10)).jobs
    assert (listed.key, listed.function) == ("poison", "(unreadable)")
    assert [job["function"] for job in (await queue.info(jobs=True))["jobs"]] == ["(unreadable)"]
    # Nothing is to be run again of which nobody knows what it was.
    assert (await client.post("/jobs/poison/retry")).status_code == 409


@impatient
async def test_an_id_that_is_no_text_harms_nobody(
    settings: Settings, queue: EngineQueue, queues: Queues, container: AsyncContainer, runs: list[str]
) -> None:
    odd = queue.job_id("").encode() + b"\xff"
    await queue.redis.set(odd, wire(key="odd"))
    await queue.redis.zadd(queue.namespace("incomplete"), {odd: 0})
    await queue.redis.rpush(queue.namespace("queued"), odd)
    await queue.enqueue("harmless", key="good")
    for status in ("queued", "waiting"):
        listed = (await JobListing([queue], cast("Any", status)).page(lambda job: True, None, 10)).jobs
        assert [job.key for job in listed] == ["good"]
    assert [job["key"] for job in (await queue.info(jobs=True))["jobs"]] == ["good"]
    async with working(settings, queues, container):
        await eventually(lambda: runs == ["good"])
    orphan = await queue.enqueue("harmless", key="orphan")
    assert orphan is not None
    await queue.scripts.run("lease", 10, "killed", -1)
    assert await queue.recover() == [orphan.id]


async def _is_empty(queue: EngineQueue) -> bool:
    return not await queue.count("incomplete") and not await queue.redis.zcard(queue.namespace("leases"))


async def test_readers_of_other_jobs_do_not_notice_one_that_cannot_be_read(queue: EngineQueue, runs: list[str]) -> None:
    await queue.enqueue("harmless", key="good")
    await put(queue, "poison", "{")
    read = await asyncio.gather(queue.fetch("good"), queue.fetch("poison"), queue.fetch("good"))
    assert [job and job.unreadable != "" for job in read] == [False, True, False]
    assert [job["key"] for job in (await queue.info(jobs=True))["jobs"]] == ["good", "poison"]
    assert [job and job.key for job in await queue.jobs(["good", "poison"])] == ["good", None]
    assert [job.key async for job in queue.iter_jobs()] == ["good"]
    await queue.redis.lpop(queue.namespace("queued"))
    await queue.redis.hset(queue.namespace("vitals"), "w", f'{time.time()} {{"leased":99,"free":1}}')
    assert await queue.problems() == []


@pytest.mark.parametrize("fields", [{"timeout": "10"}, {"meta": []}, {"retries": None}])
async def test_wrong_types_are_refused_at_the_call(queue: EngineQueue, runs: list[str], fields: Any) -> None:
    # None means the task's own.
    if fields != {"retries": None}:
        with pytest.raises(ValueError, match=r"Expected|takes a mapping"):
            await queue.enqueue("harmless", **fields)
    for job in (Job("harmless", **fields), EngineJob("harmless", **fields)):
        with pytest.raises(ValueError, match="Expected"):
            await queue.enqueue(job)
    with pytest.raises(ValueError, match="Expected"):
        await queue.enqueue_many([Job("harmless", **fields)])
    assert await queue.count("incomplete") == 0


# Outcomes that Redis refuses


async def _refuse(queue: EngineQueue, key: str) -> None:
    """Let Redis refuse the outcome of a unique job: in the place of its claim is something of another kind."""
    await queue.redis.delete(queue.namespace(f"unique:{key}"))
    await queue.redis.rpush(queue.namespace(f"unique:{key}"), "no claim")


async def test_an_outcome_that_is_refused_ends_its_job_and_its_body_runs_once(
    settings: Settings, queue: EngineQueue, queues: Queues, container: AsyncContainer, runs: list[str]
) -> None:
    await _refuse(queue, "claimed")
    await put(queue, "poison", wire(meta={CLAIM: "claimed"}))
    await queue.enqueue("harmless", key="good")
    async with working(settings, queues, container):
        await eventually(lambda: _is_empty(queue))
    ended = await queue.jobs(["poison", "good"])
    assert [job and job.status for job in ended] == [Status.COMPLETE, Status.COMPLETE]
    assert sorted(runs) == ["good", "poison"]


@impatient
async def test_an_outcome_that_is_refused_keeps_none_from_being_recovered(queue: EngineQueue, runs: list[str]) -> None:
    await _refuse(queue, "claimed")
    # It fails as it runs at most once, which gives its claim up.
    poison = await put(queue, "poison", wire(meta={CLAIM: "claimed", AT_MOST_ONCE: True}))
    good = await queue.enqueue("harmless", key="good")
    assert good is not None
    await queue.scripts.run("lease", 10, "killed", -1)
    assert sorted(await queue.recover()) == sorted([poison, good.id])
    failed = await queue.job("poison")
    assert failed is not None
    assert (failed.status, await queue.count("incomplete")) == (Status.FAILED, 1)


async def test_a_retry_that_is_refused_fails(queue: EngineQueue, runs: list[str]) -> None:
    await put(queue, "poison", wire(retries=2))
    _, _, _, lease, *_ = await queue.scripts.run("lease", 1, "worker", 60)
    job = await queue.job("poison")
    assert job is not None
    job.lease = lease.decode()
    # Where delayed jobs of a level are kept is something of another kind.
    await queue.redis.set(queue.namespace("levels"), "no hash")
    job.priority = 1
    [(outcome, held)] = await queue.settler.settle_each([(Outcome.retry(queue.core, job, 60), job)])
    assert (outcome.how.kind, held) == ("finish", True)
    failed = await queue.job("poison")
    assert failed is not None
    assert failed.status is Status.FAILED
    assert "its outcome is refused: " in (failed.error or "")


@pytest.mark.parametrize("ttl", [10**11, 2**53])
async def test_what_is_to_be_kept_for_very_long_stays_for_ever(
    settings: Settings, queue: EngineQueue, queues: Queues, container: AsyncContainer, runs: list[str], ttl: int
) -> None:
    job_id = await put(queue, "old", wire(key="old", ttl=ttl))
    async with working(settings, queues, container):
        await eventually(lambda: _is_empty(queue))
    assert await queue.redis.ttl(job_id) == -1
    assert runs == ["old"]


def test_a_ttl_that_redis_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="ttl must be at most"):
        TaskOptions(ttl=sys.maxsize)


# Attempts without an outcome


class Odd(BaseException):
    """What `except Exception` does not catch."""


async def _spoils_meta(ctx: Context) -> None:
    ctx["job"].meta |= {"kept": 1, "spoilt": object()}


async def _returns_an_object(ctx: Context) -> Any:
    return object()


async def _raises_oddly(ctx: Context) -> None:
    raise Odd


async def _spoils_its_retries(ctx: Context) -> None:
    ctx["job"].retries = cast("Any", "3")
    raise ValueError("no use")


async def _spoils_its_ttl(ctx: Context) -> None:
    ctx["job"].ttl = cast("Any", object())


async def _spoils_its_priority(ctx: Context) -> None:
    ctx["job"].priority = cast("Any", "high")


async def _fails(ctx: Context) -> None:
    raise ValueError("no use")


def _rule_that_fails(error: BaseException) -> bool:
    raise RuntimeError("the rule fails")


attach(_fails, TaskRules(retries_after=_rule_that_fails))


@pytest.fixture
async def plain(redis_url: str, empty_redis: None) -> AsyncIterator[EngineQueue]:
    """A queue that knows no tasks, as SAQ's."""
    queue = EngineQueue(Connections(redis_url).client("default"))
    yield queue
    await queue.disconnect()


@asynccontextmanager
async def one_slot(queue: EngineQueue, *functions: Any) -> AsyncIterator[None]:
    """A worker that runs one job at a time."""
    worker = EngineWorker(queue, functions, concurrency=1, shutdown_grace_period_s=0)
    running = asyncio.create_task(worker.start())
    try:
        yield
    finally:
        worker.request_stop()
        await running


@pytest.mark.parametrize(
    ("function", "attempts", "meta"),
    [
        (_spoils_meta, 2, {"kept": 1}),
        (_returns_an_object, 2, {}),
        (_raises_oddly, 2, {}),
        (_spoils_its_retries, 1, {}),
        (_fails, 1, {}),
        (_spoils_its_ttl, 2, {}),
        (_spoils_its_priority, 2, {}),
    ],
)
async def test_an_attempt_without_an_outcome_leaves_its_slot(
    plain: EngineQueue, function: Any, attempts: int, meta: Any
) -> None:
    async def harmless(ctx: Context) -> None: ...

    await plain.enqueue(function.__qualname__, key="bad", retries=2, ttl=60)
    await plain.enqueue(harmless.__qualname__, key="good")
    async with one_slot(plain, function, harmless):
        await eventually(lambda: _is_empty(plain))
    bad, good = await plain.jobs(["bad", "good"])
    assert good is not None
    assert good.status is Status.COMPLETE
    assert bad is not None
    assert (bad.status, bad.result, bad.attempts, bad.meta) == (Status.FAILED, None, attempts, meta)


class _HasNoTruth(Exception):
    def __bool__(self) -> bool:
        raise RuntimeError("no use to ask")


def _raises_what_has_no_truth() -> None:
    raise _HasNoTruth


def _raises_generator_exit() -> None:
    raise GeneratorExit


async def _awaits_generator_exit() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(GeneratorExit())
    await future


async def _awaits_generator_exit_of_a_thread() -> None:
    await asyncio.to_thread(_raises_generator_exit)


@pytest.mark.parametrize(
    ("fails", "error"),
    [
        (_raises_what_has_no_truth, "_HasNoTruth"),
        (_raises_generator_exit, "GeneratorExit"),
        (_awaits_generator_exit, "GeneratorExit"),
        (_awaits_generator_exit_of_a_thread, "GeneratorExit"),
    ],
)
@pytest.mark.parametrize("plain_function", [False, True])
async def test_each_attempt_that_raises_an_odd_error_counts_and_leaves_its_slot(
    jobs: JobKit, own_tasks: None, fails: Any, error: str, plain_function: bool
) -> None:
    runs: list[int] = []

    async def in_the_loop(ctx: Context) -> None:
        runs.append(1)
        if awaited := fails():
            await awaited

    def in_a_thread(ctx: Context) -> Any:
        runs.append(1)
        return fails()

    job = await jobs.run(task(retries=2)(in_a_thread if plain_function else in_the_loop))
    assert (len(runs), job.status) == (2, Status.FAILED)
    assert error in (job.error or "")


async def test_a_filter_of_logging_that_raises_costs_no_job(
    jobs: JobKit, own_tasks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise LookupError("the filter fails")

    @task(retries=2)
    async def fails(ctx: Context) -> None:
        raise ValueError("the cause")

    monkeypatch.setattr(logging.getLogger("saqueduct.worker"), "filters", [refuse])
    job = await jobs.run(fails)
    assert (job.status, job.attempts) == (Status.FAILED, 2)
    assert "the cause" in (job.error or "")
