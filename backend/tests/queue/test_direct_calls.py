"""Direct calls of tasks: what is injected and left out comes from the process's container."""

import asyncio
from typing import Any

import pytest
from dishka import AsyncContainer, FromDishka
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.settings import Settings
from saqueduct import INJECTED, ConfigurationError, Context, Queues, task
from saqueduct.blocking import CalledInEventLoop

CONTEXT: Any = {"queue": None}

pytestmark = pytest.mark.usefixtures("only_own_tasks")


@pytest.mark.usefixtures("container")
async def test_a_direct_call_has_injected_what_it_leaves_out() -> None:
    @task
    async def where(ctx: Context, a: int, *, settings: FromDishka[Settings] = INJECTED) -> tuple[int, bool]:
        return a, isinstance(settings, Settings)

    assert await where(CONTEXT, 1) == (1, True)
    assert await where(CONTEXT, a=2) == (2, True)


@pytest.mark.usefixtures("container")
async def test_what_the_call_passes_is_taken(settings: Settings) -> None:
    @task
    async def which(ctx: Context, *, settings: FromDishka[Settings] = INJECTED) -> object:
        return settings

    given: Any = object()
    assert await which(CONTEXT, settings=given) is given
    assert await which(CONTEXT) == settings


@pytest.mark.parametrize("fails", [False, True])
async def test_the_session_of_a_direct_call_commits_or_rolls_back(
    container: AsyncContainer, engine: AsyncEngine, fails: bool
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS direct_calls (number int)"))
        await connection.execute(text("TRUNCATE direct_calls"))

    @task
    async def write(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await db_session.execute(text("INSERT INTO direct_calls VALUES (1)"))
        if fails:
            raise LookupError

    if fails:
        with pytest.raises(LookupError):
            await write(CONTEXT)
    else:
        await write(CONTEXT)
    async with engine.begin() as connection:
        found = (await connection.execute(text("SELECT count(*) FROM direct_calls"))).scalar_one()
        await connection.execute(text("DROP TABLE direct_calls"))
    assert found == (0 if fails else 1)


@pytest.mark.usefixtures("container")
async def test_a_def_task_is_called_in_a_thread_with_what_it_injects() -> None:
    @task
    def where(ctx: Context, a: int, *, settings: FromDishka[Settings] = INJECTED) -> tuple[int, bool]:
        return a, isinstance(settings, Settings)

    assert await asyncio.to_thread(where, CONTEXT, 1) == (1, True)
    with pytest.raises(CalledInEventLoop, match=r"asyncio\.to_thread"):
        where(CONTEXT, 1)


async def test_without_a_container_the_error_names_parameter_and_remedy(queues: Queues) -> None:
    @task
    async def welcome(ctx: Context, user_id: int, *, settings: FromDishka[Settings] = INJECTED) -> None: ...

    with pytest.raises(
        ConfigurationError,
        match=r"welcome has injected parameters \(settings: Settings\).*settings=\.\.\..*`injector`",
    ):
        await welcome(CONTEXT, 1)


async def test_a_task_without_injection_needs_no_container() -> None:
    @task
    async def double(ctx: Context, number: int) -> int:
        return 2 * number

    assert await double(CONTEXT, 2) == 4


@pytest.mark.usefixtures("container")
async def test_arguments_that_do_not_fit_are_pythons_own_error() -> None:
    @task
    async def job(ctx: Context, a: int, *, settings: FromDishka[Settings] = INJECTED) -> None: ...

    with pytest.raises(TypeError, match="b"):
        await job(CONTEXT, b=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'a'"):
        await job(CONTEXT)  # type: ignore[call-arg]
