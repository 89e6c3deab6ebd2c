"""Task controllers: methods as tasks, one injected instance a job, and what cannot be one."""

import abc
import asyncio
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from dishka import Provider, Scope, make_async_container

from saqueduct import (
    INJECTED,
    ConfigurationError,
    Context,
    RegistrationError,
    Saqueduct,
    SaqueductConfig,
    TaskController,
    TaskRegistry,
    get_registry,
    scheduled_task,
    task,
)
from saqueduct.injection.injector import check_dependencies
from saqueduct.injection.named import NamedInjector

CTX: Any = {}


class Sessions:
    def __init__(self, count: int = 3) -> None:
        self.count = count


class Cleanup(TaskController):
    made = 0

    def __init__(self, sessions: Sessions, batch: int = 10) -> None:
        self.sessions, self.batch = sessions, batch
        type(self).made += 1

    @task(name="cleanup_sessions", retries=3)
    async def old(self, ctx: Context, *, days: int = 30) -> list[int]:
        """Delete old sessions."""
        return [self.sessions.count, self.batch, days]

    @task
    def blocking(self, ctx: Context, factor: int, *, sessions: Sessions = INJECTED) -> bool:
        return sessions is self.sessions and factor == 2

    @scheduled_task(cron="0 3 * * *", kwargs={"days": 7}, timezone="UTC")
    @scheduled_task(every=60.0, key="often")
    async def nightly(self, ctx: Context, *, days: int = 1) -> int:
        return days + await self.twice(ctx, number=1)

    @task
    async def twice(self, ctx: Context, *, number: int) -> int:
        return 2 * number


@pytest.fixture
def registry() -> Iterator[TaskRegistry]:
    with get_registry().isolated() as registry:
        yield registry


@pytest.fixture
def config(
    redis_url: str, empty_redis: None, registry: TaskRegistry, monkeypatch: pytest.MonkeyPatch
) -> SaqueductConfig:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return SaqueductConfig(
        redis_url=redis_url, grace_period=5, task_controllers=[Cleanup], dependencies={"sessions": Sessions}
    )


async def test_a_job_makes_one_instance_in_its_scope_and_calls_the_method(config: SaqueductConfig) -> None:
    Cleanup.made = 0
    async with Saqueduct(config) as saqueduct, saqueduct.working():
        job = await Cleanup.old.enqueue(days=3)
        assert await job.result(timeout=60) == [3, 10, 3]
        assert await Cleanup.blocking.apply(2)
        assert await Cleanup.nightly.apply() == 3
        assert Cleanup.made == 3


async def test_a_container_of_dishka_injects_the_constructor_by_type(config: SaqueductConfig) -> None:
    provider = Provider(scope=Scope.REQUEST)
    provider.provide(lambda: Sessions(5), provides=Sessions)
    config.dependencies, config.container = {}, make_async_container(provider)
    async with Saqueduct(config) as saqueduct, saqueduct.working():
        assert await Cleanup.old.apply() == [5, 10, 30]
    await config.container.close()


async def test_a_direct_call_of_the_task_makes_an_instance_too(config: SaqueductConfig) -> None:
    async with Saqueduct(config):
        assert await Cleanup.old(CTX, days=1) == [3, 10, 1]
        assert await asyncio.to_thread(Cleanup.blocking, CTX, 2)


async def test_on_an_instance_of_ones_own_it_is_the_plain_method() -> None:
    own = Cleanup(Sessions(1), batch=2)
    assert await own.old(CTX, days=3) == [1, 2, 3]
    assert own.blocking(CTX, 2, sessions=own.sessions)
    assert await own.nightly(CTX) == 3


def test_the_tasks_are_those_of_the_methods(registry: TaskRegistry) -> None:
    assert registry.add_controller(Cleanup) is Cleanup
    registry.add_controller(Cleanup)
    assert [each.name for each in registry.get_all_tasks()] == ["cleanup_sessions", "blocking", "nightly", "twice"]
    old = registry.get("cleanup_sessions")
    assert old is Cleanup.old
    assert (old.doc, old.defaults.retries) == ("Delete old sessions.", 3)
    assert list(old.call_signature.parameters) == ["days"]
    assert old.injected == {"sessions": Sessions}
    assert {each.key: (each.cron, each.every, each.kwargs) for each in Cleanup.nightly.schedules} == {
        "often": (None, 60.0, {}),
        "nightly": ("0 3 * * *", None, {"days": 7}),
    }


def test_what_nobody_provides_is_named_with_the_place_of_the_method(registry: TaskRegistry) -> None:
    registry.add_controller(Cleanup)
    with pytest.raises(ConfigurationError, match=r"test_controllers\.py:\d+: cleanup_sessions: sessions: Sessions"):
        check_dependencies(NamedInjector({}), registry.get_all_tasks())


async def test_a_task_of_an_unregistered_controller_is_not_enqueued(config: SaqueductConfig) -> None:
    class Forgotten(TaskController):
        @task
        async def work(self, ctx: Context) -> None: ...

    async with Saqueduct(config):
        with pytest.raises(RegistrationError, match=r"not registered: .*add_controller\(.*Forgotten\)`"):
            await Forgotten.work.enqueue()


