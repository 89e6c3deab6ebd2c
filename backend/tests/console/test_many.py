"""All jobs that match: counted first, and changed by a job."""

import datetime as dt
import re
from functools import partial
from html import unescape

import pytest

from tests.console.conftest import VIEWER, Served
from tests.console.many_kit import by_hand, has_ended, has_ended_twice, history, newest_entry, run, says, status
from tests.fixtures.poll import eventually_sync


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


def test_only_one_replay_waits_or_runs_also_over_http(served: Served) -> None:
    served.run(served.saqueduct.queues.get("default").pause("eve"))
    body = {"which": {"error": "nothing like this"}, "by": "ada"}
    try:
        first = served.client.post("/queue/tasks/replay_dead_letters", json=body)
        assert first.json()["created"], first.text
        key = first.json()["job_id"]
        for path in ("tasks/replay_dead_letters", "dead-letters/replay"):
            second = served.client.post(f"/queue/{path}", json={**body, "which": {"task": "echo"}})
            assert second.status_code == 409, second.text
            assert key in second.text
    finally:
        served.run(served.saqueduct.queues.get("default").resume())
    eventually_sync(lambda: status(served, key) == "complete", within=60)
    assert served.client.post("/queue/tasks/replay_dead_letters", json=body).json()["created"]


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
