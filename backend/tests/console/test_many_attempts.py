"""Attempts of a job that changes many others: killed, aborted, overtaken, without an answer."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from redis import Redis
from saq import Job
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.common.moments import milliseconds
from saqueduct.errors import QueueUnavailable
from saqueduct.postgres.audit import AuditLog
from saqueduct.postgres.changes import CONCURRENT_CHANGES, Changes
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.queue.audit import AuditEntry
from tests.console.conftest import Served
from tests.console.many_kit import by_hand, has_ended, history, newest_entry, run, says, status
from tests.fixtures.poll import eventually_sync


class Killed(BaseException):
    """The worker ends here."""


class Attempts:
    """Attempts of one job that changes what matches, outside of a worker.

    Args:
        served: the application.
        key: of the job.
        change: what is done.
        group: which jobs.
        why: the reason given.
    """

    def __init__(self, served: Served, key: str, change: Any, group: str, why: str = "cleaning") -> None:
        store = served.saqueduct.store
        assert store is not None
        self.served, self.sessions, self.change, self.why = served, store.sessions, change, why
        self.which = RecordFilter(arguments={"group": group})
        self.before = dt.datetime.now(dt.UTC)
        self.job: Any = SimpleNamespace(
            key=key, function="change_jobs", queued=milliseconds(self.before), update=AsyncMock()
        )
        entry = AuditEntry(
            person="ada", action=change, kind="job", targets=[key], count=None, filter={}, surface="console"
        )
        self.enter(entry)

    def enter(self, entry: AuditEntry) -> None:
        """Write the entry with which it was asked for."""

        async def add() -> None:
            async with self.sessions.begin() as session:
                await AuditLog(session).add(entry)

        self.served.run(add())

    def make(self, killed_at: int = 0, *, committed: bool = False) -> dict[str, Any]:
        """One attempt.

        Args:
            killed_at: number of the transaction before which the worker ends, or after it.
            committed: True: after it.
        """
        opened = 0

        @asynccontextmanager
        async def transaction() -> AsyncIterator[AsyncSession]:
            nonlocal opened
            opened += 1
            if opened == killed_at and not committed:
                raise Killed
            async with self.sessions.begin() as session:
                yield session
            if opened == killed_at:
                raise Killed

        return self.served.run(self.changes(transaction).make())

    def changes(self, transaction: Callable[[], AbstractAsyncContextManager[AsyncSession]]) -> Changes:
        """What an attempt does with these transactions."""
        saqueduct = self.served.saqueduct
        given = (self.job, self.change, self.which, self.before, "ada", self.why, 100)
        return Changes(saqueduct.queues, saqueduct.registry, transaction, *given)


PLANNED = "by ada, from the console (not noted as done: the process that does it may have ended meanwhile)"


@pytest.mark.parametrize("change", ["abort", "retry"])
def test_a_worker_that_is_killed_after_a_batch_and_before_its_note_leaves_nothing_unnamed(
    served: Served, change: str
) -> None:
    group = f"killed after {change}"
    if change == "abort":
        keys = [served.enqueue("echo", delay=3600, group=group) for _ in range(3)]
    else:
        keys = [served.ended("echo", fail="again", group=group) for _ in range(3)]
    attempts = Attempts(served, f"job that is {group}", change, group)
    if change == "retry":
        served.run(served.saqueduct.queues.get("default").pause("eve"))
    try:
        with pytest.raises(Killed):
            # The counts of earlier attempts, then for a retry the records; the plan; the note.
            attempts.make(killed_at=3 if change == "abort" else 4)
        name = "Abort" if change == "abort" else "Retry"
        for key in keys:
            says(served, key, f"{name} planned {PLANNED}")
        assert attempts.make()["changed"] == 3
    finally:
        served.run(served.saqueduct.queues.get("default").resume())
    for key in keys:
        title = "Abort requested" if change == "abort" else "Queued again"
        says(served, key, f"{title} by ada, from the console")
        [entry] = served.client.get("/queue/audit", params={"target": key}).json()["entries"]
        assert entry["count"] == 3
    assert attempts.make()["changed"] == 3
    attempts.job.update.assert_awaited_with(progress=0.03)


def test_what_a_killed_worker_had_only_planned_is_not_said_to_be_done(served: Served) -> None:
    keys = [served.enqueue("echo", delay=3600, group="killed before") for _ in range(3)]
    attempts = Attempts(served, "job that is killed before", "abort", "killed before")
    with pytest.raises(Killed):
        attempts.make(killed_at=2, committed=True)
    assert by_hand(served, keys[0]) == f"Abort planned {PLANNED}"
    served.run(served.saqueduct.queues.abort(keys[0], "aborted by eve"))
    assert attempts.make()["changed"] == 2
    assert by_hand(served, keys[0]) == ""
    assert by_hand(served, keys[1]) == "Abort requested by ada, from the console"
    assert served.client.get("/queue/audit", params={"target": keys[0]}).json()["entries"] == []


def test_a_call_that_redis_does_not_answer_is_repeated_and_counted_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [served.enqueue("echo", delay=3600, group="redis is away") for _ in range(30)]
    queue, failures = served.saqueduct.queues.get("default"), iter([False, True])
    abort = queue.abort_by_hand

    async def unanswered(job: Job, reason: str) -> None:
        if next(failures, None) is None:
            await abort(job, reason)
        elif next(failures, None):
            # It is done, and the answer is lost.
            await abort(job, reason)
            raise QueueUnavailable("no answer")
        else:
            raise QueueUnavailable("no connection")

    monkeypatch.setattr(queue, "abort_by_hand", unanswered)
    job = run(served, action="abort", q='group:"redis is away"', count="30")
    assert job["result"] == {"changed": 30, "not_possible": 0, "refused": {}}
    assert {status(served, key) for key in keys} == {"aborted"}
    assert newest_entry(served)["count"] == 30


def test_what_a_job_that_is_aborted_has_changed_is_counted(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [served.enqueue("echo", delay=3600, group="aborted within") for _ in range(60)]
    attempts = Attempts(served, "job that is aborted", "abort", "aborted within")
    queue = served.saqueduct.queues.get("default")
    abort = queue.abort_by_hand

    async def aborted() -> None:
        under_way, released = list[str](), asyncio.Event()

        async def slow(job: Job, reason: str) -> None:
            under_way.append(job.key)
            if len(under_way) > CONCURRENT_CHANGES:
                attempt.cancel()
                asyncio.get_running_loop().call_soon(released.set)
                await released.wait()
            await abort(job, reason)

        monkeypatch.setattr(queue, "abort_by_hand", slow)
        attempt = asyncio.create_task(attempts.changes(attempts.sessions.begin).make())
        with pytest.raises(asyncio.CancelledError):
            await attempt

    served.run(aborted())
    done = [key for key in keys if status(served, key) == "aborted"]
    assert CONCURRENT_CHANGES < len(done) < len(keys)
    [entry] = served.client.get("/queue/audit", params={"target": done[0]}).json()["entries"]
    assert entry["count"] == len(done)
    assert {by_hand(served, key) for key in done} == {"Abort requested by ada, from the console"}


def test_an_attempt_that_has_lost_its_lease_does_not_count_what_the_next_one_has_counted(served: Served) -> None:
    keys = [served.enqueue("echo", delay=3600, group="overtaken") for _ in range(3)]
    attempts, opened = Attempts(served, "job that is overtaken", "abort", "overtaken"), 0

    @asynccontextmanager
    async def overtaken() -> AsyncIterator[AsyncSession]:
        nonlocal opened
        opened += 1
        if opened == 3:
            assert (await attempts.changes(attempts.sessions.begin).make())["changed"] == 3
        async with attempts.sessions.begin() as session:
            yield session

    served.run(attempts.changes(overtaken).make())
    [entry] = served.client.get("/queue/audit", params={"target": keys[0]}).json()["entries"]
    assert entry["count"] == 3


def test_a_producer_whose_clock_is_ahead_of_postgresql_has_one_entry(served: Served) -> None:
    keys = [served.enqueue("echo", delay=3600, group="ahead") for _ in range(2)]
    attempts = Attempts(served, "job of a clock that is ahead", "abort", "ahead")
    attempts.job.queued += 3_600_000
    assert attempts.make()["changed"] == 2
    [entry] = served.client.get("/queue/audit", params={"target": keys[0]}).json()["entries"]
    assert (entry["surface"], entry["count"]) == ("console", 2)


def test_a_reason_that_cannot_be_stored_as_it_is_does_not_hide_what_a_killed_worker_did(served: Served) -> None:
    keys = [served.enqueue("echo", delay=3600, group="odd reason") for _ in range(3)]
    attempts = Attempts(served, "job with an odd reason", "abort", "odd reason", "NUL \x00" + "x" * 50_000)
    with pytest.raises(Killed):
        attempts.make(killed_at=3)
    with Redis.from_url(served.saqueduct.config.redis_url) as redis:
        # Its record is all that is left of it.
        eventually_sync(partial(has_ended, served, keys[0], "aborted"), within=60)
        redis.delete(served.saqueduct.queues.get("default").job_id(keys[0]))
    assert attempts.make()["changed"] == 3


def test_a_dead_letter_that_failed_after_the_click_is_not_discarded(served: Served) -> None:
    queue = served.saqueduct.queues.get("default")
    served.run(queue.pause("eve"))
    late = served.enqueue("echo", fail="late", group="late")
    attempts = Attempts(served, "job that discards", "discard", "late")
    served.run(queue.resume())
    eventually_sync(partial(has_ended, served, late, "failed"), within=60)
    assert attempts.make()["changed"] == 0
    assert history(served, late)[0]["resolution"] is None
