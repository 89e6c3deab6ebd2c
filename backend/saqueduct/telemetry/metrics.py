"""The metrics: their names, types, labels and meaning. Prometheus and OpenTelemetry export the same ones."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from saqueduct.common.durations import BUCKETS

RUN_BUCKETS = BUCKETS
"""Upper bounds in seconds of the histograms of durations: jobs run for milliseconds, or for half an hour."""


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as Prometheus and OpenTelemetry see it.
        kind: its type.
        text: what it means.
        labels: of each of its values. Never a worker, host, job or tenant: there is no limit to their number.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """As OpenTelemetry writes it."""
        return "s" if self.name.endswith("_seconds") else ""


_TASK = ("queue", "task")

JOBS_ENQUEUED = Metric("saqueduct_jobs_enqueued_total", "counter", "Jobs that this process has put into Redis.", _TASK)
ATTEMPTS = Metric(
    "saqueduct_attempts_total",
    "counter",
    "Attempts that ended in this process: complete, failed, aborted, retried (gets another attempt), released (its "
    "worker stopped), postponed (an outage, or code that does not fit), throttled (it closed one of its limits), "
    "lost (its lease was lost, the outcome is discarded).",
    (*_TASK, "outcome"),
)
JOBS_FINISHED = Metric(
    "saqueduct_jobs_finished_total",
    "counter",
    "Jobs that reached a final status: complete, failed or aborted.",
    (*_TASK, "status"),
)
JOB_RUN = Metric(
    "saqueduct_job_run_seconds",
    "histogram",
    "How long attempts ran, without time for which other jobs blocked the event loop.",
    _TASK,
)
JOB_WAIT = Metric(
    "saqueduct_job_wait_seconds",
    "histogram",
    "How long jobs waited from the time that they were due to the start of their first attempt.",
    _TASK,
)
SCHEDULE_LAG = Metric(
    "saqueduct_schedule_lag_seconds", "histogram", "How late the jobs of schedules were made.", ("schedule",)
)
RECOVERIES = Metric(
    "saqueduct_recoveries_total", "counter", "Jobs that this process queued again because their lease ran out.", _TASK
)
RECORDS_WAITING = Metric(
    "saqueduct_records_waiting", "gauge", "Job records of this process that PostgreSQL does not have yet."
)
RECORDS_DROPPED = Metric(
    "saqueduct_records_dropped_total", "counter", "Job records that were lost because too many waited for PostgreSQL."
)
LOOP_LAG = Metric(
    "saqueduct_event_loop_lag_seconds",
    "gauge",
    "How long the event loop of this process took to answer, or has not answered so far.",
)

QUEUE_JOBS = Metric(
    "saqueduct_queue_jobs",
    "gauge",
    "Jobs of the queue that have not ended: queued, active, scheduled (delayed, or waiting for another attempt).",
    ("queue", "state"),
)
QUEUE_LATENCY = Metric(
    "saqueduct_queue_latency_seconds", "gauge", "How long the oldest due job has waited; 0: none waits.", ("queue",)
)
QUEUE_PAUSED = Metric("saqueduct_queue_paused", "gauge", "1 while the queue is paused.", ("queue",))
WORKERS = Metric(
    "saqueduct_workers",
    "gauge",
    "Live workers: ok, blocked (a job blocks the event loop), not_consuming (jobs wait, and it takes none), "
    "paused (a person has asked it to take none).",
    ("queue", "state"),
)
SLOTS = Metric("saqueduct_slots", "gauge", "Slots of live workers: busy or free.", ("queue", "state"))
DEAD_LETTERS = Metric(
    "saqueduct_dead_letters", "gauge", "Dead letters that nobody has replayed or discarded.", ("queue",)
)
OUTBOX_OLDEST = Metric(
    "saqueduct_outbox_oldest_seconds", "gauge", "Age of the oldest committed job that Redis does not have; 0: none."
)
NEXT_TICK = Metric(
    "saqueduct_schedule_next_tick_timestamp_seconds",
    "gauge",
    "When the schedule is due next, in epoch seconds; in the past: it is overdue. Missing while it is paused.",
    ("schedule",),
)
LAST_TICK = Metric(
    "saqueduct_schedule_last_tick_timestamp_seconds",
    "gauge",
    "The last tick for which the schedule made a job, in epoch seconds.",
    ("schedule",),
)
REDIS_UP = Metric("saqueduct_redis_up", "gauge", "1 if Redis answers this process.")
POSTGRESQL_UP = Metric(
    "saqueduct_postgresql_up", "gauge", "1 if PostgreSQL answers this process; missing where there is none."
)

OF_THE_PROCESS: Sequence[Metric] = (
    JOBS_ENQUEUED,
    ATTEMPTS,
    JOBS_FINISHED,
    JOB_RUN,
    JOB_WAIT,
    SCHEDULE_LAG,
    RECOVERIES,
    RECORDS_WAITING,
    RECORDS_DROPPED,
    LOOP_LAG,
)
"""Counted in each process, since its start."""

OF_THE_WHOLE: Sequence[Metric] = (
    QUEUE_JOBS,
    QUEUE_LATENCY,
    QUEUE_PAUSED,
    WORKERS,
    SLOTS,
    DEAD_LETTERS,
    OUTBOX_OLDEST,
    NEXT_TICK,
    LAST_TICK,
    REDIS_UP,
    POSTGRESQL_UP,
)
"""Read from Redis and PostgreSQL at each scrape; all processes report the same."""
