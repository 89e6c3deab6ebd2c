"""Result channel: workers publish here the outcomes of jobs that callers in this process wait for.

A job's own channel, which SAQ has too, reports that the job has ended but not how, and costs a subscription per job.
This one costs one call, which reads the job and requests its outcome, and one message, which delivers it. Callers that
wait for longer than `patience` switch to the job's own channel: stock workers do not publish here, and a message may be
lost with a connection.
"""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from saqueduct.broker.batching import Batches
from saqueduct.broker.connections import lasting
from saqueduct.broker.loop_guard import LoopGuard
from saqueduct.broker.outage import answering
from saqueduct.broker.scripts import Scripts
from saqueduct.common.own_context import create_shared_task
from saqueduct.timings import Timings

JOBS_PER_CALL = 500
"""Maximum jobs that one script call requests."""

Answer = int | bytes | None
"""1: a message will follow; the JSON of a job that has ended; None: there is no such job."""


class ResultChannel:
    """Waits for the outcomes of jobs of one queue.

    Args:
        redis: client whose pool provides the connection.
        scripts: scripts of the queue.
        prefix: prefix of the channel's name.
        guard: guard of the client's connections.
        timings: intervals, waits and limits.
    """

    def __init__(self, redis: Redis, scripts: Scripts, prefix: str, guard: LoopGuard, timings: Timings) -> None:
        self._timings = timings
        self._redis = redis
        self._scripts = scripts
        self._guard = guard
        # More than 64 bytes, for the reason explained in `lua/lease.lua`.
        self._channel = f"{prefix}{secrets.token_hex(32)}"
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[str, set[asyncio.Future[bytes]]] = {}
        self._asking = Batches(self._ask, JOBS_PER_CALL, check=guard.check)

    async def outcome(self, job_id: str) -> bytes | None:
        """The JSON of a job that has ended, or ends within `Timings.result_patience`; None: it has not, or is gone.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        self._guard.check()
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(job_id, set())
        waiting.add(future)
        try:
            answer = await self._asking.add(job_id)
            if not isinstance(answer, int):
                return answer
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timings.result_patience):
                    return await future
            return None
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(job_id) is waiting:
                del self._waiting[job_id]

    async def close(self) -> None:
        """Stop listening and release the connection."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            self._reader = None
        if self._pubsub is not None:
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]
            self._pubsub = None

    async def _open(self) -> None:
        """Listen, unless this process already listens."""
        if self._reader is not None and not self._reader.done():
            return
        if self._pubsub is not None:
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        self._pubsub = lasting(self._redis).pubsub()
        await self._pubsub.subscribe(self._channel)
        # Subscribed: no message is missed from here on.
        while (message := await self._pubsub.get_message(timeout=None)) is None or message["type"] != "subscribe":
            pass
        self._reader = create_shared_task(self._read(self._pubsub))

    async def _ask(self, job_ids: Sequence[str]) -> Sequence[Answer]:
        # Each batch separately: with very many jobs the last ones wait in this process longer than the answer timeout.
        async with answering(self._timings.answer):
            await self._open()
            answers: Sequence[Answer] = await self._scripts.run("await", self._channel, *job_ids)
        return answers

    async def _read(self, pubsub: PubSub) -> None:
        """Read messages until the connection is lost; waiting callers then switch to the job's own channel."""
        with suppress(RedisError, OSError):
            while True:
                message = await pubsub.get_message(timeout=None)
                if message is not None and message["type"] == "message":
                    self._tell(message["data"])

    def _tell(self, data: bytes) -> None:
        """Pass an outcome to the callers that wait for it; see `deliver` in `lua/prelude.lua`."""
        length, _, rest = data.partition(b"\n")
        if not length.isdigit():
            # From a script of another version; its waiter reads the job after `patience`.
            return
        end = int(length)
        for future in self._waiting.get(rest[:end].decode(), ()):
            if not future.done():
                future.set_result(rest[end:])
