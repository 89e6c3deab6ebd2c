"""Headers that every answer has, unless it brings its own of that name."""

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

DEFAULTS: dict[bytes, bytes] = {
    # A page that may load resources sets its own policy. No response may be shown inside another page.
    b"content-security-policy": b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"x-frame-options": b"DENY",
    b"x-content-type-options": b"nosniff",
    # The address of a job may contain its token.
    b"referrer-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cache-control": b"no-store",
}


_ALL = tuple(DEFAULTS.items())


def with_defaults(given: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers of an answer, whose names are in lower case as ASGI has them, and the defaults of those it lacks."""
    headers = list(given)
    own = dict(headers)
    headers += _ALL if DEFAULTS.keys().isdisjoint(own) else [pair for pair in _ALL if pair[0] not in own]
    return headers
