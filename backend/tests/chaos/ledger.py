"""The worker process of a memory run, and the tables in which its jobs leave what they did.

`ledger` holds what producers committed, each row with the job that was enqueued in the same transaction; `runs` what
the jobs did, written with the session of the job; `bodies` each run of a body that came to its end, committed at once.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db.session import SessionMaker, transaction
from app.queue import INJECTED, Context, get_registry, task
from app.worker import main

get_registry().clear()

TABLES = ("ledger", "runs", "bodies")


@task(timeout=30)
async def entry(ctx: Context, *, number: int, db_session: AsyncSession = INJECTED) -> int:
    """Writes down that it ran, with its own success."""
    await db_session.execute(text("INSERT INTO runs VALUES (:number)"), {"number": number})
    return number


@task(timeout=30, durable=True)
async def durable_entry(ctx: Context, *, number: int, maker: SessionMaker = INJECTED) -> int:
    """Writes down at its end that it ran, in a transaction that knows nothing of the job."""
    async with transaction(maker) as session:
        await session.execute(text("INSERT INTO bodies VALUES (:number)"), {"number": number})
    return number


@task(timeout=30, durable=True)
async def durable_with_session(ctx: Context, *, number: int, db_session: AsyncSession = INJECTED) -> int:
    """Writes down that it ran, with its own success."""
    await db_session.execute(text("INSERT INTO runs VALUES (:number)"), {"number": number})
    return number


async def make_tables(engine: AsyncEngine) -> None:
    """Empty tables for a run."""
    async with engine.begin() as connection:
        for name in TABLES:
            await connection.execute(text(f"CREATE TABLE IF NOT EXISTS {name} (number integer)"))
            await connection.execute(text(f"TRUNCATE {name}"))
        await connection.execute(text("TRUNCATE outbox, job_records"))


if __name__ == "__main__":
    main()
