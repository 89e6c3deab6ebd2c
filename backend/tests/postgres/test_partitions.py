"""Job records in partitions: the migration, and the upkeep, while others write."""

import asyncio
import datetime as dt
import os
from functools import partial

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from saqueduct.postgres import migrate
from saqueduct.postgres.compaction import Compaction
from saqueduct.postgres.engine import sqlalchemy_url
from saqueduct.postgres.partition_layout import (
    BEFORE,
    EVERYWHERE,
    SEARCH,
    Layout,
    Partition,
    midnight,
    no_partition,
)
from saqueduct.postgres.partitions import SMALL, Partitions
from tests.fixtures.poll import eventually
from tests.postgres.empty_databases import run_sql
from tests.postgres.partition_kit import (
    DAY,
    HOUR,
    KEEP,
    SCHEMAS,
    divided,
    first_revision,
    layout,
    now,
    places,
    row,
    sql,
    upgraded,
    write,
    writing,
)


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_an_upgrade_and_the_first_upkeep_do_not_disturb_writers(
    empty_database: AsyncEngine, schema: str | None
) -> None:
    await first_revision(empty_database, schema)
    old = [row(now() - HOUR * hours) for hours in range(100)]
    await write(empty_database, *old, schema=schema)
    async with writing(empty_database, schema) as writers:
        await migrate.upgrade(empty_database, schema)
        await writers.further()
        await Partitions(empty_database, KEEP, schema).maintain()
    found = await layout(empty_database, schema)
    names = [each.name for each in found.partitions]
    assert names[0] == "job_records_first"
    assert names[1:] == [f"job_records_{midnight(found.now) + DAY * days:%Y%m%d}" for days in (2, 3)]
    assert {each.key for each in old} <= (await places(empty_database, schema)).keys()


async def test_the_first_day_of_a_new_database_has_no_indexes_for_searches(empty_database: AsyncEngine) -> None:
    await migrate.upgrade(empty_database)
    first, last = (await layout(empty_database)).partitions
    assert (first.name, first.end) == ("job_records_first_kept", last.start)
    assert last.start == midnight(now())
    assert last.end is None
    assert len(last.indexes) == 3


async def definitions(database: AsyncEngine) -> list[str]:
    found = await sql(
        database,
        """
        SELECT indexdef FROM pg_indexes WHERE tablename = 'job_records'
        UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint
            WHERE conrelid = 'job_records'::regclass
        UNION ALL SELECT attname || format_type(atttypid, atttypmod) || attnotnull || attnum FROM pg_attribute
            WHERE attrelid = 'job_records'::regclass AND attnum > 0
        UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        """,
    )
    return sorted(each for (each,) in found)


async def test_a_downgrade_makes_the_table_that_was_there_with_all_rows(empty_database: AsyncEngine) -> None:
    old, new = row(now() - 20 * DAY), row(now() + 2 * DAY, "failed")
    await migrate.upgrade(empty_database, revision="saqueduct_0001")
    before = await definitions(empty_database)
    await upgraded(empty_database, old)
    await Partitions(empty_database, KEEP).maintain()
    await write(empty_database, new)
    assert len(set((await places(empty_database)).values())) == 2
    await migrate.downgrade(empty_database, "saqueduct_0001")
    assert await places(empty_database) == {old.key: "job_records", new.key: "job_records"}
    assert await definitions(empty_database) == before
    await migrate.upgrade(empty_database)


async def test_rights_on_the_table_and_its_owner_stay(empty_url: str, empty_database: AsyncEngine) -> None:
    owner, reader = f"owner_{os.getpid()}", f"my-reader_{os.getpid()}"
    await migrate.upgrade(empty_database, revision="saqueduct_0001")
    await run_sql(
        empty_url,
        f"CREATE ROLE {owner}",
        f'CREATE ROLE "{reader}"',
        f"ALTER TABLE job_records OWNER TO {owner}",
        f'GRANT SELECT, INSERT ON job_records TO "{reader}"',
        "GRANT SELECT ON job_records TO PUBLIC",
    )
    query = """
        SELECT relowner::regrole::text, (SELECT array_agg(grantee || privilege_type ORDER BY 1)
            FROM aclexplode(relacl) WHERE grantee <> relowner) FROM pg_class WHERE relname = 'job_records'
    """
    before = await sql(empty_database, query)
    try:
        for change in (migrate.upgrade(empty_database), migrate.downgrade(empty_database, "saqueduct_0001")):
            await change
            assert await sql(empty_database, query) == before
    finally:
        await run_sql(empty_url, f'DROP OWNED BY {owner}, "{reader}"', f'DROP ROLE {owner}, "{reader}"')


