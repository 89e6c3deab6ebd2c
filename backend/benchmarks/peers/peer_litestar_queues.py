"""litestar-queues: its Redis backend, a worker with 100 slots."""

import asyncio

import uvloop
from common import Countdown, arguments, enqueue_at_once
from litestar_queues import QueueConfig, QueueService, WorkerConfig, task
from litestar_queues.backends.redis import RedisBackendConfig
from litestar_queues.worker import Worker

MEASURE, URL, COUNT, _ = arguments()
ended = Countdown(COUNT)


@task("noop")
async def noop(n: int) -> int:
    ended()
    return n


async def main():
    config = QueueConfig(
        queue_backend=RedisBackendConfig(url=f"{URL}?max_connections=10000"),
        worker=WorkerConfig(max_concurrency=100, batch_size=100, poll_interval=0.01),
    )
    async with QueueService(config) as service:
        if MEASURE == "enqueue":
            await enqueue_at_once(COUNT, lambda: service.enqueue(noop, 1))
            return
        for first in range(0, COUNT, 50):
            await asyncio.gather(*(service.enqueue(noop, n) for n in range(first, min(COUNT, first + 50))))
        await Worker(service).start()


uvloop.run(main())
