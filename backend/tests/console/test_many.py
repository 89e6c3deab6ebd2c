"""All jobs that match: counted first, and changed by a job."""

import asyncio
import datetime as dt
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from html import unescape
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
from tests.console.conftest import VIEWER, Served
from tests.fixtures.poll import eventually_sync


def status(served: Served, key: str) -> str:
    found: str = served.client.get(f"/queue/jobs/{key}").json()["status"]
    return found


def history(served: Served, key: str) -> list[dict[str, Any]]:
    answer = served.client.get(f"/queue/jobs/{key}/history")
    return [] if answer.status_code == 404 else list(answer.json())


def has_ended(served: Served, key: str, expected: str) -> bool:
    """True when the record of the last job of that key has the status."""
    return [record["status"] for record in history(served, key)][:1] == [expected]


def has_ended_twice(served: Served, key: str) -> bool:
    [record] = served.client.get(f"/queue/jobs/{key}/history").json()
    return record["status"] == "failed" and len(record["errors"]) == 2


def run(served: Served, **fields: Any) -> dict[str, Any]:
    """Change all that match, and wait until it is done; the job that did it."""
    answer = served.submit("/jobs/all", {"why": "cleaning", **fields})
    assert answer.status_code == 303, answer.text
    found = re.search(r"key=([^&]+)", answer.headers["location"])
    assert found is not None
    ended: list[dict[str, Any]] = []

    def has_ended() -> bool:
        job = served.client.get(f"/queue/jobs/{found[1]}").json()
        ended[:] = [job]
        return job["status"] not in ("new", "queued", "active")

    eventually_sync(has_ended, within=60)
    return ended[0]


def newest_entry(served: Served) -> dict[str, Any]:
    entry: dict[str, Any] = served.client.get("/queue/audit").json()["entries"][0]
    return entry


def test_jobs_that_wait_and_run_are_aborted_and_no_others(served: Served) -> None:
    keys = [served.enqueue("echo", delay=3600, group="many") for _ in range(130)]
    other = served.enqueue("echo", delay=3600, group="others")
    running = served.enqueue("wait", timeout=600, seconds=601.0)
    eventually_sync(lambda: status(served, running) == "active", within=60)
    page = served.page("/jobs/all", action="abort", q="group:many")
    assert "130</strong> jobs match" in page
    job = run(served, action="abort", q="group:many", count="130")
    assert job["result"] == {"changed": 130, "not_possible": 0, "refused": {}}
    assert {status(served, key) for key in keys} == {"aborted"}
    assert status(served, other) == "queued"
    entry = newest_entry(served)
    assert (entry["action"], entry["kind"], entry["count"], entry["why"]) == ("abort", "job", 130, "cleaning")
    assert (entry["person"], entry["filter"], entry["targets"]) == (
        "ada",
        {"arguments": {"group": "many"}},
        [job["key"]],
    )
    assert run(served, action="abort", status="active", task="wait")["result"]["changed"] == 1
    eventually_sync(lambda: status(served, running) == "aborted", within=60)
    assert "aborted by ada: cleaning" in served.page("/job", key=running, queue="default")
    served.run(served.saqueduct.queues.abort(other))


def test_jobs_that_failed_are_retried_once(served: Served) -> None:
    keys = [served.ended("echo", fail="retry them", number=number) for number in range(3)]
    complete = served.ended("echo", text="retry them")
    page = served.page("/jobs/all", action="retry", q="retry them")
    assert "3</strong> jobs match that failed or were aborted" in page
    job = run(served, action="retry", q="retry them", count="3")
    assert job["result"]["changed"] == 3
    for key in keys:
        eventually_sync(partial(has_ended_twice, served, key), within=60)
    assert status(served, complete) == "complete"


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


def says(served: Served, key: str, text: str) -> None:
    """Check what the page of a job says about its abort or retry, as soon as it does."""
    eventually_sync(lambda: by_hand(served, key) == text, within=60)


