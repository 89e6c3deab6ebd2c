"""Outages of Redis: workers wait and try again, producers get an error in time."""

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from redis.exceptions import (
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from saqueduct.errors import QueueUnavailable

logger = logging.getLogger("saqueduct")

REDIS_AWAY = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError, OSError)
"""What redis-py raises if the server is down, does not answer, is full, or is not (or no longer) a master."""

_NOT_NOW = (ClusterDownError, TryAgainError, NoPermissionError)
_NOT_NOW_WORDS = re.compile(r"\b(MISCONF|BUSY|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOAUTH|NOPERM|READONLY|OOM)\b")
"""The same as words: some have no class in redis-py, and none has one inside a script's error before Redis 7."""

_DENIED = re.compile(r"\bNOPERM\b|no permissions|ACL failure|user executing the script can't")
"""What Redis 6.2, 7 and Valkey say if the user lacks a permission; inside a script 6.2 does not say which."""

PERMISSIONS = "+@all -@admin -@dangerous +info ~saq:* resetchannels &saq:*"
"""ACL rules that are sufficient for producers and workers (Redis' manual, "ACL")."""

LATE = 0.1
"""Seconds that the end of a time limit is noticed late if something blocked the event loop, and not Redis. So many a
call gets in addition if its end is noticed in time: what blocked the event loop may just have ended."""

ONCE_MORE = 1.0
"""Most seconds that a call gets in addition each time that something blocked the event loop at its end."""

TIMES = 8
"""How often it gets that at most: an event loop may be late for as long as it has too much to do."""

SAME_OUTAGE = 1.0
"""Seconds after a call without an answer within which the next one shares its time. A stream of events, which looks
again every few seconds, must notice that Redis is back."""


class OneWait:
    """What a request, or another block, has found out about Redis: when a call gets no answer, those that follow get
    only what is left of the same time. Without it a request waits for each of its calls."""

    __slots__ = ("_failed_at", "_silent_since", "is_over")

    def __init__(self) -> None:
        self._silent_since: float | None = None
        """Time of the event loop from which on Redis has not answered; None: it has."""
        self._failed_at = 0.0
        """When that was found out last."""
        self.is_over = False
        """True after the block: what it has begun, and goes on, waits by itself."""

    @property
    def is_silent(self) -> bool:
        """True if the last call of the block got no answer."""
        return self._silent_since is not None and not self.is_over

    def end_of(self, began: float, seconds: float) -> float:
        """When a call ends that begins now, by the time of the event loop."""
        if self.is_over or self._silent_since is None or began > self._failed_at + SAME_OUTAGE:
            return began + seconds
        return max(began, min(began, self._silent_since) + seconds)

    def failed(self, since: float, now: float) -> None:
        """Redis has not answered since then."""
        if self._silent_since is None or since > self._failed_at + SAME_OUTAGE:
            self._silent_since = since
        self._failed_at = now

    def answered(self) -> None:
        """Redis has answered."""
        self._silent_since = None


one_wait: ContextVar[OneWait | None] = ContextVar("one_wait", default=None)
"""That of the current request; None: each call waits by itself, as in workers."""


def note_silence(since: float) -> None:
    """Note that Redis has not answered since a time of the event loop."""
    if (wait := one_wait.get()) is not None:
        wait.failed(since, asyncio.get_running_loop().time())


def is_silent() -> bool:
    """True if the last call of the current request got no answer of Redis."""
    wait = one_wait.get()
    return wait is not None and wait.is_silent


@contextmanager
def own_time() -> Iterator[None]:
    """Calls in a block have their own time, also where those of the same request before them got no answer."""
    token = one_wait.set(None)
    try:
        yield
    finally:
        one_wait.reset(token)


