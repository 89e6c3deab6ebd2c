"""Metrics for Prometheus."""

import dataclasses
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler

from saqueduct.common.secret import Secret
from saqueduct.litestar import guards
from saqueduct.litestar.routes.answers import require_admin
from saqueduct.telemetry.prometheus import rendered
from saqueduct.telemetry.reporter import MetricsReporter


@dataclasses.dataclass(frozen=True)
class Scrapes:
    """What `/metrics` serves, and to whom.

    Attributes:
        reporter: of this process.
        token: bearer token that opens the route; empty: only the admin may call it.
    """

    reporter: MetricsReporter
    token: Secret

    def permit(self, request: Request[Any, Any, Any]) -> bool:
        """True for the token, which is compared in constant time."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.token.matches(value.strip())


def metrics_route(scrapes: Scrapes) -> HTTPRouteHandler:
    """`GET /metrics`."""

    @get(
        "/metrics",
        opt={"admin": "on demand"},
        security=guards.ADMIN_SECURITY,
        media_type=MediaType.TEXT,
        tags=("Health",),
        operation_id="get_metrics",
    )
    async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The metrics of this process, and of the queues as a whole, in Prometheus' text format.

        For the admin, or with METRICS_TOKEN as bearer token.
        """
        if not scrapes.permit(request):
            await require_admin(request)
        text, content_type = rendered(await scrapes.reporter.all(), request.headers.get("accept", ""))
        return Response(text, media_type=content_type)

    return metrics
