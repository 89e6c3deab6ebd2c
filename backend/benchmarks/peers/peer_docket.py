"""docket: its worker with 100 slots, looking every 10 ms."""

import asyncio
from datetime import timedelta

import uvloop
from common import Countdown, arguments, enqueue_at_once
from docket import Docket, Worker

MEASURE, URL, COUNT, _ = arguments()
ended = Countdown(COUNT)


async def noop(n: int) -> None:
    ended()


async def main():
    async with Docket(name="bench", url=f"{URL}?max_connections=10000") as docket:
        docket.register(noop)
        if MEASURE == "enqueue":
            await enqueue_at_once(COUNT, lambda: docket.add(noop)(1))
            return
        for first in range(0, COUNT, 50):
            await asyncio.gather(*(docket.add(noop)(n) for n in range(first, min(COUNT, first + 50))))
        often = timedelta(milliseconds=10)
        async with Worker(docket, concurrency=100, minimum_check_interval=often) as worker:
            await worker.run_forever()


uvloop.run(main())
