"""Keys in addresses: `/jobs/{key}` and its like, whatever characters the key has.

A server decodes the path, and then nobody can tell the `/` of a key from that of the path. Here the key is found in the
path as it was sent: all between the collection and a last part that names an action, such as `/jobs/tenant%2F42/retry`.
A `/` may also come as it is, as in `/jobs/tenant/42/retry`; only in a key whose own last part is the name of an action
it must be escaped. Beside a route such as `/schema/assets/{name}` a key that begins with `assets/` must be, too.
"""

from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote, unquote

from litestar import Litestar
from litestar.routes import HTTPRoute
from litestar.types import Scope

ESCAPED: Final = "escaped_key"
"""In the scope of a request whose path has an escaped key."""


class Collection(NamedTuple):
    """What may come after the first part of a path, beside a key."""

    actions: set[bytes]
    """Last parts after a key."""

    folders: set[bytes]
    """Second parts of longer routes, in the place of a key."""


Collections = dict[bytes, Collection]
"""By the first part of a path."""


def collections(app: Litestar) -> Collections:
    """Those of the routes `/{collection}/{key}` and `/{collection}/{key}/{action}` whose key is a text."""
    found: Collections = {}
    folders: dict[bytes, set[bytes]] = {}
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        match route.path_components:
            case [str(collection), str(folder), _, *_]:
                folders.setdefault(collection.encode(), set()).add(folder.encode())
            case [str(collection), parameter] if not isinstance(parameter, str) and parameter.type is str:
                found.setdefault(collection.encode(), Collection(set(), set()))
            case [str(collection), parameter, str(action)] if not isinstance(parameter, str) and parameter.type is str:
                found.setdefault(collection.encode(), Collection(set(), set())).actions.add(action.encode())
    return {name: Collection(actions, folders.get(name, set())) for name, (actions, _) in found.items()}


def make_one_part(scope: Scope, known: Collections) -> None:
    """Make the key one part of the path, escaped, where it has a character that needs it; see `unescape`."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    collection, _, rest = raw[1:].partition(b"/")
    if not (b"%" in rest or b"/" in rest) or (found := known.get(collection)) is None:
        return
    rest = rest.strip(b"/")
    folder, slash, _ = rest.partition(b"/")
    if slash and folder in found.folders:
        return
    key, slash, action = rest.rpartition(b"/")
    if not slash or action not in found.actions:
        key, slash, action = rest, b"", b""
    parts = ("", collection.decode(), quote(unquote(key), safe="")) + ((action.decode(),) if slash else ())
    scope["path"] = "/".join(parts)
    cast("dict[str, Any]", scope)[ESCAPED] = True


def unescape(scope: Scope) -> None:
    """Give the handler its path parameters as they were meant."""
    if scope.get(ESCAPED):
        given: dict[str, Any] = scope["path_params"]
        scope["path_params"] = {
            name: unquote(value) if isinstance(value, str) else value for name, value in given.items()
        }
