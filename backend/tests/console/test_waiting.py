"""The page of a job that waits says why, and leads to where that can be changed."""

import datetime as dt
import time
from html import unescape
from typing import Any

import msgspec
import pytest

from saqueduct.console.waiting import why_waits
from saqueduct.postgres.job_details import JobDetails
from saqueduct.queue.limit_waits import LimitWait
from saqueduct.queue.queue_state import QueueState
from tests.console.conftest import Served
from tests.console.test_paused_workers import report
from tests.fixtures.poll import eventually_sync

NOW = time.time()


def job(status: str = "queued", *, due: float | None = None, waits_for: tuple[LimitWait, ...] = ()) -> JobDetails:
    at = dt.datetime.fromtimestamp(NOW - 60, dt.UTC)
    found = msgspec.convert(
        {
            **dict.fromkeys(JobDetails.__struct_fields__),
            "key": "key",
            "job_id": "key",
            "task": "echo",
            "queue": "default",
            "status": status,
            "attempts": 0,
            "recoveries": 0,
            "queued_at": at,
            "errors": [],
            "logs": [],
            "tags": [],
            "waits_for": [],
            "due_at": None if due is None else dt.datetime.fromtimestamp(NOW + due, dt.UTC),
        },
        JobDetails,
    )
    return msgspec.structs.replace(found, waits_for=list(waits_for))


def queue(**fields: Any) -> QueueState:
    given = {"queued": 3, "active": 0, "scheduled": 0, "backlog": 3, "latency": 1.0, "paused": None}
    return QueueState(**{"name": "default", "live_workers": 1, "reports": [report("w")], **given, **fields})


@pytest.mark.parametrize(
    ("which", "state", "said", "page"),
    [
        (job("active"), queue(), None, ""),
        (job(), None, None, ""),
        (job("new"), None, "Waits in PostgreSQL for Redis", ""),
        (job(due=60), queue(live_workers=0, reports=[]), "Waits for its time", ""),
        (job(due=-1), queue(live_workers=0, reports=[]), "No worker of the queue default is live", "workers"),
        (job(), queue(reports=[]), "Waits for its turn: 3 jobs are in line.", ""),
        (job(), queue(), "All workers of the queue default are paused, 3 jobs wait. Resume one", "workers"),
    ],
    ids=str,
)
def test_a_job_says_why_it_waits(which: JobDetails, state: QueueState | None, said: str | None, page: str) -> None:
    reason = why_waits(which, state, NOW)
    assert (reason is None) == (said is None)
    if reason is not None and said is not None:
        assert reason.text.startswith(said)
        assert reason.page == page


@pytest.mark.parametrize(
    ("free", "said", "page"),
    [
        (0, "Waits for a slot: all 10 are busy, and 3 jobs are in line.", "jobs"),
        (1, "Waits for its turn: 1 slot is free, and 3 jobs are in line.", ""),
    ],
)
def test_it_says_how_many_slots_are_free(free: int, said: str, page: str) -> None:
    one = report("w", asked=False, confirmed=False)
    working = msgspec.structs.replace(one, state=msgspec.structs.replace(one.state, slots=10, free=free))
    reason = why_waits(job(), queue(reports=[working]), NOW)
    assert reason is not None
    assert (reason.text, reason.page) == (said, page)


def test_the_page_says_that_the_queue_is_paused_and_by_whom(served: Served) -> None:
    served.note("/queues/pause", {"queue": "reports", "why": "month end"})
    try:
        key = served.enqueue("build_report", month="2026-05-01")
        said = "The queue reports is paused by ada: month end. 1 job waits. Resume it when the reason is gone."
        # Pages share what was read in the last second.
        eventually_sync(lambda: said in unescape(served.page("/job", key=key, queue="reports")))
        assert '<a href="/console/queues">Queues</a></p>' in served.page("/job", key=key, queue="reports")
    finally:
        served.note("/queues/resume", {"queue": "reports"})
    later = served.enqueue("echo", delay=3600)
    assert "Waits for its time, which is in the timeline." in served.page("/job", key=later)
