"""The edge: what every request passes before routing."""

from typing import Any

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from app.settings import Settings
from app.web.bodies import Bodies, BodyReader
from app.web.headers import with_defaults
from saqueduct.litestar.hosts import AllowedHosts
from saqueduct.litestar.origins import SAFE_METHODS, is_foreign

HEALTH = frozenset({"/health/live", "/health/ready"})
"""Called by load balancers, which use addresses and not names."""

POLICY_VIOLATION = 1008
"""Code with which a WebSocket is closed (RFC 6455, section 7.4.1)."""


class Edge:
    """ASGI application around another: refuses other host names and pages of other sites, bounds bodies, adds headers.

    Args:
        app: gets the requests that pass.
        settings: of this process.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = AllowedHosts(settings.allowed_hosts)
        self._everywhere = HEALTH if settings.production else frozenset[str]()
        self._bodies = Bodies(settings.web.body_timeout, settings.web.max_bodies_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        headers = dict(scope["headers"])
        allowed = headers.get(b"host", b"") in self._hosts or scope["path"] in self._everywhere
        if scope["type"] == ScopeType.WEBSOCKET:
            # A browser lets any page open a WebSocket, with the credentials that the browser remembers.
            await (self._app(scope, receive, send) if allowed and not is_foreign(headers) else _close(send))
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_defaults(message["headers"])
            await send(message)

        if not allowed:
            await _refuse(send_with_headers, 400, "unknown-host", UNKNOWN_HOST)
        elif scope["method"] not in SAFE_METHODS and is_foreign(headers):
            await _refuse(send_with_headers, 403, "forbidden", "requests from other sites are refused")
        elif headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
            await self._app(scope, receive, send_with_headers)
        else:
            await self._with_body(scope, receive, send_with_headers)

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = BodyReader(self._bodies, receive)
        try:
            await self._app(scope, reader, send)
        finally:
            reader.release()


UNKNOWN_HOST = "this host name is not served here: the setting WEB_ALLOWED_HOSTS lists those that are"


async def _close(send: Send) -> None:
    await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "refused"})


async def _refuse(send: Send, status: int, code: str, detail: str) -> None:
    body = msgspec.json.encode({"status": status, "code": code, "detail": detail})
    headers: Any = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
