"""Errors out of asyncio.TaskGroup: what is in a group counts as if the task had raised it."""

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from saq.job import Status

from saqueduct import Context, GiveUp, Retry, task
from saqueduct.common.clock import time_now
from saqueduct.common.exception_groups import find, is_cancellation
from saqueduct.queue.redacted_view import error_summary
from saqueduct.tasks.blocking.results import ResultHere
from saqueduct.tasks.options import TaskOptions
from saqueduct.testing import JobKit

pytestmark = pytest.mark.usefixtures("own_tasks")


class Busy(Exception): ...


class Gone(Exception): ...


class Batch(ExceptionGroup[Exception]): ...


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("of a test", errors)


def deep(error: Exception, levels: int) -> Exception:
    for _ in range(levels):
        error = group(error)
    return error


RULES = TaskOptions(retry_on=(Busy,), give_up_on=(Gone,))


@pytest.mark.parametrize(
    ("options", "error", "again"),
    [
        (RULES, group(Busy()), True),
        (RULES, deep(Busy(), 3), True),
        (RULES, deep(Busy(), 5000), True),
        (RULES, group(ValueError()), False),
        (RULES, group(ValueError(), Busy()), True),
        (RULES, group(Busy(), Gone()), False),
        (RULES, group(group(Busy()), group(group(Gone()))), False),
        (RULES, group(ValueError(), Retry()), True),
        (RULES, group(Retry(), Gone()), False),
        (RULES, group(Retry(), GiveUp()), False),
        (RULES, group(Retry()), True),
        (TaskOptions(), group(ValueError()), True),
        (TaskOptions(), group(ValueError(), GiveUp()), False),
        (TaskOptions(give_up_on=(Exception,)), group(Retry()), True),
        (TaskOptions(retry_on=(Exception,)), group(ValueError()), True),
        (TaskOptions(give_up_on=(ExceptionGroup,)), group(ValueError()), False),
        (TaskOptions(give_up_on=(Batch,)), group(ValueError()), True),
        (TaskOptions(give_up_on=(Batch,)), group(Batch("of a test", [ValueError()])), False),
        (TaskOptions(retry_on=(Batch,)), Batch("of a test", [ValueError()]), True),
        (TaskOptions(retry_on=(asyncio.CancelledError,)), BaseExceptionGroup("", [asyncio.CancelledError()]), True),
    ],
)
def test_the_errors_of_a_group_decide_about_another_attempt(
    options: TaskOptions, error: BaseException, again: bool
) -> None:
    assert options.retries_after(error) is again


def test_causes_are_not_looked_into() -> None:
    error = RuntimeError("translated")
    error.__cause__ = GiveUp("what it was")
    assert find(error, GiveUp) == []
    assert TaskOptions().retries_after(error)


def test_a_group_of_cancellations_is_a_cancellation() -> None:
    cancelled = asyncio.CancelledError()
    assert is_cancellation(cancelled)
    assert is_cancellation(BaseExceptionGroup("", [cancelled, BaseExceptionGroup("", [cancelled])]))
    assert not is_cancellation(BaseExceptionGroup("", [cancelled, ValueError()]))


async def in_a_task_group(*errors: BaseException) -> None:
    async def fail(error: BaseException) -> None:
        raise error

    async with asyncio.TaskGroup() as tasks:
        for error in errors:
            tasks.create_task(fail(error))


async def in_nested_groups(*errors: BaseException) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(in_a_task_group(*errors))


async def by_except_star(*errors: BaseException) -> None:
    try:
        await in_a_task_group(*(Busy(str(error)) for error in errors))
    except* Busy:
        raise errors[0] from None


RAISES = [in_a_task_group, in_nested_groups, by_except_star]


@pytest.mark.parametrize("raising", RAISES)
async def test_give_up_in_a_task_group_ends_the_job(jobs: JobKit, raising: Callable[..., Any]) -> None:
    attempts = 0

    @task(retries=5)
    async def job(ctx: Context) -> None:
        nonlocal attempts
        attempts += 1
        await raising(GiveUp("no such mailbox"))

    ended = await jobs.run(job)
    assert (ended.status, attempts) == (Status.FAILED, 1)
    assert "no such mailbox" in str(ended.error)


@pytest.mark.parametrize("raising", RAISES)
async def test_retry_in_a_task_group_asks_for_another_attempt(jobs: JobKit, raising: Callable[..., Any]) -> None:
    attempts = 0

    @task(retries=3, retry_on=())
    async def job(ctx: Context) -> int:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            await raising(Retry(delay=0))
        return attempts

    assert (await jobs.run(job)).result == 3


@pytest.mark.parametrize(
    ("errors", "delay"),
    [
        ([Retry(delay=5), Retry(delay=30), Busy()], 30),
        ([Retry(delay=5), Retry()], 10),
        ([Retry(delay=50), Retry()], 50),
        ([Busy()], 10),
        ([Retry(delay=0)], 0),
    ],
)
async def test_the_longest_delay_in_a_group_counts(jobs: JobKit, errors: list[Exception], delay: float) -> None:
    starts: list[float] = []

    @task(retries=2, retry_delay=10)
    async def job(ctx: Context) -> None:
        starts.append(time_now())
        if len(starts) == 1:
            await in_a_task_group(*errors)

    assert (await jobs.run(job)).status is Status.COMPLETE
    first, second = starts
    # The clock of the queue was advanced by the delay; the rest is what the attempts took.
    assert delay - 1 < second - first < delay + 4.5


async def test_a_call_with_wrong_arguments_in_a_task_group_is_final(jobs: JobKit) -> None:
    attempts = 0

    @task
    async def other(ctx: Context, *, n: int) -> None: ...

    @task(retries=5)
    async def job(ctx: Context) -> None:
        nonlocal attempts
        attempts += 1
        wrong: Any = {"n": "one"}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(other.enqueue(**wrong))

    assert (await jobs.run(job)).status is Status.FAILED
    assert attempts == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (group(Retry()), "RETRY"),
        (group(Retry(), GiveUp()), "FAILURE"),
        (group(ValueError()), "FAILURE"),
    ],
)
def test_a_run_without_a_queue_looks_into_groups_too(error: Exception, status: str) -> None:
    assert ResultHere("key", error).status == status


async def test_the_summary_of_a_group_names_each_error() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await in_nested_groups(ValueError("boom\nand more"), Busy("later"))
    text = "".join(traceback.format_exception(caught.value))
    assert str(error_summary(text)).splitlines() == [
        "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)",
        "- ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)",
        "- ValueError: boom",
        "and more",
        f"- {__name__}.Busy: later",
    ]
