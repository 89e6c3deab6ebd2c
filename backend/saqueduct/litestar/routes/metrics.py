"""Metrics for Prometheus."""

from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from saqueduct.litestar.routes.answers import NUMBERS, require_reader
from saqueduct.litestar.services import QueueServices
from saqueduct.telemetry.prometheus import rendered
from saqueduct.telemetry.reporter import MetricsReporter


def metrics_route(reporter: MetricsReporter) -> HTTPRouteHandler:
    """`GET /metrics`."""

    @get("/metrics", **NUMBERS, media_type=MediaType.TEXT, tags=("Health",), operation_id="get_metrics")
    async def metrics(request: Request[Any, Any, Any], services: NamedDependency[QueueServices]) -> Response[bytes]:
        """The metrics of this process, and of the queues as a whole, in Prometheus' text format.

        For people with a role, or with METRICS_TOKEN as bearer token.
        """
        await require_reader(request, services.metrics_token)
        text, content_type = rendered(await reporter.all(), request.headers.get("accept", ""))
        return Response(text, media_type=content_type)

    return metrics
