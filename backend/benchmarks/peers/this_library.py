"""This project, composed as its worker process composes it."""

import asyncio
import logging
import os
import time

import uvloop
from common import SLEEP, Seen, arguments, enqueue_at_once, show

MEASURE, URL, COUNT, OPTIONS = arguments()
os.environ |= {
    "REDIS_URL": URL,
    "DATABASE_URL": OPTIONS.get("database", "postgresql://localhost/none"),
    # Stock SAQ has none; what they cost is measured by itself.
    "QUEUE_RECORDS": OPTIONS.get("records", "off"),
    "SECRET_KEY": "benchmarks only, no secret, but long enough",
    "WORKER_CONCURRENCY": OPTIONS.get("concurrency", "32"),
}

from app.container import build_container  # noqa: E402  (settings are read from the environment above)
from app.db.session import make_engine, make_sessionmaker  # noqa: E402
from app.logs import configure_logging  # noqa: E402
from app.queue.config import build_config  # noqa: E402
from app.settings import load_settings  # noqa: E402
from saqueduct import Concurrency, Context, Rate, Saqueduct, enqueue_many, get_registry, scheduled_task, task  # noqa: E402

get_registry().clear()
SEEN = Seen()


@task
async def noop(ctx: Context, *, n: int) -> int:
    SEEN.note()
    return n


@task
async def sleep(ctx: Context, *, n: int) -> int:
    SEEN.note()
    await asyncio.sleep(SLEEP)
    return n


@task
async def stamp(ctx: Context, *, sent: float) -> list[float]:
    return [sent, time.monotonic()]


@task(limits=(Concurrency(2, by="n"),))
async def limited(ctx: Context, *, n: int) -> int:
    SEEN.note()
    return n


@task(limits=(Rate("starts", 1000, burst=100, by="n"), Concurrency(2, by="n")), fair="n")
async def limited_twice(ctx: Context, *, n: int) -> int:
    SEEN.note()
    return n


DURABLE = OPTIONS.get("durable") == "on"
CALLED = noop.options(durable=True) if DURABLE else noop

for number in range(int(OPTIONS.get("schedules", 0))):

    @scheduled_task(every=60.0, name=f"scheduled-{number}")
    async def scheduled(ctx: Context) -> None: ...


async def main():
    settings = load_settings()
    configure_logging(settings)
    # SAQ's own line a worker; jobs write none.
    logging.getLogger("saq").setLevel(logging.WARNING)
    saqueduct = Saqueduct(build_config(settings, lambda queues: build_container(settings, queues)))
    await saqueduct.connect()
    if MEASURE == "enqueue":
        await enqueue_at_once(COUNT, lambda: CALLED.enqueue(n=1))
    elif MEASURE == "enqueue many":
        began = time.perf_counter()
        await enqueue_many(CALLED.bind(n=n) for n in range(COUNT))
        show(jobs_per_second=COUNT / (time.perf_counter() - began))
    elif MEASURE == "fill":
        kind = get_registry().get(OPTIONS["kind"]).options(ttl=int(OPTIONS.get("ttl", 600)), durable=DURABLE)
        keys = int(OPTIONS.get("keys", COUNT))
        await enqueue_many(kind.bind(n=n % keys) for n in range(COUNT))
        show(count=COUNT)
    elif MEASURE == "latency":
        await latency()
    elif MEASURE == "commits":
        await commits(settings)
    else:
        await work(saqueduct)
    await saqueduct.disconnect()


async def work(saqueduct):
    queues = saqueduct.queues
    queue = queues.get("default")
    [worker] = saqueduct.build_workers()
    used = time.process_time()
    running = asyncio.create_task(worker.start())
    while await queue.count("incomplete"):
        await asyncio.sleep(0.05)
    if MEASURE == "serve":
        await asyncio.Event().wait()
    if OPTIONS.get("records") == "on":
        await written(queues)
    show(first=SEEN.first, last=SEEN.last, count=SEEN.count, cpu=time.process_time() - used)
    worker.request_stop()
    await running


async def written(queues):
    """Wait for the records; they count as part of the work."""
    while len(queues.store.recorder):
        await asyncio.sleep(0.005)
    SEEN.last = time.monotonic()


async def commits(settings):
    """Transactions one after the other, each with a job; from the commit to the job's start."""
    engine = make_engine(settings)
    starts = []
    for number in range(COUNT + 20):
        async with make_sessionmaker(engine)() as session:
            job = await stamp.within(session).enqueue(sent=0.0)
            began = time.monotonic()
            await session.commit()
        _, started = await job.result(timeout=30)
        if number >= 20:
            starts.append(started - began)
    await engine.dispose()
    show(starts=starts)


async def latency():
    """Jobs at a steady rate; each waits for its result."""
    rate, starts, results = float(OPTIONS["rate"]), [], []

    async def one():
        sent = time.monotonic()
        _, started = await (await stamp.enqueue(sent=sent)).result(timeout=30)
        results.append(time.monotonic() - sent)
        starts.append(started - sent)

    tasks, begin = [], time.monotonic()
    for number in range(COUNT):
        if (pause := begin + number / rate - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    show(starts=starts, results=results, missed=0)


uvloop.run(main())
