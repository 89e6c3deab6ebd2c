"""A job that blocks the event loop pays alone."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from dishka import AsyncContainer
from saq import Job
from saq.job import Status

from app.settings import Settings
from saqueduct import Context, JobHandle, Queues, task
from saqueduct.tasks.job import Held
from saqueduct.tasks.job_meta import RECOVERIES, STALLS
from saqueduct.testing.setup import QueueSetup
from saqueduct.testing.threads import worker_thread
from saqueduct.worker.job_runner import JobRunner
from tests.fixtures.composition import build_workers
from tests.fixtures.poll import eventually
from tests.queue.kit import status, working

pytestmark = [
    pytest.mark.usefixtures("only_own_tasks"),
    pytest.mark.timings(renewal=0.1, timeout_grace=0.1, loop_first=0.1, stall=0.4, loop_notice=0.2, recovery_look=0.1),
]

BRIEF, LONG = 4, 4.5
"""Seconds for the timeout of an innocent job, and for which another blocks the event loop. So the blocked time alone
would be too long for it, and all that it does itself may take almost as long as its timeout."""


class Scene:
    """Innocent jobs that wait for a word, and notes of what began."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.go = threading.Event()
        self.blocking = threading.Event()
        self.release = threading.Event()

    async def wait(self, ctx: Context) -> int:
        """The body of an innocent job; it may run on any event loop."""
        self.began.append(ctx["job"].key)
        await eventually(self.go.is_set)
        return ctx["job"].attempts

    def block(self, seconds: float) -> None:
        """Block the event loop, until `release` at the latest."""
        self.blocking.set()
        self.release.wait(seconds)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def _begun(handles: list[JobHandle[Any]], scene: Scene) -> None:
    await eventually(lambda: set(scene.began) == {handle.key for handle in handles})


async def _failed(queues: Queues, handle: JobHandle[Any]) -> Job:
    return await status(queues, await handle.refresh(), Status.FAILED)


