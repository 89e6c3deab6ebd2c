"""`/live`: server-sent events that say when pages are worth reading again."""

from collections.abc import AsyncIterator
from typing import Any, Final

from litestar import get
from litestar.di import NamedDependency
from litestar.exceptions import ServiceUnavailableException
from litestar.response import ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

from saqueduct.console.view import View

LASTS: Final = 30.0
"""Seconds of a stream; the browser opens the next one. A server that stops waits for open streams."""


@get("/live", media_type="text/event-stream")
async def live(view: NamedDependency[View]) -> ServerSentEvent:
    """An event each time that the state has changed."""
    if view.console.sampler.full:
        raise ServiceUnavailableException("too many viewers follow the console", headers={"Retry-After": "10"})

    async def events() -> AsyncIterator[Any]:
        yield ServerSentEventMessage(retry=1000)
        async for snapshot in view.console.sampler.changes(LASTS):
            yield ServerSentEventMessage(event="change", data=f"{snapshot.at:.3f}")

    return ServerSentEvent(events())
