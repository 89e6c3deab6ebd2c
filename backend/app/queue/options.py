"""How a task's jobs run: queue, time limit, retries, how long the outcome is kept."""

import dataclasses
import datetime as dt
import time
from collections.abc import Mapping
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What `Task.options(...)` sets for the jobs of one call; None: as the task says.

    Attributes:
        delay: seconds before the job may start.
        eta: aware time before which it does not start; not together with `delay`.
        expires: seconds after the enqueue by which it must have started, else it never runs and ends aborted.
        key: the job's key; while a job of that key waits or runs, enqueue answers with that one.
        queue: another queue than the task's.
        keep_result: False: forget the job at its end, result and all (SAQ's `ttl=-1`).
        meta: whatever should travel with the job, JSON.
        timeout: this and the others: see `TaskOptions`.

    Raises:
        ValueError: impossible values, such as an `eta` without a time zone.
    """

    delay: float | None = None
    eta: dt.datetime | None = None
    expires: float | None = None
    key: str | None = None
    queue: str | None = None
    keep_result: bool = True
    meta: Mapping[str, Any] | None = None
    timeout: int | None = None
    retries: int | None = None
    retry_delay: float | None = None
    retry_backoff: bool | float | None = None
    ttl: int | None = None
    heartbeat: int | None = None

    def __post_init__(self) -> None:
        if self.eta is not None and self.delay is not None:
            raise ValueError("give delay or eta, not both")
        if self.eta is not None and self.eta.tzinfo is None:
            raise ValueError(f"eta must be an aware datetime, such as datetime.now(UTC), not {self.eta!r}")
        for name in ("delay", "expires"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must be at least 0 seconds, not {value!r}")
        TaskOptions(**self._given())

    def _given(self) -> dict[str, Any]:
        fields = (field.name for field in dataclasses.fields(TaskOptions))
        return {name: value for name in fields if (value := getattr(self, name)) is not None}

    def job_fields(self) -> dict[str, Any]:
        """The options as fields of SAQ's Job, reckoned from now."""
        fields = self._given()
        fields.pop("queue", None)
        if not self.keep_result:
            fields["ttl"] = -1
        if self.key is not None:
            fields["key"] = self.key
        start = self.eta.timestamp() if self.eta else time.time() + (self.delay or 0.0)
        if self.eta or self.delay:
            fields["scheduled"] = start
        meta = dict(self.meta or {})
        if self.expires is not None:
            meta[EXPIRES_AT] = time.time() + self.expires
        if meta:
            fields["meta"] = meta
        return fields


EXPIRES_AT = "expires_at"
"""Entry of `Job.meta`: epoch seconds after which the job must not start."""

_LEAST: dict[str, int] = {
    "timeout": 0,
    "retries": 1,
    "retry_delay": 0,
    "retry_backoff": 0,
    "ttl": -1,
    "heartbeat": 0,
}
