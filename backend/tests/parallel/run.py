"""The process that hands out the tests, and reports on them."""

import os
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, cast

import pytest

from tests.parallel.messages import Ended, Message, Next, Reported, Started
from tests.parallel.process import serve


class Process:
    """One of the processes.

    Attributes:
        number: of it, from 0 on; it has ports and a directory of its own by that.
        rest: positions of the tests that it is to run before it asks for the next block.
    """

    def __init__(self, number: int, pid: int, connection: "Connection[Any, Message]") -> None:
        self.number = number
        self.pid = pid
        self.connection = connection
        self.rest: deque[int] = deque()
        self.running: int | None = None


class Run:
    """A run of the tests of a session.

    Args:
        session: with its tests collected.
        blocks: positions of the tests that one process runs one after another, in the order of their start.
    """

    def __init__(self, session: pytest.Session, blocks: Iterable[list[int]]) -> None:
        self._session = session
        self._blocks = deque(blocks)
        self._processes: dict[Connection[Any, Any], Process] = {}

    def on(self, processes: int) -> None:
        """Run them on so many processes.

        Raises:
            pytest.Session.Failed: the run ends early, with `-x` or `--maxfail`.
        """
        if (reporter := self._session.config.pluginmanager.get_plugin("terminalreporter")) is not None:
            # The tests of several modules run at the same time.
            reporter.showfspath = False
        # Made once: the processes have their directories in it.
        cast("Any", self._session.config)._tmp_path_factory.getbasetemp()
        try:
            for number in range(min(processes, len(self._blocks))):
                self._start(number)
            while self._processes:
                for connection in cast("list[Connection[Any, Any]]", wait(self._processes)):
                    self._receive(self._processes[connection])
                if self._session.shouldfail:
                    raise self._session.Failed(self._session.shouldfail)
        finally:
            for process in self._processes.values():
                # It ends when it has nobody to report to.
                process.connection.close()
            for process in self._processes.values():
                os.waitpid(process.pid, 0)

    def _start(self, number: int) -> None:
        ours, theirs = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        if (pid := os.fork()) == 0:
            for connection in (ours, *self._processes):
                connection.close()
            serve(self._session, theirs, number)
        theirs.close()
        self._processes[ours] = Process(number, pid, ours)

    def _receive(self, process: Process) -> None:
        message: Message | None = None
        with suppress(EOFError, ConnectionError):
            message = process.connection.recv()
        match message:
            case None:
                self._crashed(process)
            case Started(position):
                process.running = process.rest.popleft()
                assert process.running == position
                item = self._session.items[position]
                item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            case Reported(data):
                self._report(data)
            case Next():
                process.running = None
                process.rest = deque(self._blocks.popleft() if self._blocks else ())
                process.connection.send(list(process.rest))
            case Ended(error):
                self._ended(process, error)

    def _report(self, data: dict[str, Any]) -> None:
        config = self._session.config
        report = config.hook.pytest_report_from_serializable(config=config, data=data)
        config.hook.pytest_runtest_logreport(report=report)

    def _ended(self, process: Process, error: str) -> None:
        del self._processes[process.connection]
        _, status = os.waitpid(process.pid, 0)
        if error or status:
            self._failed(f"process {process.number}", error or f"it ended with {os.waitstatus_to_exitcode(status)}")

    def _crashed(self, process: Process) -> None:
        """Report the test that has ended its process, and let another one run what is left."""
        del self._processes[process.connection]
        _, status = os.waitpid(process.pid, 0)
        test = "between two tests" if process.running is None else self._session.items[process.running].nodeid
        self._failed(test, f"process {process.number} ended meanwhile: {os.waitstatus_to_exitcode(status)}")
        if process.rest:
            self._blocks.appendleft(list(process.rest))
        if self._blocks:
            self._start(process.number)

    def _failed(self, name: str, message: str) -> None:
        report = pytest.TestReport(name, (name, None, name), {}, "failed", message, "call")
        self._session.config.hook.pytest_runtest_logreport(report=report)
