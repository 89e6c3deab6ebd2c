"""Direct connections and lines: what redis-py's client does for a call holds for those too."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
import uvloop
from redis.asyncio import connection as asynchronous
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, ResponseError

from app.settings import Settings
from saqueduct import EngineQueue, Queues
from saqueduct.broker.connections import Connections
from saqueduct.broker.direct import DirectConnection
from saqueduct.broker.transport import Lines
from tests.fixtures.poll import eventually


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    return queues.get("default")


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "key", 1.5),
        ("SET", "ké", b"\xff\x00", "EX", 10**12),
        (b"SCRIPT LOAD", "return 1"),
        ("CONFIG GET", "maxmemory"),
        ("SET", bytearray(b"key"), memoryview(b"value")),
    ],
)
def test_a_command_is_packed_as_redis_py_packs_it(command: tuple[Any, ...]) -> None:
    packed = DirectConnection().pack_command(*command)
    assert b"".join(packed) == b"".join(asynchronous.Connection().pack_command(*command))


@pytest.mark.parametrize("value", [None, True, {}])
def test_what_redis_py_refuses_is_refused(value: object) -> None:
    with pytest.raises(DataError):
        DirectConnection().pack_command("SET", "key", value)


async def test_more_than_a_socket_takes_at_once_arrives_whole(queue: EngineQueue) -> None:
    value = b"x" * 32 * 1024 * 1024
    lines = Lines(queue.redis)
    assert await lines.call(("SET", "large", value), ("STRLEN", "large")) == [b"OK", len(value)]


async def test_the_answers_to_several_commands_hold_the_errors(queue: EngineQueue) -> None:
    first, second, third = await Lines(queue.redis).call(("SET", "a", "b"), ("INCR", "a"), ("GET", "a"))
    assert (first, third) == (b"OK", b"b")
    assert isinstance(second, ResponseError)


async def test_a_call_that_is_cancelled_leaves_no_answer_to_the_next(queue: EngineQueue) -> None:
    lines = Lines(queue.redis)
    waiting = asyncio.create_task(lines.call(("BLPOP", "nothing", 30)))
    await eventually(lambda: _blocked(queue))
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await queue.redis.rpush("nothing", "late")
    assert await lines.call(("ECHO", "mine")) == [b"mine"]


async def test_a_line_that_was_cut_is_made_anew(queue: EngineQueue) -> None:
    lines = Lines(queue.redis)
    [line] = await lines.call(("CLIENT", "ID"))
    assert await lines.call(("CLIENT", "ID")) == [line]
    await queue.redis.client_kill_filter(_id=str(line))
    [other] = await lines.call(("CLIENT", "ID"))
    assert other != line


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("way", ["abort", "close"])
def test_a_line_whose_socket_is_closed_is_made_anew(settings: Settings, run: Callable[..., Any], way: str) -> None:
    async def cut_and_call() -> list[Any]:
        client = Connections(settings.redis.url.reveal()).client("default")
        lines = Lines(client)
        await lines.call(("PING",))
        # As after a reset by the server.
        getattr(cast("Any", lines._idle[0])._writer.transport, way)()
        await asyncio.sleep(0)
        answers = [*await lines.call(("ECHO", "mine")), *await lines.call(("ECHO", "again"))]
        await client.aclose()
        return answers

    assert run(cut_and_call()) == [b"mine", b"again"]


async def test_calls_that_take_long_have_lines_of_their_own(queue: EngineQueue) -> None:
    lines = Lines(queue.redis)
    calls = [asyncio.create_task(lines.call(("CLIENT", "ID"), ("BLPOP", f"nothing{n}", 60))) for n in range(3)]
    await eventually(lambda: _blocked(queue, 3))
    for number in range(3):
        await queue.redis.rpush(f"nothing{number}", "something")
    ids = {line for line, _ in await asyncio.gather(*calls)}
    assert len(ids) == 3
    again = [each for [each] in await asyncio.gather(*(lines.call(("CLIENT", "ID")) for _ in range(3)))]
    assert set(again) == ids


async def test_calls_that_begin_together_do_not_open_a_line_each(queue: EngineQueue) -> None:
    lines = Lines(queue.redis)
    ids = [each for [each] in await asyncio.gather(*(lines.call(("CLIENT", "ID")) for _ in range(10)))]
    assert len(set(ids)) < 10


async def test_a_call_whose_line_another_one_was_about_to_open_gets_one(queue: EngineQueue) -> None:
    lines = Lines(queue.redis)
    first, second = (asyncio.create_task(lines.call(("ECHO", name))) for name in ("first", "second"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == [b"second"]
    assert first.cancelled()


async def test_a_line_that_takes_its_time_to_open_holds_up_no_call(
    queue: EngineQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool: Any = queue.redis.connection_pool
    real, tries, opens = pool.get_connection, 0, asyncio.Event()

    async def first_waits() -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            await opens.wait()
        return await real()

    monkeypatch.setattr(pool, "get_connection", first_waits)
    lines = Lines(queue.redis)
    first, *others = (asyncio.create_task(lines.call(("ECHO", str(number)))) for number in range(4))
    assert await asyncio.gather(*others) == [[b"1"], [b"2"], [b"3"]]
    assert not first.done()
    opens.set()
    assert await first == [b"0"]


async def test_a_line_that_has_idled_is_looked_after(queue: EngineQueue) -> None:
    lines = Lines(queue.redis)
    await lines.call(("ECHO", "mine"))
    before = await _pings(queue)
    for line in lines._idle:
        line.next_health_check = 0
    await lines.call(("ECHO", "mine"))
    assert await _pings(queue) == before + 1


async def test_no_server_is_an_error_of_redis_py() -> None:
    with pytest.raises(RedisConnectionError):
        await Lines(Connections("redis://127.0.0.1:1").client("default")).call(("PING",))


async def _blocked(queue: EngineQueue, number: int = 1) -> bool:
    return bool((await queue.redis.info("clients"))["blocked_clients"] == number)


async def _pings(queue: EngineQueue) -> int:
    return int((await queue.redis.info("commandstats")).get("cmdstat_ping", {}).get("calls", 0))
