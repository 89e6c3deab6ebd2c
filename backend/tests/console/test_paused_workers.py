"""Paused workers: what the overview, alerts and numbers say of them."""

import dataclasses
import time

import click
import msgspec
import pytest

from saqueduct.cli.options import Remark
from saqueduct.console.problems import problems_of
from saqueduct.console.sampler import Snapshot
from saqueduct.queue.pausing import Pause
from saqueduct.queue.queue_state import QueueState
from saqueduct.queue.worker_health import WorkerReport, WorkerState
from saqueduct.telemetry.alerts.conditions import Readings as AlertView
from saqueduct.telemetry.alerts.conditions import Sample, conditions
from saqueduct.telemetry.system_state import DatabaseState, RedisState
from tests.console.conftest import Served

ASKED = Pause(by="ada", why="memory", since=1.0)


def report(worker: str, *, asked: bool = True, confirmed: bool = True) -> WorkerReport:
    state = WorkerState(leased=0.0, free=4, slots=4, paused=confirmed)
    return WorkerReport(worker, state, "ok", 1.0, ASKED if asked else None)


def queue(*reports: WorkerReport, live: int) -> QueueState:
    return QueueState(
        name="mails", queued=3, active=0, scheduled=0, backlog=3, latency=1.0, paused=None, live_workers=live,
        reports=reports,
    )  # fmt: skip


def problems(state: QueueState) -> list[str]:
    return [each.text for each in problems_of(RedisState(True, [state]), DatabaseState(up=None), [], time.time())]


def test_a_queue_all_of_whose_workers_are_paused_is_a_problem() -> None:
    assert problems(queue(report("a"), report("b"), live=2)) == [
        "All workers of the queue mails are paused, 3 jobs wait."
    ]


def test_it_is_none_while_a_worker_takes_jobs_that_reports_in_the_way_of_saq_alone() -> None:
    assert problems(queue(report("a"), live=2)) == []


def test_they_are_counted_apart_from_those_that_take_jobs() -> None:
    state = queue(report("a"), report("b", confirmed=False), live=3)
    assert state.workers == {"ok": 2, "blocked": 0, "not_consuming": 0, "paused": 1}


def test_they_are_paused_since_the_last_of_them_was() -> None:
    first = msgspec.structs.replace(report("a"), paused=Pause(since=5.0))
    assert queue(first, report("b"), live=2).workers_paused_since == 5.0


def alerts(state: QueueState, now: float) -> list[str]:
    sample = Sample(now, {}, {})
    return [each.name for each in conditions(AlertView([state], [], DatabaseState(up=None), sample, []))]


def test_they_are_reported_after_an_hour() -> None:
    state = queue(report("a"), live=1)
    assert alerts(state, ASKED.since + 3600) == []
    assert alerts(state, ASKED.since + 3601) == ["workers_paused"]
    assert alerts(queue(report("a"), live=2), ASKED.since + 3601) == []


@pytest.mark.parametrize("changed", [report("a", asked=False, confirmed=False), report("a", confirmed=False)])
def test_viewers_see_that_a_worker_has_been_paused_and_that_it_has_confirmed(changed: WorkerReport) -> None:
    before = Snapshot(1.0, True, [queue(changed, report("b"), live=2)], {}, [], [], DatabaseState(up=None))
    after = dataclasses.replace(before, queues=[queue(report("a"), report("b"), live=2)])
    same = dataclasses.replace(before)
    assert after.mark != before.mark
    assert same.mark == before.mark


@pytest.mark.parametrize(
    ("path", "fields"), [("/workers/pause", {"worker": "a"}), ("/limits/set", {"limit_name": "hold", "limit": "2"})]
)
def test_a_reason_that_is_too_long_is_refused(served: Served, path: str, fields: dict[str, str]) -> None:
    assert served.submit(path, fields, why="y" * 2_001).status_code == 400


def test_a_reason_over_http_and_on_the_command_line_is_limited_too(served: Served) -> None:
    for path in ("/queue/queues/default/pause", "/queue/schedules/weekly/pause"):
        assert served.client.post(path, json={"why": "y" * 501}).status_code == 400
    assert served.client.post("/queue/dead-letters/nobody/replay", json={"why": "y" * 501}).status_code == 400
    assert Remark().convert("y" * 500, None, None) == "y" * 500
    with pytest.raises(click.BadParameter, match="it has 501 characters, and 500 are kept"):
        Remark().convert("y" * 501, None, None)


def test_records_that_wait_are_a_problem_of_their_own() -> None:
    waiting = "PostgreSQL has taken no job records for 9 s: 12 wait, 0 were dropped"
    away = msgspec.structs.replace(report("a"), state=WorkerState(leased=0.0, free=1, records=waiting))
    [problem] = problems_of(RedisState(True, [queue(away, live=1)]), DatabaseState(up=None), [], time.time())
    assert problem.text == f"Records of jobs of the queue mails wait: {waiting}."
    assert "DATABASE_URL" in problem.remedy
