"""`/`: where to go from here."""

from typing import Any

from litestar import Request, Response, get
from litestar.response import Redirect

INDEX = {
    "name": "Saqueduct",
    "documentation": "/schema",
    "openapi": "/schema/openapi.json",
    "health": "/health/ready",
    "tasks": "/tasks",
    "jobs": "/jobs",
    "queues": "/queues",
    "schedules": "/schedules",
    "dead_letters": "/dead-letters",
    "console": "/console",
}


@get("/", include_in_schema=False)
async def index(request: Request[Any, Any, Any]) -> Response[Any]:
    """The API's documentation for a browser, and the addresses of its parts for a program."""
    if "text/html" in request.headers.get("accept", ""):
        return Redirect("/schema")
    return Response(INDEX)
