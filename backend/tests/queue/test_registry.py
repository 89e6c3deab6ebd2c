"""The decorators and the registry they fill."""

import dataclasses
import enum
import inspect
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, cast

import pytest
from dishka import FromComponent
from litestar.di import NamedDependency
from saq import CronJob
from sqlalchemy.ext.asyncio import AsyncSession

from app.settings import Settings
from saqueduct import (
    INJECTED,
    Context,
    DuplicateTask,
    FromDishka,
    InvalidArguments,
    RegistrationError,
    TaskRegistry,
    Unique,
    UnknownTask,
    get_registry,
    scheduled_task,
    task,
)

CTX: Any = {}


async def _pings(ctx: Context) -> None: ...


@pytest.fixture(autouse=True)
def registry() -> Iterator[TaskRegistry]:
    with get_registry().isolated() as registry:
        yield registry


async def test_a_bare_decorator_registers_under_the_functions_name(registry: TaskRegistry) -> None:
    @task
    async def greet(ctx: Context, *, name: str) -> str:
        """Greets."""
        return f"hello {name}"

    assert [each.__name__ for each in registry.get_all_tasks()] == ["greet"]
    assert registry.get("greet") is greet
    assert "greet" in registry


async def test_a_decorated_function_stays_a_function() -> None:
    @task(retries=3)
    async def greet(ctx: Context, *, name: str, polite: bool = False) -> str:
        """Greets."""
        return f"hello {name}"

    assert await greet(CTX, name="Ada") == "hello Ada"
    assert (greet.__name__, greet.__doc__) == ("greet", "Greets.")
    assert list(inspect.signature(greet).parameters) == ["ctx", "name", "polite"]


def test_a_plain_function_stays_one_too() -> None:
    @task
    def double(ctx: Context, *, n: int) -> int:
        return 2 * n

    assert double(CTX, n=4) == 8


def test_options_become_fields_of_the_job() -> None:
    @task(name="mail.send", queue="mail", timeout=30, retries=4, retry_delay=2.5, retry_backoff=60, ttl=5, heartbeat=7)
    async def send(ctx: Context) -> None: ...

    job = send.job({})
    assert send.queue_name == "mail"
    assert (job.function, job.timeout, job.retries, job.retry_delay) == ("mail.send", 30, 4, 2.5)
    assert (job.retry_backoff, job.ttl, job.heartbeat) == (60, 5, 7)


def test_without_options_a_job_has_saqs_defaults() -> None:
    @task
    async def plain(ctx: Context) -> None: ...

    job = plain.job({})
    assert (job.timeout, job.retries, job.ttl, job.heartbeat) == (10, 1, 600, 0)


def test_jobs_get_keys_nobody_can_guess() -> None:
    @task
    async def plain(ctx: Context) -> None: ...

    first, second = (uuid.UUID(plain.job({}).key) for _ in range(2))
    # Version 7: the time, and 74 random bits, most of them in `node` and `clock_seq`.
    assert (first.version, second.version) == (7, 7)
    assert (first.clock_seq, first.node) != (second.clock_seq, second.node)


def test_a_scheduled_task_is_a_cron_job_and_a_task(registry: TaskRegistry) -> None:
    @scheduled_task(name="todo.cleanup", cron="0 3 * * *", timeout=300, kwargs={"days": 7})
    async def cleanup(ctx: Context, *, days: int = 30) -> int:
        return days

    [cron] = registry.get_all_scheduled_tasks()
    assert isinstance(cron, CronJob)
    assert (cron.cron, cron.timeout, cron.kwargs) == ("0 3 * * *", 300, {"days": 7})
    assert cron.function.__qualname__ == "todo.cleanup"
    assert registry.get("todo.cleanup") is cleanup


def test_a_job_by_hand_takes_the_functions_defaults_not_the_schedules(registry: TaskRegistry) -> None:
    @scheduled_task(cron="0 3 * * *", kwargs={"days": 7})
    async def cleanup(ctx: Context, *, days: int = 30) -> int:
        return days

    assert cleanup.job({}).kwargs == {}


def test_looking_up_an_unknown_task_names_similar_ones(registry: TaskRegistry) -> None:
    @task
    async def send_email(ctx: Context) -> None: ...

    with pytest.raises(UnknownTask, match="did you mean send_email") as caught:
        registry.get("send_emial")
    assert caught.value.near == ["send_email"]


def test_where_none_is_similar_the_tasks_that_there_are_are_named() -> None:
    names = [f"todo.{letter}" for letter in "abcdefghijkl"]
    assert str(UnknownTask("x", names[:2])) == "there is no task named 'x'; there are: todo.a, todo.b"
    assert str(UnknownTask("x", names)).endswith("; there are: " + ", ".join(names[:10]) + ", and 2 others")
    assert "import the modules that define them" in str(UnknownTask("x", []))


