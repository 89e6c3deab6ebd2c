"""Limits of request bodies: how long one may take to arrive, and how many bytes of all bodies are held at the same
time.

How long one body may be is Litestar's `request_max_body_size`: WEB_MAX_BODY_BYTES, or more where a route needs it.
"""

import asyncio
from typing import Any

from litestar.exceptions import HTTPException
from litestar.types import Receive

from saqueduct.litestar.requests import CLOSE


class Bodies:
    """The bodies that this process holds.

    Args:
        seconds: that a body may take to arrive, counted from the first `receive`.
        limit: bytes of all bodies that are held at the same time.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self.seconds = seconds
        self.limit = limit
        self.held = 0


class BodyReader:
    """ASGI's `receive` of one request, within the limits; call `release` when the request is over.

    Args:
        bodies: of the process.
        receive: of the server.
    """

    __slots__ = ("_bodies", "_deadline", "_ended", "_held", "_receive")

    def __init__(self, bodies: Bodies, receive: Receive) -> None:
        self._bodies = bodies
        self._receive = receive
        self._deadline = 0.0
        self._held = 0
        self._ended = False

    async def __call__(self) -> Any:
        """The next message.

        Raises:
            HTTPException: 408, the body takes too long; 503, this process holds as many bytes as allowed.
        """
        if self._ended:
            return await self._receive()
        self._deadline = self._deadline or asyncio.get_running_loop().time() + self._bodies.seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message: Any = await self._receive()
        except TimeoutError:
            detail = f"the body did not arrive within {self._bodies.seconds:g} seconds"
            raise HTTPException(detail, status_code=408, headers=CLOSE) from None
        self._ended = not message.get("more_body", False)
        self._hold(len(message.get("body", b"")))
        return message

    def release(self) -> None:
        """The body is no longer held."""
        self._bodies.held -= self._held
        self._held = 0

    def _hold(self, size: int) -> None:
        self._held += size
        self._bodies.held += size
        if self._bodies.held > self._bodies.limit:
            self.release()
            detail = "too many large requests at once: try again"
            raise HTTPException(detail, status_code=503, headers={"Retry-After": "1", **CLOSE})