def by_hand(served: Served, key: str) -> str:
    """What the page of a job says about its abort or retry."""
    page = unescape(served.page("/job", key=key, queue="default"))
    titles = "Abort requested|Abort planned|Queued again|Retry planned"
    found = re.search(rf"({titles})</strong>.*?<p[^>]*>(.*?)</p>", page, re.DOTALL)
    return "" if found is None else f"{found[1]} {found[2]}"


PLANNED = "by ada, from the console (not noted as done: the worker that does it may have ended meanwhile)"


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


def test_what_a_job_changes_that_was_enqueued_like_any_other_is_named_too(served: Served) -> None:
    waiting = [served.enqueue("echo", delay=3600, group="direct") for _ in range(2)]
    before = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)).isoformat()
    body = {"change": "abort", "which": {"arguments": {"group": "direct"}}, "before": before, "by": "mallory"}
    key = served.client.post("/queue/tasks/change_jobs", json={**body, "why": "by script"}).json()["job_id"]
    for each in waiting:
        says(served, each, f"Abort requested by ada, by the job {key}: by script")
    [entry] = served.client.get("/queue/audit", params={"target": waiting[0]}).json()["entries"]
    expected = {"person": "ada", "action": "abort", "count": 2, "surface": "job", "targets": [key]}
    assert {name: entry[name] for name in expected} == expected
    assert entry["filter"] == {"arguments": {"group": "direct"}}
    eventually_sync(lambda: "Enqueued</strong>" in served.page("/job", key=key))
    assert by_hand(served, key) == ""


def test_the_replays_of_a_job_that_was_enqueued_in_its_form_are_named_by_who_is_signed_in(served: Served) -> None:
    letter = served.ended("echo", fail="direct replay")
    form = {
        "name": "replay_dead_letters", "arg.which.error": "direct replay", "arg.by": "mallory", "arg.rate": "50",
        "arg.why": "by form",
    }  # fmt: skip
    answer = served.submit("/task/enqueue", form)
    assert answer.status_code == 303, answer.text
    found = eventually_sync(
        lambda: served.client.get("/queue/audit", params={"target": letter}).json()["entries"], within=60
    )
    assert [(each["person"], each["action"], each["count"], each["surface"]) for each in found] == [
        ("ada", "replay", 1, "job")
    ]
    assert "Replayed</strong>" in served.page("/job", key=letter, queue="default")


def test_a_job_that_reuses_a_key_has_an_entry_of_its_own(served: Served) -> None:
    letters = [served.ended("echo", fail="reused", group=f"reused {number}") for number in range(2)]
    for letter, group in zip(letters, ("reused 0", "reused 1"), strict=True):
        body = {"which": {"arguments": {"group": group}}, "by": "ada", "why": group}
        answer = served.client.post("/queue/tasks/replay_dead_letters", json=body, params={"key": "every night"})
        assert answer.json()["created"], answer.text
        eventually_sync(lambda: status(served, "every night") == "complete", within=60)
        assert served.client.get("/queue/jobs/every night").json()["result"] == {"replayed": 1, "refused": {}}
        [entry] = served.client.get("/queue/audit", params={"target": letter}).json()["entries"]
        assert (entry["why"], entry["count"]) == (group, 1)


def test_a_later_job_of_the_same_key_is_not_retried_in_place_of_the_one_that_failed(served: Served) -> None:
    served.enqueue("echo", key="one key", fail="first of its key")
    eventually_sync(partial(has_ended, served, "one key", "failed"), within=60)
    served.enqueue("echo", key="one key", text="second")
    eventually_sync(partial(has_ended, served, "one key", "complete"), within=60)
    job = run(served, action="retry", q="error:first of its key")
    assert job["result"]["changed"] == 1
    second, first = history(served, "one key")
    assert (second["status"], second["attempts"], first["resolution"]) == ("complete", 1, "replayed")


