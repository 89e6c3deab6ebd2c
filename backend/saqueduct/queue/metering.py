"""Metering: the interface of what counts the jobs of one queue in this process."""

from collections.abc import Sequence
from typing import Protocol

from saq import Job

from saqueduct.tasks.job import EngineJob


class HowView(Protocol):
    """How an attempt ended; see `saqueduct.queue.outcomes.How`."""

    @property
    def kind(self) -> str: ...
    @property
    def status(self) -> str: ...


class OutcomeView(Protocol):
    """The outcome of an attempt; see `saqueduct.queue.outcomes.Outcome`."""

    @property
    def how(self) -> HowView: ...


class Meter(Protocol):
    """Counts what happens to jobs, many in one call. Where it is off there is none, and nothing is called."""

    def enqueued(self, jobs: Sequence[Job], seconds: float) -> None:
        """Redis has these new jobs; the call took so many seconds."""

    def ticked(self, schedule: str, job: Job, lag: float) -> None:
        """A schedule has made a job, `lag` seconds after its tick."""

    def started(self, jobs: Sequence[EngineJob]) -> None:
        """These attempts start."""

    def settled(self, outcomes: Sequence[tuple[OutcomeView, bool]], jobs: Sequence[Job | None], seconds: float) -> None:
        """Redis has the outcomes of these jobs, False: it refused one, because the lease was lost; the call took so
        many seconds."""

    def lost(self, job: EngineJob) -> None:
        """The lease of an attempt was lost while it ran; there is no outcome to write."""

    def ended(self, job: Job) -> None:
        """A job has ended without a worker: it was aborted or replaced while it waited, or its worker died."""

    def recovered(self, job: EngineJob) -> None:
        """A job whose lease ran out is queued again."""
