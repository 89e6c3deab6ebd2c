"""The functions that a worker runs, by the names of their tasks."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from saq import Job

from saqueduct.errors import TaskNotDeployed
from saqueduct.tasks.job_log import recorded
from saqueduct.tasks.threads import in_thread


class TaskFunctions:
    """The functions of one worker, as SAQ's Worker has them.

    Args:
        functions: by name; may change.
        queue: the queue's name, for errors.
        record_logs: True: what jobs log is kept, unless their task says otherwise.
    """

    def __init__(self, functions: Mapping[str, Any], queue: str, *, record_logs: bool = False) -> None:
        self._record_logs = record_logs
        self._functions = functions
        self._queue = queue
        self._coroutines: dict[str, Any] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def get(self, name: str) -> Any:
        """The coroutine function of a task; a plain function runs in a thread.

        Raises:
            TaskNotDeployed: this worker has none of that name.
        """
        if (function := self._coroutines.get(name)) is None:
            if name not in self._functions:
                raise TaskNotDeployed(name, self._queue)
            function = self._functions[name]
            if not asyncio.iscoroutinefunction(function):
                function = partial(in_thread, function)
            if self._keeps_logs(name):
                function = recorded(function)
            self._coroutines[name] = function
        return function

    def _keeps_logs(self, name: str) -> bool:
        wanted = getattr(self._functions[name], "record_logs", None)
        return self._record_logs if wanted is None else bool(wanted)

    def retries_after(self, name: str, error: BaseException) -> bool:
        """True when the function allows another attempt after this error."""
        rule = getattr(self._functions.get(name), "retries_after", None)
        return rule is None or bool(rule(error))

    def is_final(self, name: str, error: BaseException) -> bool:
        """True when the function refuses another attempt after this error, for any reason."""
        rule = getattr(self._functions.get(name), "is_final", None)
        return rule is not None and bool(rule(error))

    def limits_of(self, job: Job) -> list[list[str]]:
        """The limits that the task of a job gives it now, see `limit_keys.py`."""
        limits = getattr(self._functions.get(job.function), "limits_of", None)
        return [] if limits is None else cast("list[list[str]]", limits(job.kwargs or {}))
