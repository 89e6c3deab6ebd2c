"""What becomes of the jobs that nobody runs any more."""

import asyncio
import threading
import time
from typing import Any, cast

import psutil
import pytest
from dishka import AsyncContainer
from msgspec import structs
from saq import Job
from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncEngine

from app.settings import Settings, load_settings
from saqueduct import Context, JobHandle, Queues, enqueue_many, get_registry, task
from saqueduct.broker.connections import blocking_client
from saqueduct.embedded.redis import EmbeddedRedis
from saqueduct.embedded.servers import is_gone
from saqueduct.tasks.job_meta import AT_MOST_ONCE, RECOVERIES
from saqueduct.timings import Timings
from tests.fixtures.composition import build_container, build_queues
from tests.fixtures.directories import scratch_directory
from tests.fixtures.poll import eventually, eventually_sync
from tests.queue.kit import RecoveryClock, status, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")


impatient = pytest.mark.timings(recovery_wait=0.0)
"""An expired lease is taken at the first look."""


async def test_an_outage_while_a_job_runs_loses_nothing_and_runs_it_once(
    environment: dict[str, str], engine: AsyncEngine
) -> None:
    with scratch_directory() as directory:
        server = EmbeddedRedis(directory / "redis")
        settings = load_settings(environment | {"REDIS_URL": server.start()})
        queues = build_queues(settings)
        await queues.connect()
        container = build_container(settings, queues)
        runs: list[int] = []
        started, go = asyncio.Event(), asyncio.Event()

        @task(timeout=60)
        async def through_the_outage(ctx: Context) -> str:
            runs.append(1)
            started.set()
            await go.wait()
            await ctx["job"].update(progress=0.5)
            return "done"

        job = await queues.enqueue("through_the_outage")
        async with working(settings, queues, container):
            await started.wait()
            await asyncio.to_thread(server.stop)
            go.set()
            await eventually(lambda: queues.get("default").away)
            await asyncio.to_thread(server.start)
            ended = await status(queues, job, Status.COMPLETE)
        assert (ended.result, runs) == ("done", [1])
        await container.close()
        await queues.disconnect()
        server.stop()


