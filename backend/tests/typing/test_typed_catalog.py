"""What the type checkers infer of the catalogue and its blocking calls; see `test_typed_calls.py`."""


# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from app.queue.catalog import TaskName, TasksRegistry
from saqueduct import JobHandle
from saqueduct.blocking import Entry, Result, ResultHere, State


def results_are_typed_as_the_function(registry: TasksRegistry) -> None:
    result = registry.cleanup_sessions.delay(days_old=7).get(timeout=10)
    assert_type(result, dict[str, int])
    assert_type(result["deleted_count"], int)
    assert_type(registry.ping.delay(), Result[dict[str, str]])
    assert_type(registry.ping(), dict[str, str])
    assert_type(registry.ping.apply(), ResultHere[dict[str, str]])
    assert_type(registry.ping.apply().get(), dict[str, str])
    assert_type(registry.todo_cleanup.apply_async(kwargs={"days": 7}, countdown=60).get(), dict[str, int])
    assert_type(registry.send_email.options(timeout=60).delay(to="a", subject="b", body="c"), Result[dict[str, str]])
    assert_type(registry.ping.delay().status, State)
    assert_type(registry.ping.delay().result, dict[str, str] | Exception | None)
    assert_type(registry.ping.delay().get(propagate=False), dict[str, str] | Exception)
    assert_type(registry.ping.AsyncResult("key").get(), dict[str, str])
    registry.ping.apply_async(
        args=[],
        kwargs={},
        countdown=60,
        expires=3600,
        retry=True,
        retry_policy={"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5},
        ignore_result=True,
        priority="high",
    )


async def async_code_awaits(registry: TasksRegistry) -> None:
    assert_type(await registry.cleanup_sessions.enqueue(days_old=7), JobHandle[dict[str, int]])


def wrong_calls_are_refused(registry: TasksRegistry) -> None:
    registry.send_email.delay(to="a", subject="b")  # type: ignore[call-arg]
    registry.send_email.delay(to=1, subject="b", body="c")  # type: ignore[arg-type]
    registry.cleanup_sessions(days="7")  # type: ignore[call-arg]
    registry.ping.apply_async(link=1)  # type: ignore[call-arg]
    registry.ping.apply_async(priority=5)  # type: ignore[arg-type]
    registry.ping.apply_async(retry_policy={"max_tries": 1})  # type: ignore[arg-type]
    registry.pong.delay()  # type: ignore[attr-defined]
    registry.ping.delay().get("10")  # type: ignore[call-overload]
    result: int = registry.ping.delay().get()  # type: ignore[assignment]
    del result
    print(TaskName.PONG)  # type: ignore[attr-defined]


def test_the_properties_that_are_read_above_are_there() -> None:
    names = ("cleanup_sessions", "ping", "send_email", "todo_cleanup")
    assert {TaskName(getattr(TasksRegistry, name).name) for name in names} <= set(TaskName)
    assert Entry.__call__.__doc__
