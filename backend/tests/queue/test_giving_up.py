"""Jobs that cannot be stopped: they cost the worker a thread or a coroutine, and no slot."""

import asyncio
import threading
from contextlib import suppress

import httpx
import pytest
from dishka import AsyncContainer
from msgspec import structs
from saq import Job
from saq.job import Status
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.settings import Settings
from saqueduct import INJECTED, Context, Queues, task
from saqueduct.tasks import current_job
from saqueduct.tasks.threads import ReplacingExecutor
from saqueduct.worker.job_runner import GIVEN_UP_LEAST
from tests.fixtures.poll import eventually
from tests.queue.kit import status, working

pytestmark = [pytest.mark.usefixtures("only_own_tasks"), pytest.mark.timings(renewal=0.1, timeout_grace=0.1)]


@pytest.fixture
def few_slots(settings: Settings) -> Settings:
    """Two slots, and no grace period."""
    worker = structs.replace(settings.worker, concurrency=2, grace_period=0)
    return structs.replace(settings, worker=worker)


async def _swallow(release: asyncio.Event) -> None:
    while not release.is_set():
        with suppress(asyncio.CancelledError):
            await release.wait()


async def test_jobs_that_swallow_their_cancellation_give_their_slots_back(
    few_slots: Settings, queues: Queues, container: AsyncContainer, client: httpx.AsyncClient
) -> None:
    release = asyncio.Event()

    @task(timeout=1)
    async def stubborn(ctx: Context) -> str:
        await _swallow(release)
        return "late"

    @task
    async def innocent(ctx: Context) -> int:
        return ctx["job"].attempts

    stuck = [await stubborn.enqueue() for _ in range(3)]
    async with working(few_slots, queues, container) as worker:
        failed = [await status(queues, await handle.refresh(), Status.FAILED) for handle in stuck]
        assert await (await innocent.enqueue()).result(timeout=60) == 1

        async def problems() -> list[str]:
            found: list[str] = (await client.get("/health/ready")).json()["workers"]["problems"]
            return [each for each in found if "3 attempts that ignore their cancellation" in each]

        [problem] = await eventually(problems)
        assert "3 of stubborn" in problem
        release.set()
        assert worker._runner is not None
        given_up = worker._runner.given_up
        await eventually(lambda: not given_up)
    for job in failed:
        assert "it ran longer than 1 s; it ignores its cancellation and was given up" in (job.error or "")
        assert "in _swallow" in (job.error or "")
    # What they came to is discarded.
    assert [(await handle.refresh()).status for handle in stuck] == [Status.FAILED] * 3


async def test_hung_threads_are_replaced(few_slots: Settings, queues: Queues, container: AsyncContainer) -> None:
    release = threading.Event()
    began: list[str] = []

    @task(timeout=1)
    def hangs(ctx: Context) -> str:
        release.wait(90)
        return "late"

    @task(timeout=60)
    def innocent(ctx: Context) -> int:
        began.append(ctx["job"].key)
        return ctx["job"].attempts

    stuck = [await hangs.enqueue() for _ in range(3)]
    behind = [await innocent.enqueue() for _ in range(4)]
    async with working(few_slots, queues, container) as worker:
        assert [await handle.result(timeout=60) for handle in behind] == [1] * 4
        failed = [await status(queues, await handle.refresh(), Status.FAILED) for handle in stuck]
        assert worker._runner is not None
        given_up = worker._runner.given_up
        assert len(given_up) == 3
        release.set()
        await eventually(lambda: not given_up)
    assert len(began) == 4
    assert all("in hangs" in (job.error or "") for job in failed)


async def test_an_aborted_job_that_ignores_that_gives_its_slot_back(
    few_slots: Settings, queues: Queues, container: AsyncContainer
) -> None:
    release, began = asyncio.Event(), asyncio.Event()

    @task(timeout=0)
    async def stubborn(ctx: Context) -> None:
        began.set()
        await _swallow(release)

    handle = await stubborn.enqueue()
    async with working(few_slots, queues, container) as worker:
        await began.wait()
        await handle.abort("not wanted")
        job = await status(queues, await handle.refresh(), Status.ABORTED)
        assert job.error == "not wanted"
        assert worker._runner is not None
        assert not worker._runner.running
        release.set()


