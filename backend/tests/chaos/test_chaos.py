"""The short form of a chaos run, and the oracle's judgement."""

import pytest

from app.queue import get_registry
from tests.chaos.oracle import Line, judge
from tests.chaos.run import Plan, run

FAULTS = (
    "kill",
    "cut connections",
    "pause redis",
    "pause worker",
    "restart redis",
    "kill",
    "slow network",
    "terminate",
)
SHORT = Plan(seed=20, jobs=900, faults=FAULTS, rate=60.0, workers=2)


async def test_nothing_is_lost_or_done_twice_whatever_is_hurt() -> None:
    with get_registry().isolated():
        import tests.chaos.worker  # noqa: F401  (its tasks take the place of the application's)

        verdict, others = await run(SHORT, lambda _: None)
    assert verdict.faults == [], others
    assert verdict.acknowledged >= SHORT.jobs * 0.9
    assert verdict.kills == 3
    assert verdict.run_twice <= verdict.kills * SHORT.concurrency
    assert verdict.recovery_longest <= 15.0


# The oracle


def line(what: str, key: str, time: float, process: int = 1, tick: float | None = None) -> Line:
    return Line(what, key, 1, process, time, tick)


GOOD = [line("start", "a", 1.0), line("end", "a", 2.0)]


def test_a_job_that_ran_and_ended_is_no_fault() -> None:
    verdict = judge(GOOD, {"a": "complete"}, {"a": 1}, [], {})
    assert verdict.faults == []
    assert (verdict.acknowledged, verdict.runs, verdict.run_twice) == (1, 1, 0)


@pytest.mark.parametrize(("status", "fault"), [("queued", "lost"), ("", "lost"), ("failed", "not_complete")])
def test_a_job_that_has_not_ended_well_is_a_fault(status: str, fault: str) -> None:
    assert judge(GOOD, {"a": status}, {}, [], {}).faults == [fault]


def test_a_job_whose_recoveries_are_spent_ends_as_it_was_promised() -> None:
    verdict = judge(GOOD, {"a": "recoveries spent"}, {}, [], {})
    assert (verdict.faults, verdict.recoveries_spent) == ([], 1)


def test_an_end_that_was_written_twice_is_a_fault() -> None:
    assert judge(GOOD, {"a": "complete"}, {"a": 2}, [], {}).faults == ["ended_twice"]


def test_ticks_that_lack_or_come_twice_are_faults() -> None:
    lines = [line("start", f"t{tick}", tick, tick=tick) for tick in (5.0, 10.0, 20.0)]
    assert judge(lines, {}, {}, [], {}).faults == ["ticks_missed"]
    lines += [line("start", "other", 15.0, tick=15.0), line("start", "again", 15.1, tick=15.0)]
    assert judge(lines, {}, {}, [], {}).faults == ["ticks_doubled"]


def test_unique_jobs_beside_each_other_are_a_fault_unless_a_worker_was_killed() -> None:
    lines = [line("single 7", "a", 1.0), line("single 7", "b", 2.0, process=2), line("single 7 over", "a", 3.0)]
    assert judge(lines, {}, {}, [], {}).faults == ["beside_each_other"]
    assert judge(lines, {}, {}, [(1, 1.5)], {}).faults == []


def test_a_recovery_is_measured_from_the_kill_to_the_start_elsewhere() -> None:
    lines = [*GOOD, line("start", "b", 2.0), line("start", "b", 12.0, process=2)]
    verdict = judge(lines, {}, {}, [(1, 2.5)], {})
    assert (verdict.recovered, verdict.recovery_longest, verdict.run_twice) == (1, 9.5, 1)
    assert judge(lines, {}, {}, [], {"b": 2}).run_twice == 0
