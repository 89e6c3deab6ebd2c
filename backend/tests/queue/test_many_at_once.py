"""Calls for more jobs at once than Lua hands to one command, which is nearly 8,000."""

import asyncio
import threading
from typing import Any

import pytest
from dishka import AsyncContainer

from app.settings import Settings
from saqueduct import Context, Queues, enqueue_many, task
from saqueduct.broker import listener, outage
from saqueduct.errors import QueueUnavailable
from saqueduct.tasks.bulk import results
from saqueduct.timings import Timings
from tests.fixtures.poll import eventually
from tests.queue.kit import working

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("own_tasks")]

MANY = 8_100


@pytest.fixture
def echo() -> Any:
    @task(timeout=0, record="none")
    async def echo(ctx: Context, *, n: int) -> int:
        return n

    return echo


async def test_any_number_of_jobs_is_read_at_once(queues: Queues, echo: Any) -> None:
    handles = await enqueue_many(echo.bind(n=n) for n in range(MANY))
    queue = queues.get("default")
    jobs = await queue.jobs([*(handle.key for handle in handles), "nobody"])
    assert [job and (job.kwargs or {})["n"] for job in jobs] == [*range(MANY), None]


async def test_any_number_of_jobs_is_mapped(
    settings: Settings, queues: Queues, container: AsyncContainer, echo: Any
) -> None:
    async with working(settings, queues, container, schedules=False):
        assert await echo.map([{"n": n} for n in range(MANY)]) == list(range(MANY))


async def test_any_number_of_jobs_is_mapped_by_saqs_own_call(
    settings: Settings, queues: Queues, container: AsyncContainer, echo: Any
) -> None:
    async with working(settings, queues, container, schedules=False):
        found = await queues.get("default").map("echo", [{"n": n} for n in range(MANY)], timeout=300)
        assert found == list(range(MANY))


@pytest.mark.timings(answer=2.0)
async def test_who_waits_in_this_process_for_longer_than_redis_may_take_is_no_outage(
    settings: Settings, queues: Queues, container: AsyncContainer, echo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = await enqueue_many(echo.bind(n=n) for n in range(MANY // 2))
    async with working(settings, queues, container, schedules=False):
        await eventually(handles[-1].done)
    queue = queues.get("default")
    run = queue.scripts.run

    async def slow(*arguments: Any) -> Any:
        await asyncio.sleep(0.25)
        return await run(*arguments)

    monkeypatch.setattr(queue.scripts, "run", slow)
    assert await results(handles) == list(range(len(handles)))
    jobs = await asyncio.gather(*(queue.fetch(handle.key) for handle in handles))
    assert None not in jobs


async def test_who_listens_after_many_others_meets_no_outage(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    core = queues.get("default").core
    listening = listener.JobListener(core.redis, core.guard, Timings(answer=2.0), per_command=1)
    subscribe = listening._pubsub.subscribe

    async def slow(*job_ids: str) -> Any:
        await asyncio.sleep(0.25)
        return await subscribe(*job_ids)

    monkeypatch.setattr(listening._pubsub, "subscribe", slow)
    assert set(await asyncio.gather(*(_first_news(listening, f"job:{n}") for n in range(10)))) == {listener.SUBSCRIBED}
    await listening.close()


async def _first_news(listening: listener.JobListener, job_id: str) -> str:
    async with listening.news(job_id) as news:
        return (await news.get())[1]


async def test_an_answer_that_came_while_a_job_blocked_the_event_loop_counts(queues: Queues) -> None:
    asked, queue = asyncio.Event(), queues.get("default")

    async def ask() -> None:
        async with outage.answering(1.0):
            asked.set()
            await queue.core.scripts.run("time")

    await queue.time()
    asking = asyncio.create_task(ask())
    await asked.wait()
    # The block that is the fault: the time is over before the event loop can read the answer.
    threading.Event().wait(1.3)
    await asking


async def test_an_answer_counts_that_an_event_loop_reads_just_after_the_time_has_ended() -> None:
    async with outage.answering(0.2):
        # It ends with the time, so the timer is not late, and the answer takes some turns of the event loop.
        threading.Event().wait(0.2)
        for _ in range(5):
            await asyncio.sleep(0)


async def test_an_answer_counts_that_an_event_loop_reads_late_again_and_again() -> None:
    async with outage.answering(0.05):
        for _ in range(5):
            # Each turn of the event loop takes longer than the time limit, as with thousands of tasks.
            threading.Event().wait(0.2)
            await asyncio.sleep(0)


async def test_a_redis_that_does_not_answer_is_an_outage_also_of_an_event_loop_that_stays_late() -> None:
    loop = asyncio.get_running_loop()

    def busy() -> None:
        threading.Event().wait(0.2)
        loop.call_soon(busy)

    busy()
    with pytest.raises(QueueUnavailable, match=r"no answer within 0\.05 s"):
        async with outage.answering(0.05):
            await asyncio.Event().wait()


async def test_a_redis_that_does_not_answer_is_an_outage() -> None:
    with pytest.raises(QueueUnavailable, match=r"no answer within 0\.05 s"):
        async with outage.answering(0.05):
            await asyncio.Event().wait()
