"""Calls from a thread, on the event loop of the process, and their results."""

import asyncio
import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from saq.job import Status

from app.queue.catalog import TasksRegistry
from saqueduct import (
    Context,
    InvalidArguments,
    JobAborted,
    JobExpired,
    JobFailed,
    JobNotFound,
    Queues,
    ResultTimeout,
    task,
)
from saqueduct.tasks.job_meta import EXPIRES_AT
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually_sync


@pytest.mark.usefixtures("workers")
async def test_a_thread_enqueues_and_waits_on_the_loop_of_the_process(registry: TasksRegistry) -> None:
    def calls() -> None:
        result = registry.my_task.delay(user_id=3)
        assert result.get(timeout=60) == {"status": "success", "user_id": 3}
        assert (result.status, result.ready(), result.successful(), result.failed()) == ("SUCCESS", True, True, False)
        assert result.result == {"status": "success", "user_id": 3}
        assert registry.my_task.AsyncResult(result.id).get(timeout=60) == result.result

    await asyncio.to_thread(calls)


async def test_a_job_that_waits_is_pending_and_has_no_result(registry: TasksRegistry) -> None:
    def calls() -> None:
        result = registry.ping.delay()
        assert (result.status, result.state, result.ready(), result.result) == ("PENDING", "PENDING", False, None)
        with pytest.raises(TimeoutError, match=r"has not ended within 0\.1 s") as caught:
            result.get(timeout=0.1)
        assert isinstance(caught.value, ResultTimeout)

    await asyncio.to_thread(calls)


