"""What is wrong now, in sentences, each with what to do."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import msgspec

from saqueduct.console.rendering import lasting
from saqueduct.queue.queue_state import QueueState
from saqueduct.queue.schedule_states import ScheduleState
from saqueduct.queue.worker_health import WorkerReport
from saqueduct.queue.worker_health import problems_of as problems_of_workers
from saqueduct.telemetry.system_state import DatabaseState, RedisState

SLOW: Final = 60.0
"""Seconds that the oldest due job may wait before it is worth a sentence."""

OVERDUE: Final = 60.0
"""Seconds after which a tick that made no job is late."""

UNPUBLISHED: Final = 30.0
"""Seconds that a committed job may wait for Redis."""


class Problem(NamedTuple):
    """Something that is wrong."""

    level: Literal["bad", "warn", "info"]
    text: str
    remedy: str
    page: str = ""
    """Path of the page where it can be repaired; empty: none."""
    query: Mapping[str, str] = MappingProxyType({})


def problems_of(
    redis: RedisState, database: DatabaseState, schedules: Sequence[ScheduleState], now: float
) -> list[Problem]:
    """All problems, the worst first."""
    found = [*_servers(redis, database)]
    for queue in redis.queues:
        found += _of_queue(queue)
    found += _of_schedules(schedules, now)
    found += _waiting(database)
    return sorted(found, key=lambda problem: ("bad", "warn", "info").index(problem.level))


def _servers(redis: RedisState, database: DatabaseState) -> Iterator[Problem]:
    if not redis.up:
        yield Problem(
            "bad",
            "Redis does not answer.",
            "Workers wait and reconnect by themselves. Check the server and the network at REDIS_URL.",
        )
    if database.up is False:
        yield Problem(
            "bad",
            "PostgreSQL does not answer.",
            "Jobs run on; records and durable jobs wait for it. Check the server and the network at DATABASE_URL.",
        )


def _of_queue(queue: QueueState) -> Iterator[Problem]:
    yield from stops_of(queue)
    yield from _of_records(queue)
    for text in problems_of_workers(queue.name, [_without_records(report) for report in queue.reports]):
        yield Problem("bad", f"{text[:1].upper()}{text[1:]}.", _remedy(text), "workers")
    if queue.paused is None and queue.live_workers and queue.latency > SLOW and not queue.problems:
        free = queue.slots["free"]
        busy = "all slots are busy" if not free else f"{free:,} {'slot is' if free == 1 else 'slots are'} free"
        yield Problem(
            "warn",
            f"The oldest due job of the queue {queue.name} has waited {lasting(queue.latency)}, {busy}.",
            "Start more workers, or raise their concurrency; look for slow jobs among those that run.",
            "jobs",
            {"status": "active", "queue": queue.name},
        )


def stops_of(queue: QueueState) -> Iterator[Problem]:
    """Why nobody takes jobs of a queue."""
    if queue.paused is not None:
        by = f" by {queue.paused.by}" if queue.paused.by else ""
        why = f": {queue.paused.why}" if queue.paused.why else ""
        waits = f" {_jobs_wait(queue)}." if queue.queued else ""
        text = f"The queue {queue.name} is paused{by}{why}.{waits}"
        yield Problem("warn", text, "Resume it when the reason is gone.", "queues")
    elif not queue.live_workers:
        yield _no_worker(queue)
    if queue.paused is None and queue.workers_paused_since is not None:
        yield Problem(
            "warn",
            f"All workers of the queue {queue.name} are paused, {_jobs_wait(queue)}.",
            "Resume one, or start another.",
            "workers",
        )


def _jobs_wait(queue: QueueState) -> str:
    return "1 job waits" if queue.queued == 1 else f"{queue.queued:,} jobs wait"


def _no_worker(queue: QueueState) -> Problem:
    none = f"No worker of the queue {queue.name} is live"
    if queue.backlog:
        text = f"{none}, and {queue.backlog:,} {'job or tick is' if queue.backlog == 1 else 'jobs or ticks are'} due."
        return Problem("bad", text, "Start one, for example with `litestar workers run`.", "workers")
    return Problem("info", f"{none}.", "Nothing waits for one now. Start one with `litestar workers run`.", "workers")


def _of_records(queue: QueueState) -> Iterator[Problem]:
    for text in sorted({report.state.records for report in queue.reports if report.state.records}):
        yield Problem(
            "warn",
            f"Records of jobs of the queue {queue.name} wait: {text}.",
            "Workers write them when PostgreSQL takes them. Check the server and the network at DATABASE_URL.",
            "workers",
        )


def _without_records(report: WorkerReport) -> WorkerReport:
    """A report whose records are a problem of their own."""
    return msgspec.structs.replace(report, state=msgspec.structs.replace(report.state, records=""))


def _remedy(text: str) -> str:
    if "is blocked" in text:
        return "Make that task `def` instead of `async def`, or let it await; until then only this job is charged."
    if "given up" in text:
        return "Let the task end when it is cancelled, or give its calls timeouts; restart the worker to free memory."
    if "not consuming" in text:
        return "Look at the log of that worker; restart it if it does not recover."
    return "Look at the log of that worker."


def _of_schedules(schedules: Sequence[ScheduleState], now: float) -> Iterator[Problem]:
    for each in schedules:
        if each.paused is not None:
            by = f" by {each.paused.by}" if each.paused.by else ""
            why = f": {each.paused.why}" if each.paused.why else ""
            yield Problem("info", f"The schedule {each.key} is paused{by}{why}.", "Its ticks are skipped.", "schedules")
        elif each.next_tick is not None and now - each.next_tick > OVERDUE:
            yield Problem(
                "bad",
                f"The schedule {each.key} is overdue by {lasting(now - each.next_tick)}.",
                "A worker of its queue makes the jobs of ticks: check that one is live.",
                "schedules",
            )


def _waiting(database: DatabaseState) -> Iterator[Problem]:
    if database.outbox_oldest is not None and database.outbox_oldest > UNPUBLISHED:
        yield Problem(
            "warn",
            f"A committed job has waited {lasting(database.outbox_oldest)} in the outbox for Redis.",
            "Web processes and workers publish it as soon as Redis takes it: check that one runs.",
        )
    if count := sum((database.dead_letters or {}).values()):
        jobs = "job has" if count == 1 else "jobs have"
        yield Problem("info", f"{count:,} {jobs} failed for good.", "Replay or discard them.", "dead-letters")
