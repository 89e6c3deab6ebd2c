"""Sessions of PostgreSQL that the tests keep: each connection finds its own as if it were new."""

import asyncio
import itertools
import os

import asyncpg
import pytest

_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    """Sessions with another application's name are not the same."""
    return f"kept {next(_numbers)}"


async def connect(url: str, name: str) -> asyncpg.Connection:
    return await asyncpg.connect(url, server_settings={"application_name": name})


async def test_the_next_one_has_the_session_but_nothing_that_was_left_in_it(database_url: str, name: str) -> None:
    first = await connect(database_url, name)
    await first.execute(
        "SET lock_timeout = 1234; SET application_name = 'other'; CREATE TEMP TABLE left_over (number int); "
        "LISTEN somebody; SELECT pg_advisory_lock(4711); PREPARE known AS SELECT 1"
    )
    pid, settings = first.get_server_pid(), first.get_settings()
    await first.close()
    assert first.is_closed()
    second = await connect(database_url, name)
    assert second.get_server_pid() == pid
    assert second.get_settings().server_encoding == settings.server_encoding
    assert await second.fetchval("SHOW lock_timeout") == "0"
    assert await second.fetchval("SHOW application_name") == name
    assert await second.fetchval("SELECT to_regclass('left_over')") is None
    assert await second.fetchval("SELECT count(*) FROM pg_listening_channels()") == 0
    assert await second.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    assert await second.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name = 'known'") == 0
    await second.close()


async def test_that_of_a_listener_which_ends_without_a_word_is_kept_too(database_url: str, name: str) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    first, other = await connect(database_url, name), await asyncpg.connect(database_url)
    await first.add_listener("news", lambda *given: heard.put_nowait(given[-1]))
    pid = first.get_server_pid()
    await other.execute("NOTIFY news, 'of today'")
    assert await heard.get() == "of today"
    first.terminate()
    await other.execute("NOTIFY news, 'of tomorrow'")
    second = await connect(database_url, name)
    assert second.get_server_pid() == pid
    assert await second.fetchval("SELECT count(*) FROM pg_listening_channels()") == 0
    assert heard.empty()
    await second.close()
    await other.close()


@pytest.mark.parametrize("end", ["close", "terminate"])
async def test_a_transaction_ends_with_its_connection(database_url: str, name: str, end: str) -> None:
    first = await connect(database_url, name)
    await first.execute("BEGIN; SELECT pg_advisory_xact_lock(4712)")
    pid = first.get_server_pid()
    if end == "close":
        await first.close()
    else:
        first.terminate()
    second = await connect(database_url, name)
    assert second.get_server_pid() != pid
    async with second.transaction():
        await second.execute("SELECT pg_advisory_xact_lock(4712)", timeout=60)
    await second.close()


async def test_one_that_postgresql_has_ended_is_not_taken(database_url: str, name: str) -> None:
    first, other = await connect(database_url, name), await asyncpg.connect(database_url)
    pid = first.get_server_pid()
    await first.close()
    assert await other.fetchval("SELECT pg_terminate_backend($1, 60000)", pid)
    second = await connect(database_url, name)
    assert second.get_server_pid() != pid
    assert await second.fetchval("SELECT 1") == 1
    for each in (second, other):
        await each.close()


async def test_a_statement_is_cancelled_in_a_session_that_was_kept(database_url: str, name: str) -> None:
    await (await connect(database_url, name)).close()
    second = await connect(database_url, name)
    with pytest.raises(TimeoutError):
        await second.execute("SELECT pg_sleep(60)", timeout=0.05)
    assert await second.fetchval("SELECT 1") == 1
    await second.close()


async def test_a_forked_process_takes_none_of_its_parents(
    database_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await connect(database_url, name)
    await first.close()
    with monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: -1)
        second = await connect(database_url, name)
    assert second.get_server_pid() != first.get_server_pid()
    await second.close()
