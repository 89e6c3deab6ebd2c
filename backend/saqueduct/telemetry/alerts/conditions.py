"""The conditions under which something is wrong: the same, and for the same times, as in `ops/prometheus/rules.yml`."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from saqueduct.common.text import printable
from saqueduct.queue.queue_state import QueueState
from saqueduct.queue.schedule_states import ScheduleState
from saqueduct.telemetry.alerts.alert import Severity
from saqueduct.telemetry.system_state import DatabaseState

LATENCY = 60.0
"""Seconds that the oldest due job may wait."""

OVERDUE = 60.0
"""Seconds that a tick of a schedule may be late."""

PAUSED = 3600.0
"""Seconds that a queue, or all its workers, may be paused."""

OUTBOX = 60.0
"""Seconds that a committed job may take to reach Redis."""

FAILURES, FAILURES_WINDOW, FEWEST = 0.1, 600.0, 10
"""Share of jobs that may fail, the seconds over which it counts, and the fewest jobs for which it does."""

DEAD_LETTERS_WINDOW = 900.0
"""Seconds within which new dead letters are reported."""


class Sample(msgspec.Struct, frozen=True):
    """Numbers of one moment, to compare later ones with."""

    at: float
    """Epoch seconds by the clock of Redis."""
    dead_letters: dict[str, int]
    """By queue; empty: unknown."""
    ended: dict[str, dict[str, tuple[int, int]]]
    """By queue and live worker: the jobs that it has ended, and those of them that failed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """What is wrong in this moment.

    Attributes:
        name: of the condition.
        subject: what it is about.
        severity: see `Alert`.
        patience: seconds for which it must hold before it is reported.
        summary: one sentence.
        remedy: what to do.
    """

    name: str
    subject: str
    severity: Severity
    patience: float
    summary: str
    remedy: str


@dataclasses.dataclass(frozen=True, slots=True)
class Readings:
    """What conditions are computed from, in one moment.

    Attributes:
        queues: their states.
        schedules: their states.
        database: PostgreSQL.
        sample: the numbers of this moment, with its time.
        earlier: samples of the last minutes, oldest first.
    """

    queues: Sequence[QueueState]
    schedules: Sequence[ScheduleState]
    database: DatabaseState
    sample: Sample
    earlier: Sequence[Sample]


def conditions(readings: Readings) -> Iterator[Condition]:
    """What is wrong."""
    for queue in readings.queues:
        yield from _of_queue(queue, readings.sample.at)
        yield from _failures(queue.name, readings)
        yield from _dead_letters(queue.name, readings)
    for schedule in readings.schedules:
        yield from _of_schedule(schedule, readings.sample.at)
    yield from _of_database(readings.database)


def redis_away(patience: float = 60.0) -> Condition:
    """Redis does not answer; nothing else is known then."""
    return Condition(
        "redis_down", "redis", "critical", patience, "Redis does not answer: no job runs, and none can be enqueued",
        "Start it, or check the network; jobs continue by themselves when it is back.",
    )  # fmt: skip


def _of_queue(queue: QueueState, now: float) -> Iterator[Condition]:
    name, waiting = queue.name, queue.queued + queue.active
    if queue.paused is not None:
        if now - queue.paused.since > PAUSED:
            who = f" by {printable(queue.paused.by)}" if queue.paused.by else ""
            yield Condition(
                "paused", name, "warning", 0.0, f"The queue {name} has been paused{who} for more than an hour",
                f"Resume it: saqueduct queues resume {name}",
            )  # fmt: skip
        return
    if queue.live_workers == 0 and waiting:
        yield Condition(
            "no_workers", name, "critical", 60.0,
            f"The queue {name} has no live worker; jobs that wait or run: {waiting}",
            "Start workers, and see their logs for why they ended.",
        )  # fmt: skip
    elif queue.latency > LATENCY:
        yield Condition(
            "latency", name, "warning", 300.0,
            f"The oldest job of the queue {name} has waited for {queue.latency:.0f} s",
            "Start more workers, or find out what their slots are busy with: saqueduct jobs list --status active",
        )  # fmt: skip
    if queue.workers_paused_since is not None and now - queue.workers_paused_since > PAUSED:
        yield Condition(
            "workers_paused", name, "warning", 0.0,
            f"All workers of the queue {name} have been paused for more than an hour; jobs that wait: {queue.queued}",
            "Resume one: saqueduct workers list, then saqueduct workers resume ID; or start another.",
        )  # fmt: skip
    yield from _of_workers(queue)


