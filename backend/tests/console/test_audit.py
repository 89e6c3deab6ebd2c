"""Each action in the console is in the audit, with who did it and why."""

import datetime as dt
import re
from functools import partial
from html import unescape
from types import SimpleNamespace
from typing import Any

from saqueduct.console.timeline import timeline as events_of
from saqueduct.postgres.models import AuditRow
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


def test_the_page_filters_by_action_place_and_time(served: Served) -> None:
    served.note("/queues/pause", {"queue": "reports", "why": "only this"})
    served.note("/queues/resume", {"queue": "reports"})
    assert "only this" in served.page("/audit", action="pause", surface="console", since="1h")
    for query in ({"action": "resume"}, {"surface": "cli"}, {"until": "1h"}):
        assert "only this" not in served.page("/audit", **query), query
    assert "since: " in served.page("/audit", since="soon")
    for name in ("action", "surface"):
        assert f"there is no {name} &#39;paws&#39;; there are " in served.page("/audit", **{name: "paws"})
        answer = served.client.get("/queue/audit", params={name: "paws"})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-search")


def test_the_page_is_for_the_admin(served: Served) -> None:
    assert served.client.get("/console/audit", auth=VIEWER).status_code == 403
    assert 'href="/console/audit"' not in served.client.get("/console", auth=VIEWER).text
    assert 'href="/console/audit"' in served.page()


def test_a_filter_is_kept_as_it_was_given(served: Served) -> None:
    text = 'a\\u0000", "task": "other'
    answer = served.client.post("/queue/dead-letters/replay", json={"which": {"error": text}})
    assert answer.status_code == 202
    assert served.client.get("/queue/audit").json()["entries"][0]["filter"] == {"error": text}


def audit(served: Served, target: str) -> list[dict[str, Any]]:
    """Entries of a job."""
    found: list[dict[str, Any]] = served.client.get("/queue/audit", params={"target": target}).json()["entries"]
    return found


def timeline(served: Served, key: str, queue: str | None = None) -> list[str]:
    """The events of a job as its page shows them, without times."""
    page = served.page("/job", key=key, **({"queue": queue} if queue else {}))
    found = re.search(r'<ol class="timeline".*?</ol>', page, re.DOTALL)
    assert found is not None
    events = re.findall(r"<strong>(.*?)</strong>.*?</div>\s*(?:<p[^>]*>(.*?)</p>)?", found[0], re.DOTALL)
    return [unescape(f"{title} {more}".strip()) for title, more in events]


def ended(served: Served, key: str) -> list[str]:
    """The events of a job that was aborted; empty before its record is written."""
    found = timeline(served, key, "default")
    return found if found[-1] == "Ended aborted" else []


def retried(served: Served, key: str) -> bool:
    """True once the page of a job says that it was retried with others; before, that is only planned."""
    return "Queued again by ada, from the console: once more" in timeline(served, key)


def replay_of(served: Served, key: str) -> str:
    """The key of the job that replays a dead letter; empty: there is none yet."""
    history = served.client.get(f"/queue/jobs/{key}/history").json()
    return next(record["replayed_as"] for record in history if record["key"] == key) or ""


def test_the_timeline_says_who_enqueued_aborted_and_retried_a_job_in_the_console(served: Served) -> None:
    form = {"name": "send_email", "key": "by hand", "delay": "1h", "arg.to": "a@example.com", "arg.subject": "Hello"}
    assert served.submit("/task/enqueue", form).status_code == 303
    served.note("/job/abort", {"key": "by hand", "queue": "default", "why": MARKUP})
    expected = ["Enqueued by ada, from the console", f"Abort requested by ada, from the console: {MARKUP}"]
    assert timeline(served, "by hand") == [*expected, "Ended aborted"]
    served.note("/job/retry", {"key": "by hand", "queue": "default"})
    again = eventually_sync(lambda: events if (events := timeline(served, "by hand"))[-1] == "Ended complete" else [])
    assert again[:3] == [*expected, "Queued again by ada, from the console"]
    assert again[3].startswith("Attempt 1 started by ")
    assert code_in(served.page("/job", key="by hand")) == []


def test_the_timeline_says_who_enqueued_a_job_over_http(served: Served) -> None:
    served.client.post("/queue/tasks/echo", json={}, params={"key": "over-http"}).raise_for_status()
    batch = served.client.post("/queue/tasks/echo/batch", json=[{"n": 1}, {"n": 2}]).json()["jobs"]
    served.client.post("/queue/schedules/weekly/trigger").raise_for_status()
    triggered = served.client.get("/queue/audit", params={"target": "weekly"}).json()["entries"][0]["targets"][1]
    # The answer does not wait for the entry.
    eventually_sync(lambda: timeline(served, "over-http")[0] == "Enqueued by ada, over HTTP")
    eventually_sync(lambda: timeline(served, batch[1]["key"])[0] == "Enqueued by ada, over HTTP")
    assert timeline(served, triggered)[0] == "Enqueued by ada, over HTTP, with the schedule weekly"


