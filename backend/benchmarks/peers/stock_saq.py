"""SAQ as it is published."""

import asyncio
import logging
import time

import uvloop
from common import SLEEP, Seen, arguments, enqueue_at_once, show
from redis.asyncio import Redis
from saq.job import CronJob
from saq.queue.redis import RedisQueue
from saq.worker import Worker

MEASURE, URL, COUNT, OPTIONS = arguments()
SEEN = Seen()


async def noop(ctx, *, n):
    SEEN.note()
    return n


async def sleep(ctx, *, n):
    SEEN.note()
    await asyncio.sleep(SLEEP)
    return n


async def stamp(ctx, *, sent):
    return [sent, time.monotonic()]


async def main():
    logging.getLogger("saq").setLevel(logging.WARNING)
    queue = RedisQueue(Redis.from_url(URL, max_connections=10_000), name="bench")
    await queue.connect()
    if MEASURE == "enqueue":
        await enqueue_at_once(COUNT, lambda: queue.enqueue("noop", n=1))
    elif MEASURE == "enqueue many":
        began = time.perf_counter()
        await asyncio.gather(*(queue.enqueue("noop", n=n) for n in range(COUNT)))
        show(jobs_per_second=COUNT / (time.perf_counter() - began))
    elif MEASURE == "fill":
        await asyncio.gather(*(queue.enqueue(OPTIONS["kind"], n=n) for n in range(COUNT)))
        show(count=COUNT)
    elif MEASURE == "latency":
        await latency(queue)
    else:
        await work(queue)
    await queue.disconnect()


def named(number):
    async def scheduled(ctx): ...

    scheduled.__qualname__ = f"scheduled-{number}"
    return scheduled


async def work(queue):
    crons = [CronJob(named(number), cron="* * * * *") for number in range(int(OPTIONS.get("schedules", 0)))]
    worker = Worker(queue, [noop, sleep, stamp], concurrency=int(OPTIONS["concurrency"]), cron_jobs=crons)
    running = asyncio.create_task(worker.start())
    while await queue.count("incomplete"):
        await asyncio.sleep(0.05)
    if MEASURE == "serve":
        await asyncio.Event().wait()
    show(first=SEEN.first, last=SEEN.last, count=SEEN.count)
    worker.event.set()
    await running


async def latency(queue):
    """Jobs at a steady rate; each waits for its result as SAQ offers it."""
    rate, starts, results, missed = float(OPTIONS["rate"]), [], [], 0

    async def one():
        nonlocal missed
        sent = time.monotonic()
        job = await queue.enqueue("stamp", sent=sent)
        try:
            await job.refresh(until_complete=2)
        except TimeoutError:
            # The job ended between its read and its subscription.
            missed += 1
            return
        if job.result is None:
            # SAQ came back before the end.
            missed += 1
            return
        results.append(time.monotonic() - sent)
        starts.append(job.result[1] - sent)

    tasks, begin = [], time.monotonic()
    for number in range(COUNT):
        if (pause := begin + number / rate - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    show(starts=starts, results=results, missed=missed)


uvloop.run(main())
