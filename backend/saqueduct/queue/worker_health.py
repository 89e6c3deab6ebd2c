"""The state that live workers report, and their problems."""

from typing import cast

import msgspec

from saqueduct.broker.keys import VITALS
from saqueduct.queue.core import QueueCore
from saqueduct.queue.pausing import Pauses
from saqueduct.queue.reading import Reader
from saqueduct.tasks.job import level_of


class WorkerState(msgspec.Struct, omit_defaults=True):
    """What a worker reports at each heartbeat. All times are elapsed seconds, because clocks of machines differ."""

    leased: float
    """Time since it last asked for jobs and got an answer."""
    free: int
    """Slots without a job."""
    blocked: float = 0.0
    """Seconds for which its event loop has not answered; 0: it answers."""
    blocker: str = ""
    """Key and task of the job that blocks the event loop, as far as known."""
    given_up: int = 0
    """Attempts that ignore their cancellation, and still run outside the slots: coroutines and threads."""
    given_up_tasks: str = ""
    """The tasks of these attempts."""
    records: str = ""
    """What prevents its job records from being written; empty: nothing."""


class WorkerHealth:
    """The state of the workers of one queue.

    Args:
        core: of the queue.
        reader: of the queue.
        pauses: of the queue.
    """

    def __init__(self, core: QueueCore, reader: Reader, pauses: Pauses) -> None:
        self._core = core
        self._reader = reader
        self._pauses = pauses

    async def problems(self) -> list[str]:
        """Problems of the live workers of a queue; one sentence each."""
        reports = cast("dict[bytes, bytes]", await self._core.redis.hgetall(self._core.namespace(VITALS)))
        current = await self._core.time() if reports else 0.0
        waited = await self._waited(current) if reports else 0.0
        found: list[str] = []
        for worker, stored in reports.items():
            at, _, raw = stored.partition(b" ")
            state = msgspec.json.decode(raw, type=WorkerState)
            name = f"queue {self._core.name}: the worker {worker.decode()}"
            if current - float(at) > self._core.timings.report_stale:
                await self._core.redis.hdel(self._core.namespace(VITALS), worker.decode())
                continue
            if state.records:
                found.append(f"{name}: {state.records}")
            if state.given_up:
                found.append(
                    f"{name} runs {state.given_up} attempts that ignore their cancellation and were given up: "
                    f"{state.given_up_tasks}"
                )
            if state.blocked:
                what = state.blocker or "something that is no job"
                found.append(f"{name} is blocked for {state.blocked} s: {what} keeps its event loop")
            elif state.free > 0 and min(waited, state.leased) > self._core.timings.not_consuming:
                found.append(
                    f"{name} is alive but not consuming: jobs wait, and it asked for none for {state.leased:.0f} s"
                )
        return found

    async def _waited(self, current: float) -> float:
        """Seconds that the first job of the normal list has waited; 0: no job waits, or the queue is paused."""
        if await self._pauses.current() is not None:
            return 0.0
        head = cast("bytes | None", await self._core.redis.lindex(self._core.namespace("queued"), 0))
        job = await self._reader.job(self._core.job_key_from_id(head.decode())) if head else None
        if job is None or level_of(job) != "normal":
            return 0.0
        since = max(job.queued, job.touched) / 1000
        return max(0.0, current - max(since, float(job.scheduled)))
