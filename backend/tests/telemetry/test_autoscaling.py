"""The numbers for autoscalers, and a scaler that follows them."""

import asyncio
import functools
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import httpx
import pytest
import yaml
from litestar import Litestar

from saqueduct import Context, Saqueduct, SaqueductConfig, task
from saqueduct.litestar import SaqueductPlugin
from tests.conftest import running
from tests.fixtures.poll import eventually

PASSWORD, TOKEN = "correct horse battery staple", "open sesame"
SLOTS, MOST = 5, 4
PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "autoscale.md"


class Served(NamedTuple):
    saqueduct: Saqueduct
    client: httpx.AsyncClient


@pytest.fixture
async def served(redis_url: str, empty_redis: None, tasks: None) -> AsyncIterator[Served]:
    """An application whose workers run elsewhere, and a client of it on another machine."""
    async with serve(redis_url) as served:
        yield served


@functools.cache
def application(redis_url: str) -> tuple[Litestar, Saqueduct]:
    """Started again for each test: to build it takes longer than most of them."""
    config = SaqueductConfig(
        redis_url=redis_url,
        concurrency=SLOTS,
        grace_period=0.0,
        metrics=False,
        metrics_token=TOKEN,
        admin_password=PASSWORD,
        run_workers="separate",
    )
    plugin = SaqueductPlugin(config)
    return Litestar(plugins=[plugin], logging_config=None), plugin.saqueduct


@asynccontextmanager
async def serve(redis_url: str) -> AsyncIterator[Served]:
    app, saqueduct = application(redis_url)
    transport = httpx.ASGITransport(cast("Any", app), client=("203.0.113.9", 50_000))
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://shop.example.com") as client:
        yield Served(saqueduct, client)


