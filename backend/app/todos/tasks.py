"""Jobs about todos."""

from typing import Annotated

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from app.queue.registry import scheduled_task
from app.todos.service import TodoService
from saqueduct import INJECTED, Context

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


@scheduled_task(name="todo.cleanup", cron="0 3 * * *", timeout=600, kwargs={"days": 7})
async def cleanup_completed_todos(
    ctx: Context, days: AtLeastOne = 7, *, db_session: AsyncSession = INJECTED
) -> dict[str, int]:
    """Delete todos that were completed more than `days` days ago."""
    # Committed batch by batch: locks are held briefly, and an interrupted job keeps the work it has done.
    todos = TodoService(db_session)
    deleted = await todos.delete_completed_todos_older_than(days, after_batch=db_session.commit)
    return {"deleted_count": deleted}
