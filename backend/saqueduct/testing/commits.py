"""Commits in tests: what a transaction enqueued stands in the queue when its commit returns."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from sqlalchemy.util import await_only

from saqueduct.postgres.store import Memory
from saqueduct.postgres.transactions import Pending


@contextmanager
def commits_that_enqueue() -> Iterator[None]:
    """Let commits wait until their jobs are enqueued, for the time of a block; a test asserts right after them.

    Elsewhere they are enqueued beside what follows the commit.
    """

    def committed(memory: Memory, pending: Pending) -> None:
        # SQLAlchemy calls from inside of the commit, where it can be waited.
        await_only(memory.send(pending))

    with patch.object(Memory, "committed", committed):
        yield
