"""Old records are deleted, by status and in small steps."""

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable

from dishka import AsyncContainer
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.settings import Settings
from saqueduct import Queues
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.partitions import Partitions
from saqueduct.postgres.pruning import Pruner
from saqueduct.postgres.retention import Retention
from saqueduct.postgres.store import PostgresStore
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look
from tests.queue.kit import working


def record(status: str, days: float, number: int = 0) -> JobRecord:
    queued = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    return JobRecord(
        queued_at=queued, key=f"{status}-{days}-{number}", queue="default", task="any", status=status, attempts=1
    )


async def test_each_status_is_kept_for_its_days(session: AsyncSession, records: Look) -> None:
    statuses = {"complete": 7, "aborted": 30, "failed": 90}
    session.add_all(record(status, days + offset) for status, days in statuses.items() for offset in (-1, 1))
    session.add_all(record("queued", 90 + offset) for offset in (-1, 1))
    await session.commit()
    pruned = await Retention().prune(session, session.commit)
    assert pruned == {"complete": 1, "aborted": 1, "failed": 1, "queued": 1}
    left = {row.key for row in await records()}
    assert left == {"complete-6-0", "aborted-29-0", "failed-89-0", "queued-89-0"}


async def test_many_go_in_steps_that_are_committed(session: AsyncSession, records: Look) -> None:
    session.add_all(record("complete", 10, number) for number in range(25))
    session.add_all(record("failed", 10, number) for number in range(25))
    await session.commit()
    left: list[int] = []

    async def commit() -> None:
        await session.commit()
        left.append(len(await records()))

    assert (await Retention(batch_size=10).prune(session, commit))["complete"] == 25
    assert left[:3] == [40, 30, 25]


async def test_a_worker_prunes_beside_its_jobs(
    settings: Settings,
    queues: Queues,
    container: AsyncContainer,
    session: AsyncSession,
    engine: AsyncEngine,
    records: Look,
) -> None:
    session.add_all([record("complete", 10), record("complete", 3)])
    await session.commit()
    assert isinstance(queues.store, PostgresStore)
    kept = Retention(complete=5)
    queues.store.pruner = Pruner(queues.store.sessions, kept, Partitions(engine, kept), first=0.0, every=0.01)
    async with working(settings, queues, container):

        async def left() -> bool:
            return [row.key for row in await records()] == ["complete-3-0"]

        await eventually(left)


async def test_pruning_goes_on_after_a_failure(session: AsyncSession, engine: AsyncEngine, records: Look) -> None:
    failures = [OSError("PostgreSQL is away"), RuntimeError("something else")]

    class Failing(Retention):
        async def prune(
            self,
            session: AsyncSession,
            after_batch: Callable[[], Awaitable[None]],
            complete_before: dt.datetime | None = None,
        ) -> dict[str, int]:
            if failures:
                raise failures.pop()
            pruned.set()
            return {}

    pruned = asyncio.Event()
    pruning = asyncio.create_task(
        Pruner(lambda: session, Failing(), Partitions(engine, Failing()), first=0.0, every=0.01).run()
    )
    async with asyncio.timeout(10):
        await pruned.wait()
    pruning.cancel()
    # It may use the session of this test.
    await asyncio.wait([pruning])


async def test_what_failed_late_is_kept_for_its_days_from_then_on(session: AsyncSession, records: Look) -> None:
    late = record("failed", 100)
    late.ended_at = dt.datetime.now(dt.UTC)
    session.add(late)
    await session.commit()
    await Retention().prune(session, session.commit)
    assert len(await records()) == 1


async def test_a_job_that_failed_lately_and_waits_for_another_attempt_keeps_its_record(
    session: AsyncSession, records: Look
) -> None:
    waits = record("queued", 100)
    waits.errors = [{"attempt": 1, "error": "once", "ended": int(time.time() * 1000)}]
    session.add(waits)
    await session.commit()
    assert (await Retention().prune(session, session.commit))["queued"] == 0
    assert len(await records()) == 1