async def test_apply_async_takes_celerys_options(registry: TasksRegistry, queues: Queues) -> None:
    def calls() -> list[str]:
        later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
        policy: Any = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
        results = [
            registry.my_task.apply_async(kwargs={"user_id": 1}, countdown=60, expires=3600, retry=True),
            registry.my_task.apply_async((), {"user_id": 2}, eta=later, expires=later, retry_policy=policy),
            registry.my_task.apply_async(kwargs={"user_id": 3}, task_id="mine", priority="high", ignore_result=True),
        ]
        return [result.id for result in results]

    now = dt.datetime.now(dt.UTC).timestamp()
    first, second, third = [await queues.find(key) for key in await asyncio.to_thread(calls)]
    due = await queues.get("default").redis.zscore("saq:default:incomplete", first.id)
    assert due == pytest.approx(now + 60, abs=5)
    assert first.meta[EXPIRES_AT] == pytest.approx(now + 3600, abs=5)
    assert second.scheduled == pytest.approx(now + 300, abs=5)
    assert second.meta[EXPIRES_AT] == pytest.approx(now + 300, abs=5)
    assert (third.key, third.kwargs, third.priority, third.ttl) == ("mine", {"user_id": 3}, -1, -1)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"countdown": 1, "eta": dt.datetime.now(dt.UTC)}, "give countdown or eta, not both"),
        ({"countdown": -1}, "countdown must be at least 0"),
        ({"eta": dt.datetime(2030, 1, 1)}, "eta must be an aware datetime"),  # noqa: DTZ001
        ({"expires": dt.datetime(2030, 1, 1)}, "expires must be seconds or an aware datetime"),  # noqa: DTZ001
        ({"priority": 9}, "priority must be one of high, normal, low"),
        ({"retry_policy": {"max_tries": 1}}, "retry_policy has no max_tries"),
        ({"retry_policy": {"interval_step": -1}}, "interval_step must be at least 0"),
    ],
)
async def test_impossible_options_are_named(registry: TasksRegistry, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        await asyncio.to_thread(registry.ping.apply_async, **options)


async def test_wrong_arguments_are_refused_at_the_call(registry: TasksRegistry, jobs: JobKit) -> None:
    for call in (registry.cleanup_sessions.delay, registry.cleanup_sessions):
        with pytest.raises(InvalidArguments, match="days_old"):
            await asyncio.to_thread(call, days_old=-1)
    with pytest.raises(InvalidArguments, match="days_old"):
        await asyncio.to_thread(registry.cleanup_sessions.apply, kwargs={"days_old": -1})
    jobs.refute_enqueued()


@pytest.mark.usefixtures("workers")
async def test_what_expired_before_its_start_is_revoked(registry: TasksRegistry) -> None:
    def calls() -> None:
        past = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
        result = registry.ping.apply_async(expires=past)
        with pytest.raises(JobExpired):
            result.get(timeout=60)
        assert result.status == "REVOKED"

    await asyncio.to_thread(calls)


@pytest.mark.parametrize("ignored", ["at the call", "by the task"])
async def test_an_ignored_result_is_none_at_once_and_pending_for_ever(
    registry: TasksRegistry, jobs: JobKit, ignored: str
) -> None:
    @task(ttl=-1)
    async def keeps_nothing(ctx: Context) -> str:
        return "forgotten"

    def calls() -> None:
        if ignored == "by the task":
            result = registry["keeps_nothing"].delay()
        else:
            result = registry.ping.apply_async(ignore_result=True)
        assert result.get() is None
        eventually_sync(lambda: _is_forgotten(result))
        assert (result.status, result.state, result.ready()) == ("PENDING", "PENDING", False)
        assert (result.successful(), result.failed(), result.result, result.traceback) == (False, False, None, None)
        result.revoke()
        result.revoke(terminate=True)

    async with jobs.working():
        await asyncio.to_thread(calls)


def _is_forgotten(result: Any) -> bool:
    return bool(result._portal.run(result._present) is None)


async def test_a_failed_job_tells_what_it_raised(registry: TasksRegistry, jobs: JobKit) -> None:
    @task
    async def breaks(ctx: Context) -> int:
        raise KeyError("gone")

    def calls() -> None:
        result = registry["breaks"].delay()
        with pytest.raises(JobFailed, match="KeyError: 'gone'"):
            result.get(timeout=60)
        assert (result.status, result.ready(), result.failed(), result.successful()) == ("FAILURE", True, True, False)
        assert isinstance(result.get(timeout=10, propagate=False), JobFailed)
        assert isinstance(result.result, JobFailed)
        assert "KeyError: 'gone'" in (result.traceback or "")

    async with jobs.working():
        await asyncio.to_thread(calls)


async def test_a_job_between_two_attempts_is_in_retry(registry: TasksRegistry, jobs: JobKit) -> None:
    @task(retries=2, retry_delay=600)
    async def breaks(ctx: Context) -> int:
        raise KeyError("gone")

    def calls() -> None:
        result = registry["breaks"].delay()
        eventually_sync(lambda: result.status == "RETRY")
        assert (result.ready(), result.failed()) == (False, False)
        assert "KeyError" in (result.traceback or "")

    async with jobs.working():
        await asyncio.to_thread(calls)


async def test_revoke_ends_a_job_that_waits(registry: TasksRegistry, jobs: JobKit) -> None:
    def calls() -> None:
        result = registry.ping.apply_async(countdown=600)
        result.revoke()
        assert (result.status, result.ready(), result.failed()) == ("REVOKED", True, False)
        with pytest.raises(JobAborted, match="revoked"):
            result.get(timeout=60)
        assert isinstance(result.result, JobAborted)

    await asyncio.to_thread(calls)


async def test_revoke_ends_a_running_job_only_to_terminate_it(
    registry: TasksRegistry, queues: Queues, jobs: JobKit
) -> None:
    @task(timeout=60)
    async def waits(ctx: Context) -> None:
        await asyncio.Event().wait()

    async with jobs.working():
        result = await asyncio.to_thread(registry["waits"].delay)
        await asyncio.to_thread(eventually_sync, lambda: result.status == "STARTED")
        await asyncio.to_thread(result.revoke)
        assert (await queues.find(result.id)).status is Status.ACTIVE
        await asyncio.to_thread(result.revoke, terminate=True)
        await asyncio.to_thread(eventually_sync, lambda: result.status == "REVOKED")


async def test_the_result_of_an_unknown_job_is_an_error(registry: TasksRegistry) -> None:
    with pytest.raises(JobNotFound, match="nobody"):
        await asyncio.to_thread(registry.ping.AsyncResult, "nobody")


@pytest.mark.usefixtures("workers")
async def test_many_threads_may_call_at_once(registry: TasksRegistry) -> None:
    def call(number: int) -> Any:
        return registry.my_task.delay(user_id=number).get(timeout=60)["user_id"]

    def calls() -> list[int]:
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(call, range(200)))

    assert await asyncio.to_thread(calls) == list(range(200))


async def test_options_that_celery_lacks(registry: TasksRegistry, queues: Queues) -> None:
    result = await asyncio.to_thread(registry.ping.options(timeout=77, meta={"by": "me"}).delay)
    job = await queues.find(result.id)
    assert (job.timeout, job.meta) == (77, {"by": "me"})


@pytest.mark.usefixtures("only_own_tasks")
async def test_a_task_that_the_catalogue_lacks_is_reported_with_the_remedy(registry: TasksRegistry) -> None:
    @task(name="todo.tidy")
    async def tidy(ctx: Context) -> None: ...

    for name, words in (
        ("todo_tidy", r"'todo_tidy' is not in the catalogue yet: run `make catalog`, or take registry\['todo.tidy'\]"),
        ("todo_tody", "'todo_tody' is no task: did you mean 'todo_tidy'"),
        ("zzzzz", r"'zzzzz' is no task: print\(registry\) lists them"),
    ):
        with pytest.raises(AttributeError, match=words):
            getattr(registry, name)
