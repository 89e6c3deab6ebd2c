"""The tasks that come with PostgreSQL, beside those of an application."""

from typing import Any

from saqueduct import Context, Saqueduct, SaqueductConfig
from saqueduct.tasks.registry import TaskRegistry

SERVERS: dict[str, Any] = {"redis_url": "redis://127.0.0.1:1", "database_url": "postgresql://127.0.0.1:1/none"}
NAME = "replay_dead_letters"


def test_the_registry_of_the_application_stays_its_own() -> None:
    own = TaskRegistry()
    first = Saqueduct(SaqueductConfig(**SERVERS, registry=own, queues=["one"])).registry
    second = Saqueduct(SaqueductConfig(**SERVERS, registry=own, queues=["two"])).registry
    assert NAME not in own
    assert (first.get(NAME).queue_name, second.get(NAME).queue_name) == ("one", "two")


def test_tasks_that_are_registered_later_are_found() -> None:
    own = TaskRegistry()
    registry = Saqueduct(SaqueductConfig(**SERVERS, registry=own)).registry

    @own.task
    async def later(ctx: Context) -> None: ...

    assert registry.get("later") is later
    assert [task.name for task in registry.get_all_tasks()] == ["later", NAME, "change_jobs"]
    assert (len(registry), "later" in registry, NAME in registry) == (3, True, True)


def test_a_task_of_the_application_takes_the_place_of_one_of_the_same_name() -> None:
    own = TaskRegistry()

    @own.task
    async def replay_dead_letters(ctx: Context) -> None: ...

    registry = Saqueduct(SaqueductConfig(**SERVERS, registry=own)).registry
    assert registry.get_all_tasks() == [replay_dead_letters, registry.get("change_jobs")]
    assert registry.get(NAME) is replay_dead_letters


def test_without_postgresql_there_are_none() -> None:
    registry = Saqueduct(SaqueductConfig(redis_url="redis://127.0.0.1:1", registry=TaskRegistry())).registry
    assert NAME not in registry
