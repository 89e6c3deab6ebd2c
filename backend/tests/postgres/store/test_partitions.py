"""Workers and the partitions of the job records."""

from collections.abc import AsyncIterator

import pytest
from dishka import AsyncContainer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.settings import Settings
from saqueduct import Context, Queues, task
from saqueduct.postgres.partition_layout import read
from saqueduct.worker.worker import EngineWorker
from tests.postgres.store.conftest import Look, record_of
from tests.queue.kit import working


@pytest.fixture
async def worker(settings: Settings, queues: Queues, container: AsyncContainer) -> AsyncIterator[EngineWorker]:
    async with working(settings, queues, container, schedules=False) as worker:
        yield worker


@pytest.fixture
async def no_partition_of_today(engine: AsyncEngine) -> None:
    """Somebody has dropped it."""
    async with engine.begin() as connection:
        now, *_, partitions = await read(connection, None)
        (name,) = [
            each.name
            for each in partitions
            if (each.start is None or each.start <= now) and (each.end is None or now < each.end)
        ]
        await connection.exec_driver_sql(f"DROP TABLE {name}")


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("status", ["complete", "failed"])
async def test_no_record_is_lost_for_a_partition_that_is_missing(
    worker: EngineWorker, no_partition_of_today: None, records: Look, durable: bool, status: str
) -> None:
    @task(durable=durable)
    async def end(ctx: Context) -> None:
        if status == "failed":
            raise ValueError("on purpose")

    worker.functions["end"] = end.runner
    job = await end.enqueue()
    await record_of(records, job.key, status)
