"""QueueCore: what the parts of a queue share. They hold this, and not each other's queue."""

import logging
import time
from typing import Any

from redis.asyncio import Redis
from saq import Job, Queue
from saq.job import ABORT_ID_PREFIX, Status
from saq.queue.redis import ID_PREFIX
from saq.types import DumpType, LoadType

from saqueduct.broker.connections import name_in_keys
from saqueduct.broker.keys import KEYS
from saqueduct.broker.loop_guard import LoopGuard
from saqueduct.broker.outage import Outage
from saqueduct.broker.scripts import Scripts
from saqueduct.broker.sizes import BATCH_BYTES, CERTAINLY_FITS, check_size
from saqueduct.common import clock
from saqueduct.queue.recording import Recorder
from saqueduct.tasks import wire
from saqueduct.tasks.job import EngineJob, UnreadableJob, decode, encode_storable, mark_of
from saqueduct.timings import Timings

logger = logging.getLogger("saqueduct")


MAX_RECOVERIES = 3
"""Times that a job is put back after deaths of its workers until it runs alone in its process, see
`worker/quarantine.py`; once more and it is the cause."""


class QueueCore:
    """Keys and scripts in Redis, the encoding of jobs, the clock, and the recorder of one queue.

    Args:
        saq: the queue that jobs belong to; its counters are SAQ's statistics.
        redis: client.
        name: the queue's name.
        timings: how long it waits for what.
        dump: encodes jobs instead of the engine; None: SAQ's wire format.
        load: decodes jobs instead of the engine; None: SAQ's wire format.
    """

    def __init__(
        self,
        saq: Queue,
        redis: Redis,
        name: str,
        timings: Timings,
        dump: DumpType | None = None,
        load: LoadType | None = None,
    ) -> None:
        self.saq = saq
        self.redis = redis
        self.name = name
        self.timings = timings
        self.max_recoveries = MAX_RECOVERIES
        self.batch_bytes = BATCH_BYTES
        """Bytes of jobs that one call to Redis brings, at most; a larger job goes by itself."""
        self._dump, self._load = dump, load
        in_keys = name_in_keys(redis, name)
        self._key_prefix, self._id_prefix = f"saq:{in_keys}:", f"{ID_PREFIX}{in_keys}:"
        self.stock_aborts = ABORT_ID_PREFIX if in_keys == name else f"{ABORT_ID_PREFIX}{in_keys}:"
        """Prefix of the abort keys of stock SAQ; in a cluster, which it does not know, that of the engine's own."""
        self.aborts = f"{ABORT_ID_PREFIX}{in_keys}:"
        """Prefix of the engine's abort keys."""
        self.sweep_locks = self.namespace("sweep"), self.namespace("sweep:engine")
        """Keys of the locks that sweeps take: stock SAQ's, and the engine's own; see `lua/expired.lua`."""
        self.guard: LoopGuard = getattr(redis.connection_pool, "guard", None) or LoopGuard()
        """Knows the event loop that the connections belong to."""
        self.scripts = Scripts(
            redis, [self.namespace(key) for key in KEYS], self._id_prefix, self.stock_aborts, self.guard
        )
        self.outage = Outage(name)
        self.recorder: Recorder | None = None
        """Called with each job that has ended, or gets another attempt; None: there is no PostgreSQL."""
        self.offered: set[tuple[str, str]] = set()
        """Key and lease of the jobs that workers of this process offer to those of others, see `LeaseKeeper`."""
        self._time_known: tuple[float, float] | None = None
        """When the clock of Redis was asked, by the monotonic clock, and what it answered."""

    def namespace(self, key: str) -> str:
        """A key of this queue."""
        return self._key_prefix + key

    def job_id(self, job_key: str) -> str:
        """The key in Redis of a job."""
        return self._id_prefix + job_key

    def job_key_from_id(self, job_id: str) -> str:
        """The key of a job, by that in Redis."""
        return job_id[len(self._id_prefix) :]

    def serialize(self, job: Job) -> bytes | str:
        """The job in SAQ's wire format, or as `dump` encodes it.

        Raises:
            JobTooLarge: Redis would not take it.
        """
        stored: bytes | str
        if self._dump is None:
            try:
                stored = wire.encode(job.__dict__, self.name).decode()
            except UnicodeEncodeError:
                stored = encode_storable(job, self.name).decode()
        else:
            stored = self._dump(job.to_dict())
        if len(stored) > CERTAINLY_FITS:
            check_size(job, stored)
        return stored

    def deserialize(
        self, payload: dict[str, Any] | str | bytes | None, status: Status | str | None = None
    ) -> EngineJob | None:
        """The job of SAQ's wire format.

        Raises:
            ValueError: it is none, or belongs to another queue.
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
            UnreadableJob: what is stored there is none, for any reason.
        """
        try:
            job = self.deserialize(stored) if self._load is not None or not stored else decode(stored, self.saq)
        except Exception as error:
            raise UnreadableJob(key, str(error)) from error
        if job is None or job.key != key:
            raise UnreadableJob(key, "nothing is stored" if job is None else f"it calls itself {job.key}")
        return job

    def copy(self, job: Job) -> EngineJob:
        """Another object of the same job, as SAQ's `Queue.copy`."""
        return decode(job.to_dict(), self.saq)

    async def time(self) -> float:
        """Epoch seconds by the clock of Redis, which decides what is due; see `lua/prelude.lua`."""
        return float(await self.scripts.run("time"))

    async def time_about(self) -> float:
        """As `time`, but asked every `clock_known` seconds at most: between, the monotonic clock counts on."""
        current = time.monotonic()
        if self._time_known is None or current - self._time_known[0] > self.timings.clock_known:
            self._time_known = current, await self.time() - clock.offset()
        asked, answer = self._time_known
        return answer + current - asked + clock.offset()

    def record(self, job: Job) -> None:
        """Record what became of a job; an error there keeps no other job from being settled."""
        if self.recorder is not None:
            try:
                self.recorder.add(job)
            except Exception:
                logger.exception("what became of the job %s cannot be recorded", job.key)

    def mark_to_keep(self, job: Job) -> str:
        """The mark under which the end of a job is kept until PostgreSQL has it; empty: it is not kept."""
        if self.recorder is None or (not job.meta and job.attempts <= 1 and job.status == Status.COMPLETE):
            return ""
        return mark_of(job) if self.recorder.needs(job) else ""
