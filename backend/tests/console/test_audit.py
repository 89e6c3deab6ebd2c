"""Each action in the console is in the audit, with who did it and why."""

from typing import Any

from tests.console.conftest import MARKUP, VIEWER, Served, code_in
from tests.fixtures.poll import eventually_sync


def entries(served: Served, target: str) -> list[dict[str, Any]]:
    """What was done to a job, queue or schedule, newest first."""
    answer = served.client.get("/queue/audit", params={"target": target})
    assert answer.status_code == 200
    wanted = ("person", "role", "action", "kind", "why", "surface", "address")
    return [{name: entry[name] for name in wanted} for entry in answer.json()["entries"]]


def expected(action: str, kind: str, why: str = "") -> dict[str, Any]:
    who = {"person": "ada", "role": "admin", "surface": "console", "address": "127.0.0.1"}
    return {**who, "action": action, "kind": kind, "why": why}


def test_a_queue_is_paused_and_resumed(served: Served) -> None:
    served.note("/queues/pause", {"queue": "reports", "why": "month end"})
    served.note("/queues/resume", {"queue": "reports"})
    served.note("/queues/resume", {"queue": "reports"})
    assert entries(served, "reports") == [expected("resume", "queue"), expected("pause", "queue", "month end")]


def test_a_schedule_is_run_paused_and_resumed(served: Served) -> None:
    served.note("/schedules/run", {"schedule": "weekly"})
    served.note("/schedules/pause", {"schedule": "weekly", "why": "holiday"})
    served.note("/schedules/resume", {"schedule": "weekly"})
    assert entries(served, "weekly") == [
        expected("resume", "schedule"),
        expected("pause", "schedule", "holiday"),
        expected("trigger", "schedule"),
    ]


def test_a_job_is_enqueued_and_aborted(served: Served) -> None:
    form = {"name": "send_email", "key": "audited", "delay": "1h", "arg.to": "a@example.com", "arg.subject": "Hello"}
    assert served.submit("/task/enqueue", form).status_code == 303
    served.note("/job/abort", {"key": "audited", "queue": "default", "why": "wrong address"})
    assert entries(served, "audited") == [expected("abort", "job", "wrong address"), expected("enqueue", "job")]


def test_dead_letters_are_retried_and_discarded(served: Served) -> None:
    first, second = (served.ended("echo", fail=f"audited {number}") for number in range(2))
    served.note("/job/retry", {"key": first, "queue": "default", "why": "try"})
    served.note("/job/discard", {"key": second, "queue": "default", "why": "old"})
    assert entries(served, first) == [expected("retry", "job", "try")]
    assert entries(served, second) == [expected("discard", "dead letter", "old")]


def test_an_action_on_all_that_match_is_one_entry_with_its_filter_and_count(served: Served) -> None:
    for number in range(2):
        served.ended("echo", fail=f"all at once {number}")
    served.note("/dead-letters/discard", {"task": "echo", "error": "all at once", "why": "old"})
    eventually_sync(lambda: served.client.get("/queue/audit").json()["entries"][0]["count"] == 2, within=60)
    newest = served.client.get("/queue/audit").json()["entries"][0]
    assert (newest["action"], newest["kind"], newest["count"], newest["why"]) == ("discard", "dead letter", 2, "old")
    assert newest["filter"] == {"task": "echo", "error": "all at once"}


def test_an_action_that_is_refused_is_not_in_it(served: Served) -> None:
    served.submit("/job/abort", {"key": "nowhere", "queue": "default"})
    assert entries(served, "nowhere") == []


def test_the_page_shows_entries_to_the_admin_and_escapes_them(served: Served) -> None:
    served.note("/queues/pause", {"queue": "reports", "why": MARKUP})
    served.note("/queues/resume", {"queue": "reports"})
    page = served.page("/audit", target="reports", person="ada")
    assert code_in(page) == []
    assert "pause queue" in page
    assert "127.0.0.1" in page
    assert "No action matches" in served.page("/audit", person="nobody")


def test_the_page_is_for_the_admin(served: Served) -> None:
    assert served.client.get("/console/audit", auth=VIEWER).status_code == 403
    assert 'href="/console/audit"' not in served.client.get("/console", auth=VIEWER).text
    assert 'href="/console/audit"' in served.page()


def test_a_filter_is_kept_as_it_was_given(served: Served) -> None:
    text = 'a\\u0000", "task": "other'
    answer = served.client.post("/queue/dead-letters/replay", json={"which": {"error": text}})
    assert answer.status_code == 202
    assert served.client.get("/queue/audit").json()["entries"][0]["filter"] == {"error": text}
