"""What the type checkers must accept and refuse of task controllers; see `test_typed_calls`."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from saqueduct import INJECTED, Context, JobHandle, TaskController, TaskRegistry, get_registry, scheduled_task, task
from saqueduct.tasks.task import AsyncTask


class Service:
    pass


class Cleanup(TaskController):
    def __init__(self, service: Service) -> None:
        self.service = service

    @task(name="cleanup", retries=3)
    async def old(self, ctx: Context, *, days: int = 30, other: Service = INJECTED) -> dict[str, int]:
        return {"days": days}

    @task
    def add(self, ctx: Context, a: int, b: int) -> int:
        return a + b

    @scheduled_task(cron="0 3 * * *")
    @task
    async def nightly(self, ctx: Context) -> str:
        return ""

    @scheduled_task(every=60.0)
    async def often(self, ctx: Context) -> bool:
        return True


registry = TaskRegistry()


@registry.task
async def own(ctx: Context, *, n: int) -> int:
    return n


async def calls_are_typed_as_the_method(ctx: Context) -> None:
    assert_type(await Cleanup.old.enqueue(days=3), JobHandle[dict[str, int]])
    assert_type(await Cleanup.old(ctx, days=3), dict[str, int])
    assert_type(await Cleanup.add.apply(1, 2), int)
    assert_type(await Cleanup.nightly.enqueue(), JobHandle[str])
    assert_type(await Cleanup.often.enqueue(), JobHandle[bool])
    assert_type(await Cleanup.old.options(delay=5).enqueue(), JobHandle[dict[str, int]])
    own_instance = Cleanup(Service())
    assert_type(await own_instance.old(ctx, days=3), dict[str, int])
    assert_type(own_instance.add(ctx, 1, b=2), int)
    assert_type(await own.enqueue(n=1), JobHandle[int])
    assert_type(get_registry().add_controller(Cleanup), type[Cleanup])


async def wrong_calls_are_refused(ctx: Context) -> None:
    await Cleanup.old.enqueue(day=3)  # type: ignore[call-arg]
    await Cleanup.add.enqueue(1, "2")  # type: ignore[arg-type]
    await Cleanup(Service()).old(ctx, days="x")  # type: ignore[arg-type]


def test_the_tasks_are_what_they_are_read_as() -> None:
    assert isinstance(Cleanup.old, AsyncTask)
    assert [each.name for each in (Cleanup.old, Cleanup.add, Cleanup.nightly, Cleanup.often, own)] == [
        "cleanup", "add", "nightly", "often", "own"
    ]  # fmt: skip
