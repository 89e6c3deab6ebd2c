"""Attributes of the spans, as the semantic conventions for messaging name them, version 1.44."""

import dataclasses
import os
import platform
from typing import Any

from opentelemetry.trace import Span, Status, StatusCode
from saq import Job

from saqueduct.tasks.job_meta import SCHEDULE

Attributes = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Destination:
    """Where the jobs of a queue go.

    Attributes:
        queue: its name.
        server: host of Redis, or the path of its unix socket.
        port: of the host; None: it is a socket.
    """

    queue: str
    server: str
    port: int | None

    def attributes(self, operation: str) -> Attributes:
        """Those of all spans of an operation: `send`, `create` or `process`."""
        found: Attributes = {
            "messaging.system": "saq",
            "messaging.destination.name": self.queue,
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
            "server.address": self.server,
        }
        return found if self.port is None else found | {"server.port": self.port}


def client_id() -> str:
    """This process, as one that sends jobs."""
    return f"{platform.node()}:{os.getpid()}"


def of_job(job: Job) -> Attributes:
    """A job that is sent. Never its arguments."""
    found: Attributes = {"messaging.message.id": job.key, "messaging.saq.task": job.function}
    if schedule := job.meta.get(SCHEDULE):
        found["messaging.saq.schedule"] = schedule
    return found


def fail(span: Span, kind: str) -> None:
    """Mark a span as failed. The text of an error may contain arguments, so only its type is in the span."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def type_of(error: BaseException) -> str:
    """The value of `error.type`."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
