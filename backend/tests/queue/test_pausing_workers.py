"""A worker that is asked to take no jobs, and to take them again."""

import asyncio

import httpx
import pytest
from dishka import AsyncContainer

from app.settings import Settings
from saqueduct import Context, EngineQueue, Queues, UnknownWorker, task
from saqueduct.queue.workers import WorkerProcess
from tests.fixtures.poll import eventually
from tests.queue.kit import working

pytestmark = [pytest.mark.usefixtures("only_own_tasks"), pytest.mark.timings(renewal=0.1, not_consuming=0.1, peek=0.3)]


async def live(queues: Queues) -> WorkerProcess:
    """The only worker, as soon as it has reported."""

    async def found() -> list[WorkerProcess]:
        return await queues.workers.processes()

    [process] = await eventually(found)
    return process


async def rests(queues: Queues) -> bool:
    return (await live(queues)).rests


async def reports_again(queues: Queues) -> None:
    """Wait for two further reports: what the worker did before the first of them is in the second."""
    for _ in range(2):
        before = (await live(queues)).newest.at

        async def later(before: float = before) -> bool:
            return (await live(queues)).newest.at > before

        await eventually(later)


async def test_a_paused_worker_takes_no_jobs_until_it_is_resumed(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    @task
    async def quick(ctx: Context) -> str:
        return "done"

    async with working(settings, queues, container):
        process = await live(queues)
        paused = await queues.workers.pause(process.id, "ada", "to look at it")
        assert paused.paused is not None
        assert (paused.paused.by, paused.paused.why) == ("ada", "to look at it")
        await eventually(lambda: rests(queues))
        job = await quick.enqueue()
        await reports_again(queues)
        state = await queues.get("default").state()
        assert (state.queued, state.active) == (1, 0)
        assert (state.slots["free"], state.problems) == (0, [])
        assert await queues.workers.resume(process.id)
        assert await job.result(timeout=30) == "done"
        assert not await queues.workers.resume(process.id)


async def test_what_a_paused_worker_runs_continues(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    release = asyncio.Event()

    @task
    async def waits(ctx: Context) -> str:
        await release.wait()
        return "done"

    async with working(settings, queues, container):
        job = await waits.enqueue()
        queue = queues.get("default")

        async def runs() -> bool:
            return (await queue.state()).active == 1

        await eventually(runs)
        await queues.workers.pause((await live(queues)).id)
        await eventually(lambda: rests(queues))
        release.set()
        assert await job.result(timeout=30) == "done"


async def test_a_worker_that_there_is_not_is_an_error(queues: Queues) -> None:
    with pytest.raises(UnknownWorker, match="no live worker has the id 'nobody'; there are: none"):
        await queues.workers.pause("nobody")


async def test_the_pause_ends_with_the_worker(settings: Settings, queues: Queues, container: AsyncContainer) -> None:
    queue: EngineQueue = queues.get("default")
    async with working(settings, queues, container):
        await queues.workers.pause((await live(queues)).id)
        await eventually(lambda: rests(queues))
    assert await queue.redis.hlen(queue.namespace("workers:paused")) == 0


async def test_the_pause_of_a_worker_that_died_is_forgotten(queues: Queues) -> None:
    queue = queues.get("default")
    await queue.redis.hset(queue.namespace("workers:paused"), "dead", "1.0 {}")
    await queue.state()
    assert await queue.redis.hlen(queue.namespace("workers:paused")) == 0


async def test_a_worker_reports_its_process_and_what_it_uses(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    async with working(settings, queues, container):
        state = (await live(queues)).newest.state
    assert state.host
    assert state.pid
    assert state.memory > 2**20
    assert state.cpu >= 0


async def test_a_worker_is_paused_and_resumed_over_http(
    settings: Settings, queues: Queues, container: AsyncContainer, client: httpx.AsyncClient
) -> None:
    async with working(settings, queues, container):
        worker = (await live(queues)).id
        answer = await client.post(f"/workers/{worker}/pause", json={"why": "slow", "by": "ada"})
        assert answer.status_code == 200
        assert answer.json()["paused"]["why"] == "slow"
        await eventually(lambda: rests(queues))
        [view] = (await client.get("/workers")).json()
        assert (view["id"], view["takes_jobs"]) == (worker, False)
        assert [part["queue"] for part in view["queues"]] == ["default"]
        assert (await client.post(f"/workers/{worker}/resume")).json()["paused"] is None
    assert (await client.post("/workers/nobody/pause")).status_code == 404
