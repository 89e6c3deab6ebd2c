"""Counters: what happened to jobs in this process.

Numbers and dicts instead of the objects of a metrics library: a job costs a worker some microseconds, and counting it
must not. They are updated in the event loop, a batch of jobs at a time, and read from any thread.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter

from saq import Job
from saq.job import TERMINAL_STATUSES, Status

from saqueduct.errors import UnknownTask
from saqueduct.queue.metering import HowView, OutcomeView
from saqueduct.tasks.definition import TaskLookup
from saqueduct.tasks.job import EngineJob
from saqueduct.telemetry.histogram import Histogram
from saqueduct.telemetry.metrics import RUN_BUCKETS

UNKNOWN = "(unknown)"
"""Instead of the name of a task that this process does not know: others may make up any number of names."""

OUTCOMES = {"retry": "retried", "return": "released", "postpone": "postponed", "throttle": "throttled"}
"""By kind of an outcome; a job that has finished has its status."""


_function = attrgetter("function")


class TaskCounters:
    """What happened to the jobs of one task in one queue."""

    __slots__ = ("attempts", "complete", "enqueued", "finished", "recovered", "run", "wait")

    def __init__(self) -> None:
        self.enqueued = 0
        self.complete = 0
        """Attempts that ended complete, the most frequent outcome; both counters below leave them out."""
        self.attempts: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.recovered = 0
        self.run = Histogram(RUN_BUCKETS)
        self.wait = Histogram(RUN_BUCKETS)

    def attempts_by_outcome(self) -> dict[str, int]:
        """All attempts."""
        return {"complete": self.complete, **dict(self.attempts)}

    def finished_by_status(self) -> dict[str, int]:
        """All jobs that have finished."""
        others = dict(self.finished)
        return others | {"complete": self.complete + others.get("complete", 0)}


class JobCounters:
    """Counts the jobs of one queue; a `Meter`.

    Args:
        queue: its name.
        known: the tasks of this process; None: all names count as known.
    """

    def __init__(self, queue: str, known: TaskLookup | None = None) -> None:
        self.queue = queue
        self.tasks: dict[str, TaskCounters] = {}
        """By name of the task."""
        self.lags: dict[str, Histogram] = {}
        """How late the jobs of each schedule were made."""
        self._known = known
        self._none = TaskCounters()
        """Before the first job of a batch."""

    def enqueued(self, jobs: Sequence[Job], seconds: float) -> None:
        """See `Meter.enqueued`."""
        for name, count in Counter(map(_function, jobs)).items():
            self._named(name).enqueued += count

    def ticked(self, schedule: str, job: Job, lag: float) -> None:
        """See `Meter.ticked`."""
        self._of(job).enqueued += 1
        if (histogram := self.lags.get(schedule)) is None:
            histogram = self.lags[schedule] = Histogram(RUN_BUCKETS)
        histogram.observe(max(0.0, lag))

    def started(self, jobs: Sequence[EngineJob]) -> None:
        """See `Meter.started`."""
        # Every job pays for this: as `is_first_start`, `waited` and `Histogram.observe`, without their calls, and with
        # one look for the counters of jobs in a row that have the same task.
        task, wait, first = None, self._none.wait, RUN_BUCKETS[0]
        counts, total = wait.counts, 0.0
        for job in jobs:
            queued = job.queued
            if job.attempts == 1 and job.touched <= queued:
                if job.function != task:
                    wait.total += total
                    task, wait = job.function, self._named(job.function).wait
                    counts, total = wait.counts, 0.0
                since = max(queued, job.scheduled * 1000) if job.scheduled else queued
                if (seconds := (job.started - since) / 1000) > first:
                    counts[bisect_left(RUN_BUCKETS, seconds)] += 1
                    total += seconds
                else:
                    counts[0] += 1
                    if seconds > 0.0:
                        total += seconds
        wait.total += total

    def settled(self, outcomes: Sequence[tuple[OutcomeView, bool]], jobs: Sequence[Job | None], seconds: float) -> None:
        """See `Meter.settled`."""
        # As above.
        task, counters, first, complete = None, self._none, RUN_BUCKETS[0], Status.COMPLETE
        counts, total, ended = counters.run.counts, 0.0, 0
        for (outcome, held), job in zip(outcomes, jobs, strict=True):
            if type(job) is EngineJob and (ran := job.ran) >= 0.0:
                if job.function != task:
                    counters.run.total += total
                    counters.complete += ended
                    task, counters = job.function, self._of(job)
                    counts, total, ended = counters.run.counts, 0.0, 0
                counts[0 if ran <= first else bisect_left(RUN_BUCKETS, ran)] += 1
                total += ran
                if held and outcome.how.status is complete:
                    ended += 1
                else:
                    self._count(counters, outcome.how, held=held, ran=True)
            else:
                self._count(self._of(job), outcome.how, held=held, ran=False)
        counters.run.total += total
        counters.complete += ended

    @staticmethod
    def _count(counters: TaskCounters, how: HowView, *, held: bool, ran: bool) -> None:
        kind, status = how.kind, Status(how.status).value
        if ran:
            counters.attempts[(OUTCOMES.get(kind) or status) if held else "lost"] += 1
        if held and kind == "finish":
            counters.finished[status] += 1

    def lost(self, job: EngineJob) -> None:
        """See `Meter.lost`."""
        if job.ran >= 0.0:
            self._of(job).attempts["lost"] += 1

    def ended(self, job: Job) -> None:
        """See `Meter.ended`."""
        if job.status in TERMINAL_STATUSES:
            self._of(job).finished[job.status.value] += 1

    def recovered(self, job: EngineJob) -> None:
        """See `Meter.recovered`."""
        self._of(job).recovered += 1

    def label_of(self, job: Job | None) -> str:
        """The name of its task, or UNKNOWN."""
        return job.function if job is not None and self._knows(job.function) else UNKNOWN

    def _of(self, job: Job | None) -> TaskCounters:
        return self._named(UNKNOWN if job is None else job.function)

    def _named(self, name: str) -> TaskCounters:
        if (counters := self.tasks.get(name)) is None:
            counters = self.tasks.setdefault(name if self._knows(name) else UNKNOWN, TaskCounters())
        return counters

    def _knows(self, name: str) -> bool:
        if name in self.tasks:
            return True
        try:
            return self._known is None or self._known.get(name) is not None
        except UnknownTask:
            return False


def is_first_start(job: EngineJob) -> bool:
    """True if no attempt of it has begun before; one that a stopping worker released has not counted as one."""
    return job.attempts == 1 and job.touched <= job.queued


def waited(job: EngineJob) -> float:
    """Seconds from the time that a job was due to its lease; a deliberate delay does not count."""
    return max(0.0, (job.started - max(job.queued, job.scheduled * 1000)) / 1000)


def all_tasks(counters: Iterable[JobCounters]) -> list[tuple[str, str, TaskCounters]]:
    """Queue, task and counters of each series, as of now."""
    return [(each.queue, task, of) for each in counters for task, of in list(each.tasks.items())]
