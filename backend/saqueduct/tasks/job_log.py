"""Keeping what a job logs, with its record: for tasks with `record_logs=True`, or all of them by a setting.

A handler of the root logger keeps the lines of jobs that ask for it. Lines are kept as they are for a person: level,
logger and text, without the values of arguments that the task redacts.
"""

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import ContextVar
from copy import copy
from typing import Any

from saqueduct.common.text import storable
from saqueduct.tasks.log_context import FIELDS
from saqueduct.tasks.redaction import AbridgedJobs, scrub

LINES = 200
"""Lines of an attempt that are kept, the last ones."""

BYTES = 64 * 1024
"""Most bytes of them, in UTF-8."""

OF_THE_ENGINE = ("saqueduct.jobs", "saqueduct.worker")
"""Loggers whose lines repeat what the record says."""

_SHOWN = ("event", "exception", "exc_info", "stack", "stack_info", "timestamp", "level", "logger", *FIELDS)
"""Entries of structlog's events that are not written as `name=value`."""


class JobLog:
    """The last lines of one attempt."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, dict[str, Any]]] = deque()
        self._size = 0

    def add(self, level: str, logger: str, text: str, seconds: float) -> None:
        """Keep a line, in place of the oldest ones if there are too many.

        Args:
            level: in lower case.
            logger: its name.
            text: of the line, and of its traceback.
            seconds: when, in epoch seconds.
        """
        text = storable(scrub(text))
        encoded = text.encode()
        if len(encoded) > BYTES:
            # Its end, which names the exception.
            encoded = encoded[-BYTES:]
            text = encoded.decode(errors="ignore")
        line = {"at": int(seconds * 1000), "level": level, "logger": storable(logger), "text": text}
        self._lines.append((len(encoded), line))
        self._size += len(encoded)
        while len(self._lines) > LINES or self._size > BYTES:
            self._size -= self._lines.popleft()[0]

    def lines(self) -> list[dict[str, Any]]:
        """The lines, oldest first: `at` in epoch milliseconds, `level`, `logger`, `text`."""
        return [line for _, line in list(self._lines)]


_current: ContextVar[JobLog | None] = ContextVar("job_log", default=None)


class JobLogHandler(logging.Handler):
    """Keeps the lines of jobs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, if a job that keeps its lines writes it."""
        log = _current.get()
        if log is None or record.name in OF_THE_ENGINE:
            return
        try:
            record = copy(record)
            AbridgedJobs().filter(record)
            text = _event(record.msg) if isinstance(record.msg, dict) else _text(record)
            log.add(record.levelname.lower(), record.name, text, record.created)
        except Exception:
            self.handleError(record)


_formatter = logging.Formatter()
_handler = JobLogHandler()


def recorded(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A task's coroutine function that keeps what its job logs in `EngineJob.logs`."""

    async def run(ctx: Any, /, **arguments: Any) -> Any:
        root = logging.getLogger()
        if _handler not in root.handlers:
            # Here: an application may configure its logging at any time before.
            root.addHandler(_handler)
        log = ctx["job"].logs = JobLog()
        _current.set(log)
        return await function(ctx, **arguments)

    return run


def keep_line(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor that keeps a line of a job, for a structlog which does not write through `logging`.

    Place it before the renderer.
    """
    if (log := _current.get()) is not None:
        log.add(str(event.get("level", method)), str(event.get("logger", "")), _event(event), time.time())
    return event


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        text += f"\n{_formatter.formatException(record.exc_info)}"
    return text


def _event(event: Mapping[str, Any]) -> str:
    """A line of structlog as text."""
    pairs = [f"{name}={value!r}" for name, value in event.items() if name not in _SHOWN and not name.startswith("_")]
    lines = [" ".join([str(event.get("event", "")), *pairs])]
    if isinstance(exception := event.get("exception"), str):
        lines.append(exception)
    elif isinstance(info := event.get("exc_info"), BaseException):
        lines.append(_formatter.formatException((type(info), info, info.__traceback__)))
    elif isinstance(info, tuple):
        lines.append(_formatter.formatException(info))
    return "\n".join(lines)


def as_json(log: JobLog | None) -> list[dict[str, Any]] | None:
    """The lines for a record; None: there are none."""
    return None if log is None else log.lines() or None
