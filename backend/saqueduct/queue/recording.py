"""Recording: what the engine asks of whoever remembers what became of jobs."""

from collections.abc import Sequence
from typing import Protocol

from saq import Job


class Recorder(Protocol):
    """Remembers what became of jobs."""

    @property
    def full(self) -> bool:
        """True when more jobs end than can be remembered."""
        ...

    @property
    def trouble(self) -> str:
        """What keeps jobs from being remembered, for people; empty: nothing."""
        ...

    @property
    def away(self) -> bool:
        """True while nothing can be remembered."""
        ...

    def needs(self, job: Job) -> bool:
        """True for a job that has ended, and whose end is not to be lost before it is remembered."""
        ...

    def add(self, job: Job) -> None:
        """A job has come to an end of its attempt, with the status it has now."""

    async def close(self, jobs: Sequence[Job]) -> Sequence[bool | None]:
        """Remember at once that durable jobs have ended; False for each that had ended before, None for each that is
        to be remembered later.

        Raises:
            Exception: it is not known whether they are remembered.
        """
        ...
