"""Connections: from REDIS_URL to clients, whatever stands behind it: one server, sentinels, a cluster.

All keys of a queue live in one slot of a cluster, so each queue has one server at a time, and a plain client does:
every new connection asks the sentinels, or the nodes of the cluster, where that server is now. A server that says it
is not the one (any more) is left, and the call is tried again where the sentinels or the nodes say; while nobody
knows, that is an outage as any other (`outage.py`).
"""

import asyncio
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import redis
from redis import asyncio as aioredis
from redis import connection as blocking
from redis.asyncio import connection as asynchronous
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, ReadOnlyError, RedisError, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from saqueduct.broker.direct import DirectConnection, DirectSSLConnection, DirectUnixDomainSocketConnection
from saqueduct.broker.loop_guard import LoopGuard
from saqueduct.broker.transport import Lines
from saqueduct.broker.url import RedisURL
from saqueduct.errors import ConfigurationError

Address = tuple[str, int]

SHARED = 16
"""Connections that the commands of a process share."""

LINES = 16
"""Connections that its calls of scripts share; a batch each, they are short."""

PATIENCE = 1.0
"""Seconds that a command waits for a connection before it gets one more."""

MAX_CONNECTIONS = 1000
"""Connections of one client at most: redis-py's own limit, 100, is an error for the job that asks for one more."""

CONNECT_TIMEOUT = 2.0
"""Seconds that one server gets to take a connection, and a sentinel or node to answer where the server is."""

ANSWER_TIMEOUT = 2.0
"""Seconds that Redis gets to answer a thread."""

DEFAULTS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_TIMEOUT,
    "health_check_interval": 30,
    "max_connections": MAX_CONNECTIONS,
}

NOT_HERE = (AskError, TryAgainError, ClusterDownError, ReadOnlyError)
"""What a server answers that is not, or not now, the one that takes the command; MOVED is a kind of ASK to redis-py.

An ASK is not followed: while a slot moves, its keys are on two servers, and a script would see a part of them.
"""

REFUSALS = ("READONLY", "NOREPLICAS", "UNBLOCKED")
"""The same, as first words of an answer without a class of its own, or inside of a script's error before Redis 7."""

_SHARED = ("db", "username", "password", "path", "client_name", "protocol", "locator")


class Locator:
    """Asks where the server is that takes a queue's commands now.

    Args:
        url: whose sentinels or nodes are asked.
        slot: of the cluster; None: the master of the sentinels' service.
    """

    def __init__(self, url: RedisURL, slot: int | None) -> None:
        self.url = url
        self.slot = slot
        self.connections: weakref.WeakSet[FollowingConnection] = weakref.WeakSet()
        self._nodes = list(url.hosts)
        self._failed: Exception | None = None
        login = url.sentinel_options if slot is None else _only(url.options, "username", "password")
        self._options = login | _tls(url.options) | {"socket_connect_timeout": CONNECT_TIMEOUT}
        self._options["socket_timeout"] = CONNECT_TIMEOUT

    def copy(self) -> "Locator":
        """One for another thread."""
        return Locator(self.url, self.slot)

    def doubt(self) -> None:
        """What was told last was wrong: ask another one next time."""
        self._nodes.append(self._nodes.pop(0))

    async def find(self) -> Address:
        """The server's address.

        Raises:
            ConnectionError: nobody tells.
        """
        kind: Any = asynchronous.SSLConnection if self.url.tls else asynchronous.Connection
        for host, port in self._in_turn():
            node = kind(host=host, port=port, **self._options)
            try:
                await node.connect()
                await node.send_command(*self._question)
                if address := self._read(await node.read_response(), (host, port)):
                    return address
            except (RedisError, OSError) as error:
                self._failed = error
            finally:
                await node.disconnect()
        raise self._unknown()

    def find_blocking(self) -> Address:
        """As `find`, for threads."""
        kind: Any = blocking.SSLConnection if self.url.tls else blocking.Connection
        for host, port in self._in_turn():
            node = kind(host=host, port=port, **self._options)
            try:
                node.connect()
                node.send_command(*self._question)
                if address := self._read(node.read_response(), (host, port)):
                    return address
            except (RedisError, OSError) as error:
                self._failed = error
            finally:
                node.disconnect()
        raise self._unknown()

    @property
    def _question(self) -> tuple[str, ...]:
        if self.slot is None:
            return "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.url.service
        return "CLUSTER", "SLOTS"

    def _in_turn(self) -> Iterator[Address]:
        """The nodes to ask, each once; those that did not tell come last the next time."""
        self._failed = None
        for node in list(self._nodes):
            yield node
            self.doubt()

    def _read(self, answer: Any, asked: Address) -> Address | None:
        if self.slot is None:
            return _address(answer, asked) if answer else None
        owner = None
        known = dict.fromkeys([asked, *self.url.hosts])
        for first, last, *nodes in answer:
            known |= dict.fromkeys(_address(node, asked) for node in nodes)
            if first <= self.slot <= last:
                owner = _address(nodes[0], asked)
        self._nodes = list(known)
        return owner

    def _unknown(self) -> RedisConnectionError:
        what = f"the master of {self.url.service!r}" if self.slot is None else f"the owner of slot {self.slot}"
        why = f": {self._failed}" if self._failed else ""
        return RedisConnectionError(f"none of {len(self._nodes)} servers tells {what}{why}")