def test_the_timeline_says_who_replayed_a_dead_letter_at_both_of_its_jobs(served: Served) -> None:
    key = served.ended("echo", fail="to be replayed")
    form = {"name": "echo", "dead_letter": key, "queue": "default", "why": "fixed", "arg.further": '{"a": 1}'}
    assert served.submit("/task/enqueue", form).status_code == 303
    assert timeline(served, key)[-1] == "Replayed by ada, from the console: fixed"
    assert timeline(served, replay_of(served, key))[0] == f"Enqueued by ada, from the console, as a replay of {key}"


def test_the_timeline_says_who_replayed_it_among_others(served: Served) -> None:
    key = served.ended("echo", fail="replayed with others")
    form = {"task": "echo", "error": "replayed with others", "why": "fixed with others"}
    served.note("/dead-letters/replay", form)
    replay = eventually_sync(lambda: replay_of(served, key), within=60)
    assert timeline(served, replay)[0] == f"Enqueued by ada, from the console, as a replay of {key}"
    assert timeline(served, key)[-1] == "Replayed by ada, from the console: fixed with others"
    [asked] = [entry["targets"] for entry in audit(served, key)]
    assert timeline(served, asked[0])[0] == "Enqueued by ada, from the console"


def test_the_timeline_of_each_job_of_a_batch_says_who_enqueued_it(served: Served) -> None:
    batch = served.client.post("/queue/tasks/echo/batch", json=[{"n": n} for n in range(250)]).json()["jobs"]
    # The answer does not wait for the entry.
    eventually_sync(lambda: timeline(served, batch[0]["key"])[0] == "Enqueued by ada, over HTTP")
    for place in (99, 100, 249):
        assert timeline(served, batch[place]["key"])[0] == "Enqueued by ada, over HTTP"


def test_the_timeline_of_each_of_all_that_matched_says_who_did_it(served: Served) -> None:
    waiting = [served.enqueue("echo", delay=3600, group="theirs") for _ in range(120)]
    other = served.enqueue("echo", key=waiting[-1], queue="reports", delay=3600, group="others")
    failed = [served.ended("echo", fail=f"theirs too {number}") for number in range(2)]
    aborting = served.submit("/jobs/all", action="abort", q="group:theirs", why="cleaning", count="120")
    assert aborting.status_code == 303
    eventually_sync(lambda: audit(served, waiting[0]) and audit(served, waiting[119]), within=60)
    for place in (0, 100, 119):
        events = eventually_sync(partial(ended, served, waiting[place]))
        assert events == ["Enqueued", "Abort requested by ada, from the console: cleaning", "Ended aborted"]
    assert timeline(served, other, "reports") == ["Enqueued", "Due it does not start before"]
    done = eventually_sync(lambda: [entry for entry in audit(served, waiting[0]) if entry["count"] == 120])
    eventually_sync(lambda: timeline(served, done[0]["targets"][0])[-1] == "Ended complete", within=60)
    assert timeline(served, done[0]["targets"][0])[0] == "Enqueued by ada, from the console"
    served.submit("/jobs/all", action="retry", q="theirs too", why="once more", count="2")
    for key in failed:
        eventually_sync(partial(retried, served, key), within=60)


def test_the_timeline_names_nobody_for_a_job_that_code_enqueued_with_a_key_that_a_person_had_used(
    served: Served,
) -> None:
    async def note(key: str, seconds: float, **fields: Any) -> None:
        store = served.saqueduct.store
        assert store is not None
        at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
        row = {"person": "eve", "action": "enqueue", "kind": "job", "targets": [key], "why": "", "surface": "http"}
        async with store.sessions.begin() as session:
            session.add(AuditRow(**{**row, "address": "", "at": at, **fields}))

    for number, (seconds, fields) in enumerate(
        [
            (-120.0, {}),
            (300.0, {}),
            (0.0, {"queue": "reports"}),
            (0.0, {"task": "wait"}),
            (0.0, {"kind": "queue", "action": "pause"}),
            (0.0, {"kind": "schedule", "action": "trigger"}),
        ]
    ):
        key = served.enqueue("echo", key=f"shared-{number}", delay=3600)
        served.run(note(key, seconds, **fields))
        assert timeline(served, key)[0] == "Enqueued", fields
    served.run(note(served.enqueue("echo", key="shared", delay=3600), 0.0))
    assert timeline(served, "shared")[0] == "Enqueued by eve, over HTTP"


def test_the_timeline_says_how_long_a_job_waited_for_its_first_attempt_also_after_another_one() -> None:
    at = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    failed = {"attempt": 1, "error": "ValueError", "worker": "w", "started_at": at + dt.timedelta(seconds=4)}
    nothing = dict.fromkeys(("due_at", "error", "resolution", "schedule", "replay_of", "parent"), None)
    ended = {"started_at": at + dt.timedelta(seconds=9), "ended_at": at + dt.timedelta(seconds=10), "worker": "w"}
    job: Any = SimpleNamespace(
        **nothing, **ended, queued_at=at, attempts=2, recoveries=0, status="complete", errors=[failed]
    )
    assert [(event.title, event.more) for event in events_of(job)] == [
        ("Enqueued", ""),
        ("Attempt 1 failed", "by w, after 4.0 s"),
        ("Attempt 2 started", "by w"),
        ("Ended complete", ""),
    ]
