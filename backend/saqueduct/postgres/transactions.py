"""Jobs of a caller's transaction: what happens to them when it ends."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

KEY = "saqueduct.jobs"
"""Entry of `Session.info`."""

Committed = Callable[["Pending"], None]


class Pending:
    """The jobs that a session has written since its transaction began.

    Attributes:
        keys: by the queue's name. Those of savepoints that were rolled back are still among them.
        claims: the key of the job that was written with a claim, by the queue's name and the claim's id. As for `keys`.
        existing: by key, the job that existed when one of these was to be enqueued, which is dropped therefore.
        published: set to True when the jobs are being published, to False when the transaction is rolled back.
    """

    def __init__(self) -> None:
        self.keys: dict[str, list[str]] = {}
        self.claims: dict[tuple[str, str], str] = {}
        self.existing: dict[str, str] = {}
        self.committed = False
        self.published: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


def pending_of(session: AsyncSession, committed: Committed) -> Pending:
    """What a session's transaction has written so far.

    Args:
        session: of the caller.
        committed: called with it after a commit.
    """
    inner = session.sync_session
    if KEY not in inner.info:
        _watch(inner, committed)
    pending: Pending | None = inner.info.get(KEY)
    if pending is None:
        pending = inner.info[KEY] = Pending()
    return pending


def note(pending: Pending, queue: str, keys: Sequence[str]) -> None:
    """Remember jobs to be enqueued after the commit."""
    if keys:
        pending.keys.setdefault(queue, []).extend(keys)


def _watch(session: Session, committed: Committed) -> None:
    session.info[KEY] = None

    def after_commit(session: Session) -> None:
        pending: Pending | None = session.info[KEY]
        # The release of a savepoint is reported as a commit too.
        if pending is not None and not session.in_nested_transaction():
            pending.committed = True

    def after_end(session: Session, transaction: SessionTransaction) -> None:
        pending: Pending | None = session.info[KEY]
        if pending is None or transaction.parent is not None:
            return
        session.info[KEY] = None
        if pending.committed:
            committed(pending)
        else:
            pending.published.set_result(False)

    listeners: tuple[tuple[str, Any], ...] = (("after_commit", after_commit), ("after_transaction_end", after_end))
    for name, listener in listeners:
        event.listen(session, name, listener)
