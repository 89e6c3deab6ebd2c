"""The oracle's judgement: each question can be answered with a case, and knows what a fault accounts for."""

from collections import Counter
from typing import Any

import pytest

from tests.chaos.announcements import End
from tests.chaos.evidence import Evidence, Record, Stored
from tests.chaos.excuses import Excuses
from tests.chaos.faults import FAULTS, Window
from tests.chaos.figures import figures
from tests.chaos.fleet import Harm, Stop
from tests.chaos.journal import Line
from tests.chaos.oracle import QUESTIONS, judge


def line(
    what: str,
    key: str,
    time: float,
    *,
    process: int = 1,
    attempt: int = 1,
    task: str = "work",
    tick: float | None = None,
) -> Line:
    return Line(what, key, task, attempt, process, time, tick)


def run(key: str, begun: float, ended: float, *, process: int = 1, attempt: int = 1, task: str = "work") -> list[Line]:
    return [
        line("start", key, begun, process=process, attempt=attempt, task=task),
        line("end", key, ended, process=process, attempt=attempt, task=task),
    ]


def evidence(task: str = "work", status: str = "complete", error: str | None = None, **given: Any) -> Evidence:
    """Of one job, `a`, that ran in process 1 and ended."""
    known = {
        "tasks": {"a": task},
        "acknowledged": ["a"],
        "lines": run("a", 1.0, 2.0, task=task),
        "ends": {"a": [End(status, 20.0)]},
        "stored": {"a": Stored(status, error)},
        "records": [Record("a", task, status, error)],
    }
    return Evidence(**{**known, **given})


def window(name: str, begun: float, ended: float) -> Window:
    return Window(FAULTS[name], begun, ended, begun)


TWICE = [*run("a", 1.0, 2.0), *run("a", 12.0, 13.0, process=2)]
TICKS = [line("start", f"t{tick}", tick, task="tick", tick=tick) for tick in (5.0, 10.0, 20.0)]
MANY = {f"j{number}" for number in range(3)}

CASES = {
    "lost": evidence(ends={}, stored={"a": Stored("queued", None)}, records=[]),
    "innocents failed": evidence(status="failed"),
    "innocents charged": evidence(lines=run("a", 1.0, 2.0, attempt=2)),
    "bodies ended twice": evidence(lines=TWICE),
    "bodies ended twice beyond slots": evidence(
        lines=[each for key in MANY for each in (*run(key, 1.0, 2.0), *run(key, 12.0, 13.0, process=2))],
        excuses=Excuses([Harm(1, 2.5, 2.5)]),
        slots=2,
    ),
    "ran twice though at most once": evidence(
        "once", lines=[line("start", "a", 1.0, task="once"), *run("a", 12.0, 13.0, process=2, task="once")]
    ),
    "ran after their end": evidence(lines=[*run("a", 1.0, 2.0), line("start", "a", 21.0)]),
    "ends announced twice": evidence(ends={"a": [End("complete", 2.1), End("complete", 2.2)]}),
    "dead letters lost": evidence("doomed", "failed", records=[]),
    "records stale": evidence(records=[Record("a", "work", "queued", None)]),
    "records doubled": evidence(records=[Record("a", "work", "complete", None)] * 2),
    "contradictions": evidence("doomed", records=[Record("a", "doomed", "failed", None)]),
    "committed twice": evidence("entry", numbers={"a": 7}, runs=Counter({7: 2})),
    "complete and not committed": evidence("entry", numbers={"a": 7}),
    "phantoms": evidence(runs=Counter({10_000_001: 1})),
    "beside each other": evidence(
        lines=[line("single 7", "a", 1.0), line("single 7", "b", 2.0, process=2), line("single 7 over", "a", 3.0)]
    ),
    "over admission": evidence(
        lines=[line("limited 7", "a", 1.0), line("limited 7", "b", 2.0, process=2), line("limited 7", "c", 3.0),
               line("limited 7 over", "a", 4.0)]
    ),
    "ticks missed": evidence(lines=TICKS),
    "ticks doubled": evidence(lines=[*TICKS, line("start", "b", 15.0, task="tick", tick=15.0),
                                     line("start", "c", 15.1, task="tick", tick=15.0)]),
    "stalled": evidence(stalled={"rows of the outbox": 1}),
    "left": evidence(left={"rows of the outbox": 1}),
    "stops late": evidence(stops_late=["process 1"]),
}  # fmt: skip


