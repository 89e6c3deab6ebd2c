"""Limits after Redis was killed, and in several queues."""

import contextlib
from pathlib import Path

import psutil
import pytest

from saqueduct import Concurrency, Context, EngineQueue, Rate, TaskRegistry, task
from saqueduct.embedded.redis import EmbeddedRedis
from tests.fixtures.clients import patient
from tests.flow.hands import Hands, names

pytestmark = pytest.mark.usefixtures("registry")

ONE = Concurrency(1, name="one", by="key")
SLOW = Rate("slow", 1, per=1000)


async def test_a_killed_redis_keeps_lanes_and_places(tmp_path: Path) -> None:
    tasks = TaskRegistry()

    @tasks.task(limits=(ONE,), takes=(SLOW, Concurrency(1, name="part")), fair="key")
    async def work(ctx: Context, *, n: int, key: int = 0) -> None: ...

    server = EmbeddedRedis(tmp_path)
    url = server.start()
    try:
        async with contextlib.AsyncExitStack() as stack:
            redis = await stack.enter_async_context(patient(url))
            hands = Hands(EngineQueue(redis, "default", tasks=tasks))
            await hands.queue.enqueue_many([work.job({"n": n, "key": n % 2}) for n in range(6)])
            first, second = await hands.all()
            assert await hands.take(first, "part\t", "a" * 16) == "granted"
            assert await hands.take(second, "part\t", "b" * 16) == ""
            assert await hands.take(first, "slow\t", "c" * 16, SLOW.rule) == "free"
            psutil.Process(int(server._pid_file.read_text())).kill()
            server.stop()
            server.start()
            await redis.connection_pool.disconnect()
            assert await hands.all() == []
            assert float(await hands.take(first, "slow\t", "d" * 16, SLOW.rule)) > 900
            await hands.finish(first)
            assert await hands.take(second, "part\t", "b" * 16) == "granted"
            [third] = await hands.all()
            await hands.finish(second, third)
            fourth, fifth = await hands.all()
            await hands.finish(fourth, fifth)
            assert names([first, second, third, fourth, fifth, *await hands.all()]) == [0, 1, 2, 3, 4, 5]
    finally:
        server.stop()


async def test_each_queue_has_its_own_limits(queue: EngineQueue) -> None:
    there = EngineQueue(queue.redis, "mails", tasks=(tasks := TaskRegistry()))

    @tasks.task(limits=(ONE,), queue="mails")
    async def mail(ctx: Context, *, n: int, key: int = 0) -> None: ...

    @task(limits=(ONE,))
    async def work(ctx: Context, *, n: int, key: int = 0) -> None: ...

    await queue.enqueue_many([work.job({"n": n}) for n in range(2)])
    await there.enqueue_many([mail.job({"n": n}) for n in range(2)])
    hands, mails = Hands(queue), Hands(there)
    await queue.pause()
    assert await hands.all() == []
    assert names(await mails.all()) == [0]
    await queue.resume()
    [job] = await hands.all()
    await hands.finish(job)
    assert names(await hands.all()) == [1]
    assert await mails.all() == []
