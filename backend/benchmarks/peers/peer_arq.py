"""arq: its worker with 100 jobs at once, polling every 10 ms."""

import asyncio

import uvloop
from arq.connections import RedisSettings, create_pool
from arq.worker import Worker
from common import Countdown, arguments, enqueue_at_once

MEASURE, URL, COUNT, _ = arguments()
SETTINGS = RedisSettings.from_dsn(URL)
ended = Countdown(COUNT)


async def noop(ctx, n):
    ended()
    return n


async def main():
    pool = await create_pool(SETTINGS)
    if MEASURE == "enqueue":
        await enqueue_at_once(COUNT, lambda: pool.enqueue_job("noop", 1))
        return
    for first in range(0, COUNT, 500):
        await asyncio.gather(*(pool.enqueue_job("noop", n) for n in range(first, min(COUNT, first + 500))))
    await Worker([noop], redis_settings=SETTINGS, max_jobs=100, poll_delay=0.01, handle_signals=False).main()


uvloop.run(main())
