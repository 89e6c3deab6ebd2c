"""Connections: creates clients from REDIS_URL, for one server, sentinels, or a cluster.

All keys of a queue are in one slot of a cluster, so each queue has one server at a time, and a plain client is enough;
see `following.py`.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, cast

import redis
from redis import asyncio as aioredis
from redis import connection as blocking
from redis.asyncio import connection as asynchronous
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from saqueduct.broker.direct import DirectConnection, DirectSSLConnection, DirectUnixDomainSocketConnection
from saqueduct.broker.following import (
    CONNECT_TIMEOUT,
    DRIVER,
    BlockingFollowingConnection,
    BlockingFollowingSSLConnection,
    FollowingConnection,
    FollowingSSLConnection,
    Locator,
    only,
    tls_options,
)
from saqueduct.broker.loop_guard import LoopGuard
from saqueduct.broker.transport import Lines
from saqueduct.broker.url import RedisURL
from saqueduct.errors import ConfigurationError
from saqueduct.timings import Timings

SHARED = 16
"""Number of connections that the commands of a process share."""

LINES = 16
"""Number of connections that its script calls share; each call is a batch, and short."""

MAX_CONNECTIONS = 1000
"""Maximum connections of one client: at redis-py's own limit, 100, a job that needs one more would fail."""

ANSWER_TIMEOUT = 2.0
"""Seconds for Redis to answer a thread."""

DEFAULTS: dict[str, Any] = {
    "driver_info": DRIVER,
    "socket_connect_timeout": CONNECT_TIMEOUT,
    "health_check_interval": 30,
    "max_connections": MAX_CONNECTIONS,
}

_SHARED = ("db", "username", "password", "path", "client_name", "protocol", "locator")


class Pool(asynchronous.ConnectionPool):
    """The connections of a client, which all queues of a process share.

    It belongs to one event loop, and opens no connections for others. While SHARED connections are in use, a command
    waits for the next free one; if none becomes free within `Timings.free_connection`, because tasks use them for
    long operations, it gets an additional one.

    Args:
        timings: intervals, waits and limits.
        options: of redis-py's pool.

    Attributes:
        guard: checks the event loop.
        lasting: a client for callers that keep a connection: those that wait or listen take none from commands.
        lines: connections for scripts.
        waiting: connections for calls that wait for a job; one for each queue of a worker.
    """

    def __init__(self, timings: Timings, **options: Any) -> None:
        super().__init__(**options)
        self._free_connection_wait = timings.free_connection
        self.guard = LoopGuard()
        self.lasting = aioredis.Redis(connection_pool=asynchronous.ConnectionPool(**options))
        self.lines = Lines(self.lasting, self.guard, LINES)
        self.waiting = Lines(self.lasting, self.guard)
        self._released: deque[asyncio.Future[None]] = deque()

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        """See redis-py's.

        Raises:
            OtherEventLoop: this is not the event loop of the connections.
        """
        self.guard.check()
        if self._is_full():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._free_connection_wait):
                    await self._wait_for_room()
        return await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]

    async def release(self, connection: Any) -> None:
        """See redis-py's."""
        await super().release(connection)
        while self._released:
            if not (released := self._released.popleft()).done():
                released.set_result(None)
                break

    async def disconnect(self, *args: Any, **options: Any) -> None:
        """See redis-py's; also closes the lasting connections."""
        await super().disconnect(*args, **options)
        await self.lasting.connection_pool.disconnect(*args, **options)

    def _is_full(self) -> bool:
        return not self._available_connections and len(self._in_use_connections) >= SHARED

    async def _wait_for_room(self) -> None:
        while self._is_full():
            released = asyncio.get_running_loop().create_future()
            self._released.append(released)
            await released


