"""POSTs to services outside, whose URLs are secrets."""

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx

TIMEOUT = 10.0
"""Seconds that a service gets to answer."""


class _WithoutSecrets(logging.Filter):
    """Drops the lines in which httpx shows a URL of these."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(url in message for url in self.urls)


_filter = _WithoutSecrets()


def client_for(*urls: str) -> "httpx.AsyncClient":
    """A client; httpx logs each request with its URL at INFO, but not those below these URLs."""
    # Here: few applications use it.
    import httpx

    _filter.urls.update(url.partition("?")[0].rstrip("/") for url in urls)
    logging.getLogger("httpx").addFilter(_filter)
    return httpx.AsyncClient(timeout=TIMEOUT)


async def refusal(client: "httpx.AsyncClient", url: str, **content: Any) -> str:
    """POST; returns why the service did not take it, without the URL; empty: it did."""
    import httpx

    host = urlsplit(url).hostname
    try:
        answer = await client.post(url, **content)
    except httpx.HTTPError as error:
        return f"{host}: {type(error).__name__}"
    return f"{host} answered {answer.status_code}" if answer.is_error else ""
