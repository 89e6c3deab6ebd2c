"""Typed calls and handles, with real workers."""

import asyncio
import datetime as dt
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dishka import AsyncContainer
from redis.asyncio import Redis
from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncSession

from app.settings import Settings
from saqueduct import (
    INJECTED,
    ConfigurationError,
    Context,
    EngineQueue,
    InvalidArguments,
    JobAborted,
    JobExpired,
    JobFailed,
    JobHandle,
    JobNotFound,
    PayloadTooLarge,
    Queues,
    ResultTimeout,
    enqueue_many,
    task,
)
from saqueduct.timings import Timings
from tests.fixtures.clients import patient
from tests.fixtures.poll import eventually
from tests.queue.kit import silent_redis, working


class Order(msgspec.Struct):
    ident: uuid.UUID
    due: dt.datetime


pytestmark = pytest.mark.usefixtures("only_own_tasks")


async def test_a_result_arrives_as_the_declared_type(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @task
    async def postpone(ctx: Context, *, order: Order, by: dt.timedelta) -> Order:
        return Order(order.ident, order.due + by)

    order = Order(uuid.uuid4(), dt.datetime(2026, 5, 1, 8, tzinfo=dt.UTC))
    async with working(settings, queues, container):
        job = await postpone.enqueue(order=order, by=dt.timedelta(days=2))
        assert await job.result(timeout=60) == Order(order.ident, dt.datetime(2026, 5, 3, 8, tzinfo=dt.UTC))
        assert await job.successful()
        assert await job.done()
        assert await job.status() is Status.COMPLETE


async def test_injected_parameters_are_left_out_of_the_call(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @task
    async def session_is_given(ctx: Context, *, n: int, db_session: AsyncSession = INJECTED) -> bool:
        return isinstance(db_session, AsyncSession)

    async with working(settings, queues, container):
        assert await session_is_given.apply(n=1) is True


async def test_arguments_may_go_by_position(settings: Settings, queues: Queues, container: AsyncContainer) -> None:
    @task
    def add(ctx: Context, a: int, b: int = 10) -> int:
        return a + b

    async with working(settings, queues, container):
        assert await add.apply(1) == 11
        assert await add.apply(1, b=2) == 3
    with pytest.raises(InvalidArguments, match="3 were given by position, only a, b can be"):
        await add.enqueue(1, 2, 3)  # type: ignore[call-arg]
    with pytest.raises(InvalidArguments, match="a: given twice"):
        await add.enqueue(1, a=2)  # type: ignore[misc]


async def test_a_wrong_call_enqueues_nothing(queues: Queues) -> None:
    @task
    async def greet(ctx: Context, *, name: str) -> None: ...

    with pytest.raises(InvalidArguments, match="nmae: unknown argument"):
        await greet.enqueue(nmae="x")  # type: ignore[call-arg]
    with pytest.raises(InvalidArguments, match="name: Expected `str`"):
        await greet.enqueue(name=1)  # type: ignore[arg-type]
    with pytest.raises(PayloadTooLarge):
        await greet.enqueue(name="x" * 300_000)
    assert await queues.get("default").count("incomplete") == 0


async def test_a_failed_jobs_result_raises_with_the_workers_traceback(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @task
    async def fails(ctx: Context) -> None:
        raise LookupError("nothing there")

    async with working(settings, queues, container):
        job = await fails.enqueue()
        with pytest.raises(JobFailed, match="LookupError: nothing there") as caught:
            await job.result(timeout=60)
    assert "in fails" in caught.value.traceback
    assert not await job.successful()


async def test_an_aborted_job_says_why(queues: Queues) -> None:
    @task
    async def never(ctx: Context) -> None: ...

    job = await never.enqueue()
    await job.abort("not needed any more")
    with pytest.raises(JobAborted, match="not needed any more"):
        await job.result(timeout=60)


async def test_a_result_in_time_out_lets_the_job_go_on(queues: Queues) -> None:
    @task
    async def waits(ctx: Context) -> None: ...

    job = await waits.enqueue()
    with pytest.raises(ResultTimeout, match=r"within 0\.1 s"):
        await job.result(timeout=0.1)
    with pytest.raises(TimeoutError):
        await job.result(timeout=0.1)
    assert await job.status() is Status.QUEUED


async def test_an_expired_job_never_runs(settings: Settings, queues: Queues, container: AsyncContainer) -> None:
    ran: list[str] = []

    @task
    async def note(ctx: Context, *, name: str) -> None:
        ran.append(name)

    late = await note.options(expires=0).enqueue(name="late")
    soon = await note.options(expires=60).enqueue(name="soon")
    async with working(settings, queues, container):
        await soon.result(timeout=60)
        with pytest.raises(JobExpired):
            await late.result(timeout=60)
    assert ran == ["soon"]


async def test_a_job_whose_outcome_is_not_kept_is_not_found(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @task
    async def forget(ctx: Context) -> int:
        return 1

    async with working(settings, queues, container):
        job = await forget.options(keep_result=False).enqueue()
        with pytest.raises(JobNotFound):
            await job.result(timeout=60)


async def test_updates_tell_each_step(settings: Settings, queues: Queues, container: AsyncContainer) -> None:
    @task
    async def walk(ctx: Context) -> None:
        for step in (0.25, 0.5):
            await ctx["job"].update(progress=step)

    job = await walk.enqueue()
    seen: list[tuple[str, float]] = []

    async def follow() -> None:
        async for update in job.updates():
            seen.append((update.status.value, update.progress))  # noqa: PERF401  (read while it grows)

    following = asyncio.create_task(follow())
    await eventually(lambda: seen)
    async with working(settings, queues, container):
        await following
    assert seen[0] == ("queued", 0.0)
    assert seen[-1] == ("complete", 1.0)
    assert [progress for _, progress in seen] == sorted(progress for _, progress in seen)
    assert job.progress == 1.0


async def test_options_make_the_same_task_with_other_jobs(queues: Queues) -> None:
    @task(retries=2, timeout=30)
    async def job(ctx: Context) -> None: ...

    changed = job.options(retries=5, retry_backoff=True, ttl=60, key="one", meta={"tag": "x"})
    handle = await changed.enqueue()
    stored = await handle.refresh()
    assert (stored.retries, stored.timeout, stored.ttl, stored.retry_backoff) == (5, 30, 60, True)
    assert (handle.key, stored.meta) == ("one", {"tag": "x"})
    assert job.job({}).retries == 2


async def test_a_delayed_job_waits_until_its_time(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @task
    async def when(ctx: Context) -> float:
        return ctx["job"].started / 1000

    # When a job starts is known in whole milliseconds.
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    async with working(settings, queues, container):
        by_delay = await when.options(delay=1).enqueue()
        by_eta = await when.options(eta=before + dt.timedelta(seconds=1.5)).enqueue()
        assert await by_delay.result(timeout=60) >= before.timestamp() + 1
        assert await by_eta.result(timeout=60) >= before.timestamp() + 1.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eta": dt.datetime(2030, 1, 1)}, "aware"),  # noqa: DTZ001
        ({"eta": dt.datetime(2030, 1, 1, tzinfo=dt.UTC), "delay": 1}, "not both"),
        ({"delay": -1}, "delay must be at least 0"),
        ({"expires": -1}, "expires must be at least 0"),
        ({"retries": 0}, "retries must be at least 1"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    @task
    async def job(ctx: Context) -> None: ...

    with pytest.raises(ValueError, match=words):
        job.options(**options)


async def test_a_standing_key_answers_with_the_standing_job(queues: Queues) -> None:
    @task
    async def job(ctx: Context, *, n: int) -> None: ...

    unique = job.options(key="only")
    first = await unique.enqueue(n=1)
    second = await unique.enqueue(n=2)
    assert second.key == first.key
    assert (await second.refresh()).kwargs == {"n": 1}
    assert await queues.get("default").count("queued") == 1


async def test_many_calls_of_several_tasks_go_together(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @task
    async def double(ctx: Context, *, n: int) -> int:
        return 2 * n

    @task
    async def name_of(ctx: Context, *, n: int) -> int:
        return n + 1000

    sent: list[tuple[int, int]] = []
    calls = [(double if n % 2 else name_of).bind(n=n) for n in range(1200)]
    handles = await enqueue_many(calls, progress=lambda done, of: sent.append((done, of)))
    assert sent == [(500, 1200), (1000, 1200), (1200, 1200)]
    assert len({handle.key for handle in handles}) == 1200
    waiting = asyncio.gather(*(handle.result(timeout=60) for handle in handles))
    await eventually(lambda: _subscribed(queues, 1200))
    # One for the inbox, one for the jobs' own channels.
    assert await _pubsub_connections(queues) == 2
    async with working(settings, queues, container):
        results = await waiting
    assert results == [2 * n if n % 2 else n + 1000 for n in range(1200)]


async def _subscribed(queues: Queues, count: int) -> bool:
    return len(await queues.get("default").redis.pubsub_channels()) >= count


async def _pubsub_connections(queues: Queues) -> int:
    clients = await queues.get("default").redis.client_list(_type="pubsub")
    return len([client for client in clients if client])


async def test_map_keeps_the_order_and_refuses_all_when_one_is_wrong(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @task
    async def double(ctx: Context, *, n: int) -> int:
        return 2 * n

    with pytest.raises(InvalidArguments):
        await double.map([{"n": 1}, {"n": "two"}])
    assert await queues.get("default").count("incomplete") == 0
    async with working(settings, queues, container):
        ended: list[int] = []
        results = await double.map([{"n": n} for n in range(50)], progress=lambda done, of: ended.append(done))
        assert results == [2 * n for n in range(50)]
        assert ended == list(range(1, 51))


async def test_a_result_is_not_missed_when_the_listening_connection_is_cut(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @task
    async def done(ctx: Context) -> str:
        return "done"

    observer = patient(settings.redis.url.reveal())
    job = await done.enqueue()
    waiting = asyncio.create_task(job.result(timeout=60))
    await eventually(lambda: observer.pubsub_channels(job.id))
    await observer.client_kill_filter(_type="pubsub")
    async with working(settings, queues, container):
        assert await waiting == "done"
    await eventually(lambda: _none_listen(observer, job.id))
    await observer.aclose()


async def _none_listen(observer: "Redis", job_id: str) -> bool:
    return not await observer.pubsub_channels(job_id)


async def test_without_connected_queues_enqueue_says_what_to_do(queues: Queues) -> None:
    @task
    async def job(ctx: Context) -> None: ...

    await queues.disconnect()
    with pytest.raises(ConfigurationError, match="not connected"):
        await job.enqueue()


async def test_waiting_on_a_silent_redis_ends_with_its_timeout(tmp_path: Path) -> None:
    async with silent_redis(tmp_path) as redis:
        queue = EngineQueue(redis, timings=Timings(answer=600.0))
        handle: JobHandle[None] = JobHandle(queue, "any", lambda _: None)
        async with asyncio.timeout(60):
            with pytest.raises(ResultTimeout):
                await handle.result(timeout=0.3)
        await queue.listener.close()
