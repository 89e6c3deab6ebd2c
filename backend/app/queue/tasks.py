"""Built-in tasks: a heartbeat, the task behind POST /process, a follow-up, and the queue's own upkeep."""

from typing import Annotated, Any, cast

import msgspec
from saq.types import Context

from app.queue.registry import scheduled_task, task
from saqueduct import EngineQueue, Maintenance

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


@scheduled_task(cron="* * * * *", timeout=5)
async def ping(ctx: Context) -> dict[str, str]:
    """Answer; every minute, so that the queue shows that schedules fire."""
    return {"result": "pong"}


@task
async def my_task(ctx: Context, user_id: int) -> dict[str, Any]:
    """The task behind `POST /process`."""
    return {"status": "success", "user_id": user_id}


@task
async def enqueue_follow_up(ctx: Context, user_id: int) -> dict[str, Any]:
    """Enqueue `my_task` for the user: a task may enqueue others through its own queue.

    The follow-up's key is derived from this job's key, so that a second attempt enqueues no second follow-up.
    """
    key = f"{ctx['job'].key}:follow-up"
    await ctx["queue"].enqueue("my_task", user_id=user_id, key=key)
    return {"status": "enqueued", "job_id": key}


@scheduled_task(cron="0 */6 * * *", timeout=600, kwargs={"batch_size": 100})
async def batch_process(ctx: Context, batch_size: AtLeastOne = 50) -> dict[str, int]:
    """Check the queue's incomplete jobs in batches, dropping entries whose job is gone; reports progress."""
    queue = cast("EngineQueue", ctx["queue"])
    total = max(1, await queue.count("incomplete"))
    checked = dropped = 0
    async for batch_checked, batch_dropped in Maintenance(queue.core).check_entries(batch_size):
        checked += batch_checked
        dropped += batch_dropped
        await ctx["job"].update(progress=min(1.0, checked / total))
    return {"checked": checked, "dropped": dropped}


@scheduled_task(cron="0 2 * * *", timeout=600)
async def cleanup_old_records(ctx: Context, days: AtLeastOne = 7) -> dict[str, int]:
    """Delete jobs kept without a time limit that ended more than `days` days ago."""
    queue = cast("EngineQueue", ctx["queue"])
    return {"deleted_count": await Maintenance(queue.core).delete_finished(days)}
