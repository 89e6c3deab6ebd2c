"""uvicorn's HTTP protocol, with limits for what precedes a body: request line and headers."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 64 * 1024
"""Most bytes of request line and headers; uvicorn 0.54 has no limit."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers are too long, or take too long.

    Overrides of uvicorn 0.54's protocol: the callbacks for a connection, data, the end of the headers and the end of a
    request. A head that arrives in one piece, as nearly all do, needs no timer.
    """

    head_timeout: ClassVar[float] = 20.0
    """Seconds from the connection, or from the first piece of a head, to its end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = True
        self._head_size = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_timeout, self._refuse, 408)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_size += len(data)
        super().data_received(data)
        if not (self._in_head and self._head_size):
            return
        if self._head_size > MAX_HEAD:
            self._refuse(431)
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_timeout, self._refuse, 408)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_size = 0
        super().on_message_complete()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 %d \r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
            self.transport.close()


def bounded_protocol(head_timeout: float) -> type[BoundedProtocol]:
    """The protocol with another time limit."""
    return type("Protocol", (BoundedProtocol,), {"head_timeout": head_timeout})
