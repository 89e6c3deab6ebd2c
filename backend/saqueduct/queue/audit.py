"""The audit: who did what to jobs, queues, schedules and limits by hand."""

import dataclasses
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, Protocol

import msgspec

from saqueduct.errors import QueueError, QueueUnavailable

logger = logging.getLogger("saqueduct.audit")

Action = Literal["retry", "abort", "replay", "discard", "pause", "resume", "trigger", "enqueue", "change", "reset"]
Kind = Literal["job", "dead letter", "queue", "schedule", "limit", "worker"]
Surface = Literal["console", "http", "cli", "job"]

MOST_TARGETS: Final = 100
"""Targets that an entry names; `count` has the number of all."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One action of a person.

        AuditEntry(person="maria", role="operator", action="pause", kind="queue", targets=["mails"], surface="http")

    Attributes:
        person: name of who did it.
        role: their role then; None: on the command line.
        action: what was done.
        kind: to what.
        targets: keys of jobs, names of queues, schedules and limits, or ids of workers;
            MOST_TARGETS are kept.
        count: how many; None: not known yet, because a job does it; 0 for one target: planned, and not noted as done.
        task: name of the task, where all are jobs of one.
        queue: name of the queue, likewise.
        filter: that selected them; of a changed limit its new numbers.
        why: the reason given.
        surface: where it was asked for; "job": by a job that was enqueued like any other.
        address: of the client, or the host of the command line.
    """

    person: str
    role: str | None = None
    action: Action
    kind: Kind
    targets: list[str] = msgspec.field(default_factory=list)
    count: int | None = 1
    task: str | None = None
    queue: str | None = None
    filter: Mapping[str, Any] | None = None
    why: str = ""
    surface: Surface
    address: str = ""


class AuditStore(Protocol):
    """Keeps entries."""

    async def note(self, entry: AuditEntry) -> None: ...
    def note_soon(self, entry: AuditEntry) -> None: ...
    async def plan(self, entry: AuditEntry) -> int | None: ...
    async def settle(self, id_: int, entry: AuditEntry | None) -> None: ...


@dataclasses.dataclass(slots=True)
class Planned:
    """An action that is being done."""

    entry: AuditEntry
    """What is noted of it; may be replaced by one that says more."""


class Audit:
    """Notes actions: in PostgreSQL, or in the log without it, or while it is unavailable.

    Args:
        store: in PostgreSQL; None: there is none.
    """

    def __init__(self, store: AuditStore | None) -> None:
        self._store = store

    async def note(self, entry: AuditEntry) -> None:
        """Note an action that has been done; raises nothing for a server that is unavailable."""
        if self._store is None:
            log_entry(entry)
        else:
            await self._store.note(entry)

    @asynccontextmanager
    async def doing(self, entry: AuditEntry) -> AsyncIterator[Planned]:
        """Note an action that the block does in Redis: before it as planned, after it as done.

        The two are no one transaction: of a process that ends in between, the entry remains with the count 0. It also
        does where Redis did not answer. It is deleted where the action was refused.
        """
        id_ = None if self._store is None else await self._store.plan(entry)
        planned = Planned(entry)
        try:
            yield planned
        except QueueError as error:
            if self._store is not None and id_ is not None and not isinstance(error, QueueUnavailable):
                await self._store.settle(id_, None)
            raise
        if self._store is not None and id_ is not None:
            await self._store.settle(id_, planned.entry)
        else:
            # PostgreSQL may only have been slow. The answer does not wait for it once more.
            self.note_soon(planned.entry)

    def note_soon(self, entry: AuditEntry) -> None:
        """The same without waiting, for actions that programs ask for often, such as enqueue."""
        if self._store is None:
            log_entry(entry)
        else:
            self._store.note_soon(entry)


def log_entry(entry: AuditEntry) -> None:
    """One line with the fields of an entry."""
    fields = {name: value for name, value in msgspec.structs.asdict(entry).items() if value not in (None, "", [])}
    # ASCII, and a line break in a value is escaped: nobody can forge a line.
    logger.info("audit: %s", json.dumps(fields, default=str))
