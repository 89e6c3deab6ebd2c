"""Limits on guessing: how often one client may try to log in or to register."""

import ipaddress
from typing import Any, cast

from litestar import Request
from litestar.exceptions import TooManyRequestsException
from litestar.middleware.rate_limit import CacheObject, RateLimitConfig, RateLimitMiddleware
from litestar.stores.base import Store
from litestar.stores.memory import MemoryStore
from litestar.types import Receive, Scope, Send

LOGINS_PER_MINUTE = 10
REGISTRATIONS_PER_MINUTE = 10
IPV6_PREFIX_LENGTH = 64
"""Bits that tell IPv6 clients apart: one subscriber has at least a /64, so that single addresses limit nobody."""


class Limiter(RateLimitMiddleware):
    """Litestar's limiter, whose in-memory store does not keep what has expired.

    In memory, hence for each web process alone: a limit in Redis would stop logins whenever Redis is away.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass, or say when the next one may.

        Raises:
            TooManyRequestsException: the client has used up its requests.
        """
        try:
            await super().__call__(scope, receive, send)
        except TooManyRequestsException as error:
            headers = error.headers or {}
            seconds = headers[self.config.rate_limit_reset_header_key]
            detail = f"too many attempts from your network: try again in {seconds} seconds"
            raise TooManyRequestsException(detail, headers=headers | {"Retry-After": seconds}) from None

    async def set_cached_history(self, key: str, cache_object: CacheObject, store: Store) -> None:
        """Count the request, and forget the clients whose minute is over."""
        await cast("MemoryStore", store).delete_expired()
        await super().set_cached_history(key, cache_object, store)


def client_network(request: Request[Any, Any, Any]) -> str:
    """The client's IPv4 address or IPv6 network. Forwarding headers are the server's business, not ours."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((int(address), IPV6_PREFIX_LENGTH), strict=False))


def _per_minute(requests: int, store: str) -> RateLimitConfig:
    return RateLimitConfig(
        rate_limit=("minute", requests), identifier_for_request=client_network, middleware_class=Limiter, store=store
    )


LOGIN_LIMIT = _per_minute(LOGINS_PER_MINUTE, "users-login-limit")
REGISTRATION_LIMIT = _per_minute(REGISTRATIONS_PER_MINUTE, "users-registration-limit")