def test_a_job_that_ran_and_ended_is_no_fault() -> None:
    assert judge(evidence()).faults == {}


@pytest.mark.parametrize("name", QUESTIONS)
def test_each_question_finds_what_must_not_be(name: str) -> None:
    assert list(judge(CASES[name]).faults) == [name]


@pytest.mark.parametrize(
    ("excuses", "lines"),
    [
        (Excuses([Harm(1, 2.5, 2.5)]), TWICE),
        (Excuses([Harm(1, 0.5, 9.5)]), TWICE),
        # Redis was stopped until shortly before the kill, so that the outcome could not be written.
        (Excuses([Harm(1, 9.0, 9.0)], [window("pause redis", 1.5, 8.0)]), TWICE),
        (Excuses([], [window("flush redis", 2.5, 2.5)]), TWICE),
        # It was leased before that, and began after it.
        (Excuses([], [window("flush redis", 0.9, 0.9)]), TWICE),
    ],
)
def test_a_second_run_is_excused_by_the_fault_that_kept_the_outcome_of_the_first(
    excuses: Excuses, lines: list[Line]
) -> None:
    assert judge(evidence(lines=lines, excuses=excuses)).faults == {}


@pytest.mark.parametrize(
    "excuses",
    [
        Excuses([Harm(2, 2.5, 2.5)]),
        Excuses([Harm(1, 0.5, 0.5)]),
        Excuses([Harm(1, 9.0, 9.0)]),
        Excuses([], [window("pause redis", 1.5, 8.0)]),
        Excuses([], [window("flush redis", -0.5, -0.5)]),
    ],
    ids=["another process", "before it began", "long after it ended", "a fault that loses nothing", "a loss before it"],
)
def test_a_second_run_is_not_excused_by_other_faults(excuses: Excuses) -> None:
    assert list(judge(evidence(lines=TWICE, excuses=excuses)).faults) == ["bodies ended twice"]


def test_a_worker_is_harmed_while_a_job_blocks_its_event_loop() -> None:
    lines = [line("start", "culprit", 1.5, task="block_loop"), *TWICE]
    found = evidence(lines=lines, excuses=Excuses.of([], [], lines, (0.0, 0.0)))
    assert judge(found).faults == {}


def test_attempts_that_a_body_fails_by_itself_are_due() -> None:
    lines = [*run("a", 1.0, 2.0, task="doomed"), *run("a", 3.0, 4.0, attempt=2, task="doomed")]
    found = evidence("doomed", "failed", lines=lines, failures_due={"a": 1})
    assert judge(found).faults == {}


def test_a_job_whose_workers_died_too_often_may_fail() -> None:
    spent = "its worker died 4 times while it ran"
    starts = [line("start", "a", float(number), process=number) for number in range(4)]
    assert judge(evidence(status="failed", error=spent, lines=starts)).faults == {}
    assert list(judge(evidence(status="failed", error=spent, lines=starts[:2])).faults) == ["innocents failed"]


def test_a_job_that_runs_at_most_once_may_fail_with_its_worker() -> None:
    found = evidence("once", "failed", lines=[line("start", "a", 1.0, task="once")])
    assert list(judge(found).faults) == ["innocents failed"]
    found.excuses = Excuses([Harm(1, 1.5, 1.5)])
    assert judge(found).faults == {}


def test_a_job_that_runs_at_most_once_may_fail_before_it_begins_but_one_a_kill() -> None:
    died = "its worker died while it ran, and it runs at most once"
    found = evidence("once", "failed", died, lines=[])
    assert list(judge(found).faults) == ["innocents failed"]
    found.excuses = Excuses([Harm(1, 1.5, 1.5)])
    assert judge(found).faults == {}
    two = [Record(key, "once", "failed", died) for key in ("a", "b")]
    found = evidence("once", "failed", died, lines=[], records=two, excuses=found.excuses)
    assert len(judge(found).faults["innocents failed"]) == 1


def test_unique_jobs_may_be_beside_each_other_where_one_was_on_a_killed_worker() -> None:
    found = CASES["beside each other"]
    assert judge(Evidence(lines=found.lines, excuses=Excuses([Harm(1, 1.5, 1.5)]))).faults == {}


