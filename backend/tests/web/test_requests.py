"""Bodies that are no JSON, and what requests leave in the log."""

import httpx
import pytest

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
