"""The engine: retry rules, leases, schedules."""

import asyncio
import time
from contextlib import ExitStack
from typing import Any

import pytest
from dishka import AsyncContainer
from saq import Job
from saq.job import CronJob, Status
from saq.utils import now

from app.settings import Settings, load_settings
from saqueduct import (
    Context,
    EngineQueue,
    GiveUp,
    JobHandle,
    Queues,
    RegistrationError,
    Retry,
    Unique,
    enqueue_many,
    get_registry,
    task,
)
from saqueduct.common.clock import offset, shifted
from saqueduct.testing import JobKit
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.composition import build_queues
from tests.fixtures.poll import eventually
from tests.queue.kit import marking, status, taken, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")

# Retry rules


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (ConnectionError("again"), 3),
        (KeyError("no"), 1),
        (ConnectionRefusedError("give up"), 1),
        (Retry(reason="whatever retry_on says"), 3),
        (GiveUp("no"), 1),
    ],
)
async def test_rules_say_after_which_errors_to_try_again(jobs: JobKit, error: Exception, attempts: int) -> None:
    @task(retries=3, retry_on=(ConnectionError,), give_up_on=(ConnectionRefusedError,))
    async def fails(ctx: Context) -> None:
        raise error

    job = await jobs.run("fails")
    assert (job.status, job.attempts) == (Status.FAILED, attempts)


async def test_a_timeout_is_an_error_like_others(jobs: JobKit) -> None:
    @task(timeout=1, retries=2, retry_on=(TimeoutError,))
    async def slow(ctx: Context) -> None:
        await asyncio.Event().wait()

    job = await jobs.run("slow")
    assert (job.status, job.attempts) == (Status.FAILED, 2)
    assert "TimeoutError" in (job.error or "")


async def test_retry_asks_for_its_own_delay(settings: Settings, queues: Queues, container: AsyncContainer) -> None:
    @task(retries=2, retry_delay=0.0)
    async def later(ctx: Context) -> int:
        if ctx["job"].attempts == 1:
            raise Retry(delay=3600, reason="the report is not ready")
        return 1

    queue = queues.get("default")
    before = await queue.time()
    async with working(settings, queues, container):
        handle = await later.enqueue()
        waiting = await eventually(lambda: _failed_once(handle))
    start = await queue.redis.zscore(queue.namespace("incomplete"), waiting.id)
    assert "the report is not ready" in (waiting.error or "")
    assert start is not None
    assert before + 3600 <= start <= await queue.time() + 3600


async def _failed_once(handle: JobHandle[int]) -> Job | None:
    job: Job = await handle.refresh()
    return job if job.error else None


def test_a_negative_delay_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        Retry(delay=-1)


@pytest.mark.parametrize("value", [ConnectionError, (ConnectionError, "x"), (int,)])
def test_retry_rules_take_exception_classes(value: Any) -> None:
    with pytest.raises(RegistrationError, match="retry_on takes"):

        @task(retry_on=value)
        async def fails(ctx: Context) -> None: ...


# Leases


async def test_an_expired_job_never_runs(settings: Settings, queues: Queues, container: AsyncContainer) -> None:
    runs: list[str] = []
    mark = marking(runs)
    handle = await mark.options(expires=60).enqueue(name="late")
    with shifted(61):
        async with working(settings, queues, container):
            job = await status(queues, await handle.refresh(), Status.ABORTED)
    assert (job.error, job.attempts, runs) == ("expired", 0, [])


