"""A forked process that runs the tests which it is given."""

import os
import sys
import tempfile
import traceback
from itertools import zip_longest
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from tests.parallel.messages import Ended, Message, Next, Reported, Started

NUMBER = "TEST_PROCESS"
"""Environment variable with the number of the process, from 0 on."""


class Reports:
    """Plugin that sends the reports of a process; of tests that pass only what is shown of them."""

    def __init__(self, config: pytest.Config, connection: "Connection[Message, list[int]]") -> None:
        self._config = config
        self._connection = connection
        option = config.option
        self._all = option.durations is not None or bool(option.xmlpath) or bool({*"pPA"} & {*option.reportchars})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and not self._all:
            if report.when != "call":
                return
            report.sections.clear()
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._connection.send(Reported(data))


def serve(session: pytest.Session, connection: "Connection[Message, list[int]]", number: int) -> NoReturn:
    """Run the tests that come over a connection, in a process just forked, and end it."""
    status, error = 0, ""
    try:
        _become(session.config, number)
        session.config.pluginmanager.register(Reports(session.config, connection))
        _run(session, connection)
    except (BrokenPipeError, EOFError, KeyboardInterrupt):
        # Whoever waited for the reports has gone.
        status = 1
    except BaseException:
        error = traceback.format_exc()
    try:
        _close(session)
    except BaseException:
        error += traceback.format_exc()
    try:
        connection.send(Ended(error))
    except OSError:
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Without what the other process has registered for its own end.
    os._exit(status)


def _become(config: pytest.Config, number: int) -> None:
    os.environ[NUMBER] = str(number)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    plugins = config.pluginmanager
    plugins.unregister(name="terminalreporter")
    _capture_alone(plugins.get_plugin("capturemanager"))
    factory: Any = cast("Any", config)._tmp_path_factory
    factory._basetemp = factory.getbasetemp() / f"process{number}"
    factory._basetemp.mkdir(mode=0o700, exist_ok=True)


def _capture_alone(manager: Any) -> None:
    """Give this process files of its own for what it prints.

    The streams stay, because modules keep those that they were imported with.
    """
    captured = manager._global_capturing
    for capture in (captured.out, captured.err):
        # Not with `--capture=sys` or `-s`.
        if hasattr(capture, "targetfd"):
            with tempfile.TemporaryFile() as file:
                os.dup2(file.fileno(), capture.tmpfile.fileno())
                os.dup2(file.fileno(), capture.targetfd)


def _run(session: pytest.Session, connection: "Connection[Message, list[int]]") -> None:
    while block := _next(connection):
        for position, following in zip_longest(block, block[1:]):
            item = session.items[position]
            connection.send(Started(position))
            # At the end of a block all goes but what the whole session has.
            then = session if following is None else session.items[following]
            item.ihook.pytest_runtest_protocol(item=item, nextitem=then)
            if session.shouldfail:
                return


def _next(connection: "Connection[Message, list[int]]") -> list[int]:
    connection.send(Next())
    return connection.recv()


def _close(session: pytest.Session) -> None:
    """End what the tests have shared, and let plugins report what they have seen until now."""
    cast("Any", session)._setupstate.teardown_exact(None)
    cast("Any", session.config)._ensure_unconfigure()
