"""Logging: structlog renders every record, those of libraries too; `console` for humans, `json` for machines."""

import io
import logging.config
import os
import sys
import textwrap
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import ExcInfo

from app.settings import Settings
from saqueduct.logs import FIELDS, AbridgedJobs, add_job, printable, scrub_event, scrub_line

EVENT_FIELDS = ("status", "seconds", "stack", *FIELDS)
"""Fields that lines of the standard library's loggers may carry in addition to their text."""

SEVERAL_LINES = ("exception", "stack")
"""Fields whose text has newlines of its own."""

UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access")


def configure_logging(settings: Settings) -> None:
    """Set up structlog and the standard library's logging for this process."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_job,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.app.log_level)),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(_logging_config(settings, shared))


def _logging_config(settings: Settings, shared: list[Any]) -> dict[str, Any]:
    """Every record of every library through structlog to stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"abridged_jobs": {"()": AbridgedJobs}},
        "formatters": {
            "structlog": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *_renderers(settings.app.log_format),
                ],
                # What a caller gave as `extra` becomes fields of the line.
                "foreign_pre_chain": [structlog.stdlib.ExtraAdder(allow=EVENT_FIELDS), *shared],
            }
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "structlog",
                "filters": ["abridged_jobs"],
            }
        },
        "root": {"handlers": ["stderr"], "level": settings.app.log_level},
        "loggers": {
            **{name: {"handlers": [], "propagate": True} for name in UVICORN},
            # Below INFO SAQ logs the arguments of every job.
            "saq": {"level": "INFO" if settings.app.log_level == "DEBUG" else settings.app.log_level},
        },
    }


def _renderers(log_format: str) -> list[Any]:
    if log_format == "json":
        # Without local variables: they hold passwords and tokens of the request that failed.
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [
            structlog.processors.ExceptionRenderer(tracebacks),
            scrub_event,
            _without_controls,
            structlog.processors.JSONRenderer(),
        ]
    # `make dev` reads its children through pipes and says by FORCE_COLOR that a terminal is behind them.
    colors = sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))
    console = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_write_traceback)
    return [_without_controls, console, scrub_line]


def _without_controls(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters: a key or a message must not look like lines of their own, or move the cursor."""
    for name, value in event.items():
        event[name] = _printable(value, newlines=name in SEVERAL_LINES)
    return event


def _printable(value: Any, *, newlines: bool) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else printable(value, newlines=newlines)
    if isinstance(value, dict):
        return {name: _printable(each, newlines=newlines) for name, each in value.items()}
    if isinstance(value, list):
        return [_printable(each, newlines=newlines) for each in value]
    return value


def _write_traceback(out: TextIO, error: ExcInfo) -> None:
    """Write a traceback, indented: a message of several lines must not look like lines of the log."""
    text = io.StringIO()
    structlog.dev.plain_traceback(text, error)
    out.write(textwrap.indent(printable(text.getvalue(), newlines=True), "  "))
