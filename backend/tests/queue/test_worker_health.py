"""Health of workers: blocked event loops, and workers that live and take nothing."""

import asyncio
import dataclasses
import threading
import time
from typing import cast

import httpx
import pytest
from dishka import AsyncContainer

from app.settings import Settings
from saqueduct import Context, EngineQueue, Queues, task
from saqueduct.broker.connections import blocking_client
from saqueduct.worker.leasing import Leased, Leasing
from tests.fixtures.poll import eventually
from tests.queue.kit import working

pytestmark = [pytest.mark.usefixtures("own_tasks"), pytest.mark.timings(renewal=0.1, not_consuming=0.3)]


async def test_a_job_that_blocks_the_event_loop_is_named_with_its_stack(
    settings: Settings, queues: Queues, container: AsyncContainer, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[bytes] = []
    queue = queues.get("default")

    def blocked() -> bool:
        return "blocks it" in caplog.text and any(b"blocker" in each for each in reported)

    @task
    async def blocks(ctx: Context) -> str:
        # What it blocks cannot look; another thread does, as health does from another process.
        deadline = time.monotonic() + 50
        with blocking_client(queue.redis) as client:
            while not blocked() and time.monotonic() < deadline:
                reported.extend(cast("dict[bytes, bytes]", client.hgetall(queue.namespace("vitals"))).values())
        return ctx["job"].key

    async with working(settings, queues, container):
        key = await (await blocks.enqueue()).result(timeout=60)
    [record] = [record for record in caplog.records if "blocks it" in record.getMessage()]
    assert f"job {key} of blocks blocks it" in record.getMessage()
    stack = record.__dict__["stack"]
    assert __file__ in stack
    assert "in blocks" in stack
    assert any(f"job {key} of blocks".encode() in each for each in reported)


async def test_the_problem_is_over_when_the_loop_answers_again(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    queue = queues.get("default")

    @task
    async def blocks(ctx: Context) -> None:
        threading.Event().wait(1.0)

    async with working(settings, queues, container):
        await eventually(lambda: queue.redis.hlen(queue.namespace("vitals")))
        await (await blocks.enqueue()).result(timeout=60)

        async def free() -> bool:
            return await queue.problems() == []

        await eventually(free)
    assert await queue.redis.hlen(queue.namespace("vitals")) == 0


async def test_health_tells_a_worker_that_lives_and_takes_nothing(
    settings: Settings,
    queues: Queues,
    container: AsyncContainer,
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs = asyncio.Event()

    async def lease(*_: object, **__: object) -> Leased:
        # A worker that has lost its way to the queue, whatever the reason.
        hangs.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Leasing, "lease", lease)
    async with working(settings, queues, container) as worker:
        await eventually(queues.get("default").live_workers)
        await hangs.wait()
        await queues.enqueue("ping")

        async def degraded() -> list[str]:
            answer = (await client.get("/health/ready")).json()["workers"]
            return answer["problems"] if answer["status"] == "degraded" else []

        [problem] = await eventually(degraded)
        assert f"the worker {worker.id} is alive but not consuming" in problem


async def test_a_worker_with_all_slots_taken_is_no_problem(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    release = asyncio.Event()

    @task
    async def waits(ctx: Context) -> None:
        await release.wait()

    queue = queues.get("default")
    async with working(settings, queues, container) as worker:
        for _ in range(worker.concurrency + 1):
            await waits.enqueue()
        await eventually(lambda: worker._runner is not None and len(worker._runner.running) == worker.concurrency)
        # What it reported before that counts no more.
        await eventually(lambda: _tells(queue, b'"free":0'))
        seen = [await queue.time()]

        async def later() -> bool:
            seen.append(await queue.time())
            assert await queue.problems() == []
            return seen[-1] - seen[0] > 1.0

        await eventually(later)
        release.set()


async def _tells(queue: EngineQueue, words: bytes) -> bool:
    reports = cast("dict[bytes, bytes]", await queue.redis.hgetall(queue.namespace("vitals")))
    return any(words in report for report in reports.values())


async def test_a_dead_workers_vitals_are_forgotten(queues: Queues) -> None:
    queue = queues.get("default")
    await queue.scripts.run("beat", "w1", '{"leased":0.0,"free":1,"blocked":9.0}')
    assert await queue.problems() == [
        "queue default: the worker w1 is blocked for 9.0 s: something that is no job keeps its event loop"
    ]
    queue.core.timings = dataclasses.replace(queue.core.timings, report_stale=0.0)
    assert await queue.problems() == []
    assert await queue.redis.hlen(queue.namespace("vitals")) == 0
