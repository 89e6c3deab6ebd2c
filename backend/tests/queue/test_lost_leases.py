"""Leases whose answers are lost on the way."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from dishka import AsyncContainer
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from saq.job import Status

from app.settings import Settings
from saqueduct import Context, Queues, enqueue_many, task
from saqueduct.broker import transport
from saqueduct.broker.scripts import digest
from saqueduct.testing import QueueSetup
from saqueduct.testing.threads import worker_thread
from saqueduct.worker.leasing import Leasing
from saqueduct.worker.loop_monitor import Pulse
from saqueduct.worker.lost_leases import LostLeases
from saqueduct.worker.outcome_buffer import OutcomeBuffer
from saqueduct.worker.waiting import Waiting
from tests.fixtures.poll import eventually
from tests.queue.kit import status, working

pytestmark = [pytest.mark.usefixtures("only_own_tasks"), pytest.mark.timings(renewal=0.1, recovery_look=0.1)]


class Losses:
    """A network that loses answers which lease something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        self.lost = 0
        self._ask = transport._ask
        monkeypatch.setattr(transport, "_ask", self._ask_and_lose)

    async def _ask_and_lose(self, line: AbstractConnection, commands: Sequence[Any]) -> list[Any]:
        answers = await self._ask(line, commands)
        answer = answers[-1]
        if self.left and commands[-1][1] == digest("lease") and isinstance(answer, list) and len(answer) > 4:
            self.left -= 1
            self.lost += 1
            raise RedisConnectionError("cut before the answer came")
        return answers


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Losses:
    return Losses(monkeypatch)


@pytest.mark.parametrize("times", [1, 6])
async def test_a_job_whose_lease_got_lost_runs_as_if_it_had_never_been_leased(
    settings: Settings, queues: Queues, container: AsyncContainer, losses: Losses, times: int
) -> None:
    runs: list[str] = []

    @task(at_most_once=True)
    async def once(ctx: Context) -> int:
        runs.append(ctx["job"].key)
        return ctx["job"].attempts

    async with working(settings, queues, container):
        await eventually(queues.get("default").live_workers)
        losses.left = times
        handle = await once.enqueue()
        job = await status(queues, await handle.refresh(), Status.COMPLETE)
    assert losses.lost == times
    assert (job.result, job.attempts, runs) == (1, 1, [handle.key])
    assert not [name for name in job.meta if "recoveries" in name]


async def test_what_other_calls_lease_is_kept(
    settings: Settings, queues: Queues, container: AsyncContainer, losses: Losses
) -> None:
    runs: list[str] = []

    @task(at_most_once=True)
    async def once(ctx: Context) -> int:
        runs.append(ctx["job"].key)
        return ctx["job"].attempts

    # More than one call leases, so that each of them brings some.
    handles = await enqueue_many(once.bind() for _ in range(40))
    losses.left = 3
    async with working(settings, queues, container):
        assert [await handle.result(timeout=60) for handle in handles] == [1] * 40
    assert losses.lost == 3
    assert sorted(runs) == sorted(handle.key for handle in handles)


@pytest.mark.timings(renewal=60.0)
async def test_a_worker_that_stops_leaves_no_lost_lease(
    settings: Settings, queues: Queues, container: AsyncContainer, losses: Losses
) -> None:

    @task(at_most_once=True)
    async def once(ctx: Context) -> int:
        return ctx["job"].attempts

    handle = await once.enqueue()
    queue = queues.get("default")
    losses.left = 1
    async with working(settings, queues, container):
        await eventually(lambda: losses.lost)
    await queue.recover()
    assert (await handle.status(), await queue.count("queued")) == (Status.QUEUED, 1)


@pytest.mark.timings(lease=2.0, recovery_look=0.1, recovery_wait=0.1, stall=60.0)
async def test_a_lease_that_ran_out_before_a_blocked_event_loop_read_it_is_not_used(
    settings: Settings, queues: Queues, container: AsyncContainer, saqueduct_setup: QueueSetup
) -> None:
    """Redis leases a job to a worker that waits, whether or not the worker's event loop can read the answer."""
    began: list[str] = []
    go, blocking, release = threading.Event(), threading.Event(), threading.Event()

    @task(timeout=None)
    async def block(ctx: Context) -> None:
        await eventually(go.is_set)
        blocking.set()
        release.wait()

    @task
    async def work(ctx: Context) -> None:
        began.append(ctx["job"].key)

    redis: Any = queues.get("default").redis

    async def waits() -> bool:
        return any(client["cmd"] == "blmove" for client in await redis.client_list())

    with worker_thread(saqueduct_setup):
        try:
            blocker = await block.enqueue()
            await eventually(waits)
            go.set()
            await eventually(blocking.is_set)
            job = await work.enqueue()
            async with working(settings, queues, container):
                await job.result(timeout=60)
        finally:
            release.set()
        # Its outcome is written after the answer has been read.
        await blocker.result(timeout=60)
    assert began == [job.key]


async def test_a_lease_that_a_suspended_process_may_have_read_too_late_is_not_used(queues: Queues) -> None:
    """What the thread of the pulse has not noticed yet may have lasted for longer than the lease."""
    queue, stopping = queues.get("default"), asyncio.Event()
    core, lost = queue.core, LostLeases("w", kept=60.0)
    pulse = Pulse(asyncio.get_running_loop())
    pulse.start()
    pulse.stop()
    await eventually(lambda: pulse.certain() is None)
    outcomes = OutcomeBuffer(core, queue.settler, lambda _: None)
    leasing = Leasing(core, "w", Waiting(core, queue.schedule, stopping), outcomes, lost, pulse)

    @task
    async def work(ctx: Context) -> None: ...

    await work.enqueue()
    assert (await leasing.lease(1, 0)).jobs == []
    assert len(lost.prefixes()) == 1
    await leasing.close()
    await queue.recover()
    assert await queue.count("queued") == 1


def test_lost_calls_are_looked_for_for_a_while() -> None:
    lost = LostLeases("w" * 10, kept=60.0)
    call = lost.call()
    lost.lose(call)
    assert lost.prefixes() == [f"{'w' * 10}|{call:038d}"]
    lost.looked_for()
    assert lost.prefixes()
    forgetful = LostLeases("w" * 10, kept=0.0)
    forgetful.lose(forgetful.call())
    forgetful.looked_for()
    forgetful.looked_for()
    assert forgetful.prefixes() == []
