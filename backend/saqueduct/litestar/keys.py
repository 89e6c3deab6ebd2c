"""Keys in paths: `/jobs/{key}` and the like, with any characters in the key.

A server decodes the path, and then the `/` of a key cannot be distinguished from those of the path. Here the key is
found in the path as it was sent: everything between the collection and a last part that names an action, such as
`/jobs/tenant%2F42/retry`. A `/` may also be sent as it is, as in `/jobs/tenant/42/retry`; only in a key whose own last
part is the name of an action it must be escaped. If there is a route such as `/jobs/assets/{name}`, it must also be
escaped in a key that begins with `assets/`.
"""

from collections.abc import Awaitable
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote, unquote

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, Scope, Send

ESCAPED: Final = "escaped_key"
"""In the scope of a request whose path has an escaped key."""


class Collection(NamedTuple):
    """What may follow the name of a collection, apart from a key."""

    actions: set[bytes]
    """Last parts after a key."""

    folders: set[bytes]
    """Second parts of longer routes, in the place of a key."""


Collections = dict[bytes, Collection]
"""By the first part of a path below its prefix."""


class KeyPaths:
    """ASGI application around another: makes the key in a path one part of it.

    Args:
        app: is called with each connection.
        prefix: path of the router with the collections, such as "/queue"; empty for "/".
        known: the collections.
    """

    def __init__(self, app: ASGIApp, prefix: str, known: Collections) -> None:
        self._app = app
        self._prefix = prefix.encode()
        self._known = known

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a connection."""
        if scope["type"] == ScopeType.HTTP:
            make_one_part(scope, self._prefix, self._known)
        return self._app(scope, receive, send)


def collections(app: Litestar, prefix: str, option: str) -> Collections:
    """Those of the routes `{prefix}/{collection}/{key}` and `{prefix}/{collection}/{key}/{action}`, key a text.

    Args:
        app: the application.
        prefix: path of the router, such as "/queue"; empty for "/".
        option: the routes whose handlers have this option are meant.
    """
    found: Collections = {}
    folders: dict[bytes, set[bytes]] = {}
    above = [part for part in prefix.split("/") if part]
    for route in app.routes:
        if not isinstance(route, HTTPRoute) or route.path_components[: len(above)] != above:
            continue
        match route.path_components[len(above) :]:
            case [str(collection), str(folder), _, *_]:
                folders.setdefault(collection.encode(), set()).add(folder.encode())
            case [str(collection), parameter, *rest] if not isinstance(parameter, str) and parameter.type is str:
                if any(option in handler.opt for handler in route.route_handlers) and len(rest) < 2:
                    actions = found.setdefault(collection.encode(), Collection(set(), set())).actions
                    actions.update(part.encode() for part in rest if isinstance(part, str))
    return {name: Collection(actions, folders.get(name, set())) for name, (actions, _) in found.items()}


def make_one_part(scope: Scope, prefix: bytes, known: Collections) -> None:
    """Make the key one part of the path, escaped, where it has a character that needs it; see `unescape`."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    root = scope.get("root_path") or ""
    if root:
        raw = raw.removeprefix(quote(root).encode())
    if not raw.startswith(prefix):
        return
    collection, _, rest = raw[len(prefix) + 1 :].partition(b"/")
    if not (b"%" in rest or b"/" in rest) or (found := known.get(collection)) is None:
        return
    rest = rest.strip(b"/")
    folder, slash, _ = rest.partition(b"/")
    if slash and folder in found.folders:
        return
    key, slash, action = rest.rpartition(b"/")
    if not slash or action not in found.actions:
        key, slash, action = rest, b"", b""
    parts = (root + prefix.decode(), collection.decode(), quote(unquote(key), safe=""), action.decode())
    scope["path"] = "/".join(parts if slash else parts[:-1])
    cast("dict[str, Any]", scope)[ESCAPED] = True


def unescape(scope: Scope) -> None:
    """Give the handler its path parameters without escapes; once, however often it is called."""
    if cast("dict[str, Any]", scope).pop(ESCAPED, False):
        given: dict[str, Any] = scope["path_params"]
        scope["path_params"] = {
            name: unquote(value) if isinstance(value, str) else value for name, value in given.items()
        }
