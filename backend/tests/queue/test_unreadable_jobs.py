"""Jobs that no worker can read, and outcomes that Redis refuses: each harms no other job."""

import asyncio
import json
import sys
import time
from typing import Any, cast

import httpx
import pytest
from dishka import AsyncContainer
from saq import Job
from saq.job import Status

from app.settings import Settings
from saqueduct import Context, EngineQueue, Queues, get_registry, task
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.queue.listing import JobListing
from saqueduct.queue.outcomes import Outcome
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import AT_MOST_ONCE, CLAIM, EXPIRES_AT, RECOVERIES, ROUND
from saqueduct.tasks.options import TaskOptions
from tests.fixtures.poll import eventually
from tests.queue.kit import is_empty, one_slot, working

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
        await eventually(lambda: is_empty(queue))
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
        await eventually(lambda: is_empty(queue))
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


@poisoned
@pytest.mark.parametrize(
    "fields", [{"text": "Cannot be read"}, {"error": "job poison"}, {"task": "(unreadable)"}], ids=str
)
async def test_a_job_that_cannot_be_read_is_found_by_its_error(
    queue: EngineQueue, runs: list[str], poison: str, fields: dict[str, Any]
) -> None:
    await put(queue, "poison", poison)
    await queue.enqueue("harmless", key="good")
    which = RecordFilter(**fields)
    found = (await JobListing([queue], "queued").page(which.matches, None, 10, which.words)).jobs
    assert [job.key for job in found] == ["poison"]


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
        await eventually(lambda: is_empty(queue))
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
        await eventually(lambda: is_empty(queue))
    assert await queue.redis.ttl(job_id) == -1
    assert runs == ["old"]


def test_a_ttl_that_redis_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="ttl must be at most"):
        TaskOptions(ttl=sys.maxsize)
