"""Bounds of request bodies."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, post
from litestar.exceptions import HTTPException

from app.web.bodies import Bodies, BodyReader
from saqueduct.litestar.requests import StrictRequest

JSON = {"content-type": "application/json"}


NO_JSON = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain; application/json",
    "",
)


async def test_only_json_is_read(client: httpx.AsyncClient) -> None:
    for path in ("/queues/default/pause", "/emails", "/process", "/users/login", "/tasks/my_task"):
        for content_type in NO_JSON:
            headers = {"content-type": content_type} if content_type else {}
            answer = await client.post(path, content=b'{"user_id": 1}', headers=headers)
            assert answer.status_code == 415, (path, content_type)
            assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_is_read(client: httpx.AsyncClient, content_type: str) -> None:
    answer = await client.post("/process", content=b'{"user_id": 1}', headers={"content-type": content_type})
    assert answer.status_code == 201


async def test_a_route_may_take_another_content_type() -> None:
    @post("/form", opt={"content_types": ["application/x-www-form-urlencoded"]}, status_code=200)
    async def form(request: Request[Any, Any, Any]) -> str:
        return (await request.body()).decode()

    transport: Any = httpx.ASGITransport(Litestar([form], request_class=StrictRequest))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.post("/form", data={"a": "b"})).text == "a=b"
        assert (await client.post("/form", json={"a": "b"})).status_code == 415


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1000):
        yield b" " * 1000


async def test_a_body_beyond_the_limit_is_413_with_or_without_its_length(client: httpx.AsyncClient) -> None:
    for path in ("/process", "/users/login", "/users/register"):
        assert (await client.post(path, content=b" " * 70_000, headers=JSON)).status_code == 413, path
        answer = await client.post(path, content=chunks(70_000), headers=JSON)
        assert (answer.status_code, answer.headers["connection"]) == (413, "close"), path
        assert "65536 bytes" in answer.json()["detail"]


async def test_arguments_of_a_job_may_be_as_large_as_the_queue_takes(client: httpx.AsyncClient) -> None:
    body = {"to": "ada@example.com", "subject": "s", "body": "x" * 200_000}
    assert (await client.post("/emails", json=body)).status_code == 201
    assert (await client.post("/tasks/send_email", json=body)).status_code == 201
    assert (await client.post("/tasks/send_email", content=b" " * 1_000_000, headers=JSON)).status_code == 413


class Sender:
    """A client that has sent `messages`, and sends nothing more."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._messages = list(messages)

    async def __call__(self) -> Any:
        if self._messages:
            return self._messages.pop(0)
        return await asyncio.get_running_loop().create_future()


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_that_does_not_come_is_408() -> None:
    reader = BodyReader(Bodies(0.01, 100), Sender(part(b"a")))
    await reader()
    with pytest.raises(HTTPException) as caught:
        await reader()
    assert caught.value.status_code == 408
    assert (caught.value.headers or {})["Connection"] == "close"


async def test_after_the_body_there_is_no_limit_of_time() -> None:
    reader = BodyReader(Bodies(0.01, 100), Sender(part(b"a", more=False)))
    await reader()
    disconnect = asyncio.ensure_future(reader())
    done, _ = await asyncio.wait([disconnect], timeout=0.05)
    assert not done
    disconnect.cancel()


async def test_all_bodies_together_are_bounded_and_a_bound_request_frees_what_it_held() -> None:
    bodies = Bodies(10, 100)
    first, second = BodyReader(bodies, Sender(part(b"a" * 60))), BodyReader(bodies, Sender(part(b"a" * 60)))
    await first()
    with pytest.raises(HTTPException) as caught:
        await second()
    assert caught.value.status_code == 503
    assert (caught.value.headers or {})["Retry-After"]
    assert bodies.held == 60
    first.release()
    second.release()
    assert bodies.held == 0
