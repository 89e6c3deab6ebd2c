"""Blocking calls beside event loops, and in them."""

import asyncio
import threading
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar, post
from litestar.di import NamedDependency

from app.main import create_app
from app.queue.catalog import TasksRegistry
from app.queue.tasks import ping
from app.settings import Settings
from app.shell import open_container
from saqueduct import INJECTED, ConfigurationError, Context, Queues, enqueue_many, task
from saqueduct.blocking import CalledInEventLoop
from saqueduct.errors import OtherEventLoop
from saqueduct.testing import JobKit
from tests.conftest import running
from tests.fixtures.composition import build_queues


async def test_in_an_event_loop_every_call_is_refused(registry: TasksRegistry, settings: Settings) -> None:
    result = await asyncio.to_thread(registry.ping.delay)
    calls: list[Any] = [registry.ping.delay, registry.ping.apply_async, registry.ping.apply, registry.ping]
    calls += [result.get, result.ready, result.revoke, lambda: result.status, lambda: result.result]
    calls += [lambda: open_container(settings)]
    for call in calls:
        with pytest.raises(CalledInEventLoop, match=r"await task\.enqueue"):
            call()


async def test_async_code_awaits_the_entry_instead(registry: TasksRegistry, jobs: JobKit) -> None:
    job = await registry.ping.options(key="mine").enqueue()
    assert job.key == "mine"


async def test_a_def_task_calls_through_the_loop_of_its_worker(registry: TasksRegistry, jobs: JobKit) -> None:
    @task
    def asks(ctx: Context, *, registry: TasksRegistry = INJECTED) -> dict[str, str]:
        return registry.ping.delay().get(timeout=60)

    async with jobs.working():
        assert await asks.apply() == {"result": "pong"}


@pytest.mark.usefixtures("workers", "engine")
async def test_a_sync_handler_calls_through_the_loop_of_the_web_process(settings: Settings) -> None:
    @post("/blocking", sync_to_thread=True)
    def handler(registry: NamedDependency[TasksRegistry]) -> str:
        assert threading.current_thread() is not threading.main_thread()
        return registry.ping.delay().get(timeout=60)["result"]

    application: Litestar = create_app(settings)
    application.register(handler)
    transport = httpx.ASGITransport(cast("Any", application))
    async with running(application), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.post("/blocking")
    assert (answer.status_code, answer.text) == (201, "pong")


async def test_queues_that_are_not_connected_are_named(queues: Queues, registry: TasksRegistry) -> None:
    await queues.disconnect()
    loop, queues.get("default")._loop = queues.get("default")._loop, None
    with pytest.raises(ConfigurationError, match="not connected to a running event loop"):
        await asyncio.to_thread(registry.ping.delay)
    queues.get("default")._loop = loop


async def connections(queues: Queues) -> int:
    """Connections that Redis has."""
    return len(await queues.get("default").redis.client_list())


async def test_a_loop_of_its_own_in_a_def_task_is_refused_with_the_blocking_call(queues: Queues, jobs: JobKit) -> None:
    @task
    def asks(ctx: Context) -> str:
        asyncio.run(ping.enqueue())
        return "enqueued"

    ended = await jobs.run(asks)
    assert "OtherEventLoop" in str(ended.error)
    assert "task.delay(...)" in str(ended.error)
    assert await queues.get("default").count("queued") == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda queues, handle: ping.enqueue(),
        lambda queues, handle: ping.options(durable=True).enqueue(),
        lambda queues, handle: ping.map([{}, {}]),
        lambda queues, handle: ping.apply(),
        lambda queues, handle: enqueue_many([ping.bind(), ping.bind()]),
        lambda queues, handle: queues.enqueue("ping"),
        lambda queues, handle: queues.get("default").enqueue("ping"),
        lambda queues, handle: queues.find(handle.key),
        lambda queues, handle: queues.abort(handle.key),
        lambda queues, handle: queues.schedules(),
        lambda queues, handle: queues.get("default").count("queued"),
        lambda queues, handle: queues.get("default").stats(),
        lambda queues, handle: queues.get("default").pause(),
        lambda queues, handle: queues.get("default").connect(),
        lambda queues, handle: queues.get("default").listen([handle.key], lambda *_: True),
        lambda queues, handle: handle.result(timeout=60),
        lambda queues, handle: handle.status(),
        lambda queues, handle: handle.abort(),
        lambda queues, handle: anext(handle.updates()),
    ],
)
async def test_queues_are_not_awaited_in_another_event_loop(queues: Queues, call: Any) -> None:
    handle = await ping.enqueue()
    await handle.status()
    before = await connections(queues)

    def in_a_loop_of_its_own() -> None:
        async def awaiting() -> None:
            await call(queues, handle)

        asyncio.run(awaiting())

    # At the same time as the event loop of the queues uses them.
    working = asyncio.gather(*(ping.enqueue() for _ in range(50)))
    with pytest.raises(OtherEventLoop, match=r"task\.delay"):
        await asyncio.to_thread(in_a_loop_of_its_own)
    assert len(await working) == 50
    assert await connections(queues) == before
    assert (await queues.find(handle.key)).key == handle.key


async def test_an_event_loop_of_its_own_with_queues_of_its_own_goes(settings: Settings, queues: Queues) -> None:
    await ping.enqueue()

    async def own() -> str:
        mine = build_queues(settings)
        await mine.connect()
        try:
            return (await ping.enqueue()).key
        finally:
            await mine.disconnect()

    key = await asyncio.to_thread(asyncio.run, own())
    assert (await queues.find(key)).function == "ping"


def test_queues_may_move_to_the_next_event_loop_when_they_are_disconnected(
    settings: Settings, empty_redis: None
) -> None:
    queues = build_queues(settings)

    async def once() -> bool:
        await queues.connect()
        created = (await ping.enqueue()).created
        await queues.disconnect()
        return created

    assert [asyncio.run(once()) for _ in range(3)] == [True, True, True]


def test_queues_whose_event_loop_ended_too_early_say_so(settings: Settings, empty_redis: None) -> None:
    queues = build_queues(settings)
    with asyncio.Runner() as first:
        first.run(queues.connect())

        async def enqueue() -> None:
            await ping.enqueue()

        first.run(enqueue())
        with asyncio.Runner() as second, pytest.raises(OtherEventLoop):
            second.run(queues.connect())
        first.run(queues.disconnect())
