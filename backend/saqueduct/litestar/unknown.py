"""Refuses what a route does not declare: query parameters, fields of a body, a body at all, an idempotency key.

An unknown name is most often a misspelt one. Ignoring it would do something that was not asked for, such as replay all
dead letters instead of filtered ones.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from litestar import Litestar, Request
from litestar.exceptions import ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import Scope
from msgspec import inspect

from saqueduct.common.near_names import did_you_mean
from saqueduct.litestar.origins import SAFE_METHODS

IDEMPOTENCY_KEY: Final = b"idempotency-key"

QUERY, BODY, IDEMPOTENT = "query", "reads_body", "takes_idempotency_key"
"""Options of a handler: the names of its query parameters (missing: any), and True when it reads the body, and when it
reads the header IDEMPOTENCY_KEY. A handler that reads them from the request sets them itself."""

DECLARED = "declared"
"""Option of a handler whose other options `declare` has set."""

NO_KEY = "this route takes no header Idempotency-Key: leave it out; sent twice, the request is done twice"

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`")


def declare(app: Litestar, option: str | None = None) -> None:
    """Note in the options of each handler which query parameters it declares, and whether it reads the body.

    Args:
        app: the application.
        option: only handlers that have this option; None: all.
    """
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler, model in route.route_handler_map.values():
                if option is None or option in handler.opt:
                    _declare(handler, model)


def _declare(handler: HTTPRouteHandler, model: Any) -> None:
    reserved = model.expected_reserved_kwargs
    if "query" not in reserved:
        declared = {each.field_alias for each in model.expected_query_params}
        handler.opt[QUERY] = frozenset(declared.union(handler.opt.get(QUERY, ())))
    if reserved & {"data", "body"}:
        handler.opt[BODY] = True
    if any(each.field_alias.lower().encode() == IDEMPOTENCY_KEY for each in model.expected_header_params):
        handler.opt[IDEMPOTENT] = True
    handler.opt[DECLARED] = True


async def refuse_unknown(request: Request[Any, Any, Any]) -> None:
    """Check the query, the body and the idempotency key of a request.

    Raises:
        ValidationException: the route declares no such parameter, takes one value of it, takes no body, or no key.
    """
    scope = request.scope
    options = scope["route_handler"].opt
    if IDEMPOTENT not in options and any(name == IDEMPOTENCY_KEY for name, _ in scope["headers"]):
        _refuse([{"key": "Idempotency-Key", "source": "header", "message": NO_KEY}])
    query = scope["query_string"]
    if query and (known := options.get(QUERY)) is not None and not _is_one_of(query, known):
        _check_query(request, known)
    if scope["method"] not in SAFE_METHODS and BODY not in options and has_body(scope):
        await _check_empty(request)


def has_body(scope: Scope) -> bool:
    """True for a request that sends a body."""
    sent = dict(scope["headers"])
    return sent.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in sent


def _is_one_of(query: bytes, known: Collection[str]) -> bool:
    """True for a single parameter that is known as it is written, as in most queries."""
    return b"&" not in query and query.partition(b"=")[0].decode("latin-1") in known


def _check_query(request: Request[Any, Any, Any], known: Collection[str]) -> None:
    given = request.query_params
    problems = [
        {"key": name, "source": "query", "message": unknown(f"query parameter {name!r}", name, known)}
        for name in given
        if name not in known
    ]
    problems += [
        {"key": name, "source": "query", "message": f"the query parameter {name!r} is given twice: give it once"}
        for name in given
        if name in known and len(given.getall(name)) > 1
    ]
    _refuse(problems)


async def _check_empty(request: Request[Any, Any, Any]) -> None:
    """An empty object counts as no body; some clients always send one."""
    body = (await request.body()).strip()
    if body and (content := await request.json()):
        fields = ", ".join(map(repr, content)) if isinstance(content, dict) else "it"
        message = f"this route takes no body: leave {fields} out"
        _refuse([{"key": "body", "source": "body", "message": message}])


def _refuse(problems: list[dict[str, str]]) -> None:
    if problems:
        raise ValidationException("; ".join(each["message"] for each in problems), extra=problems)


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """What to say of an unknown name.

    >>> unknown("field 'tasks'", "tasks", ["task", "queue"])
    "there is no field 'tasks': did you mean 'task'? (there are queue, task)"
    """
    if not known:
        return f"there is no {what}: there are none here, leave it out"
    every = f"there are {', '.join(sorted(known))}"
    if near := did_you_mean(name, known, otherwise=""):
        return f"there is no {what}: {near} ({every})"
    return f"there is no {what}: {every}"


def named(errors: list[Any], request: Request[Any, Any, Any]) -> list[Any]:
    """Litestar's errors of a request, with the existing fields added to unknown ones."""
    return [_named(each, request) if isinstance(each, Mapping) else each for each in errors]


def _named(error: Mapping[str, Any], request: Request[Any, Any, Any]) -> Mapping[str, Any]:
    match = _UNKNOWN_FIELD.fullmatch(str(error.get("message", "")))
    if match is None or error.get("source") != "body":
        return error
    body = request.scope["route_handler"].parsed_fn_signature.parameters.get("data")
    if body is None:
        return error
    path = [] if error["key"] == "data" else re.split(r"[.\[]", error["key"])
    known = set(_fields(inspect.type_info(body.raw), path))
    return {**error, "message": unknown(f"field {match[1]!r}", match[1], known)} if known else error


def _fields(type_: inspect.Type, path: list[str]) -> Iterator[str]:
    """Names of the fields of the object at a path, such as ["which"] or ["items", "...]"]."""
    match type_:
        case inspect.Metadata():
            yield from _fields(type_.type, path)
        case inspect.UnionType():
            for each in type_.types:
                yield from _fields(each, path)
        case inspect.CollectionType() if path:
            yield from _fields(type_.item_type, path[1:])
        case inspect.DictType() if path:
            yield from _fields(type_.value_type, path[1:])
        case inspect.StructType() | inspect.DataclassType() if path:
            for field in type_.fields:
                if field.encode_name == path[0]:
                    yield from _fields(field.type, path[1:])
        case inspect.StructType() | inspect.DataclassType():
            yield from (field.encode_name for field in type_.fields)
        case _:
            return
