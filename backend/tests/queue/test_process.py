"""The end of a process whose event loop cannot end it."""

import asyncio
import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvloop
from redis import Redis

from saqueduct import Context, EngineQueue
from saqueduct.broker.connections import Connections
from saqueduct.timings import Timings
from saqueduct.worker import process
from saqueduct.worker.hooks import bind_log_context
from saqueduct.worker.process import EXIT_USELESS, WorkerProcess, run
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.poll import eventually


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """The signal handlers of the tests, back in place at the end."""
    before = {number: signal.getsignal(number) for number in process.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("what", ["a callback", "a job that was given up"])
def test_a_process_whose_event_loop_is_blocked_for_good_gives_back_and_ends(
    redis_url: str, empty_redis: None, what: str
) -> None:
    timings = Timings(process_look=0.05, hopeless=0.5, renewal=0.1)
    if what != "a callback":
        timings = dataclasses.replace(timings, timeout_grace=-9.9)
    ended: list[int] = []
    at_its_end: list[Any] = []
    release, began = threading.Event(), asyncio.Event()

    def end(status: int) -> None:
        with Redis.from_url(redis_url) as client:
            at_its_end.append(client.hget("saq:default:owners", "saq:job:default:innocent"))
        ended.append(status)
        release.set()

    async def innocent(ctx: Context) -> None:
        began.set()
        await asyncio.Event().wait()

    async def blocks(ctx: Context) -> None:
        release.wait(20)

    async def main() -> None:
        queue = EngineQueue(Connections(redis_url).client("default"), timings=timings)
        this = WorkerProcess(0.0, 4, end, timings)
        worker = EngineWorker(queue, [innocent, blocks])
        running = asyncio.create_task(this.run([worker]))
        await queue.enqueue(innocent.__qualname__, key="innocent", timeout=60)
        await began.wait()
        if what == "a callback":
            asyncio.get_running_loop().call_soon(release.wait, 20)
        else:
            await queue.enqueue(blocks.__qualname__, key="bad", timeout=10)
        await eventually(lambda: ended)
        worker.request_stop()
        await running
        await queue.disconnect()

    run(main(), uvloop.new_event_loop)
    assert ended == [EXIT_USELESS]
    assert at_its_end[0].endswith(b"|stalled")


@pytest.mark.parametrize("how", ["signal", "event loop"])
def test_a_job_cannot_take_the_signals_of_its_process(how: str) -> None:
    async def main() -> None:
        WorkerProcess(0.0, 4, lambda _: None, Timings(process_look=0.05))
        loop, mine = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)
        if how == "signal":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            loop.add_signal_handler(signal.SIGTERM, lambda: None)
        assert signal.getsignal(signal.SIGTERM) != mine
        await eventually(lambda: signal.getsignal(signal.SIGTERM) == mine)

    run(main(), uvloop.new_event_loop)


def test_a_process_that_does_not_end_after_its_grace_period_is_ended() -> None:
    ended: list[int] = []

    async def main() -> None:
        WorkerProcess(0.0, 4, ended.append, Timings(process_look=0.05, process_end=0.1))
        signal.raise_signal(signal.SIGTERM)
        # Something of its clean-up waits for a server that hangs.
        await eventually(lambda: ended)

    run(main(), uvloop.new_event_loop)
    assert ended == [EXIT_USELESS]


def test_a_process_blocked_by_a_job_within_its_time_goes_on(redis_url: str, empty_redis: None) -> None:
    usual, brief = Timings(process_look=0.05), Timings(process_look=0.05, hopeless=0.2)
    ended: list[int] = []
    processes: list[WorkerProcess] = []

    async def blocks(ctx: Context) -> str:
        [this] = processes
        # Not before or after: on a busy machine something that is no job may keep the event loop for so long.
        this._timings = brief
        threading.Event().wait(1.0)
        this._timings = usual
        return "done"

    async def main() -> None:
        queue = EngineQueue(Connections(redis_url).client("default"))
        worker = EngineWorker(queue, [blocks])
        processes.append(WorkerProcess(0.0, 4, ended.append, usual))
        running = asyncio.create_task(processes[0].run([worker]))
        await queue.enqueue(blocks.__qualname__, key="x", timeout=60, ttl=60)

        async def done() -> bool:
            job = await queue.job("x")
            return job is not None and job.result == "done"

        await eventually(done)
        worker.request_stop()
        await running
        await queue.disconnect()

    run(main(), uvloop.new_event_loop)
    assert ended == []


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("how", ["shutdown_default_executor", "set_default_executor"])
def test_a_job_cannot_end_or_replace_the_threads_that_all_jobs_share(
    redis_url: str, empty_redis: None, new_loop: Callable[[], asyncio.AbstractEventLoop], how: str
) -> None:
    async def ends_threads(ctx: Context) -> None:
        loop = asyncio.get_running_loop()
        if how == "shutdown_default_executor":
            await loop.shutdown_default_executor()
        else:
            loop.set_default_executor(ThreadPoolExecutor(1))

    async def innocent(ctx: Context) -> str:
        return await asyncio.to_thread(str, "done")

    async def main() -> list[tuple[str, Any]]:
        queue = EngineQueue(Connections(redis_url).client("default"))
        worker = EngineWorker(queue, [ends_threads, innocent], before_process=bind_log_context)
        running = asyncio.create_task(WorkerProcess(0.0, 4, lambda _: None, Timings(process_look=0.05)).run([worker]))
        jobs = [
            await queue.enqueue(each.__qualname__, key=each.__name__, timeout=60, ttl=60)
            for each in (ends_threads, innocent)
        ]
        for job in filter(None, jobs):
            await job.refresh(until_complete=20)
        worker.request_stop()
        await running
        await queue.disconnect()
        return [(job.error or "", job.result) for job in filter(None, jobs)]

    (error, _), (_, result) = run(main(), new_loop)
    assert f"a job must not call the event loop's {how}" in error
    assert result == "done"