def _address(node: Any, asked: Address) -> Address:
    host, port = node[:2]
    # A node that does not know its own name is where it was asked.
    return (host.decode() if host else asked[0]), int(port)


class FollowingConnection(DirectConnection):
    """A connection to wherever its locator says at the time."""

    def __init__(self, *, locator: Locator, **options: Any) -> None:
        super().__init__(**options)
        self._locator = locator
        locator.connections.add(self)

    async def _connect(self) -> None:
        self.host, self.port = await self._locator.find()
        for other in list(self._locator.connections):
            # They may wait, for a job or for news, where none come any more.
            if other.is_connected and (other.host, other.port) != (self.host, self.port):
                await other.disconnect(nowait=True)
        try:
            await super()._connect()  # type: ignore[no-untyped-call]
        except Exception:
            self._locator.doubt()
            raise

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except ResponseError as error:
            if not _is_refusal(error):
                raise
            self._locator.doubt()
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"{self.host}:{self.port} does not serve this now: {error}") from error


class FollowingSSLConnection(FollowingConnection, asynchronous.SSLConnection):
    """The same with TLS."""


class BlockingFollowingConnection(blocking.Connection):
    """`FollowingConnection` for threads."""

    def __init__(self, *, locator: Locator, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._locator = locator

    def _connect(self) -> Any:
        self.host, self.port = self._locator.find_blocking()
        try:
            return super()._connect()  # type: ignore[no-untyped-call]
        except Exception:
            self._locator.doubt()
            raise

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except ResponseError as error:
            if not _is_refusal(error):
                raise
            self._locator.doubt()
            self.disconnect()  # type: ignore[no-untyped-call]
            raise RedisConnectionError(f"{self.host}:{self.port} does not serve this now: {error}") from error


class BlockingFollowingSSLConnection(BlockingFollowingConnection, blocking.SSLConnection):
    """The same with TLS."""


class Pool(asynchronous.ConnectionPool):
    """The connections of a client, which all queues of a process share.

    It belongs to one event loop, and opens none for others. While SHARED are in use a command waits for the next one
    that comes free; should none for PATIENCE, since tasks use them for something long, it gets another.

    Attributes:
        guard: knows the event loop.
        lasting: a client for what keeps its connection: those that wait or listen take none away from commands.
        lines: for scripts.
        waiting: lines for the calls that wait for a job; one for each queue of a worker.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
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
                async with asyncio.timeout(PATIENCE):
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
        """See redis-py's; those that last are closed too."""
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
    """The clients of one URL: a shared one, or one a queue where each has a server of its own.

    Args:
        url: see `RedisURL`.

    Raises:
        InvalidRedisURL: it is wrong.
    """

    def __init__(self, url: str) -> None:
        self._url = RedisURL.parse(url)
        self._shared = self._connect(None) if self._url.topology != "cluster" else None

    def client(self, queue: str) -> aioredis.Redis:
        """A client for the keys of a queue, which fails within about a second when the server is away.

        Raises:
            ConfigurationError: a cluster cannot tell by this name where the queue's keys are.
        """
        if self._shared is not None:
            return self._shared
        if {"{", "}"} & set(queue):
            raise ConfigurationError(
                f"QUEUE_NAMES: {queue!r} has braces, by which a Redis Cluster finds a queue's keys"
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
        # Each connection has its own retries: redis-py connects and sends again within them.
        retry = AsyncRetry(ExponentialBackoff(cap=0.4, base=0.05), retries=3)
        return aioredis.Redis.from_pool(Pool(connection_class=kind, retry=retry, **options))


def lasting(client: aioredis.Redis) -> aioredis.Redis:
    """The client for what keeps its connection, see `Pool`; of one that was made elsewhere itself."""
    return client.connection_pool.lasting if isinstance(client.connection_pool, Pool) else client


def blocking_client(client: aioredis.Redis) -> redis.Redis:
    """A client for threads, to the same server as an asynchronous one."""
    given: dict[str, Any] = {**client.connection_pool.connection_kwargs}
    kind_of_other = client.connection_pool.connection_class
    options: dict[str, Any] = _only(given, *_SHARED) | _tls(given) | {"socket_timeout": ANSWER_TIMEOUT}
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
        options |= _only(given, "host", "port")
    if kind is not blocking.UnixDomainSocketConnection:
        options["socket_connect_timeout"] = ANSWER_TIMEOUT
    return redis.Redis.from_pool(cast("Any", blocking.ConnectionPool)(connection_class=kind, **options))


def hash_tag(queue: str) -> str:
    """A queue's name as a cluster finds the slot by it."""
    return f"{{{queue}}}"


def name_in_keys(client: aioredis.Redis, queue: str) -> str:
    """A queue's name as its keys have it: SAQ's own but in a cluster, where all of them must be in one slot."""
    locator: Locator | None = client.connection_pool.connection_kwargs.get("locator")
    return queue if locator is None or locator.slot is None else hash_tag(queue)


def _is_refusal(error: ResponseError) -> bool:
    return isinstance(error, NOT_HERE) or any(word in str(error) for word in REFUSALS)


def _only(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names if name in options}


def _tls(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name.startswith("ssl_")}
