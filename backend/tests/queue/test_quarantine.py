"""Jobs that kill their process fail in the end, and none beside them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from saq.job import Status

from saqueduct import Context, EngineQueue
from saqueduct.broker.connections import Connections
from saqueduct.tasks.job import ALONE, HUNG, STALLED, holder, marked, ran_alone
from saqueduct.tasks.job_meta import RECOVERIES
from saqueduct.timings import Timings
from saqueduct.worker.quarantine import Quarantine, company
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.poll import eventually
from tests.fixtures.python import Python
from tests.processes.stack import BACKEND

LEASE = "worker|" + "1" * 40


@asynccontextmanager
async def queues_of(url: str) -> AsyncIterator[list[EngineQueue]]:
    queues = [EngineQueue(Connections(url).client(name), name) for name in ("default", "other")]
    try:
        yield queues
    finally:
        for queue in queues:
            await queue.disconnect()


async def ended(queues: Sequence[EngineQueue], url: str) -> int:
    """Let worker processes run, one after the other as they die, until no job is left; returns how many died."""
    deaths = 0
    while True:
        process = Python(("-m", "tests.queue.poisoned_worker", url), cwd=BACKEND)
        dead = asyncio.create_task(asyncio.to_thread(process.wait))
        while not dead.done() and sum([await queue.count("incomplete") for queue in queues], 0):
            await asyncio.wait([dead], timeout=0.05)
        if not dead.done():
            process.terminate()
            await dead
            return deaths
        deaths += 1


@pytest.mark.parametrize(
    ("killers", "deaths"), [(1, range(4, 5)), (2, range(4, 9))], ids=["one that kills", "several that kill"]
)
async def test_jobs_that_kill_their_process_fail_and_no_job_beside_them(
    redis_url: str, empty_redis: None, killers: int, deaths: range
) -> None:
    async with queues_of(redis_url) as [queue, other]:
        keys = {"kill": [f"kill {n}" for n in range(killers)], "innocent": [f"innocent {n}" for n in range(12)]}
        for name, those in keys.items():
            for key in those:
                await queue.enqueue(name, key=key)
        for n in range(4):
            await other.enqueue("innocent", key=f"beside {n}")
        died = await ended([queue, other], redis_url)
        killed = await queue.jobs(keys["kill"])
        innocents = [*await queue.jobs(keys["innocent"]), *await other.jobs([f"beside {n}" for n in range(4)])]
    assert [job and job.status for job in innocents] == [Status.COMPLETE] * 16
    assert [(job.status, job.error) for job in killed if job] == [
        (Status.FAILED, "its worker died 4 times while it ran, at last alone")
    ] * killers
    assert died in deaths


@pytest.fixture
async def queue(redis_url: str, empty_redis: None, timings: Timings) -> AsyncIterator[EngineQueue]:
    queue = EngineQueue(Connections(redis_url).client("default"), timings=timings)
    yield queue
    await queue.disconnect()


@asynccontextmanager
async def working(queue: EngineQueue, function: Any, slots: int) -> AsyncIterator[EngineWorker]:
    worker = EngineWorker(queue, [function], concurrency=slots)
    running = asyncio.create_task(worker.start())
    try:
        yield worker
    finally:
        worker.request_stop()
        await running


async def recovered(queue: EngineQueue, name: str, recoveries: Sequence[int]) -> list[str]:
    """Jobs in line whose workers died so often; returns their keys."""
    for number, count in enumerate(recoveries):
        job = await queue.enqueue(name, key=f"{number}")
        assert job is not None
        job.meta = {RECOVERIES: count} if count else {}
        await queue.redis.set(job.id, queue.serialize(job))
    return [str(number) for number in range(len(recoveries))]


@pytest.mark.parametrize(
    ("recoveries", "most"),
    [([0, 1] * 8, 16), ([2] * 16, 4), ([3] * 4, 1), ([0, 0, 0, 3, 0, 0, 0], 6)],
    ids=["as many as there are slots", "in groups", "alone", "alone behind others"],
)
async def test_what_died_often_shares_its_process_with_few(
    queue: EngineQueue, recoveries: Sequence[int], most: int
) -> None:
    running: dict[str, int] = {}
    beside: dict[str, int] = {}
    together = asyncio.Event()

    async def work(ctx: Context) -> None:
        job = ctx["job"]
        running[job.key] = job.meta.get(RECOVERIES, 0)
        for key in running:
            beside[key] = max(beside.get(key, 0), len(running))
        # The first ones wait for each other, however slowly they begin; then there is time for one too many.
        if len(running) == most:
            together.set()
        if running[job.key] < 3:
            await together.wait()
        await asyncio.sleep(0.05)
        del running[job.key]

    keys = await recovered(queue, work.__qualname__, recoveries)
    async with working(queue, work, 16):
        await eventually(lambda: _none_left(queue))
    assert [job and job.status for job in await queue.jobs(keys)] == [Status.COMPLETE] * len(keys)
    assert max(beside.values()) == most
    alone = {key for key, count in zip(keys, recoveries, strict=True) if count == 3}
    assert {beside[key] for key in alone} <= {1}


async def test_a_busy_worker_makes_room_and_starts_no_others_meanwhile(queue: EngineQueue) -> None:
    begun: list[str] = []
    release = asyncio.Event()

    async def work(ctx: Context) -> None:
        begun.append(ctx["job"].key)
        if ctx["job"].key != "behind":
            await release.wait()

    async with working(queue, work, 4) as worker:
        await queue.enqueue(work.__qualname__, key="first")
        await eventually(lambda: begun)
        await queue.pause()
        await recovered(queue, work.__qualname__, [3])
        await queue.enqueue(work.__qualname__, key="behind")
        await queue.resume()
        await eventually(lambda: worker.in_quarantine)
        assert begun == ["first"]
        release.set()
        await eventually(lambda: _none_left(queue))
    assert begun == ["first", "0", "behind"]


async def test_five_hundred_jobs_of_dead_workers_run_at_once(queue: EngineQueue) -> None:
    running: set[str] = set()
    all_run = asyncio.Event()

    async def work(ctx: Context) -> None:
        running.add(ctx["job"].key)
        if len(running) == 500:
            all_run.set()
        await all_run.wait()

    await recovered(queue, work.__qualname__, [1] * 500)
    async with working(queue, work, 500):
        await eventually(lambda: _none_left(queue))


@pytest.mark.timings(recovery_wait=0.0)
async def test_a_job_that_did_not_run_alone_goes_back_however_often_its_workers_died(queue: EngineQueue) -> None:
    [key] = await recovered(queue, "work", [3])
    for _ in range(3):
        await queue.scripts.run("lease", 1, "dying", -1)
        assert await queue.recover() == [queue.job_id(key)]
    job = await queue.job(key)
    assert job is not None
    assert (job.status, job.meta) == (Status.QUEUED, {RECOVERIES: 3})


async def test_a_lease_is_noted_to_be_alone_once_and_only_by_its_holder(queue: EngineQueue) -> None:
    [key] = await recovered(queue, "work", [3])
    _, _, _, lease, *_ = await queue.scripts.run("lease", 1, "worker", 60)
    held = lease.decode()
    # The second answers a call whose first answer was lost.
    assert [await queue.scripts.run("isolate", key, held) for _ in range(2)] == [1, 1]
    assert await queue.scripts.run("isolate", key, "somebody else's") == 0
    assert await queue.redis.hget(queue.namespace("owners"), queue.job_id(key)) == f"{held}{ALONE}".encode()


@pytest.mark.parametrize("mark", ["", STALLED, HUNG, "|late\nwhy"])
def test_a_lease_says_whether_its_job_ran_alone(mark: str) -> None:
    assert [ran_alone(LEASE + mark), ran_alone(LEASE + ALONE + mark)] == [False, True]
    assert holder(LEASE + ALONE + mark) == holder(LEASE)
    assert marked(LEASE + ALONE + mark) == marked(LEASE + mark)


def test_the_company_of_a_job_shrinks_with_each_death() -> None:
    assert [company(2, slots) for slots in (1, 4, 32, 300)] == [1, 2, 5, 17]
    assert [company(3, slots) for slots in (1, 4, 32, 300)] == [1, 1, 1, 1]


def test_a_process_has_room_for_what_all_allow() -> None:
    quarantine, taken = Quarantine(), [2, 1]
    quarantine.members += [lambda: taken[0], lambda: taken[1]]
    assert (quarantine.active, quarantine.fits(4), quarantine.fits(3)) == (False, True, False)
    quarantine.limit("a", 5)
    quarantine.limit("b", 4)
    assert (quarantine.room(), quarantine.room(apart_from="b"), quarantine.fits(9)) == (1, 2, True)
    quarantine.limit("b", 0)
    assert (quarantine.room(), quarantine.fits(9)) == (0, False)
    quarantine.lift("b")
    assert quarantine.room() == 2


async def _none_left(queue: EngineQueue) -> bool:
    return not await queue.count("incomplete")
