"""Old and new code on one queue: no job fails for being too new or too old while a deploy lasts."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from dishka import AsyncContainer
from saq import Job
from saq.job import Status

from app.settings import Settings
from saqueduct import Context, JobFailed, Queues, Task, Unique, get_registry, task
from saqueduct.common.clock import shifted
from saqueduct.errors import GiveUp, PayloadMismatch, Retry, TaskNotDeployed
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import MISFIT_SINCE
from saqueduct.worker import misfit
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.composition import build_workers
from tests.fixtures.poll import eventually
from tests.queue.kit import working

pytestmark = pytest.mark.usefixtures("only_own_tasks")


@asynccontextmanager
async def worker_of(
    settings: Settings, queues: Queues, container: AsyncContainer, *tasks: Task[..., Any], window: float = 3600
) -> AsyncIterator[EngineWorker]:
    """A worker whose code has these tasks only."""
    with get_registry().isolated():
        for each in tasks:
            get_registry().add(each)
        [worker] = build_workers(settings, queues, container)
    worker.deploy_window = window
    running = asyncio.create_task(worker.start())
    try:
        yield worker
    finally:
        worker.request_stop()
        await running


def new_task(runs: list[str], **options: Any) -> Any:
    @task(**options)
    async def new(ctx: Context, *, name: str) -> str:
        runs.append(f"{name}, attempt {ctx['job'].attempts}")
        return name

    return new


async def test_a_job_of_a_task_that_a_worker_does_not_know_waits_for_one_that_does(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    runs: list[str] = []
    new = new_task(runs)
    async with worker_of(settings, queues, container) as old:
        handles = [await new.enqueue(name=f"{number}") for number in range(20)]
        for handle in handles:
            await eventually(partial(_given_back, handle))
        assert (old.queue.failed, old.queue.retried) == (0, 0)
    async with working(settings, queues, container):
        assert [await handle.result(timeout=60) for handle in handles] == [f"{number}" for number in range(20)]
    assert sorted(runs) == sorted(f"{number}, attempt 1" for number in range(20))


async def _given_back(handle: Any) -> Job | None:
    """The job while it waits for other code; this worker leases it again each time its wait is over."""
    job: Job = await handle.refresh()
    return job if job.status is Status.QUEUED and job.meta.get(MISFIT_SINCE) and not job.attempts else None


async def test_it_keeps_what_it_has_and_says_why_it_waits(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    new = new_task([], unique=Unique(), at_most_once=True, retries=4)
    async with worker_of(settings, queues, container):
        handle = await new.options(expires=60).enqueue(name="x")
        job = await eventually(lambda: _given_back(handle))
        again = await new.enqueue(name="x")
        assert (again.key, again.created) == (handle.key, False)
        assert (job.attempts, job.retries, job.started, job.worker_id) == (0, 4, 0, None)
        assert "has no task 'new'" in (job.error or "")
    with shifted(61):
        await queues.get("default").schedule()
        async with worker_of(settings, queues, container):
            await eventually(handle.done)
    assert (await handle.refresh()).error == "expired"


async def test_it_waits_longer_each_time_and_fails_in_the_end(
    settings: Settings, queues: Queues, container: AsyncContainer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "saqueduct.worker")
    queue = queues.get("default")
    new = new_task([], retries=4)
    handle = await new.enqueue(name="x")
    passed = 0.0
    while (await handle.refresh()).status is not Status.FAILED:
        with shifted(passed):
            await queue.schedule()
            async with worker_of(settings, queues, container, window=200):
                await eventually(lambda: _waits_or_has_failed(queues, handle))
            if due := await queue.redis.zscore(queue.namespace("incomplete"), handle.id):
                passed += due - await queue.time() + 0.01
    waits = [float(each) for each in re.findall(r"goes back to the queue for (\S+) s", caplog.text)]
    assert waits[0] == 1
    assert waits == sorted(waits[:-1]) + waits[-1:]
    assert max(waits) == 60
    assert sum(waits) <= 200
    with pytest.raises(JobFailed, match="Deploy code that has the task to the workers of the queue 'default'"):
        await handle.result(timeout=60)


def test_its_waits_fill_the_window() -> None:
    job = EngineJob("new", started=1_000)
    waits: list[float] = []
    while (seconds := misfit.wait(job, 200)) is not None:
        waits.append(seconds)
        job.started += round(1000 * seconds)
    assert waits == [1, 1, 2, 4, 8, 16, 32, 60, 60, 16]


async def _waits_or_has_failed(queues: Queues, handle: Any) -> bool:
    queue = queues.get("default")
    score = await queue.redis.zscore(queue.namespace("incomplete"), handle.id)
    return score is None or score > 0


async def test_a_job_whose_arguments_do_not_fit_goes_back_too(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    runs: list[Any] = []

    with get_registry().isolated():

        @task(name="charge")
        async def old(ctx: Context, *, amount: int) -> None:
            runs.append(amount)

    @task(name="charge", retries=3)
    async def new(ctx: Context, *, amount: str) -> str:
        runs.append(amount)
        return amount

    async with worker_of(settings, queues, container, old):
        handle = await new.enqueue(amount="3 EUR")
        await eventually(lambda: _given_back(handle))
        assert (await handle.refresh()).retries == 3
    async with working(settings, queues, container):
        assert await handle.result(timeout=60) == "3 EUR"
    assert runs == ["3 EUR"]


async def test_a_task_that_fails_by_wrong_arguments_of_its_own_does_not_go_back(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    new = new_task([])

    @task(retries=3)
    async def enqueues_wrongly(ctx: Context) -> None:
        await ctx["queue"].enqueue("new", name=1)

    handle = await enqueues_wrongly.enqueue()
    async with working(settings, queues, container):
        with pytest.raises(JobFailed, match="InvalidArguments"):
            await handle.result(timeout=60)
    assert new.name == "new"


async def test_a_job_that_goes_back_is_aborted_as_any_that_waits(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    new = new_task([])
    async with worker_of(settings, queues, container):
        handle = await new.enqueue(name="x")
        await eventually(lambda: _given_back(handle))
        await handle.abort("not wanted")
    assert (await handle.refresh()).status is Status.ABORTED


async def test_without_a_window_it_fails_at_once(
    settings: Settings, queues: Queues, container: AsyncContainer, caplog: pytest.LogCaptureFixture
) -> None:
    new = new_task([], retries=4)
    async with worker_of(settings, queues, container, window=0):
        handle = await new.enqueue(name="x")
        with caplog.at_level(logging.ERROR), pytest.raises(JobFailed, match="has no task 'new'"):
            await handle.result(timeout=60)
    assert (await handle.refresh()).attempts == 1


@pytest.mark.parametrize(
    "error", [PayloadMismatch("other", {"name": "missing"}), TaskNotDeployed("other", "default")], ids=repr
)
async def test_what_a_task_raises_itself_is_its_failure_and_waits_for_no_other_code(
    settings: Settings, queues: Queues, container: AsyncContainer, error: Exception
) -> None:
    @task(retries=3)
    async def raises(ctx: Context) -> None:
        raise error

    async with working(settings, queues, container):
        handle = await raises.enqueue()
        with pytest.raises(JobFailed, match=type(error).__name__):
            await handle.result(timeout=60)
    job = await queues.get("default").job(handle.key)
    assert job is not None
    assert MISFIT_SINCE not in job.meta


async def test_wrong_arguments_of_a_job_that_a_task_enqueues_are_its_failure(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    runs: list[str] = []
    new = new_task(runs)

    @task(retries=3)
    async def enqueues(ctx: Context) -> None:
        runs.append("enqueues")
        await new.enqueue(name=7)

    async with working(settings, queues, container):
        handle = await enqueues.enqueue()
        with pytest.raises(JobFailed, match="InvalidArguments"):
            await handle.result(timeout=60)
    assert runs == ["enqueues"]


@pytest.mark.parametrize("decision", [Retry(delay=0, reason="not ready"), GiveUp("not ready")], ids=repr)
@pytest.mark.parametrize("caused", [False, True])
async def test_what_a_task_decides_itself_is_logged_in_a_line_unless_an_error_made_it(
    settings: Settings,
    queues: Queues,
    container: AsyncContainer,
    caplog: pytest.LogCaptureFixture,
    decision: Exception,
    caused: bool,
) -> None:
    @task(retries=2)
    async def decides(ctx: Context) -> None:
        raise decision from (KeyError("cause") if caused else None)

    caplog.set_level(logging.INFO, "saqueduct.worker")
    async with working(settings, queues, container):
        handle = await decides.enqueue()
        with pytest.raises(JobFailed):
            await handle.result(timeout=60)
    lines = [each for each in caplog.records if "not ready" in each.getMessage()]
    levels = [logging.INFO, logging.WARNING] if isinstance(decision, Retry) else [logging.WARNING]
    assert [(each.levelno, each.exc_info is not None) for each in lines] == [(level, caused) for level in levels]
