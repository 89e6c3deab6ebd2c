"""Traces: OpenTelemetry's SDK, set up from its standard `OTEL_*` variables, which it reads itself.

Nothing is imported unless an exporter is named: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
OTEL_TRACES_EXPORTER=otlp. Spans go to a collector by OTLP over HTTP.
"""

import functools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from sqlalchemy.ext.asyncio import AsyncEngine

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

PROTOCOL = "http/protobuf"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

SERVICE = "saqueduct"
"""The name of the service, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES has another one."""


def wanted(environ: Mapping[str, str]) -> bool:
    """True if the environment asks for traces.

    Raises:
        SettingsError: it asks for an exporter or a protocol that is not here.
    """
    exporter = environ.get("OTEL_TRACES_EXPORTER", "")
    named = exporter or any(environ.get(name) for name in ENDPOINTS)
    if not named or exporter == "none" or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    problems = [
        f"{name}: {environ[name]!r} is not installed: use {PROTOCOL}"
        for name in PROTOCOLS
        if environ.get(name, "") not in ("", PROTOCOL)
    ]
    if exporter not in ("", "otlp"):
        problems.append(f"OTEL_TRACES_EXPORTER: {exporter!r} is not installed: use otlp, or none")
    if problems:
        raise SettingsError(problems)
    return True


@functools.cache
def tracer_provider() -> "TracerProvider | None":
    """The SDK of this process, set up at the first call; None: traces are off.

    Raises:
        SettingsError: see `wanted`.
    """
    if not wanted(os.environ):
        return None
    from opentelemetry import trace
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    provider = build_provider()
    trace.set_tracer_provider(provider)
    RedisInstrumentor().instrument(tracer_provider=provider)
    return provider


def build_provider() -> "TracerProvider":
    """An SDK that sends spans as the environment says."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # What the environment says about the service wins.
    found = Resource.create()
    resource = found.merge(Resource({SERVICE_NAME: SERVICE})) if _is_unnamed(os.environ) else found
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _is_unnamed(environ: Mapping[str, str]) -> bool:
    attributes = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return not environ.get("OTEL_SERVICE_NAME") and "service.name=" not in attributes


def trace_statements(engine: "AsyncEngine", provider: "TracerProvider | None") -> None:
    """Make a span of each statement on an engine, without its values, unless traces are off."""
    if provider is None:
        return
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    # It was released for SQLAlchemy 2.0, and refuses 2.1, with which it works.
    instrumentor = SQLAlchemyInstrumentor()
    instrumentor.instrument(engine=engine.sync_engine, tracer_provider=provider, skip_dep_check=True)
