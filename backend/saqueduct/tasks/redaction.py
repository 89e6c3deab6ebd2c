"""Redaction: keeps the values of the parameters in `redact` out of logs, errors and web pages.

While a job runs, this context knows its secrets: `scrub` removes them from every line that it logs and from the
traceback that is stored. The arguments themselves are not changed, in Redis and for the function.
"""

import functools
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

from saq import Job

REDACTED = "[redacted]"
"""Replacement for a redacted value."""

NOT_KEPT = "is redacted and was not kept: pass it again"
"""Problem of an argument that is REDACTED."""

SHORTEST = 4
"""Shorter texts are not searched for: they occur in other texts by chance."""

# pydantic shortens the input of a failed validation, so that a search for the whole value would not find it.
_SHOWN_INPUT = re.compile(r"(input_value=).*(, input_type=)")


class Secrets:
    """The values to keep out of a job's output, in every form in which they may occur.

    Args:
        values: returns the values; only called at first use, because most jobs have no output.
    """

    def __init__(self, values: Callable[[], Iterable[Any]]) -> None:
        self._values = values

    @functools.cached_property
    def texts(self) -> frozenset[str]:
        """Every text to search for."""
        forms = (form for leaf in _leaves(self._values()) for form in _forms(leaf))
        return frozenset(form for form in forms if len(form) >= SHORTEST)

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        # Longest first: if one text starts with another, replacing the shorter one would leave the rest.
        longest_first = sorted(self.texts, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def scrub(self, text: str) -> str:
        """The text with each secret replaced."""
        if self._pattern is None:
            return text
        return self._pattern.sub(REDACTED, _SHOWN_INPUT.sub(rf"\1{REDACTED}\2", text))

    def scrub_value(self, value: Any) -> Any:
        """A value with each secret in it replaced; containers are copied, other objects become text."""
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, Mapping):
            return {self.scrub_value(name): self.scrub_value(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.scrub_value(each) for each in value]
        shown = repr(value)
        return value if self.scrub(shown) == shown else self.scrub(shown)


NO_SECRETS = Secrets(tuple)
_current: ContextVar[Secrets] = ContextVar("secrets", default=NO_SECRETS)


def keep(secrets: Secrets) -> None:
    """Keep these secrets out of the logs of this context from now on; `NO_SECRETS` ends it."""
    _current.set(secrets)


def scrub(text: str) -> str:
    """A text without the secrets of the job that runs in this context."""
    return _current.get().scrub(text)


def scrub_line(_logger: Any, _method: str, line: str) -> str:
    """structlog processor, the last one: scrubs a rendered line."""
    return scrub(line)


def scrub_event(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """structlog processor, placed before the renderer: scrubbing the rendered line could make its JSON invalid."""
    secrets = _current.get()
    return event if secrets is NO_SECRETS else secrets.scrub_value(event)


class AbridgedJobs(logging.Filter):
    """Keeps job arguments out of log lines: SAQ prints whole jobs, for example when one fails."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_abridged(arg) for arg in record.args)
        elif isinstance(record.args, Mapping):
            record.args = {name: _abridged(arg) for name, arg in record.args.items()}
        if isinstance(record.msg, dict):
            # From structlog: the event dict of `logger.info("...", job=job)`.
            record.msg = {name: _abridged(value) for name, value in record.msg.items()}
        else:
            record.msg = _abridged(record.msg)
        return True


def _abridged(value: Any) -> Any:
    return value.info(False) if isinstance(value, Job) else value


def _leaves(value: Any) -> Iterator[Any]:
    """The single values in containers. Names in a mapping are skipped: they are field names and not secret."""
    if isinstance(value, Mapping):
        yield from _leaves(tuple(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _leaves(each)
    elif value is not None and not isinstance(value, bool):
        yield value


def _forms(leaf: Any) -> Iterator[str]:
    """A value as text, as repr, as in a URL, and each of those as in JSON."""
    texts = {str(leaf), repr(leaf)}
    if isinstance(leaf, str):
        texts = {leaf, repr(leaf)[1:-1], quote(leaf, safe="")}
    elif isinstance(leaf, bytes):
        texts = {repr(leaf)[2:-1], leaf.decode(errors="replace")}
    for text in texts:
        yield text
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
