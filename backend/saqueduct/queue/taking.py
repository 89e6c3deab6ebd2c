"""Taking a limit for a part of a job: `async with limit("stripe", account_id="a1").take(): ...`.

The place at the limit belongs to the job's lease: what ends the lease, releases it. A job that has to wait is in the
line of the limit, and a message on a channel of its own says when its turn has come. It also looks again after a lost
connection, when a rate opens by itself, and every `Timings.limit_look` seconds in case a message was lost.
"""

import asyncio
import secrets
from contextlib import suppress
from types import TracebackType
from typing import Any, cast

from saqueduct.broker.listener import SUBSCRIBED
from saqueduct.broker.outage import answering
from saqueduct.common.own_context import create_shared_task
from saqueduct.common.text import decoded
from saqueduct.common.time_limits import check_number
from saqueduct.errors import LimitNotTaken, LimitTimeout
from saqueduct.flow.limits import LONGEST_PERIOD, gate_of
from saqueduct.queue.limit_states import Declared, find_limit
from saqueduct.queue.queue import EngineQueue
from saqueduct.queue.taken_keys import key_of_call
from saqueduct.tasks import current_job
from saqueduct.tasks.job import EngineJob

SOONEST = 0.001
"""Minimum seconds until a job that waits asks for its turn again: the clocks of Redis and of this process differ in
their steps."""

ENTERED = GRANTED, FREE = "granted", "free"
"""Answers of `lua/take.lua`: the job has the limit; the same, and nothing is to be given back."""


USED, UNUSED = "1", "2"
"""How a call gives the limit back: UNUSED if the block was not entered."""


def limit(name: str, /, **key: Any) -> "JobLimit":
    """A limit that the job which runs here takes for a part of its run.

        async with limit("stripe", account_id="a1").take():
            await charge(...)

    Args:
        name: of the limit, which a task has in `limits` or `takes`.
        key: the values of the arguments in the limit's `by`; they are validated as those of a call are.

    Raises:
        LimitNotTaken: no job runs here, or the limit is kept in another queue.
        UnknownLimit: no task has it; names those that exist.
        InvalidArguments: a value is missing, unknown or invalid.
    """
    job = current_job.job.get()
    if not isinstance(job, EngineJob) or not job.lease:
        raise LimitNotTaken(name, "call this in a job that a worker runs, because its place belongs to the job's lease")
    queue = cast("EngineQueue", job.get_queue())
    tasks = [] if queue.tasks is None else queue.tasks.get_all_tasks()
    declared = find_limit(tasks, name)
    if declared.queue != queue.name:
        raise LimitNotTaken(
            name, f"it is kept in the queue {declared.queue!r}, and this job is in {queue.name!r}: use one queue"
        )
    having = [task for task in tasks if task.name in declared.tasks]
    return JobLimit(queue, job, name, declared, gate_of(name, key_of_call(name, key, having, job.function)))


class JobLimit:
    """A limit for one key, and the job that may take it; see `limit`."""

    def __init__(self, queue: EngineQueue, job: EngineJob, name: str, declared: Declared, gate: str) -> None:
        self._queue = queue
        self._job = job
        self._name = name
        self._rule = declared.limit.rule
        self._gate = gate

    def take(self, timeout: float | None = None) -> "Taking":
        """Wait for a place of a `Concurrency`, and hold it during the block; or for a start of a `Rate`.

        A job that waits keeps its slot in the worker. The place is given back at the end of the block, at the end of
        the attempt, and when the job is recovered from a worker that has died.

        Args:
            timeout: seconds to wait in the line; 0: enter only if it is the job's turn now; None: as long as the job
                may run. The time in which Redis answers the first call is not part of it.

        Raises:
            ValueError: `timeout` is less than 0.
        """
        if timeout is not None:
            check_number("timeout", timeout, least=0, most=LONGEST_PERIOD)
        return Taking(self._queue, self._job, self._name, self._gate, self._rule, timeout)


class Taking:
    """One block that takes a limit; see `JobLimit.take`.

    Raises:
        LimitTimeout: its turn did not come in time.
        LimitNotTaken: the job has that limit as long as it runs, or has lost its lease.
        QueueUnavailable: Redis did not answer.
    """

    def __init__(
        self, queue: EngineQueue, job: EngineJob, name: str, gate: str, rule: str, timeout: float | None
    ) -> None:
        self._core, self._listener = queue.core, queue.listener
        self._name, self._timeout = name, timeout
        self._held = job.key, job.lease
        self._token = secrets.token_hex(8)
        self._place = *self._held, gate, name, rule, self._token
        self._call: asyncio.Task[str] | None = None
        self._used = self._holds = False

    async def __aenter__(self) -> None:
        if self._used:
            raise LimitNotTaken(self._name, "each block needs a call of take() of its own")
        self._used = True
        if self._core.alone:
            return
        self._core.guard.check()
        await self._core.give_backs.finish(self._held)
        try:
            self._holds = await self._entered() != FREE
        except BaseException:
            self._give_back(UNUSED)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._holds:
            await asyncio.shield(self._give_back(USED))

    async def _entered(self) -> str:
        """The answer with which the job enters the block; the timeout begins after the first one."""
        if (answer := await self._ask()) in ENTERED:
            return answer
        if self._timeout == 0:
            raise LimitTimeout(self._name, self._timeout)
        limited = asyncio.timeout(self._timeout)
        try:
            async with limited:
                return await self._turn(answer)
        except TimeoutError:
            if limited.expired():
                raise LimitTimeout(self._name, cast("float", self._timeout)) from None
            raise

    async def _turn(self, answer: str) -> str:
        """Wait for the turn of the job, which is in the line."""
        look = self._core.timings.limit_look
        async with self._listener.news(self._core.namespace(f"flow:take:{self._token}")) as news:
            while answer not in ENTERED:
                seconds = min(look, max(SOONEST, float(answer))) if answer else look
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        answer = (await news.get())[1]
                        # The first says that the channel is subscribed to: look again, so that nothing is missed.
                        if answer != SUBSCRIBED:
                            continue
                answer = await self._ask()
        return answer

    async def _ask(self) -> str:
        # Not cancelled with the job: what the call takes is given back after it.
        self._call = create_shared_task(self._take())
        return await asyncio.shield(self._call)

    async def _take(self) -> str:
        async with answering(self._core.timings.answer):
            answer = decoded(await self._core.scripts.run("take", *self._place, ""))
        if answer == "own":
            raise LimitNotTaken(self._name, "the job has it as long as it runs: it is in `limits` of its task")
        if answer == "lost":
            raise LimitNotTaken(self._name, "the lease of the job was lost, another worker may run it")
        return answer

    def _give_back(self, how: str) -> "asyncio.Task[None]":
        return self._core.give_backs.begin((*self._place, how), cast("asyncio.Task[str]", self._call))
