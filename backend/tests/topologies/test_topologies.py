"""The queue behind sentinels, in a cluster and over TLS: jobs travel, and survive a failover."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from dishka import AsyncContainer
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncEngine

from app.main import create_app
from app.settings import Settings, load_settings
from saqueduct import (
    ConfigurationError,
    Context,
    DuplicateJob,
    EngineQueue,
    JobAborted,
    JobHandle,
    Queues,
    QueueUnavailable,
    Unique,
    enqueue_many,
    scheduled_task,
    task,
)
from saqueduct.broker.connections import Connections, blocking_client
from tests.conftest import running
from tests.fixtures.composition import build_container, build_queues
from tests.fixtures.poll import eventually, eventually_sync
from tests.fixtures.schedules import RARELY
from tests.queue.kit import working
from tests.topologies.fleets import Cluster, Encrypted, Service, certificates

pytestmark = pytest.mark.usefixtures("only_own_tasks")


@pytest.fixture(params=["service", "cluster", "encrypted", "valkey"])
def url(request: pytest.FixtureRequest) -> str:
    """Each topology in turn."""
    return str(request.getfixturevalue(request.param).url)


@asynccontextmanager
async def queues_on(environment: dict[str, str], url: str) -> AsyncIterator[tuple[Settings, Queues, AsyncContainer]]:
    """The application's queues on empty servers."""
    settings = load_settings(environment | {"REDIS_URL": url})
    queues = build_queues(settings)
    await queues.connect()
    for queue in queues:
        await queue.redis.flushall()
    container = build_container(settings, queues)
    yield settings, queues, container
    await container.close()
    await queues.disconnect()


async def test_jobs_travel(url: str, environment: dict[str, str], engine: AsyncEngine) -> None:
    @task
    async def double(ctx: Context, *, number: int) -> int:
        return 2 * number

    @task(unique=Unique(on_conflict="raise"))
    async def once(ctx: Context) -> None: ...

    @task(timeout=60)
    async def endless(ctx: Context) -> None:
        await asyncio.Event().wait()

    async with queues_on(environment, url) as (settings, queues, container):
        await once.enqueue()
        with pytest.raises(DuplicateJob):
            await once.enqueue()
        delayed = await double.options(delay=0.3).enqueue(number=1)
        urgent = await double.options(priority="high").enqueue(number=2)
        many = await enqueue_many([double.bind(number=number) for number in range(3, 60)])
        stuck = await endless.enqueue()
        async with working(settings, queues, container):
            assert await urgent.result(timeout=60) == 4
            assert await asyncio.gather(*(job.result(timeout=60) for job in many)) == list(range(6, 120, 2))
            assert await delayed.result(timeout=60) == 2
            await eventually(lambda: _has_status(queues, stuck.key, Status.ACTIVE))
            await stuck.abort("enough")
            with pytest.raises(JobAborted):
                await stuck.result(timeout=60)
        queue = queues.get("default")
        assert [await queue.count(kind) for kind in ("queued", "active", "incomplete")] == [0, 0, 0]


async def test_a_pause_holds_and_its_end_wakes_workers(
    url: str, environment: dict[str, str], engine: AsyncEngine
) -> None:
    @scheduled_task(every=RARELY)
    async def double(ctx: Context, *, number: int = 1) -> int:
        return 2 * number

    async with queues_on(environment, url) as (settings, queues, container):
        queue = queues.get("default")
        pauses = await queue.pause(by="ada"), await queues.pause_schedule("double", by="bob")
        async with working(settings, queues, container) as worker:
            await eventually(lambda: worker._runner is not None and worker._runner._paused)
            job = await double.enqueue(number=2)
            triggered = await queues.trigger_schedule("double")
            stats, [state] = await queue.stats(), await queues.schedules()
            assert (stats.queued, stats.paused, state.paused) == (2, *pauses)
            assert state.last_job == triggered.key
            assert await queue.resume()
            assert await queues.resume_schedule("double")
            assert await job.result(timeout=60) == 4


async def _has_status(queues: Queues, key: str, wanted: Status) -> bool:
    return (await queues.find(key)).status is wanted


async def test_the_heartbeat_thread_reaches_the_same_server(url: str) -> None:
    await _both_clients_reach_it(url)


@pytest.mark.parametrize("kind", ["sentinel_url", "cluster_url"])
async def test_sentinels_and_nodes_are_spoken_to_with_tls_too(encrypted: Encrypted, kind: str) -> None:
    await _both_clients_reach_it(getattr(encrypted, kind))


