"""The origin of a changing request: a page of another site must not use what a browser sends by itself.

That is a password that the browser remembers, or this machine's address in development. Programs send none of these
headers and pass.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

DEFAULT_PORTS = {"http": 80, "https": 443}


def is_foreign(headers: Mapping[bytes, bytes]) -> bool:
    """True when a browser says that a page of another site sent the request, or does not say of which.

    `Sec-Fetch-Site` comes over HTTPS only; `Origin` with every changing request of a browser; `Referer` is used if an
    old browser sends neither. A bearer token is not sent by a browser itself: it may come from anywhere.
    """
    if headers.get(b"authorization", b"")[:7].lower() == b"bearer ":
        return False
    site = headers.get(b"sec-fetch-site")
    if site not in (None, b"none", b"same-origin"):
        return True
    origin = headers.get(b"origin")
    if origin is None and site is None:
        origin = headers.get(b"referer")
    return origin is not None and not _is_same_host(origin, headers.get(b"host", b""))


def _is_same_host(origin: bytes, host: bytes) -> bool:
    """By host and port alone: behind a proxy that ends TLS the schemes differ."""
    try:
        page = urlsplit(origin.decode("latin-1"))
        here = urlsplit(f"{page.scheme}://{host.decode('latin-1')}")
        default = DEFAULT_PORTS[page.scheme]
        return page.hostname == here.hostname and (page.port or default) == (here.port or default)
    except (ValueError, KeyError):
        return False
