"""Requests with the header `Idempotency-Key`: the first one enqueues, and repeated ones get its jobs."""

import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from saqueduct.broker.outage import answering, is_silent, own_time
from saqueduct.errors import QueueUnavailable
from saqueduct.litestar.links import JobLinks
from saqueduct.litestar.refusals import RequestRefused
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job import Enqueued
from saqueduct.tasks.task import Task

KEPT: Final = 24 * 3600
"""Seconds for which a key is kept after its first request, as payment providers do."""

UNDER_WAY: Final = 30
"""Seconds after which a first request that has not ended is taken for dead: an enqueue takes less."""

AGAIN: Final = 1.0
"""Seconds for another try to keep the key of durable jobs: Redis may have been away for a moment only."""

REUSED: Final = (
    "this Idempotency-Key was sent with another request in the last 24 hours: repeat that one as it was, "
    "or use a new key for another request"
)
IN_USE: Final = "the first request with this Idempotency-Key is not answered yet: repeat this one in a moment"


class _Kept(msgspec.Struct, omit_defaults=True):
    """What Redis keeps of a key."""

    request: str
    """Signature of the request."""
    jobs: list[tuple[str, bool]] | None = None
    """The key of each job, and whether the request has created it; None: it is not answered yet."""
    count: int | None = None
    """Of a batch that has created all of its jobs: how many, in place of `jobs`."""
    secret: str | None = None
    """Which secret has signed the request, see `JobLinks.secret_id`; None: an earlier release did not say."""


@dataclasses.dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request whose header has a key.

    Attributes:
        queue: whose Redis keeps the key.
        key: of the header; also that of the job, of those of a batch with their place.
        signature: of all that the request asks for: the same key does not serve for another one.
        secret: which secret it is made with, see `JobLinks.secret_id`.
        durable: True: PostgreSQL accepts its jobs while Redis is unavailable, though without the key.
    """

    queue: EngineQueue
    key: str
    signature: str
    secret: str
    durable: bool

    @classmethod
    def of(
        cls, queue: EngineQueue, task: Task[..., Any], key: str, content: Any, options: dict[str, Any], links: JobLinks
    ) -> "IdempotentRequest":
        """A request for jobs of a task.

        Args:
            queue: of the jobs.
            task: with the options of the request.
            key: of the header.
            content: the body.
            options: of the query.
            links: sign the request: what Redis keeps must not help to guess its arguments.
        """
        asked = msgspec.json.encode((task.name, content, options), order="sorted")
        return cls(queue, key, links.signature(asked), links.secret_id, task.defaults.durable)

    async def once(self, enqueue: Callable[[], Coroutine[Any, Any, list[Enqueued]]]) -> tuple[list[Enqueued], bool]:
        """The jobs of the first request with this key, and True where this is the first.

        Args:
            enqueue: called for the first one.

        Raises:
            RequestRefused: 422 the key was sent with another request; 409 the first one is not answered yet.
            QueueUnavailable: Redis did not answer.
        """
        try:
            if (kept := await self._begun()) is not None:
                return self._jobs(kept), False
        except QueueUnavailable:
            if not self.durable:
                raise
            jobs = await enqueue()
            await self._keep(jobs, AGAIN)
            return jobs, True
        try:
            jobs = await enqueue()
        except Exception:
            # Also when it is not known whether the jobs are enqueued: while they wait or run, their keys say so.
            await self._forget()
            raise
        await self._keep(jobs, AGAIN if is_silent() else self.queue.core.timings.answer)
        return jobs, True

    @property
    def _name(self) -> str:
        return self.queue.core.namespace(f"idempotency:{self.key}")

    async def _begun(self) -> _Kept | None:
        """What is kept of the key; None: it is new, and kept from now on."""
        core, new = self.queue.core, msgspec.json.encode(_Kept(self.signature, secret=self.secret))
        async with answering(core.timings.answer):
            if await core.redis.set(self._name, new, nx=True, ex=UNDER_WAY):
                return None
            found = await core.redis.get(self._name)
        # It may have expired in between.
        return msgspec.json.decode(found or new, type=_Kept)

    def _jobs(self, kept: _Kept) -> list[Enqueued]:
        # SECRET_KEY may have changed since. Most requests with a known key are repeated ones: none runs a job again.
        comparable = kept.secret in (None, self.secret)
        if comparable and kept.request != self.signature:
            raise RequestRefused(REUSED, 422, "idempotency-key-reused")
        if kept.count is not None:
            return [Enqueued(f"{self.key}:{place}", True) for place in range(kept.count)]
        if kept.jobs is None:
            raise RequestRefused(IN_USE, 409, "idempotency-key-in-use", {"Retry-After": "1"})
        return [Enqueued(key, created) for key, created in kept.jobs]

    async def _keep(self, jobs: list[Enqueued], seconds: float) -> None:
        usual = all(each.created and each.key == f"{self.key}:{place}" for place, each in enumerate(jobs))
        kept = _Kept(self.signature, secret=self.secret)
        if usual:
            kept.count = len(jobs)
        else:
            kept.jobs = [(each.key, each.created) for each in jobs]
        try:
            with own_time():
                async with answering(seconds):
                    await self.queue.core.redis.set(self._name, msgspec.json.encode(kept), ex=KEPT)
        except QueueUnavailable:
            # The jobs are enqueued. Repeated requests are refused for UNDER_WAY, and then find their keys.
            pass

    async def _forget(self) -> None:
        try:
            async with answering(self.queue.core.timings.answer):
                await self.queue.core.redis.delete(self._name)
        except QueueUnavailable:
            # It expires.
            pass