async def _both_clients_reach_it(url: str) -> None:
    client = Connections(url).client("default")
    await client.set("{default}", "here")
    with blocking_client(client) as blocking:
        assert await asyncio.to_thread(blocking.get, "{default}") == b"here"
    await client.aclose()


async def test_all_keys_of_a_queue_are_in_one_slot_of_a_cluster(
    cluster: Cluster, environment: dict[str, str], engine: AsyncEngine
) -> None:
    async with queues_on(environment, cluster.url) as (_, queues, _):

        @task
        async def waits(ctx: Context) -> None: ...

        handle = await waits.enqueue()
        queue = queues.get("default")
        await queue.pause()
        await queue.resume()
        keys = {key.decode() for key in cast("list[bytes]", await queue.redis.keys("*"))}
        slots = {key_slot(key.encode()) for key in keys}
        assert slots == {key_slot(b"{default}")}
        assert handle.id == f"saq:job:{{default}}:{handle.key}"
        assert handle.id in keys
        assert [job.key async for job in queue.iter_jobs()] == [handle.key]
        assert await queue.sweep() == []
        job = await queues.find(handle.key)
        await queue.finish_abort(job)


async def test_each_queue_of_a_cluster_has_the_node_that_owns_its_slot(
    cluster: Cluster, environment: dict[str, str]
) -> None:
    names = [cluster.queue_of(node) for node in range(3)]
    settings = load_settings(environment | {"REDIS_URL": cluster.url, "QUEUE_NAMES": ",".join(["default", *names])})
    queues = build_queues(settings)
    for name in names:
        await queues.get(name).enqueue_many([])
        await queues.get(name).redis.set(queues.get(name).namespace("there"), name)
        owner = cluster.owner(name)
        assert owner.ask("GET", f"saq:{{{name}}}:there") == name.encode()
    await queues.disconnect()


def test_a_queue_whose_name_has_braces_is_refused_in_a_cluster() -> None:
    with pytest.raises(ConfigurationError, match=r"the queue .*braces"):
        Connections("redis+cluster://localhost").client("a{b}")


