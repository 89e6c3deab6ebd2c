"""A Redis that answers and refuses everything is away as one that does not answer: no outcome is dropped for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, cast

import pytest
from dishka import AsyncContainer
from redis import exceptions
from redis.asyncio import Redis
from saq.job import Status

from app.settings import Settings
from saqueduct import Context, EngineQueue, Queues, QueueUnavailable, task
from saqueduct.broker.outage import refuses_all
from tests.fixtures.poll import eventually
from tests.queue.kit import RecoveryClock, status, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")


async def _refused(redis: Redis) -> bool:
    try:
        await redis.set("probe", 1)
    except exceptions.ResponseError:
        return True
    return False


@asynccontextmanager
async def without_replicas(queue: EngineQueue) -> AsyncIterator[None]:
    """Redis wants a replica before it writes, and has none."""
    await queue.redis.config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        await queue.redis.config_set("min-replicas-to-write", 0)


@asynccontextmanager
async def busy(queue: EngineQueue) -> AsyncIterator[None]:
    """A script blocks Redis."""
    # Since Redis 7 another name for busy-reply-threshold.
    name = "lua-time-limit"
    before = (await queue.redis.config_get(name))[name] or 5000
    await queue.redis.config_set(name, 1)
    endless = asyncio.create_task(cast("Any", queue.redis).execute_command("EVAL", "while true do end", 0))
    try:
        await eventually(lambda: _refused(queue.redis))
        yield
    finally:
        await queue.redis.script_kill()
        await asyncio.wait([endless])
        with suppress(exceptions.ResponseError):
            await endless
        await queue.redis.config_set(name, before)


Refusal = Callable[[EngineQueue], AbstractAsyncContextManager[None]]


@pytest.mark.parametrize("refusal", [without_replicas, busy])
async def test_what_a_job_came_to_is_written_when_redis_takes_it_again(
    settings: Settings, queues: Queues, container: AsyncContainer, refusal: Refusal
) -> None:
    queue = queues.get("default")
    runs: list[str] = []
    go = asyncio.Event()

    @task
    async def short(ctx: Context) -> str:
        runs.append(ctx["job"].key)
        await go.wait()
        return "done"

    job = await queues.enqueue("short")
    async with working(settings, queues, container):
        await eventually(lambda: runs)
        async with refusal(queue):
            go.set()
            await eventually(lambda: queue.away)
        ended = await status(queues, job, Status.COMPLETE)
    assert (ended.result, len(runs)) == ("done", 1)


@pytest.mark.parametrize("refusal", [without_replicas, busy])
async def test_producers_get_the_error_that_the_queue_is_unavailable(queues: Queues, refusal: Refusal) -> None:
    @task
    async def short(ctx: Context) -> None: ...

    queue = queues.get("default")
    async with refusal(queue):
        with pytest.raises(QueueUnavailable):
            await short.enqueue()
    async with busy(queue):
        for call in (queue.stats, queue.ping, lambda: queue.fetch("any")):
            await _raises(call)


async def _raises(call: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(QueueUnavailable):
        await call()


@pytest.mark.timings(recovery_wait=60.0)
async def test_leases_that_could_not_be_renewed_are_not_taken_at_once(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = RecoveryClock(monkeypatch)

    @task
    async def short(ctx: Context) -> None: ...

    handle = await short.enqueue()
    queue = queues.get("default")
    await queue.scripts.run("lease", 1, "worker", -1)
    async with without_replicas(queue):
        for _ in range(2):
            with pytest.raises(exceptions.ConnectionError):
                await queue.recover()
            clock.advance(61)
    # Living workers get as long as ever to renew them.
    assert await queue.recover() == []
    clock.advance(61)
    assert await queue.recover() == [handle.id]


@pytest.mark.parametrize(
    ("error", "all_of_it"),
    [
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), True),
        (exceptions.ResponseError("Error running script (call to f_1): @user_script:73: -NOREPLICAS Not enough"), True),
        (exceptions.NoPermissionError("this user has no permissions to run the 'evalsha' command"), True),
        (exceptions.MasterDownError("Link with MASTER is down"), True),
        (exceptions.ResponseError("user_script:73: bad argument #1 to 'ceil'"), False),
        (exceptions.ResponseError("BUSYGROUP Consumer Group name already exists"), False),
    ],
)
def test_what_refuses_everything(error: exceptions.ResponseError, all_of_it: bool) -> None:
    assert refuses_all(error) is all_of_it
