"""Litestar applications of users, run by Litestar's own command line in a folder of their own."""

import itertools
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.fixtures import python
from tests.fixtures.kept_alive import KEPT_ALIVE
from tests.fixtures.poll import eventually_sync
from tests.fixtures.ports import free_port
from tests.processes.stack import BACKEND, Process, process

_numbers = itertools.count()


class Project:
    """A folder with `example.py`.

    Args:
        directory: the folder.
        source: of `example.py`.
        environment: of all its processes.
    """

    def __init__(self, directory: Path, source: str, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.environment = {"PYTHONPATH": str(BACKEND), "NO_COLOR": "1", "COLUMNS": "200", **(environment or {})}
        directory.mkdir(exist_ok=True)
        (directory / "example.py").write_text(source)

    @contextmanager
    def running(self, *command: str) -> Iterator[Process]:
        """`litestar --app example:app ...`, for a block."""
        log = self.directory / f"log-{next(_numbers)}"
        with process(self._arguments(command), self.environment, log, self.directory) as started:
            yield started

    @contextmanager
    def web(self) -> Iterator[tuple[httpx.Client, Process]]:
        """`litestar --app example:app run` on a free port, and a client of it."""
        port = free_port()
        with (
            self.running("run", "--port", str(port)) as server,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=KEPT_ALIVE) as client,
        ):
            server.prints("startup complete")
            eventually_sync(lambda: _answers(client))
            yield client, server

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return python.run(self._arguments(command), cwd=self.directory, env=self.environment)

    def _arguments(self, command: tuple[str, ...]) -> list[str]:
        return ["-m", "litestar", "--app", "example:app", *command]


def _answers(client: httpx.Client) -> bool:
    try:
        client.get("/")
    except httpx.TransportError:
        return False
    return True
