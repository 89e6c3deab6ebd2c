"""streaq: its worker with 100 slots; jobs of a batch are enqueued together."""

import asyncio

import uvloop
from common import Countdown, arguments, enqueue_at_once
from streaq import Worker

MEASURE, URL, COUNT, _ = arguments()
ended = Countdown(COUNT)
worker = Worker(redis_url=URL, concurrency=100, handle_signals=False)


@worker.task()
async def noop(n: int) -> int:
    ended()
    return n


async def one():
    await noop.enqueue(1)


async def main():
    async with worker:
        if MEASURE == "enqueue":
            await enqueue_at_once(COUNT, one)
            return
        for first in range(0, COUNT, 500):
            await worker.enqueue_many([noop.enqueue(n) for n in range(first, min(COUNT, first + 500))])
    await worker.run_async()


asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
asyncio.run(main())
