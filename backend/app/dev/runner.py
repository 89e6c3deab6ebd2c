"""Keeps the programs of `make dev` running: starts them, reloads them on changes, and stops them all."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from app.dev.console import Console
from app.dev.program import Program, RunningProgram, describe_exit
from app.dev.watch import Watch, WatchError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

EXIT_MISCONFIGURED = 2
"""Exit status of a program whose settings or tasks do not fit: without a change it would only fail again."""

SETTLED = 5.0
"""Seconds after which a failure does not count as a failed start."""


class StopSignal:
    """Set by the first SIGINT, SIGTERM or SIGHUP; a SIGINT after that (a second Ctrl-C) calls `at_once`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.at_once: Callable[[], None] = lambda: None
        self._event = asyncio.Event()
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._received, number)

    def is_set(self) -> bool:
        """True after the first signal."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until the first signal."""
        await self._event.wait()

    def _received(self, number: int) -> None:
        if not self.is_set():
            self.console.say("\nstopping (Ctrl-C again: at once) ...")
            self._event.set()
        elif number == signal.SIGINT:
            self.at_once()


class Runner:
    """Runs programs until the stop signal.

    One that is killed, or fails after it has run for `settled` seconds, starts again. One that fails at its start, or
    exits with EXIT_MISCONFIGURED, is reported and stays down until the next change: it would only fail again.

    Args:
        programs: what to keep running.
        environment: variables for them, in addition to this process's own.
        directory: where they run.
        grace: seconds between SIGTERM and SIGKILL.
        watch: whose changes restart all of them.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        environment: Mapping[str, str],
        directory: Path,
        grace: float,
        watch: Watch,
        console: Console,
        stop: StopSignal,
        settled: float = SETTLED,
    ) -> None:
        self.programs = programs
        self.environment = environment
        self.directory = directory
        self.grace = grace
        self.watch = watch
        self.console = console
        self.stop = stop
        self.settled = settled
        self._running: list[RunningProgram] = []
        self._followed: set[asyncio.Task[None]] = set()
        stop.at_once = self._kill

    async def run(self, announce: Callable[[], Awaitable[None]]) -> None:
        """Run them until the stop signal, concurrently with `announce`. None of them is left running at the end."""
        reloading = asyncio.create_task(self._reload_on_change())
        others = [asyncio.ensure_future(announce()), asyncio.create_task(self.stop.wait())]
        try:
            # Reloading ends only with an error; even then the programs must be stopped.
            await asyncio.wait([reloading, others[-1]], return_when=asyncio.FIRST_COMPLETED)
            if reloading.done():
                reloading.result()
        finally:
            for task in (reloading, *others):
                task.cancel()
            await asyncio.gather(reloading, *others, return_exceptions=True)
            await self._stop_all()

    async def run_once(self, program: Program) -> int:
        """Run a program to its end, or until the stop signal; returns its exit status."""
        running = await self._start(program)
        ended, stopped = asyncio.create_task(running.wait()), asyncio.create_task(self.stop.wait())
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        await self._stop_all()
        return await ended

    async def _reload_on_change(self) -> None:
        async with self.watch.watching() as changes:
            await self._start_all()
            try:
                async for paths in changes:
                    self.console.say(f"reloading: {', '.join(path.name for path in paths)} changed")
                    await self._stop_all()
                    await self._start_all()
            except WatchError as error:
                self.console.say(f"no reload on changes: {error}")
                await self.stop.wait()

    async def _start_all(self) -> None:
        for program in self.programs:
            self._keep(await self._start(program))

    def _keep(self, running: RunningProgram) -> None:
        following = asyncio.create_task(self._follow(running))
        self._followed.add(following)
        following.add_done_callback(self._followed.discard)

    async def _start(self, program: Program) -> RunningProgram:
        running = await RunningProgram.start(program, self.environment, self.directory, self.console)
        self._running.append(running)
        return running

    async def _follow(self, running: RunningProgram) -> None:
        began = time.monotonic()
        status = await running.wait()
        if running.stopping:
            return
        name = running.program.name
        failed_late = status not in (0, EXIT_MISCONFIGURED) and time.monotonic() - began >= self.settled
        if status < 0 or failed_late:
            self.console.say(f"{name} {describe_exit(status)}; starting it again")
            self._running.remove(running)
            self._keep(await self._start(running.program))
        else:
            self.console.say(f"{name} {describe_exit(status)}; the next change of the source starts it again")

    async def _stop_all(self) -> None:
        await asyncio.gather(*(running.stop(self.grace) for running in self._running))
        self._running.clear()

    def _kill(self) -> None:
        for running in self._running:
            running.kill()
