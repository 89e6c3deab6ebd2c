"""Outcomes: what is written of jobs that have ended or go on, many at a time, and only under their leases."""

import asyncio
from typing import Any

import msgspec
import pytest
from dishka import AsyncContainer
from saq.job import Status

from app.settings import Settings
from saqueduct import Context, EngineQueue, Queues, enqueue_many, task
from saqueduct.queue.outcomes import Outcome, Settler
from saqueduct.tasks.job import EngineJob, holder
from saqueduct.worker.outcome_buffer import OutcomeBuffer
from tests.fixtures.poll import eventually
from tests.queue.kit import marking, taken, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    return queues.get("default")


CLOCK = 0.05
"""Seconds by which Redis' cached time may differ from its time."""


async def _leased(queue: EngineQueue, count: int) -> list[EngineJob]:
    """The next jobs, leased to somebody."""
    answer = await queue.scripts.run("lease", count, "somebody", 60)
    found = zip(*answer[4:], strict=True)
    jobs = [queue.read(queue.job_key_from_id(job_id.decode()), stored) for job_id, stored in found]
    for job in jobs:
        job.lease = answer[3].decode()
    return jobs


async def _running(queue: EngineQueue, *names: str) -> list[EngineJob]:
    mark = marking([])
    await enqueue_many(mark.bind(name=name) for name in names)
    return await _leased(queue, len(names))


def _complete(queue: EngineQueue, job: EngineJob, **fields: Any) -> Outcome:
    job.status = Status.COMPLETE
    for name, value in fields.items():
        setattr(job, name, value)
    return Outcome.finish(queue.core, job)


@pytest.mark.parametrize("channels", ["0", "many", ""])
@pytest.mark.parametrize("name", ["default", "a[b]*?\\"])
async def test_who_listens_to_one_of_many_jobs_hears_of_its_end(queue: EngineQueue, name: str, channels: str) -> None:
    """However many channels Redis is believed to have: that decides how they are looked for."""
    queue = EngineQueue(queue.redis, name)
    await queue.enqueue_many([EngineJob(function="noop") for _ in range(12)])
    jobs = await _leased(queue, 12)
    await queue.redis.delete(queue.namespace("channels"))
    if channels:
        await queue.redis.set(queue.namespace("channels"), channels)
    heard = [jobs[3].id, jobs[7].id]
    async with queue.redis.pubsub() as listener:
        await listener.subscribe(*heard, "elsewhere")
        for _ in (*heard, "elsewhere"):
            assert await listener.get_message(timeout=5)
        assert all(await queue.settler.settle([_complete(queue, job) for job in jobs]))
        messages = [await listener.get_message(timeout=5) for _ in heard]
        assert [message and (message["channel"].decode(), message["data"]) for message in messages] == [
            (each, b"complete") for each in heard
        ]
    if not channels:
        known = await queue.redis.get(queue.namespace("channels"))
        assert known is not None
        assert int(known) >= 3
        assert 0 < await queue.redis.ttl(queue.namespace("channels")) <= 10


async def test_each_of_many_gets_its_own_outcome(queue: EngineQueue, queues: Queues) -> None:
    kept, back, forever, lost, gone, later, short = await _running(
        queue, "kept", "back", "forever", "lost", "gone", "later", "short"
    )
    await queue.redis.hset(queue.namespace("owners"), lost.id, "somebody else|1")
    outcomes = [
        _complete(queue, kept, ttl=600),
        Outcome.release(queue.core, back),
        _complete(queue, forever, ttl=0),
        _complete(queue, lost, ttl=60),
        _complete(queue, gone, ttl=-1),
        Outcome.retry(queue.core, later, 3600),
        _complete(queue, short, ttl=599.5),
    ]
    before = await queue.time()
    assert await queue.settler.settle(outcomes) == [True, True, True, False, True, True, True]
    after = await queue.time()
    assert [await queue.redis.ttl(job.id) for job in (forever, lost, gone)] == [-1, -1, -2]
    for job in (kept, short):
        # To whole seconds, rounded up.
        assert before + 600 - CLOCK <= await _kept_until(queue, job.id) <= after + 600 + CLOCK
    assert [(await queues.find(job.key)).status for job in (kept, forever, lost)] == [
        Status.COMPLETE,
        Status.COMPLETE,
        Status.ACTIVE,
    ]
    assert await queue.redis.zrange(queue.namespace("leases"), 0, -1) == [lost.id.encode()]
    assert await queue.redis.zcard(queue.namespace("incomplete")) == 3
    assert await taken(queues, 1) == ["back"]
    assert await queue.count("queued") == 0
    due = await queue.redis.zscore(queue.namespace("incomplete"), later.id)
    assert due is not None
    assert before + 3600 - CLOCK <= due <= after + 3600 + CLOCK


async def _kept_until(queue: EngineQueue, key: str) -> float:
    """When Redis deletes a key, in epoch seconds."""
    async with queue.redis.pipeline(transaction=True) as pipe:
        pipe.time()
        pipe.pttl(key)
        (seconds, microseconds), left = await pipe.execute()
    return float(seconds + microseconds / 1e6 + left / 1000)


