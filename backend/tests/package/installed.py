"""An environment in which the wheel is installed, and the processes that run in it."""

import dataclasses
import functools
import itertools
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx

from tests.fixtures.kept_alive import KEPT_ALIVE
from tests.fixtures.poll import eventually_sync
from tests.fixtures.ports import free_port
from tests.fixtures.python import Server
from tests.fixtures.python import run as run_python
from tests.processes.stack import Process, process

_numbers = itertools.count()


@dataclasses.dataclass(frozen=True)
class Installed:
    """A virtual environment; the server that forks its processes ends with the block.

    Attributes:
        directory: of the environment.
        strict: makes an error of each warning at the imports of the server that forks its processes.
    """

    directory: Path
    strict: bool = False

    def program(self, name: str) -> str:
        """Path of a program in it."""
        return str(self.directory / "bin" / name)

    @functools.cached_property
    def server(self) -> Server:
        """Forks its processes of Python."""
        return Server(self.program("python"), self.directory, strict=self.strict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "server" in vars(self):
            self.server.close()

    def arguments(self, program: str, *arguments: str) -> list[str]:
        """What follows `python` in a command line that runs a program, which is a file of Python, or Python itself."""
        return [*arguments] if program == "python" else [self.program(program), *arguments]

    def variables(self, given: Mapping[str, str] = {}) -> dict[str, str]:
        """The environment variables of its processes: nothing of this checkout but its PATH."""
        path = f"{self.directory / 'bin'}:{os.environ['PATH']}"
        common = {"PATH": path, "HOME": os.environ.get("HOME", "/"), "NO_COLOR": "1", "COLUMNS": "200"}
        return {**common, "PYTHONUNBUFFERED": "1", **given}

    def run(self, program: str, *arguments: str, cwd: Path, variables: Mapping[str, str] = {}) -> str:
        """Run a program of it to its end; returns what it printed.

        Raises:
            AssertionError: it failed; shows what it printed.
        """
        command = self.arguments(program, *arguments)
        return printed(run_python(command, cwd=cwd, env=self.variables(variables), timeout=120, by=self.server))

    def start(self, program: str, *arguments: str, cwd: Path, variables: Mapping[str, str] = {}) -> str:
        """As `run`, but in a process that has not loaded anything yet."""
        command = [self.program(program), *arguments]
        environment = self.variables(variables)
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return printed(done)


def printed(done: "subprocess.CompletedProcess[str]") -> str:
    """What it printed.

    Raises:
        AssertionError: it failed.
    """
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Project:
    """A folder with somebody's application, which uses an environment.

    Attributes:
        installed: the environment.
        directory: the folder.
        variables: environment variables of its processes.
    """

    installed: Installed
    directory: Path
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @contextmanager
    def running(self, program: str, *arguments: str) -> Iterator[Process]:
        """A program of the environment for a block."""
        log = self.directory / f"log-{next(_numbers)}"
        variables = self.installed.variables(self.variables)
        command = self.installed.arguments(program, *arguments)
        with process(command, variables, log, self.directory, by=self.installed.server) as started:
            yield started

    @contextmanager
    def web(self, program: str, *arguments: str) -> Iterator[httpx.Client]:
        """A web server on a free port for a block, and a client of it."""
        port = free_port()
        with (
            self.running(program, *arguments, "--port", str(port)) as server,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=KEPT_ALIVE) as client,
        ):
            eventually_sync(lambda: answers(client) or server.popen.poll() is not None)
            assert server.popen.poll() is None, server.output
            yield client

    def run(self, program: str, *arguments: str) -> str:
        """Run a program to its end; returns what it printed."""
        return self.installed.run(program, *arguments, cwd=self.directory, variables=self.variables)

    def start(self, program: str, *arguments: str) -> str:
        """As `run`, but in a process that has not loaded anything yet."""
        return self.installed.start(program, *arguments, cwd=self.directory, variables=self.variables)


def answers(client: httpx.Client) -> bool:
    """True when the server answers, with any status."""
    try:
        client.get("/")
    except httpx.TransportError:
        return False
    return True
