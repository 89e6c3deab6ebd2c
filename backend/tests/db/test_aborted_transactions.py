"""Committing a transaction that an error has aborted is an error: PostgreSQL alone would roll back without a word."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from app.db.session import make_engine, make_sessionmaker, transaction
from app.settings import Settings
from saqueduct.postgres.connection import TransactionAborted

REMEDY = r"begin_nested"
INSERT = text("INSERT INTO marks VALUES (1)")


@pytest.fixture(autouse=True)
async def marks(engine: AsyncEngine) -> AsyncIterator[None]:
    """A table that takes the number 1 once."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE marks (number int UNIQUE DEFERRABLE INITIALLY IMMEDIATE)"))
    yield
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE marks"))


async def insert_twice(session: AsyncSession | AsyncConnection) -> None:
    """Insert one row twice, and swallow the error of the second."""
    await session.execute(INSERT)
    with pytest.raises(IntegrityError):
        await session.execute(INSERT)


async def stored(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM marks"))).scalar_one())


async def test_a_session_whose_transaction_was_aborted_cannot_commit(engine: AsyncEngine) -> None:
    async with make_sessionmaker(engine)() as session:
        await insert_twice(session)
        with pytest.raises(TransactionAborted, match=REMEDY):
            await session.commit()
    assert await stored(engine) == 0


async def test_the_session_works_again_after_a_rollback(engine: AsyncEngine) -> None:
    async with make_sessionmaker(engine)() as session:
        await insert_twice(session)
        with pytest.raises(TransactionAborted):
            await session.commit()
        await session.rollback()
        await session.execute(INSERT)
        await session.commit()
    assert await stored(engine) == 1


async def test_a_transaction_block_raises_at_its_end(engine: AsyncEngine) -> None:
    with pytest.raises(TransactionAborted, match=REMEDY):
        async with transaction(make_sessionmaker(engine)) as session:
            await insert_twice(session)


async def test_a_connection_raises_at_the_end_of_its_block(engine: AsyncEngine) -> None:
    with pytest.raises(TransactionAborted, match=REMEDY):
        async with engine.begin() as connection:
            await insert_twice(connection)


async def test_the_driver_used_raw_raises_too(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        begun = raw.transaction()
        await begun.start()
        with pytest.raises(Exception, match="zero"):
            await raw.execute("SELECT 1 / 0")
        with pytest.raises(TransactionAborted, match=REMEDY):
            await begun.commit()


async def test_a_commit_written_as_sql_raises_too(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        await raw.execute("BEGIN")
        with pytest.raises(Exception, match="zero"):
            await raw.execute("SELECT 1 / 0")
        with pytest.raises(TransactionAborted, match=REMEDY):
            await raw.execute(" commit ; ")


async def test_an_error_within_a_savepoint_aborts_nothing_else(engine: AsyncEngine) -> None:
    async with make_sessionmaker(engine)() as session:
        await session.execute(INSERT)
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                await session.execute(INSERT)
        await session.commit()
    assert await stored(engine) == 1


async def test_a_rollback_is_no_error(engine: AsyncEngine) -> None:
    async with make_sessionmaker(engine)() as session:
        await insert_twice(session)
        await session.rollback()
    assert await stored(engine) == 0


async def test_a_deferred_constraint_raises_at_the_commit(engine: AsyncEngine) -> None:
    async with make_sessionmaker(engine)() as session:
        await session.execute(text("SET CONSTRAINTS ALL DEFERRED"))
        await session.execute(INSERT)
        await session.execute(INSERT)
        with pytest.raises(IntegrityError):
            await session.commit()
    assert await stored(engine) == 0


async def test_without_prepared_statements_too(settings: Settings) -> None:
    database = msgspec.structs.replace(settings.database, pgbouncer="on")
    engine = make_engine(msgspec.structs.replace(settings, database=database))
    try:
        with pytest.raises(TransactionAborted, match=REMEDY):
            async with transaction(make_sessionmaker(engine)) as session:
                await insert_twice(session)
    finally:
        await engine.dispose()
