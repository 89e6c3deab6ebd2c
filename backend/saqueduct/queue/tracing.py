"""Tracing: the interface of what makes spans for the jobs of one queue."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from saq import Job

from saqueduct.queue.metering import OutcomeView
from saqueduct.tasks.job import EngineJob


class Sending(Protocol):
    """The spans of one call that sends jobs."""

    def end(self, error: BaseException | None = None) -> None:
        """The call is over; with the error that it raises."""


class AttemptTrace(Protocol):
    """The span of one attempt."""

    def end(self, outcome: OutcomeView | None, error: BaseException | None) -> None:
        """The attempt has this outcome (None: its lease was lost), and failed with this error."""


class Tracer(Protocol):
    """Makes spans. Where tracing is off there is none, and nothing is called."""

    def sending(self, jobs: Sequence[Job], *, kept: bool = False) -> Sending | None:
        """These jobs are about to be encoded and sent: begins the spans, and puts their context into the jobs.

        Args:
            jobs: all that one call enqueues.
            kept: True for jobs of a caller's transaction: they are sent later, see `publishing`.

        Returns:
            What ends the spans; None: there is none, because they are not sampled.
        """

    def publishing(self, jobs: Sequence[Job]) -> Sending | None:
        """These jobs of the outbox are about to be sent; their context does not change."""

    def sampled(self, jobs: Sequence[EngineJob]) -> Collection[int]:
        """The positions of those of these jobs, which start, whose attempts get a span."""
        ...

    def attempt(self, job: EngineJob) -> AttemptTrace | None:
        """Begin the span of an attempt, in which the context of the caller is from now on; None: that failed."""

    def resting(self) -> AbstractContextManager[object]:
        """During this block nothing is sampled but attempts: not what a worker does for all of its jobs."""
        ...


def end(sending: Sending | None, error: BaseException | None = None) -> None:
    """End the spans of a call that sends jobs, if there are any."""
    if sending is not None:
        sending.end(error)


@contextmanager
def ending(sending: Sending | None) -> Iterator[None]:
    """End them with the block, and with the error that it raises."""
    try:
        yield
    except BaseException as error:
        end(sending, error)
        raise
    end(sending)
