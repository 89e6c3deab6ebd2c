"""The metrics through OpenTelemetry, by its API alone (extra `otel`); the application sets up the SDK.

Counters and gauges are read when the SDK collects. Its histograms take each observation by itself: that is what this
costs a job.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation, get_meter
from saq import Job
from saq.job import Status

from saqueduct.queue.metering import OutcomeView
from saqueduct.tasks.job import EngineJob
from saqueduct.telemetry import metrics
from saqueduct.telemetry.counters import JobCounters, is_first_start, waited
from saqueduct.telemetry.families import Family
from saqueduct.telemetry.metrics import RUN_BUCKETS, Metric

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter as Instruments
    from opentelemetry.sdk.metrics.view import View

    from saqueduct.telemetry.reporter import MetricsReporter

SCOPE = "saqueduct"

OPERATION_DURATION = "messaging.client.operation.duration"
SENT = "messaging.client.sent.messages"
CONSUMED = "messaging.client.consumed.messages"
PROCESS_DURATION = "messaging.process.duration"
"""Names of the semantic conventions for messaging, version 1.44."""

READING_KEPT = 1.0
"""Seconds for which a reading of the whole serves all gauges of one collection."""

Attributes = dict[str, str]


class Histograms:
    """The instruments that take each observation.

    Args:
        instruments: makes them.
    """

    def __init__(self, instruments: "Instruments") -> None:
        def seconds(name: str, text: str) -> Histogram:
            return instruments.create_histogram(name, "s", text, explicit_bucket_boundaries_advisory=list(RUN_BUCKETS))

        self.run = seconds(metrics.JOB_RUN.name, metrics.JOB_RUN.text)
        self.wait = seconds(metrics.JOB_WAIT.name, metrics.JOB_WAIT.text)
        self.lag = seconds(metrics.SCHEDULE_LAG.name, metrics.SCHEDULE_LAG.text)
        self.operation = seconds(OPERATION_DURATION, "Duration of calls to Redis that send or settle jobs.")
        self.process = seconds(PROCESS_DURATION, "Duration of attempts.")


class OpenTelemetryMeter:
    """Counts the jobs of one queue for both: its counters, and OpenTelemetry. A `Meter`.

    Args:
        counters: of the queue.
        histograms: of the process.
    """

    def __init__(self, counters: JobCounters, histograms: Histograms) -> None:
        self.counters = counters
        self.sent = self.consumed = 0
        self.of_messages = {"messaging.system": "saq", "messaging.destination.name": counters.queue}
        self._histograms = histograms
        self._send, self._settle, self._process = (
            self.of_messages | {"messaging.operation.name": name, "messaging.operation.type": name}
            for name in ("send", "settle", "process")
        )

    def enqueued(self, jobs: Sequence[Job], seconds: float) -> None:
        """See `Meter.enqueued`."""
        self.counters.enqueued(jobs, seconds)
        self.sent += len(jobs)
        self._histograms.operation.record(seconds, self._send)

    def ticked(self, schedule: str, job: Job, lag: float) -> None:
        """See `Meter.ticked`."""
        self.counters.ticked(schedule, job, lag)
        self.sent += 1
        self._histograms.lag.record(max(0.0, lag), {"schedule": schedule})

    def started(self, jobs: Sequence[EngineJob]) -> None:
        """See `Meter.started`."""
        self.counters.started(jobs)
        self.consumed += len(jobs)
        for job in jobs:
            if is_first_start(job):
                self._histograms.wait.record(waited(job), self._of_task(job))

    def settled(self, outcomes: Sequence[tuple[OutcomeView, bool]], jobs: Sequence[Job | None], seconds: float) -> None:
        """See `Meter.settled`."""
        self.counters.settled(outcomes, jobs, seconds)
        self._histograms.operation.record(seconds, self._settle)
        for (outcome, _), job in zip(outcomes, jobs, strict=True):
            if type(job) is EngineJob and job.ran >= 0.0:
                self._histograms.run.record(job.ran, self._of_task(job))
                status = Status(outcome.how.status)
                error = {} if status is Status.COMPLETE else {"error.type": status.value}
                self._histograms.process.record(job.ran, self._process | error)

    def lost(self, job: EngineJob) -> None:
        """See `Meter.lost`."""
        self.counters.lost(job)

    def ended(self, job: Job) -> None:
        """See `Meter.ended`."""
        self.counters.ended(job)

    def recovered(self, job: EngineJob) -> None:
        """See `Meter.recovered`."""
        self.counters.recovered(job)

    def _of_task(self, job: Job) -> Attributes:
        return {"queue": self.counters.queue, "task": self.counters.label_of(job)}


class OpenTelemetryMetrics:
    """Reports the metrics of one process to a meter provider.

    Args:
        provider: of the SDK; None: the global one.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        self._instruments = get_meter(SCOPE, meter_provider=provider)
        self._histograms = Histograms(self._instruments)
        self._meters: list[OpenTelemetryMeter] = []
        self._whole: list[Family] = []
        self._read_at = -READING_KEPT

    def wrap(self, counters: JobCounters) -> OpenTelemetryMeter:
        """The meter of a queue."""
        meter = OpenTelemetryMeter(counters, self._histograms)
        self._meters.append(meter)
        return meter

    def observe(self, reporter: "MetricsReporter") -> None:
        """Let the SDK read counters and gauges from now on."""
        for each in metrics.OF_THE_PROCESS:
            self._register(each, reporter.of_the_process)
        for each in metrics.OF_THE_WHOLE:
            self._register(each, lambda: self._reading(reporter))
        for name, value in ((SENT, lambda of: of.sent), (CONSUMED, lambda of: of.consumed)):
            self._instruments.create_observable_counter(name, [self._messages(value)], "{message}")

    def _register(self, metric: Metric, read: Callable[[], Iterable[Family]]) -> None:
        if metric.kind == "histogram":
            return

        def observed(_: CallbackOptions) -> Iterable[Observation]:
            for family in read():
                if family.metric is metric:
                    for labels, value in family.samples:
                        if not isinstance(value, int | float):
                            continue
                        yield Observation(value, dict(zip(metric.labels, labels, strict=True)))

        create: Any = self._instruments.create_observable_gauge
        if metric.kind == "counter":
            create = self._instruments.create_observable_counter
        create(metric.name, [observed], metric.unit, metric.text)

    def _messages(self, value: Callable[[Any], int]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(value(each), each.of_messages) for each in self._meters]

    def _reading(self, reporter: "MetricsReporter") -> list[Family]:
        """The state of the whole; the last one where it cannot be read, as in the event loop itself."""
        if time.monotonic() - self._read_at >= READING_KEPT and not _in_event_loop():
            self._whole, self._read_at = reporter.whole_from_thread(), time.monotonic()
        return self._whole


def views() -> "list[View]":
    """Views for the SDK's `MeterProvider(views=...)`: histograms with buckets for jobs that run up to half an hour.

    Instruments ask for these buckets themselves; an SDK or a view that ignores that needs these.
    """
    from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

    names = [each.name for each in metrics.OF_THE_PROCESS if each.kind == "histogram"]
    long = ExplicitBucketHistogramAggregation(RUN_BUCKETS)
    return [View(instrument_name=name, aggregation=long) for name in (*names, OPERATION_DURATION, PROCESS_DURATION)]


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
