"""Health: is the process alive, and can it serve?"""

import asyncio
from collections.abc import Awaitable
from typing import Any

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, Response, get
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct import Queues
from saqueduct.litestar.routes.answers import FOR_ALL, is_admin

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
    @inject
    async def ready(
        self, request: Request[Any, Any, Any], engine: FromDishka[AsyncEngine], queues: FromDishka[Queues]
    ) -> Response[dict[str, Any]]:
        """Redis and PostgreSQL answer: 200, else 503. Live workers a queue are told, and change no status.

        So are the queues that somebody has paused.

        `workers.status` is "ok", "none", or "troubled": a worker lives and consumes nothing. Why, `troubles` tells the
        admin: it may name a job.
        """
        redis, postgresql, workers, troubles, paused = await asyncio.gather(
            _check(_ping_redis(queues)),
            _check(_ping_database(engine)),
            _count_workers(queues),
            _troubles(queues),
            _paused(queues),
        )
        ready = redis == postgresql == "ok"
        status = _status(workers, troubles)
        shown = troubles if is_admin(request) else []
        content = {
            "status": "ready" if ready else "unavailable",
            "checks": {"redis": redis, "postgresql": postgresql},
            "workers": {"status": status, "live": workers, "troubles": shown},
            "paused": paused,
        }
        return Response(content, status_code=200 if ready else 503)


def _status(workers: dict[str, int] | None, troubles: list[str]) -> str:
    if troubles:
        return "troubled"
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


async def _ping_database(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def _count_workers(queues: Queues) -> dict[str, int] | None:
    """Live workers by queue, or None when Redis does not tell."""
    try:
        return {queue.name: await asyncio.wait_for(queue.live_workers(), CHECK_TIMEOUT) for queue in queues}
    except Exception:
        return None


async def _troubles(queues: Queues) -> list[str]:
    """What is wrong with live workers; nothing when Redis does not tell."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return [trouble for queue in queues for trouble in await queue.troubles()]
    except Exception:
        return []


async def _paused(queues: Queues) -> list[str]:
    """The names of paused queues; none when Redis does not tell."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return [queue.name for queue in queues if await queue.paused()]
    except Exception:
        return []
