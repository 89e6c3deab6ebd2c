"""Jobs whose session meets an outage of PostgreSQL: they are tried again, and it is no failure of theirs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest
from dishka import AsyncContainer
from saq.job import Status
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.settings import Settings
from saqueduct import INJECTED, Context, GiveUp, Queues, get_registry, task
from saqueduct.errors import QueueUnavailable
from saqueduct.tasks.job_meta import OUTAGE
from saqueduct.timings import Timings
from tests.chaos.proxy import Network
from tests.db.conftest import waiting_for
from tests.fixtures.composition import build_container, build_queues
from tests.fixtures.poll import eventually
from tests.queue.kit import status, working

runs: list[str] = []

END_MINE = text("SELECT pg_terminate_backend(pg_backend_pid())")

with get_registry().isolated():

    @task(timeout=30)
    async def reads(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        runs.append("reads")
        await db_session.execute(text("SELECT 1"))

    @task(timeout=30)
    async def loses_its_connection_once(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        runs.append("loses")
        await db_session.execute(text("SELECT 1") if len(runs) > 1 else END_MINE)

    @task(timeout=30)
    async def loses_it_in_a_group(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        runs.append("loses")
        async with asyncio.TaskGroup() as group:
            group.create_task(db_session.execute(text("SELECT 1") if len(runs) > 1 else END_MINE))

    @task(timeout=30)
    async def meets_a_replica(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        runs.append("meets")
        if len(runs) == 1:
            await db_session.execute(text("SET TRANSACTION READ ONLY"))
        await db_session.execute(text("INSERT INTO marks VALUES (1)"))

    @task(timeout=30)
    async def always_loses_its_connection(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await db_session.execute(END_MINE)

    @task(timeout=30, at_most_once=True)
    async def runs_at_most_once(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await db_session.execute(END_MINE)

    @task(timeout=30, give_up_on=(DBAPIError,))
    async def wants_to_know(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await db_session.execute(END_MINE)

    @task(timeout=30)
    async def gives_up(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        try:
            await db_session.execute(END_MINE)
        except DBAPIError as error:
            raise GiveUp("no") from error

    @task(timeout=30)
    async def is_wrong(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await db_session.execute(text("SELECT 1 FROM nowhere"))

    @task(timeout=2)
    async def waits_for_a_row(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        runs.append("waits")
        await db_session.execute(text("LOCK TABLE marks IN SHARE MODE"))
        await db_session.execute(text("SELECT pg_sleep(0.2)"))

    @task(timeout=30)
    async def keeps_a_connection(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        runs.append("keeps")
        await db_session.execute(text("SELECT pg_sleep(0.35)"))

    @task
    async def meets_no_redis(ctx: Context) -> None:
        runs.append("meets")
        if len(runs) == 1:
            raise QueueUnavailable("away")

    @task
    async def plain(ctx: Context) -> None: ...

    @task
    async def saves(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await db_session.execute(text("INSERT INTO marks VALUES (1)"))

    @task(durable=True)
    async def lasts(ctx: Context) -> None: ...


TASKS = (
    reads, loses_its_connection_once, loses_it_in_a_group, meets_a_replica, always_loses_its_connection,
    runs_at_most_once, wants_to_know, gives_up, is_wrong, waits_for_a_row, keeps_a_connection, meets_no_redis, plain,
    saves, lasts,
)  # fmt: skip


@pytest.fixture(autouse=True)
def tasks(own_tasks: None) -> None:
    runs.clear()
    for each in TASKS:
        get_registry().add(each)


@pytest.fixture(autouse=True)
async def marks(engine: AsyncEngine) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE marks (number int)"))
    yield
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE marks"))


@pytest.fixture
async def queues(impatient: Settings, empty_redis: None) -> AsyncIterator[Queues]:
    queues = build_queues(impatient, Timings(first_postponement=0.1))
    await queues.connect()
    yield queues
    await queues.disconnect()


@pytest.fixture
async def container(impatient: Settings, queues: Queues, engine: AsyncEngine) -> AsyncIterator[AsyncContainer]:
    container = build_container(impatient, queues)
    yield container
    await container.close()


async def ended(queues: Queues, impatient: Settings, container: AsyncContainer, each: Any, wanted: Status) -> Any:
    """Run a job of a task to its end, which is to be that one."""
    handle = await each.enqueue()
    async with working(impatient, queues, container, schedules=False):
        return await status(queues, await queues.find(handle.key), wanted)


@asynccontextmanager
async def locked(engine: AsyncEngine, table: str) -> AsyncIterator[None]:
    """Nobody else reads or writes a table in this block; entered before the worker starts that is to meet it."""
    async with engine.begin() as connection:
        await connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield


@pytest.fixture
async def patient(settings: Settings, queues: Queues, engine: AsyncEngine) -> AsyncIterator[AsyncContainer]:
    """The container of an application that gives a busy machine its time to connect: a further outage is a further
    run."""
    container = build_container(settings, queues)
    yield container
    await container.close()


@pytest.mark.parametrize(
    "each", [loses_its_connection_once, loses_it_in_a_group, meets_a_replica, meets_no_redis], ids=lambda t: t.name
)
async def test_a_job_that_meets_an_outage_is_tried_again_at_no_cost(
    each: Any, queues: Queues, settings: Settings, patient: AsyncContainer
) -> None:
    job = await ended(queues, settings, patient, each, Status.COMPLETE)
    assert (len(runs), job.attempts, job.retries) == (2, 1, 1)


@pytest.mark.parametrize("each", [runs_at_most_once, wants_to_know, gives_up, is_wrong], ids=lambda task: task.name)
async def test_a_job_that_wants_no_other_attempt_or_is_wrong_itself_fails(
    each: Any, queues: Queues, impatient: Settings, container: AsyncContainer
) -> None:
    job = await ended(queues, impatient, container, each, Status.FAILED)
    assert OUTAGE not in job.meta


async def test_after_the_limit_an_outage_is_a_failure_as_any_other(
    queues: Queues, impatient: Settings, container: AsyncContainer
) -> None:
    brief = msgspec.structs.replace(impatient, worker=msgspec.structs.replace(impatient.worker, outage_limit=0))
    job = await ended(queues, brief, container, always_loses_its_connection, Status.FAILED)
    assert job.attempts == 1


async def test_a_job_retried_by_hand_after_an_outage_may_be_postponed_again(
    queues: Queues, impatient: Settings, container: AsyncContainer
) -> None:
    brief = msgspec.structs.replace(impatient, worker=msgspec.structs.replace(impatient.worker, outage_limit=0))
    job = await ended(queues, brief, container, always_loses_its_connection, Status.FAILED)
    assert OUTAGE not in (await queues.retry(job.key)).meta


async def test_jobs_wait_for_a_silent_postgresql(
    queues: Queues, impatient: Settings, container: AsyncContainer, network: Network
) -> None:
    network.silent = True
    handle = await reads.enqueue()
    async with working(impatient, queues, container, schedules=False):

        async def postponed() -> bool:
            return OUTAGE in (await queues.find(handle.key)).meta

        await eventually(postponed)
        network.silent = False
        job = await status(queues, await queues.find(handle.key), Status.COMPLETE)
    assert job.attempts == 1


@pytest.mark.long
async def test_a_job_whose_time_runs_out_because_postgresql_is_silent_is_tried_again(
    queues: Queues, impatient: Settings, container: AsyncContainer, network: Network, engine: AsyncEngine
) -> None:
    """It waits for a lock when the server stops, and so never gets the error of its lock timeout."""
    # Time enough, on a busy machine, for the attempts before and after the silence.
    handle = await waits_for_a_row.options(timeout=6).enqueue()

    async def postponed() -> bool:
        return OUTAGE in (await queues.find(handle.key)).meta

    async with AsyncExitStack() as letting_go:
        await letting_go.enter_async_context(locked(engine, "marks"))
        async with working(impatient, queues, container, schedules=False):
            await waiting_for(engine, "marks")
            network.silent = True
            await letting_go.aclose()
            await eventually(postponed)
            network.silent = False
            job = await status(queues, await queues.find(handle.key), Status.COMPLETE)
    assert (len(runs) > 1, job.attempts) == (True, 1)


async def test_a_job_waits_for_a_lock_that_another_transaction_holds(
    queues: Queues, impatient: Settings, container: AsyncContainer, engine: AsyncEngine
) -> None:
    # Its time must not run out by a slow connection.
    handle = await waits_for_a_row.options(timeout=60).enqueue()
    async with AsyncExitStack() as letting_go:
        await letting_go.enter_async_context(locked(engine, "marks"))
        async with working(impatient, queues, container, schedules=False):
            await eventually(lambda: len(runs) > 2)
            await letting_go.aclose()
            job = await status(queues, await queues.find(handle.key), Status.COMPLETE)
    assert job.attempts == 1


async def test_jobs_wait_for_a_connection_of_the_pool(queues: Queues, impatient: Settings, engine: AsyncEngine) -> None:
    """Two connections for ten slots, and each job keeps one for a third of what the others wait for it."""
    narrow = msgspec.structs.replace(impatient, database=msgspec.structs.replace(impatient.database, pool_size=1))
    container = build_container(narrow, queues)
    handles = [await keeps_a_connection.enqueue() for _ in range(12)]
    async with working(narrow, queues, container, schedules=False):
        for handle in handles:
            job = await status(queues, await queues.find(handle.key), Status.COMPLETE)
            assert job.attempts == 1
    await container.close()
    assert len(runs) > len(handles)


async def test_jobs_go_on_while_the_records_are_locked(
    queues: Queues, impatient: Settings, container: AsyncContainer, engine: AsyncEngine
) -> None:
    handles = [await each.enqueue() for each in (plain, saves, lasts) for _ in range(30)]

    async def recorded() -> bool:
        async with engine.connect() as connection:
            count = text("SELECT count(*) FROM job_records WHERE status = 'complete'")
            return bool((await connection.execute(count)).scalar_one() == len(handles))

    async with AsyncExitStack() as letting_go:
        await letting_go.enter_async_context(locked(engine, "job_records"))
        async with working(impatient, queues, container, schedules=False):
            for handle in handles:
                job = await status(queues, await queues.find(handle.key), Status.COMPLETE)
                assert job.attempts == 1
            await letting_go.aclose()
            await eventually(recorded)
