from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from saqueduct.postgres import migrate
from saqueduct.postgres.partitions import Partitions
from saqueduct.postgres.partition_layout import read
from saqueduct.postgres.retention import Retention

async def test_x(empty_database: AsyncEngine):
    await migrate.upgrade(empty_database, "saqueduct_0001" and None, "saqueduct_0001")
    async with empty_database.begin() as c:
        await c.execute(text("INSERT INTO job_records (queued_at,key,queue,task,status,attempts,ended_at) SELECT now() - n * interval '1 hour', 'k'||n, 'default','t', CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'complete' END, 1, now() - n * interval '1 hour' FROM generate_series(1, 2400) n"))
    await migrate.upgrade(empty_database)
    parts = Partitions(empty_database, Retention())
    async with empty_database.begin() as c:
        print(await read(c, None))
    print(await parts.maintain())
    async with empty_database.begin() as c:
        for p in (await read(c, None)).partitions: print(p)
    parts = Partitions(empty_database, Retention(complete=-3, failed=90))
    print(await parts.maintain())
    async with empty_database.begin() as c:
        for p in (await read(c, None)).partitions: print(p)
        print((await c.execute(text("SELECT count(*), tableoid::regclass FROM job_records GROUP BY 2"))).all())
    await migrate.downgrade(empty_database, "saqueduct_0001")
    async with empty_database.begin() as c:
        print((await c.execute(text("SELECT count(*), tableoid::regclass FROM job_records GROUP BY 2"))).all())
        print((await c.execute(text("SELECT relname FROM pg_class WHERE relname like '%job_rec%'"))).scalars().all())
    assert 0