async def test_redis_keeps_leases_and_waiters_as_tables_however_few_they_are(queue: EngineQueue) -> None:
    mark = marking([])
    handle = await mark.enqueue(name="x")
    waiting = asyncio.create_task(handle.result(timeout=60))
    waiters = queue.namespace("waiters")
    await eventually(lambda: queue.redis.exists(waiters))
    [job] = await _leased(queue, 1)
    assert holder(job.lease)[0] == "somebody"
    assert await queue.redis.object("ENCODING", queue.namespace("owners")) == b"hashtable"
    assert await queue.redis.object("ENCODING", waiters) == b"hashtable"
    assert await queue.settler.settle([_complete(queue, job)]) == [True]
    assert await waiting is None


async def test_of_two_outcomes_under_one_lease_the_first_counts(queue: EngineQueue, queues: Queues) -> None:
    [job] = await _running(queue, "x")
    outcomes = [_complete(queue, job, result="first"), _complete(queue, job, result="second")]
    assert await queue.settler.settle(outcomes) == [True, False]
    assert (await queues.find(job.key)).result == "first"


async def test_an_outcome_under_a_lost_lease_is_not_written(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @task(timeout=60)
    async def slow(ctx: Context) -> str:
        started.set()
        await go.wait()
        return "of the first"

    handle = await slow.enqueue()
    queue = queues.get("default")
    async with working(settings, queues, container):
        await started.wait()
        await queue.redis.hset(queue.namespace("owners"), handle.id, "somebody else|1")
        go.set()
    current = await handle.refresh()
    assert (current.status, current.result, current.worker_id) == (Status.ACTIVE, None, "somebody else")


async def test_progress_under_a_lost_lease_is_not_written(queue: EngineQueue, queues: Queues) -> None:
    [job] = await _running(queue, "x")
    await job.update(progress=0.5)
    assert (await queues.find(job.key)).progress == 0.5
    await queue.redis.hset(queue.namespace("owners"), job.id, "another|1")
    await job.update(progress=0.9)
    assert (await queues.find(job.key)).progress == 0.5


async def test_an_outcome_that_redis_refuses_is_written_without_what_it_may_have_refused(
    queue: EngineQueue, queues: Queues
) -> None:
    jobs = await _running(queue, "good", "bad", "good too")
    written: list[str] = []
    outcomes = OutcomeBuffer(queue.core, queue.settler, lambda each: written.extend(key for key, _ in each))
    for job in jobs:
        outcome = _complete(queue, job, result=None)
        refused = (job.kwargs or {})["name"] == "bad"
        broken = Outcome(outcome.key, outcome.job, msgspec.structs.replace(outcome.how, number="no number"))
        outcomes.add(broken if refused else outcome, None)
    await outcomes.close()
    assert written == [job.key for job in jobs]
    assert [(await queues.find(job.key)).status for job in jobs] == [Status.COMPLETE] * 3


@pytest.mark.parametrize(
    ("mark", "counts"), [("|stalled", True), ("|hung", True), ("|late", False), ("|late\nwhy", False)]
)
async def test_an_outcome_counts_under_a_lease_that_was_offered_and_not_under_one_given_up(
    queue: EngineQueue, queues: Queues, mark: str, counts: bool
) -> None:
    [job] = await _running(queue, "x")
    await queue.redis.hset(queue.namespace("owners"), job.id, f"{job.lease}{mark}")
    assert await queue.settler.settle([_complete(queue, job)]) == [counts]
    assert (await queues.find(job.key)).status is (Status.COMPLETE if counts else Status.ACTIVE)
    assert await queue.redis.zcard(queue.namespace("leases")) == (0 if counts else 1)


@pytest.mark.parametrize("refused", ["outcome", "job", "abort"])
async def test_an_outcome_that_cannot_be_encoded_keeps_no_other_from_being_written(
    queue: EngineQueue, queues: Queues, refused: str
) -> None:
    spoilt, good = await _running(queue, "spoilt", "good")
    outcomes = OutcomeBuffer(queue.core, queue.settler, lambda _: None)
    outcome = Outcome.retry(queue.core, spoilt, 0)
    if refused == "abort":
        await queue.redis.hset(queue.namespace("aborting"), spoilt.id, "not wanted")
    else:
        outcome = Outcome(outcome.key, "\ud800", outcome.how)
    if refused != "outcome":
        # What a task goes on to do to its job after its attempt.
        spoilt.meta["mine"] = {object(): "no JSON"}
    outcomes.add(outcome, spoilt)
    outcomes.add(_complete(queue, good, ttl=60), None)
    await outcomes.close()
    assert (await queues.find(good.key)).status is Status.COMPLETE
    ended = await queues.find(spoilt.key)
    assert ended.status is (Status.ABORTED if refused == "abort" else Status.FAILED)
    assert "not wanted" in (ended.error or "") or "its outcome is refused" in (ended.error or "")
    assert not await queue.redis.hexists(queue.namespace("owners"), spoilt.id)


async def test_whatever_keeps_some_outcomes_from_being_written_later_ones_are(
    queue: EngineQueue, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await _running(queue, "first", "second")
    outcomes = OutcomeBuffer(queue.core, queue.settler, lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(Settler, "settle_each", _broken)
        outcomes.add(_complete(queue, first, ttl=60), None)
        await outcomes.close()
    outcomes.add(_complete(queue, second, ttl=60), None)
    await outcomes.close()
    assert len(outcomes) == 0
    assert (await queues.find(second.key)).status is Status.COMPLETE


async def _broken(*_: Any, **__: Any) -> None:
    raise LookupError("nobody has thought of it")
