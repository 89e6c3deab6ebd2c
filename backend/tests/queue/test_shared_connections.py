"""A process shares its connections and threads, however many queues it works."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from saq.job import Status

from app.settings import Settings, load_settings
from saqueduct import Context, Queues, task
from saqueduct.broker.connections import LINES, SHARED, Connections
from saqueduct.broker.transport import Lines
from saqueduct.timings import Timings
from tests.fixtures.composition import build_container, build_queues, build_workers
from tests.fixtures.emptying import CLIENT
from tests.fixtures.poll import eventually

pytestmark = pytest.mark.usefixtures("own_tasks", "engine")

QUEUES = 40


@pytest.fixture
def many(environment: dict[str, str]) -> Settings:
    names = ["default", *(f"q{number}" for number in range(1, QUEUES))]
    return load_settings({**environment, "QUEUE_NAMES": ",".join(names)})


@asynccontextmanager
async def working_on(settings: Settings) -> AsyncIterator[Queues]:
    """Workers of all queues in this process."""
    queues = build_queues(settings)
    container = build_container(settings, queues)
    await queues.connect()
    workers = build_workers(settings, queues, container)
    running = [asyncio.create_task(worker.start()) for worker in workers]
    try:
        yield queues
    finally:
        for worker in workers:
            worker.request_stop()
        await asyncio.gather(*running)
        await container.close()
        await queues.disconnect()


@pytest.mark.usefixtures("empty_redis")
async def test_a_worker_of_many_queues_has_few_connections_and_threads(many: Settings) -> None:
    @task(record="none")
    async def where(ctx: Context) -> str:
        return ctx["queue"].name

    before = threading.active_count()
    async with working_on(many) as queues:
        handles = [await where.options(queue=name).enqueue() for name in queues.by_name]
        for handle in handles:
            await eventually(partial(_ended, queues, handle.key))
        # Upkeep, reports and leases of all queues have had their turns.
        await eventually(lambda: _all_report(queues))
        clients = await queues.get("default").redis.client_list()
        assert len([each for each in clients if each["name"] != CLIENT]) <= QUEUES + SHARED + LINES + 1
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("leases") == 1
        assert names.count("pulse") == 1
        assert threading.active_count() <= before + 2
    await eventually(_no_lease_thread)


async def _ended(queues: Queues, key: str) -> bool:
    return (await queues.find(key)).status is Status.COMPLETE


async def _all_report(queues: Queues) -> bool:
    return all([await queue.redis.hlen(queue.namespace("vitals")) == 1 for queue in queues])


async def _no_lease_thread() -> bool:
    return "leases" not in {thread.name for thread in threading.enumerate()}


async def test_many_commands_share_a_few_connections(settings: Settings, queues: Queues) -> None:
    redis = Connections(settings.redis.url.reveal(), Timings(free_connection=60.0)).client("default")
    before = len(await queues.get("default").redis.client_list())
    await asyncio.gather(*(redis.ping() for _ in range(20 * SHARED)))
    assert len(await queues.get("default").redis.client_list()) - before <= SHARED
    await redis.aclose()
    await redis.connection_pool.disconnect()


async def test_tasks_that_keep_connections_starve_no_command(settings: Settings, queues: Queues) -> None:
    redis = Connections(settings.redis.url.reveal(), Timings(free_connection=0.05)).client("default")
    keeping = [asyncio.ensure_future(redis.blpop(["nobody"], timeout=30)) for _ in range(SHARED)]
    await eventually(lambda: _blocked(queues, SHARED))
    assert await redis.ping()
    for each in keeping:
        each.cancel()
    await asyncio.wait(keeping)
    await redis.aclose()
    await redis.connection_pool.disconnect()


async def _blocked(queues: Queues, count: int) -> bool:
    info: Any = await queues.get("default").redis.info("clients")
    return bool(info["blocked_clients"] >= count)


async def test_calls_beyond_the_most_lines_wait_for_one(queues: Queues) -> None:
    queue = queues.get("default")
    lines = Lines(queue.redis, most=2)
    answers = await asyncio.gather(*(lines.call(("ECHO", str(number))) for number in range(50)))
    assert answers == [[str(number).encode()] for number in range(50)]
    assert len(lines._idle) == 2


async def test_a_call_that_is_cancelled_while_it_waits_keeps_no_line(queues: Queues) -> None:
    lines = Lines(queues.get("default").redis, most=1)
    first = asyncio.ensure_future(lines.call(("BLPOP", "nobody", "0.2")))
    waiting = [asyncio.ensure_future(lines.call(("PING",))) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    assert await first == [None]
    assert await asyncio.gather(*waiting[1:]) == [[b"PONG"], [b"PONG"]]
    assert waiting[0].cancelled()
    assert len(lines._idle) == 1


async def test_a_line_that_cannot_be_opened_fails_its_own_call_only(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = queues.get("default").redis
    pool: Any = redis.connection_pool
    real, tries = pool.get_connection, 0

    async def fails_once(*args: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            await asyncio.sleep(0)
            raise RedisConnectionError("away")
        return await real(*args)

    monkeypatch.setattr(pool, "get_connection", fails_once)
    lines = Lines(redis, most=1)
    found = await asyncio.gather(*(lines.call(("PING",)) for _ in range(3)), return_exceptions=True)
    assert isinstance(found[0], RedisConnectionError)
    assert found[1:] == [[b"PONG"], [b"PONG"]]
