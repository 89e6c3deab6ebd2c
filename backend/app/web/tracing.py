"""A span of each request."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from litestar.plugins import InitPlugin

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

EXCLUDED = "/health/,/metrics$"
"""Requests without a span: those of probes; OTEL_PYTHON_EXCLUDED_URLS has others."""


def web_plugins(provider: "TracerProvider | None") -> Sequence[InitPlugin]:
    """Plugins for Litestar that make a span of each request; none if traces are off."""
    if provider is None:
        return ()
    from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin

    os.environ.setdefault("OTEL_PYTHON_EXCLUDED_URLS", EXCLUDED)
    return (OpenTelemetryPlugin(OpenTelemetryConfig(tracer_provider=provider, exclude_spans=["receive", "send"])),)
