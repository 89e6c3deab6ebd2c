"""Limits guessing: attempts by network, counted in Redis for all processes.

While Redis is unavailable, each process keeps counting by itself, so that neither the limit nor logging in depends on
Redis. What a process has counted so still counts when Redis answers again.
"""

import hashlib
import ipaddress
import logging
import math
import time
from collections import OrderedDict
from typing import Any, Final, NamedTuple

from litestar.connection import ASGIConnection
from litestar.exceptions import TooManyRequestsException
from redis.exceptions import RedisError

from saqueduct.broker.outage import answering
from saqueduct.common.secret import Secret
from saqueduct.errors import QueueUnavailable
from saqueduct.queue.queue import EngineQueue

logger = logging.getLogger("app.security")

WINDOW: Final = 60
"""Seconds from the first attempt after which a network may try again."""

SLOTS: Final = 2**18
"""Most counters of one kind, about 25 MB of Redis: networks share one by chance, which an attacker cannot choose."""

REMEMBERED: Final = 10_000

ANSWER_TIMEOUT: Final = 2.0
"""Seconds that Redis gets to answer."""

ASSUMED_AWAY: Final = 5.0
"""Seconds after an outage for which Redis is not asked again."""

IPV6_PREFIX_LENGTH: Final = 64
"""Bits that distinguish IPv6 clients: one subscriber has at least a /64, so a limit for single addresses would be
useless."""


class Count(NamedTuple):
    """Attempts of a network in its window, and the seconds that are left of that."""

    attempts: int
    seconds: int


class Kept(NamedTuple):
    """What a process remembers of a network.

    Attributes:
        attempts: all in the window.
        until: end of the window, on the monotonic clock.
        missed: those of them that Redis did not count.
        forgotten_at: end of their window, however often somebody tries.
    """

    attempts: int
    until: float
    missed: int = 0
    forgotten_at: float = 0.0


class Attempts:
    """Counts attempts.

    Args:
        queue: in whose Redis they are counted.
        key: derives the counters' names, so that an attacker cannot choose a network that shares another's.
        remembered: most networks that a process counts by itself.
    """

    def __init__(self, queue: EngineQueue, key: Secret, remembered: int = REMEMBERED) -> None:
        self._queue = queue
        self._key = hashlib.sha256(b"attempts" + key.reveal().encode()).digest()
        self._remembered = remembered
        self._here: OrderedDict[str, Kept] = OrderedDict()
        self._away_until = 0.0

    async def count(self, kind: str, network: str) -> Count:
        """Count one more attempt.

        Args:
            kind: of the guessed secret.
            network: by `client_network`.
        """
        key = self._counter(kind, network)
        async with self._queue.redis.pipeline(transaction=True) as pipe:
            pipe.set(key, 0, ex=WINDOW, nx=True)
            pipe.incr(key)
            pipe.ttl(key)
            answer = await self._ask(pipe.execute())
        if not answer:
            return self._count_here(key, 1)
        kept = self._kept(key)
        count = Count(answer[1] + kept.missed, max(answer[2], 1))
        until = time.monotonic() + count.seconds
        self._keep(key, kept._replace(attempts=count.attempts, until=until))
        return count

    async def so_far(self, kind: str, network: str) -> Count:
        """The attempts counted until now."""
        key = self._counter(kind, network)
        async with self._queue.redis.pipeline(transaction=True) as pipe:
            pipe.get(key)
            pipe.ttl(key)
            answer = await self._ask(pipe.execute())
        if not answer:
            return self._count_here(key, 0)
        return Count(int(answer[0] or 0) + self._kept(key).missed, max(answer[1], 1))

    @property
    def away(self) -> bool:
        """True while Redis is taken to be unavailable."""
        return time.monotonic() < self._away_until

    def _counter(self, kind: str, network: str) -> str:
        digest = hashlib.blake2b(network.encode(), key=self._key, digest_size=8).digest()
        return self._queue.namespace(f"attempts:{kind}:{int.from_bytes(digest) % SLOTS}")

    async def _ask(self, call: Any) -> Any:
        """The answer of Redis; None when it is unavailable."""
        if self.away:
            call.close()
            return None
        try:
            async with answering(min(ANSWER_TIMEOUT, self._queue.core.timings.answer)):
                return await call
        except (QueueUnavailable, RedisError) as error:
            logger.warning("login attempts are counted in this process only, Redis is unavailable: %r", error)
            self._away_until = time.monotonic() + ASSUMED_AWAY
            return None

    def _count_here(self, counter: str, more: int) -> Count:
        kept = self._kept(counter)
        attempts, now = kept.attempts + more, time.monotonic()
        if more:
            forgotten_at = kept.forgotten_at if kept.missed else now + WINDOW
            self._keep(counter, Kept(attempts, kept.until, kept.missed + more, forgotten_at))
        return Count(attempts, math.ceil(kept.until - now))

    def _kept(self, counter: str) -> Kept:
        now = time.monotonic()
        kept = self._here.get(counter)
        if kept is None or kept.until <= now:
            return Kept(0, now + WINDOW)
        return kept if kept.forgotten_at > now else Kept(kept.attempts, kept.until)

    def _keep(self, counter: str, kept: Kept) -> None:
        """Remember a counter, in case Redis is unavailable at the next attempt."""
        self._here[counter] = kept
        self._here.move_to_end(counter)
        if len(self._here) > self._remembered:
            self._here.popitem(last=False)


def too_many(count: Count) -> TooManyRequestsException:
    """The response to a network that has used up its attempts."""
    return TooManyRequestsException(
        f"too many attempts from your network: try again in {count.seconds} seconds",
        headers={"Retry-After": str(count.seconds)},
    )


def client_network(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The client's IPv4 address or IPv6 network. Forwarding headers are the server's business: WEB_TRUSTED_PROXIES."""
    host = connection.client.host if connection.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), IPV6_PREFIX_LENGTH), strict=False))
        address = address.ipv4_mapped
    return str(address)
