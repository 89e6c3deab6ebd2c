"""The traces of the reference application, set up from OTEL_* variables, at a collector."""

from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sqlalchemy.ext.asyncio import AsyncEngine

from app.container import build_container
from app.main import create_app
from app.queue.config import build_config
from app.settings import Settings, SettingsError
from app.tracing import tracer_provider, wanted
from saqueduct import Saqueduct
from tests.conftest import running
from tests.fixtures.poll import eventually
from tests.telemetry.collector import Collector, collecting


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Receives what this process traces."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        # Set by the application if it is missing; so it is removed again.
        monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "")
        monkeypatch.delenv("OTEL_PYTHON_EXCLUDED_URLS")
        # The process keeps its first one for good.
        monkeypatch.setattr(trace, "set_tracer_provider", lambda _: None)
        tracer_provider.cache_clear()
        yield collector
        if (provider := tracer_provider()) is not None:
            provider.shutdown()
        tracer_provider.cache_clear()
        RedisInstrumentor().uninstrument()
        SQLAlchemyInstrumentor().uninstrument()


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def test_a_request_and_its_job_arrive_with_what_they_did(
    collector: Collector, settings: Settings, empty_redis: None, engine: AsyncEngine
) -> None:
    web = create_app(settings)
    transport = httpx.ASGITransport(cast("Any", web), raise_app_exceptions=False)
    async with running(web), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        key = (await client.post("/process?user_id=7")).json()["key"]
        await client.get("/schedules")
        await client.get("/jobs?task=my_task")
        await client.get("/health/live")
    provider = tracer_provider()
    assert provider is not None
    async with Saqueduct(build_config(settings, partial(build_container, settings), provider)) as saqueduct:
        queue = saqueduct.queues.get("default")
        async with saqueduct.working():

            async def done() -> bool:
                return not await queue.count("incomplete")

            await eventually(done)
    provider.force_flush()
    by_id = {span.span_id: span for span in collector.spans}
    [ran] = collector.named("process default")
    assert attributes(ran)["messaging.message.id"] == key
    sent = by_id[ran.links[0].span_id]
    assert by_id[sent.parent_span_id].name == "POST /process"
    statements = [span for span in collector.spans if attributes(span).get("db.system") == "postgresql"]
    assert {by_id[span.parent_span_id].name for span in statements if span.parent_span_id} >= {"GET /jobs"}
    commands = [span for span in collector.spans if attributes(span).get("db.system") == "redis"]
    assert "GET /schedules" in {by_id[span.parent_span_id].name for span in commands if span.parent_span_id}
    assert collector.services == {"saqueduct"}
    assert not [span.name for span in collector.spans if "health" in span.name]
    # What the worker does for all of its jobs belongs to none, and is no trace of its own.
    assert not [span.name for span in collector.spans if span.name.split()[0] in ("EVALSHA", "COPY", "INSERT")]
    assert not [span.name for span in collector.spans if span.parent_span_id == ran.span_id]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_traces_are_off_unless_the_environment_names_an_exporter(environ: dict[str, str], expected: bool) -> None:
    assert wanted(environ) is expected


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]
)
def test_what_is_not_installed_is_an_error_that_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}.*'{value}' is not installed"):
        wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", name: value})
