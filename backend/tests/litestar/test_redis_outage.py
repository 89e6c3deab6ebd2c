"""What a web process logs when Redis is away at its start."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from litestar import Litestar

from saqueduct import get_registry
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin
from saqueduct.litestar.redis_outage import REPORT
from tests.conftest import running
from tests.fixtures.poll import eventually
from tests.fixtures.ports import free_port

SECRET = "tests only, no secret, but long enough"


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """No tasks, which may need more than a Redis."""
    with get_registry().isolated():
        yield


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Reads the messages of the library's warnings and errors; what a test before has left unread is asyncio's."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records if record.name != "asyncio"]


def application(url: str) -> Litestar:
    return Litestar(plugins=[SaqueductPlugin(SaqueductConfig(redis_url=url, secret_key=SECRET))], logging_config=None)


@asynccontextmanager
async def redis_at(port: int) -> AsyncIterator[None]:
    """A server that answers each command with PONG; at the end it waits until its clients have disconnected."""
    served: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            if line.startswith(b"*"):
                writer.write(b"+PONG\r\n")
        writer.close()
        await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.create_task(answer(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", port):
        yield
        await asyncio.gather(*served)


async def test_without_redis_it_starts_and_warns_once_until_redis_is_back(logged: Callable[[], list[str]]) -> None:
    port = free_port()
    async with AsyncExitStack() as servers, running(application(f"redis://127.0.0.1:{port}")):
        await eventually(logged)
        [warning] = logged()
        assert f"connecting to 127.0.0.1:{port}" in warning
        assert "check that it is running, and redis_url" in warning
        await servers.enter_async_context(redis_at(port))
        await eventually(lambda: len(logged()) > 1)
        assert logged() == [warning, "Redis is back"]


async def test_a_wrong_password_is_reported(redis_url: str, logged: Callable[[], list[str]]) -> None:
    url = redis_url.replace("://", "://nobody:wrong@", 1)
    async with running(application(url)):
        await eventually(logged)
        [warning] = logged()
        assert "password" in warning.lower()
        assert "Redis" in warning


async def test_with_redis_nothing_is_reported(redis_url: str, logged: Callable[[], list[str]]) -> None:
    async with running(application(redis_url)):
        await eventually(lambda: all(task.get_name() != REPORT for task in asyncio.all_tasks()))
    assert logged() == []
