"""The end of a process whose event loop cannot end it."""

import asyncio
import dataclasses
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from logging.handlers import QueueHandler, QueueListener
from queue import Queue
from typing import Any

import pytest
import uvloop
from redis import Redis

from saqueduct import Context, EngineQueue
from saqueduct.broker.connections import Connections
from saqueduct.timings import Timings
from saqueduct.worker import process
from saqueduct.worker.hooks import bind_log_context
from saqueduct.worker.process import EXIT_USELESS, ProcessLifetime, run
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.poll import eventually


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """The signal handlers of the tests, back in place at the end."""
    before = {number: signal.getsignal(number) for number in process.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@asynccontextmanager
async def queue_on(url: str, timings: Timings | None = None) -> AsyncIterator[EngineQueue]:
    """A queue that is disconnected in any case: where warnings are errors, uvloop's `close` waits forever for a
    connection that is still open."""
    queue = EngineQueue(Connections(url).client("default"), timings=timings)
    try:
        yield queue
    finally:
        await queue.disconnect()


@asynccontextmanager
async def running(process: ProcessLifetime, worker: EngineWorker) -> AsyncIterator[None]:
    """The process runs a worker, until the end of the block."""
    task = asyncio.create_task(process.run([worker]))
    try:
        yield
    finally:
        worker.request_stop()
        await task


@pytest.mark.parametrize("what", ["a callback", "a job that was given up"])
def test_a_process_whose_event_loop_is_blocked_for_good_gives_back_and_ends(
    redis_url: str, empty_redis: None, what: str
) -> None:
    usual = Timings(process_look=0.05, renewal=0.1, timeout_grace=0.0, loop_first=0.0)
    ended: list[int] = []
    at_its_end: list[Any] = []
    processes: list[ProcessLifetime] = []
    release, began = threading.Event(), asyncio.Event()

    def end(status: int) -> None:
        with Redis.from_url(redis_url) as client:
            at_its_end.append(client.hget("saq:default:owners", "saq:job:default:innocent"))
        ended.append(status)
        release.set()

    def block() -> None:
        # Not before: on a busy machine something else may keep the event loop for so long.
        processes[0]._timings = dataclasses.replace(usual, hopeless=0.5)
        release.wait(60)

    async def innocent(ctx: Context) -> None:
        began.set()
        await asyncio.Event().wait()

    async def blocks(ctx: Context) -> None:
        block()

    async def main() -> None:
        processes.append(ProcessLifetime(0.0, 4, end, usual))
        async with (
            queue_on(redis_url, usual) as queue,
            running(processes[0], EngineWorker(queue, [innocent, blocks])),
        ):
            await queue.enqueue(innocent.__qualname__, key="innocent", timeout=60)
            await began.wait()
            if what == "a callback":
                asyncio.get_running_loop().call_soon(block)
            else:
                # Its time is over soon after it has begun to block the event loop.
                await queue.enqueue(blocks.__qualname__, key="bad", timeout=2)
            await eventually(lambda: ended)

    run(main(), uvloop.new_event_loop)
    assert ended == [EXIT_USELESS]
    assert at_its_end[0].endswith(b"|stalled")


@pytest.mark.parametrize("how", ["signal", "event loop"])
def test_a_job_cannot_take_the_signals_of_its_process(how: str) -> None:
    async def main() -> None:
        ProcessLifetime(0.0, 4, lambda _: None, Timings(process_look=0.05))
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
        ProcessLifetime(0.0, 4, ended.append, Timings(process_look=0.05, process_end=0.1))
        signal.raise_signal(signal.SIGTERM)
        # Something of its clean-up waits for a server that hangs.
        await eventually(lambda: ended)

    run(main(), uvloop.new_event_loop)
    assert ended == [EXIT_USELESS]


def test_a_process_ends_whose_queues_of_logging_have_been_written_before() -> None:
    ended: list[int] = []
    handler = QueueHandler(Queue())
    listener = QueueListener(handler.queue)
    handler.listener = listener  # type: ignore[attr-defined]

    async def use() -> None:
        ProcessLifetime(grace_period=1, threads=1, end=ended.append).exit()

    listener.start()
    listener.stop()
    logging.getLogger("stopped").addHandler(handler)
    try:
        asyncio.run(use())
    finally:
        logging.getLogger("stopped").removeHandler(handler)
    assert ended == [0]


def test_a_process_blocked_by_a_job_within_its_time_goes_on(redis_url: str, empty_redis: None) -> None:
    usual, brief = Timings(process_look=0.05), Timings(process_look=0.05, hopeless=0.2)
    ended: list[int] = []
    processes: list[ProcessLifetime] = []

    async def blocks(ctx: Context) -> str:
        [this] = processes
        # Not before or after: on a busy machine something that is no job may keep the event loop for so long.
        this._timings = brief
        threading.Event().wait(1.0)
        this._timings = usual
        return "done"

    async def main() -> None:
        processes.append(ProcessLifetime(0.0, 4, ended.append, usual))
        async with queue_on(redis_url) as queue, running(processes[0], EngineWorker(queue, [blocks])):
            await queue.enqueue(blocks.__qualname__, key="x", timeout=60, ttl=60)

            async def done() -> bool:
                job = await queue.job("x")
                return job is not None and job.result == "done"

            await eventually(done)

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
        process = ProcessLifetime(0.0, 4, lambda _: None, Timings(process_look=0.05))
        async with queue_on(redis_url) as queue:
            worker = EngineWorker(queue, [ends_threads, innocent], before_process=bind_log_context)
            async with running(process, worker):
                jobs = [
                    await queue.enqueue(each.__qualname__, key=each.__name__, timeout=60, ttl=60)
                    for each in (ends_threads, innocent)
                ]
                for job in filter(None, jobs):
                    await job.refresh(until_complete=60)
        return [(job.error or "", job.result) for job in filter(None, jobs)]

    (error, _), (_, result) = run(main(), new_loop)
    assert f"a job must not call the event loop's {how}" in error
    assert result == "done"
