"""Where a request comes from: this machine, a trusted proxy, or elsewhere."""

import ipaddress
from collections.abc import Iterable
from typing import Any, Final, cast

from litestar.types import ASGIApp, Receive, Scope, Send

from saqueduct.litestar.hosts import AllowedHosts
from saqueduct.litestar.refusals import Connection

FORWARDING: Final = ("x-forwarded-for", "forwarded", "x-real-ip")
"""Headers of a proxy: the peer is not the client."""

LOCAL_HOSTS: Final = AllowedHosts(())

PEER: Final = "saqueduct.peer"
"""Key of a scope: the address of the peer, before a middleware has replaced it by that of the client."""


class KeepPeer:
    """ASGI application around another that reads `X-Forwarded-For`, such as uvicorn's `ProxyHeadersMiddleware`: keeps
    the address of the proxy, which then may say who has signed in.

    Args:
        app: gets all requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        client = scope.get("client")
        cast("dict[str, Any]", scope)[PEER] = client[0] if client else ""
        await self._app(scope, receive, send)


class TrustedProxies:
    """The addresses whose headers are trusted.

    Args:
        addresses: such as 10.0.0.7, or networks such as 10.0.0.0/24.

    Raises:
        ValueError: one is neither.
    """

    def __init__(self, addresses: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(address) for address in addresses]

    def sent(self, connection: Connection) -> bool:
        """True if one of them sent the request to this process.

        False for a request that was forwarded, unless `KeepPeer` kept the address of the proxy: the server may have
        replaced it by the one that `X-Forwarded-For` names.
        """
        scope = cast("dict[str, Any]", connection.scope)
        if PEER not in scope and any(name in connection.headers for name in FORWARDING):
            return False
        client = connection.client
        try:
            address = ipaddress.ip_address(scope.get(PEER, client.host if client else ""))
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def not_of_this_machine(connection: Connection) -> str:
    """Why a request is not of this machine; empty: it is, by a local host name (no DNS rebinding) and no proxy."""
    if not _is_loopback(connection.client.host if connection.client else ""):
        return "from another machine"
    if any(name in connection.headers for name in FORWARDING):
        return "forwarded by a proxy"
    return "" if connection.headers.get("host", "").encode("latin-1") in LOCAL_HOSTS else "by another host name"


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
