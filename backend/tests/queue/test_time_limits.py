"""No time of a job is beyond the year 9999, and none is no number."""

import datetime as dt
import math
from typing import Any, cast

import httpx
import pytest

from saqueduct import Context, EngineQueue, Queues, RegistrationError, Retry, Schedule, TaskOptions, Unique, task
from saqueduct.common.clock import time_now
from saqueduct.common.time_limits import LAST_SECOND
from saqueduct.queue.listing import JobListing

pytestmark = pytest.mark.usefixtures("only_own_tasks")

NAN, INFINITY = float("nan"), float("inf")
NO_TIMES = (1e12, 1e300, INFINITY, -INFINITY, NAN, -5, "10", True, dt.timedelta(seconds=5))


@pytest.fixture
def waits() -> Any:
    @task
    async def waits(ctx: Context) -> None: ...

    return waits


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize("name", ["delay", "expires", "timeout", "retry_delay", "ttl", "heartbeat"])
async def test_options_that_are_no_time_are_refused_by_name(waits: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        waits.options(**{name: value})


@pytest.mark.parametrize("value", [1e12, INFINITY, NAN, -5, "10"])
@pytest.mark.parametrize("name", ["timeout", "retries", "retry_delay", "retry_backoff", "ttl", "heartbeat"])
def test_options_of_tasks_too(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        TaskOptions(**cast("Any", {name: value}))


@pytest.mark.parametrize("value", [1e12, INFINITY, NAN, -5, 0])
def test_the_period_of_a_unique_job_too(value: float) -> None:
    with pytest.raises(ValueError, match="period must be"):
        Unique(period=value)


@pytest.mark.parametrize("value", [1e12, INFINITY, NAN, -5])
def test_intervals_and_the_delay_of_a_retry_too(value: float) -> None:
    with pytest.raises(ValueError, match="every must be"):
        Schedule(every=value)
    with pytest.raises(ValueError, match="delay must"):
        Retry(delay=value)


@pytest.mark.parametrize(
    "eta",
    [
        "2030-01-01",
        5,
        dt.datetime.fromisoformat("2030-01-01"),
        dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-12))),
    ],
)
async def test_an_eta_that_is_no_moment_is_refused(waits: Any, eta: Any) -> None:
    with pytest.raises(ValueError, match=r"^eta must be"):
        waits.options(eta=eta)


@pytest.mark.parametrize("name", ["scheduled", "timeout", "retry_delay", "heartbeat"])
@pytest.mark.parametrize("value", [1e12, INFINITY, NAN, "10"])
async def test_saqs_own_call_refuses_them_too(queues: Queues, waits: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        await queues.get("default").enqueue("waits", **{name: value})
    assert await queues.get("default").count("incomplete") == 0


async def test_the_last_day_goes(queues: Queues, waits: Any) -> None:
    later = await waits.options(delay=LAST_SECOND - time_now() - 60).enqueue()
    assert (await later.refresh()).scheduled == pytest.approx(LAST_SECOND, abs=120)
    [job] = (await JobListing([queues.get("default")], "delayed").page(lambda job: True, None, 10)).jobs
    assert job.key == later.key


@pytest.mark.parametrize("score", ["1e12", "1e300", "+inf"])
async def test_a_job_that_another_producer_put_there_for_ever_breaks_no_listing(
    client: httpx.AsyncClient, queues: Queues, waits: Any, score: str
) -> None:
    queue: EngineQueue = queues.get("default")
    handle = await waits.options(key="late", delay=60).enqueue()
    await queue.redis.zadd(queue.namespace("incomplete"), {handle.id: float(score)})
    stored = cast("bytes", await queue.redis.get(handle.id)).decode()
    await queue.redis.set(handle.id, stored.replace('"scheduled":', '"scheduled":9'))
    [job] = (await JobListing([queue], "delayed").page(lambda job: True, None, 10)).jobs
    assert (job.key, job.scheduled) == ("late", math.ceil(LAST_SECOND))
    answer = await client.get("/jobs", params={"status": "queued"})
    assert answer.status_code == 200, answer.text
    assert (await client.get("/jobs/late")).status_code == 200
    assert (await queue.info(jobs=True))["jobs"]


def test_a_task_with_an_impossible_time_is_refused_at_import() -> None:
    with pytest.raises(RegistrationError, match="timeout must be"):

        @task(timeout=cast("Any", NAN))
        async def never(ctx: Context) -> None: ...
