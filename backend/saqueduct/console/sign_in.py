"""Leads browsers to the login page, and back to the page that they asked for."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote, urlencode, urlsplit

from saqueduct.console.answers import AnyRequest, root_of

LOGIN: Final = "login"
"""Path of the login page in the console."""

BROWSER: Final = ("text/html", "text/event-stream")
"""What only browsers accept by name."""


def is_of_browser(request: AnyRequest) -> bool:
    """True for a request of a browser, which would ask for user name and password by itself."""
    accept = request.headers.get("accept", "")
    return "sec-fetch-mode" in request.headers or any(each in accept for each in BROWSER)


def login_address(request: AnyRequest, prefix: str) -> str:
    """The address of the login page for a refused request; empty: it is better answered with the error.

    Args:
        request: that nobody has signed in for.
        prefix: path of the console.
    """
    asks_for_page = "text/html" in request.headers.get("accept", "")
    # A browser that sends a password has asked for one itself, and asks again.
    if not asks_for_page or "authorization" in request.headers:
        return ""
    return f"{root_of(request)}{prefix}/{LOGIN}?{urlencode({'next': _asked_for(request)})}"


def is_own(address: str, pages: Iterable[str]) -> bool:
    """True for the address of a page below one of these paths.

    A server decodes paths: an address that a browser would read differently is none.
    """
    if not any(address == page or address.startswith((f"{page}/", f"{page}?")) for page in pages):
        return False
    path = address.partition("?")[0].partition("#")[0]
    leaves = not {unquote(step) for step in path.split("/")}.isdisjoint((".", ".."))
    odd = address.startswith("//") or "\\" in address or not (address.isprintable() and address.isascii())
    return not (leaves or odd)


def _asked_for(request: AnyRequest) -> str:
    """The page that was asked for; for a form the page that it was on."""
    if request.method not in ("GET", "HEAD"):
        page = urlsplit(request.headers.get("referer", ""))
        return page.path + (f"?{page.query}" if page.query else "")
    root = root_of(request)
    query = request.scope["query_string"].decode("latin-1")
    return root + quote(request.scope["path"].removeprefix(root)) + (f"?{query}" if query else "")
