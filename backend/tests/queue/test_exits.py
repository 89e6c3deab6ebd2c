"""SystemExit, KeyboardInterrupt and their like, raised by a task: its job fails, and nothing else notices."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
import uvloop
from dishka import AsyncContainer, Provider, Scope, make_async_container
from saq.job import Status

from app.settings import Settings
from saqueduct import Context, EngineQueue, Queues, task
from saqueduct.broker.connections import Connections
from saqueduct.injection.dishka import DishkaInjector
from saqueduct.queue.core import MAX_RECOVERIES
from saqueduct.tasks.threads import in_thread
from saqueduct.worker.process import run
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.poll import eventually
from tests.queue.kit import status, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")

loops = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


async def _exits(_: Context) -> None:
    sys.exit("out of luck")


async def _interrupts(_: Context) -> None:
    raise KeyboardInterrupt


async def _closes(_: Context) -> None:
    raise GeneratorExit


def _exits_in_a_thread(_: Context) -> None:
    sys.exit(3)


def _interrupts_in_a_thread(_: Context) -> None:
    raise KeyboardInterrupt


def _stops_in_a_thread(_: Context) -> None:
    next(iter(()))


def _closes_in_a_thread(_: Context) -> None:
    raise GeneratorExit


async def _closes_in_a_task(ctx: Context) -> None:
    await asyncio.create_task(_closes(ctx))


def _cancels_in_a_thread(_: Context) -> None:
    raise asyncio.CancelledError


async def _exits_in_a_group(ctx: Context) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_exits(ctx))
        group.create_task(asyncio.Event().wait())


async def _exits_in_a_gather(ctx: Context) -> None:
    await asyncio.gather(asyncio.sleep(0), _exits(ctx))


async def _exits_in_a_task(ctx: Context) -> None:
    await asyncio.create_task(_interrupts(ctx))


async def _exits_in_a_generator(_: Context) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        sys.exit(1)

    async for _number in numbers():
        pass


async def _exits_in_its_cleanup(_: Context) -> None:
    try:
        raise ValueError("first")
    finally:
        sys.exit(1)


async def _exits_in_a_dependency(_: Context) -> None:
    async def dependency() -> AsyncIterator[int]:
        yield 1
        sys.exit(1)

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(dependency)
    async with DishkaInjector(make_async_container(provider)).scope({"number": int}) as found:
        assert found == {"number": 1}


FAULTS: dict[Callable[[Context], Any], str] = {
    _exits: "SystemExit: out of luck",
    _interrupts: "KeyboardInterrupt",
    _closes: "GeneratorExit",
    _exits_in_a_thread: "SystemExit: 3",
    _interrupts_in_a_thread: "KeyboardInterrupt",
    _stops_in_a_thread: "the function raised StopIteration",
    _closes_in_a_thread: "the function raised GeneratorExit",
    _closes_in_a_task: "GeneratorExit",
    _cancels_in_a_thread: "CancelledError",
    _exits_in_a_group: "SystemExit: out of luck",
    _exits_in_a_gather: "SystemExit: out of luck",
    _exits_in_a_task: "KeyboardInterrupt",
    _exits_in_a_generator: "SystemExit: 1",
    _exits_in_its_cleanup: "SystemExit: 1",
    _exits_in_a_dependency: "SystemExit: 1",
}


async def _run_beside_others(url: str, fault: Callable[[Context], Any]) -> tuple[Any, Any, int]:
    """The job that does it (two attempts), one that ran beside it the whole time, and how often that one began."""
    began: list[int] = []
    go = asyncio.Event()

    async def innocent(ctx: Context) -> str:
        began.append(ctx["job"].attempts)
        await go.wait()
        return "done"

    queue = EngineQueue(Connections(url).client("default"))
    worker = EngineWorker(queue, [fault, innocent], concurrency=4)
    running = asyncio.create_task(worker.start())
    try:
        await queue.enqueue(innocent.__qualname__, key="innocent", timeout=60)
        await eventually(lambda: began)
        await queue.enqueue(fault.__qualname__, key="bad", retries=2, retry_delay=0.0, timeout=60)
        await eventually(lambda: _has_ended(queue, "bad"))
        go.set()
        await eventually(lambda: _has_ended(queue, "innocent"))
        bad, innocent_job = await queue.jobs(["bad", "innocent"])
        return bad, innocent_job, len(began)
    finally:
        worker.request_stop()
        await running
        await queue.disconnect()


async def _has_ended(queue: EngineQueue, key: str) -> bool:
    job = await queue.job(key)
    return job is not None and job.status in (Status.COMPLETE, Status.FAILED, Status.ABORTED)


@loops
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_the_job_fails_with_it_and_no_other_notices(
    redis_url: str, empty_redis: None, fault: Callable[[Context], Any], new_loop: Callable[[], Any]
) -> None:
    bad, innocent, began = run(_run_beside_others(redis_url, fault), new_loop)
    assert (bad.status, bad.attempts) == (Status.FAILED, 2)
    assert FAULTS[fault] in bad.error
    assert (innocent.status, innocent.result, innocent.attempts, began) == (Status.COMPLETE, "done", 1, 1)


async def _exits_in_a_callback(_: Context) -> str:
    loop = asyncio.get_running_loop()
    loop.call_soon(sys.exit, 4)
    loop.call_later(0.01, sys.exit, 5)
    await asyncio.sleep(0.05)
    return "went on"


async def _stops_the_loop(_: Context) -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.05)
    return "went on"


async def _leaves_a_task_behind(ctx: Context) -> str:
    left = asyncio.create_task(_exits(ctx))
    await asyncio.wait([left])
    # Or the interpreter says that nobody has asked for it.
    assert isinstance(left.exception(), SystemExit)
    return "went on"


@loops
@pytest.mark.parametrize("fault", [_exits_in_a_callback, _stops_the_loop, _leaves_a_task_behind])
def test_what_a_job_does_not_await_harms_nobody(
    redis_url: str, empty_redis: None, fault: Callable[[Context], Any], new_loop: Callable[[], Any]
) -> None:
    job, innocent, began = run(_run_beside_others(redis_url, fault), new_loop)
    assert (job.status, job.result) == (Status.COMPLETE, "went on")
    assert (innocent.status, began) == (Status.COMPLETE, 1)


@pytest.mark.parametrize(("fault", "said"), [(_exits, "called sys.exit"), (_interrupts, "raised KeyboardInterrupt")])
def test_the_error_says_what_the_task_did(redis_url: str, empty_redis: None, fault: Any, said: str) -> None:
    bad, _, _ = run(_run_beside_others(redis_url, fault), uvloop.new_event_loop)
    assert said in bad.error
    assert "ends no worker" in bad.error


@loops
def test_an_exit_of_the_program_itself_ends_it(new_loop: Callable[[], Any]) -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        sys.exit(7)

    with pytest.raises(SystemExit) as ended:
        run(main(), new_loop)
    assert ended.value.code == 7


# Event loops that end


def test_the_jobs_of_a_dying_event_loop_go_back(redis_url: str, empty_redis: None) -> None:
    queue = EngineQueue(Connections(redis_url).client("default"))
    began = asyncio.Event()

    async def runs(ctx: Context) -> None:
        began.set()
        await asyncio.Event().wait()

    async def serve() -> None:
        await EngineWorker(queue, [runs]).start()
        await queue.disconnect()

    async def main() -> None:
        await queue.enqueue(runs.__qualname__, key="x")
        left = asyncio.create_task(serve())
        await began.wait()
        assert not left.done()

    run(main(), asyncio.new_event_loop)

    async def look() -> None:
        other = EngineQueue(Connections(redis_url).client("default"))
        job = await other.job("x")
        assert job is not None
        assert (job.status, job.attempts, await other.count("queued")) == (Status.QUEUED, 0, 1)
        await other.disconnect()

    asyncio.run(look())


async def test_a_job_that_cancels_itself_has_failed(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @task(retries=1)
    async def cancels_itself(ctx: Context) -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(0)

    handle = await cancels_itself.enqueue()
    async with working(settings, queues, container):
        failed = await status(queues, await handle.refresh(), Status.FAILED)
    assert "CancelledError" in (failed.error or "")


async def test_a_job_that_cancels_all_tasks_costs_no_other_an_attempt(redis_url: str, empty_redis: None) -> None:
    queue = EngineQueue(Connections(redis_url).client("default"))
    began = asyncio.Event()

    async def innocent(ctx: Context) -> None:
        began.set()
        await asyncio.Event().wait()

    async def cancels_all(ctx: Context) -> None:
        for each in asyncio.all_tasks() - {mine}:
            each.cancel()

    mine = asyncio.current_task()
    worker = EngineWorker(queue, [innocent, cancels_all])
    running = asyncio.create_task(worker.start())
    await queue.enqueue(innocent.__qualname__, key="innocent")
    await began.wait()
    await queue.enqueue(cancels_all.__qualname__, key="bad")
    await asyncio.wait([running], timeout=20)
    job = await queue.job("innocent")
    assert job is not None
    assert (job.status, job.attempts) == (Status.QUEUED, 0)
    await queue.disconnect()


async def test_a_job_that_cancels_all_tasks_again_and_again_fails_in_the_end(redis_url: str, empty_redis: None) -> None:
    queue = EngineQueue(Connections(redis_url).client("default"))

    async def cancels_all(ctx: Context) -> None:
        for each in asyncio.all_tasks() - {mine}:
            each.cancel()
        await asyncio.Event().wait()

    mine = asyncio.current_task()
    await queue.enqueue(cancels_all.__qualname__, key="bad")
    for _ in range(MAX_RECOVERIES + 1):
        await EngineWorker(queue, [cancels_all]).start()
    job = await queue.job("bad")
    assert job is not None
    assert (job.status, job.attempts) == (Status.FAILED, 1)
    assert "the event loop of its worker ended 4 times" in (job.error or "")
    await queue.disconnect()


# Threads


NO_CONTEXT = cast("Context", {})


async def test_a_plain_function_that_returns_an_awaitable_is_awaited() -> None:
    async def probe() -> str:
        return "awaited"

    assert await in_thread(lambda ctx: probe(), NO_CONTEXT) == "awaited"


async def test_stop_iteration_is_the_cause_of_what_leaves_the_thread() -> None:
    with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
        await in_thread(lambda ctx: next(iter(())), NO_CONTEXT)
    assert isinstance(caught.value.__cause__, StopIteration)
