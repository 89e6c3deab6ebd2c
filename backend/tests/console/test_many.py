"""All jobs that match: counted first, and changed by a job."""

import datetime as dt
import re
from functools import partial
from html import unescape
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from saqueduct.postgres.audit import AuditLog
from saqueduct.postgres.changes import Changes
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.queue.audit import AuditEntry
from tests.console.conftest import VIEWER, Served
from tests.fixtures.poll import eventually_sync


def status(served: Served, key: str) -> str:
    found: str = served.client.get(f"/queue/jobs/{key}").json()["status"]
    return found


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


def test_another_attempt_counts_on(served: Served) -> None:
    for _ in range(2):
        served.enqueue("echo", delay=3600, group="interrupted")
    entry = AuditEntry(person="ada", action="abort", kind="job", targets=["interrupted"], count=100, surface="console")
    job: Any = SimpleNamespace(key="interrupted", function="change_jobs", attempts=2, update=AsyncMock())
    store, which = served.saqueduct.store, RecordFilter(arguments={"group": "interrupted"})
    assert store is not None
    before = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=60)

    async def attempt() -> dict[str, Any]:
        async with store.sessions.begin() as session:
            await AuditLog(session).add(entry)
        tasks, queues = served.saqueduct.registry, served.saqueduct.queues
        changes = Changes(queues, tasks, store.sessions.begin, job, which, before, "ada", "cleaning", 102)
        return await changes.make("abort")

    assert served.run(attempt())["changed"] == 102
    assert newest_entry(served)["count"] == 102
    job.update.assert_awaited_with(progress=1.0)


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
