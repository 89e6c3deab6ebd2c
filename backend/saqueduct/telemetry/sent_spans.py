"""Spans of jobs that are sent: `send` and `create`."""

from collections.abc import Sequence

from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Tracer, get_current_span
from saq import Job

from saqueduct.tasks.job_meta import TRACE_ID, TRACEPARENT, TRACESTATE
from saqueduct.telemetry.sampling import EMPTY, Sampling
from saqueduct.telemetry.span_attributes import Attributes, Destination, client_id, fail, of_job, type_of
from saqueduct.telemetry.trace_context import encoded, producer_of

COUNT = "messaging.batch.message_count"

_CARRIED = (TRACEPARENT, TRACESTATE, TRACE_ID)


class SentSpan:
    """What one call that sends jobs leaves to end; a `Sending`.

    Args:
        span: has begun; None: none is sampled.
        plain: jobs of SAQ's own class: their `meta` is the caller's, and a second enqueue refuses the engine's entries.
    """

    def __init__(self, span: Span | None, plain: Sequence[Job] = ()) -> None:
        self._span = span
        self._plain = plain

    def end(self, error: BaseException | None = None) -> None:
        """See `Sending.end`."""
        for job in self._plain:
            job.meta = {name: value for name, value in job.meta.items() if name not in _CARRIED}
        if self._span is not None:
            if error is not None:
                fail(self._span, type_of(error))
            self._span.end()


class SentSpans:
    """Makes the spans of one queue's jobs that are sent.

    Args:
        tracer: makes them.
        sampling: of the tracer.
        destination: of the jobs.
        creates: False: jobs that are sent together share one context, and have no `create` spans.
        always: True: jobs carry the context of a span that is not sampled too.
    """

    def __init__(
        self, tracer: Tracer, sampling: Sampling, destination: Destination, *, creates: bool, always: bool
    ) -> None:
        self._tracer = tracer
        self._sampling = sampling
        self._creates = creates
        self._always = always
        self._queue = destination.queue
        client = {"messaging.client.id": client_id()}
        self._attributes = {name: destination.attributes(name) | client for name in ("send", "create")}

    def sending(self, jobs: Sequence[Job], *, kept: bool) -> SentSpan | None:
        """See `Tracer.sending`."""
        current = get_current_span().get_span_context()
        parent = current if current.is_valid else None
        span: Span | None = None
        if kept or (len(jobs) > 1 and self._creates):
            links = self._created(jobs, parent)
            if not kept and self._samples_batch(parent, links):
                span = self._begin("send", SpanKind.CLIENT, {COUNT: len(jobs)}, parent, links)
        elif self._samples(parent):
            only = of_job(jobs[0]) if len(jobs) == 1 else {COUNT: len(jobs)}
            span = self._begin("send", SpanKind.PRODUCER, only, parent)
            self._carry(jobs, span.get_span_context())
        elif parent is not None:
            self._carry(jobs, parent)
        plain = [job for job in jobs if type(job) is Job and TRACEPARENT in job.meta]
        return SentSpan(span, plain) if span is not None or plain else None

    def publishing(self, jobs: Sequence[Job]) -> SentSpan | None:
        """See `Tracer.publishing`. A root: jobs of several transactions are sent together."""
        producers = [context for job in jobs if (context := producer_of(job.meta)) and context.trace_flags.sampled]
        if not producers or not self._sampling.below(producers[0]):
            return None
        links = [Link(each) for each in {(each.trace_id, each.span_id): each for each in producers}.values()]
        return SentSpan(self._begin("send", SpanKind.CLIENT, {COUNT: len(jobs)}, None, links))

    def _created(self, jobs: Sequence[Job], parent: SpanContext | None) -> list[Link]:
        """Make the `create` spans; returns links to them."""
        if parent is not None and not self._samples(parent):
            self._carry(jobs, parent)
            return []
        together = [[job] for job in jobs] if self._creates else [jobs]
        if parent is None:
            together = [together[position] for position in self._sampling.roots(len(together))]
        return [self._create(some, parent) for some in together]

    def _create(self, jobs: Sequence[Job], parent: SpanContext | None) -> Link:
        attributes = of_job(jobs[0]) if len(jobs) == 1 else {COUNT: len(jobs)}
        span = self._begin("create", SpanKind.PRODUCER, attributes, parent)
        self._carry(jobs, span.get_span_context())
        span.end()
        return Link(span.get_span_context())

    def _begin(
        self,
        operation: str,
        kind: SpanKind,
        attributes: Attributes,
        parent: SpanContext | None,
        links: Sequence[Link] = (),
    ) -> Span:
        with self._sampling:
            return self._tracer.start_span(
                f"{operation} {self._queue}",
                EMPTY if parent is None else None,
                kind,
                self._attributes[operation] | attributes,
                links,
            )

    def _samples(self, parent: SpanContext | None) -> bool:
        return self._sampling.root() if parent is None else self._sampling.below(parent)

    def _samples_batch(self, parent: SpanContext | None, links: Sequence[Link]) -> bool:
        return self._samples(parent if parent is not None or not links else links[0].context)

    def _carry(self, jobs: Sequence[Job], context: SpanContext) -> None:
        """Put a context into jobs, for their attempts."""
        if not context.is_valid or not (context.trace_flags.sampled or self._always):
            return
        entries = {TRACEPARENT: encoded(context)}
        if state := context.trace_state.to_header():
            entries[TRACESTATE] = state
        trace_id = f"{context.trace_id:032x}"
        for job in jobs:
            job.meta = {TRACE_ID: trace_id, **job.meta, **entries}