@asynccontextmanager
async def answering(seconds: float) -> AsyncIterator[None]:
    """For a block that calls Redis: an answer within so many seconds (`Timings.answer`), or QueueUnavailable.

    If something blocked the event loop at the end of this time, Redis may have answered: the block gets a little more,
    and again if that ends in the same way.
    """
    loop, wait = asyncio.get_running_loop(), one_wait.get()
    began = loop.time()
    end = began + seconds if wait is None else wait.end_of(began, seconds)
    heard = _next_turn(loop) if wait is not None and wait.is_silent else None
    try:
        async with asyncio.timeout(None) as limit:
            # A call for which no time is left does not make a request wait once more.
            expiry = _Expiry(loop, limit, end, min(seconds, ONCE_MORE), looks_again=end > began)
            try:
                yield
            finally:
                expiry.timer.cancel()
    except (*REDIS_AWAY, ResponseError) as error:
        if isinstance(error, ResponseError) and not refuses_all(error):
            raise
        if end > began:
            # A call for which no time was left has found out nothing.
            note_silence(began)
        silent = isinstance(error, TimeoutError) and not str(error)
        raise QueueUnavailable(f"no answer within {seconds:g} s" if silent else _reason(error)) from error
    # A block that had nothing to ask has found out nothing.
    if wait is not None and (heard is None or heard.is_set()):
        wait.answered()


def _next_turn(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """Is set once the event loop has run, without which no answer arrives."""
    turn = asyncio.Event()
    loop.call_soon(turn.set)
    return turn


class _Expiry:
    """Ends a block at a time of the event loop, or later where the loop itself is late.

    Args:
        loop: runs the block.
        limit: of the block.
        end: when it ends.
        more: seconds that it gets in addition, each time.
        looks_again: whether it gets LATE in addition, for an answer that has come and is not read yet.
    """

    __slots__ = ("_end", "_limit", "_looks_again", "_loop", "_more", "_times", "timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limit: asyncio.Timeout, end: float, more: float, *, looks_again: bool
    ) -> None:
        self._loop = loop
        self._limit = limit
        self._end = end
        self._more = more
        self._times = TIMES
        self._looks_again = looks_again
        self.timer = loop.call_at(end, self._expire)

    def _expire(self) -> None:
        now = self._loop.time()
        if now - self._end >= LATE and self._times:
            self._times -= 1
            self._end = now + self._more
        elif self._looks_again:
            self._looks_again = False
            self._end = now + LATE
        else:
            self._limit.reschedule(now)
            return
        self.timer = self._loop.call_at(self._end, self._expire)


def _reason(error: Exception) -> str:
    if _DENIED.search(str(error)):
        return (
            f"Redis denies its user something that the queue needs: {error}. Give the user these rules: {PERMISSIONS} "
            "(docs/how-to/connect-to-redis.md)"
        )
    return str(error) or type(error).__name__


def refuses_all(error: ResponseError) -> bool:
    """True if Redis refuses all writes until its operator fixes it: an outage like any other.

    For example, its disk is full, a script blocks it, its replicas are missing, or this user has no permission.
    """
    if isinstance(error, (*REDIS_AWAY, *_NOT_NOW)):
        return True
    return any(words.search(str(error)) for words in (_NOT_NOW_WORDS, _DENIED))


class Outage:
    """Counts the failures of one queue in one process, and computes how long to wait.

    Args:
        queue: the queue's name, for the log.
        longest_pause: maximum seconds between two tries.
    """

    def __init__(self, queue: str, longest_pause: float) -> None:
        self._queue = queue
        self._longest_pause = longest_pause
        self.failures = 0

    async def pause(self, error: Exception, stop: asyncio.Event | None = None) -> None:
        """Wait before the next try, longer each time up to `longest_pause`, with jitter; `stop` ends the wait."""
        if not self.failures:
            logger.warning("queue %s: Redis is away, trying again: %s", self._queue, _reason(error))
        self.failures += 1
        longest = min(self._longest_pause, 0.2 * 2 ** min(self.failures, 8))
        seconds = longest * (0.5 + random.random() / 2)  # noqa: S311  (spread, not secrecy)
        if stop is None:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            return

    def over(self) -> None:
        """Redis has answered."""
        if self.failures:
            logger.info("queue %s: Redis is back", self._queue)
            self.failures = 0
