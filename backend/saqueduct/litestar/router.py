"""The queue's HTTP API as one Litestar router."""

from collections.abc import Callable, Sequence
from typing import Protocol

from litestar import Litestar, Router
from litestar.types import Guard
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.common.secret import Secret
from saqueduct.postgres.store import Memory
from saqueduct.queue.queues import Queues
from saqueduct.tasks.registry import TaskRegistry


class QueueParts(Protocol):
    """What the router needs; a `Saqueduct` has all of it."""

    @property
    def queues(self) -> Queues:
        """The queues; connected before the first request."""

    @property
    def registry(self) -> TaskRegistry:
        """The tasks that can be listed and enqueued."""

    @property
    def store(self) -> Memory | None:
        """What PostgreSQL keeps; None: no job records and no dead letters."""

    @property
    def signing_key(self) -> Secret:
        """Signs the tokens in the addresses of jobs; the same in all processes."""


def queue_router(
    parts: QueueParts,
    *,
    path: str,
    guards: Sequence[Guard],
    max_payload_bytes: int,
    sessions: Callable[[], AsyncSession] | None = None,
) -> Router:
    """The routes of the queue, for `Litestar(route_handlers=[...])`. Call `install` on the application, too.

    Args:
        parts: queues, tasks, PostgreSQL and key.
        path: under which the routes are, such as "/queue" or "/".
        guards: who may call the routes of the admin: an `AdminGuard`, or guards of the application.
        max_payload_bytes: bytes that the arguments of a job may take; sets the largest body of routes that enqueue.
        sessions: makes the session of a request; on the connections of `parts.store` by default.
    """
    raise NotImplementedError


def install(app: Litestar) -> None:
    """Let the keys of jobs and schedules in the paths of the router contain any character, such as `/`.

    Call it once the application is built, before its first request. A second call does nothing.
    """
    raise NotImplementedError
