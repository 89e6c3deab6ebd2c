"""A request or a job whose transaction an error has aborted: no 201, and no complete job, behind a rollback."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import httpx
import pytest
from dishka.integrations.litestar import FromDishka, inject
from litestar import post
from litestar.params import FromPath
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.main import create_app
from app.settings import Settings
from saqueduct import INJECTED, Context, Queues, get_registry, task
from saqueduct.postgres.records import Rows
from saqueduct.testing import JobKit
from tests.conftest import running

INSERT = text("INSERT INTO marks VALUES (1)")
DEFER = text("SET CONSTRAINTS ALL DEFERRED")


async def insert_and_swallow(session: AsyncSession) -> None:
    """What an author writes who does not know that an error aborts the whole transaction."""
    await session.execute(INSERT)
    with suppress(IntegrityError):
        await session.execute(INSERT)


with get_registry().isolated():

    @task(record="none")
    async def unrecorded(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await insert_and_swallow(db_session)

    @task(record="failures")
    async def recorded_if_failed(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await insert_and_swallow(db_session)

    @task
    async def recorded(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await insert_and_swallow(db_session)

    @task(durable=True, record="none")
    async def durable(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await insert_and_swallow(db_session)

    @task(record="none")
    async def deferred(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await db_session.execute(DEFER)
        await db_session.execute(INSERT)
        await db_session.execute(INSERT)

    @task(record="none")
    async def in_a_savepoint(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await db_session.execute(INSERT)
        with suppress(IntegrityError):
            async with db_session.begin_nested():
                await db_session.execute(INSERT)


TASKS = (unrecorded, recorded_if_failed, recorded, durable, deferred, in_a_savepoint)


@pytest.fixture(autouse=True)
def tasks(own_tasks: None, queues: Queues) -> None:
    for each in TASKS:
        get_registry().add(each)


@pytest.fixture(autouse=True)
async def marks(engine: AsyncEngine) -> AsyncIterator[None]:
    """A table that takes the number 1 once."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE marks (number int UNIQUE DEFERRABLE INITIALLY IMMEDIATE)"))
    yield
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE marks"))


async def stored(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM marks"))).scalar_one())


@pytest.mark.parametrize("each", [unrecorded, recorded_if_failed, recorded, durable], ids=lambda task: task.name)
async def test_a_job_that_swallows_an_error_of_its_transaction_fails(each: Any, jobs: JobKit) -> None:
    job = await jobs.run(each)
    assert job.status == "failed"
    assert "begin_nested" in (job.error or "")


async def test_without_records_it_fails_too(jobs: JobKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rows, "_wanted", lambda *_: False)
    job = await jobs.run(recorded)
    assert job.status == "failed"


async def test_a_job_whose_commit_fails_is_not_complete(jobs: JobKit) -> None:
    job = await jobs.run(deferred)
    assert job.status == "failed"
    assert "marks_number_key" in (job.error or "")


async def test_a_job_that_takes_a_savepoint_completes(jobs: JobKit, engine: AsyncEngine) -> None:
    job = await jobs.run(in_a_savepoint)
    assert (job.status, await stored(engine)) == ("complete", 1)


@post("/marks/{how:str}")
@inject
async def mark(how: FromPath[str], session: FromDishka[AsyncSession]) -> None:
    if how == "deferred":
        await session.execute(DEFER)
        await session.execute(INSERT)
        await session.execute(INSERT)
    else:
        await insert_and_swallow(session)


@pytest.fixture
async def marking(settings: Settings, queues: Queues, engine: AsyncEngine) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application with one route more."""
    application = create_app(settings)
    application.register(mark)
    transport = httpx.ASGITransport(cast("Any", application))
    async with running(application), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("how", ["swallowed", "deferred"])
async def test_a_request_whose_session_cannot_commit_is_answered_with_an_error(
    how: str, marking: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    answer = await marking.post(f"/marks/{how}")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert await stored(engine) == 0
