"""The past of the demo: job records of the last day, and the history of the last week, from a seed alone."""

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from app.dev.demo.work import BUSY, NAMES, SCHEDULED, WORK, Failure, Work
from saqueduct.common.durations import BUCKETS
from saqueduct.postgres.rows import Row
from saqueduct.postgres.time_series import COUNTS, Numbers, Place
from saqueduct.tasks.definition import TaskDefinition

PREFIX: Final = "demo-"
"""Begins the keys of all jobs of the demo."""

TAG: Final = "demo"
"""They all have it."""

MINUTE, HOUR, DAY = 60, 3600, 86400
DAYS: Final = 7
"""Of history; the last one has records."""

OUTAGE: Final = (9.0, 8.4)
"""Hours before now in which the mail server was away."""

WORKERS: Final = ("demo-worker-1", "demo-worker-2")

VERSIONS: Final = ("2026.11.3", "2026.11.4")
DEPLOYED: Final = 9.2
"""Hours before now in which the second of these came."""


class Past:
    """Makes the rows of the last day.

    Args:
        seed: the same seed and time make the same rows.
        until: epoch seconds; nothing is later.
        hours: before it.
    """

    def __init__(self, seed: int, until: int, hours: int = 24) -> None:
        self._random = Random(seed)  # noqa: S311  (nothing secret)
        self._until = until
        self._hours = hours
        self._count = 0

    def rows(self, tasks: Iterable[TaskDefinition], zone: ZoneInfo) -> list[Row]:
        """Of all jobs.

        Args:
            tasks: whose schedules have run.
            zone: of schedules that name none.
        """
        queues = {task.name: task.queue_name for task in tasks}
        rows = [row for work in WORK for row in self._enqueued(work, queues[work.task])]
        rows += [row for task in tasks for row in self._scheduled(task, zone)]
        return self._with_parents(rows)

    def _enqueued(self, work: Work, queue: str) -> Iterator[Row]:
        for hour in range(self._hours):
            start = self._until - (hour + 1) * HOUR
            busy = BUSY[dt.datetime.fromtimestamp(start, dt.UTC).hour] / 10
            for _ in range(round(work.an_hour * busy * self._random.uniform(0.7, 1.3))):
                yield self._job(work, queue, start + self._random.uniform(0, HOUR))

    def _job(self, work: Work, queue: str, queued: float) -> Row:
        random = self._random
        arguments = work.arguments(random)
        wait, run = random.lognormvariate(0, 0.8) * work.wait, random.lognormvariate(0, 0.6) * work.run
        if random.random() < work.slow:
            run *= 20
        failure = self._failure(work, queued)
        if failure is not None:
            return self._failed(self._row(queue, work.task, queued, wait, run, arguments), failure)
        if random.random() < 0.004:
            aborted = self._row(queue, work.task, queued, wait, run, arguments)
            return self._in_time(aborted._replace(status="aborted", error="aborted by request"))
        result = msgspec.json.encode(work.result(arguments))
        return self._in_time(self._row(queue, work.task, queued, wait, run, arguments)._replace(result=result))

    def _failure(self, work: Work, queued: float) -> Failure | None:
        hours = (self._until - queued) / HOUR
        share = 0.5 if "mail" in work.task and OUTAGE[1] <= hours <= OUTAGE[0] else work.share
        if not work.failures or self._random.random() >= share:
            return None
        return work.failures[-1] if share > work.share else self._random.choice(work.failures)

    def _row(self, queue: str, task: str, queued: float, wait: float, run: float, arguments: Mapping[str, Any]) -> Row:
        self._count += 1
        started, ended = queued + wait, queued + wait + run
        return Row(
            queued=int(queued * 1000),
            key=f"{PREFIX}{task}-{self._count:05}",
            queue=queue,
            task=task,
            status="complete",
            round=0,
            attempts=1,
            recoveries=0,
            arguments=msgspec.json.encode(arguments) if arguments else None,
            payload=None,
            result=None,
            error=None,
            errors=None,
            worker=self._random.choice(WORKERS),
            started=int(started * 1000),
            ended=int(ended * 1000),
            extra={"tags": [TAG], "trace_id": f"{self._random.getrandbits(128):032x}"},
        )

    def _failed(self, row: Row, failure: Failure) -> Row:
        """A job whose attempts all failed; of a passing failure a third completes in the end."""
        recovers = failure.retried and self._random.random() < 0.35
        attempts = self._random.randint(2, 5) if failure.retried else 1
        number = self._random.randint(100, 999)
        given = {
            "to": f"{self._random.choice(NAMES)}{number}@example.com",
            **msgspec.json.decode(row.arguments or b"{}"),
        }
        line = failure.error.format(number=number, **given)
        error = f'Traceback (most recent call last):\n  File "{failure.where}\n{line}'
        took, started, found = row.ended - row.started, row.started, list[dict[str, Any]]()
        for attempt in range(1, attempts + 1):
            times = {"started": started, "ended": started + took}
            version = VERSIONS[times["started"] >= (self._until - DEPLOYED * HOUR) * 1000]
            found.append({"attempt": attempt, "error": error, "worker": row.worker, "version": version, **times})
            started += took + 5000 * 2**attempt
        last = found.pop() if recovers else found[-1]
        errors = msgspec.json.encode(found)
        row = row._replace(attempts=attempts, errors=errors, started=last["started"], ended=last["ended"])
        return self._in_time(row if recovers else row._replace(status="failed", error=error))

    def _scheduled(self, task: TaskDefinition, zone: ZoneInfo) -> Iterator[Row]:
        for schedule in task.schedules:
            median, result = SCHEDULED.get(task.name, (0.1, None))
            tick = schedule.next_tick(self._until - self._hours * HOUR, zone)
            while tick < self._until:
                run = median * self._random.lognormvariate(0, 0.5)
                arguments = dict(schedule.kwargs or {})
                row = self._row(task.queue_name, task.name, tick, self._random.uniform(0.001, 0.02), run, arguments)
                extra = {**(row.extra or {}), "schedule": schedule.key}
                yield self._in_time(row._replace(result=msgspec.json.encode(result), extra=extra))
                tick = schedule.next_tick(tick, zone)

    def _with_parents(self, rows: Sequence[Row]) -> list[Row]:
        """Chunks of campaigns were enqueued by the jobs that send these."""
        campaigns = [row for row in rows if row.task == "send_campaign"]
        return [self._with_parent(row, campaigns) if row.task == "send_campaign_chunk" else row for row in rows]

    def _with_parent(self, row: Row, campaigns: Sequence[Row]) -> Row:
        if not campaigns:
            return row
        parent = self._random.choice(campaigns)
        arguments = msgspec.json.decode(row.arguments or b"{}")
        arguments["campaign_id"] = msgspec.json.decode(parent.arguments or b"{}")["campaign_id"]
        shift = parent.started + self._random.randint(1, 900) - row.queued
        moved = row._replace(
            queued=row.queued + shift,
            started=row.started + shift,
            ended=row.ended + shift,
            arguments=msgspec.json.encode(arguments),
            errors=_moved(row.errors, shift),
            extra={**(row.extra or {}), "parent": parent.key},
        )
        return self._in_time(moved)

    def _in_time(self, row: Row) -> Row:
        """Nothing of a job is later than now: a long one near the end of the day began earlier."""
        late = max(0, row.ended - self._until * 1000)
        if not late:
            return row
        return row._replace(
            queued=row.queued - late,
            started=row.started - late,
            ended=row.ended - late,
            errors=_moved(row.errors, -late),
        )


