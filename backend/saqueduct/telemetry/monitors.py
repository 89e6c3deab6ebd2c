"""Monitors of schedules: a service that expects a ping at the start and at the end of each scheduled job, and raises an
alarm when none comes.

The protocol is that of healthchecks.io: POST to URL/start, then to URL or URL/fail, with one `rid` for both. Others
(Cronitor, Uptime Kuma, Better Stack) accept it or a part of it.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from saq import Job
from saq.job import Status

from saqueduct.common.secret import Secret
from saqueduct.tasks.job_meta import SCHEDULE
from saqueduct.telemetry.posting import client_for, refusal
from saqueduct.timings import Timings

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("saqueduct.monitors")

TRIES = 3
"""How often a ping is sent until the service takes it."""

LONGEST_ERROR = 10_000
"""Characters of an error that are sent with a failure."""

ENDS = {Status.COMPLETE: "", Status.FAILED: "/fail", Status.ABORTED: "/fail"}
"""What follows the URL, by the status with which a job ends."""


class ScheduleMonitors:
    """Pings the monitors of schedules about the jobs of this process.

    A ping never delays or fails a job: it is sent beside it, and given up after TRIES.

    Args:
        urls: by the key of the schedule.
        timings: intervals, waits and limits.
    """

    def __init__(self, urls: Mapping[str, Secret], timings: Timings) -> None:
        self._urls = dict(urls)
        self._timings = timings
        self._pings: dict[str, asyncio.Task[None]] = {}
        """The last ping of each schedule: the next one waits for it, so that they arrive in order."""
        self._client: httpx.AsyncClient | None = None

    def before(self) -> Callable[[Any], Awaitable[None]]:
        """The hook before an attempt."""

        async def started(ctx: Any) -> None:
            job = ctx["job"]
            if (key := self._monitored(job)) is not None and job.attempts == 1:
                self._ping(key, job, "/start")

        return started

    def after(self) -> Callable[[Any], Awaitable[None]]:
        """The hook after an attempt."""

        async def ended(ctx: Any) -> None:
            self.ended(ctx["job"])

        return ended

    def ended(self, job: Job) -> None:
        """A job has ended, or gets another attempt."""
        if (key := self._monitored(job)) is not None and (path := ENDS.get(job.status)) is not None:
            self._ping(key, job, path, (job.error or "")[:LONGEST_ERROR])

    async def close(self) -> None:
        """Let pings on their way arrive, for at most `Timings.last_pings` seconds."""
        if pings := list(self._pings.values()):
            _, late = await asyncio.wait(pings, timeout=self._timings.last_pings)
            for ping in late:
                ping.cancel()
            if late:
                await asyncio.wait(late)
        self._pings.clear()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _monitored(self, job: Job) -> str | None:
        key = job.meta.get(SCHEDULE) if job.meta else None
        return key if key in self._urls else None

    def _ping(self, key: str, job: Job, path: str, body: str = "") -> None:
        run = uuid.uuid5(uuid.NAMESPACE_URL, f"{job.key}|{job.queued}")
        url = _below(self._urls[key].reveal(), path, f"rid={run}")
        before = self._pings.get(key)
        self._pings[key] = asyncio.create_task(self._send(key, url, body, before), name="saqueduct: ping a monitor")

    async def _send(self, key: str, url: str, body: str, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait([before])
        reason = ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(self._timings.ping_retry)
            if not (reason := await self._refusal(url, body)):
                return
        # Without the URL: whoever knows it can ping.
        logger.warning("the monitor of the schedule %s got no ping: %s", key, reason)

    async def _refusal(self, url: str, body: str) -> str:
        """Why the service did not take a ping; empty: it did."""
        if self._client is None:
            self._client = client_for(*(each.reveal() for each in self._urls.values()))
        return await refusal(self._client, url, content=body.encode())


def _below(url: str, path: str, query: str) -> str:
    """A URL with a longer path and one more query parameter."""
    parts = urlsplit(url)
    longer = parts.path.rstrip("/") + quote(path)
    return urlunsplit(parts._replace(path=longer, query="&".join(filter(None, (parts.query, query)))))
