"""Recording: the interface of the recorder that stores the outcomes of jobs."""

from collections.abc import Sequence
from typing import Protocol

from saq import Job


class Recorder(Protocol):
    """Stores the outcomes of jobs."""

    @property
    def full(self) -> bool:
        """True if more jobs end than can be recorded."""
        ...

    @property
    def problem(self) -> str:
        """What prevents jobs from being recorded, as text for display; empty: nothing."""
        ...

    @property
    def away(self) -> bool:
        """True while nothing can be recorded."""
        ...

    def needs(self, job: Job) -> bool:
        """True for a job that has ended, and whose end must not be lost before it is recorded."""
        ...

    def add(self, jobs: Sequence[Job]) -> None:
        """Record finished attempts, one or more; the jobs have their new status. One that cannot be recorded does not
        keep the others from it."""

    async def close(self, jobs: Sequence[Job]) -> Sequence[bool | None]:
        """Record immediately that durable jobs have ended; False for each that had already ended, None for each that
        will be recorded later.

        Raises:
            Exception: it is unknown whether they are recorded.
        """
        ...
