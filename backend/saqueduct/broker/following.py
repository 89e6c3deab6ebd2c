"""Connections that follow a server which moves: sentinels, or the nodes of a cluster, say where it is now.

Every new connection asks them. If a server answers that it is not (or no longer) the right one, the client disconnects
and tries the call again at the server that they name. While none of them knows it, this is an outage like any other
(`outage.py`).
"""

import weakref
from collections.abc import Iterator
from typing import Any

from redis import connection as blocking
from redis.asyncio import connection as asynchronous
from redis.driver_info import DriverInfo
from redis.exceptions import AskError, ClusterDownError, ReadOnlyError, RedisError, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

from saqueduct.broker.direct import DirectConnection
from saqueduct.broker.url import RedisURL

Address = tuple[str, int]

CONNECT_TIMEOUT = 2.0
"""Seconds for a server to accept a connection, and for a sentinel or node to answer where the server is."""

DRIVER = DriverInfo()
"""What connections report about redis-py. Shared: each of its own reads the package's metadata from disk, for
milliseconds of the event loop."""

NOT_HERE = (AskError, TryAgainError, ClusterDownError, ReadOnlyError)
"""Answers of a server that does not, or not now, accept the command; in redis-py MOVED is a subclass of ASK.

An ASK is not followed: while a slot moves, its keys are on two servers, and a script would see only some of them.
"""

REFUSALS = ("READONLY", "NOREPLICAS", "UNBLOCKED")
"""The same, as first words of an answer that has no class, or that is inside a script's error before Redis 7."""


class Locator:
    """Finds the server that currently accepts a queue's commands.

    Args:
        url: the URL with the sentinels or nodes to ask.
        slot: slot of the cluster; None: find the master of the sentinels' service.
    """

    def __init__(self, url: RedisURL, slot: int | None) -> None:
        self.url = url
        self.slot = slot
        self.connections: weakref.WeakSet[FollowingConnection] = weakref.WeakSet()
        self._nodes = list(url.hosts)
        self._failed: Exception | None = None
        login = url.sentinel_options if slot is None else only(url.options, "username", "password")
        self._options = login | tls_options(url.options) | {"driver_info": DRIVER}
        self._options |= {"socket_connect_timeout": CONNECT_TIMEOUT, "socket_timeout": CONNECT_TIMEOUT}

    def copy(self) -> "Locator":
        """A copy for another thread."""
        return Locator(self.url, self.slot)

    def doubt(self) -> None:
        """The last answer was wrong: ask another node next time."""
        self._nodes.append(self._nodes.pop(0))

    async def find(self) -> Address:
        """The server's address.

        Raises:
            ConnectionError: no sentinel or node knows it.
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
        """Like `find`, for threads."""
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
        """The nodes to ask, each once; those that did not answer come last the next time."""
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
        return RedisConnectionError(f"none of {len(self._nodes)} servers knows {what}{why}")


def _address(node: Any, asked: Address) -> Address:
    host, port = node[:2]
    # A node that does not know its own name has the address that was asked.
    return (host.decode() if host else asked[0]), int(port)


class FollowingConnection(DirectConnection):
    """A connection to the server that its locator currently finds."""

    def __init__(self, *, locator: Locator, **options: Any) -> None:
        super().__init__(**options)
        self._locator = locator
        locator.connections.add(self)

    async def _connect(self) -> None:
        self.host, self.port = await self._locator.find()
        for other in list(self._locator.connections):
            # They may wait for a job or for news at a server where none arrive any more.
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


def _is_refusal(error: ResponseError) -> bool:
    return isinstance(error, NOT_HERE) or any(word in str(error) for word in REFUSALS)


def only(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """Those of the options."""
    return {name: options[name] for name in names if name in options}


def tls_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options of TLS."""
    return {name: value for name, value in options.items() if name.startswith("ssl_")}