def test_clear_forgets_all(registry: TaskRegistry) -> None:
    @task
    async def one(ctx: Context) -> None: ...

    registry.clear()
    assert registry.get_all_tasks() == []


def test_isolated_brings_the_tasks_from_before_back(registry: TaskRegistry) -> None:
    @task
    async def outer(ctx: Context) -> None: ...

    with registry.isolated():
        assert len(registry) == 0
    assert "outer" in registry


def test_a_taken_name_is_refused_with_both_places(registry: TaskRegistry) -> None:
    @task(name="same")
    async def first(ctx: Context) -> None: ...

    with pytest.raises(DuplicateTask) as caught:

        @task(name="same")
        async def second(ctx: Context) -> None: ...

    message = str(caught.value)
    assert message.count(__file__) == 2
    assert f"{__file__}:{second_line(caught.value)}" in message
    assert registry.get("same") is first


def second_line(error: DuplicateTask) -> int:
    return int(error.where.rsplit(":", 1)[1])


def _no_ctx() -> Any:
    async def job(name: str) -> None: ...

    return job


def _nothing() -> Any:
    async def job() -> None: ...

    return job


def _positional_only() -> Any:
    async def job(ctx: Context, name: str, /) -> None: ...

    return job


def _args() -> Any:
    async def job(ctx: Context, *names: str) -> None: ...

    return job


def _ctx_keyword_only() -> Any:
    async def job(*, ctx: Context) -> None: ...

    return job


def _list_of_sessions() -> Any:
    async def job(ctx: Context, *, sessions: list[AsyncSession]) -> None: ...

    return job


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_no_ctx, "first parameter must be the job's context"),
        (_nothing, "first parameter must be the job's context"),
        (_positional_only, "'name' is positional-only"),
        (_args, r"\*names"),
        (_ctx_keyword_only, "must come before"),
        (_list_of_sessions, "'sessions' cannot be encoded as JSON"),
    ],
)
def test_a_function_that_cannot_be_a_task_is_refused_at_its_line(registry: TaskRegistry, make: Any, words: str) -> None:
    function = make()
    with pytest.raises(RegistrationError, match=words) as caught:
        task(function)
    assert caught.value.where == f"{__file__}:{function.__code__.co_firstlineno}"
    assert str(caught.value).startswith(caught.value.where)
    assert len(registry) == 0


@pytest.mark.parametrize("cron", ["61 * * * *", "every day", "", "* * *"])
def test_an_invalid_cron_is_refused_with_file_and_line(registry: TaskRegistry, cron: str) -> None:
    with pytest.raises(RegistrationError, match="is not a cron expression") as caught:

        @scheduled_task(cron=cron)
        async def job(ctx: Context) -> None: ...

    assert caught.value.where.startswith(f"{__file__}:")
    assert len(registry) == 0


def test_a_schedules_kwargs_must_fit_the_function(registry: TaskRegistry) -> None:
    with pytest.raises(RegistrationError, match="days: Expected `int`"):

        @scheduled_task(cron="0 3 * * *", kwargs={"days": "seven"})
        async def first(ctx: Context, *, days: int) -> None: ...

    with pytest.raises(RegistrationError, match="days: missing"):

        @scheduled_task(cron="0 3 * * *")
        async def second(ctx: Context, *, days: int) -> None: ...

    assert len(registry) == 0


@pytest.mark.parametrize("options", [{"timeout": -1}, {"retries": 0}, {"retry_delay": -0.1}, {"queue": ""}])
def test_an_impossible_option_is_refused(registry: TaskRegistry, options: dict[str, Any]) -> None:
    async def job(ctx: Context) -> None: ...

    with pytest.raises(RegistrationError, match="must"):
        task(**options)(job)
    assert len(registry) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unique": True}, r"unique takes a Unique\(\.\.\.\), such as .*, not True"),
        ({"unique": Unique}, r"unique takes a Unique\(\.\.\.\)"),
        ({"name": 5}, "name takes a text"),
        ({"name": ""}, "name takes a text"),
        ({"name": "a\ud800"}, "name: .* a lone surrogate"),
        ({"name": "a" * 401}, "has 401 characters"),
        ({"durable": "no"}, "durable must be True or False, not 'no'"),
        ({"at_most_once": "no"}, "at_most_once must be True or False, not 'no'"),
        ({"record_logs": "off"}, "record_logs must be True or False, not 'off'"),
        ({"retries": 1.5}, "retries counts attempts: it must be a whole number, not 1.5"),
        ({"queue": 5}, "queue takes a text"),
        ({"interval": 5}, "decorate with @scheduled_task"),
    ],
)
def test_an_option_of_a_wrong_kind_is_refused(registry: TaskRegistry, options: dict[str, Any], words: str) -> None:
    async def job(ctx: Context) -> None: ...

    with pytest.raises(RegistrationError, match=words):
        task(**options)(job)
    assert len(registry) == 0


