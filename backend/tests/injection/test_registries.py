"""Registries beside the default one."""

import pytest

from saqueduct import Context, Saqueduct, SaqueductConfig, TaskController, TaskRegistry, get_registry, task
from saqueduct.testing.kit import JobKit
from saqueduct.testing.setup import ConfiguredSetup


def test_the_decorators_of_a_registry_fill_it_and_no_other() -> None:
    registry = TaskRegistry()
    before = get_registry().get_all_tasks()

    @registry.task(retries=2)
    async def own(ctx: Context) -> None: ...

    @registry.scheduled_task(every=60)
    @registry.task
    async def tick(ctx: Context) -> None: ...

    assert registry.get_all_tasks() == [own, tick]
    assert tick.schedule is not None
    assert get_registry().get_all_tasks() == before


def test_one_name_may_be_in_two_registries() -> None:
    first, second = TaskRegistry(), TaskRegistry()

    @first.task(name="same")
    async def one(ctx: Context) -> None: ...

    @second.task(name="same")
    async def two(ctx: Context) -> None: ...

    assert (first.get("same"), second.get("same")) == (one, two)


async def test_an_application_runs_the_tasks_of_its_registry(
    redis_url: str, empty_redis: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    registry = TaskRegistry()

    @registry.task
    async def double(ctx: Context, *, number: int) -> int:
        return 2 * number

    @registry.add_controller
    class Numbers(TaskController):
        @task
        async def triple(self, ctx: Context, *, number: int) -> int:
            return 3 * number

    config = SaqueductConfig(redis_url=redis_url, registry=registry, grace_period=5)
    kit = JobKit(ConfiguredSetup(config))
    assert (await kit.run("double", number=1)).result == 2
    kit.close()
    async with Saqueduct(config) as saqueduct, saqueduct.working():
        assert await double.apply(number=2) == 4
        assert await Numbers.triple.apply(number=2) == 6
        assert [each.name for each in saqueduct.queues.tasks.get_all_tasks()] == ["double", "triple"]
