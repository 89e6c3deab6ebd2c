"""Commits in tests: jobs that a transaction enqueued are in the queue when its commit returns."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from sqlalchemy.util import await_only

from saqueduct.postgres.store import PostgresStore
from saqueduct.postgres.transactions import Pending


@contextmanager
def commits_that_enqueue() -> Iterator[None]:
    """Let commits wait until their jobs are enqueued, during a block; a test asserts right after them.

    Elsewhere they are enqueued while the caller continues after the commit.
    """

    def committed(store: PostgresStore, pending: Pending) -> None:
        # SQLAlchemy calls this from inside the commit, where waiting is possible.
        await_only(store.send(pending))

    with patch.object(PostgresStore, "committed", committed):
        yield