@pytest.mark.parametrize("year", [1, 9998])
async def test_a_record_of_any_time_has_a_place(empty_database: AsyncEngine, year: int) -> None:
    await upgraded(empty_database, row(now()))
    await Partitions(empty_database, KEEP).maintain()
    odd = row(dt.datetime(year, 6, 1, tzinfo=dt.UTC))
    await write(empty_database, odd)
    assert odd.key in await places(empty_database)


@pytest.mark.parametrize("small", [SMALL, -1])
async def test_records_of_the_future_move_when_the_last_partition_gets_a_bound(
    empty_database: AsyncEngine, small: int
) -> None:
    today, future = row(now()), row(now() + 400 * DAY)
    await upgraded(empty_database, today, future)
    await Partitions(empty_database, KEEP, small=small).maintain()
    last = (await layout(empty_database)).partitions[-1]
    assert await places(empty_database) == {today.key: "job_records_first", future.key: last.name}


async def test_a_large_table_is_checked_before_it_gets_a_bound(
    empty_database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upgraded(empty_database, row(now()))
    split, checked = Partitions._split, []

    async def split_checked(self: Partitions, found: Layout, last: Partition, at: dt.datetime) -> None:
        # Meanwhile a record of a later time has to wait.
        with pytest.raises(DBAPIError) as caught:
            await write(empty_database, row(at), copy=False)
        assert no_partition(caught.value)
        validated = f"SELECT convalidated FROM pg_constraint WHERE conname = '{BEFORE}'"  # noqa: S608
        checked.append((await sql(empty_database, validated))[0][0])
        await split(self, found, last, at)

    monkeypatch.setattr(Partitions, "_split", split_checked)
    await Partitions(empty_database, KEEP, small=-1).maintain()
    assert checked == [True, True]
    left = f"SELECT 1 FROM pg_constraint WHERE conname = '{BEFORE}'"  # noqa: S608
    disabled = "SELECT 1 FROM pg_class WHERE 'autovacuum_enabled=false' = ANY(reloptions)"
    assert [await sql(empty_database, left), await sql(empty_database, disabled)] == [[], []]


async def test_a_closed_partition_gets_its_indexes_also_after_a_process_died_at_it(empty_database: AsyncEngine) -> None:
    # That of yesterday is closed some minutes after midnight.
    closed = await divided(empty_database, midnight(now()) - 2 * DAY)
    assert len(closed.indexes) == 3
    upkeep = Partitions(empty_database, KEEP)
    await upkeep.maintain()
    broken = f"{closed.name}_arguments"
    invalid = f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{broken}'::regclass"  # noqa: S608
    await sql(empty_database, invalid)
    await upkeep.maintain()
    found = (await layout(empty_database)).partitions
    indexes = {each.name: each.indexes for each in found}
    wanted = {f"{closed.name}_{suffix}" for suffix in ("task", "task_incomplete", "tags", "arguments")}
    assert wanted <= {name for name, valid in indexes[closed.name].items() if valid}
    each_has = 3 + len(EVERYWHERE)
    assert [len(indexes[each.name]) for each in found if each.end is None or each.end > now()] == [each_has] * 3


async def test_an_old_day_keeps_what_outlives_the_others(empty_database: AsyncEngine) -> None:
    day = midnight(now()) - 40 * DAY
    kept = [row(day, "failed"), row(day, "queued"), row(day + HOUR, ended=now() - DAY)]
    gone = [row(day), row(day, "aborted"), row(day, ended=day + 20 * DAY)]
    await divided(empty_database, day, *kept, *gone)
    await Partitions(empty_database, KEEP).maintain()
    name = f"job_records_{day:%Y%m%d}_kept"
    assert await places(empty_database) == {each.key: name for each in kept}
    (partition,) = (each for each in (await layout(empty_database)).partitions if each.name == name)
    assert (partition.start, partition.end) == (day, day + DAY)
    assert len(partition.indexes) == 3 + len(EVERYWHERE) + len(SEARCH)


async def test_changes_of_an_old_day_during_its_copy_are_kept(empty_database: AsyncEngine) -> None:
    day = midnight(now()) - 20 * DAY
    letter, removed, again = row(day, "failed"), row(day, "failed"), row(day)
    partition = await divided(empty_database, day, letter, removed, again)
    *first, (_, swap) = list(Compaction(await layout(empty_database), partition, KEEP).steps)
    for _, statements in first:
        for statement in statements:
            await sql(empty_database, statement)
    late, failed_again = row(day + HOUR, ended=now()), again._replace(status="failed", attempts=2)
    await write(empty_database, late)
    await write(empty_database, failed_again, copy=False)
    await sql(empty_database, f"UPDATE job_records SET resolution = 'discarded' WHERE key = '{letter.key}'")  # noqa: S608
    await sql(empty_database, f"DELETE FROM job_records WHERE key = '{removed.key}'")  # noqa: S608
    async with empty_database.begin() as connection:
        for statement in swap:
            await connection.exec_driver_sql(statement)
    found = await sql(empty_database, "SELECT key, status, resolution FROM job_records")
    assert sorted(map(tuple, found)) == sorted(
        [(letter.key, "failed", "discarded"), (late.key, "complete", None), (again.key, "failed", None)]
    )
    left = "SELECT proname FROM pg_proc WHERE proname LIKE '%note_change' UNION SELECT tgname FROM pg_trigger"
    assert "saqueduct_note_change" not in [each for (each,) in await sql(empty_database, left)]


async def test_what_a_process_left_that_died_during_the_copy_is_no_obstacle(empty_database: AsyncEngine) -> None:
    day = midnight(now()) - 20 * DAY
    letter = row(day, "failed")
    partition = await divided(empty_database, day, letter, row(day))
    for _, statements in list(Compaction(await layout(empty_database), partition, KEEP).steps)[:3]:
        for statement in statements:
            await sql(empty_database, statement)
    await Partitions(empty_database, KEEP).maintain()
    assert list(await places(empty_database)) == [letter.key]


async def test_writers_of_old_and_new_days_are_not_disturbed_when_days_are_dropped(empty_database: AsyncEngine) -> None:
    day = midnight(now()) - 9 * DAY
    old = [row(day + n * HOUR / 100) for n in range(500)]
    await divided(empty_database, day, *old)
    async with writing(empty_database):
        await Partitions(empty_database, KEEP).maintain()
    assert f"job_records_{day:%Y%m%d}_kept" in (await places(empty_database)).values()
    assert not {each.key for each in old} & (await places(empty_database)).keys()


async def test_days_that_are_over_for_all_records_join_the_first_partition(empty_database: AsyncEngine) -> None:
    day = midnight(now()) - 200 * DAY
    late = row(day, "failed", ended=now() - DAY)
    await divided(empty_database, day, late, row(day, "failed"), kept=True)
    await Partitions(empty_database, KEEP).maintain()
    first, second, *_ = (await layout(empty_database)).partitions
    assert first.end == second.start
    assert first.end is not None
    assert first.end > day
    assert (await places(empty_database))[late.key] == "job_records_first_kept"


async def test_a_step_waits_for_a_reader_only_briefly_and_is_tried_again(empty_database: AsyncEngine) -> None:
    await upgraded(empty_database, row(now()))
    waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
    async with empty_database.begin() as reader:
        await reader.exec_driver_sql("LOCK TABLE job_records IN ACCESS SHARE MODE")
        upkeep = asyncio.create_task(Partitions(empty_database, KEEP, pause=0.05).maintain())
        for state in (True, False, True):
            # It waits, gives up so that others can go on, and waits again.
            await eventually(partial(_is, empty_database, waits, state))
    await upkeep
    assert len((await layout(empty_database)).partitions) > 1


async def _is(database: AsyncEngine, query: str, state: bool) -> bool:
    return bool(await sql(database, query)) is state


async def test_one_process_at_a_time_looks_after_the_partitions(empty_database: AsyncEngine) -> None:
    await upgraded(empty_database, row(now()))
    both = [Partitions(empty_database, KEEP) for _ in range(2)]
    async with both[0]._alone() as alone:
        assert alone
        await both[1].maintain()
        assert len((await layout(empty_database)).partitions) == 1
    await asyncio.gather(*(each.maintain() for each in both))
    assert len((await layout(empty_database)).partitions) == 3


async def test_a_role_that_does_not_own_the_table_leaves_it_and_says_so(
    empty_url: str, empty_database: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    role = f"writes_{os.getpid()}"
    await upgraded(empty_database, row(now()))
    await run_sql(empty_url, f"CREATE ROLE {role}", f"GRANT SELECT, INSERT, DELETE ON job_records TO {role}")
    engine = create_async_engine(sqlalchemy_url(empty_url), connect_args={"server_settings": {"role": role}})
    try:
        upkeep = Partitions(engine, KEEP)
        assert [await upkeep.maintain(), await upkeep.maintain()] == [None, None]
        assert caplog.text.count("only by its owner") == 1
    finally:
        await engine.dispose()
        await run_sql(empty_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert len((await layout(empty_database)).partitions) == 1


async def test_a_role_with_the_rights_of_the_owner_makes_partitions_of_the_owner(
    empty_url: str, empty_database: AsyncEngine
) -> None:
    owner, role = f"owns_{os.getpid()}", f"member_{os.getpid()}"
    await run_sql(empty_url, f"CREATE ROLE {owner}", f"CREATE ROLE {role} IN ROLE {owner}")
    await run_sql(empty_url, f"GRANT CREATE ON SCHEMA public TO {owner}")
    settings = {"server_settings": {"role": owner}}
    engines = [create_async_engine(sqlalchemy_url(empty_url), connect_args=settings)]
    settings = {"server_settings": {"role": role}}
    engines.append(create_async_engine(sqlalchemy_url(empty_url), connect_args=settings))
    try:
        await upgraded(engines[0], row(now()))
        await Partitions(engines[1], KEEP).maintain()
        owners = await sql(
            empty_database, "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename LIKE 'job_records%'"
        )
        assert [each for (each,) in owners] == [owner]
        assert len((await layout(empty_database)).partitions) == 3
    finally:
        for engine in engines:
            await engine.dispose()
        await run_sql(empty_url, f"DROP OWNED BY {owner}, {role}", f"DROP ROLE {owner}, {role}")


async def test_times_whose_partition_was_dropped_by_hand_get_a_new_one(
    empty_database: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    day = midnight(now()) - 3 * DAY
    await divided(empty_database, day, row(day))
    await sql(empty_database, f"DROP TABLE job_records_{day:%Y%m%d}, job_records_first_kept")
    with pytest.raises(DBAPIError) as caught:
        await write(empty_database, row(day), copy=False)
    assert no_partition(caught.value)
    caplog.clear()
    await Partitions(empty_database, KEEP).fill()
    assert caplog.text.count("had no partition") == 1
    late, very_late = row(day), row(day - 400 * DAY)
    await write(empty_database, late, very_late)
    assert await places(empty_database) == dict.fromkeys((late.key, very_late.key), "job_records_first_again")


async def test_other_violated_constraints_are_the_records_fault(empty_database: AsyncEngine) -> None:
    await migrate.upgrade(empty_database)
    with pytest.raises(DBAPIError) as caught:
        await write(empty_database, row(now(), "no such status"), copy=False)
    assert not no_partition(caught.value)
