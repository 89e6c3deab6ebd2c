"""A job as a call in Python and as a request, to copy."""

import pprint
import shlex
from typing import Any, Final
from urllib.parse import quote

import msgspec

from saqueduct.postgres.job_details import JobDetails
from saqueduct.tasks.redaction import REDACTED

WIDTH: Final = 100
"""Characters of a line of Python."""


def as_python(job: JobDetails) -> str:
    """The call that enqueues the same job."""
    try:
        return _call(job)
    except RecursionError:
        return "# The arguments are nested too deep for a literal of Python."


def _call(job: JobDetails) -> str:
    if not job.task.isidentifier() or not all(name.isidentifier() for name in job.arguments or {}):
        return (
            f"await queues.enqueue({job.task!r}, {pprint.pformat(job.arguments or {}, width=WIDTH, sort_dicts=False)})"
        )
    lines = [f"    {name}={_literal(value)}," for name, value in (job.arguments or {}).items()]
    return "\n".join([f"await {job.task}.enqueue(", *lines, ")"]) if lines else f"await {job.task}.enqueue()"


def as_curl(job: JobDetails, api: str, user: str | None) -> str:
    """The request that enqueues the same job.

    Args:
        job: the job.
        api: address of the HTTP API, such as "https://shop.example.com/queue".
        user: name of who asks, whose password curl asks for; None: nobody signs in.
    """
    body = msgspec.json.encode(job.arguments or {}).decode()
    address = f"{api}/tasks/{quote(job.task, safe='')}"
    who = "" if user is None else f"-u {shlex.quote(user)} "
    return (
        f"curl {who}-X POST {shlex.quote(address)} \\\n  -H 'Content-Type: application/json' \\\n"
        f"  --data-raw {shlex.quote(body)}"
    )


def redacted_names(job: JobDetails) -> list[str]:
    """The arguments whose values are not shown, and must be filled in."""
    return [name for name, value in (job.arguments or {}).items() if value == REDACTED]


def _literal(value: Any) -> str:
    return pprint.pformat(value, width=WIDTH, sort_dicts=False).replace("\n", "\n    ")
