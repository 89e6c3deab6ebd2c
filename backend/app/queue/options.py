"""How a task's jobs run: queue, time limit, retries, how long the outcome is kept."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """Defaults of a task's jobs; each can be set again for one job at enqueue.

    The names, meanings and defaults are SAQ's (`saq.job.Job`), so that a job enqueued by a stock SAQ producer
    and one enqueued here mean the same.

    Attributes:
        queue: the queue that its jobs wait in.
        timeout: seconds one attempt may run before it is cancelled; 0: no limit.
        retries: attempts in all; 1: a job that raises has failed.
        retry_delay: seconds between a failed attempt and the next.
        retry_backoff: True: the delay doubles with each attempt, and a random part of it is taken (jitter);
            a number: so, but at most that many seconds; False: always `retry_delay`.
        ttl: seconds that outcome and job are kept after its end; 0: for ever, -1: not at all.
        heartbeat: seconds in which the job must call `await ctx["job"].update()`; 0: it need not.
    """

    queue: str = "default"
    timeout: int = 10
    retries: int = 1
    retry_delay: float = 0.0
    retry_backoff: bool | float = False
    ttl: int = 600
    heartbeat: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) and name != "retry_backoff":
                raise ValueError(f"{name} must be a number, not {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value!r}")
        if not self.queue:
            raise ValueError("queue must not be empty")

    def job_fields(self) -> dict[str, Any]:
        """The options as fields of SAQ's Job; the queue is not one of them."""
        fields = dataclasses.asdict(self)
        del fields["queue"]
        return fields


_LEAST: dict[str, int] = {
    "timeout": 0,
    "retries": 1,
    "retry_delay": 0,
    "retry_backoff": 0,
    "ttl": -1,
    "heartbeat": 0,
}