class Connections:
    """The clients of one URL: a shared one, or one per queue if each queue has its own server.

    Args:
        url: see `RedisURL`.
        timings: intervals, waits and limits.

    Raises:
        InvalidRedisURL: the URL is invalid.
    """

    def __init__(self, url: str, timings: Timings | None = None) -> None:
        self._url = RedisURL.parse(url)
        self._timings = timings or Timings()
        self._shared = self._connect(None) if self._url.topology != "cluster" else None

    def client(self, queue: str) -> aioredis.Redis:
        """A client for the keys of a queue; it fails within about a second if the server is down.

        Raises:
            ConfigurationError: a cluster cannot find the slot of the queue's keys by this name.
        """
        if self._shared is not None:
            return self._shared
        if {"{", "}"} & set(queue):
            raise ConfigurationError(
                f"the name of the queue {queue!r} has braces, by which a Redis Cluster finds a queue's keys"
            )
        return self._connect(key_slot(hash_tag(queue).encode()))

    def _connect(self, slot: int | None) -> aioredis.Redis:
        url, tls = self._url, self._url.tls
        options: dict[str, Any] = DEFAULTS | url.options
        kind: Any = DirectSSLConnection if tls else DirectConnection
        if url.topology != "server":
            kind = FollowingSSLConnection if tls else FollowingConnection
            options["locator"] = Locator(url, slot)
        elif url.path:
            kind = DirectUnixDomainSocketConnection
            options["path"] = url.path
        else:
            options["host"], options["port"] = url.hosts[0]
        # Each connection has its own retries: redis-py uses them to connect and send again.
        retry = AsyncRetry(ExponentialBackoff(cap=0.4, base=0.05), retries=3)
        return aioredis.Redis.from_pool(Pool(self._timings, connection_class=kind, retry=retry, **options))


def lasting(client: aioredis.Redis) -> aioredis.Redis:
    """The client for callers that keep a connection, see `Pool`; a client created elsewhere is returned itself."""
    return client.connection_pool.lasting if isinstance(client.connection_pool, Pool) else client


def guard_of(client: aioredis.Redis) -> LoopGuard:
    """The guard of a client's connections; a client created elsewhere gets one of its own."""
    pool = client.connection_pool
    return pool.guard if isinstance(pool, Pool) else LoopGuard()


def lines_of(client: aioredis.Redis, guard: LoopGuard) -> tuple[Lines, Lines]:
    """A client's connections for scripts, and for calls that wait for a job; see `Pool`."""
    pool = client.connection_pool
    if isinstance(pool, Pool):
        return pool.lines, pool.waiting
    lines = Lines(client, guard)
    return lines, lines


def blocking_client(client: aioredis.Redis) -> redis.Redis:
    """A client for threads, to the same server as an asynchronous client."""
    given: dict[str, Any] = {**client.connection_pool.connection_kwargs}
    kind_of_other = client.connection_pool.connection_class
    options: dict[str, Any] = only(given, *_SHARED) | tls_options(given)
    options |= {"driver_info": DRIVER, "socket_timeout": ANSWER_TIMEOUT}
    tls = issubclass(kind_of_other, asynchronous.SSLConnection)
    kind: Any = blocking.SSLConnection if tls else blocking.Connection
    locator: Locator | None = options.get("locator")
    if locator is not None:
        kind = BlockingFollowingSSLConnection if tls else BlockingFollowingConnection
        # The second try asks where the server is now.
        options |= {"locator": locator.copy(), "retry": Retry(NoBackoff(), 1)}
    elif issubclass(kind_of_other, asynchronous.UnixDomainSocketConnection):
        kind = blocking.UnixDomainSocketConnection
    else:
        options |= only(given, "host", "port")
    if kind is not blocking.UnixDomainSocketConnection:
        options["socket_connect_timeout"] = ANSWER_TIMEOUT
    return redis.Redis.from_pool(cast("Any", blocking.ConnectionPool)(connection_class=kind, **options))


def hash_tag(queue: str) -> str:
    """The queue's name that a cluster uses to find the slot."""
    return f"{{{queue}}}"


def name_in_keys(client: aioredis.Redis, queue: str) -> str:
    """A queue's name in its keys: as in SAQ, except in a cluster, where all keys must be in one slot."""
    locator: Locator | None = client.connection_pool.connection_kwargs.get("locator")
    return queue if locator is None or locator.slot is None else hash_tag(queue)
