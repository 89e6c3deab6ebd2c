"""Monitors of schedules: a ping at the start and at the end of each of their jobs."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from saqueduct import (
    ConfigurationError,
    Context,
    RegistrationError,
    Saqueduct,
    SaqueductConfig,
    get_registry,
    scheduled_task,
)
from saqueduct.timings import Timings
from tests.fixtures.poll import eventually
from tests.fixtures.schedules import RARELY
from tests.fixtures.webhook import WebhookServer, webhook


@pytest.fixture
async def server() -> AsyncIterator[WebhookServer]:
    async with webhook() as running:
        yield running


@pytest.fixture
def tasks(server: WebhookServer) -> Iterator[None]:
    with get_registry().isolated():

        @scheduled_task(every=RARELY, monitor=server.url)
        async def tidy(ctx: Context) -> None: ...

        @scheduled_task(every=RARELY, monitor=f"{server.url}/?team=7", retries=2, retry_delay=0.01)
        async def fails(ctx: Context) -> None:
            raise ValueError(f"attempt {ctx['job'].attempts}")

        @scheduled_task(every=RARELY)
        async def quiet(ctx: Context) -> None: ...

        yield


@asynccontextmanager
async def running(redis_url: str, **settings: Any) -> AsyncIterator[Saqueduct]:
    config = SaqueductConfig(redis_url=redis_url, records=False, **settings)
    async with Saqueduct(config) as saqueduct, saqueduct.working():
        yield saqueduct


def paths(server: WebhookServer) -> list[str]:
    """The paths of the pings, without the `rid`."""
    return [re.sub(r"[?&]rid=.*", "", path) for path, _ in server.posts]


async def test_a_job_pings_at_its_start_and_its_end_with_one_run_id(
    redis_url: str, empty_redis: None, tasks: None, server: WebhookServer
) -> None:
    async with running(redis_url) as saqueduct:
        await saqueduct.queues.trigger_schedule("tidy")
        await eventually(lambda: len(server.posts) == 2)
    assert paths(server) == ["/secret/start", "/secret"]
    ids = {path.partition("rid=")[2] for path, _ in server.posts}
    assert len(ids) == 1
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", ids.pop())


async def test_a_failure_pings_once_no_attempt_is_left_with_its_error(
    redis_url: str, empty_redis: None, tasks: None, server: WebhookServer
) -> None:
    async with running(redis_url) as saqueduct:
        await saqueduct.queues.trigger_schedule("fails")
        await eventually(lambda: len(server.posts) == 2)
    assert paths(server) == ["/secret/start?team=7", "/secret/fail?team=7"]
    assert "ValueError: attempt 2" in server.posts[1][1]


async def test_other_jobs_and_schedules_ping_nothing(
    redis_url: str, empty_redis: None, tasks: None, server: WebhookServer
) -> None:
    async with running(redis_url) as saqueduct:
        await saqueduct.queues.enqueue("tidy", {})
        await saqueduct.queues.trigger_schedule("quiet")
        await saqueduct.queues.trigger_schedule("tidy")
        await eventually(lambda: len(server.posts) == 2)
    assert paths(server) == ["/secret/start", "/secret"]


async def test_a_setting_names_the_monitor_of_a_schedule_too(
    redis_url: str, empty_redis: None, tasks: None, server: WebhookServer
) -> None:
    async with running(redis_url, monitors={"quiet": f"{server.url}/other"}) as saqueduct:
        await saqueduct.queues.trigger_schedule("quiet")
        await eventually(lambda: len(server.posts) == 2)
    assert paths(server) == ["/secret/other/start", "/secret/other"]


async def test_a_job_that_is_aborted_while_it_waits_has_failed(
    redis_url: str, empty_redis: None, tasks: None, server: WebhookServer
) -> None:
    async with Saqueduct(SaqueductConfig(redis_url=redis_url, records=False)) as saqueduct:
        saqueduct.build_workers()
        job = await saqueduct.queues.trigger_schedule("tidy")
        await saqueduct.queues.get("default").abort(job, "not today")
        await eventually(lambda: len(server.posts) == 1)
    assert paths(server) == ["/secret/fail"]
    assert server.posts[0][1] == "not today"


async def test_a_ping_is_tried_again_and_its_failure_is_logged_without_the_url(
    redis_url: str,
    empty_redis: None,
    tasks: None,
    server: WebhookServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    server.statuses = [500, 200, 503, 503, 503]
    async with running(redis_url, timings=Timings(ping_retry=0.01)) as saqueduct:
        await saqueduct.queues.trigger_schedule("tidy")
        await eventually(lambda: len(server.posts) == 5)
    assert paths(server) == ["/secret/start", "/secret/start", "/secret", "/secret", "/secret"]
    assert "the monitor of the schedule tidy got no ping: 127.0.0.1 answered 503" in caplog.text
    assert "/secret" not in caplog.text


def test_a_monitor_that_is_no_url_is_refused_without_it() -> None:
    with get_registry().isolated(), pytest.raises(RegistrationError, match="monitor takes a URL") as caught:

        @scheduled_task(every=60.0, monitor="hc-ping.com/secret")
        async def tidy(ctx: Context) -> None: ...

    assert "secret" not in str(caught.value).partition("monitor takes")[2]
    with pytest.raises(ConfigurationError, match="the schedule 'tidy' needs a URL that starts with http"):
        SaqueductConfig(redis_url="redis://unused", monitors={"tidy": "secret"})


def test_an_unknown_schedule_is_refused(redis_url: str, tasks: None) -> None:
    config = SaqueductConfig(redis_url=redis_url, records=False, monitors={"tidi": "https://example.com/x"})
    with pytest.raises(ConfigurationError, match="there is no schedule 'tidi': did you mean 'tidy'"):
        Saqueduct(config).build_workers()