def test_a_dead_letter_that_failed_after_the_click_is_not_discarded(served: Served) -> None:
    queue = served.saqueduct.queues.get("default")
    served.run(queue.pause("eve"))
    late = served.enqueue("echo", fail="late", group="late")
    attempts = Attempts(served, "job that discards", "discard", "late")
    served.run(queue.resume())
    eventually_sync(partial(has_ended, served, late, "failed"), within=60)
    assert attempts.make()["changed"] == 0
    assert history(served, late)[0]["resolution"] is None


@pytest.mark.parametrize(
    ("change", "which", "why"),
    [
        ("abort", {"status": "failed"}, "abort with status='failed': it is possible with queued, active"),
        ("retry", {"status": "active"}, "retry with status='active': it is possible with complete, failed, aborted"),
        ("discard", {"status": "complete"}, "discard with status='complete': it is possible with failed"),
        ("abort", {"queue": "mails"}, "there is no queue 'mails'"),
    ],
    ids=str,
)
def test_a_job_whose_change_is_not_possible_fails_at_once_and_changes_nothing(
    served: Served, change: str, which: dict[str, str], why: str
) -> None:
    other = served.enqueue("echo", delay=3600)
    # A time without an offset is one in UTC.
    body = {"change": change, "which": which, "before": "2100-01-01T00:00:00", "by": "ada"}
    key = served.client.post("/queue/tasks/change_jobs", json=body).json()["job_id"]
    eventually_sync(lambda: status(served, key) == "failed", within=60)
    job = served.client.get(f"/queue/jobs/{key}").json()
    assert why in job["error"]
    assert job["attempts"] == 1
    assert status(served, other) == "queued"
    served.run(served.saqueduct.queues.abort(other))


def test_a_time_without_an_offset_is_in_utc(served: Served) -> None:
    letter = served.ended("echo", fail="naive", group="naive")
    body = {"change": "retry", "which": {"arguments": {"group": "naive"}}, "by": "ada", "before": "2100-01-01T00:00:00"}
    key = served.client.post("/queue/tasks/change_jobs", json=body).json()["job_id"]
    eventually_sync(lambda: status(served, key) == "complete", within=60)
    eventually_sync(partial(has_ended_twice, served, letter), within=60)


def test_only_one_of_them_waits_or_runs(served: Served) -> None:
    served.run(served.saqueduct.queues.get("default").pause("eve"))
    try:
        first = served.submit("/jobs/all", action="abort", q="nothing-like-this", why="first")
        assert first.status_code == 303
        second = served.submit("/jobs/all", action="abort", q="nothing-like-this", why="second", back="/console/jobs")
        assert second.headers["location"] == "/console/jobs"
        page = unescape(served.client.get("/console/jobs").text)
        assert "Another such job waits or runs: nothing was begun." in page
        replay = served.submit("/dead-letters/replay", q="nothing-like-this", why="third", back="/console/dead-letters")
        assert replay.headers["location"] == "/console/dead-letters"
        assert newest_entry(served)["why"] == "first"
    finally:
        served.run(served.saqueduct.queues.get("default").resume())
    found = re.search(r"key=([^&]+)", first.headers["location"])
    assert found is not None
    eventually_sync(lambda: status(served, found[1]) == "complete", within=60)


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "discard"},
        {"action": ""},
        {"action": "abort", "status": "failed"},
        {"action": "retry", "status": "active"},
    ],
    ids=str,
)
def test_an_action_that_is_not_possible_is_refused(served: Served, fields: dict[str, str]) -> None:
    assert served.client.get("/console/jobs/all", params=fields).status_code == 400
    assert served.submit("/jobs/all", fields).status_code == 400


def test_a_filter_that_is_not_understood_changes_nothing(served: Served) -> None:
    assert served.submit("/jobs/all", action="abort", since="soon").status_code == 400


def test_a_viewer_cannot_change_them(served: Served) -> None:
    assert served.client.get("/console/jobs/all", params={"action": "abort"}, auth=VIEWER).status_code == 403
    assert "all that match" not in served.client.get("/console/jobs", auth=VIEWER).text