@pytest.mark.parametrize("harm", [Harm(1, 0.5, 0.5), Harm(2, 1.5, 1.5), Harm(1, 9.0, 9.0)])
def test_unique_jobs_may_not_be_beside_each_other_for_what_happened_elsewhere_or_another_time(harm: Harm) -> None:
    found = CASES["beside each other"]
    judged = judge(Evidence(lines=found.lines, excuses=Excuses([harm])))
    assert list(judged.faults) == ["beside each other"]


def test_a_limit_does_not_count_the_bodies_of_a_worker_that_died() -> None:
    found = CASES["over admission"]
    assert judge(Evidence(lines=found.lines, excuses=Excuses([Harm(2, 2.5, 2.5)]))).faults == {}
    assert list(judge(Evidence(lines=found.lines, excuses=Excuses([Harm(2, 9.0, 9.0)]))).faults) == ["over admission"]


@pytest.mark.parametrize(("leases", "too_many"), [(18, False), (19, True)])
def test_a_rate_counts_leases_in_its_seconds(leases: int, too_many: bool) -> None:
    lines = [line(f"paced {1000 + each * 50}", f"j{each}", 1.0) for each in range(leases)]
    later = [line("paced 2001", "late", 2.0)]
    assert bool(judge(Evidence(lines=[*lines, *later])).cases["over admission"]) is too_many


def test_ticks_may_be_missing_while_no_worker_lived() -> None:
    assert judge(evidence(lines=TICKS, excuses=Excuses(gaps=[(14.5, 15.5)]))).faults == {}


def test_a_recovery_is_measured_from_the_kill_to_the_start_elsewhere() -> None:
    lines = [line("start", "a", 1.0), *run("a", 12.0, 13.0, process=2)]
    shown = figures(evidence(lines=lines, excuses=Excuses([Harm(1, 2.5, 2.5)])))
    assert (shown["ran again after a kill"], shown["... at the latest"]) == (1, "9.5 s")


def test_a_job_may_commit_twice_where_its_record_could_not_be_written_and_its_worker_died() -> None:
    lines = [line("start", "a", 1.0, task="entry"), line("start", "a", 12.0, process=2, task="entry")]
    locked, killed = window("lock records", 0.5, 3.0), Harm(1, 2.0, 2.0)
    found = evidence("entry", lines=lines, numbers={"a": 7}, runs=Counter({7: 2}), excuses=Excuses([killed], [locked]))
    assert judge(found).faults == {}
    for excuses in (Excuses([killed]), Excuses([], [locked])):
        found.excuses = excuses
        assert list(judge(found).faults) == ["committed twice"]


def test_an_end_that_redis_lost_while_postgres_was_away_comes_again() -> None:
    ends = {"a": [End("complete", 2.1), End("complete", 13.1)]}
    locked, wiped = window("lock records", 1.5, 8.0), window("wipe redis", 4.0, 5.0)
    assert judge(evidence(lines=TWICE, ends=ends, excuses=Excuses([], [locked, wiped]))).faults == {}
    found = judge(evidence(lines=TWICE, ends=ends, excuses=Excuses([], [wiped])))
    assert list(found.faults) == ["ran after their end", "ends announced twice"]


@pytest.mark.parametrize(
    ("status", "windows", "excused"),
    [
        (0, [], False),
        (0, [window("pause redis", 1.5, 8.0)], True),
        (0, [window("pause redis", 20.0, 21.0)], False),
        (3, [], True),
    ],
)
def test_a_stop_that_could_not_write_its_outcomes_excuses_a_second_run(
    status: int, windows: list[Window], excused: bool
) -> None:
    excuses = Excuses.of([], windows, [], (0.0, 0.0), [Stop(1, 2.5, 9.0, status)])
    assert (Harm(1, 2.5, 9.0) in excuses.harmed) is excused


@pytest.mark.parametrize(("ended", "excused"), [(1.0, False), (9.9, True)], ids=["settled before", "unsettled"])
def test_a_stop_by_force_excuses_only_what_ran_or_was_not_settled_then(ended: float, excused: bool) -> None:
    lines = [*run("a", 0.5, ended), *run("a", 19.0, 19.5, process=2)]
    excuses = Excuses.of([], [], lines, (0.0, 0.0), [Stop(1, 10.0, 12.0, 3)])
    assert (judge(evidence(lines=lines, excuses=excuses)).faults == {}) is excused
