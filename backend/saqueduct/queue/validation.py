"""Calls in SAQ's form: a task's name, or a job, and keywords; validated against the task's signature."""

from collections.abc import Mapping
from typing import Any

from saq import Job

from saqueduct.tasks.call_options import check_meta
from saqueduct.tasks.definition import TaskLookup
from saqueduct.tasks.job import EngineJob, check
from saqueduct.tasks.job_meta import checked, engine_entries


class CallValidator:
    """Creates jobs for SAQ's `enqueue(job_or_func, **keywords)`.

    Args:
        tasks: the tasks to validate arguments against; None: any name and any arguments are accepted.
        max_payload_bytes: largest encoded arguments, in bytes.
        queue: the name of the queue.
    """

    def __init__(self, tasks: TaskLookup | None, max_payload_bytes: int, queue: str) -> None:
        self._tasks = tasks
        self._queue = queue
        self._max_payload_bytes = max_payload_bytes

    def job(self, job_or_func: str | Job, keywords: dict[str, Any]) -> Job:
        """The job for SAQ's `enqueue(job_or_func, **keywords)`, validated if the queue knows tasks.

        Raises:
            UnknownTask, InvalidArguments, PayloadTooLarge: see `Task.job`.
            ValueError: a field has a wrong type, or `meta` has an entry with a reserved name.
            RegistrationError: the task has limits, which apply in another queue.
        """
        if self._tasks is None:
            job = _as_saq_makes_it(job_or_func, keywords)
            check(job)
            return job
        if isinstance(job_or_func, Job):
            job = _with_fields(job_or_func, keywords)
            check(job)
            task = self._tasks.get(job.function)
            task.check_queue(self._queue)
            job.kwargs = task.signature.encode(job.kwargs or {}, self._max_payload_bytes)
            if task.takes_turns:
                task.limit(job)
            return job
        task = self._tasks.get(job_or_func)
        task.check_queue(self._queue)
        arguments, fields = task.split(keywords)
        _check_meta(fields)
        return task.job(arguments, limit=self._max_payload_bytes, **fields)


def _as_saq_makes_it(job_or_func: str | Job, keywords: dict[str, Any]) -> Job:
    """SAQ's rule: keywords named like fields of a job are fields, the others are arguments."""
    fields = {name: value for name, value in keywords.items() if name in Job.__dataclass_fields__}
    if others := {name: value for name, value in keywords.items() if name not in fields}:
        fields["kwargs"] = {**(fields.get("kwargs") or {}), **others}
    if isinstance(job_or_func, str):
        _check_meta(fields)
        return EngineJob(function=job_or_func, **fields)
    return _with_fields(job_or_func, fields)


def _check_meta(fields: Mapping[str, Any]) -> None:
    if fields.get("meta") is not None:
        check_meta(fields["meta"])


def _with_fields(job: Job, fields: dict[str, Any]) -> Job:
    if "meta" in fields:
        fields = {**fields, "meta": checked(fields["meta"] or {}, engine_entries(job.meta))}
    for name, value in fields.items():
        setattr(job, name, value)
    return job
