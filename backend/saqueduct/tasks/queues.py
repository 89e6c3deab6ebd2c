"""The interface of the queues for tasks; `saqueduct.queue` implements it.

Connected queues are registered here, so that `task.enqueue(...)` needs no queue argument.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from saq import Job

from saqueduct.broker.listener import JobListener
from saqueduct.broker.result_channel import ResultChannel
from saqueduct.errors import ConfigurationError
from saqueduct.injection.injector import Injector
from saqueduct.tasks.job import EngineJob, Enqueued

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class TaskQueue(Protocol):
    """One queue; see `EngineQueue`."""

    @property
    def name(self) -> str: ...
    @property
    def max_payload_bytes(self) -> int: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def listener(self) -> JobListener: ...
    @property
    def result_channel(self) -> ResultChannel: ...

    def job_id(self, job_key: str) -> str: ...
    def read(self, key: str, stored: bytes | str | None) -> EngineJob: ...
    async def fetch(self, key: str) -> EngineJob | None: ...
    async def fetch_to_abort(self, key: str) -> EngineJob | None: ...
    async def enqueue_many(
        self,
        jobs: Sequence[Job],
        report: Callable[[int], None] | None = None,
        session: "AsyncSession | None" = None,
    ) -> list[Enqueued]: ...


class TaskQueues(Protocol):
    """All queues of a process; see `Queues`."""

    injector: Injector | None

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def outlives_forks(self) -> bool: ...

    def is_connected_in(self, loop: asyncio.AbstractEventLoop | None) -> bool: ...
    def check_process(self) -> None: ...
    def get(self, name: str) -> TaskQueue: ...
    async def find(self, key: str, queue: str | None = None) -> Job: ...
    def __iter__(self) -> Iterator[TaskQueue]: ...


_connected: list[TaskQueues] = []

preferred_queues: ContextVar[TaskQueues | None] = ContextVar("saqueduct_queues", default=None)
"""The queues of this request or worker, if several sets of queues are connected."""


def connected(queues: TaskQueues) -> None:
    """Use these queues for enqueues of tasks from now on."""
    if queues not in _connected:
        _connected.append(queues)


def disconnected(queues: TaskQueues) -> None:
    """Stop using these queues for enqueues of tasks."""
    if queues in _connected:
        _connected.remove(queues)


@contextmanager
def preferring(queues: TaskQueues) -> Iterator[None]:
    """Use these queues for enqueues in the block, in a process with several applications."""
    before = preferred_queues.set(queues)
    try:
        yield
    finally:
        preferred_queues.reset(before)


def current_queues() -> TaskQueues:
    """The queues of this process. If there are several: those of this request or worker, else those connected last in
    this event loop, else those connected last.

    Raises:
        ConfigurationError: there are none.
    """
    if not _connected:
        raise ConfigurationError(
            "the queues of this process are not connected: enqueue from a route or a task, or in a script within "
            "`async with Saqueduct(config):`, or in the reference application `with open_container():` of app.shell"
        )
    if len(_connected) == 1:
        return _connected[0]
    if (preferred := preferred_queues.get()) in _connected and preferred is not None:
        return preferred
    loop = _running_loop()
    here = [queues for queues in _connected if queues.is_connected_in(loop)]
    return (here or _connected)[-1]


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _after_fork() -> None:
    """In a forked process, keep only the queues that can connect again there."""
    _connected[:] = [queues for queues in _connected if queues.outlives_forks]


os.register_at_fork(after_in_child=_after_fork)
