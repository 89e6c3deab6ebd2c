"""The functions that a worker runs, by the names of their tasks."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from saq import Job

from saqueduct.errors import TaskNotDeployed
from saqueduct.tasks.job_log import recorded
from saqueduct.tasks.rules import TaskRules, rules_of
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
        wanted = self._rules(name).record_logs
        return self._record_logs if wanted is None else wanted

    def retries_after(self, name: str, error: BaseException) -> bool:
        """True when the function allows another attempt after this error."""
        return self._rules(name).retries_after(error)

    def is_final(self, name: str, error: BaseException) -> bool:
        """True when the function refuses another attempt after this error, for any reason."""
        return self._rules(name).is_final(error)

    def limits_of(self, job: Job) -> list[list[str]]:
        """The limits that the task of a job gives it now, see `limit_keys.py`."""
        return self._rules(job.function).limits_of(job.kwargs or {})

    def _rules(self, name: str) -> TaskRules:
        return rules_of(self._functions.get(name))
