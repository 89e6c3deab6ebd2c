"""Blocking calls beside event loops, and in them."""

import asyncio
import threading
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar, post
from litestar.di import NamedDependency

from app.main import create_app
from app.queue import (
    INJECTED,
    ConfigurationError,
    Context,
    Queues,
    task,
)
from app.queue.blocking import CalledInEventLoop
from app.queue.catalog import TasksRegistry
from app.queue.testing import JobKit
from app.settings import Settings
from app.shell import open_container
from tests.conftest import running


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
        return registry.ping.delay().get(timeout=10)

    async with jobs.working():
        assert await registry["asks"].task.apply() == {"result": "pong"}


@pytest.mark.usefixtures("workers", "engine")
async def test_a_sync_handler_calls_through_the_loop_of_the_web_process(settings: Settings) -> None:
    @post("/blocking", sync_to_thread=True)
    def handler(registry: NamedDependency[TasksRegistry]) -> str:
        assert threading.current_thread() is not threading.main_thread()
        return registry.ping.delay().get(timeout=10)["result"]

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