def _moved(errors: bytes | None, by: int) -> bytes | None:
    if errors is None:
        return None
    attempts = msgspec.json.decode(errors)
    return msgspec.json.encode(
        [{**each, "started": each["started"] + by, "ended": each["ended"] + by} for each in attempts]
    )


def numbers_of(rows: Iterable[Row]) -> dict[Place, Numbers]:
    """What the workers would have counted about jobs, minute by minute."""
    found: dict[Place, Numbers] = {}

    def at(row: Row, milliseconds: int) -> Numbers:
        place = Place(milliseconds // 1000 // MINUTE * MINUTE, row.queue, row.task)
        return found.setdefault(place, Numbers.none())

    for row in rows:
        failures = msgspec.json.decode(row.errors) if row.errors else []
        first = failures[0]["started"] if failures else row.started
        at(row, row.queued).counts[COUNTS.index("enqueued")] += 1
        numbers = at(row, row.ended)
        numbers.counts[COUNTS.index(row.status)] += 1
        numbers.counts[COUNTS.index("retried")] += row.attempts - 1
        _count(numbers.waits, numbers.seconds, 0, (first - row.queued) / 1000)
        for _ in range(row.attempts):
            _count(numbers.runs, numbers.seconds, 1, (row.ended - row.started) / 1000)
    return found


def _count(histogram: list[int], seconds: list[float], which: int, duration: float) -> None:
    histogram[bisect_left(BUCKETS, duration)] += 1
    seconds[which] += duration


def week_of(day: Mapping[Place, Numbers], seed: int) -> dict[Place, Numbers]:
    """The day, and six days before it that were like it, hour by hour."""
    random = Random(seed)  # noqa: S311  (nothing secret)
    hours: dict[Place, Numbers] = {}
    for place, numbers in day.items():
        hour = place._replace(minute=place.minute // HOUR * HOUR)
        hours[hour] = hours[hour].plus(numbers) if hour in hours else numbers
    week = dict(day)
    for before in range(1, DAYS):
        for hour, numbers in hours.items():
            factor = random.uniform(0.6, 1.3)
            moved = hour._replace(minute=hour.minute - before * DAY)
            if (scaled := _scaled(numbers, factor)).empty:
                continue
            week[moved] = week[moved].plus(scaled) if moved in week else scaled
    return week


def _scaled(numbers: Numbers, factor: float) -> Numbers:
    return Numbers(
        [round(each * factor) for each in numbers.counts],
        [each * factor for each in numbers.seconds],
        [round(each * factor) for each in numbers.waits],
        [round(each * factor) for each in numbers.runs],
    )
