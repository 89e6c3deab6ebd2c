"""Health: is the process alive, and can it serve?"""

import asyncio
from typing import Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency

from saqueduct.litestar.routes.answers import FOR_ALL, sees_all
from saqueduct.litestar.services import QueueServices
from saqueduct.telemetry.system_state import RedisState


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

        Neither changes the status: it says whether this process can serve requests. `workers.status` is "ok", "none",
        "degraded" (a worker lives and takes no jobs), or "paused": people have paused every live worker of the queues
        in `workers.paused`. People with a role find the reason in `problems`: it may name a job.
        """
        redis, database = await asyncio.gather(services.system.redis(), services.system.database(ping=True))
        checks = {"redis": _answer(redis.up)}
        if database.up is not None:
            checks["postgresql"] = _answer(database.up)
        ready = all(answer == "ok" for answer in checks.values())
        content = {
            "status": "ready" if ready else "unavailable",
            "checks": checks,
            "workers": _workers(redis, sees_all(request)),
            "paused": [queue.name for queue in redis.queues if queue.paused is not None],
        }
        return Response(content, status_code=200 if ready else 503)


def _answer(up: bool) -> str:
    return "ok" if up else "unavailable"


def _workers(redis: RedisState, whole: bool) -> dict[str, Any]:
    problems = [problem for queue in redis.queues for problem in queue.problems]
    live = {queue.name: queue.live_workers for queue in redis.queues} if redis.up else None
    paused = [queue.name for queue in redis.queues if queue.workers_paused_since is not None]
    running = "paused" if paused else "ok"
    status = "degraded" if problems else running if any((live or {}).values()) else "none"
    return {"status": status, "live": live, "paused": paused, "problems": problems if whole else []}
