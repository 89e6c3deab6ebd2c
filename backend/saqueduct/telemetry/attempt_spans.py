"""Spans of attempts: `process`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.context import attach, detach
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Tracer,
    set_span_in_context,
)
from saq.job import Status

from saqueduct.config import ProducerRelation
from saqueduct.queue.metering import OutcomeView
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import ATTEMPT_TRACE, TRACE_ID, TRACEPARENT, put_back
from saqueduct.telemetry.counters import OUTCOMES, is_first_start, waited
from saqueduct.telemetry.sampling import EMPTY, Sampling
from saqueduct.telemetry.span_attributes import Attributes, Destination, fail, of_job, type_of
from saqueduct.telemetry.trace_context import encoded, last_attempt_of, producer_of

UNSAMPLED = set_span_in_context(NonRecordingSpan(SpanContext(1, 1, is_remote=False)), EMPTY)
"""In which nothing is sampled: what the library does for many callers at once, and attempts without a span."""


class AttemptSpan:
    """The span of one attempt; an `AttemptTrace`.

    Args:
        span: has begun.
    """

    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, outcome: OutcomeView | None, error: BaseException | None) -> None:
        """See `AttemptTrace.end`."""
        how = None if outcome is None else outcome.how
        name = "lost" if how is None else OUTCOMES.get(how.kind) or Status(how.status).value
        self._span.set_attribute("messaging.saq.outcome", name)
        if name not in ("complete", "released"):
            fail(self._span, name if error is None else type_of(error))
        self._span.end()


class AttemptSpans:
    """Makes the spans of one queue's attempts.

    Args:
        tracer: makes them.
        sampling: of the tracer.
        destination: of the jobs.
        relation: of attempts to the span that sent their job.
    """

    def __init__(
        self, tracer: Tracer, sampling: Sampling, destination: Destination, relation: ProducerRelation
    ) -> None:
        self._tracer = tracer
        self._sampling = sampling
        self._relation = relation
        self._name = f"process {destination.queue}"
        self._attributes = destination.attributes("process")
        self.asks = sampling.ratio is None
        """True if a sampler of the application is asked for each attempt, and may raise."""

    def sampled(self, jobs: Sequence[EngineJob]) -> Sequence[int]:
        """The positions of those of these jobs, which start, that get a span, as `samples` says of one."""
        carry = {position for position, job in enumerate(jobs) if job.meta and TRACEPARENT in job.meta}
        if not carry:
            return self._sampling.roots(len(jobs))
        others = [position for position in range(len(jobs)) if position not in carry]
        roots = [others[position] for position in self._sampling.roots(len(others))]
        return roots + [position for position in carry if self.samples(jobs[position])]

    def samples(self, job: EngineJob) -> bool:
        """True if a job that starts gets a span: as if the producer were the parent, also for `link`, so that both ends
        of a link are kept."""
        producer = producer_of(job.meta) if job.meta and self._relation != "none" else None
        return self._sampling.root() if producer is None else self._sampling.below(producer)

    def attempt(self, job: EngineJob) -> AttemptSpan:
        """See `Tracer.attempt`."""
        producer = None if self._relation == "none" else producer_of(job.meta)
        linked = [each for each in (producer, last_attempt_of(job.meta)) if each is not None]
        parent = EMPTY
        if producer is not None and self._relation == "child":
            parent = set_span_in_context(NonRecordingSpan(producer), EMPTY)
        with self._sampling:
            span = self._tracer.start_span(
                self._name,
                parent,
                SpanKind.CONSUMER,
                self._attributes | _of_attempt(job),
                [Link(each) for each in linked],
            )
        # The task of the event loop that runs the attempt has a context of its own, which ends with it.
        attach(set_span_in_context(span, EMPTY))
        _note(job, span.get_span_context())
        return AttemptSpan(span)


def _of_attempt(job: EngineJob) -> Attributes:
    found = of_job(job) | {
        "messaging.client.id": job.worker_id or "",
        "messaging.saq.attempt": job.attempts,
        "messaging.saq.retries": job.retries,
        "messaging.saq.recoveries": put_back(job.meta),
    }
    if is_first_start(job):
        found["messaging.saq.wait_seconds"] = waited(job)
    return found


def _note(job: EngineJob, context: SpanContext) -> None:
    """Keep the span in the job, for the next attempt and for its record."""
    if not context.is_valid:
        return
    trace = {TRACE_ID: f"{context.trace_id:032x}"} if TRACE_ID not in job.meta else {}
    entries = trace | {ATTEMPT_TRACE: encoded(context)}
    # Both: `meta` is the task's to change, and is restored from `own` at the end.
    job.own = {**(job.own or {}), **entries}
    job.meta = {**job.meta, **entries}


@contextmanager
def resting() -> Iterator[None]:
    """See `Tracer.resting`."""
    token = attach(UNSAMPLED)
    try:
        yield
    finally:
        detach(token)
