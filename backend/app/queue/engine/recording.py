"""Recording: what the engine asks of whoever remembers what became of jobs."""

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

    def add(self, job: Job) -> None:
        """A job has come to an end of its attempt, with the status it has now."""

    async def close_durable(self, job: Job) -> bool:
        """Remember at once that a durable job has ended; False when it had ended before."""
        ...
