"""Traces: spans of the jobs that this process sends and runs, by OpenTelemetry's API alone (extra `otel`).

Arguments, results and the text of errors are in no span.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple, TypeVar

from opentelemetry.context import attach
from opentelemetry.trace import TracerProvider, get_tracer
from saq import Job

from saqueduct.broker.url import RedisURL
from saqueduct.common.own_context import set_for_all
from saqueduct.config import SaqueductConfig
from saqueduct.queue.metering import OutcomeView
from saqueduct.queue.queues import Queues
from saqueduct.queue.tracing import AttemptTrace, Sending
from saqueduct.tasks.job import EngineJob
from saqueduct.telemetry.attempt_spans import UNSAMPLED, AttemptSpan, AttemptSpans, resting
from saqueduct.telemetry.sampling import Sampling
from saqueduct.telemetry.sent_spans import SentSpan, SentSpans
from saqueduct.telemetry.span_attributes import Destination

SCOPE = "saqueduct"

FAILED = "could not trace a job, which continues without"


logger = logging.getLogger("saqueduct")

T = TypeVar("T")


class JobTracer:
    """Makes the spans of one queue; a `Tracer`. What an application's sampler or span processor raises is logged, and
    harms no job.

    Args:
        sent: makes those of jobs that are sent.
        attempts: makes those of attempts.
    """

    def __init__(self, sent: SentSpans, attempts: AttemptSpans) -> None:
        self._sent = sent
        self._attempts = attempts

    def sending(self, jobs: Sequence[Job], *, kept: bool = False) -> Sending | None:
        """See `Tracer.sending`."""
        span = _guarded(partial(self._sent.sending, jobs, kept=kept)) if jobs else None
        return None if span is None else GuardedSending(span)

    def publishing(self, jobs: Sequence[Job]) -> Sending | None:
        """See `Tracer.publishing`."""
        span = _guarded(partial(self._sent.publishing, jobs))
        return None if span is None else GuardedSending(span)

    def sampled(self, jobs: Sequence[EngineJob]) -> Collection[int]:
        """See `Tracer.sampled`."""
        if not self._attempts.asks:
            return self._attempts.sampled(jobs)
        return [position for position, job in enumerate(jobs) if self._samples(job)]

    def _samples(self, job: EngineJob) -> bool:
        # Each on its own: a sampler that raises for one job must not cost the others of its batch their spans.
        try:
            return self._attempts.samples(job)
        except Exception:
            logger.exception(FAILED)
            return False

    def attempt(self, job: EngineJob) -> AttemptTrace | None:
        """See `Tracer.attempt`."""
        span = _guarded(partial(self._attempts.attempt, job))
        return None if span is None else GuardedAttempt(span)

    def resting(self) -> AbstractContextManager[object]:
        """See `Tracer.resting`."""
        return resting()


class GuardedSending(NamedTuple):
    """A `Sending`."""

    span: SentSpan

    def end(self, error: BaseException | None = None) -> None:
        """See `Sending.end`."""
        _guarded(partial(self.span.end, error))


class GuardedAttempt(NamedTuple):
    """An `AttemptTrace`."""

    span: AttemptSpan

    def end(self, outcome: OutcomeView | None, error: BaseException | None) -> None:
        """See `AttemptTrace.end`."""
        _guarded(partial(self.span.end, outcome, error))


def _guarded(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except Exception:
        logger.exception(FAILED)
        return None


def trace(config: SaqueductConfig, queues: Queues) -> None:
    """Make spans for the jobs of these queues from now on."""
    provider: TracerProvider | None = config.tracer_provider
    tracer = get_tracer(SCOPE, tracer_provider=provider)
    sampling = Sampling(tracer)
    server, port = _server(config.redis_url)
    relation = config.trace_producer
    for queue in queues:
        destination = Destination(queue.name, server, port)
        sent = SentSpans(tracer, sampling, destination, creates=config.trace_creates, always=relation == "child")
        queue.core.tracer = JobTracer(sent, AttemptSpans(tracer, sampling, destination, relation))
    set_for_all(lambda: attach(UNSAMPLED))


def _server(url: str) -> tuple[str, int | None]:
    parsed = RedisURL.parse(url)
    return parsed.hosts[0] if parsed.hosts else (parsed.path, None)
