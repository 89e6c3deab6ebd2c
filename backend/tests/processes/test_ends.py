"""How jobs ended is known afterwards, and none runs again, whatever becomes of the workers."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from saq.job import Status
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.queue import EngineQueue, Queues, enqueue_many, get_registry
from app.queue.config import build_queues
from app.settings import load_settings
from tests.fixtures.poll import eventually
from tests.processes.stack import Process, process

WORKER = ("-m", "tests.processes.worker_with_brief_tasks")
SLOTS = 10


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"WORKER_CONCURRENCY": str(SLOTS), "QUEUE_FORGOTTEN_AFTER": "2"}


@pytest.fixture
def tasks() -> Iterator[Any]:
    with get_registry().isolated():
        from tests.processes import worker_with_brief_tasks as tasks

        for each in (tasks.keep, tasks.fail):
            if each.name not in get_registry():
                get_registry().add(each)
        yield tasks


@pytest.fixture
async def queues(
    tasks: Any, environment: dict[str, str], empty_redis: None, engine: AsyncEngine
) -> AsyncIterator[Queues]:
    queues = build_queues(load_settings(environment))
    await queues.connect()
    yield queues
    await queues.disconnect()


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    return queues.get("default")


async def run_twice(queue: EngineQueue, expected: int) -> int:
    """Wait until so many jobs have run; returns how many bodies ran again."""

    async def numbers() -> list[Any] | None:
        found: list[Any] = await queue.redis.lrange("bodies", 0, -1)
        return found if len(set(found)) >= expected else None

    return sum(count - 1 for count in Counter(await eventually(numbers, 40.0)).values())


async def rows(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())  # noqa: S608


async def none_left(queue: EngineQueue, engine: AsyncEngine) -> None:
    async def none() -> bool:
        return not await rows(engine, "outbox") and not await queue.count("incomplete")

    await eventually(none, 40.0)


async def started(worker: Process) -> None:
    await eventually(lambda: "worker started" in worker.output)


async def test_brief_durable_jobs_have_ended_when_their_worker_has_stopped(
    tasks: Any, queue: EngineQueue, engine: AsyncEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    await enqueue_many(tasks.keep.bind(number=number) for number in range(500))
    with process(WORKER, environment, tmp_path / "worker.log") as worker:
        assert await run_twice(queue, 500) == 0
        assert await asyncio.to_thread(worker.stop) == 0
    # Nothing is left that another worker could run again.
    assert await rows(engine, "outbox") == 0
    assert await queue.count("incomplete") == 0
    assert await rows(engine, "job_records WHERE status = 'complete'") == 500


async def test_a_killed_worker_makes_at_most_its_slots_run_again(
    tasks: Any, queue: EngineQueue, engine: AsyncEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    await enqueue_many(tasks.keep.bind(number=number) for number in range(500))
    with process(WORKER, environment, tmp_path / "killed.log") as worker:
        await run_twice(queue, 100)
        worker.stop(signal.SIGKILL)
    with process(WORKER, environment, tmp_path / "worker.log"):
        twice = await run_twice(queue, 500)
        await none_left(queue, engine)
    assert twice <= SLOTS
    assert await rows(engine, "job_records WHERE status = 'complete'") == 500
    assert await rows(engine, "job_records") == 500


async def all_failed(queue: EngineQueue, keys: list[str]) -> None:
    async def failed() -> bool:
        return all(job is not None and job.status is Status.FAILED for job in await queue.jobs(keys))

    await eventually(failed)


async def dead_letters(engine: AsyncEngine, count: int) -> None:
    async def found() -> bool:
        return await rows(engine, "job_records WHERE status = 'failed'") == count

    await eventually(found)


async def test_what_failed_is_a_dead_letter_though_its_worker_was_killed_at_once(
    tasks: Any, queue: EngineQueue, engine: AsyncEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    with process(WORKER, environment, tmp_path / "killed.log") as worker:
        await started(worker)
        handles = await enqueue_many(tasks.fail.bind(number=number) for number in range(60))
        await all_failed(queue, [handle.key for handle in handles])
        worker.stop(signal.SIGKILL)
    with process(WORKER, environment, tmp_path / "worker.log"):
        await dead_letters(engine, 60)


async def test_what_failed_while_postgresql_took_nothing_is_a_dead_letter_of_the_next_worker(
    tasks: Any, queue: EngineQueue, engine: AsyncEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE job_records IN ACCESS EXCLUSIVE MODE"))
        with process(WORKER, environment, tmp_path / "stopped.log") as worker:
            await started(worker)
            handles = await enqueue_many(tasks.fail.bind(number=number) for number in range(10))
            await all_failed(queue, [handle.key for handle in handles])
            assert await asyncio.to_thread(worker.stop) == 0
            assert "10 ends of jobs stay in Redis" in worker.output
    assert await rows(engine, "job_records") == 0
    with process(WORKER, environment, tmp_path / "worker.log"):
        await dead_letters(engine, 10)
