"""What a request to the queue's routes pays for, in an application that uses the library alone."""

import base64

import pytest

from tests.fixtures.asgi import is_freed, send, thread_calls
from tests.litestar.conftest import PASSWORD, Plain

ADMIN = {"authorization": f"Basic {base64.b64encode(f'admin:{PASSWORD}'.encode()).decode()}"}

REQUESTS = [
    ("POST", "/queue/tasks/add", b'{"a": 1, "b": 2}', ADMIN),
    ("GET", "/queue/queues", b"", ADMIN),
    ("GET", "/queue/health/live", b"", {}),
]


@pytest.mark.parametrize(("method", "target", "body", "headers"), REQUESTS, ids=str)
async def test_no_request_waits_for_a_thread(
    plain: Plain, method: str, target: str, body: bytes, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await send(plain.app, method, target, body, **headers) < 300  # connects
    with thread_calls(monkeypatch) as called:
        assert await send(plain.app, method, target, body, **headers) < 300
    assert called == []


@pytest.mark.parametrize(("method", "target", "body", "headers"), REQUESTS, ids=str)
async def test_an_answered_request_leaves_nothing_to_the_garbage_collector(
    plain: Plain, method: str, target: str, body: bytes, headers: dict[str, str]
) -> None:
    assert await send(plain.app, method, target, body, **headers) < 300  # connects, and fills the caches
    assert await is_freed(plain.app, method, target, body, **headers)
