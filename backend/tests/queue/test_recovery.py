"""What becomes of the jobs that nobody runs any more."""

import asyncio
from typing import Any

from dishka import AsyncContainer
from saq import Job
from saq.job import Status
from saq.utils import now
from sqlalchemy.ext.asyncio import AsyncEngine

from app.container import build_container
from app.dev.redis import EmbeddedRedis
from app.queue import Context, Queues, get_registry, task
from app.queue.config import build_queues
from app.settings import Settings, load_settings
from tests.fixtures.poll import eventually
from tests.fixtures.servers import scratch_directory
from tests.queue.test_worker import status, working


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

        with get_registry().isolated():

            @task
            async def through_the_outage(ctx: Context) -> str:
                runs.append(1)
                started.set()
                await go.wait()
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


async def _killed(queues: Queues, **fields: Any) -> Job:
    """A job as a worker leaves it that is killed while it runs it."""
    queue = queues.get("default")
    enqueued = await queues.enqueue("my_task", {"user_id": 1}, **fields)
    taken = await queue.dequeue(timeout=1)
    assert taken is not None
    assert taken.key == enqueued.key
    taken.attempts, taken.worker_id, taken.started = 1, "killed", now()
    await taken.update(status=Status.ACTIVE)
    return taken


async def test_a_killed_workers_job_runs_again_without_retries(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    job = await _killed(queues)
    assert await _sweep(queues) == []
    async with working(settings, queues, container):
        done = await status(queues, job, Status.COMPLETE)
    assert (done.attempts, done.retries, done.meta) == (1, 1, {"recoveries": 1})


async def _sweep(queues: Queues) -> list[str]:
    """A sweep as if the last one were long ago."""
    queue = queues.get("default")
    await queue.redis.delete(queue.namespace("sweep"))
    swept = await queue.sweep()
    await queue.redis.delete(queue.namespace("sweep"))
    return swept


async def test_a_job_of_a_living_worker_is_left_alone(queues: Queues) -> None:
    job = await _killed(queues)
    queue = queues.get("default")
    await queue.worker_info("killed", queue_key="default")
    assert await _sweep(queues) == await _sweep(queues) == []
    assert (await queues.find(job.key)).status is Status.ACTIVE


async def test_one_process_sweeps_at_a_time(queues: Queues) -> None:
    await _killed(queues)
    await _sweep(queues)
    queue = queues.get("default")
    await queue.redis.set(queue.namespace("sweep"), 1)
    assert await queue.sweep() == []


async def test_a_worker_that_reports_again_after_an_outage_keeps_its_job(queues: Queues) -> None:
    job = await _killed(queues)
    assert await _sweep(queues) == []
    await queues.get("default").worker_info("killed", queue_key="default")
    assert await _sweep(queues) == []
    assert (await queues.find(job.key)).status is Status.ACTIVE


async def test_a_job_that_kills_its_workers_fails_in_the_end(queues: Queues) -> None:
    job = await _killed(queues)
    queue = queues.get("default")
    for _ in range(3):
        assert await _sweep(queues) == []
        assert await _sweep(queues) == [job.id]
        taken = await queue.dequeue(timeout=1)
        assert taken is not None
        await taken.update(status=Status.ACTIVE, started=now())
    await _sweep(queues)
    await _sweep(queues)
    failed = await queues.find(job.key)
    assert failed.status is Status.FAILED
    assert "its worker died 4 times" in (failed.error or "")
    assert await queue.count("incomplete") == 0


async def test_a_job_taken_but_not_yet_started_is_put_back_only_if_it_stays_so(queues: Queues) -> None:
    job = await queues.enqueue("my_task", {"user_id": 1})
    queue = queues.get("default")
    await queue.dequeue(timeout=1)
    assert await _sweep(queues) == []
    assert await _sweep(queues) == [job.id]
    assert (await queue.count("queued"), await queue.count("active")) == (1, 0)


async def test_a_job_past_its_timeout_on_a_hung_worker_is_ended(queues: Queues) -> None:
    job = await _killed(queues, timeout=1)
    queue = queues.get("default")
    await queue.worker_info("killed", queue_key="default")
    await job.update(started=1, status=Status.ACTIVE)
    assert await queue.sweep(abort=0.1) == [job.id]
    assert (await queues.find(job.key)).status is Status.ABORTED


async def test_entries_without_a_job_leave_the_active_list(queues: Queues) -> None:
    job = await queues.enqueue("my_task", {"user_id": 1})
    queue = queues.get("default")
    await queue.dequeue(timeout=1)
    await queue.redis.delete(job.id)
    assert await queue.sweep() == [job.id]
    assert (await queue.count("active"), await queue.count("incomplete")) == (0, 0)
