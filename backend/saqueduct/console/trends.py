"""Trends: the history that the charts show, read once for all viewers of a process."""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from saqueduct.application import Saqueduct
from saqueduct.common.clock import time_now
from saqueduct.common.near_names import did_you_mean
from saqueduct.errors import InvalidSearch
from saqueduct.postgres.outage import outage_in
from saqueduct.postgres.time_steps import DAY, HOUR, MINUTE, Span

if TYPE_CHECKING:
    from saqueduct.postgres.time_series import TimeSeries

logger = logging.getLogger("saqueduct.console")

T = TypeVar("T")


class Window(NamedTuple):
    """A time up to now."""

    name: str
    label: str
    seconds: int
    step: int
    """Seconds of a point."""
    fresh: float
    """Seconds for which viewers share a reading."""

    def span(self, step: int | None = None) -> Span:
        """The time in whole steps; the last one is not over."""
        step = step or self.step
        end = -(-int(time_now()) // step) * step
        return Span.of(
            dt.datetime.fromtimestamp(end - self.seconds, dt.UTC), dt.datetime.fromtimestamp(end, dt.UTC), step
        )


HOURLY: Final = Window("hour", "Hour", HOUR, MINUTE, 5.0)
DAILY: Final = Window("day", "Day", DAY, HOUR, 30.0)
WEEKLY: Final = Window("week", "Week", 7 * DAY, 2 * HOUR, 60.0)
MONTHLY: Final = Window("month", "30 days", 30 * DAY, DAY, 60.0)

WINDOWS: Final = {window.name: window for window in (HOURLY, DAILY, WEEKLY)}
"""Those that a person chooses from."""


def window_of(name: str | None) -> Window:
    """The window that an address names; the last hour by default.

    Raises:
        InvalidSearch: there is no such window.
    """
    if not name:
        return HOURLY
    if name not in WINDOWS:
        near = did_you_mean(name, WINDOWS, otherwise="it is one of hour, day and week")
        raise InvalidSearch(f"span: there is no {name!r}: {near}")
    return WINDOWS[name]


class Trends:
    """Reads the history; requests for the same within a few seconds share one reading.

    Args:
        saqueduct: of the application.
    """

    def __init__(self, saqueduct: Saqueduct) -> None:
        self._saqueduct = saqueduct
        self._timings = saqueduct.config.timings.console
        self._readings: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def read(self, key: Hashable, window: Window, call: "Callable[[TimeSeries], Awaitable[T]]") -> T | None:
        """What `call` reads; None: there is no PostgreSQL, or it does not answer.

        Args:
            key: of the reading, for those who share it.
            window: how long they share it.
            call: reads.
        """
        now, place = time.monotonic(), (key, window)
        self._readings = {each: kept for each, kept in self._readings.items() if kept[0] > now}
        if place not in self._readings:
            self._readings[place] = now + window.fresh, asyncio.get_running_loop().create_task(self._read(call))
        _, reading = self._readings[place]
        try:
            # One of several that wait for it may leave.
            found: T | None = await asyncio.shield(reading)
        except Exception:
            self._readings.pop(place, None)
            raise
        if found is None:
            until = min(self._readings.get(place, (now, reading))[0], now + self._timings.charts_retry)
            self._readings[place] = until, reading
        return found

    def forget(self) -> None:
        """Read again at the next call."""
        self._readings.clear()

    async def _read(self, call: "Callable[[TimeSeries], Awaitable[T]]") -> T | None:
        # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
        store = self._saqueduct.store
        if store is None:
            return None
        from saqueduct.postgres.time_series import TimeSeries

        try:
            async with asyncio.timeout(self._timings.charts), store.sessions() as session:
                return await call(TimeSeries(session, store.schema))
        except Exception as error:
            if not isinstance(error, TimeoutError) and not outage_in(error):
                raise
            logger.info("the history cannot be read: %s", error)
            return None
