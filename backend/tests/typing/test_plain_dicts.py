"""Tasks that return a plain `dict`, as guides declare them, pass `make types`; in `app` they do too."""

import tomllib
from typing import Any, assert_type

from app.settings import REPOSITORY
from saqueduct import Context, JobHandle, get_registry, scheduled_task, task

with get_registry().isolated():

    @task(retries=3)
    async def send_welcome(ctx: Context, user_id: int) -> dict:
        return {"status": "sent"}

    @scheduled_task(cron="0 3 * * *", args=[30])
    async def cleanup(ctx: Context, days_old: int = 30) -> dict:
        return {"deleted_count": 0}


async def calls_return_a_dict_of_anything() -> None:
    job = await send_welcome.enqueue(user_id=1)
    assert_type(job, JobHandle[dict[Any, Any]])
    assert_type(await cleanup.apply(), dict[Any, Any])


def test_the_tasks_of_the_application_are_read_by_the_same_rule() -> None:
    overrides = tomllib.loads((REPOSITORY / "backend/pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    [rule] = [each for each in overrides if __name__ in each["module"]]
    assert rule == {"module": ["app.*.tasks", __name__], "disallow_any_generics": False}
