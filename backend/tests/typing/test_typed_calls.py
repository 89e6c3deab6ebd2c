"""What the type checkers must accept and refuse.

The functions here are read by mypy and pyright and not run: `assert_type` states what is inferred, and an
expected error is a `type: ignore`, which both report when there is no error.
"""


# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import INJECTED, Context, JobHandle, enqueue_many, get_registry, scheduled_task, task

with get_registry().isolated():

    @task
    async def send(ctx: Context, *, to: str, subject: str = "") -> dict[str, str]:
        return {"to": to, "subject": subject}

    @task(name="sum", retries=3)
    def add(ctx: Context, a: int, b: int) -> int:
        return a + b

    @scheduled_task(cron="0 3 * * *")
    async def cleanup(ctx: Context, *, days: int = 7, db_session: AsyncSession = INJECTED) -> int:
        return days


async def calls_are_typed_as_the_function(ctx: Context) -> None:
    assert_type(await send(ctx, to="a"), dict[str, str])
    assert_type(add(ctx, 1, b=2), int)
    job = await send.enqueue(to="a")
    assert_type(job, JobHandle[dict[str, str]])
    assert_type(await job.result(timeout=1), dict[str, str])
    assert_type(await job.status(), Status)
    assert_type(await add.enqueue(1, 2), JobHandle[int])
    assert_type(await add.apply(1, 2), int)
    assert_type(await send.map([{"to": "a"}]), list[dict[str, str]])
    assert_type(await cleanup.enqueue(), JobHandle[int])
    assert_type(await cleanup.options(delay=5).enqueue(days=1), JobHandle[int])
    assert_type(await enqueue_many([add.bind(1, 2)]), list[JobHandle[int]])


async def wrong_calls_are_refused() -> None:
    await send.enqueue(too="x")  # type: ignore[call-arg]
    await send.enqueue()  # type: ignore[call-arg]
    await send.enqueue(to=1)  # type: ignore[arg-type]
    await add.enqueue(1, "2")  # type: ignore[arg-type]
    await send.options(delay="x").enqueue(to="a")  # type: ignore[arg-type]
    job: JobHandle[str] = await add.enqueue(1, 2)  # type: ignore[assignment]
    del job


def test_the_tasks_of_this_module_are_what_they_are_read_as() -> None:
    assert [each.name for each in (send, add, cleanup)] == ["send", "sum", "cleanup"]
