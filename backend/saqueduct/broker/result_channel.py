"""Result channel: workers publish here how jobs ended that somebody in this process waits for.

A job's own channel, which SAQ has too, says that it has ended and not how, and costs a subscription per job. This one
costs one call, which reads the job and asks for its outcome, and one message, which brings it. Callers that wait for
longer than `patience` turn to the job's own channel: stock workers do not publish here, and a message may be lost with
a connection.
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

JOBS_AT_ONCE = 500
"""Jobs that one script call asks for at most."""

Answer = int | bytes | None
"""1: a message will follow; the JSON of a job that has ended; None: there is no such job."""


class ResultChannel:
    """Waits for the outcomes of jobs of one queue.

    Args:
        redis: client whose pool gives the connection.
        scripts: of the queue.
        prefix: of the channel's name.
        guard: of the client's connections.
        patience: seconds to wait for a message.
    """

    def __init__(self, redis: Redis, scripts: Scripts, prefix: str, guard: LoopGuard, patience: float) -> None:
        self._patience = patience
        self._redis = redis
        self._scripts = scripts
        self._guard = guard
        # More than 64 bytes, for the reason given in `lua/lease.lua`.
        self._channel = f"{prefix}{secrets.token_hex(32)}"
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[str, set[asyncio.Future[bytes]]] = {}
        self._asking = Batches(self._ask, JOBS_AT_ONCE, check=guard.check)

    async def outcome(self, job_id: str) -> bytes | None:
        """The JSON of a job that has ended, or does within `patience`; nothing: it has not, or there is none any more.

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
                async with asyncio.timeout(self._patience):
                    return await future
            return None
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(job_id) is waiting:
                del self._waiting[job_id]

    async def close(self) -> None:
        """Stop to listen and give the connection back."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            self._reader = None
        if self._pubsub is not None:
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]
            self._pubsub = None

    async def _open(self) -> None:
        """Listen, if this process does not yet, or not any more."""
        if self._reader is not None and not self._reader.done():
            return
        if self._pubsub is not None:
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        self._pubsub = lasting(self._redis).pubsub()
        await self._pubsub.subscribe(self._channel)
        # Subscribed: no message is missed from here on.
        while (message := await self._pubsub.get_message(timeout=None)) is None or message["type"] != "subscribe":
            pass
        self._reader = asyncio.create_task(self._read(self._pubsub))

    async def _ask(self, job_ids: Sequence[str]) -> Sequence[Answer]:
        # Each batch by itself: of very many jobs the last wait in this process for longer than Redis gets to answer.
        async with answering():
            await self._open()
            answers: Sequence[Answer] = await self._scripts.run("await", self._channel, *job_ids)
        return answers

    async def _read(self, pubsub: PubSub) -> None:
        """Take messages until the connection is lost; those who wait then turn to the job's own channel."""
        with suppress(RedisError, OSError):
            while True:
                message = await pubsub.get_message(timeout=None)
                if message is not None and message["type"] == "message":
                    self._tell(message["data"])

    def _tell(self, data: bytes) -> None:
        """Hand an outcome to those who wait for it; see `deliver` in `scripts/prelude.lua`."""
        length, _, rest = data.partition(b"\n")
        if not length.isdigit():
            # Of a script of another version; who waits for it looks after `patience`.
            return
        end = int(length)
        for future in self._waiting.get(rest[:end].decode(), ()):
            if not future.done():
                future.set_result(rest[end:])
