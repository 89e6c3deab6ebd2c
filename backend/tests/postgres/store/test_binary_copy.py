"""Rows that are copied are the rows that an INSERT writes."""

import struct
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct.postgres import binary_copy
from saqueduct.postgres.recorder import refused
from saqueduct.postgres.rows import Row
from saqueduct.postgres.store import PostgresStore
from tests.postgres.store.conftest import Look

PLAIN = Row(
    1_700_000_000_001, "key", "default", "task", "complete", 0, 1, 0, b'{"a":1}', None, b"2", None, None, "worker",
    1_700_000_000_002, 1_700_000_000_003, None,
)  # fmt: skip

ALIKE = {
    "plain": PLAIN,
    "nothing to keep": PLAIN._replace(arguments=None, result=None, worker=None, started=0, ended=0, attempts=0),
    "other letters": PLAIN._replace(
        key="ключ", task="任务", arguments='{"größe":"ü"}'.encode(), result='"ß"'.encode(), error="Ошибка"
    ),
    "exact arguments": PLAIN._replace(arguments=b'{"b":1,"a":-0.0}', payload=b'{"b":1,"a":-0.0}'),
    "before the year 2000": PLAIN._replace(queued=1, started=946_684_799_999, ended=946_684_800_000),
    "tags": PLAIN._replace(extra={"tags": ["billing", "", 'a,"b"', "ü"]}),
    "no tags": PLAIN._replace(extra={"tags": []}),
    "everything else": PLAIN._replace(
        extra={"schedule": "every", "parent": "p", "trace_id": "0" * 32, "replay_of": "dead", "tags": ["one"]}
    ),
}


async def write(store: PostgresStore, engine: AsyncEngine, *rows: Row, copy: bool = True) -> None:
    async with engine.begin() as connection:
        await store.recorder.rows.write(connection, rows, copy=copy)


@pytest.mark.parametrize("row", ALIKE.values(), ids=ALIKE)
async def test_a_copied_row_is_the_one_that_an_insert_writes(
    store: PostgresStore, engine: AsyncEngine, records: Look, row: Row
) -> None:
    await write(store, engine, row, copy=False)
    inserted = await records()
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM job_records"))
    await write(store, engine, row)
    assert [tuple(each) for each in await records()] == [tuple(each) for each in inserted]


async def test_rows_of_many_messages_are_written_in_one_copy(
    store: PostgresStore, engine: AsyncEngine, records: Look
) -> None:
    bulky = b'{"a":"%s"}' % (b"x" * (binary_copy.MESSAGE_BYTES // 20))
    rows = [PLAIN._replace(key=f"{n}", queue="ab"[n % 2], arguments=bulky, result=b"%d" % n) for n in range(50)]
    await write(store, engine, *rows)
    assert sorted((int(each.key), each.queue, each.result) for each in await records()) == [
        (n, "ab"[n % 2], n) for n in range(50)
    ]


async def test_an_argument_that_fills_many_messages_is_written(
    store: PostgresStore, engine: AsyncEngine, records: Look
) -> None:
    large = "x" * (3 * binary_copy.MESSAGE_BYTES)
    await write(store, engine, PLAIN, PLAIN._replace(key="large", arguments=b'{"a":"%s"}' % large.encode()))
    assert sorted(len(each.arguments["a"]) for each in await records() if each.key == "large") == [len(large)]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"attempts": -99_999}, struct.error),
        ({"ended": 0.5}, struct.error),
        ({"queued": 2**62}, struct.error),
        ({"task": 7}, TypeError),
        ({"key": "\ud800"}, UnicodeEncodeError),
        ({"extra": {"tags": "billing"}}, TypeError),
        ({"extra": {"tags": [1]}}, TypeError),
        ({"extra": {"parent": 7}}, TypeError),
    ],
)
def test_a_value_that_its_column_cannot_hold_is_the_record_s_fault(
    wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        binary_copy.pack(PLAIN._replace(**wrong))
    assert refused(caught.value)


@pytest.mark.parametrize(
    "changes", [{}, {"arguments": None, "result": None, "worker": None, "started": 0}, {"key": "ключ"}], ids=str
)
def test_a_plain_success_that_is_packed_can_be_unpacked(changes: dict[str, Any]) -> None:
    row = PLAIN._replace(**changes)
    assert binary_copy.unpack(binary_copy.pack(row)) == row


async def test_a_packed_success_that_is_refused_or_has_a_row_keeps_no_other_from_being_written(
    store: PostgresStore, engine: AsyncEngine, records: Look
) -> None:
    await write(store, engine, PLAIN._replace(status="queued", result=None))
    names = ("key", "a\x00b", "last")
    await store.recorder._write([binary_copy.pack(PLAIN._replace(key=name)) for name in names])
    assert {(each.key, each.status, each.result) for each in await records()} == {
        ("key", "complete", 2),
        ("last", "complete", 2),
    }


@pytest.mark.parametrize("wrong", [{"key": "\x00"}, {"attempts": -99_999}, {"queued": -(2**52)}, {"result": b"{"}])
async def test_a_row_that_cannot_be_copied_does_not_keep_the_others_from_being_written(
    store: PostgresStore, records: Look, wrong: dict[str, Any]
) -> None:
    await store.recorder._write([PLAIN, PLAIN._replace(**{"key": "wrong", **wrong}), PLAIN._replace(key="last")])
    assert {each.key for each in await records()} == {"key", "last"}
