"""A job enqueued while the one of its key is being aborted is enqueued when that has ended: it is never dropped."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from dishka import AsyncContainer
from saq.job import Status
from saq.worker import Worker
from sqlalchemy.ext.asyncio import AsyncSession

from app.settings import Settings
from saqueduct import Context, JobHandle, Queues, Task, Unique, enqueue_many, get_registry, scheduled_task, task
from saqueduct.errors import JobConflict
from saqueduct.postgres.outbox import Outbox
from saqueduct.queue.aborting import Patience
from saqueduct.tasks.job import Enqueued
from tests.fixtures.poll import eventually
from tests.fixtures.schedules import RARELY
from tests.queue.kit import working

ONE = Unique(by=("who",), states=("queued", "active"))

runs: list[str] = []
held: list[asyncio.Event] = []
"""The old job ends when all are set."""

with get_registry().isolated():

    @task(timeout=60)
    async def work(ctx: Context, *, name: str, who: str = "x") -> str:
        """Run for ever if it is the old one, and take a while to end."""
        runs.append(name)
        if name == "old":
            try:
                await asyncio.Event().wait()
            finally:
                for each in held:
                    await each.wait()
                runs.append("old has ended")
        return name


@pytest.fixture(autouse=True)
def own_task(own_tasks: None) -> None:
    runs.clear()
    held.clear()
    get_registry().add(work)


Enqueue = Callable[[Task[..., str], AsyncSession], Awaitable[JobHandle[str]]]


async def typed(task: Task[..., str], session: AsyncSession) -> JobHandle[str]:
    return await task.enqueue(name="new")


async def among_many(task: Task[..., str], session: AsyncSession) -> JobHandle[str]:
    *_, handle = await enqueue_many([work.bind(name="other"), work.bind(name="other"), task.bind(name="new")])
    return handle


async def in_a_transaction(task: Task[..., str], session: AsyncSession) -> JobHandle[str]:
    handle = await task.within(session).enqueue(name="new")
    await session.commit()
    return handle


@asynccontextmanager
async def old_job(
    settings: Settings, queues: Queues, container: AsyncContainer, task: Task[..., str]
) -> AsyncIterator[None]:
    """For a block, a worker; the old job runs there, and is to be aborted."""
    async with working(settings, queues, container):
        old = await task.enqueue(name="old")
        await eventually(lambda: runs == ["old"])
        await old.abort("not wanted")
        yield


@pytest.mark.parametrize("enqueue", [typed, among_many, in_a_transaction], ids=lambda each: each.__name__)
@pytest.mark.parametrize(
    "options",
    [
        {"key": "k"},
        {"key": "k", "durable": True},
        {"unique": ONE},
        {"unique": dataclasses.replace(ONE, on_conflict="raise")},
    ],
    ids=["key", "durable", "unique", "unique or error"],
)
async def test_it_runs_when_the_old_one_has_ended(
    settings: Settings,
    queues: Queues,
    container: AsyncContainer,
    session: AsyncSession,
    enqueue: Enqueue,
    options: dict[str, Any],
) -> None:
    task = work.options(**options)
    async with old_job(settings, queues, container, task):
        new = await enqueue(task, session)
        assert new.created
        assert await new.result(timeout=60) == "new"
    assert [run for run in runs if run != "other"] == ["old", "old has ended", "new"]


@pytest.mark.parametrize("enqueue", [typed, among_many, in_a_transaction], ids=lambda each: each.__name__)
async def test_a_durable_one_is_enqueued_when_the_old_one_ends_in_the_moment_of_its_writing(
    settings: Settings,
    queues: Queues,
    container: AsyncContainer,
    session: AsyncSession,
    monkeypatch: pytest.MonkeyPatch,
    enqueue: Enqueue,
) -> None:
    go_on, write = asyncio.Event(), Outbox.write
    held.append(go_on)

    async def write_and_let_it_end(self: Outbox, *given: Any) -> list[Enqueued]:
        answers = await write(self, *given)
        if not answers[-1].created:
            go_on.set()
            await eventually(ended)
        return answers

    async def ended() -> bool:
        return (await queues.find("k")).status is Status.ABORTED

    task = work.options(key="k", durable=True)
    async with old_job(settings, queues, container, task):
        monkeypatch.setattr(Outbox, "write", write_and_let_it_end)
        new = await enqueue(task, session)
        assert (new.created, go_on.is_set()) == (True, True)
        assert await new.result(timeout=60) == "new"
    assert [run for run in runs if run != "other"] == ["old", "old has ended", "new"]


async def test_of_two_that_wait_for_the_end_one_is_enqueued(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    task, queue = work.options(key="k"), queues.get("default")
    async with old_job(settings, queues, container, task):
        # Or the new one has ended before the second looks.
        await queue.pause()
        first, second = await asyncio.gather(*(task.enqueue(name="new") for _ in range(2)))
        assert sorted([first.created, second.created]) == [False, True]
        await queue.resume()
        assert [await first.result(timeout=60), await second.result(timeout=60)] == ["new", "new"]
    assert runs == ["old", "old has ended", "new"]


async def test_saqs_api_waits_too(settings: Settings, queues: Queues, container: AsyncContainer) -> None:
    async with old_job(settings, queues, container, work.options(key="k")):
        job = await queues.get("default").enqueue("work", name="new", key="k")
        assert job is not None
        await eventually(lambda: runs[-1] == "new")


async def test_it_waits_for_a_job_that_a_stock_worker_ends(
    queues: Queues, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queues.get("default")
    waits, ended, wait = asyncio.Event(), asyncio.Event(), Patience.wait

    async def wait_for_the_end(self: Patience, key: str) -> None:
        waits.set()
        await ended.wait()
        await wait(self, key)

    monkeypatch.setattr(Patience, "wait", wait_for_the_end)
    stock: Worker[Any] = Worker(queue, [("work", work.runner)], concurrency=1, dequeue_timeout=0.2)
    old = await work.options(key="k").enqueue(name="old")
    process = asyncio.create_task(stock.process())
    await eventually(lambda: runs == ["old"])
    await old.abort("not wanted")
    waiting = asyncio.create_task(work.options(key="k").enqueue(name="new"))
    await waits.wait()
    # It ends the job twice, and would overwrite one that comes in between.
    await stock.abort(0)
    await process
    ended.set()
    new = await waiting
    assert new.created
    assert await new.status() is Status.QUEUED


async def test_a_triggered_job_waits_too(settings: Settings, queues: Queues, container: AsyncContainer) -> None:
    seen: list[str] = []

    @scheduled_task(every=RARELY, unique=Unique(), overlap="queue", timeout=60)
    async def tidy(ctx: Context) -> None:
        seen.append(ctx["job"].key)
        if len(seen) == 1:
            await asyncio.Event().wait()

    async with working(settings, queues, container):
        old = await queues.trigger_schedule("tidy")
        await eventually(lambda: seen)
        await queues.abort(old.key)
        new = await queues.trigger_schedule("tidy")
        assert (new.created, new.key != old.key) == (True, True)
        await eventually(lambda: len(seen) == 2)


@pytest.mark.timings(abort_wait=0.2)
async def test_one_that_does_not_end_is_an_error(queues: Queues, session: AsyncSession) -> None:
    queue = queues.get("default")
    for key, durable in (("k", False), ("d", True)):
        old = await work.options(key=key, durable=durable).enqueue(name="old")
        await queue.scripts.run("lease", 1, "killed", 60)
        await old.abort("not wanted")
        with pytest.raises(JobConflict, match="is aborting and cannot be enqueued again"):
            await work.options(key=key, durable=durable).enqueue(name="new")
    with pytest.raises(JobConflict):
        await enqueue_many([work.options(key="k").bind(name="new"), work.bind(name="other")])


async def test_a_job_that_is_being_aborted_does_not_wait_for_its_own_end(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    refused: list[str] = []

    @task(timeout=60)
    async def again(ctx: Context) -> None:
        runs.append("again")
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await again.options(key="self").enqueue()
            except JobConflict as error:
                refused.append(error.status)

    handle = await again.options(key="self").enqueue()
    async with working(settings, queues, container):
        await eventually(lambda: runs)
        await handle.abort("not wanted")
        await eventually(handle.done)
    assert refused == ["aborting"]


async def test_a_job_that_waited_is_aborted_at_once_and_its_key_is_free(queues: Queues) -> None:
    old = await work.options(key="k").enqueue(name="old")
    await old.abort("not wanted")
    new = await work.options(key="k").enqueue(name="new")
    assert new.created
    assert await new.status() is Status.QUEUED