async def test_the_blocker_fails_and_the_others_go_on(
    settings: Settings, queues: Queues, container: AsyncContainer, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    @task(timeout=1)
    async def blocks(ctx: Context) -> None:
        scene.block(LONG)

    @task(timeout=BRIEF)
    async def innocent(ctx: Context) -> int:
        return await scene.wait(ctx)

    handles = [await innocent.enqueue() for _ in range(4)]
    async with working(settings, queues, container):
        await _begun(handles, scene)
        blocker = await blocks.enqueue()
        failed = await _failed(queues, blocker)
        scene.go.set()
        assert [await handle.result(timeout=60) for handle in handles] == [1] * 4
    assert len(scene.began) == 4
    assert [(await handle.refresh()).meta for handle in handles] == [{}] * 4
    assert failed.attempts == 1
    error = failed.error or ""
    assert "it ran longer than 1 s; it blocked the event loop of its worker for " in error
    assert "in block\n" in error
    assert "offered to other workers" in caplog.text


@asynccontextmanager
async def _blocked_elsewhere(
    setup: QueueSetup, scene: Scene, blocker: Any, innocents: list[Any]
) -> AsyncIterator[JobHandle[Any]]:
    """For a block: a worker in another thread has begun these jobs, and the blocker blocks it."""
    with worker_thread(setup):
        try:
            handles = [await innocent.enqueue() for innocent in innocents]
            await _begun(handles, scene)
            handle = await blocker.enqueue()
            await eventually(scene.blocking.is_set)
            yield handle
        finally:
            scene.go.set()
            scene.release.set()


async def test_other_workers_take_the_others_at_no_cost(
    settings: Settings, queues: Queues, container: AsyncContainer, saqueduct_setup: QueueSetup, scene: Scene
) -> None:
    @task(timeout=1)
    async def blocks(ctx: Context) -> None:
        scene.block(90)

    @task(timeout=60)
    async def innocent(ctx: Context) -> int:
        return await scene.wait(ctx)

    async with _blocked_elsewhere(saqueduct_setup, scene, blocks, [innocent] * 3):
        keys = scene.began[:]
        async with working(settings, queues, container):
            # Each begins here once more.
            await eventually(lambda: sorted(scene.began[3:]) == sorted(keys))
            scene.go.set()
            for key in keys:
                job = await status(queues, await queues.find(key), Status.COMPLETE)
                assert (job.result, job.attempts, job.meta) == (1, 1, {STALLS: 1})


async def test_the_blocker_is_taken_from_its_worker_with_its_stack(
    settings: Settings, queues: Queues, container: AsyncContainer, saqueduct_setup: QueueSetup, scene: Scene
) -> None:
    @task(timeout=1)
    async def blocks(ctx: Context) -> None:
        scene.block(90)

    async with _blocked_elsewhere(saqueduct_setup, scene, blocks, []) as handle, working(settings, queues, container):
        failed = await _failed(queues, handle)
    assert failed.attempts == 1
    assert "it blocked the event loop of its worker for " in (failed.error or "")
    assert "in block\n" in (failed.error or "")


async def test_a_child_task_that_blocks_is_its_jobs_fault(
    settings: Settings, queues: Queues, container: AsyncContainer, scene: Scene
) -> None:
    @task(timeout=1)
    async def blocks(ctx: Context) -> None:
        async def child() -> None:
            scene.block(LONG)

        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    @task(timeout=BRIEF)
    async def innocent(ctx: Context) -> int:
        return await scene.wait(ctx)

    handle = await innocent.enqueue()
    async with working(settings, queues, container):
        await _begun([handle], scene)
        failed = await _failed(queues, await blocks.enqueue())
        scene.go.set()
        assert await handle.result(timeout=60) == 1
    assert "it blocked the event loop" in (failed.error or "")


async def test_the_time_for_which_others_block_counts_for_nobody(
    settings: Settings, queues: Queues, container: AsyncContainer, scene: Scene
) -> None:
    @task(timeout=60)
    async def blocks(ctx: Context) -> None:
        scene.blocking.set()
        # At once, and the others go on at once afterwards: what a busy machine adds would count for them.
        await eventually(lambda: scene.began)
        for _ in range(3):
            scene.block(LONG / 3 + 0.1)
            await asyncio.sleep(0)
        scene.go.set()

    @task(timeout=BRIEF, heartbeat=BRIEF)
    async def innocent(ctx: Context) -> int:
        return await scene.wait(ctx)

    async with working(settings, queues, container):
        blocker = await blocks.enqueue()
        await eventually(scene.blocking.is_set)
        handle = await innocent.enqueue()
        await blocker.result(timeout=60)
        assert await handle.result(timeout=60) == 1


async def test_a_job_that_runs_at_most_once_is_not_offered(
    settings: Settings, queues: Queues, container: AsyncContainer, saqueduct_setup: QueueSetup, scene: Scene
) -> None:
    @task(timeout=60)
    async def blocks(ctx: Context) -> None:
        scene.block(90)

    @task(timeout=60, at_most_once=True)
    async def once(ctx: Context) -> int:
        return await scene.wait(ctx)

    @task(timeout=60)
    async def innocent(ctx: Context) -> int:
        return await scene.wait(ctx)

    async with _blocked_elsewhere(saqueduct_setup, scene, blocks, [once, innocent]):
        first, second = scene.began[:]
        async with working(settings, queues, container):
            await eventually(lambda: scene.began[2:] == [second])
            scene.go.set()
            await status(queues, await queues.find(second), Status.COMPLETE)
            scene.release.set()
            job = await status(queues, await queues.find(first), Status.COMPLETE)
    assert scene.began.count(first) == 1
    assert job.attempts == 1


async def test_where_nobody_knows_who_blocks_the_recoveries_count(
    settings: Settings, queues: Queues, container: AsyncContainer, saqueduct_setup: QueueSetup, scene: Scene
) -> None:
    @task(timeout=60)
    async def blocks(ctx: Context) -> None:
        asyncio.get_running_loop().call_soon(scene.block, 30)

    @task(timeout=60)
    async def innocent(ctx: Context) -> int:
        return await scene.wait(ctx)

    async with _blocked_elsewhere(saqueduct_setup, scene, blocks, [innocent]):
        [key] = scene.began[:]
        async with working(settings, queues, container):
            await eventually(lambda: scene.began[1:] == [key])
            scene.go.set()
            job = await status(queues, await queues.find(key), Status.COMPLETE)
    assert job.meta == {RECOVERIES: 1}


async def test_a_wall_clock_that_jumps_fails_no_healthy_job(
    settings: Settings, queues: Queues, container: AsyncContainer, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []

    @task(timeout=60, heartbeat=60)
    async def tells(ctx: Context) -> int:
        await ctx["job"].update(progress=0.1)
        return await scene.wait(ctx)

    handle = await tells.enqueue()
    async with working(settings, queues, container) as worker:
        await _begun([handle], scene)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 3600)
        slots = worker._runner
        assert slots is not None
        look: Any = slots.deadlines.end_silent
        monkeypatch.setattr(slots.deadlines, "end_silent", lambda: looks.append(look()))
        await eventually(lambda: len(looks) >= 2)
        scene.go.set()
        assert await handle.result(timeout=60) == 1


async def test_a_failing_beat_ends_no_renewal(
    settings: Settings, queues: Queues, container: AsyncContainer, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    @task(timeout=60)
    async def innocent(ctx: Context) -> int:
        return await scene.wait(ctx)

    handle = await innocent.enqueue()
    queue = queues.get("default")
    async with working(settings, queues, container) as worker:
        await _begun([handle], scene)
        slots = worker._runner
        assert slots is not None
        # What nobody expects, in the thread that renews.
        slots.leasing.answered_at = "never"  # type: ignore[assignment]
        await eventually(lambda: caplog.text.count("its worker's state is not reported") >= 2)
        before = await queue.redis.zscore(queue.namespace("leases"), handle.id)
        assert before is not None

        async def renewed() -> bool:
            return (await queue.redis.zscore(queue.namespace("leases"), handle.id) or 0) > before

        await eventually(renewed)
        slots.leasing.answered_at = time.monotonic()
        scene.go.set()
        assert await handle.result(timeout=60) == 1


@asynccontextmanager
async def _in_a_hook(
    innocent: Any, settings: Settings, queues: Queues, container: AsyncContainer, scene: Scene
) -> AsyncIterator[JobHandle[Any]]:
    """For a block: a worker in this event loop, in which the attempt of a job waits before its function is called,
    until another job has blocked the event loop.
    """
    waits = asyncio.Event()

    async def hook(ctx: Any) -> None:
        if ctx["job"].function == innocent.name:
            waits.set()
            await eventually(scene.blocking.is_set)

    [worker] = build_workers(settings, queues, container)
    worker.scheduled, worker.before_process = None, [*(worker.before_process or ()), hook]
    running = asyncio.create_task(worker.start())
    try:
        handle = await innocent.enqueue()
        await waits.wait()
        yield handle
    finally:
        worker.request_stop()
        await running


@pytest.mark.parametrize("later", [0.0, 0.3], ids=["at once", "later"])
async def test_a_job_that_another_worker_has_taken_does_not_begin_here_after_the_block(
    settings: Settings,
    queues: Queues,
    container: AsyncContainer,
    saqueduct_setup: QueueSetup,
    scene: Scene,
    later: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, ran_in, lose = threading.get_ident(), list[int](), JobRunner._lost

    def lose_later(self: JobRunner, held: Held) -> None:
        # As on a busy machine, where more callbacks are before that of the thread.
        self.loop.call_later(later, lose, self, held)

    if later:
        monkeypatch.setattr(JobRunner, "_lost", lose_later)

    @task(timeout=60)
    async def innocent(ctx: Context) -> None:
        ran_in.append(threading.get_ident())
        scene.release.set()

    @task(timeout=60)
    async def blocks(ctx: Context) -> None:
        scene.blocking.set()
        with worker_thread(saqueduct_setup):
            scene.release.wait(90)

    async with _in_a_hook(innocent, settings, queues, container, scene) as handle:
        blocker = await blocks.enqueue()
        await handle.result(timeout=60)
        await blocker.result(timeout=60)
    assert len(ran_in) == 1
    assert here not in ran_in


async def test_a_job_that_no_other_worker_has_taken_begins_after_the_block(
    settings: Settings, queues: Queues, container: AsyncContainer, scene: Scene
) -> None:
    @task(timeout=60)
    async def innocent(ctx: Context) -> int:
        return ctx["job"].attempts

    @task(timeout=60)
    async def blocks(ctx: Context) -> None:
        scene.block(LONG)

    async with _in_a_hook(innocent, settings, queues, container, scene) as handle:
        await (await blocks.enqueue()).result(timeout=60)
        assert await handle.result(timeout=60) == 1
