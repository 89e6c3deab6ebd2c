"""A program that the runner keeps: its process, its output, its end."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.dev import child
from app.dev.console import Console

OUTPUT_SECONDS = 2.0
"""How long output is still read after a process has ended; another process may hold its pipe open."""

LINE_LIMIT = 1024 * 1024
"""Bytes of one line that are kept together."""


@dataclass(frozen=True)
class Program:
    """What to run: a name for the terminal and a command."""

    name: str
    command: tuple[str, ...]


class RunningProgram:
    """One process of a program, in a session of its own, with its output on the console."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process, output: int, console: Console) -> None:
        self.program = program
        self.console = console
        self.stopping = False
        self._process = process
        self._end = asyncio.create_task(self._follow(output))

    @classmethod
    async def start(
        cls, program: Program, environment: Mapping[str, str], directory: Path, console: Console
    ) -> "RunningProgram":
        """Start it; must be called on the main thread, because the child treats the end of that thread as its parent's
        end."""
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *program.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **console.environment, **environment, "PYTHONUNBUFFERED": "1"},
                cwd=directory,
                start_new_session=True,
            )
        finally:
            os.close(writing)
        return cls(program, process, reading, console)

    @property
    def running(self) -> bool:
        """True until it has ended and its output has been read."""
        return not self._end.done()

    async def wait(self) -> int:
        """Its exit status, negative the signal that ended it; all its output is on the console by then."""
        return await asyncio.shield(self._end)

    async def stop(self, grace: float) -> None:
        """Ask it to end, and kill it if it still runs after `grace` seconds."""
        if not self.stopping:
            self.stopping = True
            with suppress(ProcessLookupError):
                self._process.terminate()
        await asyncio.wait([self._end], timeout=grace)
        if self.running:
            self.console.say(f"{self.program.name} did not stop within {grace:g} s: killed")
            self.kill()
            await self.wait()

    def kill(self) -> None:
        """Kill it immediately, with everything it has started."""
        self.stopping = True
        self._kill_group()

    async def _follow(self, output: int) -> int:
        copying = asyncio.create_task(self._copy(output))
        status = await self._process.wait()
        self._kill_group()
        await asyncio.wait([copying], timeout=OUTPUT_SECONDS)
        copying.cancel()
        return status

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _copy(self, output: int) -> None:
        reader = asyncio.StreamReader(limit=LINE_LIMIT)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb")
        )
        try:
            while line := await _next_line(reader):
                self.console.line(self.program.name, line.decode(errors="replace").rstrip())
        finally:
            transport.close()


async def _next_line(reader: asyncio.StreamReader) -> bytes:
    """The next line, or a piece of one that is longer than the limit; nothing at the end."""
    try:
        return await reader.readuntil()
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as overrun:
        return await reader.readexactly(overrun.consumed)


def describe_exit(status: int) -> str:
    """`exited with status 1`, `was killed by SIGKILL`."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"exited with status {status}"
