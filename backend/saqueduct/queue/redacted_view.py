"""Jobs for display: the arguments, result and error of a job without the values that its task redacts."""

import re
from collections.abc import Mapping
from typing import Any

from saq import Queue

from saqueduct.errors import UnknownTask
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.definition import TaskLookup
from saqueduct.tasks.redaction import REDACTED
from saqueduct.tasks.signature import Signature

_BETWEEN = re.compile(r"^ *\+(?:-\+)?-{8,}.*$", re.MULTILINE)
_CHAINED = re.compile(
    r"\n\n(?:The above exception was the direct cause|During handling of the above exception)[^\n]*:\n\n"
)
_MARGIN = re.compile(r"^ *[|+] ?", re.MULTILINE)


REDACTABLE = ("arguments", "result", "error", "errors", "logs")
"""What a record has of a job that its task may redact."""


class RedactedView:
    """Jobs without the values that their tasks redact.

    Args:
        tasks: those of the application; None: this process knows none, as with a stock queue, and nothing is redacted.
    """

    def __init__(self, tasks: TaskLookup | None) -> None:
        self._tasks = tasks

    @classmethod
    def of(cls, queue: Queue) -> "RedactedView":
        """Of the tasks that a queue knows."""
        return cls(queue.tasks if isinstance(queue, EngineQueue) else None)

    def of_job(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a job from `Job.to_dict`, for display.

        If this process does not know the task, no argument value is shown: it is unknown which ones to redact.
        """
        if self._tasks is None:
            return dict(fields)
        signature, arguments = self._signature(fields["function"]), fields.get("kwargs") or {}
        if signature is None:
            return {**fields, "kwargs": dict.fromkeys(arguments, REDACTED)}
        if not signature.redact:
            return dict(fields)
        secrets = signature.secrets(arguments)
        others = {name: secrets.scrub_value(fields[name]) for name in ("error", "result", "meta") if name in fields}
        return {**fields, "kwargs": signature.redacted(arguments), **others}

    def of_record(self, task: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What a record has of REDACTABLE, also redacted by the current options of the task.

        If the task no longer exists, it is shown as it was recorded.

        Args:
            task: name of the job's task.
            fields: those of REDACTABLE, by name.
        """
        signature = self._signature(task)
        if signature is None or not signature.redact:
            return dict(fields)
        arguments = fields["arguments"] or {}
        secrets = signature.secrets(arguments)
        scrubbed = {name: secrets.scrub_value(fields[name]) for name in REDACTABLE}
        return {**scrubbed, "arguments": signature.redacted(arguments) if arguments else fields["arguments"]}

    @property
    def redacting(self) -> list[str]:
        """Names of the tasks that redact something."""
        tasks = () if self._tasks is None else self._tasks.get_all_tasks()
        return [task.name for task in tasks if task.signature.redact]

    def error_of(self, task: str, error: str | None, arguments: Mapping[str, Any] | None) -> str | None:
        """The error of a record, as `of_record`.

        Args:
            task: name of the job's task.
            error: as it was recorded.
            arguments: of a task that redacts something.
        """
        signature = self._signature(task)
        if error is None or signature is None:
            return error
        return signature.secrets(arguments).scrub(error)

    def _signature(self, task: str) -> Signature | None:
        try:
            return self._tasks.get(task).signature if self._tasks is not None else None
        except UnknownTask:
            return None


def error_summary(error: str | None) -> str | None:
    """Type and message from a traceback; other texts are unchanged.

    >>> error_summary('Traceback (most recent call last):\\n  File "x.py", line 1, in f\\n    g()\\nKeyError: 1')
    'KeyError: 1'
    """
    if not error:
        return error
    if "Exception Group Traceback" in error:
        return _group_summary(error)
    # In a chain the last error is the job's.
    error = str(_CHAINED.split(error)[-1]).rstrip("\n")
    if "Traceback (most recent call last)" not in error:
        return error
    lines = error.rstrip().splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    after = frames[-1] + 1 if frames else 1
    while after < len(lines) and lines[after].startswith("    "):
        after += 1
    return "\n".join(lines[after:]) or lines[-1]


def brief_error(error: str | None) -> str:
    """Type and message of an error, without the type's module, because space in a table is limited."""
    return re.sub(r"^(?:\w+\.)+(?=\w+(?::|$))", "", error_summary(error) or "")


def _group_summary(error: str) -> str:
    """Type and message of a group, followed by those of each error in it."""
    # Python writes each error into its own section, with a margin.
    parts = _BETWEEN.split(error.replace("Exception Group Traceback", "Traceback"))
    group, *inner = [error_summary(_MARGIN.sub("", part).strip("\n")) for part in parts if part.strip()]
    return "\n".join([group or "", *(f"- {each}" for each in inner)])
