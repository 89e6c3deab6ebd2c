"""The metrics through OpenTelemetry's SDK."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from saqueduct import Saqueduct
from saqueduct.telemetry import metrics
from saqueduct.telemetry.opentelemetry import views
from tests.fixtures.poll import eventually
from tests.telemetry.conftest import Open

Points = dict[str, list[Any]]


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
async def observed(open_measured: Open, reader: InMemoryMetricReader) -> AsyncIterator[Saqueduct]:
    """Queues that report to the reader alone."""
    provider = MeterProvider([reader], shutdown_on_exit=False)
    async with open_measured(metrics=None, opentelemetry=True, meter_provider=provider) as saqueduct:
        yield saqueduct
    provider.shutdown()


async def collected(reader: InMemoryMetricReader) -> Points:
    """The points of each metric, read in a thread as the SDK does."""
    data = await asyncio.to_thread(reader.get_metrics_data)
    assert data is not None
    every = [each for of in data.resource_metrics for scope in of.scope_metrics for each in scope.metrics]
    return {each.name: list(each.data.data_points) for each in every}


async def after_jobs(saqueduct: Saqueduct, reader: InMemoryMetricReader, *names: str) -> Points:
    """The points after these jobs have ended."""
    queue = saqueduct.queues.get("default")
    for name in names:
        await saqueduct.queues.enqueue(name, {"a": 1, "b": 2} if name == "add" else {})
    async with saqueduct.working():

        async def done() -> bool:
            return not await queue.count("incomplete") and bool(await queue.redis.exists(queue.namespace("vitals")))

        await eventually(done)
        return await collected(reader)


def labels(points: list[Any], *names: str) -> dict[tuple[Any, ...], float]:
    return {tuple(point.attributes[name] for name in names): point.value for point in points}


async def test_the_names_are_those_of_prometheus(observed: Saqueduct, reader: InMemoryMetricReader) -> None:
    points = await after_jobs(observed, reader, "add")
    no_value_yet = {metrics.SCHEDULE_LAG.name, metrics.LAST_TICK.name, metrics.RECOVERIES.name}
    assert {each.name for each in (*metrics.OF_THE_PROCESS, *metrics.OF_THE_WHOLE)} - no_value_yet <= points.keys()
    assert labels(points["saqueduct_jobs_enqueued_total"], "queue", "task")["default", "add"] == 1
    finished = labels(points["saqueduct_jobs_finished_total"], "queue", "task", "status")
    assert finished["default", "add", "complete"] == 1
    assert [point.value for point in points["saqueduct_redis_up"]] == [1]


async def test_the_messages_of_the_semantic_conventions_are_counted(
    observed: Saqueduct, reader: InMemoryMetricReader
) -> None:
    points = await after_jobs(observed, reader, "add", "add")
    for name in ("messaging.client.sent.messages", "messaging.client.consumed.messages"):
        [point] = points[name]
        assert point.attributes == {"messaging.system": "saq", "messaging.destination.name": "default"}
        assert point.value >= 2
    durations = points["messaging.client.operation.duration"]
    assert {point.attributes["messaging.operation.name"] for point in durations} == {"send", "settle"}


async def test_an_attempt_that_fails_has_an_error_type(observed: Saqueduct, reader: InMemoryMetricReader) -> None:
    points = await after_jobs(observed, reader, "gives_up")
    counts = {
        point.attributes.get("error.type"): point.count
        for point in points["messaging.process.duration"]
        if point.attributes["messaging.operation.name"] == "process"
    }
    assert counts["failed"] == 1


async def test_histograms_have_the_long_buckets(observed: Saqueduct, reader: InMemoryMetricReader) -> None:
    points = await after_jobs(observed, reader, "add")
    for name in ("saqueduct_job_run_seconds", "messaging.process.duration"):
        assert {point.explicit_bounds for point in points[name]} == {metrics.RUN_BUCKETS}


async def test_views_give_the_long_buckets_too(open_measured: Open, reader: InMemoryMetricReader) -> None:
    provider = MeterProvider([reader], views=views(), shutdown_on_exit=False)
    async with open_measured(metrics=None, opentelemetry=True, meter_provider=provider) as saqueduct:
        points = await after_jobs(saqueduct, reader, "add")
    provider.shutdown()
    assert {point.explicit_bounds for point in points["messaging.process.duration"]} == {metrics.RUN_BUCKETS}


async def test_a_collection_in_the_event_loop_does_not_wait_for_itself(
    observed: Saqueduct, reader: InMemoryMetricReader
) -> None:
    before = await collected(reader)
    assert "saqueduct_redis_up" in before
    assert reader.get_metrics_data() is not None


async def test_after_the_queues_are_closed_a_collection_still_ends(
    open_measured: Open, reader: InMemoryMetricReader
) -> None:
    provider = MeterProvider([reader], shutdown_on_exit=False)
    async with open_measured(metrics=None, opentelemetry=True, meter_provider=provider) as saqueduct:
        await after_jobs(saqueduct, reader, "add")
    assert "saqueduct_jobs_enqueued_total" in await collected(reader)
    provider.shutdown()
