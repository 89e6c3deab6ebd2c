"""Families: the current values of all metrics, for Prometheus and for OpenTelemetry."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from saqueduct.queue.schedule_states import ScheduleState
from saqueduct.telemetry import metrics
from saqueduct.telemetry.counters import JobCounters, TaskCounters, all_tasks
from saqueduct.telemetry.histogram import Histogram
from saqueduct.telemetry.metrics import Metric
from saqueduct.telemetry.system_state import DatabaseState, RedisState


class Sample(NamedTuple):
    """One value of a metric."""

    labels: tuple[str, ...]
    """In the order of `Metric.labels`."""
    value: float | Histogram


class Family(NamedTuple):
    """A metric and its values."""

    metric: Metric
    samples: Sequence[Sample]


def job_families(counters: Sequence[JobCounters]) -> Iterator[Family]:
    """What happened to jobs in this process."""
    tasks = all_tasks(counters)
    yield Family(metrics.JOBS_ENQUEUED, _each(tasks, lambda of: of.enqueued))
    yield Family(metrics.ATTEMPTS, _by_word(tasks, TaskCounters.attempts_by_outcome))
    yield Family(metrics.JOBS_FINISHED, _by_word(tasks, TaskCounters.finished_by_status))
    yield Family(metrics.JOB_RUN, _each(tasks, lambda of: of.run))
    yield Family(metrics.JOB_WAIT, _each(tasks, lambda of: of.wait))
    lags = [Sample((key,), lag) for each in counters for key, lag in list(each.lags.items())]
    yield Family(metrics.SCHEDULE_LAG, lags)
    yield Family(metrics.RECOVERIES, _each(tasks, lambda of: of.recovered))


def redis_families(state: RedisState) -> Iterator[Family]:
    """What Redis knows; while it does not answer only that."""
    yield Family(metrics.REDIS_UP, [Sample((), float(state.up))])
    queues = state.queues
    jobs = [
        Sample((each.name, name), getattr(each, name)) for each in queues for name in ("queued", "active", "scheduled")
    ]
    yield Family(metrics.QUEUE_JOBS, jobs)
    yield Family(metrics.QUEUE_LATENCY, [Sample((each.name,), each.latency) for each in queues])
    yield Family(metrics.QUEUE_PAUSED, [Sample((each.name,), float(each.paused is not None)) for each in queues])
    yield Family(metrics.WORKERS, [Sample((q.name, state), n) for q in queues for state, n in q.workers.items()])
    yield Family(metrics.SLOTS, [Sample((q.name, state), n) for q in queues for state, n in q.slots.items()])


def schedule_families(states: Sequence[ScheduleState]) -> Iterator[Family]:
    """The ticks of schedules."""
    following = [
        Sample((each.key,), each.next_tick) for each in states if each.next_tick is not None and each.paused is None
    ]
    last = [Sample((each.key,), tick) for each in states if (tick := each.last_tick) is not None]
    yield Family(metrics.NEXT_TICK, following)
    yield Family(metrics.LAST_TICK, last)


def database_families(state: DatabaseState) -> Iterator[Family]:
    """What PostgreSQL knows; nothing where there is none."""
    if state.up is None:
        return
    yield Family(metrics.POSTGRESQL_UP, [Sample((), float(state.up))])
    if state.dead_letters is not None:
        yield Family(metrics.DEAD_LETTERS, [Sample((name,), count) for name, count in state.dead_letters.items()])
    if state.outbox_oldest is not None:
        yield Family(metrics.OUTBOX_OLDEST, [Sample((), state.outbox_oldest)])


Tasks = Sequence[tuple[str, str, TaskCounters]]


def _each(tasks: Tasks, value: Callable[[TaskCounters], float | Histogram]) -> list[Sample]:
    return [Sample((queue, task), value(of)) for queue, task, of in tasks]


def _by_word(tasks: Tasks, values: Callable[[TaskCounters], dict[str, int]]) -> list[Sample]:
    return [Sample((queue, task, word), count) for queue, task, of in tasks for word, count in values(of).items()]
