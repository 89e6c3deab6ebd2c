"""Starts the application's real processes for a test, and stops them."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from saq.queue.redis import RedisQueue

from tests.fixtures.clients import patient
from tests.fixtures.kept_alive import KEPT_ALIVE
from tests.fixtures.poll import eventually_sync
from tests.fixtures.ports import free_port
from tests.fixtures.python import Python, Server

BACKEND = Path(__file__).resolve().parents[2]
WEB = ("-m", "app.main")
WEB_WITH_TEST_TASKS = ("-m", "tests.processes.web_with_test_tasks")
WORKER = ("-m", "app.worker")
WORKER_WITH_TEST_TASKS = ("-m", "tests.processes.worker_with_test_tasks")
WORKER_WITHOUT_SCHEDULES = ("-m", "tests.processes.worker_without_schedules")
WORKER_THAT_IS_WOKEN = ("-m", "tests.processes.worker_that_is_woken")


class Process:
    """One process of the application, or of another program; its output goes to a file.

    Args:
        arguments: those of `python`, or of the program.
        environment: its environment variables, besides PATH.
        log: the file.
        directory: its working directory.
        program: is started as it is; by default Python is forked.
        by: the fork server; by default that of this checkout.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        directory: Path = BACKEND,
        program: str | None = None,
        by: Server | None = None,
    ) -> None:
        self._log = log
        variables = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **environment}
        with log.open("wb") as output:
            self.popen = (
                Python(
                    arguments,
                    cwd=directory,
                    env=variables,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    by=by,
                )
                if program is None
                else subprocess.Popen(
                    [program, *arguments],
                    cwd=directory,
                    env=variables,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )

    @property
    def output(self) -> str:
        """All it has printed."""
        return self._log.read_text()

    def prints(self, words: str) -> None:
        """Wait until it has printed `words`."""
        eventually_sync(lambda: words in self.output or self.popen.poll() is not None)
        assert words in self.output, self.output

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 60.0) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        self.popen.send_signal(number)
        return self.popen.wait(within)


@contextmanager
def process(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    directory: Path = BACKEND,
    program: str | None = None,
    by: Server | None = None,
) -> Iterator[Process]:
    """A process for a block, killed with all its children at the end."""
    started = Process(arguments, environment, log, directory, program, by)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.popen.pid, signal.SIGKILL)
        started.popen.wait()


@contextmanager
def web(environment: Mapping[str, str], log: Path, arguments: Sequence[str] = WEB) -> Iterator[httpx.Client]:
    """The HTTP process on a free port, and a client of it."""
    port = free_port()
    with (
        process(arguments, {**environment, "WEB_PORT": str(port)}, log) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=KEPT_ALIVE) as client,
    ):
        eventually_sync(lambda: alive(client) or server.popen.poll() is not None)
        assert server.popen.poll() is None, server.output
        yield client


def enqueue(redis_url: str, task: str, **keywords: Any) -> str:
    """Enqueue a job as a stock SAQ producer elsewhere would; returns its key."""

    async def call() -> str:
        queue = RedisQueue(patient(redis_url))
        job = await queue.enqueue(task, **keywords)
        await queue.disconnect()
        assert job is not None
        return job.key

    # In a thread of its own: Playwright keeps an event loop running in the test's.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(call())).result()


def alive(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False
