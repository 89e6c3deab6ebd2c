"""Aborts and stops: a reported abort or release has really happened."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from dishka import AsyncContainer
from saq.job import Status

from app.settings import Settings, load_settings
from saqueduct import Context, JobHandle, Queues, enqueue_many, task
from saqueduct.worker.job_runner import JobRunner
from tests.fixtures.composition import build_workers
from tests.fixtures.poll import eventually
from tests.queue.kit import waiting_task, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")


@asynccontextmanager
async def impatient(environment: dict[str, str], queues: Queues, container: AsyncContainer) -> AsyncIterator[None]:
    """A worker that hands its jobs back as soon as it is to stop."""
    async with working(load_settings(environment | {"WORKER_GRACE_PERIOD": "0"}), queues, container):
        yield


def cleaning_up(**options: Any) -> tuple[Any, asyncio.Event]:
    """A task whose clean-up raises when it is cancelled; and whether its job has started."""
    started = asyncio.Event()

    @task(**options)
    async def cleans_up(ctx: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("connection closed while cleaning up")

    return cleans_up, started


async def _became(handle: JobHandle[None]) -> tuple[Status, str | None, int]:
    job = await handle.refresh()
    return job.status, job.error, job.attempts


async def test_a_job_whose_clean_up_raises_is_handed_back_all_the_same(
    environment: dict[str, str], queues: Queues, container: AsyncContainer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "saqueduct.worker")
    cleans_up, started = cleaning_up(timeout=60)
    handle = await cleans_up.enqueue()
    async with impatient(environment, queues, container):
        await started.wait()
    assert await _became(handle) == (Status.QUEUED, "cancelled", 0)
    assert "queue default: jobs still running: 1; they get" in caplog.text
    assert "queue default: jobs that did not end in time and go back: 1" in caplog.text


async def test_a_job_whose_clean_up_raises_is_aborted_all_the_same(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    cleans_up, started = cleaning_up(timeout=60, retries=3, retry_delay=30)
    handle = await cleans_up.enqueue()
    async with working(settings, queues, container):
        await started.wait()
        await handle.abort("not wanted")
        await eventually(handle.done)
    assert await _became(handle) == (Status.ABORTED, "not wanted", 1)


async def test_a_job_that_fails_before_its_abort_is_noticed_does_not_run_again(
    settings: Settings, queues: Queues, container: AsyncContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go = asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    @task(timeout=60, retries=3)
    async def fails(ctx: Context) -> None:
        runs.append(ctx["job"].attempts)
        started.set()
        await go.wait()
        raise ValueError("no use")

    async def notices_none(threshold: float) -> None: ...

    handle = await fails.enqueue()
    async with working(settings, queues, container) as worker:
        # Before it starts.
        monkeypatch.setattr(worker, "abort", notices_none)
        await started.wait()
        await handle.abort("not wanted")
        assert await handle.status() is Status.ABORTING
        go.set()
        await eventually(handle.done)
    assert await _became(handle) == (Status.ABORTED, "not wanted", 1)
    assert runs == [1]
    queue = queues.get("default")
    assert await queue.redis.exists(*map(queue.namespace, ("aborting", "owners", "leases", "incomplete"))) == 0


async def test_a_job_that_is_handed_back_before_its_abort_is_noticed_does_not_run_again(
    environment: dict[str, str], queues: Queues, container: AsyncContainer
) -> None:
    waits, started = waiting_task()
    handle = await waits.enqueue()
    async with impatient(environment, queues, container):
        await started.wait()
        await handle.abort("not wanted")
    status, error, _ = await _became(handle)
    assert (status, error) == (Status.ABORTED, "not wanted")


async def test_a_draining_worker_notices_aborts(
    environment: dict[str, str], queues: Queues, container: AsyncContainer
) -> None:
    waits, started = waiting_task()
    handle = await waits.enqueue()
    patient = load_settings(environment | {"WORKER_GRACE_PERIOD": "3600"})
    [worker] = build_workers(patient, queues, container)
    running = asyncio.create_task(worker.start())
    await started.wait()
    worker.request_stop()
    await handle.abort("not wanted")
    # Long before its grace period is over.
    await asyncio.wait_for(running, 120)
    assert await _became(handle) == (Status.ABORTED, "not wanted", 1)


async def test_jobs_that_have_not_begun_are_handed_back_too(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    runs: list[str] = []

    @task
    async def late(ctx: Context) -> None:
        runs.append(ctx["job"].key)

    handles = await enqueue_many(late.bind() for _ in range(3))
    [worker] = build_workers(settings, queues, container)
    slots = JobRunner(worker, queues.get("default"))
    slots.keeper.start()
    leased = await slots.leasing.lease(3, held=0)
    slots._take(leased.jobs)
    assert len(slots.running) == 3
    await slots.release(1)
    await slots.close()
    assert [await handle.status() for handle in handles] == [Status.QUEUED] * 3
    assert runs == []
