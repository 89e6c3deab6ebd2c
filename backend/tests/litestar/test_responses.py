"""JSONResponse answers exactly as Litestar's own response."""

from typing import Any, cast

import httpx
import msgspec
import pytest
from litestar import Litestar, Response, Router, get
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import Cookie

from saqueduct.litestar.responses import JSONResponse


class Made(msgspec.Struct):
    name: str
    size: int = 1


async def nothing() -> None: ...


async def with_header(response: Response[Any]) -> Response[Any]:
    response.headers["X-Seen"] = "yes"
    response.status_code = 202
    return response


OPTIONS: list[dict[str, Any]] = [
    {},
    {"status_code": 201, "headers": {"Location": "/jobs/ä", "X-One": "1"}},
    {"status_code": 204},
    {"status_code": 404},
    {"cookies": [Cookie("one", "1")]},
    {"cookies": {"two": "2"}, "headers": {"X-One": "1"}},
    {"media_type": "application/problem+json", "status_code": 400},
    {"media_type": "application/vnd.api+json"},
    {"headers": {"Content-Type": "application/json; profile=x"}},
    {"headers": {"content-length": "26"}},
    {"headers": {"X-Router": "own"}},
    {"background": BackgroundTask(nothing)},
]

LAYERS: list[dict[str, Any]] = [
    {},
    {"response_headers": {"X-Router": "router", "Cache-Control": "no-store"}},
    {"response_cookies": {"session": "s"}},
    {"after_request": with_header},
]


async def answers(layer: dict[str, Any], options: dict[str, Any], content: Any) -> list[tuple[Any, ...]]:
    """Status, headers and body of the same answer by each class."""

    @get("/litestar")
    async def litestar() -> Response[Any]:
        return Response(content, **options)

    @get("/ours")
    async def ours() -> Response[Any]:
        return JSONResponse(content, **options)

    app = Litestar([Router("/", route_handlers=[litestar, ours], **layer)], openapi_config=None, logging_config=None)
    transport = httpx.ASGITransport(cast("Any", app))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        both = [await client.get(path) for path in ("/litestar", "/ours")]
    return [(each.status_code, sorted(each.headers.raw), each.content) for each in both]


# By names alone: an address would differ in each run.
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("layer", LAYERS, ids=" ".join)
async def test_it_is_the_same_answer(layer: dict[str, Any], options: dict[str, Any]) -> None:
    content = None if options.get("status_code") == 204 else Made("ada", 7)
    theirs, ours = await answers(layer, options, content)
    assert ours == theirs


@pytest.mark.parametrize("content", ["text", b"{}", [1, "ä"], {"a": None}, Made("ada")], ids=repr)
async def test_it_is_the_same_answer_for_content_of_any_kind(content: Any) -> None:
    theirs, ours = await answers({}, {}, content)
    assert ours == theirs