async def test_a_given_up_attempt_changes_nothing_any_more(
    few_slots: Settings, queues: Queues, container: AsyncContainer, engine: AsyncEngine
) -> None:
    release = asyncio.Event()

    # Or the record of its failure keeps it from committing.
    @task(timeout=1, record="none")
    async def writes(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await db_session.execute(text("INSERT INTO given_up VALUES (1)"))
        await _swallow(release)

    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS given_up (n integer)"))
        await connection.execute(text("TRUNCATE given_up"))
    try:
        handle = await writes.enqueue()
        async with working(few_slots, queues, container) as worker:
            await status(queues, await handle.refresh(), Status.FAILED)
            assert worker._runner is not None
            given_up = worker._runner.given_up
            assert len(given_up) == 1
            release.set()
            await eventually(lambda: not given_up)
        async with engine.begin() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM given_up")) == 0
        assert await handle.status() is Status.FAILED
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("DROP TABLE given_up"))


@pytest.mark.timings(timeout_grace=0.2)
async def test_a_worker_with_too_many_given_up_attempts_hands_back_and_stops(
    few_slots: Settings, queues: Queues, container: AsyncContainer
) -> None:
    release = asyncio.Event()

    @task(timeout=1)
    async def stubborn(ctx: Context) -> None:
        await _swallow(release)

    @task(timeout=60)
    async def innocent(ctx: Context) -> None:
        await asyncio.Event().wait()

    for _ in range(GIVEN_UP_LEAST):
        await stubborn.enqueue()
    waiting = await innocent.enqueue()
    useless: list[str] = []

    async with asyncio.timeout(120), working(few_slots, queues, container) as worker:

        def stop() -> None:
            useless.append("stopped")
            worker.request_stop()

        worker.on_useless = stop
        await eventually(lambda: worker._stopped)
        release.set()
    assert useless == ["stopped"]
    job = await waiting.refresh()
    assert (job.status, job.attempts) == (Status.QUEUED, 0)


# asyncio.to_thread


async def test_hung_calls_of_to_thread_leave_their_places_to_others() -> None:
    executor = ReplacingExecutor(2)
    asyncio.get_running_loop().set_default_executor(executor)
    release = threading.Event()
    try:
        hung = [asyncio.create_task(asyncio.to_thread(release.wait, 90)) for _ in range(2)]
        behind = asyncio.create_task(asyncio.to_thread(threading.get_ident))
        await asyncio.sleep(0)
        for call in hung:
            call.cancel()
        assert await behind
        assert executor.lost == 2
    finally:
        release.set()
    await eventually(lambda: not executor.lost)


async def test_a_call_of_to_thread_that_is_cancelled_in_line_never_begins() -> None:
    executor = ReplacingExecutor(1)
    asyncio.get_running_loop().set_default_executor(executor)
    release = threading.Event()
    calls: list[int] = []
    first = asyncio.create_task(asyncio.to_thread(release.wait, 90))
    second = asyncio.create_task(asyncio.to_thread(calls.append, 1))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    release.set()
    assert await first
    assert await asyncio.to_thread(len, calls) == 0


async def test_calls_of_to_thread_whose_job_is_over_leave_their_places_to_others() -> None:
    executor = ReplacingExecutor(2)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(executor)
    release = threading.Event()
    job = Job("hangs", status=Status.ACTIVE)
    token = current_job.job.set(job)
    try:
        # Nobody awaits them, so that no cancellation reaches them.
        forgotten = [loop.run_in_executor(None, release.wait, 90) for _ in range(2)]
        behind = asyncio.create_task(asyncio.to_thread(threading.get_ident))
        await asyncio.sleep(0)
        executor.lose_abandoned()
        assert executor.lost == 0
        job.status = Status.COMPLETE
        executor.lose_abandoned()
        assert await behind
        assert executor.lost == 1
    finally:
        current_job.job.reset(token)
        release.set()
    await asyncio.gather(*forgotten)
    await eventually(lambda: not executor.lost)


async def test_to_thread_raises_what_its_function_raises() -> None:
    asyncio.get_running_loop().set_default_executor(ReplacingExecutor(1))

    def fails() -> None:
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        await asyncio.to_thread(fails)
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await asyncio.to_thread(next, iter(()))
