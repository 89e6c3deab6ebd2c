"""What the tests of the command line share: commands run in this process, and records to look at."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest
from click.testing import CliRunner
from dishka import AsyncContainer
from sqlalchemy.ext.asyncio import AsyncSession

from app.settings import Settings
from saqueduct import Queues
from saqueduct.cli.groups import main
from saqueduct.postgres.models import JobRecord
from tests.fixtures.composition import build_workers

APP = "app.queue.config:load_config"
"""`--app` of the reference application."""

Record = Callable[..., Awaitable[JobRecord]]


class Cli(Protocol):
    """Runs a command, which must end with `status`; returns what it prints on stdout and on stderr."""

    async def __call__(self, *arguments: str, status: int = 0) -> tuple[str, str]: ...


class JsonCli(Protocol):
    """Runs a command with --json; returns what it prints, decoded."""

    async def __call__(self, *arguments: str, status: int = 0) -> Any: ...


@pytest.fixture
def cli(environment: dict[str, str], container: AsyncContainer, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Commands on empty servers. Each has an event loop of its own, and so a thread."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    async def run(*arguments: str, status: int = 0) -> tuple[str, str]:
        result = await asyncio.to_thread(CliRunner().invoke, main, ["--app", APP, *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.stdout, result.stderr

    return run


@pytest.fixture
def cli_json(cli: Cli) -> JsonCli:
    async def run(*arguments: str, status: int = 0) -> Any:
        stdout, _ = await cli(*arguments, "--json", status=status)
        return json.loads(stdout)

    return run


@pytest.fixture
def record(session: AsyncSession) -> Record:
    """Writes a record of a job of `my_task` that has failed, unless the fields say otherwise."""
    began = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    written = 0

    async def write(key: str, **fields: Any) -> JobRecord:
        nonlocal written
        written += 1
        defaults = {"task": "my_task", "queue": "default", "status": "failed", "attempts": 1, "error": "ValueError: no"}
        times = {"queued_at": began + dt.timedelta(seconds=written)}
        found = JobRecord(key=key, **{**defaults, "arguments": {"user_id": written}, **times, **fields})
        session.add(found)
        await session.commit()
        return found

    return write


@pytest.fixture
def worker(settings: Settings, queues: Queues, container: AsyncContainer) -> Callable[[], Any]:
    """A worker of the application's queues, without schedules, for the time of a block."""

    @asynccontextmanager
    async def working() -> AsyncIterator[None]:
        [worker] = build_workers(settings, queues, container)
        worker.scheduled = None
        running = asyncio.create_task(worker.start())
        try:
            yield
        finally:
            worker.request_stop()
            await running

    return working
