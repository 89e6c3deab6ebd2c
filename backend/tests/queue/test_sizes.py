"""How much goes to Redis at once, and what is too much for it."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest
from dishka import AsyncContainer
from redis.asyncio import ConnectionPool, Redis
from saq import Job
from saq.job import Status

from app.settings import Settings, SettingsError, load_settings
from saqueduct import Context, PayloadTooLarge, Queues, enqueue_many, task
from saqueduct.broker.batch_sizes import BATCH_BYTES, batches, fitting
from saqueduct.broker.direct import DirectUnixDomainSocketConnection
from saqueduct.broker.url import RedisURL
from saqueduct.common.garbage_collection import ITEMS_PER_SUSPENSION, listed
from saqueduct.common.text import LONGEST_ERROR
from saqueduct.errors import CommandTooLarge, JobTooLarge
from saqueduct.queue.queue import EngineQueue
from saqueduct.sizes import Sizes
from saqueduct.tasks.encoding import MAX_PAYLOAD_CEILING
from saqueduct.testing import JobKit
from tests.queue.kit import working

pytestmark = pytest.mark.usefixtures("own_tasks")

BULKY = "x" * 200 * 1024
"""Twenty of them make one batch."""


@pytest.fixture
def hold() -> Any:
    @task(record="none")
    async def hold(ctx: Context, *, text: str) -> str:
        return text

    return hold


async def scripts_run(queue: EngineQueue) -> int:
    """Calls of scripts that Redis has served."""
    found = await queue.redis.info("commandstats")
    counts = [found.get(f"cmdstat_{name}", {}) for name in ("evalsha", "eval")]
    # Of a script that Redis does not know yet the first call fails.
    return sum(each.get("calls", 0) - each.get("failed_calls", 0) for each in counts)


def own(items: Sequence[int]) -> list[int]:
    return list(items)


def test_a_batch_ends_at_its_count_or_its_bytes() -> None:
    half = BATCH_BYTES // 2
    assert fitting([1, 1, 1], 2, own) == 2
    assert fitting([half, half, 1], 10, own) == 2
    assert fitting([half, half + 1], 10, own) == 1
    assert fitting([BATCH_BYTES * 2, 1], 10, own) == 1
    assert batches([1, BATCH_BYTES * 2, 1, 1, 1], 2, own) == [[1], [BATCH_BYTES * 2], [1, 1], [1]]
    assert batches([], 2, own) == []


async def test_many_bulky_jobs_are_enqueued_in_several_calls(queues: Queues, hold: Any) -> None:
    queue = queues.get("default")
    before = await scripts_run(queue)
    handles = await enqueue_many(hold.bind(text=BULKY) for _ in range(50))
    assert await scripts_run(queue) - before == 3
    assert await queue.count("queued") == len(handles)


async def test_bulky_jobs_of_the_same_moment_share_several_calls(queues: Queues, hold: Any) -> None:
    queue = queues.get("default")
    before = await scripts_run(queue)
    await asyncio.gather(*(hold.enqueue(text=BULKY) for _ in range(50)))
    assert await scripts_run(queue) - before == 3


async def test_small_jobs_share_one_call(queues: Queues, hold: Any) -> None:
    queue = queues.get("default")
    before = await scripts_run(queue)
    await enqueue_many(hold.bind(text="small") for _ in range(500))
    assert await scripts_run(queue) - before == 1


async def test_bulky_jobs_run_and_bring_their_results(
    settings: Settings, queues: Queues, container: AsyncContainer, hold: Any
) -> None:
    async with working(settings, queues, container, schedules=False):
        assert await hold.map([{"text": BULKY}] * 60) == [BULKY] * 60


SMALL = 1024 * 1024
"""Bytes from which a job is too large here, so that a test need not fill the memory."""

small_jobs = pytest.mark.sizes(job_bytes=SMALL)


class SmallCommands(DirectUnixDomainSocketConnection):
    """A connection on which commands have a MiB at most."""

    largest_command = SMALL


@small_jobs
@pytest.mark.parametrize("character", ["x", "\u00e4", "\U0001f600"])
async def test_a_job_that_is_too_large_with_its_meta_is_refused(queues: Queues, hold: Any, character: str) -> None:
    length = SMALL // len(character.encode())
    with pytest.raises(JobTooLarge, match="with its arguments and its meta") as caught:
        await hold.options(meta={"notes": character * length}).enqueue(text="small")
    assert caught.value.size > caught.value.limit == SMALL
    assert isinstance(caught.value, PayloadTooLarge)
    assert await queues.get("default").redis.dbsize() == 0


@small_jobs
async def test_one_job_that_is_too_large_fails_no_other(queues: Queues, hold: Any) -> None:
    large = hold.options(meta={"notes": "x" * SMALL})
    found = await asyncio.gather(
        hold.enqueue(text="one"), large.enqueue(text="two"), hold.enqueue(text="three"), return_exceptions=True
    )
    assert [isinstance(each, JobTooLarge) for each in found] == [False, True, False]
    assert await queues.get("default").count("queued") == 2


async def test_a_queue_that_validates_nothing_has_the_limit_too(queues: Queues) -> None:
    queue = EngineQueue(queues.get("default").redis, "stock", sizes=Sizes(job_bytes=SMALL))
    with pytest.raises(JobTooLarge):
        await queue.enqueue(Job("anything", kwargs={"text": "x" * SMALL}))


@small_jobs
async def test_an_outcome_that_is_too_large_fails_its_job_only(jobs: JobKit, queues: Queues) -> None:
    @task
    async def grows(ctx: Context) -> None:
        ctx["job"].meta["notes"] = "x" * SMALL

    ended = await jobs.run(grows)
    assert ended.status is Status.FAILED
    assert "JobTooLarge" in str(ended.error)


async def test_a_command_that_redis_would_not_take_is_no_outage(redis_url: str, empty_redis: None) -> None:
    url = RedisURL.parse(redis_url)
    queue = EngineQueue(
        Redis.from_pool(ConnectionPool(connection_class=SmallCommands, path=url.path, **url.options)),
    )
    for send in (lambda: queue.redis.set("key", "x" * SMALL), lambda: queue.pause(why="x" * SMALL)):
        with pytest.raises(CommandTooLarge, match=r"with 1,0.* bytes is more than the 1,048,576"):
            await send()
    # The connection is as good as before.
    assert await queue.redis.ping()
    assert await queue.paused() is None
    await queue.disconnect()


def test_no_setting_allows_a_payload_that_redis_would_not_take(environment: dict[str, str]) -> None:
    highest = {**environment, "QUEUE_MAX_PAYLOAD_BYTES": str(MAX_PAYLOAD_CEILING)}
    assert load_settings(highest).queue.max_payload_bytes == MAX_PAYLOAD_CEILING
    with pytest.raises(SettingsError, match="QUEUE_MAX_PAYLOAD_BYTES"):
        load_settings({**environment, "QUEUE_MAX_PAYLOAD_BYTES": str(MAX_PAYLOAD_CEILING + 1)})


@pytest.mark.parametrize("limit", [0, -1, MAX_PAYLOAD_CEILING + 1])
async def test_a_queue_takes_no_such_limit_either(queues: Queues, limit: int) -> None:
    with pytest.raises(ValueError, match="max_payload_bytes"):
        EngineQueue(queues.get("default").redis, max_payload_bytes=limit)


@pytest.fixture
async def collecting() -> AsyncIterator[Callable[[], list[bool]]]:
    """Whether the garbage collector was on, each time that another task had its turn."""
    seen: list[bool] = []

    async def look() -> None:
        while True:
            seen.append(gc.isenabled())
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    yield lambda: seen
    looking.cancel()
    await asyncio.wait([looking])


async def test_the_garbage_collector_is_on_whenever_others_run(
    queues: Queues, hold: Any, collecting: Callable[[], list[bool]]
) -> None:
    await enqueue_many(hold.bind(text="small") for _ in range(2000))
    assert len(collecting()) > 3
    assert all(collecting())


def test_the_garbage_collector_rests_for_a_bounded_number_of_objects() -> None:
    assert listed(range(3 * ITEMS_PER_SUSPENSION)) == list(range(3 * ITEMS_PER_SUSPENSION))
    assert listed([]) == []

    def broken() -> Iterator[int]:
        yield 1
        assert not gc.isenabled()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        listed(broken())
    assert gc.isenabled()


async def test_an_error_of_any_length_costs_no_attempt(jobs: JobKit) -> None:
    @task(retries=3)
    async def shouts(ctx: Context) -> None:
        raise ValueError("begin " + "x" * SMALL + " end")

    ended = await jobs.run(shouts)
    error = str(ended.error)
    assert (ended.status, ended.attempts) == (Status.FAILED, 3)
    assert len(error) < LONGEST_ERROR + 100
    assert "ValueError: begin xxx" in error
    assert "characters are left out" in error
    assert error.rstrip().endswith("xxx end")
