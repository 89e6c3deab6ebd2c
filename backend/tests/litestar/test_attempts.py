"""Counting who guesses."""

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from litestar import Request
from redis.exceptions import ConnectionError as RedisConnectionError

from app.settings import load_settings
from saqueduct import EngineQueue, Queues
from saqueduct.common.secret import Secret
from saqueduct.litestar import attempts as module
from saqueduct.litestar.attempts import SLOTS, WINDOW, Attempts, client_network
from tests.fixtures.composition import build_queues


@pytest.fixture
def attempts(queues: Queues) -> Attempts:
    return Attempts(queues.get("default"), Secret("key"))


@pytest.fixture
async def unreachable(environment: dict[str, str], tmp_path: Any) -> AsyncIterator[EngineQueue]:
    """A queue of a process that does not reach Redis."""
    queues = build_queues(load_settings(environment | {"REDIS_URL": f"unix://{tmp_path}/nobody.sock"}))
    yield queues.get("default")
    for queue in queues:
        await queue.redis.aclose()


@pytest.fixture
def alone(unreachable: EngineQueue) -> Attempts:
    """Attempts of that process."""
    return Attempts(unreachable, Secret("key"))


async def test_attempts_are_counted_by_network_and_kind(attempts: Attempts) -> None:
    counts = await asyncio.gather(*(attempts.count("logins", "192.0.2.1") for _ in range(5)))
    assert sorted(count.attempts for count in counts) == [1, 2, 3, 4, 5]
    assert all(0 < count.seconds <= WINDOW for count in counts)
    assert (await attempts.so_far("logins", "192.0.2.1")).attempts == 5
    assert (await attempts.so_far("logins", "192.0.2.2")).attempts == 0
    assert (await attempts.so_far("admin", "192.0.2.1")).attempts == 0


async def test_another_process_counts_on(attempts: Attempts, queues: Queues) -> None:
    await attempts.count("logins", "192.0.2.1")
    other = Attempts(queues.get("default"), Secret("key"))
    assert (await other.count("logins", "192.0.2.1")).attempts == 2


async def test_every_counter_ends_by_itself_and_there_are_so_many_at_most(attempts: Attempts, queues: Queues) -> None:
    for number in range(20):
        await attempts.count("logins", f"192.0.2.{number}")
    redis = queues.get("default").redis
    keys = [key async for key in redis.scan_iter("*attempts:*")]
    assert len(keys) == 20
    for key in keys:
        assert 0 < await redis.ttl(key) <= WINDOW
        assert 0 <= int(key.decode().rpartition(":")[2]) < SLOTS


async def test_without_redis_a_process_counts_for_itself(alone: Attempts) -> None:
    assert [(await alone.count("logins", "192.0.2.1")).attempts for _ in range(3)] == [1, 2, 3]
    assert (await alone.so_far("logins", "192.0.2.1")).attempts == 3
    assert (await alone.so_far("logins", "192.0.2.2")).attempts == 0


@pytest.mark.long
async def test_without_redis_too_a_window_ends_however_often_somebody_tries(
    alone: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr(module, "time", clock)
    last = await alone.count("logins", "192.0.2.1")
    for second in range(3, WINDOW, 3):
        monkeypatch.setattr(clock, "monotonic", lambda now=1000.0 + second: now)
        last = await alone.count("logins", "192.0.2.1")
    assert (last.attempts, last.seconds) == (WINDOW / 3, 3)
    monkeypatch.setattr(clock, "monotonic", lambda: 1001.0 + WINDOW)
    assert (await alone.count("logins", "192.0.2.1")).attempts == 1


async def test_a_process_counts_on_when_redis_goes_away(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch, queues: Queues
) -> None:
    for _ in range(3):
        await attempts.count("logins", "192.0.2.1")

    async def away(*_: object, **__: object) -> None:
        raise RedisConnectionError

    monkeypatch.setattr("redis.asyncio.client.Pipeline.execute", away)
    assert (await attempts.count("logins", "192.0.2.1")).attempts == 4
    assert (await attempts.so_far("logins", "192.0.2.1")).attempts == 4


async def test_what_a_process_has_counted_for_itself_counts_when_redis_is_back(
    attempts: Attempts, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await attempts.count("logins", "192.0.2.1")).attempts == 1
    with monkeypatch.context() as away:
        away.setattr(Attempts, "away", True)
        assert (await attempts.count("logins", "192.0.2.1")).attempts == 2
    assert (await attempts.count("logins", "192.0.2.1")).attempts == 3
    assert (await attempts.so_far("logins", "192.0.2.1")).attempts == 3
    await asyncio.gather(*(queue.redis.flushall() for queue in queues))
    now = time.monotonic()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now + WINDOW))
    assert (await attempts.count("logins", "192.0.2.1")).attempts == 1


async def test_what_a_process_counts_for_itself_is_bounded(unreachable: EngineQueue) -> None:
    alone = Attempts(unreachable, Secret("key"), remembered=3)
    for number in range(5):
        await alone.count("logins", f"192.0.2.{number}")
    assert [(await alone.so_far("logins", f"192.0.2.{number}")).attempts for number in range(5)] == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("client", "network"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 1), "2001:db8:1:2::/64"),
        (("somewhere", 1), "somewhere"),
        (None, ""),
    ],
)
def test_ipv6_clients_are_distinguished_by_network(client: tuple[str, int] | None, network: str) -> None:
    assert client_network(Request({"type": "http", "client": client})) == network  # type: ignore[arg-type]