def test_a_subclass_inherits_overrides_and_leaves_out(registry: TaskRegistry) -> None:
    class Other(Cleanup):
        prefix = "other."
        blocking = None  # type: ignore[assignment]

        @task
        async def twice(self, ctx: Context, *, number: int) -> int:
            return 3 * number

    registry.add_controller(Cleanup)
    registry.add_controller(Other)
    names = [each.name for each in registry.get_all_tasks() if each.name.startswith("other.")]
    assert names == ["other.cleanup_sessions", "other.nightly", "other.twice"]
    assert [each.key for each in Other.nightly.schedules] == ["other.often", "other.nightly"]
    assert Cleanup.nightly is not Other.nightly


def test_two_subclasses_of_one_base_need_a_prefix_and_neither_is_half_registered(registry: TaskRegistry) -> None:
    class Base(TaskController):
        @task
        async def work(self, ctx: Context) -> None: ...

    class One(Base): ...

    class Two(Base):
        @task
        async def more(self, ctx: Context) -> None: ...

    registry.add_controller(One)
    with pytest.raises(RegistrationError, match=r"One and .*Two have the task 'work' of one base.*prefix"):
        registry.add_controller(Two)
    assert [each.name for each in registry.get_all_tasks()] == ["work"]


def test_a_dataclass_is_injected_through_its_fields(registry: TaskRegistry) -> None:
    @registry.add_controller
    @dataclasses.dataclass
    class Fields(TaskController):
        sessions: Sessions
        batch: int = 1

        @task
        async def work(self, ctx: Context) -> None: ...

    assert registry.get("work").injected == {"sessions": Sessions}
    assert Fields(Sessions()).batch == 1


def _plain() -> Any:
    class Plain:
        pass

    return Plain


def _abstract() -> Any:
    class Abstract(TaskController, abc.ABC):
        @task
        async def work(self, ctx: Context) -> None: ...
        @abc.abstractmethod
        def name(self) -> str: ...

    return Abstract


def _empty() -> Any:
    class Empty(TaskController):
        pass

    return Empty


def _undecorated_override() -> Any:
    class Other(Cleanup):
        def twice(self, ctx: Any, **_: Any) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
            return 1

    return Other


def _taken_argument() -> Any:
    class Taken(TaskController):
        def __init__(self, days: int) -> None: ...

        @task
        async def work(self, ctx: Context, *, days: int) -> None: ...

    return Taken


def _other_type() -> Any:
    class OtherType(TaskController):
        def __init__(self, thing: Sessions) -> None: ...

        @task
        async def work(self, ctx: Context, *, thing: TaskRegistry = INJECTED) -> None: ...

    return OtherType


def _positional_only() -> Any:
    class PositionalOnly(TaskController):
        def __init__(self, thing: Sessions, /) -> None: ...

        @task
        async def work(self, ctx: Context) -> None: ...

    return PositionalOnly


def _without_context() -> Any:
    class WithoutContext(TaskController):
        @task  # type: ignore[arg-type]
        async def work(self, days: int) -> None: ...

    return WithoutContext


def _no_annotation() -> type[TaskController]:
    class Wrong(TaskController):
        def __init__(self, thing: "1 +") -> None: ...  # type: ignore[valid-type]  # noqa: F722

        @task
        async def work(self, ctx: Context) -> None: ...

    return Wrong


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_plain, "is no controller"),
        (lambda: Cleanup(Sessions()), "is no controller"),
        (_abstract, r"is abstract \(without name\)"),
        (_empty, "has no tasks"),
        (_undecorated_override, "overrides the task .*twice and is no task"),
        (_taken_argument, "the argument 'days' has the name of an injected parameter"),
        (_other_type, "'thing' has another type"),
        (_positional_only, "'thing' of its constructor is positional-only"),
        (_without_context, "the first parameter must be the job's context"),
        (_no_annotation, "an annotation cannot be evaluated"),
    ],
)
def test_what_cannot_be_a_controller_is_refused_with_its_place(registry: TaskRegistry, make: Any, problem: str) -> None:
    with pytest.raises(RegistrationError, match=rf"test_controllers\.py:\d+: .*{problem}"):
        registry.add_controller(make())
    assert len(registry) == 0


def test_a_task_in_another_class_is_refused() -> None:
    with pytest.raises((RegistrationError, RuntimeError)) as caught:

        class Plain:
            @task  # type: ignore[arg-type]
            async def work(self, ctx: Context) -> None: ...

    error = caught.value if isinstance(caught.value, RegistrationError) else caught.value.__cause__
    assert isinstance(error, RegistrationError)
    assert "derive it from `TaskController`" in str(error)


def test_a_function_whose_first_parameter_is_self_is_no_method() -> None:
    with pytest.raises(RegistrationError, match="the first parameter must be the job's context"):

        @task
        async def work(self: Any, ctx: Context) -> None: ...
