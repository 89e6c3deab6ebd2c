"""Health: is the process alive, and can it serve?"""

import asyncio
from collections.abc import Awaitable
from typing import Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency

from saqueduct.litestar.routes.answers import FOR_ALL, is_admin
from saqueduct.litestar.services import QueueServices
from saqueduct.queue.queues import Queues

CHECK_TIMEOUT = 3.0
"""Seconds a server gets to answer a health check."""


class HealthController(Controller):
    """`/health/live` for restarts, `/health/ready` for routing traffic."""

    path = "/health"
    tags = ("Health",)

    @get("/live", operation_id="is_alive")
    async def live(self) -> dict[str, str]:
        """The process runs and its event loop answers."""
        return {"status": "alive"}

    @get("/ready", **FOR_ALL, operation_id="is_ready")
    async def ready(
        self, request: Request[Any, Any, Any], services: NamedDependency[QueueServices]
    ) -> Response[dict[str, Any]]:
        """Redis and PostgreSQL answer: 200, else 503. Reports the live workers and the pauses of each queue as well.

        Neither changes the status. `workers.status` is "ok", "none", or "degraded": a worker lives and takes no jobs.
        The admin finds the reason in `problems`: it may name a job.
        """
        queues = services.queues
        redis, postgresql, workers, problems, paused = await asyncio.gather(
            _check(_ping_redis(queues)),
            _check(_ping_database(services)),
            _count_workers(queues),
            _problems(queues),
            _paused(queues),
        )
        checks = {"redis": redis} | ({"postgresql": postgresql} if services.keeps_records else {})
        ready = all(answer == "ok" for answer in checks.values())
        status = _status(workers, problems)
        shown = problems if is_admin(request) else []
        content = {
            "status": "ready" if ready else "unavailable",
            "checks": checks,
            "workers": {"status": status, "live": workers, "problems": shown},
            "paused": paused,
        }
        return Response(content, status_code=200 if ready else 503)


def _status(workers: dict[str, int] | None, problems: list[str]) -> str:
    if problems:
        return "degraded"
    return "ok" if any((workers or {}).values()) else "none"


async def _check(call: Awaitable[None]) -> str:
    try:
        await asyncio.wait_for(call, CHECK_TIMEOUT)
    except Exception:
        return "unavailable"
    return "ok"


async def _ping_redis(queues: Queues) -> None:
    for queue in queues:
        await queue.ping()


async def _ping_database(services: QueueServices) -> None:
    async with services.transaction() as session:
        # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
        from sqlalchemy import text

        await session.execute(text("SELECT 1"))


async def _count_workers(queues: Queues) -> dict[str, int] | None:
    """Live workers by queue, or None when Redis does not answer."""
    try:
        return {queue.name: await asyncio.wait_for(queue.live_workers(), CHECK_TIMEOUT) for queue in queues}
    except Exception:
        return None


async def _problems(queues: Queues) -> list[str]:
    """What is wrong with live workers; nothing when Redis does not answer."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return [problem for queue in queues for problem in await queue.problems()]
    except Exception:
        return []


async def _paused(queues: Queues) -> list[str]:
    """The names of paused queues; none when Redis does not answer."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return [queue.name for queue in queues if await queue.paused()]
    except Exception:
        return []
