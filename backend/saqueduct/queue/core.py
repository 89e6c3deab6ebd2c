"""QueueCore: the state that the parts of a queue share. They refer to this instead of the queue."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from saq import Job, Queue
from saq.job import ABORT_ID_PREFIX, Status
from saq.queue.redis import ID_PREFIX
from saq.types import DumpType, LoadType

from saqueduct.broker.batch_sizes import BATCH_BYTES, LONGEST_CHARACTER, check_size
from saqueduct.broker.connections import guard_of, name_in_keys
from saqueduct.broker.outage import Outage
from saqueduct.broker.scripts import Scripts
from saqueduct.common import clock
from saqueduct.queue.give_backs import GiveBacks
from saqueduct.queue.metering import Meter
from saqueduct.queue.recording import Recorder
from saqueduct.queue.tracing import Tracer
from saqueduct.sizes import Sizes
from saqueduct.tasks import wire
from saqueduct.tasks.job import EngineJob, UnreadableJob, decode, encode_storable, mark_of
from saqueduct.tasks.job_meta import CLAIM, DEBOUNCE
from saqueduct.timings import Timings

logger = logging.getLogger("saqueduct")


MAX_RECOVERIES = 3
"""How often a job is queued again after its workers died, until it runs alone in its process, see
`worker/quarantine.py`; if its worker dies once more, the job is the cause."""


class QueueCore:
    """Keys and scripts in Redis, the encoding of jobs, the clock, and the recorder of one queue.

    Args:
        saq: the queue of the jobs; its counters are SAQ's statistics.
        redis: the Redis client.
        name: the queue's name.
        timings: intervals, waits and limits.
        sizes: how large a job may be.
        dump: custom encoder for jobs; None: SAQ's wire format.
        load: custom decoder for jobs; None: SAQ's wire format.
    """

    recorder: Recorder | None = None
    """Called with each job that ends or gets another attempt; None: there is no PostgreSQL."""
    meter: Meter | None = None
    """Counts jobs; None: metrics are off."""
    tracer: Tracer | None = None
    """Makes spans; None: traces are off."""

    def __init__(
        self,
        saq: Queue,
        redis: Redis,
        name: str,
        timings: Timings,
        sizes: Sizes,
        dump: DumpType | None = None,
        load: LoadType | None = None,
    ) -> None:
        self.saq = saq
        self.redis = redis
        self.name = name
        self.timings = timings
        self.max_recoveries = MAX_RECOVERIES
        self.batch_bytes = BATCH_BYTES
        """Maximum bytes of jobs in one call to Redis; a larger job is sent alone."""
        self._largest_job = sizes.job_bytes
        self._certainly_fits = sizes.job_bytes // LONGEST_CHARACTER
        """Number of characters up to which the bytes of a job need no check."""
        self._dump, self._load = dump, load
        self._name_keys(name_in_keys(redis, name))
        self.guard = guard_of(redis)
        """Checks that the connections are used in their own event loop."""
        self.scripts = Scripts(redis, self.namespace, self._id_prefix, self.stock_aborts, self.guard)
        self.outage = Outage(name, timings.longest_redis_pause)
        self.give_backs = GiveBacks(self.scripts, timings, name)
        self.on_end: Callable[[Job], None] | None = None
        """Called with jobs that end without a worker, in the process that ended them."""
        self.offered: set[tuple[str, str]] = set()
        """Key and lease of the jobs that workers of this process offer to other processes, see `LeaseKeeper`."""
        self.alone = 0
        """Jobs that the test kit runs alone: while there are any, jobs pass the limits that they take."""
        self._time_known: tuple[float, float] | None = None
        """When the clock of Redis was read, by the monotonic clock, and its value."""

    def _name_keys(self, in_keys: str) -> None:
        """Set the prefixes and keys that contain the name which the queue has in its keys."""
        self._key_prefix, self._id_prefix = f"saq:{in_keys}:", f"{ID_PREFIX}{in_keys}:"
        self.aborts = f"{ABORT_ID_PREFIX}{in_keys}:"
        """Prefix of the engine's abort keys."""
        self.stock_aborts = ABORT_ID_PREFIX if in_keys == self.name else self.aborts
        """Prefix of the abort keys of stock SAQ; in a cluster, which it does not support, the engine's prefix."""
        self.sweep_locks = self.namespace("sweep"), self.namespace("sweep:engine")
        """Keys of the sweep locks: stock SAQ's, and the engine's own; see `lua/expired.lua`."""

    def namespace(self, key: str) -> str:
        """A key of this queue."""
        return self._key_prefix + key

    def job_id(self, job_key: str) -> str:
        """The Redis key of a job."""
        return self._id_prefix + job_key

    def job_key_from_id(self, job_id: str) -> str:
        """The key of a job, from its Redis key."""
        return job_id[len(self._id_prefix) :]

    def serialize(self, job: Job) -> bytes | str:
        """Encode a job in SAQ's wire format, or with `dump`.

        Raises:
            JobTooLarge: it is larger than Redis accepts.
        """
        stored: bytes | str
        if self._dump is None:
            try:
                stored = wire.encode(job.__dict__, self.name).decode()
            except UnicodeEncodeError:
                stored = encode_storable(job, self.name).decode()
        else:
            stored = self._dump(job.to_dict())
        if len(stored) > self._certainly_fits:
            check_size(job, stored, self._largest_job)
        return stored

    @property
    def stores_otherwise(self) -> bool:
        """True where jobs are stored in another form than JSON."""
        return self._load is not None

    def deserialize(
        self, payload: dict[str, Any] | str | bytes | None, status: Status | str | None = None
    ) -> EngineJob | None:
        """Decode a job from SAQ's wire format.

        Raises:
            ValueError: it is not a job, or belongs to another queue.
        """
        if not payload:
            return None
        job = decode(payload if self._load is None or isinstance(payload, dict) else self._load(payload), self.saq)
        if status:
            job.status = Status(status)
        return job

    def read(self, key: str, stored: bytes | str | None) -> EngineJob:
        """The job that is stored under a key.

        Raises:
            UnreadableJob: the stored data is not a valid job, for any reason.
        """
        try:
            job = self.deserialize(stored) if self._load is not None or not stored else decode(stored, self.saq)
        except Exception as error:
            raise UnreadableJob(key, str(error)) from error
        if job is None or job.key != key:
            raise UnreadableJob(key, "nothing is stored" if job is None else f"its data has the key {job.key}")
        return job

    def copy(self, job: Job) -> EngineJob:
        """Another object for the same job, like SAQ's `Queue.copy`."""
        return decode(job.to_dict(), self.saq)

    async def time(self) -> float:
        """Epoch seconds by the clock of Redis, which decides what is due; see `lua/prelude.lua`."""
        return float(await self.scripts.run("time"))

    async def time_about(self) -> float:
        """Like `time`, but reads the clock of Redis only every `clock_known` seconds, else the monotonic clock."""
        current = time.monotonic()
        if self._time_known is None or current - self._time_known[0] > self.timings.clock_known:
            self._time_known = current, await self.time() - clock.offset()
        asked, answer = self._time_known
        return answer + current - asked + clock.offset()

    def record(self, jobs: Sequence[Job]) -> None:
        """Record the outcomes of jobs; an error here does not prevent the settling of other jobs."""
        if self.recorder is not None and jobs:
            try:
                self.recorder.add(jobs)
            except Exception:
                logger.exception("could not record the outcomes of %d jobs", len(jobs))

    def note_end(self, job: Job) -> None:
        """Record and count a job that changed without a worker: its worker died, or it was aborted or replaced while
        it waited."""
        self.record([job])
        if self.meter is not None:
            self.meter.ended(job)
        if self.on_end is not None:
            self.on_end(job)

    def mark_to_keep(self, job: Job) -> str:
        """The mark under which the end of a job is kept until PostgreSQL has recorded it; empty: it is not kept."""
        return mark_of(job) if self.recorder is not None and self.recorder.needs(job) else ""

    def claim_to_keep(self, job: Job) -> str:
        """The claim without which a job must not continue, that of a debounced one; empty: none."""
        claim = job.meta.get(CLAIM) if job.meta and DEBOUNCE in job.meta else None
        return self.namespace(f"unique:{claim}") if claim else ""