async def scale(client: httpx.AsyncClient, queue: str = "default") -> dict[str, float]:
    answer = await client.get(f"/queue/queues/{queue}/scale", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    return cast("dict[str, float]", answer.json())


async def test_an_idle_queue_without_workers_needs_none(served: Served) -> None:
    empty = {"backlog": 0, "latency_seconds": 0.0, "active": 0, "slots": 0, "workers": 0}
    assert await scale(served.client) == empty


async def test_running_jobs_and_due_jobs_are_the_backlog(served: Served) -> None:
    queue = served.saqueduct.queues.get("default")
    for _ in range(3):
        await served.saqueduct.queues.enqueue("add", {"a": 1, "b": 2})
    await served.saqueduct.queues.enqueue("add", {"a": 1, "b": 2}, scheduled=await queue.time() + 1000)
    await queue.scripts.run("lease", 1, "worker", 60)
    numbers = await scale(served.client)
    assert (numbers["backlog"], numbers["active"]) == (3, 1)


async def test_a_paused_queue_needs_workers_only_for_what_runs(served: Served) -> None:
    queue = served.saqueduct.queues.get("default")
    for _ in range(3):
        await served.saqueduct.queues.enqueue("add", {"a": 1, "b": 2})
    await queue.pause()
    assert (await scale(served.client))["backlog"] == 0
    await queue.resume()
    await queue.scripts.run("lease", 1, "worker", 60)
    await queue.pause()
    assert (await scale(served.client))["backlog"] == 1


async def test_it_is_for_the_admin_and_for_the_token_alone(served: Served) -> None:
    client, path = served.client, "/queue/queues/default/scale"
    assert (await client.get(path)).status_code == 401
    assert (await client.get(path, headers={"authorization": "Bearer wrong"})).status_code == 401
    assert (await client.get(path, auth=("admin", PASSWORD))).status_code == 200
    assert (await client.get("/queue/queues/default", headers={"authorization": f"Bearer {TOKEN}"})).status_code == 401


async def test_an_unknown_queue_is_named(served: Served) -> None:
    answer = await served.client.get("/queue/queues/nope/scale", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 404
    assert answer.json()["known"] == ["default"]


class Scaler:
    """Starts and stops workers as an autoscaler does that reads the route, such as KEDA.

    Args:
        served: the application.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._workers: list[AsyncExitStack] = []
        self.seen: set[int] = set()
        """Numbers of workers that there have been."""

    async def step(self) -> int:
        """Read the numbers once, and start or stop workers; returns how many run."""
        backlog = (await scale(self._served.client))["backlog"]
        wanted = min(MOST, math.ceil(backlog / SLOTS))
        while len(self._workers) < wanted:
            worker = AsyncExitStack()
            await worker.enter_async_context(self._served.saqueduct.working())
            self._workers.append(worker)
        while len(self._workers) > wanted:
            # The oldest: jobs that still run there go back to the queue.
            await self._workers.pop(0).aclose()
        self.seen.add(len(self._workers))
        return len(self._workers)

    async def until(self, workers: int) -> None:
        """Go on until so many run."""

        async def there() -> bool:
            return await self.step() == workers

        await eventually(there)


async def test_a_scaler_follows_the_load_to_zero_and_back_and_no_job_is_lost(served: Served) -> None:
    gate = asyncio.Event()
    ended: Counter[int] = Counter()

    @task(timeout=120)
    async def work(ctx: Context, *, number: int) -> None:
        await gate.wait()
        ended[number] += 1

    async def load(count: int) -> None:
        first = sum(enqueued)
        enqueued.append(count)
        for number in range(first, first + count):
            await work.enqueue(number=number)

    enqueued: list[int] = []
    scaler = Scaler(served)
    assert await scaler.step() == 0
    for low, high in ((3, 60), (1, 30)):
        await load(low)
        await scaler.until(math.ceil(low / SLOTS))
        await load(high)
        await scaler.until(MOST)
        # As long as jobs run, it does not stop their workers.
        assert await scaler.step() == MOST
        gate.set()
        await scaler.until(0)
        gate.clear()
    assert sorted(ended) == list(range(sum(enqueued)))
    assert (await scale(served.client))["backlog"] == 0


async def test_jobs_of_workers_that_the_scaler_stops_run_elsewhere(served: Served) -> None:
    gate = asyncio.Event()
    started: Counter[int] = Counter()
    ended: set[int] = set()

    @task(timeout=120)
    async def work(ctx: Context, *, number: int) -> None:
        started[number] += 1
        # Some are quick, and the others keep their workers.
        if number % SLOTS == 0:
            await gate.wait()
        ended.add(number)

    scaler = Scaler(served)
    for number in range(2 * SLOTS):
        await work.enqueue(number=number)
    await scaler.until(2)
    # Two jobs are left: one worker is enough for them.
    await scaler.until(1)
    gate.set()
    await scaler.until(0)
    assert ended == set(range(2 * SLOTS))


async def test_a_due_tick_wakes_a_fleet_that_was_scaled_to_zero(served: Served) -> None:
    queue = served.saqueduct.queues.get("default")
    async with served.saqueduct.working():
        await eventually(lambda: queue.redis.zcard(queue.namespace("schedules:ticks")))
    scaler = Scaler(served)
    assert await scaler.step() == 0
    [schedule] = await served.saqueduct.queues.schedules()
    await queue.redis.zadd(queue.namespace("schedules:ticks"), {schedule.key: await queue.time() - 1})
    await scaler.until(1)
    await scaler.until(0)
    [after] = await served.saqueduct.queues.schedules()
    assert after.last_tick is not None


def test_the_examples_of_the_documents_are_yaml_that_names_the_route_and_the_metrics() -> None:
    blocks = [part.split("```")[0] for part in PAGE.read_text().split("```yaml\n")[1:]]
    scaled, token, by_prometheus = [each for block in blocks for each in yaml.safe_load_all(block)]
    [trigger] = scaled["spec"]["triggers"]
    assert trigger["type"] == "metrics-api"
    assert trigger["metadata"]["url"].endswith("/queues/default/scale")
    assert trigger["metadata"]["valueLocation"] == "backlog"
    assert trigger["authenticationRef"]["name"] == token["metadata"]["name"]
    assert "saqueduct_queue_jobs" in by_prometheus["triggers"][0]["metadata"]["query"]