async def test_a_job_that_ended_in_an_outage_is_complete_however_long_that_lasts(
    environment: dict[str, str], engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scratch_directory() as directory:
        server = EmbeddedRedis(directory / "redis")
        settings = load_settings(environment | {"REDIS_URL": server.start()})
        queues = build_queues(settings, Timings(timeout_grace=0.05, renewal=0.05))
        await queues.connect()
        container = build_container(settings, queues)
        runs: list[float] = []
        redis = psutil.Process((await queues.get("default").redis.info("server"))["process_id"])

        @task(timeout=1)
        async def short(ctx: Context) -> str:
            runs.append(time.monotonic())
            # In one step of the event loop with its end: a job that waited for this could meet its timeout first.
            redis.kill()
            eventually_sync(lambda: is_gone(redis))
            return "done"

        job = await queues.enqueue("short")
        async with working(settings, queues, container):
            await eventually(lambda: runs)
            # Past its timeout and the grace: its outcome still waits to be written.
            await eventually(lambda: queues.get("default").away and time.monotonic() > runs[0] + 1.5)
            await asyncio.to_thread(server.start)
            ended = await status(queues, job, Status.COMPLETE)
        assert (ended.result, len(runs)) == ("done", 1)
        await container.close()
        await queues.disconnect()
        server.stop()


async def _killed(queues: Queues, options: Any = None) -> JobHandle[Any]:
    """A job as a worker leaves it that is killed while it runs it, its lease run out."""

    settings: Any = options or {}

    @task(**settings)
    async def job_of_the_dead(ctx: Context) -> int:
        return ctx["job"].attempts

    handle = await job_of_the_dead.enqueue()
    await _lease(queues, "killed")
    return handle


async def _lease(queues: Queues, worker: str, seconds: float = -1) -> Job:
    """Lease the next job to a worker that never renews."""
    queue = queues.get("default")
    answer = await queue.scripts.run("lease", 1, worker, seconds)
    job = queue.deserialize(answer[5][0])
    assert job is not None
    job.lease = answer[3].decode()
    return job


@impatient
async def test_a_killed_workers_job_runs_again_without_retries(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    handle = await _killed(queues)
    async with working(settings, queues, container):
        assert await handle.result(timeout=60) == 1
    done = await handle.refresh()
    assert (done.retries, done.meta) == (1, {RECOVERIES: 1})


@impatient
async def test_a_killed_workers_job_waits_in_a_paused_queue(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    handle = await _killed(queues)
    queue = queues.get("default")
    await queue.pause()
    async with working(settings, queues, container):
        await eventually(lambda: queue.count("queued"))
        assert await queue.count("active") == 0
        await queue.resume()
        assert await handle.result(timeout=60) == 1


@pytest.mark.timings(recovery_wait=60.0)
async def test_a_lease_is_taken_only_if_it_stays_expired(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RecoveryClock(monkeypatch)
    handle = await _killed(queues)
    queue = queues.get("default")
    assert await queue.recover() == []
    # Renewed after an outage, as a living worker does; and run out again.
    await queue.redis.zadd(queue.namespace("leases"), {handle.id: time.time() - 0.5})
    clock.advance(61)
    assert await queue.recover() == []
    clock.advance(61)
    assert await queue.recover() == [handle.id]
    assert (await queue.count("queued"), await queue.count("active")) == (1, 0)


@impatient
async def test_a_lease_that_holds_is_left_alone(queues: Queues) -> None:
    @task
    async def running(ctx: Context) -> None: ...

    handle = await running.enqueue()
    await _lease(queues, "alive", seconds=60)
    assert await queues.get("default").recover() == []
    assert await handle.status() is Status.ACTIVE


@impatient
async def test_of_two_that_recover_one_puts_the_job_back(queues: Queues) -> None:
    handle = await _killed(queues)
    queue = queues.get("default")
    recovered = await asyncio.gather(queue.recover(), queue.recover(), queue.recover())
    assert [each for each in recovered if each] == [[handle.id]]
    assert await queue.redis.llen(queue.namespace("queued")) == 1


@impatient
async def test_a_job_that_cannot_be_read_keeps_no_other_from_being_recovered(queues: Queues) -> None:
    broken = await _killed(queues)
    other = await _killed_again(queues)
    queue = queues.get("default")
    await queue.redis.set(broken.id, b"{")
    assert await queue.recover() == [other.id]
    assert await queue.recover() == []
    assert (await queue.count("active"), await queue.count("incomplete")) == (0, 1)


async def _killed_again(queues: Queues) -> JobHandle[Any]:
    handle = await get_registry().get("job_of_the_dead").enqueue()
    await _lease(queues, "killed")
    return handle


@impatient
async def test_a_job_that_kills_its_workers_fails_in_the_end(queues: Queues, caplog: pytest.LogCaptureFixture) -> None:
    handle = await _killed(queues)
    queue = queues.get("default")
    for _ in range(3):
        assert await queue.recover() == [handle.id]
        job = await _lease(queues, "killed too")
        # As a worker does before the last.
        assert await queue.scripts.run("isolate", job.key, vars(job)["lease"])
    await queue.recover()
    name = f"job {handle.key} of job_of_the_dead"
    assert caplog.messages == [f"{name} is queued again: its worker died while it ran"] * 3 + [
        f"{name} failed: its worker died 4 times while it ran, at last alone"
    ]
    failed = await handle.refresh()
    assert failed.status is Status.FAILED
    assert "its worker died 4 times" in (failed.error or "")
    assert await queue.count("incomplete") == 0


@impatient
async def test_a_job_that_runs_at_most_once_fails_with_its_worker(queues: Queues) -> None:
    handle = await _killed(queues, {"at_most_once": True, "retries": 5})
    await queues.get("default").recover()
    failed = await handle.refresh()
    assert failed.status is Status.FAILED
    assert "it runs at most once" in (failed.error or "")


async def test_a_job_that_runs_at_most_once_is_not_handed_back(
    environment: dict[str, str], queues: Queues, container: AsyncContainer
) -> None:
    started = asyncio.Event()

    @task(at_most_once=True, timeout=60)
    async def charge(ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    handle = await charge.enqueue()
    async with working(load_settings(environment | {"WORKER_GRACE_PERIOD": "0"}), queues, container):
        await started.wait()
    failed = await handle.refresh()
    assert failed.status is Status.FAILED
    assert "it runs at most once" in (failed.error or "")


@impatient
async def test_a_job_to_be_aborted_does_not_run_again(queues: Queues) -> None:
    handle = await _killed(queues)
    await handle.abort("not wanted any more")
    assert await handle.status() is Status.ABORTING
    await queues.get("default").recover()
    job = await handle.refresh()
    assert (job.status, job.error) == (Status.ABORTED, "not wanted any more")


@pytest.mark.timings(renewal=0.1)
async def test_a_blocked_event_loop_does_not_cost_a_lease(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    queue = queues.get("default")

    @task(timeout=60)
    async def blocks(ctx: Context) -> None:
        with blocking_client(queue.redis) as client:

            def deadline() -> float:
                return cast("float | None", client.zscore(queue.namespace("leases"), ctx["job"].id)) or 0.0

            for _ in range(3):
                before = deadline()
                eventually_sync(lambda before=before: deadline() > before)  # type: ignore[misc]

    handle = await blocks.enqueue()
    async with working(settings, queues, container):
        await handle.result(timeout=60)
    assert (await handle.refresh()).meta == {}


@pytest.mark.timings(timeout_grace=0.1, renewal=0.1)
async def test_a_job_past_its_timeout_is_taken_from_a_hung_worker(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    hung, release = asyncio.Event(), asyncio.Event()

    @task(timeout=1, retries=2)
    async def hangs_at_first(ctx: Context) -> int:
        if not hung.is_set():
            hung.set()
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue
        return ctx["job"].attempts

    handle = await hangs_at_first.enqueue()
    async with working(settings, queues, container):
        assert await handle.result(timeout=60) == 2
        release.set()


async def test_a_job_without_heartbeat_is_ended(settings: Settings, queues: Queues, container: AsyncContainer) -> None:
    @task(timeout=60, heartbeat=1)
    async def silent(ctx: Context) -> None:
        await asyncio.Event().wait()

    handle = await silent.enqueue()
    async with working(settings, queues, container):
        failed = await status(queues, await handle.refresh(), Status.FAILED)
    assert "no heartbeat within 1 s" in (failed.error or "")


@pytest.mark.timings(timeout_grace=0.1, renewal=0.1)
async def test_the_timeout_of_a_job_counts_from_its_beginning(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    ran: list[int] = []

    @task(timeout=2)
    async def blocks(ctx: Context) -> int:
        threading.Event().wait(0.25)
        await asyncio.sleep(0)
        ran.append(ctx["job"].attempts)
        return ctx["job"].attempts

    # Leased together, the last begins when the timeout of the first would be over.
    count = 10
    slots = structs.replace(settings, worker=structs.replace(settings.worker, concurrency=count))
    handles = await enqueue_many(blocks.bind() for _ in range(count))
    async with working(slots, queues, container):
        # Calls of Redis would wait for the blocked event loop, too.
        await eventually(lambda: len(ran) == count)
        assert [await handle.result(timeout=60) for handle in handles] == [1] * count


@pytest.mark.timings(recovery_wait=0.0, begin_within=0.1, renewal=0.1)
async def test_a_job_that_its_worker_does_not_come_to_begin_goes_back_untouched(
    settings: Settings,
    queues: Queues,
    container: AsyncContainer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs: list[str] = []

    @task(timeout=60)
    async def blocks(ctx: Context) -> None:
        eventually_sync(lambda: "it has not begun" in caplog.text)

    @task(at_most_once=True)
    async def behind(ctx: Context) -> int:
        runs.append(ctx["job"].key)
        return ctx["job"].attempts

    await blocks.enqueue()
    handle = await behind.enqueue()
    async with working(settings, queues, container):
        assert await handle.result(timeout=60) == 1
    assert (runs, (await handle.refresh()).meta) == ([handle.key], {AT_MOST_ONCE: True})


@pytest.mark.timings(recovery_wait=60.0)
async def test_all_jobs_of_a_killed_worker_are_recovered_by_two_looks(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = RecoveryClock(monkeypatch)

    @task
    async def one_of_many(ctx: Context) -> None: ...

    await enqueue_many(one_of_many.bind() for _ in range(1200))
    queue = queues.get("default")
    await queue.scripts.run("lease", 1200, "killed", -1)
    assert await queue.recover() == []
    clock.advance(61)
    assert len(await queue.recover()) == 1200
    assert (await queue.count("queued"), await queue.count("active")) == (1200, 0)


@impatient
async def test_a_leased_job_that_is_gone_leaves_nothing_behind(queues: Queues) -> None:
    evicted, replaced = await _killed(queues), await _killed_again(queues)
    queue = queues.get("default")
    await queue.redis.delete(evicted.id, replaced.id)
    await queue.redis.rpush(replaced.id, "no job")
    assert await queue.recover() == []
    assert await queue.redis.exists(*map(queue.namespace, ("owners", "leases", "incomplete"))) == 0


@impatient
async def test_a_recovery_costs_no_retry_of_a_job_that_reported_on_itself(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    runs: list[int] = []

    @task(retries=2)
    async def tells(ctx: Context) -> None:
        runs.append(ctx["job"].attempts)
        raise ValueError("no use")

    handle = await tells.enqueue()
    job = await _lease(queues, "killed")
    job.attempts, job.status = 1, Status.ACTIVE
    await job.update(progress=0.5)
    shown = await handle.refresh()
    assert (shown.status, shown.attempts, shown.progress) == (Status.ACTIVE, 1, 0.5)
    async with working(settings, queues, container):
        await eventually(handle.done)
    assert runs == [1, 2]
