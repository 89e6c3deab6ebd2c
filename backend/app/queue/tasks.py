"""Built-in tasks: a heartbeat, the task behind POST /process, and examples of schedules and of tasks that enqueue."""

from typing import Any

from saq.types import Context

from app.queue.registry import scheduled_task, task


@scheduled_task(cron="* * * * *", timeout=5)
async def ping(ctx: Context) -> dict[str, str]:
    """Answer; every minute, so that a look at the queue tells that schedules fire."""
    return {"result": "pong"}


@task
async def my_task(ctx: Context, *, user_id: int) -> dict[str, Any]:
    """The task behind `POST /process`."""
    return {"status": "success", "user_id": user_id}