def test_a_lambda_needs_a_name(registry: TaskRegistry) -> None:
    with pytest.raises(RegistrationError, match="a lambda has no name: give name="):
        task(lambda ctx: None)
    assert task(name="named")(lambda ctx: None).name == "named"


@pytest.mark.parametrize("zone", [5, "", "Mars/Base"])
def test_a_zone_that_is_none_is_refused(registry: TaskRegistry, zone: Any) -> None:
    with pytest.raises(RegistrationError, match=f"{zone!r} is not a time zone"):
        scheduled_task(cron="0 3 * * *", timezone=zone)(_pings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key": 5}, "key takes a text"),
        ({"key": ""}, "key must not be empty: leave it out"),
        ({"key": "x" * 513}, "it has 512 at most"),
        ({"keep_result": "no"}, "keep_result must be True or False"),
        ({"durable": "no"}, "durable must be True or False"),
    ],
)
def test_an_option_of_a_call_of_a_wrong_kind_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        task(_pings).options(**options)


def test_no_exceptions_to_give_up_on_may_be_said_as_none(registry: TaskRegistry) -> None:
    async def job(ctx: Context) -> None: ...

    options = task(**cast("Any", {"give_up_on": None}))(job).defaults
    assert (options.give_up_on, options.is_final(ValueError())) == ((), False)


def test_an_annotation_unknown_at_run_time_is_named(registry: TaskRegistry) -> None:
    async def job(ctx: Context, *, when: "Sometime") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(RegistrationError, match="'Sometime' is not known at run time"):
        task(job)


@pytest.mark.parametrize("written", ["uuid.Sometime", "int[", "int | 5"])
def test_an_annotation_that_is_no_type_is_refused(registry: TaskRegistry, written: str) -> None:
    async def job(ctx: Context, *, when: Any) -> None: ...

    job.__annotations__["when"] = written
    with pytest.raises(RegistrationError, match=r"job: an annotation cannot be evaluated: .*; correct it"):
        task(job)


def test_parameters_that_json_cannot_carry_are_injected() -> None:
    @task
    async def job(ctx: Context, *, user_id: int, db_session: AsyncSession, settings: FromDishka[Settings]) -> None: ...

    assert list(job.signature.payload) == ["user_id"]
    assert job.signature.injected == {"db_session": AsyncSession, "settings": Settings}


def test_injected_parameters_cannot_be_passed() -> None:
    @task
    async def job(ctx: Context, *, db_session: AsyncSession) -> None: ...

    with pytest.raises(InvalidArguments, match="db_session: is injected"):
        job.job({"db_session": 1})


class Colour(enum.Enum):
    RED = "red"


def test_every_wrong_argument_is_named_at_once() -> None:
    @task
    async def job(ctx: Context, *, a: int, b: str, c: Colour, d: int = 0) -> None: ...

    with pytest.raises(InvalidArguments) as caught:
        job.job({"a": "1", "c": "blue", "e": 1})
    assert set(caught.value.problems) == {"a", "b", "c", "e"}
    assert caught.value.problems["b"] == "missing"
    assert "unknown argument" in caught.value.problems["e"]


def test_an_argument_that_json_cannot_carry_is_named() -> None:
    @task
    async def job(ctx: Context, *, a: int, b: Any) -> None: ...

    with pytest.raises(InvalidArguments) as caught:
        job.job({"a": 1, "b": object()})
    assert set(caught.value.problems) == {"b"}


def test_a_type_that_could_travel_is_injected_where_the_default_says_so() -> None:
    @dataclasses.dataclass
    class Policy:
        days: int = 7

    @task
    async def prune(
        ctx: Context,
        *,
        policy: Policy = INJECTED,
        limit: int | None = INJECTED,
        size: Annotated[int, ["not hashable"]] = INJECTED,
        days: int = 1,
    ) -> None: ...

    assert prune.signature.injected == {"policy": Policy, "limit": int | None, "size": int}
    assert list(prune.signature.payload) == ["days"]
    with pytest.raises(InvalidArguments, match="limit: is injected by the worker and cannot be passed"):
        prune.job({"limit": 1})


def test_litestars_marker_and_dishkas_mark_injected_parameters() -> None:
    @task
    async def prune(
        ctx: Context,
        *,
        days: NamedDependency[int],
        limit: FromDishka[int],
        size: Annotated[int, FromComponent("sizes")],
    ) -> None: ...

    assert prune.signature.injected == {
        "days": int, "limit": int, "size": Annotated[int, FromComponent("sizes")]
    }  # fmt: skip
