"""The tables in which transactions leave what they did.

`ledger` holds what producers committed, each row with the job that was enqueued in the same transaction; `runs` what
the jobs did, written with the session of the job.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

TABLES = ("ledger", "runs")


async def make_tables(connection: AsyncConnection) -> None:
    """Make the tables, empty."""
    for name in TABLES:
        await connection.execute(text(f"CREATE TABLE {name} (number integer)"))
