"""Bodies that are no JSON, and what requests leave in the log."""

from typing import Any, cast

import httpx
import pytest
from litestar import Litestar, get
from litestar.params import FromPath

from app.errors import EXCEPTION_HANDLERS

JSON = {"content-type": "application/json"}

ROUTES = [
    "/process",
    "/users/register",
    "/users/login",
    "/users/refresh",
    "/users/logout",
    "/tasks/my_task",
    "/dead-letters/replay",
    "/queues/default/pause",
    "/emails",
    "/payments",
    "/campaigns",
]


@pytest.mark.parametrize("route", ROUTES)
async def test_text_that_is_not_utf8_is_400(client: httpx.AsyncClient, route: str) -> None:
    for body in (b'{"email": "\xff\xfe"}', b"\xff\xfe", b'{"\xc3\x28": 1}', b'{"email": "\\ud800"}'):
        answer = await client.post(route, content=body, headers=JSON)
        assert answer.status_code == 400, body
        assert answer.headers["content-type"].startswith("application/problem+json")


async def test_a_path_writes_no_lines_of_its_own_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    @get("/{name:str}")
    async def fail(name: FromPath[str]) -> None:
        raise RuntimeError

    transport: Any = httpx.ASGITransport(
        cast("Any", Litestar([fail], exception_handlers=EXCEPTION_HANDLERS, logging_config=None)),
        raise_app_exceptions=False,
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/a%0Aforged%1B%5B31m")).status_code == 500
    [line] = [record.getMessage() for record in caplog.records if record.name == "saqueduct.http"]
    assert line == r"unexpected error at GET /a\nforged\x1b[31m"
