"""Entries of jobs that are gone, and what their removal costs."""

from typing import Any, cast

import pytest
from saq.job import Status

from saqueduct import Context, Queues, enqueue_many, task
from saqueduct.queue.maintenance import ENTRIES_AT_ONCE, GONE, Maintenance
from saqueduct.queue.queue import EngineQueue
from saqueduct.testing import JobKit

pytestmark = pytest.mark.usefixtures("own_tasks")

LISTS = ("queued:high", "queued", "queued:low")


@pytest.fixture
def wait() -> Any:
    @task(record="none")
    async def wait(ctx: Context, *, n: int) -> int:
        return n

    return wait


async def cleaned(queue: EngineQueue) -> tuple[int, int]:
    """Entries checked and dropped by one run."""
    found = [each async for each in Maintenance(queue.core).check_entries(100)]
    return sum(checked for checked, _ in found), sum(dropped for _, dropped in found)


async def entries(queue: EngineQueue) -> list[str]:
    lists = [cast("list[bytes]", await queue.redis.lrange(queue.namespace(name), 0, -1)) for name in LISTS]
    return [entry.decode() for each in lists for entry in each]


async def calls_of(queue: EngineQueue, command: str) -> int:
    found = await queue.redis.info("commandstats")
    return int(found.get(f"cmdstat_{command}", {}).get("calls", 0))


async def test_entries_of_jobs_that_are_gone_leave_all_lists(queues: Queues, wait: Any) -> None:
    queue = queues.get("default")
    for level in ("high", "normal", "low"):
        await enqueue_many(wait.options(priority=level, key=f"{level}-{n}").bind(n=n) for n in range(10))
    gone = [queue.job_id(f"{level}-{n}") for level in ("high", "normal", "low") for n in range(0, 10, 2)]
    await queue.redis.delete(*gone)
    before = await entries(queue)
    assert await cleaned(queue) == (30, 15)
    assert await entries(queue) == [entry for entry in before if entry not in gone]
    assert await queue.count("queued") == 15


async def test_a_long_list_is_gone_through_once(queues: Queues, wait: Any) -> None:
    queue = queues.get("default")
    handles = await enqueue_many(wait.bind(n=n) for n in range(3000))
    gone = [queue.job_id(handle.key) for handle in handles[::3]]
    await queue.redis.delete(*gone)
    before = await calls_of(queue, "lrem"), await calls_of(queue, "lrange")
    assert await cleaned(queue) == (3000, 1000)
    assert await calls_of(queue, "lrem") - before[0] == 1
    assert await calls_of(queue, "lrange") - before[1] == 3000 // ENTRIES_AT_ONCE
    assert len(await entries(queue)) == 2000


async def test_nothing_is_searched_when_nothing_is_gone(queues: Queues, wait: Any) -> None:
    queue = queues.get("default")
    await enqueue_many(wait.bind(n=n) for n in range(10))
    before = await calls_of(queue, "lrange")
    assert await cleaned(queue) == (10, 0)
    assert await calls_of(queue, "lrange") == before


async def test_more_entries_than_one_command_removes_all_go(queues: Queues, wait: Any) -> None:
    queue = queues.get("default")
    handles = await enqueue_many(wait.bind(n=n) for n in range(50))
    await queue.redis.delete(*(queue.job_id(handle.key) for handle in handles[:30]))
    assert [each async for each in Maintenance(queue.core, removed_at_once=7).check_entries(100)] == [(50, 30)]
    assert await entries(queue) == [queue.job_id(handle.key) for handle in handles[30:]]


async def test_jobs_behind_marked_entries_run(jobs: JobKit, queues: Queues, wait: Any) -> None:
    queue = queues.get("default")
    gone = await wait.enqueue(n=1)
    await queue.redis.delete(queue.job_id(gone.key))
    left = await wait.enqueue(n=2)
    # A run that is cut off leaves its marks.
    assert await queue.scripts.run("dangling", queue.job_id(gone.key)) == 1
    assert await queue.scripts.run("clear", "normal", 0, 10, GONE) == [2, 1]
    await jobs.drain()
    assert (await queues.find(left.key)).status is Status.COMPLETE


@pytest.mark.parametrize("ends", [False, True], ids=["that waits", "that ended again"])
async def test_a_job_enqueued_anew_is_not_deleted_for_the_one_that_ended_long_ago(
    queues: Queues, wait: Any, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    queue = queues.get("default")
    for key in ("again", "old"):
        await wait.options(key=key, ttl=0).enqueue(n=1)
        ended = await queue.job(key)
        assert ended is not None
        await queue.redis.lrem(queue.namespace("queued"), 0, ended.id)
        ended.completed = 1000
        await ended.finish(Status.COMPLETE)
        ended.completed = 1000
        await queue.redis.set(ended.id, queue.serialize(ended))
    look = queue.iter_jobs

    async def enqueued_after_the_look(*args: Any, **options: Any) -> Any:
        for job in [each async for each in look(*args, **options)]:
            if job.key == "again":
                await wait.options(key="again", ttl=0).enqueue(n=2)
                if ends:
                    newer = await queue.job("again")
                    assert newer is not None
                    await newer.finish(Status.COMPLETE)
            yield job

    monkeypatch.setattr(queue, "iter_jobs", enqueued_after_the_look)
    assert await Maintenance(queue.core).delete_finished(1) == 1
    kept = await queue.job("again")
    assert kept is not None
    assert kept.kwargs == {"n": 2}
    assert await queue.job("old") is None
