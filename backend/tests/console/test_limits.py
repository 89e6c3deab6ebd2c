"""Limits: the page, changing one, and why a job waits."""

import time

import pytest

from saqueduct import QueueUnavailable
from saqueduct.console.sampler import Snapshot
from saqueduct.console.view import View
from saqueduct.queue.limits import Limits
from saqueduct.telemetry.system_state import DatabaseState
from tests.console.conftest import Served
from tests.fixtures.poll import eventually_sync


def test_a_limit_is_shown_changed_and_reset(served: Served) -> None:
    assert "90 in 10 s, burst 1" in served.page("/limits")
    said = served.note("/limits/set", limit_name="provider", limit="45", per="", burst="", why="slow")
    assert said == "Changed the limit provider: 45 in 10 s, burst 1."
    page = served.page("/limits")
    assert "Changed from 90 in 10 s, burst 1 by ada" in page
    assert ": slow" in page
    assert (
        served.note("/limits/reset", limit_name="provider") == "The limit provider has the numbers of the code again."
    )
    assert "Changed from" not in served.page("/limits")


def test_the_page_asks_a_redis_that_does_not_answer_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def current(*_: object, **__: object) -> Snapshot:
        asked.append("state")
        return Snapshot(time.time(), False, [], {}, [], [], DatabaseState(up=None))

    async def states(_: object) -> None:
        asked.append("limits")
        raise QueueUnavailable("timed out")

    monkeypatch.setattr(View, "snapshot", current)
    monkeypatch.setattr(Limits, "states", states)
    assert "nothing is known of the limits" in served.page("/limits")
    assert "limits" not in asked


def test_a_number_that_does_not_fit_changes_nothing(served: Served) -> None:
    assert served.note("/limits/set", limit_name="provider", limit="many") == "limit takes a number, not 'many'"
    assert "limit must be at least 1" in served.note("/limits/set", limit_name="provider", limit="0")
    assert "Changed from" not in served.page("/limits")
    assert served.submit("/limits/set", limit_name="none", limit="1").status_code == 404


def test_a_job_says_which_limit_it_waits_for(served: Served) -> None:
    first = served.enqueue("hold", account="a & b")
    eventually_sync(lambda: "Attempt 1 started" in served.page("/job", key=first), within=60)
    second = served.enqueue("hold", account="a & b")
    try:
        eventually_sync(lambda: "Waits for the limit hold" in served.page("/job", key=second), within=60)
        page = served.page("/job", key=second)
        assert "for account = &#34;a &amp; b&#34;: 1 at once, 1 running (" in page
        assert first in page
    finally:
        for key in (second, first):
            served.run(served.saqueduct.queues.abort(key))