async def test_a_job_that_cannot_be_read_stops_nobody(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    runs: list[str] = []
    mark = marking(runs)
    broken = await mark.enqueue(name="broken")
    queue = queues.get("default")
    await queue.redis.set(broken.id, b'{"queue": "default", "key": "x", "flavour": 1}')
    async with working(settings, queues, container):
        await (await mark.enqueue(name="next")).result(timeout=60)
    assert runs == ["next"]
    assert await queue.count("incomplete") == 0
    assert await queue.redis.get(broken.id) is not None


async def test_a_job_that_runs_is_active_though_nothing_was_written(queues: Queues) -> None:
    mark = marking([])
    handle = await mark.enqueue(name="x")
    queue = queues.get("default")
    before, began = await queue.redis.get(handle.id), now()
    await queue.scripts.run("lease", 1, "one", 60)
    leased = now()
    job = await handle.refresh()
    assert (job.status, job.worker_id, job.attempts) == (Status.ACTIVE, "one", 1)
    assert began - 1 <= job.started <= leased + 1
    assert await queue.redis.get(handle.id) == before
    assert (await queue.count("queued"), await queue.count("active"), await queue.count("incomplete")) == (0, 1, 1)
    shown = await queue.info(jobs=True)
    assert [each["status"] for each in shown["jobs"]] == [Status.ACTIVE]


async def test_an_aborted_unique_job_leaves_no_claim(queues: Queues) -> None:
    @task(unique=Unique())
    async def only_one(ctx: Context) -> None: ...

    handle = await only_one.enqueue()
    await handle.abort()
    queue = queues.get("default")
    assert await queue.redis.keys(queue.namespace("unique:*")) == []
    assert (await only_one.enqueue()).created


async def test_an_aborted_entry_in_a_long_list_is_skipped(queues: Queues) -> None:
    mark = marking([])
    first, *_ = await enqueue_many(mark.bind(name=str(number)) for number in range(10_050))
    queue = queues.get("default")
    await first.abort()
    assert await first.status() is Status.ABORTED
    assert await queue.redis.llen(queue.namespace("queued")) == 10_050
    assert await queue.count("queued") == 10_049
    assert await taken(queues, 1) == ["1"]
    next_one = await queue.dequeue(timeout=1)
    assert next_one is not None
    assert next_one.kwargs == {"name": "2"}


async def test_a_job_that_cannot_be_encoded_fails_alone(queues: Queues) -> None:
    mark = marking([])
    queue = queues.get("default")

    async def broken() -> None:
        await queue.enqueue("mark", name="broken", scheduled=float("nan"))

    answers = await asyncio.gather(
        mark.enqueue(name="good"), broken(), mark.enqueue(name="good too"), return_exceptions=True
    )
    assert [isinstance(answer, ValueError) for answer in answers] == [False, True, False]
    assert await queue.count("queued") == 2


async def test_odd_characters_in_names_and_keys_do_no_harm(queues: Queues, jobs: JobKit) -> None:
    odd = "a|b,c\n{d} ä 'e'"

    @task(name=odd, unique=Unique(by=("x",)))
    async def odd_task(ctx: Context, *, x: str) -> str:
        return x

    first = await odd_task.options(key=odd).enqueue(x=odd)
    assert (await odd_task.enqueue(x=odd)).key == odd
    await jobs.drain()
    assert await first.result(timeout=60) == odd


async def test_a_worker_goes_on_after_an_unexpected_error(
    settings: Settings, queues: Queues, container: AsyncContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = marking([])
    queue = queues.get("default")
    run = queue.scripts.run
    failed = asyncio.Event()

    async def fails_once(name: str, *args: Any, **options: Any) -> Any:
        if name == "lease" and not failed.is_set():
            failed.set()
            raise RuntimeError("unexpected")
        return await run(name, *args, **options)

    monkeypatch.setattr(queue.scripts, "run", fails_once)
    handle = await mark.enqueue(name="x")
    async with working(settings, queues, container):
        await handle.result(timeout=60)
    assert failed.is_set()


async def test_an_abort_concerns_one_queue(environment: dict[str, str]) -> None:
    settings = load_settings(environment | {"QUEUE_NAMES": "default,other"})
    with get_registry().isolated():
        mark = marking([])
        queues = build_queues(settings)
        await queues.connect()
        for queue in queues:
            await queue.redis.flushall()
        here, there = mark.options(key="same"), mark.options(key="same", queue="other")
        await here.enqueue(name="x")
        # As a stock worker has it.
        taken = await queues.get("default").dequeue(timeout=1)
        assert taken is not None
        await taken.abort("not wanted")
        waiting = asyncio.create_task(here.enqueue(name="x"))
        assert (await there.enqueue(name="x")).created
        assert not waiting.done()
        await queues.get("default").finish_abort(taken)
        assert (await waiting).created
        await queues.disconnect()


@pytest.mark.parametrize("skew", [-30.0, 30.0])
async def test_a_wrong_clock_neither_doubles_nor_misses_a_tick(
    queues: Queues, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + skew)
    ticks: list[int] = []

    async def tick(ctx: Context) -> None:
        ticks.append(ctx["job"].scheduled)

    queue = EngineQueue(queues.get("default").redis, "default")
    tick.__qualname__ = "tick"
    worker = EngineWorker(queue, [], cron_jobs=[CronJob(tick, cron="0 * * * *")], timers={"schedule": 0.1})
    hours = [(int(true_time()) // 3600 + number) * 3600 for number in range(1, 6)]
    running = asyncio.create_task(worker.start())
    with ExitStack() as journey:
        for number, hour in enumerate(hours, 1):
            await eventually(lambda hour=hour: _next_tick_is(queue, hour))  # type: ignore[misc]
            # A second after it by the clock of Redis.
            journey.enter_context(shifted(hour + 1 - true_time() - offset()))
            await eventually(lambda number=number: len(ticks) == number)  # type: ignore[misc]
        await eventually(lambda: _next_tick_is(queue, hours[-1] + 3600))
    worker.request_stop()
    await running
    assert ticks == hours


async def _next_tick_is(queue: EngineQueue, moment: int) -> bool:
    return moment in [job.scheduled async for job in queue.iter_jobs()]


async def test_a_cron_without_a_key_of_its_own_enqueues_once_a_tick(queues: Queues) -> None:
    async def tick(ctx: Context) -> None: ...

    queue = EngineQueue(queues.get("default").redis, "default")
    worker = EngineWorker(queue, [], cron_jobs=[CronJob(tick, cron="0 3 * * *", unique=False)])
    for _ in range(3):
        await worker.schedule()
    assert await queue.count("incomplete") == 1


async def test_a_tick_that_has_run_is_not_enqueued_once_more(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tick(ctx: Context) -> None: ...

    queue = EngineQueue(queues.get("default").redis, "default")
    workers = [EngineWorker(queue, [], cron_jobs=[CronJob(tick, cron="0 3 * * *", unique=False)]) for _ in range(2)]
    for worker in workers:
        await worker.schedule()
    assert await queue.count("incomplete") == 1
    [job] = [job async for job in queue.iter_jobs()]
    await job.finish(Status.COMPLETE)
    late = EngineWorker(queue, [], cron_jobs=[CronJob(tick, cron="0 3 * * *", unique=False)])
    await late.schedule()
    assert await queue.count("incomplete") == 0
