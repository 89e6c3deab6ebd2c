"""Options for the jobs of one call."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from saqueduct.common.clock import time_now
from saqueduct.common.near_names import NamedFields
from saqueduct.common.text import check_key
from saqueduct.common.time_limits import check_delay, check_moment
from saqueduct.tasks import encoding
from saqueduct.tasks.job_meta import DURABLE, EXPIRES_AT, TAGS, ReservedMeta, checked
from saqueduct.tasks.options import LEAST, PRIORITIES, Priority, TaskOptions, check_truth
from saqueduct.tasks.unique import Unique

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class CallSettings(TypedDict, total=False):
    """The keywords of `Task.options`; see `CallOptions`."""

    delay: float | None
    eta: dt.datetime | None
    expires: float | None
    key: str | None
    queue: str | None
    priority: Priority | None
    keep_result: bool
    meta: Mapping[str, Any] | None
    timeout: int | None
    retries: int | None
    retry_delay: float | None
    retry_backoff: bool | float | None
    unique: Unique | None
    ttl: int | None
    heartbeat: int | None
    durable: bool | None
    tags: tuple[str, ...]
    session: "AsyncSession | None"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions(NamedFields):
    """What `Task.options(...)` sets for the jobs of one call; None: use the task's option.

    Attributes:
        delay: seconds before the job may start, by the clock of Redis.
        eta: aware time before which the job does not start; not together with `delay`.
        expires: seconds after the enqueue by which it must have started; otherwise it never runs and ends aborted.
        key: the job's key; while a job with that key waits or runs, enqueue returns that job.
        queue: queue to use instead of the task's.
        priority: priority to use instead of the task's.
        keep_result: False: delete the job and its result when it ends (SAQ's `ttl=-1`).
        meta: JSON data to store with the job; names that begin with "saqueduct." are reserved.
        session: the job is written in this session's transaction, and exists if and only if that commits.
        tags: tags to use instead of the task's.
        timeout: see `TaskOptions` for this and the other options.

    Raises:
        ValueError: an invalid value, such as an `eta` without a time zone.
    """

    delay: float | None = None
    eta: dt.datetime | None = None
    expires: float | None = None
    key: str | None = None
    queue: str | None = None
    priority: Priority | None = None
    keep_result: bool = True
    meta: Mapping[str, Any] | None = None
    timeout: int | None = None
    retries: int | None = None
    retry_delay: float | None = None
    retry_backoff: bool | float | None = None
    unique: Unique | None = None
    ttl: int | None = None
    heartbeat: int | None = None
    durable: bool | None = None
    tags: tuple[str, ...] = ()
    session: "AsyncSession | None" = None

    def __post_init__(self) -> None:
        if self.eta is not None and self.delay is not None:
            raise ValueError("give delay or eta, not both")
        if self.eta is not None:
            check_moment("eta", self.eta)
        for name in ("delay", "expires"):
            if (value := getattr(self, name)) is not None:
                check_delay(name, value)
        if self.key is not None:
            check_key(self.key)
            if not self.key:
                raise ValueError("key must not be empty: leave it out, and the job gets a random one")
        check_truth("keep_result", self.keep_result)
        if self.meta is not None:
            check_meta(self.meta)
        TaskOptions(**self._given())

    def _given(self) -> dict[str, Any]:
        fields = (field.name for field in dataclasses.fields(TaskOptions))
        return {name: value for name in fields if (value := getattr(self, name, None)) is not None}

    @property
    def depends_on_time(self) -> bool:
        """True if fields depend on the time of the call."""
        return bool(self.delay or self.expires is not None)

    def job_fields(self) -> dict[str, Any]:
        """The options as fields of SAQ's Job, computed from the current time."""
        fields = {name: value for name in LEAST if (value := getattr(self, name)) is not None}
        if self.priority is not None:
            fields["priority"] = PRIORITIES[self.priority]
        if not self.keep_result:
            fields["ttl"] = -1
        if self.key is not None:
            fields["key"] = self.key
        if self.eta or self.delay:
            fields["scheduled"] = self.eta.timestamp() if self.eta else time_now() + (self.delay or 0.0)
        meta = dict(self.meta or {})
        if self.durable is not None:
            meta[DURABLE] = self.durable
        if self.tags:
            meta[TAGS] = list(self.tags)
        if self.expires is not None:
            meta[EXPIRES_AT] = time_now() + self.expires
        if meta:
            fields["meta"] = meta
        return fields


def check_meta(meta: Mapping[str, Any]) -> None:
    """Check that `meta` of a call can be stored.

    Raises:
        ValueError: it is not a mapping, JSON cannot represent it, or it has a reserved name; names the place.
    """
    try:
        encoding.encode({"meta": checked(meta)})
    except encoding.UNENCODABLE as error:
        raise (
            error if isinstance(error, ReservedMeta) else ValueError(f"meta cannot be encoded as JSON: {error}")
        ) from None
