"""The OpenAPI document of this application's own routes; the library describes its own routes."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import Method

from saqueduct.litestar.openapi import Document, complete_operation, describe_enqueue, describe_role, view_of

OWN: Final = ("/process", "/users", "/todos", "/payments", "/campaigns", "/emails")
"""Where this application's own routes are."""

VERBS: Final = {"page": "list", "add_recipients": "add_recipients_to"}


def operation_id(handler: HTTPRouteHandler, _: Method, path: Iterable[Any]) -> str:
    """The name of an operation, such as `create_payment` and `list_emails`."""
    collection = next(part for part in path if isinstance(part, str)).replace("-", "_")
    verb = VERBS.get(handler.fn.__name__, handler.fn.__name__)
    if verb == collection:
        return verb
    return f"{verb}_{collection if verb == 'list' else collection.removesuffix('s')}"


class ApiDocument(JsonRenderPlugin):
    """Renders the completed document at /schema/openapi.json."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json")
        self._completed: Document | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: Document) -> bytes:
        """The document; completed once."""
        if self._completed is None:
            self._completed = completed(openapi_schema)
        return self.render_json(request, self._completed)


def completed(document: Document) -> Document:
    """The document with what Litestar does not know about these routes."""
    found = copy.deepcopy(document)
    for path, item in found["paths"].items():
        if path.startswith(OWN):
            for method, operation in item.items():
                describe_role(operation)
                complete_operation(operation, _statuses(path, method, operation))
    _complete_process(found["paths"])
    answers = found["paths"]["/payments"]["post"]["responses"]
    answers["200"] = {**answers["201"], "description": "it existed before"}
    return found


def _complete_process(paths: Document) -> None:
    operation = paths["/process"]["post"]
    user: Document = {"type": "integer"}
    body: Document = {"type": "object", "properties": {"user_id": user}, "additionalProperties": False}
    describe_enqueue(operation, body, view_of(paths["/jobs/{key}"]["get"]))
    operation["parameters"].insert(0, {"name": "user_id", "in": "query", "required": False, "schema": user})


def _statuses(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[int]:
    yield from (400, 500, 503)
    if any(operation.get("security") or ()) or path.startswith(("/users/", "/process")):
        yield from (401, 403, 429)
    if "{" in path:
        yield 404
    if method != "get":
        yield from (403, 408, 409, 413, 415)
    if path == "/process":
        # The key in the header was sent with another request.
        yield 422