def _of_workers(queue: QueueState) -> Iterator[Condition]:
    name, workers = queue.name, queue.workers
    if count := workers["not_consuming"]:
        yield Condition(
            "not_consuming", name, "critical", 60.0, f"Workers of the queue {name} live and take no jobs: {count}",
            "See their problems in /health/ready, and restart them.",
        )  # fmt: skip
    if count := workers["blocked"]:
        yield Condition(
            "blocked", name, "critical", 15.0,
            f"A job blocks the event loop of a worker of the queue {name}; workers: {count}",
            "The worker's log has the job and its stack: make its task a plain function, or use asyncio.to_thread.",
        )  # fmt: skip
    if any(report.state.records for report in queue.reports):
        yield Condition(
            "records", name, "warning", 60.0, f"Workers of the queue {name} cannot write job records",
            "See the problems in /health/ready; the records of failed jobs are kept until they can be written.",
        )  # fmt: skip


def _failures(name: str, readings: Readings) -> Iterator[Condition]:
    """Compares the counters of live workers with those at the start of the window."""
    now = readings.sample.at
    before = next((each.ended for each in readings.earlier if now - each.at <= FAILURES_WINDOW), None)
    if before is None:
        return
    total = failed = 0
    for worker, (ended, ended_failed) in readings.sample.ended.get(name, {}).items():
        ended_before, failed_before = before.get(name, {}).get(worker, (0, 0))
        total += max(0, ended - ended_before)
        failed += max(0, ended_failed - failed_before)
    if total >= FEWEST and failed / total > FAILURES:
        yield Condition(
            "failures", name, "warning", 60.0, f"More than a tenth of the jobs of the queue {name} fail",
            "See their errors: saqueduct jobs list --status failed",
        )  # fmt: skip


def _dead_letters(name: str, readings: Readings) -> Iterator[Condition]:
    now = readings.sample.at
    before = next((each.dead_letters for each in readings.earlier if now - each.at <= DEAD_LETTERS_WINDOW), None)
    count = readings.sample.dead_letters.get(name)
    if before is None or count is None or name not in before or (more := count - before[name]) <= 0:
        return
    yield Condition(
        "dead_letters", name, "warning", 0.0, f"New dead letters in the queue {name} within 15 minutes: {more}",
        "See them, then replay or discard them: saqueduct dead list",
    )  # fmt: skip


def _of_schedule(schedule: ScheduleState, now: float) -> Iterator[Condition]:
    due = schedule.next_tick
    if schedule.paused is None and due is not None and now - due > OVERDUE:
        yield Condition(
            "overdue", schedule.key, "critical", 60.0,
            f"The schedule {schedule.key} is late by {now - due:.0f} s",
            f"Check that a worker serves the queue {schedule.queue}.",
        )  # fmt: skip


def _of_database(database: DatabaseState) -> Iterator[Condition]:
    if database.up is False:
        yield Condition(
            "postgresql_down", "postgresql", "critical", 60.0, "PostgreSQL does not answer",
            "Start it, or check the network; jobs wait, and continue by themselves when it is back.",
        )  # fmt: skip
    elif database.outbox_oldest is not None and database.outbox_oldest > OUTBOX:
        yield Condition(
            "outbox", "postgresql", "critical", 30.0,
            f"A committed job has not reached Redis for {database.outbox_oldest:.0f} s",
            "Check that a worker lives, and that it reaches PostgreSQL.",
        )  # fmt: skip


def failure_counts(workers: Mapping[str, Mapping[str, object]]) -> dict[str, tuple[int, int]]:
    """The jobs that each live worker has ended, and those that failed, from the reports that SAQ defines."""
    counts = {}
    for worker, report in workers.items():
        stats = report.get("stats")
        if isinstance(stats, Mapping):
            complete, failed, aborted = (int(stats.get(name, 0)) for name in ("complete", "failed", "aborted"))
            counts[worker] = (complete + failed + aborted, failed)
    return counts
