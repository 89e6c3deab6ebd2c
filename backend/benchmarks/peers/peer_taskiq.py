"""taskiq on Redis streams: its receiver with 100 async tasks, no result backend."""

import asyncio

import uvloop
from common import Countdown, arguments, enqueue_at_once
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

MEASURE, URL, COUNT, _ = arguments()
ended = Countdown(COUNT)
broker = RedisStreamBroker(URL)


@broker.task
async def noop(n: int) -> int:
    ended()
    return n


async def main():
    await broker.startup()
    if MEASURE == "enqueue":
        await enqueue_at_once(COUNT, lambda: noop.kiq(1))
        return
    for first in range(0, COUNT, 500):
        await asyncio.gather(*(noop.kiq(n) for n in range(first, min(COUNT, first + 500))))
    await run_receiver_task(broker, max_async_tasks=100, max_prefetch=100)


uvloop.run(main())
