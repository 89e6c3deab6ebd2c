"""Publishing a job from blocking code, with repeated tries while Redis is down, by the caller's policy."""

import asyncio
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, TypedDict, TypeVar

from saqueduct.common.near_names import did_you_mean
from saqueduct.errors import QueueUnavailable
from saqueduct.tasks.bulk import Call, enqueue_many
from saqueduct.tasks.handle import JobHandle

R = TypeVar("R")


class PublishPolicy(TypedDict, total=False):
    """Celery's `retry_policy`: what `apply_async` does while Redis does not answer. It does not affect the retries of
    a job.

    Attributes:
        max_retries: tries after the first; None: no limit.
        interval_start: seconds before the second try.
        interval_step: seconds added to each further pause.
        interval_max: maximum seconds of a pause.
    """

    max_retries: int | None
    interval_start: float
    interval_step: float
    interval_max: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PublishPauses:
    """A complete policy; omitted values have Celery's defaults.

    Raises:
        ValueError: a value is negative.
    """

    max_retries: int | None = 3
    interval_start: float = 0.0
    interval_step: float = 0.2
    interval_max: float = 0.2

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"retry_policy: {name} must be at least 0, not {value!r}")

    @classmethod
    def of(cls, policy: Mapping[str, Any] | None) -> Self:
        """The policy of a call.

        Raises:
            ValueError: it has an unknown entry.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(policy or ()) - set(known)):
            raise ValueError(f"retry_policy has no {', '.join(unknown)}: {did_you_mean(unknown[0], known)}")
        return cls(**(policy or {}))

    def __iter__(self) -> Iterator[float]:
        """Seconds before each further try."""
        tries = itertools.count() if self.max_retries is None else range(self.max_retries)
        for number in tries:
            yield min(self.interval_start + number * self.interval_step, self.interval_max)


async def publish(call: Call[R], pauses: Iterable[float] = ()) -> JobHandle[R]:
    """Enqueue a job; while Redis does not answer, try again after each pause.

    All tries use the same key: if an earlier try did arrive, its job is the one that exists.

    Raises:
        QueueUnavailable: the last try failed too.
        DuplicateJob, ConfigurationError: see `enqueue_many`.
    """
    for pause in pauses:
        try:
            return await _enqueue(call)
        except QueueUnavailable:
            await asyncio.sleep(pause)
    return await _enqueue(call)


async def _enqueue(call: Call[R]) -> JobHandle[R]:
    [handle] = await enqueue_many([call])
    return handle
