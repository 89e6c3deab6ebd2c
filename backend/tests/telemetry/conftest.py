"""Queues that are measured, with tasks of their own."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from saqueduct import Context, GiveUp, Retry, Saqueduct, SaqueductConfig, get_registry, scheduled_task, task
from saqueduct.telemetry.families import Family
from saqueduct.telemetry.histogram import Histogram
from saqueduct.telemetry.metrics import Metric
from tests.fixtures.schedules import RARELY

Open = Callable[..., AbstractAsyncContextManager[Saqueduct]]


@pytest.fixture
def tasks() -> Iterator[None]:
    """The tasks that are measured, and no others."""
    with get_registry().isolated():

        @task
        async def add(ctx: Context, *, a: int, b: int) -> int:
            return a + b

        @task(retries=2, retry_delay=0.01)
        async def fails(ctx: Context) -> None:
            raise ValueError("no luck")

        @task
        async def gives_up(ctx: Context) -> None:
            raise GiveUp("never")

        @task(retries=2)
        async def asks_again(ctx: Context) -> int:
            if ctx["job"].attempts == 1:
                raise Retry(delay=0.01)
            return ctx["job"].attempts

        @scheduled_task(every=RARELY)
        async def tidy(ctx: Context) -> None: ...

        yield


@pytest.fixture
def open_measured(redis_url: str, migrated_url: str, empty_redis: None, engine: Any, tasks: None) -> Open:
    """Opens queues whose jobs are counted, on an empty Redis and empty tables; takes settings."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Saqueduct]:
        given: dict[str, Any] = {"redis_url": redis_url, "database_url": migrated_url, "metrics": True} | settings
        async with Saqueduct(SaqueductConfig(database_connect_timeout=20.0, **given)) as saqueduct:
            yield saqueduct

    return opened


@pytest.fixture
async def measured(open_measured: Open) -> AsyncIterator[Saqueduct]:
    async with open_measured() as saqueduct:
        yield saqueduct


def values(families: list[Family], metric: Metric) -> dict[tuple[str, ...], Any]:
    """The values of a metric by labels; of a histogram its number of observations."""
    [family] = [each for each in families if each.metric is metric]
    return {
        labels: value.cumulated()[-1][1] if isinstance(value, Histogram) else value for labels, value in family.samples
    }


def counted(saqueduct: Saqueduct, metric: Metric) -> dict[tuple[str, ...], Any]:
    """The values of a metric of the process that are not 0."""
    assert saqueduct.metrics is not None
    return {labels: value for labels, value in values(saqueduct.metrics.of_the_process(), metric).items() if value}


async def whole(saqueduct: Saqueduct, metric: Metric) -> dict[tuple[str, ...], Any]:
    """The values of a metric of the whole."""
    assert saqueduct.metrics is not None
    return values(await saqueduct.metrics.of_the_whole(), metric)
