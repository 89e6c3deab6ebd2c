"""The state of the whole: Redis, PostgreSQL, queues, schedules, dead letters and the outbox.

Health and metrics show the same reading.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar

from saqueduct.queue.queue_state import QueueState
from saqueduct.queue.queues import Queues
from saqueduct.queue.schedule_states import ScheduleState

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

T = TypeVar("T")

CHECK_TIMEOUT = 3.0
"""Seconds a server gets to answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class RedisState:
    """What Redis knows.

    Attributes:
        up: False: it does not answer, and nothing else is known.
        queues: all queues.
    """

    up: bool
    queues: Sequence[QueueState] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class DatabaseState:
    """What PostgreSQL knows.

    Attributes:
        up: False: it does not answer; None: there is none.
        dead_letters: by queue; None: unknown. At most `postgres.record_filter.MOST_DEAD_LETTERS` in total are counted.
        outbox_oldest: age in seconds of the oldest committed job that Redis does not have; 0: none; None: unknown.
    """

    up: bool | None
    dead_letters: Mapping[str, int] | None = None
    outbox_oldest: float | None = None


class SystemReader:
    """Reads the state of the whole.

    Args:
        queues: of this process, connected.
        sessions: opens sessions on PostgreSQL; None: there is none.
        timeout: seconds that a server gets to answer.
    """

    def __init__(
        self,
        queues: Queues,
        sessions: "Callable[[], AbstractAsyncContextManager[AsyncSession]] | None",
        timeout: float = CHECK_TIMEOUT,
    ) -> None:
        self._timeout = timeout
        self._queues = queues
        self._sessions = sessions

    async def redis(self) -> RedisState:
        """The queues; one round trip for each."""
        states = await _in_time(self._read_queues(), self._timeout)
        return RedisState(up=states is not None, queues=states or ())

    async def schedules(self) -> Sequence[ScheduleState]:
        """The schedules; none while Redis does not answer."""
        return await _in_time(self._queues.schedules(), self._timeout) or ()

    async def database(self, *, ping: bool = False) -> DatabaseState:
        """What waits in PostgreSQL; with `ping` only whether it answers."""
        if self._sessions is None:
            return DatabaseState(up=None)
        if not await _in_time(self._ping(), self._timeout):
            return DatabaseState(up=False)
        if ping:
            return DatabaseState(up=True)
        # A count that takes too long is no outage.
        return await _in_time(self._read_database(), self._timeout) or DatabaseState(up=True)

    async def _read_queues(self) -> list[QueueState]:
        return [await queue.state() for queue in self._queues]

    async def _ping(self) -> bool:
        from sqlalchemy import text

        if self._sessions is not None:
            async with self._sessions() as session:
                await session.execute(text("SELECT 1"))
        return True

    async def _read_database(self) -> DatabaseState:
        # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
        from saqueduct.postgres.waiting import dead_letters, outbox_oldest

        if self._sessions is None or (store := self._queues.store) is None:
            return DatabaseState(up=True)
        async with self._sessions() as session:
            counts = await dead_letters(session, store.schema)
            oldest = await outbox_oldest(session, store.schema)
        return DatabaseState(True, {queue.name: counts.get(queue.name, 0) for queue in self._queues}, oldest)


async def _in_time(call: Awaitable[T], timeout: float) -> T | None:
    """The answer; None if there is none in time."""
    try:
        async with asyncio.timeout(timeout):
            return await call
    except Exception:
        return None