async def test_the_web_ui_works(url: str, environment: dict[str, str], engine: AsyncEngine) -> None:
    settings = load_settings(environment | {"REDIS_URL": url})
    application = create_app(settings)
    transport = httpx.ASGITransport(cast("Any", application), raise_app_exceptions=False)
    async with (
        running(application),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        assert (await client.get("/saq/")).status_code == 200
        answer = await client.get("/saq/api/queues/default")
        assert answer.json()["queue"]["name"] == "default"
        checks = (await client.get("/health/ready")).json()["checks"]
        assert checks["redis"] == "ok"


async def test_a_server_of_another_authority_is_refused(encrypted: Encrypted, tmp_path: Any) -> None:
    unknown, _, _ = certificates(tmp_path / "unknown")
    url = encrypted.url.replace(str(encrypted.authority), str(unknown))
    queue = EngineQueue(Connections(url).client("default"))
    with pytest.raises(QueueUnavailable, match="certificate verify failed"):
        await queue.ping()
    await queue.disconnect()


async def test_the_error_of_a_wrong_password_does_not_contain_it(service: Service) -> None:
    queue = EngineQueue(Connections(service.url.replace("//:p%40ss", "//:guessed")).client("default"))
    with pytest.raises(QueueUnavailable, match=r"(?i)password") as caught:
        await queue.ping()
    assert "guessed" not in str(caught.value)
    await queue.disconnect()


class Enqueuer:
    """Enqueues without pause, each job until the queue has taken it."""

    def __init__(self, job: Any) -> None:
        self.taken: list[Any] = []
        self.refused = 0
        self._job = job
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._stop.set()
        await self._task

    async def _run(self) -> None:
        while not self._stop.is_set():
            key = f"n{len(self.taken)}"
            try:
                self.taken.append(await self._job.options(key=key).enqueue())
            except QueueUnavailable:
                self.refused += 1


async def _through_a_failover(environment: dict[str, str], url: str, fail: Any, failed: Any) -> None:
    """What was taken before, and what is taken again after, ends; the same processes go on by themselves."""
    runs: dict[str, int] = {}
    go = asyncio.Event()

    @task(timeout=120, ttl=600)
    async def counted(ctx: Context) -> None:
        key = ctx["job"].key
        runs[key] = runs.get(key, 0) + 1

    @task(timeout=120)
    async def through_it(ctx: Context) -> str:
        await go.wait()
        return "done"

    async with queues_on(environment, url) as (settings, queues, container):
        redis: Redis = queues.get("default").redis
        waiting = [await counted.options(delay=1, key=f"before{number}").enqueue() for number in range(50)]
        long = await through_it.enqueue()
        async with working(settings, queues, container):
            await eventually(lambda: _has_status(queues, long.key, Status.ACTIVE))
            updates = long.updates()
            assert (await anext(updates)).status is Status.ACTIVE
            # What a replica has got survives; the rest is Redis' asynchronous replication.
            assert await redis.wait(1, 5000) >= 1
            await asyncio.to_thread(fail)
            enqueuer = Enqueuer(counted)
            await eventually(failed)
            before = len(enqueuer.taken)
            await eventually(lambda: len(enqueuer.taken) >= before + 50)
            await enqueuer.stop()
            go.set()
            assert [update.status async for update in updates][-1] is Status.COMPLETE
            assert await long.result(timeout=60) == "done"
            for job in [*waiting, *enqueuer.taken]:
                assert await job.result(timeout=60) is None
        assert {job.key for job in waiting} <= runs.keys()


async def test_a_failover_of_the_sentinels_is_got_over(
    service: Service, environment: dict[str, str], engine: AsyncEngine
) -> None:
    old = service.master()
    try:
        await _through_a_failover(environment, service.url, old.kill, lambda: service.master() is not old)
    finally:
        old.start_as_replica(service.master())
        eventually_sync(service.complete)


async def test_a_failover_in_a_cluster_is_got_over(
    cluster: Cluster, environment: dict[str, str], engine: AsyncEngine
) -> None:
    old = cluster.owner("default")
    try:
        await _through_a_failover(environment, cluster.url, old.kill, lambda: cluster.owner("default") is not old)
    finally:
        old.start()
        eventually_sync(cluster.complete)


@pytest.mark.timings(listener_check=0.1)
async def test_a_slot_that_moves_takes_its_queue_along(
    cluster: Cluster, environment: dict[str, str], engine: AsyncEngine
) -> None:
    slot, source, target = key_slot(b"{default}"), cluster.owner("default"), cluster.owner_of(0)

    @task
    async def moved(ctx: Context) -> str:
        return "done"

    async with queues_on(environment, cluster.url) as (settings, queues, container), waiting_on(cluster.url) as waiting:
        job = await moved.enqueue()
        # As in a process that does nothing but wait: nobody tells it that news come from elsewhere now.
        updates = JobHandle(waiting, job.key, str).updates()
        assert (await anext(updates)).status is Status.QUEUED
        thread = blocking_client(waiting.redis)
        assert await asyncio.to_thread(thread.exists, job.id)
        steps = cluster.move(slot, target)
        next(steps)
        # A half of a queue is none: nothing is taken, and nothing put in.
        with pytest.raises(QueueUnavailable):
            await moved.enqueue()
        with pytest.raises(RedisConnectionError):
            await queues.get("default").scripts.run("lease", 1, "somebody", 60)
        assert list(steps) == []
        async with working(settings, queues, container):
            # Not by `job.result`: while somebody listens where the queue is now, the nodes pass news on to each other.
            await eventually(lambda: _has_status(queues, job.key, Status.COMPLETE))
        async with asyncio.timeout(15):
            assert [update.status async for update in updates][-1] is Status.COMPLETE
        assert await asyncio.to_thread(thread.exists, job.id)
        thread.close()
        assert list(cluster.move(slot, source)) == [None]
        await eventually(cluster.complete)


@asynccontextmanager
async def waiting_on(url: str) -> AsyncIterator[EngineQueue]:
    """A queue of another process, with connections of its own."""
    queue = EngineQueue(Connections(url).client("default"))
    yield queue
    await queue.disconnect()


async def test_a_master_that_lost_its_replicas_takes_no_job_and_goes_on_after(service: Service) -> None:
    master = service.master()
    queue = EngineQueue(Connections(service.url).client("default"))
    await queue.redis.flushall()
    master.ask("CONFIG", "SET", "min-replicas-to-write", 3)
    with pytest.raises(QueueUnavailable, match="NOREPLICAS"):
        await queue.enqueue("anything")
    master.ask("CONFIG", "SET", "min-replicas-to-write", 0)
    assert await queue.enqueue("anything") is not None
    assert await queue.count("queued") == 1
    await queue.disconnect()
