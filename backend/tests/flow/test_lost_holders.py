"""A job that holds a claim, and whose data in Redis is gone or cannot be read, does not hold up the newest call."""

import asyncio
from typing import Any

import pytest

from saqueduct import Context, Debounce, EngineQueue, Unique, task
from saqueduct.testing import JobKit

pytestmark = pytest.mark.usefixtures("registry")

BY_DOC = Unique(by=("doc",), on_conflict="cancel")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"unique": BY_DOC}, id="cancel"),
        pytest.param({"unique": Unique(by=("doc",), on_conflict="replace")}, id="replace"),
        pytest.param({"debounce": Debounce(500, by="doc")}, id="debounce"),
    ],
)
@pytest.mark.parametrize("left", [None, b"{not json", b'{"kwargs": 5}', []], ids=["gone", "text", "no job", "list"])
async def test_the_newest_call_takes_the_place_of_a_job_that_is_lost(
    queue: EngineQueue, jobs: JobKit, options: dict[str, Any], left: Any
) -> None:
    @task(**options)
    async def render(ctx: Context, *, doc: int = 0, n: int = 0) -> int:
        return n

    first = await render.enqueue(n=1)
    await queue.redis.delete(first.id)
    if isinstance(left, bytes):
        await queue.redis.set(first.id, left)
    elif left is not None:
        await queue.redis.rpush(first.id, "no text")
    async with asyncio.timeout(30):
        second = await render.enqueue(n=2)
    assert second.created
    await jobs.drain()
    assert await second.result(timeout=10) == 2
